//! How many usually write of a topic at an hour of the day, so that what comes every day is no news.
//!
//! At the end of each hour, those who wrote of each topic within the window are compared with what was usual at that hour:
//! what is more counts half at once, what is less is forgotten over 14 days. How much is written of everything is kept in
//! the same way.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::suggest::real;

/// Days after which what was is as good as forgotten.
const DAYS: f64 = 14.0;
/// Parts of an author that are counted.
const PART: f64 = 16.0;
/// Fewer authors are not remembered.
const FEWEST: usize = 3;
/// Hours after which something is known of pairs of words, some of which are in every third text.
const HOURS: usize = 3;
/// How much more everything may be that a topic has to be more, too.
const MORE: f64 = 4.0;
/// What a topic takes.
const TOPIC_BYTES: usize = 72;

type Day = [u16; 24];

/// What is usual.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Usual {
    #[serde(serialize_with = "write_pairs", deserialize_with = "read_pairs")]
    topics: FxHashMap<u64, Day>,
    /// Authors of all topics together, and whether the hour was seen.
    all: [f64; 24],
    seen: [bool; 24],
    /// The last hour that is in it, since the epoch; 0 if none is.
    hour: i64,
}

/// Keys that are numbers are no keys of CBOR's maps as they are written here.
fn write_pairs<S: Serializer>(topics: &FxHashMap<u64, Day>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(topics)
}

fn read_pairs<'de, D: Deserializer<'de>>(from: D) -> Result<FxHashMap<u64, Day>, D::Error> {
    Ok(Vec::<(u64, Day)>::deserialize(from)?.into_iter().collect())
}

/// Where a number goes that was `usual` and is `now`.
fn next(usual: f64, now: f64, seen: bool) -> f64 {
    match (seen, now > usual) {
        (false, _) => now,
        (true, true) => usual + (now - usual) / 2.0,
        (true, false) => usual - (usual - now) / DAYS,
    }
}

fn of_day(hour: i64) -> usize {
    usize::try_from(hour.rem_euclid(24)).unwrap_or(0)
}

fn parts(n: f64) -> u16 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it fits, clamped")]
    let parts = (n * PART).round().clamp(0.0, f64::from(u16::MAX)) as u16;
    parts
}

impl Usual {
    /// Whether an hour is over that is not in it yet.
    pub(super) fn is_due(&self, hour: i64) -> bool {
        self.hour + 1 < hour
    }

    /// Takes in how many wrote of what at the end of the hour before this one. Hours before that, in which nothing was
    /// heard, are no reason to forget.
    pub(super) fn record(
        &mut self,
        hour: i64,
        authors: impl Iterator<Item = (u64, usize)>,
        bytes: usize,
    ) {
        let past = hour - 1;
        let at = of_day(past);
        let (mut now, mut sum) = (FxHashMap::default(), 0);
        for (key, count) in authors {
            sum += count;
            if count >= FEWEST {
                now.insert(key, count);
            }
        }
        self.hour = past;
        if sum == 0 {
            return;
        }
        let seen = self.seen.get(at).copied().unwrap_or_default();
        for (key, day) in &mut self.topics {
            let count = now.remove(key).unwrap_or(0);
            if let Some(usual) = day.get_mut(at) {
                let before = f64::from(*usual) / PART;
                *usual = parts(next(before, real(count as u64), seen));
            }
        }
        for (key, count) in now {
            if let Some(usual) = self.topics.entry(key).or_default().get_mut(at) {
                *usual = parts(next(0.0, real(count as u64), seen));
            }
        }
        if let (Some(all), Some(known)) = (self.all.get_mut(at), self.seen.get_mut(at)) {
            *all = next(*all, real(sum as u64), seen);
            *known = true;
        }
        self.topics.retain(|_, day| day.iter().any(|n| f64::from(*n) >= PART));
        self.make_room(bytes);
    }

    /// Lets go of those of which the least is written, down to so many bytes.
    fn make_room(&mut self, bytes: usize) {
        let most = bytes / TOPIC_BYTES;
        if self.topics.len() > most {
            let of = |(key, day): (&u64, &Day)| (day.iter().copied().max(), *key);
            let mut order: Vec<_> = self.topics.iter().map(of).collect();
            order.sort_unstable();
            for (_, key) in order.iter().take(self.topics.len() - most / 4 * 3) {
                self.topics.remove(key);
            }
        }
        self.topics.shrink_to(self.topics.len() + self.topics.len() / 2);
    }

    /// Whether it is long enough that something is known of words that everybody uses.
    pub(super) fn knows_words(&self) -> bool {
        self.seen.iter().filter(|seen| **seen).count() >= HOURS
    }

    /// How many are to be expected to write of a topic at an hour, while `all` authors of topics are heard.
    pub(super) fn expected(&self, key: u64, hour: i64, all: usize) -> f64 {
        let zero = [0; 24];
        let day = self.topics.get(&key).unwrap_or(&zero);
        let of = |at: usize| {
            let seen = self.seen.get(at).copied().unwrap_or_default();
            let usual = f64::from(day.get(at).copied().unwrap_or_default()) / PART;
            seen.then_some((usual, self.all.get(at).copied().unwrap_or_default()))
        };
        // At this hour of other days or at the next one, since what comes every day is not punctual. Where neither was seen,
        // what it was at least at any other.
        let near = [of_day(hour), of_day(hour + 1)].into_iter().filter_map(of);
        let near = near.max_by(|a, b| a.0.total_cmp(&b.0));
        let least = || (0..24).filter_map(of).min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((usual, usual_all)) = near.or_else(least) else { return 0.0 };
        usual * (real(all as u64) / usual_all.max(1.0)).clamp(1.0, MORE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 20;

    /// Days of 24 hours: who writes of 1 all the time, of 2 at nine, and 100 of other things.
    fn days(usual: &mut Usual, days: std::ops::Range<i64>) {
        for hour in days.start * 24..days.end * 24 {
            let daily = if hour % 24 == 9 { 30 } else { 0 };
            let now = [(1, 20), (2, daily), (3, 100)];
            usual.record(hour + 1, now.into_iter().filter(|(_, n)| *n > 0), ROOM);
        }
    }

    #[test]
    fn what_comes_every_day_is_expected_and_what_never_was_is_not() {
        let mut usual = Usual::default();
        assert_eq!((usual.expected(1, 5, 100), usual.knows_words()), (0.0, false));
        days(&mut usual, 0..3);
        assert!(usual.knows_words());
        let all = 120;
        assert_eq!(usual.expected(1, 3 * 24 + 5, all), 20.0);
        assert_eq!(usual.expected(4, 3 * 24 + 5, all), 0.0);
        // At nine, and somewhat before.
        assert_eq!(usual.expected(2, 3 * 24 + 9, 150), 30.0);
        assert_eq!(usual.expected(2, 3 * 24 + 8, 150), 30.0);
        assert_eq!(usual.expected(2, 3 * 24 + 12, all), 0.0);
        // Twice as much of everything is no news of any of it.
        assert_eq!(usual.expected(1, 3 * 24 + 5, 2 * all), 40.0);
        assert_eq!(usual.expected(1, 3 * 24 + 5, all / 2), 20.0);
    }

    #[test]
    fn what_is_more_counts_soon_and_what_is_less_is_forgotten_slowly() {
        let mut usual = Usual::default();
        usual.record(10, [(3, 100)].into_iter(), ROOM);
        for (day, expect) in [(1, 20.0), (2, 30.0), (3, 35.0)] {
            usual.record(24 * day + 10, [(1, 40), (3, 60)].into_iter(), ROOM);
            assert_eq!(usual.expected(1, 24 * day + 9, 100), expect);
        }
        for day in 4..18 {
            usual.record(24 * day + 10, [(3, 100)].into_iter(), ROOM);
        }
        let left = usual.expected(1, 9, 100);
        assert!((10.0..15.0).contains(&left), "{left}");
        // In hours without anything nothing is forgotten.
        (500..550).for_each(|hour| usual.record(hour, std::iter::empty(), ROOM));
        assert_eq!(usual.expected(1, 9, 100), left);
        assert!(!usual.is_due(549) && usual.is_due(550));
    }

    #[test]
    fn in_the_first_hours_it_is_what_it_was_at_least() {
        let mut usual = Usual::default();
        usual.record(5, [(1, 20)].into_iter(), ROOM);
        usual.record(6, [(1, 24), (2, 50)].into_iter(), ROOM);
        assert_eq!(
            (usual.expected(1, 10, 74), usual.expected(2, 10, 74)),
            (20.0 * 74.0 / 20.0, 0.0)
        );
    }

    #[test]
    fn the_rarest_make_room() {
        let mut usual = Usual::default();
        let many = (0..1000).map(|key| (key, 3 + usize::try_from(key / 10).unwrap()));
        usual.record(5, many, 100 * TOPIC_BYTES);
        assert_eq!(usual.topics.len(), 75);
        assert!(usual.expected(999, 4, 1) > 0.0 && usual.expected(0, 4, 1) == 0.0);
    }
}
