//! What comes from outside stays text, wherever it is shown.

use serde_json::{Value, json};

use super::*;
use crate::hydrate::post_state::PostState;
use crate::hydrate::testing::{Fixture, NOW, seen_by};
use crate::hydrate::timeline::FeedItem;
use crate::hydrate::{PostId, ShownAccounts};
use crate::view::actor::{ProfileView, profile_detailed};
use crate::view::thread_v2::{ThreadShape, ThreadSort};

const SITE: Site<'_> = Site { url: "https://appview.example" };
/// Would end an attribute, an element, the style sheet, a CDATA section.
const HOSTILE: &str =
    "\"'></style></script><script>alert(1)</script><img src=x onerror=alert(1)>]]>&amp;";
const BLOB: &str = "bafkreicb24vbd4glfh5nrqb5m6ufohzyzxz4rqvvyfsrmzyxgzx3pkzwqi";

fn blob() -> Value {
    json!({ "$type": "blob", "mimeType": "image/png", "size": 3, "ref": { "$link": BLOB } })
}

/// A page of each kind about posts of one account.
fn pages_of(f: &Fixture, posts: &[PostId]) -> Vec<(&'static str, String)> {
    f.hydrate(&seen_by(None), |h| {
        let mut state = PostState::new(&h);
        h.posts(&mut state, posts).unwrap();
        let author = posts[0].author;
        let mut accounts = h.state();
        h.profiles_detailed(&mut accounts, &[author], ShownAccounts::All).unwrap();
        let profile: ProfileView = profile_detailed(&accounts, author).unwrap();
        let items: Vec<FeedItem> = posts.iter().map(|post| FeedItem::post(*post)).collect();
        let skeleton = h.thread_skeleton(&mut state, posts[0], 9, 9).unwrap();
        h.thread_posts(&mut state, &skeleton).unwrap();
        let sort = ThreadSort::Top;
        let shape = ThreadShape { above: 9, below: 9, branching: 9, sort, op_thread: None };
        let flat = state.thread_v2(&skeleton, shape, "");
        let account = ProfilePage {
            profile: &profile,
            tab: Tab::Posts,
            cursor: HOSTILE,
            state: &state,
            items: &items,
            next: Some(HOSTILE),
        };
        let found = |query, tag| SearchPage {
            query,
            tag,
            latest: true,
            cursor: HOSTILE,
            state: &state,
            posts,
            total: 1,
            next: Some(HOSTILE),
        };
        let row = [TrendRow {
            name: HOSTILE,
            path: HOSTILE,
            posts: 1,
            hot: true,
            authors: std::slice::from_ref(&profile),
        }];
        vec![
            ("profile", account.html(SITE)),
            ("thread", thread(SITE, &state, &flat).unwrap()),
            ("search", found(Some(HOSTILE), None).html(SITE)),
            ("hashtag", found(None, Some(HOSTILE)).html(SITE)),
            ("trending", trending(SITE, &row)),
            ("home", home(SITE, &Now::default(), &row)),
            ("failure", failure(SITE, 500, HOSTILE)),
            ("rss", rss(SITE, &profile, &state, &items)),
        ]
    })
}

fn hostile_embeds(quoted: &Value) -> Vec<Value> {
    let link = |uri: &str| {
        json!({ "$type": "app.bsky.embed.external", "external":
            { "uri": uri, "title": HOSTILE, "description": HOSTILE, "thumb": blob() } })
    };
    let images = json!({ "$type": "app.bsky.embed.images", "images": [{ "alt": HOSTILE, "image": blob(),
        "aspectRatio": { "width": 4, "height": 3 } }, { "alt": "", "image": blob() }] });
    vec![
        json!(null),
        images.clone(),
        link("https://x.example/?\"'><script>alert(1)</script>"),
        link("javascript:alert(1)"),
        json!({ "$type": "app.bsky.embed.video", "video": blob(), "alt": HOSTILE }),
        json!({ "$type": "app.bsky.embed.record", "record": quoted }),
        json!({ "$type": "app.bsky.embed.recordWithMedia", "media": images, "record": { "record": quoted } }),
    ]
}

#[test]
fn nothing_that_comes_from_outside_is_markup() {
    let f = Fixture::new();
    let a = f.account("a");
    let profile = json!({ "$type": "app.bsky.actor.profile", "displayName": HOSTILE, "description": HOSTILE,
        "pronouns": HOSTILE, "website": "https://x.example/\"><script>", "avatar": blob(), "banner": blob() });
    f.record(a, "app.bsky.actor.profile", "self", profile);
    let facet = |feature: Value| json!({ "index": { "byteStart": 0, "byteEnd": 4 }, "features": [feature] });
    let quoted = f.post(a, NOW - 1000, json!({ "text": HOSTILE }));
    let mut posts = Vec::new();
    for (embed, at) in hostile_embeds(&f.strong_ref(quoted)).into_iter().zip(2..) {
        let mut post = json!({ "text": HOSTILE, "tags": [HOSTILE], "langs": [HOSTILE],
            "facets": [facet(json!({ "$type": "app.bsky.richtext.facet#tag", "tag": HOSTILE }))],
            "labels": { "$type": "com.atproto.label.defs#selfLabels", "values": [{ "val": HOSTILE }] } });
        if !embed.is_null() {
            post["embed"] = embed;
        }
        posts.push(f.post(a, NOW - at, post));
    }
    for (name, page) in pages_of(&f, &posts) {
        let lower = page.to_ascii_lowercase();
        assert_eq!(lower.matches("<script").count(), 0, "{name}: {page}");
        assert_eq!(lower.matches("</style").count(), usize::from(name != "rss"), "{name}: {page}");
        assert!(!lower.contains("<img src=x"), "{name}: {page}");
        assert!(!lower.contains("\"javascript:"), "{name}: {page}");
        assert!(!page.contains("]]>"), "{name}: {page}");
        let mentions = name != "home" && name != "trending";
        assert!(!mentions || page.contains("&lt;script&gt;alert(1)"), "{name}: {page}");
    }
}

#[test]
fn a_post_shows_all_that_belongs_to_it() {
    let f = Fixture::new();
    let (a, b) = (f.account("a"), f.account("b"));
    let quoted = f.post(b, NOW - 5000, json!({ "text": "what was said" }));
    let embeds = hostile_embeds(&f.strong_ref(quoted));
    let post =
        f.post(a, NOW - 4000, json!({ "text": "look", "embed": embeds[6], "langs": ["de"] }));
    f.reply(b, NOW - 3000, post, post);
    let page = pages_of(&f, &[post]).remove(1).1;
    let img = format!("https://appview.example/img/feed_thumbnail/plain/did:plc:a/{BLOB}");
    for part in [
        "<html lang=\"en\">",
        "lang=\"de\">look</p>",
        &format!("<img src=\"{img}\" alt=\"&quot;'&gt;"),
        "width=\"4\" height=\"3\"",
        "alt=\"Picture without a description\"",
        "<blockquote class=\"quote\"",
        "what was said",
        "<time datetime=\"2023-11-14T22:13:16.000Z\">14 Nov 2023, 22:13 UTC</time>",
        "<meta property=\"og:title\" content=\"A: look\">",
        "<meta property=\"og:image\" content=\"https://appview.example/img/feed_fullsize/plain/",
        "<link rel=\"canonical\" href=\"https://appview.example/profile/a.test/post/",
        "<section class=\"below\" aria-label=\"Replies\"><div class=\"depth1\"><article",
        ">1 reply</a>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(page.matches("<h1").count(), 1);
}

#[test]
fn the_policy_names_hosts_of_pictures_once() {
    let policy = content_security_policy(&[
        "https://cdn.example/img",
        "https://cdn.example/vid",
        "http://localhost:2584/img",
        "not a url",
    ]);
    assert!(
        policy.contains("; img-src 'self' https://cdn.example http://localhost:2584; "),
        "{policy}"
    );
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!include_str!("style.css").contains("</"));
}
