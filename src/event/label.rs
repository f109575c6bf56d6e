//! Messages of `com.atproto.label.subscribeLabels`, and what a label's signature is over.
//!
//! A label that does not decode is dropped alone and counted; its neighbours in the message stay.
use bytes::Bytes;

use super::frame::{FrameCause, FrameError, Header, MAX_FRAME_LEN, find_seq, notice, split};
use crate::crypto::PublicKey;
use crate::repo::cbor::{CborError, Reader, put_head, put_text};
use crate::syntax::{Did, datetime, is_cid, is_uri};

/// Longest label value, in bytes (lexicon `com.atproto.label.defs`).
const MAX_VAL: usize = 128;
const MAX_URI: usize = 8192;
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
                    // Step over the whole item first, so that a bad label leaves the reader in place.
                    let mut item = reader;
                    reader.skip()?;
                    match Label::read(&mut item) {
                        Ok(label) if labels.len() < MAX_LABELS => labels.push(label),
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
    fn read(reader: &mut Reader<'_>) -> Result<Label, CborError> {
        let (mut ver, mut src, mut uri, mut cid, mut val) = (None, None, None, None, None);
        let (mut neg, mut cts, mut exp, mut sig) = (None, None, None, None);
        for _ in 0..reader.map()? {
            match reader.text()? {
                "ver" => ver = reader.nullable(Reader::uint)?,
                "src" => src = Did::parse(reader.text()?).ok(),
                "uri" => {
                    uri = Some(reader.text()?).filter(|uri| uri.len() <= MAX_URI && is_uri(uri))
                }
                "cid" => cid = reader.nullable(|r| checked(r, is_cid))?,
                "val" => val = Some(reader.text()?).filter(|val| val.len() <= MAX_VAL),
                "neg" => neg = reader.nullable(Reader::bool)?,
                "cts" => cts = Some(checked(reader, datetime::is_datetime)?),
                "exp" => exp = reader.nullable(|r| checked(r, datetime::is_datetime))?,
                "sig" => sig = reader.nullable(Reader::bytes)?,
                _ => reader.skip()?,
            }
        }
        match (src, uri, val, cts) {
            (Some(src), Some(uri), Some(val), Some(cts)) => Ok(Label {
                ver,
                src,
                uri: uri.to_owned(),
                cid,
                val: val.to_owned(),
                neg,
                cts,
                exp,
                sig: sig.map(<[u8]>::to_vec),
            }),
            _ => Err(CborError::Shape),
        }
    }

    /// Whether it takes an earlier label back.
    pub fn is_negation(&self) -> bool {
        self.neg == Some(true)
    }

    /// The label as DAG-CBOR without `sig` and without absent fields: what the labeler signs.
    pub fn signing_bytes(&self) -> Vec<u8> {
        let texts = [
            ("cid", self.cid.as_deref()),
            ("cts", Some(self.cts.as_str())),
            ("exp", self.exp.as_deref()),
        ];
        let present = texts.iter().filter(|(_, text)| text.is_some()).count()
            + usize::from(self.neg.is_some())
            + usize::from(self.ver.is_some());
        let mut out = Vec::with_capacity(256);
        put_head(&mut out, 5, present as u64 + 3);
        // All keys have three letters, so canonical order is alphabetical.
        for (key, text) in texts {
            put_field(&mut out, key, text);
        }
        if let Some(neg) = self.neg {
            put_text(&mut out, "neg");
            out.push(if neg { 0xf5 } else { 0xf4 });
        }
        put_field(&mut out, "src", Some(&self.src));
        put_field(&mut out, "uri", Some(&self.uri));
        put_field(&mut out, "val", Some(&self.val));
        if let Some(ver) = self.ver {
            put_text(&mut out, "ver");
            put_head(&mut out, 0, ver);
        }
        out
    }

    /// Whether the label is signed with this key.
    pub fn verify_signature(&self, key: &PublicKey) -> bool {
        self.sig.as_ref().is_some_and(|sig| key.verify(&self.signing_bytes(), sig))
    }
}

fn checked(reader: &mut Reader<'_>, valid: fn(&str) -> bool) -> Result<String, CborError> {
    let text = reader.text()?;
    if valid(text) { Ok(text.to_owned()) } else { Err(CborError::Shape) }
}

fn put_field(out: &mut Vec<u8>, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        put_text(out, key);
        put_text(out, text);
    }
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
            assert_eq!(labels[0].is_negation(), extra["neg"] == json!(true));
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
        ]));
        assert_eq!((labels.len(), dropped), (2, 8));
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
