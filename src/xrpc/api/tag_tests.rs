//! What the tags of the operator do to threads, notifications and search, and who sees them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::search::is_found;
use super::testing::Server;
use crate::config::{Moderation, SubjectTags};
use crate::hydrate::post_state::PostState;
use crate::hydrate::testing::{Fixture, NOW, seen_by};
use crate::hydrate::{ActorId, HydrateCtx, HydrationSettings, PostId, Target};
use crate::moderation::Tags;
use crate::schema::Rows;
use crate::schema::rows::{NotifRow, Reason};
use crate::store::Ks;

/// Tags a post `rude`, which hides it in threads and in search, another `dull`, which bumps it down, and an account `loud`,
/// whose posts nobody finds.
fn tag(f: &Fixture, rude: PostId, dull: PostId, loud: &str) {
    let s = f.snapshot();
    let uri = |post| s.post_uri(post).unwrap();
    let row = |subject: String, tag: &str| SubjectTags { subject, tags: vec![tag.to_owned()] };
    let moderation = Moderation {
        record_tags: vec![row(uri(rude), "rude"), row(uri(dull), "dull")],
        actor_tags: vec![row(loud.to_owned(), "loud")],
        thread_tags_hide: vec!["rude".into()],
        thread_tags_bump_down: vec!["dull".into()],
        search_tags_hide: vec!["rude".into()],
        search_tags_hide_all: vec!["loud".into()],
        ..Moderation::default()
    };
    f.shared.reload(HydrationSettings {
        tags: Arc::new(Tags::new(&moderation)),
        debug_dids: vec!["did:plc:watcher".into()],
        ..HydrationSettings::new("https://appview.example")
    });
}

struct Bench {
    s: Server,
    op: ActorId,
    friend: ActorId,
    reader: ActorId,
    watcher: ActorId,
    root: PostId,
    rude: PostId,
    dull: PostId,
    plain: PostId,
}

/// A root by `op`; replies by `rude`, `dull` and `plain`, the newest first; `friend` follows the first of them.
fn bench() -> Bench {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let names = ["op", "rude", "dull", "plain", "friend", "reader", "watcher"];
    let [op, a, b, c, friend, reader, watcher] = names.map(|name| f.account(name));
    let root = f.post(op, NOW - 100, json!({}));
    let [plain, dull, rude] =
        [(c, 50), (b, 40), (a, 30)].map(|(by, ago)| f.reply(by, NOW - ago, root, root));
    f.follow(friend, a);
    tag(f, rude, dull, "did:plc:dull");
    Bench { op, friend, reader, watcher, root, rude, dull, plain, s }
}

impl Bench {
    fn uri(&self, post: PostId) -> String {
        self.s.fixture.snapshot().post_uri(post).unwrap()
    }

    /// Whose replies a thread has, and whether there are others.
    fn thread(&self, method: &str, viewer: ActorId) -> (Vec<String>, Option<bool>) {
        let query = format!("anchor={}", self.uri(self.root));
        let nsid = format!("app.bsky.unspecced.{method}");
        let body = self.s.get(&nsid, &query, Some(viewer)).unwrap();
        let handle =
            |item: &Value| item["value"]["post"]["author"]["handle"].as_str().unwrap().to_owned();
        let items = body["thread"].as_array().unwrap().iter().filter(|item| item["depth"] == 1);
        (items.map(handle).collect(), body["hasOtherReplies"].as_bool())
    }
}

#[test]
fn a_tag_hides_a_reply_from_who_does_not_follow_its_author_and_another_puts_one_last() {
    let bench = bench();
    let all = |viewer| bench.thread("getPostThreadV2", viewer);
    let others = |viewer| bench.thread("getPostThreadOtherV2", viewer).0;
    assert_eq!(all(bench.reader), (vec!["plain.test".into(), "dull.test".into()], Some(true)));
    assert_eq!(others(bench.reader), ["rude.test"]);
    for viewer in [bench.friend, bench.rude.author] {
        let shown = ["rude.test", "plain.test", "dull.test"].map(str::to_owned).to_vec();
        assert_eq!(all(viewer), (shown, Some(false)));
        assert!(others(viewer).is_empty());
    }
    // The author of a thread is never hidden in it, and comes first whatever the tags.
    let own = bench.s.fixture.reply(bench.op, NOW - 60, bench.root, bench.root);
    tag(&bench.s.fixture, own, own, "did:plc:dull");
    assert_eq!(all(bench.reader).0.first().map(String::as_str), Some("op.test"));
}

#[test]
fn a_tag_keeps_a_reply_from_being_notified() {
    let bench = bench();
    let f = &bench.s.fixture;
    let (op, rude, plain, root) = (bench.op, bench.rude, bench.plain, bench.root);
    f.write(move |tx| {
        for (post, ago) in [(rude, 30), (plain, 50)] {
            let row = NotifRow {
                sort: NOW - ago,
                author: post.author,
                reason: Reason::Reply,
                rkey: post.rkey,
                subject: Some(Target::Post(root)),
            };
            tx.put(Ks::Notif, &row.key(op), &row.encode());
        }
        Ok(())
    });
    let notified = || {
        let nsid = "app.bsky.notification.listNotifications";
        let body = bench.s.get(nsid, "", Some(op)).unwrap();
        let list = body["notifications"].as_array().unwrap();
        list.iter().map(|n| n["uri"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(notified(), [bench.uri(plain)]);
    f.follow(op, rude.author);
    assert_eq!(notified(), [bench.uri(rude), bench.uri(plain)], "unless they are followed");
}

#[test]
fn tags_in_search() {
    let bench = bench();
    let operator = HydrateCtx { include_takedowns: true, ..seen_by(None) };
    let own = seen_by(Some(bench.rude.author));
    for (post, ctx, names_author, expect) in [
        (bench.plain, seen_by(None), false, true),
        (bench.rude, seen_by(None), false, false),
        (bench.rude, seen_by(None), true, true),
        (bench.rude, own, false, true),
        (bench.dull, seen_by(None), false, false),
        (bench.dull, seen_by(None), true, false),
        (bench.dull, seen_by(Some(bench.dull.author)), false, true),
        (bench.dull, operator.clone(), false, true),
        (bench.rude, operator, false, true),
    ] {
        bench.s.fixture.hydrate(&ctx, |h| {
            let mut state = PostState::new(&h);
            h.posts(&mut state, &[post]).unwrap();
            let found = is_found(&state, post, names_author);
            assert_eq!(found, expect, "{post:?} {:?} {names_author}", ctx.viewer);
        });
    }
}

#[test]
fn tags_are_shown_to_whom_answers_are_explained() {
    let bench = bench();
    let s = &bench.s;
    let post = |post, viewer| {
        let query = format!("uris={}", bench.uri(post));
        s.get("app.bsky.feed.getPosts", &query, viewer).unwrap()["posts"][0].clone()
    };
    let shown = post(bench.dull, Some(bench.watcher));
    let author = json!({ "accountTags": ["loud"], "profileTags": [] });
    assert_eq!(shown["debug"], json!({ "post": { "tags": ["dull"] }, "author": author }));
    assert_eq!(shown["author"]["debug"], author);
    let profile = s.get("app.bsky.actor.getProfile", "actor=plain.test", Some(bench.watcher));
    assert_eq!(profile.unwrap()["debug"], json!({ "accountTags": [], "profileTags": [] }));
    for viewer in [None, Some(bench.reader)] {
        let seen = post(bench.dull, viewer);
        assert!(seen.get("debug").is_none() && seen["author"].get("debug").is_none());
    }
}
