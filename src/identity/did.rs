//! Fetches DID documents: did:web from its host, every other method from the PLC directory.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use super::{DidDoc, IdentityError};
use crate::net::{HostThrottle, HttpClient, Limits, NetError};
use crate::syntax::Did;

const LIMITS: Limits = Limits {
    max_bytes: 256 << 10,
    timeout: Duration::from_secs(5),
    redirects: 0,
    accept: Some("application/did+ld+json,application/json"),
};

/// The longest pause of a host that a lookup waits for: frames of a stream may wait for its answer, and whatever comes
/// behind them.
const SHORT_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct DidResolver {
    pub(super) plc_url: String,
    pub(super) configured: HttpClient,
    pub(super) guarded: HttpClient,
    pub(super) throttle: HostThrottle,
}

impl DidResolver {
    /// Whom to ask, and where.
    fn place(&self, did: &Did) -> Result<(&HttpClient, String), IdentityError> {
        Ok(match did.strip_prefix("did:web:") {
            Some(host) => (&self.guarded, web_url(host)?),
            None => (&self.configured, format!("{}/{}", self.plc_url, did.replace('%', "%25"))),
        })
    }

    /// How much longer whoever would be asked wants to be left alone.
    pub(super) fn paused(&self, did: &Did) -> Option<Duration> {
        let (_, url) = self.place(did).ok()?;
        self.throttle.paused(host_of(&url))
    }

    pub(super) async fn resolve(&self, did: &Did) -> Result<DidDoc, IdentityError> {
        let (client, url) = self.place(did)?;
        let permit = self.throttle.acquire_unless_paused(host_of(&url), SHORT_PAUSE).await;
        let permit = permit.map_err(IdentityError::Busy)?;
        let response = client.get(&url, &LIMITS).await?;
        permit.observe(response.status, &response.headers);
        match response.status {
            StatusCode::OK => DidDoc::parse(did, &response.body),
            StatusCode::NOT_FOUND if was_there(&response.body) => Err(IdentityError::Tombstoned),
            StatusCode::NOT_FOUND => Err(IdentityError::NotFound),
            StatusCode::GONE => Err(IdentityError::Tombstoned),
            status @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                // Whoever asks next is told of the pause too.
                let refused = NetError::Status(status.as_u16()).into();
                Err(self.throttle.paused(host_of(&url)).map_or(refused, IdentityError::Busy))
            }
            status => Err(NetError::Status(status.as_u16()).into()),
        }
    }
}

/// The host of a URL, with its port.
pub(super) fn host_of(url: &str) -> &str {
    url.split('/').nth(2).unwrap_or_default()
}

#[derive(Deserialize)]
struct Refusal<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

/// The directory's own server says 404 of a DID that was given up too, and only in words that there was one.
fn was_there(body: &[u8]) -> bool {
    serde_json::from_slice::<Refusal<'_>>(body)
        .is_ok_and(|r| r.message.starts_with("DID not available"))
}

/// The document of did:web: only a host, with its port after `%3A`; atproto has no paths. `localhost` has no TLS.
fn web_url(host: &str) -> Result<String, IdentityError> {
    if host.contains(':') {
        return Err(IdentityError::Unsupported("did:web with a path"));
    }
    let (name, port) = match host.split_once("%3A").or_else(|| host.split_once("%3a")) {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok());
    if name.contains('%') || !port_ok {
        return Err(IdentityError::Unsupported("did:web of a strange host"));
    }
    let scheme = if name == "localhost" { "http" } else { "https" };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{scheme}://{name}{port}/.well-known/did.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_did_web() {
        let table = [
            ("a.example", Some("https://a.example/.well-known/did.json")),
            ("a.example%3A8443", Some("https://a.example:8443/.well-known/did.json")),
            ("localhost%3A2583", Some("http://localhost:2583/.well-known/did.json")),
            ("a.example:user", None),
            ("a.example%2Fx", None),
            ("a.example%3A80%2Fx", None),
            ("user%40a.example", None),
            ("a.example%3A99999", None),
        ];
        for (host, expect) in table {
            assert_eq!(web_url(host).ok().as_deref(), expect, "{host}");
        }
    }
}
