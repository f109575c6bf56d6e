//! What `tests/fuzz` needs of this folder.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use super::blocks::Blocks;
use super::import::{ImportError, Repo};
use super::quota::Quota;
use crate::event::Body;
use crate::threads::Budget;

/// As a repo is taken in from the pieces of its CAR, with what every one has at least, whoever signed it. Gives the number of
/// records that would be put.
pub async fn repo(pieces: impl Iterator<Item = Bytes>, folder: &Path) -> Option<usize> {
    let quota = Quota::growing(&Budget::new(super::quota::LEAST)).await;
    let blocks = Blocks::new(folder, quota);
    let repo = Repo::read(pieces.map(Ok), blocks, |_| Ok::<(), ImportError>(())).ok()?;
    let (mut records, walked) = (0, AtomicU64::new(0));
    let mut each = |body| {
        if let Body::Part { ops, .. } = body {
            records += ops.len();
        }
        true
    };
    repo.changes(Vec::new(), &walked, &mut each).ok()?;
    Some(records)
}
