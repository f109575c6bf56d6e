//! Everything that is held of one account, for the account itself: JSON lines, a page at a time, so that neither an
//! answer nor a snapshot has to hold all of a large one.
//!
//! ```json
//! {"kind":"aerie-account","version":1,"did":"did:plc:a","made":"2026-01-01T00:00:00.000Z"}
//! {"kind":"account","did":"did:plc:a","handle":"a.example","status":"active","complete":true,…}
//! {"kind":"mute","viewer":"did:plc:a","subject":"did:plc:b","at":"2026-01-01T00:00:00.000Z"}
//! {"kind":"record","uri":"at://did:plc:a/app.bsky.feed.post/…","cid":"bafyrei…","value":{…}}
//! {"kind":"end","lines":3,"leftOut":0}
//! ```
//!
//! What it set here is written as in [`super::portable`], which names the kinds; then come the records. The last line says
//! how many there are between it and the first, so that what was cut off is found out. Not in it: what others wrote about
//! the account, its notifications and labels among them, since that is theirs.
//!
//! Each page reads the store as it is then: what changes meanwhile is in it or not.

use std::fmt;

use ipld_core::ipld::Ipld;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::private::kinds::{self, Exported};
use crate::private::{self, Time};
use crate::repo::dag_cbor;
use crate::schema::bytes::ByteReader;
use crate::schema::rebuild::edge_record;
use crate::schema::rows::{AccountStatus, EdgeKind, EdgeRow, PostRow, RecordRow, fwd_prefix};
use crate::schema::{ActorId, Key, PostId, RecordId, Rows, collections};
use crate::store::{Ks, Reader, StoreError, prefix_end};
use crate::syntax::{Tid, cid};

/// The version that the first line names.
pub const VERSION: u32 = 1;

/// Rows of a page, and about how many bytes its lines may take together.
const PAGE_ROWS: usize = 2000;
const PAGE_BYTES: usize = 1 << 20;

/// Some lines.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Whole lines.
    pub text: String,
    /// Where the next page begins; none if this is the last.
    pub next: Option<String>,
}

/// The lines from `next` of the page before, or from the first. `now` dates the first, in milliseconds.
pub fn page<R: Reader>(r: &R, did: &str, now: i64, next: Option<&str>) -> Result<Page, StoreError> {
    let actor = r.actor_id(did)?;
    let mut page = Page::default();
    let mut place = match next.and_then(Place::parse) {
        Some(place) => place,
        None => {
            push(
                &mut page.text,
                &Head { kind: "aerie-account", version: VERSION, did, made: Time(now) },
            )?;
            push(&mut page.text, &account(r, did, actor)?)?;
            Place { lines: 1, ..Place::default() }
        }
    };
    let sections = actor.map_or_else(Vec::new, sections);
    let mut rows = 0;
    while let Some((ks, prefix)) = sections.get(place.section) {
        let from =
            if place.key.is_empty() { prefix.to_vec() } else { std::mem::take(&mut place.key) };
        let (mut failed, mut full) = (None, false);
        r.scan(*ks, &from, prefix_end(prefix).as_deref(), false, &mut |k, v| {
            if rows >= PAGE_ROWS || page.text.len() >= PAGE_BYTES {
                place.key = k.to_vec();
                full = true;
                return false;
            }
            rows += 1;
            match line(r, *ks, k, v, &mut page.text) {
                Ok(Done::Written) => place.lines += 1,
                Ok(Done::Elsewhere) => {}
                Ok(Done::Damaged) | Err(StoreError::Corrupt(_)) => place.left_out += 1,
                Err(e) => failed = Some(e),
            }
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if full {
            page.next = Some(place.to_string());
            return Ok(page);
        }
        place.section += 1;
    }
    push(&mut page.text, &End { kind: "end", lines: place.lines, left_out: place.left_out })?;
    Ok(page)
}

/// Where a page begins.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    /// Lines since the first.
    lines: u64,
    /// Rows that do not decode.
    left_out: u64,
    section: usize,
    /// In it; empty at its beginning.
    key: Vec<u8>,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let lines = parts.next()?.parse().ok()?;
        let left_out = parts.next()?.parse().ok()?;
        let section = parts.next()?.parse().ok()?;
        let key = data_encoding::HEXLOWER.decode(parts.next()?.as_bytes()).ok()?;
        Some(Self { lines, left_out, section, key })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = data_encoding::HEXLOWER.encode(&self.key);
        write!(f, "{}.{}.{}.{key}", self.lines, self.left_out, self.section)
    }
}

/// Where an account has rows of its own, in the order they are written.
fn sections(actor: ActorId) -> Vec<(Ks, Key)> {
    let own = kinds::tags_taken_out();
    let mut out: Vec<_> = own.map(|tag| (Ks::Private, Key::tag(tag).actor(actor))).collect();
    out.push((Ks::Post, Key::new().actor(actor)));
    let edges = [EdgeKind::Like, EdgeKind::Repost, EdgeKind::Follow, EdgeKind::Block];
    out.extend(edges.map(|kind| (Ks::Fwd, fwd_prefix(kind, actor))));
    out.push((Ks::Record, Key::new().actor(actor)));
    out
}

#[derive(Serialize)]
struct Head<'a> {
    kind: &'static str,
    version: u32,
    did: &'a str,
    made: Time,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct End {
    kind: &'static str,
    lines: u64,
    left_out: u64,
}

/// What is known of the account apart from its records.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Account<'a> {
    kind: &'static str,
    did: &'a str,
    handle: Option<String>,
    status: Option<&'static str>,
    indexed_at: Option<Time>,
    pds: Option<String>,
    signing_key: Option<String>,
    rev: Option<String>,
    complete: bool,
    opted_out_at: Option<Time>,
    deleting: bool,
}

fn account<'a, R: Reader>(
    r: &R,
    did: &'a str,
    actor: Option<ActorId>,
) -> Result<Account<'a>, StoreError> {
    let asked = private::standing(r, did)?;
    let mut out = Account {
        kind: "account",
        did,
        handle: None,
        status: None,
        indexed_at: None,
        pds: None,
        signing_key: None,
        rev: None,
        complete: false,
        opted_out_at: asked.opted_out.map(Time),
        deleting: asked.deleting,
    };
    let Some(actor) = actor else { return Ok(out) };
    if let Some(row) = r.actor(actor)? {
        out.handle = row.handle;
        out.status = status(row.status);
        out.indexed_at = Some(Time(row.indexed));
    }
    if let Some(row) = r.identity(actor)? {
        out.pds = Some(row.pds).filter(|text| !text.is_empty());
        out.signing_key = Some(row.key).filter(|text| !text.is_empty());
    }
    if let Some(row) = r.repo(actor)? {
        out.rev = Tid::from_u64(row.rev).map(|rev| rev.to_string());
        out.complete = row.is_complete();
    }
    Ok(out)
}

/// What its host says; of an account that opted out nobody asks.
fn status(status: AccountStatus) -> Option<&'static str> {
    match status {
        AccountStatus::Active => Some("active"),
        AccountStatus::Deactivated => Some("deactivated"),
        AccountStatus::Suspended => Some("suspended"),
        AccountStatus::Takendown => Some("takendown"),
        AccountStatus::Deleted => Some("deleted"),
        AccountStatus::OptedOut => None,
    }
}

enum Done {
    Written,
    /// It has a line for another of its rows.
    Elsewhere,
    Damaged,
}

#[derive(Serialize)]
struct Record {
    kind: &'static str,
    uri: String,
    cid: String,
    value: Value,
}

fn line<R: Reader>(
    r: &R,
    ks: Ks,
    k: &[u8],
    v: &[u8],
    out: &mut String,
) -> Result<Done, StoreError> {
    if ks == Ks::Private {
        return match kinds::read(r, k, v)? {
            Exported::Row(row) => push(out, &row).map(|()| Done::Written),
            Exported::Follows => Ok(Done::Elsewhere),
            Exported::Damaged => Ok(Done::Damaged),
        };
    }
    let found = match ks {
        Ks::Post => match (PostId::from_bytes(k), PostRow::decode(v)) {
            (Some(post), Some(row)) => {
                let digest = r.digest(row.cid, &row.packed)?;
                Some((post.record(), r.unpack(&row.packed)?, digest))
            }
            _ => None,
        },
        Ks::Fwd => match (edge_id(k), EdgeRow::decode(k, v)) {
            (Some(_), Some(edge)) if edge.kept => return Ok(Done::Elsewhere),
            (Some((kind, id)), Some(edge)) => edge_record(r, kind, id.actor, id.rkey, &edge)?
                .map(|(value, digest)| (id, value, digest)),
            _ => None,
        },
        _ => match (RecordId::from_bytes(k), RecordRow::decode(v)) {
            (Some(id), Some(row)) => {
                Some((id, r.unpack(&row.packed)?, r.digest(row.cid, &row.packed)?))
            }
            _ => None,
        },
    };
    let Some((id, value, digest)) = found else { return Ok(Done::Damaged) };
    push(out, &record(r.uri(id)?, &value, &digest))?;
    Ok(Done::Written)
}

fn edge_id(k: &[u8]) -> Option<(EdgeKind, RecordId)> {
    let mut key = ByteReader::new(k);
    let (tag, actor, rkey) = (key.u8()?, key.actor()?, key.rkey()?);
    let compact = [collections::LIKE, collections::REPOST, collections::FOLLOW, collections::BLOCK];
    let kind = compact.into_iter().filter_map(EdgeKind::compact).find(|kind| *kind as u8 == tag)?;
    Some((kind, RecordId { actor, coll: kind.collection(), rkey }))
}

fn record(uri: String, value: &Ipld, digest: &[u8; 32]) -> Record {
    let cid = cid::to_base32(&cid::for_digest(cid::DAG_CBOR, digest));
    Record { kind: "record", uri, cid, value: dag_cbor::to_json(value) }
}

fn push(out: &mut String, value: &impl Serialize) -> Result<(), StoreError> {
    // Strings and numbers always serialise.
    let text = serde_json::to_string(value).map_err(|_| StoreError::undecodable("takeout"))?;
    out.push_str(&text);
    out.push('\n');
    Ok(())
}
