//! Accounts: first sight, hosting status, identity, and the removal of everything an account had.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::{EVENTS, Index, notify};
use crate::event::{Belief, Body, Event, HandleAnswer, HostingStatus, IdentityState};
use crate::private;
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{
    AccountStatus, ActorRow, EdgeKind, IdentityRow, Kinds, actor_key, fwd_prefix, handle_key,
    identity_key, repo_key,
};
use crate::schema::{ActorId, CollId, Key, PostId, RecordId, Rkey, Rows, collections};
use crate::store::{Ks, Reader, StoreError, Tx};
use crate::syntax::Did;
use crate::work::handles;
use crate::work::purge::{self, Purge};
use crate::work::recheck::{self, Due, Question, Said};
use crate::work::repo_queue as jobs;

impl Index {
    /// The account exists, whatever else is known of it.
    pub(super) fn seen(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        time: i64,
    ) -> Result<(), StoreError> {
        if !tx.has(Ks::Actor, &actor_key(actor))? {
            let row = ActorRow { indexed: time, ..ActorRow::default() };
            tx.put(Ks::Actor, &actor_key(actor), &row.encode());
            tx.touch(actor);
            if self.unseen.any() {
                let did = tx.did(actor)?;
                if let Some(since) = self.unseen.take(&did)
                    && let Ok(did) = Did::parse(&did)
                {
                    self.ask_for_identity(tx, actor, did, since, 0)?;
                }
            }
        }
        Ok(())
    }

    /// The account of a DID, if anything is held of it or awaited of it, or if it is left out on purpose.
    pub(super) fn held(&self, tx: &Tx<'_>, did: &Did) -> Result<Option<ActorId>, StoreError> {
        let Some(actor) = tx.actor_id(did)? else { return Ok(None) };
        let held = self.left_out.contains(actor)
            || tx.has(Ks::Actor, &actor_key(actor))?
            || tx.has(Ks::Actor, &repo_key(actor))?
            || jobs::get(tx, actor)?.is_some()
            || jobs::is_asleep(tx, actor)?;
        Ok(held.then_some(actor))
    }

    /// Something is said of an account that nothing is held of.
    pub(super) fn unheard(&self, event: &Event) {
        EVENTS.inc("unheard");
        match event.body {
            Body::IdentityDue { since } => self.unseen.put(&event.did, since),
            Body::IdentityClaimed => self.unseen.put(&event.did, ANY_TIME),
            _ => (),
        }
    }

    /// A question about the document of an account that is held.
    fn ask_for_identity(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        did: Did,
        since: i64,
        line: u16,
    ) -> Result<(), StoreError> {
        recheck::add_identity_due(tx, actor, since)?;
        let question = Question { did, due: Due::Identity, upstream: None, line };
        self.questions.raise_after(tx, question);
        Ok(())
    }

    /// The account's row tells of a record that is about to be put: what it does not tell of, views do not look for.
    /// It goes on telling of what was deleted.
    pub(super) fn tell_of(
        &self,
        tx: &mut Tx<'_>,
        id: RecordId,
        time: i64,
    ) -> Result<(), StoreError> {
        if !Kinds::tell(id.coll) {
            return Ok(());
        }
        let mut row = row_of(tx, id.actor, time)?;
        if !row.kinds.may_have(id.coll) {
            row.kinds = row.kinds.with(id.coll);
            tx.put(Ks::Actor, &actor_key(id.actor), &row.encode());
        }
        Ok(())
    }

    pub(super) fn account(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        status: HostingStatus,
        time: i64,
    ) -> Result<(), StoreError> {
        let mut row = row_of(tx, actor, time)?;
        let before = row.status;
        row.status = status_row(status);
        if row.status == AccountStatus::Deleted {
            self.uncollect(tx, actor, &mut row)?;
            self.purge(tx, actor, Purge::Deleted);
        } else {
            purge::remove_purge(tx, actor);
            if before == AccountStatus::Deleted {
                // Nobody looked after its handle.
                row.handle_checked = 0;
            }
            if row.status == AccountStatus::Active {
                self.lives(tx, actor)?;
                let wanted = match tx.repo(actor)? {
                    // The host may have refused it while it was away.
                    Some(repo) => repo.resync.is_some(),
                    // What it had went when it was deleted, or is going; or a job waits that was refused meanwhile.
                    None => {
                        before != AccountStatus::Active
                            && (self.scope.is_whole(actor) || jobs::get(tx, actor)?.is_some())
                    }
                };
                if wanted {
                    self.request_resync(tx, actor)?;
                }
            }
        }
        recheck::remove_status_due(tx, actor);
        tx.put(Ks::Actor, &actor_key(actor), &row.encode());
        tx.touch(actor);
        Ok(())
    }

    /// Nothing of the account is fetched any more, and nobody else is kept from its handle. The caller writes the row.
    pub(super) fn uncollect(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        row: &mut ActorRow,
    ) -> Result<(), StoreError> {
        if let Some(handle) = row.handle.take() {
            release_handle(tx, &handle, actor)?;
        }
        // A repo of this DID that starts anew has nothing to follow on.
        tx.del(Ks::Actor, &repo_key(actor));
        jobs::remove(tx, actor).map(drop)
    }

    /// Puts the account on the list of those of which something has to go, and says so to whoever works it off.
    pub(super) fn purge(&self, tx: &mut Tx<'_>, actor: ActorId, purge: Purge) {
        purge::add_purge(tx, actor, purge);
        let (requests, purging) = (self.purge.clone(), self.purging());
        tx.after_commit(move || {
            purging.fetch_add(1, Ordering::Relaxed);
            let _ = requests.send(actor);
        });
    }

    /// What an upstream says of the account counts as far as it is believed.
    pub(super) fn claimed(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        status: HostingStatus,
        belief: Belief,
        event: &Event,
    ) -> Result<(), StoreError> {
        let known = tx.actor(actor)?.is_some_and(|row| row.status == status_row(status))
            && !recheck::is_status_due(tx, actor)?;
        match belief {
            Belief::Full => return self.account(tx, actor, status, event.time),
            // It does no harm that an account is active once more, and may be what its repo waits for.
            _ if known && status == HostingStatus::Active => {
                return self.account(tx, actor, status, event.time);
            }
            _ if known => return Ok(()),
            Belief::UntilAsked => {
                self.account(tx, actor, HostingStatus::Deactivated, event.time)?;
            }
            Belief::OnceConfirmed => EVENTS.inc("doubted"),
        }
        let said = match status {
            HostingStatus::Active => Said::Back,
            HostingStatus::Deleted => Said::Deleted,
            _ => Said::Away,
        };
        let (due, did) = (Due::Status(said), event.did.clone());
        let Event { upstream, line, .. } = *event;
        recheck::add_due(tx, actor, due);
        self.questions.raise_after(tx, Question { did, due, upstream, line });
        Ok(())
    }

    /// The key that is held is not used again, after a crash neither; where the account lived is still the best guess.
    pub(super) fn identity_due(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        since: i64,
        event: &Event,
    ) -> Result<(), StoreError> {
        self.seen(tx, actor, event.time)?;
        self.ask_for_identity(tx, actor, event.did.clone(), since, event.line)?;
        if let Some(mut row) = tx.identity(actor)? {
            row.key.clear();
            tx.put(Ks::Actor, &identity_key(actor), &row.encode());
        }
        Ok(())
    }

    /// It is asked for, and what is held counts meanwhile.
    pub(super) fn identity_claimed(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        event: &Event,
    ) -> Result<(), StoreError> {
        self.seen(tx, actor, event.time)?;
        self.ask_for_identity(tx, actor, event.did.clone(), ANY_TIME, event.line)
    }

    pub(super) fn identity(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        state: &IdentityState,
        time: i64,
    ) -> Result<(), StoreError> {
        let row = row_of(tx, actor, time)?;
        put_identity(tx, actor, state, ActorRow { tombstoned: false, ..row }, time)
    }

    /// What is stored is at least as new as the key that verified something. Its handle is looked up when there is time,
    /// or with the answer to a question that is open.
    pub(super) fn keyed(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        state: &IdentityState,
        time: i64,
    ) -> Result<(), StoreError> {
        self.seen(tx, actor, time)?;
        // What was read before the document changed does not count, nor what is older than what is held.
        let due = recheck::identity_due_since(tx, actor)?;
        if due.is_some_and(|since| since >= time)
            || tx.identity(actor)?.is_some_and(|held| held.checked > time)
        {
            return Ok(());
        }
        let row = row_of(tx, actor, time)?;
        let claim = state.handle.as_ref().filter(|claim| row.handle.as_ref() != Some(*claim));
        if claim.is_none() && due.is_none() {
            return self.identity(tx, actor, state, time);
        }
        if row.status.is_gone() {
            return Ok(());
        }
        let identity = identity_row(state, time);
        tx.put(Ks::Actor, &identity_key(actor), &identity.encode());
        if row.tombstoned {
            let row = ActorRow { tombstoned: false, ..row };
            tx.put(Ks::Actor, &actor_key(actor), &row.encode());
            tx.touch(actor);
        }
        if let Some(claim) = claim
            && due.is_none()
            && handles::add(tx, actor, time, claim)?
        {
            let questions = Arc::clone(&self.questions);
            tx.after_commit(move || questions.claims.one_more());
        }
        Ok(())
    }

    /// A handle was looked up that the document had at some time; it counts if nothing was found out since.
    pub(super) fn handle(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        answer: &HandleAnswer,
        time: i64,
    ) -> Result<(), StoreError> {
        if !self.settle_claim(tx, actor, answer, time)? || recheck::is_identity_due(tx, actor)? {
            return Ok(());
        }
        let Some(mut row) = tx.actor(actor)? else { return Ok(()) };
        if row.status.is_gone() || row.handle_checked >= answer.read {
            return Ok(());
        }
        row.handle_checked = time;
        let handle = answer.holds.then(|| answer.handle.clone());
        put_handle(tx, actor, handle, row)
    }

    /// Takes a question about a handle away, if it is still there.
    pub(super) fn settle_claim(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        answer: &HandleAnswer,
        time: i64,
    ) -> Result<bool, StoreError> {
        let taken = handles::take(tx, actor, answer.due, time)?;
        if taken {
            let questions = Arc::clone(&self.questions);
            tx.after_commit(move || questions.claims.one_less());
        }
        Ok(taken)
    }

    /// Without a document there is neither handle nor key. That there never was one hides nothing: a directory may not
    /// know the accounts of a private network.
    pub(super) fn no_document(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        tombstoned: bool,
        time: i64,
    ) -> Result<(), StoreError> {
        let row = row_of(tx, actor, time)?;
        let tombstoned = tombstoned || row.tombstoned;
        put_identity(tx, actor, &IdentityState::default(), ActorRow { tombstoned, ..row }, time)
    }
}

fn status_row(status: HostingStatus) -> AccountStatus {
    match status {
        HostingStatus::Active => AccountStatus::Active,
        HostingStatus::Deactivated => AccountStatus::Deactivated,
        HostingStatus::Suspended => AccountStatus::Suspended,
        HostingStatus::Takendown => AccountStatus::Takendown,
        HostingStatus::Deleted => AccountStatus::Deleted,
    }
}

/// Accounts whose documents changed before anything of them was seen: a new account announces itself so. Once something
/// is, its document is looked at; of an upstream that is not verified nothing else would ask for it. Hashes of the last
/// ones are enough, since those that are forgotten are looked at in the rounds over all accounts.
#[derive(Default)]
pub(super) struct Unseen(Mutex<Hashes>);

#[derive(Default)]
struct Hashes {
    /// Since when what was read of each is no older than the change.
    held: HashMap<u64, i64>,
    order: VecDeque<u64>,
    /// Of this process, so that nobody can make two alike.
    hasher: RandomState,
}

const MAX_UNSEEN: usize = 16_384;
/// Who claims a change may be anybody: what is held counts until the answer, and so does what is read.
const ANY_TIME: i64 = i64::MIN;

impl Unseen {
    fn any(&self) -> bool {
        !self.0.lock().held.is_empty()
    }

    fn put(&self, did: &str, since: i64) {
        let mut hashes = self.0.lock();
        let hash = hashes.hasher.hash_one(did);
        let held = hashes.held.get(&hash).copied();
        hashes.held.insert(hash, held.map_or(since, |held| held.max(since)));
        if held.is_some() {
            return;
        }
        hashes.order.push_back(hash);
        if hashes.order.len() > MAX_UNSEEN
            && let Some(oldest) = hashes.order.pop_front()
        {
            hashes.held.remove(&oldest);
        }
    }

    fn take(&self, did: &str) -> Option<i64> {
        let mut hashes = self.0.lock();
        let hash = hashes.hasher.hash_one(did);
        hashes.held.remove(&hash)
    }
}

/// The row of an account; a new one, if it is seen for the first time.
pub(super) fn row_of(tx: &Tx<'_>, actor: ActorId, time: i64) -> Result<ActorRow, StoreError> {
    Ok(tx.actor(actor)?.unwrap_or(ActorRow { indexed: time, ..ActorRow::default() }))
}

fn put_identity(
    tx: &mut Tx<'_>,
    actor: ActorId,
    state: &IdentityState,
    mut row: ActorRow,
    time: i64,
) -> Result<(), StoreError> {
    row.handle_checked = time;
    recheck::remove_identity_due(tx, actor);
    if row.status.is_gone() {
        // It leaves nothing, though its DID may stay and name a handle for ever.
        tx.put(Ks::Actor, &actor_key(actor), &row.encode());
        return Ok(());
    }
    tx.put(Ks::Actor, &identity_key(actor), &identity_row(state, time).encode());
    put_handle(tx, actor, state.handle.clone(), row)
}

fn identity_row(state: &IdentityState, time: i64) -> IdentityRow {
    IdentityRow {
        checked: time,
        key: state.key.clone().unwrap_or_default(),
        pds: state.pds.clone().unwrap_or_default(),
    }
}

fn put_handle(
    tx: &mut Tx<'_>,
    actor: ActorId,
    handle: Option<String>,
    mut row: ActorRow,
) -> Result<(), StoreError> {
    if row.handle != handle {
        if let Some(old) = &row.handle {
            release_handle(tx, old, actor)?;
        }
        if let Some(new) = &handle {
            take_handle(tx, new, actor)?;
        }
    }
    row.handle = handle;
    tx.put(Ks::Actor, &actor_key(actor), &row.encode());
    tx.touch(actor);
    Ok(())
}

fn release_handle(tx: &mut Tx<'_>, handle: &str, actor: ActorId) -> Result<(), StoreError> {
    if tx.handle_owner(handle)? == Some(actor) {
        tx.del(Ks::Actor, &handle_key(handle));
    }
    Ok(())
}

/// The newest proof wins: whoever held the handle before has none until its next check.
fn take_handle(tx: &mut Tx<'_>, handle: &str, actor: ActorId) -> Result<(), StoreError> {
    if let Some(other) = tx.handle_owner(handle)?
        && other != actor
        && let Some(mut row) = tx.actor(other)?
    {
        row.handle = None;
        tx.put(Ks::Actor, &actor_key(other), &row.encode());
        tx.touch(other);
    }
    tx.put(Ks::Actor, &handle_key(handle), &actor.0.to_be_bytes());
    Ok(())
}

/// Records taken away in one step of a purge.
pub(super) const STEP: usize = 500;

/// Takes away some of what has to go of an account; `true` when nothing is left, or a deleted account came back.
///
/// Steps are separate jobs of the writer, so that an account with a million records does not hold the others up;
/// the account is on a durable list until the last step.
pub fn purge_step(index: &Index, tx: &mut Tx<'_>, actor: ActorId) -> Result<bool, StoreError> {
    let Some(purge) = purge::purge(tx, actor)? else { return Ok(true) };
    index.forget_if_taken_back(tx);
    let records = some_records(tx, actor)?;
    for id in &records {
        index.delete(tx, *id, 0)?;
    }
    if !records.is_empty() {
        return Ok(false);
    }
    if !index.remove_community_posts(tx, actor, STEP)? {
        return Ok(false);
    }
    if purge.takes_settings()
        && (!notify::clear(tx, actor, STEP)? || !private::forget(tx, actor, STEP)?)
    {
        return Ok(false);
    }
    tx.del(Ks::Actor, &identity_key(actor));
    purge::remove_purge(tx, actor);
    if purge.forgets() {
        index.erased(tx, actor)?;
    }
    if purge.takes_settings() {
        // Last, since memory is not taken back.
        index.scope.leave(tx, actor)?;
        index.members().forget(actor);
    }
    tx.touch(actor);
    Ok(true)
}

pub(super) fn collect_keys(tx: &Tx<'_>, ks: Ks, prefix: &Key) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut keys = Vec::new();
    tx.scan_prefix(ks, prefix, &mut |k, _| {
        keys.push(k.to_vec());
        keys.len() < STEP
    })?;
    Ok(keys)
}

fn some_records(tx: &Tx<'_>, actor: ActorId) -> Result<Vec<RecordId>, StoreError> {
    let mut out = Vec::new();
    let of = |coll: CollId, rkey: Rkey| RecordId { actor, coll, rkey };
    for k in collect_keys(tx, Ks::Post, &Key::new().actor(actor))? {
        out.extend(PostId::from_bytes(&k).map(|p| of(collections::POST, p.rkey)));
    }
    for kind in [EdgeKind::Like, EdgeKind::Repost, EdgeKind::Follow, EdgeKind::Block] {
        for k in collect_keys(tx, Ks::Fwd, &fwd_prefix(kind, actor))? {
            let mut r = ByteReader::new(&k);
            let (_, _, rkey) = (r.u8(), r.actor(), r.rkey());
            out.extend(rkey.map(|rkey| of(kind.collection(), rkey)));
        }
    }
    for k in collect_keys(tx, Ks::Record, &Key::new().actor(actor))? {
        out.extend(RecordId::from_bytes(&k));
    }
    out.truncate(STEP);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::event::Body;

    #[tokio::test]
    async fn an_account_tells_of_the_kinds_of_its_records() {
        let mut w = World::new();
        let told = |w: &World| {
            let row = w.store.snapshot().actor(w.actor("a")).unwrap().unwrap();
            [collections::BLOCK, collections::STATUS, collections::PROFILE]
                .map(|coll| row.kinds.may_have(coll))
        };
        w.commit("a", [post(1), follow(2, "b")]).await;
        assert_eq!(told(&w), [false, false, false]);
        let invalid = |n| {
            let mut op = block(n, "b");
            op.record.as_mut().unwrap().valid = false;
            op
        };
        w.commit("a", [invalid(3)]).await;
        assert_eq!(told(&w), [true, false, false]);
        w.commit("a", [gone(BLOCK, 3)]).await;
        assert_eq!(told(&w), [true, false, false], "it is not counted");
        let status = op("app.bsky.actor.status", 4, map([("createdAt", text(at(4)))]));
        w.commit("a", [status]).await;
        assert_eq!(told(&w), [true, true, false]);
        let change = IdentityState { handle: Some("a.example".into()), key: None, pds: None };
        w.event("a", Body::Identity(change)).await;
        assert_eq!(told(&w), [true, true, false]);
    }
}
