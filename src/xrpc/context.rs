//! The state that all handlers share.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;
use serde_json::Value;

use super::auth::Authenticator;
use super::call::{Call, Line};
use super::community::Community;
use super::error::XrpcError;
use super::fetch_requests::{FetchRequest, FetchRequests};
use super::labelers::ParsedLabelers;
use super::outflow::Outflow;
use super::ports::{Dashboard, FeedGenerators, Members, OnRead, Rights};
use super::quotas::Quotas;
use super::socket::Sockets;
use crate::config::Limits;
use crate::discovery::Discovery;
use crate::discovery::trends::Trends;
use crate::hydrate::Shared;
use crate::limits::{Client, Limit, Limits as Limiter, Refused, Shed, Standing};
use crate::login::Login;
use crate::media::Media;
use crate::private::Private;
use crate::search::index::Search;
use crate::store::Store;
use crate::syntax::Did;
use crate::telemetry::callers::Callers;
use crate::threads::{Clock, Pool, PoolError, Priority, Threads, Turn};

/// How long an answer waits for what the store lacks.
const ON_READ_WAIT: Duration = Duration::from_millis(300);

/// Calls that wait for a thread that reads.
const READ_QUEUE: usize = 1024;
/// Nobody waits longer for an answer that has not been begun.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// A thread of replies may nest a thousand levels deep.
const READ_STACK: usize = 32 << 20;

/// The threads that read for calls.
///
/// # Errors
/// The system refuses a thread.
pub fn read_threads(count: usize) -> std::io::Result<Pool<Client>> {
    Pool::start(Threads {
        name: "read",
        count,
        queue: READ_QUEUE,
        patience: Some(READ_PATIENCE),
        stack: Some(READ_STACK),
        priority: Priority::Normal,
    })
}

/// Answers `GET /admin/status`. Runs on an I/O thread, so that it answers when the read pool is full: it must not
/// block, only read counters.
pub type StatusSource = Box<dyn Fn() -> Value + Send + Sync>;

/// Answers `GET /readyz`: why no new data is taken in, if that is so. Must not block.
pub type Readiness = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What monitors and the operator ask beside the status. None of it may block.
pub struct Reports {
    /// Answers `GET /metrics`: its type, and the text.
    pub metrics: Box<dyn Fn() -> (&'static str, String) + Send + Sync>,
    /// Answers `GET /livez`: which thread does not get on with its work, if one does not.
    pub alive: Readiness,
    /// Answers `GET /xrpc/_health`: why the store cannot be read, if that is so.
    pub reads: Readiness,
}

impl Default for Reports {
    /// All is well, and there is nothing to tell.
    fn default() -> Self {
        Self {
            metrics: Box::new(|| ("text/plain", String::new())),
            alive: Box::new(|| Ok(())),
            reads: Box::new(|| Ok(())),
        }
    }
}

/// What this server says about itself.
#[derive(Debug, Clone)]
pub struct ServerIdentity {
    /// Our DID.
    pub did: Did,
    /// Where clients reach us, without a trailing slash.
    pub public_url: String,
    /// Our public key as multibase, if there is one.
    pub signing_key: Option<String>,
    /// The key that web push services know us by, as `PushManager.subscribe` takes it; empty if there is none.
    pub vapid_key: String,
    /// Whether the operator has an endpoint that forwards notifications to devices.
    pub push_endpoint: bool,
    /// Whether there are pages for people.
    pub pages: bool,
    /// Of this run of the process, so that whoever calls by a public name can tell whom he reached.
    pub instance: String,
}

/// What the operator tells clients.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Who may show a link as live.
    pub live_now: Vec<LiveNow>,
    /// The rules of age assurance as JSON (`app.bsky.ageassurance.defs#config`).
    pub age_rules: Vec<u8>,
    /// Accounts whose age the operator vouches for.
    pub assured: Vec<Did>,
    /// AT-URI of the feed that stands in for Bluesky's Discover.
    pub whats_hot: Option<String>,
}

/// The feed that the official app goes on with behind the end of Following, whatever the network.
pub(super) const WHATS_HOT: &str =
    "at://did:plc:z72i7hdynmk6r22z27h6tvur/app.bsky.feed.generator/whats-hot";

impl ClientConfig {
    /// The feed that stands in for another, if one does.
    pub(super) fn stand_in(&self, feed: &str) -> Option<&str> {
        self.whats_hot.as_deref().filter(|_| feed == WHATS_HOT)
    }
}

impl Default for ClientConfig {
    /// No rules anywhere, nobody named.
    fn default() -> Self {
        let age_rules = br#"{"regions":[]}"#.to_vec();
        Self { live_now: Vec::new(), age_rules, assured: Vec::new(), whats_hot: None }
    }
}

/// Who may show links to some sites as live (`app.bsky.unspecced.getConfig#liveNowConfig`).
#[derive(Debug, Clone, Serialize)]
pub struct LiveNow {
    /// The account.
    pub did: Did,
    /// Domains of the sites.
    pub domains: Vec<String>,
}

/// State shared by all handlers, made once at the start.
pub struct AppCtx {
    /// Who calls.
    pub auth: Authenticator,
    /// How much each client may have.
    pub limiter: Arc<Limiter>,
    /// How much private state accounts have.
    pub quotas: Quotas,
    /// Where store reads run.
    pub reads: Pool<Client>,
    /// What answers take on their way out.
    pub outflow: Arc<Outflow>,
    /// Room for sockets.
    pub sockets: Sockets,
    /// Who of the operators is signed in.
    pub login: Login,
    /// What they see and do.
    pub dashboard: Arc<dyn Dashboard>,
    /// How many different callers there are.
    pub callers: Arc<Callers>,
    /// What we say about ourselves.
    pub identity: ServerIdentity,
    /// What is read.
    pub store: Store,
    /// Changes what exists only here, takedowns among it.
    pub private: Private,
    /// Caches and settings of hydration, the takedown set.
    pub hydration: Arc<Shared>,
    /// Whose notifications are kept.
    pub members: Arc<dyn Members>,
    /// Opt-outs and deletions.
    pub rights: Arc<dyn Rights>,
    /// Who ranks feeds.
    pub feeds: Arc<dyn FeedGenerators>,
    /// Brings what is missing; `None` if reads show only what the store has.
    pub on_read: Option<Arc<dyn OnRead>>,
    /// Who may read and write community posts; none if there is no community.
    pub community: Option<Arc<Community>>,
    /// What is suggested.
    pub discovery: Arc<Discovery>,
    /// What can be searched.
    pub search: Arc<Search>,
    /// What many write of.
    pub trends: Arc<Trends>,
    /// Images and blobs.
    pub media: Arc<Media>,
    /// Labelers for clients that name none, which need no account here; replaced when the configuration is reloaded.
    pub default_labelers: Arc<ArcSwap<ParsedLabelers>>,
    /// Caps on one request; replaced when the configuration is reloaded.
    pub limits: ArcSwap<Limits>,
    /// What clients are told about themselves; replaced when the configuration is reloaded.
    pub client_config: ArcSwap<ClientConfig>,
    /// The time.
    pub clock: Clock,
    /// The body of `GET /admin/status`.
    pub status: StatusSource,
    /// Whether this server keeps up.
    pub ready: Readiness,
    /// What else it says of itself.
    pub reports: Reports,
}

impl AppCtx {
    /// Takes one of a rate for a client; `None` for who is not counted.
    ///
    /// # Errors
    /// 429: none is left.
    pub(super) fn take(&self, limit: Limit, client: Client) -> Result<Option<Standing>, XrpcError> {
        self.limiter.take(limit, client).map_err(|refused| self.limited(refused))
    }

    /// What the caller asks for is to be kept, so they have to be a member, or become one.
    ///
    /// # Errors
    /// 403 `NotAMember`; those of the store.
    pub(super) async fn keep_for(&self, viewer: &Did) -> Result<(), XrpcError> {
        match self.members.ensure(viewer).await? {
            true => Ok(()),
            false => Err(XrpcError::not_a_member()),
        }
    }

    /// 429 for who has had enough.
    pub(super) fn limited(&self, refused: Refused) -> XrpcError {
        XrpcError::limited(refused, self.clock.now_ms())
    }

    /// Whether so many wait that what is costly, or asked by who is not known, is given up.
    pub(super) fn gives_up(&self, costly: bool, is_anonymous: bool) -> bool {
        let step = Shed::with_waiting(self.reads.lines());
        (step >= Shed::Costly && costly) || (step >= Shed::Anonymous && is_anonymous)
    }

    /// Runs `work` on the read pool, in the line of whoever makes a call: for asynchronous handlers. Others are there
    /// already.
    ///
    /// # Errors
    /// 503 when too much is under way, 429 when most of that is the caller's, 500 when `work` panics.
    pub async fn blocking<T, F>(&self, line: Line, work: F) -> Result<T, XrpcError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let most = (!line.spared).then(|| self.limiter.most(Limit::Reads, line.client)).flatten();
        let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let turn = Turn { key: line.client, most, first: line.first };
        let outflow = Arc::clone(&self.outflow);
        // Asked when it begins: what was let in before may have filled it meanwhile.
        let work = move || if outflow.is_full() && !line.first { None } else { Some(work()) };
        match self.reads.run_in(turn, work).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) | Err(PoolError::Overloaded) => Err(XrpcError::overloaded()),
            Err(PoolError::Crowded) => Err(self.limited(self.limiter.refused(Limit::Reads))),
            Err(panic @ PoolError::Panicked(_)) => Err(XrpcError::internal(panic)),
        }
    }

    /// Does what reads the store, and once more if what it lacked came in time.
    pub(super) async fn read_and_bring<T, F: Future<Output = T>>(
        &self,
        lacked: &FetchRequests,
        read: impl Fn() -> F,
    ) -> T {
        let first = read().await;
        match self.bring(lacked.take()).await {
            true => read().await,
            false => first,
        }
    }

    /// Whether anything came of what the store lacked for a call, while it can wait.
    pub(super) async fn bring(&self, missing: Vec<FetchRequest>) -> bool {
        match &self.on_read {
            Some(on_read) if !missing.is_empty() => on_read.bring(missing, ON_READ_WAIT).await,
            _ => false,
        }
    }

    /// Whether an account belongs to the community, if there is one.
    ///
    /// # Errors
    /// The store cannot be read, or too many are reading it.
    pub async fn in_community(&self, did: &Did) -> Result<bool, XrpcError> {
        let Some(community) = &self.community else { return Ok(false) };
        if community.has_list() {
            let (lists, store, who) = (Arc::clone(community), self.store.clone(), did.clone());
            if self.blocking(Line::of(did), move || lists.is_listed(&store, &who)).await?? {
                return Ok(true);
            }
        }
        Ok(community.hook_says(did, &self.clock).await)
    }

    /// Finds out whether the caller belongs to the community, and notes it.
    pub(super) async fn seek_community(&self, call: &mut Call) -> Result<bool, XrpcError> {
        if let Some(viewer) = call.viewer() {
            call.community = self.in_community(viewer).await?;
        }
        Ok(call.community)
    }

    /// The labelers to apply to a call: those of its header, or the defaults.
    pub fn labelers(&self, call: &Call) -> Arc<ParsedLabelers> {
        match call.accept_labelers() {
            Some(labelers) => Arc::new(labelers),
            None => self.default_labelers.load_full(),
        }
    }
}
