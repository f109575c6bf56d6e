//! Puts new notifications into the outbox of `push`, in the batch that writes them.
//!
//! Only what has just happened is pushed: rows of old records, as a backfill or a late parent brings them, are not,
//! and rows that were there before the batch are not again. A notification that is taken back while it waits is not
//! looked for here: whoever sends looks whether its row is still there.

use std::sync::atomic::{AtomicI64, Ordering};

use super::Index;
use crate::private::registrations;
use crate::schema::rows::NotifRow;
use crate::schema::{ActorId, Edit};
use crate::store::{StoreError, Tx};
use crate::work::pushes;

/// A record older than this when it comes is no news.
const MAX_AGE_MS: i64 = 60 * 60 * 1000;

/// Whom to push to, and when.
pub(super) struct PushRules {
    /// There is an operator's endpoint, which gets the notifications of all members.
    endpoint: bool,
    /// Milliseconds from the event to the push.
    delay: i64,
    /// When the event that is being applied was received. Events are applied one after the other.
    received: AtomicI64,
    nudge: flume::Sender<()>,
}

impl PushRules {
    pub(super) fn new(nudge: flume::Sender<()>) -> Self {
        Self { endpoint: false, delay: 0, received: AtomicI64::new(i64::MAX), nudge }
    }

    pub(super) fn event_at(&self, received: i64) {
        self.received.store(received, Ordering::Relaxed);
    }
}

impl Index {
    /// Pushes every member's notifications to the operator's `endpoint` if there is one, and those of members with
    /// registrations to these, `delay` milliseconds after they come.
    #[must_use]
    pub fn pushing(mut self, endpoint: bool, delay: i64) -> Self {
        self.push.endpoint = endpoint;
        self.push.delay = delay;
        self
    }
}

/// A row was written for a member.
pub(super) fn notified(
    index: &Index,
    tx: &mut Tx<'_>,
    to: ActorId,
    row: &NotifRow,
) -> Result<(), StoreError> {
    let rules = &index.push;
    let received = rules.received.load(Ordering::Relaxed);
    if received.saturating_sub(row.sort) > MAX_AGE_MS || tx.had_notification(to, row)? {
        return Ok(());
    }
    let registered = registrations::all(tx, to)?;
    let web = registered.iter().filter(|r| r.web_push().is_some()).map(|r| r.id());
    let mut queued = false;
    for to_id in rules.endpoint.then_some(pushes::ENDPOINT).into_iter().chain(web) {
        pushes::put(
            tx,
            pushes::PushJob::new(received.saturating_add(rules.delay), to_id, to, row),
        )?;
        queued = true;
    }
    if queued {
        let nudge = rules.nudge.clone();
        // Full: somebody will look anyway.
        tx.after_commit(move || {
            let _ = nudge.try_send(());
        });
    }
    Ok(())
}
