//! An AppView of that network: a store with its index and retention, and the answers it gives.

use std::sync::Arc;
use std::time::Duration;

use aerie::config::{Config, Limits, ScopeMode, Sources};
use aerie::crypto::{PrivateKey, PublicKey};
use aerie::discovery::Discovery;
use aerie::discovery::trends::Trends;
use aerie::event::{Body, Event, Op, Record};
use aerie::hydrate::{HydrationSettings, Shared};
use aerie::identity::{Freshness, HeldKey, Identity};
use aerie::index::check::{Options, check};
use aerie::index::repo_contents::held_records;
use aerie::index::{Door, Index, context_to_fetch, follows_to_fetch, purge_step};
use aerie::media::{self, Media, NetOrigin};
use aerie::net::{Dialer, HttpClient};
use aerie::private::{Private, bookmarks};
use aerie::schema::{ActorId, Rows, Target};
use aerie::search::index::{self as search, Search};
use aerie::store::{Store, StoreError, Writer};
use aerie::syntax::{AtUriRef, Did};
use aerie::threads::{Budget, Clock};
use aerie::upkeep::{ClockState, Retention, RetentionReport};
use aerie::work::purge;
use aerie::work::repo_queue::{self as jobs, JobRow, Priority};
use aerie::xrpc::{
    self, App, AppCtx, AuthConfig, Authenticator, FetchRequest, KeyLookupError, KeySource, Members,
    NetFeedGenerators, OnRead, ParsedLabelers, Request, Rights, ServerIdentity, read_threads,
};
use data_encoding::BASE64URL_NOPAD;
use futures_util::future::BoxFuture;
use ipld_core::ipld::Ipld;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::network::{BEGIN, DAY, Pds, Step};

const OWN: &str = "did:web:appview.example";
/// When everybody reads: the year is over.
const NOW: i64 = BEGIN + 366 * DAY;
const SEARCH: search::Settings =
    search::Settings { commit_interval: Duration::ZERO, batch: 100, bytes: 64 << 20 };

pub(crate) struct View {
    pub(crate) mode: ScopeMode,
    pub(crate) store: Store,
    pub(crate) writer: Writer,
    private: Private,
    pub(crate) index: Arc<Index>,
    retention: Arc<Retention>,
    thread: std::thread::JoinHandle<Result<(), StoreError>>,
    config: Config,
    pds: Pds,
    folder: tempfile::TempDir,
}

impl View {
    /// On an empty store.
    pub(crate) fn new(pds: &Pds, mode: ScopeMode, days: u32, disk_budget: u64) -> Self {
        let mut config = aerie::config::load(&Sources::default()).unwrap();
        (config.scope.mode, config.scope.days) = (mode, days);
        config.scope.disk_budget = disk_budget;
        Self::open(Arc::clone(pds), config, folder())
    }

    fn open(pds: Pds, config: Config, folder: tempfile::TempDir) -> Self {
        let store = Store::open(folder.path(), 64 << 20).unwrap();
        let (writer, thread) = Writer::start(store.clone()).unwrap();
        let mode = config.scope.mode;
        let index = Index::new(&store).unwrap().0.scoped(&store, &config.scope).unwrap();
        let index = Arc::new(index);
        let stop = CancellationToken::new();
        let private = Private::new(writer.clone(), Arc::clone(&index) as _);
        let (of, to) = (store.clone(), writer.clone());
        let retention = Retention::new(
            of,
            to,
            Arc::clone(&index),
            &config,
            ClockState::new(Clock::system()),
            &stop,
        )
        .unwrap();
        Self { mode, store, writer, private, index, retention, thread, config, pds, folder }
    }

    /// Ends and starts again.
    pub(crate) async fn restart(self) -> Self {
        let Self { store, writer, private, index, retention, thread, config, pds, folder, .. } =
            self;
        writer.stop().await;
        drop((store, writer, private, index, retention));
        tokio::task::spawn_blocking(|| thread.join().unwrap().unwrap()).await.unwrap();
        Self::open(pds, config, folder)
    }

    /// Takes a step of the network in.
    pub(crate) async fn take(&self, step: Step) {
        match step {
            Step::Event(event) => {
                let index = Arc::clone(&self.index);
                self.writer.submit(move |tx| index.apply(tx, &[event])).await.unwrap();
            }
            Step::Read(uri) => {
                if self.mode != ScopeMode::Whole {
                    self.settle().await;
                    fetch(self, &uri, 80).await;
                }
            }
            Step::Join(member) => {
                self.settle().await;
                let actor = self.actor(&member).unwrap();
                let (store, private) = (&self.store, &self.private);
                self.index.ensure_member(store, private, actor, NOW, Door::Open).await.unwrap();
            }
            Step::Bookmark(member, uri) => {
                let add = move |r: &aerie::store::Tx<'_>| match r.target(&uri)? {
                    Some(_) => bookmarks::add(r, &member, &uri, "c", NOW),
                    None => aerie::private::nothing(false),
                };
                self.private.change(add).await.unwrap();
            }
        }
    }

    /// Waits until every read shows what was taken in.
    pub(crate) async fn settle(&self) {
        self.writer.visible(|_| Ok(())).await.unwrap();
    }

    pub(crate) fn actor(&self, did: &Did) -> Option<ActorId> {
        self.store.snapshot().actor_id(did).unwrap()
    }

    async fn apply(&self, did: &Did, time: i64, bodies: Vec<Body>) {
        let event = |body| Event::found_here(did.clone(), time, body);
        let events: Vec<_> = bodies.into_iter().map(event).collect();
        let index = Arc::clone(&self.index);
        self.writer.visible(move |tx| index.apply(tx, &events)).await.unwrap();
    }

    /// What the running server does beside the stream: accounts that are gone are taken away, and repos that members'
    /// pages need are fetched.
    pub(crate) async fn catch_up(&self, now: i64) {
        self.settle().await;
        for (actor, _) in purge::purges(&self.store.snapshot()).unwrap() {
            let step = || {
                let index = Arc::clone(&self.index);
                self.writer.visible(move |tx| purge_step(&index, tx, actor))
            };
            while !step().await.unwrap() {}
        }
        while let Some((priority, actor)) = self.next_job() {
            let did = Did::parse(&self.store.snapshot().did(actor).unwrap()).unwrap();
            self.fetch_repo(&did, actor, now).await;
            let s = self.store.snapshot();
            let mut follow_up = Vec::new();
            if priority == Priority::Member {
                let follows =
                    follows_to_fetch(&s, actor, self.config.scope.max_follows as usize).unwrap();
                follow_up.extend(follows.into_iter().map(|a| (a, Priority::Follow)));
            }
            if priority < Priority::Context {
                let context = context_to_fetch(&s, actor).unwrap();
                follow_up.extend(context.into_iter().map(|a| (a, Priority::Context)));
            }
            let settle = move |tx: &mut aerie::store::Tx<'_>| {
                jobs::remove(tx, actor)?;
                for (actor, priority) in follow_up {
                    jobs::add(tx, actor, &JobRow::new(priority, 0))?;
                }
                Ok(())
            };
            self.writer.visible(settle).await.unwrap();
        }
    }

    fn next_job(&self) -> Option<(Priority, ActorId)> {
        let s = self.store.snapshot();
        Priority::ALL.into_iter().find_map(|priority| {
            let due = jobs::due(&s, priority, None, i64::MAX - 1, 1).unwrap();
            due.first().map(|(_, actor)| (priority, *actor))
        })
    }

    async fn fetch_repo(&self, did: &Did, actor: ActorId, now: i64) {
        let fetched = {
            let pds = self.pds.lock();
            let Some(repo) = pds.get(did) else { return };
            let held = held_records(&self.store.snapshot(), actor).unwrap();
            let mut ops = Vec::new();
            for ((collection, rkey), record) in &repo.records {
                let same = |h: &&aerie::index::repo_contents::HeldRecord| {
                    h.collection == *collection && *h.rkey == **rkey
                };
                let held = held.iter().find(same);
                if held.is_none_or(|held| held.cid != Some(record.cid)) {
                    let record = Some(record.clone());
                    let (collection, rkey) = (Arc::clone(collection), Arc::clone(rkey));
                    ops.push(Op { collection, rkey, record, created: held.is_none() });
                }
            }
            for h in held {
                let rkey: Arc<str> = h.rkey.into();
                if !repo.records.contains_key(&(Arc::clone(&h.collection), Arc::clone(&rkey))) {
                    ops.push(Op { collection: h.collection, rkey, record: None, created: false });
                }
            }
            let (rev, data) = (repo.rev, repo.data);
            let part = Body::Part { rev, ops };
            vec![Body::Wanted, Body::Fetching { rev, data }, part, Body::Fetched { rev }]
        };
        self.apply(did, now, fetched).await;
    }

    /// A run of retention as of `now`.
    pub(crate) async fn retain(&self, now: i64) -> RetentionReport {
        let report = self.retention.once(now).await.unwrap();
        assert!(report.error.is_none() && !report.interrupted, "{report:?}");
        report
    }

    /// What the store takes, as retention measures it.
    pub(crate) fn used(&self) -> u64 {
        let (keyspaces, journals) = self.store.disk().unwrap();
        journals + keyspaces.iter().map(|(_, n)| n).sum::<u64>()
    }

    /// Every counter, index and record agrees with the others.
    pub(crate) fn check(&self, what: &str) {
        let report = check(&self.store, &Options { full: true, repair: None }, &mut |_| {});
        let report = report.unwrap();
        assert!(report.is_clean(), "{what}: {:#?}", report.findings);
    }
}

/// In memory where that can be had, since a year has many an fsync.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Takes a record in that is not held, with so many posts above it, as fetch on read does.
async fn fetch(view: &View, uri: &str, above: usize) -> bool {
    let mut left = vec![(uri.to_owned(), above)];
    let mut found = false;
    while let Some((uri, above)) = left.pop() {
        let parts = AtUriRef::parse(&uri).unwrap();
        let (coll, rkey) = (parts.collection.unwrap(), parts.rkey.unwrap());
        let did = Did::parse(parts.authority).unwrap();
        let (rev, record) = {
            let pds = view.pds.lock();
            let Some(repo) = pds.get(&did) else { continue };
            let Some(record) = repo.records.get(&(coll.into(), rkey.into())) else { continue };
            (repo.rev, record.clone())
        };
        if above > 0 {
            let refs = ["parent", "root"].map(|key| reference(&record, key));
            left.extend(refs.into_iter().flatten().zip([above - 1, 0]));
        }
        let held = {
            let s = view.store.snapshot();
            let id = s.target(&uri).unwrap().and_then(Target::record);
            id.is_some_and(|id| aerie::schema::rebuild::is_held(&s, id).unwrap())
        };
        if !held {
            let op = Op {
                collection: coll.into(),
                rkey: rkey.into(),
                record: Some(record),
                created: false,
            };
            view.apply(&did, NOW, vec![Body::Found { rev, ops: vec![op] }]).await;
            found = true;
        }
    }
    found
}

fn reference(record: &Record, key: &str) -> Option<String> {
    let get = |value: &Ipld, key: &str| match value {
        Ipld::Map(fields) => fields.get(key).cloned(),
        _ => None,
    };
    match get(&get(&get(&record.value, "reply")?, key)?, "uri")? {
        Ipld::String(uri) => Some(uri),
        _ => None,
    }
}

/// Fetches what an answer lacks.
struct FromNetwork(Arc<View>);

impl OnRead for FromNetwork {
    fn bring(&self, missing: Vec<FetchRequest>, _within: Duration) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let mut found = false;
            for missing in missing {
                if let FetchRequest::Record { repo, collection, rkey, parents } = missing {
                    let uri = format!("at://{repo}/{collection}/{rkey}");
                    found |= fetch(&self.0, &uri, parents).await;
                }
            }
            found
        })
    }
}

struct Keys(PublicKey);

impl KeySource for Keys {
    fn held_key<'a>(&'a self, _did: &'a Did, _fragment: &'a str) -> BoxFuture<'a, Option<HeldKey>> {
        Box::pin(async { Some(HeldKey { key: self.0.clone(), old: false }) })
    }
    fn signing_key<'a>(
        &'a self,
        _did: &'a Did,
        _fragment: &'a str,
        _freshness: Freshness,
        _client: aerie::limits::Client,
    ) -> BoxFuture<'a, Result<PublicKey, KeyLookupError>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
    fn proved(&self, _client: aerie::limits::Client) {}

    fn asked_in_vain(&self, _client: aerie::limits::Client) {}
    fn renew(&self, _did: &Did) {}
}

/// Who joins is the network's to say; nobody asks for any rights.
struct Nobody;

impl xrpc::Dashboard for Nobody {
    fn page<'a>(&'a self, _: &'a aerie::login::Visitor) -> BoxFuture<'a, String> {
        Box::pin(async { String::new() })
    }

    fn now(&self) -> BoxFuture<'_, Arc<Vec<(&'static str, String)>>> {
        Box::pin(async { Arc::default() })
    }

    fn act<'a>(
        &'a self,
        _: &'a str,
        _: &'a xrpc::Form,
    ) -> BoxFuture<'a, Option<Result<String, String>>> {
        Box::pin(async { None })
    }
}

impl Members for Nobody {
    fn ensure<'a>(&'a self, _viewer: &'a Did) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async { Ok(true) })
    }
}

impl Rights for Nobody {
    fn opt_out<'a>(&'a self, _did: &'a Did) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Err(StoreError::Closed) })
    }
    fn opt_in<'a>(&'a self, _did: &'a Did) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async { Err(StoreError::Closed) })
    }
    fn erase<'a>(&'a self, _did: &'a Did, _out: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Err(StoreError::Closed) })
    }
}

/// What clients see of a view.
pub(crate) struct Reading {
    app: App,
    key: PrivateKey,
}

impl Reading {
    /// With `fetching`, answers may have fetched what they lack.
    pub(crate) fn new(view: &Arc<View>, fetching: bool) -> Self {
        let key = PrivateKey::generate();
        let (store, config, url) = (view.store.clone(), &view.config, "https://appview.example");
        let hydration = Arc::new(Shared::new(&store, 4096, HydrationSettings::new(url)).unwrap());
        let dialer = Dialer::new(true).unwrap();
        let identity = Identity::new(&config.network, &dialer, url, 16);
        let http = HttpClient::new(&dialer, url);
        let none = media::MediaSettings {
            cache_path: view.folder.path().join("images"),
            cache_size: 0,
            floor: 0,
            free: aerie::store::free_space,
            threads: 1,
            pictures: Budget::new(64 << 20),
            files: Budget::new(12 << 20),
        };
        let limiter = Arc::new(aerie::limits::Limits::new(
            Default::default(),
            &[(aerie::limits::Limit::Requests, 0)],
        ));
        let origin = Arc::new(NetOrigin::new(identity.clone(), http.clone(), Arc::clone(&limiter)));
        let takedowns = hydration.takedowns.clone();
        let auth = AuthConfig {
            own_did: Did::parse(OWN).unwrap(),
            alternative_dids: Vec::new(),
            mod_service: None,
            entryway: None,
            admin_passwords: Vec::new(),
        };
        let clock = Clock::stopped_at(NOW);
        let ctx = AppCtx {
            auth: Authenticator::new(
                auth,
                Arc::new(Keys(key.public())),
                clock.clone(),
                Arc::clone(&limiter),
            ),
            limiter: Arc::clone(&limiter),
            media: Media::start(none, store.clone(), takedowns, origin, limiter).unwrap(),
            store,
            private: view.private.clone(),
            hydration,
            quotas: Default::default(),
            reads: read_threads(2).unwrap(),
            outflow: Arc::new(xrpc::Outflow::new(64 << 20)),
            sockets: xrpc::Sockets::new(1, Budget::new(1 << 20)),
            login: aerie::login::Login::new(
                Default::default(),
                view.private.clone(),
                clock.clone(),
            ),
            dashboard: Arc::new(Nobody),
            callers: Arc::default(),
            members: Arc::new(Nobody),
            rights: Arc::new(Nobody),
            feeds: Arc::new(NetFeedGenerators { identity, http }),
            on_read: fetching.then(|| Arc::new(FromNetwork(Arc::clone(view))) as Arc<dyn OnRead>),
            community: None,
            discovery: Arc::new(Discovery::new(Default::default(), 4 << 20, 1)),
            trends: Arc::new(Trends::new(2 << 20, clock.clone())),
            search: Arc::new(Search::new(&view.folder.path().join("search"), SEARCH)),
            identity: ServerIdentity {
                did: Did::parse(OWN).unwrap(),
                public_url: url.to_owned(),
                signing_key: None,
                vapid_key: String::new(),
                push_endpoint: false,
                pages: false,
                instance: String::new(),
            },
            default_labelers: Arc::new(arc_swap::ArcSwap::from_pointee(ParsedLabelers::defaults(
                [],
            ))),
            limits: arc_swap::ArcSwap::from_pointee(Limits {
                max_thread_parents: 80,
                max_thread_depth: 1000,
                drafts: 3,
                mutes: 1000,
                list_mutes: 1000,
                bookmarks: 1000,
                subscriptions: 1000,
                ..Limits::default()
            }),
            client_config: arc_swap::ArcSwap::default(),
            clock,
            status: Box::new(|| json!({})),
            ready: Box::new(|| Ok(())),
            reports: Default::default(),
        };
        Self { app: App::new(Arc::new(ctx)).unwrap(), key }
    }

    /// What `viewer` is answered.
    pub(crate) async fn ask(&self, viewer: &Did, nsid: &str, query: &str) -> Value {
        let seconds = NOW / 1000 + 60;
        let claims = json!({ "iss": viewer, "aud": OWN, "exp": seconds, "lxm": nsid, "jti": "1" });
        let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let unsigned =
            format!("{}.{}", part(json!({ "typ": "JWT", "alg": "ES256K" })), part(claims));
        let signature = BASE64URL_NOPAD.encode(&self.key.sign(unsigned.as_bytes()));
        let token = format!("Bearer {unsigned}.{signature}");
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::AUTHORIZATION, token.parse().unwrap());
        let request = Request {
            method: http::Method::GET,
            uri: format!("/xrpc/{nsid}?{query}").parse().unwrap(),
            headers,
            body: xrpc::Body::Missing,
            client: aerie::limits::Client::Own,
            peer: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let response = self.app.handle(request).await;
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        assert!(response.status.is_success() || body["error"].is_string(), "{nsid}: {body}");
        body
    }

    /// All pages of a list, in one.
    pub(crate) async fn all(&self, viewer: &Did, nsid: &str, query: &str, key: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = format!("{query}&limit=100{cursor}");
            let answer = self.ask(viewer, nsid, &page).await;
            items.extend(
                answer[key].as_array().unwrap_or_else(|| panic!("{nsid} {answer}")).clone(),
            );
            let Some(next) = answer["cursor"].as_str() else { return items };
            cursor = format!("&cursor={next}");
        }
    }
}
