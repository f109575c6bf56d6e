//! What accounts ask about themselves: the contract of `alt.aerie.account.*`. What it does is tested where it is done.

use serde_json::{Value, json};

use super::testing::Server;
use crate::hydrate::testing::{Fixture, NOW};
use crate::schema::rows::EdgeKind;
use crate::schema::{ActorId, Edit, Rows, Target};
use crate::work::purge;

const STATUS: &str = "alt.aerie.account.getStatus";
const OPT_OUT: &str = "alt.aerie.account.putOptOut";
const DELETE: &str = "alt.aerie.account.deleteData";
const EXPORT: &str = "alt.aerie.account.exportData";

fn server() -> (Server, ActorId, ActorId) {
    let f = Fixture::new();
    let (me, you) = (f.account("me"), f.account("you"));
    (Server::new(f), me, you)
}

#[test]
fn an_opt_out_is_seen_at_once_and_taken_back() {
    let (server, me, you) = server();
    let status = |viewer| server.get(STATUS, "", Some(viewer)).unwrap();
    let plain = json!({ "did": "did:plc:me", "optedOut": false, "deleting": false });
    assert_eq!(status(me), plain);
    let out = server.post(OPT_OUT, json!({ "optOut": true }), me).unwrap();
    let since = "2023-11-14T22:13:20.000Z";
    let expected =
        json!({ "did": "did:plc:me", "optedOut": true, "optedOutAt": since, "deleting": false });
    assert_eq!((&out, status(me)), (&expected, expected.clone()));
    assert_eq!(status(you)["optedOut"], false, "nobody else");
    assert_eq!(server.post(OPT_OUT, json!({ "optOut": false }), me).unwrap(), plain);
}

#[test]
fn deleting_may_opt_out_and_holds_opting_in_up() {
    let (server, me, you) = server();
    let deleted = server.post(DELETE, json!({}), me).unwrap();
    assert_eq!(deleted["optedOut"], false);
    let deleted = server.post(DELETE, json!({ "optOut": true }), you).unwrap();
    assert_eq!(deleted["optedOut"], true);
    let error = server.post(OPT_OUT, json!({ "optOut": false }), you).unwrap_err();
    assert_eq!((error.status().as_u16(), error.name()), (400, "DeletionPending"));
    server.fixture.write(move |tx| {
        purge::add_purge(tx, you, purge::Purge::Everything);
        Ok(())
    });
    assert_eq!(server.get(STATUS, "", Some(you)).unwrap()["deleting"], true);
}

fn of_kind<'v>(lines: &'v [Value], kind: &str) -> Vec<&'v Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

#[test]
fn an_export_has_everything_of_the_caller_and_nothing_of_others() {
    let (server, me, you) = server();
    let f = &server.fixture;
    let theirs = f.post(you, NOW - 5000, json!({}));
    f.edge(EdgeKind::Like, me, Target::Post(theirs), NOW);
    f.edge(EdgeKind::Like, you, Target::Post(theirs), NOW);
    f.follow(me, you);
    f.follow(you, me);
    f.mute(me, you);
    f.mute(you, me);
    // More than a page, of rows and of bytes.
    let posts = 2500;
    for n in 0..posts {
        f.post(me, NOW - 1_000_000 + n, json!({ "text": "a".repeat(600) }));
    }
    f.write(move |tx| {
        crate::private::testing::bookmark(tx, me, theirs, "cid", NOW)?;
        crate::private::testing::bookmark(tx, you, theirs, "cid", NOW)?;
        for who in [me, you] {
            crate::private::testing::draft(tx, who, r#"{"posts":[{"text":"x"}]}"#.to_owned(), NOW)?;
        }
        Ok(())
    });
    let lines = server.get(EXPORT, "", Some(me)).unwrap();
    let lines = lines.as_array().unwrap();
    assert_eq!(
        (&lines[0]["kind"], &lines[0]["did"]),
        (&json!("aerie-account"), &json!("did:plc:me"))
    );
    let account = &lines[1];
    assert_eq!((&account["kind"], &account["handle"]), (&json!("account"), &json!("me.test")));
    assert_eq!(account["status"], "active");
    let last = lines.last().unwrap();
    assert_eq!(*last, json!({ "kind": "end", "lines": lines.len() - 2, "leftOut": 0 }));
    for kind in ["mute", "bookmark", "draft"] {
        let own = of_kind(lines, kind);
        assert_eq!((own.len(), &own[0]["viewer"]), (1, &json!("did:plc:me")), "{kind}");
    }
    let records = of_kind(lines, "record");
    // The profile, the like and the follow too.
    assert_eq!(records.len(), usize::try_from(posts).unwrap() + 3);
    let mut uris: Vec<&str> = records.iter().map(|line| line["uri"].as_str().unwrap()).collect();
    assert!(uris.iter().all(|uri| uri.starts_with("at://did:plc:me/")));
    uris.sort_unstable();
    uris.dedup();
    assert_eq!(uris.len(), records.len(), "each once");
    let of =
        |coll: &str| *records.iter().find(|r| r["uri"].as_str().unwrap().contains(coll)).unwrap();
    let like = of("/app.bsky.feed.like/");
    assert_eq!(like["value"]["subject"]["uri"], f.snapshot().post_uri(theirs).unwrap());
    // As getRecord gives it.
    let mut uri = of("/app.bsky.feed.post/")["uri"].as_str().unwrap().split('/').skip(2);
    let (repo, coll, rkey) = (uri.next().unwrap(), uri.next().unwrap(), uri.next().unwrap());
    let query = format!("repo={repo}&collection={coll}&rkey={rkey}");
    let record = server.get("com.atproto.repo.getRecord", &query, None).unwrap();
    let exported = of(record["uri"].as_str().unwrap());
    assert_eq!((&record["cid"], &record["value"]), (&exported["cid"], &exported["value"]));
}

#[test]
fn an_account_that_was_never_seen_has_its_rights_too() {
    let (server, ..) = server();
    let stranger = server.fixture.write(|tx| tx.intern_actor("did:plc:stranger"));
    let lines = server.get(EXPORT, "", Some(stranger)).unwrap();
    let kinds: Vec<_> = lines.as_array().unwrap().iter().map(|line| line["kind"].clone()).collect();
    assert_eq!(kinds, ["aerie-account", "account", "end"]);
    assert_eq!(server.get(STATUS, "", Some(stranger)).unwrap()["optedOut"], false);
}
