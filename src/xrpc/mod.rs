//! The HTTP side: one table of methods, and what every call goes through before and after its handler.
//!
//! ```text
//! socket -> server (hyper) -> app: route -> parameters -> auth -> input -> handler -> encode -> socket
//!                                 \-> paths -> site: health, did.json, docs page, admin status
//!                                           \-> images: /img/, /blob/
//!                                           \-> operator: signing in, the dashboard
//!                                           \-> socket: WebSockets, carried by the server
//!                                           \-> html: pages for people
//! ```
//!
//! Adding a method is one row in [`method::METHODS`] and one function under `api/`. Handlers know neither hyper nor
//! JSON Web Tokens: they get a [`Call`] and give a [`Reply`] or an [`XrpcError`].
//!
//! Does not know: how identities are resolved ([`KeySource`] is given), where records come from, ingest.
//!
//! # Invariants
//! - A handler never runs on an I/O thread unless its row says [`Handler::Async`] (`dispatch` tests).
//! - A panic costs its own request a 500 and nothing else (`dispatch` tests).
//! - A bearer token is either good or answered with 401; it never falls back to anonymous (`auth` tests).

pub mod api;
mod app;
mod auth;
mod body;
mod call;
mod community;
mod context;
mod dispatch;
mod encode;
mod error;
mod handshake;
#[cfg(feature = "testing")]
pub mod fuzzing;
mod html;
mod images;
mod jwt;
mod labelers;
mod listing;
mod message;
mod measures;
mod method;
mod operator;
mod outflow;
mod fetch_requests;
mod ports;
mod password;
mod paths;
mod quotas;
mod reply;
mod router;
mod server;
mod session;
mod site;
mod socket;
mod token_cache;

#[cfg(test)]
mod bad_input_tests;
#[cfg(test)]
mod testing;

pub use api::search::explained as explained_search;
pub use app::App;
pub use auth::{Auth, AuthConfig, Authenticator, KeyLookupError, KeySource, TokenRule};
pub use call::{Access, Call, Credentials, Line};
pub use community::{Community, MemberHook, NetMemberHook};
pub use context::{
    AppCtx, ClientConfig, LiveNow, Readiness, Reports, ServerIdentity, StatusSource, read_threads,
};
pub use error::{XrpcError, failed_reads};
pub use fetch_requests::{FetchRequest, FetchRequests};
pub use labelers::{AcceptedLabeler, ParsedLabelers};
pub use listing::{ListedMethod, Param, list};
pub use message::{Body, Request, Response, Rest};
pub use method::{AsyncFn, Handler, METHODS, Method, ReadFn, ReplyFuture};
pub use outflow::Outflow;
pub use password::AdminPassword;
pub use ports::{Dashboard, FeedGenerators, Form, Members, NetFeedGenerators, OnRead, Rights};
pub use quotas::Quotas;
pub use reply::Reply;
pub use router::{Router, TableError};
pub use server::{ServerLimits, serve};
pub use socket::{Close, Message, Socket, Sockets, Talk, TooSlow, Upgrade};
