//! After rows were lost: which repos have to be fetched again because of that, and what else the network gives back.

use crate::schema::bytes::ByteReader;
use crate::schema::{ActorId, Rows, names};
use crate::store::{Ks, Lost, Reader, StoreError, Tx};
use crate::work::repo_queue::{self as jobs, JobRow, Priority};

/// What follows from a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// The repos of these accounts, from the first to the last, are fetched again.
    Repos(ActorId, ActorId),
    /// Labels are read again from the beginning.
    Labels,
    /// It follows from other rows and is counted again, or fills up again by itself.
    Itself,
    /// What it says of records that are held does not come back, but in a new store.
    Nothing,
    /// It exists nowhere else.
    Private,
    /// Without it the rows of all others cannot be told apart.
    Everything,
}

/// What gives back what was lost.
#[must_use]
pub fn back(lost: &Lost) -> Back {
    match lost.ks {
        Ks::Post | Ks::Record => repos(lost, 0),
        Ks::Fwd | Ks::Actor => repos(lost, 1),
        Ks::Label => Back::Labels,
        Ks::Agg | Ks::Plc | Ks::Jobs | Ks::Events => Back::Itself,
        Ks::Rev | Ks::Order | Ks::Feed | Ks::Cid | Ks::Notif => Back::Nothing,
        Ks::Private => Back::Private,
        Ks::Meta | Ks::Names => Back::Everything,
    }
}

/// The accounts between two keys that have the number behind so many bytes.
fn repos(lost: &Lost, behind: usize) -> Back {
    let (before, after) = &lost.between;
    let tag =
        |key: &Option<Vec<u8>>| key.as_ref().and_then(|key| key.get(..behind).map(<[u8]>::to_vec));
    let actor = |key: &Option<Vec<u8>>| ByteReader::new(key.as_deref()?.get(behind..)?).actor();
    // Behind another tag the numbers begin anew.
    let same = tag(before) == tag(after);
    let first = actor(before).filter(|_| same).unwrap_or(ActorId(0));
    let last = actor(after).filter(|_| same).unwrap_or(ActorId(u32::MAX));
    Back::Repos(first, last)
}

/// Accounts of one batch.
const STEP: u32 = 2000;

/// Wants the repos of accounts from `from` to `last` fetched again, some at a time; where to go on, and how many these were.
///
/// # Errors
/// The store.
pub fn want(
    tx: &mut Tx<'_>,
    from: ActorId,
    last: ActorId,
    now: i64,
) -> Result<(Option<ActorId>, u64), StoreError> {
    let Some(end) = names::last_actor(tx)?.map(|end| end.min(last)) else {
        return Ok((None, 0));
    };
    let mut count = 0;
    let mut at = from.0.max(1);
    let stop = at.saturating_add(STEP);
    while at <= end.0 && at < stop {
        let actor = ActorId(at);
        at += 1;
        // Of whom nothing is held nothing was lost.
        if tx.repo(actor)?.is_none() {
            continue;
        }
        let job = JobRow { force: true, ..JobRow::new(Priority::Resync, now) };
        jobs::add(tx, actor, &job)?;
        count += 1;
    }
    Ok(((at <= end.0).then_some(ActorId(at)), count))
}

/// Lets labelers be read from the beginning.
///
/// # Errors
/// The store.
pub fn labels_anew(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let mut keys = Vec::new();
    tx.scan_prefix(Ks::Meta, b"l", &mut |key, _| {
        keys.push(key.to_vec());
        true
    })?;
    keys.iter().for_each(|key| tx.del(Ks::Meta, key));
    Ok(())
}
