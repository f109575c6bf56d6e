//! Whose repos a member's reading needs: whom the account follows, and who wrote what its newest posts answer, quote
//! and repost when that is not held.

use super::names::Known;
use super::posts;
use crate::schema::rows::{EdgeKind, EdgeRow, FeedRow, feed_prefix, fwd_prefix};
use crate::schema::{ActorId, PostId, Rows, Target};
use crate::store::{Ks, Reader, Snapshot, StoreError};

/// Entries of a feed that are looked at.
const ENTRIES: usize = 100;
/// Authors taken from one feed.
const AUTHORS: usize = 25;

/// Accounts that `actor` follows and whose repos are not complete.
pub fn follows_to_fetch(s: &Snapshot, actor: ActorId) -> Result<Vec<ActorId>, StoreError> {
    let mut found = Vec::new();
    s.scan_prefix(Ks::Fwd, &fwd_prefix(EdgeKind::Follow, actor), &mut |k, v| {
        if let Some(EdgeRow { target: Target::Actor(whom), .. }) = EdgeRow::decode(k, v) {
            found.push(whom);
        }
        true
    })?;
    found.sort_unstable();
    found.dedup();
    let mut out = Vec::new();
    for whom in found {
        if is_wanted(s, whom)? {
            out.push(whom);
        }
    }
    Ok(out)
}

/// Authors of posts that the newest entries of `actor`'s feed refer to and that are not held, a few of them.
pub fn context_to_fetch(s: &Snapshot, actor: ActorId) -> Result<Vec<ActorId>, StoreError> {
    let mut entries = Vec::new();
    s.scan_prefix(Ks::Feed, &feed_prefix(actor), &mut |k, v| {
        entries.extend(FeedRow::decode(k, v).map(|(_, row)| row));
        entries.len() < ENTRIES
    })?;
    let mut out: Vec<ActorId> = Vec::new();
    for entry in entries {
        let referred = match entry.repost_of {
            Some(post) => vec![post],
            None => referred(s, PostId { author: actor, rkey: entry.rkey })?,
        };
        for post in referred {
            let author = post.author;
            if !out.contains(&author)
                && !s.has(Ks::Post, &post.to_bytes())?
                && is_wanted(s, author)?
            {
                out.push(author);
            }
        }
        if out.len() >= AUTHORS {
            break;
        }
    }
    Ok(out)
}

fn referred(s: &Snapshot, post: PostId) -> Result<Vec<PostId>, StoreError> {
    let Some(row) = s.post(post)? else { return Ok(Vec::new()) };
    let refs = posts::refs(&mut Known(s), &s.unpack(&row.packed)?)?;
    Ok([refs.parent, refs.root, refs.quoted()].into_iter().flatten().collect())
}

fn is_wanted(s: &Snapshot, actor: ActorId) -> Result<bool, StoreError> {
    Ok(!s.repo(actor)?.is_some_and(|row| row.is_complete()))
}
