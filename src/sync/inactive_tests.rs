//! Repos that a list calls inactive: not fetched, and fetched once their accounts are seen alive.

use std::sync::Arc;

use serde_json::json;

use super::pds_tests::{Net, document, ok, says};
use super::stop_tests::until;
use super::tests::{Repo, rev};
use crate::event::{Body, Commit, HostingStatus};
use crate::index::scope::Mode;
use crate::index::testing::World;
use crate::net::testing::serve;
use crate::schema::{Edit, Rows};
use crate::store::Tx;
use crate::syntax::{Did, Tid};
use crate::work::repo_queue as jobs;
use crate::work::repo_queue::{JobRow, Priority, SourceKind, SourceRow, SourceState, Stop};

const ALL: [&str; 7] = [
    "did:plc:back",
    "did:plc:writes",
    "did:plc:syncs",
    "did:plc:moved",
    "did:plc:deleted",
    "did:plc:away",
    "did:plc:late",
];

/// A host whose list says of every account that it is not active, and that has their repos all the same.
async fn host() -> String {
    let repo = Arc::new(Repo::new(3));
    serve(move |request| {
        let pds = format!("http://{}", request.headers()["host"].to_str().unwrap());
        let did = request.uri().query().unwrap_or_default().strip_prefix("did=");
        match request.uri().path() {
            "/xrpc/com.atproto.sync.listRepos" => {
                let item = |did| json!({"did": did, "rev": rev().to_string(), "active": false});
                ok(json!({"repos": ALL.map(item)}).to_string().into_bytes())
            }
            "/xrpc/com.atproto.sync.getRepo" => ok(repo.car(did.unwrap(), rev())),
            "/xrpc/com.atproto.sync.getLatestCommit" => says(404, "text/html", ""),
            path => ok(document(path.trim_start_matches('/'), &repo, &pds)),
        }
    })
    .await
}

fn is_asleep(net: &Net, did: &str) -> bool {
    let s = net.world.store.snapshot();
    jobs::is_asleep(&s, s.actor_id(did).unwrap().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_a_list_calls_inactive_is_fetched_once_seen_alive() {
    let url = host().await;
    let net = Net::start(World::new(), &url, true);
    let [back, writes, syncs, moved, deleted, away, late] = ALL;
    // Alive by the stream: it left this host, or came back since the list was made.
    net.event(moved, Body::Account(HostingStatus::Active)).await;
    net.event(deleted, Body::Account(HostingStatus::Deleted)).await;
    net.event(away, Body::Account(HostingStatus::Deactivated)).await;
    assert!(net.resync.handle().begin(SourceKind::Repos, &url, "").await.unwrap());
    let list = || jobs::source(&net.world.store.snapshot(), 1).unwrap().unwrap();
    until("the list is read", || list().done == 1 && list().state == SourceState::Read).await;
    assert!(net.is_complete(moved));
    assert_eq!((list().listed, list().inactive), (7, 6), "{:?}", list());
    let status = || net.resync.handle().status();
    until("nothing is to go", || (status().repos_left, status().reading) == (0, 0)).await;
    assert_eq!(ALL.map(|did| net.job(did)), [const { None }; 7]);
    assert_eq!(ALL.map(|did| is_asleep(&net, did)), [true, true, true, false, false, true, true]);
    let says = net.resync.handle().describe(&Did::parse(back).unwrap()).await.unwrap();
    assert!(
        says.contains("not active") && says.contains("once the account is seen alive"),
        "{says}"
    );

    assert_eq!(net.event(back, Body::Account(HostingStatus::Active)).await, 1);
    let early = Tid::parse("3jzfcijpj2z2a").unwrap();
    let commit = Commit { rev: early, data: None, prev_data: None, ops: Vec::new() };
    net.event(writes, Body::Commit(commit)).await;
    net.event(syncs, Body::Sync { rev: early, data: [1; 32] }).await;
    net.event(away, Body::Account(HostingStatus::Suspended)).await;
    let alive = [back, writes, syncs];
    net.settled(&alive).await;
    assert!(alive.iter().all(|did| net.is_complete(did) && !is_asleep(&net, did)));
    assert_eq!(net.job(away), None);
    assert_eq!(status().done, 4, "each once");
    // Of a list that is wanted no more nobody waits for who comes back; who asks for one has it.
    let list = Stop::List(SourceKind::Repos, url.clone(), String::new());
    net.resync.handle().stop(list).await.unwrap();
    net.event(late, Body::Account(HostingStatus::Active)).await;
    assert!(net.job(late).is_none() && !is_asleep(&net, late));
    net.event(away, Body::Account(HostingStatus::Active)).await;
    net.settled(&[away]).await;
    assert!(
        net.is_complete(away),
        "the stream told of its absence, so it is wanted without a list"
    );
    net.resync.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_refused_or_is_read_is_fetched_in_every_scope() {
    let mut world = World::new();
    world.restart(Mode::Window, 7);
    let net = Net::start(world, "http://127.0.0.1:1", true);
    let [refused, unwanted, read] = ["did:plc:refused", "did:plc:unwanted", "did:plc:read"];
    let put = |tx: &mut Tx<'_>| {
        let list =
            SourceRow { state: SourceState::Read, ..SourceRow::new(SourceKind::Repos, "a", "", 1) };
        jobs::put_source(tx, 1, &list);
        let [refused, read] =
            [tx.intern_actor("did:plc:refused")?, tx.intern_actor("did:plc:read")?];
        let job = JobRow {
            tries: 1,
            due: i64::MAX,
            cause: "not-hosted".into(),
            ..JobRow::new(Priority::Listed, 1)
        };
        jobs::put(tx, refused, &job)?;
        jobs::sleep(tx, refused, 1)?;
        jobs::sleep(tx, read, 1)
    };
    net.world.writer.durable(put).await.unwrap();
    net.resync.handle().pause(true).await.unwrap();
    assert_eq!((is_asleep(&net, refused), is_asleep(&net, read)), (false, true), "it has a job");
    for did in [refused, unwanted] {
        net.event(did, Body::Account(HostingStatus::Deactivated)).await;
        net.event(did, Body::Account(HostingStatus::Active)).await;
    }
    assert_eq!(net.job(refused).map(|job| (job.due, job.priority)), Some((0, Priority::Resync)));
    assert_eq!(net.job(unwanted), None);
    // Its host gave a record of it.
    net.event(read, Body::Found { rev: rev(), ops: Vec::new() }).await;
    let job = net.job(read).unwrap();
    assert_eq!(
        (job.priority, job.source, job.force, is_asleep(&net, read)),
        (Priority::Listed, 1, true, false)
    );
    net.resync.stop().await;
}

#[tokio::test]
async fn a_mark_goes_with_a_job_and_with_whoever_wants_none() {
    let world = World::new();
    let work = |tx: &mut Tx<'_>| {
        let list = SourceRow::new(SourceKind::Repos, "a", "", 1);
        jobs::put_source(tx, 7, &list);
        let a = tx.intern_actor("did:plc:a")?;
        jobs::sleep(tx, a, 7)?;
        assert!(jobs::is_asleep(tx, a)?);
        jobs::add(tx, a, &JobRow::new(Priority::Asked, 5))?;
        assert!(!jobs::is_asleep(tx, a)?);
        assert_eq!(jobs::remove(tx, a)?.map(|job| job.due), Some(5));
        jobs::sleep(tx, a, 7)?;
        assert_eq!(jobs::remove(tx, a)?.map(|job| job.source), Some(7));
        assert_eq!((jobs::is_asleep(tx, a)?, jobs::remove(tx, a)?), (false, None));
        Ok(())
    };
    world.writer.durable(work).await.unwrap();
}
