//! Posts and what their views show: records, counts, gates, the viewer's relation to them, blocks among third parties,
//! and everything that is embedded, two levels deep.
//!
//! Works on batches: each post, account, gate and label is read once however often a page names it.
//!
//! # Invariants
//! - Every post in [`PostState::posts`] has its author, and the authors of its parent, root and embed, in
//!   [`PostState::base`], as far as the store knows them.
//! - A parsed post is cached until its row changes. One with a reference that the store has no number for is not cached,
//!   because the number may come later.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::mute_set::MuteSet;
use super::own_edges::OwnEdges;
use super::post_record::{PostRecord, Postgate, RecordRef, Threadgate};
use super::post_state::{Post, PostBlocks, PostState, PostViewer, Repost};
use super::room::beyond_small;
use super::{Hydrator, Result};
use crate::private::{Kind, bookmarks};
use crate::schema::rows::{AggRow, Counter, EdgeKind, PostRow, post_flags};
use crate::schema::{ActorId, CollId, PostId, RecordId, Rows, Target, collections, rebuild};
use crate::store::{Ks, RowViews};

/// Parsed posts, by row.
pub(super) type PostCache = RowViews<Option<Post>>;

/// What a post is taken to be in memory.
const POST: u64 = 2048;

/// A cache of up to `entries` posts, two kilobytes each. What takes more than posts do counts as several.
pub(super) fn cache(entries: usize) -> PostCache {
    RowViews::of_sizes(entries, |post| {
        let memory = post.as_ref().map_or(0, |post| post.record.memory());
        1 + beyond_small(memory) as u64 / POST
    })
}

/// The record of the gate for a post.
fn gate_id(post: PostId, coll: CollId) -> RecordId {
    RecordId { actor: post.author, coll, rkey: post.rkey }
}

impl Hydrator<'_> {
    /// Reads a post; `None` if there is none, or if it is taken down.
    fn load_post(&self, id: PostId) -> Result<Option<Post>> {
        if self.is_taken_down(Target::Post(id)) { Ok(None) } else { self.read_post(id) }
    }

    /// Reads a post, taken down or not.
    pub(super) fn read_post(&self, id: PostId) -> Result<Option<Post>> {
        if id.is_community() {
            return self.read_community_post(id);
        }
        self.snapshot.view(&self.shared.posts, (Ks::Post, &id.to_bytes()), || {
            let row = self.snapshot.once(Ks::Post, &id.to_bytes(), PostRow::decode)?;
            let Some(row) = row else { return Ok((None, true)) };
            let value = self.snapshot.unpack(&row.packed)?;
            let cid = self.snapshot.digest(row.cid, &row.packed)?;
            let record = Arc::new(PostRecord::parse(self.snapshot, id, &value, &cid)?);
            let settled = record.is_settled();
            let post = Post { id, flags: row.flags, sort: row.sort_ms(id.rkey), record };
            Ok((Some(post), settled))
        })
    }

    /// Whether the operator took a subject down and the caller may not see it all the same.
    pub fn is_taken_down(&self, target: Target) -> bool {
        !self.ctx.include_takedowns && self.shared.takedowns.contains(target)
    }

    /// Adds posts to the state that are not there yet, as far as there is room.
    pub fn load_posts(
        &self,
        state: &mut PostState,
        ids: impl IntoIterator<Item = PostId>,
    ) -> Result<()> {
        let ids = ids.into_iter();
        let (posts, room) = (&mut state.posts, &mut state.base.room);
        posts.reserve(ids.size_hint().0);
        for id in ids {
            if let Entry::Vacant(slot) = posts.entry(id) {
                slot.insert(self.load_post(id)?.filter(|post| room.take(post.record.memory())));
            }
        }
        Ok(())
    }

    /// Hydrates `refs` as `app.bsky.feed.defs#postView`. Posts that are in the state already are not read again.
    pub fn posts(&self, state: &mut PostState, refs: &[PostId]) -> Result<()> {
        self.read_ahead(refs, 0, 0);
        self.load_posts(state, refs.iter().copied())?;
        // First level of embeds, and roots for their gates.
        let mut embeds = Embeds::default();
        let mut roots = FxHashSet::default();
        for post in refs.iter().filter_map(|id| state.post(*id)) {
            embeds.add(post);
            roots.extend(post.root());
        }
        let first = std::mem::take(&mut embeds.posts);
        self.load_posts(state, first.iter().copied().chain(roots.iter().copied()))?;
        for post in first.iter().filter_map(|id| state.post(*id)) {
            embeds.add(post);
        }
        let second = std::mem::take(&mut embeds.posts);
        self.load_posts(state, second.iter().copied())?;

        let mut shown: Vec<PostId> = refs.to_vec();
        shown.extend(first);
        shown.extend(second);
        shown.sort_unstable();
        shown.dedup();
        self.threadgates(state, roots, &mut embeds)?;
        self.post_relations(state, &shown)?;
        self.embedded_records(state, &embeds)?;
        self.post_authors(state)?;
        self.post_sites(state, &shown)?;
        self.post_labels(state)
    }

    /// Gates of the threads' first posts, and whether the viewer is on the lists that they name.
    fn threadgates(
        &self,
        state: &mut PostState,
        roots: FxHashSet<PostId>,
        embeds: &mut Embeds,
    ) -> Result<()> {
        for root in roots {
            let gated = state.post(root).is_none_or(|p| p.has(post_flags::HAS_THREADGATE));
            if !gated || state.threadgates.contains_key(&root) {
                continue;
            }
            let gate = self.threadgate(root)?.filter(|gate| state.base.room.take(gate.memory()));
            let Some(gate) = gate else { continue };
            for list in gate.lists().filter_map(RecordRef::record) {
                embeds.records.insert(list);
                if let Some(viewer) = self.ctx.viewer
                    && self.is_member(list, viewer)?
                {
                    state.viewer_lists.insert(list);
                }
            }
            state.threadgates.insert(root, gate);
        }
        Ok(())
    }

    /// The thread gate of a post. Gates that are taken down do not count, whoever asks.
    pub fn threadgate(&self, post: PostId) -> Result<Option<Threadgate>> {
        if post.is_community() {
            return self.community_threadgate(post);
        }
        let id = gate_id(post, collections::THREADGATE);
        let Some(row) = self.snapshot.record(id)?.filter(|row| row.valid) else { return Ok(None) };
        if self.shared.takedowns.contains(Target::Record(id)) {
            return Ok(None);
        }
        let value = self.snapshot.unpack(&row.packed)?;
        let uri = self.snapshot.uri(id)?.into();
        let cid = self.snapshot.digest(row.cid, &row.packed)?;
        Threadgate::parse(self.snapshot, uri, &value, &cid).map(Some)
    }

    fn postgate(&self, post: PostId) -> Result<Option<Postgate>> {
        if post.is_community() {
            return self.community_postgate(post);
        }
        let id = gate_id(post, collections::POSTGATE);
        let Some(row) = self.snapshot.record(id)?.filter(|row| row.valid) else { return Ok(None) };
        if self.shared.takedowns.contains(Target::Record(id)) {
            return Ok(None);
        }
        Ok(Some(Postgate::parse(&self.snapshot.unpack(&row.packed)?)))
    }

    /// Counters, post gates and the viewer's relation.
    fn post_relations(&self, state: &mut PostState, shown: &[PostId]) -> Result<()> {
        let muted = self.ctx.viewer.map(|viewer| self.mute_set(viewer)).transpose()?;
        let mut own_edges = OwnEdges::default();
        state.viewers.reserve(shown.len());
        state.base.aggs.reserve(shown.len());
        for &id in shown {
            let Some(post) = state.post(id).cloned() else { continue };
            if post.has(post_flags::HAS_POSTGATE)
                && let Some(gate) = self.postgate(id)?
            {
                state.postgates.insert(id, gate);
            }
            let agg = self.post_agg(state, id)?;
            if let Some((viewer, muted)) = self.ctx.viewer.zip(muted.as_deref())
                && !state.viewers.contains_key(&id)
            {
                let relation = self.post_viewer(&mut own_edges, muted, &post, agg, viewer)?;
                state.viewers.insert(id, relation);
            } else if self.ctx.signed_in {
                state.viewers.entry(id).or_default();
            }
        }
        Ok(())
    }

    /// The counters of a post, read once for a state.
    pub(super) fn post_agg(&self, state: &mut PostState, id: PostId) -> Result<AggRow> {
        let target = Target::Post(id);
        Ok(match state.base.aggs.entry(target) {
            Entry::Occupied(held) => *held.get(),
            Entry::Vacant(slot) => *slot.insert(self.snapshot.agg(target)?),
        })
    }

    fn post_viewer(
        &self,
        own_edges: &mut OwnEdges,
        muted: &MuteSet,
        post: &Post,
        agg: AggRow,
        viewer: ActorId,
    ) -> Result<PostViewer> {
        let root = post.root_target();
        // Where the counter is 0 nobody has liked or reposted, so the viewer's own record is not looked up.
        let mut own = |counter, kind| match agg.get(counter) {
            0 => Ok(None),
            _ => self.own_edge(own_edges, kind, post.id, viewer),
        };
        Ok(PostViewer {
            like: own(Counter::Likes, EdgeKind::Like)?,
            repost: own(Counter::Reposts, EdgeKind::Repost)?,
            bookmarked: agg.get(Counter::Bookmarks) > 0
                && bookmarks::get(self.snapshot, viewer, post.id)?.is_some(),
            thread_muted: match (root, &muted.threads) {
                (Some(root), Some(threads)) => threads.contains(&root),
                (Some(root), None) => self.has_muted(viewer, Kind::MutedThread, root)?,
                (None, _) => false,
            },
        })
    }

    fn embedded_records(&self, state: &mut PostState, embeds: &Embeds) -> Result<()> {
        let of = |coll: CollId| -> Vec<RecordId> {
            embeds.records.iter().copied().filter(|r| r.coll == coll).collect()
        };
        let base = &mut state.base;
        self.lists(base, &of(collections::LIST))?;
        self.feed_generators(base, &of(collections::GENERATOR))?;
        self.starter_packs_basic(base, &of(collections::STARTERPACK))?;
        let labelers: Vec<ActorId> = of(collections::LABELER).iter().map(|r| r.actor).collect();
        self.labelers(base, &labelers)
    }

    /// Accounts of everybody whom the posts name, and blocks between them.
    fn post_authors(&self, state: &mut PostState) -> Result<()> {
        let mut actors: FxHashSet<ActorId> = state.posts.keys().map(|p| p.author).collect();
        let mut pairs = Vec::with_capacity(state.posts.len());
        state.blocks.reserve(state.posts.len());
        for post in state.posts.values().flatten() {
            if state.blocks.contains_key(&post.id) {
                continue;
            }
            let author = post.id.author;
            let reply = post.record.reply.as_ref();
            let parent = reply.and_then(|r| r.parent.actor).filter(|a| *a != author);
            let root = reply.and_then(|r| r.root.actor).filter(|a| *a != author);
            let embed = post.embedded().and_then(|r| r.actor);
            // The owner of an embedded record is read even if the record is gone: the view of what is gone says whether the
            // viewer and the owner block each other.
            actors.extend(embed);
            pairs.push((post.id, [embed, parent, root]));
        }
        let flat =
            pairs.iter().flat_map(|(id, with)| with.iter().flatten().map(|w| (id.author, *w)));
        self.blocks(&mut state.base, flat)?;
        for (id, [embed, parent, root]) in pairs {
            let is = |with: Option<ActorId>| with.is_some_and(|w| state.base.blocked(id.author, w));
            let blocks = PostBlocks { embed: is(embed), parent: is(parent), root: is(root) };
            state.blocks.insert(id, blocks);
        }
        let actors: Vec<ActorId> = actors.into_iter().collect();
        self.profiles(&mut state.base, &actors)
    }

    fn post_labels(&self, state: &mut PostState) -> Result<()> {
        let ids: Vec<PostId> =
            state.posts.iter().filter(|(_, p)| p.is_some()).map(|(id, _)| *id).collect();
        self.labels(&mut state.base, ids.iter().map(|id| Target::Post(*id)))?;
        if !self.ctx.include_takedowns {
            for id in ids {
                if state.base.labels.get(&Target::Post(id)).is_some_and(|l| l.takedown) {
                    state.posts.insert(id, None);
                }
            }
        }
        Ok(())
    }

    /// Reads a repost for the reason of a feed item; `None` if it is gone or taken down.
    pub fn repost(&self, id: RecordId) -> Result<Option<Repost>> {
        if self.is_taken_down(Target::Record(id)) {
            return Ok(None);
        }
        let Some(edge) = self.snapshot.edge(EdgeKind::Repost, id.actor, id.rkey)? else {
            return Ok(None);
        };
        let record =
            rebuild::edge_record(self.snapshot, EdgeKind::Repost, id.actor, id.rkey, &edge)?;
        let Some((_, digest)) = record else { return Ok(None) };
        Ok(Some(Repost {
            uri: self.snapshot.uri(id)?,
            cid: super::record::record_cid(&digest),
            sort: edge.sort_ms(id.rkey),
            subject: edge.target,
        }))
    }
}

/// What is embedded, by kind.
#[derive(Default)]
struct Embeds {
    posts: Vec<PostId>,
    records: FxHashSet<RecordId>,
}

impl Embeds {
    fn add(&mut self, post: &Post) {
        match post.embedded().and_then(|r| r.target) {
            Some(Target::Post(id)) => self.posts.push(id),
            Some(Target::Record(id)) => {
                self.records.insert(id);
            }
            _ => {}
        }
    }
}
