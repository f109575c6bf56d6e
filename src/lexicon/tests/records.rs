use serde_json::{Value, json};

use super::ipld;
use crate::lexicon::catalog;

const CID: &str = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";
const BLOB: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
const NOW: &str = "2026-11-21T00:00:00.000Z";

/// `expect` is empty for a valid record, otherwise what the error has to contain.
#[track_caller]
fn check(nsid: &str, record: &Value, expect: &str) {
    let outcome = catalog().record(nsid).unwrap().validate(&ipld(record));
    match (outcome, expect) {
        (Ok(()), "") => {}
        (Ok(()), _) => panic!("accepted {record}, expected: {expect}"),
        (Err(invalid), "") => panic!("{invalid}: {record}"),
        (Err(invalid), _) => {
            assert!(invalid.to_string().contains(expect), "{invalid}, expected: {expect}")
        }
    }
}

/// `base` with members set (or, if null, removed).
fn with(base: &Value, changes: Value) -> Value {
    let mut record = base.clone();
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => record.as_object_mut().unwrap().remove(key),
            _ => record.as_object_mut().unwrap().insert(key.clone(), value.clone()),
        };
    }
    record
}

fn strong_ref() -> Value {
    json!({"uri": "at://did:plc:z72i7hdynmk6r22z27h6tvur/app.bsky.feed.post/3jzfcijpj2z2a", "cid": CID})
}

fn blob(mime: &str, size: i64) -> Value {
    json!({"$type": "blob", "ref": {"$link": BLOB}, "mimeType": mime, "size": size})
}

fn post() -> Value {
    json!({"$type": "app.bsky.feed.post", "text": "hello", "createdAt": NOW})
}

#[test]
fn likes() {
    let nsid = "app.bsky.feed.like";
    let like = json!({"$type": nsid, "subject": strong_ref(), "createdAt": NOW});
    check(nsid, &like, "");
    check(nsid, &with(&like, json!({"via": strong_ref(), "extra": {"a": [1]}})), "");
    check(
        nsid,
        &with(
            &like,
            json!({"subject": with(&strong_ref(), json!({"$type": "com.atproto.repo.strongRef"}))}),
        ),
        "",
    );
    check(
        nsid,
        &with(&like, json!({"subject": with(&strong_ref(), json!({"$type": "a.b.c"}))})),
        "(got \"a.b.c\") at $.subject.$type",
    );
    check(nsid, &with(&like, json!({"subject": null})), "Missing required key \"subject\" at $");
    check(
        nsid,
        &with(&like, json!({"subject": {"uri": "at://nope", "cid": CID}})),
        "Invalid at-uri (got \"at://nope\") at $.subject.uri",
    );
    check(
        nsid,
        &with(&like, json!({"subject": with(&strong_ref(), json!({"cid": "bafy"}))})),
        "Invalid CID string",
    );
    check(
        nsid,
        &with(&like, json!({"subject": "at://x"})),
        "Expected object value type (got \"at://x\") at $.subject",
    );
    check(nsid, &with(&like, json!({"createdAt": "yesterday"})), "Invalid datetime");
    check(
        nsid,
        &with(&like, json!({"createdAt": 5})),
        "Expected string value type (got 5) at $.createdAt",
    );
    check(
        nsid,
        &with(&like, json!({"$type": null})),
        "Expected \"app.bsky.feed.like\" (got undefined) at $.$type",
    );
    check(
        nsid,
        &with(&like, json!({"$type": "app.bsky.feed.repost"})),
        "(got \"app.bsky.feed.repost\") at $.$type",
    );
    check(nsid, &json!([like]), "Expected object value type");
    let mut null_via = like.clone();
    null_via["via"] = Value::Null;
    check(nsid, &null_via, "Expected object value type (got null) at $.via");
}

#[test]
fn text_is_limited_in_bytes_and_in_graphemes() {
    let nsid = "app.bsky.feed.post";
    let text = |text: String| with(&post(), json!({ "text": text }));
    check(nsid, &text(String::new()), "");
    check(nsid, &text("a".repeat(300)), "");
    check(nsid, &text("a".repeat(301)), "grapheme too big (maximum 300, got 301) at $.text");
    check(nsid, &text("é".repeat(300)), "");
    check(nsid, &text("é".repeat(301)), "grapheme too big");
    check(nsid, &text("\r\n".repeat(300)), "");
    check(nsid, &text("\r\n".repeat(301)), "grapheme too big");
    // A family is one grapheme of 25 bytes.
    check(nsid, &text("👨‍👩‍👧‍👧".repeat(120)), "");
    check(nsid, &text("👨‍👩‍👧‍👧".repeat(121)), "string too big (maximum 3000, got 3025) at $.text");
    check(
        "app.bsky.graph.list",
        &json!({"$type": "app.bsky.graph.list", "purpose": "app.bsky.graph.defs#curatelist", "name": "", "createdAt": NOW}),
        "string too small (minimum 1, got 0) at $.name",
    );
}

#[test]
fn posts() {
    let nsid = "app.bsky.feed.post";
    check(
        nsid,
        &with(
            &post(),
            json!({"langs": ["en", "pt-BR"], "tags": ["a"], "reply": {"root": strong_ref(), "parent": strong_ref()}}),
        ),
        "",
    );
    check(
        nsid,
        &with(&post(), json!({"langs": ["en", "de", "fr", "it"]})),
        "array too big (maximum 3, got 4) at $.langs",
    );
    check(
        nsid,
        &with(&post(), json!({"langs": ["en", "not a language"]})),
        "Invalid language (got \"not a language\") at $.langs[1]",
    );
    check(nsid, &with(&post(), json!({"langs": "en"})), "Expected array value type");
    check(
        nsid,
        &with(&post(), json!({"tags": ["a".repeat(65)]})),
        "grapheme too big (maximum 64, got 65) at $.tags[0]",
    );
    check(
        nsid,
        &with(&post(), json!({"reply": {"root": strong_ref()}})),
        "Missing required key \"parent\" at $.reply",
    );

    let facet = |start: Value, feature: Value| {
        with(
            &post(),
            json!({"facets": [{"index": {"byteStart": start, "byteEnd": 3}, "features": [feature]}]}),
        )
    };
    let mention = |did: &str| json!({"$type": "app.bsky.richtext.facet#mention", "did": did});
    check(nsid, &facet(json!(0), mention("did:plc:z72i7hdynmk6r22z27h6tvur")), "");
    check(nsid, &facet(json!(0), json!({"$type": "x.y.facet#new", "did": 5})), "");
    check(
        nsid,
        &facet(json!(0), mention("alice.test")),
        "Invalid DID (got \"alice.test\") at $.facets[0].features[0].did",
    );
    check(
        nsid,
        &facet(json!(-1), mention("did:plc:z72i7hdynmk6r22z27h6tvur")),
        "integer too small (minimum 0, got -1) at $.facets[0].index.byteStart",
    );
    check(
        nsid,
        &facet(json!(9007199254740992i64), mention("did:plc:z72i7hdynmk6r22z27h6tvur")),
        "Expected integer value type",
    );
    check(
        nsid,
        &facet(json!(0.5), mention("did:plc:z72i7hdynmk6r22z27h6tvur")),
        "Expected integer value type (got 0.5)",
    );
    check(
        nsid,
        &facet(json!(0), json!({"did": "x"})),
        "an object which includes the \"$type\" property",
    );
    check(
        nsid,
        &facet(json!(0), json!({"$type": 5})),
        "Expected string value type (got 5) at $.facets[0].features[0].$type",
    );
}

#[test]
fn embeds() {
    let nsid = "app.bsky.feed.post";
    let embed = |embed: Value| with(&post(), json!({ "embed": embed }));
    let image = |image: Value| json!({"image": image, "alt": ""});
    let images = |images: Vec<Value>| json!({"$type": "app.bsky.embed.images", "images": images});
    let good = || image(blob("image/png", 1000));
    check(nsid, &embed(images(vec![good(), good(), good(), good()])), "");
    check(
        nsid,
        &embed(images(vec![good(); 5])),
        "array too big (maximum 4, got 5) at $.embed.images",
    );
    check(
        nsid,
        &embed(images(vec![with(&good(), json!({"aspectRatio": {"width": 0, "height": 1}}))])),
        "integer too small",
    );
    check(
        nsid,
        &embed(images(vec![with(&good(), json!({"alt": null}))])),
        "Missing required key \"alt\" at $.embed.images[0]",
    );
    check(nsid, &embed(json!({"$type": "com.example.embed", "images": 5})), "");
    check(nsid, &embed(json!({"images": []})), "an object which includes the \"$type\" property");
    check(nsid, &embed(json!("x")), "an object which includes the \"$type\" property");
    check(
        nsid,
        &embed(
            json!({"$type": "app.bsky.embed.external", "external": {"uri": "https://a.example", "title": "", "description": ""}}),
        ),
        "",
    );
    check(
        nsid,
        &embed(
            json!({"$type": "app.bsky.embed.external", "external": {"uri": "no uri", "title": "", "description": ""}}),
        ),
        "Invalid uri (got \"no uri\")",
    );
    let media = |media: Value| json!({"$type": "app.bsky.embed.recordWithMedia", "record": {"record": strong_ref()}, "media": media});
    check(nsid, &embed(media(images(vec![good()]))), "");
    check(nsid, &embed(media(images(vec![json!({})]))), "at $.embed.media.images[0]");
}

#[test]
fn blobs() {
    let nsid = "app.bsky.feed.post";
    let record = |image: Value| {
        let images =
            json!({"$type": "app.bsky.embed.images", "images": [{"image": image, "alt": ""}]});
        with(&post(), json!({ "embed": images }))
    };
    let good = blob("image/png", 1000);
    check(nsid, &record(good.clone()), "");
    check(nsid, &record(blob("image/jpeg", 2_000_000)), "");
    check(
        nsid,
        &record(blob("image/jpeg", 2_000_001)),
        "blob too big (maximum 2000000, got 2000001) at $.embed.images[0].image",
    );
    check(
        nsid,
        &record(blob("video/mp4", 1)),
        "Expected \"image/*\" (got \"video/mp4\") at $.embed.images[0].image.mimeType",
    );
    check(nsid, &record(blob("imagery/png", 1)), "mimeType");
    let expected = "Expected blob value type";
    check(nsid, &record(blob("png", 1)), expected);
    check(nsid, &record(blob("image/png", -1)), expected);
    check(nsid, &record(json!({"cid": BLOB, "mimeType": "image/png"})), expected);
    check(nsid, &record(with(&good, json!({"extra": 1}))), expected);
    check(nsid, &record(with(&good, json!({"size": null}))), expected);
    check(nsid, &record(with(&good, json!({"ref": BLOB}))), expected);
    check(nsid, &record(with(&good, json!({"ref": {"$link": CID}}))), expected);
    check(nsid, &record(with(&good, json!({"$type": "blub"}))), expected);
    check(nsid, &record(with(&good, json!({"$type": null}))), expected);

    let profile = json!({"$type": "app.bsky.actor.profile"});
    check(
        "app.bsky.actor.profile",
        &with(&profile, json!({"avatar": blob("image/png", 1_000_000)})),
        "",
    );
    check(
        "app.bsky.actor.profile",
        &with(&profile, json!({"avatar": blob("image/gif", 1)})),
        "Expected one of \"image/png\" or \"image/jpeg\" (got \"image/gif\")",
    );
}

#[test]
fn other_records() {
    let profile = json!({"$type": "app.bsky.actor.profile", "displayName": "Alice", "description": "", "createdAt": NOW});
    check("app.bsky.actor.profile", &profile, "");
    check(
        "app.bsky.actor.profile",
        &with(&profile, json!({"displayName": "a".repeat(65)})),
        "grapheme too big (maximum 64, got 65)",
    );
    check(
        "app.bsky.actor.profile",
        &with(
            &profile,
            json!({"labels": {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "porn"}]}}),
        ),
        "",
    );
    check(
        "app.bsky.actor.profile",
        &with(
            &profile,
            json!({"labels": {"$type": "com.atproto.label.defs#selfLabels", "values": [{}]}}),
        ),
        "Missing required key \"val\"",
    );

    let list = json!({"$type": "app.bsky.graph.list", "purpose": "app.bsky.graph.defs#modlist", "name": "spam", "createdAt": NOW});
    check("app.bsky.graph.list", &list, "");
    // Known values are no enumeration.
    check("app.bsky.graph.list", &with(&list, json!({"purpose": "com.example.purpose"})), "");
    check(
        "app.bsky.graph.list",
        &with(&list, json!({"purpose": null})),
        "Missing required key \"purpose\"",
    );

    let post_uri = strong_ref()["uri"].clone();
    let gate = json!({"$type": "app.bsky.feed.threadgate", "post": post_uri, "allow": [{"$type": "app.bsky.feed.threadgate#mentionRule"}], "createdAt": NOW});
    check("app.bsky.feed.threadgate", &gate, "");
    check(
        "app.bsky.feed.threadgate",
        &with(&gate, json!({"allow": [{"$type": "app.bsky.feed.threadgate#listRule"}]})),
        "Missing required key \"list\" at $.allow[0]",
    );
    check(
        "app.bsky.feed.threadgate",
        &with(&gate, json!({"allow": vec![json!({"$type": "a.b.c#d"}); 6]})),
        "array too big (maximum 5, got 6)",
    );
    check(
        "app.bsky.feed.threadgate",
        &with(&gate, json!({"hiddenReplies": ["at://x"]})),
        "at $.hiddenReplies[0]",
    );

    let pack = json!({"$type": "app.bsky.graph.starterpack", "name": "n", "list": post_uri, "feeds": [{"uri": post_uri}], "createdAt": NOW});
    check("app.bsky.graph.starterpack", &pack, "");
    check(
        "app.bsky.graph.starterpack",
        &with(&pack, json!({"feeds": vec![json!({"uri": post_uri}); 4]})),
        "array too big (maximum 3, got 4)",
    );
    check(
        "app.bsky.graph.follow",
        &json!({"$type": "app.bsky.graph.follow", "subject": "did:plc:z72i7hdynmk6r22z27h6tvur", "createdAt": NOW}),
        "",
    );
    check(
        "app.bsky.graph.follow",
        &json!({"$type": "app.bsky.graph.follow", "subject": "bob.test", "createdAt": NOW}),
        "Invalid DID",
    );
    check(
        "com.germnetwork.declaration",
        &json!({"$type": "com.germnetwork.declaration"}),
        "Missing required key",
    );
    check(
        "site.standard.publication",
        &json!({"$type": "site.standard.publication", "name": "n", "url": "https://a.example", "preferences": {"showInDiscover": true}}),
        "",
    );
}

#[test]
fn messages_about_hostile_values_are_short() {
    let nsid = "app.bsky.feed.post";
    check(
        nsid,
        &with(&post(), json!({"text": ["x".repeat(10_000), 1, 2]})),
        "…\", 1, ...]) at $.text",
    );
    check(nsid, &with(&post(), json!({"text": [[[[[[1]]]]]]})), "(got [[[[...]]]]) at $.text");
    let long = ipld(&with(&post(), json!({"createdAt": "x".repeat(100_000)})));
    let invalid = catalog().record(nsid).unwrap().validate(&long).unwrap_err();
    assert!(invalid.to_string().len() < 400);
}
