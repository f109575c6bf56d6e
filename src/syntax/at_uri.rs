//! `at://authority/collection/rkey`.
//!
//! [`AtUriRef`] splits without copying and is what hot paths use; [`AtUri`] owns its parts. Both name a repo, a
//! collection or a record and so refuse a fragment, which [`is_at_uri`] (the lexicon format) allows.

use std::fmt;

use super::names::{Nsid, RecordKey, is_at_identifier, is_nsid, is_rkey};
use super::{Did, SyntaxError};

const MAX_LEN: usize = 8192;

/// A borrowed AT-URI whose parts are valid; neither query, fragment nor trailing slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AtUriRef<'a> {
    /// A DID or a handle.
    pub authority: &'a str,
    /// A valid NSID.
    pub collection: Option<&'a str>,
    /// A valid record key; only with a collection.
    pub rkey: Option<&'a str>,
}

impl<'a> AtUriRef<'a> {
    /// Splits and validates.
    pub fn parse(text: &'a str) -> Option<AtUriRef<'a>> {
        if text.len() > MAX_LEN {
            return None;
        }
        let mut parts = text.strip_prefix("at://")?.split('/');
        let authority = parts.next().filter(|s| is_at_identifier(s))?;
        let collection = match parts.next() {
            None => None,
            Some(s) => Some(s).filter(|s| is_nsid(s)).map(Some)?,
        };
        let rkey = match parts.next() {
            None => None,
            Some(s) => Some(s).filter(|s| is_rkey(s)).map(Some)?,
        };
        parts.next().is_none().then_some(AtUriRef { authority, collection, rkey })
    }

    /// The parts of a URI that names a record of a DID; what an index can key by.
    pub fn parse_record(text: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
        let uri = AtUriRef::parse(text)?;
        uri.authority.starts_with("did:").then_some((uri.authority, uri.collection?, uri.rkey?))
    }
}

/// An owned AT-URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AtUri {
    /// A DID or a handle, as written.
    pub authority: String,
    /// The collection, if the URI names more than a repo.
    pub collection: Option<Nsid>,
    /// The record key, if the URI names a record.
    pub rkey: Option<RecordKey>,
}

impl AtUri {
    /// Checks and copies the parts.
    pub fn parse(text: &str) -> Result<AtUri, SyntaxError> {
        let uri = AtUriRef::parse(text).ok_or(SyntaxError::AtUri)?;
        Ok(AtUri {
            authority: uri.authority.to_owned(),
            collection: uri.collection.map(Nsid::parse).transpose()?,
            rkey: uri.rkey.map(RecordKey::parse).transpose()?,
        })
    }

    /// The URI of a record.
    pub fn record(did: &Did, collection: Nsid, rkey: RecordKey) -> AtUri {
        AtUri { authority: did.to_string(), collection: Some(collection), rkey: Some(rkey) }
    }
}

impl fmt::Display for AtUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at://{}", self.authority)?;
        if let Some(collection) = &self.collection {
            write!(f, "/{collection}")?;
            if let Some(rkey) = &self.rkey {
                write!(f, "/{rkey}")?;
            }
        }
        Ok(())
    }
}

/// Whether the text passes the lexicon's `at-uri` format: an AT-URI, possibly with a JSON pointer as its fragment.
pub fn is_at_uri(text: &str) -> bool {
    if text.len() > MAX_LEN {
        return false;
    }
    match text.split_once('#') {
        None => AtUriRef::parse(text).is_some(),
        Some((uri, pointer)) => is_json_pointer(pointer) && AtUriRef::parse(uri).is_some(),
    }
}

fn is_json_pointer(text: &str) -> bool {
    text.starts_with('/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~:@!$&')(*+,;=%[]/-".contains(&b))
        && percent_decodes(text)
}

/// What ECMAScript's `decodeURIComponent` accepts: each `%` with two hex digits, together valid UTF-8.
fn percent_decodes(text: &str) -> bool {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let Some((hex, tail)) = rest.split_at_checked(2) else { return false };
        let Ok(byte) = data_encoding::HEXLOWER_PERMISSIVE.decode(hex) else { return false };
        out.extend(byte);
        rest = tail;
    }
    std::str::from_utf8(&out).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DID: &str = "at://did:plc:asdf123";

    #[test]
    fn format_vectors() {
        let long = format!("{DID}/com.atproto.feed.post/{}", "o".repeat(512));
        for text in [
            DID,
            "at://user.bsky.social",
            "at://did:plc:asdf123/com.atproto.feed.post",
            "at://did:plc:asdf123/com.atproto.feed.post/record",
            "at://did:plc:asdf123/com.atproto.feed.post/pre:fix~._-",
            "at://did:plc:asdf123#/frag",
            "at://did:plc:asdf123/com.atproto.feed.post/a#/a/%20/[1]",
            "at://did:abc:123/io.nsid.someFunc/self.",
            &long,
        ] {
            assert!(is_at_uri(text), "{text}");
        }
        let too_long = format!("{long}o");
        for text in [
            "",
            "at:/did:plc:asdf123",
            "AT://did:plc:asdf123",
            "http://did:plc:asdf123",
            "at://did:plc:asdf123/",
            "at://did:plc:asdf123//com.atproto.feed.post",
            "at://did:plc:asdf123/com.atproto.feed.post/",
            "at://did:plc:asdf123/com.atproto.feed.post/record/x",
            "at://did:plc:asdf123/com.atproto.feed.post/a b",
            "at://did:plc:asdf123/com.atproto.feed.post/a?q=1",
            "at://did:plc:asdf123/com.atproto.feed.post/%30",
            "at://did:plc:asdf123/com.atproto.feed.post/..",
            "at://did:plc:asdf123/short/stuff",
            "at://user:pass@example.com",
            "at://name",
            "at://did:plc:asdf123#frag",
            "at://did:plc:asdf123#",
            "at://did:plc:asdf123#/%",
            "at://did:plc:asdf123#/%ff",
            "at://did:plc:asdf123#/a#/b",
            "at:///com.atproto.feed.post",
            &too_long,
        ] {
            assert!(!is_at_uri(text), "{text}");
        }
    }

    #[test]
    fn parts_and_display() {
        let text = "at://did:plc:abc/app.bsky.feed.post/3jzfcijpj2z2a";
        assert_eq!(AtUri::parse(text).unwrap().to_string(), text);
        assert_eq!(
            AtUriRef::parse_record(text),
            Some(("did:plc:abc", "app.bsky.feed.post", "3jzfcijpj2z2a"))
        );
        assert_eq!(AtUriRef::parse_record("at://a.test/app.bsky.feed.post/1"), None);
        assert_eq!(AtUriRef::parse("at://did:plc:abc/a.b.c/d#/e"), None);
        assert_eq!(AtUri::parse("at://a.test").unwrap().collection, None);
    }
}
