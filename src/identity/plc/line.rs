//! One line of the export, reduced to what is kept and what its signature covers, which [`super::chain`] looks at. Format: <https://web.plc.directory/spec/v0.1/did-plc>, "Bulk Export".

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::document::{FurtherEntries, PDS_TYPE, is_endpoint};
use super::chain::{Operation, Signed};
use crate::crypto::KeyBytes;
use crate::schema::plc::{Cursor, PlcDocument, PlcOp, PlcState};
use crate::syntax::{Did, Handle, datetime};

/// Longest line. Operations have at most 7,500 bytes.
pub(super) const MAX_LINE: usize = 64 << 10;
/// Keys and services beside the usual ones are kept up to this size.
const MAX_MORE: usize = 2048;
const MAX_PDS: usize = 500;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) cursor: Cursor,
    /// `None` if it changes nothing: a later operation took it back.
    pub(super) op: Option<Operation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLine<'a> {
    #[serde(borrow)]
    did: Cow<'a, str>,
    #[serde(borrow)]
    created_at: Cow<'a, str>,
    #[serde(borrow)]
    operation: &'a RawValue,
    #[serde(default)]
    nullified: bool,
    seq: Option<u64>,
}

/// The three kinds in one; which fields a kind has is looked at by hand.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawOperation {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    verification_methods: BTreeMap<String, String>,
    #[serde(default)]
    also_known_as: Vec<String>,
    #[serde(default)]
    services: BTreeMap<String, RawPlcService>,
    signing_key: Option<String>,
    handle: Option<String>,
    service: Option<String>,
}

#[derive(Deserialize)]
struct RawPlcService {
    #[serde(rename = "type")]
    kind: String,
    endpoint: String,
}

/// A line that says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// What is wrong with it, to count by.
    pub(super) cause: &'static str,
    /// Its place, if that much can be read.
    pub(super) cursor: Option<Cursor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPlace<'a> {
    #[serde(borrow)]
    created_at: Cow<'a, str>,
    seq: Option<u64>,
}

impl RawPlace<'_> {
    fn cursor(&self) -> Option<Cursor> {
        let time = datetime::parse_strict(&self.created_at).filter(|time| *time > 0)?;
        Some(Cursor { seq: self.seq.filter(|seq| *seq < u64::MAX), time })
    }
}

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Result<Line, BadLine> {
    let place = || serde_json::from_slice::<RawPlace<'_>>(line).ok()?.cursor();
    let bad = |cause| BadLine { cause, cursor: place() };
    let raw: RawLine<'_> = serde_json::from_slice(line).map_err(|_| bad("json"))?;
    let place = RawPlace { created_at: raw.created_at, seq: raw.seq };
    let cursor = place.cursor().ok_or(BadLine { cause: "time", cursor: None })?;
    if raw.nullified {
        return Ok(Line { cursor, op: None });
    }
    let operation: RawOperation =
        serde_json::from_str(raw.operation.get()).map_err(|_| bad("json"))?;
    let state = match operation.kind.as_str() {
        _ if Did::parse(&raw.did).is_err() => return Err(bad("did")),
        "plc_operation" => document(operation),
        "create" => document(normal(operation).ok_or_else(|| bad("operation"))?),
        "plc_tombstone" => PlcState::Tombstone,
        _ => return Err(bad("operation")),
    };
    let op = PlcOp { did: raw.did.into_owned(), time: cursor.time, state, proof: None };
    Ok(Line { cursor, op: Some(Operation { op, signed: Signed::read(raw.operation) }) })
}

/// A legacy `create` as the operation that it stands for.
fn normal(op: RawOperation) -> Option<RawOperation> {
    let (key, handle, service) = (op.signing_key?, op.handle?, op.service?);
    let http = service.starts_with("http://") || service.starts_with("https://");
    let endpoint = if http { service } else { format!("https://{service}") };
    let alias = if handle.starts_with("at://") {
        handle
    } else {
        format!("at://{}", handle.replace("http://", "").replace("https://", ""))
    };
    let pds = RawPlcService { kind: PDS_TYPE.to_owned(), endpoint };
    Some(RawOperation {
        kind: op.kind,
        verification_methods: BTreeMap::from([("atproto".to_owned(), key)]),
        also_known_as: vec![alias],
        services: BTreeMap::from([("atproto_pds".to_owned(), pds)]),
        signing_key: None,
        handle: None,
        service: None,
    })
}

fn document(mut op: RawOperation) -> PlcState {
    let key = op.verification_methods.remove("atproto");
    let pds = op.services.remove("atproto_pds");
    let pds = pds.filter(|pds| pds.kind == PDS_TYPE && is_endpoint(&pds.endpoint));
    let pds = pds.map(|pds| pds.endpoint.trim_end_matches('/').to_owned());
    let alias = op.also_known_as.iter().find_map(|alias| alias.strip_prefix("at://"));
    let services = op.services.into_iter().map(|(id, s)| (id, (s.kind, s.endpoint)));
    let more = FurtherEntries { keys: op.verification_methods, services: services.collect() };
    let more = if more.keys.is_empty() && more.services.is_empty() {
        Vec::new()
    } else {
        serde_json::to_vec(&more).unwrap_or_default()
    };
    if more.len() > MAX_MORE || pds.as_ref().is_some_and(|pds| pds.len() > MAX_PDS) {
        return PlcState::Elsewhere;
    }
    PlcState::Document(PlcDocument {
        key: key.and_then(|key| KeyBytes::from_did_key(&key).ok()).map(Into::into),
        pds,
        handle: alias.and_then(|alias| Handle::parse(alias).ok()).map(|h| h.as_str().to_owned()),
        more,
    })
}

/// Cuts pieces of a text into lines, of which no more than [`MAX_LINE`] is kept.
#[derive(Default)]
pub(super) struct Lines {
    /// The line so far, unless it is too long.
    kept: Vec<u8>,
    /// Its length so far.
    length: usize,
}

impl Lines {
    /// Gives each line that ends in `piece` to `each`, `None` for one that is too long, and its length with its end.
    pub(super) fn feed(&mut self, piece: &[u8], mut each: impl FnMut(Option<&[u8]>, usize)) {
        for part in piece.split_inclusive(|b| *b == b'\n') {
            self.length += part.len();
            if self.length <= MAX_LINE {
                self.kept.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.give(&mut each);
            }
        }
    }

    /// The end of the text is the end of its last line.
    pub(super) fn finish(mut self, mut each: impl FnMut(Option<&[u8]>, usize)) {
        if self.length > 0 {
            self.give(&mut each);
        }
    }

    fn give(&mut self, each: &mut impl FnMut(Option<&[u8]>, usize)) {
        let fits = self.length <= MAX_LINE;
        each(fits.then_some(self.kept.trim_ascii()), self.length);
        self.length = 0;
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;
    use serde_json::{Value, json};

    const DID: &str = "did:plc:z72i7hdynmk6r22z27h6tvur";

    fn line(operation: &Value, more: &Value) -> Result<Line, BadLine> {
        let mut line = json!({
            "did": DID, "operation": operation, "cid": "bafyreia", "createdAt": "2023-05-01T10:00:00.123Z",
        });
        for (key, value) in more.as_object().unwrap() {
            line[key] = value.clone();
        }
        parse(line.to_string().as_bytes())
    }

    fn document_of(operation: &Value) -> PlcDocument {
        match line(operation, &json!({ "nullified": false })).unwrap().op.unwrap().op.state {
            PlcState::Document(doc) => doc,
            other => panic!("{other:?}"),
        }
    }

    const TIME: i64 = 1_682_935_200_123;

    #[test]
    fn operations_of_each_kind() {
        let key = PrivateKey::generate().public().to_did_key();
        let kept = KeyBytes::from_did_key(&key).unwrap();
        let full = document_of(&json!({
            "type": "plc_operation", "sig": "x", "prev": null, "rotationKeys": [key],
            "verificationMethods": { "atproto": key, "atproto_label": key },
            "alsoKnownAs": ["https://x.example", "at://Alice.example", "at://second.example"],
            "services": {
                "atproto_pds": { "type": "AtprotoPersonalDataServer", "endpoint": "https://pds.example/" },
                "atproto_labeler": { "type": "AtprotoLabeler", "endpoint": "https://labeler.example" },
            },
        }));
        assert_eq!(full.key.map(KeyBytes::from).as_ref().map(|k| k == &kept), Some(true));
        assert_eq!(full.pds.as_deref(), Some("https://pds.example"));
        assert_eq!(full.handle.as_deref(), Some("alice.example"));
        let more: Value = serde_json::from_slice(&full.more).unwrap();
        assert_eq!(more["k"], json!({ "atproto_label": key }));
        assert_eq!(more["s"]["atproto_labeler"][1], "https://labeler.example");
        let legacy = document_of(&json!({
            "type": "create", "signingKey": key, "recoveryKey": key, "handle": "bob.example",
            "service": "pds.example", "prev": null, "sig": "x",
        }));
        assert_eq!(legacy.key, full.key);
        assert_eq!(legacy.pds.as_deref(), Some("https://pds.example"));
        assert_eq!((legacy.handle.as_deref(), legacy.more.len()), (Some("bob.example"), 0));
        let bare = document_of(&json!({
            "type": "plc_operation", "verificationMethods": { "atproto": "did:key:zzz" },
            "alsoKnownAs": ["at://not a handle"],
            "services": { "atproto_pds": { "type": "Other", "endpoint": "https://x.example" } },
        }));
        assert_eq!(bare, PlcDocument::default());
        let tombstone =
            line(&json!({ "type": "plc_tombstone", "prev": "x", "sig": "x" }), &json!({}));
        let state = PlcState::Tombstone;
        let op = PlcOp { did: DID.to_owned(), time: TIME, state, proof: None };
        let tombstone = tombstone.unwrap();
        assert_eq!(
            (tombstone.op.unwrap().op, tombstone.cursor),
            (op, Cursor { seq: None, time: TIME })
        );
        let huge = json!({
            "type": "plc_operation",
            "services": { "x": { "type": "y", "endpoint": format!("https://{}", "z".repeat(4000)) } },
        });
        let huge = line(&huge, &json!({})).unwrap().op.unwrap();
        assert_eq!(huge.op.state, PlcState::Elsewhere, "the directory is asked for such");
    }

    #[test]
    fn what_was_taken_back_changes_nothing() {
        let tombstone = json!({ "type": "plc_tombstone" });
        let got = line(&tombstone, &json!({ "nullified": true })).unwrap();
        assert_eq!(got, Line { cursor: Cursor { seq: None, time: TIME }, op: None });
        let numbered = line(&tombstone, &json!({ "type": "sequenced_op", "seq": 7 })).unwrap();
        assert_eq!(numbered.cursor, Cursor { seq: Some(7), time: TIME });
        assert!(numbered.op.is_some());
    }

    #[test]
    fn bad_lines_have_a_cause_and_if_possible_a_place() {
        let tombstone = json!({ "type": "plc_tombstone" });
        let at = Some(Cursor { seq: None, time: TIME });
        for (operation, more, cause, cursor) in [
            (json!({ "type": "other" }), json!({}), "operation", at),
            (json!({ "type": "create", "handle": "x" }), json!({}), "operation", at),
            (json!("x"), json!({}), "json", at),
            (tombstone.clone(), json!({ "did": "x" }), "did", at),
            (tombstone.clone(), json!({ "createdAt": "yesterday" }), "time", None),
            (tombstone.clone(), json!({ "createdAt": "1969-01-01T00:00:00Z" }), "time", None),
            (tombstone, json!({ "createdAt": 7 }), "json", None),
        ] {
            assert_eq!(
                line(&operation, &more),
                Err(BadLine { cause, cursor }),
                "{operation} {more}"
            );
        }
        for text in ["", "[]", "{", "null", "<html>"] {
            assert_eq!(
                parse(text.as_bytes()),
                Err(BadLine { cause: "json", cursor: None }),
                "{text}"
            );
        }
    }

    #[test]
    fn pieces_give_lines_and_long_ones_are_not_kept() {
        let long = "x".repeat(3 * MAX_LINE);
        let text = format!("one\r\n\ntwo\n{long}\nthree");
        for size in [1, 2, 7, 1000, text.len()] {
            let (mut lines, mut out, mut length) = (Lines::default(), Vec::new(), 0);
            for piece in text.as_bytes().chunks(size) {
                lines.feed(piece, |line, n| {
                    out.push(line.map(|l| String::from_utf8(l.to_vec()).unwrap()));
                    length += n;
                });
                assert!(lines.kept.len() <= MAX_LINE);
            }
            assert_eq!(length, text.len() - "three".len());
            lines.finish(|line, _| out.push(line.map(|l| String::from_utf8(l.to_vec()).unwrap())));
            let out: Vec<_> = out.iter().map(|l| l.as_deref().unwrap_or("LONG")).collect();
            assert_eq!(out, ["one", "", "two", "LONG", "three"], "{size}");
        }
    }
}
