use crate::lexicon::compile::compile;
use crate::lexicon::files::FILES;
use crate::lexicon::schema::Def;
use crate::lexicon::{KeyKind, MethodKind, catalog};

#[test]
fn every_document_compiles_and_every_ref_resolves() {
    let compiled = compile(FILES);
    assert_eq!(compiled.problems, Vec::<String>::new());
    assert!(!compiled.defs.0.iter().any(|def| matches!(def, Def::Never)));
    assert!(compiled.records.len() >= 27 && compiled.methods.len() >= 200);
}

#[test]
fn problems_are_reported() {
    let check = |document: &'static str, expected: &str| {
        let problems = compile(&[document]).problems.join("; ");
        assert!(problems.contains(expected), "{document}: {problems}");
    };
    check("{", "unreadable document");
    check(
        r#"{"lexicon":1,"id":"a.b.c","defs":{"main":{"type":"integer","multipleOf":2}}}"#,
        "multipleOf",
    );
    check(
        r#"{"lexicon":1,"id":"a.b.c","defs":{"main":{"type":"array","items":{"type":"ref","ref":"a.b.d"}}}}"#,
        "a.b.c: no definition a.b.d",
    );
    check(
        r#"{"lexicon":1,"id":"a.b.c","defs":{"main":{"type":"object","required":["x"]}}}"#,
        "no property x",
    );
    check(
        r#"{"lexicon":1,"id":"a.b.c","defs":{"main":{"type":"string","format":"ipv4"}}}"#,
        "unknown format ipv4",
    );
    check(
        r#"{"lexicon":1,"id":"a.b.c","defs":{"main":{"type":"float"}}}"#,
        "unexpected type float",
    );
}

#[test]
fn record_keys() {
    let check = |nsid: &str, kind: KeyKind, good: &str, bad: &str| {
        let record = catalog().record(nsid).unwrap();
        assert_eq!((record.nsid(), record.key_kind()), (nsid, kind));
        assert!(record.accepts_key(good) && !record.accepts_key(bad), "{nsid}");
    };
    check("app.bsky.feed.like", KeyKind::Tid, "3jzfcijpj2z2a", "self");
    check("app.bsky.actor.profile", KeyKind::Literal("self"), "self", "3jzfcijpj2z2a");
    check("app.bsky.feed.generator", KeyKind::Any, "whats-hot", "a/b");
    check("com.atproto.lexicon.schema", KeyKind::Nsid, "app.bsky.feed.post", "nope");
    assert!(catalog().record("app.bsky.feed.getPosts").is_none());
    assert!(catalog().record("app.bsky.feed.nope").is_none());
}

#[test]
fn methods() {
    let check = |nsid: &str, kind: MethodKind, input: Option<&str>, output: Option<&str>| {
        let method = catalog().method(nsid).unwrap();
        assert_eq!((method.nsid(), method.kind()), (nsid, kind));
        assert_eq!((method.input_encoding(), method.output_encoding()), (input, output), "{nsid}");
    };
    let json = Some("application/json");
    check("app.bsky.feed.getPosts", MethodKind::Query, None, json);
    check("app.bsky.graph.muteActor", MethodKind::Procedure, json, None);
    check("com.atproto.sync.getRepo", MethodKind::Query, None, Some("application/vnd.ipld.car"));
    check("com.atproto.sync.subscribeRepos", MethodKind::Subscription, None, None);
    assert!(catalog().method("app.bsky.feed.like").is_none());

    let method = catalog().method("app.bsky.feed.getAuthorFeed").unwrap();
    let params: Vec<_> = method
        .params()
        .iter()
        .map(|p| (p.name(), p.type_name(), p.required(), p.default_value()))
        .collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        params,
        [
            ("actor", "string", true, None),
            ("limit", "integer", false, text("50")),
            ("cursor", "string", false, None),
            ("filter", "string", false, text("posts_with_replies")),
            ("includePins", "boolean", false, text("false")),
        ]
    );
}
