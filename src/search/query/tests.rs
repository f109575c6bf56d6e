use proptest::prelude::*;
use serde_json::{Value, json};

use super::testing::{Post, World, did};
use super::*;

/// A world of which each post says what it is named after.
fn world() -> World {
    let facet = |feature: Value| json!([{"features": [feature]}]);
    let tag = |tag: &str| facet(json!({"$type": "app.bsky.richtext.facet#tag", "tag": tag}));
    let link = |uri: &str| facet(json!({"$type": "app.bsky.richtext.facet#link", "uri": uri}));
    let mention =
        |name: &str| facet(json!({"$type": "app.bsky.richtext.facet#mention", "did": did(name)}));
    let images = |alt: &str| json!({"$type": "app.bsky.embed.images", "images": [{"alt": alt}]});
    let quoted = format!("at://{}/app.bsky.feed.post/3kaaaaaaaaaa2", did("bob"));
    let mut posts = vec![
        Post::new(
            "plain",
            "ann",
            "2024-01-31T23:59:59.999Z",
            json!({"text": "red fox jumps", "langs": ["en"]}),
        ),
        Post::new(
            "far",
            "bob",
            "2024-02-01T00:00:00.000Z",
            json!({"text": "fox, then red", "langs": ["en-US"]}),
        ),
        Post::new(
            "alt",
            "bob",
            "2024-02-29T12:00:00.000Z",
            json!({"text": "look", "embed": images("red fox")}),
        ),
        Post::new(
            "card",
            "carl",
            "2024-03-01T00:00:00.000Z",
            json!({"text": "red", "embed": {"$type": "app.bsky.embed.external",
            "external": {"uri": "https://news.example.com/fox?utm_source=x", "title": "fox", "description": "d"}}}),
        ),
        Post::new(
            "tag",
            "carl",
            "2025-01-01T00:00:00.000Z",
            json!({"text": "x", "tags": ["Fox"], "facets": tag("Red")}),
        ),
        Post::new(
            "video",
            "carl",
            "2025-01-02T00:00:00.000Z",
            json!({"text": "clip",
            "embed": {"$type": "app.bsky.embed.video"}}),
        ),
        Post::new(
            "picture",
            "carl",
            "2025-01-02T00:00:00.000Z",
            json!({"text": "pic", "embed": images("")}),
        ),
        Post::new(
            "quote",
            "carl",
            "2025-01-03T00:00:00.000Z",
            json!({"text": "see",
            "embed": {"$type": "app.bsky.embed.record", "record": {"uri": quoted}}}),
        ),
        Post::new(
            "reply",
            "carl",
            "2025-01-04T00:00:00.000Z",
            json!({"text": "reply",
            "reply": {"parent": {"uri": quoted}, "root": {"uri": quoted}}}),
        ),
        Post::new(
            "mention",
            "dora",
            "2025-01-05T00:00:00.000Z",
            json!({"text": "@ann", "facets": mention("ann")}),
        ),
        Post::new(
            "link",
            "dora",
            "2025-01-06T00:00:00.000Z",
            json!({"text": "go", "facets": link("http://www.example.org/a/")}),
        ),
        Post::new(
            "ja",
            "dora",
            "2025-01-07T00:00:00.000Z",
            json!({"text": "熱力学の本", "langs": ["ja"]}),
        ),
        Post::new(
            "ja-apart",
            "dora",
            "2025-01-07T10:30:00.000Z",
            json!({"text": "熱と力と学", "langs": ["jpn"]}),
        ),
        Post::new("cpp", "dora", "2025-01-08T00:00:00.000Z", json!({"text": "C++, not C#"})),
        Post::new("c", "dora", "2025-01-08T00:00:00.000Z", json!({"text": "plain C"})),
        Post::new(
            "foobar",
            "dora",
            "2025-01-09T00:00:00.000Z",
            json!({"text": "foo-bar from: nobody, or me"}),
        ),
    ];
    posts[0].shelves.push(Shelf::Likes);
    posts[1].shelves.push(Shelf::Bookmarks);
    World { posts, viewer: Some("ann") }
}

const ALL: &str =
    "plain far alt card tag video picture quote reply mention link ja ja-apart cpp c foobar";

/// All but these.
fn without(names: &str) -> String {
    let left = ALL.split(' ').filter(|name| !names.split(' ').any(|other| other == *name));
    left.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_row_of_the_language() {
    let world = world();
    let bob = did("bob");
    let post = format!("https://bsky.app/profile/{bob}/post/3kaaaaaaaaaa2");
    let by_handle = "https://bsky.app/profile/bob.example/post/3kaaaaaaaaaa2".to_owned();
    let uri = format!("at://{bob}/app.bsky.feed.post/3kaaaaaaaaaa2");
    for (query, found) in [
        // Words.
        ("red fox", "plain far alt card tag"),
        ("RED and fox", ""),
        ("red AND fox", "plain far alt card tag"),
        ("jumps OR clip", "plain video"),
        ("jumps | clip", "plain video"),
        ("red jumps OR clip", "plain video"),
        ("red (jumps OR then)", "plain far"),
        ("ｒｅｄ　ｊｕｍｐｓ", "plain"),
        ("réd jumps", "plain"),
        // Phrases.
        ("\"red fox\"", "plain alt"),
        ("“red fox”", "plain alt"),
        ("„red fox“", "plain alt"),
        ("＂fox then＂", "far"),
        ("\"then, RED!\"", "far"),
        ("foo-bar", "foobar"),
        ("bar-foo", ""),
        // Nothing is made of what stands alone.
        ("\"red fox", "plain far alt card tag"),
        ("red) (jumps", "plain"),
        ("red (jumps OR (clip", "plain video"),
        ("- # @ : jumps", "plain"),
        ("()", ALL),
        ("!!! ***", ALL),
        ("jumps OR", "plain"),
        ("OR jumps AND", "plain"),
        ("OR", "foobar"),
        // Negations.
        ("red -jumps", "far alt card tag"),
        ("red −jumps", "far alt card tag"),
        ("red –jumps", "far alt card tag"),
        ("red - jumps", "plain"),
        ("red -\"red fox\"", "far card tag"),
        ("red -#fox", "plain far alt card"),
        ("red -(jumps OR then)", "alt card tag"),
        ("red -has:media", "plain far card tag"),
        ("from:dora -(-go)", "link"),
        ("-from:carl -from:dora", "plain far alt"),
        // Accounts.
        ("from:bob.example", "far alt"),
        ("FROM:@BOB.example", "far alt"),
        ("author:bob.example fox -look", "far"),
        ("by:\"bob.example\"", "far alt"),
        ("from:ann.example from:bob.example", "plain far alt"),
        ("from:\u{202a}bob.example\u{202c}", "far alt"),
        ("from:me", "plain"),
        ("from:following", "far alt"),
        ("from:nobody.example", ""),
        ("-from:nobody.example jumps", "plain"),
        ("to:ann.example", "mention"),
        ("mentions:me", "mention"),
        ("@ann.example", "mention"),
        ("@ann.example @bob.example", ""),
        // Tags.
        ("#red", "tag"),
        ("＃ＦＯＸ", "tag"),
        ("#red #fox,", "tag"),
        ("#red #blue", ""),
        // Links.
        ("domain:example.com", "card"),
        ("site:news.example.com", "card"),
        ("domain:ews.example.com", ""),
        ("domain:example.com domain:example.org", "card link"),
        ("url:example.org/a", "link"),
        ("https://example.org/a#part", "link"),
        ("url:https://news.example.com/fox", "card"),
        (&post, "quote"),
        (&by_handle, "quote"),
        (&uri, "quote"),
        // Languages.
        ("lang:en", "plain far"),
        ("lang:en-US", "far"),
        ("lang:eng", "plain far"),
        ("language:ja", "ja ja-apart"),
        ("lang:ja lang:en", "plain far ja ja-apart"),
        // Times.
        ("since:2024-02 until:2025", "far alt card"),
        ("until:2024-02-01", "plain"),
        ("before:2024-02-01", "plain"),
        ("after:2024-02-29 before:2025", "card"),
        ("after:2024-02 before:2025", "card"),
        ("since:2025-01-07T10:30 until:2025-01-08", "ja-apart"),
        ("since:2025-01-07T11:30:00+01:00 until:2025-01-08", "ja-apart"),
        ("since:2025-01-09", "foobar"),
        // What it has and is.
        ("has:media", "alt video picture"),
        ("has:images", "alt picture"),
        ("filter:video", "video"),
        ("has:links", "card link"),
        ("has:quote", "quote"),
        ("has:alt", "alt"),
        ("is:reply", "reply"),
        ("is:quote", "quote"),
        ("is:post from:carl.example -has:media", "card tag quote"),
        ("replies:only", "reply"),
        ("replies:none has:quote", "quote"),
        ("media:true", "alt video picture"),
        ("media:false fox", "plain far card tag"),
        ("alt:fox", "alt"),
        ("alt:\"red fox\"", "alt"),
        ("alt:\"fox red\"", ""),
        ("fox -alt:fox", "plain far card tag"),
        // What the viewer keeps.
        ("in:likes", "plain"),
        ("in:bookmarks", "far"),
        ("in:library", "plain far mention"),
        // What is no operator, or says nothing, is words.
        ("foo:bar", "foobar"),
        ("bar:foo", ""),
        ("foo:\"bar from\"", "foobar"),
        ("from:nobody", "foobar"),
        ("has:jumps", ""),
        ("since:yesterday", ""),
        ("since:2024-02-30", ""),
        ("from:", "foobar"),
        // Signs that are meant.
        ("c++", "cpp"),
        ("C#", "cpp"),
        ("c+", ""),
        ("c", "cpp c"),
        // Scripts without spaces.
        ("熱力学", "ja"),
        ("力", "ja ja-apart"),
        ("熱 力 学", "ja ja-apart"),
        ("", ALL),
        ("*", ALL),
    ] {
        assert_eq!(world.find(query), found, "{query}");
    }
    assert_eq!(world.find(&format!("{bob} then")), "far");
    assert_eq!(world.find("-fox -red -from:dora.example"), "video picture quote reply");
    assert_eq!(world.find("-has:media"), without("alt video picture"));
}

#[test]
fn without_a_viewer_nothing_is_the_viewers() {
    let world = World { viewer: None, ..world() };
    for query in ["from:me", "from:following", "to:me", "in:likes", "in:library", "fox from:me"] {
        assert_eq!(world.find(query), "", "{query}");
    }
    assert_eq!(world.find("from:me OR from:bob.example"), "far alt");
}

#[test]
fn too_long_too_many_too_deep() {
    let words = |count| vec!["a"; count].join(" ");
    let deep = |depth| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(
        parse(&"a".repeat(3_000)).is_ok() && parse(&words(64)).is_ok() && parse(&deep(16)).is_ok()
    );
    for query in ["a".repeat(3_001), words(65), deep(17), "-(b ".to_owned() + &deep(16) + ")"] {
        assert!(matches!(parse(&query), Err(QueryError::BadQuery(_))), "{query}");
    }
    // What is not closed is not deep, what says nothing is no term.
    assert!(parse(&"(".repeat(3_000)).is_ok() && parse(&"! ".repeat(1_500)).is_ok());
    assert!(parse(&"\"".repeat(3_000)).is_ok() && parse(&"-".repeat(3_000)).is_ok());
}

#[test]
fn whatever_is_typed_is_answered() {
    let world = world();
    for query in [
        "\0",
        "\u{7f}\u{85}\u{a0}",
        "\u{202e}abc",
        "\u{feff}",
        "\u{200d}\u{200d}",
        "-",
        "--",
        "---a",
        "-(",
        "-)",
        "-()",
        ")(",
        "((((",
        "))))",
        "\"",
        "\"\"",
        "\"\"\"",
        "-\"",
        "“",
        "from:",
        "from:@",
        "from:\"",
        "from:\"\"",
        "from:-a",
        "from:me:",
        "since:",
        "since:9999",
        "since:0000",
        "until:99999",
        "since:2024-13",
        "since:-1-1-1",
        "since:2024-01-01T25:00",
        "since:é024",
        "lang:",
        "lang:x",
        "lang:english",
        "domain:",
        "domain:/",
        "domain:[",
        "url:",
        "url:::",
        "http://",
        "https://[",
        "at://",
        "at://a",
        "did:",
        "did:plc:",
        "#",
        "##",
        "#!",
        "@",
        "@@",
        "alt:",
        "alt:!",
        "alt:\"",
        "in:",
        "OR OR",
        "AND AND",
        "| |",
        "a OR OR b",
        "OR AND",
        ":",
        "::",
        ":a",
        "a:",
        "a::b",
        "🏳️\u{200d}🌈",
        "e\u{301}\u{301}\u{301}",
        "\u{e0067}",
        "%00",
        "*?~^[]{}\\/",
        "a AND (OR b)",
        "(OR)",
        "ﷺﷺﷺ",
        "\u{1f1e9}",
        "-OR",
        "-(-OR)",
        "\"OR\"",
    ] {
        let query = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let printed = query.to_string();
        assert_eq!(parse(&printed), Ok(query.clone()), "{printed}");
        world.search(query);
    }
}

fn asked(request: Result<Request, QueryError>, world: &World) -> String {
    world.search(request.unwrap().query).join(" ")
}

#[test]
fn parameters_of_the_first_version() {
    let world = world();
    let base = SearchPosts { q: "fox", ..SearchPosts::default() };
    for (search, found) in [
        (base.clone(), "plain far alt card tag"),
        (SearchPosts { author: Some("bob.example"), ..base.clone() }, "far alt"),
        // A parameter does not widen what is typed.
        (SearchPosts { q: "from:ann.example", author: Some("bob.example"), ..base.clone() }, ""),
        (SearchPosts { q: "", mentions: Some("ann.example"), ..base.clone() }, "mention"),
        (SearchPosts { lang: Some("en"), ..base.clone() }, "plain far"),
        (SearchPosts { domain: Some("example.com"), ..base.clone() }, "card"),
        (SearchPosts { q: "", url: Some("https://example.org/a"), ..base.clone() }, "link"),
        (SearchPosts { q: "", tag: vec!["red", "Fox"], ..base.clone() }, "tag"),
        (SearchPosts { q: "", tag: vec!["red", "blue"], ..base.clone() }, ""),
        (SearchPosts { since: Some("2024-03-01T00:00:00Z"), ..base.clone() }, "card tag"),
        (SearchPosts { until: Some("2024-02-01"), ..base.clone() }, "plain"),
        (SearchPosts { since: Some("soon"), ..base.clone() }, "plain far alt card tag"),
        (SearchPosts { author: Some("nobody.example"), ..base.clone() }, ""),
    ] {
        assert_eq!(asked(search.request(), &world), found, "{search:?}");
    }
    for bad in [
        SearchPosts { author: Some("a b"), ..base.clone() },
        SearchPosts { mentions: Some("x"), ..base.clone() },
        SearchPosts { lang: Some("-"), ..base.clone() },
    ] {
        assert!(matches!(bad.request(), Err(QueryError::Invalid(_))), "{bad:?}");
    }
}

#[test]
fn parameters_of_the_second_version() {
    let world = world();
    let base = SearchPostsV2 { all_time: true, ..SearchPostsV2::default() };
    let uri = format!("at://{}/app.bsky.feed.post/3kaaaaaaaaaa2", did("bob"));
    for (search, found) in [
        (
            SearchPostsV2 {
                query: "fox",
                authors: vec!["ann.example", "bob.example"],
                ..base.clone()
            },
            "plain far alt",
        ),
        (
            SearchPostsV2 {
                query: "fox",
                exclude_authors: vec!["ann.example", "bob.example"],
                ..base.clone()
            },
            "card tag",
        ),
        (SearchPostsV2 { mentions: vec!["ann.example", "bob.example"], ..base.clone() }, "mention"),
        (
            SearchPostsV2 { domains: vec!["example.com", "example.org"], ..base.clone() },
            "card link",
        ),
        (
            SearchPostsV2 { query: "fox", exclude_domains: vec!["example.com"], ..base.clone() },
            "plain far alt tag",
        ),
        (SearchPostsV2 { urls: vec!["https://example.org/a"], ..base.clone() }, "link"),
        (SearchPostsV2 { embedded_at_uris: vec![&uri], ..base.clone() }, "quote"),
        (SearchPostsV2 { hashtags: vec!["red", "blue"], ..base.clone() }, "tag"),
        (
            SearchPostsV2 { query: "fox", exclude_hashtags: vec!["red"], ..base.clone() },
            "plain far alt card",
        ),
        (SearchPostsV2 { languages: vec!["ja", "en-US"], ..base.clone() }, "far ja ja-apart"),
        (
            SearchPostsV2 { query: "fox", exclude_languages: vec!["en"], ..base.clone() },
            "alt card tag",
        ),
        (SearchPostsV2 { has_media: true, ..base.clone() }, "alt video picture"),
        (SearchPostsV2 { has_video: true, ..base.clone() }, "video"),
        (SearchPostsV2 { reply_parent_uri: Some(&uri), ..base.clone() }, "reply"),
        (SearchPostsV2 { thread_root_uri: Some(&uri), ..base.clone() }, "reply"),
        (SearchPostsV2 { replies_only: true, ..base.clone() }, "reply"),
        (SearchPostsV2 { query: "reply", exclude_replies: true, ..base.clone() }, ""),
        (SearchPostsV2 { following: true, ..base.clone() }, "far alt"),
        (SearchPostsV2 { query: "*", ..base.clone() }, ALL),
    ] {
        assert_eq!(asked(search.request(), &world), found, "{search:?}");
    }
    let refused = |search: SearchPostsV2<'_>| search.request().unwrap_err();
    assert!(matches!(refused(base.clone()), QueryError::BadQuery(_)));
    assert!(matches!(
        refused(SearchPostsV2 { since: Some("soon"), ..base.clone() }),
        QueryError::BadQuery(_)
    ));
    let both = SearchPostsV2 { replies_only: true, exclude_replies: true, ..base.clone() };
    assert!(matches!(refused(both), QueryError::Invalid(_)));
    for uri in ["x", "at://did:plc:x", "at://a b/c/d"] {
        let search = SearchPostsV2 { embedded_at_uris: vec![uri], ..base.clone() };
        assert!(matches!(refused(search), QueryError::Invalid(_)), "{uri}");
    }
    let recent = |query, since| {
        let search = SearchPostsV2 { query, since, ..SearchPostsV2::default() };
        search.request().unwrap().recent_only
    };
    assert!(recent("fox", None) && recent("fox until:2024", None) && recent("-since:2024", None));
    assert!(!recent("fox", Some("2024")) && !recent("fox since:2024", None) && !recent(&uri, None));
}

#[test]
fn the_fingerprint_is_that_of_query_and_parameters() {
    let of = |q, author| {
        SearchPosts { q, author, ..SearchPosts::default() }.request().unwrap().fingerprint
    };
    assert_eq!(of("a  b", None), of("a AND b", None));
    assert_ne!(of("a", None), of("b", None));
    assert_ne!(of("from:a.example from:b.example", None), of("from:a.example", Some("b.example")));
}

/// What queries are made of, rather than any characters.
fn queries() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        1 => any::<char>().prop_map(String::from),
        8 => proptest::sample::select(vec![
            "(", ")", "\"", "”", "-", "−", " ", " ", " ", "OR", "AND", "|", "a", "b.c", "c++", "#", "@", ":", "from:", "to:", "url:",
            "alt:", "lang:", "since:", "before:", "domain:", "has:", "in:", "is:", "me", "following", "a.example", "en-us", "2024-02",
            "https://x.example/(y)", "www.", "at://a.example/b.c.d/e", "did:plc:abc", "media", "likes", "post", "熱力", "👍", "\u{200d}",
            "\u{fe0f}", "\u{301}", "’", "t", "true", "replies:", "media:", "!",
        ]).prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn what_is_printed_is_parsed_to_the_same(text in queries()) {
        let query = parse(&text).unwrap();
        let printed = query.to_string();
        prop_assert_eq!(parse(&printed), Ok(query), "{}", printed);
    }
}
