//! Whose question is asked next, where strangers ask for more than may be asked.
//!
//! ```text
//! question -> a place to wait, by class -> the best of those that wait -> a slot, by class, and a turn of the pace
//! ```
//!
//! Nothing of a question says whether it is honest; what its client did before says something. So clients are of three
//! classes: those that showed a good token lately, those of whom nothing is known, and those that asked in vain lately.
//! The better goes first, and each class leaves slots and places to wait to those above it. Within a class whoever owes
//! least goes first, then whose neighbours owe least, then who asked least lately. So a flood from many addresses is
//! before others only until each of them has asked once; and a household or a PDS that nobody knows waits for no more
//! than those who are as new.
//!
//! This is the order alone: waiting, and asking, is done elsewhere. A slot is never taken before the turn that goes with
//! it is due.
//!
//! # Invariants
//! - What waits and what is under way is bounded, in all, by class and by client.
//! - Of each kind, no more than [`PACE`] says.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use quick_cache::unsync::Cache;
use tokio::time::Instant;

use crate::limits::Client;
use crate::threads::{Pace, Paced};

/// Requests at the directory from all clients together, and as many at hosts of did:web: 1,500 in five minutes.
pub(super) const PACE: Pace = Pace { every: Duration::from_millis(200), burst: 30 };
/// Clients of whom something is known, and as many neighbourhoods.
const CLIENTS: usize = 16_384;
/// How long a good token counts.
const PROVED: Duration = Duration::from_secs(86_400);
/// How long a question in vain counts, and the longest for many of them.
const OWED: Duration = Duration::from_secs(300);
const MOST_OWED: Duration = Duration::from_secs(3_600);
/// How long a question counts, whatever came of it.
const ASKED: Duration = Duration::from_secs(5);

/// What a client may have by what is known of it. Better ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Showed a good token lately.
    Proved,
    /// Nothing is known.
    New,
    /// Asked in vain lately.
    Owing,
}

impl Class {
    /// Of each kind, questions under way at which another one of this class has to wait.
    const fn slots(self) -> usize {
        match self {
            Self::Proved => 8,
            Self::New => 6,
            Self::Owing => 4,
        }
    }

    /// Of both kinds together, those of one client.
    const fn slots_of_one(self) -> usize {
        match self {
            // It may be a PDS, which asks for thousands.
            Self::Proved => 4,
            Self::New => 2,
            Self::Owing => 1,
        }
    }

    /// Questions that wait, at which another one of this class has to take the place of a worse one.
    const fn places(self) -> usize {
        match self {
            Self::Proved => 1024,
            Self::New => 512,
            Self::Owing => 256,
        }
    }

    /// Those of one client, at which another one is turned away.
    const fn places_of_one(self) -> usize {
        match self {
            Self::Proved => 16,
            Self::New => 8,
            Self::Owing => 2,
        }
    }
}

/// Who is asked. Hosts of somebody's own that never answer keep nobody from the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    Web,
}

/// What is known of a client.
#[derive(Debug, Clone, Copy, Default)]
struct Past {
    proved_until: Option<Instant>,
    owes_until: Option<Instant>,
    busy_until: Option<Instant>,
}

/// Who goes before whom: the smaller one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: Class,
    owes: Duration,
    never_proved: bool,
    neighbours_owe: Duration,
    busy: Duration,
}

/// The questions of a client.
struct Queue<J> {
    waiting: VecDeque<Waiting<J>>,
    running: usize,
}

struct Waiting<J> {
    id: u64,
    kind: Kind,
    job: J,
}

/// Slots of one kind.
struct Slots {
    pace: Paced,
    running: usize,
    waiting: usize,
}

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Granted<J> {
    pub(super) client: Client,
    pub(super) kind: Kind,
    pub(super) job: J,
}

/// The questions that wait, and how many are under way.
pub(super) struct Turns<J> {
    clients: HashMap<Client, Queue<J>>,
    directory: Slots,
    web: Slots,
    next_id: u64,
    past: Cache<Client, Past>,
    /// Until when whole neighbourhoods owe.
    neighbourhoods: Cache<Client, Instant>,
}

impl<J> Turns<J> {
    pub(super) fn new() -> Self {
        let slots = || Slots { pace: Paced::new(PACE), running: 0, waiting: 0 };
        Self {
            clients: HashMap::new(),
            directory: slots(),
            web: slots(),
            next_id: 0,
            past: Cache::new(CLIENTS),
            neighbourhoods: Cache::new(CLIENTS),
        }
    }

    fn slots(&mut self, kind: Kind) -> &mut Slots {
        match kind {
            Kind::Directory => &mut self.directory,
            Kind::Web => &mut self.web,
        }
    }

    /// Takes a question in; `None` if as many wait as may, and none of a client that comes later or has more of them.
    pub(super) fn push(&mut self, client: Client, kind: Kind, job: J, now: Instant) -> Option<u64> {
        let rank = self.rank(client, now);
        let own = self.clients.get(&client).map_or(0, |queue| queue.waiting.len());
        if own >= rank.class.places_of_one() {
            return None;
        }
        if self.directory.waiting + self.web.waiting >= rank.class.places() {
            let (worst, last) = self.worst(now).filter(|(held, ..)| *held > (rank, own + 1))?.1;
            self.remove(worst, last);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.slots(kind).waiting += 1;
        let queue = self.clients.entry(client);
        let queue = queue.or_insert_with(|| Queue { waiting: VecDeque::new(), running: 0 });
        queue.waiting.push_back(Waiting { id, kind, job });
        Some(id)
    }

    /// The last question of the client that comes last, with what is to be said against it.
    fn worst(&self, now: Instant) -> Option<((Rank, usize), (Client, u64))> {
        let each = self.clients.iter().filter_map(|(client, queue)| {
            let last = queue.waiting.back()?;
            Some(((self.rank(*client, now), queue.waiting.len()), (*client, last.id)))
        });
        each.max_by_key(|(against, _)| *against)
    }

    /// A question is not asked any more. Nothing happens if it had its turn.
    pub(super) fn remove(&mut self, client: Client, id: u64) {
        let Some(queue) = self.clients.get_mut(&client) else { return };
        let Some(at) = queue.waiting.iter().position(|waiting| waiting.id == id) else { return };
        if let Some(Waiting { kind, .. }) = queue.waiting.remove(at) {
            self.slots(kind).waiting -= 1;
        }
        self.sweep(client);
    }

    /// A question was answered, or given up.
    pub(super) fn end(&mut self, client: Client, kind: Kind) {
        self.slots(kind).running -= 1;
        if let Some(queue) = self.clients.get_mut(&client) {
            queue.running -= 1;
        }
        self.sweep(client);
    }

    /// Of who is gone nothing is left.
    fn sweep(&mut self, client: Client) {
        let is_gone = |queue: &Queue<J>| queue.running == 0 && queue.waiting.is_empty();
        if self.clients.get(&client).is_some_and(is_gone) {
            self.clients.remove(&client);
        }
    }

    /// A turn was not used.
    pub(super) fn give_back(&mut self, kind: Kind) {
        self.slots(kind).pace.give_back();
    }

    /// The next question. It is under way until [`Self::end`].
    ///
    /// # Errors
    /// There is none now; when there may be one, if nothing happens before.
    pub(super) fn next(&mut self, now: Instant) -> Result<Granted<J>, Option<Instant>> {
        let mut soonest: Option<Instant> = None;
        for kind in [Kind::Directory, Kind::Web] {
            if self.slots(kind).waiting == 0 {
                continue;
            }
            let wait = self.slots(kind).pace.until_turn(now);
            if !wait.is_zero() {
                let due = now + wait;
                soonest = Some(soonest.map_or(due, |soonest| soonest.min(due)));
                continue;
            }
            if let Some(job) = self.best(kind, now).and_then(|client| self.take(client, kind, now))
            {
                return Ok(job);
            }
        }
        Err(soonest)
    }

    /// The client that goes first, of those with a question of this kind that may have a slot.
    fn best(&mut self, kind: Kind, now: Instant) -> Option<Client> {
        let running = self.slots(kind).running;
        if running >= Class::Proved.slots() {
            return None;
        }
        let mut best: Option<(Rank, u64, Client)> = None;
        for (client, queue) in &self.clients {
            let first = queue.waiting.iter().find(|waiting| waiting.kind == kind);
            let Some(first) = first else { continue };
            let rank = rank(&self.past, &self.neighbourhoods, *client, now);
            if queue.running >= rank.class.slots_of_one() || running >= rank.class.slots() {
                continue;
            }
            if best.is_none_or(|(held, id, _)| (rank, first.id) < (held, id)) {
                best = Some((rank, first.id, *client));
            }
        }
        best.map(|(_, _, client)| client)
    }

    fn take(&mut self, client: Client, kind: Kind, now: Instant) -> Option<Granted<J>> {
        let queue = self.clients.get_mut(&client)?;
        let at = queue.waiting.iter().position(|waiting| waiting.kind == kind)?;
        let Waiting { job, .. } = queue.waiting.remove(at)?;
        queue.running += 1;
        let slots = self.slots(kind);
        slots.waiting -= 1;
        slots.running += 1;
        // It is due.
        let _ = slots.pace.turn_within(Duration::ZERO, now);
        let past = self.known(client);
        let busy = later(past.busy_until, now, ASKED, MOST_OWED);
        self.past.insert(client, Past { busy_until: Some(busy), ..past });
        Some(Granted { client, kind, job })
    }

    /// A client showed a good token.
    pub(super) fn proved(&mut self, client: Client, now: Instant) {
        let past = self.known(client);
        self.past.insert(client, Past { proved_until: Some(now + PROVED), ..past });
    }

    /// A question of a client had no answer, or none that proved anything.
    pub(super) fn in_vain(&mut self, client: Client, now: Instant) {
        let past = self.known(client);
        let owes = later(past.owes_until, now, OWED, MOST_OWED);
        self.past.insert(client, Past { owes_until: Some(owes), ..past });
        let neighbourhood = client.neighbourhood();
        let owes = self.neighbourhoods.get(&neighbourhood).copied();
        self.neighbourhoods.insert(neighbourhood, later(owes, now, OWED, MOST_OWED));
    }

    fn known(&self, client: Client) -> Past {
        self.past.get(&client).copied().unwrap_or_default()
    }

    fn rank(&self, client: Client, now: Instant) -> Rank {
        rank(&self.past, &self.neighbourhoods, client, now)
    }

    #[cfg(test)]
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }
}

fn rank(
    past: &Cache<Client, Past>,
    neighbourhoods: &Cache<Client, Instant>,
    client: Client,
    now: Instant,
) -> Rank {
    let left = |until: Option<Instant>| {
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    };
    let past = past.get(&client).copied().unwrap_or_default();
    let owes = left(past.owes_until);
    let never_proved = left(past.proved_until).is_zero();
    let class = match (owes.is_zero(), never_proved) {
        (false, _) => Class::Owing,
        (true, true) => Class::New,
        (true, false) => Class::Proved,
    };
    let neighbours_owe = left(neighbourhoods.get(&client.neighbourhood()).copied());
    Rank { class, owes, never_proved, neighbours_owe, busy: left(past.busy_until) }
}

/// One more of something that counts for `each`.
fn later(until: Option<Instant>, now: Instant, each: Duration, most: Duration) -> Instant {
    (until.map_or(now, |until| until.max(now)) + each).min(now + most)
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
