//! Notices that something is missing: what is counted and halved within a day although nothing took it away. A disk that
//! lost a table, a folder that was copied back in part, a mistake of ours.
//!
//! Samples are taken every quarter of an hour and kept for a day, in a small file of the store's folder, since such things
//! happen while nothing runs. What takes away on purpose gives a reason: retention that deleted, a scope that was changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::alerts::Alerts;
use super::clock::ClockState;
use super::retention::Retention;
use crate::private::lines::WholeFile;
use crate::store::Store;
use crate::syntax::datetime::format_ms;

/// How often it is counted.
pub const COUNT_EVERY: Duration = Duration::from_secs(900);
const DAY_MS: i64 = 86_400_000;
/// Of what there are fewer, half of it means nothing.
const ENOUGH: u64 = 10_000;
/// Samples of a day and a bit, and bytes of a file with as many.
const KEPT: usize = 100;
const MOST: u64 = 64 << 10;
const FILE: &str = "counts.json";

/// What is counted, by the keyspace of the status: about as many rows as the engine says, which is near enough for a half.
const COUNTED: [(&str, &str); 4] = [
    ("accounts", "actor_1"),
    ("posts", "post_1"),
    ("other records", "record_1"),
    ("likes, follows and the like", "edge_fwd_2"),
];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sample {
    /// Milliseconds since the epoch.
    at: i64,
    counts: Vec<u64>,
    /// What the last retention deleted when it ended, and when.
    retention: Option<(i64, u64)>,
}

/// Something that halved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fallen {
    /// What is counted.
    pub what: &'static str,
    /// How many there were within the last day.
    pub was: u64,
    /// How many there are.
    pub now: u64,
}

/// What fell, for the status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CountsStatus {
    /// Nothing if all is well.
    pub fallen: Vec<Fallen>,
}

/// Counts now and then.
pub struct Counts {
    store: Store,
    retention: Arc<Retention>,
    clock: Arc<ClockState>,
    alerts: Alerts,
    service: String,
    samples: Mutex<Vec<Sample>>,
    status: Mutex<CountsStatus>,
}

impl Counts {
    /// Of this store, with the samples that its folder has; `service` is who tells the operator.
    #[must_use]
    pub fn new(
        store: Store,
        retention: Arc<Retention>,
        clock: Arc<ClockState>,
        alerts: Alerts,
        service: String,
    ) -> Self {
        let samples = Mutex::new(recall(&store.path().join(FILE)));
        Self { store, retention, clock, alerts, service, samples, status: Mutex::default() }
    }

    /// What fell, as of the last look.
    #[must_use]
    pub fn status(&self) -> CountsStatus {
        self.status.lock().clone()
    }

    /// Counts, and tells of what halved since yesterday. Blocks for a moment.
    pub fn look(&self) {
        // By a clock that is not believed nothing is of today.
        let Ok(at) = self.clock.may_delete() else { return };
        let rows = self.store.approximate_rows();
        let count = |name: &str| {
            rows.iter().find(|(ks, _)| ks.name() == name).map_or(0, |(_, n)| *n as u64)
        };
        let counts = COUNTED.iter().map(|(_, name)| count(name)).collect();
        self.take(Sample { at, counts, retention: self.retention.deleted() });
    }

    fn take(&self, sample: Sample) {
        let mut samples = self.samples.lock();
        samples.retain(|old| (0..=DAY_MS).contains(&(sample.at - old.at)));
        let fallen = fallen(&samples, &sample);
        let at = sample.at;
        samples.push(sample);
        let old = samples.len().saturating_sub(KEPT);
        samples.drain(..old);
        let saved = save(&self.store.path().join(FILE), &samples);
        drop(samples);
        if let Err(error) = saved {
            tracing::warn!(%error, "what was counted is not remembered");
        }
        let was = std::mem::replace(&mut self.status.lock().fallen, fallen.clone());
        let known = |fall: &Fallen| was.iter().any(|old| old.what == fall.what);
        for fall in fallen.iter().filter(|fall| !known(fall)) {
            self.tell(at, fall);
        }
    }

    fn tell(&self, at: i64, fall: &Fallen) {
        let Fallen { what, was, now } = fall;
        let message = format!(
            "of {was} {what} there are {now} a day later, and nothing took them away: stop the server and run `aerie db check`"
        );
        tracing::error!("{message}");
        self.alerts.tell(&json!({
            "event": "counts", "service": self.service, "at": format_ms(at),
            "what": what, "was": was, "now": now, "message": message,
        }));
    }
}

/// What is less than half of what it was in any sample before, unless retention deleted as much meanwhile.
fn fallen(before: &[Sample], now: &Sample) -> Vec<Fallen> {
    let lost = COUNTED.iter().zip(&now.counts).enumerate().filter_map(|(i, ((what, _), now_n))| {
        let of = |sample: &Sample| sample.counts.get(i).copied().unwrap_or(0);
        let most = before.iter().max_by_key(|sample| of(sample))?;
        let (was, lost) = (of(most), of(most).saturating_sub(*now_n));
        // Each run is in several samples.
        let runs = before.iter().chain([now]).filter_map(|sample| sample.retention);
        let runs: BTreeMap<i64, u64> = runs.filter(|(ended, _)| *ended >= most.at).collect();
        let reason: u64 = runs.values().sum();
        let fell = was >= ENOUGH && *now_n < was / 2 && reason < lost / 2;
        fell.then_some(Fallen { what, was, now: *now_n })
    });
    lost.collect()
}

fn recall(file: &Path) -> Vec<Sample> {
    if fs::metadata(file).is_ok_and(|about| about.len() > MOST) {
        return Vec::new();
    }
    let samples = fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    samples.unwrap_or_default()
}

fn save(file: &Path, samples: &[Sample]) -> std::io::Result<()> {
    let mut whole = WholeFile::begin(file)?;
    whole.out().write_all(&serde_json::to_vec(samples)?)?;
    whole.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_750_000_000_000;

    fn sample(at: i64, posts: u64, retention: Option<(i64, u64)>) -> Sample {
        Sample { at, counts: vec![0, posts, 0, 0], retention }
    }

    #[test]
    fn what_halves_without_a_reason_is_named() {
        let before = [sample(NOW - 2000, 90_000, None), sample(NOW - 1000, 100_000, None)];
        let of = |posts, retention| fallen(&before, &sample(NOW, posts, retention));
        assert_eq!(of(49_000, None), [Fallen { what: "posts", was: 100_000, now: 49_000 }]);
        assert_eq!(of(51_000, None), []);
        assert_eq!(of(49_000, Some((NOW - 500, 51_000))), [], "retention took them");
        assert_eq!(of(49_000, Some((NOW - 5000, 51_000))).len(), 1, "that was before");
        assert_eq!(of(49_000, Some((NOW - 500, 100))).len(), 1, "that is not all");
        let two = [before[0].clone(), sample(NOW - 1000, 60_000, Some((NOW - 1500, 30_000)))];
        let now = sample(NOW, 40_000, Some((NOW - 500, 20_000)));
        assert_eq!(fallen(&two, &now), [], "two runs took them");
        assert_eq!(fallen(&[sample(NOW - 1000, 9000, None)], &sample(NOW, 0, None)), [], "too few");
        assert_eq!(fallen(&[], &sample(NOW, 0, None)), []);
    }

    #[test]
    fn what_is_counted_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let names: Vec<_> = store.approximate_rows().into_iter().map(|(ks, _)| ks.name()).collect();
        assert!(COUNTED.iter().all(|(_, name)| names.contains(name)), "{names:?}");
    }

    #[test]
    fn what_was_counted_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        assert_eq!(recall(&file), []);
        let samples: Vec<_> =
            (0..KEPT as i64).map(|n| sample(n, u64::MAX, Some((n, u64::MAX)))).collect();
        save(&file, &samples).unwrap();
        assert_eq!(recall(&file), samples);
        assert!(fs::metadata(&file).unwrap().len() < MOST);
        fs::write(&file, "[{\"at\":").unwrap();
        assert_eq!(recall(&file), []);
    }
}
