//! Tokens whose signature was checked already, the keys that others were signed with lately (a PDS makes a new token for
//! each call), and how often an issuer's document may be fetched afresh.
//!
//! All are bounded. Nothing here decides whether a token fits a call: time, audience and method are checked each time.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::jwt::{Claims, Issuer};
use crate::crypto::PublicKey;
use crate::syntax::Did;

const TOKENS: usize = 8_192;
const ISSUERS: usize = 8_192;
/// Forced lookups that one issuer can cause in a window: enough for rotations, too few to flood a directory.
const FRESH_PER_WINDOW: u32 = 10;
const WINDOW_MS: i64 = 10_000;
/// Issuers share so many marks of their last change. Who shares one with somebody else has a token checked once more.
const MARKS: usize = 4_096;

/// How long a key is used without a look at whether there is another one. What changes it is told in between.
const KEY_AGE_MS: i64 = 3_600_000;

type TokenId = [u8; 32];

/// A key that was good.
#[derive(Clone)]
struct GoodKey {
    key: PublicKey,
    since: i64,
    epoch: u64,
}

/// Verified tokens by SHA-256.
pub(super) struct TokenCache {
    tokens: Cache<TokenId, (Arc<Claims>, u64)>,
    /// By issuer and fragment.
    keys: Cache<(Did, &'static str), GoodKey>,
    fresh: Cache<Did, (i64, u32)>,
    /// Counts calls of `forget`.
    epoch: AtomicU64,
    /// The epoch that began with the last one of an issuer: nothing that was checked in an earlier one counts.
    changed: Box<[AtomicU64]>,
    names: RandomState,
}

impl TokenCache {
    pub(super) fn new() -> Self {
        Self {
            tokens: Cache::new(TOKENS),
            keys: Cache::new(ISSUERS),
            fresh: Cache::new(ISSUERS),
            epoch: AtomicU64::new(0),
            changed: (0..MARKS).map(|_| AtomicU64::new(0)).collect(),
            names: RandomState::new(),
        }
    }

    pub(super) fn id(token: &str) -> TokenId {
        Sha256::digest(token.as_bytes()).into()
    }

    pub(super) fn get(&self, id: &TokenId) -> Option<Arc<Claims>> {
        let (claims, epoch) = self.tokens.get(id)?;
        self.holds(&claims.issuer.as_ref()?.did, epoch).then_some(claims)
    }

    /// The key that was good lately.
    pub(super) fn key(&self, issuer: &Issuer, now_ms: i64) -> Option<PublicKey> {
        let GoodKey { key, since, epoch } = self.keys.get(&key_id(issuer))?;
        let young = (0..KEY_AGE_MS).contains(&now_ms.saturating_sub(since));
        (young && self.holds(&issuer.did, epoch)).then_some(key)
    }

    /// A key was good, which was looked up in this epoch.
    pub(super) fn remember_key(&self, issuer: &Issuer, key: PublicKey, epoch: u64, now_ms: i64) {
        if self.holds(&issuer.did, epoch) {
            self.keys.insert(key_id(issuer), GoodKey { key, since: now_ms, epoch });
        }
    }

    /// To be taken before the key is looked up, and given to [`Self::remember`].
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn remember(&self, id: TokenId, claims: Arc<Claims>, epoch: u64) {
        if claims.issuer.as_ref().is_some_and(|issuer| self.holds(&issuer.did, epoch)) {
            self.tokens.insert(id, (claims, epoch));
        }
    }

    /// The identity changed: nothing that its old key signed is believed unseen, nor what is being checked now.
    pub(super) fn forget(&self, did: &Did) {
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(mark) = self.mark(did) {
            mark.fetch_max(epoch, Ordering::AcqRel);
        }
        self.fresh.remove(did);
    }

    fn holds(&self, did: &Did, epoch: u64) -> bool {
        self.mark(did).is_some_and(|changed| changed.load(Ordering::Acquire) <= epoch)
    }

    fn mark(&self, did: &Did) -> Option<&AtomicU64> {
        let hash = self.names.hash_one(&**did);
        self.changed.get(usize::try_from(hash).unwrap_or(0) % MARKS)
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

fn key_id(issuer: &Issuer) -> (Did, &'static str) {
    (issuer.did.clone(), issuer.key_fragment())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;

    fn claims(did: &str) -> Arc<Claims> {
        Arc::new(Claims {
            issuer: Some(Issuer { did: Did::parse(did).unwrap(), service: None }),
            audience: String::new(),
            expires: 0.0,
            issued: None,
            method: None,
        })
    }

    #[test]
    fn forget_drops_one_issuer_and_checks_under_way() {
        let cache = TokenCache::new();
        // Two that share no mark.
        let other = (0..).map(|n| format!("did:plc:b{n}")).find(|text| {
            let mark =
                |text: &str| std::ptr::from_ref(cache.mark(&Did::parse(text).unwrap()).unwrap());
            mark(text) != mark("did:plc:a")
        });
        let other = other.unwrap();
        let (a, b, c) = (TokenCache::id("a"), TokenCache::id("b"), TokenCache::id("c"));
        let epoch = cache.epoch();
        cache.remember(a, claims("did:plc:a"), epoch);
        cache.remember(b, claims(&other), epoch);
        cache.forget(&Did::parse("did:plc:a").unwrap());
        cache.remember(c, claims("did:plc:a"), epoch);
        assert!(cache.get(&a).is_none());
        assert!(cache.get(&b).is_some());
        assert!(cache.get(&c).is_none());
        cache.remember(c, claims("did:plc:a"), cache.epoch());
        assert!(cache.get(&c).is_some(), "what was checked since");
    }

    #[test]
    fn a_good_key_is_used_for_an_hour_or_until_the_identity_changes() {
        let (cache, key) = (TokenCache::new(), PrivateKey::generate().public());
        let account = Issuer { did: Did::parse("did:plc:a").unwrap(), service: None };
        let labeler = Issuer { service: Some("atproto_labeler".into()), ..account.clone() };
        let before = cache.epoch();
        cache.remember_key(&account, key.clone(), before, 1000);
        assert_eq!(cache.key(&account, 1000), Some(key.clone()));
        assert_eq!(cache.key(&labeler, 1000), None, "it has its own");
        assert_eq!(cache.key(&account, 999), None, "the clock was set back");
        assert_eq!(cache.key(&account, 1000 + KEY_AGE_MS), None);
        cache.forget(&account.did);
        assert_eq!(cache.key(&account, 1000), None);
        cache.remember_key(&account, key.clone(), before, 1000);
        assert_eq!(cache.key(&account, 1000), None, "looked up before the change");
        cache.remember_key(&account, key.clone(), cache.epoch(), 1000);
        assert_eq!(cache.key(&account, 1000), Some(key));
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
