//! Which popular accounts, starter packs and lists are about which word.
//!
//! Only the beginning of a hash of each word is held, so now and then something is found that is about another one: it is
//! in a list of suggestions, not in an answer to a search.

use rustc_hash::FxHashSet;

use super::words;
use crate::hydrate::{ActorId, RecordId};

/// Words of one profile or record that count.
const WORDS: usize = 24;
/// Letters of a word that counts.
const SHORTEST: usize = 2;
/// Accounts that are held of a word, and in all.
const OF_A_WORD: usize = 64;
const HELD: usize = 250_000;
/// Words that are looked for at once.
const SOUGHT: usize = 4;

type Entry = (u32, u16);

/// By the beginning of a word's hash, accounts and records by their place.
#[derive(Debug, Default)]
pub(super) struct About {
    accounts: Box<[Entry]>,
    records: Box<[Entry]>,
    places: Box<[ActorId]>,
    ids: Box<[RecordId]>,
}

/// What was read so far.
#[derive(Default)]
pub(super) struct Collected {
    accounts: Vec<Entry>,
    records: Vec<Entry>,
    ids: Vec<RecordId>,
}

fn short(word: &str) -> u32 {
    // The beginning.
    u32::try_from(words::key(word) >> 32).unwrap_or(0)
}

/// The hashes of a text's words, each once.
fn hashes(texts: &[&str], most: usize) -> FxHashSet<u32> {
    let mut out = FxHashSet::default();
    for text in texts {
        words::each_word(text, &mut |word| {
            if out.len() < most && word.chars().count() >= SHORTEST {
                out.insert(short(word));
            }
        });
    }
    out
}

impl Collected {
    /// The texts of the account at a place; the earlier ones are better known.
    pub(super) fn account(&mut self, place: u16, texts: &[&str]) {
        self.accounts.extend(hashes(texts, WORDS).into_iter().map(|word| (word, place)));
        if self.accounts.len() > 3 * HELD {
            self.accounts = held(std::mem::take(&mut self.accounts));
        }
    }

    /// The texts of a record.
    pub(super) fn record(&mut self, id: RecordId, texts: &[&str]) {
        if let Ok(place) = u16::try_from(self.ids.len()) {
            self.ids.push(id);
            self.records.extend(hashes(texts, WORDS).into_iter().map(|word| (word, place)));
        }
    }

    /// All of it; `places` are the accounts at the places.
    pub(super) fn done(mut self, places: &[ActorId]) -> About {
        self.records.sort_unstable();
        About {
            accounts: held(self.accounts).into(),
            records: self.records.into(),
            places: places.into(),
            ids: self.ids.into(),
        }
    }
}

/// In order, and no more than are held of each word and in all.
fn held(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_unstable();
    let (mut last, mut count) = (None, 0);
    entries.retain(|(word, _)| {
        count = if last == Some(*word) { count + 1 } else { 1 };
        last = Some(*word);
        count <= OF_A_WORD
    });
    if entries.len() > HELD {
        // Who is followed by fewer goes.
        entries.sort_unstable_by_key(|(word, place)| (*place, *word));
        entries.truncate(HELD);
        entries.sort_unstable();
    }
    entries.shrink_to_fit();
    entries
}

fn of_word(entries: &[Entry], word: u32) -> impl Iterator<Item = u16> {
    let from = entries.partition_point(|(w, _)| *w < word);
    let these = entries.get(from..).unwrap_or_default().iter();
    these.take_while(move |(w, _)| *w == word).map(|(_, place)| *place)
}

fn of_words(entries: &[Entry], sought: &FxHashSet<u32>) -> Vec<u16> {
    let mut sought = sought.iter();
    let Some(first) = sought.next() else { return Vec::new() };
    let rest: Vec<u32> = sought.copied().collect();
    let has = |place: &u16, word: &u32| of_word(entries, *word).any(|other| other == *place);
    of_word(entries, *first).filter(|place| rest.iter().all(|word| has(place, word))).collect()
}

impl About {
    /// Accounts whose profiles have all words of a text, the best known first.
    pub(super) fn accounts(&self, text: &str) -> Vec<ActorId> {
        let places = of_words(&self.accounts, &hashes(&[text], SOUGHT));
        places.iter().filter_map(|place| self.places.get(usize::from(*place)).copied()).collect()
    }

    /// Starter packs and lists of which that is true.
    pub(super) fn records(&self, text: &str) -> Vec<RecordId> {
        let places = of_words(&self.records, &hashes(&[text], SOUGHT));
        places.iter().filter_map(|place| self.ids.get(usize::from(*place)).copied()).collect()
    }

    /// Whether anything is about all words of a text.
    pub(super) fn knows(&self, text: &str) -> bool {
        !self.accounts(text).is_empty() || !self.records(text).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hydrate::{Rkey, collections as c};

    #[test]
    fn who_has_all_words_the_best_known_first() {
        let places: Vec<ActorId> = (10..14).map(ActorId).collect();
        let id = RecordId { actor: ActorId(1), coll: c::STARTERPACK, rkey: Rkey(1) };
        let mut collected = Collected::default();
        collected.account(2, &["Animals of all kinds"]);
        collected.account(0, &["I paint", "animals, animals, and people"]);
        collected.account(1, &["people"]);
        collected.record(id, &["People who paint"]);
        let about = collected.done(&places);
        assert_eq!(about.accounts("ANIMALS"), [ActorId(10), ActorId(12)]);
        assert_eq!(about.accounts("animals people"), [ActorId(10)]);
        for none in ["", "a", "plants", "animals plants"] {
            assert_eq!(about.accounts(none), [], "{none}");
        }
        assert_eq!((about.records("paint"), about.records("animals")), (vec![id], vec![]));
        assert!(about.knows("paint") && about.knows("kinds") && !about.knows("plants"));
    }

    #[test]
    fn what_is_held_has_an_end() {
        let mut collected = Collected::default();
        for place in 0..15_000 {
            let texts: Vec<String> = (0..24).map(|n| format!("w{place}x{n}")).collect();
            collected.account(place, &[&texts.join(" "), "common"]);
        }
        let about = collected.done(&vec![ActorId(1); 15_000]);
        assert!((HELD - 64..=HELD).contains(&about.accounts.len()), "{}", about.accounts.len());
        assert!(about.knows("w0x1") && !about.knows("w14999x1"), "the best known stay");
    }
}
