//! The kept accounts: members and those whom members follow, of whom everything is stored in every scope.
//!
//! Of a member who follows more than `scope.max_follows` so many of the accounts are, so that nobody keeps the whole
//! network with one account: at the start the last ones followed, later what was within the number.
//!
//! # Invariants
//! - The writer alone changes the kept accounts, with the follow that makes or unmakes one; an event that is taken back
//!   takes them back too.
//! - Once full, no followed account leaves the set until the next start: what cannot be counted is not let go.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::private;
use crate::schema::rows::{EdgeKind, EdgeRow, fwd_prefix};
use crate::schema::{ActorId, Target};
use crate::store::{Ks, Reader, Snapshot, StoreError, Tx};

/// Most followed accounts: about 40 MB.
const MOST: usize = 2_000_000;

/// No limit for one member.
pub(super) const NO_LIMIT: usize = usize::MAX;

/// The kept accounts, in memory.
#[derive(Debug)]
pub struct Kept {
    sets: parking_lot::RwLock<Sets>,
    /// How many of those whom one member follows.
    of_each: usize,
}

/// Which of those whom a member follows are kept.
#[derive(Debug)]
enum Follows {
    /// All, so many.
    All(usize),
    /// There are more, or were: these.
    Some(FxHashSet<ActorId>),
}

#[derive(Debug, Default)]
struct Sets {
    members: FxHashMap<ActorId, Follows>,
    /// How many members follow the account.
    followed: FxHashMap<ActorId, u32>,
    full: bool,
}

impl Sets {
    fn contains(&self, actor: ActorId) -> bool {
        self.members.contains_key(&actor) || self.followed.contains_key(&actor)
    }

    fn add(&mut self, whom: ActorId) {
        if let Some(n) = self.followed.get_mut(&whom) {
            *n = n.saturating_add(1);
        } else if self.followed.len() < MOST {
            self.followed.insert(whom, 1);
        } else if !self.full {
            self.full = true;
            tracing::error!(most = MOST, "scope: members follow more accounts than can be kept");
        }
    }

    fn take(&mut self, whom: ActorId) {
        let Some(n) = self.followed.get_mut(&whom) else { return };
        *n = n.saturating_sub(1);
        if *n == 0 && !self.full {
            self.followed.remove(&whom);
        }
    }
}

impl Kept {
    pub(super) fn new(of_each: usize) -> Self {
        Self { sets: parking_lot::RwLock::default(), of_each }
    }

    /// The members of a store and whom they follow, of each so many at most.
    pub fn load(s: &Snapshot, of_each: usize) -> Result<Self, StoreError> {
        let kept = Self::new(of_each);
        for member in private::members(s)? {
            kept.join(s, member)?;
        }
        Ok(kept)
    }

    /// The same, read from the store again.
    pub fn anew(&self, s: &Snapshot) -> Result<Self, StoreError> {
        Self::load(s, self.of_each)
    }

    /// Whether everything of the account is stored.
    #[must_use]
    pub fn contains(&self, actor: ActorId) -> bool {
        self.sets.read().contains(actor)
    }

    /// Members, and accounts that they follow.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        let sets = self.sets.read();
        (sets.members.len(), sets.followed.len())
    }

    /// Every kept account, some of them twice.
    pub(super) fn all(&self) -> Vec<ActorId> {
        let sets = self.sets.read();
        sets.members.keys().chain(sets.followed.keys()).copied().collect()
    }

    fn is_member(&self, actor: ActorId) -> bool {
        self.sets.read().members.contains_key(&actor)
    }

    pub(super) fn join<R: Reader>(&self, r: &R, member: ActorId) -> Result<(), StoreError> {
        if self.is_member(member) {
            return Ok(());
        }
        let mut follows = follows_of(r, member)?;
        let is_cut = follows.len() > self.of_each;
        follows.truncate(self.of_each);
        let mut sets = self.sets.write();
        follows.iter().for_each(|whom| sets.add(*whom));
        let follows = match is_cut {
            false => Follows::All(follows.len()),
            true => Follows::Some(follows.into_iter().collect()),
        };
        sets.members.insert(member, follows);
        Ok(())
    }

    pub(super) fn leave<R: Reader>(&self, r: &R, member: ActorId) -> Result<(), StoreError> {
        if !self.is_member(member) {
            return Ok(());
        }
        let all = follows_of(r, member)?;
        let mut sets = self.sets.write();
        match sets.members.remove(&member) {
            Some(Follows::All(_)) => all.iter().for_each(|whom| sets.take(*whom)),
            Some(Follows::Some(kept)) => kept.iter().for_each(|whom| sets.take(*whom)),
            None => {}
        }
        Ok(())
    }

    /// Whether `whom` was not kept before and is now. Taken back with the change.
    pub(super) fn follow(
        self: &Arc<Self>,
        tx: &mut Tx<'_>,
        who: ActorId,
        whom: ActorId,
    ) -> Result<bool, StoreError> {
        if !self.is_member(who) {
            return Ok(false);
        }
        self.cut(tx, who, whom)?;
        let mut sets = self.sets.write();
        let new = !sets.contains(whom);
        if !sets.follow(who, whom, self.of_each) {
            return Ok(false);
        }
        let kept = Arc::clone(self);
        tx.if_taken_back(move || {
            kept.sets.write().unfollow(who, whom);
        });
        Ok(new)
    }

    /// From now on it is written down which are kept, if `who` follows one more than that with `whom`.
    fn cut(&self, tx: &Tx<'_>, who: ActorId, whom: ActorId) -> Result<(), StoreError> {
        match self.sets.read().members.get(&who) {
            Some(Follows::All(n)) if *n >= self.of_each => {}
            _ => return Ok(()),
        }
        let so_far = follows_of(tx, who)?.into_iter().filter(|followed| *followed != whom);
        let so_far = Follows::Some(so_far.collect());
        self.sets.write().members.insert(who, so_far);
        Ok(())
    }

    pub(super) fn unfollow(self: &Arc<Self>, tx: &mut Tx<'_>, who: ActorId, whom: ActorId) {
        if !self.sets.write().unfollow(who, whom) {
            return;
        }
        let kept = Arc::clone(self);
        tx.if_taken_back(move || {
            kept.sets.write().follow(who, whom, kept.of_each);
        });
    }
}

impl Sets {
    /// Whether a member has one more who is kept for it.
    fn follow(&mut self, who: ActorId, whom: ActorId, of_each: usize) -> bool {
        let added = match self.members.get_mut(&who) {
            Some(Follows::All(n)) if *n < of_each => {
                *n += 1;
                true
            }
            Some(Follows::Some(kept)) => kept.len() < of_each && kept.insert(whom),
            Some(Follows::All(_)) | None => false,
        };
        if added {
            self.add(whom);
        }
        added
    }

    /// Whether a member had it.
    fn unfollow(&mut self, who: ActorId, whom: ActorId) -> bool {
        let had = match self.members.get_mut(&who) {
            Some(Follows::All(n)) => {
                *n = n.saturating_sub(1);
                true
            }
            Some(Follows::Some(kept)) => kept.remove(&whom),
            None => false,
        };
        if had {
            self.take(whom);
        }
        had
    }
}

/// Whom an account follows, each once, the last first.
pub(super) fn follows_of<R: Reader>(r: &R, actor: ActorId) -> Result<Vec<ActorId>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Fwd, &fwd_prefix(EdgeKind::Follow, actor), &mut |k, v| {
        if let Some(EdgeRow { target: Target::Actor(whom), .. }) = EdgeRow::decode(k, v) {
            out.push(whom);
        }
        true
    })?;
    out.reverse();
    let mut seen = FxHashSet::default();
    out.retain(|whom| seen.insert(*whom));
    Ok(out)
}
