//! What to do with the jobs that are due.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::limits::Admit;
use super::message::PushMessage;
use super::rules::{self, PushVerdict};
use super::sender::SenderInner;
use super::{retry, webpush};
use crate::hydrate::{HydrateCtx, Hydrator, NotifRow};
use crate::private::registrations::{self, WebPush};
use crate::schema::{ActorId, Rows};
use crate::store::{Snapshot, StoreError};
use crate::telemetry::counters::Counters;
use crate::work::outbox::Damaged;
use crate::work::pushes::{self, ENDPOINT, PushJob};

/// Notifications that rules kept back, by cause.
pub(super) static SUPPRESSED: Counters = Counters::new("push.suppressed");
/// Notifications that were given up, by cause.
pub(super) static FAILED: Counters = Counters::new("push.failed");

/// Jobs read in one pass.
const BATCH: usize = 512;
/// How long jobs of a busy destination are put off when they stand in the way of others; more for each.
const BUSY_MS: i64 = 1000;
const BUSY_STEP_MS: i64 = 25;
/// How far jobs are counted.
const MAX_COUNT: usize = 100_000;

/// Where a job goes.
#[derive(Debug)]
pub(super) enum Destination {
    Endpoint,
    Web(WebPush),
}

impl Destination {
    /// What requests are held together by.
    fn origin(&self) -> String {
        match self {
            Self::Endpoint => "endpoint".to_owned(),
            Self::Web(web) => web.origin(),
        }
    }
}

/// A message that is ready to be sent.
pub(super) struct Delivery {
    pub(super) job: PushJob,
    pub(super) viewer: ActorId,
    pub(super) to: Destination,
    pub(super) origin: Arc<str>,
    pub(super) body: Vec<u8>,
    pub(super) id: String,
    /// Who has to belong to the community to get it.
    pub(super) inside: Option<Arc<str>>,
}

/// What a pass decided.
#[derive(Default)]
pub(super) struct SendPlan {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) dropped: Vec<PushJob>,
    pub(super) damaged: Vec<Damaged>,
    pub(super) put_off: Vec<(PushJob, i64)>,
    /// When to look again.
    pub(super) next: Option<i64>,
    /// Jobs in the outbox, if they were counted.
    pub(super) waiting: Option<usize>,
}

/// About one job.
enum Decision {
    Start(Box<Delivery>),
    Suppress(&'static str),
    Fail(&'static str),
    Closed(i64),
    Busy,
}

impl SenderInner {
    /// Reads what is due and decides about each job but those in `held`; starts at most `room`. Blocks on the store.
    pub(super) fn plan(
        &self,
        now: i64,
        room: usize,
        held: &FxHashSet<PushJob>,
        count: bool,
    ) -> Result<SendPlan, StoreError> {
        let s = self.parts.store.snapshot();
        let due = pushes::due(&s, now, BATCH)?;
        let full = due.items.len() + due.damaged.len() >= BATCH;
        let mut plan = SendPlan { next: due.next, damaged: due.damaged, ..SendPlan::default() };
        FAILED.add("damaged", plan.damaged.len() as u64);
        if !due.items.is_empty() {
            let ctx = self.context(&s, now)?;
            let mut later = 0;
            for job in due.items.into_iter().filter(|job| !held.contains(job)) {
                if plan.deliveries.len() >= room {
                    // A delivery that ends makes room, and a new pass.
                    plan.next = None;
                    break;
                }
                later += BUSY_STEP_MS;
                match self.decide(&s, &ctx, &job)? {
                    Decision::Start(delivery) => plan.deliveries.push(*delivery),
                    Decision::Suppress(cause) => {
                        SUPPRESSED.inc(cause);
                        plan.dropped.push(job);
                    }
                    Decision::Fail(cause) => {
                        FAILED.inc(cause);
                        plan.dropped.push(job);
                    }
                    Decision::Closed(until) => plan.put_off.push((job, until + later)),
                    // Left where it is, unless others wait behind it.
                    Decision::Busy if full => plan.put_off.push((job, now + BUSY_MS + later)),
                    Decision::Busy => {}
                }
            }
        }
        if count {
            plan.waiting = Some(
                pushes::count(&s, MAX_COUNT)?
                    .saturating_sub(plan.dropped.len() + plan.damaged.len()),
            );
        } else if plan.next.is_none() && plan.deliveries.is_empty() && held.is_empty() {
            plan.waiting = Some(0);
        }
        Ok(plan)
    }

    /// For every recipient, but for who it is.
    fn context(&self, s: &Snapshot, now: i64) -> Result<HydrateCtx, StoreError> {
        let mut labelers = Vec::new();
        for did in (self.parts.labelers)() {
            labelers.extend(s.actor_id(did.as_str())?.map(|id| (id, true)));
        }
        let labelers = labelers.into_iter().collect();
        // Whether the recipient belongs to it is asked when the message goes out.
        let community = self.parts.community.is_some();
        Ok(HydrateCtx { signed_in: true, labelers, community, now, ..HydrateCtx::default() })
    }

    fn decide(
        &self,
        s: &Snapshot,
        ctx: &HydrateCtx,
        job: &PushJob,
    ) -> Result<Decision, StoreError> {
        let now = ctx.now;
        let Some((viewer, to)) = self.destination(s, job)? else {
            return Ok(Decision::Suppress("unregistered"));
        };
        if now.saturating_sub(job.born) > retry::GIVE_UP_MS {
            return Ok(Decision::Fail("expired"));
        }
        let origin = to.origin();
        match self.limits.lock().lanes.admit(&origin, now) {
            Admit::Yes => {}
            Admit::Closed(until) => return Ok(Decision::Closed(until)),
            Admit::Busy => return Ok(Decision::Busy),
        }
        let ctx = HydrateCtx { viewer: Some(viewer), ..ctx.clone() };
        let h = Hydrator { snapshot: s, ctx: &ctx, shared: &self.parts.hydration };
        let message = match rules::judge(&h, viewer, &job.notif)? {
            PushVerdict::Push(message) => message,
            PushVerdict::Suppress(cause) => return Ok(Decision::Suppress(cause)),
        };
        let inside = match message.of_community {
            true => Some(s.did(viewer)?),
            false => None,
        };
        let body = match self.body(s, viewer, &to, &message)? {
            Ok(body) => body,
            Err(cause) => return Ok(Decision::Fail(cause)),
        };
        let mut limits = self.limits.lock();
        let per_minute = self.parts.settings.per_minute;
        if job.tries == 0 && !limits.caps.take((viewer, job.to), per_minute, now) {
            return Ok(Decision::Suppress("recipient-limit"));
        }
        limits.lanes.start(&origin);
        let (job, origin, id) = (job.clone(), origin.into(), message.id);
        Ok(Decision::Start(Box::new(Delivery { job, viewer, to, origin, body, id, inside })))
    }

    /// Whose job it is and where it goes; `None` if there is no such destination any more.
    fn destination(
        &self,
        s: &Snapshot,
        job: &PushJob,
    ) -> Result<Option<(ActorId, Destination)>, StoreError> {
        let Some((viewer, _)) = NotifRow::decode(&job.notif, &[]) else { return Ok(None) };
        if job.to == ENDPOINT {
            let configured = self.parts.settings.endpoint.is_some();
            return Ok(configured.then_some((viewer, Destination::Endpoint)));
        }
        let held = registrations::get(s, viewer, &job.to)?;
        Ok(held.and_then(|r| r.web_push()).map(|web| (viewer, Destination::Web(web))))
    }

    /// What is sent, encrypted if it is to be; or why it cannot be.
    fn body(
        &self,
        s: &Snapshot,
        viewer: ActorId,
        to: &Destination,
        message: &PushMessage,
    ) -> Result<Result<Vec<u8>, &'static str>, StoreError> {
        let web = match to {
            Destination::Endpoint => {
                let mut devices = registrations::all(s, viewer)?;
                // Those are served from here.
                devices.retain(|r| r.web_push().is_none());
                return Ok(Ok(message.to_endpoint(&devices)));
            }
            Destination::Web(web) => web,
        };
        let Some(plain) = message.to_device(webpush::MAX_PLAINTEXT) else {
            return Ok(Err("too-long"));
        };
        Ok(match &web.keys {
            Some(keys) => webpush::encrypt(keys, &plain).map_err(|_| "unusable-key"),
            None => Ok(plain),
        })
    }
}
