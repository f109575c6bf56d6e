//! What the tests of this folder share: keys without a network, tokens, an app with a stopped clock.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method as Verb};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use super::*;
use crate::config;
use crate::crypto::{PrivateKey, PublicKey};
use crate::discovery::Discovery;
use crate::discovery::trends::Trends;
use crate::hydrate::{HydrationSettings, Shared};
use crate::identity::{Freshness, HeldKey};
use crate::index::Index;
use crate::limits::{Client, Elapsed, Limits, Proxies};
use crate::login::{Door, Login, Visitor};
use crate::private::{Effects, Private, Together};
use crate::schema::Edit;
use crate::search::index::Search;
use crate::store::{Store, StoreError, Writer};
use crate::syntax::Did;
use crate::threads::{Budget, Clock};

pub(super) const OWN: &str = "did:web:appview.example";
pub(super) const ALICE: &str = "did:plc:alice";
pub(super) const MOD: &str = "did:plc:moderator";
/// The stopped clock, in seconds.
pub(super) const NOW: u64 = 1_700_000_000;

pub(super) fn did(text: &str) -> Did {
    Did::parse(text).unwrap()
}

/// Says who looks and what was done.
#[derive(Default)]
pub(super) struct FakeDashboard;

impl Dashboard for FakeDashboard {
    fn page<'a>(&'a self, visitor: &'a Visitor) -> BoxFuture<'a, String> {
        Box::pin(
            async move { format!("{} {} {}", visitor.name, visitor.role.name(), visitor.token) },
        )
    }

    fn now(&self) -> BoxFuture<'_, Arc<Vec<(&'static str, String)>>> {
        Box::pin(async { Arc::new(vec![("now", "<p>x</p>".to_owned())]) })
    }

    fn act<'a>(
        &'a self,
        action: &'a str,
        form: &'a Form,
    ) -> BoxFuture<'a, Option<Result<String, String>>> {
        Box::pin(async move {
            let sent = form.iter().filter(|(name, _)| name != "token");
            let sent: Vec<String> = sent.map(|(name, value)| format!("{name}={value}")).collect();
            match action {
                "good" => Some(Ok(format!("did {sent:?}"))),
                "bad" => Some(Err("could not".to_owned())),
                _ => None,
            }
        })
    }
}

/// Everybody is a member already.
pub(super) struct Everybody;

impl Members for Everybody {
    fn ensure<'a>(&'a self, _viewer: &'a Did) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async { Ok(true) })
    }
}

/// Writes opt-outs down and nothing else, and says that the accounts named here are being deleted.
pub(super) struct Flags {
    pub(super) writer: Writer,
    pub(super) deleting: Mutex<Vec<Did>>,
}

impl Flags {
    async fn set(&self, did: &Did, since: Option<i64>) -> Result<(), StoreError> {
        let did = did.clone();
        let set = move |tx: &mut crate::store::Tx<'_>| {
            let actor = tx.intern_actor(did.as_str())?;
            crate::private::testing::set_opt_out(tx, actor, since);
            Ok(())
        };
        self.writer.durable(set).await
    }
}

impl Rights for Flags {
    fn opt_out<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.set(did, Some(i64::try_from(NOW * 1000).unwrap())))
    }

    fn opt_in<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            if self.deleting.lock().contains(did) {
                return Ok(false);
            }
            self.set(did, None).await.map(|()| true)
        })
    }

    fn erase<'a>(&'a self, did: &'a Did, opt_out: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.deleting.lock().push(did.clone());
            if opt_out { self.opt_out(did).await } else { Ok(()) }
        })
    }
}

/// A hook that says yes of those named here, and nothing sensible when `down`.
#[derive(Default)]
pub(super) struct CommunityHook {
    pub(super) members: Mutex<Vec<String>>,
    /// Everybody is a member.
    pub(super) open: bool,
    pub(super) down: std::sync::atomic::AtomicBool,
    pub(super) asked: std::sync::atomic::AtomicUsize,
}

impl MemberHook for CommunityHook {
    fn ask<'a>(
        &'a self,
        did: &'a Did,
    ) -> BoxFuture<'a, Result<crate::net::Response, crate::net::NetError>> {
        use std::sync::atomic::Ordering::Relaxed;
        self.asked.fetch_add(1, Relaxed);
        let member = self.open || self.members.lock().iter().any(|known| known == did.as_str());
        let (status, body) = match self.down.load(Relaxed) {
            true => (500, json!({ "member": true })),
            false => (200, json!({ "member": member })),
        };
        Box::pin(async move {
            Ok(crate::net::Response {
                status: http::StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: body.to_string().into(),
            })
        })
    }
}

/// A community behind that door, whose posts are kept by an index over `store`.
pub(super) fn community(
    store: &Store,
    door: &Arc<CommunityHook>,
    list: Option<String>,
    posts: usize,
) -> (Arc<Community>, Arc<Index>) {
    let hook: Arc<dyn MemberHook> = Arc::clone(door) as _;
    let index = Arc::new(Index::new(store).unwrap().0);
    (Arc::new(Community::new(list, Some(hook), posts)), index)
}

/// Feed generators that answer what a test says: URL and headers asked, status and body given.
#[derive(Default)]
pub(super) struct FakeGenerators {
    pub(super) answer: Mutex<Option<(u16, String)>>,
    pub(super) asked: Mutex<Vec<(String, HeaderMap)>>,
}

impl FeedGenerators for FakeGenerators {
    fn endpoint<'a>(
        &'a self,
        did: &'a Did,
    ) -> BoxFuture<'a, Result<Option<String>, crate::identity::IdentityError>> {
        let known = did.as_str() == "did:web:feeds.example";
        Box::pin(async move { Ok(known.then(|| "https://feeds.example".to_owned())) })
    }

    fn get<'a>(
        &'a self,
        url: &'a str,
        headers: &'a HeaderMap,
    ) -> BoxFuture<'a, Result<crate::net::Response, crate::net::NetError>> {
        self.asked.lock().push((url.to_owned(), headers.clone()));
        let answer = self.answer.lock().clone();
        Box::pin(async move {
            let (status, body) = answer.ok_or(crate::net::NetError::Timeout("test"))?;
            Ok(crate::net::Response {
                status: http::StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: body.into(),
            })
        })
    }
}

/// `did#fragment` to the key that is here, if any, and the current one.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) known: Mutex<FxHashMap<String, (Option<HeldKey>, PublicKey)>>,
    /// How often somebody was asked, and for a key that is here already.
    pub(super) lookups: Mutex<u32>,
    pub(super) fresh_lookups: Mutex<u32>,
    pub(super) in_vain: Mutex<Vec<Client>>,
    pub(super) proved: Mutex<Vec<Client>>,
    pub(super) renewed: Mutex<Vec<Did>>,
}

impl Keys {
    pub(super) fn set(&self, id: &str, key: &PublicKey) {
        let held = HeldKey { key: key.clone(), old: false };
        self.known.lock().insert(id.to_owned(), (Some(held), key.clone()));
    }

    /// One that has to be asked for.
    pub(super) fn set_elsewhere(&self, id: &str, key: &PublicKey) {
        self.known.lock().insert(id.to_owned(), (None, key.clone()));
    }

    /// A rotation that no cache has seen yet.
    pub(super) fn rotate(&self, id: &str, key: &PublicKey) {
        self.known.lock().get_mut(id).unwrap().1 = key.clone();
    }

    /// From now on the key that is here is an old one.
    pub(super) fn age(&self, id: &str) {
        self.known.lock().get_mut(id).unwrap().0.as_mut().unwrap().old = true;
    }
}

impl KeySource for Keys {
    fn held_key<'a>(&'a self, did: &'a Did, fragment: &'a str) -> BoxFuture<'a, Option<HeldKey>> {
        let known = self.known.lock();
        let held = known.get(&format!("{did}#{fragment}")).and_then(|(held, _)| held.clone());
        Box::pin(async move { held })
    }

    fn signing_key<'a>(
        &'a self,
        did: &'a Did,
        fragment: &'a str,
        freshness: Freshness,
        _client: Client,
    ) -> BoxFuture<'a, Result<PublicKey, KeyLookupError>> {
        Box::pin(async move {
            *self.lookups.lock() += 1;
            if freshness == Freshness::Fresh {
                *self.fresh_lookups.lock() += 1;
            }
            match did.as_str() {
                "did:plc:down" => {
                    return Err(KeyLookupError::Unavailable("connection refused".into()));
                }
                "did:plc:busy" => return Err(KeyLookupError::Busy(Duration::from_millis(4200))),
                _ => {}
            }
            let known = self.known.lock();
            if !known.keys().any(|id| id.starts_with(did.as_str())) {
                return Err(KeyLookupError::Unknown);
            }
            let found = known.get(&format!("{did}#{fragment}"));
            found.map(|(_, current)| current.clone()).ok_or(KeyLookupError::NoKey)
        })
    }

    fn asked_in_vain(&self, client: Client) {
        self.in_vain.lock().push(client);
    }

    fn proved(&self, client: Client) {
        self.proved.lock().push(client);
    }

    fn renew(&self, did: &Did) {
        self.renewed.lock().push(did.clone());
    }
}

/// A token with everything right; tests then break one thing.
pub(super) struct TokenSpec {
    pub(super) header: Value,
    pub(super) payload: Value,
}

impl TokenSpec {
    pub(super) fn new(nsid: &str) -> Self {
        Self {
            header: json!({ "typ": "JWT", "alg": "ES256K" }),
            payload: json!({ "iss": ALICE, "aud": OWN, "exp": NOW + 60, "lxm": nsid, "jti": "1" }),
        }
    }

    pub(super) fn claim(mut self, name: &str, value: Value) -> Self {
        self.payload[name] = value;
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.payload.as_object_mut().unwrap().remove(name);
        self
    }

    pub(super) fn head(mut self, name: &str, value: Value) -> Self {
        self.header[name] = value;
        self
    }

    pub(super) fn unsigned(&self) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        format!("{}.{}", part(&self.header), part(&self.payload))
    }

    pub(super) fn sign(&self, key: &PrivateKey) -> String {
        let unsigned = self.unsigned();
        let signature = BASE64URL_NOPAD.encode(&key.sign(unsigned.as_bytes()));
        format!("{unsigned}.{signature}")
    }
}

pub(super) fn headers(authorization: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
    headers
}

pub(super) fn basic(credentials: &str) -> String {
    format!("Basic {}", BASE64.encode(credentials.as_bytes()))
}

/// The table of limits, and a time that stands still.
pub(super) fn limits() -> Arc<Limits> {
    Arc::new(Limits::with_time(Proxies::default(), &[], Elapsed::stopped()))
}

pub(super) fn authenticator(keys: Arc<Keys>, limits: Arc<Limits>) -> Authenticator {
    authenticator_with(keys, limits, None)
}

/// One that takes the session tokens of an entryway.
pub(super) fn authenticator_with(
    keys: Arc<Keys>,
    limits: Arc<Limits>,
    entryway: Option<PublicKey>,
) -> Authenticator {
    let config = AuthConfig {
        own_did: did(OWN),
        alternative_dids: vec![did("did:web:old.example")],
        mod_service: Some(did(MOD)),
        entryway,
        admin_passwords: vec![AdminPassword::new("admin-pass")],
    };
    let clock = Clock::stopped_at(i64::try_from(NOW * 1000).unwrap());
    Authenticator::new(config, keys, clock, limits)
}

/// A context over an empty store. Its folder stays until the process ends: the store outlives any guard here.
pub(super) fn context(keys: Arc<Keys>) -> Arc<AppCtx> {
    let dir = tempfile::tempdir().unwrap().keep();
    let store = Store::open(&dir, 64 << 20).unwrap();
    let (writer, _thread) = Writer::start(store.clone()).unwrap();
    let settings = HydrationSettings::new("https://appview.example");
    let hydration = Arc::new(Shared::new(&store, 100, settings).unwrap());
    context_over(keys, store, writer, hydration, Arc::default())
}

/// A context over a store that a test filled.
pub(super) fn context_over(
    keys: Arc<Keys>,
    store: Store,
    writer: Writer,
    hydration: Arc<Shared>,
    feeds: Arc<FakeGenerators>,
) -> Arc<AppCtx> {
    context_with(keys, store, writer, hydration, feeds, None)
}

/// The same with a community whose posts an index keeps.
pub(super) fn context_with(
    keys: Arc<Keys>,
    store: Store,
    writer: Writer,
    hydration: Arc<Shared>,
    feeds: Arc<FakeGenerators>,
    community: Option<(Arc<Community>, Arc<Index>)>,
) -> Arc<AppCtx> {
    let takedowns = hydration.takedowns.clone();
    let (community, index) = community.unzip();
    let mut effects: Vec<Arc<dyn Effects>> = vec![Arc::new(takedowns.clone())];
    effects.extend(index.map(|index| index as Arc<dyn Effects>));
    let door = Door::load(&store.snapshot()).unwrap();
    effects.push(Arc::new(door.clone()));
    let private = Private::new(writer.clone(), Arc::new(Together(effects)));
    let clock = Clock::stopped_at(i64::try_from(NOW * 1000).unwrap());
    let login = Login::new(door, private.clone(), clock);
    let rights = Arc::new(Flags { writer, deleting: Mutex::default() });
    let limiter = limits();
    let media = crate::media::testing::media(&store, takedowns, Arc::default());
    let settings = crate::search::index::Settings {
        commit_interval: Duration::ZERO,
        batch: 100,
        bytes: 64 << 20,
    };
    let search = Search::new(&store.path().join("search"), settings);
    Arc::new(AppCtx {
        media,
        store,
        private,
        hydration,
        members: Arc::new(Everybody),
        rights,
        feeds,
        on_read: None,
        community,
        discovery: Arc::new(Discovery::new(Default::default(), 4 << 20, 1)),
        search: Arc::new(search),
        trends: Arc::new(Trends::new(
            2 << 20,
            Clock::stopped_at(i64::try_from(NOW * 1000).unwrap()),
        )),
        auth: authenticator(keys, Arc::clone(&limiter)),
        limiter,
        quotas: Default::default(),
        reads: read_threads(2).unwrap(),
        outflow: Arc::new(Outflow::new(64 << 20)),
        sockets: Sockets::new(8, Budget::new(4 << 20)),
        login,
        dashboard: Arc::new(FakeDashboard),
        callers: Arc::default(),
        identity: ServerIdentity {
            did: did(OWN),
            public_url: "https://appview.example".to_owned(),
            signing_key: Some("zKey".to_owned()),
            vapid_key: "BKey".to_owned(),
            push_endpoint: false,
            pages: true,
            instance: "this-run".to_owned(),
        },
        default_labelers: Arc::new(ArcSwap::from_pointee(ParsedLabelers::defaults([did(
            "did:plc:default",
        )]))),
        limits: ArcSwap::from_pointee(config::Limits {
            max_thread_parents: 50,
            max_thread_depth: 1000,
            drafts: 3,
            mutes: 1000,
            list_mutes: 1000,
            bookmarks: 1000,
            subscriptions: 1000,
            ..config::Limits::default()
        }),
        client_config: ArcSwap::default(),
        clock: Clock::stopped_at(i64::try_from(NOW * 1000).unwrap()),
        status: Box::new(|| json!({ "upstreams": [] })),
        ready: Box::new(|| Ok(())),
        reports: Default::default(),
    })
}

/// An app over `methods`, and the key of [`ALICE`].
pub(super) fn app(methods: &'static [Method]) -> (Arc<App>, PrivateKey) {
    app_within(Limits::with_time(Proxies::default(), &[], Elapsed::stopped()), methods)
}

/// The same with another table of limits.
pub(super) fn app_within(limits: Limits, methods: &'static [Method]) -> (Arc<App>, PrivateKey) {
    let (keys, limits) = (Arc::new(Keys::default()), Arc::new(limits));
    let alice = PrivateKey::generate();
    keys.set(&format!("{ALICE}#atproto"), &alice.public());
    let mut ctx = Arc::into_inner(context(Arc::clone(&keys))).unwrap();
    ctx.auth = authenticator(keys, Arc::clone(&limits));
    ctx.limiter = limits;
    (Arc::new(App::with_methods(Arc::new(ctx), methods).unwrap()), alice)
}

pub(super) fn request(method: Verb, target: &str) -> Request {
    let headers = HeaderMap::new();
    let (uri, body, client) = (target.parse().unwrap(), Body::Missing, Client::Own);
    let peer = std::net::Ipv4Addr::LOCALHOST.into();
    Request { method, uri, headers, body, client, peer }
}

pub(super) fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}
