//! Messages of `com.atproto.label.subscribeLabels`, and what a label's signature is over.
//!
//! A label that does not decode is dropped alone and counted; its neighbours in the message stay. The message is read by
//! the reader of frames, which finds where each label ends and bounds its nesting; the label itself is read and written by
//! `serde_ipld_dagcbor`. One that is not canonical, such as with its keys out of order, does not decode: whoever can sign a
//! label can write it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frame::{FrameCause, FrameError, Header, MAX_FRAME_LEN, find_seq, notice, split};
use crate::crypto::PublicKey;
use crate::repo::cbor::Reader;
use crate::syntax::{Did, datetime, is_cid, is_uri};

/// Longest label value, in bytes (lexicon `com.atproto.label.defs`).
const MAX_VAL: usize = 128;
const MAX_URI: usize = 8192;
/// Longest label that is read, in bytes; the texts above and a signature fit.
const MAX_LEN: usize = 16 * 1024;
const MAX_LABELS: usize = 10_000;

/// A decoded message.
#[derive(Debug, Clone)]
pub enum LabelFrame {
    /// Labels at one position.
    Labels {
        /// Position in the labeler's stream.
        seq: u64,
        /// Those that decode.
        labels: Vec<Label>,
        /// How many do not.
        dropped: usize,
    },
    /// A notice about the stream, such as `OutdatedCursor`.
    Info {
        /// Name of the notice.
        name: String,
        /// Text for a reader, possibly empty.
        message: String,
    },
    /// The stream ends with an error, such as `FutureCursor`.
    Error {
        /// Name of the error.
        error: String,
        /// Text for a reader, possibly empty.
        message: String,
    },
    /// A message of a later protocol.
    Unknown {
        /// Its position, if it has one.
        seq: Option<u64>,
    },
}

/// `com.atproto.label.defs#label`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Version of the label format.
    pub ver: Option<u64>,
    /// The labeler.
    pub src: Did,
    /// An AT-URI or a DID.
    pub uri: String,
    /// The version of the subject that is meant, if only one is.
    pub cid: Option<String>,
    /// The label's value, such as `porn` or `!hide`.
    pub val: String,
    /// Whether it takes an earlier label back; absent is not the same to a signature as `false`.
    pub neg: Option<bool>,
    /// When it was made, as written.
    pub cts: String,
    /// When it ends, as written.
    pub exp: Option<String>,
    /// Compact signature over [`Label::signing_bytes`].
    pub sig: Option<Vec<u8>>,
}

impl LabelFrame {
    /// Decodes one binary websocket message.
    pub fn decode(data: Bytes) -> Result<LabelFrame, FrameError> {
        let error = |seq, cause| FrameError { seq, cause };
        if data.len() > MAX_FRAME_LEN {
            return Err(error(None, FrameCause::TooLarge));
        }
        let (header, body) = split(&data).ok_or(error(None, FrameCause::Header))?;
        let decoded = match header {
            Header::Message("#labels") => labels(body),
            Header::Message("#info") => notice(&data, body, "name").and_then(|(name, message)| {
                Ok(LabelFrame::Info { name: name.ok_or(FrameCause::Missing("name"))?, message })
            }),
            Header::Error => notice(&data, body, "error").and_then(|(error, message)| {
                Ok(LabelFrame::Error { error: error.ok_or(FrameCause::Missing("error"))?, message })
            }),
            Header::Message(_) | Header::Other => Ok(LabelFrame::Unknown { seq: find_seq(body) }),
        };
        decoded.map_err(|cause| error(find_seq(body), cause))
    }
}

fn labels(body: &[u8]) -> Result<LabelFrame, FrameCause> {
    let mut reader = Reader::new(body);
    let (mut seq, mut labels, mut dropped) = (None, Vec::new(), 0);
    for _ in 0..reader.map()? {
        match reader.text()? {
            "seq" => seq = Some(reader.uint()?),
            "labels" => {
                for _ in 0..reader.list()? {
                    // Step over the whole item first, which bounds its nesting, so that a bad label leaves the reader in
                    // place.
                    let before = reader.rest();
                    reader.skip()?;
                    let len = before.len().saturating_sub(reader.rest().len());
                    let label = before.get(..len).filter(|_| len <= MAX_LEN).and_then(Label::read);
                    match label {
                        Some(label) if labels.len() < MAX_LABELS => labels.push(label),
                        _ => dropped += 1,
                    }
                }
            }
            _ => reader.skip()?,
        }
    }
    reader.end()?;
    Ok(LabelFrame::Labels { seq: seq.ok_or(FrameCause::Missing("seq"))?, labels, dropped })
}

impl Label {
    fn read(bytes: &[u8]) -> Option<Label> {
        let wire: Wire<'_> = serde_ipld_dagcbor::from_slice(bytes).ok()?;
        let valid = wire.uri.len() <= MAX_URI
            && is_uri(wire.uri)
            && wire.val.len() <= MAX_VAL
            && wire.cid.is_none_or(is_cid)
            && datetime::is_datetime(wire.cts)
            && wire.exp.is_none_or(datetime::is_datetime);
        let src = Did::parse(wire.src).ok().filter(|_| valid)?;
        Some(Label {
            ver: wire.ver,
            src,
            uri: wire.uri.to_owned(),
            cid: wire.cid.map(str::to_owned),
            val: wire.val.to_owned(),
            neg: wire.neg,
            cts: wire.cts.to_owned(),
            exp: wire.exp.map(str::to_owned),
            sig: wire.sig.map(<[u8]>::to_vec),
        })
    }

    /// The label as DAG-CBOR without `sig` and without absent fields: what the labeler signs.
    pub fn signing_bytes(&self) -> Vec<u8> {
        let wire = Wire {
            ver: self.ver,
            src: &self.src,
            uri: &self.uri,
            cid: self.cid.as_deref(),
            val: &self.val,
            neg: self.neg,
            cts: &self.cts,
            exp: self.exp.as_deref(),
            sig: None,
        };
        // Writing text and numbers into memory does not fail; of nothing there is no signature.
        serde_ipld_dagcbor::to_vec(&wire).unwrap_or_default()
    }

    /// Whether the label is signed with this key.
    pub fn verify_signature(&self, key: &PublicKey) -> bool {
        self.sig.as_ref().is_some_and(|sig| key.verify(&self.signing_bytes(), sig))
    }
}

/// A label as DAG-CBOR has it. Absent and `null` are the same when it is read; what is absent is not written.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ver: Option<u64>,
    src: &'a str,
    uri: &'a str,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    cid: Option<&'a str>,
    val: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    neg: Option<bool>,
    cts: &'a str,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    exp: Option<&'a str>,
    #[serde(borrow, skip_serializing)]
    sig: Option<&'a [u8]>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;
    use crate::repo::dag_cbor::{encode, from_json};
    use serde_json::{Value, json};

    fn label() -> Value {
        json!({
            "ver": 1, "src": "did:plc:abc", "uri": "at://did:plc:xyz/a.b.c/d", "val": "spam",
            "cts": "2024-01-01T00:00:00.000Z",
            "cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
        })
    }

    fn decode(labels: Value) -> (Vec<Label>, usize) {
        let header = encode(&from_json(&json!({"op": 1, "t": "#labels"})));
        let body = encode(&from_json(&json!({"seq": 4, "labels": labels})));
        match LabelFrame::decode([header, body].concat().into()).unwrap() {
            LabelFrame::Labels { seq: 4, labels, dropped } => (labels, dropped),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn signing_bytes_are_the_label_without_sig() {
        let key = PrivateKey::generate();
        let variants = [
            json!({}),
            json!({"neg": true}),
            json!({"neg": false}),
            json!({"exp": "2030-01-01T00:00:00Z"}),
        ];
        for extra in variants {
            let mut unsigned = label();
            unsigned.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let bytes = encode(&from_json(&unsigned));
            let mut signed = unsigned.clone();
            signed["sig"] =
                json!({"$bytes": data_encoding::BASE64_NOPAD.encode(&key.sign(&bytes))});
            let (labels, dropped) = decode(json!([signed]));
            assert_eq!((labels.len(), dropped), (1, 0));
            assert_eq!(labels[0].signing_bytes(), bytes);
            assert!(labels[0].verify_signature(&key.public()));
            assert_eq!(labels[0].neg, extra["neg"].as_bool());
            let mut other = labels[0].clone();
            other.val = "porn".into();
            assert!(!other.verify_signature(&key.public()));
        }
        assert!(!decode(json!([label()])).0[0].verify_signature(&key.public()), "unsigned");
    }

    #[test]
    fn bad_labels_are_dropped_alone() {
        let with = |field: &str, value: Value| {
            let mut label = label();
            label[field] = value;
            label
        };
        let (labels, dropped) = decode(json!([
            label(),
            with("src", json!("me")),
            with("uri", json!("no uri")),
            with("val", json!("v".repeat(129))),
            with("cts", json!("today")),
            with("cid", json!("bafy")),
            with("neg", json!(1)),
            5,
            {},
            with("sig", json!(null)),
            with("cid", json!(null)),
            with("later", json!({"a": [1, {"b": 2.5}]})),
            with("later", json!("x".repeat(MAX_LEN))),
        ]));
        assert_eq!((labels.len(), dropped), (4, 9));
    }

    #[test]
    fn a_label_that_is_not_canonical_is_dropped_alone() {
        let entry = |key: &str| encode(&from_json(&json!({key: label()[key]}))).split_off(1);
        let of = |keys: [&str; 6]| [vec![0xa6], keys.map(entry).concat()].concat();
        let good = of(["cid", "cts", "src", "uri", "val", "ver"]);
        assert_eq!(good, encode(&from_json(&label())));
        let bad = of(["cts", "cid", "src", "uri", "val", "ver"]);
        let list = [&[0x83][..], &good, &bad, &good].concat();
        let mut body = encode(&from_json(&json!({"seq": 4, "labels": 0})));
        assert_eq!(body.pop(), Some(0));
        let header = encode(&from_json(&json!({"op": 1, "t": "#labels"})));
        let frame = [header, body, list].concat();
        match LabelFrame::decode(frame.into()).unwrap() {
            LabelFrame::Labels { labels, dropped, .. } => {
                assert_eq!((labels.len(), dropped), (2, 1));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hostile_nesting_costs_the_frame_and_nothing_else() {
        let header = encode(&from_json(&json!({"op": 1, "t": "#labels"})));
        for nested in [vec![0x81; 1_000_000], [vec![0x81; 1_000_000], vec![0x80]].concat()] {
            let mut body = encode(&from_json(&json!({"seq": 4, "labels": 0})));
            assert_eq!(body.pop(), Some(0));
            let frame = [header.clone(), body, vec![0x81], nested].concat();
            let error = LabelFrame::decode(frame.into()).unwrap_err();
            assert_eq!(error.cause.cause(), "frame-too-deep");
        }
    }

    #[test]
    fn truncations_are_errors() {
        let header = encode(&from_json(&json!({"op": 1, "t": "#labels"})));
        let whole: Bytes =
            [header, encode(&from_json(&json!({"seq": 4, "labels": [label()]})))].concat().into();
        for end in 0..whole.len() {
            assert!(LabelFrame::decode(whole.slice(..end)).is_err());
        }
    }
}
