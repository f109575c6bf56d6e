//! A reader and a writer of DAG-CBOR items over slices, without copies.
//!
//! The reader refuses what has two spellings (long integers, indefinite lengths, half and single floats, tags but 42)
//! at the item level; order of keys is checked where a map is read as a whole.
//!
//! `serde_ipld_dagcbor` does what is not measured to matter: it writes records and reads and writes labels. This stays for
//! what comes with every event and every record of a fetched repo: frames, CAR headers, tree nodes (read and written),
//! commits, records. Measured on one core, release build, `serde_ipld_dagcbor` 0.7 in brackets, in microseconds: a like to
//! `Ipld` 0.45 (0.86), a post of 712 bytes 2.95 (4.65), a commit with the bytes that are signed, unknown fields among
//! them, 0.24 (1.45).

use crate::syntax::Cid;
use crate::syntax::cid;

/// Deepest nesting of arrays and maps that is read.
pub const MAX_DEPTH: usize = 64;

/// Why bytes are not the DAG-CBOR they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The bytes end inside an item, or a length points past the end.
    #[error("CBOR ends early")]
    Truncated,
    /// Bytes follow the item.
    #[error("CBOR has trailing bytes")]
    Trailing,
    /// Another spelling of the same value exists and is the right one.
    #[error("CBOR is not canonical")]
    NonCanonical,
    /// Map keys repeat or are out of order.
    #[error("CBOR map keys are out of order")]
    KeyOrder,
    /// A type outside DAG-CBOR: other tags, undefined, NaN, infinities, simple values, keys that are not text.
    #[error("CBOR holds a type outside DAG-CBOR")]
    Unsupported,
    /// Text that is not UTF-8.
    #[error("CBOR text is not UTF-8")]
    Utf8,
    /// A link that is no CID.
    #[error("CBOR link is not a CID")]
    Link,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("CBOR is nested too deeply")]
    TooDeep,
    /// Larger than the caller allows.
    #[error("CBOR is too large")]
    TooLarge,
    /// Well-formed, but not the type or the fields expected here.
    #[error("CBOR has an unexpected shape")]
    Shape,
}

/// The start of an item; lengths are in bytes or items and never exceed what is left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Head {
    Uint(u64),
    /// The value is -1 - n.
    Negative(u64),
    Bytes(usize),
    Text(usize),
    Array(usize),
    Map(usize),
    Link,
    Bool(bool),
    Null,
    Float(f64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

type Read<T> = Result<T, CborError>;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// Bytes not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn end(&self) -> Read<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(CborError::Trailing) }
    }

    fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(len).ok_or(CborError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(CborError::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    /// The argument of a head; refuses every spelling but the shortest.
    fn argument(&mut self, low: u8) -> Read<u64> {
        let (value, least) = match low {
            0..=23 => return Ok(u64::from(low)),
            24 => (u64::from(u8::from_be_bytes(self.array()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.array()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.array()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.array()?), 1 << 32),
            _ => return Err(CborError::NonCanonical),
        };
        if value < least { Err(CborError::NonCanonical) } else { Ok(value) }
    }

    /// A count of items or bytes that may still fit.
    fn length(&mut self, low: u8, least_each: usize) -> Read<usize> {
        let value = usize::try_from(self.argument(low)?).map_err(|_| CborError::Truncated)?;
        let needed = value.checked_mul(least_each).ok_or(CborError::Truncated)?;
        if needed > self.rest.len() { Err(CborError::Truncated) } else { Ok(value) }
    }

    pub(crate) fn head(&mut self) -> Read<Head> {
        let [byte] = self.array()?;
        let low = byte & 0x1f;
        Ok(match byte >> 5 {
            0 => Head::Uint(self.argument(low)?),
            1 => Head::Negative(self.argument(low)?),
            2 => Head::Bytes(self.length(low, 1)?),
            3 => Head::Text(self.length(low, 1)?),
            4 => Head::Array(self.length(low, 1)?),
            5 => Head::Map(self.length(low, 2)?),
            6 if byte == 0xd8 => match self.array()? {
                [42] => Head::Link,
                _ => return Err(CborError::Unsupported),
            },
            7 => match byte {
                0xf4 => Head::Bool(false),
                0xf5 => Head::Bool(true),
                0xf6 => Head::Null,
                0xfb => match f64::from_be_bytes(self.array()?) {
                    value if value.is_finite() => Head::Float(value),
                    _ => return Err(CborError::Unsupported),
                },
                _ => return Err(CborError::Unsupported),
            },
            _ => return Err(CborError::Unsupported),
        })
    }

    /// Bytes whose length a head gave.
    pub(crate) fn raw(&mut self, len: usize) -> Read<&'a [u8]> {
        self.take(len)
    }

    /// Text whose length a head gave.
    pub(crate) fn raw_text(&mut self, len: usize) -> Read<&'a str> {
        std::str::from_utf8(self.take(len)?).map_err(|_| CborError::Utf8)
    }

    /// What follows [`Head::Link`]: a byte string of a zero byte and a binary CID.
    pub(crate) fn raw_link(&mut self) -> Read<Cid> {
        let [0, cid @ ..] = self.bytes()? else { return Err(CborError::Link) };
        if let Some(cid) = cid::from_binary(cid) {
            return Ok(cid);
        }
        let parsed = Cid::try_from(cid).map_err(|_| CborError::Link)?;
        if parsed.to_bytes() == cid { Ok(parsed) } else { Err(CborError::Link) }
    }

    pub(crate) fn text(&mut self) -> Read<&'a str> {
        match self.head()? {
            Head::Text(len) => self.raw_text(len),
            _ => Err(CborError::Shape),
        }
    }

    pub(crate) fn bytes(&mut self) -> Read<&'a [u8]> {
        match self.head()? {
            Head::Bytes(len) => self.take(len),
            _ => Err(CborError::Shape),
        }
    }

    pub(crate) fn uint(&mut self) -> Read<u64> {
        match self.head()? {
            Head::Uint(value) => Ok(value),
            _ => Err(CborError::Shape),
        }
    }

    pub(crate) fn bool(&mut self) -> Read<bool> {
        match self.head()? {
            Head::Bool(value) => Ok(value),
            _ => Err(CborError::Shape),
        }
    }

    pub(crate) fn link(&mut self) -> Read<Cid> {
        match self.head()? {
            Head::Link => self.raw_link(),
            _ => Err(CborError::Shape),
        }
    }

    pub(crate) fn list(&mut self) -> Read<usize> {
        match self.head()? {
            Head::Array(len) => Ok(len),
            _ => Err(CborError::Shape),
        }
    }

    pub(crate) fn map(&mut self) -> Read<usize> {
        match self.head()? {
            Head::Map(len) => Ok(len),
            _ => Err(CborError::Shape),
        }
    }

    /// `null` as `None`, anything else by `read`.
    pub(crate) fn nullable<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<Option<T>> {
        if self.rest.first() == Some(&0xf6) {
            self.take(1)?;
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// Reads one map key that must be exactly this text.
    pub(crate) fn expect_key(&mut self, key: &str) -> Read<()> {
        if self.text()? == key { Ok(()) } else { Err(CborError::Shape) }
    }

    /// Passes over one item, checking all but the order of keys.
    pub(crate) fn skip(&mut self) -> Read<()> {
        self.skip_within(MAX_DEPTH)
    }

    fn skip_within(&mut self, depth: usize) -> Read<()> {
        let items = match self.head()? {
            Head::Bytes(len) => return self.take(len).map(drop),
            Head::Text(len) => return self.raw_text(len).map(drop),
            Head::Link => return self.raw_link().map(drop),
            Head::Array(len) => len,
            Head::Map(len) => len.saturating_mul(2),
            _ => return Ok(()),
        };
        let depth = depth.checked_sub(1).ok_or(CborError::TooDeep)?;
        for _ in 0..items {
            self.skip_within(depth)?;
        }
        Ok(())
    }
}

/// Canonical order of map keys: shorter first, then bytewise.
pub(crate) fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

pub(crate) fn put_head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    match value {
        0..=23 => out.push(major | value as u8),
        24..=0xff => out.extend([major | 24, value as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend((value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend((value as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(value.to_be_bytes());
        }
    }
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, 3, text.len() as u64);
    out.extend(text.as_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_head(out, 2, bytes.len() as u64);
    out.extend(bytes);
}

pub(crate) fn put_null(out: &mut Vec<u8>) {
    out.push(0xf6);
}

pub(crate) fn put_link(out: &mut Vec<u8>, link: &Cid) {
    out.extend([0xd8, 42]);
    match cid::to_binary(link) {
        Some(bytes) => {
            put_head(out, 2, bytes.len() as u64 + 1);
            out.push(0);
            out.extend(bytes);
        }
        None => {
            let bytes = link.to_bytes();
            put_head(out, 2, bytes.len() as u64 + 1);
            out.push(0);
            out.extend(bytes);
        }
    }
}
