//! Valid inputs of every kind, made by the code of the project as far as it writes them.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use aerie::crypto::PrivateKey;
use aerie::private::portable;
use aerie::repo::dag_cbor::{Ipld, encode, from_json};
use aerie::repo::mst::key_layer;
use aerie::schema::migrations;
use aerie::schema::rows::{PostRow, RecordRow};
use aerie::store::{Ks, Reader as _, Store};
use aerie::syntax::{Cid, Tid, cid};
use aerie::work::tables::registry;
use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};
use serde_json::{Value, json};

pub(crate) const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
pub(crate) const NOW_US: u64 = 1_767_225_600_000_000;

/// One that stays, so that inputs do.
pub(crate) fn key() -> PrivateKey {
    PrivateKey::from_hex(&"17".repeat(32)).unwrap()
}

pub(crate) fn records() -> Vec<Value> {
    let link = json!({"$link": cid::to_base32(&cid::for_record(b"other"))});
    let strong = json!({"cid": link["$link"], "uri": format!("at://{DID}/app.bsky.feed.post/3kaaaaaaaaa2a")});
    let at = "2026-01-01T00:00:00.000Z";
    vec![
        json!({"$type": "app.bsky.feed.like", "createdAt": at, "subject": strong}),
        json!({"$type": "app.bsky.graph.follow", "createdAt": at, "subject": DID}),
        json!({"$type": "app.bsky.feed.post", "createdAt": at, "text": "hello @you \u{1f600} #tag", "langs": ["en"],
            "reply": {"root": strong, "parent": strong}, "tags": ["a"],
            "facets": [{"index": {"byteStart": 6, "byteEnd": 10}, "features": [{"$type": "app.bsky.richtext.facet#mention", "did": DID}]}],
            "embed": {"$type": "app.bsky.embed.images", "images": [{"alt": "", "aspectRatio": {"width": 4, "height": 3},
                "image": {"$type": "blob", "ref": link, "mimeType": "image/png", "size": 900}}]}}),
        json!({"$type": "app.bsky.actor.profile", "displayName": "x", "labels": {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "porn"}]}}),
        json!({"$type": "com.example.odd", "n": [1, -1, 9_007_199_254_740_991_i64, true, null, {"$bytes": "AAEC"}, [[[]]], {}]}),
    ]
}

/// A section of a CAR, or its header, with its length.
fn section(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let mut len: usize = parts.iter().map(|part| part.len()).sum();
    while len > 0x7f {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

pub(crate) type Blocks = Vec<(Cid, Vec<u8>)>;

pub(crate) fn car(root: &Cid, blocks: &[(Cid, Vec<u8>)]) -> Vec<u8> {
    let header = Ipld::Map(BTreeMap::from([
        ("roots".to_owned(), Ipld::List(vec![Ipld::Link(*root)])),
        ("version".to_owned(), Ipld::Integer(1)),
    ]));
    let mut out = Vec::new();
    section(&mut out, &[&encode(&header)]);
    blocks.iter().for_each(|(cid, block)| section(&mut out, &[&cid.to_bytes(), block]));
    out
}

/// The nodes of a tree, the root last.
pub(crate) fn tree(records: &BTreeMap<String, Cid>) -> (Cid, Blocks) {
    let all: Vec<(&String, &Cid)> = records.iter().collect();
    let top = all.iter().map(|(key, _)| key_layer(key.as_bytes())).max().unwrap_or(0);
    let mut blocks = Vec::new();
    let root = node(&all, top, &mut blocks);
    (root, blocks)
}

fn node(part: &[(&String, &Cid)], layer: u32, blocks: &mut Blocks) -> Cid {
    let own: Vec<usize> =
        (0..part.len()).filter(|i| key_layer(part[*i].0.as_bytes()) == layer).collect();
    let mut sub = |part: &[(&String, &Cid)]| {
        if part.is_empty() { Ipld::Null } else { Ipld::Link(node(part, layer - 1, blocks)) }
    };
    let left = sub(&part[..own.first().copied().unwrap_or(part.len())]);
    let (mut entries, mut last) = (Vec::new(), "");
    for (n, i) in own.iter().enumerate() {
        let (key, value) = part[*i];
        let shared = key.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
        entries.push(Ipld::Map(BTreeMap::from([
            ("p".to_owned(), Ipld::Integer(shared as i128)),
            ("k".to_owned(), Ipld::Bytes(key.as_bytes()[shared..].to_vec())),
            ("v".to_owned(), Ipld::Link(*value)),
            ("t".to_owned(), sub(&part[i + 1..own.get(n + 1).copied().unwrap_or(part.len())])),
        ])));
        last = key;
    }
    let block = encode(&Ipld::Map(BTreeMap::from([
        ("l".to_owned(), left),
        ("e".to_owned(), Ipld::List(entries)),
    ])));
    let cid = cid::for_record(&block);
    blocks.push((cid, block));
    cid
}

pub(crate) fn signed(mut map: BTreeMap<String, Ipld>) -> Vec<u8> {
    let signature = key().sign(&encode(&Ipld::Map(map.clone())));
    map.insert("sig".to_owned(), Ipld::Bytes(signature.to_vec()));
    encode(&Ipld::Map(map))
}

pub(crate) fn rev() -> String {
    Tid::from_micros(NOW_US - 1_000_000, 1).to_string()
}

pub(crate) fn commit(data: &Cid) -> Vec<u8> {
    signed(BTreeMap::from([
        ("did".to_owned(), Ipld::String(DID.to_owned())),
        ("version".to_owned(), Ipld::Integer(3)),
        ("data".to_owned(), Ipld::Link(*data)),
        ("rev".to_owned(), Ipld::String(rev())),
        ("prev".to_owned(), Ipld::Null),
    ]))
}

/// A repo of `count` records: its root, its blocks with the commit first, the tree and its records.
pub(crate) fn repo(count: u64) -> (Cid, Blocks, BTreeMap<String, Cid>) {
    let kinds = records();
    let (mut paths, mut blocks) = (BTreeMap::new(), Vec::new());
    for n in 0..count {
        let record = &kinds[(n % kinds.len() as u64) as usize];
        let block = encode(&from_json(record));
        let cid = cid::for_record(&block);
        let path = format!(
            "{}/{}",
            record["$type"].as_str().unwrap(),
            Tid::from_micros(NOW_US - 9_000_000 + n, 1)
        );
        paths.insert(path, cid);
        if !blocks.iter().any(|(other, _)| *other == cid) {
            blocks.push((cid, block));
        }
    }
    let (data, nodes) = tree(&paths);
    let commit = commit(&data);
    let root = cid::for_record(&commit);
    let all = std::iter::once((root, commit)).chain(nodes).chain(blocks).collect();
    (root, all, paths)
}

/// The store of an earlier build, and its folder.
pub(crate) fn saved() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let saved = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-v4.tar.gz");
    let done = Command::new("tar").arg("-xzf").arg(saved).arg("-C").arg(dir.path()).status();
    assert!(done.unwrap().success());
    let store = migrations::open(dir.path(), 64 << 20, &mut |_| {}).unwrap();
    (dir, store)
}

/// Posts and other records of a store, packed.
pub(crate) fn packed(store: &Store) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for ks in [Ks::Post, Ks::Record] {
        let mut each = |_: &[u8], value: &[u8]| {
            out.extend(match ks {
                Ks::Post => PostRow::decode(value).map(|row| row.packed),
                _ => RecordRow::decode(value).map(|row| row.packed),
            });
            true
        };
        store.snapshot().scan(ks, b"", None, false, &mut each).unwrap();
    }
    out
}

/// Rows of every table, as a store of an earlier build has them, and what of it is private, as it is exported.
pub(crate) fn store() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (_dir, store) = saved();
    let (snapshot, registry) = (store.snapshot(), registry());
    let (mut rows, mut seen) = (Vec::new(), BTreeMap::<&str, u32>::new());
    for ks in Ks::ALL {
        let mut each = |key: &[u8], value: &[u8]| {
            let Some(table) = registry.of(*ks, key) else { return true };
            let seen = seen.entry(table.name).or_default();
            *seen += 1;
            if *seen <= 4 && key.len() < 256 {
                rows.push([&[*ks as u8, key.len() as u8], key, value].concat());
            }
            true
        };
        snapshot.scan(*ks, b"", None, false, &mut each).unwrap();
    }
    let private = portable::page(&snapshot, None).unwrap().rows;
    (rows, private.iter().map(|row| serde_json::to_vec(row).unwrap()).collect())
}

fn frame(kind: &str, body: &Ipld) -> Vec<u8> {
    let header = json!({"op": 1, "t": kind});
    [encode(&from_json(&header)), encode(body)].concat()
}

pub(crate) fn frames() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for count in [1, 3, 12] {
        let (root, blocks, paths) = repo(count);
        let ops = paths.iter().map(|(path, cid)| {
            Ipld::Map(BTreeMap::from([
                ("action".to_owned(), Ipld::String("create".to_owned())),
                ("path".to_owned(), Ipld::String(path.clone())),
                ("cid".to_owned(), Ipld::Link(*cid)),
            ]))
        });
        let empty = aerie::repo::mst::empty_root();
        let body = |mut extra: BTreeMap<String, Ipld>| {
            extra.extend([
                ("seq".to_owned(), Ipld::Integer(7)),
                ("rev".to_owned(), Ipld::String(rev())),
                ("time".to_owned(), Ipld::String("2026-01-01T00:00:00.000Z".to_owned())),
                ("blocks".to_owned(), Ipld::Bytes(car(&root, &blocks))),
            ]);
            Ipld::Map(extra)
        };
        out.push(frame(
            "#commit",
            &body(BTreeMap::from([
                ("repo".to_owned(), Ipld::String(DID.to_owned())),
                ("commit".to_owned(), Ipld::Link(root)),
                ("since".to_owned(), Ipld::Null),
                ("prevData".to_owned(), Ipld::Link(empty)),
                ("ops".to_owned(), Ipld::List(ops.collect())),
                ("blobs".to_owned(), Ipld::List(Vec::new())),
                ("rebase".to_owned(), Ipld::Bool(false)),
                ("tooBig".to_owned(), Ipld::Bool(false)),
            ])),
        ));
        out.push(frame(
            "#sync",
            &body(BTreeMap::from([("did".to_owned(), Ipld::String(DID.to_owned()))])),
        ));
    }
    let at = "2026-01-01T00:00:00.000Z";
    let others = [
        ("#identity", json!({"did": DID, "handle": "a.example", "seq": 8, "time": at})),
        (
            "#account",
            json!({"active": false, "did": DID, "seq": 9, "status": "deleted", "time": at}),
        ),
        ("#info", json!({"name": "OutdatedCursor", "message": "m"})),
    ];
    out.extend(others.map(|(kind, body)| frame(kind, &from_json(&body))));
    out.push(
        [
            encode(&from_json(&json!({"op": -1}))),
            encode(&from_json(&json!({"error": "FutureCursor"}))),
        ]
        .concat(),
    );
    out
}

pub(crate) fn label_frames() -> Vec<Vec<u8>> {
    let label = |more: Value| {
        let mut label = json!({"ver": 1, "src": DID, "uri": format!("at://{DID}/app.bsky.feed.post/3kaaaaaaaaa2a"),
            "val": "porn", "cts": "2026-01-01T00:00:00.000Z", "sig": {"$bytes": "AAAA"}});
        label.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        label
    };
    let labels = [
        label(json!({})),
        label(
            json!({"neg": true, "exp": "2027-01-01T00:00:00Z", "cid": cid::to_base32(&cid::for_record(b"x"))}),
        ),
    ];
    let body = from_json(&json!({"seq": 4, "labels": labels}));
    vec![frame("#labels", &body), frame("#info", &from_json(&json!({"name": "OutdatedCursor"})))]
}

pub(crate) fn tokens() -> Vec<Vec<u8>> {
    let part = |value: &Value| data_encoding::BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = part(&json!({"alg": "ES256K", "typ": "JWT"}));
    let claims = json!({"iss": format!("{DID}#atproto_labeler"), "aud": "did:web:a.example#bsky_appview", "exp": 1_767_229_200,
        "iat": 1_767_225_600, "lxm": "app.bsky.feed.getTimeline", "jti": "abc"});
    let signed = format!("{header}.{}", part(&claims));
    let signature = data_encoding::BASE64URL_NOPAD.encode(&key().sign(signed.as_bytes()));
    vec![format!("{signed}.{signature}").into_bytes()]
}

pub(crate) fn documents() -> Vec<Vec<u8>> {
    let key = key().public().to_multibase();
    let document = json!({"@context": ["https://www.w3.org/ns/did/v1"], "id": DID, "alsoKnownAs": ["at://a.example"],
        "verificationMethod": [{"id": format!("{DID}#atproto"), "type": "Multikey", "controller": DID, "publicKeyMultibase": key}],
        "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example"},
            {"id": "#atproto_labeler", "type": "AtprotoLabeler", "serviceEndpoint": "https://l.example"}]});
    vec![document.to_string().into_bytes()]
}

pub(crate) fn plc_lines() -> Vec<Vec<u8>> {
    let key = key().public().to_did_key();
    let line = |operation: Value| {
        json!({"did": DID, "operation": operation, "cid": "bafyx", "nullified": false, "createdAt": "2026-01-01T00:00:00.000Z", "seq": 3})
            .to_string()
            .into_bytes()
    };
    vec![
        line(
            json!({"type": "plc_operation", "rotationKeys": [key], "verificationMethods": {"atproto": key}, "alsoKnownAs": ["at://a.example"],
            "services": {"atproto_pds": {"type": "AtprotoPersonalDataServer", "endpoint": "https://pds.example"}}, "prev": null, "sig": "AA"}),
        ),
        line(
            json!({"type": "create", "signingKey": key, "recoveryKey": key, "handle": "a.example", "service": "https://pds.example", "prev": null, "sig": "AA"}),
        ),
        line(json!({"type": "plc_tombstone", "prev": "bafyx", "sig": "AA"})),
    ]
}

pub(crate) fn jetstream() -> Vec<Vec<u8>> {
    let message = |more: Value| {
        let mut message = json!({"did": DID, "time_us": NOW_US});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message.to_string().into_bytes()
    };
    let commits = records().into_iter().map(|record| {
        let cid = cid::to_base32(&cid::for_record(&encode(&from_json(&record))));
        message(json!({"kind": "commit", "commit": {"rev": rev(), "operation": "create", "collection": record["$type"], "rkey": "3kaaaaaaaaa2a",
            "record": record, "cid": cid}}))
    });
    let mut out: Vec<_> = commits.collect();
    out.push(message(json!({"kind": "account", "account": {"active": false, "did": DID, "seq": 1, "status": "deleted", "time": "2026-01-01T00:00:00Z"}})));
    out.push(message(json!({"kind": "identity", "identity": {"did": DID, "handle": "a.example", "seq": 1, "time": "2026-01-01T00:00:00Z"}})));
    out
}

pub(crate) fn pictures() -> Vec<Vec<u8>> {
    let image = RgbaImage::from_fn(96, 72, |x, y| {
        Rgba([x as u8 * 2, y as u8 * 3, (x * y) as u8, if x < 40 { 255 } else { 90 }])
    });
    let (clear, opaque) = (
        DynamicImage::from(image.clone()),
        DynamicImage::from(DynamicImage::from(image).to_rgb8()),
    );
    let mut out = Vec::new();
    for (image, format) in [
        (&clear, ImageFormat::Png),
        (&opaque, ImageFormat::Png),
        (&clear, ImageFormat::WebP),
        (&opaque, ImageFormat::Gif),
    ] {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        out.push(bytes.into_inner());
    }
    for scans in [0, 6] {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 60);
        if scans > 0 {
            encoder.set_progressive_scans(scans);
        }
        encoder.encode(opaque.as_bytes(), 96, 72, jpeg_encoder::ColorType::Rgb).unwrap();
        out.push(bytes);
    }
    out
}
