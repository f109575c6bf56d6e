//! Private state in a form that outlives this store: one JSON object for each row, numbers as the names they stand for.
//!
//! A file of it has a line for each row between a first line that says what it is and a last one that says how many rows
//! there are, so that a file which was cut off is found out:
//!
//! ```json
//! {"kind":"aerie-private","version":1,"made":"2026-01-01T00:00:00.000Z"}
//! {"kind":"mute","viewer":"did:plc:a","subject":"did:plc:b","at":"2026-01-01T00:00:00.000Z"}
//! {"kind":"end","rows":1}
//! ```
//!
//! [`Row`] is the table of kinds. Within a version kinds and optional members may be added; nothing changes its meaning.
//! What is not in it: rows of the index, which the network gives back, and rows that follow from another private row.
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::lexicon::catalog;
use crate::private::registrations::{self, MAX_TOKEN, Platform, Registration};
use crate::private::subscriptions::{self, Subscription};
use crate::private::{self, Kind, Mute, Takedown, bookmarks, community, drafts};
use crate::repo::dag_cbor;
use crate::schema::bytes::ByteReader;
use crate::schema::rows::AccountStatus;
use crate::schema::{ActorId, Edit, PostId, RecordId, Rkey, Rows, Target, collections};
use crate::store::{Ks, Reader, StoreError, Tx};
use crate::syntax::{AtUriRef, Tid, datetime, is_did};

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// What a line of a file can be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum Frame {
    /// The first line.
    #[serde(rename = "aerie-private")]
    Head {
        /// See [`VERSION`].
        version: u32,
        /// When the file was made.
        made: Time,
    },
    /// The last line.
    #[serde(rename = "end")]
    End {
        /// How many rows there are in between.
        rows: u64,
    },
}

/// A private row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
#[allow(
    missing_docs,
    reason = "members are what the kind says; times are of when the row was made"
)]
pub enum Row {
    /// An account that the viewer muted, all of it or only these.
    Mute {
        viewer: String,
        subject: String,
        at: Time,
        #[serde(default, skip_serializing_if = "is_false")]
        only_reposts: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        only_quoteposts: bool,
    },
    /// A list whose members the viewer muted.
    ListMute { viewer: String, list: String, at: Time },
    /// A thread that the viewer muted, by its root.
    ThreadMute { viewer: String, root: String, at: Time },
    /// An account whose activity the viewer is told of.
    Subscription { viewer: String, subject: String, at: Time, post: bool, reply: bool },
    /// Up to when the viewer saw notifications.
    Seen { viewer: String, at: Time },
    /// An account whose notifications are kept.
    Member { viewer: String, at: Time },
    /// Only accounts that the viewer follows notify.
    Priority { viewer: String, at: Time },
    /// Notification preferences (`app.bsky.notification.defs#preferences`).
    Preferences { viewer: String, preferences: Value },
    /// A post that the viewer bookmarked; the key is a TID of when.
    Bookmark { viewer: String, uri: String, cid: String, key: String },
    /// A draft (`app.bsky.draft.defs#draft`).
    Draft { viewer: String, id: String, created_at: Time, updated_at: Time, draft: Value },
    /// A device of the viewer's that gets notifications.
    Push {
        viewer: String,
        platform: String,
        app_id: String,
        token: String,
        age_restricted: bool,
        at: Time,
    },
    /// A community post as it was submitted (`community.blacksky.feed.submitPost`), without its record key.
    CommunityPost { viewer: String, rkey: String, indexed_at: Time, post: Value },
    /// An account or record that the operator or the moderation service took down.
    Takedown { subject: String, at: Time, reference: String },
    /// An account that wants nothing of its own collected.
    OptOut { did: String, at: Time },
    /// A blob that they took down.
    BlobTakedown { did: String, cid: String, at: Time, reference: String },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Milliseconds since 1970, written as a datetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&datetime::format_ms(self.0))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let wrong = || serde::de::Error::custom(format!("{text:?} is not a datetime"));
        datetime::parse_strict(&text).map(Self).ok_or_else(wrong)
    }
}

impl Row {
    /// Whose row it is, unless it holds whatever becomes of the account.
    #[must_use]
    pub fn viewer(&self) -> Option<&str> {
        match self {
            Self::Mute { viewer, .. }
            | Self::ListMute { viewer, .. }
            | Self::ThreadMute { viewer, .. }
            | Self::Subscription { viewer, .. }
            | Self::Seen { viewer, .. }
            | Self::Member { viewer, .. }
            | Self::Priority { viewer, .. }
            | Self::Preferences { viewer, .. }
            | Self::Bookmark { viewer, .. }
            | Self::Draft { viewer, .. }
            | Self::Push { viewer, .. }
            | Self::CommunityPost { viewer, .. } => Some(viewer),
            Self::Takedown { .. } | Self::BlobTakedown { .. } | Self::OptOut { .. } => None,
        }
    }

    /// Whether the row can be put into a store; the error says what of it cannot.
    pub fn check(&self) -> Result<(), String> {
        if let Some(viewer) = self.viewer() {
            did("viewer", viewer)?;
        }
        match self {
            Self::Mute { subject, .. } | Self::Subscription { subject, .. } => {
                did("subject", subject)
            }
            Self::ListMute { list, .. } => record("list", list, "app.bsky.graph.list"),
            Self::ThreadMute { root, .. } => record("root", root, "app.bsky.feed.post"),
            Self::Bookmark { uri, key, .. } => {
                record("uri", uri, "app.bsky.feed.post").and_then(|()| tid("key", key).map(drop))
            }
            Self::Draft { id, draft, .. } => {
                tid("id", id)?;
                let schema = catalog().method("app.bsky.draft.createDraft");
                let checked = schema.map(|s| s.validate_input(&json!({ "draft": draft })));
                checked.unwrap_or(Ok(())).map_err(|invalid| invalid.to_string())
            }
            Self::CommunityPost { rkey, post, .. } => community_post(rkey, post),
            Self::Preferences { preferences, .. } if !preferences.is_object() => {
                Err("preferences is not an object".to_owned())
            }
            Self::Push { platform, token, .. } => {
                if Platform::parse(platform).is_none() {
                    Err(format!("platform {platform:?} is not known"))
                } else if token.len() > MAX_TOKEN {
                    Err("token is too long".to_owned())
                } else {
                    Ok(())
                }
            }
            Self::Takedown { subject, .. } if !subject.starts_with("at://") => {
                did("subject", subject)
            }
            Self::Takedown { subject, .. } => record("subject", subject, ""),
            Self::BlobTakedown { did: owner, .. } | Self::OptOut { did: owner, .. } => {
                did("did", owner)
            }
            Self::Preferences { .. }
            | Self::Seen { .. }
            | Self::Member { .. }
            | Self::Priority { .. } => Ok(()),
        }
    }
}

fn community_post(rkey: &str, post: &Value) -> Result<(), String> {
    let made = community_id(ActorId(0), rkey);
    made.ok_or_else(|| format!("rkey {rkey:?} is not a TID of our time"))?;
    let Value::Object(mut input) = post.clone() else {
        return Err("post is not an object".to_owned());
    };
    input.insert("rkey".to_owned(), rkey.into());
    let schema = catalog().method("community.blacksky.feed.submitPost");
    let checked = schema.map(|s| s.validate_input(&Value::Object(input)));
    checked.unwrap_or(Ok(())).map_err(|invalid| invalid.to_string())?;
    let whole = community::NewPost::read(&dag_cbor::from_json(post));
    whole.map(drop).ok_or_else(|| "post cannot be kept".to_owned())
}

fn community_id(actor: ActorId, rkey: &str) -> Option<PostId> {
    let rkey = Rkey(Tid::parse(rkey)?.as_u64());
    PostId::of(RecordId { actor, coll: collections::COMMUNITY_POST, rkey })
}

fn did(name: &str, text: &str) -> Result<(), String> {
    if is_did(text) { Ok(()) } else { Err(format!("{name} {text:?} is not a DID")) }
}

/// The URI of a record by the DID of its owner; in any collection if that is empty.
fn record(name: &str, text: &str, collection: &str) -> Result<(), String> {
    let whole = AtUriRef::parse(text).is_some_and(|uri| {
        let right = uri.collection.is_some_and(|c| collection.is_empty() || c == collection);
        right && uri.rkey.is_some() && is_did(uri.authority)
    });
    let what = if collection.is_empty() { "record" } else { collection };
    if whole { Ok(()) } else { Err(format!("{name} {text:?} is not the URI of a {what}")) }
}

fn tid(name: &str, text: &str) -> Result<Tid, String> {
    Tid::parse(text).ok_or_else(|| format!("{name} {text:?} is not a TID"))
}

/// Some rows of a store.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next page begins; none if this is the last.
    pub next: Option<String>,
    /// Rows that do not decode or are of a kind that is not exported.
    pub left_out: u64,
}

/// Rows of a page, and about how many bytes they may take together.
const PAGE_ROWS: u64 = 2000;
const PAGE_BYTES: usize = 2 << 20;

/// The rows from `next` of the page before.
pub fn page<R: Reader>(r: &R, next: Option<&str>) -> Result<Page, StoreError> {
    let hex = data_encoding::HEXLOWER;
    let from = hex.decode(next.unwrap_or_default().as_bytes()).unwrap_or_default();
    let (mut page, mut read, mut bytes, mut failed) = (Page::default(), 0, 0, None);
    r.scan(Ks::Private, &from, None, false, &mut |k, v| {
        if read >= PAGE_ROWS || bytes >= PAGE_BYTES {
            page.next = Some(hex.encode(k));
            return false;
        }
        (read, bytes) = (read + 1, bytes + v.len());
        match row(r, k, v) {
            Ok(Some(Exported::Row(row))) => page.rows.push(row),
            Ok(Some(Exported::Follows)) => {}
            Ok(None) | Err(StoreError::Corrupt(_)) => page.left_out += 1,
            Err(e) => failed = Some(e),
        }
        failed.is_none()
    })?;
    failed.map_or(Ok(page), Err)
}

enum Exported {
    Row(Row),
    /// It follows from another row.
    Follows,
}

/// A row under a key that begins with its viewer's, or a community post. `None` if it does not decode.
pub(super) fn of_account<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Row>, StoreError> {
    if let Some((viewer, _, post)) = bookmarks::by_viewer_row(k, v) {
        let held = bookmarks::get(r, viewer, post)?;
        return held.map(|held| bookmark(r, post, viewer, held)).transpose();
    }
    Ok(match row(r, k, v)? {
        Some(Exported::Row(row)) => Some(row),
        Some(Exported::Follows) | None => None,
    })
}

fn bookmark<R: Reader>(
    r: &R,
    post: PostId,
    viewer: ActorId,
    held: bookmarks::Bookmark,
) -> Result<Row, StoreError> {
    let (viewer, uri, key) = (r.did(viewer)?.to_string(), r.post_uri(post)?, held.key.to_string());
    Ok(Row::Bookmark { viewer, uri, cid: held.cid, key })
}

/// `None` if the row does not decode.
fn row<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Exported>, StoreError> {
    let did = |id: ActorId| r.did(id).map(|did| did.to_string());
    if let Some((post, viewer, held)) = bookmarks::by_post_row(k, v) {
        return Ok(Some(Exported::Row(bookmark(r, post, viewer, held)?)));
    }
    if let Some((owner, id, held)) = drafts::by_id_row(k, v) {
        let Ok(draft) = serde_json::from_str(&held.json) else { return Ok(None) };
        let (created_at, updated_at) = (Time(held.created), Time(held.updated));
        let (viewer, id) = (did(owner)?, id.to_string());
        return Ok(Some(Exported::Row(Row::Draft { viewer, id, created_at, updated_at, draft })));
    }
    if let Some((owner, Registration { at, platform, app_id, token, age_restricted })) =
        registrations::row(k, v)
    {
        let (viewer, platform, at) = (did(owner)?, platform.name().to_owned(), Time(at));
        let row = Row::Push { viewer, platform, app_id, token, age_restricted, at };
        return Ok(Some(Exported::Row(row)));
    }
    if let Some((id, held)) = community::content_row(k, v) {
        let (viewer, rkey) = (did(id.author)?, r.rkey_text(id.record().rkey)?);
        let (indexed_at, post) = (Time(held.indexed), dag_cbor::to_json(&r.unpack(&held.packed)?));
        return Ok(Some(Exported::Row(Row::CommunityPost { viewer, rkey, indexed_at, post })));
    }
    let mut key = ByteReader::new(k);
    let Some(tag) = key.u8() else { return Ok(None) };
    let follow = [
        bookmarks::BY_VIEWER,
        drafts::BY_TIME,
        subscriptions::BY_ACCOUNT,
        community::BY_TIME,
        community::BY_AUTHOR,
    ];
    if follow.contains(&tag) {
        return Ok(private::decodes(k, v).then_some(Exported::Follows));
    }
    if !private::decodes(k, v) {
        return Ok(None);
    }
    let operators = match tag {
        private::OPT_OUT => match (key.actor(), private::time(v)) {
            (Some(owner), Some(at)) => Some(Row::OptOut { did: did(owner)?, at: Time(at) }),
            _ => return Ok(None),
        },
        private::TAKEDOWN => match (key.target(), Takedown::decode(v)) {
            (Some(target), Some(Takedown { at, reference })) => {
                let (subject, at) = (r.target_text(target)?, Time(at));
                Some(Row::Takedown { subject, at, reference })
            }
            _ => return Ok(None),
        },
        private::BLOB_TAKEDOWN => match (key.actor(), Takedown::decode(v)) {
            (Some(owner), Some(Takedown { at, reference })) => {
                let Ok(cid) = std::str::from_utf8(key.rest()) else { return Ok(None) };
                let (did, cid, at) = (did(owner)?, cid.to_owned(), Time(at));
                Some(Row::BlobTakedown { did, cid, at, reference })
            }
            _ => return Ok(None),
        },
        _ => None,
    };
    if let Some(row) = operators {
        return Ok(Some(Exported::Row(row)));
    }
    let Some(viewer) = key.actor() else { return Ok(None) };
    let subject = if key.is_empty() { None } else { key.target() };
    let row = of_viewer(r, tag, viewer, subject, v)?;
    Ok(row.map(Exported::Row))
}

fn of_viewer<R: Reader>(
    r: &R,
    tag: u8,
    id: ActorId,
    subject: Option<Target>,
    v: &[u8],
) -> Result<Option<Row>, StoreError> {
    let viewer = r.did(id)?.to_string();
    let text = subject.map(|subject| r.target_text(subject)).transpose()?;
    let at = private::time(v).map(Time);
    if tag == private::PREFERENCES {
        let held = serde_json::from_slice(v).ok();
        return Ok(held.map(|preferences| Row::Preferences { viewer, preferences }));
    }
    let (Some(kind), Some(at)) = (Kind::of(tag), at) else { return Ok(None) };
    Ok(match (kind, text) {
        (Kind::MutedActor, Some(subject)) => Mute::decode(v).map(|mute| Row::Mute {
            viewer,
            subject,
            at,
            only_reposts: mute.only_reposts,
            only_quoteposts: mute.only_quoteposts,
        }),
        (Kind::MutedList, Some(list)) => Some(Row::ListMute { viewer, list, at }),
        (Kind::MutedThread, Some(root)) => Some(Row::ThreadMute { viewer, root, at }),
        (Kind::Subscription, Some(text)) => match subject {
            Some(Target::Actor(to)) => subscriptions::get(r, id, to)?.map(|held| {
                let (subject, post, reply) = (text, held.post, held.reply);
                Row::Subscription { viewer, subject, at, post, reply }
            }),
            _ => None,
        },
        (Kind::Seen, None) => Some(Row::Seen { viewer, at }),
        (Kind::Member, None) => Some(Row::Member { viewer, at }),
        (Kind::Priority, None) => Some(Row::Priority { viewer, at }),
        _ => None,
    })
}

/// What became of a row that was put into a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It was not there, or what was there was older.
    Written,
    /// There is one already, which stays.
    Kept,
    /// Its account is deleted or opted out, so it would have to go at once.
    Deleted,
    /// It changes more than the store, so whoever keeps that has to do it: members, opt-outs, and takedowns of accounts
    /// and records.
    NotHere,
}

/// Puts a checked row into the store. What is there stays, but for drafts and seen times that are older.
pub fn restore(tx: &mut Tx<'_>, row: &Row) -> Result<Restored, StoreError> {
    let viewer = match row.viewer() {
        Some(did) => tx.intern_actor(did)?,
        None => return operators(tx, row),
    };
    if tx.actor(viewer)?.is_some_and(|actor| actor.status == AccountStatus::Deleted) {
        return Ok(Restored::Deleted);
    }
    let written = match row {
        Row::Mute { subject, at, only_reposts, only_quoteposts, .. } => {
            let subject = tx.intern_actor(subject)?;
            let missing = private::mute(tx, viewer, subject)?.is_none();
            if missing {
                let (only_reposts, only_quoteposts) = (*only_reposts, *only_quoteposts);
                let mute = Mute { at: at.0, only_reposts, only_quoteposts };
                private::put_mute(tx, viewer, subject, mute)?;
            }
            missing
        }
        Row::ListMute { list, at, .. } => timed(tx, Kind::MutedList, viewer, Some(list), *at)?,
        Row::ThreadMute { root, at, .. } => timed(tx, Kind::MutedThread, viewer, Some(root), *at)?,
        Row::Subscription { subject, at, post, reply, .. } => {
            let subject = tx.intern_actor(subject)?;
            let missing = subscriptions::get(tx, viewer, subject)?.is_none();
            if missing {
                let to = Subscription { at: at.0, post: *post, reply: *reply };
                subscriptions::put(tx, viewer, subject, to)?;
            }
            missing
        }
        Row::Seen { at, .. } => {
            let newer = private::get(tx, Kind::Seen, viewer, None)?.is_none_or(|held| held < at.0);
            if newer {
                private::put(tx, Kind::Seen, viewer, None, at.0)?;
            }
            newer
        }
        Row::Priority { at, .. } => timed(tx, Kind::Priority, viewer, None, *at)?,
        Row::Preferences { preferences, .. } => {
            let missing = private::preferences(tx, viewer)?.is_none();
            if missing {
                private::put_preferences(tx, viewer, &preferences.to_string());
            }
            missing
        }
        Row::Bookmark { uri, cid, key, .. } => match (tx.intern_target(uri)?, Tid::parse(key)) {
            (Some(Target::Post(post)), Some(key)) => {
                bookmarks::restore(tx, viewer, post, key, cid)?
            }
            _ => false,
        },
        Row::Draft { id, created_at, updated_at, draft, .. } => match Tid::parse(id) {
            Some(id) => {
                let (created, updated) = (created_at.0.max(0), updated_at.0.max(0));
                let draft = drafts::Draft { created, updated, json: draft.to_string() };
                drafts::restore(tx, viewer, id, draft)?
            }
            None => false,
        },
        Row::Push { platform, app_id, token, age_restricted, at, .. } => {
            match Platform::parse(platform) {
                Some(platform) => {
                    let (app_id, token) = (app_id.clone(), token.clone());
                    let (at, age_restricted) = (at.0, *age_restricted);
                    let held = Registration { at, platform, app_id, token, age_restricted };
                    let missing = registrations::get(tx, viewer, &held.id())?.is_none();
                    if missing {
                        registrations::put(tx, viewer, &held)?;
                    }
                    missing
                }
                None => false,
            }
        }
        Row::CommunityPost { .. } if private::opted_out(tx, viewer)?.is_some() => {
            return Ok(Restored::Deleted);
        }
        Row::CommunityPost { rkey, indexed_at, post, .. } => {
            let new = community::NewPost::read(&dag_cbor::from_json(post));
            match community_id(viewer, rkey).zip(new) {
                Some((id, new)) if community::get(tx, id)?.is_none() => {
                    community::put(tx, id, &new, indexed_at.0)?;
                    true
                }
                _ => false,
            }
        }
        Row::Member { .. } => return Ok(Restored::NotHere),
        Row::Takedown { .. } | Row::BlobTakedown { .. } | Row::OptOut { .. } => false,
    };
    Ok(if written { Restored::Written } else { Restored::Kept })
}

fn timed(
    tx: &mut Tx<'_>,
    kind: Kind,
    viewer: ActorId,
    subject: Option<&String>,
    at: Time,
) -> Result<bool, StoreError> {
    let subject = match subject {
        Some(text) => tx.intern_target(text)?,
        None => None,
    };
    let missing = private::get(tx, kind, viewer, subject)?.is_none();
    if missing {
        private::put(tx, kind, viewer, subject, at.0)?;
    }
    Ok(missing)
}

fn operators(tx: &mut Tx<'_>, row: &Row) -> Result<Restored, StoreError> {
    let Row::BlobTakedown { did, cid, at, reference } = row else { return Ok(Restored::NotHere) };
    let owner = tx.intern_actor(did)?;
    if private::blob_takedown(tx, owner, cid)?.is_some() {
        return Ok(Restored::Kept);
    }
    let takedown = Takedown { at: at.0, reference: reference.clone() };
    private::set_blob_takedown(tx, owner, cid, Some(&takedown));
    Ok(Restored::Written)
}

#[cfg(test)]
#[path = "portable_tests.rs"]
mod tests;
