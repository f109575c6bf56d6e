//! Every row of the query language, each with exactly the posts that it finds: of those that are looked at one by one, and
//! of a store through its indexes.

use serde_json::json;

use super::testing::{Posts, facets, post};
use crate::search::find::testing::Indexed;
use crate::syntax::cid;

const QUOTED: &str = "at://did:plc:ann/app.bsky.feed.post/words";

/// A few posts that differ in what the language can ask for.
fn posts() -> Posts {
    let mut all = Posts::default();
    for name in ["ann", "bob", "cat"] {
        all.actor(name);
    }
    let text = |text: &str| post(text, json!({}));
    all.add("words", "ann", "2026-01-01", &text("The quick brown fox don't jump"));
    all.add("order", "bob", "2026-01-02", &text("brown and quick, a fox"));
    all.add("split", "bob", "2026-01-03", &text("Released v2.0 by e-mail at 16:9"));
    all.add("signs", "cat", "2026-01-04", &text("I write C++ and C# (not B+)"));
    all.add("c", "cat", "2026-01-05", &text("vitamin C, grade c"));
    all.add("ja", "ann", "2026-01-06", &post("熱力学の本を読む", json!({"langs": ["ja"]})));
    all.add("apart", "ann", "2026-01-07", &post("熱と力と学び", json!({"langs": ["ja-JP"]})));
    all.add("ko", "bob", "2026-01-08", &post("한글은 좋다", json!({"langs": ["kor"]})));
    all.add("accent", "bob", "2026-01-09", &post("feliz año nuevo", json!({"langs": ["es-MX"]})));
    let tagged = facets(&[("tag", "tag", "Café")]);
    all.add(
        "tagged",
        "ann",
        "2026-01-10",
        &post("look", json!({"facets": tagged, "tags": ["two words"]})),
    );
    let mentions = facets(&[("mention", "did", "did:plc:ann"), ("mention", "did", "did:plc:cat")]);
    all.add(
        "mention",
        "bob",
        "2026-01-11",
        &post("hey @ann and @cat", json!({"facets": mentions})),
    );
    let link = facets(&[("link", "uri", "https://www.news.example.com/a/?utm_source=x&b=1")]);
    all.add("link", "cat", "2026-01-12", &post("read this", json!({"facets": link})));
    let card = json!({"$type": "app.bsky.embed.external", "external":
        {"uri": "https://other.example/", "title": "Sleeping volcano", "description": "It wakes"}});
    all.add("card", "cat", "2026-01-13", &post("wow", json!({"embed": card})));
    let image = json!({"$type": "app.bsky.embed.images", "images": [{"alt": "a red bicycle"}, {"alt": "green door"}]});
    all.add("image", "ann", "2026-01-14", &post("morning", json!({"embed": image})));
    let video = json!({"$type": "app.bsky.embed.video"});
    all.add("video", "bob", "2026-01-15", &post("evening bicycle", json!({"embed": video})));
    let quoted = json!({"uri": QUOTED, "cid": cid::for_record(b"words").to_string()});
    let quote = json!({"$type": "app.bsky.embed.record", "record": quoted});
    all.add("quote", "cat", "2026-01-16", &post("this one", json!({"embed": quote})));
    let reply = json!({"root": quoted, "parent": quoted});
    all.add("reply", "bob", "2026-01-17", &post("agreed", json!({"reply": reply})));
    all.add("emoji", "ann", "2026-01-18", &text("party 🎉👩🏽\u{200d}🚀 tonight"));
    all.look_as("ann", &["bob"], &["c", "card"], &["video"]);
    all
}

fn check(rows: &[(&str, &str)]) {
    let mut posts = posts();
    let indexed = Indexed::of(&posts);
    for (text, expected) in rows {
        assert_eq!(posts.find(text), *expected, "{text}");
        assert_eq!(indexed.find(text), *expected, "through the indexes: {text}");
    }
}

/// All posts but these.
fn without(names: &[&str]) -> String {
    let mut all = posts();
    let all = all.find("");
    all.split(' ').filter(|name| !names.contains(name)).collect::<Vec<_>>().join(" ")
}

#[test]
fn words_are_all_of_them_anywhere() {
    check(&[
        ("quick fox", "words order"),
        ("fox AND quick", "words order"),
        ("FOX, quick!", "words order"),
        ("fox OR volcano", "words order card"),
        ("fox | volcano", "words order card"),
        ("fox|volcano", "words order card"),
        ("brown and quick OR volcano wakes", "order card"),
        ("or", ""),
        ("bicycle", "image video"),
        ("morning bicycle", "image"),
        ("red door", "image"),
        ("cafe", "tagged"),
        ("CAFÉ look", "tagged"),
        ("words", ""),
        ("(fox OR volcano) wow", "card"),
        ("(fox OR (volcano wow)) -quick", "card"),
        ("don’t", "words"),
        ("dont", "words"),
        ("ano", "accent"),
        ("AÑO", "accent"),
    ]);
}

#[test]
fn phrases_are_side_by_side_in_one_text() {
    check(&[
        ("\"quick brown\"", "words"),
        ("“brown quick”", ""),
        ("„quick brown‟", "words"),
        ("＂quick brown＂", "words"),
        ("\"quick... brown!\"", "words"),
        ("\"brown and quick a fox\"", "order"),
        ("\"bicycle green\"", ""),
        ("\"volcano it\"", ""),
        ("\"red bicycle\"", "image"),
        ("\"sleeping volcano\"", "card"),
        ("\"cafe\"", ""),
        ("\"quick brown\" jump", "words"),
        ("fox\"quick brown\"", "words"),
        ("v2.0", "split"),
        ("v2 0", "split"),
        ("e-mail", "split"),
        ("mail-e", ""),
        ("16:9", "split"),
        ("9:16", ""),
    ]);
}

#[test]
fn scripts_without_spaces_stand_together() {
    check(&[
        ("熱力学", "ja"),
        ("熱 力 学", "ja apart"),
        ("力学", "ja"),
        ("学", "ja apart"),
        ("\"力 学\"", "ja"),
        ("한글", "ko"),
        ("글", "ko"),
        ("글한", ""),
        ("🎉", "emoji"),
        ("👩\u{200d}🚀", "emoji"),
        ("🚀", ""),
        ("\"party 🎉\"", "emoji"),
    ]);
}

#[test]
fn what_is_unclosed_or_alone_is_ignored() {
    check(&[
        ("\"fox quick", "words order"),
        ("(fox quick", "words order"),
        ("fox) quick", "words order"),
        (")(fox", "words order"),
        ("- fox # quick @ :", "words order"),
        ("fox -", "words order"),
        ("fox () \"\"", "words order"),
        ("OR fox OR", "words order"),
        ("AND fox AND OR AND quick", "words order"),
        ("from:\"bob.test fox", "order"),
    ]);
    let all = without(&[]);
    check(&[("", &all), ("*", &all), ("- # @ : ( ) \" OR AND", &all), ("-()", &all)]);
}

#[test]
fn a_minus_negates_what_follows_it() {
    check(&[
        ("fox -and", "words"),
        ("fox −and", "words"),
        ("fox –and", "words"),
        ("fox -\"quick brown\"", "order"),
        ("fox -from:bob.test", "words"),
        ("fox -(and OR jump)", ""),
        ("look -#cafe", ""),
        ("mail -@bob.test", "split"),
        ("fox - and", "order"),
        ("e-mail", "split"),
        ("bicycle -alt:bicycle", "video"),
        ("-(-fox)", "words order"),
        ("fox -OR", "words order"),
    ]);
    let none = without(&["words", "order"]);
    check(&[("-fox", &none), ("--fox", &none), ("-fox -fox", &none)]);
}

#[test]
fn accounts() {
    check(&[
        ("from:bob.test fox", "order"),
        ("FROM:@Bob.Test fox", "order"),
        ("by:bob.test fox", "order"),
        ("author:did:plc:bob fox", "order"),
        ("did:plc:bob fox", "order"),
        ("from:\"bob.test\" fox", "order"),
        ("from:\u{202a}@bob.test\u{202c} fox", "order"),
        ("from：ｂｏｂ.test fox", "order"),
        ("from:bob.test, fox", "order"),
        ("from:me fox", "words"),
        ("from:following fox", "order"),
        ("from:nobody.test", ""),
        ("from:did:plc:nobody", ""),
        ("from:bob.test OR from:nobody.test fox", &posts().find("from:bob.test")),
        ("from:ann.test from:bob.test fox", "words order"),
        ("from:ann.test (fox) from:bob.test", "words order"),
        ("(from:ann.test fox) from:bob.test", ""),
        ("to:ann.test", "mention"),
        ("mentions:did:plc:cat", "mention"),
        ("to:me", "mention"),
        ("@cat.test", "mention"),
        ("@cat.test.", "mention"),
        ("@cat.test @bob.test", ""),
        ("@ann.test @cat.test", "mention"),
        ("to:nobody.test", ""),
        ("@cat", "mention"),
    ]);
}

#[test]
fn tags_domains_urls_languages() {
    check(&[
        ("#cafe", "tagged"),
        ("＃ＣＡＦÉ", "tagged"),
        ("#café!", "tagged"),
        ("#\"two words\"", "tagged"),
        ("#two", ""),
        ("#cafe #\"two words\"", "tagged"),
        ("#cafe #tea", ""),
        ("domain:example.com", "link"),
        ("site:www.NEWS.example.com", "link"),
        ("domain:https://news.example.com/else", "link"),
        ("domain:ample.com", ""),
        ("domain:other.example domain:example.com", "link card"),
        ("url:news.example.com/a?b=1", "link"),
        ("http://news.example.com/a?b=1#top", "link"),
        ("(https://news.example.com/a?b=1)", "link"),
        ("https://news.example.com/a", ""),
        ("url:other.example url:news.example.com/a?b=1", "link card"),
        ("https://bsky.app/profile/ann.test/post/words", "quote"),
        ("url:https://bsky.app/profile/did:plc:ann/post/words", "quote"),
        (QUOTED, "quote"),
        ("at://ann.test/app.bsky.feed.post/words", "quote"),
        ("at://nobody.test/app.bsky.feed.post/words", ""),
        ("lang:ja", "ja apart"),
        ("language:JPN", "ja apart"),
        ("lang:ja-jp", "apart"),
        ("lang:ko", "ko"),
        ("lang:es", "accent"),
        ("lang:es lang:ko", "ko accent"),
        ("lang:ja -lang:ja-JP", "ja"),
    ]);
}

#[test]
fn times() {
    check(&[
        ("until:2026-01-03", "words order"),
        ("before:2026-01-03", "words order"),
        ("since:2026-01-17", "reply emoji"),
        ("after:2026-01-17", "emoji"),
        ("since:2026-01-17T12:00:00Z", "reply emoji"),
        ("since:2026-01-17T12:00:01Z", "emoji"),
        ("after:2026-01-17T12:00:00Z", "emoji"),
        ("since:2026-01-17T13:00+01:00", ""),
        ("until:2026-01-02T12:00:00Z", "words"),
        ("until:2026-01-02T14:00:00+02:00", "words"),
        ("since:2026-02", ""),
        ("after:2025 until:2026-01-02", "words"),
        ("after:2026", ""),
        ("since:2026-01-02 until:2026-01-03", "order"),
        ("since:2026-01-99", ""),
        ("since:yesterday", ""),
    ]);
    let all = without(&[]);
    check(&[("since:2026", &all), ("after:2025-12", &all), ("-since:yesterday", &all)]);
}

#[test]
fn what_posts_have_and_are() {
    check(&[
        ("has:media", "image video"),
        ("has:image", "image"),
        ("has:images", "image"),
        ("filter:video", "video"),
        ("HAS:Links", "link card"),
        ("has:link", "link card"),
        ("has:quote", "quote"),
        ("is:quote", "quote"),
        ("has:alt", "image"),
        ("is:reply", "reply"),
        ("replies:only", "reply"),
        ("media:true", "image video"),
        ("media:true has:video", "video"),
        ("alt:bicycle", "image"),
        ("alt:\"red bicycle\"", "image"),
        ("alt:red-bicycle", "image"),
        ("alt:volcano", ""),
        ("has:everything", ""),
    ]);
    let (no_reply, no_media) = (without(&["reply"]), without(&["image", "video"]));
    check(&[("is:post", &no_reply), ("replies:none", &no_reply), ("media:false", &no_media)]);
}

#[test]
fn shelves_are_of_who_looks() {
    check(&[
        ("in:likes", "c card"),
        ("in:bookmarks", "video"),
        ("in:library fox", "words"),
        ("in:library -from:me", "c mention card video"),
        ("in:basement", ""),
    ]);
    let mut posts = posts();
    let mut indexed = Indexed::of(&posts);
    posts.look_as_nobody();
    indexed.look_as_nobody();
    for text in ["in:likes", "in:bookmarks", "in:library", "from:me", "from:following", "to:me"] {
        assert_eq!(posts.find(text), "", "{text}");
        assert_eq!(indexed.find(text), "", "through the indexes: {text}");
    }
}

#[test]
fn what_cannot_be_read_is_looked_for_as_it_stands() {
    let mut all = posts();
    all.add(
        "literal",
        "ann",
        "2026-02-01",
        &post("foo:bar since:yesterday from:bob", serde_json::json!({})),
    );
    let indexed = Indexed::of(&all);
    for (text, expected) in [
        ("foo:bar", "literal"),
        ("since:yesterday", "literal"),
        ("from:bob", "literal"),
        ("\"foo bar\"", "literal"),
        ("since:\"yesterday from\"", "literal"),
        ("bar from:", "literal"),
        ("bar:foo", ""),
        ("yesterday:since", ""),
        ("lang:klingon!", ""),
        ("domain:localhost", ""),
    ] {
        assert_eq!(all.find(text), expected, "{text}");
        assert_eq!(indexed.find(text), expected, "through the indexes: {text}");
    }
}

#[test]
fn names_with_signs() {
    check(&[
        ("c++", "signs"),
        ("C#", "signs"),
        ("c#.", "signs"),
        ("b+", "signs"),
        ("c+", ""),
        ("b++", ""),
        ("c", "signs c"),
        ("c++ -c#", ""),
    ]);
}

#[test]
fn words_in_scripts_without_spaces_are_better_than_parts_of_others() {
    let mut all = Posts::default();
    for (name, text) in [
        ("city", "週末は京都でお寺をめぐる"),
        ("east", "東京都の条例が変わった"),
        ("wind", "ลมแรงมาก"),
        ("doll", "ตุ๊กตากลมๆ"),
        ("alone", "한글 좋다"),
        ("particle", "한글은 좋다"),
        ("day", "한글날 좋다"),
        ("new", "새한글 좋다"),
        ("newest", "새한글날"),
        ("both", "京都와 한글은"),
    ] {
        all.add(name, "ann", "2026-01-01", &post(text, json!({})));
    }
    for (query, expected) in [
        ("京都", &[("city", 4), ("both", 4), ("east", 3)][..]),
        ("東京", &[("east", 4)]),
        ("東京都の条例", &[("east", 4)]),
        ("京", &[("city", 3), ("east", 3), ("both", 3)]),
        ("ลม", &[("wind", 4), ("doll", 3)]),
        (
            "한글",
            &[("alone", 5), ("particle", 5), ("both", 5), ("day", 4), ("new", 4), ("newest", 3)],
        ),
        ("한글 京都", &[("both", 6)]),
        ("한글은 좋다", &[("particle", 7)]),
    ] {
        let found = all.ranked(query);
        let found: Vec<_> = found.iter().map(|(name, points)| (name.as_str(), *points)).collect();
        assert_eq!(found, expected, "{query}");
    }
}

#[test]
fn points_of_what_fits() {
    let mut all = Posts::default();
    let text = |text: &str| post(text, json!({}));
    all.add("row", "ann", "2026-01-01", &text("the brown fox"));
    all.add("turned", "ann", "2026-01-02", &text("a fox is brown"));
    let image = json!({"$type": "app.bsky.embed.images", "images": [{"alt": "brown fox"}]});
    all.add("alt", "ann", "2026-01-03", &post("look", json!({"embed": image})));
    all.add("stuffed", "ann", "2026-01-04", &text("brown fox brown fox brown fox brown fox"));
    let tags = json!({"tags": ["1", "2", "3", "4", "5", "6", "7", "8", "9"]});
    all.add("tagged", "ann", "2026-01-05", &post("brown fox", tags));
    all.add("marked", "ann", "2026-01-06", &text("feliz año"));
    all.add("plain", "ann", "2026-01-07", &text("feliz ano"));
    for (query, expected) in [
        ("brown fox", &[("row", 5), ("tagged", 3), ("stuffed", 3), ("turned", 3), ("alt", 0)][..]),
        ("año", &[("marked", 3), ("plain", 2)]),
        ("ano", &[("plain", 3), ("marked", 2)]),
        ("is:post turned OR turned OR \"is brown\" -x", &[("turned", 3)]),
    ] {
        let found = all.ranked(query);
        let found: Vec<_> = found.iter().map(|(name, points)| (name.as_str(), *points)).collect();
        assert_eq!(found, expected, "{query}");
    }
}
