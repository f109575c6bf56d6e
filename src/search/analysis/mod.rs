//! How a text becomes terms: one function for posts, profiles and queries, so that they cannot disagree.
//!
//! 1. NFKC and lower case. What is invisible goes: soft hyphens, zero-width and bidi characters, variation selectors,
//!    tatweel.
//! 2. Latin, Greek and Cyrillic lose their marks, Arabic its harakat, forms of alef and article; ß is ss and so on. Digits
//!    of all scripts are those of ASCII. Vowel signs of Indic scripts and Thai stay. There are no stems and no stop words.
//! 3. A word is a run of letters, digits, marks and `_`. Apostrophes split; before s t re ve ll d m the joined form is a
//!    term as well.
//! 4. Scripts that are written without spaces give the overlapping pairs of each run, and the last unit by itself: so one
//!    unit is found as what terms begin with.
//! 5. An emoji is one term, without selectors and skin tones.
//!
//! Terms longer than [`MAX_TERM`] are cut there, and of a text [`MAX_TEXT`] bytes are read.
//!
//! # Invariants
//! - No text panics, and what is kept between texts is bounded by the longest.
//! - Every term is at most [`MAX_TERM`] bytes long and not empty.
//! - An index of other rules gives other answers: whoever changes a rule counts [`ANALYSIS`] up.

mod chars;
mod names;
mod scan;
mod segments;
mod tokens;

pub use names::{AccountNames, COMMON_DOMAIN, fold, joined, tag_term};
pub use segments::word_ends;
pub use tokens::{Kind, Term, Token, Tokens};

use scan::{Scanner, Sink};
use std::ops::Range;

/// The version of these rules. An index that was made by another is made again.
pub const ANALYSIS: u32 = 1;

/// Bytes of the longest term.
pub const MAX_TERM: usize = 64;

/// Bytes of a text that are read; those of posts are a tenth of it, descriptions of pictures have no limit of their own.
pub const MAX_TEXT: usize = 32 << 10;

/// Makes terms of texts; its buffers serve all of them.
#[derive(Debug, Default)]
pub struct Analyzer(Scanner);

impl Analyzer {
    /// Calls `found` with each term that the index keeps of a text, in order; those that occur twice come twice.
    pub fn terms(&mut self, text: &str, found: &mut impl FnMut(&str)) {
        self.0.scan(text, &mut Terms(found));
    }
}

struct Terms<'a, F>(&'a mut F);

impl<F: FnMut(&str)> Sink for Terms<'_, F> {
    fn word(&mut self, term: &str, _: Range<usize>) {
        (self.0)(term);
    }

    fn joined(&mut self, term: &str) {
        (self.0)(term);
    }

    fn unit(&mut self, _: &str, pair: Option<&str>, _: Range<usize>) {
        if let Some(pair) = pair {
            (self.0)(pair);
        }
    }

    fn run_end(&mut self, last: &str) {
        (self.0)(last);
    }

    fn emoji(&mut self, term: &str, _: Range<usize>) {
        (self.0)(term);
    }
}

#[cfg(test)]
mod tests;
