//! Posts and what their views show: records, counts, gates, the viewer's relation to them, blocks among third parties,
//! and everything that is embedded, two levels deep.
//!
//! Works on batches: each post, account, gate and label is read once however often a page names it.
//!
//! # Invariants
//! - Every post in [`PostState::posts`] has its author, and the authors of its parent, root and embed, in
//!   [`PostState::base`], as far as the store knows them.
//! - A parsed post is kept for as long as its row does not change, and only if its references cannot resolve
//!   differently later.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::made::OwnEdges;
use super::post_record::{PostRecord, Postgate, RecordRef, Threadgate};
use super::shared::Muted;
use super::site::SitePair;
use super::{Hydrator, Result, State};
use crate::private::{Kind, bookmarks};
use crate::schema::rows::{AggRow, Counter, EdgeKind, PostRow, post_flags};
use crate::schema::{ActorId, CollId, PostId, RecordId, Rows, Target, collections, rebuild};
use crate::store::{Ks, Reader};

/// A post that is shown.
#[derive(Debug, Clone)]
pub struct Post {
    /// Which post.
    pub id: PostId,
    /// See [`post_flags`].
    pub flags: u16,
    /// `sortAt`: what views call `indexedAt`, milliseconds.
    pub sort: i64,
    /// The record.
    pub record: Arc<PostRecord>,
}

impl Post {
    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The URI of the thread's first post: its own if it is not a reply.
    #[must_use]
    pub fn root_uri(&self) -> &Arc<str> {
        self.record.reply.as_ref().map_or(&self.record.uri, |r| &r.root.uri)
    }

    /// The thread's first post, if the store has a number for it.
    #[must_use]
    pub fn root(&self) -> Option<PostId> {
        match &self.record.reply {
            Some(reply) => reply.root.post(),
            None => Some(self.id),
        }
    }

    /// What a mute of the thread is kept under, if the store has a number for it.
    #[must_use]
    pub fn root_target(&self) -> Option<Target> {
        match &self.record.reply {
            Some(reply) => reply.root.target,
            None => Some(Target::Post(self.id)),
        }
    }

    /// The parent, if it is a reply to a post that the store has a number for.
    #[must_use]
    pub fn parent(&self) -> Option<PostId> {
        self.record.reply.as_ref().and_then(|r| r.parent.post())
    }

    /// The record in its embed.
    #[must_use]
    pub fn embedded(&self) -> Option<&RecordRef> {
        self.record.embed.as_ref().and_then(|e| e.record())
    }

    /// Whether it quotes a post.
    #[must_use]
    pub fn is_quote(&self) -> bool {
        let posts = [Some(collections::POST), Some(collections::COMMUNITY_POST)];
        self.embedded().is_some_and(|r| posts.contains(&r.coll))
    }
}

/// The viewer's relation to a post.
#[derive(Debug, Clone, Default)]
pub struct PostViewer {
    /// URI of the viewer's like.
    pub like: Option<String>,
    /// URI of the viewer's repost.
    pub repost: Option<String>,
    /// Whether the viewer bookmarked it.
    pub bookmarked: bool,
    /// Whether the viewer muted the thread.
    pub thread_muted: bool,
}

/// Blocks between a post's author and others.
#[derive(Debug, Clone, Copy, Default)]
pub struct PostBlocks {
    /// With the owner of the embedded record.
    pub embed: bool,
    /// With the author of the parent.
    pub parent: bool,
    /// With the author of the root.
    pub root: bool,
}

/// A repost that gives a feed item its reason.
#[derive(Debug, Clone)]
pub struct Repost {
    /// Its URI.
    pub uri: String,
    /// Its CID.
    pub cid: String,
    /// `sortAt`, milliseconds.
    pub sort: i64,
    /// What it reposts.
    pub subject: Target,
}

/// Who liked a post among those whom the viewer follows.
#[derive(Debug, Clone)]
pub struct KnownLikers {
    /// The post.
    pub post: PostId,
    /// How many of the latest likers.
    pub count: u64,
    /// Some of them, the latest first.
    pub actors: Vec<ActorId>,
}

/// Everything that post views need.
#[derive(Default)]
pub struct PostState {
    /// Accounts, lists, feed generators, labels.
    pub base: State,
    /// Posts; `None` for those that are not there or not to be shown.
    pub posts: FxHashMap<PostId, Option<Post>>,
    /// The viewer's relation; empty for anonymous callers.
    pub viewers: FxHashMap<PostId, PostViewer>,
    /// Third-party blocks.
    pub blocks: FxHashMap<PostId, PostBlocks>,
    /// Thread gates by the post they are for.
    pub threadgates: FxHashMap<PostId, Threadgate>,
    /// Post gates by the post they are for.
    pub postgates: FxHashMap<PostId, Postgate>,
    /// Lists in thread gates that the viewer is on.
    pub viewer_lists: FxHashSet<RecordId>,
    /// URI of the thread author's like, by post; only in threads.
    pub root_author_likes: FxHashMap<PostId, String>,
    /// Records behind the links of posts.
    pub sites: FxHashMap<PostId, SitePair>,
    /// Reposts.
    pub reposts: FxHashMap<RecordId, Repost>,
    /// Known likers of a thread's anchor.
    pub known_likers: Option<KnownLikers>,
}

impl PostState {
    /// A state that holds nothing yet.
    #[must_use]
    pub fn new(h: &Hydrator<'_>) -> Self {
        Self { base: h.state(), ..Self::default() }
    }

    /// A post that is to be shown.
    #[must_use]
    pub fn post(&self, id: PostId) -> Option<&Post> {
        self.posts.get(&id)?.as_ref()
    }

    /// The same for a reference.
    #[must_use]
    pub fn post_at(&self, r: &RecordRef) -> Option<&Post> {
        self.post(r.post()?)
    }
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
            let record = Arc::new(PostRecord::parse(self.snapshot, id, &value, &row.cid)?);
            let settled = record.is_settled();
            let post = Post { id, flags: row.flags, sort: row.sort_ms(id.rkey), record };
            Ok((Some(post), settled))
        })
    }

    /// Whether the operator took a subject down and the caller may not see it all the same.
    pub fn is_taken_down(&self, target: Target) -> bool {
        !self.ctx.include_takedowns && self.shared.takedowns.contains(target)
    }

    /// Adds posts to the state that are not there yet.
    pub fn load_posts(
        &self,
        state: &mut PostState,
        ids: impl IntoIterator<Item = PostId>,
    ) -> Result<()> {
        let ids = ids.into_iter();
        state.posts.reserve(ids.size_hint().0);
        for id in ids {
            if let Entry::Vacant(slot) = state.posts.entry(id) {
                slot.insert(self.load_post(id)?);
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
            let Some(gate) = self.threadgate(root)? else { continue };
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
        Threadgate::parse(self.snapshot, uri, &value, &row.cid).map(Some)
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
        let muted = self.ctx.viewer.map(|viewer| self.muted_by(viewer)).transpose()?;
        let mut made = OwnEdges::default();
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
                let relation = self.post_viewer(&mut made, muted, &post, agg, viewer)?;
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
        made: &mut OwnEdges,
        muted: &Muted,
        post: &Post,
        agg: AggRow,
        viewer: ActorId,
    ) -> Result<PostViewer> {
        let root = post.root_target();
        // What nobody did the viewer did not do.
        let mut own = |counter, kind| match agg.get(counter) {
            0 => Ok(None),
            _ => self.own_edge(made, kind, post.id, viewer),
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
            // The owners of embedded records that are gone are asked for the viewer's blocks with them.
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
