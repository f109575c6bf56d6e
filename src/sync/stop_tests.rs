//! What an operator does not want any more: lists that are stopped, repos that are removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;

use super::pds_tests::{Net, add, document, ok};
use super::tests::{Repo, rev};
use crate::index::testing::World;
use crate::net::testing::{serve, serve_raw};
use crate::schema::rows::{RepoRow, repo_key};
use crate::schema::{ActorId, Edit, Rows};
use crate::store::Ks;
use crate::threads::Clock;
use crate::work::repo_queue as jobs;
use crate::work::repo_queue::{JobRow, Priority, SourceKind, Stop};

/// A host that begins to answer and then says nothing more.
async fn silent() -> String {
    format!("http://{}", serve_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", b"").await)
}

pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

/// Pages without an end, ten repos each, all of them at a host that says nothing; counts those that were asked for.
async fn endless_list(asked: Arc<AtomicU32>) -> String {
    let (repo, host) = (Repo::new(1), silent().await);
    serve(move |request| {
        let query = request.uri().query().unwrap_or_default();
        if request.uri().path() != "/xrpc/com.atproto.sync.listRepos" {
            let did = request.uri().path().trim_start_matches('/');
            return ok(document(did, &repo, &host));
        }
        asked.fetch_add(1, Ordering::SeqCst);
        let page: u32 = query.split("cursor=").nth(1).map_or(0, |n| n.parse().unwrap());
        let item = |n| json!({"did": format!("did:plc:p{page}r{n}"), "rev": rev().to_string()});
        let repos: Vec<_> = (0..10).map(item).collect();
        ok(json!({"cursor": (page + 1).to_string(), "repos": repos}).to_string().into_bytes())
    })
    .await
}

fn listed(net: &Net) -> usize {
    let mut n = 0;
    let s = net.world.store.snapshot();
    jobs::each(&s, None, |_, job| {
        n += usize::from(job.priority == Priority::Listed);
        true
    })
    .unwrap();
    n
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_stopped_leaves_the_queue_and_nothing_else_does() {
    let pages = Arc::new(AtomicU32::new(0));
    let url = endless_list(Arc::clone(&pages)).await;
    let other = endless_list(Arc::default()).await;
    let net = Net::start(World::new(), &url, true);
    let handle = net.resync.handle();
    for url in [&url, &other] {
        assert!(handle.begin(SourceKind::Repos, url, "").await.unwrap());
    }
    until("both lists wait", || listed(&net) >= 1000).await;
    add(&net, &["did:plc:asked", "did:plc:p3r3"]).await;
    let list = |url: &str| Stop::List(SourceKind::Repos, url.to_owned(), String::new());
    assert_eq!(handle.stop(list("https://nobody.example")).await.unwrap().lists, 0);
    let before = listed(&net);
    let stopped = handle.stop(list(&url)).await.unwrap();
    // The other list names the same repos, so it has what this one did not bring.
    assert_eq!(stopped.lists, 1);
    assert!(stopped.repos > 0 && listed(&net) == before - stopped.repos, "{stopped:?}");
    for did in ["did:plc:asked", "did:plc:p3r3"] {
        assert_eq!(net.job(did).unwrap().priority, Priority::Asked, "{did}");
    }
    let (asked, status) = (pages.load(Ordering::SeqCst), handle.status());
    let states: Vec<_> = status.sources.iter().map(|s| (&*s.url, s.state)).collect();
    assert_eq!(states, [(&*other, "reading"), (&*url, "stopped")]);

    let all = handle.stop(Stop::All).await.unwrap();
    assert_eq!((all.lists, listed(&net)), (2, 0));
    assert!(net.job("did:plc:asked").is_none() && net.job("did:plc:p3r3").is_none());
    until("only what runs is left", || {
        let status = handle.status();
        status.running.len() <= 3 && status.queued == 0 && status.reading == 0
    })
    .await;
    assert!(pages.load(Ordering::SeqCst) <= asked + 1, "read on");
    // From its beginning, and as if nothing had been.
    assert!(handle.begin(SourceKind::Repos, &url, "").await.unwrap());
    until("it is read again", || listed(&net) >= 500).await;
    net.resync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_hosts_takes_the_lists_of_its_hosts_along() {
    let world = World::new();
    let row = |kind, url: &str, started| jobs::SourceRow::new(kind, url, "", started);
    let stopped = world
        .writer
        .durable(move |tx| {
            for (id, row) in [
                (1, row(SourceKind::Hosts, "https://relay", 7)),
                (2, row(SourceKind::Repos, "https://a", 7)),
                (3, row(SourceKind::Repos, "https://before", 6)),
                (4, row(SourceKind::Collection, "https://relay", 7)),
                (5, row(SourceKind::Hosts, "https://other", 7)),
            ] {
                jobs::put_source(tx, id, &row);
            }
            let relay = Stop::List(SourceKind::Hosts, "https://relay".into(), String::new());
            jobs::stop_sources(tx, &relay)
        })
        .await
        .unwrap();
    assert_eq!(stopped, [1, 2]);
    let states = jobs::sources(&world.store.snapshot()).unwrap();
    let reading = states.iter().filter(|(_, row)| row.state == jobs::SourceState::Reading);
    assert_eq!(reading.map(|(id, _)| *id).collect::<Vec<_>>(), [3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repo_that_is_removed_is_not_fetched_to_the_end() {
    let (repo, host) = (Repo::new(1), silent().await);
    let url = serve(move |request| {
        let did = request.uri().path().trim_start_matches('/');
        ok(document(did, &repo, &host))
    })
    .await;
    let net = Net::start(World::new(), &url, true);
    let handle = net.resync.handle();
    // One more than are fetched at a time: the last one waits.
    let dids = ["did:plc:a", "did:plc:b", "did:plc:c", "did:plc:d"];
    add(&net, &dids).await;
    let running = || handle.status().running.len();
    until("three run", || running() == 3 && handle.status().queued == 1).await;
    for did in dids {
        let actor: ActorId = net.world.store.snapshot().actor_id(did).unwrap().unwrap();
        net.world.writer.durable(move |tx| jobs::remove(tx, actor).map(drop)).await.unwrap();
        handle.forget(actor);
    }
    until("none runs", || running() == 0 && handle.status().queued == 0).await;
    assert!(dids.iter().all(|did| net.job(did).is_none()));
    let status = handle.status();
    assert_eq!((status.failed.len(), status.parked_hosts), (0, 0), "nothing failed: {status:?}");
    let s = net.world.store.snapshot();
    for did in dids {
        assert_eq!(s.repo(s.actor_id(did).unwrap().unwrap()).unwrap(), None, "{did}");
    }
    // Asked for again, it is fetched again; also while its first fetch is being ended.
    add(&net, &["did:plc:a"]).await;
    until("it runs again", || running() == 1).await;
    let actor = s.actor_id("did:plc:a").unwrap().unwrap();
    let again = move |tx: &mut crate::store::Tx<'_>| {
        jobs::remove(tx, actor)?;
        jobs::put(tx, actor, &JobRow::new(Priority::Asked, 1))
    };
    net.world.writer.durable(again).await.unwrap();
    handle.forget(actor);
    add(&net, &["did:plc:a"]).await;
    until("a new fetch", || running() == 1 && net.job("did:plc:a").is_some()).await;
    net.resync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_was_under_way_when_its_list_was_stopped_is_passed_over() {
    let url = endless_list(Arc::default()).await;
    let net = Net::start(World::new(), &url, true);
    let (handle, writer) = (net.resync.handle(), net.world.writer.clone());
    handle.pause(true).await.unwrap();
    let page = async |row: &jobs::SourceRow| {
        super::lists::next_page(&handle.setup(), 7, row, |_| ()).await.unwrap()
    };
    let begun = jobs::SourceRow::new(SourceKind::Repos, &url, "", 5);
    let put = async |row: jobs::SourceRow| {
        let put = move |tx: &mut crate::store::Tx<'_>| {
            jobs::put_source(tx, 7, &row);
            Ok(())
        };
        writer.durable(put).await.unwrap();
    };
    put(begun.clone()).await;
    assert_eq!(page(&begun).await.new.len(), 10);
    let stopped = jobs::SourceRow { state: jobs::SourceState::Stopped, ..begun.clone() };
    let again = jobs::SourceRow { started: 6, ..begun.clone() };
    for stored in [stopped, again] {
        put(stored.clone()).await;
        let applied = page(&begun).await;
        assert_eq!((applied.new.len(), &applied.row), (0, &stored));
        let s = net.world.store.snapshot();
        assert_eq!(jobs::source(&s, 7).unwrap(), Some(stored));
    }
    net.resync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_raised_while_it_ran_is_looked_at_again_at_once() {
    let net = Net::start(World::new(), "http://127.0.0.1:1", true);
    let handle = net.resync.handle();
    handle.pause(true).await.unwrap();
    let now = Clock::system().now_ms();
    for (raised, marked, want) in [
        (Priority::Listed, false, None),
        (Priority::Listed, true, Some(("behind", false))),
        (Priority::Follow, false, Some(("", true))),
        (Priority::Follow, true, Some(("", true))),
    ] {
        let began = JobRow::new(Priority::Listed, now - 1000);
        let stored = JobRow { priority: raised, ..began.clone() };
        let put = move |tx: &mut crate::store::Tx<'_>| {
            let actor = tx.intern_actor("did:plc:a")?;
            let resync = marked.then_some(9);
            let row = RepoRow { rev: 9, data: [0; 32], resync, whole: None };
            tx.put(Ks::Actor, &repo_key(actor), &row.encode());
            jobs::put(tx, actor, &stored).map(|()| actor)
        };
        let actor = net.world.writer.durable(put).await.unwrap();
        super::settle::settle(&handle.setup(), actor, None, began, Ok(())).await.unwrap();
        let job = net.job("did:plc:a");
        let got = job.as_ref().map(|job| (&*job.cause, job.due <= Clock::system().now_ms()));
        assert_eq!(got, want, "{raised:?} {marked}");
    }
    net.resync.stop().await;
}
