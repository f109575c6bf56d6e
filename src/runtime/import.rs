//! CAR files into a store that no server has open: the same checks and the same rules as for repos from hosts.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::ServeError;
use super::follow_up::WantedByIndex;
use super::identities;
use super::sink::{Applied, ToWriter};
use super::sources::{FromIndex, spill_floor};
use super::wire::cached_identities;
use crate::config::Config;
use crate::identity::Identity;
use crate::index::{Index, Requests};
use crate::net::{Dialer, HttpClient};
use crate::schema::migrations;
use crate::store::{Progress, Writer};
use crate::sync::{self, FileError, FileRepo};
use crate::threads::{Budget, Clock};

/// Files read at a time, so that the writer never waits for one.
const AT_A_TIME: usize = 12;

/// Memory for the repos that are read at a time. Nothing else runs beside them, and they are the operator's own.
const MEMORY: u64 = 224 << 20;

/// Takes repos in from files and tells of each; ends when everything is on disk. DID documents that no import of the PLC
/// directory brought are read over the network that `config` names; handles are left to the next server.
pub fn import(
    config: &Config,
    files: Vec<PathBuf>,
    told: impl FnMut(PathBuf, Result<FileRepo, FileError>) + Send,
    migrating: &mut dyn FnMut(&Progress),
) -> Result<(), ServeError> {
    let store = migrations::open(&config.store.path, config.store.memory_budget, migrating)?;
    let (writer, thread) = Writer::start_bulk(store.clone())?;
    // What has to be done elsewhere is in the store, for the next server.
    let (index, _requests): (Index, Requests) = Index::new(&store)?;
    let index = index.scoped(&store, &config.scope)?;
    let dialer = Dialer::new(config.network.allow_private_addresses)?;
    let entries = cached_identities(config.store.memory_budget);
    let public_url = &config.server.public_url;
    let sink = Arc::new(ToWriter {
        writer: writer.clone(),
        index: Arc::new(index),
        applied: Arc::new(Applied::default()),
        forget: Arc::new(|_| {}),
    });
    let identity = Identity::new(&config.network, &dialer, public_url, entries);
    identities::export(config, &store, &writer, &identity, Box::new(|_| {}))?;
    let setup = sync::Setup {
        identity,
        http: HttpClient::new(&dialer, public_url),
        store: store.clone(),
        writer: writer.clone(),
        follow_up: Arc::new(WantedByIndex::new(&store, &config.scope)),
        held: Arc::new(FromIndex(store.clone())),
        sink,
        spill: store.path().to_owned(),
        spill_floor: spill_floor(config, &store),
        fetches: Budget::new(MEMORY),
        records: Budget::new(MEMORY),
        concurrency: AT_A_TIME,
        clock: Clock::system(),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("import").build()?;
    let (files, told) = (Mutex::new(files.into_iter()), Mutex::new(told));
    let next = || files.lock().next();
    let tell = |path, result| (*told.lock())(path, result);
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| sync::import_files(&setup, runtime.handle(), next, tell));
        }
    });
    runtime.block_on(writer.stop());
    match thread.join() {
        Ok(result) => Ok(result?),
        Err(_) => Err(ServeError::WriterGone),
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::Rows;
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::crypto::PrivateKey;
    use crate::event::{Body, Commit, Event, Op};
    use crate::index::Door;
    use crate::index::repo_contents::held_records;
    use crate::index::scope::Mode;
    use crate::index::testing::{FOLLOW, POST, at, map, op, post, text, tid};
    use crate::net::testing::serve;
    use crate::private::Private;
    use crate::repo::dag_cbor::encode;
    use crate::repo::testing::{TestTree, car, commit};
    use crate::store::Store;
    use crate::syntax::{Cid, Did, Tid, cid};

    const LIST: &str = "app.bsky.graph.list";
    const MEMBER: &str = "did:plc:member";
    /// Whom the member follows, of whom a commit was seen, and of whom nobody heard.
    const FILES: [&str; 3] = ["did:plc:followed", "did:plc:seen", "did:plc:stranger"];

    fn now_ms() -> i64 {
        Clock::system().now_ms()
    }

    /// A list and a post from long ago, and a post of an hour ago.
    fn repo(key: &PrivateKey, did: &str) -> Vec<u8> {
        let hour_ago = u64::try_from(now_ms() - 3_600_000).unwrap() * 1000;
        let recent = Tid::from_micros(hour_ago, 1);
        let list = [("$type", text(LIST)), ("name", text("n")), ("createdAt", text(at(2)))];
        let block = |op: Op| encode(&op.record.unwrap().value);
        let records = BTreeMap::from([
            (format!("{LIST}/{}", tid(2)), block(op(LIST, 2, map(list)))),
            (format!("{POST}/{}", tid(1)), block(post(1))),
            (format!("{POST}/{recent}"), block(post(1))),
        ]);
        let cids: BTreeMap<String, Cid> =
            records.iter().map(|(path, record)| (path.clone(), cid::for_record(record))).collect();
        let tree = TestTree::build(&cids);
        let commit = commit(key, did, &recent.to_string(), &tree.root);
        let root = cid::for_record(&commit);
        let blocks = std::iter::once((&root, commit.as_slice()))
            .chain(tree.blocks.iter().map(|(cid, block)| (cid, block.as_slice())))
            .chain(records.iter().map(|(path, record)| (&cids[path], record.as_slice())));
        car(&root, blocks)
    }

    /// A member who follows somebody, and a commit without anything of somebody else.
    async fn before(config: &Config) {
        let store = Store::open(&config.store.path, config.store.memory_budget).unwrap();
        let (writer, thread) = Writer::start(store.clone()).unwrap();
        let index = Arc::new(Index::new(&store).unwrap().0);
        let [followed, seen, _] = FILES;
        let follow =
            [("$type", text(FOLLOW)), ("subject", text(followed)), ("createdAt", text(at(3)))];
        let commit = |did: &str, ops| {
            let rev = Tid::parse(&tid(3)).unwrap();
            let body = Body::Commit(Commit { rev, data: None, prev_data: None, ops });
            Event::found_here(Did::parse(did).unwrap(), now_ms(), body)
        };
        let events = [commit(MEMBER, vec![op(FOLLOW, 3, map(follow))]), commit(seen, Vec::new())];
        let applying = Arc::clone(&index);
        writer.durable(move |tx| applying.apply(tx, &events)).await.unwrap();
        let member = store.snapshot().actor_id(MEMBER).unwrap().unwrap();
        let private = Private::new(writer.clone(), Arc::clone(&index) as _);
        index.ensure_member(&store, &private, member, now_ms(), Door::Open).await.unwrap();
        writer.stop().await;
        thread.join().unwrap().unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_scope_holds_for_files_too() {
        let key = PrivateKey::generate();
        let public = key.public().to_multibase();
        let plc = serve(move |request| {
            let did = request.uri().path().trim_start_matches('/');
            let method = json!({"id": "#atproto", "type": "Multikey", "controller": did, "publicKeyMultibase": public});
            let pds = json!({"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://a.example"});
            let document = json!({"id": did, "verificationMethod": [method], "service": [pds]});
            http::Response::new(document.to_string())
        })
        .await;
        for (mode, want) in
            [(Mode::Whole, [3, 3, 3]), (Mode::Window, [3, 2, 2]), (Mode::Circle, [3, 1, 1])]
        {
            let dir = tempfile::tempdir().unwrap();
            let mut config = crate::config::load(&crate::config::Sources::default()).unwrap();
            config.store.path = dir.path().join("data");
            (config.network.plc_url, config.network.allow_private_addresses) = (plc.clone(), true);
            (config.scope.mode, config.scope.days) = (mode, 7);
            before(&config).await;
            let files = FILES.map(|did| {
                let path = dir.path().join(did);
                std::fs::write(&path, repo(&key, did)).unwrap();
                path
            });
            let told = |path, result: Result<FileRepo, _>| {
                assert_eq!(result.unwrap().records, 3, "{path:?}");
            };
            let imported = config.clone();
            let work = move || import(&imported, files.to_vec(), told, &mut |_| {});
            tokio::task::spawn_blocking(work).await.unwrap().unwrap();
            let store = Store::open(&config.store.path, config.store.memory_budget).unwrap();
            let s = store.snapshot();
            let actors = FILES.map(|did| s.actor_id(did).unwrap().unwrap());
            assert_eq!(actors.map(|a| held_records(&s, a).unwrap().len()), want, "{mode:?}");
            // What the scope left out is not missing: nothing has to be fetched again.
            let rows = actors.map(|a| s.repo(a).unwrap().unwrap());
            let complete = rows.each_ref().map(|row| (row.is_complete(), row.resync));
            assert_eq!(complete, want.map(|n| (n == 3, None)), "{mode:?}");
        }
    }
}
