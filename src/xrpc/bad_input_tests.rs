//! Bad input to every method of the table. The cases are made from the lexicons, so a new method is covered by itself.
//!
//! Whatever is asked by whomever about whatever: the answer is a protocol error or conforms to the output lexicon.
//! What the lexicon forbids is refused with 400.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method as Verb};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::api::testing::{Server, make_searchable};
use super::testing::{
    CommunityHook, Keys, TokenSpec, basic, community, context_with, headers, request,
};
use super::*;
use crate::crypto::PrivateKey;
use crate::hydrate::Target;
use crate::hydrate::graph::MODLIST;
use crate::hydrate::testing::{Fixture, NOW};
use crate::lexicon::{MethodKind, MethodSchema, catalog};
use crate::private::community::NewPost;
use crate::private::subscriptions::Subscription;
use crate::repo::dag_cbor;
use crate::schema::rows::{AccountStatus, EdgeKind};
use crate::schema::{Edit, Rows};
use crate::syntax::{cid, datetime};

const LONG: usize = 9_000;
const DRAFT: &str = r#"{"posts":[{"text":"x"}]}"#;

/// Text that breaks what is careless with text.
const NASTY: [&str; 26] = [
    "\0",
    " ",
    "%",
    "'\"><script>",
    "null",
    "NaN",
    "-0",
    "99999999999999999999999",
    "٣",
    "💥",
    "\u{202e}x",
    "a\r\nb: c",
    "../../etc/passwd",
    "did:",
    "did:plc:",
    "did:plc:%00",
    "did:web:localhost:99999999",
    "at://",
    "at://x",
    "at://did:plc:friend",
    "at://did:plc:friend/app.bsky.feed.post",
    "at://did:plc:friend/app.bsky.feed.post/",
    "at://did:plc:friend/app.bsky.feed.post/a/b",
    "at://friend.test/app.bsky.feed.post/3k",
    "at://did:plc:friend/app.bsky.feed.post/jzzzzzzzzzzzz",
    "at://did:plc:friend/a.b.c/self?x#y",
];

/// Cursors of other methods, of other servers, and of nobody.
const CURSORS: [&str; 24] = [
    "::",
    "1700000000000::bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
    "1700000000000__bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
    "1700000000000__did:plc:friend",
    "1700000000000__",
    "__x",
    "__",
    "x__y",
    "1__2__3",
    "-1__x",
    "0__x",
    "NaN__x",
    "Infinity__x",
    "9007199254740993__x",
    "8640000000000001__x",
    "99999999999999999999__x",
    "1e309__x",
    "2023-11-14T22:13:20.000Z",
    "0000-01-01T00:00:00.000Z",
    "9999-12-31T23:59:59.999Z",
    "-000001-12-31T23:59:59.000Z",
    "3kaaaaaaaaaaa",
    "jzzzzzzzzzzzz",
    "did:plc:friend",
];

/// An answer that conforms.
struct Answer {
    status: u16,
    body: Value,
}

struct World {
    app: Arc<App>,
    server: Server,
    key: PrivateKey,
    /// DIDs with a key: who may sign a token.
    viewers: Vec<&'static str>,
    /// DIDs, handles and URIs of what is there, was there, and is not for everyone.
    subjects: Vec<String>,
    /// A CID that some record has.
    cid: String,
    /// The key of that record.
    rkey: String,
    /// How many calls were made.
    calls: std::cell::Cell<usize>,
}

type Query = Vec<(String, String)>;

impl World {
    fn new() -> Self {
        let f = Fixture::new();
        let names =
            ["me", "friend", "off", "suspended", "removed", "gone", "foe", "blocked", "muted"];
        let ids = names.map(|name| f.account(name));
        let [me, friend, off, suspended, removed, gone, foe, blocked, muted] = ids;
        let mut subjects = Vec::new();
        let root = f.post(friend, NOW - 900, json!({}));
        subjects.push(f.snapshot().post_uri(root).unwrap());
        let text_of = |key: &str| f.strong_ref(root)[key].as_str().unwrap().to_owned();
        let (cid, rkey) = (text_of("cid"), text_of("uri").rsplit('/').next().unwrap().to_owned());
        for (id, n) in ids.into_iter().zip(1..) {
            let sort = NOW - 800 + n * 10;
            f.follow(me, id);
            f.follow(id, me);
            let post = f.post(id, sort, json!({}));
            let quoted = json!({ "record": f.strong_ref(root), "$type": "app.bsky.embed.record" });
            let (reply, quote) = (
                f.reply(id, sort + 1, root, root),
                f.post(id, sort + 2, json!({ "embed": quoted })),
            );
            f.edge(EdgeKind::Like, id, Target::Post(root), sort);
            f.repost(id, root, sort);
            let list = f.list(id, "3kaaaaaaaaa2a", MODLIST, &[friend, muted, gone]);
            let made = "2023-02-01T00:00:00.000Z";
            let generator = json!({ "$type": "app.bsky.feed.generator", "displayName": "feed",
                "did": "did:web:feeds.example", "createdAt": made });
            let pack = json!({ "$type": "app.bsky.graph.starterpack", "name": "pack",
                "list": f.snapshot().uri(list).unwrap(), "createdAt": made });
            let labeler = json!({ "$type": "app.bsky.labeler.service", "createdAt": made,
                "policies": { "labelValues": ["spam"] } });
            let records = [
                f.record(id, "app.bsky.feed.generator", "3kaaaaaaaaa2a", generator),
                f.record(id, "app.bsky.graph.starterpack", "3kaaaaaaaaa2a", pack),
                f.record(id, "app.bsky.labeler.service", "self", labeler),
                list,
            ];
            let s = f.snapshot();
            subjects.push(s.did(id).unwrap().to_string());
            for post in [post, reply, quote] {
                subjects.push(s.post_uri(post).unwrap());
            }
            f.mute_list(me, list);
            let subscription = Subscription { at: sort, post: true, reply: true };
            let seen = cid.clone();
            let of_community =
                format!("at://{}/community.blacksky.feed.post/3kaaaaaaaaa2a", s.did(id).unwrap());
            subjects.push(of_community.clone());
            f.write(move |tx| {
                crate::private::testing::bookmark(tx, me, post, &seen, sort)?;
                crate::private::testing::draft(tx, me, DRAFT.to_owned(), sort)?;
                let post = json!({ "text": "hello", "createdAt": datetime::format_ms(sort) });
                let new = NewPost::read(&dag_cbor::from_json(&post)).unwrap();
                let Some(Target::Post(kept)) = tx.intern_target(&of_community)? else { panic!() };
                crate::private::testing::community_post(tx, kept, &new, sort)?;
                crate::private::testing::subscribe(tx, me, id, subscription)
            });
            subjects.extend(records.map(|record| s.uri(record).unwrap()));
        }
        subjects.extend(
            ["friend.test", "gone.test", "nobody.test", "did:plc:stranger"].map(str::to_owned),
        );
        for coll in ["feed.post", "feed.generator", "graph.list", "graph.starterpack"] {
            subjects.push(format!("at://did:plc:friend/app.bsky.{coll}/3kzzzzzzzzzzz"));
            subjects.push(format!("at://did:plc:stranger/app.bsky.{coll}/3kzzzzzzzzzzz"));
        }
        for (id, status) in [
            (off, AccountStatus::Deactivated),
            (suspended, AccountStatus::Suspended),
            (gone, AccountStatus::Deleted),
        ] {
            f.update(id, move |row| row.status = status);
        }
        f.take_down(Target::Actor(removed));
        f.block(foe, me);
        f.block(me, blocked);
        f.mute(me, muted);
        let viewers = vec![
            "did:plc:me",
            "did:plc:off",
            "did:plc:suspended",
            "did:plc:removed",
            "did:plc:gone",
            "did:plc:stranger",
        ];
        let (keys, key) = (Arc::new(Keys::default()), PrivateKey::generate());
        for did in &viewers {
            keys.set(&format!("{did}#atproto"), &key.public());
        }
        let server = Server::new(f);
        let Fixture { store, writer, shared, .. } = &server.fixture;
        let feeds = Arc::clone(&server.generators);
        let door = Arc::new(CommunityHook { open: true, ..CommunityHook::default() });
        let (store, writer, shared) = (store.clone(), writer.clone(), Arc::clone(shared));
        let community = Some(community(&store, &door, None, 1000));
        let ctx = context_with(keys, store, writer, shared, feeds, community);
        make_searchable(&ctx.search, &server.fixture);
        let app = Arc::new(App::new(ctx).unwrap());
        let posts = subjects.iter().filter(|uri| uri.contains("/app.bsky.feed.post/"));
        let skeleton: Vec<Value> = posts.map(|uri| json!({ "post": uri })).collect();
        *server.generators.answer.lock() = Some((200, json!({ "feed": skeleton }).to_string()));
        Self { app, server, key, viewers, subjects, cid, rkey, calls: Default::default() }
    }

    /// What `viewer` sends as authorization.
    fn authorization(&self, method: &Method, viewer: &str) -> String {
        match method.auth {
            Auth::AdminOrModService => basic("admin:admin-pass"),
            _ => {
                let token = TokenSpec::new(method.nsid).claim("iss", viewer.into());
                format!("Bearer {}", token.sign(&self.key))
            }
        }
    }

    /// Calls and holds the answer to the contract.
    fn call(
        &self,
        method: &Method,
        authorization: Option<&str>,
        query: &[(String, String)],
        input: Option<&Value>,
    ) -> Answer {
        self.calls.set(self.calls.get() + 1);
        let schema = catalog().method(method.nsid).unwrap();
        let query_text =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let verb = if input.is_some() { Verb::POST } else { Verb::GET };
        let mut request = request(verb, &format!("/xrpc/{}?{query_text}", method.nsid));
        if let Some(authorization) = authorization {
            request.headers = headers(authorization);
        }
        if let Some(input) = input {
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body = Body::Bytes(input.to_string().into());
        }
        let response = self.server.fixture.wait(self.app.handle(request));
        let status = response.status.as_u16();
        let shown = || {
            let body =
                String::from_utf8_lossy(&response.body).chars().take(300).collect::<String>();
            let query: String = query_text.chars().take(300).collect();
            let input = input.map(|i| i.to_string().chars().take(300).collect::<String>());
            format!("{}?{query} {input:?}: {status} {body}", method.nsid)
        };
        assert!(matches!(status, 200..=499 | 501 | 502), "{}", shown());
        if response.body.is_empty() {
            assert!(status == 200 && schema.output_encoding().is_none(), "{}", shown());
            return Answer { status, body: Value::Null };
        }
        if status == 200 && schema.output_encoding() == Some("application/jsonl") {
            for line in response.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                serde_json::from_slice::<Value>(line).unwrap();
            }
            return Answer { status, body: Value::Null };
        }
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        if status == 200 {
            if let Err(invalid) = schema.validate_output(&body) {
                panic!("{invalid}: {}", shown());
            }
        } else {
            let text = |key: &str| body[key].as_str().is_some_and(|text| !text.is_empty());
            assert!(text("error") && text("message"), "{}", shown());
        }
        Answer { status, body }
    }
}

/// The lexicon as it is written, with what the compiled one does not tell.
fn document(nsid: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("lexicons")
        .join(format!("{}.json", nsid.replace('.', "/")));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn parameters(nsid: &str) -> BTreeMap<String, Value> {
    let document = document(nsid);
    let of = document["defs"]["main"]["parameters"]["properties"].as_object();
    of.into_iter().flatten().map(|(name, schema)| (name.clone(), schema.clone())).collect()
}

/// Text that a lexicon's string takes and the handler knows something of.
fn text(world: &World, nsid: &str, name: &str, schema: &Value) -> String {
    let of = |coll: &str| {
        let is = |uri: &&String| uri.starts_with("at://did:plc:friend/") && uri.contains(coll);
        world.subjects.iter().find(is).unwrap().clone()
    };
    if let Some(first) = ["enum", "knownValues"].iter().find_map(|key| schema[key][0].as_str()) {
        return first.to_owned();
    }
    match schema["format"].as_str().unwrap_or_default() {
        "did" | "at-identifier" => "did:plc:friend".to_owned(),
        "handle" => "friend.test".to_owned(),
        "at-uri" if name.contains("feed") || nsid.contains("FeedGenerator") => of("generator"),
        "at-uri" if name.contains("list") => of("graph.list/"),
        "at-uri" if nsid.contains("tarterPack") => of("starterpack"),
        "at-uri" if nsid.starts_with("community.") => of("community.blacksky.feed.post"),
        "at-uri" => of("app.bsky.feed.post"),
        "cid" => world.cid.clone(),
        "datetime" => "2023-11-14T22:13:20.000Z".to_owned(),
        "nsid" => "app.bsky.feed.post".to_owned(),
        "tid" | "record-key" => world.rkey.clone(),
        "language" => "en".to_owned(),
        "uri" => "https://example.com/".to_owned(),
        // A push subscription, which is taken without an endpoint for other tokens too.
        _ if name == "token" => "https://push.example/".to_owned(),
        _ => "x".to_owned(),
    }
}

fn value(world: &World, nsid: &str, name: &str, schema: &Value) -> String {
    match schema["type"].as_str().unwrap() {
        "integer" => schema["minimum"].as_i64().unwrap_or(1).to_string(),
        "boolean" => "true".to_owned(),
        "array" => text(world, nsid, name, &schema["items"]),
        _ => text(world, nsid, name, schema),
    }
}

/// Values of a parameter, each list being what is given for it, that the lexicon forbids.
fn forbidden(schema: &Value, valid: &str) -> Vec<Vec<String>> {
    let one = |text: &str| vec![text.to_owned()];
    let mut out = Vec::new();
    if schema["type"] != "array" {
        out.push(vec![valid.to_owned(); 2]);
        out.push(vec![valid.to_owned(); 500]);
    }
    match schema["type"].as_str().unwrap() {
        "integer" => {
            let wrong = ["x", "1.5", "1e3", "0x1", "٣", " 1", "true", "9007199254740993"];
            out.extend(wrong.map(one));
            out.extend(schema["minimum"].as_i64().map(|min| one(&(min - 1).to_string())));
            out.extend(schema["maximum"].as_i64().map(|max| one(&(max + 1).to_string())));
        }
        "boolean" => out.extend(["1", "yes", "TRUE", "null"].map(one)),
        "array" => {
            let most = schema["maxLength"].as_u64();
            out.extend(most.map(|most| vec![valid.to_owned(); usize::try_from(most).unwrap() + 1]));
            out.extend(forbidden_text(&schema["items"]).iter().map(|text| one(text)));
        }
        _ => out.extend(forbidden_text(schema).iter().map(|text| one(text))),
    }
    out
}

fn forbidden_text(schema: &Value) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(max) = schema["maxLength"].as_u64() {
        out.push("a".repeat(usize::try_from(max).unwrap() + 1));
    }
    if schema.get("enum").is_some() {
        out.push("x".to_owned());
    }
    if schema.get("format").is_some() {
        out.extend(["x y", "\0", "-"].map(str::to_owned));
        out.push("a".repeat(LONG));
    }
    out
}

fn pairs(base: &Query, name: &str, values: &[String]) -> Query {
    let others = base.iter().filter(|(known, _)| known != name).cloned();
    others.chain(values.iter().map(|value| (name.to_owned(), value.clone()))).collect()
}

fn is_required(nsid: &str, name: &str) -> bool {
    let schema = catalog().method(nsid).unwrap();
    schema.params().iter().any(|param| param.name() == name && param.required())
}

/// Calls with the required parameters only.
fn base(world: &World, nsid: &str, parameters: &BTreeMap<String, Value>) -> Query {
    let required = parameters.iter().filter(|(name, _)| is_required(nsid, name));
    required.map(|(name, schema)| (name.clone(), value(world, nsid, name, schema))).collect()
}

fn is_served(nsid: &str) -> bool {
    list(true).iter().any(|method| method.nsid == nsid && method.not_served.is_none())
}

fn of_kind(kind: MethodKind) -> impl Iterator<Item = &'static Method> {
    METHODS.iter().filter(move |m| catalog().method(m.nsid).is_some_and(|s| s.kind() == kind))
}

#[test]
fn every_parameter_of_every_query() {
    let world = World::new();
    let (mut good, mut queries) = (0, 0);
    for method in of_kind(MethodKind::Query) {
        let nsid = method.nsid;
        let parameters = parameters(nsid);
        let base = base(&world, nsid, &parameters);
        let me = world.authorization(method, "did:plc:me");
        let ask = |query: &Query| world.call(method, Some(&me), query, None);
        let plain = ask(&base);
        let unknown = ask(&pairs(&base, "nope", &["1".to_owned(), "2".to_owned()]));
        assert_eq!((plain.status, &plain.body), (unknown.status, &unknown.body), "{nsid}");
        assert_eq!(plain.status != 501, is_served(nsid), "{nsid}: {}", plain.body);
        (good, queries) = (good + usize::from(plain.status == 200), queries + 1);
        if method.auth == Auth::Required {
            assert_eq!(world.call(method, None, &base, None).status, 401, "{nsid}");
        }
        for (name, schema) in &parameters {
            let valid = value(&world, nsid, name, schema);
            for values in forbidden(schema, &valid) {
                let shown: String =
                    values.iter().take(2).flat_map(|v| v.chars().take(40)).collect();
                let answer = ask(&pairs(&base, name, &values));
                assert_eq!(answer.status, 400, "{nsid} {name}={shown}");
            }
            for none in [vec![], vec![String::new()]] {
                let answer = ask(&pairs(&base, name, &none));
                // A search for nothing in particular finds all.
                let may_be_empty = nsid == "app.bsky.feed.searchPosts" && !none.is_empty();
                if is_required(nsid, name) && !may_be_empty {
                    assert_eq!(answer.status, 400, "{nsid} without {name}");
                }
            }
            let long = "a".repeat(LONG);
            let texts = NASTY.iter().chain(&CURSORS).copied().chain([&*long]);
            for text in texts.chain(world.subjects.iter().map(String::as_str)) {
                ask(&pairs(&base, name, &[text.to_owned()]));
            }
            if schema["type"] == "array" {
                ask(&pairs(&base, name, &world.subjects));
                ask(&pairs(&base, name, &vec![valid; 20]));
            }
        }
    }
    assert!(good * 5 > queries * 4, "what is varied should be good: {good} of {queries} are");
    assert!(world.calls.get() > 5000, "{} calls", world.calls.get());
}

#[test]
fn every_query_by_everyone_about_everything() {
    let world = World::new();
    for method in of_kind(MethodKind::Query) {
        let nsid = method.nsid;
        let parameters = parameters(nsid);
        let base = base(&world, nsid, &parameters);
        let tokens = world.viewers.iter().map(|did| Some(world.authorization(method, did)));
        for authorization in tokens.chain([None]) {
            let authorization = authorization.as_deref();
            let status = world.call(method, authorization, &base, None).status;
            if authorization.is_some() {
                assert!(status != 401 && status != 502, "{nsid}: {status}");
            }
            let about = |schema: &Value| {
                let item = if schema["type"] == "array" { &schema["items"] } else { schema };
                matches!(item["format"].as_str(), Some("at-uri" | "did" | "at-identifier"))
            };
            for (name, _) in parameters.iter().filter(|(_, schema)| about(schema)) {
                for subject in &world.subjects {
                    let query = pairs(&base, name, std::slice::from_ref(subject));
                    world.call(method, authorization, &query, None);
                }
            }
        }
    }
}

/// A value that the lexicon takes, optional members and all; `None` for what nests without end.
fn sample(world: &World, nsid: &str, name: &str, schema: &Value, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let inner = |name: &str, schema: &Value| sample(world, nsid, name, schema, depth);
    let target = |reference: &str| -> Option<(String, Value)> {
        let (document_id, def) = reference.split_once('#').unwrap_or((reference, "main"));
        let id = if document_id.is_empty() { nsid } else { document_id };
        let schema = document(id)["defs"][def].clone();
        let value = sample(world, id, name, &schema, depth)?;
        Some((format!("{id}#{def}").trim_end_matches("#main").to_owned(), value))
    };
    Some(match schema["type"].as_str().unwrap() {
        "object" => {
            let members = schema["properties"].as_object().into_iter().flatten();
            let members =
                members.filter_map(|(key, schema)| Some((key.clone(), inner(key, schema)?)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        "array" => Value::Array(inner(name, &schema["items"]).into_iter().collect()),
        "integer" => schema["minimum"].as_i64().unwrap_or(1).into(),
        "boolean" => true.into(),
        "ref" => target(schema["ref"].as_str()?)?.1,
        "union" => {
            let (kind, mut value) = target(schema["refs"][0].as_str()?)?;
            value["$type"] = kind.into();
            value
        }
        "unknown" => json!({ "$type": "a.b.c" }),
        "blob" => json!({ "$type": "blob", "mimeType": "image/png", "size": 1,
            "ref": { "$link": cid::to_base32(&cid::for_raw(b"x")) } }),
        "string" => text(world, nsid, name, schema).into(),
        _ => return None,
    })
}

/// Paths of all members and items inside a value.
fn paths(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                paths(value, &path, out);
                out.push(path);
            }
        }
        Value::Array(items) => {
            for (n, value) in items.iter().enumerate() {
                paths(value, &format!("{at}/{n}"), out);
                out.push(format!("{at}/{n}"));
            }
        }
        _ => {}
    }
}

fn without(value: &Value, path: &str) -> Value {
    let mut out = value.clone();
    let (parent, key) = path.rsplit_once('/').unwrap();
    match out.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.remove(key)),
        Value::Array(items) => drop(items.remove(key.parse().unwrap())),
        _ => unreachable!(),
    }
    out
}

fn with(value: &Value, path: &str, new: Value) -> Value {
    let mut out = value.clone();
    *out.pointer_mut(path).unwrap() = new;
    out
}

#[test]
fn every_member_of_every_input() {
    let world = World::new();
    for method in of_kind(MethodKind::Procedure) {
        let nsid = method.nsid;
        let schema: &MethodSchema = catalog().method(nsid).unwrap();
        let me = world.authorization(method, "did:plc:me");
        let send = |input: &Value| world.call(method, Some(&me), &[], Some(input)).status;
        for wrong in [json!(null), json!([]), json!("x"), json!(7)] {
            assert_eq!(send(&wrong), 400, "{nsid} {wrong}");
        }
        let document = document(nsid);
        let input = &document["defs"]["main"]["input"]["schema"];
        if input.is_null() {
            continue;
        }
        let full = sample(&world, nsid, "", input, 30).unwrap();
        schema.validate_input(&full).unwrap_or_else(|e| panic!("{nsid}: {e}: {full:#}"));
        assert_eq!(world.call(method, None, &[], Some(&full)).status, 401, "{nsid}");
        for did in &world.viewers {
            let authorization = world.authorization(method, did);
            let Answer { status, body } =
                world.call(method, Some(&authorization), &[], Some(&full));
            assert_ne!(status, 401, "{nsid}");
            assert_eq!(status != 501, is_served(nsid), "{nsid} by {did}: {body}");
        }
        let mut all = Vec::new();
        paths(&full, "", &mut all);
        for path in &all {
            let (held, long) = (full.pointer(path).unwrap(), "a".repeat(LONG));
            let mut bad = vec![without(&full, path)];
            bad.extend(
                [
                    json!(null),
                    json!(-1),
                    json!(1.5),
                    json!(true),
                    json!([]),
                    json!({}),
                    json!([[]]),
                ]
                .map(|new| with(&full, path, new)),
            );
            if held.is_string() {
                let texts = NASTY.iter().copied().chain([long.as_str(), ""]);
                for text in texts.chain(world.subjects.iter().map(String::as_str)) {
                    bad.push(with(&full, path, text.into()));
                }
            }
            if let Value::Array(items) = held {
                bad.push(with(&full, path, vec![items.first().cloned(); 300].into()));
            }
            for input in bad {
                let valid = schema.validate_input(&input).is_ok();
                let status = send(&input);
                assert!(valid || status == 400 || status == 413, "{nsid} {path}: {status}");
            }
        }
    }
}
