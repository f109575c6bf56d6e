use serde_json::json;

use super::document::*;
use crate::repo::dag_cbor::from_json;

#[test]
fn all_that_is_searched_of_a_post_is_found() {
    let record = from_json(&json!({
        "$type": "app.bsky.feed.post", "text": "hello", "langs": ["en-US", "jpn"], "tags": ["Two"],
        "facets": [{"features": [
            {"$type": "app.bsky.richtext.facet#tag", "tag": "One"},
            {"$type": "app.bsky.richtext.facet#link", "uri": "https://a.example/x"},
            {"$type": "app.bsky.richtext.facet#mention", "did": "did:plc:m"},
        ]}],
        "reply": {"root": {"uri": "at://r"}, "parent": {"uri": "at://p"}},
        "embed": {"$type": "app.bsky.embed.recordWithMedia",
            "record": {"$type": "app.bsky.embed.record", "record": {"uri": "at://q"}},
            "media": {"$type": "app.bsky.embed.images", "images": [{"alt": "a cat"}, {"alt": " "}]}},
    }));
    let post = PostDocument::of(&record);
    assert_eq!(
        (post.body, &post.alts[..], &post.tags[..]),
        ("hello", &["a cat"][..], &["One", "Two"][..])
    );
    assert_eq!(
        (&post.links[..], &post.mentions[..]),
        (&["https://a.example/x"][..], &["did:plc:m"][..])
    );
    assert_eq!(
        (post.quote, post.reply_parent, post.reply_root),
        (Some("at://q"), Some("at://p"), Some("at://r"))
    );
    let flags: Vec<_> = post.flags().map(Flag::term).collect();
    assert_eq!(flags, ["media", "image", "link", "quote", "reply", "alt"]);
    let mut langs = Vec::new();
    post.lang_terms(&mut |term| langs.push(term.to_owned()));
    assert_eq!(langs, ["en", "en-us", "ja", "jpn"]);
}

#[test]
fn cards_and_videos_are_searched_beside_the_body() {
    let card =
        from_json(&json!({"text": "", "embed": {"$type": "app.bsky.embed.external", "external":
        {"uri": "https://b.example/", "title": "Title", "description": ""}}}));
    let post = PostDocument::of(&card);
    assert_eq!((post.more().collect::<Vec<_>>(), post.links.len()), (vec!["Title"], 1));
    let video = from_json(&json!({"embed": {"$type": "app.bsky.embed.video", "alt": "waves"}}));
    let post = PostDocument::of(&video);
    assert_eq!(post.flags().collect::<Vec<_>>(), [Flag::Media, Flag::Video, Flag::Alt]);
    let nothing = from_json(&json!({"text": 5, "embed": "x", "facets": {}}));
    assert_eq!(PostDocument::of(&nothing), PostDocument::default());
}

#[test]
fn profiles_and_things_have_a_name_and_a_text() {
    let profile = from_json(&json!({"displayName": "Ann", "description": "bio"}));
    assert_eq!(ProfileDocument::of(&profile), ProfileDocument { name: "Ann", bio: "bio" });
    assert_eq!(ThingDocument::of(&profile), ThingDocument { name: "Ann", description: "bio" });
    let list = from_json(&json!({"name": "List"}));
    assert_eq!(ThingDocument::of(&list), ThingDocument { name: "List", description: "" });
}
