//! The labelers that a client asks for: the `atproto-accept-labelers` header.
//!
//! The header is a structured list (RFC 8941) of DIDs, each with an optional `;redact`. Absent or unparsable means the
//! operator's defaults, empty means none. Whether a labeler exists is not known here.

use http::HeaderValue;
use smallvec::SmallVec;

use crate::syntax::Did;

/// More than any client names; the rest is ignored so that a request cannot multiply label lookups.
const MAX_LABELERS: usize = 64;

/// One labeler in the order of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedLabeler {
    /// The labeler's DID.
    pub did: Did,
    /// Whether `!takedown` and `!suspend` of this labeler remove content.
    pub redact: bool,
}

/// The labelers to apply to an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedLabelers {
    /// Distinct, in the client's order.
    pub labelers: Vec<AcceptedLabeler>,
}

impl ParsedLabelers {
    /// The operator's defaults: all of them redact.
    pub fn defaults(dids: impl IntoIterator<Item = Did>) -> Self {
        let labelers = dids.into_iter().map(|did| AcceptedLabeler { did, redact: true }).collect();
        Self { labelers }
    }

    /// Reads a header value; `None` when it is not a structured list of DIDs.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parser = Parser::new(header);
        let mut labelers: Vec<AcceptedLabeler> = Vec::new();
        parser.skip(b" ");
        while !parser.at_end() {
            let HeaderItem::Text(text) = parser.item()? else {
                return None;
            };
            let redact = parser.redact_parameter()?;
            let did = Did::parse(&text).ok()?;
            if let Some(known) = labelers.iter_mut().find(|known| known.did == did) {
                known.redact |= redact;
            } else if labelers.len() < MAX_LABELERS {
                labelers.push(AcceptedLabeler { did, redact });
            }
            if parser.next_member()? {
                continue;
            }
            break;
        }
        Some(Self { labelers })
    }

    /// The value of `atproto-content-labelers`: `did;redact,did2`.
    pub(super) fn header_value(&self) -> Option<HeaderValue> {
        let mut out = String::with_capacity(self.labelers.len() * 40);
        for labeler in &self.labelers {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(labeler.did.as_str());
            if labeler.redact {
                out.push_str(";redact");
            }
        }
        HeaderValue::try_from(out).ok()
    }
}

enum HeaderItem {
    /// A token or a string.
    Text(String),
    True,
    Other,
}

/// The part of RFC 8941 that such a header can contain; inner lists cannot be DIDs and are refused.
struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    fn new(input: &'a str) -> Self {
        Self { rest: input.as_bytes() }
    }

    fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip(&mut self, any_of: &[u8]) {
        while self.peek().is_some_and(|byte| any_of.contains(&byte)) {
            self.bump();
        }
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> String {
        let mut taken: SmallVec<[u8; 64]> = SmallVec::new();
        while let Some(byte) = self.peek().filter(|byte| accept(*byte)) {
            taken.push(byte);
            self.bump();
        }
        String::from_utf8_lossy(&taken).into_owned()
    }

    /// After a member: `true` when another follows, `None` for a trailing comma or garbage.
    fn next_member(&mut self) -> Option<bool> {
        self.skip(b" \t");
        if self.at_end() {
            return Some(false);
        }
        if self.bump()? != b',' {
            return None;
        }
        self.skip(b" \t");
        (!self.at_end()).then_some(true)
    }

    fn item(&mut self) -> Option<HeaderItem> {
        match self.peek()? {
            b'"' => self.string().map(HeaderItem::Text),
            b'A'..=b'Z' | b'a'..=b'z' | b'*' => {
                Some(HeaderItem::Text(self.take_while(is_token_byte)))
            }
            b'?' => {
                self.bump();
                match self.bump()? {
                    b'1' => Some(HeaderItem::True),
                    b'0' => Some(HeaderItem::Other),
                    _ => None,
                }
            }
            b'-' | b'0'..=b'9' => {
                self.bump();
                self.take_while(|byte| byte.is_ascii_digit() || byte == b'.');
                Some(HeaderItem::Other)
            }
            b':' => {
                self.bump();
                self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                (self.bump()? == b':').then_some(HeaderItem::Other)
            }
            _ => None,
        }
    }

    fn string(&mut self) -> Option<String> {
        self.bump();
        let mut out = String::new();
        loop {
            match self.bump()? {
                b'"' => return Some(out),
                b'\\' => match self.bump()? {
                    escaped @ (b'\\' | b'"') => out.push(char::from(escaped)),
                    _ => return None,
                },
                byte @ 0x20..=0x7e => out.push(char::from(byte)),
                _ => return None,
            }
        }
    }

    /// Reads all parameters of a member and says whether `redact` is true; the last one of a name counts.
    fn redact_parameter(&mut self) -> Option<bool> {
        let mut redact = false;
        while self.peek() == Some(b';') {
            self.bump();
            self.skip(b" ");
            if !self.peek()?.is_ascii_lowercase() && self.peek()? != b'*' {
                return None;
            }
            let key = self.take_while(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
            });
            let value = if self.peek() == Some(b'=') {
                self.bump();
                self.item()?
            } else {
                HeaderItem::True
            };
            if key == "redact" {
                redact = matches!(value, HeaderItem::True);
            }
        }
        Some(redact)
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":/!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let cases: &[(&str, Option<&str>)] = &[
            ("", Some("")),
            ("did:plc:a", Some("did:plc:a")),
            ("did:plc:a;redact", Some("did:plc:a;redact")),
            ("did:plc:a;redact, did:web:b.example", Some("did:plc:a;redact,did:web:b.example")),
            ("did:plc:a ,\tdid:plc:b; redact", Some("did:plc:a,did:plc:b;redact")),
            ("did:plc:a;redact=?1", Some("did:plc:a;redact")),
            ("did:plc:a;redact=?0", Some("did:plc:a")),
            ("did:plc:a;redact=1", Some("did:plc:a")),
            ("did:plc:a;x=\"q\\\"\";redact;y=:YQ==:", Some("did:plc:a;redact")),
            ("\"did:plc:a\"", Some("did:plc:a")),
            ("did:plc:a,did:plc:a;redact", Some("did:plc:a;redact")),
            ("nonsense", None),
            ("did:plc:a,", None),
            ("did:plc:a did:plc:b", None),
            ("did:plc:a;Redact", None),
            ("(did:plc:a)", None),
            ("?1", None),
            ("17", None),
            ("\"did:plc:a", None),
        ];
        for (header, expect) in cases {
            let formatted = ParsedLabelers::parse(header)
                .map(|parsed| parsed.header_value().unwrap().to_str().unwrap().to_owned());
            assert_eq!(formatted.as_deref(), *expect, "{header:?}");
        }
    }

    #[test]
    fn a_flood_of_labelers_is_cut() {
        let header: Vec<String> = (0..500).map(|n| format!("did:plc:{n}")).collect();
        assert_eq!(ParsedLabelers::parse(&header.join(",")).unwrap().labelers.len(), MAX_LABELERS);
    }
}
