//! Community posts as posts: the same state and views, read from where their content is kept.
//!
//! # Invariants
//! - Nothing here gives a post to whom [`super::HydrateCtx::community`] does not let in, so no other method shows one.

use ipld_core::ipld::Ipld;

use super::page::{Collector, Page, TimeCursor};
use super::post_record::{PostRecord, Postgate, Threadgate};
use super::post_state::Post;
use super::record::record_cid;
use super::timeline::FeedItem;
use super::{Hydrator, Result};
use crate::private::community;
use crate::repo::fields::{field, text};
use crate::schema::rows::{RecordRow, post_flags};
use crate::schema::{ActorId, CollId, PostId, RecordId, Rows, Target, collections as c};

/// The member of a submission that says who may reply.
const ALLOW: &str = "threadgateAllow";
/// The member of a submission that says who may quote.
const EMBEDDING: &str = "embeddingRules";

impl Hydrator<'_> {
    /// A page of the posts of everybody or of one author, the newest first.
    pub fn community_posts(
        &self,
        author: Option<ActorId>,
        limit: usize,
        cursor: Option<&TimeCursor>,
    ) -> Result<Page<FeedItem>> {
        if !self.ctx.community {
            return Ok(Page::empty());
        }
        let mut items = Collector::new(limit, cursor);
        let from = cursor.map(|c| c.ms);
        community::scan(self.snapshot, author, from, &mut |ms, post| {
            items.push(ms, FeedItem::post(post))
        })?;
        items.page(|item| self.community_cid(item.post))
    }

    pub(super) fn community_cid(&self, id: PostId) -> Result<String> {
        let held = community::get(self.snapshot, id)?;
        Ok(held.map_or_else(|| "0".to_owned(), |held| record_cid(&held.cid)))
    }

    pub(super) fn read_community_post(&self, id: PostId) -> Result<Option<Post>> {
        if !self.ctx.community {
            return Ok(None);
        }
        let Some(held) = community::get(self.snapshot, id)? else { return Ok(None) };
        let content = self.snapshot.unpack(&held.packed)?;
        let mut flags = 0;
        for (flag, coll, member) in [
            (post_flags::HAS_THREADGATE, c::COMMUNITY_THREADGATE, ALLOW),
            (post_flags::HAS_POSTGATE, c::COMMUNITY_POSTGATE, EMBEDDING),
        ] {
            if field(&content, member).is_some() || self.gate_row(id, coll)?.is_some() {
                flags |= flag;
            }
        }
        let record = PostRecord::parse(self.snapshot, id, &community::shown(&content), &held.cid)?;
        Ok(Some(Post { id, flags, sort: held.sort, record: record.into() }))
    }

    /// The gate that the author wrote under the post's record key.
    fn gate_row(&self, post: PostId, coll: CollId) -> Result<Option<(RecordId, RecordRow)>> {
        let id = RecordId { coll, ..post.record() };
        let row = self.snapshot.record(id)?.filter(|row| row.valid);
        Ok(row.map(|row| (id, row)).filter(|_| !self.shared.takedowns.contains(Target::Record(id))))
    }

    /// A gate's record if it says that it is for the post, else what the post was submitted with.
    fn gate(&self, post: PostId, coll: CollId) -> Result<Option<GateRecord>> {
        if let Some((id, row)) = self.gate_row(post, coll)? {
            let value = self.snapshot.unpack(&row.packed)?;
            if text(&value, "post").is_some_and(|uri| self.names(uri, post)) {
                let cid = self.snapshot.digest(row.cid, &row.packed)?;
                return Ok(Some(GateRecord { uri: self.snapshot.uri(id)?, value, cid }));
            }
        }
        let Some(held) = community::get(self.snapshot, post)? else { return Ok(None) };
        let content = self.snapshot.unpack(&held.packed)?;
        Ok(Some(GateRecord { uri: String::new(), value: content, cid: held.cid }))
    }

    fn names(&self, uri: &str, post: PostId) -> bool {
        self.snapshot.target(uri).is_ok_and(|target| target == Some(Target::Post(post)))
    }

    pub(super) fn community_threadgate(&self, post: PostId) -> Result<Option<Threadgate>> {
        let Some(gate) = self.gate(post, c::COMMUNITY_THREADGATE)? else { return Ok(None) };
        let mut value = gate.value;
        if gate.uri.is_empty() {
            let Some(allow) = field(&value, ALLOW).cloned() else { return Ok(None) };
            value = Ipld::Map([("allow".to_owned(), allow)].into());
        }
        Threadgate::parse(self.snapshot, gate.uri.into(), &value, &gate.cid).map(Some)
    }

    pub(super) fn community_postgate(&self, post: PostId) -> Result<Option<Postgate>> {
        Ok(self.gate(post, c::COMMUNITY_POSTGATE)?.map(|gate| Postgate::parse(&gate.value)))
    }
}

/// What says who may do what with a post.
struct GateRecord {
    /// Empty if it is the submission.
    uri: String,
    value: Ipld,
    cid: [u8; 32],
}
