//! Search for posts, over the wire's shapes.

use serde_json::{Value, json};

use super::testing::Server;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{ActorId, Target};
use crate::schema::PostId;

const POSTS: &str = "app.bsky.feed.searchPosts";
const V2: &str = "app.bsky.feed.searchPostsV2";

struct World {
    s: Server,
    viewer: ActorId,
    others: [ActorId; 5],
    posts: [PostId; 6],
}

/// The viewer and five others write of apples, one second after the other.
fn world() -> World {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let viewer = f.account("viewer");
    let others = ["a", "b", "c", "d", "e"].map(|name| f.account(name));
    let [a, b, c, d, e] = others;
    let mut at = NOW - 60_000;
    let posts = [viewer, a, b, c, d, e].map(|author| {
        at += 1000;
        f.post(author, at, json!({"text": "apples"}))
    });
    World { s, viewer, others, posts }
}

impl World {
    fn authors(&self, nsid: &str, query: &str, viewer: Option<ActorId>) -> Vec<String> {
        let answer = self.s.get(nsid, query, viewer).unwrap();
        let posts = answer["posts"].as_array().unwrap();
        let author = |post: &Value| post["author"]["handle"].as_str().unwrap().to_owned();
        posts.iter().map(author).map(|handle| handle.replace(".test", "")).collect()
    }
}

#[test]
fn without_an_index_search_says_when_to_come_again() {
    let w = world();
    for (nsid, query) in [(POSTS, "q=apples"), (V2, "query=apples")] {
        let error = w.s.get(nsid, query, None).unwrap_err();
        assert_eq!((error.status().as_u16(), error.name()), (503, "NotEnoughResources"), "{nsid}");
    }
    assert!(w.s.get("app.bsky.actor.getProfile", "actor=a.test", None).is_ok());
}

#[test]
fn blocks_hide_mutes_do_not_and_own_posts_are_always_found() {
    let w = world();
    let f = &w.s.fixture;
    let [a, b, c, ..] = w.others;
    f.block(w.viewer, a);
    f.block(b, w.viewer);
    f.mute(w.viewer, c);
    w.s.make_searchable();
    for (nsid, query) in [(POSTS, "q=apples"), (V2, "query=apples&sort=recent")] {
        assert_eq!(w.authors(nsid, query, Some(w.viewer)), ["e", "d", "c", "viewer"], "{nsid}");
        assert_eq!(w.authors(nsid, query, None), ["e", "d", "c", "b", "a", "viewer"], "{nsid}");
    }
    let muted = w.s.get(POSTS, "q=from:c.test", Some(w.viewer)).unwrap();
    assert_eq!(muted["posts"][0]["author"]["viewer"]["muted"], true);
    // A page is filled beyond what is not shown.
    assert_eq!(w.authors(POSTS, "q=apples&limit=4", Some(w.viewer)).len(), 4);
}

#[test]
fn what_waits_for_review_is_for_its_author_and_who_looks_for_the_author() {
    let w = world();
    let f = &w.s.fixture;
    let labeler = f.account("default");
    f.label(labeler, Target::Post(w.posts[2]), "needs-review");
    f.label(labeler, Target::Post(w.posts[0]), "needs-review");
    w.s.make_searchable();
    assert_eq!(w.authors(POSTS, "q=apples", Some(w.viewer)), ["e", "d", "c", "a", "viewer"]);
    let named = |sort: &str| w.authors(POSTS, &format!("q=apples from:b.test&sort={sort}"), None);
    assert_eq!((named("latest"), named("top")), (vec!["b".to_owned()], vec![]));
    assert_eq!(w.authors(V2, "query=apples&authors=b.test&sort=recent", None), ["b"]);
}

#[test]
fn what_is_taken_down_is_neither_found_nor_counted() {
    let w = world();
    let f = &w.s.fixture;
    w.s.make_searchable();
    let total = |w: &World| w.s.get(POSTS, "q=apples", None).unwrap()["hitsTotal"].clone();
    assert_eq!(total(&w), 6);
    f.take_down(Target::Actor(w.others[0]));
    f.take_down(Target::Post(w.posts[2]));
    assert_eq!(w.authors(POSTS, "q=apples", None), ["e", "d", "c", "viewer"]);
    assert!(total(&w).as_u64() < Some(6));
}

#[test]
fn parameters_are_checked_as_the_lexicon_and_the_reference_do() {
    let w = world();
    w.s.make_searchable();
    let many = format!("q={}", "a+".repeat(65));
    let long = format!("query={}", "x".repeat(3001));
    for (nsid, query, name) in [
        (POSTS, &*many, "BadQueryString"),
        (V2, &*long, "BadQueryString"),
        (V2, "", "BadQueryString"),
        (V2, "query=", "BadQueryString"),
        (V2, "query=a&since=yesterday", "BadQueryString"),
        (V2, "query=a&repliesOnly=true&excludeReplies=true", "InvalidRequest"),
        (V2, "query=a&threadRootUri=at://nobody", "InvalidRequest"),
        (POSTS, "q=a&cursor=25", "InvalidRequest"),
        (POSTS, "q=a&limit=101", "InvalidRequest"),
        (POSTS, "", "InvalidRequest"),
    ] {
        let error = w.s.get(nsid, query, None).unwrap_err();
        assert_eq!((error.status().as_u16(), error.name()), (400, name), "{nsid} {query}");
    }
    for (nsid, query) in [
        (POSTS, "q="),
        (POSTS, "q=apples&since=yesterday"),
        (V2, "authors=a.test&authors=b.test"),
        (V2, "query=*"),
        (V2, "query=apples&hasMedia=false"),
    ] {
        let found = w.authors(nsid, query, None).len();
        assert_eq!(found, if query.starts_with("authors") { 2 } else { 6 }, "{nsid} {query}");
    }
    let answer = w.s.get(V2, "query=%E4%BA%AC", None).unwrap();
    assert_eq!(answer["detectedQueryLanguages"], json!(["zh", "ja"]));
}
