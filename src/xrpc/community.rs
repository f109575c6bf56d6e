//! Who belongs to the community: those on a list, or those of whom a hook of the operator says so.
//!
//! Methods of the community ask before they do anything. Others ask where a caller names a community post or has
//! notifications of it, so that nobody waits for the hook who reads nothing of the community; to who does not belong to
//! it, its posts are as if they were not there.
//!
//! # Invariants
//! - Whoever is not certainly a member is none: a hook that fails or is slow lets nobody in.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::lexicon::Params;
use crate::net::{HttpClient, Limits, NetError, Response};
use crate::schema::Rows;
use crate::schema::rows::EdgeKind;
use crate::store::{Store, StoreError};
use crate::syntax::Did;
use crate::telemetry::counters::Counters;
use crate::threads::Clock;

static HOOK: Counters = Counters::new("community.hook");

/// Answers of the hook that are remembered, and for how long, in milliseconds.
const REMEMBERED: usize = 20_000;
const ANSWER_FOR: i64 = 60_000;
/// How long the hook is not asked again about somebody after it failed.
const FAILURE_FOR: i64 = 5_000;
/// Requests to the hook at once; further callers wait for their turn.
const AT_ONCE: usize = 16;
/// From the call to the decision, waiting for a turn included.
const PATIENCE: Duration = Duration::from_secs(4);

/// The operator's hook.
pub trait MemberHook: Send + Sync {
    /// Asks about an account.
    fn ask<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<Response, NetError>>;
}

const HOOK_LIMITS: Limits = Limits {
    max_bytes: 4 << 10,
    timeout: Duration::from_secs(3),
    redirects: 0,
    accept: Some("application/json"),
};

/// A hook that is asked by HTTP.
pub struct NetMemberHook {
    /// Where; the account is added as `did`.
    pub url: String,
    /// Asks it.
    pub http: HttpClient,
}

impl MemberHook for NetMemberHook {
    fn ask<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<Response, NetError>> {
        Box::pin(async move {
            let did: String =
                url::form_urlencoded::byte_serialize(did.as_str().as_bytes()).collect();
            let separator = if self.url.contains('?') { '&' } else { '?' };
            self.http.get(&format!("{}{separator}did={did}", self.url), &HOOK_LIMITS).await
        })
    }
}

/// The community.
pub struct Community {
    list: Option<String>,
    hook: Option<Arc<dyn MemberHook>>,
    /// What the hook said, and until when that holds.
    answers: quick_cache::sync::Cache<String, (bool, i64)>,
    turns: Semaphore,
    /// Most posts of an account.
    pub(super) most_posts: usize,
}

impl Community {
    /// A community of those on the list with this AT-URI, and of those of whom the hook says so.
    #[must_use]
    pub fn new(list: Option<String>, hook: Option<Arc<dyn MemberHook>>, most_posts: usize) -> Self {
        let answers = quick_cache::sync::Cache::new(REMEMBERED);
        Self { list, hook, answers, turns: Semaphore::new(AT_ONCE), most_posts }
    }

    /// Whether it is decided by a list, among others.
    pub(super) fn has_list(&self) -> bool {
        self.list.is_some()
    }

    /// Whether an account is on the list. Reads the store: not on an I/O thread.
    pub(super) fn is_listed(&self, store: &Store, did: &Did) -> Result<bool, StoreError> {
        let Some(list) = &self.list else { return Ok(false) };
        let s = store.snapshot();
        let (list, member) = (s.target(list)?, s.actor_id(did.as_str())?);
        let Some((list, member)) = list.zip(member) else { return Ok(false) };
        Ok(s.fan(EdgeKind::ListItem, list, member)?.is_some())
    }

    /// Whether the hook says that an account belongs to it; `false` without a hook.
    pub(super) async fn hook_says(&self, did: &Did, clock: &Clock) -> bool {
        let Some(hook) = &self.hook else { return false };
        if let Some((member, until)) = self.answers.get(did.as_str())
            && clock.now_ms() < until
        {
            return member;
        }
        let asked = tokio::time::timeout(PATIENCE, async {
            let _turn = self.turns.acquire().await.ok()?;
            hook.ask(did).await.and_then(Response::success).ok()
        });
        let answer = asked.await.ok().flatten();
        let member = answer.and_then(|answer| {
            let said: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
            said.get("member")?.as_bool()
        });
        let (cause, lasts) = match member {
            Some(true) => ("member", ANSWER_FOR),
            Some(false) => ("not-member", ANSWER_FOR),
            None => ("failed", FAILURE_FOR),
        };
        HOOK.inc(cause);
        let member = member.unwrap_or(false);
        self.answers.insert(did.as_str().to_owned(), (member, clock.now_ms() + lasts));
        member
    }
}

/// Whether a call asks about a community post by its URI.
pub(super) fn is_named(params: &Params) -> bool {
    let uris = ["uri", "anchor"].into_iter().filter_map(|key| params.str(key));
    let mut uris = uris.chain(params.strs("uris").iter().map(AsRef::as_ref));
    uris.any(|uri: &str| uri.contains("/community.blacksky.feed.post/"))
}
