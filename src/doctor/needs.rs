//! Whom the server needs: upstreams, the directory, labelers, and somebody who tells the time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use http::HeaderMap;
use serde_json::Value;

use super::{Finding, Patient};
use crate::event::frame::{Frame, MAX_FRAME_LEN};
use crate::identity::{Freshness, Identity};
use crate::net::{Limits, Message, WsStream};
use crate::threads::Clock;
use crate::upkeep::{http_date, time_servers};

/// An upstream that speaks all the time says something within it.
const FIRST_FRAME: Duration = Duration::from_secs(10);
const LIMITS: Limits =
    Limits { max_bytes: 1 << 20, timeout: Duration::from_secs(10), redirects: 2, accept: None };
/// Clocks that are right are not further apart.
const APART_MS: u64 = 30_000;
/// Ingest refuses what is from so far in the future, by a clock that is behind.
const WRONG_MS: u64 = 5 * 60_000;

pub(super) fn clock(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    Box::pin(async move {
        let asks = time_servers(&patient.config).into_iter().map(|url| async move {
            let answer = patient.http.get_with(&url, &HeaderMap::new(), &LIMITS).await.ok()?;
            Some(http_date(&answer.headers)?.saturating_sub(Clock::system().now_ms()))
        });
        let mut offsets: Vec<i64> = join_all(asks).await.into_iter().flatten().collect();
        offsets.sort_unstable();
        let doubted = patient.status().and_then(|status| status.get("clock"));
        let doubted =
            doubted.filter(|clock| clock.get("state").and_then(Value::as_str) != Some("good"));
        let advice = doubted.and_then(|clock| clock.get("advice")?.as_str().map(str::to_owned));
        vec![told(offsets.get(offsets.len() / 2).copied(), offsets.len(), advice)]
    })
}

/// `ahead` is by how much others are, in milliseconds.
fn told(ahead: Option<i64>, voices: usize, doubted: Option<String>) -> Finding {
    const SET: &str = "timedatectl set-ntp true, or set it by hand";
    if let Some(advice) = doubted {
        return Finding::failed(format!("the server does not believe the clock: {advice}"), SET);
    }
    let Some(ahead) = ahead else { return Finding::skipped("nobody tells the time") };
    let says = format!("{} s apart from {voices} servers", ahead.unsigned_abs() / 1000);
    match ahead.unsigned_abs() {
        0..APART_MS => Finding::ok(says),
        APART_MS..WRONG_MS => Finding::warning(says, SET),
        _ => Finding::failed(says, SET),
    }
}

pub(super) fn upstreams(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    Box::pin(async move {
        let running = patient.status().and_then(|status| status.get("upstreams")?.as_array());
        if let Some(upstreams) = running {
            return match upstreams.as_slice() {
                [] => vec![none()],
                all => all.iter().map(followed).collect(),
            };
        }
        let network = &patient.config.network;
        let relays = network
            .upstreams
            .iter()
            .map(|url| (url, "/xrpc/com.atproto.sync.subscribeRepos", true));
        let jetstreams = network.jetstream.iter().map(|url| (url, "/subscribe", false));
        let asked = relays
            .chain(jetstreams)
            .map(|(url, path, frames)| async move { heard(patient, url, path, frames).await });
        let found = join_all(asked).await;
        if found.is_empty() { vec![none()] } else { found }
    })
}

fn none() -> Finding {
    Finding::warning(
        "the configuration names no upstream: nothing new comes in",
        "set network.upstreams, for example to [\"wss://bsky.network\"]",
    )
}

/// What the running server says of one.
fn followed(upstream: &Value) -> Finding {
    let text = |key| upstream.get(key).and_then(Value::as_str);
    let url = text("url").unwrap_or("?");
    let error = text("last_error").map_or_else(String::new, |error| format!(" ({error})"));
    let lag = upstream.get("lag_ms").and_then(Value::as_i64).unwrap_or(0) / 1000;
    match (upstream.get("connected") == Some(&Value::Bool(true)), text("trouble")) {
        (true, None) => Finding::ok(format!("{url}: connected, {lag} s behind")),
        (false, None) => Finding::warning(format!("{url}: not connected{error}"), AGAIN),
        (_, Some(trouble)) => Finding::failed(format!("{url}: {trouble}{error}"), AGAIN),
    }
}

const AGAIN: &str = "it is tried again by itself and nothing is lost; if its name or network is wrong, correct network.upstreams";

/// Listens to one for a moment, as the server would.
async fn heard(patient: &Patient, url: &str, path: &str, frames: bool) -> Finding {
    let base = url.trim_end_matches('/');
    // Jetstreams are named with or without their path.
    let url = if base.ends_with(path) { base.to_owned() } else { format!("{base}{path}") };
    let us = &patient.config.server.public_url;
    let link = Arc::default();
    let mut stream = match WsStream::connect(&patient.dialer, &url, us, MAX_FRAME_LEN, link).await {
        Ok(stream) => stream,
        Err(error) => {
            let fix = "is the URL right, and may this machine connect out?";
            return Finding::failed(format!("{url}: {error}"), fix);
        }
    };
    let first = async {
        loop {
            match stream.next().await {
                Ok(Message::Alive) => {}
                Ok(Message::Binary(data)) if frames => {
                    let frame = Frame::decode(data).map_err(|error| error.cause.cause().to_owned());
                    return frame.map(|_| ());
                }
                Ok(Message::Binary(_) | Message::Text(_)) => return Ok(()),
                Ok(Message::Closed(_, why)) => return Err(format!("it closed: {why}")),
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    match tokio::time::timeout(FIRST_FRAME, first).await {
        Ok(Ok(())) => Finding::ok(format!("{url}: it speaks")),
        Ok(Err(why)) => Finding::failed(format!("{url}: {why}"), "is it a relay or a PDS?"),
        // A small PDS may be silent for days.
        Err(_) => Finding::ok(format!("{url}: it takes connections, and is silent")),
    }
}

pub(super) fn directory(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    Box::pin(async move {
        let base = patient.config.network.plc_url.trim_end_matches('/');
        let url = format!("{base}/_health");
        let answer = patient.http.get(&url, &LIMITS).await;
        vec![match answer.and_then(crate::net::Response::success) {
            Ok(_) => Finding::ok(format!("{base} answers")),
            Err(error) => Finding::failed(
                format!("{url}: {error}: no new account can be taken in or sign in"),
                "is network.plc_url right, and may this machine connect out?",
            ),
        }]
    })
}

pub(super) fn labelers(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    Box::pin(async move {
        let running = patient.status().and_then(|status| status.get("labelers")?.as_array());
        if let Some(labelers) = running {
            return match labelers.as_slice() {
                [] => vec![Finding::ok("none is followed")],
                all => all.iter().map(labeler).collect(),
            };
        }
        let network = &patient.config.network;
        let us = &patient.config.server.public_url;
        let identity = Identity::new(network, &patient.dialer, us, 64);
        let asked = patient.config.labels.labelers.iter().map(|labeler| {
            let identity = identity.clone();
            async move {
                let did = &labeler.did;
                if labeler.url.is_some() && labeler.signing_key.is_some() {
                    return Finding::ok(format!("{did}: its URL and key are in the configuration"));
                }
                let fix = "is its DID in labels.labelers right?";
                match identity.resolve_did(did, Freshness::Fresh).await {
                    Ok(document) => match document.labeler().or(labeler.url.as_deref()) {
                        Some(url) => Finding::ok(format!("{did}: {url}")),
                        None => Finding::failed(format!("{did} is no labeler"), fix),
                    },
                    Err(error) => Finding::failed(format!("{did}: {error}"), fix),
                }
            }
        });
        let found = join_all(asked).await;
        if found.is_empty() { vec![Finding::ok("none is followed")] } else { found }
    })
}

fn labeler(of: &Value) -> Finding {
    let text = |key| of.get(key).and_then(Value::as_str);
    let did = text("did").unwrap_or("?");
    match of.get("connected") == Some(&Value::Bool(true)) {
        true => Finding::ok(format!("{did}: connected")),
        false => Finding::warning(
            format!("{did}: not connected ({})", text("last_error").unwrap_or("not yet")),
            "it is tried again by itself; if it moved or is gone, correct labels.labelers",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::State;

    #[test]
    fn the_clock_is_judged_by_others_and_by_the_server() {
        let of = |ahead: Option<i64>, doubted: Option<&str>| {
            told(ahead, 3, doubted.map(str::to_owned)).state
        };
        assert_eq!(of(None, None), State::Skipped);
        assert_eq!(of(Some(-2000), None), State::Ok);
        assert_eq!(of(Some(40_000), None), State::Warning);
        assert_eq!(of(Some(-400_000), None), State::Failed);
        assert_eq!(of(Some(0), Some("it leapt")), State::Failed);
    }

    #[test]
    fn an_upstream_is_as_the_server_says() {
        let of = |of: &Value| followed(of).state;
        assert_eq!(of(&json!({"url": "wss://r", "connected": true})), State::Ok);
        assert_eq!(of(&json!({"url": "wss://r", "connected": false})), State::Warning);
        let silent =
            json!({"url": "wss://r", "connected": true, "trouble": "silent", "last_error": "x"});
        assert_eq!(followed(&silent).says, "wss://r: silent (x)");
        assert_eq!(labeler(&json!({"did": "did:web:l", "connected": false})).state, State::Warning);
    }
}
