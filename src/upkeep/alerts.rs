//! Tells the operator's webhook what needs attention: one POST of JSON for each event, in order, tried again for some
//! minutes. Whoever tells waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::net::{HttpClient, Limits};
use crate::telemetry::counters::Counters;
use crate::threads::Backoff;

static ALERTS: Counters = Counters::new("alerts");

/// Events that wait; further ones are dropped, as they are in the log and in the status too.
const QUEUE: usize = 64;
/// An event is tried again so often.
const RETRIES: u32 = 5;
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), 5, Duration::from_secs(300));
const LIMITS: Limits =
    Limits { max_bytes: 64 << 10, timeout: Duration::from_secs(10), redirects: 0, accept: None };

/// The way to the webhook, if there is one. Cheap to clone.
#[derive(Clone)]
pub struct Alerts(Option<Arc<Webhook>>);

struct Webhook {
    url: String,
    http: HttpClient,
    retry: Backoff,
    queue: flume::Sender<Bytes>,
    events: flume::Receiver<Bytes>,
}

impl Alerts {
    /// `http` is unguarded: the operator named the URL.
    #[must_use]
    pub fn new(url: Option<String>, http: HttpClient) -> Self {
        Self::with(url, http, RETRY)
    }

    fn with(url: Option<String>, http: HttpClient, retry: Backoff) -> Self {
        let (queue, events) = flume::bounded::<Bytes>(QUEUE);
        Self(url.map(|url| Arc::new(Webhook { url, http, retry, queue, events })))
    }

    /// Delivers until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let Some(hook) = &self.0 else { return stop.cancelled().await };
        let work = async {
            // The other end of the queue is in `self`, so it does not close.
            while let Ok(event) = hook.events.recv_async().await {
                let sent = deliver(&hook.http, &hook.url, &event, hook.retry).await;
                ALERTS.inc(if sent { "sent" } else { "failed" });
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Queues an event.
    pub fn tell(&self, event: &Value) {
        if let Some(hook) = &self.0
            && hook.queue.try_send(event.to_string().into()).is_err()
        {
            ALERTS.inc("dropped");
        }
    }
}

async fn deliver(http: &HttpClient, url: &str, event: &Bytes, retry: Backoff) -> bool {
    let json = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
    let mut retries = retry.retries();
    loop {
        let sent = http.post(url, &headers, event.clone(), &LIMITS).await;
        let Err(error) = sent.and_then(crate::net::Response::success) else { return true };
        if retries.failures() >= RETRIES {
            tracing::warn!(%error, "alerts.webhook does not take events");
            return false;
        }
        ALERTS.inc("retried");
        tokio::time::sleep(retries.failed()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;

    use super::*;
    use crate::net::Dialer;
    use crate::net::testing::serve;

    fn every(wait: Duration) -> Backoff {
        Backoff::new(wait, 1, wait)
    }

    fn http() -> HttpClient {
        HttpClient::new(&Dialer::new(false).unwrap().unguarded(), "https://appview.example")
    }

    #[tokio::test]
    async fn an_event_is_tried_again_and_those_behind_it_follow() {
        let asked = Arc::<AtomicU32>::default();
        let (seen, lengths) = (Arc::clone(&asked), flume::unbounded());
        let tell = lengths.0.clone();
        let url = serve(move |request| {
            assert_eq!(request.method(), "POST");
            assert_eq!(request.headers()["content-type"], "application/json");
            let n = seen.fetch_add(1, Ordering::Relaxed);
            let status = if n < 2 { 503 } else { 204 };
            tell.send((status, request.headers()["content-length"].clone())).unwrap();
            http::Response::builder().status(status).body(Vec::new()).unwrap()
        })
        .await;
        let alerts = Alerts::with(Some(url), http(), every(Duration::from_millis(1)));
        let running = alerts.clone();
        tokio::spawn(async move { running.run(CancellationToken::new()).await });
        alerts.tell(&json!(1));
        alerts.tell(&json!(22));
        let mut got = Vec::new();
        while got.len() < 4 {
            let next = tokio::time::timeout(Duration::from_secs(20), lengths.1.recv_async()).await;
            let (status, length) = next.expect("there is a next try").unwrap();
            got.push((status, length.to_str().unwrap().to_owned()));
        }
        let expected = [(503, "1"), (503, "1"), (204, "1"), (204, "2")];
        assert_eq!(got, expected.map(|(status, n)| (status, n.to_owned())));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_webhook_that_is_gone() {
        let url = Some("http://127.0.0.1:9/".to_owned());
        let alerts = Alerts::with(url, http(), every(Duration::from_secs(600)));
        let running = alerts.clone();
        tokio::spawn(async move { running.run(CancellationToken::new()).await });
        (0..10 * QUEUE).for_each(|n| alerts.tell(&json!(n)));
        Alerts::new(None, http()).tell(&json!("to nobody"));
    }
}
