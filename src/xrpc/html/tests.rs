//! Pages by their paths: who gets what, in which form.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER, SET_COOKIE, VARY};
use http::{HeaderName, HeaderValue, Method as Verb};
use ipld_core::ipld::Ipld;
use serde_json::{Value, json};

use super::*;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{ActorId, PostId, Target};
use crate::limits::{Elapsed, Limit, Limits, Proxies};
use crate::schema::Rows;
use crate::schema::rows::AccountStatus;
use crate::search::index::testing::{Found, say};
use crate::xrpc::App;
use crate::xrpc::api::testing::Server;
use crate::xrpc::testing::{context_over, request};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const BLOB: &str = "bafkreicb24vbd4glfh5nrqb5m6ufohzyzxz4rqvvyfsrmzyxgzx3pkzwqi";

/// A browser, over a store that a test fills.
pub(super) struct Browser {
    server: Server,
    app: App,
}

impl Browser {
    pub(super) fn new(fixture: Fixture) -> Self {
        Self::over(Server::new(fixture))
    }

    fn over(server: Server) -> Self {
        let app = App::new(Arc::clone(&server.ctx)).unwrap();
        Self { server, app }
    }

    fn f(&self) -> &Fixture {
        &self.server.fixture
    }

    pub(super) fn send(
        &self,
        verb: Verb,
        target: &str,
        headers: &[(HeaderName, &str)],
    ) -> Response {
        let mut request = request(verb, target);
        for (name, value) in headers {
            request.headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        self.f().wait(self.app.handle(request))
    }

    pub(super) fn get(&self, target: &str) -> Response {
        self.send(Verb::GET, target, &[(ACCEPT, BROWSER)])
    }

    /// A page that is there.
    fn page(&self, target: &str) -> String {
        let response = self.get(target);
        assert_eq!(response.status, 200, "{target}: {}", text(&response));
        text(&response)
    }

    /// The path of a post's page.
    fn path(&self, post: PostId) -> String {
        let uri = self.f().snapshot().post_uri(post).unwrap();
        let mut parts = uri.strip_prefix("at://").unwrap().split('/');
        let (did, rkey) = (parts.next().unwrap(), parts.nth(1).unwrap());
        format!("/profile/{did}/post/{rkey}")
    }
}

fn text(response: &Response) -> String {
    String::from_utf8(response.body.to_vec()).unwrap()
}

pub(super) fn header<'r>(response: &'r Response, name: &HeaderName) -> &'r str {
    response.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

fn picture() -> Value {
    json!({ "$type": "app.bsky.embed.images", "images": [{ "alt": "a cat",
        "image": { "$type": "blob", "mimeType": "image/png", "size": 3, "ref": { "$link": BLOB } } }] })
}

pub(super) fn wants_no_strangers(f: &Fixture, name: &str) -> ActorId {
    let id = f.account(name);
    let labels = json!({ "$type": "com.atproto.label.defs#selfLabels", "values": [{ "val": "!no-unauthenticated" }] });
    let profile = json!({ "$type": "app.bsky.actor.profile", "displayName": "Secret Name", "labels": labels });
    f.record(id, "app.bsky.actor.profile", "self", profile);
    id
}

#[test]
fn a_page_is_sent_as_pages_are() {
    let b = Browser::new(Fixture::new());
    let a = b.f().account("a");
    let post = b.f().post(a, NOW - 9, json!({ "text": "hello there" }));
    for path in ["/profile/a.test", &*b.path(post), "/trending", "/search", "/"] {
        let response = b.get(path);
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(header(&response, &http::header::CONTENT_TYPE), "text/html; charset=utf-8");
        let policy = header(&response, &CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains("img-src 'self' https://appview.example;"), "{policy}");
        assert_eq!(header(&response, &X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(header(&response, &CACHE_CONTROL), SOON);
        assert!(response.headers.get_all(VARY).iter().any(|value| value == "Accept"));
        assert!(!response.headers.contains_key(SET_COOKIE));
        let etag = header(&response, &ETAG).to_owned();
        let again = b.send(Verb::GET, path, &[(ACCEPT, BROWSER), (IF_NONE_MATCH, &etag)]);
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{path}");
        let head = b.send(Verb::HEAD, path, &[(ACCEPT, BROWSER)]);
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0), "{path}");
        assert_eq!(header(&head, &http::header::CONTENT_LENGTH), response.body.len().to_string());
        assert_eq!(b.send(Verb::POST, path, &[(ACCEPT, BROWSER)]).status, 405, "{path}");
    }
    assert!(b.page(&b.path(post)).contains("hello there"));
    // A link of bsky.app may be written in any of these ways.
    for actor in ["a.test", "A.Test", "did:plc:a", "did%3Aplc%3Aa"] {
        assert!(b.page(&format!("/profile/{actor}")).contains("hello there"), "{actor}");
    }
}

#[test]
fn who_wants_no_page_gets_what_was_there_before() {
    let b = Browser::new(Fixture::new());
    for (accept, page) in [
        (BROWSER, true),
        ("application/json, text/html;q=0.1", true),
        ("text/html;q=0", false),
        ("application/json", false),
        ("*/*", false),
        ("", false),
    ] {
        let answer = |path| b.send(Verb::GET, path, &[(ACCEPT, accept)]);
        let (root, search) = (answer("/"), answer("/search?q="));
        assert_eq!(text(&root).contains("role=\"search\""), page, "{accept}");
        assert_eq!(text(&root).contains("app.bsky.graph.muteActor"), !page, "{accept}");
        assert_eq!(search.status.as_u16(), if page { 200 } else { 404 }, "{accept}");
        let (docs, nothing) = (answer("/docs"), answer("/nothing"));
        assert!(text(&docs).contains("app.bsky.graph.muteActor"));
        assert_eq!(nothing.status, 404);
        assert_eq!(text(&nothing).contains("<main"), page, "{accept}");
    }
}

#[test]
fn without_pages_their_paths_are_not_there() {
    let mut server = Server::new(Fixture::new());
    server.fixture.account("a");
    Arc::get_mut(&mut server.ctx).unwrap().identity.pages = false;
    let b = Browser::over(server);
    for path in
        ["/profile/a.test", "/profile/a.test/rss", "/trending", "/search", "/hashtag/x", "/no"]
    {
        let response = b.get(path);
        assert_eq!((response.status.as_u16(), &*text(&response)), (404, "Not Found\n"), "{path}");
    }
    assert!(text(&b.get("/")).contains("app.bsky.graph.muteActor"));
}

#[test]
fn who_is_not_there_is_not_found_and_whoever_wants_no_strangers_is_not_shown() {
    let b = Browser::new(Fixture::new());
    let f = b.f();
    let (gone, asleep) = (f.account("gone"), f.account("asleep"));
    let secret = wants_no_strangers(f, "secret");
    let mut posts = Vec::new();
    for id in [gone, asleep, secret] {
        posts.push(b.path(f.post(id, NOW - 9, json!({ "text": "hidden words" }))));
    }
    f.take_down(Target::Actor(gone));
    f.update(asleep, |row| row.status = AccountStatus::Deactivated);
    for (path, status, says) in [
        ("/profile/gone.test", 404, "suspended"),
        ("/profile/gone.test/rss", 404, "suspended"),
        ("/profile/asleep.test", 404, "deactivated"),
        ("/profile/nobody.test", 404, "no such account"),
        ("/profile/x", 404, "no such account"),
        ("/profile/did:plc:gone/post/3kzzzzzzzzz2z", 404, "no such post"),
        ("/profile/x/post/y", 404, "no such post"),
        (&*posts[0], 404, "no such post"),
        (&*posts[1], 404, "no such post"),
        ("/profile/secret.test", 403, "signed in"),
        ("/profile/secret.test/rss", 403, "signed in"),
        (&*posts[2], 403, "signed in"),
        ("/profile/%FF", 400, "cannot be read"),
        ("/profile/gone.test/followers", 404, "no page"),
    ] {
        let response = b.get(path);
        let page = text(&response);
        assert_eq!(response.status.as_u16(), status, "{path}: {page}");
        assert!(page.contains(says) && page.contains("<main"), "{path}: {page}");
        assert!(!page.contains("hidden words") && !page.contains("Secret Name"), "{path}: {page}");
        assert!(header(&response, &CONTENT_SECURITY_POLICY).starts_with("default-src 'none'"));
        assert_eq!(header(&response, &CACHE_CONTROL), "", "{path}");
    }
}

#[test]
fn posts_of_who_wants_no_strangers_are_left_out_of_the_pages_of_others() {
    let b = Browser::new(Fixture::new());
    let f = b.f();
    let (a, secret) = (f.account("a"), wants_no_strangers(f, "secret"));
    let hidden = f.post(secret, NOW - 900, json!({ "text": "hidden words" }));
    let root = f.post(a, NOW - 800, json!({ "text": "the beginning" }));
    let reply = |who: ActorId, parent: PostId, at: i64, text: &str| {
        let refs = json!({ "root": f.strong_ref(root), "parent": f.strong_ref(parent) });
        f.post(who, at, json!({ "text": text, "reply": refs }))
    };
    let middle = reply(secret, root, NOW - 700, "hidden words");
    let end = reply(a, middle, NOW - 600, "the end");
    f.repost(a, hidden, NOW - 500);
    let quote = json!({ "$type": "app.bsky.embed.record", "record": f.strong_ref(hidden) });
    f.post(a, NOW - 400, json!({ "text": "a quote", "embed": quote }));
    for (path, shows) in [
        ("/profile/a.test", &["the beginning", "a quote", "signed in"][..]),
        ("/profile/a.test?tab=replies", &["the end", "Reply</p>"]),
        ("/profile/did:plc:a/rss", &["the beginning", "a quote"]),
        (&*b.path(end), &["the beginning", "signed in", "the end"]),
        (&*b.path(root), &["the beginning"]),
    ] {
        let page = b.page(path);
        for part in shows {
            assert!(page.contains(part), "{path}: {part} in {page}");
        }
        for part in ["hidden words", "Secret Name", "secret.test"] {
            assert!(!page.contains(part), "{path}: {part} in {page}");
        }
    }
}

#[test]
fn labels_are_heeded() {
    let b = Browser::new(Fixture::new());
    let f = b.f();
    let (a, moderator) = (f.account("a"), f.account("default"));
    let post =
        |text: &str, at: i64| f.post(a, NOW - at, json!({ "text": text, "embed": picture() }));
    let all = [("!hide", 1), ("!warn", 2), ("porn", 3), ("rude", 4), ("!takedown", 5)];
    for (val, at) in all {
        f.label(moderator, Target::Post(post(&format!("text of {at}"), at)), val);
    }
    let page = b.page("/profile/a.test");
    assert!(!page.contains("text of 1") && page.contains("hidden by a moderator"), "{page}");
    assert!(
        page.contains("<summary>Content warning</summary><p class=\"text\" dir=\"auto\">text of 2")
    );
    assert!(page.contains("text of 3") && page.contains("Pictures are not shown: adult content."));
    assert!(page.contains("text of 4") && page.contains("<li>rude</li>"));
    assert!(!page.contains("text of 5"));
    // Of the warned and the rude one.
    assert_eq!(page.matches("alt=\"a cat\"").count(), 2);
    let feed = b.page("/profile/did:plc:a/rss");
    for (at, shown) in [(1, false), (2, false), (3, true), (4, true), (5, false)] {
        assert_eq!(feed.contains(&format!("text of {at}")), shown, "{at}: {feed}");
    }
    assert_eq!(feed.matches("<media:content").count(), 1, "{feed}");
    // What a link to a hidden post shows elsewhere is not its text.
    let hidden = f.post(a, NOW - 50, json!({ "text": "text of 50", "embed": picture() }));
    f.label(moderator, Target::Post(hidden), "!hide");
    let page = b.page(&b.path(hidden));
    assert!(!page.contains("text of 50") && page.contains("noindex"), "{page}");
    assert!(!page.contains("og:image"), "{page}");
    f.label(moderator, Target::Actor(a), "!hide");
    let page = b.page("/profile/a.test");
    assert!(!page.contains("<bdi>A</bdi>") && !page.contains("text of 4"), "{page}");
}

#[test]
fn pages_lead_on_until_there_is_no_more() {
    let b = Browser::new(Fixture::new());
    let f = b.f();
    let a = f.account("a");
    for at in 1..=60 {
        f.post(a, NOW - at * 1000, json!({ "text": format!("number {at}.") }));
    }
    let (mut path, mut seen) = ("/profile/a.test".to_owned(), Vec::new());
    for _ in 0..10 {
        let page = b.page(&path);
        seen.extend((1..=60).filter(|at| page.contains(&format!("number {at}."))));
        let next = page.split("<a class=\"next\" rel=\"next\" href=\"").nth(1);
        let Some(next) = next.and_then(|rest| rest.split('"').next()) else { break };
        path = next.replace("&amp;", "&");
    }
    assert_eq!(seen, (1..=60).collect::<Vec<_>>());
    assert_eq!(b.get("/profile/a.test?cursor=x").status, 400);
    assert_eq!(header(&b.get("/favicon.ico"), &http::header::CONTENT_TYPE), "image/svg+xml");
    let long = format!("/search?q={}", "a".repeat(MAX_QUERY));
    assert_eq!(b.get(&long).status, 400);
    assert!(b.page("/search?q=%20").contains("Type words above"));
}

#[test]
fn a_feed_is_of_the_account_and_holds_its_own_posts() {
    let b = Browser::new(Fixture::new());
    let f = b.f();
    let (a, other) = (f.account("a"), f.account("b"));
    let root =
        f.post(a, NOW - 3_600_000, json!({ "text": "first & <second>", "embed": picture() }));
    f.reply(a, NOW - 200, root, root);
    let theirs = f.post(other, NOW - 300, json!({ "text": "not mine" }));
    f.repost(a, theirs, NOW - 100);
    let by_handle = b.get("/profile/a.test/rss");
    assert_eq!(by_handle.status, 302);
    assert_eq!(header(&by_handle, &LOCATION), "/profile/did:plc:a/rss");
    let rkey = b.path(root).rsplit('/').next().unwrap().to_owned();
    let expect = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rss version=\"2.0\" xmlns:media=\"http://search.yahoo.com/mrss/\" \
         xmlns:atom=\"http://www.w3.org/2005/Atom\">\n<channel>\n<atom:link rel=\"self\" type=\"application/rss+xml\" \
         href=\"https://appview.example/profile/did:plc:a/rss\"/>\n<title>@a.test - A</title>\n\
         <link>https://appview.example/profile/a.test</link>\n<description></description>\n<item>\n\
         <link>https://appview.example/profile/a.test/post/{rkey}</link>\n\
         <description>first &amp; &lt;second&gt;</description>\n<pubDate>14 Nov 2023 21:13 +0000</pubDate>\n\
         <guid isPermaLink=\"false\">at://did:plc:a/app.bsky.feed.post/{rkey}</guid>\n\
         <media:content url=\"https://appview.example/img/feed_fullsize/plain/did:plc:a/{BLOB}\" type=\"image/png\" \
         fileSize=\"3\"><media:title>a cat</media:title>\n</media:content>\n</item>\n</channel>\n</rss>\n"
    );
    let feed = b.get("/profile/did:plc:a/rss");
    assert_eq!(text(&feed), expect);
    assert_eq!(header(&feed, &http::header::CONTENT_TYPE), "application/xml; charset=utf-8");
    // Who names no form at all is a reader of feeds too.
    assert_eq!(b.send(Verb::GET, "/profile/did:plc:a/rss", &[]).status, 200);
}

#[test]
fn strangers_have_as_many_pages_as_calls() {
    let limits = Limits::with_time(Proxies::default(), &[(Limit::Requests, 2)], Elapsed::stopped());
    let mut server = Server::new(Fixture::new());
    Arc::get_mut(&mut server.ctx).unwrap().limiter = Arc::new(limits);
    let b = Browser::over(server);
    let ask = |target: &str| {
        let mut request = request(Verb::GET, target);
        request.client = Client::address([203, 0, 113, 5].into());
        request.headers.insert(ACCEPT, HeaderValue::from_static(BROWSER));
        b.f().wait(b.app.handle(request))
    };
    assert_eq!(ask("/trending").status, 200);
    assert_eq!(ask("/xrpc/app.bsky.unspecced.getTrends").status, 200);
    let refused = ask("/trending");
    assert_eq!(refused.status, 429);
    assert!(text(&refused).contains("Too many requests"));
    assert_ne!(header(&refused, &RETRY_AFTER), "");
}

#[tokio::test]
async fn what_is_looked_for_is_found_by_words_and_by_tag() {
    let mut found = Found::new().await;
    found.catch_up();
    for (who, n, words) in
        [("a", 1, "green apples"), ("b", 2, "red apples <b>"), ("c", 3, "nothing of this")]
    {
        let mut said = say(n, words);
        if n != 2
            && let Ipld::Map(record) = &mut said.record.as_mut().unwrap().value
        {
            record.insert("tags".to_owned(), Ipld::List(vec![Ipld::String("Fruit".to_owned())]));
        }
        found.world.commit(who, [said]).await;
    }
    found.catch_up();
    let (store, writer) = (found.world.store.clone(), found.world.writer.clone());
    let settings = crate::hydrate::HydrationSettings::new("https://appview.example");
    let shared = Arc::new(crate::hydrate::Shared::new(&store, 100, settings).unwrap());
    let mut ctx = context_over(Arc::default(), store, writer, shared, Arc::default());
    Arc::get_mut(&mut ctx).unwrap().search = Arc::clone(&found.search);
    let app = App::new(ctx).unwrap();
    let page = async |target: &str| {
        let mut request = request(Verb::GET, target);
        request.headers.insert(ACCEPT, HeaderValue::from_static(BROWSER));
        let response = app.handle(request).await;
        (response.status.as_u16(), text(&response))
    };
    for (path, shows, not) in [
        ("/search?q=apples", &["green apples", "red apples &lt;b&gt;", "2 posts"][..], "nothing"),
        ("/search?q=apples&sort=latest", &["green apples", "red apples"], "nothing"),
        (
            "/search?q=%22green+apples%22",
            &["green apples", "value=\"&quot;green apples&quot;\""],
            "red",
        ),
        ("/search?q=pears", &["No posts found"], "apples"),
        (
            "/hashtag/fruit",
            &["green apples", "nothing of this", "<h1 dir=\"auto\">#fruit</h1>"],
            "red apples",
        ),
        ("/hashtag/%23fruit", &["green apples"], "red apples"),
    ] {
        let (status, page) = page(path).await;
        assert_eq!(status, 200, "{path}: {page}");
        for part in shows {
            assert!(page.contains(part), "{path}: {part} in {page}");
        }
        assert!(!page.contains(not), "{path}: {not} in {page}");
    }
    for (path, status) in [
        ("/search?q=apples&cursor=x", 400),
        ("/hashtag/fruit?cursor=x", 400),
        ("/search?q=a+AND+(", 200),
        ("/hashtag/%20", 404),
    ] {
        assert_eq!(page(path).await.0, status, "{path}");
    }
    let long = "a".repeat(4000);
    for typed in [
        "\"",
        "\"\"",
        "'",
        "(",
        ")",
        "((((((((",
        ") OR (",
        "OR",
        "AND",
        "NOT",
        "-",
        "--a",
        "- -",
        "*",
        "#",
        "@",
        "from:",
        "from:@",
        "from:me",
        "from:nobody.example",
        "since:never",
        "until:2026-99-99",
        "lang:",
        "domain:",
        "url:javascript:x",
        "has:",
        "a:b:c",
        "\u{0}",
        "\u{202e}abc",
        "\u{feff}",
        "\u{1f600}",
        "\u{1}\u{2}",
        "é\u{301}\u{301}\u{301}",
        &long,
        "</title><script>alert(1)</script>",
    ] {
        let query: String = form_urlencoded::byte_serialize(typed.as_bytes()).collect();
        let (status, page) = page(&format!("/search?q={query}")).await;
        assert!(matches!(status, 200 | 400), "{typed:?}: {status}");
        assert!(page.contains("</html>") && !page.contains("<script"), "{typed:?}: {page}");
    }
}

#[test]
fn while_there_is_no_index_only_search_is_away() {
    let b = Browser::new(Fixture::new());
    for path in ["/search?q=apples", "/hashtag/fruit"] {
        let response = b.get(path);
        assert_eq!(response.status, 503, "{path}");
        assert!(text(&response).contains("<main"));
        assert_eq!(header(&response, &RETRY_AFTER), "30");
    }
    assert_eq!(b.get("/trending").status, 200);
}
