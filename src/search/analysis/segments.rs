//! Where words begin and end in scripts that are written without spaces. Nothing is found by that, since no dictionary has
//! all words: it only says what of the found is the better.

use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;

use super::MAX_TEXT;
use super::scan::{cut, normalized};

/// Where words of a text begin and end, in order. Bytes of the text after NFKC, as those of tokens.
#[must_use]
pub fn word_ends(text: &str) -> Vec<usize> {
    let mut buffer = String::new();
    let text = normalized(cut(text, MAX_TEXT), &mut buffer);
    WordSegmenter::new_dictionary(WordBreakInvariantOptions::default()).segment_str(text).collect()
}
