use std::time::Instant;

use proptest::prelude::*;

use super::*;

fn terms(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    Analyzer::default().terms(text, &mut |term| out.push(term.to_owned()));
    out
}

/// The terms, with a space between.
fn of(text: &str) -> String {
    terms(text).join(" ")
}

fn has(text: &str, query: &str) -> bool {
    let mut analyzer = Analyzer::default();
    analyzer.tokens(text).find(&analyzer.query_tokens(query), 0).is_some()
}

#[test]
fn every_rule_of_folding() {
    for (text, expected) in [
        ("Hello, WORLD_2!", "hello world_2"),
        ("ｆｕｌｌ　ｗｉｄｔｈ １２", "full width 12"),
        ("so\u{ad}ft zero\u{200b}width \u{202a}bidi\u{202c} w\u{2060}j", "soft zerowidth bidi wj"),
        ("مـــرحبا", "مرحبا"),
        ("año café Ångström na\u{ef}ve x\u{302}", "ano cafe angstrom naive x"),
        (
            "Straße STRASSE ẞ œuvre Æsir Øl đak Eð łódź Þór",
            "strasse strasse ss oeuvre aesir ol dak ed lodz thor",
        ),
        ("IĞDIR ığdır İstanbul", "igdir igdir istanbul"),
        ("Ελλάδα ΟΔΟΣ οδός", "ελλαδα οδοσ οδοσ"),
        ("Ёлка йод", "елка иод"),
        ("٢٠٢٦ ۲۰۲۶ २०२६ ๒๐๒๖", "2026 2026 2026 2026"),
        ("كِتَابٌ", "كتاب"),
        ("أحمد إلى آخر مدرسة", "احمد الي اخر مدرسه"),
        ("الكتاب والكتاب بالبيت للبيت فالولد كالقمر", "كتاب كتاب بيت بيت ولد قمر"),
        ("ال الى والد", "ال الي والد"),
        ("नमस्ते क़लम", "नमस्ते क़लम"),
        ("v2.0 e-mail 16:9", "v2 0 e mail 16 9"),
        ("the who to be or not to be", "the who to be or not to be"),
    ] {
        let expected: String =
            icu_normalizer::ComposingNormalizerBorrowed::new_nfkc().normalize(expected).into();
        assert_eq!(of(text), expected, "{text}");
    }
}

#[test]
fn apostrophes_split_and_join_before_english_endings() {
    for text in ["don't", "don’t", "DON‘T", "donʼt", "don＇t"] {
        assert_eq!(of(text), "don t dont", "{text}");
    }
    assert_eq!(
        of("John's we'll I'd you're I've I'm"),
        "john s johns we ll well i d id you re youre i ve ive i m im"
    );
    assert_eq!(of("l'amour rock'n'roll 'quoted' x' y"), "l amour rock n roll quoted x y");
    assert_eq!(of("ain't've"), "ain t aint ve");
    for query in ["don't", "dont", "don’t", "don", "dont know"] {
        assert!(has("I don't know", query), "{query}");
        assert_eq!(has("I dont know", query), query != "don", "{query}");
    }
    assert!(!has("l'amour", "lamour") && has("l'amour", "L’Amour") && has("l'amour", "amour"));
}

#[test]
fn scripts_without_spaces_give_pairs_and_the_last_unit() {
    for (text, expected) in [
        ("熱力学", "熱力 力学 学"),
        ("食べる、寝る", "食べ べる る 寝る る"),
        ("東京タワー2024年", "東京 京タ タワ ワー ー 2024 年"),
        ("한글은 좋다", "한글 글은 은 좋다 다"),
        ("ｶﾞｽ", "ガス ス"),
        ("ที่นี่", "ที่นี่ นี่"),
        ("iPhoneを買う", "iphone を買 買う う"),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
    assert!(has("熱力学の本", "熱力学") && has("熱力学の本", "力") && !has("熱と力と学", "熱力学"));
    assert!(!has("力。学", "力学") && has("力。学", "力 学"));
    assert!(has("한글은", "한글") && !has("한국 글", "한글"));
    let mut analyzer = Analyzer::default();
    let asked = |analyzer: &mut Analyzer, text: &str| -> Vec<String> {
        let (tokens, mut out) = (analyzer.query_tokens(text), Vec::new());
        tokens.terms(&mut |term| match term {
            Term::Exact(term) => out.push(term.to_owned()),
            Term::Prefix(term) => out.push(format!("{term}..")),
        });
        out
    };
    assert_eq!(asked(&mut analyzer, "熱力学"), ["熱力", "力学"]);
    assert_eq!(asked(&mut analyzer, "熱 don't 👍"), ["熱..", "dont", "👍"]);
}

#[test]
fn an_emoji_is_one_term_without_selectors_and_skin_tones() {
    for (text, expected) in [
        ("👍👍🏽 ❤️ ❤", "👍 👍 ❤ ❤"),
        ("🇩🇪🇫🇷🇩", "🇩🇪 🇫🇷 🇩"),
        ("👩🏽\u{200d}🚀ok", "👩\u{200d}🚀 ok"),
        ("1️⃣ #⃣ 12", "1⃣ #⃣ 12"),
        ("🏴\u{e0067}\u{e0062}\u{e007f}x", "🏴\u{e0067}\u{e0062}\u{e007f} x"),
        ("a™ ㊙️ ©", "atm 秘 ©"),
        ("\u{200d}\u{fe0f}🏽", ""),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
}

#[test]
fn tags_and_handles() {
    for tag in ["Café", "#CAFÉ", "＃ｃａｆé", " cafe\u{301} ", "c\u{200b}afe"] {
        assert_eq!(tag_term(tag), "cafe", "{tag}");
    }
    assert_eq!(
        (tag_term("日本 語"), tag_term("#"), tag_term("c++")),
        ("日本 語".into(), String::new(), "c++".into())
    );
    assert_eq!((tag_term("❤️"), tag_term("👍🏽")), ("❤".to_owned(), "👍".to_owned()));
    let mut out = Vec::new();
    let mut analyzer = Analyzer::default();
    analyzer.handle_terms("Ann-Lee.bsky.social", &mut |term| out.push(term.to_owned()));
    assert_eq!(out, ["ann-lee.bsky.social", "ann-lee", "ann", "lee"]);
    out.clear();
    analyzer.handle_terms("a.example.com", &mut |term| out.push(term.to_owned()));
    assert_eq!(out, ["a.example.com", "a", "example", "com"]);
}

#[test]
fn long_terms_and_texts_are_cut() {
    assert_eq!(of(&"x".repeat(100)), "x".repeat(64));
    assert_eq!(terms(&"ab ".repeat(MAX_TEXT)).len(), MAX_TEXT / 3 + 1);
    assert_eq!(tag_term(&"é".repeat(300)).len(), MAX_TERM);
    // What is cut has no joined form, and is found.
    let long = format!("a {}'t b", "x".repeat(MAX_TERM));
    assert_eq!(terms(&long), ["a", &"x".repeat(MAX_TERM), "t", "b"]);
    assert!(has(&long, &long));
    let joined = format!("{}'t", "x".repeat(MAX_TERM - 1));
    assert_eq!(terms(&joined)[2].len(), MAX_TERM);
}

#[test]
fn as_typed_keeps_marks_and_places() {
    let mut analyzer = Analyzer::default();
    let text = "El AÑO don't الكتاب Isı İŞ";
    let (folded, typed) = (analyzer.tokens(text), analyzer.tokens_as_typed(text));
    let words: Vec<_> = typed.iter().map(|(_, word)| word.to_owned()).collect();
    assert_eq!(words, ["el", "año", "don", "t", "الكتاب", "isi", "iş"]);
    assert!(folded.iter().map(|(token, _)| &token.at).eq(typed.iter().map(|(token, _)| &token.at)));
}

/// Texts of what the rules are about, rather than of any characters.
fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        any::<char>().prop_map(String::from),
        proptest::sample::select(vec![
            "a",
            "é",
            "t",
            "s",
            "'",
            "’",
            " ",
            "熱",
            "ガ",
            "ー",
            "한",
            "ที่",
            "ำ",
            "ال",
            "و",
            "ة",
            "1",
            "\u{20e3}",
            "\u{fe0f}",
            "\u{200d}",
            "👍",
            "🏽",
            "🇩",
            "🏴",
            "\u{e0067}",
            "\u{301}",
            "_",
            "क",
            "़",
            "ß",
            "ﷺ",
            "\u{ad}",
            "ㅋ",
            "#",
        ])
        .prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_text_has_terms_of_bounded_length_and_finds_itself(text in texts()) {
        let mut analyzer = Analyzer::default();
        let mut all = Vec::new();
        analyzer.terms(&text, &mut |term| all.push(term.to_owned()));
        prop_assert!(all.iter().all(|term| !term.is_empty() && term.len() <= MAX_TERM), "{:?}", all);
        let (tokens, query) = (analyzer.tokens(&text), analyzer.query_tokens(&text));
        if !tokens.is_empty() {
            prop_assert_eq!(tokens.find(&query, 0), Some(0..tokens.len()));
        }
        query.terms(&mut |term| assert!(match term {
            Term::Exact(term) => all.iter().any(|known| known == term),
            Term::Prefix(term) => all.iter().any(|known| known.starts_with(term)),
        }, "{term:?} of {all:?}"));
        let folded = fold(&text);
        prop_assert!(tag_term(&text).len() <= MAX_TERM);
        prop_assert!(folded.len() <= text.len() * 11 + 16);
    }
}

/// What a text costs: run by hand, in the profile that is released.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let texts = [
        "Just finished reading that book everyone's been talking about, and I don't get the hype at all tbh",
        "今日は東京タワーに行ってきました。天気が良くて景色がとても綺麗だった！写真は明日アップします",
        "Ainda não acredito que choveu o dia inteiro, mas amanhã é sexta-feira e vai dar tudo certo 🙏",
    ];
    let mut analyzer = Analyzer::default();
    let (mut count, begun) = (0, Instant::now());
    for _ in 0..100_000 {
        texts.iter().for_each(|text| analyzer.terms(text, &mut |_| count += 1));
    }
    println!("{:?} a text, {count} terms", begun.elapsed() / 300_000);
}
