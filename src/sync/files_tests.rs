//! Repos from CAR files on this machine.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::files::import_files;
use super::pds_tests::{Net, document, ok};
use super::stop_tests::until;
use super::tests::{DID, NOW_US, Repo, rev};
use super::{Along, FileRepo, RepoSink, Setup, SinkClosed};
use crate::event::{Body, Commit, Event, HostingStatus};
use crate::index::testing::World;
use crate::net::testing::serve;
use crate::schema::{Edit, Rows};
use crate::store::{Answer, StoreError};
use crate::syntax::{Did, Tid, cid};
use crate::threads::Clock;
use crate::work::repo_queue::Priority;

/// A directory that knows this repo's key, under every DID.
async fn directory(repo: &Arc<Repo>) -> String {
    let repo = Arc::clone(repo);
    serve(move |request| {
        let did = request.uri().path().trim_start_matches('/').to_owned();
        ok(document(&did, &repo, "https://pds.example"))
    })
    .await
}

/// What is told of a file, from a thread of its own.
async fn take(setup: Setup, path: PathBuf, car: Vec<u8>) -> Result<FileRepo, String> {
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        std::fs::write(&path, car).unwrap();
        let (path, result) = (Mutex::new(Some(path)), Mutex::new(None));
        let told = |_, taken: Result<FileRepo, super::FileError>| {
            *result.lock() = Some(taken.map_err(|error| error.to_string()));
        };
        import_files(&setup, &runtime, || path.lock().take(), told);
        result.into_inner().unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Writes down what comes, and is gone after so many batches.
struct Watched {
    to: Arc<dyn RepoSink>,
    seen: Arc<Mutex<Vec<&'static str>>>,
    left: Mutex<usize>,
}

impl Watched {
    fn saw(&self, events: &[Event]) -> bool {
        let name = |event: &Event| match event.body {
            Body::Wanted => "wanted",
            Body::Fetching { .. } => "fetching",
            Body::Part { .. } => "part",
            Body::Fetched { .. } => "fetched",
            Body::GivenUp => "given up",
            _ => "else",
        };
        self.seen.lock().extend(events.iter().map(name));
        let mut left = self.left.lock();
        *left = left.saturating_sub(1);
        *left > 0
    }
}

impl RepoSink for Watched {
    fn apply_parts(&self, did: Did, events: Vec<Event>) -> BoxFuture<'_, Result<(), SinkClosed>> {
        if self.saw(&events) {
            return self.to.apply_parts(did, events);
        }
        Box::pin(async { Err(SinkClosed) })
    }

    fn apply_new(
        &self,
        events: Vec<Event>,
        unseen: bool,
        along: Along,
    ) -> Result<Answer<bool>, StoreError> {
        match self.saw(&events) {
            true => self.to.apply_new(events, unseen, along),
            false => Err(StoreError::Closed),
        }
    }
}

/// The setup of `net` with such a sink.
fn watched(net: &Net, batches: usize) -> (Setup, Arc<Mutex<Vec<&'static str>>>) {
    let (setup, seen) = (net.resync.handle().setup(), Arc::<Mutex<Vec<_>>>::default());
    let sink =
        Watched { to: Arc::clone(&setup.sink), seen: Arc::clone(&seen), left: Mutex::new(batches) };
    let setup = Setup {
        identity: setup.identity.clone(),
        http: setup.http.clone(),
        store: setup.store.clone(),
        writer: setup.writer.clone(),
        follow_up: Arc::clone(&setup.follow_up),
        held: Arc::clone(&setup.held),
        sink: Arc::new(sink),
        spill: setup.spill.clone(),
        spill_floor: 0,
        fetches: setup.fetches.clone(),
        records: setup.records.clone(),
        concurrency: 1,
        clock: Clock::system(),
    };
    (setup, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_held_to_the_same_as_hosts() {
    let repo = Arc::new(Repo::new(700));
    let served = Arc::clone(&repo);
    let url = serve(move |request| {
        let did = request.uri().path().trim_start_matches('/').to_owned();
        ok(document(&did, &served, "https://pds.example"))
    })
    .await;
    let net = Net::start(World::new(), &url, false);
    let handle = net.resync.handle();
    let import = async |name: &str, car: Vec<u8>| {
        let path = net.dir.path().join(name);
        std::fs::write(&path, car).unwrap();
        handle.import(&path).await.map_err(|error| error.to_string())
    };
    let got = import("a.car", repo.car(DID, rev())).await.unwrap();
    assert_eq!((got.did.as_str(), got.records), (DID, 700));
    assert!(net.is_complete(DID) && net.job(DID).is_none());
    assert_eq!(net.posts(DID), 700);
    let s = net.world.store.snapshot();
    let row = s.actor(s.actor_id(DID).unwrap().unwrap()).unwrap().unwrap();
    assert!(row.handle_checked > 0, "its handle was looked up");
    assert_eq!(import("again.car", repo.car(DID, rev())).await.unwrap().records, 0);
    // A newer state without some of the records.
    let mut left = repo.records.clone();
    let gone: Vec<String> = left.keys().step_by(7).cloned().collect();
    gone.iter().for_each(|path| drop(left.remove(path)));
    let later = Tid::from_micros(NOW_US + 5, 1);
    assert_eq!(import("b.car", repo.car_with(&left, DID, later)).await.unwrap().records, 600);
    assert_eq!(net.posts(DID), 600);
    // What is older than that has nothing to give.
    assert_eq!(import("old.car", repo.car(DID, rev())).await.unwrap().records, 0);
    let mut cut = repo.car("did:plc:x", rev());
    cut.pop();
    for (name, car, why) in [
        ("cut.car", cut, "ends early"),
        ("forged.car", Repo::new(3).car("did:plc:y", rev()), "not signed"),
        ("none.car", b"nothing".to_vec(), "CAR"),
    ] {
        let error = import(name, car).await.unwrap_err();
        assert!(error.contains(why), "{name}: {error}");
    }
    assert!(handle.import(std::path::Path::new("/no/such")).await.is_err());
    assert_eq!(net.posts("did:plc:y"), 0);
    // Two states of one repo at a time: the newer one counts, whichever comes first.
    for (did, order) in [("did:plc:p", ["old", "new"]), ("did:plc:q", ["new", "old"])] {
        std::fs::write(net.dir.path().join("old"), repo.car(did, rev())).unwrap();
        std::fs::write(net.dir.path().join("new"), repo.car_with(&left, did, later)).unwrap();
        let files = Mutex::new(order.map(|name| net.dir.path().join(name)).into_iter());
        let (setup, runtime) = (handle.setup(), tokio::runtime::Handle::current());
        let work = move || {
            let told = |path: PathBuf, result: Result<_, _>| {
                // Without having seen the other one, or too late.
                assert!(result.is_ok() || path.ends_with("old"), "{result:?}");
            };
            import_files(&setup, &runtime, || files.lock().next(), told);
        };
        tokio::task::spawn_blocking(work).await.unwrap();
        net.world.writer.visible(|_| Ok(())).await.unwrap();
        assert_eq!((net.posts(did), net.is_complete(did)), (600, true), "{did}");
    }
    net.resync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_the_gone_and_from_before_what_was_seen_are_refused() {
    let repo = Arc::new(Repo::new(5));
    let net = Net::start(World::new(), &directory(&repo).await, false);
    let later = Tid::from_micros(NOW_US + 5, 1);
    let commit = Commit { rev: later, data: None, prev_data: None, ops: Vec::new() };
    net.event("did:plc:gone", Body::Account(HostingStatus::Deleted)).await;
    net.event("did:plc:ahead", Body::Commit(commit)).await;
    for (did, why) in [
        ("did:plc:gone", "the account is deleted, or wants nothing of its own collected here"),
        ("did:plc:ahead", "it is older than what was seen of the repo"),
    ] {
        let path = net.dir.path().join(did);
        std::fs::write(&path, repo.car(did, rev())).unwrap();
        let error = net.resync.handle().import(&path).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), net.posts(did)), (why, 0));
    }
    net.resync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_file_began_and_did_not_end_is_left_to_its_host() {
    let repo = Arc::new(Repo::new(1600));
    let net = Net::start(World::new(), &directory(&repo).await, false);
    net.resync.handle().pause(true).await.unwrap();
    // The last record is in the tree, and its block is not in the file.
    let last = cid::for_record(repo.records.values().last().unwrap()).to_bytes();
    let car = |did: &str| {
        let mut car = repo.car(did, rev());
        let at = car.windows(last.len()).rposition(|bytes| bytes == last).unwrap();
        car.truncate(at - 1);
        car
    };
    net.event("did:plc:known", Body::Account(HostingStatus::Active)).await;
    for (did, batches, ends) in [
        ("did:plc:new", usize::MAX, Some("given up")),
        ("did:plc:known", usize::MAX, Some("given up")),
        // The process ends after the first batch.
        ("did:plc:crash", 2, None),
    ] {
        let (setup, seen) = watched(&net, batches);
        let got = take(setup, net.dir.path().join(did), car(did)).await;
        assert!(got.is_err(), "{got:?}");
        net.world.writer.visible(|_| Ok(())).await.unwrap();
        assert!(!net.is_complete(did) && net.posts(did) > 0, "{did}");
        let job = net.job(did).unwrap();
        assert_eq!(job.priority, Priority::Asked);
        let seen = seen.lock();
        match ends {
            Some(last) => {
                assert_eq!(seen.last(), Some(&last), "{did}");
                assert!(job.due <= Clock::system().now_ms(), "{did} now");
            }
            None => assert!(
                job.due > Clock::system().now_ms() + 3_600_000,
                "{did} if it does not come again"
            ),
        }
    }
    net.resync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_came_too_late_to_be_new_is_merged() {
    // In one batch, and in two.
    for records in [9, 700] {
        let repo = Arc::new(Repo::new(records));
        let net = Net::start(World::new(), &directory(&repo).await, false);
        let mut left = repo.records.clone();
        left.pop_first();
        let newer = repo.car_with(&left, DID, Tid::from_micros(NOW_US + 5, 1));
        // The writer is busy until both files were begun, so neither can see the other.
        let (go, wait) = flume::bounded::<()>(1);
        let busy = move |_: &mut crate::store::Tx<'_>| wait.recv().map_err(|_| StoreError::Closed);
        net.world.writer.submit(busy).await.unwrap();
        let mut taken = Vec::new();
        for (name, car) in [("old", repo.car(DID, rev())), ("new", newer)] {
            let (setup, seen) = watched(&net, usize::MAX);
            taken.push(tokio::spawn(take(setup, net.dir.path().join(name), car)));
            until("it is begun", || seen.lock().contains(&"fetching")).await;
        }
        go.send(()).unwrap();
        for taken in taken {
            assert!(taken.await.unwrap().is_ok());
        }
        net.world.writer.visible(|_| Ok(())).await.unwrap();
        assert_eq!((net.posts(DID), net.is_complete(DID)), (left.len(), true));
        net.resync.stop().await;
    }
}

#[tokio::test]
async fn whatever_is_known_of_an_account_makes_it_known() {
    let world = World::new();
    let event = |did: &str, body| [Event::found_here(Did::parse(did).unwrap(), 1, body)];
    let new = async |did: &'static str, unseen| {
        let index = Arc::clone(&world.index);
        let part = event(did, Body::Part { rev: rev(), ops: Vec::new() });
        world.writer.visible(move |tx| index.apply_new(tx, &part, unseen)).await.unwrap()
    };
    let index = Arc::clone(&world.index);
    let before = [
        event("did:plc:account", Body::Account(HostingStatus::Active)),
        event("did:plc:repo", Body::Wanted),
    ];
    let before = move |tx: &mut crate::store::Tx<'_>| {
        tx.intern_actor("did:plc:name")?;
        before.iter().try_for_each(|events| index.apply(tx, events))
    };
    world.writer.visible(before).await.unwrap();
    for (did, want) in [("did:plc:account", false), ("did:plc:repo", false), ("did:plc:name", true)]
    {
        assert_eq!((new(did, true).await, new(did, false).await), (want, true), "{did}");
    }
}
