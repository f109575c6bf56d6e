//! Whom an account blocks, and which lists: read once and held by account, since every answer asks it of every account
//! that it shows.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::{Hydrator, Result};
use crate::repo::fields;
use crate::schema::rows::{EdgeKind, EdgeRow, Kinds, RecordRow, fwd_prefix};
use crate::schema::{ActorId, RecordId, Rkey, Rows, Target, collections, whole};
use crate::store::{ActorCache, Ks, Reader, Snapshot, Store};

/// Blocks held of one account.
const MAX_BLOCKS: usize = 500;
/// Lists that an account can block or mute, its oldest: each is looked at wherever the account is shown.
pub(super) const MAX_LISTS: usize = 1_000;

/// Whom an account blocks, and the lists whose members it blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockSet {
    /// Accounts it blocks; `None` if there are too many to hold.
    pub accounts: Option<FxHashSet<ActorId>>,
    /// Lists it blocks, the oldest block first.
    pub blocked_lists: Vec<RecordId>,
}

/// Block sets by account.
pub(super) type BlockSetCache = ActorCache<Arc<BlockSet>>;

/// A cache of the block sets of up to `entries` accounts.
pub(super) fn cache(store: &Store, entries: usize) -> BlockSetCache {
    ActorCache::new(store, entries)
}

impl Hydrator<'_> {
    /// Whom an account blocks, and which lists it blocks.
    pub fn block_set(&self, id: ActorId) -> Result<Arc<BlockSet>> {
        let load = || Ok(Arc::new(load_block_set(self.snapshot, id)?));
        self.shared.block_sets.get(self.snapshot, id, load)
    }
}

fn load_block_set(s: &Snapshot, actor: ActorId) -> Result<BlockSet> {
    let kinds = s.actor(actor)?.map_or(Kinds::ANY, |row| row.kinds);
    let accounts = match kinds.may_have(collections::BLOCK) {
        true => load_blocks(s, actor)?,
        false => Some(FxHashSet::default()),
    };
    let blocked_lists = match kinds.may_have(collections::LISTBLOCK) {
        true => load_list_blocks(s, actor)?,
        false => Vec::new(),
    };
    Ok(BlockSet { accounts, blocked_lists })
}

/// Whom an account blocks itself; `None` if that is too many.
fn load_blocks(s: &Snapshot, actor: ActorId) -> Result<Option<FxHashSet<ActorId>>> {
    let mut out = FxHashSet::default();
    s.scan_prefix(Ks::Fwd, &fwd_prefix(EdgeKind::Block, actor), &mut |key, value| {
        let edge = whole(Ks::Fwd, key, EdgeRow::decode(key, value));
        out.extend(edge.map(|edge| edge.target.actor()));
        out.len() <= MAX_BLOCKS
    })?;
    Ok(Some(out).filter(|out| out.len() <= MAX_BLOCKS))
}

/// The lists that an account blocks, the oldest block first.
fn load_list_blocks(s: &Snapshot, actor: ActorId) -> Result<Vec<RecordId>> {
    let first = RecordId { actor, coll: collections::LISTBLOCK, rkey: Rkey(0) };
    let prefix = first.to_bytes();
    // Only which: a thousand rows may be a gigabyte.
    let (mut ids, mut read) = (Vec::new(), 0);
    s.scan_prefix(Ks::Record, prefix.get(..8).unwrap_or_default(), &mut |key, value| {
        let head = whole(Ks::Record, key, RecordRow::decode_head(value));
        ids.extend(RecordId::from_bytes(key).filter(|_| head.is_some_and(|row| row.valid)));
        read += 1;
        read < MAX_LISTS
    })?;
    let mut out = Vec::new();
    for id in ids {
        let Some(row) = s.record(id)? else { continue };
        let value = s.unpack(&row.packed)?;
        let Some(uri) = fields::text(&value, "subject") else { continue };
        let Some(target @ Target::Record(list)) = s.target(uri)? else { continue };
        // A second record on the same list has no effect of its own.
        if s.fan(EdgeKind::ListBlock, target, actor)?.is_some_and(|fan| fan.rkey == id.rkey) {
            out.push(list);
        }
    }
    Ok(out)
}
