//! The way out, as a trait so that tests can stand in.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;

use crate::net::{HttpClient, Limits, NetError, Response};

/// Whom a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The endpoint in the configuration: it may be on the operator's own network.
    Configured,
    /// An address that a stranger named.
    Guarded,
}

/// Sends requests.
pub trait Transport: Send + Sync {
    /// POST; redirects are answers.
    fn post<'a>(
        &'a self,
        via: Via,
        url: &'a str,
        headers: &'a HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'a, Result<Response, NetError>>;
}

/// What a push service says is not looked at.
const LIMITS: Limits =
    Limits { max_bytes: 64 << 10, timeout: Duration::from_secs(10), redirects: 0, accept: None };

/// The network.
pub struct NetTransport {
    /// For the endpoint in the configuration.
    pub configured: HttpClient,
    /// For all others; must refuse private addresses.
    pub guarded: HttpClient,
}

impl Transport for NetTransport {
    fn post<'a>(
        &'a self,
        via: Via,
        url: &'a str,
        headers: &'a HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'a, Result<Response, NetError>> {
        let client = match via {
            Via::Configured => &self.configured,
            Via::Guarded => &self.guarded,
        };
        Box::pin(client.post(url, headers, body, &LIMITS))
    }
}
