//! Records in fewer bytes, given back bit for bit.
//!
//! A record is canonical DAG-CBOR, so its value determines its bytes; what is packed is the value. Most of a
//! record's bytes are strings that carry little: field names and `$type`s (a frozen dictionary), DIDs and
//! AT-URIs (interned), CIDs written as text (32 bytes), datetimes (a number). The rest is kept as it is and
//! left to LZ4 on the block.
//!
//! Packing each record with zstd and a dictionary that is part of the format was tried and left out. A dictionary has to
//! be made of text of our own: phrases in thirteen languages within the shapes of real posts. On posts with other texts it
//! made 230 bytes to 220 (16 KB, level 3) or 215 (level 6, 15 us each); 8 to 64 KB made no difference. Half of a post are
//! digests, keys and numbers that do not pack, LZ4 finds in 40 neighbours much of what a dictionary says, and a frame has
//! ten bytes of its own. One made of texts of the very kind that it then packed reached 183: what gains is their words.
//!
//! # Invariants
//! - `unpack(pack(v)) == v` for every value that canonical DAG-CBOR can hold (property test below).
//! - The dictionary and the tags are on disk: append only.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use ipld_core::ipld::Ipld;

use crate::repo::memory::{self, Room};
use crate::schema::bytes::{ByteReader, push_blob, push_varint, push_zigzag};
use crate::schema::{ActorId, collections};
use crate::store::StoreError;
use crate::syntax::{AtUriRef, Cid, Tid, datetime, is_did};

/// Where the packer gets its numbers from.
pub(super) trait Intern {
    fn actor(&mut self, did: &str) -> Result<ActorId, StoreError>;
}

/// Where the unpacker gets its strings from.
pub(super) trait Resolve {
    fn did(&self, id: ActorId) -> Result<Arc<str>, StoreError>;
}

/// What a packed value begins with.
pub(super) mod tag {
    pub(in crate::schema) const NULL: u8 = 0;
    pub(in crate::schema) const TRUE: u8 = 1;
    pub(in crate::schema) const FALSE: u8 = 2;
    pub(in crate::schema) const UINT: u8 = 3;
    pub(in crate::schema) const NINT: u8 = 4;
    pub(in crate::schema) const FLOAT: u8 = 5;
    pub(in crate::schema) const BYTES: u8 = 6;
    pub(in crate::schema) const STR: u8 = 7;
    pub(in crate::schema) const LIST: u8 = 8;
    pub(in crate::schema) const MAP: u8 = 9;
    pub(in crate::schema) const LINK_CBOR: u8 = 10;
    pub(in crate::schema) const LINK_RAW: u8 = 11;
    pub(in crate::schema) const LINK: u8 = 12;
    pub(in crate::schema) const CID_CBOR: u8 = 13;
    pub(in crate::schema) const CID_RAW: u8 = 14;
    pub(in crate::schema) const MILLIS: u8 = 15;
    pub(in crate::schema) const DID: u8 = 16;
    pub(in crate::schema) const URI_TID: u8 = 17;
    pub(in crate::schema) const URI_KEY: u8 = 18;
    pub(in crate::schema) const BIG_INT: u8 = 19;
    pub(in crate::schema) const SHORT: u8 = 0x20;
    pub(in crate::schema) const SHORT_END: u8 = 0x40;
    pub(in crate::schema) const WORD: u8 = 0x40;
}

/// Frozen, append only, at most 192 entries.
#[rustfmt::skip]
pub(super) const WORDS: &[&str] = &[
    "$type", "text", "createdAt", "langs", "reply", "root", "parent", "uri", "cid", "embed", "facets", "index",
    "byteStart", "byteEnd", "features", "did", "tag", "external", "title", "description", "thumb", "ref", "mimeType",
    "size", "blob", "images", "image", "alt", "aspectRatio", "width", "height", "record", "media", "video", "labels",
    "values", "val", "tags", "subject", "via", "list", "name", "purpose", "avatar", "banner", "displayName",
    "pinnedPost", "joinedViaStarterPack", "allow", "post", "hiddenReplies", "embeddingRules", "detachedEmbeddingUris",
    "acceptsInteractions", "contentMode", "descriptionFacets", "feeds", "handle", "status", "durationMinutes",
    "policies", "labelValues", "labelValueDefinitions", "en", "ja", "pt", "de", "es", "fr", "ko",
    "app.bsky.feed.post", "app.bsky.feed.like", "app.bsky.feed.repost", "app.bsky.graph.follow",
    "app.bsky.graph.block", "app.bsky.graph.list", "app.bsky.graph.listitem", "app.bsky.graph.listblock",
    "app.bsky.actor.profile", "app.bsky.feed.threadgate", "app.bsky.feed.postgate", "app.bsky.feed.generator",
    "app.bsky.graph.starterpack", "app.bsky.labeler.service", "app.bsky.actor.status", "app.bsky.graph.verification",
    "app.bsky.embed.images", "app.bsky.embed.external", "app.bsky.embed.record", "app.bsky.embed.recordWithMedia",
    "app.bsky.embed.video", "app.bsky.embed.gallery", "app.bsky.richtext.facet", "app.bsky.richtext.facet#link",
    "app.bsky.richtext.facet#mention", "app.bsky.richtext.facet#tag", "com.atproto.label.defs#selfLabels",
    "com.atproto.repo.strongRef", "app.bsky.feed.threadgate#mentionRule", "app.bsky.feed.threadgate#followingRule",
    "app.bsky.feed.threadgate#followerRule", "app.bsky.feed.threadgate#listRule", "app.bsky.feed.postgate#disableRule",
    "app.bsky.graph.defs#modlist", "app.bsky.graph.defs#curatelist", "app.bsky.graph.defs#referencelist",
    "image/jpeg", "image/png", "image/webp", "video/mp4", "pronouns", "website", "captions", "lang", "file", "items",
    "chat.bsky.actor.declaration", "allowIncoming", "allowSubscriptions", "url", "value", "key", "order", "item",
];

static WORD_INDEX: LazyLock<rustc_hash::FxHashMap<&'static str, u8>> =
    LazyLock::new(|| WORDS.iter().zip(tag::WORD..).map(|(w, i)| (*w, i)).collect());

pub(super) const CBOR: u64 = 0x71;
pub(super) const RAW: u64 = 0x55;

/// Packs a value.
pub(super) fn pack(value: &Ipld, names: &mut impl Intern) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::with_capacity(160);
    pack_value(value, names, &mut out)?;
    Ok(out)
}

fn pack_value(value: &Ipld, names: &mut impl Intern, out: &mut Vec<u8>) -> Result<(), StoreError> {
    match value {
        Ipld::Null => out.push(tag::NULL),
        Ipld::Bool(true) => out.push(tag::TRUE),
        Ipld::Bool(false) => out.push(tag::FALSE),
        Ipld::Integer(i) => pack_int(*i, out),
        Ipld::Float(f) => {
            out.push(tag::FLOAT);
            out.extend_from_slice(&f.to_be_bytes());
        }
        Ipld::Bytes(b) => {
            out.push(tag::BYTES);
            push_blob(out, b);
        }
        Ipld::String(s) => pack_str(s, names, out)?,
        Ipld::List(l) => {
            out.push(tag::LIST);
            push_varint(out, l.len() as u64);
            for v in l {
                pack_value(v, names, out)?;
            }
        }
        Ipld::Map(m) => {
            out.push(tag::MAP);
            push_varint(out, m.len() as u64);
            for (k, v) in m {
                pack_plain(k, out);
                pack_value(v, names, out)?;
            }
        }
        Ipld::Link(c) => pack_link(c, out),
    }
    Ok(())
}

fn pack_int(i: i128, out: &mut Vec<u8>) {
    if let Ok(v) = u64::try_from(i) {
        out.push(tag::UINT);
        push_varint(out, v);
    } else if let Ok(v) = u64::try_from(-1 - i) {
        out.push(tag::NINT);
        push_varint(out, v);
    } else {
        out.push(tag::BIG_INT);
        out.extend_from_slice(&i.to_be_bytes());
    }
}

/// The digest, if the CID is a version 1 SHA-256 one of the given codec.
fn sha256_digest(c: &Cid) -> Option<(u64, &[u8])> {
    let hash = c.hash();
    (c.version() == cid::Version::V1 && hash.code() == 0x12 && hash.digest().len() == 32)
        .then(|| (c.codec(), hash.digest()))
}

fn pack_link(c: &Cid, out: &mut Vec<u8>) {
    match sha256_digest(c) {
        Some((CBOR, d)) => {
            out.push(tag::LINK_CBOR);
            out.extend_from_slice(d);
        }
        Some((RAW, d)) => {
            out.push(tag::LINK_RAW);
            out.extend_from_slice(d);
        }
        _ => {
            out.push(tag::LINK);
            push_blob(out, &c.to_bytes());
        }
    }
}

fn pack_plain(s: &str, out: &mut Vec<u8>) {
    if let Some(i) = WORD_INDEX.get(s) {
        out.push(*i);
    } else if let Some(t) = u8::try_from(s.len())
        .ok()
        .and_then(|n| n.checked_add(tag::SHORT))
        .filter(|t| *t < tag::SHORT_END)
    {
        out.push(t);
        out.extend_from_slice(s.as_bytes());
    } else {
        out.push(tag::STR);
        push_blob(out, s.as_bytes());
    }
}

fn pack_str(s: &str, names: &mut impl Intern, out: &mut Vec<u8>) -> Result<(), StoreError> {
    if s.len() == 24
        && s.ends_with('Z')
        && let Some(ms) = datetime::parse_strict(s)
        && datetime::format_ms(ms) == s
    {
        out.push(tag::MILLIS);
        push_zigzag(out, ms);
        return Ok(());
    }
    if s.len() == 59
        && s.starts_with("baf")
        && let Ok(c) = Cid::try_from(s)
        && let Some((codec @ (CBOR | RAW), d)) = sha256_digest(&c)
        && c.to_string() == s
    {
        out.push(if codec == CBOR { tag::CID_CBOR } else { tag::CID_RAW });
        out.extend_from_slice(d);
        return Ok(());
    }
    if s.starts_with("did:") && is_did(s) {
        out.push(tag::DID);
        push_varint(out, u64::from(names.actor(s)?.0));
        return Ok(());
    }
    if s.starts_with("at://did:") && pack_uri(s, names, out)? {
        return Ok(());
    }
    pack_plain(s, out);
    Ok(())
}

fn pack_uri(s: &str, names: &mut impl Intern, out: &mut Vec<u8>) -> Result<bool, StoreError> {
    let Some(uri) = AtUriRef::parse(s) else { return Ok(false) };
    let (Some(coll), Some(rkey)) = (uri.collection.and_then(collections::fixed), uri.rkey) else {
        return Ok(false);
    };
    let Some(nsid) = collections::fixed_name(coll) else { return Ok(false) };
    let plain = "at://".len() + uri.authority.len() + 1 + nsid.len() + 1 + rkey.len() == s.len();
    if !plain || !is_did(uri.authority) {
        return Ok(false);
    }
    let tid = Tid::parse(rkey);
    out.push(if tid.is_some() { tag::URI_TID } else { tag::URI_KEY });
    push_varint(out, u64::from(names.actor(uri.authority)?.0));
    push_varint(out, u64::from(coll.0));
    match tid {
        Some(t) => out.extend_from_slice(&t.as_u64().to_be_bytes()),
        None => push_blob(out, rkey.as_bytes()),
    }
    Ok(true)
}

/// Unpacks a value; `None` if it takes more memory than there is room.
pub(super) fn unpack(
    bytes: &[u8],
    names: &impl Resolve,
    room: &mut Room,
) -> Result<Option<Ipld>, StoreError> {
    let mut r = ByteReader::new(bytes);
    let value = take(room, memory::list(1)).and_then(|()| unpack_value(&mut r, names, room, 0));
    match value {
        Ok(value) if r.is_empty() => Ok(Some(value)),
        Ok(_) => Err(bad()),
        Err(NoValue::Room) => Ok(None),
        Err(NoValue::Store(error)) => Err(error),
    }
}

/// Why nothing was unpacked.
enum NoValue {
    /// It takes more memory than there is.
    Room,
    /// The bytes are no packed value, or a name is not there.
    Store(StoreError),
}

impl From<StoreError> for NoValue {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn take(room: &mut Room, bytes: usize) -> Result<(), NoValue> {
    room.take(bytes).ok_or(NoValue::Room)
}

pub(super) fn bad() -> StoreError {
    StoreError::undecodable("packed record")
}

fn unpack_value(
    r: &mut ByteReader<'_>,
    names: &impl Resolve,
    room: &mut Room,
    depth: u32,
) -> Result<Ipld, NoValue> {
    if depth > 200 {
        return Err(bad().into());
    }
    let t = r.u8().ok_or_else(bad)?;
    Ok(match t {
        tag::NULL => Ipld::Null,
        tag::TRUE => Ipld::Bool(true),
        tag::FALSE => Ipld::Bool(false),
        tag::UINT => Ipld::Integer(r.varint().ok_or_else(bad)?.into()),
        tag::NINT => Ipld::Integer(-1 - i128::from(r.varint().ok_or_else(bad)?)),
        tag::BIG_INT => Ipld::Integer(i128::from_be_bytes(r.array().ok_or_else(bad)?)),
        tag::FLOAT => Ipld::Float(f64::from_be_bytes(r.array().ok_or_else(bad)?)),
        tag::BYTES => {
            let bytes = r.blob().ok_or_else(bad)?;
            take(room, memory::bytes(bytes.len()))?;
            Ipld::Bytes(bytes.to_vec())
        }
        tag::LINK_CBOR => Ipld::Link(digest(r, CBOR)?),
        tag::LINK_RAW => Ipld::Link(digest(r, RAW)?),
        tag::LINK => Ipld::Link(Cid::try_from(r.blob().ok_or_else(bad)?).map_err(|_| bad())?),
        tag::LIST => {
            let n = count(r)?;
            take(room, memory::list(n))?;
            let mut l = Vec::with_capacity(n.min(64));
            for _ in 0..n {
                if l.len() == l.capacity() {
                    // No more than is counted, however many it says there are.
                    l.reserve_exact(l.len().min(n - l.len()));
                }
                l.push(unpack_value(r, names, room, depth + 1)?);
            }
            Ipld::List(l)
        }
        tag::MAP => {
            let n = count(r)?;
            take(room, memory::map(n))?;
            let mut m = BTreeMap::new();
            for _ in 0..n {
                let k = r.u8().ok_or_else(bad)?;
                let k = unpack_str(k, r, names, room)?;
                m.insert(k, unpack_value(r, names, room, depth + 1)?);
            }
            Ipld::Map(m)
        }
        t => Ipld::String(unpack_str(t, r, names, room)?),
    })
}

/// Of how many items or entries: each is a byte at least.
fn count(r: &mut ByteReader<'_>) -> Result<usize, StoreError> {
    let n = usize::try_from(r.varint().ok_or_else(bad)?).map_err(|_| bad())?;
    if n > r.rest().len() { Err(bad()) } else { Ok(n) }
}

fn digest(r: &mut ByteReader<'_>, codec: u64) -> Result<Cid, StoreError> {
    Ok(crate::syntax::cid::for_digest(codec, &r.array().ok_or_else(bad)?))
}

fn unpack_str(
    t: u8,
    r: &mut ByteReader<'_>,
    names: &impl Resolve,
    room: &mut Room,
) -> Result<String, NoValue> {
    // Only what was packed as it is can be long; the others are counted when they are there.
    if t == tag::STR {
        let text = r.str().ok_or_else(bad)?;
        take(room, memory::bytes(text.len()))?;
        return Ok(text.to_owned());
    }
    let text = short_str(t, r, names)?;
    take(room, memory::bytes(text.capacity()))?;
    Ok(text)
}

fn short_str(t: u8, r: &mut ByteReader<'_>, names: &impl Resolve) -> Result<String, StoreError> {
    Ok(match t {
        tag::SHORT..tag::SHORT_END => {
            let b = r.take(usize::from(t - tag::SHORT)).ok_or_else(bad)?;
            std::str::from_utf8(b).map_err(|_| bad())?.to_owned()
        }
        tag::WORD.. => (*WORDS.get(usize::from(t - tag::WORD)).ok_or_else(bad)?).to_owned(),
        tag::MILLIS => datetime::format_ms(r.zigzag().ok_or_else(bad)?),
        tag::CID_CBOR => digest(r, CBOR)?.to_string(),
        tag::CID_RAW => digest(r, RAW)?.to_string(),
        tag::DID => names.did(actor(r)?)?.as_ref().to_owned(),
        tag::URI_TID | tag::URI_KEY => {
            let did = names.did(actor(r)?)?;
            let coll = u32::try_from(r.varint().ok_or_else(bad)?).map_err(|_| bad())?;
            let nsid = collections::fixed_name(collections::CollId(coll)).ok_or_else(bad)?;
            if t == tag::URI_TID {
                format!(
                    "at://{did}/{nsid}/{}",
                    Tid::from_u64(r.u64().ok_or_else(bad)?).ok_or_else(bad)?
                )
            } else {
                format!("at://{did}/{nsid}/{}", r.str().ok_or_else(bad)?)
            }
        }
        _ => return Err(bad()),
    })
}

pub(super) fn actor(r: &mut ByteReader<'_>) -> Result<ActorId, StoreError> {
    let v = r.varint().ok_or_else(bad)?;
    u32::try_from(v).map(ActorId).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::dag_cbor;
    use crate::schema::encoded;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Table(Vec<Arc<str>>);

    impl Intern for Table {
        fn actor(&mut self, did: &str) -> Result<ActorId, StoreError> {
            let i = self.0.iter().position(|d| &**d == did).unwrap_or_else(|| {
                self.0.push(did.into());
                self.0.len() - 1
            });
            Ok(ActorId(i as u32))
        }
    }

    impl Resolve for Table {
        fn did(&self, id: ActorId) -> Result<Arc<str>, StoreError> {
            self.0.get(id.0 as usize).cloned().ok_or_else(bad)
        }
    }

    fn round_trip(v: &Ipld) -> usize {
        let mut t = Table::default();
        let b = pack(v, &mut t).unwrap();
        let mut room = Room::new(usize::MAX);
        assert_eq!(unpack(&b, &t, &mut room).unwrap().as_ref(), Some(v));
        // As much as decoding counts; texts that are put together may have room to spare.
        let weighed = dag_cbor::weigh(&dag_cbor::encode(v)).unwrap().memory();
        assert!((weighed..=weighed * 2).contains(&room.taken()), "{weighed} {}", room.taken());
        let mut less = Room::new(room.taken() - 1);
        assert_eq!(unpack(&b, &t, &mut less).unwrap(), None);
        assert_eq!(encoded::encode(&b, &t).unwrap(), Some(dag_cbor::encode(v)));
        b.len()
    }

    fn strings() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,80}",
            "did:plc:[a-z2-7]{24}",
            "did:web:[a-z]{1,10}\\.com",
            "at://did:plc:[a-z2-7]{24}/app\\.bsky\\.feed\\.post/[2-7a-j][2-7a-z]{12}",
            "at://did:plc:[a-z2-7]{24}/app\\.bsky\\.feed\\.generator/[a-z]{1,15}",
            "at://did:plc:[a-z2-7]{24}/xyz\\.x\\.y/[a-z]{1,15}[/#]?",
            "20[0-9]{2}-0[1-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z",
            "bafyrei[a-z2-7]{52}",
            "bafkrei[a-z2-7]{52}",
            prop::sample::select(WORDS).prop_map(str::to_owned),
        ]
    }

    fn values() -> impl Strategy<Value = Ipld> {
        let leaf = prop_oneof![
            Just(Ipld::Null),
            any::<bool>().prop_map(Ipld::Bool),
            any::<i64>().prop_map(|i| Ipld::Integer(i.into())),
            any::<u64>().prop_map(|i| Ipld::Integer(i.into())),
            (-1e9..1e9f64).prop_map(Ipld::Float),
            prop::collection::vec(any::<u8>(), 0..60).prop_map(Ipld::Bytes),
            strings().prop_map(Ipld::String),
            prop::collection::vec(any::<u8>(), 0..40)
                .prop_map(|b| Ipld::Link(crate::syntax::cid::for_record(&b))),
            prop::collection::vec(any::<u8>(), 0..40)
                .prop_map(|b| Ipld::Link(crate::syntax::cid::for_raw(&b))),
        ];
        leaf.prop_recursive(4, 40, 8, |v| {
            prop_oneof![
                prop::collection::vec(v.clone(), 0..8).prop_map(Ipld::List),
                prop::collection::btree_map(strings(), v, 0..8).prop_map(Ipld::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_comes_back(v in values()) {
            round_trip(&v);
        }

        #[test]
        fn garbage_is_refused_without_a_panic(b in prop::collection::vec(any::<u8>(), 0..200)) {
            let value = unpack(&b, &Table::default(), &mut Room::new(usize::MAX));
            if let Ok(Some(bytes)) = encoded::encode(&b, &Table::default()) {
                assert_eq!(bytes, dag_cbor::encode(&value.unwrap().unwrap()));
            }
        }
    }

    #[test]
    fn a_reply_packs_small() {
        let uri = |k: &str| {
            Ipld::String(format!("at://did:plc:z72i7hdynmk6r22z27h6tvur/app.bsky.feed.post/{k}"))
        };
        let cid = || Ipld::String(crate::syntax::cid::for_record(b"x").to_string());
        let strong = |k| Ipld::Map(BTreeMap::from([("cid".into(), cid()), ("uri".into(), uri(k))]));
        let reply = Ipld::Map(BTreeMap::from([
            ("root".into(), strong("3kf5pxmfdvk2h")),
            ("parent".into(), strong("3kf5pxmfdvk2j")),
        ]));
        let post = Ipld::Map(BTreeMap::from([
            ("$type".into(), Ipld::String("app.bsky.feed.post".into())),
            ("text".into(), Ipld::String("hello".into())),
            ("createdAt".into(), Ipld::String("2026-01-01T00:00:00.000Z".into())),
            ("reply".into(), reply),
        ]));
        assert!(round_trip(&post) < 130, "{}", round_trip(&post));
    }
}
