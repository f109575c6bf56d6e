//! Tokens whose signature was checked already, and how often an issuer's document may be fetched afresh.
//!
//! Both are bounded. Nothing here decides whether a token fits a call: time, audience and method are checked each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::jwt::Claims;
use crate::syntax::Did;

const TOKENS: usize = 8_192;
const ISSUERS: usize = 8_192;
/// Forced lookups that one issuer can cause in a window: enough for rotations, too few to flood a directory.
const FRESH_PER_WINDOW: u32 = 10;
const WINDOW_MS: i64 = 10_000;

type TokenId = [u8; 32];

/// Verified tokens by SHA-256.
pub(super) struct TokenCache {
    tokens: Cache<TokenId, Arc<Claims>>,
    fresh: Cache<Did, (i64, u32)>,
    /// Counts calls of `forget`, so that a check that began before one is not remembered after it.
    epoch: AtomicU64,
}

impl TokenCache {
    pub(super) fn new() -> Self {
        Self { tokens: Cache::new(TOKENS), fresh: Cache::new(ISSUERS), epoch: AtomicU64::new(0) }
    }

    pub(super) fn id(token: &str) -> TokenId {
        Sha256::digest(token.as_bytes()).into()
    }

    pub(super) fn get(&self, id: &TokenId) -> Option<Arc<Claims>> {
        self.tokens.get(id)
    }

    /// To be taken before the key is looked up, and given to [`Self::remember`].
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn remember(&self, id: TokenId, claims: Arc<Claims>, epoch: u64) {
        if self.epoch() == epoch {
            self.tokens.insert(id, claims);
        }
    }

    /// The identity changed: nothing that its old key signed is believed unseen.
    pub(super) fn forget(&self, did: &Did) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.tokens
            .retain(|_, claims| claims.issuer.as_ref().is_none_or(|issuer| issuer.did != *did));
        self.fresh.remove(did);
    }

    /// Whether a fresh lookup is within the issuer's allowance; counts it if so.
    pub(super) fn allow_fresh(&self, did: &Did, now_ms: i64) -> bool {
        let (start, used) = match self.fresh.get(did) {
            Some((start, used)) if now_ms.saturating_sub(start) < WINDOW_MS => (start, used),
            _ => (now_ms, 0),
        };
        if used >= FRESH_PER_WINDOW {
            return false;
        }
        self.fresh.insert(did.clone(), (start, used + 1));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xrpc::jwt::Issuer;

    fn claims(did: &str) -> Arc<Claims> {
        Arc::new(Claims {
            issuer: Some(Issuer { did: Did::parse(did).unwrap(), service: None }),
            audience: String::new(),
            expires: 0.0,
            method: None,
        })
    }

    #[test]
    fn forget_drops_one_issuer_and_checks_under_way() {
        let cache = TokenCache::new();
        let (a, b, c) = (TokenCache::id("a"), TokenCache::id("b"), TokenCache::id("c"));
        let epoch = cache.epoch();
        cache.remember(a, claims("did:plc:a"), epoch);
        cache.remember(b, claims("did:plc:b"), epoch);
        cache.forget(&Did::parse("did:plc:a").unwrap());
        cache.remember(c, claims("did:plc:a"), epoch);
        assert!(cache.get(&a).is_none());
        assert!(cache.get(&b).is_some());
        assert!(cache.get(&c).is_none());
    }

    #[test]
    fn fresh_lookups_are_rationed_per_issuer() {
        let cache = TokenCache::new();
        let (a, b) = (Did::parse("did:plc:a").unwrap(), Did::parse("did:plc:b").unwrap());
        let allowed = (0..100).filter(|_| cache.allow_fresh(&a, 5)).count();
        assert_eq!(allowed, FRESH_PER_WINDOW as usize);
        assert!(cache.allow_fresh(&b, 5));
        assert!(cache.allow_fresh(&a, 5 + WINDOW_MS));
    }
}
