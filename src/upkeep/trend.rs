//! How fast the disk fills, from samples of its free space.
//!
//! Free space is a saw: it falls while tables are written and compacted, and comes back when the old ones go. So of each
//! stretch of time only the lowest sample counts, and the slope is the median of the slopes between any two stretches
//! (Theil and Sen), which a few odd ones do not move.

/// Stretches that are kept.
const KEPT: usize = 64;
/// A stretch at first; the oldest double up when there are too many, so that a young process knows something soon.
const NARROW: u64 = 60;
/// And when it is long enough that the oldest go: two days and a half in all.
const WIDE: u64 = 3600;
/// Stretches, and seconds from first to last, without which nothing is said.
const ENOUGH: (usize, u64) = (8, 1800);
const DAY: f64 = 86_400.0;

/// How fast free space falls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fall {
    /// Bytes that it loses in a day, less than nothing if it grows.
    pub(super) per_day: f64,
    /// For how long that was seen.
    pub(super) seen_days: f64,
}

/// The lowest free space over time.
#[derive(Debug, Clone)]
pub(super) struct Trend {
    width: u64,
    /// Number of the stretch, and its lowest free space in bytes; the last is not over.
    lows: Vec<(u64, u64)>,
}

impl Default for Trend {
    fn default() -> Self {
        Self { width: NARROW, lows: Vec::with_capacity(KEPT + 1) }
    }
}

impl Trend {
    /// Takes a sample at a time in seconds, which must not go back. `true` when a stretch is over, so that there is
    /// something new to say.
    pub(super) fn add(&mut self, at: u64, free: u64) -> bool {
        let number = at / self.width;
        if let Some((last, low)) = self.lows.last_mut()
            && *last >= number
        {
            *low = free.min(*low);
            return false;
        }
        self.lows.push((number, free));
        if self.lows.len() > KEPT {
            self.shorten();
        }
        true
    }

    fn shorten(&mut self) {
        if self.width >= WIDE {
            self.lows.remove(0);
            return;
        }
        self.width *= 2;
        let mut wider: Vec<(u64, u64)> = Vec::with_capacity(KEPT + 1);
        for (number, low) in self.lows.drain(..) {
            match wider.last_mut() {
                Some((last, lowest)) if *last == number / 2 => *lowest = low.min(*lowest),
                _ => wider.push((number / 2, low)),
            }
        }
        self.lows = wider;
    }

    /// How fast free space falls; `None` while too little is known.
    #[must_use]
    pub(super) fn fall(&self) -> Option<Fall> {
        let (_, over) = self.lows.split_last()?;
        let (first, last) = (over.first()?.0, over.last()?.0);
        let seen = (last - first) * self.width;
        if over.len() < ENOUGH.0 || seen < ENOUGH.1 {
            return None;
        }
        let mut slopes = Vec::with_capacity(over.len() * over.len() / 2);
        for (i, (early, before)) in over.iter().enumerate() {
            let later = over.iter().skip(i + 1);
            slopes.extend(later.map(|(late, after)| {
                let seconds = (late - early) * self.width;
                (*before as f64 - *after as f64) / seconds as f64
            }));
        }
        let middle = slopes.len() / 2;
        let (_, median, _) = slopes.select_nth_unstable_by(middle, f64::total_cmp);
        Some(Fall { per_day: *median * DAY, seen_days: seen as f64 / DAY })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: f64 = 1e9;

    /// What is said after so many hours of samples every 20 s.
    fn after(hours: f64, free: impl Fn(f64) -> f64) -> Option<f64> {
        let mut trend = Trend::default();
        let end = (hours * 3600.0) as u64;
        for at in (0..end).step_by(20) {
            trend.add(at, free(at as f64 / 3600.0) as u64);
        }
        trend.fall().map(|fall| fall.per_day / GB)
    }

    /// Name, hours, free space over them, and what is to be said.
    type Row<'a> = (&'a str, f64, &'a dyn Fn(f64) -> f64, Option<std::ops::Range<f64>>);

    #[test]
    fn slope_of_free_space_over_hours() {
        let tooth = |hour: f64, every: f64| hour % every / every;
        let table: &[Row<'_>] = &[
            ("too young", 0.4, &|h| 100.0 * GB - h * GB, None),
            ("steady", 0.6, &|h| 100.0 * GB - h * GB, Some(23.9..24.1)),
            ("steady for a month", 720.0, &|h| 2000.0 * GB - h * GB, Some(23.9..24.1)),
            ("nothing happens", 10.0, &|_| 100.0 * GB, Some(-0.001..0.001)),
            ("it grows", 10.0, &|h| GB + h * GB, Some(-24.1..-23.9)),
            // Compaction takes 5 GB and gives 4.9 back.
            (
                "a saw with teeth of ten minutes",
                6.0,
                &|h| 100.0 * GB - 0.6 * h * GB - 5.0 * GB * tooth(h, 1.0 / 6.0),
                Some(12.0..17.0),
            ),
            (
                "a saw with teeth of six hours",
                60.0,
                &|h| 300.0 * GB - h * GB - 8.0 * GB * tooth(h, 6.0),
                Some(20.0..29.0),
            ),
            // Somebody deleted 80 GB some time ago.
            (
                "one jump",
                60.0,
                &|h| 300.0 * GB - h * GB + if h > 10.0 { 80.0 * GB } else { 0.0 },
                Some(20.0..25.0),
            ),
            // One hour of a compaction that needs 30 GB.
            (
                "one dip",
                30.0,
                &|h| 300.0 * GB - h * GB - if (20.0..21.0).contains(&h) { 30.0 * GB } else { 0.0 },
                Some(23.0..25.0),
            ),
            // A backfill ended twenty hours ago.
            (
                "it became slower",
                80.0,
                &|h| 900.0 * GB - 10.0 * h.min(20.0) * GB - 0.1 * h * GB,
                Some(0.0..10.0),
            ),
        ];
        for (name, hours, free, expected) in table {
            let said = after(*hours, free);
            match (expected, said) {
                (None, None) => {}
                (Some(range), Some(fall)) => assert!(range.contains(&fall), "{name}: {fall}"),
                _ => panic!("{name}: {said:?}"),
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_two_days_are_remembered() {
        let mut trend = Trend::default();
        let over = (0..3_000_000).step_by(30).filter(|at| trend.add(*at, 1)).count();
        assert_eq!((trend.width, trend.lows.len()), (3840, KEPT));
        assert!(over > KEPT);
        assert!(!trend.add(2_999_999, 0));
        assert_eq!(trend.lows.last().unwrap().1, 0);
    }
}
