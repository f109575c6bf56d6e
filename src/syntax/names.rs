//! The plain names: DID, handle, NSID, record key, and the loose `uri` format.
//!
//! Validators work on bytes, since every one of these is ASCII by definition. Each type wraps a shared string, so that
//! a clone is a reference count.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::SyntaxError;

const MAX_DID: usize = 2048;
const MAX_HANDLE: usize = 253;
const MAX_NSID: usize = 253 + 1 + 63;
const MAX_LABEL: usize = 63;
const MAX_RKEY: usize = 512;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $error:ident, $prepare:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text against the protocol's syntax.
            pub fn parse(text: &str) -> Result<Self, SyntaxError> {
                let prepare: fn(&str) -> Option<Arc<str>> = $prepare;
                prepare(text).map(Self).ok_or(SyntaxError::$error)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = SyntaxError;
            fn from_str(text: &str) -> Result<Self, SyntaxError> {
                Self::parse(text)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type!(
    /// A decentralized identifier of any method, at most 2048 bytes.
    Did, Did, |text| is_did(text).then(|| text.into())
);
name_type!(
    /// A handle, lower-cased: handles are equal when their lower-case forms are.
    Handle, Handle, |text| is_handle(text).then(|| text.to_ascii_lowercase().into())
);
name_type!(
    /// A namespaced identifier such as `app.bsky.feed.post`.
    Nsid, Nsid, |text| is_nsid(text).then(|| text.into())
);
name_type!(
    /// A record key, at most 512 bytes.
    RecordKey, RecordKey, |text| is_rkey(text).then(|| text.into())
);

/// Whether the text is a DID: `did:`, a lower-case method, and a specific part that ends in neither `:` nor `%`.
pub fn is_did(text: &str) -> bool {
    if text.len() > MAX_DID {
        return false;
    }
    let Some((method, specific)) = text.strip_prefix("did:").and_then(|rest| rest.split_once(':'))
    else {
        return false;
    };
    !method.is_empty()
        && method.bytes().all(|b| b.is_ascii_lowercase())
        && specific
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'%' | b'-'))
        && specific.bytes().last().is_some_and(|b| !matches!(b, b':' | b'%'))
}

/// A domain label: 1 to 63 letters, digits and inner hyphens.
fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    bytes.len() <= MAX_LABEL
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && bytes.first().is_some_and(|b| *b != b'-')
        && bytes.last().is_some_and(|b| *b != b'-')
}

/// Whether the text is a handle, in any case: at least two domain labels, the last of which starts with a letter.
pub fn is_handle(text: &str) -> bool {
    text.len() <= MAX_HANDLE
        && text.split('.').all(is_label)
        && text
            .rsplit_once('.')
            .is_some_and(|(_, tld)| tld.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()))
}

/// Whether the text is an NSID: a reversed domain of at least two labels and a name of letters and digits.
pub fn is_nsid(text: &str) -> bool {
    if text.len() > MAX_NSID {
        return false;
    }
    let Some((authority, name)) = text.rsplit_once('.') else { return false };
    let starts_with_letter = |s: &str| s.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    authority.contains('.')
        && starts_with_letter(authority)
        && authority.split('.').all(is_label)
        && starts_with_letter(name)
        && name.len() <= MAX_LABEL
        && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Whether the text is a record key: 1 to 512 of `A-Za-z0-9_~.:-`, and neither `.` nor `..`.
pub fn is_rkey(text: &str) -> bool {
    (1..=MAX_RKEY).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'~' | b'.' | b':' | b'-'))
        && text != "."
        && text != ".."
}

/// Whether the text is a DID or a handle.
pub fn is_at_identifier(text: &str) -> bool {
    if text.starts_with("did:") { is_did(text) } else { is_handle(text) }
}

/// Whether the text passes the lexicon's `uri` format, which asks for little more than a scheme and no white space.
pub fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    !scheme.is_empty()
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && rest.chars().next().is_some_and(|c| c != '/')
        && !rest.chars().any(is_ecmascript_space)
}

/// ECMAScript's `\s`, which is what the reference's pattern excludes.
fn is_ecmascript_space(c: char) -> bool {
    c == '\u{feff}' || (c != '\u{85}' && c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accepts: fn(&str) -> bool, valid: &[&str], invalid: &[&str]) {
        for text in valid {
            assert!(accepts(text), "should be valid: {text}");
        }
        for text in invalid {
            assert!(!accepts(text), "should be invalid: {text}");
        }
    }

    #[test]
    fn dids() {
        let long = format!("did:method:{}", "v".repeat(2037));
        let too_long = format!("did:method:{}", "v".repeat(2038));
        check(
            is_did,
            &[
                "did:method:val",
                "did:method:VAL",
                "did:method:val123",
                "did:method:123",
                "did:method:val-two",
                "did:method:val_two",
                "did:method:val.two",
                "did:method:val:two",
                "did:method:val%BB",
                "did:method::::val",
                "did:web:localhost%3A1234",
                "did:plc:7iza6de2dwap2sbkpav7c6c6",
                "did:method:-:_:.:%ab",
                &long,
            ],
            &[
                "did",
                "didmethodval",
                "method:did:val",
                "did:method:",
                "didmethod:val",
                "did:methodval",
                ":did:method:val",
                "did.method.val",
                "did:method:val:",
                "did:method:val%",
                "DID:method:val",
                "did:METHOD:val",
                "did:m123:val",
                "did::val",
                "did:method:val/two",
                "did:method:val?two",
                "did:method:val#two",
                "did:method:v al",
                "did:method:é",
                "",
                &too_long,
            ],
        );
    }

    #[test]
    fn handles() {
        let label = "a".repeat(63);
        let long_label = format!("{}.test", "a".repeat(64));
        let full_label = format!("{label}.test");
        let too_long = format!("{label}.{label}.{label}.{label}.com");
        check(
            is_handle,
            &[
                "A.ISI.EDU",
                "jay.bsky.social",
                "8.cn",
                "4chan.org",
                "name.t--t",
                "xn--notarealidn.com",
                "expyuzz4wqqyqhjn.onion",
                "john2.test",
                "a.b",
                "laptop.local",
                &full_label,
            ],
            &[
                "john",
                "john.",
                ".john.test",
                "john..test",
                "jo_hn.test",
                "jo hn.test",
                "john.0",
                "127.0.0.1",
                "john.test-",
                "-john.test",
                "john-.test",
                "john.-test",
                "did:plc:x",
                "jøhn.test",
                "john.test/",
                "",
                &long_label,
                &too_long,
            ],
        );
        assert_eq!(Handle::parse("Alice.Test").unwrap(), "alice.test");
    }

    #[test]
    fn nsids() {
        let long_name = format!("com.example.{}", "o".repeat(64));
        let full_name = format!("com.example.{}", "o".repeat(63));
        check(
            is_nsid,
            &[
                "com.example.fooBar",
                "net.users.bob.ping",
                "a.b.c",
                "m.xn--masekowski-d0b.pl",
                "one.two.three",
                "one.2.three",
                "com.atproto.feed.p0st",
                "a-0.b-1.c",
                "test.12345.record",
                &full_name,
            ],
            &[
                "com.example",
                "com.example.foo.*",
                "com.example.3",
                "com.example.",
                "com..example.foo",
                "com.-example.foo",
                "com.example-.foo",
                "com.example.foo-bar",
                "com.example.f00.p@st",
                "0.two.three",
                "1.0.0.127.record",
                "com.exa💩ple.thing",
                "a.b.",
                ".a.b.c",
                "example",
                "",
                &long_name,
            ],
        );
    }

    #[test]
    fn record_keys() {
        let (long, too_long) = ("o".repeat(512), "o".repeat(513));
        check(
            is_rkey,
            &[
                "self",
                "example.com",
                "~1.2-3_",
                "dHJ1ZQ",
                "_",
                "literal:self",
                "pre:fix",
                "...",
                &long,
            ],
            &[
                "",
                ".",
                "..",
                "alpha/beta",
                "#extra",
                "any space",
                "number[3]",
                "p%20q",
                "é",
                "@x",
                &too_long,
            ],
        );
    }

    #[test]
    fn uris() {
        check(
            is_uri,
            &[
                "https://example.com/path?q#f",
                "dns:example.com",
                "at:handle",
                "did:plc:x",
                "a_1:b",
                "x://é",
                "x:b//c",
            ],
            &[
                "",
                "https",
                "https:",
                "https://",
                "https:///x",
                ":x",
                "a-b:c",
                "x: y",
                "x:y z",
                "x:/y",
                "x:y\u{feff}",
            ],
        );
    }

    #[test]
    fn deserializing_checks() {
        assert!(serde_json::from_str::<Did>("\"did:plc:abc\"").is_ok());
        assert!(serde_json::from_str::<Did>("\"plc:abc\"").is_err());
    }
}
