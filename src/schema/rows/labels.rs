//! Labels: one row for each subject, negations included.

use crate::schema::ActorId;
use crate::schema::bytes::{ByteReader, push_blob};

/// A label on a target (`com.atproto.label.defs#label`), as its labeler signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRow {
    /// The labeler.
    pub src: ActorId,
    /// The value.
    pub val: String,
    /// The version of the record it is meant for; empty for any.
    pub cid: String,
    /// When it was made, as written.
    pub cts: String,
    /// When it ends, as written; empty for never.
    pub exp: String,
    /// Takes the label back.
    pub neg: bool,
    /// The signature; empty if there was none.
    pub sig: Vec<u8>,
}

impl LabelRow {
    /// Reads all labels of a target.
    #[must_use]
    pub fn decode_all(b: &[u8]) -> Option<Vec<Self>> {
        let mut r = ByteReader::new(b);
        let mut out = Vec::new();
        while !r.is_empty() {
            out.push(Self {
                src: r.actor()?,
                neg: r.u8()? != 0,
                val: r.str()?.to_owned(),
                cid: r.str()?.to_owned(),
                cts: r.str()?.to_owned(),
                exp: r.str()?.to_owned(),
                sig: r.blob()?.to_vec(),
            });
        }
        Some(out)
    }
    /// The bytes of all labels of a target.
    #[must_use]
    pub fn encode_all(rows: &[Self]) -> Vec<u8> {
        let mut out = Vec::new();
        for l in rows {
            out.extend_from_slice(&l.src.0.to_be_bytes());
            out.push(u8::from(l.neg));
            for s in [&l.val, &l.cid, &l.cts, &l.exp] {
                push_blob(&mut out, s.as_bytes());
            }
            push_blob(&mut out, &l.sig);
        }
        out
    }
}
