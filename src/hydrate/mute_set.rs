//! What a viewer muted: accounts, threads and lists, held as a whole where it is not too much.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::block_set::MAX_LISTS;
use super::page::MAX_SORTED;
use super::{Hydrator, Result};
use crate::private::{self, Kind};
use crate::schema::{ActorId, RecordId, Target};
use crate::store::{ActorCache, Snapshot, Store};

/// Accounts and threads held that one viewer muted.
const MAX_MUTED: usize = 1_000;

/// What a viewer muted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MuteSet {
    /// `None` if they are too many to hold.
    pub(super) accounts: Option<FxHashMap<ActorId, private::Mute>>,
    /// The roots of threads; `None` if they are too many to hold.
    pub(super) threads: Option<FxHashSet<Target>>,
    /// Lists, in the order of their numbers.
    pub lists: Vec<RecordId>,
}

impl MuteSet {
    /// Bytes that it takes.
    fn weight(self: &Arc<Self>) -> u64 {
        let accounts = self.accounts.as_ref().map_or(0, |held| 26 * held.capacity());
        let threads = self.threads.as_ref().map_or(0, |held| 26 * held.capacity());
        160 + (accounts + threads + 16 * self.lists.capacity()) as u64
    }
}

/// Mute sets of those who call.
pub(super) type MuteSetCache = ActorCache<Arc<MuteSet>>;

/// A cache of mute sets of `budget` bytes together. One is next to nothing mostly, a hundred kilobytes at worst.
pub(super) fn cache(store: &Store, budget: u64) -> MuteSetCache {
    ActorCache::weighed(store, budget, MuteSet::weight)
}

impl Hydrator<'_> {
    /// Whether a viewer muted one subject of a kind.
    pub(super) fn has_muted(&self, viewer: ActorId, kind: Kind, subject: Target) -> Result<bool> {
        Ok(private::get(self.snapshot, kind, viewer, Some(subject))?.is_some())
    }

    /// What a viewer muted.
    pub fn mute_set(&self, viewer: ActorId) -> Result<Arc<MuteSet>> {
        let load = || Ok(Arc::new(load_mute_set(self.snapshot, viewer)?));
        self.shared.mute_sets.get(self.snapshot, viewer, load)
    }
}

fn load_mute_set(s: &Snapshot, viewer: ActorId) -> Result<MuteSet> {
    let accounts = private::mutes(s, viewer, None, MAX_MUTED + 1)?;
    let threads = private::list_of(s, Kind::MutedThread, viewer, None, MAX_MUTED + 1)?;
    let mut lists = private::list_of(s, Kind::MutedList, viewer, None, MAX_SORTED)?;
    if lists.len() > MAX_LISTS {
        lists.sort_by_key(|(_, at)| *at);
        lists.truncate(MAX_LISTS);
        lists.sort_unstable();
    }
    Ok(MuteSet {
        accounts: (accounts.len() <= MAX_MUTED).then(|| accounts.into_iter().collect()),
        threads: (threads.len() <= MAX_MUTED)
            .then(|| threads.into_iter().map(|(root, _)| root).collect()),
        lists: lists.into_iter().filter_map(|(list, _)| list.record()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::graph::MODLIST;
    use super::super::post_state::PostState;
    use super::super::testing::{Fixture, NOW, seen_by};
    use super::*;
    use crate::schema::{Edit, Rkey};

    #[test]
    fn mutes_that_are_too_many_to_hold_are_read_one_by_one() {
        let f = Fixture::new();
        let (me, muted, other) = (f.account("me"), f.account("muted"), f.account("other"));
        let posts = [muted, other].map(|author| f.post(author, NOW, serde_json::json!({})));
        let seen = |f: &Fixture| {
            f.hydrate(&seen_by(Some(me)), |h| {
                let mut state = PostState::new(&h);
                h.posts(&mut state, &posts).unwrap();
                let held = h.mute_set(me).unwrap();
                assert_eq!(held.accounts.is_some(), held.threads.is_some());
                let of = |n: usize| {
                    let muted = state.base.profile_viewers[&posts[n].author].muted;
                    (muted, state.viewers[&posts[n]].thread_muted)
                };
                (of(0), of(1), held.accounts.is_some())
            })
        };
        f.mute(me, muted);
        let thread = Some(Target::Post(posts[0]));
        f.write(move |tx| private::testing::put(tx, Kind::MutedThread, me, thread, NOW));
        assert_eq!(seen(&f), ((true, true), (false, false), true));
        f.write(move |tx| {
            for n in 0..MAX_MUTED as u32 {
                let other = tx.intern_actor(&format!("did:plc:{n}"))?;
                private::testing::put_mute(tx, me, other, private::Mute::default())?;
                let root = Target::Post(crate::schema::PostId { author: other, rkey: Rkey(9) });
                private::testing::put(tx, Kind::MutedThread, me, Some(root), NOW)?;
            }
            Ok(())
        });
        assert_eq!(seen(&f), ((true, true), (false, false), false));
    }

    #[test]
    fn of_lists_that_are_muted_the_oldest_count() {
        let f = Fixture::new();
        let (me, owner) = (f.account("me"), f.account("owner"));
        let list = f.list(owner, "zzz", MODLIST, &[owner]);
        let id = move |n: usize| RecordId { rkey: Rkey(n as u64), ..list };
        f.write(move |tx| {
            for n in 0..MAX_LISTS {
                let at = NOW + n as i64;
                private::testing::put(tx, Kind::MutedList, me, Some(Target::Record(id(n))), at)?;
            }
            private::testing::put(tx, Kind::MutedList, me, Some(Target::Record(list)), NOW)
        });
        f.hydrate(&seen_by(Some(me)), |h| {
            let held = &h.mute_set(me).unwrap().lists;
            assert_eq!(held.len(), MAX_LISTS);
            assert!(held.contains(&list) && !held.contains(&id(MAX_LISTS - 1)));
            // The list's own view knows what was muted without effect.
            let mut state = h.state();
            h.lists_basic(&mut state, &[id(MAX_LISTS - 1), id(MAX_LISTS)]).unwrap();
            let muted = |n| state.list_viewers[&id(n)].muted;
            assert!(muted(MAX_LISTS - 1) && !muted(MAX_LISTS));
        });
    }
}
