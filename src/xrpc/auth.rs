//! Who calls: service tokens and the operator's password.
//!
//! Checks what costs nothing first: type, shape, expiry, lifetime, (audience and trust for the moderation service),
//! issuer, method, audience; then the key and the signature. The reference looks at method and audience last; only a
//! token with two defects shows the difference. Keys come from a [`KeySource`]; how a DID is resolved is not known here.
//!
//! # Invariants
//! - An `authorization: Bearer` header never ends as anonymous.
//! - Nobody is asked for the key of a token that could not be accepted anyway, nor for one that is here and fits.
//! - A bad signature is final only after the key was looked up past every cache (up to a ration per issuer).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::call::Credentials;
use super::error::XrpcError;
use super::jwt::{self, Claims, Issuer, SessionToken, Token};
use super::password::{self, AdminPassword, Role};
use super::token_cache::TokenCache;
use crate::crypto::PublicKey;
use crate::identity::{Freshness, HeldKey};
use crate::limits::{Client, Limit, Limits, Refused};
use crate::syntax::Did;
use crate::threads::Clock;

/// Longest lifetime of a token: an hour, as much as a PDS gives one, and what clocks may differ.
const LIFETIME_S: f64 = 3900.0;
/// How far ahead of our clock a token that says when it was made may end. It lives no longer than another; but a server
/// whose clock is days behind must not lock everybody out.
const AHEAD_S: f64 = 30.0 * 86_400.0;

/// Whose sessions an entryway opens.
const ENTRYWAY_HOSTS: &str = ".bsky.network";
/// The scopes of session tokens that may read.
const SESSION_SCOPES: [&str; 3] =
    ["com.atproto.access", "com.atproto.appPass", "com.atproto.appPassPrivileged"];

const AS_DID: HeaderName = HeaderName::from_static("appview-as-did");

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Anyone; the `authorization` header is not looked at.
    None,
    /// Anyone; with a service token, as that account.
    Optional,
    /// As `Optional`; with the admin password, as the operator.
    OptionalOrAdmin,
    /// A service token is needed.
    Required,
    /// The admin password or a token of the moderation service is needed.
    AdminOrModService,
}

impl Auth {
    /// How the docs page calls it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optional => "optional",
            Self::OptionalOrAdmin => "optional, admin",
            Self::Required => "required",
            Self::AdminOrModService => "admin",
        }
    }
}

/// Which service tokens fit a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRule {
    /// `lxm` is the method, `aud` is us.
    Own,
    /// Tokens for `chat.bsky.*` fit too: the chat service asks with its caller's token.
    OrChat,
    /// Tokens for the feed generator: `lxm` getFeed or getFeedSkeleton, `aud` unchecked.
    FeedGenerator,
}

/// Why there is no key to check a token with.
#[derive(Debug, thiserror::Error)]
pub enum KeyLookupError {
    /// The DID does not exist, was deleted, or cannot be resolved by anyone.
    #[error("identity unknown")]
    Unknown,
    /// The DID document has no such key, or not a readable one.
    #[error("missing or bad key")]
    NoKey,
    /// Its directory or host did not answer: not the caller's fault.
    #[error("identity lookup failed")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody was asked: too much is asked for already. Again after this time.
    #[error("too many identities are asked for")]
    Busy(Duration),
    /// Nobody was asked: of the client alone that is too much.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Gives the keys of DID documents.
pub trait KeySource: Send + Sync {
    /// The key `#fragment` of the document, if it is here; nobody is asked.
    fn held_key<'a>(&'a self, did: &'a Did, fragment: &'a str) -> BoxFuture<'a, Option<HeldKey>>;

    /// The same from whoever has the document, for `client`, of whom nothing is proven yet.
    fn signing_key<'a>(
        &'a self,
        did: &'a Did,
        fragment: &'a str,
        freshness: Freshness,
        client: Client,
    ) -> BoxFuture<'a, Result<PublicKey, KeyLookupError>>;

    /// A key was asked for and proved nothing of what `client` said.
    fn asked_in_vain(&self, client: Client);

    /// A token that `client` showed was good.
    fn proved(&self, client: Client);

    /// An old key was good: its document should be looked at again some time.
    fn renew(&self, did: &Did);
}

/// What a call needs its caller to be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Who may call.
    pub auth: Auth,
    /// Which tokens fit.
    pub tokens: TokenRule,
    /// The method.
    pub nsid: &'static str,
}

/// Whom tokens are for and who is trusted.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// Our DID; `did#bsky_appview` is accepted as an audience as well.
    pub own_did: Did,
    /// Other DIDs that tokens may be for.
    pub alternative_dids: Vec<Did>,
    /// The moderation service, at first.
    pub mod_service: Option<Did>,
    /// The entryway whose session tokens are accepted.
    pub entryway: Option<PublicKey>,
    /// Passwords of the user `admin`; none means that nobody is the operator.
    pub admin_passwords: Vec<AdminPassword>,
}

/// Decides who makes a call.
pub struct Authenticator {
    config: AuthConfig,
    own_service: String,
    /// Whose tokens may take content down.
    mod_service: ArcSwapOption<Did>,
    keys: Arc<dyn KeySource>,
    clock: Clock,
    cache: TokenCache,
    limits: Arc<Limits>,
}

/// Which of our DIDs a token may be for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OwnDids {
    Present,
    WithAlternatives,
}

/// What the verification of a token has to ask before the signature.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    AnyIssuer,
    ModService,
}

impl Authenticator {
    /// Makes an authenticator that looks up keys in `keys`.
    pub fn new(
        config: AuthConfig,
        keys: Arc<dyn KeySource>,
        clock: Clock,
        limits: Arc<Limits>,
    ) -> Self {
        let own_service = format!("{}#bsky_appview", config.own_did);
        let mod_service = ArcSwapOption::from_pointee(config.mod_service.clone());
        Self { config, own_service, mod_service, keys, clock, cache: TokenCache::new(), limits }
    }

    /// From now on this is the moderation service, and the one before is an account like any other.
    pub fn trust(&self, mod_service: Option<Did>) {
        self.mod_service.store(mod_service.map(Arc::new));
    }

    /// The identity changed: its tokens are checked again with the key of then.
    pub fn forget(&self, did: &Did) {
        self.cache.forget(did);
    }

    /// Whether the headers carry the operator's password.
    ///
    /// # Errors
    /// 429 after too many wrong ones from there.
    pub fn is_admin(&self, headers: &HeaderMap, client: Client) -> Result<bool, XrpcError> {
        Ok(self.role(headers, client)? == Role::Admin)
    }

    /// Whether this is the operator's password, typed into a form.
    ///
    /// # Errors
    /// 429 after too many wrong ones from there.
    pub fn is_password(
        &self,
        user: &str,
        password: &str,
        client: Client,
    ) -> Result<bool, XrpcError> {
        let given = password::Given::new(user, password);
        Ok(self.role_of(Some(given), client)? == Role::Admin)
    }

    /// Whether anybody can sign in with a password.
    pub fn has_password(&self) -> bool {
        !self.config.admin_passwords.is_empty()
    }

    /// Finds out who makes a call, which `client` sent.
    ///
    /// # Errors
    /// 401 with the reference's error names; 502 when the issuer's directory does not answer, 503 when too many issuers
    /// are looked up.
    pub async fn authenticate(
        &self,
        wanted: Wanted,
        headers: &HeaderMap,
        client: Client,
    ) -> Result<Credentials, XrpcError> {
        match wanted.auth {
            Auth::None => Ok(Credentials::None),
            Auth::Optional => self.standard(wanted, headers, client).await,
            Auth::Required => match self.standard(wanted, headers, client).await? {
                Credentials::None => Err(XrpcError::auth("AuthMissing", "")),
                // Such a token is good, but no account has its private state.
                Credentials::Service { .. } => {
                    Err(XrpcError::auth("BadJwtIss", "jwt iss is not an account"))
                }
                credentials => Ok(credentials),
            },
            Auth::OptionalOrAdmin if bearer(headers).is_some() => {
                self.standard(wanted, headers, client).await
            }
            Auth::OptionalOrAdmin => match self.role(headers, client)? {
                Role::Admin => Ok(Credentials::Admin),
                Role::Missing => Ok(Credentials::None),
                Role::Invalid => Err(XrpcError::auth_required("")),
            },
            Auth::AdminOrModService => match bearer(headers) {
                Some(token) => self.moderator(token, wanted, client).await,
                None if self.is_admin(headers, client)? => Ok(Credentials::Admin),
                None => Err(XrpcError::auth_required("")),
            },
        }
    }

    fn role(&self, headers: &HeaderMap, client: Client) -> Result<Role, XrpcError> {
        self.role_of(password::given(authorization(headers)), client)
    }

    fn role_of(&self, given: Option<password::Given>, client: Client) -> Result<Role, XrpcError> {
        let Some(given) = given else { return Ok(Role::Missing) };
        // Asked before the password is looked at: afterwards a right one would be told from a wrong one.
        let refused = |refused| XrpcError::limited(refused, self.clock.now_ms());
        self.limits.look(Limit::Logins, client).map_err(refused)?;
        let role = given.role(&self.config.admin_passwords);
        if role == Role::Invalid {
            // At most as many lines as there may be attempts.
            tracing::warn!(%client, "wrong admin password");
            self.limits.take(Limit::Logins, client).map_err(refused)?;
        }
        Ok(role)
    }

    async fn standard(
        &self,
        wanted: Wanted,
        headers: &HeaderMap,
        client: Client,
    ) -> Result<Credentials, XrpcError> {
        if authorization(headers).is_some_and(|header| header.starts_with("Basic ")) {
            return self.impersonated(headers, client);
        }
        let Some(token) = bearer(headers) else {
            return Ok(Credentials::None);
        };
        if token.is_empty() {
            return Err(XrpcError::auth("MissingJwt", "missing jwt"));
        }
        if jwt::type_of(token).as_deref() == Some("at+jwt") {
            return self.session_of_entryway(token, wanted);
        }
        let claims = self.verified(token, Trust::AnyIssuer, wanted, client).await?;
        let issuer = issuer(&claims)?;
        let mod_service = self.is_mod_service(issuer);
        let did = issuer.did.clone();
        Ok(match issuer.service {
            None => Credentials::Viewer { did, mod_service },
            Some(_) => Credentials::Service { did, mod_service },
        })
    }

    /// The account of a session token, which is another kind of token altogether: its PDS signed it, or the entryway in
    /// front of it, and it is for everything that the session may do.
    fn session_of_entryway(&self, token: &str, wanted: Wanted) -> Result<Credentials, XrpcError> {
        let invalid = |message: &str| XrpcError::auth("InvalidToken", message.to_owned());
        let key = self.config.entryway.as_ref();
        // Tokens for a feed generator are handed on to it, which a session's must never be.
        let key = key.filter(|_| wanted.tokens != TokenRule::FeedGenerator);
        let key = key.ok_or_else(|| invalid("Malformed token"))?;
        let token = SessionToken::parse(token).ok_or_else(|| invalid("Malformed token"))?;
        if token.algorithm != key.alg()
            || !key.verify_malleable(token.signed.as_bytes(), &token.signature)
        {
            return Err(invalid("Token could not be verified"));
        }
        // Without an end it would be good for ever.
        let expires = token.expires.ok_or_else(|| invalid("Token could not be verified"))?;
        if self.clock.now_ms() as f64 / 1000.0 >= expires {
            return Err(XrpcError::auth("ExpiredToken", "Token has expired"));
        }
        if token.is_bound {
            return Err(invalid("Malformed token: DPoP not supported"));
        }
        let did = token.subject.ok_or_else(|| invalid("Malformed token"))?;
        let of_network =
            |aud: &String| aud.starts_with("did:web:") && aud.ends_with(ENTRYWAY_HOSTS);
        if !token.audience.as_ref().is_some_and(of_network) {
            return Err(invalid("Bad token aud"));
        }
        if !token.scope.is_some_and(|scope| SESSION_SCOPES.contains(&scope.as_str())) {
            return Err(invalid("Bad token scope"));
        }
        Ok(Credentials::Viewer { did, mod_service: false })
    }

    /// The operator looks through the eyes of an account: password and `appview-as-did`.
    fn impersonated(&self, headers: &HeaderMap, client: Client) -> Result<Credentials, XrpcError> {
        let did = headers
            .get(AS_DID)
            .and_then(|value| Did::parse(value.to_str().ok()?).ok())
            .ok_or_else(|| XrpcError::auth_required("bad issuer"))?;
        if !self.is_admin(headers, client)? {
            return Err(XrpcError::auth_required("bad credentials"));
        }
        Ok(Credentials::Viewer { did, mod_service: false })
    }

    async fn moderator(
        &self,
        token: &str,
        wanted: Wanted,
        client: Client,
    ) -> Result<Credentials, XrpcError> {
        if token.is_empty() {
            return Err(XrpcError::auth("MissingJwt", "missing jwt"));
        }
        let claims = self.verified(token, Trust::ModService, wanted, client).await?;
        let did = issuer(&claims)?.did.clone();
        Ok(Credentials::ModService { did })
    }

    /// The claims of a token that fits and that its issuer signed.
    async fn verified(
        &self,
        text: &str,
        trust: Trust,
        wanted: Wanted,
        client: Client,
    ) -> Result<Arc<Claims>, XrpcError> {
        let id = TokenCache::id(text);
        if let Some(claims) = self.cache.get(&id) {
            self.check_before_key(&claims, trust, wanted)?;
            return Ok(claims);
        }
        let token = Token::parse(text)?;
        self.check_before_key(&token.claims, trust, wanted)?;
        let epoch = self.cache.epoch();
        self.check_signature(&token, client, epoch).await?;
        let claims = Arc::new(token.claims);
        self.cache.remember(id, Arc::clone(&claims), epoch);
        Ok(claims)
    }

    fn check_before_key(
        &self,
        claims: &Claims,
        trust: Trust,
        wanted: Wanted,
    ) -> Result<(), XrpcError> {
        self.check_time(claims)?;
        if trust == Trust::ModService {
            self.check_audience(claims, OwnDids::Present)?;
        }
        let issuer = issuer(claims)?;
        if trust == Trust::ModService && !self.is_mod_service(issuer) {
            return Err(XrpcError::auth("UntrustedIss", "Untrusted issuer"));
        }
        check_method(claims, wanted.tokens, wanted.nsid)?;
        if trust == Trust::AnyIssuer && wanted.tokens != TokenRule::FeedGenerator {
            self.check_audience(claims, OwnDids::WithAlternatives)?;
        }
        Ok(())
    }

    fn check_time(&self, claims: &Claims) -> Result<(), XrpcError> {
        // A double holds milliseconds exactly until the year 287396.
        let now = self.clock.now_ms() as f64 / 1000.0;
        if now > claims.expires {
            return Err(XrpcError::auth("JwtExpired", "jwt expired"));
        }
        let ahead = claims.expires - now;
        let lifetime = claims.issued.map_or(ahead, |issued| claims.expires - issued);
        if lifetime > LIFETIME_S || ahead > AHEAD_S {
            let message = "jwt is valid for longer than an hour, or a clock is wrong";
            return Err(XrpcError::auth("BadJwt", message));
        }
        Ok(())
    }

    async fn check_signature(
        &self,
        token: &Token<'_>,
        client: Client,
        epoch: u64,
    ) -> Result<(), XrpcError> {
        let issuer = issuer(&token.claims)?;
        let (did, fragment, now) = (&issuer.did, issuer.key_fragment(), self.clock.now_ms());
        let bad = || XrpcError::auth("BadJwtSignature", "jwt signature does not match jwt issuer");
        if self.cache.key(issuer, now).is_some_and(|key| fits(&key, token)) {
            return Ok(());
        }
        let freshness = match self.keys.held_key(did, fragment).await {
            Some(held) if fits(&held.key, token) => {
                if held.old {
                    self.keys.renew(did);
                }
                self.good_key(issuer, held.key, epoch, client);
                return Ok(());
            }
            // The key may have been rotated since.
            Some(_) if self.cache.allow_fresh(did, now) => Freshness::Fresh,
            Some(_) => return Err(bad()),
            None => Freshness::Cached,
        };
        let key = self.keys.signing_key(did, fragment, freshness, client).await;
        let key = key.map_err(|error| match error {
            KeyLookupError::Unknown => XrpcError::auth_required("identity unknown"),
            KeyLookupError::NoKey => XrpcError::auth_required("missing or bad key"),
            KeyLookupError::Unavailable(cause) => {
                XrpcError::upstream("could not look up the token's issuer").with_cause(cause)
            }
            KeyLookupError::Busy(wait) => {
                XrpcError::busy("too many token issuers are being looked up", wait)
            }
            KeyLookupError::Refused(refused) => XrpcError::limited(refused, self.clock.now_ms()),
        })?;
        if fits(&key, token) {
            self.good_key(issuer, key, epoch, client);
            return Ok(());
        }
        self.keys.asked_in_vain(client);
        Err(bad())
    }

    /// Once in a while for each account, so that each address from which good tokens come is soon known for it.
    fn good_key(&self, issuer: &Issuer, key: PublicKey, epoch: u64, client: Client) {
        self.cache.remember_key(issuer, key, epoch, self.clock.now_ms());
        self.keys.proved(client);
    }

    /// Whether a DID is ours, or one of those that were.
    #[must_use]
    pub fn is_own_did(&self, did: &str) -> bool {
        let alternatives = &self.config.alternative_dids;
        self.config.own_did == *did || alternatives.iter().any(|own| *own == *did)
    }

    fn check_audience(&self, claims: &Claims, own: OwnDids) -> Result<(), XrpcError> {
        let audience = claims.audience.as_str();
        let known = match own {
            OwnDids::WithAlternatives => self.is_own_did(audience),
            OwnDids::Present => self.config.own_did == *audience,
        };
        if known || self.own_service == audience {
            return Ok(());
        }
        Err(XrpcError::auth("BadJwtAudience", "jwt audience does not match service did"))
    }

    fn is_mod_service(&self, issuer: &Issuer) -> bool {
        (issuer.service.is_none() || issuer.is_labeler())
            && self.mod_service.load().as_deref() == Some(&issuer.did)
    }
}

fn issuer(claims: &Claims) -> Result<&Issuer, XrpcError> {
    claims.issuer.as_ref().ok_or_else(|| XrpcError::auth("BadJwtIss", "jwt iss is not a valid did"))
}

fn fits(key: &PublicKey, token: &Token<'_>) -> bool {
    // The reference takes either s here, unlike for commits and labels.
    key.alg() == token.algorithm && key.verify_malleable(token.signed.as_bytes(), &token.signature)
}

fn check_method(claims: &Claims, rule: TokenRule, nsid: &str) -> Result<(), XrpcError> {
    let fits = match (&claims.method, rule) {
        // Labelers that do not name a method yet are let through, as the reference does.
        (None, _) => issuer(claims)?.is_labeler(),
        (Some(method), TokenRule::Own) => method == nsid,
        (Some(method), TokenRule::OrChat) => method == nsid || method.starts_with("chat.bsky."),
        (Some(method), TokenRule::FeedGenerator) => {
            method == "app.bsky.feed.getFeedSkeleton" || method == "app.bsky.feed.getFeed"
        }
    };
    if fits {
        return Ok(());
    }
    let problem = if claims.method.is_some() { "bad" } else { "missing" };
    Err(XrpcError::auth(
        "BadJwtLexiconMethod",
        format!("{problem} jwt lexicon method (\"lxm\"). must match: {nsid}"),
    ))
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()
}

/// The token of a bearer header. A header that cannot be read as text is not anonymous but an empty token.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?;
    match value.to_str() {
        Ok(text) => text.strip_prefix("Bearer ").map(str::trim),
        Err(_) => value.as_bytes().starts_with(b"Bearer ").then_some(""),
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
