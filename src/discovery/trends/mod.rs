//! What many people write of at the moment, and do not every day.
//!
//! ```text
//! log of changes -> topics (tags, links, pairs of words) -> window (3 hours, who) -> rank, again and again -> trends
//!                                                              |                      ^
//!                                                              +-> usual (14 days) ---+
//! score = (independent authors - those to be expected) / sqrt(those to be expected + 1)
//! ```
//!
//! An author is independent if two others follow them who do not write of the same, no label speaks against them, and
//! nobody else wrote nearly the same text. What is written long ago, as in a repo that is imported, is of no moment.
//!
//! All of it is in memory, and now and then in one file with the place in the log from which it goes on. Only who wrote of
//! a topic that nobody else wrote of yet is not in the file.

mod rank;
mod topics;
mod usual;
mod window;

use std::fs;
use std::io;
use std::path::Path;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{Ground, saved};
use crate::changes::{Cause, Change, Entry, Follower, Mark, Position, What};
use crate::hydrate::{ActorId, Result, collections as c};
use crate::schema::{PostId, Rows as _};
use crate::store::Snapshot;
use crate::threads::Clock;
use rank::{Candidate, Found};
use topics::{Kind, Post};
use usual::Usual;
use window::{QUARTER_MS, QUARTERS, Slot, Window, quarter};

/// The file in the folder of the store, its form, and the most that is read of it.
const FILE: &str = "trends.cbor";
const FORM: u32 = 1;
const MOST: u64 = 256 << 20;
const HOUR_MS: i64 = 4 * QUARTER_MS;

/// A topic that is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    /// As most write it.
    pub name: String,
    /// The path of the page that shows what is written of it.
    pub link: String,
    /// When it began, milliseconds.
    pub started_at: i64,
    /// Posts of the last three hours.
    pub posts: u64,
    /// The last hour has twice as many as the one before.
    pub hot: bool,
    /// The language of most of them.
    pub language: Option<String>,
    /// Some who write of it, most followed first.
    pub authors: Vec<ActorId>,
}

/// The topics of the last hours, as a follower of the log.
pub struct Trends {
    clock: Clock,
    /// What is usual takes no more.
    usual_bytes: usize,
    state: Mutex<State>,
    ranked: ArcSwap<Vec<Trend>>,
}

struct State {
    /// The next change; none before the first one.
    next: Option<u64>,
    window: Window,
    usual: Usual,
}

#[derive(Serialize)]
struct ToSave<'a> {
    form: u32,
    next: u64,
    slots: Vec<(u64, &'a Slot)>,
    usual: &'a Usual,
}

#[derive(Deserialize)]
struct Saved {
    form: u32,
    next: u64,
    slots: Vec<(u64, Slot)>,
    usual: Usual,
}

impl State {
    /// Goes on to a time: hours that are over become part of what is usual, and what is older than the window goes.
    fn advance(&mut self, now: i64, usual_bytes: usize) {
        let hour = now.div_euclid(HOUR_MS);
        if self.usual.is_due(hour) {
            self.window.forget(now);
            let authors = self.window.slots.iter().map(|(key, slot)| (*key, slot.authors.len()));
            self.usual.record(hour, authors, usual_bytes);
        }
    }
}

impl Trends {
    /// In about so many bytes.
    #[must_use]
    pub fn new(bytes: u64, clock: Clock) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let window = Window::new(bytes / 4 * 3);
        let state = State { next: None, window, usual: Usual::default() };
        Self { clock, usual_bytes: bytes / 4, state: Mutex::new(state), ranked: ArcSwap::default() }
    }

    /// Takes back what was saved in a folder, if that was done.
    pub fn recall(&self, folder: &Path) {
        let file = folder.join(FILE);
        if fs::metadata(&file).is_ok_and(|about| about.len() <= MOST)
            && let Ok(bytes) = fs::read(&file)
            && let Ok(saved) = serde_ipld_dagcbor::from_slice::<Saved>(&bytes)
            && saved.form == FORM
        {
            let mut state = self.state.lock();
            state.next = Some(saved.next);
            state.usual = saved.usual;
            state.window.restore(saved.slots, self.clock.now_ms());
        }
    }

    /// Saves all of it in a folder, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let bytes = {
            let state = self.state.lock();
            let Some(next) = state.next else { return Ok(()) };
            let slots = state.window.slots.iter().map(|(key, slot)| (*key, slot)).collect();
            let saved = ToSave { form: FORM, next, slots, usual: &state.usual };
            serde_ipld_dagcbor::to_vec(&saved).map_err(io::Error::other)?
        };
        saved::replace(&folder.join(FILE), &bytes)
    }

    /// Finds out what is shown from now on.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn rank(&self, ground: &Ground<'_>) -> Result<()> {
        let now = self.clock.now_ms();
        let candidates = self.candidates(now);
        let found = ground.read(|h| rank::trends(h, candidates))?;
        let (mut state, mut rises) = (self.state.lock(), FxHashMap::default());
        let trends = found.into_iter().map(|found| {
            let begin = |q: u32| i64::from(q) * QUARTER_MS;
            let rise = match found.slot.rise {
                0 => rank::rise(&found.slot, quarter(now), found.expected, begin),
                rise => rise,
            };
            rises.insert(found.key, rise);
            shown(found, rise, now)
        });
        let trends = trends.collect();
        for (key, slot) in &mut state.window.slots {
            slot.rise = rises.get(key).copied().unwrap_or(0);
        }
        drop(state);
        self.ranked.store(Arc::new(trends));
        Ok(())
    }

    fn candidates(&self, now: i64) -> Vec<Candidate> {
        let mut state = self.state.lock();
        state.advance(now, self.usual_bytes);
        state.window.forget(now);
        let all = state.window.slots.values().map(|slot| slot.authors.len()).sum();
        let (hour, words) = (now.div_euclid(HOUR_MS), state.usual.knows_words());
        let mut out = Vec::new();
        for (key, slot) in &state.window.slots {
            let expected = state.usual.expected(*key, hour, all);
            if (words || slot.kind != Kind::Phrase) && rank::may_be(slot.authors.len(), expected) {
                out.push(Candidate { key: *key, slot: slot.clone(), expected });
            }
        }
        out
    }

    /// The trends, those in languages that the reader knows first.
    #[must_use]
    pub fn shown(&self, languages: &[String]) -> Vec<Trend> {
        let mut trends = Vec::clone(&self.ranked.load());
        if !languages.is_empty() {
            // Stable.
            trends.sort_by_key(|trend| {
                trend.language.as_ref().is_some_and(|language| !languages.contains(language))
            });
        }
        trends
    }
}

fn shown(found: Found, rise: i64, now: i64) -> Trend {
    let (slot, q) = (&found.slot, quarter(now));
    let of = |from: u32, to: u32| slot.posts(q.saturating_sub(from) + 1, q.saturating_sub(to) + 1);
    let name = slot.spelling().to_owned();
    let encoded = |text: &str| {
        let query: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        // A blank in a path as in a query.
        query.replace('+', "%20")
    };
    let link = match slot.kind {
        Kind::Tag => format!("/hashtag/{}", encoded(&name)),
        Kind::Phrase => format!("/search?q={}", encoded(&format!("\"{}\"", slot.text))),
        Kind::Link => format!("/search?q={}", encoded(&format!("https://{}", slot.text))),
    };
    Trend {
        name,
        link,
        started_at: rise,
        posts: of(QUARTERS, 0),
        hot: of(4, 0) >= 2 * of(8, 4),
        language: slot.language(),
        authors: found.independent,
    }
}

impl Follower for Trends {
    fn name(&self) -> &'static str {
        "trends"
    }

    fn want(&self, change: &Change) -> bool {
        let post = matches!(change.what, What::Put { coll: c::POST, created: true, .. });
        post && change.mark == Mark::Live
    }

    fn position(&self) -> std::result::Result<Position, Cause> {
        Ok(self.state.lock().next.map_or(Position::Nowhere, Position::At))
    }

    /// What was written before is not looked for: in three hours it is of no moment. What is usual stays.
    fn begin(&self, _: &Snapshot, then: &Position) -> std::result::Result<(), Cause> {
        let mut state = self.state.lock();
        state.window.slots.clear();
        state.window.forget(self.clock.now_ms());
        state.next = then.in_log();
        Ok(())
    }

    fn apply(
        &self,
        changes: &[Entry],
        snapshot: &Snapshot,
        then: &Position,
    ) -> std::result::Result<(), Cause> {
        let now = self.clock.now_ms();
        let oldest = now.saturating_sub(i64::from(QUARTERS) * QUARTER_MS);
        // All that can fail first, so that nothing is counted twice.
        let mut posts = Vec::new();
        for id in changes.iter().filter_map(|entry| entry.change.record()) {
            let Some(row) = snapshot.post(PostId { author: id.actor, rkey: id.rkey })? else {
                continue;
            };
            let at = row.sort_ms(id.rkey);
            if at >= oldest {
                posts.extend(Post::read(id.actor, at, &snapshot.unpack(&row.packed)?));
            }
        }
        let mut state = self.state.lock();
        state.advance(now, self.usual_bytes);
        posts.iter().for_each(|post| state.window.add(post, now));
        state.next = then.in_log();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
