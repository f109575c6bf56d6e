//! Links with `site.standard.*` records behind them.

use serde_json::{Value, json};

use super::testing::Server;
use crate::hydrate::testing::{Fixture, NOW};
use crate::hydrate::{ActorId, RecordId, Target};
use crate::schema::Rows;

const CID: &str = "bafkreicb24vbd4glfh5nrqb5m6ufohzyzxz4rqvvyfsrmzyxgzx3pkzwqi";
const URL: &str = "https://blog.example/first";

fn blob() -> Value {
    json!({ "$type": "blob", "mimeType": "image/png", "size": 3, "ref": { "$link": CID } })
}

fn publication(f: &Fixture, owner: ActorId) -> RecordId {
    let color = |r: u8| json!({ "$type": "site.standard.theme.color#rgb", "r": r, "g": 2, "b": 3 });
    let record = json!({
        "$type": "site.standard.publication", "name": "Blog", "url": "https://blog.example",
        "description": "All of it", "icon": blob(), "basicTheme": {
            "accent": color(1), "accentForeground": color(2), "background": color(3),
            "foreground": color(4),
        },
    });
    f.record(owner, "site.standard.publication", "3kaaaaaaaaa2a", record)
}

fn document(f: &Fixture, owner: ActorId, site: &str) -> RecordId {
    let record = json!({
        "$type": "site.standard.document", "title": "First", "site": site, "path": "/first",
        "publishedAt": "2023-05-01T00:00:00.000Z", "updatedAt": "2023-05-02T00:00:00.000Z",
        "textContent": "word ".repeat(201), "coverImage": blob(),
    });
    f.record(owner, "site.standard.document", "3kaaaaaaaaa3a", record)
}

#[test]
fn a_link_as_it_will_look() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (writer, owner, other) = (f.account("writer"), f.account("owner"), f.account("other"));
    let blog = publication(f, owner);
    let uri = |id| f.snapshot().uri(id).unwrap();
    let text = document(f, writer, &uri(blog));
    let get = |url: &str, uris: &[String]| {
        let uris: String = uris.iter().map(|uri| format!("&uris={uri}")).collect();
        let query = format!("url={url}{uris}");
        s.get("app.bsky.embed.getEmbedExternalView", &query, None).unwrap()
    };
    // The document brings its publication along.
    let body = get(URL, &[uri(text)]);
    let link = &body["view"]["external"];
    for (key, expect) in [
        ("uri", json!(URL)),
        ("title", json!("First")),
        ("description", json!("")),
        ("createdAt", json!("2023-05-01T00:00:00.000Z")),
        ("updatedAt", json!("2023-05-02T00:00:00.000Z")),
        ("readingTime", json!(2)),
        (
            "thumb",
            json!(format!("https://appview.example/img/feed_thumbnail/plain/did:plc:writer/{CID}")),
        ),
    ] {
        assert_eq!(link[key], expect, "{key}");
    }
    assert_eq!(link["source"]["title"], "Blog");
    assert_eq!(link["source"]["theme"]["accentRGB"]["r"], 1);
    assert!(link["source"]["icon"].as_str().unwrap().contains("/avatar/plain/did:plc:owner/"));
    let profiles = link["associatedProfiles"].as_array().unwrap().iter();
    let handles: Vec<&str> = profiles.map(|p| p["handle"].as_str().unwrap()).collect();
    assert_eq!(handles, ["writer.test", "owner.test"]);
    assert_eq!(body["associatedRefs"], link["associatedRefs"]);
    assert_eq!(body["associatedRefs"][1]["uri"], uri(blog));
    assert_eq!(body["associatedRecords"][0]["title"], "First");

    let front = get("https://blog.example/", &[uri(blog)]);
    assert_eq!(front["view"]["external"]["description"], "All of it");
    assert_eq!(front["associatedRefs"].as_array().unwrap().len(), 1);

    let profile = "at://did:plc:owner/app.bsky.actor.profile/self".to_owned();
    let missing = "at://did:plc:owner/site.standard.document/3kaaaaaaaaa9a".to_owned();
    for (url, uris) in [
        ("https://other.example/first", vec![uri(text)]),
        (URL, vec![uri(blog)]),
        (URL, vec![profile]),
        (URL, vec![missing]),
    ] {
        assert_eq!(get(url, &uris), json!({}), "{url} {uris:?}");
    }
    let orphan = document(f, other, "at://did:plc:other/site.standard.publication/3kaaaaaaaaa9a");
    assert_eq!(get(URL, &[uri(orphan)]), json!({}));
    let loose = document(f, other, "https://blog.example");
    assert_eq!(get(URL, &[uri(loose)])["view"]["external"].get("source"), None);

    // What belongs to something taken down is down as well.
    f.take_down(Target::Record(blog));
    assert_eq!(get(URL, &[uri(text)]), json!({}));
}

#[test]
fn a_post_shows_what_its_link_pins() {
    let s = Server::new(Fixture::new());
    let f = &s.fixture;
    let (poster, owner) = (f.account("poster"), f.account("owner"));
    let blog = publication(f, owner);
    let uri = |id| f.snapshot().uri(id).unwrap();
    let text = document(f, owner, &uri(blog));
    let pin = |id: RecordId| {
        let (s, row) = (f.snapshot(), f.snapshot().record(id).unwrap().unwrap());
        let digest = s.digest(row.cid, &row.packed).unwrap();
        json!({ "uri": uri(id), "cid": crate::hydrate::record::record_cid(&digest) })
    };
    let post = |ms: i64, refs: Value, thumb: Option<Value>| {
        let mut link =
            json!({ "uri": URL, "title": "own", "description": "own", "associatedRefs": refs });
        if let Some(thumb) = thumb {
            link["thumb"] = thumb;
        }
        let embed = json!({ "$type": "app.bsky.embed.external", "external": link });
        let post = f.post(poster, NOW - ms, json!({ "embed": embed }));
        f.snapshot().post_uri(post).unwrap()
    };
    let shown = |uri: &str| {
        let query = format!("uris={uri}");
        let body = s.get("app.bsky.feed.getPosts", &query, None).unwrap();
        body["posts"][0]["embed"]["external"].clone()
    };
    let both = shown(&post(1, json!([pin(text), pin(blog)]), None));
    assert_eq!((&both["title"], &both["readingTime"]), (&json!("First"), &json!(2)));
    assert_eq!(both["source"]["uri"], "https://blog.example");
    assert!(both["thumb"].as_str().unwrap().contains("did:plc:owner"));
    assert_eq!(both["associatedRefs"][1]["uri"], uri(blog));
    let own_thumb = shown(&post(2, json!([pin(text), pin(blog)]), Some(blob())));
    assert!(own_thumb["thumb"].as_str().unwrap().contains("did:plc:poster"));

    let stale = json!({ "uri": uri(text), "cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a" });
    for (ms, refs) in [(3, json!([pin(text)])), (4, json!([stale, pin(blog)])), (5, json!([]))] {
        let plain = shown(&post(ms, refs, None));
        assert_eq!((&plain["title"], plain.get("source")), (&json!("own"), None), "{ms}");
    }
}
