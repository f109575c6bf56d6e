//! What all requests share: caches by account, the takedown set, settings.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustc_hash::{FxHashMap, FxHashSet};

use super::actor::Actor;
use super::ahead;
use super::edges::MAX_SORTED;
use super::labels::Labelled;
use super::made::{self, Made};
use super::on_list::{self, Members};
use super::post::Post;
use super::starter_pack::{self, OptOuts};
use super::timeline::Activity;
use super::{Hydrator, ListItem, Result};
use crate::moderation::Takedowns;
use crate::private::{self, Kind};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{Counter, EdgeKind, EdgeRow, FanRow, Kinds, fwd_prefix, rev_prefix};
use crate::schema::{ActorId, RecordId, Rkey, Rows, Target, collections, whole};
use crate::store::{ActorCache, Ks, Reader, RowViews, Snapshot, Store};

/// Settings that a reload may change.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What image URLs begin with: `{public_url}/img`.
    pub images: Arc<str>,
    /// What video URLs begin with: `{public_url}/vid`.
    pub videos: Arc<str>,
    /// DIDs whose verifications count.
    pub trusted_verifiers: Vec<Arc<str>>,
}

impl Settings {
    /// Settings of a server that clients reach at `public_url`.
    #[must_use]
    pub fn new(public_url: &str) -> Self {
        let base = public_url.trim_end_matches('/');
        Self {
            images: format!("{base}/img").into(),
            videos: format!("{base}/vid").into(),
            ..Self::default()
        }
    }
}

/// Whom an account keeps away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Against {
    /// Accounts it blocks; `None` if there are too many to hold.
    pub accounts: Option<FxHashSet<ActorId>>,
    /// Lists it blocks, the oldest block first.
    pub blocked_lists: Vec<RecordId>,
}

/// What a viewer muted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Muted {
    /// `None` if they are too many to hold.
    pub(super) accounts: Option<FxHashMap<ActorId, private::Mute>>,
    /// The roots of threads; `None` if they are too many to hold.
    pub(super) threads: Option<FxHashSet<Target>>,
    /// Lists, in the order of their numbers.
    pub lists: Vec<RecordId>,
}

impl Muted {
    /// Bytes that it takes.
    fn weight(self: &Arc<Self>) -> u64 {
        let accounts = self.accounts.as_ref().map_or(0, |held| 26 * held.capacity());
        let threads = self.threads.as_ref().map_or(0, |held| 26 * held.capacity());
        160 + (accounts + threads + 16 * self.lists.capacity()) as u64
    }
}

/// Who a viewer follows and who follows them.
#[derive(Debug, Clone, Default)]
pub(super) struct Ties {
    /// `None` if they are too many to hold.
    pub(super) follows: Option<Arc<Follows>>,
    /// With the key of the follow; `None` if they are too many to hold.
    pub(super) followers: Option<FxHashMap<ActorId, Rkey>>,
}

impl Ties {
    /// Bytes that it takes.
    fn weight(self: &Arc<Self>) -> u64 {
        let follows = self.follows.as_ref();
        let follows = follows.map_or(0, |f| 4 * f.ids.capacity() + 28 * f.places.capacity());
        let followers = self.followers.as_ref().map_or(0, |held| 19 * held.capacity());
        200 + (follows + followers) as u64
    }
}

/// Whom an account follows.
#[derive(Debug, Clone, Default)]
pub(super) struct Follows {
    /// Once each, the oldest follow first.
    pub(super) ids: Vec<ActorId>,
    /// Place in `ids`, and the key of the follow unless there are several.
    pub(super) places: FxHashMap<ActorId, (u32, Option<Rkey>)>,
    /// There are no more.
    whole: bool,
}

impl Follows {
    /// Reads them, the oldest `most` records at most.
    pub(super) fn load(s: &Snapshot, actor: ActorId, most: usize) -> Result<Self> {
        let (mut out, mut read) = (Self::default(), 0);
        let prefix = fwd_prefix(EdgeKind::Follow, actor);
        s.scan_prefix(Ks::Fwd, &prefix, &mut |key, value| {
            let rkey = key.get(prefix.len()..).and_then(|rest| ByteReader::new(rest).rkey());
            let edge = whole(Ks::Fwd, key, EdgeRow::decode(key, value));
            let Some((rkey, edge)) = rkey.zip(edge) else { return true };
            let id = edge.target.actor();
            match out.places.entry(id) {
                Entry::Occupied(mut place) => place.get_mut().1 = None,
                Entry::Vacant(place) => {
                    place.insert((u32::try_from(out.ids.len()).unwrap_or(u32::MAX), Some(rkey)));
                    out.ids.push(id);
                }
            }
            read += 1;
            read < most
        })?;
        out.whole = read < most;
        Ok(out)
    }
}

/// Follows and followers held of one viewer.
const MAX_FOLLOWS: usize = 5_000;
const MAX_FOLLOWERS: u64 = 2_000;
/// Blocks held of one account.
const MAX_BLOCKS: usize = 500;
/// Accounts and threads held that one viewer muted.
const MAX_MUTED: usize = 1_000;
/// Lists whose members an account can block or mute, its oldest: each is looked at wherever the account is shown.
const MAX_LISTS: usize = 1_000;

/// Caches and settings, made once at the start.
pub struct Shared {
    /// What the operator took down.
    pub takedowns: Takedowns,
    settings: ArcSwap<Settings>,
    actors: ActorCache<Option<Arc<Actor>>>,
    against: ActorCache<Arc<Against>>,
    /// Of those who call.
    muted: ActorCache<Arc<Muted>>,
    ties: ActorCache<Arc<Ties>>,
    /// Parsed, by row.
    pub(super) posts: RowViews<Option<Post>>,
    /// By account: labels on whatever is its own.
    pub(super) labelled: RowViews<Labelled>,
    /// By account and kind: the posts it likes or reposts.
    pub(super) made: RowViews<Made>,
    /// By list.
    pub(super) listed: RowViews<Members>,
    /// By list: its newest members.
    pub(super) candidates: RowViews<Arc<[ListItem]>>,
    /// By account.
    pub(super) opt_outs: RowViews<OptOuts>,
    pub(super) activity: Activity,
    /// Threads that may help one answer.
    pub(super) helpers: usize,
}

impl Shared {
    /// Caches for up to `entries` accounts over `store`.
    pub fn new(store: &Store, entries: usize, settings: Settings) -> Result<Self> {
        // Of values whose size differs so many bytes are held; 16 MB, where the store has 512.
        let budget = entries as u64 * 512 + (1 << 21);
        Ok(Self {
            takedowns: Takedowns::load(&store.snapshot())?,
            settings: ArcSwap::from_pointee(settings),
            actors: ActorCache::new(store, entries),
            against: ActorCache::new(store, entries),
            // A hundred kilobytes each at worst; nothing, usually, and of follows three.
            muted: ActorCache::weighed(store, budget / 2, Muted::weight),
            ties: ActorCache::weighed(store, budget, Ties::weight),
            // Two kilobytes each.
            posts: RowViews::new(entries / 2 + 1),
            labelled: RowViews::new(entries.saturating_mul(2)),
            // Forty kilobytes each at worst.
            made: RowViews::weighed(budget, made::weight),
            listed: RowViews::weighed(budget / 2, on_list::weight),
            // Eight hundred bytes each.
            candidates: RowViews::new(entries / 16 + 64),
            opt_outs: RowViews::weighed(budget / 4, starter_pack::weight),
            activity: Activity::new(store, entries.saturating_mul(4)),
            helpers: ahead::helpers(),
        })
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Replaces the settings; what was derived from the old ones is forgotten.
    pub fn reload(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
        self.actors.clear();
    }
}

impl Hydrator<'_> {
    /// An account whatever its status; `None` if the network never showed it.
    pub fn actor(&self, id: ActorId) -> Result<Option<Arc<Actor>>> {
        self.shared
            .actors
            .get(self.snapshot, id, || Actor::load(self.snapshot, id, &self.shared.settings.load()))
    }

    /// Whom an account blocks, and which lists it blocks.
    pub fn against(&self, id: ActorId) -> Result<Arc<Against>> {
        let load = || Ok(Arc::new(load_against(self.snapshot, id)?));
        self.shared.against.get(self.snapshot, id, load)
    }

    /// Who a viewer follows and who follows them.
    pub(super) fn ties(&self, viewer: ActorId) -> Result<Arc<Ties>> {
        let load = || Ok(Arc::new(load_ties(self.snapshot, viewer)?));
        self.shared.ties.get(self.snapshot, viewer, load)
    }

    /// Whether a viewer muted one subject of a kind.
    pub(super) fn has_muted(&self, viewer: ActorId, kind: Kind, subject: Target) -> Result<bool> {
        Ok(private::get(self.snapshot, kind, viewer, Some(subject))?.is_some())
    }

    /// What a viewer muted.
    pub fn muted_by(&self, viewer: ActorId) -> Result<Arc<Muted>> {
        let load = || Ok(Arc::new(load_muted(self.snapshot, viewer)?));
        self.shared.muted.get(self.snapshot, viewer, load)
    }
}

fn load_muted(s: &Snapshot, viewer: ActorId) -> Result<Muted> {
    let accounts = private::mutes(s, viewer, None, MAX_MUTED + 1)?;
    let threads = private::list_of(s, Kind::MutedThread, viewer, None, MAX_MUTED + 1)?;
    let mut lists = private::list_of(s, Kind::MutedList, viewer, None, MAX_SORTED)?;
    if lists.len() > MAX_LISTS {
        lists.sort_by_key(|(_, at)| *at);
        lists.truncate(MAX_LISTS);
        lists.sort_unstable();
    }
    Ok(Muted {
        accounts: (accounts.len() <= MAX_MUTED).then(|| accounts.into_iter().collect()),
        threads: (threads.len() <= MAX_MUTED)
            .then(|| threads.into_iter().map(|(root, _)| root).collect()),
        lists: lists.into_iter().filter_map(|(list, _)| list.record()).collect(),
    })
}

fn load_ties(s: &Snapshot, viewer: ActorId) -> Result<Ties> {
    let agg = s.agg(Target::Actor(viewer))?;
    let mut ties = Ties::default();
    // Several records on one account count once, but all are read: of those there may be any number.
    if agg.get(Counter::Follows) <= MAX_FOLLOWS as u64 {
        let follows = Follows::load(s, viewer, 2 * MAX_FOLLOWS)?;
        ties.follows = Some(Arc::new(follows)).filter(|follows| follows.whole);
    }
    if agg.get(Counter::Followers) <= MAX_FOLLOWERS {
        let (mut followers, mut left) = (FxHashMap::default(), 2 * MAX_FOLLOWERS);
        let target = Target::Actor(viewer);
        let prefix = rev_prefix(EdgeKind::Follow, target);
        s.scan_prefix(Ks::Rev, &prefix, &mut |key, value| {
            // Longer keys are duplicates.
            let mut rest = ByteReader::new(key.get(prefix.len()..).unwrap_or_default());
            let fan = rest.actor().filter(|_| rest.is_empty());
            followers.extend(fan.zip(FanRow::decode(target, value).map(|row| row.rkey)));
            left -= 1;
            left > 0
        })?;
        ties.followers = Some(followers).filter(|_| left > 0);
    }
    Ok(ties)
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

fn load_against(s: &Snapshot, actor: ActorId) -> Result<Against> {
    let kinds = s.actor(actor)?.map_or(Kinds::ANY, |row| row.kinds);
    let accounts = match kinds.may_have(collections::BLOCK) {
        true => load_blocks(s, actor)?,
        false => Some(FxHashSet::default()),
    };
    let blocked_lists = match kinds.may_have(collections::LISTBLOCK) {
        true => load_list_blocks(s, actor)?,
        false => Vec::new(),
    };
    Ok(Against { accounts, blocked_lists })
}

/// The lists that an account blocks, the oldest block first.
fn load_list_blocks(s: &Snapshot, actor: ActorId) -> Result<Vec<RecordId>> {
    let first = RecordId { actor, coll: collections::LISTBLOCK, rkey: Rkey(0) };
    let prefix = first.to_bytes();
    let (mut rows, mut read) = (Vec::new(), 0);
    s.scan_prefix(Ks::Record, prefix.get(..8).unwrap_or_default(), &mut |key, value| {
        let id = RecordId::from_bytes(key);
        let row = whole(Ks::Record, key, crate::schema::rows::RecordRow::decode(value));
        rows.extend(id.zip(row).filter(|(_, row)| row.valid));
        read += 1;
        read < MAX_LISTS
    })?;
    let mut out = Vec::new();
    for (id, row) in rows {
        let value = s.unpack(&row.packed)?;
        let Some(uri) = super::fields::text(&value, "subject") else { continue };
        let Some(target @ Target::Record(list)) = s.target(uri)? else { continue };
        // A second record on the same list has no effect of its own.
        if s.fan(EdgeKind::ListBlock, target, actor)?.is_some_and(|fan| fan.rkey == id.rkey) {
            out.push(list);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::graph::MODLIST;
    use super::super::post::PostState;
    use super::super::testing::{Fixture, NOW, seen_by};
    use super::*;
    use crate::schema::Edit;

    #[test]
    fn mutes_that_are_too_many_to_hold_are_read_one_by_one() {
        let f = Fixture::new();
        let (me, muted, other) = (f.account("me"), f.account("muted"), f.account("other"));
        let posts = [muted, other].map(|author| f.post(author, NOW, serde_json::json!({})));
        let seen = |f: &Fixture| {
            f.hydrate(&seen_by(Some(me)), |h| {
                let mut state = PostState::new(&h);
                h.posts(&mut state, &posts).unwrap();
                let held = h.muted_by(me).unwrap();
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
        f.write(move |tx| private::put(tx, Kind::MutedThread, me, thread, NOW));
        assert_eq!(seen(&f), ((true, true), (false, false), true));
        f.write(move |tx| {
            for n in 0..MAX_MUTED as u32 {
                let other = tx.intern_actor(&format!("did:plc:{n}"))?;
                private::put_mute(tx, me, other, private::Mute::default())?;
                let root = Target::Post(crate::schema::PostId { author: other, rkey: Rkey(9) });
                private::put(tx, Kind::MutedThread, me, Some(root), NOW)?;
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
                private::put(tx, Kind::MutedList, me, Some(Target::Record(id(n))), at)?;
            }
            private::put(tx, Kind::MutedList, me, Some(Target::Record(list)), NOW)
        });
        f.hydrate(&seen_by(Some(me)), |h| {
            let held = &h.muted_by(me).unwrap().lists;
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
