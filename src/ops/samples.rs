//! What each upstream brought in the last day, minute by minute: for the chart of the dashboard, and kept over restarts.
//!
//! # Invariants
//! - A day of minutes of so many upstreams at most, some hundred kilobytes; saved as a whole, so that a file is of one time.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::discovery;

/// Minutes that are kept.
pub const MINUTES: i64 = 24 * 60;
/// Upstreams whose minutes are kept.
const UPSTREAMS: usize = 16;
const MINUTE_MS: i64 = 60_000;
const FILE: &str = "samples.json";
/// Files of another form are begun anew.
const FORM: u32 = 1;

/// What an upstream brought in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Minute {
    /// Since 1970.
    pub minute: i64,
    /// Events a second, the mean.
    pub rate: f32,
    /// The longest lag in seconds; none if nothing was known of it.
    pub lag: Option<f32>,
    /// How often it was looked.
    looks: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    form: u32,
    upstreams: BTreeMap<String, Vec<Minute>>,
}

/// A day of minutes, by the URL of the upstream.
#[derive(Debug, Default)]
pub struct Samples(Mutex<BTreeMap<String, Vec<Minute>>>);

impl Samples {
    /// Reads what was saved in a folder, if that is there.
    pub fn recall(&self, folder: &Path) {
        let saved = std::fs::read(folder.join(FILE)).ok();
        let saved = saved.and_then(|bytes| serde_json::from_slice::<Saved>(&bytes).ok());
        if let Some(saved) = saved.filter(|saved| saved.form == FORM) {
            *self.0.lock() = saved.upstreams;
        }
    }

    /// Saves all of it in a folder.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let saved = Saved { form: FORM, upstreams: self.0.lock().clone() };
        discovery::replace(&folder.join(FILE), &serde_json::to_vec(&saved)?)
    }

    /// What an upstream brings at this time.
    pub fn take(&self, url: &str, rate: f64, lag_ms: Option<i64>, now_ms: i64) {
        let minute = now_ms.div_euclid(MINUTE_MS);
        let mut upstreams = self.0.lock();
        if !upstreams.contains_key(url) {
            // Of those that are gone nothing is left after a day.
            upstreams.retain(|_, minutes| {
                minutes.last().is_some_and(|last| minute - last.minute < MINUTES)
            });
            if upstreams.len() >= UPSTREAMS {
                return;
            }
        }
        let minutes = upstreams.entry(url.to_owned()).or_default();
        // A clock that went back, and what is older than a day.
        minutes.retain(|old| (0..MINUTES).contains(&(minute - old.minute)));
        let (rate, lag) = (rate as f32, lag_ms.map(|lag| (lag.max(0) as f64 / 1000.0) as f32));
        match minutes.last_mut().filter(|last| last.minute == minute) {
            Some(last) => {
                last.looks += 1;
                last.rate += (rate - last.rate) / last.looks as f32;
                last.lag = match (last.lag, lag) {
                    (Some(one), Some(other)) => Some(one.max(other)),
                    (one, other) => one.or(other),
                };
            }
            None => minutes.push(Minute { minute, rate, lag, looks: 1 }),
        }
    }

    /// The minutes of an upstream, oldest first.
    #[must_use]
    pub fn of(&self, url: &str) -> Vec<Minute> {
        self.0.lock().get(url).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_kept_minute_by_minute_and_over_a_restart() {
        let (dir, samples) = (tempfile::tempdir().unwrap(), Samples::default());
        for (rate, lag, at) in
            [(10.0, Some(100), 0), (20.0, Some(3000), 59_999), (5.0, None, 60_000)]
        {
            samples.take("a", rate, lag, at);
        }
        let of = |samples: &Samples| -> Vec<(i64, f32, Option<f32>)> {
            samples.of("a").iter().map(|m| (m.minute, m.rate, m.lag)).collect()
        };
        let expected = vec![(0, 15.0, Some(3.0)), (1, 5.0, None)];
        assert_eq!(of(&samples), expected);
        samples.save(dir.path()).unwrap();
        let again = Samples::default();
        again.recall(dir.path());
        assert_eq!(of(&again), expected);
        again.take("a", 1.0, None, MINUTES * MINUTE_MS);
        assert_eq!(of(&again).len(), 2, "the first is older than a day");
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        Samples::default().recall(dir.path());
    }

    #[test]
    fn there_are_only_so_many() {
        let samples = Samples::default();
        for n in 0..100 {
            samples.take(&n.to_string(), 1.0, None, 0);
        }
        assert_eq!((samples.of("15").len(), samples.of("16").len()), (1, 0));
        samples.take("late", 1.0, None, MINUTES * MINUTE_MS);
        assert_eq!((samples.of("late").len(), samples.of("15").len()), (1, 0));
        for minute in 0..2 * MINUTES {
            samples.take("late", 1.0, None, (MINUTES + minute) * MINUTE_MS);
        }
        assert_eq!(samples.of("late").len() as i64, MINUTES);
    }
}
