//! How many different callers a day had, by what they call with and by what they call: counted, not kept.
//!
//! Each count is a sketch of hashes (HyperLogLog), exact while it is small and off by a few percent beyond, from which nobody
//! can be found again: the hashes begin with a random number that exists in memory alone, for one day.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hash, RandomState};

use cardinality_estimator::CardinalityEstimator;
use parking_lot::Mutex;

/// Kinds of programs that are told apart in a day; others count as [`OTHER`].
const AGENTS: usize = 24;
/// Bytes of the name of one.
const LONGEST: usize = 24;
/// What is beyond that.
const OTHER: &str = "other";

const DAY_MS: i64 = 86_400_000;

/// Hashes of two thousandths are told apart; a kilobyte each once there are many.
type Sketch = CardinalityEstimator<u64, Through, 10, 6>;

/// Hashes are hashed already.
#[derive(Debug, Default)]
struct Through(u64);

impl std::hash::Hasher for Through {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Different callers of a day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Day {
    /// The day, counted from 1970 (UTC).
    pub day: i64,
    /// All.
    pub all: u64,
    /// By the program.
    pub agents: BTreeMap<String, u64>,
    /// By the method.
    pub methods: BTreeMap<&'static str, u64>,
}

/// Counts callers.
#[derive(Default)]
pub struct Callers(Mutex<Option<Today>>);

struct Today {
    day: i64,
    salt: RandomState,
    all: Sketch,
    agents: BTreeMap<String, Sketch>,
    methods: BTreeMap<&'static str, Sketch>,
}

impl Today {
    fn new(day: i64) -> Self {
        let (agents, methods) = Default::default();
        Self { day, salt: RandomState::new(), all: Sketch::new(), agents, methods }
    }
}

impl Callers {
    /// Somebody called a method at this time. `agent` is what they say of themselves, of which the first word counts.
    pub fn note(&self, who: &impl Hash, agent: &str, method: &'static str, now_ms: i64) {
        let day = now_ms.div_euclid(DAY_MS);
        let mut today = self.0.lock();
        let today = match &mut *today {
            Some(today) if today.day == day => today,
            other => other.insert(Today::new(day)),
        };
        let hash = today.salt.hash_one(who);
        today.all.insert_hash(hash);
        today.methods.entry(method).or_insert_with(Sketch::new).insert_hash(hash);
        let name = first_word(agent);
        if let Some(sketch) = today.agents.get_mut(name) {
            sketch.insert_hash(hash);
            return;
        }
        let name = if today.agents.len() < AGENTS { name } else { OTHER };
        today.agents.entry(name.to_owned()).or_insert_with(Sketch::new).insert_hash(hash);
    }

    /// How many there were so far in the last day that had any.
    pub fn day(&self) -> Day {
        let today = self.0.lock();
        let Some(today) = &*today else { return Day::default() };
        let count = |sketch: &Sketch| sketch.estimate() as u64;
        Day {
            day: today.day,
            all: count(&today.all),
            agents: today.agents.iter().map(|(name, s)| (name.clone(), count(s))).collect(),
            methods: today.methods.iter().map(|(name, s)| (*name, count(s))).collect(),
        }
    }
}

/// The product of a `User-Agent`, without its version.
fn first_word(agent: &str) -> &str {
    let end = agent.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.@".contains(c)));
    let word = agent.get(..end.unwrap_or(agent.len())).unwrap_or_default();
    match word.len() {
        0 => "unnamed",
        1..=LONGEST => word,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_apart_for_a_day() {
        let callers = Callers::default();
        for n in 0..500_u32 {
            callers.note(&(n % 100), "App/1.0 (x)", "a.b.c", 5);
            callers.note(&(n % 10), "", "a.b.d", 5);
        }
        let day = callers.day();
        let near = |count: u64, of: u64| count.abs_diff(of) * 10 <= of;
        assert!(near(day.all, 100) && near(day.methods["a.b.c"], 100), "{day:?}");
        assert!(near(day.agents["App"], 100), "{day:?}");
        assert_eq!((day.methods["a.b.d"], day.agents["unnamed"]), (10, 10));
        callers.note(&1, "App", "a.b.c", DAY_MS);
        assert_eq!((callers.day().day, callers.day().all), (1, 1));
    }

    #[test]
    fn names_from_outside_are_few_and_short() {
        let callers = Callers::default();
        for n in 0..1000 {
            callers.note(&n, &format!("bot{n}/2"), "a.b.c", 0);
        }
        callers.note(&0, &"x".repeat(99), "a.b.c", 0);
        callers.note(&0, "<script>", "a.b.c", 0);
        let day = callers.day();
        assert!(day.agents.len() <= AGENTS + 1, "{}", day.agents.len());
        assert!(day.agents[OTHER] > 500 && day.agents.keys().all(|name| name.len() <= LONGEST));
    }
}
