//! Whose repos a member's reading needs: whom the account follows, and who wrote what its newest posts answer, quote
//! and repost when that is not held.

use super::kept::follows_of;
use super::names::Known;
use super::posts;
use crate::schema::rows::{FeedRow, feed_prefix};
use crate::schema::{ActorId, PostId, Rows};
use crate::store::{Ks, Reader, Snapshot, StoreError};

/// Entries of a feed that are looked at.
const ENTRIES: usize = 100;
/// Authors taken from one feed.
const AUTHORS: usize = 25;

/// Of the `most` accounts that `actor` followed last those whose repos are not complete.
pub fn follows_to_fetch(
    s: &Snapshot,
    actor: ActorId,
    most: usize,
) -> Result<Vec<ActorId>, StoreError> {
    let mut out = Vec::new();
    for whom in follows_of(s, actor)?.into_iter().take(most) {
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
