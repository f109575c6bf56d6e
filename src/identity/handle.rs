//! Finds the DID that a handle claims: a DNS TXT record at `_atproto.`, or `/.well-known/atproto-did`.

use std::time::Duration;

use http::header::HOST;
use http::{HeaderMap, HeaderValue};

use super::IdentityError;
use crate::config::HandleOverride;
use crate::net::{Dialer, HttpClient, Limits, NetError, Response};
use crate::syntax::{Did, Handle};

const LIMITS: Limits =
    Limits { max_bytes: 8 << 10, timeout: Duration::from_secs(5), redirects: 3, accept: None };

/// Top-level domains that never name a host on the internet, <https://atproto.com/specs/handle>.
const NEVER: &[&str] =
    &["alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"];

pub(super) struct HandleResolver {
    pub(super) overrides: Vec<HandleOverride>,
    pub(super) configured: HttpClient,
    pub(super) guarded: HttpClient,
    pub(super) dialer: Dialer,
}

impl HandleResolver {
    pub(super) async fn resolve(&self, handle: &Handle) -> Result<Option<Did>, IdentityError> {
        if let Some(known) = self.override_for(handle) {
            return self.ask_override(known, handle).await;
        }
        if handle.rsplit('.').next().is_none_or(|tld| NEVER.contains(&tld)) {
            return Ok(None);
        }
        let name = format!("_atproto.{handle}");
        let url = format!("https://{handle}/.well-known/atproto-did");
        let dns = self.dialer.txt(&name);
        let web = self.guarded.get(&url, &LIMITS);
        // Both at once; DNS has the last word, so HTTP is dropped when DNS knows.
        tokio::pin!(dns, web);
        let (dns, web) = tokio::select! {
            dns = &mut dns => match dns.as_deref().map(claim) {
                Ok(Some(did)) => return Ok(Did::parse(did).ok()),
                _ => (dns, web.await),
            },
            web = &mut web => (dns.await, web),
        };
        outcome(dns, web)
    }

    fn override_for(&self, handle: &str) -> Option<&HandleOverride> {
        let matching = self.overrides.iter().filter(|o| handle.ends_with(&o.suffix));
        matching.max_by_key(|o| o.suffix.len())
    }

    async fn ask_override(
        &self,
        known: &HandleOverride,
        handle: &Handle,
    ) -> Result<Option<Did>, IdentityError> {
        let url = format!("{}/.well-known/atproto-did", known.url);
        let host = HeaderValue::try_from(handle.as_str());
        let host = host.map_err(|_| NetError::Url(handle.to_string()))?;
        let headers = HeaderMap::from_iter([(HOST, host)]);
        let limits = Limits { redirects: 0, ..LIMITS };
        outcome(Ok(Vec::new()), self.configured.get_with(&url, &headers, &limits).await)
    }
}

/// The one claim among TXT records; two claims are none.
fn claim(records: &[String]) -> Option<&str> {
    let mut claims = records.iter().filter_map(|record| record.strip_prefix("did="));
    claims.next().filter(|_| claims.next().is_none())
}

/// Both answers together. A broken web server is a definite no when DNS has answered; a slow or overloaded one, or a DNS
/// failure, may be better later.
fn outcome(
    dns: Result<Vec<String>, NetError>,
    web: Result<Response, NetError>,
) -> Result<Option<Did>, IdentityError> {
    if let Ok(Some(did)) = dns.as_deref().map(claim) {
        return Ok(Did::parse(did).ok());
    }
    let web = web.and_then(Response::success).map(|response| did_in(&response.body));
    match (dns, web) {
        (_, Ok(Some(did))) => Ok(Some(did)),
        (Ok(_), Err(error @ (NetError::Timeout(_) | NetError::Status(429 | 500..))))
        | (Err(error), _) => Err(error.into()),
        (Ok(_), Ok(None) | Err(_)) => Ok(None),
    }
}

fn did_in(body: &[u8]) -> Option<Did> {
    Did::parse(std::str::from_utf8(body).ok()?.lines().next()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn outcomes() {
        let txt = |records: &[&str]| Ok(records.iter().map(|r| (*r).to_owned()).collect());
        let web = |status: u16, body: &'static str| {
            let status = StatusCode::from_u16(status).unwrap();
            Ok(Response { status, headers: HeaderMap::new(), body: body.into() })
        };
        let servfail = || Err(NetError::Dns("SERVFAIL".into()));
        let table = [
            (txt(&["did=did:plc:a", "v=spf1"]), web(200, "did:plc:b"), Ok(Some("did:plc:a"))),
            (
                txt(&["did=did:plc:a", "did=did:plc:b"]),
                web(200, "did:plc:c\n"),
                Ok(Some("did:plc:c")),
            ),
            (txt(&["did=garbage"]), web(200, "did:plc:b"), Ok(None)),
            (txt(&[]), web(200, " did:plc:b \nmore"), Ok(Some("did:plc:b"))),
            (txt(&[]), web(200, "<html>"), Ok(None)),
            (txt(&[]), web(404, "did:plc:b"), Ok(None)),
            (txt(&[]), web(502, ""), Err("status")),
            (txt(&[]), Err(NetError::Timeout("answer")), Err("timeout")),
            (txt(&[]), Err(NetError::Dns("no such name".into())), Ok(None)),
            (txt(&[]), Err(NetError::Tls("expired".into())), Ok(None)),
            (servfail(), web(200, "did:plc:b"), Ok(Some("did:plc:b"))),
            (servfail(), web(404, ""), Err("dns")),
            (
                Ok(vec!["did=did:plc:a".into()]),
                Err(NetError::Timeout("answer")),
                Ok(Some("did:plc:a")),
            ),
        ];
        for (i, (dns, web, expect)) in table.into_iter().enumerate() {
            let got = outcome(dns, web);
            let got = got.as_ref().map(|did| did.as_deref()).map_err(IdentityError::cause);
            assert_eq!(got, expect, "row {i}");
        }
    }
}
