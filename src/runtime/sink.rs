//! Where ingest, label streams and resyncs meet the writer.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::event::{Body, Event};
use crate::index::{Index, apply_labels};
use crate::ingest::labels::{LabelBatch, LabelSink};
use crate::ingest::{Batch, Pending, Sink, SinkClosed};
use crate::schema::cursors::{self, CursorOf};
use crate::store::{Answer, Snapshot, StoreError, Writer};
use crate::sync::{self, Along, RepoSink};
use crate::syntax::Did;
use crate::telemetry::timing::Timing;

/// Making the changes of one batch of events.
static INDEX: Timing = Timing::new("ingest.stage", "index");
/// From when a batch of events came to the writer until every read shows it.
static VISIBLE: Timing = Timing::new("ingest.stage", "visible");

/// The last cursor of each source whose effects every read shows.
#[derive(Debug, Default)]
pub(super) struct Applied(Mutex<FxHashMap<CursorOf, i64>>);

impl Applied {
    pub(super) fn get(&self, of: &CursorOf) -> Option<i64> {
        self.0.lock().get(of).copied()
    }

    pub(super) fn set(&self, of: CursorOf, seq: i64) {
        self.0.lock().insert(of, seq);
    }

    /// Takes over what an earlier run left.
    pub(super) fn load(&self, snapshot: &Snapshot, of: CursorOf) -> Result<(), StoreError> {
        if let Some(seq) = cursors::cursor(snapshot, &of)? {
            self.set(of, seq);
        }
        Ok(())
    }
}

/// Events into the store.
pub(super) struct ToWriter {
    pub(super) writer: Writer,
    pub(super) index: Arc<Index>,
    pub(super) applied: Arc<Applied>,
    /// Told of accounts whose documents or keys changed.
    pub(super) forget: Arc<dyn Fn(&Did) + Send + Sync>,
}

impl ToWriter {
    /// Tokens of an account that were accepted under its old keys are not accepted again: now, and when what is returned
    /// is called, which is to be done once no read shows the old key any more.
    fn forget_keys(&self, events: &[Event]) -> Option<impl FnOnce() + Send + 'static> {
        let changed = events.iter().filter(|event| {
            matches!(
                event.body,
                Body::Identity(_)
                    | Body::Keyed(_)
                    | Body::NoDocument { .. }
                    | Body::IdentityDue { .. }
            )
        });
        let changed: Vec<Did> = changed.map(|event| event.did.clone()).collect();
        let forget = Arc::clone(&self.forget);
        if changed.is_empty() {
            return None;
        }
        let all = move || changed.iter().for_each(|did| forget(did));
        all();
        Some(all)
    }
}

impl Sink for ToWriter {
    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<(), SinkClosed>> {
        let forget = self.forget_keys(&batch.events);
        let (index, applied) = (Arc::clone(&self.index), Arc::clone(&self.applied));
        let handed_over = Instant::now();
        let job = self.writer.submit(move |tx| {
            let begun = Instant::now();
            index.apply_to_keep(tx, &batch.events)?;
            INDEX.since(begun);
            tx.after_commit(move || VISIBLE.since(handed_over));
            cursors::set_cursor(tx, &batch.cursor, batch.seq);
            if let Some(forget) = forget {
                tx.after_commit(forget);
            }
            tx.after_commit(move || applied.set(batch.cursor, batch.seq));
            Ok(())
        });
        Box::pin(async move { job.await.map_err(|_| SinkClosed) })
    }

    fn apply_aside(
        &self,
        events: Vec<Event>,
        pending: Pending,
    ) -> BoxFuture<'_, Result<(), SinkClosed>> {
        let forget = self.forget_keys(&events);
        let index = Arc::clone(&self.index);
        let job = self.writer.submit(move |tx| {
            index.apply(tx, &events)?;
            if let Some(forget) = forget {
                tx.after_commit(forget);
            }
            tx.after_commit(move || drop(pending));
            Ok(())
        });
        Box::pin(async move { job.await.map_err(|_| SinkClosed) })
    }

    fn gap(&self, of: CursorOf, time: i64) -> BoxFuture<'_, Result<(), SinkClosed>> {
        let job = self.writer.submit(move |tx| cursors::add_gap(tx, &of, time));
        Box::pin(async move { job.await.map_err(|_| SinkClosed) })
    }
}

impl LabelSink for ToWriter {
    fn apply_labels(&self, batch: LabelBatch) -> BoxFuture<'_, Result<(), SinkClosed>> {
        let (index, applied) = (Arc::clone(&self.index), Arc::clone(&self.applied));
        let job = self.writer.submit(move |tx| {
            let cursor = CursorOf::Labeler(batch.labeler.to_string());
            apply_labels(&index, tx, &batch.labels)?;
            cursors::set_cursor(tx, &cursor, batch.seq);
            tx.after_commit(move || applied.set(cursor, batch.seq));
            Ok(())
        });
        Box::pin(async move { job.await.map_err(|_| SinkClosed) })
    }
}

impl RepoSink for ToWriter {
    fn apply_parts(
        &self,
        _did: Did,
        events: Vec<Event>,
    ) -> BoxFuture<'_, Result<(), sync::SinkClosed>> {
        let index = Arc::clone(&self.index);
        let job = self.writer.visible(move |tx| index.apply(tx, &events));
        Box::pin(async move { job.await.map_err(|_| sync::SinkClosed) })
    }
    fn apply_new(
        &self,
        events: Vec<Event>,
        unseen: bool,
        along: Along,
    ) -> Result<Answer<bool>, StoreError> {
        let index = Arc::clone(&self.index);
        self.writer.made_blocking(move |tx| {
            let applied = index.apply_new(tx, &events, unseen)?;
            if applied {
                along(tx)?;
            }
            Ok(applied)
        })
    }
}
