//! `at://authority/collection/rkey`.
//!
//! [`AtUriRef`] splits without copying. It names a repo, a collection or a record and so refuses a fragment, which
//! [`is_at_uri`] (the lexicon format) allows.

use super::names::{is_at_identifier, is_nsid, is_rkey};

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
    fn parts() {
        let parts =
            |text| AtUriRef::parse(text).map(|uri| (uri.authority, uri.collection, uri.rkey));
        assert_eq!(
            parts("at://did:plc:abc/app.bsky.feed.post/3jzfcijpj2z2a"),
            Some(("did:plc:abc", Some("app.bsky.feed.post"), Some("3jzfcijpj2z2a")))
        );
        assert_eq!(parts("at://a.test/a.b.c"), Some(("a.test", Some("a.b.c"), None)));
        assert_eq!(parts("at://a.test"), Some(("a.test", None, None)));
        assert_eq!(parts("at://did:plc:abc/a.b.c/d#/e"), None);
    }
}
