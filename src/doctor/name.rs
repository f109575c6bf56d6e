//! The public name, asked as a client would: where it leads, its certificate, the DID document behind it, and whether the
//! proxy in front says who asks.

use std::net::IpAddr;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use url::Url;

use super::{Finding, Patient};
use crate::identity::DidDoc;
use crate::limits::Proxies;
use crate::net::{Limits, is_public};

const LIMITS: Limits = Limits {
    max_bytes: 64 << 10,
    timeout: std::time::Duration::from_secs(10),
    redirects: 0,
    accept: None,
};
/// Days ahead that a certificate is looked at, and with how many left it should have been renewed: those of Let's Encrypt
/// are, with thirty.
const CERTIFICATE_DAYS: u32 = 30;
const RENEWED_BY: u32 = 10;
/// An address that nobody has (RFC 5737), which a proxy must not take over from a client.
const FORGED: &str = "198.51.100.77";

/// Host and port of the public URL, and whether it is reached with TLS.
fn host(patient: &Patient) -> Option<(String, u16, bool)> {
    let url = Url::parse(&patient.config.server.public_url).ok()?;
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?, url.scheme() == "https"))
}

/// Whether the public name means this machine only.
fn at_home(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

pub(super) fn addresses(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    Box::pin(async move {
        let Some((host, ..)) = host(patient) else {
            return vec![Finding::skipped("server.public_url names no host")];
        };
        if at_home(&host) {
            return vec![Finding::warning(
                format!(
                    "server.public_url names this machine only ({host}): nobody else reaches it"
                ),
                "set server.public_url to the name that clients use, for example with `aerie setup`",
            )];
        }
        let found = patient.dialer.lookup(&host).await;
        vec![match found {
            Ok(found) => known(&host, &found),
            Err(error) => Finding::failed(
                format!("{host}: {error}"),
                format!("make an A record (and AAAA) for {host} that has the address of the proxy"),
            ),
        }]
    })
}

fn known(host: &str, found: &[IpAddr]) -> Finding {
    let list: Vec<String> = found.iter().map(ToString::to_string).collect();
    let says = format!("{host} is {}", list.join(", "));
    if found.iter().any(|ip| is_public(*ip)) {
        return Finding::ok(says);
    }
    Finding::warning(
        format!("{says}: only this network reaches it"),
        format!("for the internet, give {host} a public address"),
    )
}

pub(super) fn certificate(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    Box::pin(async move {
        let Some((host, port, tls)) = host(patient) else { return Vec::new() };
        if !tls {
            return vec![if at_home(&host) {
                Finding::skipped("server.public_url has no TLS")
            } else {
                Finding::warning(
                    "server.public_url has no TLS: other servers do not call it, and tokens can be read on their way",
                    "put Caddy or nginx in front (README, \"Install\") and set an https URL",
                )
            }];
        }
        let days = patient.dialer.certificate_days(&host, port, CERTIFICATE_DAYS).await;
        vec![match days {
            Ok(CERTIFICATE_DAYS..) => {
                Finding::ok(format!("its certificate is good for {CERTIFICATE_DAYS} days at least"))
            }
            Ok(days @ RENEWED_BY..) => {
                Finding::ok(format!("its certificate is good for {days} days"))
            }
            Ok(days) => Finding::warning(
                format!("its certificate ends within {} days", days + 1),
                "the proxy should have renewed it: look into its log",
            ),
            Err(error) => Finding::failed(
                format!("{host}:{port}: {error}"),
                "is the proxy running, is port 443 open, and is the certificate of this name? With an authority of your \
                 own: --ca FILE",
            ),
        }]
    })
}

pub(super) fn document(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    Box::pin(async move {
        let did = &patient.config.server.did;
        if !did.as_str().starts_with("did:web:") {
            return vec![Finding::skipped(format!("{did} is published elsewhere"))];
        }
        let public_url = &patient.config.server.public_url;
        let url = format!("{public_url}/.well-known/did.json");
        let answer = patient.http.get(&url, &LIMITS).await;
        let document = match answer.and_then(crate::net::Response::success) {
            Ok(answer) => DidDoc::parse(did, &answer.body).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let fix = "is the server running, and does the proxy pass every path on to server.listen?";
        vec![match document {
            Err(why) => Finding::failed(format!("{url}: {why}: no PDS finds this service"), fix),
            Ok(document) => match document.service("bsky_appview", "BskyAppView") {
                Some(endpoint) if endpoint == public_url => {
                    Finding::ok(format!("{did} leads to {public_url}"))
                }
                Some(endpoint) => Finding::failed(
                    format!("{did} leads to {endpoint}, not to {public_url}"),
                    "another server answers under this name, or the running one has an older configuration: restart it",
                ),
                None => Finding::failed(format!("{did} is no AppView"), fix),
            },
        }]
    })
}

pub(super) fn proxy(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    Box::pin(async move {
        let public_url = &patient.config.server.public_url;
        let Some((host, _, tls)) = host(patient) else { return Vec::new() };
        let Some(instance) = patient.status().and_then(|status| status.get("instance")?.as_str())
        else {
            return vec![Finding::skipped("the server does not run")];
        };
        let plain = match ask(patient, &HeaderMap::new()).await {
            Ok(plain) => plain,
            Err(why) => {
                let says = format!("{public_url}/whoami: {why}");
                let fix = "does the proxy pass every path on to server.listen?";
                return vec![Finding::failed(says, fix)];
            }
        };
        let name = HeaderValue::from_static(FORGED);
        let header = http::HeaderName::from_static("x-forwarded-for");
        let forged = ask(patient, &HeaderMap::from_iter([(header, name)])).await;
        let local = patient.dialer.lookup(&host).await.unwrap_or_default();
        let proxies = Proxies::new(patient.config.server.trusted_proxies.clone());
        // Whoever asks from where proxies are is believed himself: then what he makes up comes through, and rightly so.
        let trusted = local.iter().all(|ip| proxies.has(*ip));
        vec![judge(&plain, forged.as_ref().ok(), instance, tls, trusted)]
    })
}

async fn ask(patient: &Patient, headers: &HeaderMap) -> Result<Value, String> {
    let url = format!("{}/whoami", patient.config.server.public_url);
    let answer = patient.http.get_with(&url, headers, &LIMITS).await;
    let answer =
        answer.and_then(crate::net::Response::success).map_err(|error| error.to_string())?;
    serde_json::from_slice(&answer.body).map_err(|_| "not an answer of aerie".to_owned())
}

/// What two answers of `/whoami` say of the proxy. `forged` is to a call that made an address up, `asks_from_a_proxy` says
/// that calls from this machine are believed in any case.
fn judge(
    plain: &Value,
    forged: Option<&Value>,
    instance: &str,
    tls: bool,
    asks_from_a_proxy: bool,
) -> Finding {
    let text =
        |of: &Value, key: &str| of.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    if text(plain, "instance") != instance {
        return Finding::failed(
            "another server than the one of this configuration answers under the public name",
            "point the name and the proxy at this machine, or name the right configuration with --config",
        );
    }
    let client = text(plain, "client");
    match text(plain, "forwarded").as_str() {
        "ignored" => Finding::failed(
            format!(
                "the proxy calls from {client}, which is not in server.trusted_proxies: all its clients count as one"
            ),
            format!("add \"{client}\" to server.trusted_proxies and restart"),
        ),
        "none" if !tls => Finding::ok(format!("clients reach it without a proxy, as {client}")),
        "none" => Finding::failed(
            format!("the proxy does not say who asks: all its clients count as {client}"),
            "have it send X-Forwarded-For: Caddy does by itself, nginx with `proxy_set_header X-Forwarded-For \
             $proxy_add_x_forwarded_for`",
        ),
        _ => {
            let taken = forged.is_some_and(|forged| text(forged, "client") == FORGED);
            if taken && !asks_from_a_proxy {
                return Finding::failed(
                    "the proxy takes an X-Forwarded-For of clients over: whoever makes one up has no limit",
                    "have it append the address that calls (nginx: $proxy_add_x_forwarded_for), or write it anew",
                );
            }
            Finding::ok(format!("clients are told apart: this machine comes through as {client}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::State;

    #[test]
    fn a_proxy_that_hides_clients_or_lets_them_lie_is_found() {
        let answer = |client: &str, forwarded: &str| json!({"instance": "i", "client": client, "forwarded": forwarded});
        let good = answer("203.0.113.9", "believed");
        let lied = answer(FORGED, "believed");
        for (plain, forged, instance, tls, from_proxy, state, says) in [
            (&good, Some(&good), "i", true, false, State::Ok, "told apart"),
            (&good, Some(&good), "other", true, false, State::Failed, "another server"),
            (&good, Some(&lied), "i", true, false, State::Failed, "makes one up"),
            (&good, Some(&lied), "i", true, true, State::Ok, "told apart"),
            (
                &answer("10.0.0.5", "ignored"),
                None,
                "i",
                true,
                false,
                State::Failed,
                "trusted_proxies",
            ),
            (
                &answer("this machine", "none"),
                None,
                "i",
                true,
                false,
                State::Failed,
                "does not say who",
            ),
            (
                &answer("this machine", "none"),
                None,
                "i",
                false,
                false,
                State::Ok,
                "without a proxy",
            ),
        ] {
            let found = judge(plain, forged, instance, tls, from_proxy);
            assert_eq!(found.state, state, "{}", found.says);
            assert!(found.says.contains(says), "{} is not {says}", found.says);
        }
    }

    #[test]
    fn a_name_that_leads_nowhere_public_is_said() {
        let of = |ips: &[&str]| {
            let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
            known("a.example", &ips).state
        };
        assert_eq!(of(&["127.0.0.1"]), State::Warning);
        assert_eq!(of(&["10.0.0.1", "9.9.9.9"]), State::Ok);
        assert!(at_home("localhost") && at_home("a.localhost") && !at_home("localhost.example"));
    }
}
