//! One delivery: the request, and what is written down about its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;

use super::limits::Health;
use super::plan::{Delivery, Destination, FAILED, SUPPRESSED};
use super::retry::{self, DeliveryOutcome};
use super::sender::SenderInner;
use super::transport::Via;
use crate::private::registrations;
use crate::schema::Rows;
use crate::store::{StoreError, Tx};
use crate::syntax::Did;
use crate::telemetry::counters::Counters;
use crate::work::pushes::{self, PushJob};

/// Deliveries that were answered with success.
static SENT: Counters = Counters::new("push.sent");
/// Tries that are repeated, by cause.
static RETRIED: Counters = Counters::new("push.retried");

/// How long push services keep a message for a device that is off, seconds.
const TTL: HeaderValue = HeaderValue::from_static("86400");

impl SenderInner {
    /// Sends one, and writes down what came of it.
    pub(super) async fn deliver(self: Arc<Self>, delivery: Delivery) {
        let Delivery { job, viewer, to, origin, body, id, inside } = delivery;
        let endpoint = matches!(to, Destination::Endpoint);
        let now = self.parts.clock.now_ms();
        let outcome = match self.request(&to, &origin, &body, &id, now) {
            _ if !self.admits(inside).await => DeliveryOutcome::Withheld("community"),
            Some((via, url, headers)) => {
                let sent = self.parts.transport.post(via, &url, &headers, Bytes::from(body));
                retry::outcome(&sent.await, endpoint, self.parts.clock.now_ms())
            }
            None => DeliveryOutcome::Failed("request", None),
        };
        let now = self.parts.clock.now_ms();
        let health = match &outcome {
            DeliveryOutcome::Delivered | DeliveryOutcome::Gone => Health::Well,
            DeliveryOutcome::Refused(_) | DeliveryOutcome::Withheld(_) => Health::Unknown,
            DeliveryOutcome::Failed(_, pause) => Health::Ill(*pause),
        };
        self.limits.lock().lanes.finish(&origin, health, now);
        let again = count(&outcome, &job, endpoint, now);
        let (gone, to, sent) = (outcome == DeliveryOutcome::Gone, job.to, job.clone());
        let private = self.parts.private.clone();
        let change = move |tx: &mut Tx<'_>| {
            pushes::remove(tx, job);
            if let Some(again) = again {
                pushes::put(tx, again)?;
            }
            if gone {
                let plan = |r: &Tx<'_>| {
                    let viewer = r.did(viewer)?;
                    Ok((vec![registrations::unregister(&viewer, &to)], ()))
                };
                private.within(tx, plan)?;
            }
            pushes::advance(tx, now)
        };
        let writer = self.parts.private.writer();
        // Refused when the server stops, and when a row is in the way that does not decode: it is not sent again for that.
        if let Err(error) = writer.durable(change).await
            && matches!(error, StoreError::Corrupt(_) | StoreError::Panicked(_))
        {
            let forget = move |tx: &mut Tx<'_>| {
                pushes::remove(tx, sent);
                Ok(())
            };
            let _ = writer.durable(forget).await;
        }
    }

    /// Whether who has to belong to the community does.
    async fn admits(&self, inside: Option<Arc<str>>) -> bool {
        let Some(did) = inside else { return true };
        match (Did::parse(&did), &self.parts.community) {
            (Ok(did), Some(community)) => community.admits(&did).await,
            _ => false,
        }
    }

    /// Address and headers; `None` if they cannot be made.
    fn request(
        &self,
        to: &Destination,
        origin: &str,
        body: &[u8],
        id: &str,
        now: i64,
    ) -> Option<(Via, String, HeaderMap)> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("idempotency-key"), id.parse().ok()?);
        match to {
            Destination::Endpoint => {
                let (url, _) = self.parts.settings.endpoint.as_ref()?;
                let signature = signature(self.secret.as_ref()?, body, now / 1000);
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert(HeaderName::from_static("aerie-signature"), signature.parse().ok()?);
                Some((Via::Configured, url.clone(), headers))
            }
            Destination::Web(web) => {
                headers.insert(HeaderName::from_static("ttl"), TTL);
                let key = &self.parts.key;
                let vapid = key.authorization(origin, &self.parts.settings.contact, now)?;
                let mut vapid: HeaderValue = vapid.parse().ok()?;
                vapid.set_sensitive(true);
                headers.insert(AUTHORIZATION, vapid);
                let kind = match web.keys {
                    Some(_) => {
                        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
                        "application/octet-stream"
                    }
                    None => "application/json",
                };
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                Some((Via::Guarded, web.endpoint.clone(), headers))
            }
        }
    }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY`.
fn signature(secret: &hmac::Key, body: &[u8], seconds: i64) -> String {
    let mut context = hmac::Context::with_key(secret);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    let tag = data_encoding::HEXLOWER.encode(context.sign().as_ref());
    format!("t={seconds},v1={tag}")
}

/// Counts what became of a try; the job that repeats it, if one does.
fn count(outcome: &DeliveryOutcome, job: &PushJob, endpoint: bool, now: i64) -> Option<PushJob> {
    match outcome {
        DeliveryOutcome::Delivered => SENT.inc(if endpoint { "endpoint" } else { "web" }),
        DeliveryOutcome::Gone => FAILED.inc("gone"),
        DeliveryOutcome::Refused(cause) => FAILED.inc(cause),
        DeliveryOutcome::Withheld(cause) => SUPPRESSED.inc(cause),
        DeliveryOutcome::Failed(cause, pause) => {
            let tries = job.tries.saturating_add(1);
            let due = retry::next(tries, job.born, now, *pause, rand::random());
            match due {
                Some(due) => {
                    RETRIED.inc(cause);
                    return Some(PushJob { due, tries, ..job.clone() });
                }
                None => FAILED.inc(cause),
            }
        }
    }
    None
}
