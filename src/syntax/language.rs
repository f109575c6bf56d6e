//! BCP 47 language tags, with the reference's extra rules: a primary subtag of two or three lower-case letters, no
//! repeated variant and no repeated extension singleton (RFC 5646 section 4.1).

use smallvec::SmallVec;

const GRANDFATHERED: &[&str] = &[
    "en-GB-oed",
    "i-ami",
    "i-bnn",
    "i-default",
    "i-enochian",
    "i-hak",
    "i-klingon",
    "i-lux",
    "i-mingo",
    "i-navajo",
    "i-pwn",
    "i-tao",
    "i-tay",
    "i-tsu",
    "sgn-BE-FR",
    "sgn-BE-NL",
    "sgn-CH-DE",
    "art-lojban",
    "cel-gaulish",
    "no-bok",
    "no-nyn",
    "zh-guoyu",
    "zh-hakka",
    "zh-min",
    "zh-min-nan",
    "zh-xiang",
];

/// Whether the text is a language tag by the lexicon's `language` format.
pub fn is_language(text: &str) -> bool {
    // A record may hold a very long tag; every pass below is linear but for the duplicate checks.
    if GRANDFATHERED.contains(&text) {
        return true;
    }
    let mut subtags = text.split('-').peekable();
    let Some(primary) = subtags.next() else { return false };
    if primary.eq_ignore_ascii_case("x") {
        return private_use(subtags);
    }
    if !(2..=3).contains(&primary.len()) || !primary.bytes().all(|b| b.is_ascii_lowercase()) {
        return false;
    }
    for _ in 0..3 {
        if subtags.next_if(|s| alpha(s, 3..=3)).is_none() {
            break;
        }
    }
    subtags.next_if(|s| alpha(s, 4..=4));
    subtags.next_if(|s| alpha(s, 2..=2) || (s.len() == 3 && s.bytes().all(|b| b.is_ascii_digit())));
    let mut variants: SmallVec<[&str; 4]> = SmallVec::new();
    while let Some(variant) = subtags.next_if(|s| is_variant(s)) {
        if variants.len() == MAX_VARIANTS
            || variants.iter().any(|v| v.eq_ignore_ascii_case(variant))
        {
            return false;
        }
        variants.push(variant);
    }
    let mut seen = 0u128;
    while let Some(singleton) = subtags.next_if(|s| is_singleton(s)) {
        let bit = singleton.bytes().next().map_or(0, |b| 1u128 << (b.to_ascii_lowercase() - b'0'));
        if seen & bit != 0 || subtags.next_if(|s| alnum(s, 2..=8)).is_none() {
            return false;
        }
        seen |= bit;
        while subtags.next_if(|s| alnum(s, 2..=8)).is_some() {}
    }
    match subtags.next() {
        None => true,
        Some(x) => x.eq_ignore_ascii_case("x") && private_use(subtags),
    }
}

/// More variants than any registered tag has; bounds the quadratic search for duplicates.
const MAX_VARIANTS: usize = 64;

fn private_use<'a>(mut subtags: impl Iterator<Item = &'a str>) -> bool {
    subtags.next().is_some_and(|s| alnum(s, 1..=8)) && subtags.all(|s| alnum(s, 1..=8))
}

fn alpha(s: &str, len: std::ops::RangeInclusive<usize>) -> bool {
    len.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphabetic())
}

fn alnum(s: &str, len: std::ops::RangeInclusive<usize>) -> bool {
    len.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn is_variant(s: &str) -> bool {
    alnum(s, 5..=8) || (alnum(s, 4..=4) && s.bytes().next().is_some_and(|b| b.is_ascii_digit()))
}

fn is_singleton(s: &str) -> bool {
    alnum(s, 1..=1) && !s.eq_ignore_ascii_case("x")
}

#[cfg(test)]
mod tests {
    use super::is_language;

    #[test]
    fn vectors() {
        for tag in [
            "de",
            "de-CH",
            "de-DE-1901",
            "es-419",
            "sl-IT-nedis",
            "mn-Cyrl-MN",
            "x-fr-CH",
            "X-fr-CH",
            "de-X-foo",
            "en-GB-boont-r-extended-sequence-x-private",
            "sr-Cyrl",
            "hy-Latn-IT-arevela",
            "i-klingon",
            "sl-rozaj-biske",
            "en-u-co-phonebk-t-en-US",
            "zh-min-nan",
            "en-GB-oed",
            "zh-cmn-Hans-CN",
            "ast",
        ] {
            assert!(is_language(tag), "{tag}");
        }
        for tag in [
            "",
            "x",
            "de-CH-",
            "i-bad-grandfathered",
            "JA",
            "jaja",
            "english",
            "de-DE-1901-1901",
            "en-a-foo-A-bar",
            "-en",
            "en-",
            "123",
            "en-a",
            "e",
            "en-x",
            "en--US",
            "j_a",
            "I-klingon",
            "en-x-toolongsub",
        ] {
            assert!(!is_language(tag), "{tag}");
        }
    }
}
