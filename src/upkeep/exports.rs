//! A second copy of what the network cannot give back: private state, exported once a day into the store's folder, by
//! itself. It is what `aerie db repair` reads when the first copy is damaged.
//!
//! The day is that of UTC; so it is written soon after midnight, or at the first start of a day. The last seven are kept.
//! While the clock is not believed nothing is written, since a wrong date would push out the right ones.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;

use super::alerts::Alerts;
use super::clock::ClockState;
use crate::private::lines::{ExportError, Written, export};
use crate::store::{Store, free_space};
use crate::syntax::datetime::format_ms;

/// How often it is looked whether it is time.
const EXPORT_EVERY: Duration = Duration::from_secs(60);
/// After a failure, the next try.
const AGAIN: Duration = Duration::from_secs(3600);
/// Files that are kept.
const KEPT: usize = 7;
const FOLDER: &str = "exports";
const BEGIN: &str = "private-";
const END: &str = ".jsonl";

/// What the last export was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExportStatus {
    /// The newest file.
    pub file: Option<PathBuf>,
    /// Files that there are.
    pub files: usize,
    /// Rows of the last one that this process wrote.
    pub rows: Option<u64>,
    /// Why the last try failed, if it did.
    pub error: Option<String>,
}

/// Exports private state day by day.
pub struct Exports {
    store: Store,
    clock: Arc<ClockState>,
    alerts: Alerts,
    service: String,
    status: Mutex<ExportStatus>,
}

/// The exports of the store in this folder, the oldest first.
///
/// # Errors
/// The folder cannot be read; without one there are none.
pub fn exports(store: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(store.join(FOLDER)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if name.strip_prefix(BEGIN).is_some_and(|rest| rest.ends_with(END)) {
            found.push(entry.path());
        }
    }
    // By their dates.
    found.sort_unstable();
    Ok(found)
}

impl Exports {
    /// Of this store; `service` is who tells the operator.
    #[must_use]
    pub fn new(store: Store, clock: Arc<ClockState>, alerts: Alerts, service: String) -> Self {
        Self { store, clock, alerts, service, status: Mutex::default() }
    }

    /// What the last export was.
    #[must_use]
    pub fn status(&self) -> ExportStatus {
        self.status.lock().clone()
    }

    /// Exports if today nothing was exported yet; gives how long to wait.
    pub async fn look(self: &Arc<Self>) -> Duration {
        let this = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || this.today()).await;
        let failed = match done {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(panic.to_string()),
        };
        self.status.lock().error.clone_from(&failed);
        let Some(error) = failed else { return EXPORT_EVERY };
        tracing::error!(%error, "private state cannot be exported");
        self.alerts.tell(&json!({
            "event": "export",
            "service": self.service,
            "at": format_ms(self.clock.now_ms()),
            "message": format!("private state cannot be exported: {error}"),
        }));
        AGAIN
    }

    fn today(&self) -> Result<(), ExportError> {
        let short = free_space(self.store.path()) < self.store.headroom();
        let Some(now) = self.clock.may_delete().ok().filter(|_| !short) else { return Ok(()) };
        let folder = self.store.path().join(FOLDER);
        let failed = |e| ExportError::File(folder.clone(), e);
        let date = format_ms(now);
        let name = format!("{BEGIN}{}{END}", date.get(..10).unwrap_or(&date));
        let file = folder.join(name);
        if !file.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
            let Written { rows, left_out } = export(&self.store.snapshot(), &file, now)?;
            self.status.lock().rows = Some(rows);
            if rows > 0 {
                tracing::info!(rows, file = %file.display(), "private state is exported");
            }
            if left_out > 0 {
                tracing::error!(
                    left_out,
                    "rows of private state were left out: see `aerie db check`"
                );
            }
        }
        let files = exports(self.store.path()).map_err(failed)?;
        let old = files.len().saturating_sub(KEPT);
        for file in files.iter().take(old) {
            fs::remove_file(file).map_err(|e| ExportError::File(file.clone(), e))?;
        }
        let mut status = self.status.lock();
        (status.files, status.file) = (files.len() - old, files.last().cloned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Dialer, HttpClient};
    use crate::private::{Kind, testing};
    use crate::schema::Edit as _;
    use crate::store::{Tx, Writer};
    use crate::threads::Clock;

    const DAY: i64 = 86_400_000;
    const NOW: i64 = 1_750_000_000_000;

    #[tokio::test]
    async fn private_state_is_exported_once_a_day_and_a_week_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let clock = Clock::stopped_at(NOW);
        let believed = ClockState::new(clock.clone());
        let dialer = Dialer::new(true).unwrap();
        let alerts = Alerts::new(None, HttpClient::new(&dialer, "https://a.example"));
        let of = Arc::clone(&believed);
        let exports_of = Arc::new(Exports::new(store.clone(), of, alerts, "did:web:a".to_owned()));
        let names = || {
            let files = exports(dir.path()).unwrap();
            let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
            files.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(exports_of.look().await, EXPORT_EVERY);
        assert_eq!(names(), Vec::<String>::new(), "there is nothing to export");
        let seen = |tx: &mut Tx<'_>| {
            let viewer = tx.intern_actor("did:plc:a")?;
            testing::put(tx, Kind::Seen, viewer, None, NOW)
        };
        writer.durable(seen).await.unwrap();
        for day in 0..10 {
            clock.set(NOW + day * DAY);
            exports_of.look().await;
            exports_of.look().await;
        }
        let dates = [18, 19, 20, 21, 22, 23, 24].map(|d| format!("private-2025-06-{d}.jsonl"));
        assert_eq!(names(), dates);
        let last = fs::read_to_string(dir.path().join("exports").join(&dates[6])).unwrap();
        assert!(last.contains("\"seen\"") && last.ends_with("{\"kind\":\"end\",\"rows\":1}\n"));
        let status = exports_of.status();
        assert_eq!((status.rows, status.files, status.error), (Some(1), 7, None));
        // A wrong year does not push out the right ones.
        clock.set(NOW + 3650 * DAY);
        believed.doubt_for_tests();
        exports_of.look().await;
        assert_eq!(names(), dates);
    }

    #[tokio::test]
    async fn an_export_that_fails_is_told_and_tried_again_later() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        fs::write(dir.path().join(FOLDER), "a file").unwrap();
        let dialer = Dialer::new(true).unwrap();
        let alerts = Alerts::new(None, HttpClient::new(&dialer, "https://a.example"));
        let clock = ClockState::new(Clock::stopped_at(NOW));
        let exports_of = Arc::new(Exports::new(store, clock, alerts, "did:web:a".to_owned()));
        assert_eq!(exports_of.look().await, AGAIN);
        assert!(exports_of.status().error.unwrap().contains("exports"));
    }
}
