//! Languages of posts: tags as records write them, compared by their primary subtag or whole.

use icu_properties::CodePointMapData;
use icu_properties::props::Script;

/// Codes of three letters that records have in place of those of two.
#[rustfmt::skip]
const LONG: &[(&str, &str)] = &[
    ("ara", "ar"), ("ces", "cs"), ("cze", "cs"), ("chi", "zh"), ("zho", "zh"), ("cmn", "zh"), ("deu", "de"),
    ("ger", "de"), ("dut", "nl"), ("nld", "nl"), ("ell", "el"), ("gre", "el"), ("eng", "en"), ("fin", "fi"),
    ("fra", "fr"), ("fre", "fr"), ("heb", "he"), ("hin", "hi"), ("hun", "hu"), ("ind", "id"), ("ita", "it"),
    ("jpn", "ja"), ("kor", "ko"), ("pol", "pl"), ("por", "pt"), ("ron", "ro"), ("rum", "ro"), ("rus", "ru"),
    ("spa", "es"), ("swe", "sv"), ("tha", "th"), ("tur", "tr"), ("ukr", "uk"), ("vie", "vi"),
];

/// The primary subtag of a tag in lower case; where there is a code of two letters, that.
#[must_use]
pub fn primary(tag: &str) -> &str {
    let first = tag.split(['-', '_']).next().unwrap_or_default();
    LONG.iter().find(|(long, _)| *long == first).map_or(first, |(_, short)| *short)
}

/// Languages that a query may be in, as far as its script says: kana are Japanese, Han alone may be Chinese as well.
#[must_use]
pub fn detected(query: &str) -> Vec<&'static str> {
    let scripts = CodePointMapData::<Script>::new();
    let (mut kana, mut han) = (false, false);
    let mut out = Vec::new();
    for c in query.chars().filter(|c| !c.is_ascii()) {
        let language = match scripts.get(c) {
            Script::Hiragana | Script::Katakana => {
                kana = true;
                continue;
            }
            Script::Han => {
                han = true;
                continue;
            }
            Script::Hangul => "ko",
            Script::Thai => "th",
            Script::Arabic => "ar",
            _ => continue,
        };
        if !out.contains(&language) {
            out.push(language);
        }
    }
    match (kana, han) {
        (true, _) => out.insert(0, "ja"),
        (false, true) => drop(out.splice(0..0, ["zh", "ja"])),
        (false, false) => {}
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_say_which_languages_it_may_be() {
        for (query, expected) in [
            ("熱力学の本", &["ja"][..]),
            ("カタカナ", &["ja"]),
            ("熱力学", &["zh", "ja"]),
            ("한글 좋다", &["ko"]),
            ("ภาษา", &["th"]),
            ("كتاب", &["ar"]),
            ("한글 漢字 ไทย", &["zh", "ja", "ko", "th"]),
            ("plain año Ελλάδα русский 🎉", &[]),
            ("", &[]),
        ] {
            assert_eq!(detected(query), expected, "{query}");
        }
    }

    #[test]
    fn the_primary_subtag_has_two_letters_where_it_can() {
        let tags = ["en-us", "eng", "pt", "jpn-hira", "ast", "", "zh_tw"];
        assert_eq!(tags.map(primary), ["en", "en", "pt", "ja", "ast", "", "zh"]);
    }
}
