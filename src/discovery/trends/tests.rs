//! A planted trend among what is always there, and those who would like to be one.

use serde_json::{Value, json};

use super::*;
use crate::discovery::Ground;
use crate::hydrate::Target;
use crate::hydrate::testing::{Fixture, NOW};
use crate::schema::rows::EdgeKind;
use crate::syntax::Did;

/// A network with a clock.
struct Network {
    f: Fixture,
    clock: Clock,
    trends: Trends,
    /// Three who write nothing follow all of them.
    people: Vec<ActorId>,
    seq: u64,
}

impl Network {
    fn new(people: usize) -> Self {
        let (f, clock) = (Fixture::new(), Clock::stopped_at(NOW));
        let people: Vec<ActorId> = (0..people).map(|n| f.account(&format!("p{n}"))).collect();
        for reader in ["r0", "r1", "r2"].map(|name| f.account(name)) {
            for id in &people {
                f.edge(EdgeKind::Follow, reader, Target::Actor(*id), NOW - 1_000_000);
            }
        }
        let trends = Trends::new(4 << 20, clock.clone());
        let this = Self { f, clock, trends, people, seq: 1 };
        this.trends.begin(&this.f.snapshot(), &Position::At(1)).unwrap();
        this
    }

    fn post(&mut self, author: ActorId, text: &str, tags: &[&str]) {
        let value = json!({ "text": text, "tags": tags, "langs": ["en"] });
        self.put(author, self.clock.now_ms(), Mark::Live, value);
    }

    fn put(&mut self, author: ActorId, at: i64, mark: Mark, value: Value) {
        let post = self.f.post(author, at, value);
        let what = What::Put { coll: c::POST, rkey: post.rkey, rev: 0, cid: [0; 4], created: true };
        let change = Change { mark, actor: author, what };
        let entry = Entry { seq: self.seq, time_us: 0, change };
        self.seq += 1;
        let heard: Vec<Entry> =
            [entry].into_iter().filter(|e| self.trends.want(&e.change)).collect();
        self.trends.apply(&heard, &self.f.snapshot(), &Position::At(self.seq)).unwrap();
    }

    fn pass(&self, ms: i64) {
        self.clock.set(self.clock.now_ms() + ms);
    }

    fn ranked(&self) -> Vec<String> {
        let labelers = [Did::parse("did:plc:default").unwrap()];
        let ground = Ground {
            store: &self.f.store,
            shared: &self.f.shared,
            labelers: &labelers,
            clock: &self.clock,
            rest: 0,
            stop: &|| false,
        };
        self.trends.rank(&ground).unwrap();
        self.trends.shown(&[]).into_iter().map(|trend| trend.name).collect()
    }

    /// So many hours in which everybody says good morning now and then, and every tenth has the tag of the hour.
    fn chatter(&mut self, hours: usize) {
        for hour in 0..hours {
            for n in 0..self.people.len() {
                self.pass(HOUR_MS / i64::try_from(self.people.len()).unwrap());
                let tag = format!("own{n}");
                if (n + hour) % 3 == 0 {
                    self.post(self.people[n], "Good morning everybody!", &[&tag]);
                }
            }
        }
    }
}

#[test]
fn what_25_write_of_is_first_45_seconds_later() {
    let mut net = Network::new(60);
    net.chatter(5);
    assert_eq!(net.ranked(), [""; 0], "greetings are what they always are");
    for n in 0..25 {
        net.pass(1_000);
        let tag = if n % 5 == 0 { "worldcup" } else { "WorldCup" };
        net.post(net.people[n * 2], &format!("Great goal number {n}, a wonderful save"), &[tag]);
    }
    net.pass(20_000);
    assert_eq!(net.ranked(), ["WorldCup"], "its words are its own");
    let trend = net.trends.shown(&["en".to_owned()]).remove(0);
    assert_eq!((trend.link.as_str(), trend.posts, trend.hot), ("/hashtag/WorldCup", 25, true));
    assert_eq!((trend.language.as_deref(), trend.authors.len()), (Some("en"), 16));
    let started = net.clock.now_ms() - 44_000;
    assert!(
        (started..=started + 1_000).contains(&trend.started_at),
        "{}",
        trend.started_at - started
    );
    // A restart, and three hours later.
    let dir = tempfile::tempdir().unwrap();
    net.trends.save(dir.path()).unwrap();
    let again = Trends::new(4 << 20, net.clock.clone());
    again.recall(dir.path());
    assert_eq!(again.position().unwrap(), Position::At(net.seq));
    net.trends = again;
    assert_eq!(net.ranked(), ["WorldCup"]);
    assert_eq!(net.trends.shown(&[]).remove(0), trend);
    net.pass(3 * HOUR_MS);
    assert_eq!(net.ranked(), [""; 0]);
    fs::write(dir.path().join(FILE), b"damaged").unwrap();
    let none = Trends::new(4 << 20, net.clock.clone());
    none.recall(dir.path());
    assert_eq!(none.position().unwrap(), Position::Nowhere);
}

#[test]
fn rings_single_authors_backfills_and_copies_are_none() {
    let mut net = Network::new(60);
    net.chatter(4);
    // Thirty who follow one another.
    let ring: Vec<ActorId> = (0..30).map(|n| net.f.account(&format!("ring{n}"))).collect();
    for id in &ring {
        for other in ring.iter().filter(|other| *other != id) {
            net.f.edge(EdgeKind::Follow, *id, Target::Actor(*other), NOW - 1_000_000);
        }
        net.post(*id, "Look here", &["ring"]);
    }
    for n in 0..200 {
        net.post(net.people[0], &format!("It is number {n}"), &["alone"]);
    }
    // The same text with another name, from accounts that others follow.
    for n in 0..20 {
        let text = format!(
            "@friend{n}.example everybody should come and see the wonderful new place that sells many coins {n}"
        );
        net.post(net.people[n], &text, &["copied"]);
    }
    // Marked as a nuisance, gone, and of an old repo.
    let labeler = net.f.account("default");
    for n in 20..40 {
        let id = net.people[n];
        match n % 2 {
            0 => net.f.label(labeler, Target::Actor(id), "spam"),
            _ => net.f.take_down(Target::Actor(id)),
        }
        net.post(id, "Hidden away", &["marked"]);
    }
    for n in 40..60 {
        let value = json!({ "text": "from long ago", "tags": ["past"] });
        net.put(net.people[n], NOW - 86_400_000, Mark::Live, value);
        let value = json!({ "text": "from a repo", "tags": ["fetched"] });
        net.put(net.people[n], net.clock.now_ms(), Mark::History, value);
    }
    assert_eq!(net.ranked(), [""; 0]);
    for n in 40..52 {
        net.post(net.people[n], "Something that happened", &["real"]);
    }
    assert_eq!(net.ranked(), ["real"]);
}

#[test]
fn what_comes_every_day_is_no_trend_and_more_of_it_is_one() {
    let mut net = Network::new(60);
    for day in 0..4 {
        for hour in 0..24 {
            if hour == 9 {
                for n in 0..20 {
                    net.post(net.people[n], "A picture", &["caturday"]);
                }
                assert_eq!(net.ranked().len(), usize::from(day == 0), "on day {day}");
            }
            for n in 40..60 {
                net.post(net.people[n], "Good morning everybody!", &["always"]);
            }
            net.ranked();
            net.pass(HOUR_MS);
        }
    }
    net.pass(9 * HOUR_MS);
    for n in 0..59 {
        net.post(net.people[n], "A picture", &["caturday"]);
    }
    assert_eq!(net.ranked(), ["caturday"]);
}

#[test]
fn the_languages_of_the_reader_come_first() {
    let mut net = Network::new(60);
    for (tag, language, authors) in
        [("uno", "es", 0..30), ("one", "en", 30..45), ("zzz", "", 45..58)]
    {
        for n in authors {
            let langs = if language.is_empty() { json!([]) } else { json!([language]) };
            let value = json!({ "text": "x", "tags": [tag], "langs": langs });
            net.put(net.people[n], net.clock.now_ms(), Mark::Live, value);
        }
    }
    assert_eq!(net.ranked(), ["uno", "one", "zzz"]);
    let shown = |languages: &[&str]| {
        let languages: Vec<String> = languages.iter().map(|l| (*l).to_owned()).collect();
        net.trends.shown(&languages).into_iter().map(|t| t.name).collect::<Vec<_>>()
    };
    assert_eq!(shown(&["en", "de"]), ["one", "zzz", "uno"]);
}
