use serde_json::{Value, json};

use crate::lexicon::catalog;

#[track_caller]
fn check(outcome: Result<(), crate::lexicon::Invalid>, expect: &str) {
    let message = outcome.map_or_else(|invalid| invalid.to_string(), |()| String::new());
    assert_eq!(message, expect);
}

#[test]
fn inputs() {
    let input = |nsid: &str, value: Value| catalog().method(nsid).unwrap().validate_input(&value);
    let mute = "app.bsky.graph.muteActor";
    check(input(mute, json!({"actor": "alice.test"})), "");
    check(input(mute, json!({})), "Missing required key \"actor\" at $");
    check(input(mute, json!({"actor": "-"})), "Invalid AT identifier (got \"-\") at $.actor");
    check(input(mute, json!(null)), "Expected object value type (got null) at $");
    let seen = "app.bsky.notification.updateSeen";
    check(input(seen, json!({"seenAt": "2026-11-21T00:00:00Z"})), "");
    check(input(seen, json!({"seenAt": 1})), "Expected string value type (got 1) at $.seenAt");
    let status = "com.atproto.admin.updateSubjectStatus";
    let subject = |subject: Value| json!({"subject": subject, "takedown": {"applied": true}});
    check(
        input(
            status,
            subject(json!({"$type": "com.atproto.admin.defs#repoRef", "did": "did:web:a.example"})),
        ),
        "",
    );
    check(
        input(status, subject(json!({"$type": "com.atproto.admin.defs#repoRef", "did": "a"}))),
        "Invalid DID (got \"a\") at $.subject.did",
    );
    // Integers may be spelled as decimals, as in every JSON parser of JavaScript.
    let create = "com.atproto.server.createInviteCode";
    check(input(create, json!({"useCount": 1.0})), "");
    check(
        input(create, json!({"useCount": 1.5})),
        "Expected integer value type (got 1.5) at $.useCount",
    );
    // A method without input schema takes anything.
    check(input("app.bsky.feed.getPosts", json!(5)), "");
}

#[test]
fn closed_unions_and_constants() {
    let input = |nsid: &str, value: Value| catalog().method(nsid).unwrap().validate_input(&value);
    let writes = |write: Value| json!({"repo": "alice.test", "writes": [write]});
    let nsid = "com.atproto.repo.applyWrites";
    let delete = |kind: &str| json!({"$type": kind, "collection": "a.b.c", "rkey": "x"});
    check(input(nsid, writes(delete("com.atproto.repo.applyWrites#delete"))), "");
    check(
        input(nsid, writes(delete("com.atproto.repo.applyWrites#nope"))),
        "Expected one of \"com.atproto.repo.applyWrites#create\", \"com.atproto.repo.applyWrites#update\" or \
         \"com.atproto.repo.applyWrites#delete\" (got \"com.atproto.repo.applyWrites#nope\") at $.writes[0].$type",
    );
    let create = |value: Value| json!({"$type": "com.atproto.repo.applyWrites#create", "collection": "a.b.c", "value": value});
    check(input(nsid, writes(create(json!({"a": [{"b": 1}]})))), "");
    check(
        input(nsid, writes(create(json!({"a": [{"b": 0.5}]})))),
        "Expected integer value type (got 0.5) at $.writes[0].value.a[0].b",
    );
    check(
        input(nsid, writes(create(json!([])))),
        "Expected object value type (got []) at $.writes[0].value",
    );

    let output = |nsid: &str, value: Value| catalog().method(nsid).unwrap().validate_output(&value);
    let relation = |value: Value| json!({"relationships": [value]});
    let nsid = "app.bsky.graph.getRelationships";
    let missing = |flag: bool| json!({"$type": "app.bsky.graph.defs#notFoundActor", "actor": "a.test", "notFound": flag});
    check(output(nsid, relation(missing(true))), "");
    check(
        output(nsid, relation(missing(false))),
        "Expected true (got false) at $.relationships[0].notFound",
    );
}

#[test]
fn nesting_is_limited() {
    let nested = |levels: usize| {
        let value = (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
        let create = json!({"$type": "com.atproto.repo.applyWrites#create", "collection": "a.b.c", "value": value});
        let input = json!({"repo": "alice.test", "writes": [create]});
        catalog().method("com.atproto.repo.applyWrites").unwrap().validate_input(&input)
    };
    assert!(nested(120).is_ok());
    assert_eq!(nested(130).unwrap_err().reason, "Too many levels");
}

#[test]
fn outputs() {
    let output = |nsid: &str, value: Value| catalog().method(nsid).unwrap().validate_output(&value);
    check(output("app.bsky.feed.getPosts", json!({"posts": [], "later": {"x": 1.5}})), "");
    check(
        output("app.bsky.feed.getPosts", json!({"posts": {}})),
        "Expected array value type (got {}) at $.posts",
    );
    check(
        output(
            "app.bsky.actor.getProfile",
            json!({"did": "did:web:a.example", "handle": "handle.invalid"}),
        ),
        "",
    );
    check(
        output("app.bsky.actor.getProfile", json!({"did": "did:web:a.example"})),
        "Missing required key \"handle\" at $",
    );
    // Bytes and links in their JSON forms.
    let label = |sig: Value| json!({"labels": [{"src": "did:web:a.example", "uri": "did:web:b.example", "val": "x", "cts": "2026-11-21T00:00:00Z", "sig": sig}]});
    check(output("com.atproto.label.queryLabels", label(json!({"$bytes": "AAEC"}))), "");
    check(
        output("com.atproto.label.queryLabels", label(json!("AAEC"))),
        "Expected bytes value type (got \"AAEC\") at $.labels[0].sig",
    );
    // A nullable member may be null, others may not.
    let commit = |rev: Value| json!({"commit": {"cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a", "rev": rev}, "results": null});
    check(
        output("com.atproto.repo.applyWrites", commit(json!("3jzfcijpj2z2a"))),
        "Expected array value type (got null) at $.results",
    );
}
