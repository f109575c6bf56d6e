//! What the log is told, and that a follower which knows nothing else has what the store has, whatever happens.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::{Options, check};
use super::retention_tests::{policy, run};
use super::scope::Mode;
use super::testing::*;
use super::*;
use crate::changes::testing::{Mirror, held};
use crate::changes::{Change, Log, Mark, What, catch_up};
use crate::event::label::Label;
use crate::event::{HostingStatus, IdentityState, Upstream};
use crate::moderation::Takedowns;
use crate::private::{self, Takedown};
use crate::schema::rows::AccountStatus;
use crate::schema::{Key, Target, collections as c};
use crate::store::{Ks, Reader, Store, Writer};
use crate::syntax::Tid;

/// A world and a follower.
struct Followed {
    w: World,
    log: Arc<Log>,
    mirror: Arc<Mirror>,
}

impl std::ops::Deref for Followed {
    type Target = World;
    fn deref(&self) -> &World {
        &self.w
    }
}

impl Followed {
    async fn new(w: World) -> Self {
        let mirror = Mirror::new();
        let log = Log::start(&w.store, &w.writer, vec![mirror.clone()]).await.unwrap();
        let mut this = Self { w, log, mirror };
        this.restart(Mode::Whole).await;
        this.same("at first");
        this
    }

    async fn restart(&mut self, mode: Mode) {
        let w = &mut self.w;
        self.log = Log::start(&w.store, &w.writer, vec![self.mirror.clone()]).await.unwrap();
        w.restart(mode, 30);
        let index = Arc::into_inner(std::mem::replace(
            &mut w.index,
            Arc::new(Index::new(&w.store).unwrap().0),
        ));
        w.index = Arc::new(index.unwrap().logging(Arc::clone(&self.log)));
    }

    /// The mirror is as the store, and what it was told since the last time.
    fn same(&self, when: &str) -> Vec<Change> {
        self.mirror.catch_up(&self.log);
        assert_eq!(self.mirror.records(), held(&self.w.store), "{when}");
        self.mirror.seen()
    }

    async fn commit(&mut self, who: &str, ops: impl Into<Vec<Op>>) {
        self.w.commit(who, ops).await;
    }

    async fn upstream_says(&self, who: &str, body: Body, upstream: Upstream) {
        let index = Arc::clone(&self.index);
        let mut event = Event::found_here(did(who), NOW, body);
        event.upstream = Some(upstream);
        self.writer.durable(move |tx| index.apply(tx, &[event])).await.unwrap();
    }

    async fn purge(&self, who: &str) {
        let (index, actor) = (Arc::clone(&self.index), self.actor(who));
        loop {
            let index = Arc::clone(&index);
            if self.writer.durable(move |tx| purge_step(&index, tx, actor)).await.unwrap() {
                return;
            }
        }
    }

    async fn fetch(&self, who: &str, n: u64, ops: Vec<Op>) {
        let rev = Tid::parse(&tid(n)).unwrap();
        self.event(who, Body::Wanted).await;
        self.event(who, Body::Fetching { rev, data: [7; 32] }).await;
        self.event(who, Body::Part { rev, ops }).await;
        self.event(who, Body::Fetched { rev }).await;
    }
}

fn rev(n: u64) -> u64 {
    Tid::parse(&tid(n)).unwrap().as_u64()
}

/// Mark, kind, record key and rev, for people.
fn brief(changes: &[Change]) -> Vec<String> {
    let one = |change: &Change| {
        let kind = match change.what {
            What::Put { created: true, .. } => "create",
            What::Put { .. } => "update",
            What::Delete { .. } => "delete",
            What::Account { status, .. } => return format!("{:?} {status:?}", change.mark),
            What::Identity { settled, .. } => {
                return format!("{:?} identity {settled}", change.mark);
            }
            What::Label { .. } => "label",
            What::Takedown { on, .. } => return format!("{:?} takedown {on}", change.mark),
            What::Repo => "repo",
        };
        format!("{:?} {kind}", change.mark)
    };
    changes.iter().map(one).collect()
}

fn spam(of: &str) -> Label {
    Label {
        ver: Some(1),
        src: did("labeler"),
        uri: of.to_owned(),
        cid: None,
        val: "spam".into(),
        neg: None,
        cts: at(60),
        exp: None,
        sig: None,
    }
}

#[tokio::test]
async fn an_event_is_one_change_and_what_changes_nothing_is_none() {
    let mut f = Followed::new(World::new()).await;
    f.commit("a", [post(1)]).await;
    let root = uri("a", POST, 1);
    f.commit("b", [like(2, &root), follow(3, "a")]).await;
    let told = f.same("created");
    assert_eq!(brief(&told), ["Live create"; 3]);
    let digest = post(1).record.unwrap().cid;
    let What::Put { coll, rkey, rev: of, cid, .. } = told[0].what else { panic!("{told:?}") };
    assert_eq!((coll, rkey.0, of, &cid[..]), (c::POST, rev(1), rev(1), &digest[..4]));
    // The same once more, as another upstream brings it; then with another rev, as a replay without revs would.
    f.w.revs -= 1;
    f.commit("b", [like(2, &root), follow(3, "a")]).await;
    f.commit("a", [post(1)]).await;
    assert_eq!(brief(&f.same("again")), [""; 0]);
    // A new version is one change, of a record and of an edge.
    let mut other = post(1);
    other.record = quote(1, &root).record;
    f.commit("a", [other]).await;
    f.commit("b", [like(2, &uri("a", POST, 9))]).await;
    assert_eq!(brief(&f.same("updated")), ["Live update"; 2]);
    f.commit("b", [gone(LIKE, 2), gone(LIKE, 77)]).await;
    f.commit("a", [gone(POST, 1)]).await;
    let told = f.same("deleted");
    let target = Target::Post(f.post("a", 9));
    let what = What::Delete {
        coll: c::LIKE,
        rkey: crate::schema::Rkey(rev(2)),
        rev: rev(6),
        target: Some(target),
    };
    assert_eq!(told[0], Change { mark: Mark::Live, actor: f.actor("b"), what });
    assert_eq!(brief(&told), ["Live delete"; 2]);
    assert_eq!(f.mirror.begun(), 1);
}

#[tokio::test]
async fn an_event_that_is_taken_back_is_not_told() {
    let mut f = Followed::new(World::new()).await;
    f.commit("a", [post(1)]).await;
    f.same("before");
    let post_of_a = Target::Post(f.post("a", 1));
    f.writer
        .durable(move |tx| {
            tx.put(Ks::Agg, &post_of_a.key(), &[0xff; 30]);
            Ok(())
        })
        .await
        .unwrap();
    let commit = |who, n, ops| {
        let rev = Tid::parse(&tid(n)).unwrap();
        Event::found_here(
            did(who),
            NOW,
            Body::Commit(Commit { rev, data: None, prev_data: None, ops }),
        )
    };
    let events = [
        commit("b", 50, vec![post(10)]),
        // The second of them meets a row that does not decode, so the first does not count either.
        commit("c", 51, vec![post(11), like(12, &uri("a", POST, 1))]),
        commit("d", 52, vec![post(13)]),
    ];
    let index = Arc::clone(&f.index);
    f.writer.durable(move |tx| index.apply(tx, &events)).await.unwrap();
    let told = f.same("after");
    assert_eq!(told.iter().map(|c| c.actor).collect::<Vec<_>>(), [f.actor("b"), f.actor("d")]);
}

#[tokio::test]
async fn accounts_identities_labels_and_takedowns_are_told_with_who_said_so() {
    let f = Followed::new(World::new()).await;
    let upstream = Upstream { seq: 12, time: NOW - 5 };
    f.upstream_says("a", Body::Account(HostingStatus::Deactivated), upstream).await;
    f.upstream_says("a", Body::IdentityDue { since: NOW }, upstream).await;
    let proof = IdentityState { handle: Some("a.example".into()), key: None, pds: None };
    f.event("a", Body::Identity(proof)).await;
    let told = f.same("accounts");
    let (actor, upstream) = (f.actor("a"), Some(upstream));
    let change = |mark, what| Change { mark, actor, what };
    assert_eq!(
        told,
        [
            change(Mark::Live, What::Account { status: AccountStatus::Deactivated, upstream }),
            change(Mark::Live, What::Identity { settled: false, upstream }),
            change(Mark::History, What::Identity { settled: true, upstream: None }),
        ]
    );
    let index = Arc::clone(&f.index);
    f.writer.durable(move |tx| apply_labels(&index, tx, &[spam(did("a").as_str())])).await.unwrap();
    let takedowns = Takedowns::load(&f.store.snapshot()).unwrap();
    takedowns.log_to(&f.log);
    let row = Takedown { at: 1, reference: "r".into() };
    takedowns.set(&f.writer, did("a").to_string(), Some(row)).await.unwrap();
    takedowns.set(&f.writer, did("a").to_string(), None).await.unwrap();
    let (target, src) = (Target::Actor(actor), f.actor("labeler"));
    assert_eq!(
        f.same("rules"),
        [
            change(Mark::Local, What::Label { target, src }),
            change(Mark::Local, What::Takedown { target, on: true }),
            change(Mark::Local, What::Takedown { target, on: false }),
        ]
    );
    let report = check(&f.store, &Options { full: true, repair: None }, &mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert!(report.rows.iter().any(|(ks, rows)| *ks == Ks::Events && *rows > 0));
}

#[tokio::test]
async fn a_first_fetch_is_one_row_and_a_later_one_its_differences() {
    let mut f = Followed::new(World::new()).await;
    f.commit("b", [post(20)]).await;
    f.commit("a", [post(5)]).await;
    f.same("before");
    f.fetch("a", 30, vec![post(1), post(2), gone(POST, 5), follow(3, "b")]).await;
    // What the follower is told of the repo is what it holds.
    let told = f.same("fetched");
    assert_eq!(
        brief(&told),
        ["History delete", "History create", "History create", "History create"]
    );
    let next = f.log.tip();
    f.fetch("a", 40, vec![post(4), gone(POST, 2)]).await;
    assert_eq!(f.log.tip(), next + 2);
    let told = f.same("fetched again");
    assert_eq!(brief(&told), ["History create", "History delete"]);
    assert!(told.iter().all(
        |c| matches!(c.what, What::Put { rev: r, .. } | What::Delete { rev: r, .. } if r == rev(40))
    ));
    // One that is given up half way is told of, too.
    f.event("c", Body::Wanted).await;
    f.event("c", Body::Fetching { rev: Tid::parse(&tid(30)).unwrap(), data: [7; 32] }).await;
    f.event("c", Body::Part { rev: Tid::parse(&tid(30)).unwrap(), ops: vec![post(1), post(2)] })
        .await;
    f.event("c", Body::GivenUp).await;
    f.same("given up");
    // Or that the operator takes off the list meanwhile.
    let rev = Tid::parse(&tid(30)).unwrap();
    f.event("e", Body::Wanted).await;
    f.event("e", Body::Fetching { rev, data: [7; 32] }).await;
    f.event("e", Body::Part { rev, ops: vec![post(1), post(2)] }).await;
    let (index, private, e) = (Arc::clone(&f.index), f.private(), f.actor("e"));
    let remove = f.writer.durable(move |tx| index.remove_repo(&private, tx, e, false, NOW));
    assert!(!remove.await.unwrap().deleting);
    f.same("taken off the list");
    assert_eq!(f.mirror.begun(), 1);
}

#[tokio::test]
async fn a_follower_has_what_the_store_has_whatever_takes_it_away() {
    // It comes late, so it reads all that is there.
    let mut f = Followed::new(filled().await).await;
    assert!(f.mirror.records().len() > 15);
    f.event("b", Body::Found { rev: Tid::parse(&tid(90)).unwrap(), ops: vec![post(80), post(81)] })
        .await;
    f.event("s", Body::Found { rev: Tid::parse(&tid(90)).unwrap(), ops: vec![post(80), post(81)] })
        .await;
    assert_eq!(brief(&f.same("found")), ["History create"; 4]);
    let (index, kept) =
        (Arc::clone(&f.index), f.index.scope().1.anew(&f.store.snapshot()).unwrap());
    f.writer.durable(move |tx| evict(&index, tx, &kept, NOW, 0)).await.unwrap();
    let told = brief(&f.same("evicted"));
    assert!(told.len() >= 2 && told.iter().all(|change| change == "Local delete"), "{told:?}");
    // Retention takes posts with their likes, reposts and gates.
    f.commit("d", [post(61), like(62, &uri("a", POST, 20)), gate_nobody(61, "d")]).await;
    f.commit("e", [like(63, &uri("d", POST, 61)), follow(64, "nobody")]).await;
    f.same("filled up");
    f.restart(Mode::Window).await;
    let tally = run(&f, policy(Mode::Window)).await;
    let told = brief(&f.same("retention"));
    assert!(tally.total() >= 3, "{tally:?}");
    assert!(told.iter().all(|change| change == "Local delete") && !told.is_empty(), "{told:?}");
    f.restart(Mode::Whole).await;
    // The account says no, or is deleted by its host, or by itself here, or its repo by the operator.
    for (n, who) in [(100, "g"), (200, "h"), (300, "i"), (400, "j")] {
        let posts: Vec<_> = (n..n + 30).map(post).collect();
        f.commit(who, posts).await;
        f.commit(who, [like(n + 50, &uri("a", POST, 1)), follow(n + 51, "a"), block(n + 52, "b")])
            .await;
    }
    f.same("four more");
    let status = |f: &Followed, who| f.mirror.accounts.lock().get(&f.actor(who)).copied();
    let (index, [g, i, j]) = (Arc::clone(&f.index), ["g", "i", "j"].map(|who| f.actor(who)));
    let private = f.private();
    f.writer
        .durable(move |tx| {
            let (g, i) = (tx.did(g)?, tx.did(i)?);
            private.within(tx, |r| private::opt_outs::opt_out(r, &g, NOW))?;
            let then = private::Afterwards::Collected;
            private.within(tx, |r| private::opt_outs::erase(r, &i, then, NOW))?;
            index.remove_repo(&private, tx, j, true, NOW)
        })
        .await
        .unwrap();
    f.event("h", Body::Account(HostingStatus::Deleted)).await;
    f.same("they go");
    let gone = [
        AccountStatus::OptedOut,
        AccountStatus::Deleted,
        AccountStatus::Deleted,
        AccountStatus::Deleted,
    ];
    assert_eq!(["g", "h", "i", "j"].map(|who| status(&f, who)), gone.map(Some));
    for who in ["g", "h", "i", "j"] {
        f.purge(who).await;
        let told = f.same(who);
        let deleted =
            told.iter().filter(|c| matches!(c.what, What::Delete { .. }) && c.mark == Mark::Local);
        assert_eq!(deleted.count(), 33, "{who}");
        assert!(f.mirror.records().keys().all(|id| id.actor != f.actor(who)), "{who}");
    }
    assert_eq!(f.mirror.begun(), 1, "all of that was in the log");
    // And one that sees it all only now has the same.
    let late = Mirror::wanting("late", |_| true);
    let log = Log::start(&f.store, &f.writer, vec![f.mirror.clone(), late.clone()]).await.unwrap();
    late.catch_up(&log);
    assert_eq!(late.records(), f.mirror.records());
    let accounts = late.accounts.lock().clone();
    assert_eq!(accounts.get(&f.actor("g")), Some(&AccountStatus::OptedOut));
}

#[tokio::test]
async fn what_is_imported_in_bulk_reaches_a_follower_that_starts_later() {
    let mut f = Followed::new(filled().await).await;
    // A command that owns the store and does not know who follows it.
    let (bulk, thread) = Writer::start_bulk(f.store.clone()).unwrap();
    let index = Arc::new(Index::new(&f.store).unwrap().0);
    let rev = Tid::parse(&tid(500)).unwrap();
    for n in 0..40 {
        let who = format!("imported{n}");
        let ops: Vec<_> = (1..30).map(post).chain([like(40, &uri("a", POST, 1))]).collect();
        let bodies = [
            Body::Wanted,
            Body::Fetching { rev, data: [7; 32] },
            Body::Part { rev, ops },
            Body::Fetched { rev },
        ];
        let events: Vec<_> = bodies.map(|body| Event::found_here(did(&who), NOW, body)).into();
        let index = Arc::clone(&index);
        bulk.submit(move |tx| index.apply_new(tx, &events, true).map(drop)).await.unwrap();
    }
    bulk.stop().await;
    tokio::task::spawn_blocking(move || thread.join().unwrap().unwrap()).await.unwrap();
    let before = f.log.tip();
    f.restart(Mode::Whole).await;
    assert_eq!(f.log.tip(), before + 40, "a row for each repo");
    assert_eq!(f.same("imported").len(), 40 * 30);
    assert_eq!(f.mirror.begun(), 1);
}

const FOLDER: &str = "AERIE_TEST_KILLED_FOLDER";

/// Applies events for ever, always others, and follows them. Runs only as the child of the test below.
#[tokio::test]
#[ignore = "is killed"]
async fn killed() {
    let folder = std::env::var(FOLDER).unwrap();
    let (store, index, log, writer, _thread) = open(Path::new(&folder)).await;
    let (following, mirror) =
        (Arc::clone(&log), Mirror::in_file(Path::new(&folder).join("mirror")));
    let runtime = tokio::runtime::Handle::current();
    let thread = tokio::task::spawn_blocking(move || {
        catch_up::follow(
            &following,
            &*mirror,
            &runtime,
            &tokio_util::sync::CancellationToken::new(),
        )
    });
    let revs = store.snapshot().actor_id(&did("w0")).unwrap();
    let revs =
        revs.and_then(|actor| store.snapshot().repo(actor).unwrap()).map_or(0, |row| row.rev);
    let mut n = (revs >> 10).saturating_sub(1_700_000_000_000_000) / 1_000_000;
    while !thread.is_finished() {
        n += 1;
        let ops = |k: u64| match (n * 7 + k) % 5 {
            0 => vec![post(n), like(n, &uri("w1", POST, n.saturating_sub(3)))],
            1 => vec![gone(POST, n.saturating_sub(9)), post(n)],
            2 => vec![gone(LIKE, n.saturating_sub(5)), follow(n, &format!("w{}", n % 8))],
            3 => vec![quote(n.saturating_sub(2), &uri("w2", POST, n)), post(n)],
            _ => vec![post(n)],
        };
        let rev = Tid::parse(&tid(n)).unwrap();
        let event = |k| {
            let commit = Commit { rev, data: None, prev_data: None, ops: ops(k) };
            Event::found_here(did(&format!("w{k}")), NOW, Body::Commit(commit))
        };
        let mut events: Vec<Event> = (0..8).map(event).collect();
        if n % 40 == 0 {
            events.push(Event::found_here(did("w7"), NOW, Body::Account(HostingStatus::Deleted)));
        }
        let index = Arc::clone(&index);
        let job = writer.submit(move |tx| {
            index.apply(tx, &events)?;
            if let Some(actor) = tx.actor_id(&did("w7"))? {
                purge_step(&index, tx, actor)?;
            }
            Ok(())
        });
        job.await.unwrap();
    }
    panic!("the follower ended: {:?}", thread.await);
}

type Writing = std::thread::JoinHandle<Result<(), StoreError>>;

async fn open(folder: &Path) -> (Store, Arc<Index>, Arc<Log>, Writer, Writing) {
    let store = Store::open(&folder.join("store"), 64 << 20).unwrap();
    let (writer, thread) = Writer::start(store.clone()).unwrap();
    let mirror = Mirror::in_file(folder.join("mirror"));
    let log = Log::start(&store, &writer, vec![mirror]).await.unwrap();
    let index = Arc::new(Index::new(&store).unwrap().0.logging(Arc::clone(&log)));
    (store, index, log, writer, thread)
}

#[tokio::test]
async fn a_follower_has_what_the_store_has_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = || Mirror::in_file(dir.path().join("mirror"));
    let mut last = 0;
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "index::log_tests::killed", "--ignored"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        // In the middle of it: the follower has taken some more in, and goes on.
        while mirror().at().in_log().unwrap_or_default() < last + 600 {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            assert!(begun.elapsed() < Duration::from_secs(120), "it does not move");
            std::thread::sleep(Duration::from_millis(5));
        }
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        let (store, _index, log, writer, thread) = open(dir.path()).await;
        let mirror = mirror();
        let at = mirror.at().in_log().unwrap();
        mirror.catch_up(&log);
        assert!(at <= log.tip(), "round {round}");
        assert_eq!(mirror.records(), held(&store), "round {round}: {at} of {}", log.tip());
        assert_eq!(mirror.begun(), 1, "round {round}");
        last = log.tip();
        // A number for each row, none twice, none left out.
        let mut next = None;
        store
            .snapshot()
            .scan(Ks::Events, &Key::new(), None, false, &mut |k, v| {
                assert!(crate::changes::decodes(k, v));
                let first = u64::from_be_bytes(k.try_into().unwrap());
                assert!(next.is_none_or(|next| next == first), "round {round}: {next:?}, {first}");
                let Ok(crate::changes::Read::Page(page)) = log.read(first) else {
                    panic!("{first}")
                };
                next = Some(page.end());
                true
            })
            .unwrap();
        writer.stop().await;
        // It has the store open until it ends, and the next child could not open it.
        tokio::task::spawn_blocking(|| thread.join().unwrap().unwrap()).await.unwrap();
        drop((store, log));
    }
}
