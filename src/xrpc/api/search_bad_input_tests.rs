//! Searches for posts as they come over the wire, above all those that nobody means.

use serde_json::{Value, json};

use super::testing::Server;
use crate::hydrate::ActorId;
use crate::hydrate::testing::{Fixture, NOW};
use crate::search::query::testing::STRANGE;
use crate::xrpc::XrpcError;

const FIRST: &str = "app.bsky.feed.searchPosts";
const SECOND: &str = "app.bsky.feed.searchPostsV2";

/// Parameters, and the name of the error if they are refused.
type Row<'a> = (&'a [(&'a str, &'a str)], Result<(), &'a str>);

/// Some posts by two accounts that the indexes have.
fn world() -> (Server, ActorId) {
    let s = Server::new(Fixture::new());
    let [ann, bob] = ["ann", "bob"].map(|name| s.fixture.account(name));
    let texts = ["a quick brown fox", "the fox c++", "熱力学の本", "don't 👩\u{200d}🚀", "nothing"];
    for (n, text) in texts.into_iter().enumerate() {
        let author = if n % 2 == 0 { ann } else { bob };
        s.fixture.post(author, NOW - 1000 * (n as i64 + 1), json!({ "text": text }));
    }
    (s, ann)
}

fn encoded(given: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish()
}

/// Enough of a text to know it by.
fn begin(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Texts of what is found, or the name of the error.
fn told(answer: Result<Value, XrpcError>) -> Result<Vec<String>, String> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            assert_eq!(error.status(), 400, "{}", error.message());
            assert!(!error.message().is_empty());
            return Err(error.name().to_owned());
        }
    };
    let posts = answer["posts"].as_array().unwrap();
    assert!(answer["hitsTotal"].as_u64().unwrap() >= posts.len() as u64, "{answer}");
    Ok(posts.iter().map(|post| post["record"]["text"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn before_there_is_an_index_clients_come_again() {
    let (s, viewer) = world();
    for (method, query) in [(FIRST, "q=fox"), (SECOND, "query=fox")] {
        let refused = s.get(method, query, Some(viewer)).unwrap_err();
        assert_eq!(refused.status(), 503, "{method}");
        assert!(refused.header(&http::header::RETRY_AFTER).is_some());
    }
    s.make_searchable();
    assert_eq!(told(s.get(FIRST, "q=fox", None)).unwrap(), ["a quick brown fox", "the fox c++"]);
}

#[test]
fn any_text_is_answered_or_refused_by_name() {
    let (s, viewer) = world();
    s.make_searchable();
    let times = |text: &str, times: usize| text.repeat(times);
    let answered = STRANGE;
    let long = [
        times("(", 3000),
        times(")", 3000),
        times("\"", 3000),
        times("-", 3000),
        times("()", 1500),
        times("-(", 1500),
        times("熱", 3000),
        times("\u{301}", 3000),
        times("a\u{301}", 1500),
        times("👩\u{200d}", 1500),
        times("x", 3000),
        times("\u{fdfa}", 12),
        times("from:", 600),
        times("a OR ", 64),
        times("学 ", 64),
        times("-fox ", 64),
        times("\"a b\" ", 64),
        times("@ann.test ", 64),
        times("from:ann.test ", 64),
        times("e-", 1500),
        times("-(", 16) + "fox" + &times(")", 16),
        times("since:2020 ", 64),
    ];
    for text in answered.iter().copied().chain(long.iter().map(String::as_str)) {
        for (method, name) in [(FIRST, "q"), (SECOND, "query")] {
            for viewer in [None, Some(viewer)] {
                let answer = told(s.get(method, &encoded(&[(name, text)]), viewer));
                // A text of nothing but spaces is no query to the second, which wants one.
                let refused = method == SECOND && answer == Err("BadQueryString".to_owned());
                let is_right = answer.is_ok() || refused && text.trim().is_empty();
                assert!(is_right, "{:?}: {answer:?}", begin(text));
            }
        }
    }
    // One of these characters is four words.
    let much = [times("é", 3001), times("a ", 65), times("\u{fdfa}", 3000)];
    for text in much.into_iter().chain([times("(a b ", 17) + &times(")", 17)]) {
        for (method, name) in [(FIRST, "q"), (SECOND, "query")] {
            let answer = told(s.get(method, &encoded(&[(name, &text)]), None));
            assert_eq!(answer, Err("BadQueryString".to_owned()), "{}", begin(&text));
        }
    }
}

#[test]
fn any_parameter_is_answered_or_refused_by_name() {
    let (s, _) = world();
    s.make_searchable();
    let long = "x".repeat(10_000);
    let (answered, invalid, bad) = (Ok(()), Err("InvalidRequest"), Err("BadQueryString"));
    let first: &[Row<'_>] = &[
        (&[], invalid),
        (&[("q", "")], answered),
        (&[("q", "fox"), ("limit", "0")], invalid),
        (&[("q", "fox"), ("limit", "-1")], invalid),
        (&[("q", "fox"), ("limit", "101")], invalid),
        (&[("q", "fox"), ("limit", "many")], invalid),
        (&[("q", "fox"), ("cursor", "")], answered),
        (&[("q", "fox"), ("cursor", "25")], invalid),
        (&[("q", "fox"), ("cursor", "\0")], invalid),
        (&[("q", "fox"), ("cursor", &long)], invalid),
        (&[("q", "fox"), ("cursor", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")], invalid),
        (&[("q", "fox"), ("since", "yesterday")], answered),
        (&[("q", "fox"), ("until", "9999999999-01-01")], answered),
        (&[("q", "fox"), ("since", "2026-13-45T99:99:99Z")], answered),
        (&[("q", "fox"), ("author", "no handle")], invalid),
        (&[("q", "fox"), ("mentions", "did:")], invalid),
        (&[("q", "fox"), ("lang", "not a language")], invalid),
        (&[("q", "fox"), ("url", "no url")], invalid),
        (&[("q", "fox"), ("domain", "?")], answered),
        (&[("q", "fox"), ("tag", &long)], invalid),
        (&[("q", "fox"), ("tag", "")], answered),
        (&[("q", "fox"), ("sort", "worst")], answered),
        (&[("q", "fox"), ("unknown", "x")], answered),
    ];
    let second: &[Row<'_>] = &[
        (&[], bad),
        (&[("query", " ")], bad),
        (&[("hasMedia", "false")], bad),
        (&[("hasMedia", "perhaps")], invalid),
        (&[("query", "fox"), ("since", "yesterday")], bad),
        (&[("query", "fox"), ("until", "")], answered),
        (&[("query", "fox"), ("repliesOnly", "true"), ("excludeReplies", "true")], invalid),
        (&[("query", "fox"), ("threadRootUri", "at://")], invalid),
        (&[("query", "fox"), ("replyParentUri", "https://bsky.app")], invalid),
        (&[("query", "fox"), ("embeddedAtUris", "at://x")], invalid),
        (&[("query", "fox"), ("authors", "")], answered),
        (&[("query", "fox"), ("authors", "ann")], invalid),
        (&[("query", "fox"), ("languages", "??")], invalid),
        (&[("query", "fox"), ("cursor", "MTIz")], invalid),
        (&[("query", "fox"), ("allTime", "true"), ("following", "true")], answered),
    ];
    for (method, rows) in [(FIRST, first), (SECOND, second)] {
        for (given, expected) in rows {
            let answer = told(s.get(method, &encoded(given), None));
            let refused = answer.as_ref().err().map(String::as_str);
            assert_eq!(refused, expected.err(), "{method} {given:?}: {answer:?}");
        }
    }
    for broken in ["q=%ff%fe", "q=%ed%a0%80", "q=%", "q=%zz", "q=a&q=b", "q", "=", "&&&q=fox&"] {
        if let Err(name) = told(s.get(FIRST, broken, None)) {
            assert_eq!(name, "InvalidRequest", "{broken}");
        }
    }
}
