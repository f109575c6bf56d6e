//! Which topics people wrote about within the last three hours, and who.
//!
//! A topic has a place here from its second author on: the first one is only noted in a table in which later ones take
//! each other's room. What one account writes of in an hour is counted up to a limit, so that a few that write very much
//! cannot fill the places.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::topics::{Kind, Language, Post, Topic};

/// The window, in quarters of an hour.
pub(super) const QUARTERS: u32 = 12;
pub(super) const QUARTER_MS: i64 = 15 * 60 * 1000;
const PER_HOUR: u32 = 4;
/// Authors that are known of a topic.
pub(super) const AUTHORS: usize = 256;
/// Ways to write a topic, and languages, that are counted.
const SPELLINGS: usize = 3;
const LANGUAGES: usize = 3;
/// Topics of one account that count in an hour.
const OF_ACCOUNT: u64 = 256;
/// What a topic takes beside its texts and authors, and each author.
const SLOT_BYTES: usize = 320;
const AUTHOR_BYTES: usize = 24;

/// The quarter of an hour of a time.
pub(super) fn quarter(ms: i64) -> u32 {
    u32::try_from(ms.div_euclid(QUARTER_MS)).unwrap_or(0)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Author {
    pub(super) id: u32,
    /// Of its last post about it.
    pub(super) quarter: u32,
    /// See [`Post::likeness`].
    pub(super) likeness: u64,
}

/// A topic with what was written of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) kind: Kind,
    pub(super) text: Box<str>,
    spellings: Vec<(Box<str>, u16)>,
    languages: Vec<(Language, u16)>,
    pub(super) authors: Vec<Author>,
    /// Posts of each quarter, at its number modulo their count.
    posts: [u32; QUARTERS as usize],
    /// The newest of them.
    newest: u32,
    /// When it had its first post here.
    pub(super) first: i64,
    /// When it began to be written of more than usual; 0 while it is not.
    pub(super) rise: i64,
}

impl Slot {
    fn new(topic: &Topic, at: i64) -> Self {
        Self {
            kind: topic.kind,
            text: topic.text.as_str().into(),
            spellings: Vec::new(),
            languages: Vec::new(),
            authors: Vec::new(),
            posts: [0; QUARTERS as usize],
            newest: quarter(at),
            first: at,
            rise: 0,
        }
    }

    fn add_post(&mut self, q: u32) {
        while self.newest < q {
            self.newest = (self.newest + 1).max(q.saturating_sub(QUARTERS));
            if let Some(count) = self.posts.get_mut((self.newest % QUARTERS) as usize) {
                *count = 0;
            }
        }
        if let Some(count) = self.posts.get_mut((q % QUARTERS) as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// `true` if it is one more.
    fn add_author(&mut self, author: Author, oldest: u32) -> bool {
        if let Some(known) = self.authors.iter_mut().find(|known| known.id == author.id) {
            known.quarter = known.quarter.max(author.quarter);
            return false;
        }
        if self.authors.len() < AUTHORS {
            self.authors.push(author);
            return true;
        }
        if let Some(gone) = self.authors.iter_mut().find(|known| known.quarter < oldest) {
            *gone = author;
        }
        false
    }

    /// Posts from a quarter of an hour on, up to another.
    pub(super) fn posts(&self, from: u32, to: u32) -> u64 {
        let held = self.newest.saturating_sub(QUARTERS - 1)..=self.newest;
        let these = (from..to).filter(|q| held.contains(q));
        these.filter_map(|q| self.posts.get((q % QUARTERS) as usize)).map(|n| u64::from(*n)).sum()
    }

    /// The commonest spelling.
    pub(super) fn spelling(&self) -> &str {
        commonest(&self.spellings).map_or(&*self.text, |(text, _)| text)
    }

    /// The language of more than half of the posts that say one.
    pub(super) fn language(&self) -> Option<String> {
        let sum: u32 = self.languages.iter().map(|(_, n)| u32::from(*n)).sum();
        let (language, count) = commonest(&self.languages)?;
        let text: String = language.iter().filter(|b| **b > 0).map(|b| char::from(*b)).collect();
        (2 * u32::from(*count) > sum).then_some(text)
    }

    fn bytes(&self) -> usize {
        let texts: usize = self.spellings.iter().map(|(text, _)| text.len() + 24).sum();
        SLOT_BYTES + self.text.len() + texts + self.authors.len() * AUTHOR_BYTES
    }
}

/// Of those that are as common the one that was there first.
fn commonest<T>(counted: &[(T, u16)]) -> Option<&(T, u16)> {
    counted.iter().rev().max_by_key(|(_, count)| *count)
}

/// Counts one of many of which only the commonest are known: one that is not among them takes something from each.
fn count<T: PartialEq>(counted: &mut Vec<(T, u16)>, one: T, most: usize) {
    if let Some((_, n)) = counted.iter_mut().find(|(known, _)| *known == one) {
        *n = n.saturating_add(1);
    } else if counted.len() < most {
        counted.push((one, 1));
    } else {
        counted.iter_mut().for_each(|(_, n)| *n = n.saturating_sub(1));
        if let Some(gone) = counted.iter_mut().find(|(_, n)| *n == 0) {
            *gone = (one, 1);
        }
    }
}

/// The place of a key in a table, and what tells it from others that have the same one.
fn place(key: u64, table: &[u64]) -> (usize, u64) {
    let at = key % (table.len() as u64).max(1);
    (usize::try_from(at).unwrap_or(0), key >> 40)
}

/// What is held of the last hours.
pub(super) struct Window {
    pub(super) slots: FxHashMap<u64, Slot>,
    bytes: usize,
    most: usize,
    /// By topic 24 bits of its key, 8 of the hour, 32 of the author.
    firsts: Box<[u64]>,
    /// By author 32 bits of it, 16 of the hour, 16 of the topics that it had.
    accounts: Box<[u64]>,
}

impl Window {
    /// In about so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            slots: FxHashMap::default(),
            bytes: 0,
            most: bytes / 2,
            firsts: vec![0; bytes / 16 * 7 / 8].into(),
            accounts: vec![0; bytes / 16 / 8].into(),
        }
    }

    /// Takes a post in, if it is of the window that ends now.
    pub(super) fn add(&mut self, post: &Post, now: i64) {
        let (at, newest) = (post.at.min(now), quarter(now));
        let (q, oldest) = (quarter(at), newest.saturating_sub(QUARTERS - 1));
        if q < oldest {
            return;
        }
        let author = Author { id: post.author.0, quarter: q, likeness: post.likeness };
        for topic in &post.topics {
            let known = self.slots.contains_key(&topic.key);
            if !self.may_count(author.id, q / PER_HOUR) {
                return;
            }
            let first = if known { None } else { self.note(topic.key, author.id, q / PER_HOUR) };
            if !known && first.is_none() {
                continue;
            }
            let slot = self.slots.entry(topic.key).or_insert_with(|| Slot::new(topic, at));
            let before = if known { slot.bytes() } else { 0 };
            if let Some(id) = first {
                slot.add_author(Author { id, quarter: q, likeness: 0 }, oldest);
                slot.add_post(q);
            }
            slot.add_post(q);
            slot.add_author(author, oldest);
            slot.first = slot.first.min(at);
            count(&mut slot.spellings, topic.spelling.as_str().into(), SPELLINGS);
            if post.language != [0; 3] {
                count(&mut slot.languages, post.language, LANGUAGES);
            }
            self.bytes += slot.bytes().saturating_sub(before);
            if self.bytes > self.most {
                self.make_room();
            }
        }
    }

    /// Notes who wrote of something within the hour; somebody else who did, if that is known.
    fn note(&mut self, key: u64, author: u32, hour: u32) -> Option<u32> {
        let (at, mark) = place(key, &self.firsts);
        let entry = self.firsts.get_mut(at)?;
        let (hours, other) = ((*entry >> 32 & 0xff) as u8, (*entry & 0xffff_ffff) as u32);
        // One of this hour or of the one before.
        let now = (hour & 0xff) as u8;
        let same = *entry != 0 && *entry >> 40 == mark && now.wrapping_sub(hours) <= 1;
        if same && other != author {
            *entry = 0;
            return Some(other);
        }
        *entry = mark << 40 | u64::from(now) << 32 | u64::from(author);
        None
    }

    /// Whether one more topic of an account counts.
    fn may_count(&mut self, author: u32, hour: u32) -> bool {
        let (at, _) = place(u64::from(author).wrapping_mul(0x9e37_79b9_7f4a_7c15), &self.accounts);
        let Some(entry) = self.accounts.get_mut(at) else { return true };
        let mark = u64::from(author) << 32 | u64::from(hour & 0xffff) << 16;
        let had = if *entry >> 16 == mark >> 16 { *entry & 0xffff } else { 0 };
        *entry = mark | (had + 1).min(OF_ACCOUNT + 1);
        had < OF_ACCOUNT
    }

    /// Lets go of what nobody wrote of within the window.
    pub(super) fn forget(&mut self, now: i64) {
        let oldest = quarter(now).saturating_sub(QUARTERS - 1);
        self.slots.retain(|_, slot| {
            slot.authors.retain(|author| author.quarter >= oldest);
            slot.authors.shrink_to(slot.authors.len() * 2);
            !slot.authors.is_empty()
        });
        self.bytes = self.slots.values().map(Slot::bytes).sum();
        self.make_room();
    }

    /// Lets go of those with the fewest authors, of them the oldest, until a quarter of the room is free.
    fn make_room(&mut self) {
        if self.bytes <= self.most {
            return;
        }
        let of = |(key, slot): (&u64, &Slot)| (slot.authors.len(), slot.newest, Reverse(*key));
        let mut order: Vec<_> = self.slots.iter().map(of).collect();
        order.sort_unstable();
        for (_, _, Reverse(key)) in order {
            if self.bytes <= self.most / 4 * 3 {
                break;
            }
            let gone = self.slots.remove(&key);
            self.bytes = self.bytes.saturating_sub(gone.map_or(0, |slot| slot.bytes()));
        }
        self.slots.shrink_to(self.slots.len() * 2);
    }

    /// Takes back what was saved.
    pub(super) fn restore(&mut self, slots: impl IntoIterator<Item = (u64, Slot)>, now: i64) {
        self.slots.extend(slots);
        self.forget(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hydrate::ActorId;

    const NOW: i64 = 1_800_000_000_000;

    fn topic(name: &str) -> Topic {
        let key = super::super::super::words::key(name);
        Topic { key, kind: Kind::Tag, text: name.to_lowercase(), spelling: name.to_owned() }
    }

    fn post(author: u32, at: i64, names: &[&str]) -> Post {
        let topics = names.iter().map(|name| topic(name)).collect();
        Post { author: ActorId(author), at, language: *b"en\0", likeness: 0, topics }
    }

    fn authors(w: &Window, name: &str) -> usize {
        w.slots.get(&topic(name).key).map_or(0, |slot| slot.authors.len())
    }

    #[test]
    fn a_topic_is_held_from_its_second_author_on() {
        let mut w = Window::new(1 << 20);
        for _ in 0..5 {
            w.add(&post(1, NOW, &["a"]), NOW);
        }
        w.add(&post(1, NOW - 3 * 3_600_000, &["old"]), NOW);
        w.add(&post(2, NOW, &["old"]), NOW);
        assert!(w.slots.is_empty());
        w.add(&post(2, NOW, &["a"]), NOW);
        w.add(&post(2, NOW + 99_999_999, &["a"]), NOW);
        w.add(&post(3, NOW, &["a", "b"]), NOW);
        assert_eq!((authors(&w, "a"), authors(&w, "b")), (3, 0));
        let slot = &w.slots[&topic("a").key];
        let q = quarter(NOW);
        assert_eq!((slot.posts(q, q + 1), slot.posts(0, q), slot.posts(q + 1, q + 9)), (4, 0, 0));
        assert_eq!((slot.spelling(), slot.language().as_deref()), ("a", Some("en")));
        // Three hours later.
        w.forget(NOW + 11 * QUARTER_MS);
        assert_eq!(authors(&w, "a"), 3);
        w.forget(NOW + 12 * QUARTER_MS);
        assert!(w.slots.is_empty() && w.bytes == 0);
    }

    #[test]
    fn posts_of_each_quarter() {
        let mut slot = Slot::new(&topic("a"), NOW);
        let q = quarter(NOW);
        for (after, times) in [(0, 1), (1, 2), (11, 3), (12, 4), (11, 1), (40, 5)] {
            (0..times).for_each(|_| slot.add_post(q + after));
            let here = slot.posts(q + after, q + after + 1);
            assert_eq!(here, if times == 1 && after == 11 { 4 } else { times });
        }
        assert_eq!(slot.posts(0, q + 40), 0);
    }

    #[test]
    fn accounts_that_write_very_much_fill_nothing() {
        let mut w = Window::new(1 << 20);
        for n in 0..20_000 {
            let name = format!("x{n}");
            for author in 0..3 {
                w.add(&post(author, NOW, &[&name]), NOW);
            }
        }
        assert!(w.slots.len() <= 256, "{}", w.slots.len());
        // Another hour.
        w.add(&post(0, NOW + 3_600_000, &["new"]), NOW + 3_600_000);
        w.add(&post(1, NOW + 3_600_000, &["new"]), NOW + 3_600_000);
        assert_eq!(authors(&w, "new"), 2);
    }

    #[test]
    fn what_many_write_of_stays_when_there_is_no_room() {
        let mut w = Window::new(1 << 18);
        (0..40).for_each(|author| w.add(&post(author, NOW, &["many"]), NOW));
        (0..400).for_each(|author| w.add(&post(author, NOW, &["most"]), NOW));
        for n in 0..4_000 {
            let name = format!("x{n}");
            w.add(&post(1_000 + n, NOW, &[&name]), NOW);
            w.add(&post(9_000 + n, NOW, &[&name]), NOW);
            assert!(w.bytes <= w.most);
        }
        assert_eq!((authors(&w, "many"), authors(&w, "most")), (40, AUTHORS));
        assert!(w.slots.len() > 100);
        assert_eq!(w.bytes, w.slots.values().map(Slot::bytes).sum::<usize>());
    }

    #[test]
    fn the_commonest_of_many() {
        let mut counted = Vec::new();
        for n in 0..300_u32 {
            count(&mut counted, if n % 2 == 0 { 0 } else { n }, 3);
        }
        assert_eq!(commonest(&counted).map(|(one, _)| *one), Some(0));
    }
}
