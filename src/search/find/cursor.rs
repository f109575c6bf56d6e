//! Where a page ends: a position that stays what it is, whatever is written meanwhile.
//!
//! ```text
//! base64url of: version u8, fingerprint u64, then
//!   the newest first:  ts i64, author u32, rkey u64
//!   the best first:    now i64, score f64 in bits, author u32, rkey u64
//! ```
//! All numbers are big-endian.

use data_encoding::BASE64URL_NOPAD;

use crate::schema::bytes::ByteReader;
use crate::schema::PostId;
use crate::search::eval::Position;

/// The version of both forms.
const NEWEST: u8 = 1;
const BEST: u8 = 2;

/// Characters of the longest cursor that is looked at.
const MAX: usize = 64;

/// The last of the best: with the time that scores are of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Best {
    /// When the first page was asked for.
    pub now: i64,
    /// The score of the last.
    pub score: f64,
    /// Which it is.
    pub post: PostId,
}

/// A position in the newest as text.
pub(super) fn newest(fingerprint: u64, at: Position) -> String {
    let mut out = begin(NEWEST, fingerprint);
    out.extend(at.ts.to_be_bytes());
    post(&mut out, at.post);
    BASE64URL_NOPAD.encode(&out)
}

/// A position in the best as text.
pub(super) fn best(fingerprint: u64, at: Best) -> String {
    let mut out = begin(BEST, fingerprint);
    out.extend(at.now.to_be_bytes());
    out.extend(at.score.to_bits().to_be_bytes());
    post(&mut out, at.post);
    BASE64URL_NOPAD.encode(&out)
}

/// Reads a position in the newest of the same query.
pub(super) fn parse_newest(text: &str, fingerprint: u64) -> Option<Position> {
    let bytes = bytes(text)?;
    let mut read = ByteReader::new(&bytes);
    let is_own = read.u8()? == NEWEST && read.u64()? == fingerprint;
    let at = Position { ts: signed(read.u64()?), post: read.post()? };
    (is_own && read.is_empty()).then_some(at)
}

/// Reads a position in the best of the same query.
pub(super) fn parse_best(text: &str, fingerprint: u64) -> Option<Best> {
    let bytes = bytes(text)?;
    let mut read = ByteReader::new(&bytes);
    let is_own = read.u8()? == BEST && read.u64()? == fingerprint;
    let (now, score) = (signed(read.u64()?), f64::from_bits(read.u64()?));
    let at = Best { now, score, post: read.post()? };
    (is_own && read.is_empty() && at.score.is_finite()).then_some(at)
}

fn begin(version: u8, fingerprint: u64) -> Vec<u8> {
    let mut out = vec![version];
    out.extend(fingerprint.to_be_bytes());
    out
}

fn post(out: &mut Vec<u8>, post: PostId) {
    out.extend(post.author.0.to_be_bytes());
    out.extend(post.rkey.0.to_be_bytes());
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok().filter(|_| text.len() <= MAX)
}

fn signed(bits: u64) -> i64 {
    i64::from_be_bytes(bits.to_be_bytes())
}
