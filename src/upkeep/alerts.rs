//! Tells the operator's webhook what needs attention: one POST of JSON for each event, in order, tried again for some
//! minutes. Whoever tells waits for nothing.

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

/// The way to the webhook, if there is one.
pub struct Alerts(Option<flume::Sender<Bytes>>);

impl Alerts {
    /// `http` is unguarded: the operator named the URL. Needs a tokio runtime.
    #[must_use]
    pub fn start(url: Option<String>, http: HttpClient, stop: CancellationToken) -> Self {
        Self::with(url, http, stop, RETRY)
    }

    fn with(
        url: Option<String>,
        http: HttpClient,
        stop: CancellationToken,
        retry: Backoff,
    ) -> Self {
        Self(url.map(|url| {
            let (queue, events) = flume::bounded::<Bytes>(QUEUE);
            tokio::spawn(stop.run_until_cancelled_owned(async move {
                while let Ok(event) = events.recv_async().await {
                    let sent = deliver(&http, &url, &event, retry).await;
                    ALERTS.inc(if sent { "sent" } else { "failed" });
                }
            }));
            queue
        }))
    }

    /// Queues an event.
    pub fn tell(&self, event: &Value) {
        if let Some(queue) = &self.0
            && queue.try_send(event.to_string().into()).is_err()
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
    use std::sync::Arc;
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
        let stop = CancellationToken::new();
        let alerts = Alerts::with(Some(url), http(), stop, every(Duration::from_millis(1)));
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
        let stop = CancellationToken::new();
        let url = Some("http://127.0.0.1:9/".to_owned());
        let alerts = Alerts::with(url, http(), stop, every(Duration::from_secs(600)));
        (0..10 * QUEUE).for_each(|n| alerts.tell(&json!(n)));
        Alerts::start(None, http(), CancellationToken::new()).tell(&json!("to nobody"));
    }
}
