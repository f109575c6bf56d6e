//! The words of a text, as people search for them: runs of letters and digits in lower case, and of scripts that put no
//! spaces between words each two neighbours.

use ipld_core::ipld::Ipld;

use crate::repo::fields;

/// Letters of a word that count; longer ones are cut.
const LONGEST: usize = 32;

/// Whether a script puts no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han, Hangul.
fn is_spaceless(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{20000}'..='\u{3ffff}')
}

/// Whether it is part of a word: letters, digits, and the marks on letters of Indic scripts.
pub(super) fn is_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{dff}')
}

/// Calls `each` with the words of a text in order.
pub(super) fn each_word(text: &str, each: &mut dyn FnMut(&str)) {
    let (mut word, mut letters, mut before) = (String::new(), 0, None);
    for c in text.chars().chain([' ']) {
        let spaceless = is_spaceless(c);
        if !spaceless && is_part(c) {
            if letters < LONGEST {
                word.extend(c.to_lowercase());
            }
            letters += 1;
        } else if letters > 0 {
            each(&word);
            word.clear();
            letters = 0;
        }
        if let Some(first) = before.take().filter(|_| spaceless) {
            each(String::from_iter([first, c]).as_str());
        }
        before = Some(c).filter(|_| spaceless);
    }
}

/// The primary subtag of the first language that a post says it is in, in lower case.
pub(super) fn language(post: &Ipld) -> Option<String> {
    let Some(Ipld::String(tag)) = fields::list(post, "langs").first() else { return None };
    tag.split('-').next().map(str::to_ascii_lowercase)
}

/// What stands for a word where many are kept.
pub(super) fn key(word: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_all_scripts() {
        let long = "x".repeat(100);
        for (text, expect) in [
            ("", &[][..]),
            ("  ?!  ", &[]),
            ("Cats & DOGS, e-mail", &["cats", "dogs", "e", "mail"]),
            ("It's 2026", &["it", "s", "2026"]),
            ("Фото ÉTÉ", &["фото", "été"]),
            ("हिन्दी भाषा", &["हिन्दी", "भाषा"]),
            ("猫が好き cat", &["猫が", "が好", "好き", "cat"]),
            ("猫", &[]),
            ("ab猫犬cd", &["ab", "猫犬", "cd"]),
            (long.as_str(), &[&long[..LONGEST]]),
        ] {
            let mut found = Vec::new();
            each_word(text, &mut |word| found.push(word.to_owned()));
            assert_eq!(found, expect, "{text}");
        }
    }
}
