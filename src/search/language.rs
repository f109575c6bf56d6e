//! Languages of posts: tags as records write them, compared by their primary subtag or whole.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_subtag_has_two_letters_where_it_can() {
        let tags = ["en-us", "eng", "pt", "jpn-hira", "ast", "", "zh_tw"];
        assert_eq!(tags.map(primary), ["en", "en", "pt", "ja", "ast", "", "zh"]);
    }
}
