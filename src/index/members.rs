//! Members: accounts that called with a valid token, for whom notifications are kept.
//!
//! A notification of everybody's would double the size of a like. So rows are written for members only, and a new
//! member's are built from the index at the first call, by the same rules in [`super::notify`].

use rustc_hash::FxHashSet;

use super::{Index, fields, notify, posts};
use crate::store::rows::{
    EdgeKind, FanRow, FeedRow, NotifRow, Order, Reason, feed_prefix, order_prefix, rev_prefix,
};
use crate::store::{
    ActorId, Ks, PostId, Reader, Snapshot, Store, StoreError, Target, Tx, Writer, ids::ByteReader,
    private,
};

/// The set of members, in memory.
#[derive(Debug, Default)]
pub struct Members(parking_lot::RwLock<FxHashSet<ActorId>>);

impl Members {
    pub(super) fn load(snapshot: &Snapshot) -> Result<Self, StoreError> {
        Ok(Self(parking_lot::RwLock::new(private::members(snapshot)?.into_iter().collect())))
    }

    /// Whether notifications of this account are kept.
    #[must_use]
    pub fn contains(&self, actor: ActorId) -> bool {
        self.0.read().contains(&actor)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.read().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }

    pub(super) fn remove(&self, tx: &mut Tx<'_>, actor: ActorId) {
        private::remove(tx, private::Kind::Member, actor, None);
        self.0.write().remove(&actor);
    }
}

/// Posts of a new member that are looked through for likes, reposts, replies and quotes.
const POSTS: usize = 5000;
/// Rows taken from one list.
const ROWS: usize = 10_000;

impl Index {
    /// Makes an account a member and answers when its notifications are there. Cheap if it is one already.
    pub async fn ensure_member(
        self: &std::sync::Arc<Self>,
        store: &Store,
        writer: &Writer,
        actor: ActorId,
        now: i64,
    ) -> Result<(), StoreError> {
        if self.members.contains(actor) {
            return Ok(());
        }
        // From the next event on rows are written live; the snapshot after that has everything before.
        let this = std::sync::Arc::clone(self);
        writer
            .durable(move |_| {
                this.members.0.write().insert(actor);
                Ok(())
            })
            .await?;
        let store = store.clone();
        let built = tokio::task::spawn_blocking(move || build(&store.snapshot(), actor)).await;
        let rows = built.map_err(|_| StoreError::Closed)??;
        writer
            .durable(move |tx| {
                for row in &rows {
                    tx.put(Ks::Notif, &row.key(actor), &row.encode());
                }
                private::put(tx, private::Kind::Member, actor, None, now)
            })
            .await
    }
}

/// The notifications that an account would have if it had been a member all along.
fn build(s: &Snapshot, me: ActorId) -> Result<Vec<NotifRow>, StoreError> {
    let mut out = Vec::new();
    let row =
        |sort, author, reason, rkey, subject| NotifRow { sort, author, reason, rkey, subject };
    for (fan, f) in fans(s, EdgeKind::Follow, Target::Actor(me))? {
        out.push(row(f.sort_ms(), fan, Reason::Follow, f.rkey, Some(Target::Actor(me))));
    }
    for (fan, f) in fans(s, EdgeKind::Verification, Target::Actor(me))? {
        out.push(row(f.sort_ms(), fan, Reason::Verified, f.rkey, None));
    }
    let mut candidates = listed(s, Order::Mentions, Target::Actor(me))?;
    for entry in feed(s, me)? {
        let Some(repost_of) = entry.repost_of else {
            let target = Target::Post(PostId { author: me, rkey: entry.rkey });
            for (kind, reason) in
                [(EdgeKind::Like, Reason::Like), (EdgeKind::Repost, Reason::Repost)]
            {
                for (fan, f) in fans(s, kind, target)? {
                    out.push(row(f.sort_ms(), fan, reason, f.rkey, Some(target)));
                }
            }
            candidates.extend(listed(s, Order::Quotes, target)?);
            below(s, PostId { author: me, rkey: entry.rkey }, &mut candidates)?;
            continue;
        };
        via(s, me, entry.rkey, repost_of, &mut out)?;
    }
    out.retain(|n| n.author != me);
    candidates.sort_unstable();
    candidates.dedup();
    for post in candidates {
        out.extend(notify::of_post(s, post, me)?);
    }
    let mut kept = Vec::with_capacity(out.len());
    for n in out {
        if !notify::muted_thread(s, me, n.subject)? {
            kept.push(n);
        }
    }
    Ok(kept)
}

fn fans(
    s: &Snapshot,
    kind: EdgeKind,
    target: Target,
) -> Result<Vec<(ActorId, FanRow)>, StoreError> {
    let prefix = rev_prefix(kind, target);
    let mut out = Vec::new();
    s.scan_prefix(Ks::Rev, &prefix, &mut |k, v| {
        let mut rest = ByteReader::new(k.get(prefix.len()..).unwrap_or_default());
        let fan = rest.actor().filter(|_| rest.is_empty());
        out.extend(fan.zip(FanRow::decode(v)));
        out.len() < ROWS
    })?;
    Ok(out)
}

fn listed(s: &Snapshot, order: Order, target: Target) -> Result<Vec<PostId>, StoreError> {
    let prefix = order_prefix(order, target);
    let mut out = Vec::new();
    s.scan_prefix(Ks::Order, &prefix, &mut |k, _| {
        let mut rest = ByteReader::new(k.get(prefix.len()..).unwrap_or_default());
        let _sort = rest.newest_first();
        out.extend(rest.post());
        out.len() < ROWS
    })?;
    Ok(out)
}

fn feed(s: &Snapshot, me: ActorId) -> Result<Vec<FeedRow>, StoreError> {
    let mut out = Vec::new();
    s.scan_prefix(Ks::Feed, &feed_prefix(me), &mut |k, v| {
        out.extend(FeedRow::decode(k, v).map(|(_, row)| row));
        out.len() < POSTS
    })?;
    Ok(out)
}

/// Replies that are near enough below a post to notify its author.
fn below(s: &Snapshot, post: PostId, out: &mut Vec<PostId>) -> Result<(), StoreError> {
    let mut level = vec![post];
    for _ in 1..posts::REPLY_NOTIF_DEPTH {
        let mut next = Vec::new();
        for p in level {
            next.extend(posts::children(s, p, ROWS)?);
        }
        out.extend_from_slice(&next);
        level = next;
        if level.is_empty() || out.len() > ROWS {
            break;
        }
    }
    Ok(())
}

/// Likes and reposts of a post that came through this account's repost of it.
fn via(
    s: &Snapshot,
    me: ActorId,
    rkey: crate::store::Rkey,
    post: PostId,
    out: &mut Vec<NotifRow>,
) -> Result<(), StoreError> {
    let repost =
        crate::store::RecordId { actor: me, coll: crate::store::collections::REPOST, rkey };
    let kinds =
        [(EdgeKind::Like, Reason::LikeViaRepost), (EdgeKind::Repost, Reason::RepostViaRepost)];
    for (kind, reason) in kinds {
        for (fan, f) in fans(s, kind, Target::Post(post))? {
            let id = crate::store::RecordId { actor: fan, coll: kind.collection(), rkey: f.rkey };
            let Some(row) = s.record(id)? else { continue };
            let value = s.unpack(&row.packed)?;
            let Some(uri) = fields::ref_uri(&value, "via") else { continue };
            if s.target(uri)? == Some(Target::Record(repost)) {
                out.push(NotifRow {
                    sort: f.sort_ms(),
                    author: fan,
                    reason,
                    rkey: f.rkey,
                    subject: Some(Target::Record(repost)),
                });
            }
        }
    }
    Ok(())
}
