//! Posts that stand in a relation to an account or a record, in pieces whose size the caller bounds: what somebody likes,
//! what quotes a record, what is said in a thread.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use super::bytes::ByteReader;
use super::read::each_reply;
use super::rows::{EdgeKind, EdgeRow, Order, fwd_prefix, order_prefix};
use super::{ActorId, PostId, Target, whole};
use crate::store::{Ks, Reader, Snapshot, StoreError, prefix_end};

/// Posts that an account likes, by its newest `most` likes.
pub fn liked_posts(
    s: &Snapshot,
    actor: ActorId,
    most: usize,
) -> Result<FxHashSet<PostId>, StoreError> {
    let (mut out, mut read) = (FxHashSet::default(), 0);
    let prefix = fwd_prefix(EdgeKind::Like, actor);
    let end = prefix_end(&prefix);
    s.scan(Ks::Fwd, &prefix, end.as_deref(), true, &mut |key, value| {
        let edge = whole(Ks::Fwd, key, EdgeRow::decode(key, value));
        if let Some(Target::Post(post)) = edge.map(|edge| edge.target) {
            out.insert(post);
        }
        read += 1;
        read < most
    })?;
    Ok(out)
}

/// The newest `most` posts that embed a record.
pub fn newest_quotes(
    s: &Snapshot,
    target: Target,
    most: usize,
) -> Result<FxHashSet<PostId>, StoreError> {
    let mut out = FxHashSet::default();
    let prefix = order_prefix(Order::Quotes, target);
    s.scan_prefix(Ks::Order, &prefix, &mut |key, _| {
        let mut rest = ByteReader::new(key.get(prefix.len()..).unwrap_or_default());
        out.extend(rest.newest_first().and_then(|_| rest.post()));
        out.len() < most
    })?;
    Ok(out)
}

/// The newest `most` direct replies to a post.
pub fn newest_replies(
    s: &Snapshot,
    parent: PostId,
    most: usize,
) -> Result<FxHashSet<PostId>, StoreError> {
    let mut out = FxHashSet::default();
    each_reply(s, parent, false, &mut |post| {
        out.insert(post);
        out.len() < most
    })?;
    Ok(out)
}

/// The posts below the first one of a thread, level by level, `most` of them at most.
pub fn in_thread(s: &Snapshot, root: PostId, most: usize) -> Result<FxHashSet<PostId>, StoreError> {
    let (mut out, mut above) = (FxHashSet::default(), VecDeque::from([root]));
    while let Some(parent) = above.pop_front() {
        each_reply(s, parent, false, &mut |post| {
            if out.len() < most && out.insert(post) {
                above.push_back(post);
            }
            out.len() < most
        })?;
        if out.len() >= most {
            break;
        }
    }
    Ok(out)
}
