use crate::lexicon::{Params, catalog};

fn parse(nsid: &str, query: &str) -> Result<Params, String> {
    catalog().method(nsid).unwrap().parse_params(Some(query)).map_err(|invalid| invalid.to_string())
}

#[track_caller]
fn refused(nsid: &str, query: &str, expect: &str) {
    assert_eq!(parse(nsid, query).unwrap_err(), format!("Invalid {nsid} params: {expect}"));
}

const FEED: &str = "app.bsky.feed.getAuthorFeed";
const PROFILES: &str = "app.bsky.actor.getProfiles";

#[test]
fn values_and_defaults() {
    let params = parse(
        FEED,
        "actor=did%3Aplc%3Az72i7hdynmk6r22z27h6tvur&limit=7&includePins=true&cursor=a+b%zz",
    )
    .unwrap();
    assert_eq!(params.str("actor"), Some("did:plc:z72i7hdynmk6r22z27h6tvur"));
    assert_eq!((params.int("limit"), params.bool("includePins")), (Some(7), Some(true)));
    assert_eq!(params.str("cursor"), Some("a b%zz"));
    assert_eq!(params.str("filter"), Some("posts_with_replies"));

    let params = parse(FEED, "actor=alice.test&cursor=&limit=").unwrap();
    assert_eq!(
        (params.int("limit"), params.bool("includePins"), params.str("cursor")),
        (Some(50), Some(false), None)
    );
    // Of another type, and unknown.
    assert_eq!((params.str("limit"), params.int("actor"), params.bool("nope")), (None, None, None));
    assert!(params.strs("actor").is_empty());
    // Known values are no enumeration.
    assert_eq!(parse(FEED, "actor=alice.test&filter=new").unwrap().str("filter"), Some("new"));
    assert!(parse("app.bsky.feed.getTimeline", "").is_ok());
    assert!(catalog().method("app.bsky.feed.getTimeline").unwrap().parse_params(None).is_ok());
}

#[test]
fn arrays() {
    let params = parse(PROFILES, "actors=a.test&x=1&actors=b.test&actors=").unwrap();
    assert_eq!(params.strs("actors"), ["a.test", "b.test"]);
    assert_eq!(params.str("actors"), None);
    // Old clients' brackets, after the plain ones; only where the reference reads them.
    let params = parse(PROFILES, "actors[]=b.test&actors%5B0%5D=c.test&actors=a.test").unwrap();
    assert_eq!(params.strs("actors"), ["a.test", "b.test", "c.test"]);
    refused(
        "app.bsky.graph.getStarterPacks",
        "uris[]=at://a.test/a.b.c/d",
        "Missing required key \"uris\"",
    );
    refused(PROFILES, "actors[x]=b.test", "Missing required key \"actors\"");
    refused(PROFILES, &"&actors=a.test".repeat(26), "array too big (maximum 25, got 26)");
    refused(PROFILES, "actors=a.test&actors=-", "Invalid AT identifier (got \"-\")");
}

#[test]
fn missing_and_repeated() {
    refused(FEED, "", "Missing required key \"actor\"");
    refused(FEED, "actor=", "Missing required key \"actor\"");
    refused(
        FEED,
        "actor=a.test&actor=b.test",
        "Expected string value type (got [\"a.test\", \"b.test\"])",
    );
    refused(
        FEED,
        "actor=a.test&limit=1&limit=1&limit=2",
        "Expected integer value type (got [1, 1, ...])",
    );
    refused(
        FEED,
        "actor=a.test&includePins=true&includePins=true",
        "Expected boolean value type (got [true, true])",
    );
}

#[test]
fn unknown_parameters_are_ignored() {
    let params = parse(FEED, "bogus=1&actor=a.test&bogus=2&__proto__=1&=&&").unwrap();
    assert_eq!(params, parse(FEED, "actor=a.test").unwrap());
}

#[test]
fn wrong_types_ranges_and_formats() {
    for limit in ["abc", "1.5", "+1", "1e2", "-", " 1", "99999999999999999999"] {
        let encoded = limit.replace('+', "%2B").replace(' ', "%20");
        refused(
            FEED,
            &format!("limit={encoded}"),
            &format!("Expected integer value type (got \"{limit}\")"),
        );
    }
    refused(FEED, "actor=a.test&limit=0", "integer too small (minimum 1, got 0)");
    refused(FEED, "actor=a.test&limit=-1", "integer too small (minimum 1, got -1)");
    refused(FEED, "actor=a.test&limit=101", "integer too big (maximum 100, got 101)");
    refused(FEED, "actor=a.test&includePins=maybe", "Expected boolean value type (got \"maybe\")");
    refused(FEED, "actor=a%20b", "Invalid AT identifier (got \"a b\")");
    refused("app.bsky.feed.getLikes", "uri=nope", "Invalid at-uri (got \"nope\")");
    assert_eq!(parse(FEED, "actor=a.test&limit=007").unwrap().int("limit"), Some(7));
}

#[test]
fn a_search_may_be_for_nothing_in_particular() {
    const SEARCH: &str = "app.bsky.feed.searchPosts";
    let params = parse(SEARCH, "q=&author=&cursor=").unwrap();
    assert_eq!((params.str("q"), params.str("author")), (Some(""), None));
    refused(SEARCH, "author=a.test", "Missing required key \"q\"");
    refused("app.bsky.graph.searchStarterPacks", "q=", "Missing required key \"q\"");
}

#[test]
fn size_is_limited() {
    let long = "x".repeat(40 * 1024);
    refused(FEED, &format!("actor={long}"), "query too long (maximum 40960 bytes)");
    refused(
        FEED,
        &format!("actor=a.test{}", "&x=1".repeat(1_000)),
        "too many parameters (maximum 1000)",
    );
    assert!(parse(FEED, &format!("actor=a.test{}", "&x=1".repeat(999))).is_ok());
    assert!(parse(FEED, &format!("actor={}", "x".repeat(10_000))).unwrap_err().len() < 400);
}
