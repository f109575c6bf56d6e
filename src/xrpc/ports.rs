//! What handlers need from the rest of the process and from other servers, as traits so that tests can stand in.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::HeaderMap;

use super::fetch_requests::FetchRequest;
use crate::identity::{Freshness, Identity, IdentityError};
use crate::login::Visitor;
use crate::net::{HttpClient, Limits, NetError, Response};
use crate::store::StoreError;
use crate::syntax::Did;

/// For whom something is kept here: their notifications, and what they set.
pub trait Members: Send + Sync {
    /// Makes an account that called with a valid token a member, if such may become one; answers when its notifications
    /// are there. `false` if it is none.
    fn ensure<'a>(&'a self, viewer: &'a Did) -> BoxFuture<'a, Result<bool, StoreError>>;
}

/// What an account may ask for itself, here by whoever keeps the index. Answers are on disk.
pub trait Rights: Send + Sync {
    /// Nothing of the account is collected any more, and what was goes.
    fn opt_out<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<(), StoreError>>;

    /// It is collected again; `false` while what was held is still being deleted.
    fn opt_in<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Everything that is held of it goes, and with `opt_out` nothing is collected afterwards.
    fn erase<'a>(&'a self, did: &'a Did, opt_out: bool) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// What an operator asks for, as a form in the browser has it: names and values.
pub type Form = [(String, String)];

/// What operators see and do in the browser, here by whoever knows the parts.
pub trait Dashboard: Send + Sync {
    /// The whole page, for this visitor.
    fn page<'a>(&'a self, visitor: &'a Visitor) -> BoxFuture<'a, String>;

    /// The parts of the page that change, by the names of their places, made once for all who ask at about the same time.
    fn now(&self) -> BoxFuture<'_, Arc<Vec<(&'static str, String)>>>;

    /// Carries an action out and says what came of it; `Err` if it cannot be, and `None` if there is no such action.
    fn act<'a>(
        &'a self,
        action: &'a str,
        form: &'a Form,
    ) -> BoxFuture<'a, Option<Result<String, String>>>;
}

/// Brings what the store lacks and a caller asks for.
pub trait OnRead: Send + Sync {
    /// Answers after `within` at the latest whether anything has arrived, which reads show then. What has not goes on.
    fn bring(&self, missing: Vec<FetchRequest>, within: Duration) -> BoxFuture<'_, bool>;
}

/// Feed generators, which rank feeds elsewhere.
pub trait FeedGenerators: Send + Sync {
    /// Where the feed generator of this DID answers (`#bsky_fg` of its document).
    fn endpoint<'a>(&'a self, did: &'a Did)
    -> BoxFuture<'a, Result<Option<String>, IdentityError>>;

    /// GET of a skeleton.
    fn get<'a>(
        &'a self,
        url: &'a str,
        headers: &'a HeaderMap,
    ) -> BoxFuture<'a, Result<Response, NetError>>;
}

/// A skeleton of a hundred posts is far smaller.
const SKELETON_LIMITS: Limits = Limits {
    max_bytes: 1 << 20,
    timeout: Duration::from_secs(10),
    redirects: 0,
    accept: Some("application/json"),
};

/// Feed generators on the network.
pub struct NetFeedGenerators {
    /// Finds their documents.
    pub identity: Identity,
    /// Asks them; must refuse private addresses.
    pub http: HttpClient,
}

impl FeedGenerators for NetFeedGenerators {
    fn endpoint<'a>(
        &'a self,
        did: &'a Did,
    ) -> BoxFuture<'a, Result<Option<String>, IdentityError>> {
        Box::pin(async move {
            let doc = self.identity.resolve_did(did, Freshness::Cached).await?;
            Ok(doc.feed_generator().map(str::to_owned))
        })
    }

    fn get<'a>(
        &'a self,
        url: &'a str,
        headers: &'a HeaderMap,
    ) -> BoxFuture<'a, Result<Response, NetError>> {
        Box::pin(self.http.get_with(url, headers, &SKELETON_LIMITS))
    }
}
