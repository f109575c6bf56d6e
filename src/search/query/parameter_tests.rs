use super::*;
use crate::lexicon::{Params, catalog};

fn params(method: &str, given: &[(&str, &str)]) -> Params {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    let method = catalog().method(&format!("app.bsky.feed.{method}")).unwrap();
    method.parse_params(Some(&query)).unwrap()
}

fn first(given: &[(&str, &str)]) -> Result<Search, QueryError> {
    Search::posts(&params("searchPosts", given))
}

fn second(given: &[(&str, &str)]) -> Result<Search, QueryError> {
    Search::posts_v2(&params("searchPostsV2", given))
}

#[test]
fn parameters_and_text_are_both_asked_for() {
    for (given, expected) in [
        (&[("q", "x")][..], "x"),
        (&[("q", "x OR y"), ("author", "Ann.test")], "(x OR y) from:ann.test"),
        (&[("q", "from:a.test"), ("author", "b.test")], "from:a.test from:b.test"),
        (&[("q", "*"), ("mentions", "did:plc:x"), ("lang", "en")], "to:did:plc:x lang:en"),
        (&[("q", "*"), ("tag", "A"), ("tag", "#b c")], "#\"a\" #\"b c\""),
        (&[("q", "*"), ("domain", "WWW.a.example")], "domain:a.example"),
        (&[("q", "*"), ("domain", "?")], "nothing:"),
        (&[("q", "*"), ("url", "https://a.example/x/#y")], "url:\"https://a.example/x\""),
        (
            &[("q", "*"), ("since", "2026-01-01"), ("until", "soon")],
            "since:2026-01-01T00:00:00.000Z",
        ),
        (
            &[("q", "*"), ("until", "Tue, 17 Mar 2026 16:38:44 GMT")],
            "until:2026-03-17T16:38:44.000Z",
        ),
        (&[("q", " ")], ""),
    ] {
        let search = first(given).unwrap();
        assert_eq!(search.query.to_string(), expected, "{given:?}");
        assert_eq!((search.sort, search.only_recent), (Sort::Latest, false));
    }
    assert_eq!(first(&[("q", "x"), ("sort", "top")]).unwrap().sort, Sort::Top);
}

#[test]
fn of_lists_any_will_do_and_none_may_be() {
    for (given, expected) in [
        (&[("query", "x")][..], "x"),
        (&[("authors", "a.test"), ("authors", "b.test")], "from:a.test OR from:b.test"),
        (
            &[("excludeAuthors", "a.test"), ("excludeAuthors", "b.test")],
            "-from:a.test -from:b.test",
        ),
        (&[("hashtags", "a"), ("hashtags", "b"), ("query", "x")], "x (#\"a\" OR #\"b\")"),
        (
            &[
                ("excludeHashtags", "a"),
                ("excludeLanguages", "en"),
                ("excludeDomains", "a.example"),
            ],
            "-domain:a.example -#\"a\" -lang:en",
        ),
        (
            &[("embeddedAtUris", "at://a.test/x.y.z/r"), ("excludeUrls", "https://a.example")],
            "-url:\"https://a.example\" url:at://a.test/x.y.z/r",
        ),
        (
            &[("hasMedia", "true"), ("hasVideo", "true"), ("following", "true")],
            "has:media has:video from:following",
        ),
        (&[("hasMedia", "false"), ("query", "x"), ("repliesOnly", "false")], "x"),
        (&[("excludeReplies", "true")], "-is:reply"),
        (&[("repliesOnly", "true")], "is:reply"),
        (
            &[("replyParentUri", "at://a.test/x.y.z/r"), ("threadRootUri", "at://a.test/x.y.z/s")],
            "parent:at://a.test/x.y.z/r thread:at://a.test/x.y.z/s",
        ),
        (&[("query", "*")], ""),
    ] {
        let search = second(given).unwrap();
        assert_eq!(search.query.to_string(), expected, "{given:?}");
        assert_eq!(search.sort, Sort::Top);
    }
    assert_eq!(second(&[("query", "x"), ("sort", "recent")]).unwrap().sort, Sort::Latest);
}

#[test]
fn the_last_days_unless_something_says_otherwise() {
    for given in [("query", "x"), ("authors", "a.test"), ("hasMedia", "true"), ("allTime", "false")]
    {
        assert!(
            second(&[("hasVideo", "true"), given]).is_ok_and(|search| search.only_recent),
            "{given:?}"
        );
    }
    for given in [
        ("allTime", "true"),
        ("since", "2020-01-01"),
        ("until", "2020-01-01"),
        ("threadRootUri", "at://a.test/x.y.z/r"),
        ("replyParentUri", "at://a.test/x.y.z/r"),
        ("embeddedAtUris", "at://a.test/x.y.z/r"),
        ("query", "x since:2020"),
        ("query", "in:bookmarks"),
        ("query", "at://a.test/x.y.z/r"),
    ] {
        let given = if given.0 == "query" { vec![given] } else { vec![("query", "x"), given] };
        assert!(second(&given).is_ok_and(|search| !search.only_recent), "{given:?}");
    }
}

#[test]
fn what_cannot_be_searched_is_refused() {
    for (given, error) in [
        (&[][..], QueryError::Nothing),
        (&[("query", "  ")], QueryError::Nothing),
        (&[("hasMedia", "false"), ("allTime", "true")], QueryError::Nothing),
        (&[("query", "x"), ("since", "soon")], QueryError::BadTime("since")),
        (&[("query", "x"), ("until", "soon")], QueryError::BadTime("until")),
    ] {
        assert_eq!(second(given), Err(error), "{given:?}");
        assert!(error.is_bad_query());
    }
    for given in [
        &[("repliesOnly", "true"), ("excludeReplies", "true")][..],
        &[("threadRootUri", "at://a.test/x.y.z")],
        &[("replyParentUri", "at://a.test")],
    ] {
        assert!(second(given).is_err_and(|error| !error.is_bad_query()), "{given:?}");
    }
    assert_eq!(first(&[("q", &"x ".repeat(65))]), Err(QueryError::TooManyTerms));
}

#[test]
fn every_search_has_a_number_of_its_own() {
    let searches = [
        first(&[("q", "x")]),
        first(&[("q", "y")]),
        first(&[("q", "\"x\"")]),
        first(&[("q", "x"), ("sort", "top")]),
        first(&[("q", "x"), ("author", "a.test")]),
        second(&[("query", "x")]),
        second(&[("query", "x"), ("allTime", "true")]),
        second(&[("query", "x"), ("queryLanguage", "ja"), ("allTime", "true")]),
    ];
    let mut hashes: Vec<u64> = searches.into_iter().map(|search| search.unwrap().hash()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    // The fourth and the seventh are the same one, from two methods.
    assert_eq!(hashes.len(), 7);
}
