//! Who is who: DID documents and handles, resolved over the network and remembered for a while.
//!
//! Answers come from the PLC directory, from the hosts of did:web, from DNS and from `/.well-known/atproto-did`. Nothing that
//! is asked for is kept on disk; callers store what they need. What the directory tells of everybody is, see [`plc`].
//! Specifications: <https://atproto.com/specs/did> and
//! <https://atproto.com/specs/handle>.
//!
//! # Invariants
//! - After [`Identity::invalidate`], no answer that was asked for earlier is given or remembered.
//! - One DID or handle is looked up once at a time, however many ask.
//! - Hosts that documents and handles name go through the guarded client; only configured URLs do not.

mod did;
mod document;
mod error;
mod handle;
mod memo;
pub mod plc;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;

pub use document::DidDoc;
pub use error::IdentityError;

use crate::config::Network;
use crate::net::{Dialer, HostThrottle, HttpClient, NetError};
use crate::syntax::{Did, Handle};
use crate::threads::Clock;
use did::DidResolver;
use memo::{Lifetime, Memo};
use plc::{PlcSource, PlcTable};

/// Lookups under way at a time, of DIDs and of handles each.
const CONCURRENT: usize = 64;
/// Requests at one host at a time. Most go to the PLC directory.
const PER_HOST: usize = 32;
/// A lookup with all its waiting.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(20);

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
pub struct Identity(Arc<IdentityInner>);

struct IdentityInner {
    dids: Arc<Memo<Did, DidAnswer>>,
    handles: Arc<Memo<Handle, HandleAnswer>>,
    did_slots: Semaphore,
    handle_slots: Semaphore,
    did_resolver: DidResolver,
    handle_resolver: handle::HandleResolver,
    table: OnceLock<Arc<PlcTable>>,
}

type DidAnswer = Result<Arc<DidDoc>, IdentityError>;
type HandleAnswer = Result<Option<Did>, IdentityError>;

impl Identity {
    /// A service that remembers up to `capacity` DIDs and as many handles, and names itself with `public_url`.
    pub fn new(network: &Network, dialer: &Dialer, public_url: &str, capacity: usize) -> Self {
        let guarded = HttpClient::new(dialer, public_url);
        let configured = HttpClient::new(&dialer.unguarded(), public_url);
        let did_resolver = DidResolver {
            plc_url: network.plc_url.clone(),
            configured: configured.clone(),
            guarded: guarded.clone(),
            throttle: HostThrottle::new(PER_HOST, Clock::system()),
        };
        let handle_resolver = handle::HandleResolver {
            overrides: network.handle_overrides.clone(),
            configured,
            guarded,
            dialer: dialer.clone(),
        };
        Self(Arc::new(IdentityInner {
            dids: Arc::new(Memo::new(capacity, did_lifetime, is_transient)),
            handles: Arc::new(Memo::new(capacity, handle_lifetime, is_transient)),
            did_slots: Semaphore::new(CONCURRENT),
            handle_slots: Semaphore::new(CONCURRENT),
            did_resolver,
            handle_resolver,
            table: OnceLock::new(),
        }))
    }

    /// From now on answers are looked for in `table` before the directory is asked.
    pub fn look_in(&self, table: Arc<PlcTable>) {
        // A second one would be of the same store.
        let _ = self.0.table.set(table);
    }

    /// The directory, for who reads its export. What it says about limits holds for both.
    #[must_use]
    pub fn plc_source(&self) -> PlcSource {
        let DidResolver { plc_url, configured, throttle, .. } = &self.0.did_resolver;
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
        let (inner, key) = (Arc::clone(&self.0), did.clone());
        let fetch = async move {
            if let Some(known) = inner.known(&key, freshness).await {
                return known.map(Arc::new);
            }
            let lookup = inner.did_resolver.resolve(&key);
            limited(&inner.did_slots, lookup).await.map(Arc::new)
        };
        self.0.dids.get(did, freshness, fetch).await
    }

    /// The document of a DID as operations of the directory that are here give it. Reads the store, so only for a thread
    /// that may block.
    #[must_use]
    pub fn recorded(&self, did: &Did) -> Option<DidDoc> {
        self.0.table.get()?.lookup(did, Freshness::Cached)?.ok()
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
        let (inner, key) = (Arc::clone(&self.0), handle.clone());
        let fetch = async move {
            let lookup = inner.handle_resolver.resolve(&key);
            limited(&inner.handle_slots, lookup).await
        };
        self.0.handles.get(handle, freshness, fetch).await
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
        if let Some(table) = self.0.table.get() {
            table.doubt(did);
        }
        if let Some(Ok(doc)) = self.0.dids.invalidate(did)
            && let Some(handle) = &doc.handle
        {
            self.0.handles.invalidate(handle);
        }
    }
}

impl IdentityInner {
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
    let limited = async {
        // The semaphore is never closed, and if it were, the lookup would still be right.
        let _slot = slots.acquire().await;
        lookup.await
    };
    let late = Err(IdentityError::Net(NetError::Timeout("lookup")));
    tokio::time::timeout(LOOKUP_TIMEOUT, limited).await.unwrap_or(late)
}

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
/// How long a failure is repeated without asking again.
const RETRY: Duration = Duration::from_secs(5);

fn did_lifetime(answer: &DidAnswer) -> Lifetime {
    match answer {
        Ok(_) => Lifetime { stale: HOUR, hard: 24 * HOUR },
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
