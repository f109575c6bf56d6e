//! Whether a post of an account that is not kept stays because of one that is.
//!
//! It stays if it, or something that refers to it, touches a kept account:
//!
//! - **It touches one** ([`touches`]): it answers, quotes or mentions it, is in a thread that it began, or stands
//!   within [`ABOVE`] replies below a post of it. One or two reads for most posts, more for deep replies.
//! - **It is liked, reposted or bookmarked by one**: one read of its counters says for most posts that nobody did.
//!   If somebody did, the fans are looked through, or if the kept accounts are fewer than the fans, those are looked
//!   for among them. The posts of an account stay too while a member subscribes to its activity.
//! - **Its replies and quotes, and theirs**, down to the last ([`referred`]): so the thread above a post that stays is
//!   held up to its root, and the posts that it quotes are. More than [`BELOW`] of them are not looked through; the
//!   post stays then, and goes once enough of the leaves below it have gone.
//!
//! What none of this finds is linked to nobody. One gap is known: a root is found through the replies above the one that
//! a kept account wrote, so where one of these was never held, or was deleted by its author, the root goes with age.

use rustc_hash::FxHashSet;

use super::kept::Kept;
use super::names::Known;
use super::posts::{self, Refs};
use crate::private::{community, subscriptions};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{AggRow, Counter, EdgeKind, Order, order_prefix, rev_prefix};
use crate::schema::{PostId, Rows, Target};
use crate::store::{Ks, Reader, StoreError};

/// How far above a reply a post of a kept account may be: as far down as a client shows a thread.
const ABOVE: usize = 10;
/// Most posts below one that are looked through.
const BELOW: usize = 500;
/// Most fans of a post that are looked through.
const FANS: u64 = 20_000;

/// Whether a post says anything about a kept account.
pub(super) fn touches<R: Reader>(r: &R, kept: &Kept, refs: &Refs) -> Result<bool, StoreError> {
    if names_kept(kept, refs) {
        return Ok(true);
    }
    let mut next = refs.parent;
    for _ in 1..ABOVE {
        let Some(above) = next else { break };
        let Some(row) = r.post(above)? else { break };
        let refs = posts::refs(&mut Known(r), &r.unpack(&row.packed)?)?;
        if refs.parent.is_some_and(|p| kept.contains(p.author)) {
            return Ok(true);
        }
        next = refs.parent;
    }
    Ok(false)
}

fn names_kept(kept: &Kept, refs: &Refs) -> bool {
    let posts = [refs.parent, refs.root].into_iter().flatten().map(|p| p.author);
    let embed = refs.embed.map(Target::actor);
    posts.chain(embed).chain(refs.mentions.iter().copied()).any(|a| kept.contains(a))
}

/// Whether a kept account liked, reposted, bookmarked, answered or quoted a post, or anything below it touches one. The
/// post itself need not be held.
pub(super) fn referred<R: Reader>(r: &R, kept: &Kept, post: PostId) -> Result<bool, StoreError> {
    // A member is told of these posts.
    if !subscriptions::of_account(r, post.author)?.is_empty() {
        return Ok(true);
    }
    let mut seen: FxHashSet<PostId> = FxHashSet::default();
    seen.insert(post);
    let mut queue = vec![post];
    while let Some(at) = queue.pop() {
        let agg = r.agg(Target::Post(at))?;
        if has_kept_fan(r, kept, at, &agg)? {
            return Ok(true);
        }
        if at != post
            && let Some(row) = r.post(at)?
            && names_kept(kept, &posts::refs(&mut Known(r), &r.unpack(&row.packed)?)?)
        {
            return Ok(true);
        }
        for (order, any) in [(Order::Replies, true), (Order::Quotes, agg.get(Counter::Quotes) > 0)]
        {
            if !any {
                continue;
            }
            for below in referrers(r, order, at)? {
                if kept.contains(below.author) {
                    return Ok(true);
                }
                if seen.insert(below) {
                    queue.push(below);
                }
            }
            if seen.len() > BELOW {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn referrers<R: Reader>(r: &R, order: Order, post: PostId) -> Result<Vec<PostId>, StoreError> {
    let prefix = order_prefix(order, Target::Post(post));
    let mut out = Vec::new();
    r.scan_prefix(Ks::Order, &prefix, &mut |k, _| {
        let mut rest = ByteReader::new(k.get(prefix.len()..).unwrap_or_default());
        let _sort = rest.newest_first();
        out.extend(rest.post());
        out.len() <= BELOW
    })?;
    Ok(out)
}

fn has_kept_fan<R: Reader>(
    r: &R,
    kept: &Kept,
    post: PostId,
    agg: &AggRow,
) -> Result<bool, StoreError> {
    if agg.get(Counter::Bookmarks) > 0 {
        return Ok(true);
    }
    for (counter, kind) in [(Counter::Likes, EdgeKind::Like), (Counter::Reposts, EdgeKind::Repost)]
    {
        if is_fan(r, kept, kind, Target::Post(post), agg.get(counter))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a kept account is among the `count` fans.
fn is_fan<R: Reader>(
    r: &R,
    kept: &Kept,
    kind: EdgeKind,
    target: Target,
    count: u64,
) -> Result<bool, StoreError> {
    if count == 0 {
        return Ok(false);
    }
    let (members, followed) = kept.len();
    let of_kept = (members + followed) as u64;
    if of_kept < count {
        // Too many of both to tell: what this many like is seldom, and stays.
        if of_kept > FANS {
            return Ok(true);
        }
        for fan in kept.all() {
            if r.fan(kind, target, fan)?.is_some() {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    let prefix = rev_prefix(kind, target);
    let mut found = false;
    r.scan_prefix(Ks::Rev, &prefix, &mut |k, _| {
        let mut rest = ByteReader::new(k.get(prefix.len()..).unwrap_or_default());
        found = rest.actor().is_some_and(|fan| kept.contains(fan));
        !found
    })?;
    Ok(found)
}

/// Whether a like or repost of this stays: its subject is of a kept account, or it is held.
pub(super) fn subject_stays<R: Reader>(
    r: &R,
    kept: &Kept,
    target: Target,
) -> Result<bool, StoreError> {
    if kept.contains(target.actor()) {
        return Ok(true);
    }
    match target {
        Target::Actor(_) => Ok(false),
        Target::Post(post) if post.is_community() => community::has(r, post),
        Target::Post(post) => r.has(Ks::Post, &post.to_bytes()),
        Target::Record(id) => r.has(Ks::Record, &id.to_bytes()),
    }
}
