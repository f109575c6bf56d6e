//! After rows were lost: which repos have to be fetched again because of that, and what else the network gives back.

use crate::schema::bytes::ByteReader;
use crate::schema::rows::{EdgeKind, fwd_prefix};
use crate::schema::{ActorId, Key, Rows, names};
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
    /// It does not come back, but in a new store.
    Nothing,
    /// It exists nowhere else.
    Private,
    /// Each name has two rows, and the one gives back the other.
    Names,
    /// Streams are read again from the oldest event that they have.
    Cursors,
}

/// What gives back what was lost.
#[must_use]
pub fn back(lost: &Lost) -> Back {
    match lost.ks {
        Ks::Post | Ks::Record => repos(lost, 0),
        Ks::Fwd | Ks::Actor => repos(lost, 1),
        Ks::Label => Back::Labels,
        Ks::Rev | Ks::Order | Ks::Feed | Ks::Agg => Back::Itself,
        Ks::Plc | Ks::Jobs | Ks::Events => Back::Itself,
        Ks::Cid | Ks::Notif => Back::Nothing,
        Ks::Private => Back::Private,
        Ks::Names => Back::Names,
        Ks::Meta => Back::Cursors,
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
        // Of whom nothing is held nothing was lost. The row that says so may be what was lost.
        if tx.repo(actor)?.is_none() && !holds_any(tx, actor)? {
            continue;
        }
        let job = JobRow { force: true, ..JobRow::new(Priority::Resync, now) };
        jobs::add(tx, actor, &job)?;
        count += 1;
    }
    Ok(((at <= end.0).then_some(ActorId(at)), count))
}

/// Whether there is a record of the account.
fn holds_any<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<bool, StoreError> {
    let of_actor = Key::new().actor(actor);
    let mut places = vec![(Ks::Post, of_actor.clone()), (Ks::Record, of_actor)];
    for kind in [EdgeKind::Like, EdgeKind::Repost, EdgeKind::Follow, EdgeKind::Block] {
        places.push((Ks::Fwd, fwd_prefix(kind, actor)));
    }
    let mut any = false;
    for (ks, prefix) in places {
        r.scan_prefix(ks, &prefix, &mut |_, _| {
            any = true;
            false
        })?;
        if any {
            break;
        }
    }
    Ok(any)
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::schema::Edit as _;
    use crate::schema::rows::fwd_key;
    use crate::schema::{Rkey, rows::RepoRow, rows::repo_key};
    use crate::store::{Store, Writer};

    fn lost(ks: Ks, before: &[u8], after: &[u8]) -> Back {
        let between = (Some(before.to_vec()), Some(after.to_vec()));
        back(&Lost { ks, file: PathBuf::new(), between })
    }

    #[test]
    fn keys_tell_whose_repos_are_fetched_again() {
        let all = Back::Repos(ActorId(0), ActorId(u32::MAX));
        assert_eq!(
            lost(Ks::Post, &[0, 0, 0, 7, 1], &[0, 0, 0, 9, 1]),
            Back::Repos(ActorId(7), ActorId(9))
        );
        assert_eq!(
            lost(Ks::Fwd, &[3, 0, 0, 0, 7, 1], &[3, 0, 0, 0, 9]),
            Back::Repos(ActorId(7), ActorId(9))
        );
        // The likes of the last accounts, and the reposts of the first.
        assert_eq!(lost(Ks::Fwd, &[1, 0, 0, 0, 7, 1], &[2, 0, 0, 0, 2]), all);
        assert_eq!(
            back(&Lost { ks: Ks::Record, file: PathBuf::new(), between: (None, None) }),
            all
        );
        assert_eq!(lost(Ks::Feed, &[0], &[1]), Back::Itself);
    }

    #[tokio::test]
    async fn repos_of_which_something_is_held_are_wanted_and_sequences_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let [with_repo, with_edge, nothing] = writer
            .durable(|tx| {
                let ids = [
                    tx.intern_actor("did:plc:a")?,
                    tx.intern_actor("did:plc:b")?,
                    tx.intern_actor("did:plc:c")?,
                ];
                tx.put(
                    Ks::Actor,
                    &repo_key(ids[0]),
                    &RepoRow { rev: 1, data: [0; 32], resync: None, whole: None }.encode(),
                );
                tx.put(Ks::Fwd, &fwd_key(EdgeKind::Like, ids[1], Rkey(5)), b"");
                // What is lost with a block of `meta`, and with one of `names`.
                tx.del(Ks::Meta, b"next-actor");
                tx.del(Ks::Names, &Key::tag(b'D').actor(ids[2]));
                Ok(ids)
            })
            .await
            .unwrap();
        let (next, after) = writer
            .durable(move |tx| {
                assert_eq!(names::mend_twins(tx, &[])?, None);
                names::mend_sequences(tx)?;
                Ok((want(tx, ActorId(0), ActorId(u32::MAX), 5)?, tx.intern_actor("did:plc:d")?))
            })
            .await
            .unwrap();
        assert_eq!(next, (None, 2));
        assert!(after > nothing);
        let s = store.snapshot();
        assert_eq!(&*s.did(nothing).unwrap(), "did:plc:c");
        let wanted = |actor| jobs::get(&s, actor).unwrap().is_some_and(|job| job.force);
        assert_eq!([with_repo, with_edge, nothing].map(wanted), [true, true, false]);
    }
}
