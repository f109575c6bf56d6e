//! Every decoder of bytes that come from outside, as a function of bytes. What an input must not do is panic, take more
//! memory than is said here, or break a promise that is checked beside it.

use std::collections::HashMap;
use std::sync::LazyLock;

use aerie::event::frame::Frame;
use aerie::event::label::LabelFrame;
use aerie::hydrate::page::TimeCursor;
use aerie::identity::DidDoc;
use aerie::identity::plc;
use aerie::lexicon::catalog;
use aerie::limits::{Client, Proxies};
use aerie::media::{ImageRequest, OutputFormat, Preset};
use aerie::private::portable;
use aerie::repo::mst::{self, MstOp, Walk};
use aerie::repo::proof::verify_proof;
use aerie::repo::verify::{extract_commit, extract_sync, verify_commit, verify_sync};
use aerie::repo::{CarLimits, CarSlice, Commit, dag_cbor};
use aerie::schema::Rows;
use aerie::search::analysis::{Analyzer, MAX_TERM, MAX_TEXT, Term, fold, tag_term};
use aerie::search::query::{MAX_CHARACTERS, QueryError, parse};
use aerie::store::{Ks, Store};
use aerie::syntax::{self, Cid, Did, cid};
use aerie::work::tables::registry;
use aerie::xrpc::ParsedLabelers;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::mutate::Numbers;
use crate::{MEMORY, corpus, shape};

const KB: usize = 1 << 10;
const MB: usize = 1 << 20;

type Shape = fn(&[u8], &mut Numbers) -> Vec<u8>;

pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) corpus: fn() -> Vec<Vec<u8>>,
    pub(crate) run: fn(&[u8]),
    /// Makes what was changed valid again where chance never would; done with a third of the inputs.
    pub(crate) mend: fn(Vec<u8>) -> Vec<u8>,
    /// Makes a valid input say something else; another third.
    pub(crate) shape: Option<Shape>,
    /// How much more time it has than others.
    pub(crate) share: u64,
    /// Bytes that it may take, and for each byte of input.
    pub(crate) memory: (usize, usize),
}

const BASE: Target = Target {
    name: "",
    corpus: Vec::new,
    run: |_| {},
    mend: |bytes| bytes,
    shape: None,
    share: 1,
    memory: (256 * KB, 40),
};

/// A value, its bytes, and its JSON: a map of that takes half of what the value's does, a link, which is no map, as much.
const VALUE: (usize, usize) = (2 * dag_cbor::MAX_MEMORY + 256 * KB, 40);
/// A value of a text; the texts in between are of a few times its length.
const JSON: (usize, usize) = (dag_cbor::MAX_MEMORY + 256 * KB, 40);

/// Of a text that is searched only the beginning is read, and each of its letters may be a word with its places.
const TEXT: (usize, usize) = (256 * MAX_TEXT, 8);

/// What a picture may take, as on a small server.
const PICTURE: u64 = 16 << 20;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "frame",
        share: 4,
        shape: Some(shape::frame),
        corpus: corpus::frames,
        run: frame,
        memory: (MB, 40),
        ..BASE
    },
    Target {
        name: "label-frame",
        shape: Some(shape::frame),
        corpus: corpus::label_frames,
        run: label_frame,
        ..BASE
    },
    Target { name: "car-slice", shape: Some(shape::car), corpus: cars, run: car_slice, ..BASE },
    Target {
        name: "dag-cbor",
        shape: Some(shape::cbor),
        corpus: values,
        run: value,
        memory: VALUE,
        ..BASE
    },
    Target { name: "items", corpus: items, run: value, memory: VALUE, ..BASE },
    Target {
        name: "json-record",
        shape: Some(shape::json),
        corpus: json_records,
        run: json_record,
        memory: JSON,
        ..BASE
    },
    Target {
        name: "record",
        shape: Some(shape::cbor),
        corpus: values,
        run: record,
        memory: VALUE,
        ..BASE
    },
    Target { name: "commit", shape: Some(shape::cbor), corpus: commits, run: commit, ..BASE },
    Target {
        name: "tree",
        share: 2,
        mend: shape::mended,
        shape: Some(shape::car),
        corpus: trees,
        run: tree,
        ..BASE
    },
    Target {
        name: "proof",
        share: 4,
        corpus: cars,
        run: proof,
        mend: shape::mended,
        shape: Some(shape::car),
        memory: (MB, 40),
    },
    Target {
        name: "repo",
        share: 4,
        corpus: cars,
        run: repo,
        mend: shape::mended,
        shape: Some(shape::car),
        memory: (2 * MB, 40),
    },
    Target { name: "token", corpus: corpus::tokens, run: |b| text(b, token), ..BASE },
    Target {
        name: "labelers",
        corpus: || strings(&["did:plc:a;redact, did:web:b.example", "did:plc:c;redact=?1;x=\"y\""]),
        run: labelers,
        ..BASE
    },
    Target { name: "params", corpus: queries, run: params, memory: (256 * KB, 100), ..BASE },
    Target {
        name: "input",
        shape: Some(shape::input),
        corpus: inputs,
        run: input,
        memory: (256 * KB, 200),
        ..BASE
    },
    Target {
        name: "cursor",
        corpus: || {
            strings(&[
                "1767225600000::bafy",
                "2026-01-01T00:00:00.000Z",
                "3kaaaaaaaaa2a",
                "1767225600000__3kaaaaaaaaa2a",
            ])
        },
        run: cursor,
        ..BASE
    },
    Target { name: "image-request", corpus: paths, run: |b| text(b, path), ..BASE },
    Target {
        name: "picture",
        mend: shape::checksums,
        shape: Some(shape::picture),
        share: 8,
        corpus: corpus::pictures,
        run: picture,
        memory: (PICTURE as usize + 4 * MB, 8),
    },
    Target {
        name: "did-document",
        shape: Some(shape::json),
        corpus: corpus::documents,
        run: document,
        memory: (256 * KB, 200),
        ..BASE
    },
    Target {
        name: "plc-line",
        shape: Some(shape::json),
        corpus: corpus::plc_lines,
        run: plc_line,
        memory: (256 * KB, 200),
        ..BASE
    },
    Target {
        name: "jetstream",
        shape: Some(shape::json),
        corpus: corpus::jetstream,
        run: |b| drop(aerie::ingest::fuzzing::jetstream(b)),
        memory: JSON,
        ..BASE
    },
    Target {
        name: "private-row",
        shape: Some(shape::json),
        corpus: || corpus::store().1,
        run: private_row,
        memory: (256 * KB, 200),
        ..BASE
    },
    Target {
        name: "packed-record",
        corpus: || corpus::packed(&NAMES.1),
        run: packed_record,
        memory: (4 * MB, 200),
        ..BASE
    },
    Target { name: "store-row", corpus: || corpus::store().0, run: store_row, ..BASE },
    Target {
        name: "forwarded",
        corpus: || {
            strings(&[
                "for=192.0.2.60;proto=http;by=203.0.113.43, for=\"[2001:db8:cafe::17]:4711\"",
                "\n203.0.113.195, 2001:db8:85a3::8a2e:370:7334, 10.0.0.9",
            ])
        },
        run: forwarded,
        ..BASE
    },
    Target { name: "names", corpus: names, run: |b| text(b, name), ..BASE },
    Target {
        name: "search-query",
        corpus: search_queries,
        run: |b| text(b, search_query),
        memory: TEXT,
        ..BASE
    },
    Target {
        name: "search-text",
        corpus: search_texts,
        run: |b| text(b, search_text),
        memory: TEXT,
        ..BASE
    },
];

fn text(bytes: &[u8], run: impl Fn(&str)) {
    run(&String::from_utf8_lossy(bytes));
}

fn strings(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn frame(bytes: &[u8]) {
    let key = corpus::key().public();
    match Frame::decode(Bytes::copy_from_slice(bytes)) {
        Ok(Frame::Commit(commit)) => {
            let verified = verify_commit(&commit, &key, corpus::NOW_US, |_| true);
            let read = extract_commit(&commit, corpus::NOW_US, |_| true);
            assert!(verified.is_err() || read.is_ok(), "what is verified can be read");
        }
        Ok(Frame::Sync(sync)) => {
            let verified = verify_sync(&sync, &key, corpus::NOW_US);
            assert!(verified.is_err() || extract_sync(&sync, corpus::NOW_US).is_ok());
        }
        _ => {}
    }
}

fn label_frame(bytes: &[u8]) {
    if let Ok(LabelFrame::Labels { labels, .. }) = LabelFrame::decode(Bytes::copy_from_slice(bytes))
    {
        let key = corpus::key().public();
        labels.iter().for_each(|label| _ = label.verify_signature(&key));
    }
}

fn cars() -> Vec<Vec<u8>> {
    [0, 1, 5, 40]
        .into_iter()
        .map(|count| {
            let (root, blocks, _) = corpus::repo(count);
            corpus::car(&root, &blocks)
        })
        .collect()
}

fn car_slice(bytes: &[u8]) {
    let limits = CarLimits { max_len: MB, max_block_len: 100_000, max_blocks: 1000 };
    let data = Bytes::copy_from_slice(bytes);
    let checked = CarSlice::parse(data.clone(), &limits);
    let unchecked = CarSlice::parse_unhashed(data, &limits);
    assert!(checked.is_err() || unchecked.is_ok());
    if let Ok(car) = unchecked {
        car.roots().iter().for_each(|root| drop(car.get_hashed(root)));
    }
}

fn values() -> Vec<Vec<u8>> {
    corpus::records().iter().map(|record| dag_cbor::encode(&dag_cbor::from_json(record))).collect()
}

/// Lists of what takes most: items of a byte, maps of one entry, maps within maps, long maps.
fn items() -> Vec<Vec<u8>> {
    let list = |item: &[u8], len: u16| {
        [&[0x99][..], &len.to_be_bytes(), &item.repeat(len.into())].concat()
    };
    let long: Vec<_> =
        (0..=u8::MAX).flat_map(|n| [0x62, b'a' + n / 26, b'a' + n % 26, 0]).collect();
    vec![
        [&b"\x9a\0\x04\0\0"[..], &[0; 1 << 18]].concat(),
        list(b"\0", 60_000),
        list(b"\xa1\x60\xf6", 8_000),
        list(&[&b"\xa1\x60".repeat(50)[..], b"\0"].concat(), 160),
        [&b"\xb9\x01\0"[..], &long].concat(),
    ]
}

/// What is counted before is what is taken, by the allocator's count.
fn value(bytes: &[u8]) {
    let Ok(weighed) = dag_cbor::weigh(bytes) else { return };
    assert!(weighed.memory() <= dag_cbor::MAX_MEMORY);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let decoded = weighed.decode();
    let took = MEMORY.peak_usage().saturating_sub(before);
    assert!(took <= weighed.memory(), "{took} bytes were taken, {} counted", weighed.memory());
    let Ok(value) = decoded else { return };
    let minus_zero = bytes.windows(9).any(|w| w == [0xfb, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    assert!(minus_zero || dag_cbor::encode(&value) == bytes, "what decodes is canonical");
    drop(dag_cbor::to_json(&value));
}

fn json_records() -> Vec<Vec<u8>> {
    corpus::records().iter().map(|record| record.to_string().into_bytes()).collect()
}

fn json_record(bytes: &[u8]) {
    text(bytes, |text| {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        if let Ok((value, counted)) = dag_cbor::parse_json_within(text, dag_cbor::MAX_MEMORY) {
            // The text of a string with escapes is put together once more beside it.
            let (took, most) =
                (MEMORY.peak_usage().saturating_sub(before), counted + 3 * text.len() + KB);
            assert!(took <= most, "{took} bytes were taken, {counted} counted");
            let mut out = Vec::new();
            dag_cbor::write_json(&value, &mut out);
            serde_json::from_slice::<serde::de::IgnoredAny>(&out).expect("what is written is JSON");
        }
    });
}

fn record(bytes: &[u8]) {
    let Ok(value) = dag_cbor::decode(bytes) else { return };
    for kind in [
        "app.bsky.feed.post",
        "app.bsky.feed.like",
        "app.bsky.actor.profile",
        "app.bsky.graph.list",
    ] {
        let _ = catalog().check_record(kind, "3kaaaaaaaaa2a", &value);
    }
}

fn commits() -> Vec<Vec<u8>> {
    vec![corpus::commit(&mst::empty_root())]
}

fn commit(bytes: &[u8]) {
    if let Ok(commit) = Commit::decode(bytes) {
        commit.verify_signature(&corpus::key().public());
    }
}

/// Trees as CARs of their nodes.
fn trees() -> Vec<Vec<u8>> {
    let car = |count| {
        let (root, nodes) = corpus::tree(&corpus::repo(count).2);
        corpus::car(&root, &nodes)
    };
    vec![car(1), car(8), car(60)]
}

fn tree(bytes: &[u8]) {
    let parts = shape::sections(bytes);
    let blocks = parts.iter().skip(1).filter_map(|part| part.get(36..));
    let nodes: HashMap<Cid, Vec<u8>> =
        blocks.map(|block| (cid::for_record(block), block.to_vec())).collect();
    // The nodes come from below.
    let Some(root) = parts.last().and_then(|part| part.get(36..)).map(cid::for_record) else {
        return;
    };
    // One that is not there is the root again: a tree may pretend to be endless.
    let block = |cid: &Cid| nodes.get(cid).or_else(|| nodes.get(&root)).cloned();
    let mut plain: Vec<(String, Cid)> = Vec::new();
    let whole = Walk::new(root, block).all(|entry| entry.map(|entry| plain.push(entry)).is_ok());
    if !whole {
        return;
    }
    assert!(plain.is_sorted_by(|a, b| a.0 < b.0), "keys come in order, each once");
    let Some((key, value)) = plain.get(plain.len() / 2) else { return };
    assert_eq!(mst::find(&root, key, block), Ok(Some(*value)));
    let taken = [MstOp { key, cid: Some(*value), prev: None }];
    let without = plain.iter().filter(|(other, _)| other != key).cloned().collect();
    let (before, _) = corpus::tree(&without);
    let before = if without.is_empty() { mst::empty_root() } else { before };
    assert_eq!(mst::invert(&root, &taken, block), Ok(before), "as a plain map without it");
}

fn proof(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let path = "app.bsky.feed.post/3kaaaaaaaaa2a";
    let _ = verify_proof(body, corpus::DID, path, &corpus::key().public(), corpus::NOW_US);
}

fn repo(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pieces = bytes.chunks(1000).map(Bytes::copy_from_slice);
    runtime.block_on(aerie::sync::fuzzing::repo(pieces, &std::env::temp_dir()));
}

fn token(text: &str) {
    let _ = aerie::xrpc::fuzzing::is_token(text);
}

fn plc_line(bytes: &[u8]) {
    let _ = plc::fuzzing::says_something(bytes);
}

fn labelers(bytes: &[u8]) {
    text(bytes, |header| drop(ParsedLabelers::parse(header)));
}

/// A method by its number, and a query.
fn queries() -> Vec<Vec<u8>> {
    let methods = catalog().methods().count() as u8;
    let queries = [
        "limit=50&cursor=a",
        "actor=did%3Aplc%3Aabc&uris=at%3A%2F%2Fa&uris=b",
        "q=a+b&sort=top&tag=x&tag=y",
        "",
    ];
    (0..methods).map(|n| [&[n], queries[usize::from(n) % 4].as_bytes()].concat()).collect()
}

fn params(bytes: &[u8]) {
    let Some((n, query)) = bytes.split_first() else { return };
    let methods: Vec<_> = catalog().methods().collect();
    let method = methods[usize::from(*n) % methods.len()];
    text(query, |query| drop(method.parse_params(Some(query))));
}

fn inputs() -> Vec<Vec<u8>> {
    let bodies = [
        r#"{"actor":"did:plc:abc"}"#,
        r#"{"seenAt":"2026-01-01T00:00:00Z"}"#,
        r#"{"preferences":[{"$type":"app.bsky.actor.defs#adultContentPref","enabled":true}]}"#,
    ];
    let methods = catalog().methods().count() as u8;
    (0..methods).map(|n| [&[n], bodies[usize::from(n) % 3].as_bytes()].concat()).collect()
}

fn input(bytes: &[u8]) {
    let Some((n, body)) = bytes.split_first() else { return };
    let methods: Vec<_> = catalog().methods().collect();
    let method = methods[usize::from(*n) % methods.len()];
    if let Ok(body) = serde_json::from_slice(body) {
        let _ = method.validate_input(&body);
    }
}

fn cursor(bytes: &[u8]) {
    text(bytes, |cursor| {
        let _ = aerie::xrpc::fuzzing::is_cursor(cursor);
        if let Some(parsed) = TimeCursor::parse(cursor) {
            let again = parsed.to_string();
            assert_eq!(TimeCursor::parse(&again).map(|c| c.to_string()), Some(again));
        }
    });
}

fn paths() -> Vec<Vec<u8>> {
    let cid = cid::to_base32(&cid::for_raw(b"picture"));
    let path = |preset: &str, end: &str| {
        format!("/{preset}/plain/{}/{cid}{end}", corpus::DID).into_bytes()
    };
    vec![path("avatar", "@jpeg"), path("feed_fullsize", "@webp"), path("banner", "")]
}

fn path(path: &str) {
    if let Ok(request) = ImageRequest::parse(path) {
        let _ = request.etag();
    }
    let (did, cid) = path.split_once('/').unwrap_or((path, ""));
    let _ = aerie::media::parse_blob(did, cid);
}

fn picture(bytes: &[u8]) {
    // Mostly the one that is soon made.
    let preset =
        if bytes.len().is_multiple_of(16) { Preset::FeedFullsize } else { Preset::AvatarThumbnail };
    let format =
        if bytes.len().is_multiple_of(2) { OutputFormat::Jpeg } else { OutputFormat::Webp };
    let _ = aerie::media::fuzzing::image(bytes, preset, format, PICTURE);
}

fn document(bytes: &[u8]) {
    let did = Did::parse(corpus::DID).unwrap();
    if let Ok(document) = DidDoc::parse(&did, bytes) {
        let _ =
            (document.signing_key(), document.pds(), document.labeler(), document.feed_generator());
    }
}

/// As a line of a file of `private import`.
fn private_row(bytes: &[u8]) {
    let _ = serde_json::from_slice::<portable::Frame>(bytes);
    if let Ok(row) = serde_json::from_slice::<aerie::private::Row>(bytes) {
        let _ = row.check();
    }
}

/// What the numbers in packed records stand for.
static NAMES: LazyLock<(tempfile::TempDir, Store)> = LazyLock::new(corpus::saved);

/// A packed record: its bytes, put together without its value, are those of its value.
fn packed_record(bytes: &[u8]) {
    let names = NAMES.1.snapshot();
    let (digest, value) = (names.packed_digest(bytes), names.unpack(bytes));
    let Ok(Some(digest)) = digest else { return };
    let encoded = dag_cbor::encode(&value.unwrap());
    // The other encoder does not know minus zero.
    let minus_zero = bytes.windows(9).any(|w| w == [5, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    assert!(minus_zero || cid::digest(&cid::for_record(&encoded)) == Some(digest));
}

/// A keyspace, a key behind its length, and a value.
fn store_row(bytes: &[u8]) {
    let [ks, len, rest @ ..] = bytes else { return };
    let (key, value) = rest.split_at(rest.len().min(usize::from(*len)));
    let Some(ks) = Ks::ALL.get(usize::from(*ks) % Ks::ALL.len()) else { return };
    if let Some(table) = registry().of(*ks, key) {
        let _ = (table.is_whole(key, value), table.kind(key));
    }
}

/// What a proxy forwards.
fn forwarded(bytes: &[u8]) {
    let proxies = Proxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
    let mut headers = HeaderMap::new();
    for (n, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(["forwarded", "x-forwarded-for"][n % 2], value);
        }
    }
    for stranger in ["192.0.2.7", "2001:db8::7"] {
        let stranger = stranger.parse().unwrap();
        assert_eq!(proxies.client(stranger, &headers), Client::address(stranger), "it is no proxy");
    }
    let _ = proxies.client("10.0.0.7".parse().unwrap(), &headers);
}

fn names() -> Vec<Vec<u8>> {
    let uri = format!("at://{}/app.bsky.feed.post/3kaaaaaaaaa2a", corpus::DID);
    strings(&[
        corpus::DID,
        "did:web:a.example%3A80",
        &uri,
        "a.example",
        "app.bsky.feed.post",
        "3kaaaaaaaaa2a",
        "pt-BR",
        "2026-01-01T00:00:00.000Z",
        "1985-04-12T23:20:50.123456789+00:00",
        &cid::to_base32(&cid::for_record(b"x")),
        "https://a.example/?b#c",
    ])
}

fn name(name: &str) {
    use syntax::{cid, datetime};
    let _ = (
        syntax::is_did(name),
        syntax::is_handle(name),
        syntax::is_nsid(name),
        syntax::is_rkey(name),
        cid::is_cid(name),
    );
    if let Some(cid) = cid::parse_strict(name) {
        assert_eq!(cid::to_base32(&cid), name);
    }
    if let Some(tid) = syntax::Tid::parse(name) {
        assert_eq!(tid.to_string(), name);
    }
    if datetime::parse_strict(name).is_some() {
        assert!(datetime::is_datetime(name));
    }
    datetime::normalize_ms(name);
}

fn search_queries() -> Vec<Vec<u8>> {
    // Its tables are made once.
    parse("é").unwrap();
    strings(&[
        "quick -fox (volcano OR \"brown fox\") | c++",
        "from:@ann.test to:me by:did:plc:bob -is:reply has:media in:likes",
        "since:2026-01-01 until:2026-02-28T10:30:05+01:00 after:2025 lang:en-US",
        "#\"two words\" ＃Café @cat.test domain:www.example.com alt:“red bicycle”",
        "url:news.example.com/a?b=%4%41&utm_source=x https://bsky.app/profile/ann.test/post/3kaaaaaaaaa2a",
        "at://did:plc:ann/app.bsky.feed.post/3kaaaaaaaaa2a ((((a b) | c) -(d e)))",
        "熱力学 ｶﾞｽ 한글 ภาษาไทย don’t \u{202a}e-mail\u{202c} 👩\u{200d}🚀 v2.0",
    ])
}

fn search_query(text: &str) {
    let Ok(tree) = parse(text) else { return };
    let written = tree.to_string();
    // In full it may be too long, and it has more brackets.
    if written.chars().count() <= MAX_CHARACTERS {
        let again = parse(&written);
        assert!(again == Ok(tree) || again == Err(QueryError::TooDeep), "{written:?}");
    }
}

fn search_texts() -> Vec<Vec<u8>> {
    let _ = tag_term("é");
    strings(&[
        &format!("{}’t", "0".repeat(MAX_TERM)),
        "Hello, WORLD_2! don't DON‘T rock'n'roll l'amour v2.0 e-mail 16:9",
        "ｆｕｌｌ　ｗｉｄｔｈ １２ so\u{ad}ft zero\u{200b}width \u{202a}bidi\u{202c}",
        "año café Straße œuvre Þór IĞDIR ığdır İstanbul ΟΔΟΣ Ёлка na\u{ef}ve x\u{302}",
        "٢٠٢٦ كِتَابٌ أحمد إلى والكتاب للبيت مـــرحبا नमस्ते क़लम ๒๐๒๖",
        "食べる、寝る 東京タワー2024年 ｶﾞｽ 한글은 좋다 ที่นี่ iPhoneを買う",
        "👍👍🏽 ❤️ 🇩🇪🇫🇷🇩 👩🏽\u{200d}🚀ok 1️⃣ #⃣ 🏴\u{e0067}\u{e0062}\u{e007f}x ㊙️ ﷺ",
    ])
}

/// What is indexed of a text is what it is verified by: it finds itself.
fn search_text(text: &str) {
    let mut analyzer = Analyzer::default();
    let mut terms = std::collections::BTreeSet::new();
    analyzer.terms(text, &mut |term| _ = terms.insert(term.to_owned()));
    let bounded = |term: &String| !term.is_empty() && term.len() <= MAX_TERM;
    assert!(terms.iter().all(bounded), "{terms:?}");
    let (tokens, query) = (analyzer.tokens(text), analyzer.query_tokens(text));
    query.terms(&mut |term| {
        let is_indexed = match term {
            Term::Exact(term) => terms.contains(term),
            Term::Prefix(begin) => {
                terms.range(begin.to_owned()..).next().is_some_and(|term| term.starts_with(begin))
            }
        };
        assert!(is_indexed, "{term:?} of {terms:?}");
    });
    if !tokens.is_empty() {
        assert_eq!(tokens.find(&query, 0), Some(0..tokens.len()));
    }
    let typed = analyzer.tokens_as_typed(text);
    let places = tokens.iter().map(|(token, _)| &token.at);
    assert!(places.eq(typed.iter().map(|(token, _)| &token.at)), "as typed it stands elsewhere");
    assert!(tag_term(text).len() <= MAX_TERM);
    assert!(fold(text).len() <= 11 * MAX_TEXT + 16);
}
