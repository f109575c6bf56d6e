//! Whether what was found in scripts without spaces between words is a word there, or a part of another: 京都 is none in
//! 東京都. Of Hangul, which has spaces but writes particles without, a word begins after a space, and what follows it may
//! be a particle.

use std::ops::Range;

use super::ast::Words;
use crate::search::analysis::{Kind, Tokens, word_ends};

/// Places of a word in a text that are looked at.
const MOST_PLACES: usize = 16;
/// Syllables of the longest particle.
const LONGEST_PARTICLE: usize = 3;

/// What follows a noun of Korean and is written to it.
const PARTICLES: [&str; 66] = [
    "은",
    "는",
    "이",
    "가",
    "을",
    "를",
    "의",
    "에",
    "도",
    "만",
    "과",
    "와",
    "로",
    "으로",
    "나",
    "이나",
    "랑",
    "이랑",
    "하고",
    "에서",
    "에게",
    "한테",
    "께",
    "께서",
    "부터",
    "까지",
    "처럼",
    "보다",
    "마다",
    "조차",
    "마저",
    "밖에",
    "라도",
    "이라도",
    "요",
    "들",
    "들이",
    "들은",
    "들을",
    "들의",
    "들도",
    "에는",
    "에도",
    "에만",
    "에서는",
    "에서도",
    "에게는",
    "에게도",
    "으로는",
    "으로도",
    "로는",
    "로도",
    "까지는",
    "까지도",
    "부터는",
    "만은",
    "만이",
    "만을",
    "이다",
    "입니다",
    "인",
    "이라",
    "라는",
    "이라는",
    "라고",
    "이라고",
];

/// Points for a body that has all of these words: one if each is a word of its own there; of Hangul one if each begins
/// one, and one if each is followed by a particle at most.
pub(super) fn points(body: &str, tokens: &Tokens, wanted: &[&Words]) -> i32 {
    let mut text = Text { body, tokens, ends: None };
    let (mut segmented, mut hangul) = (None, None);
    for words in wanted {
        let Some(is_hangul) = is_hangul(words) else { continue };
        let places = tokens.all(&words.tokens).take(MOST_PLACES);
        let here = |place: Range<usize>| match is_hangul {
            true => text.as_korean(&place),
            false => i32::from(text.is_segmented_at(&place)),
        };
        let best = places.map(here).max().unwrap_or(0);
        // The least of all words counts.
        let least = if is_hangul { &mut hangul } else { &mut segmented };
        *least = Some(least.map_or(best, |least: i32| least.min(best)));
    }
    segmented.unwrap_or(0) + hangul.unwrap_or(0)
}

/// Of words with a part in a script without spaces, whether that is Hangul.
fn is_hangul(words: &Words) -> Option<bool> {
    let mut units = words.tokens.iter().filter(|(token, _)| token.kind == Kind::Unit);
    let first = units.next()?.1.chars().next();
    Some(first.is_some_and(|c| matches!(c, '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7a3}')))
}

struct Text<'a> {
    body: &'a str,
    tokens: &'a Tokens,
    /// Where its words end, once that was asked for.
    ends: Option<Vec<usize>>,
}

impl Text<'_> {
    fn is_glued(&self, place: usize) -> bool {
        self.tokens.get(place).is_some_and(|(token, _)| token.glued)
    }

    /// Whether a word begins and ends where this does.
    fn is_segmented_at(&mut self, place: &Range<usize>) -> bool {
        let byte = |place: usize| self.tokens.get(place).map(|(token, _)| token.at.start);
        // What no other unit touches need not be looked up.
        let inner = [place.start, place.end].map(|at| byte(at).filter(|_| self.is_glued(at)));
        inner.into_iter().flatten().all(|at| {
            let ends = self.ends.get_or_insert_with(|| word_ends(self.body));
            ends.binary_search(&at).is_ok()
        })
    }

    fn as_korean(&self, place: &Range<usize>) -> i32 {
        let begins = !self.is_glued(place.start);
        let after = (place.end..).take_while(|place| self.is_glued(*place));
        let after: String = after
            .take(LONGEST_PARTICLE + 1)
            .filter_map(|place| self.tokens.get(place).map(|(_, unit)| unit))
            .collect();
        let ends = after.is_empty() || PARTICLES.contains(&after.as_str());
        i32::from(begins) + i32::from(ends)
    }
}
