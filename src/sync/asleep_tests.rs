//! Repos that a list calls inactive: not fetched, and fetched once their accounts are seen alive.

use std::sync::Arc;

use serde_json::json;

use super::pds_tests::{Net, document, ok, says};
use super::tests::{Repo, rev};
use crate::event::{Body, Commit, HostingStatus};
use crate::index::testing::World;
use crate::net::testing::serve;
use crate::store::Reader as _;
use crate::store::repo_jobs::{self as jobs, SourceKind, Stop};
use crate::syntax::{Did, Tid};

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

async fn read(net: &Net, url: &str) {
    let handle = net.resync.handle();
    assert!(handle.begin(SourceKind::Repos, url, "").await.unwrap());
    while handle.status().reading > 0 || handle.status().queued > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
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
    read(&net, &url).await;
    net.settled(&[moved]).await;
    assert!(net.is_complete(moved));
    let status = net.resync.handle().status();
    let list = &status.sources[0];
    assert_eq!((list.listed, list.inactive, list.done), (7, 6, 1), "{list:?}");
    assert_eq!((status.repos_left, status.parked), (0, 0), "{status:?}");
    assert_eq!(ALL.map(|did| net.job(did)), [const { None }; 7]);
    assert_eq!(ALL.map(|did| is_asleep(&net, did)), [true, true, true, false, false, true, true]);
    let says = net.resync.handle().describe(&Did::parse(back).unwrap()).await.unwrap();
    assert!(
        says.contains("not active") && says.contains("once the account is seen alive"),
        "{says}"
    );

    net.event(back, Body::Account(HostingStatus::Active)).await;
    let early = Tid::parse("3jzfcijpj2z2a").unwrap();
    let commit = Commit { rev: early, data: None, prev_data: None, ops: Vec::new() };
    net.event(writes, Body::Commit(commit)).await;
    net.event(syncs, Body::Sync { rev: early, data: [1; 32] }).await;
    net.event(away, Body::Account(HostingStatus::Suspended)).await;
    let alive = [back, writes, syncs];
    net.settled(&alive).await;
    assert!(alive.iter().all(|did| net.is_complete(did) && !is_asleep(&net, did)));
    assert_eq!(net.job(away), None);
    assert_eq!(net.resync.handle().status().done, 4, "each once");
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
