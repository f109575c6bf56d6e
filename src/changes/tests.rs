//! The log by itself: numbers, times, what is in memory and what is not, who falls out.

use std::sync::Arc;
use std::time::Duration;

use super::testing::{Mirror, rows};
use super::trim::{KEEP, Keep, once};
use super::{Change, ChangesError, Follower, Log, Mark, Page, Position, Read, What};
use crate::schema::{ActorId, CollId, Rkey};
use crate::store::{Ks, Reader, Store, Tx, Writer};

/// Key, number and time of a change.
type Told = (u64, u64, u64);

struct Bench {
    store: Store,
    writer: Writer,
    log: Arc<Log>,
    mirror: Arc<Mirror>,
    _dir: tempfile::TempDir,
}

fn put(n: u64) -> Change {
    let what = What::Put { coll: CollId(1), rkey: Rkey(n), rev: 0, cid: [0; 4], created: true };
    Change { mark: Mark::Live, actor: ActorId(1), what }
}

fn key_of(change: &Change) -> u64 {
    change.record().unwrap().rkey.0
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let mirror = Mirror::new();
        let log = Log::start(&store, &writer, vec![mirror.clone()]).await.unwrap();
        Self { store, writer, log, mirror, _dir: dir }
    }

    /// One batch with these changes.
    async fn batch(&self, changes: impl IntoIterator<Item = u64>) {
        let log = Arc::clone(&self.log);
        let changes: Vec<u64> = changes.into_iter().collect();
        let job = self.writer.durable(move |tx| {
            changes.iter().for_each(|n| log.append(tx, put(*n)));
            Ok(())
        });
        job.await.unwrap();
    }

    async fn restart(&mut self, followers: Vec<Arc<dyn Follower>>) {
        self.log = Log::start(&self.store, &self.writer, followers).await.unwrap();
    }

    /// Keys, numbers and times from a number on, and the number after them.
    fn read(&self, from: u64) -> Result<(Vec<Told>, u64), ChangesError> {
        let (mut all, mut seq) = (Vec::new(), from);
        while let Read::Page(page) = self.log.read(seq)? {
            all.extend(page.from(seq).map(|e| (key_of(&e.change), e.seq, e.time_us)));
            assert!(page.end() > seq);
            seq = page.end();
        }
        Ok((all, seq))
    }
}

#[tokio::test]
async fn numbers_and_times_rise_by_one_event_and_are_the_same_from_memory_and_from_disk() {
    let mut b = Bench::new().await;
    let first = b.log.tip();
    b.batch(0..3).await;
    b.batch(3..1500).await;
    b.batch([1500]).await;
    assert_eq!(rows(&b.store), 1 + 3 + 1, "at most 512 in a row");
    let (hot, end) = b.read(first).unwrap();
    assert_eq!((hot.len(), end, b.log.tip()), (1501, first + 1501, first + 1501));
    for (n, (key, seq, _)) in hot.iter().enumerate() {
        assert_eq!((*key, *seq), (n as u64, first + n as u64));
    }
    assert!(hot.windows(2).all(|two| two[0].2 < two[1].2), "times are unique and rise");
    b.log.tail.forget();
    for from in [first, first + 1, first + 2, first + 3, first + 514, first + 515, end - 1] {
        let cold = b.read(from).unwrap();
        assert_eq!(cold, (hot[(from - first) as usize..].to_vec(), end), "from {from}");
    }
    // A restart goes on with the same numbers, and part of it is in memory, part not.
    b.restart(vec![b.mirror.clone()]).await;
    assert_eq!(b.log.tip(), end);
    b.batch([1501]).await;
    let (both, _) = b.read(first).unwrap();
    assert_eq!(both[..1501], hot);
    assert_eq!((both[1501].0, both[1501].1), (1501, end));
    assert!(both[1501].2 > hot[1500].2);
}

#[tokio::test]
async fn what_is_rolled_back_is_not_in_the_log() {
    let b = Bench::new().await;
    let first = b.log.tip();
    let log = Arc::clone(&b.log);
    let job = b.writer.durable(move |tx| {
        log.append(tx, put(1));
        tx.mark();
        log.append(tx, put(2));
        log.append(tx, put(3));
        tx.rollback();
        log.append(tx, put(4));
        Ok(())
    });
    job.await.unwrap();
    // Nothing but what is taken back.
    let log = Arc::clone(&b.log);
    let job = b.writer.durable(move |tx| {
        tx.mark();
        log.append(tx, put(5));
        tx.rollback();
        Ok(())
    });
    job.await.unwrap();
    b.batch([6]).await;
    let keys: Vec<_> =
        b.read(first).unwrap().0.into_iter().map(|(key, seq, _)| (key, seq)).collect();
    assert_eq!(keys, [(1, first), (4, first + 1), (6, first + 2)]);
}

#[tokio::test]
async fn without_a_follower_nothing_is_written_and_what_was_goes() {
    let mut b = Bench::new().await;
    b.batch(0..10).await;
    b.batch(10..20).await;
    b.restart(Vec::new()).await;
    assert!(!b.log.is_on());
    let tip = b.log.tip();
    b.batch(20..30).await;
    assert_eq!((b.log.tip(), rows(&b.store)), (tip, 2));
    assert!(!once(&b.log, &b.writer, KEEP, super::log::now_us() + 1).await.unwrap());
    assert_eq!(rows(&b.store), 1, "the newest says which number is next");
    b.restart(vec![b.mirror.clone()]).await;
    assert!(b.log.tip() > tip, "no number is given twice");
}

#[tokio::test]
async fn a_change_that_nobody_wants_is_not_written() {
    let mut b = Bench::new().await;
    let even = Mirror::wanting("even", |c| c.record().is_some_and(|id| id.rkey.0 % 2 == 0));
    let threes = Mirror::wanting("threes", |c| c.record().is_some_and(|id| id.rkey.0 % 3 == 0));
    b.restart(vec![even.clone(), threes.clone()]).await;
    let first = b.log.tip();
    [&even, &threes].into_iter().for_each(|follower| follower.catch_up(&b.log));
    b.batch(0..10).await;
    let written: Vec<_> = b.read(first).unwrap().0.into_iter().map(|(key, ..)| key).collect();
    assert_eq!(written, [0, 2, 3, 4, 6, 8, 9]);
    [&even, &threes].into_iter().for_each(|follower| follower.catch_up(&b.log));
    let told = |mirror: &Mirror| mirror.seen().iter().map(key_of).collect::<Vec<_>>();
    assert_eq!((told(&even), told(&threes)), (vec![0, 2, 4, 6, 8], vec![0, 3, 6, 9]));
}

#[tokio::test]
async fn who_was_not_in_the_list_for_a_while_begins_anew() {
    let mut b = Bench::new().await;
    b.mirror.catch_up(&b.log);
    b.batch([1]).await;
    b.mirror.catch_up(&b.log);
    assert_eq!(b.mirror.begun(), 1);
    // Still there after a restart.
    b.restart(vec![b.mirror.clone()]).await;
    b.batch([2]).await;
    b.mirror.catch_up(&b.log);
    assert_eq!((b.mirror.begun(), b.mirror.records().len()), (1, 2));
    for times in 2..5 {
        // Nothing is written meanwhile, so no number says that something is missing.
        b.restart(Vec::new()).await;
        b.restart(vec![b.mirror.clone()]).await;
        b.mirror.catch_up(&b.log);
        assert_eq!(b.mirror.begun(), times);
    }
    // One that the store does not know, as after a loss of power, neither.
    let ahead = b.log.tip() + 7;
    b.mirror.apply(&[], &b.store.snapshot(), &Position::At(ahead)).unwrap();
    b.restart(vec![b.mirror.clone()]).await;
    b.batch(10..30).await;
    b.mirror.catch_up(&b.log);
    assert_eq!(b.mirror.begun(), 5);
    assert!(b.log.tip() > ahead);
}

#[tokio::test]
async fn a_command_that_does_not_know_who_follows_writes_everything() {
    let b = Bench::new().await;
    let first = b.log.tip();
    let command = Log::of(&b.store).unwrap();
    assert!(command.is_on());
    b.writer
        .durable(move |tx| {
            command.append(tx, put(1));
            Ok(())
        })
        .await
        .unwrap();
    let server = Log::start(&b.store, &b.writer, vec![b.mirror.clone()]).await.unwrap();
    assert_eq!(server.tip(), first + 1);
    assert!(matches!(server.read(first).unwrap(), Read::Page(page) if page.changes == [put(1)]));
    let alone = Log::start(&b.store, &b.writer, Vec::new()).await.unwrap();
    assert!(!alone.is_on() && !Log::of(&b.store).unwrap().is_on());
}

#[tokio::test]
async fn rows_go_when_everybody_passed_them_and_they_are_old() {
    let b = Bench::new().await;
    let first = b.log.tip();
    b.mirror.catch_up(&b.log);
    for n in 0..6 {
        b.batch([n]).await;
    }
    let keep = Keep { age: Duration::from_secs(3600), bytes: u64::MAX };
    let (now, later) = (super::log::now_us(), super::log::now_us() + 3_700_000_000);
    once(&b.log, &b.writer, keep, later).await.unwrap();
    assert_eq!((rows(&b.store), b.log.oldest()), (6, 1), "nobody passed them");
    b.mirror.catch_up(&b.log);
    once(&b.log, &b.writer, keep, now).await.unwrap();
    assert_eq!(rows(&b.store), 6, "they are not old");
    once(&b.log, &b.writer, keep, later).await.unwrap();
    assert_eq!((rows(&b.store), b.log.oldest()), (1, first + 5), "the newest stays");
    let outdated = b.log.read(first + 4).unwrap_err();
    let (asked, oldest) = (first + 4, first + 5);
    assert!(
        matches!(outdated, ChangesError::OutdatedCursor { asked: a, oldest: o } if (a, o) == (asked, oldest)),
        "{outdated}"
    );
    b.batch([6]).await;
    b.mirror.catch_up(&b.log);
    assert_eq!((b.mirror.begun(), b.mirror.records().len()), (1, 7));
}

#[tokio::test]
async fn who_falls_out_of_a_log_that_is_too_long_is_told_and_begins_anew() {
    let mut b = Bench::new().await;
    b.mirror.catch_up(&b.log);
    let first = b.log.tip();
    for n in 0..2000 {
        b.batch([n]).await;
    }
    let keep = Keep { age: KEEP.age, bytes: 2000 };
    while once(&b.log, &b.writer, keep, super::log::now_us()).await.unwrap() {}
    let left = rows(&b.store) as u64;
    assert!((2..200).contains(&left), "{left}");
    let oldest = b.log.oldest();
    assert_eq!(oldest, b.log.tip() - left);
    assert!(matches!(b.log.read(first), Err(ChangesError::OutdatedCursor { .. })));
    // After a restart too, and what is left is read from where it begins.
    b.restart(vec![b.mirror.clone()]).await;
    assert_eq!((b.log.oldest(), b.read(oldest).unwrap().0.len() as u64), (oldest, left));
    b.mirror.catch_up(&b.log);
    assert_eq!((b.mirror.begun(), b.mirror.at()), (2, Position::At(b.log.tip())));
}

/// The row that begins with this number is written over.
async fn damage(b: &Bench, first: u64) {
    let key = super::row::key(first);
    assert!(b.store.snapshot().has(Ks::Events, &key).unwrap());
    let over = move |tx: &mut Tx<'_>| {
        tx.put(Ks::Events, &key, &[1, 0xff]);
        Ok(())
    };
    b.writer.durable(over).await.unwrap();
    b.log.tail.forget();
}

#[tokio::test]
async fn a_row_that_does_not_decode_is_a_hole_and_no_end() {
    let mut b = Bench::new().await;
    b.mirror.catch_up(&b.log);
    let first = b.log.tip();
    for n in 0..4 {
        b.batch([n]).await;
    }
    damage(&b, first + 1).await;
    for (asked, oldest) in [(first, first + 2), (first + 1, first + 2)] {
        let told = b.read(asked).unwrap_err();
        let ChangesError::OutdatedCursor { oldest: goes_on, .. } = told else { panic!("{told}") };
        assert_eq!(goes_on, oldest, "asked {asked}");
    }
    assert_eq!(b.read(first + 2).unwrap().0.len(), 2);
    // Who follows begins anew, and the row goes with those before it.
    b.mirror.catch_up(&b.log);
    assert_eq!((b.mirror.begun(), b.mirror.at()), (2, Position::At(first + 4)));
    let all = Keep { age: Duration::ZERO, ..KEEP };
    once(&b.log, &b.writer, all, super::log::now_us() + 1).await.unwrap();
    assert_eq!((b.log.oldest(), rows(&b.store)), (first + 3, 1));
    // The newest one: no number is given twice.
    damage(&b, first + 3).await;
    b.restart(vec![b.mirror.clone()]).await;
    assert!(b.log.tip() > first + 3, "{}", b.log.tip());
    let next = b.log.tip();
    b.batch([9]).await;
    let after: Vec<_> = b.read(next).unwrap().0.into_iter().map(|(key, ..)| key).collect();
    assert_eq!(after, [9]);
}

#[tokio::test]
async fn a_reader_waits_at_the_tip_until_something_comes() {
    let b = Bench::new().await;
    let tip = b.log.tip();
    assert_eq!(b.log.read(tip).unwrap(), Read::Tip);
    let (log, waiting) = (Arc::clone(&b.log), Arc::new(tokio::sync::Notify::new()));
    let told = Arc::clone(&waiting);
    let reader = tokio::spawn(async move {
        told.notify_one();
        log.wait(tip).await;
        log.read(tip).unwrap()
    });
    waiting.notified().await;
    assert!(!reader.is_finished());
    b.batch([7]).await;
    let read = tokio::time::timeout(Duration::from_secs(60), reader).await.unwrap().unwrap();
    let is_it = |page: &Page| page.first == tip && page.changes == [put(7)];
    assert!(matches!(&read, Read::Page(page) if is_it(page)), "{read:?}");
}
