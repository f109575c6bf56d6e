//! `app.bsky.notification.listNotifications#notification`.

use serde::Serialize;
use serde_json::value::RawValue;

use super::actor::{ProfileView, profile};
use super::graph::{StarterPackViewBasic, starter_pack_basic};
use super::labels;
use crate::hydrate::NotifRow;
use crate::hydrate::collections as c;
use crate::hydrate::notification::NotifState;
use crate::hydrate::{Json, PostId, Target};
use crate::moderation::ShownLabel;
use crate::syntax::datetime::Time;

/// The CID of `{"$type": "app.bsky.notification.defs#recordDeleted"}`.
const DELETED_CID: &str = "bafyreidad6nyekfa4a67yfb573ptxiv6s7kyxyg2ra6qbbemcruadvtuim";

/// A notification.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationView<'a> {
    uri: &'a str,
    cid: &'a str,
    author: ProfileView,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_subject: Option<&'a str>,
    record: NotifiedRecord<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starter_pack: Option<StarterPackViewBasic>,
    is_read: bool,
    indexed_at: Time,
    labels: Vec<ShownLabel>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum NotifiedRecord<'a> {
    Post(&'a RawValue),
    Other(&'a Json),
    Deleted {
        #[serde(rename = "$type")]
        tag: &'static str,
    },
}

/// What a notification row stands for, as text.
#[derive(Debug, Clone)]
pub struct NotifText {
    /// The row.
    pub row: NotifRow,
    /// The URI of the record.
    pub uri: String,
    /// The URI or DID of `reasonSubject`.
    pub subject: Option<String>,
}

impl NotifState {
    /// The view of a notification; `None` if its author or record is not to be shown. `seen` is the seen time in
    /// milliseconds; without one everything is read.
    #[must_use]
    pub fn view<'a>(
        &'a self,
        notif: &'a NotifText,
        seen: Option<i64>,
    ) -> Option<NotificationView<'a>> {
        let row = &notif.row;
        let base = &self.posts.base;
        let author = profile(base, row.author)?;
        let id = row.record();
        let mut all_labels = labels(base, Target::of(id));
        let mut pack = None;
        let (cid, record) = if let Some(post) = PostId::of(id) {
            let post = self.posts.post(post)?;
            all_labels = self.posts.post_labels(post);
            (&*post.record.cid, NotifiedRecord::Post(&post.record.json))
        } else if id.coll == c::PROFILE {
            let own = &base.actor(row.author)?.profile.as_ref()?.record;
            all_labels.extend(own.self_labels.iter().cloned());
            (&*own.cid, NotifiedRecord::Other(&own.value))
        } else {
            match self.records.get(&id) {
                Some(found) => {
                    pack = found.via.and_then(|id| starter_pack_basic(base, id));
                    (&*found.cid, NotifiedRecord::Other(&found.value))
                }
                // A verification that ended notifies too, and then its record is gone.
                None if id.coll == c::VERIFICATION => {
                    let tag = "app.bsky.notification.defs#recordDeleted";
                    (DELETED_CID, NotifiedRecord::Deleted { tag })
                }
                None => return None,
            }
        };
        Some(NotificationView {
            uri: &notif.uri,
            cid,
            author,
            reason: row.reason.name(),
            reason_subject: notif.subject.as_deref(),
            record,
            starter_pack: pack,
            is_read: seen.is_none_or(|seen| seen > row.sort),
            indexed_at: Time(row.sort),
            labels: all_labels,
        })
    }
}
