//! The order against floods, in a time that the tests make.

use std::collections::BTreeMap;

use super::*;

fn at(text: &str) -> Client {
    Client::address(text.parse().unwrap())
}

/// A question: when it was asked, and whether it is honest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Question {
    asked: u64,
    honest: bool,
}

const PATIENCE_MS: u64 = 4_000;
const STEP_MS: u64 = 50;

/// A directory that takes a second for each answer, and those who make us ask it.
struct World {
    turns: Turns<Question>,
    began: Instant,
    ms: u64,
    /// By when they are answered.
    under_way: BTreeMap<u64, Vec<Granted<Question>>>,
    waiting: VecDeque<(u64, Client, u64)>,
    /// What honest ones waited for an answer, and how many of them gave up.
    waits: Vec<u64>,
    given_up: usize,
    honest: usize,
    asked: usize,
}

impl World {
    fn new() -> Self {
        Self {
            turns: Turns::new(),
            began: Instant::now(),
            ms: 0,
            under_way: BTreeMap::new(),
            waiting: Default::default(),
            waits: Vec::new(),
            given_up: 0,
            honest: 0,
            asked: 0,
        }
    }

    fn now(&self) -> Instant {
        self.began + Duration::from_millis(self.ms)
    }

    fn ask(&mut self, client: Client, honest: bool) {
        let question = Question { asked: self.ms, honest };
        self.honest += usize::from(honest);
        match self.turns.push(client, Kind::Directory, question, self.now()) {
            Some(id) => self.waiting.push_back((self.ms + PATIENCE_MS, client, id)),
            None => self.given_up += usize::from(honest),
        }
    }

    /// Some time goes by.
    fn step(&mut self) {
        self.ms += STEP_MS;
        let now = self.now();
        while let Some((due, answered)) = self.under_way.pop_first() {
            if due > self.ms {
                self.under_way.insert(due, answered);
                break;
            }
            for Granted { client, kind, job } in answered {
                match job.honest {
                    true => {
                        self.waits.push(self.ms - job.asked);
                        self.turns.proved(client, now);
                    }
                    false => self.turns.in_vain(client, now),
                }
                self.turns.end(client, kind);
            }
        }
        while let Some((due, client, id)) = self.waiting.front().copied() {
            if due > self.ms {
                break;
            }
            self.waiting.pop_front();
            self.turns.remove(client, id);
        }
        while let Ok(granted) = self.turns.next(now) {
            self.asked += 1;
            self.under_way.entry(self.ms + 1_000).or_default().push(granted);
        }
    }

    /// For so many seconds each of these sends two questions a second that come to nothing, more than are ever asked;
    /// once a second each of `newcomers` sends an honest one.
    fn flood(
        &mut self,
        seconds: u64,
        attackers: &[Client],
        newcomers: impl Fn(u64) -> Vec<Client>,
    ) {
        for n in 0..seconds * 20 {
            for attacker in attackers.iter().skip(n as usize % 10).step_by(10) {
                self.ask(*attacker, false);
            }
            if n % 20 == 0 {
                for newcomer in newcomers(n / 20) {
                    self.ask(newcomer, true);
                }
            }
            self.step();
        }
        for _ in 0..120 {
            self.step();
        }
    }

    fn all_were_answered_within(&self, ms: u64) {
        assert!(self.honest > 0 && self.waits.len() == self.honest, "{}", self.summary());
        assert!(self.waits.iter().all(|wait| *wait <= ms), "{}", self.summary());
    }

    fn summary(&self) -> String {
        let worst = self.waits.iter().max();
        let Self { honest, given_up, asked, .. } = self;
        format!(
            "{} of {honest} answered, worst {worst:?}, {given_up} turned away, {asked} asked",
            self.waits.len()
        )
    }
}

/// Addresses that have nothing in common.
fn scattered(count: u32) -> Vec<Client> {
    (0..count).map(|n| Client::V4((0x0a00_0001 + (n << 8)).into())).collect()
}

#[test]
fn those_who_come_through_a_known_address_are_served_under_any_flood() {
    let mut world = World::new();
    let pds = at("192.0.2.1");
    world.turns.proved(pds, world.now());
    world.flood(60, &scattered(200), |_| vec![pds, pds]);
    world.all_were_answered_within(5_000);
}

#[test]
fn a_household_that_nobody_knows_is_served_once_every_attacker_had_his_question() {
    let mut world = World::new();
    let attackers = scattered(200);
    world.flood(60, &attackers, |_| Vec::new());
    world.flood(60, &attackers, |n| vec![Client::V4((0xc633_6401 + ((n as u32) << 8)).into())]);
    world.all_were_answered_within(5_000);
}

#[test]
fn attackers_of_one_neighbourhood_are_before_nobody() {
    let mut world = World::new();
    let attackers: Vec<_> = (0..200).map(|n| at(&format!("203.0.113.{n}"))).collect();
    let newcomer = |n: u64| at(&format!("2001:db8:{n:x}::1"));
    world.flood(60, &attackers, |n| vec![newcomer(n)]);
    // The first of them cannot be told from the others, and no flood is over before it began.
    world.all_were_answered_within(5_000);
}

#[test]
fn the_directory_is_asked_as_often_as_the_pace_says() {
    let mut world = World::new();
    world.turns.proved(at("192.0.2.1"), world.now());
    world.flood(60, &scattered(200), |_| vec![at("192.0.2.1"); 20]);
    let polite = PACE.burst as usize + 66 * 5;
    assert!((60..=polite).contains(&world.asked), "{}", world.summary());
}

#[test]
fn what_waits_is_bounded_and_nobody_is_left_over() {
    let mut world = World::new();
    let now = world.now();
    let push = |world: &mut World, client| {
        let question = Question { asked: 0, honest: false };
        world.turns.push(client, Kind::Web, question, now)
    };
    let (owing, new, known) = (at("192.0.2.1"), at("192.0.2.2"), at("192.0.2.3"));
    world.turns.in_vain(owing, now);
    world.turns.proved(known, now);
    // Of one client few, of many as many as there are places for their class.
    let mut ids = Vec::new();
    let mut fill = |world: &mut World, clients: Vec<Client>| {
        for client in clients {
            while let Some(id) = push(world, client) {
                ids.push((client, id));
            }
        }
        ids.len()
    };
    assert_eq!(fill(&mut world, vec![owing]), 2);
    assert_eq!(fill(&mut world, vec![new]), 10);
    assert_eq!(fill(&mut world, vec![known]), 26);
    let others = (0..200).map(|n| Client::V6(n << 32));
    fill(&mut world, others.collect());
    assert_eq!(world.turns.web.waiting, 512);
    // Another one takes the place of who comes last, then of who has more.
    assert!(!world.turns.clients.contains_key(&owing));
    assert!(push(&mut world, Client::V6(1000 << 32)).is_some());
    assert!(push(&mut world, known).is_none());
    for (client, id) in ids {
        world.turns.remove(client, id);
    }
    assert_eq!((world.turns.clients(), world.turns.web.waiting), (1, 1));
}

#[test]
fn who_asked_in_vain_is_last_until_that_is_long_ago() {
    let began = Instant::now();
    let mut turns = Turns::new();
    let clients = [at("192.0.2.1"), at("198.51.100.1"), at("203.0.113.1"), at("192.0.2.2")];
    let [twice, once, proved, neighbour] = clients;
    turns.in_vain(twice, began);
    turns.in_vain(twice, began);
    turns.in_vain(once, began);
    turns.proved(proved, began);
    turns.proved(twice, began);
    let order = |turns: &mut Turns<()>, now| {
        for client in clients.iter().rev() {
            turns.push(*client, Kind::Directory, (), now).unwrap();
        }
        let next = |turns: &mut Turns<()>| {
            let Granted { client, kind, .. } = turns.next(now).ok()?;
            turns.end(client, kind);
            Some(client)
        };
        std::iter::from_fn(|| next(turns)).collect::<Vec<_>>()
    };
    let later = |seconds| began + Duration::from_secs(seconds);
    assert_eq!(order(&mut turns, later(1)), [proved, neighbour, once, twice]);
    // After eleven minutes nobody owes any more; the neighbourhood does not either.
    assert_eq!(order(&mut turns, later(901)), [proved, twice, neighbour, once]);
    assert_eq!(order(&mut turns, later(86_402)), [neighbour, proved, once, twice], "a day is over");
}
