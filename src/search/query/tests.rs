use proptest::prelude::*;

use super::*;
use crate::search::analysis::Term;

fn words_of(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    parse(text).unwrap().leaves(&mut |leaf| out.push(leaf.to_string()));
    out
}

#[test]
fn trees_are_written_so_that_they_are_read_again() {
    for (text, expected) in [
        ("a b OR c -d", "(a b) OR (c -d)"),
        ("a (b|c) -(d e)", "a (b OR c) -(d e)"),
        ("From:@Ann.Test @BOB.test did:plc:x", "(from:ann.test OR from:did:plc:x) to:bob.test"),
        ("“a b” ＃Tag", "\"a b\" #\"tag\""),
        ("replies:none media:true is:quote", "-is:reply has:media has:quote"),
        ("after:2026-01-02", "since:2026-01-03T00:00:00.000Z"),
        ("since:nope lang:EN-us", "since:nope lang:en-us"),
        ("url:Example.com/a)", "url:\"https://example.com/a\""),
        ("- ( ) \"", ""),
    ] {
        assert_eq!(parse(text).unwrap().to_string(), expected, "{text}");
    }
}

#[test]
fn too_much_is_refused_and_nothing_else() {
    let long = "é".repeat(MAX_CHARACTERS);
    assert!(parse(&long).is_ok());
    assert_eq!(parse(&format!("{long}x")), Err(QueryError::TooLong));
    let many = |count: usize| "a ".repeat(count);
    assert!(parse(&many(MAX_TERMS)).is_ok());
    assert_eq!(parse(&many(MAX_TERMS + 1)), Err(QueryError::TooManyTerms));
    let deep = |count: usize| format!("{}a b{}", "(".repeat(count), ")".repeat(count));
    assert!(parse(&deep(MAX_DEPTH)).is_ok());
    assert_eq!(parse(&deep(MAX_DEPTH + 1)), Err(QueryError::TooDeep));
    // What is never closed is no group.
    assert_eq!(parse(&format!("{}a", "(".repeat(1_000))).unwrap().to_string(), "a");
    for error in [QueryError::TooLong, QueryError::TooManyTerms, QueryError::TooDeep] {
        assert!(error.is_bad_query());
    }
}

#[test]
fn what_people_and_attackers_type_is_answered() {
    let repeated = |text: &str| text.repeat(MAX_CHARACTERS / text.chars().count());
    let inputs: Vec<String> = testing::STRANGE
        .iter()
        .map(|text| (*text).to_owned())
        .chain(
            [
                "(",
                ")",
                "\"",
                "-",
                "#",
                ":",
                "@",
                "a:",
                "from:",
                "\u{fdfa}",
                "熱",
                "é",
                "a\u{301}",
                "()",
                "-(",
                "\"a",
                "http://(",
                "👩\u{200d}",
                "|",
                "aa\"",
                "OR ",
                "x(",
                "[",
                "\u{202e}",
            ]
            .map(repeated),
        )
        .collect();
    assert!(inputs.len() > 100);
    for text in &inputs {
        let Ok(tree) = parse(text) else { continue };
        let written = tree.to_string();
        // Written in full it may be too long.
        if written.chars().count() <= MAX_CHARACTERS {
            assert_eq!(parse(&written).as_ref(), Ok(&tree), "{text:?} is written {written:?}");
        }
    }
}

#[test]
fn invisible_characters_and_kinds_of_spaces_say_nothing() {
    for text in [
        "a\u{a0}b",
        "a\u{3000}b",
        "a\tb",
        "a\nb",
        "a\0b",
        "\u{200e}a\u{2028}b\u{2069}",
        "a\u{200b} b",
    ] {
        assert_eq!(words_of(text), ["a", "b"], "{text:?}");
    }
}

#[test]
fn the_index_is_asked_for_terms_of_words() {
    let query = parse("e-mail 熱力学 力 don't").unwrap();
    let (mut terms, mut exact) = (Vec::new(), Vec::new());
    query.leaves(&mut |leaf| {
        let Leaf::Plain(Plain::Word(words)) = leaf else { panic!("{leaf}") };
        exact.push(words.is_exact());
        words.terms(&mut |term| {
            terms.push(match term {
                Term::Exact(term) => term.to_owned(),
                Term::Prefix(term) => format!("{term}.."),
            })
        });
    });
    assert_eq!(terms, ["e", "mail", "熱力", "力学", "力..", "dont"]);
    assert_eq!(exact, [false, false, true, true]);
}

/// Texts of what the grammar is about.
fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        1 => any::<char>().prop_map(String::from),
        8 => proptest::sample::select(vec![
            "a", "B", "é", "熱力", "👍", "\u{200d}", "🚀", " ", " ", " ", "(", ")", "(", ")", "|", "OR", " OR ", "AND",
            "-", "−", "\"", "”", "#", "@", ":", "from:", "to:", "lang:", "since:", "url:", "domain:", "has:", "is:",
            "in:", "alt:", "me", "ann.test", "did:plc:x", "2026", "-01", "T10:00", "en", "link", "reply", "likes",
            "https://", "at://", "/app.bsky.feed.post/", "x", "example.com", "/?b=%41", "bsky.app/profile/", "/post/",
            ".", ",", "!", "+", "'", "\u{301}", "\u{fdfa}", "\u{202e}", "％", "＃",
        ]).prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn any_text_is_written_so_that_it_is_read_again(text in texts()) {
        if let Ok(tree) = parse(&text) {
            let written = tree.to_string();
            prop_assert_eq!(parse(&written), Ok(tree), "{:?}", written);
        }
    }
}
