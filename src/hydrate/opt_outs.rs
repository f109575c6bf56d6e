//! Who opted out of a list. Mostly nobody, so what an account opted out of is held as a whole.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Hydrator, Result};
use crate::repo::fields;
use crate::schema::rows::RecordRow;
use crate::schema::{ActorId, Key, RecordId, Rkey, Rows, Target, collections as c};
use crate::store::{Ks, Reader, RowViews};

/// Opt-outs of one account that are looked at.
const MAX_OPT_OUTS: usize = 1_000;

/// The lists that an account asks not to be on, with the key of the record; mostly none.
type OptOuts = Option<Arc<FxHashMap<RecordId, Rkey>>>;

/// Opt-outs by account.
pub(super) type OptOutsCache = RowViews<OptOuts>;

/// A cache of opt-outs of `budget` bytes together.
pub(super) fn cache(budget: u64) -> OptOutsCache {
    RowViews::weighed(budget, weight)
}

/// Bytes that they take.
fn weight(opt_outs: &OptOuts) -> u64 {
    96 + opt_outs.as_ref().map_or(0, |held| 64 + 28 * held.capacity() as u64)
}

impl Hydrator<'_> {
    /// The record by which `member` asks not to be on `list`, as AT-URI.
    pub fn opt_out(&self, list: RecordId, member: ActorId) -> Result<Option<String>> {
        let held = self.opt_outs(member)?;
        let rkey = held.as_ref().and_then(|held| held.get(&list));
        let id = rkey.map(|rkey| RecordId { actor: member, coll: c::LIST_OPT_OUT, rkey: *rkey });
        id.map(|id| self.snapshot.uri(id)).transpose()
    }

    fn opt_outs(&self, member: ActorId) -> Result<OptOuts> {
        let prefix = Key::new().actor(member).u32(c::LIST_OPT_OUT.0);
        self.snapshot.view(&self.shared.opt_outs, (Ks::Record, &prefix), || {
            // Only which: as many rows may be a gigabyte.
            let mut ids = Vec::new();
            self.snapshot.scan_prefix(Ks::Record, &prefix, &mut |key, value| {
                let valid = RecordRow::decode_head(value).is_some_and(|row| row.valid);
                ids.extend(RecordId::from_bytes(key).filter(|_| valid));
                ids.len() < MAX_OPT_OUTS
            })?;
            let (mut held, mut settled) = (FxHashMap::default(), true);
            for id in ids {
                let Some(row) = self.snapshot.record(id)? else { continue };
                let value = self.snapshot.unpack(&row.packed)?;
                let subject = fields::text(&value, "subject").unwrap_or_default();
                match self.snapshot.target(subject)? {
                    Some(Target::Record(list)) => _ = held.entry(list).or_insert(id.rkey),
                    Some(_) => {}
                    // The store has no number for that list yet. It may get one later, so this is not cached.
                    None => settled = false,
                }
            }
            Ok((Some(Arc::new(held)).filter(|held| !held.is_empty()), settled))
        })
    }
}
