//! Who is who: DID documents and handles, resolved over the network and remembered for a while.
//!
//! Answers come from the PLC directory, from the hosts of did:web, from DNS and from `/.well-known/atproto-did`. Nothing that
//! is asked for is kept on disk; callers store what they need. What the directory tells of everybody is, see [`plc`].
//! Specifications: <https://atproto.com/specs/did> and
//! <https://atproto.com/specs/handle>.
//!
//! # Invariants
//! - After [`Identity::invalidate`], no answer that was asked for earlier is given or remembered.
//! - One DID or handle is looked up once at a time, however many ask; once more if strangers asked first and this server
//!   does too.
//! - What strangers make us ask never takes the place of what this server asks for itself, see `strangers`.
//! - Hosts that documents and handles name go through the guarded client; only configured URLs do not.

mod did;
mod document;
mod error;
mod handle;
mod held;
mod memo;
pub mod plc;
mod strangers;
mod turns;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;

pub use document::DidDoc;
pub use error::IdentityError;
pub use held::HeldKey;
pub use strangers::{Stranger, StrangerError};

use crate::config::Network;
use crate::limits::Client;
use crate::net::{Dialer, HostThrottle, HttpClient, Idle, NetError};
use crate::store::Store;
use crate::syntax::{Did, Handle};
use crate::threads::Clock;
use did::DidResolver;
use memo::{Lifetime, Memo, Urgency};
use plc::{PlcSource, PlcTable};
use strangers::{Gate, Lane, Leave};

/// Lookups of this server's own under way at a time: of DIDs of the directory, of did:web, and of handles each.
const CONCURRENT: usize = 64;
/// Requests at one host at a time. Most go to the PLC directory.
const PER_HOST: usize = 32;
/// Connections to the directory that wait for the next request.
const DIRECTORY: Idle = Idle { per_host: PER_HOST, time: Duration::from_secs(60) };
/// The same of hosts of handles. Hardly one is asked twice, and each would be an open file for as long.
const HANDLES: Idle = Idle { per_host: 1, time: Duration::from_secs(2) };
/// A lookup with all its waiting.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(20);
/// The same for a stranger, who had his turn.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(6);

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// A remembered answer will do. One older than an hour is given too, and renewed in the background.
    Cached,
    /// Asked for after the call, or what was true a minute ago, if that can be had without asking.
    Recent,
    /// Asked for after the call.
    Fresh,
}

/// Resolves DIDs and handles. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<IdentityInner>,
    urgency: Urgency,
}

struct IdentityInner {
    dids: Arc<Memo<Did, DidAnswer>>,
    handles: Arc<Memo<Handle, HandleAnswer>>,
    did_slots: Semaphore,
    web_slots: Semaphore,
    handle_slots: Semaphore,
    readers: Lane,
    strangers: Gate,
    did_resolver: DidResolver,
    handle_resolver: handle::HandleResolver,
    table: OnceLock<Arc<PlcTable>>,
    store: OnceLock<Store>,
}

type DidAnswer = Result<Arc<DidDoc>, IdentityError>;
type HandleAnswer = Result<Option<Did>, IdentityError>;

impl Identity {
    /// A service that remembers up to `capacity` DIDs and as many handles, and names itself with `public_url`.
    pub fn new(network: &Network, dialer: &Dialer, public_url: &str, capacity: usize) -> Self {
        let guarded = HttpClient::new(dialer, public_url).counted_for("identities");
        let configured = HttpClient::keeping(DIRECTORY, &dialer.unguarded(), public_url)
            .counted_for("directory");
        let did_resolver = DidResolver {
            plc_url: network.plc_url.clone(),
            configured: configured.clone(),
            guarded,
            throttle: HostThrottle::new(PER_HOST, Clock::system()),
        };
        let handle_resolver = handle::HandleResolver {
            overrides: network.handle_overrides.clone(),
            configured,
            guarded: HttpClient::keeping(HANDLES, dialer, public_url).counted_for("handles"),
            dialer: dialer.clone(),
        };
        let inner = Arc::new(IdentityInner {
            dids: Arc::new(Memo::new(capacity, did_lifetime, is_transient)),
            handles: Arc::new(Memo::new(capacity, handle_lifetime, is_transient)),
            did_slots: Semaphore::new(CONCURRENT),
            web_slots: Semaphore::new(CONCURRENT),
            handle_slots: Semaphore::new(CONCURRENT),
            readers: Lane::readers(),
            strangers: Gate::new(),
            did_resolver,
            handle_resolver,
            table: OnceLock::new(),
            store: OnceLock::new(),
        });
        Self { inner, urgency: Urgency::Own }
    }

    /// The same for what readers ask for: its lookups of DIDs have slots and a rate of their own.
    #[must_use]
    pub fn for_readers(&self) -> Self {
        Self { urgency: Urgency::Strangers, ..self.clone() }
    }

    /// From now on keys and PDSes of accounts are found in `store` too.
    pub fn look_into(&self, store: Store) {
        // A second one would be the same.
        let _ = self.inner.store.set(store);
    }

    /// From now on answers are looked for in `table` before the directory is asked.
    pub fn look_in(&self, table: Arc<PlcTable>) {
        // A second one would be of the same store.
        let _ = self.inner.table.set(table);
    }

    /// The directory, for who reads its export. What it says about limits holds for both.
    #[must_use]
    pub fn plc_source(&self) -> PlcSource {
        let DidResolver { plc_url, configured, throttle, .. } = &self.inner.did_resolver;
        let (url, http, throttle) = (plc_url.clone(), configured.clone(), throttle.clone());
        PlcSource { url, http, throttle }
    }

    /// The document of a DID.
    ///
    /// # Errors
    /// [`IdentityError::NotFound`] and [`IdentityError::Tombstoned`] are definite answers;
    /// [`IdentityError::is_transient`] tells which errors are worth another try.
    pub async fn resolve_did(
        &self,
        did: &Did,
        freshness: Freshness,
    ) -> Result<Arc<DidDoc>, IdentityError> {
        let (inner, key, urgency) = (Arc::clone(&self.inner), did.clone(), self.urgency);
        let fetch = async move {
            if let Some(known) = inner.known(&key, freshness).await {
                return known.map(Arc::new);
            }
            inner.ask(&key, urgency).await.map(Arc::new)
        };
        self.inner.dids.get(did, freshness, urgency, fetch).await
    }

    /// The same for whoever shows a token that names the DID; see `strangers`. A remembered answer costs him nothing.
    ///
    /// # Errors
    /// [`StrangerError::Busy`] and [`StrangerError::Refused`] when nobody was asked.
    pub async fn resolve_for_stranger(
        &self,
        did: &Did,
        freshness: Freshness,
        who: Stranger<'_>,
    ) -> Result<Arc<DidDoc>, StrangerError> {
        let gate = &self.inner.strangers;
        if let Some(error) = gate.refusal(did) {
            return Err(error.into());
        }
        if freshness == Freshness::Cached
            && let Some((answer, _)) = self.inner.dids.peek(did)
        {
            return Ok(answer?);
        }
        if let Some(pause) = self.inner.did_resolver.paused(did) {
            return Err(StrangerError::Busy(pause));
        }
        let leave = gate.enter(did, who).await?;
        let (inner, key) = (Arc::clone(&self.inner), did.clone());
        let fetch = async move {
            let answer = inner.ask_with(&key, freshness, leave).await;
            answer.map(Arc::new)
        };
        let answer = self.inner.dids.get(did, freshness, Urgency::Strangers, fetch).await;
        let Err(error) = &answer else { return Ok(answer?) };
        gate.no_result(did, who, error);
        // The host may have asked for a pause just now.
        match self.inner.did_resolver.paused(did) {
            Some(pause) => Err(StrangerError::Busy(pause)),
            None => Ok(answer?),
        }
    }

    /// A client's token was good: what it asks for goes before what strangers ask.
    pub fn proved(&self, client: Client) {
        self.inner.strangers.proved(client);
    }

    /// A key was looked up for a client, and proved nothing.
    pub fn asked_in_vain(&self, who: Stranger<'_>) {
        self.inner.strangers.in_vain(who);
    }

    /// The document of a DID as operations of the directory that are here give it. Reads the store, so only for a thread
    /// that may block.
    #[must_use]
    pub fn recorded(&self, did: &Did) -> Option<DidDoc> {
        self.inner.table.get()?.lookup(did, Freshness::Cached)?.ok()
    }

    /// The DID that a handle claims; `None` when it definitely claims none. What the DID says is not asked, see
    /// [`Identity::verify_handle`].
    ///
    /// # Errors
    /// When it could not be found out.
    pub async fn resolve_handle(
        &self,
        handle: &Handle,
        freshness: Freshness,
    ) -> Result<Option<Did>, IdentityError> {
        let (inner, key) = (Arc::clone(&self.inner), handle.clone());
        let fetch = async move {
            let lookup = inner.handle_resolver.resolve(&key);
            limited(&inner.handle_slots, lookup).await
        };
        self.inner.handles.get(handle, freshness, Urgency::Own, fetch).await
    }

    /// The handle of a DID, if its document names one and that handle names the DID.
    ///
    /// # Errors
    /// When either could not be found out.
    pub async fn verify_handle(
        &self,
        did: &Did,
        freshness: Freshness,
    ) -> Result<Option<Handle>, IdentityError> {
        let doc = self.resolve_did(did, freshness).await?;
        let Some(handle) = &doc.handle else {
            return Ok(None);
        };
        let claimed = self.resolve_handle(handle, freshness).await?;
        Ok((claimed.as_ref() == Some(did)).then(|| handle.clone()))
    }

    /// Forgets a DID and the handle its remembered document names, also answers that are still under way.
    pub fn invalidate(&self, did: &Did) {
        self.inner.strangers.forget(did);
        if let Some(table) = self.inner.table.get() {
            table.doubt(did);
        }
        if let Some(Ok(doc)) = self.inner.dids.invalidate(did)
            && let Some(handle) = &doc.handle
        {
            self.inner.handles.invalidate(handle);
        }
    }
}

impl IdentityInner {
    /// Asks the directory, or the host of a did:web.
    async fn ask(&self, did: &Did, urgency: Urgency) -> Result<DidDoc, IdentityError> {
        let lookup = self.did_resolver.resolve(did);
        if urgency == Urgency::Strangers {
            if let Some(pause) = self.did_resolver.paused(did) {
                return Err(IdentityError::Busy(pause));
            }
            let _slot = self.readers.enter(did).await.map_err(IdentityError::Busy)?;
            return within(STRANGER_TIMEOUT, lookup).await;
        }
        let web = did.starts_with("did:web:");
        limited(if web { &self.web_slots } else { &self.did_slots }, lookup).await
    }

    /// The same for a stranger who has leave for it, which is over with the answer.
    async fn ask_with(
        &self,
        did: &Did,
        freshness: Freshness,
        leave: Leave,
    ) -> Result<DidDoc, IdentityError> {
        let answer = match self.known(did, freshness).await {
            Some(known) => known,
            None => within(STRANGER_TIMEOUT, self.did_resolver.resolve(did)).await,
        };
        drop(leave);
        answer
    }

    /// The answer of the directory, if its operations are here and new enough.
    async fn known(
        &self,
        did: &Did,
        freshness: Freshness,
    ) -> Option<Result<DidDoc, IdentityError>> {
        let table = Arc::clone(self.table.get()?);
        if freshness == Freshness::Fresh {
            return None;
        }
        let did = did.clone();
        let look = move || table.lookup(&did, freshness);
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }
}

/// Runs a lookup in one of `slots`, within [`LOOKUP_TIMEOUT`].
async fn limited<T>(
    slots: &Semaphore,
    lookup: impl Future<Output = Result<T, IdentityError>>,
) -> Result<T, IdentityError> {
    within(LOOKUP_TIMEOUT, async {
        // The semaphore is never closed, and if it were, the lookup would still be right.
        let _slot = slots.acquire().await;
        lookup.await
    })
    .await
}

async fn within<T>(
    time: Duration,
    lookup: impl Future<Output = Result<T, IdentityError>>,
) -> Result<T, IdentityError> {
    let late = Err(IdentityError::Net(NetError::Timeout("lookup")));
    tokio::time::timeout(time, lookup).await.unwrap_or(late)
}

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
/// How long a failure is repeated without asking again.
const RETRY: Duration = Duration::from_secs(5);

fn did_lifetime(answer: &DidAnswer) -> Lifetime {
    match answer {
        Ok(_) => Lifetime { stale: HOUR, hard: 24 * HOUR },
        // That somebody else asked for too much is no answer.
        Err(IdentityError::Busy(_)) => Lifetime { stale: Duration::ZERO, hard: Duration::ZERO },
        Err(error) if error.is_transient() => Lifetime { stale: RETRY, hard: RETRY },
        Err(_) => Lifetime { stale: MINUTE, hard: MINUTE },
    }
}

fn handle_lifetime(answer: &HandleAnswer) -> Lifetime {
    match answer {
        Ok(Some(_)) => Lifetime { stale: HOUR, hard: 24 * HOUR },
        Ok(None) => Lifetime { stale: MINUTE, hard: MINUTE },
        Err(_) => Lifetime { stale: RETRY, hard: RETRY },
    }
}

fn is_transient<T>(answer: &Result<T, IdentityError>) -> bool {
    answer.as_ref().is_err_and(IdentityError::is_transient)
}

#[cfg(test)]
mod tests;
