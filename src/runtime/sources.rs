//! Everything that brings new data: firehoses, labelers, resyncs. Started and stopped together, because the disk
//! may be full; what stopped goes on from its cursor.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::sink::{Applied, ToWriter};
use crate::config::Config;
use crate::ingest::directory::Directory;
use crate::ingest::labels::{Labelers, Setup};
use crate::ingest::{Ingest, Options, StartError, Timing};
use crate::net::Dialer;
use crate::store::meta::CursorOf;
use crate::store::{Store, StoreError};

/// What the sources need.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) dialer: Dialer,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) sink: Arc<ToWriter>,
    pub(super) applied: Arc<Applied>,
}

/// The sources, running or not.
pub(super) struct Sources {
    parts: Parts,
    running: Mutex<Option<Running>>,
}

struct Running {
    ingest: Ingest,
    labelers: Labelers,
}

impl Sources {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, running: Mutex::new(None) }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.lock().is_some()
    }

    /// Starts everything that is configured.
    pub(super) fn start(&self, config: &Config) -> Result<(), StartError> {
        let p = &self.parts;
        let options = Options::from_config(config);
        let snapshot = p.store.snapshot();
        for url in &options.upstreams {
            p.applied.load(&snapshot, CursorOf::Upstream(url.clone()))?;
        }
        for url in &options.jetstream {
            p.applied.load(&snapshot, CursorOf::Jetstream(url.clone()))?;
        }
        let labelers = Labelers::new(Setup {
            dialer: p.dialer.clone(),
            public_url: config.server.public_url.clone(),
            store: p.store.clone(),
            directory: Arc::clone(&p.directory),
            sink: Arc::clone(&p.sink) as _,
            timing: Timing::default(),
        });
        self.set_labelers(&labelers, config)?;
        let ingest = Ingest::start(
            options,
            &p.dialer.unguarded(),
            &p.store,
            Arc::clone(&p.directory),
            Arc::clone(&p.sink) as _,
        )?;
        *self.running.lock() = Some(Running { ingest, labelers });
        Ok(())
    }

    fn set_labelers(&self, labelers: &Labelers, config: &Config) -> Result<(), StoreError> {
        let snapshot = self.parts.store.snapshot();
        for l in &config.labels.labelers {
            self.parts.applied.load(&snapshot, CursorOf::Labeler(l.did.to_string()))?;
        }
        labelers.set(config.labels.labelers.clone())
    }

    /// Applies what a reload may change.
    pub(super) fn reload(&self, config: &Config) -> Result<(), StoreError> {
        match &*self.running.lock() {
            Some(running) => self.set_labelers(&running.labelers, config),
            None => Ok(()),
        }
    }

    /// Stops everything. What was read but not applied is read again later.
    pub(super) async fn stop(&self) {
        let running = self.running.lock().take();
        if let Some(running) = running {
            running.ingest.stop().await;
            running.labelers.stop().await;
        }
    }

    /// Status of the upstreams and of the labelers, and what else is pending.
    pub(super) fn status(&self) -> (Vec<Value>, Vec<Value>, usize) {
        let running = self.running.lock();
        let Some(running) = running.as_ref() else { return (Vec::new(), Vec::new(), 0) };
        let upstreams = running.ingest.status().into_iter().map(|u| {
            let applied = self
                .parts
                .applied
                .get(&CursorOf::Upstream(u.url.clone()))
                .or_else(|| self.parts.applied.get(&CursorOf::Jetstream(u.url.clone())));
            with_seq(&u, applied)
        });
        let labelers = running.labelers.status().into_iter().map(|l| {
            let applied = self.parts.applied.get(&CursorOf::Labeler(l.did.clone()));
            with_seq(&l, applied)
        });
        (upstreams.collect(), labelers.collect(), running.ingest.pending())
    }
}

/// The last sequence number that every read shows, in place of the last that was handed to the writer.
fn with_seq(status: &impl serde::Serialize, applied: Option<i64>) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Value::Object(map) = &mut value {
        map.insert("seq".to_owned(), applied.into());
    }
    value
}
