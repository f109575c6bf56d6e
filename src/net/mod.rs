//! Connections to other servers: HTTP requests, WebSockets, DNS.
//!
//! Hosts come from DID documents and records, so whoever writes those chooses where this server connects. Every
//! connection therefore goes through one [`Dialer`], which refuses addresses that are not public, and every answer is
//! capped in size and time. It knows nothing of DIDs, repos or XRPC: URLs go in, bytes come out.
//!
//! # Invariants
//! - The address that was checked is the address connected to; no name is resolved a second time in between.
//! - Each redirect is checked as the first URL was.
//! - Plain `http` and `ws` are refused unless private addresses are allowed.

mod address;
mod client;
mod dialer;
mod error;
mod metered;
mod throttle;
mod websocket;

pub use address::is_public;
pub use client::{
    BodyStream, HttpClient, Idle, Limits, Response, StreamLimits, StreamResponse, wire_size,
};
pub use dialer::Dialer;
pub use error::NetError;
pub use throttle::{HostPermit, HostThrottle, pace, pause, retry_after};
pub use websocket::{Message, WsStream};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
