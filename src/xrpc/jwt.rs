//! Service tokens: what a JSON Web Token of another service says, before anything is believed.
//!
//! Checks shape and size only. Signature, time, audience and method are [`super::auth`]'s.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::error::XrpcError;
use crate::syntax::Did;

/// Real ones are about 300 bytes; the cap bounds work on hostile ones.
const MAX_TOKEN: usize = 8 * 1024;

/// The issuer: a DID, or one of its services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issuer {
    pub(super) did: Did,
    /// The part after `#`.
    pub(super) service: Option<Box<str>>,
}

impl Issuer {
    /// `None` when the text is neither a DID nor a DID with one fragment.
    fn parse(text: &str) -> Option<Self> {
        let (did, service) = match text.split_once('#') {
            Some((_, fragment)) if fragment.is_empty() || fragment.contains('#') => return None,
            Some((did, fragment)) => (did, Some(fragment.into())),
            None => (text, None),
        };
        let did = Did::parse(did).ok()?;
        Some(Self { did, service })
    }

    pub(super) fn is_labeler(&self) -> bool {
        self.service.as_deref() == Some("atproto_labeler")
    }

    /// The key of the DID document that signs for this issuer.
    pub(super) fn key_fragment(&self) -> &'static str {
        if self.is_labeler() { "atproto_label" } else { "atproto" }
    }
}

/// The claims that matter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claims {
    /// `None` when it is not a DID: `BadJwtIss`, but only once the token proved fresh.
    pub(super) issuer: Option<Issuer>,
    pub(super) audience: String,
    /// Seconds since 1970; fractions are allowed.
    pub(super) expires: f64,
    /// When it was made, if it says so: the same.
    pub(super) issued: Option<f64>,
    /// `None` when the claim is absent, empty when it is a false value of another type.
    pub(super) method: Option<String>,
}

/// A token taken apart.
#[derive(Debug)]
pub(super) struct Token<'a> {
    /// `alg` as sent; the key decides whether it fits.
    pub(super) algorithm: String,
    pub(super) claims: Claims,
    /// What the signature covers.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
}

/// The `typ` of a token whose header can be read.
pub(super) fn type_of(token: &str) -> Option<String> {
    let (header, _) = token.split_once('.')?;
    match object(header).ok()?.remove("typ")? {
        Value::String(typ) => Some(typ),
        _ => None,
    }
}

impl<'a> Token<'a> {
    /// Takes a token apart; 401 `BadJwt` or `BadJwtType`.
    pub(super) fn parse(token: &'a str) -> Result<Self, XrpcError> {
        if token.len() > MAX_TOKEN {
            return Err(malformed());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        if payload.contains('.') {
            return Err(malformed());
        }
        let header = object(header)?;
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or_else(malformed)?.to_owned();
        // OAuth access tokens (RFC 9068), refresh tokens and DPoP proofs (RFC 9449) are not meant for services.
        if let Some(typ @ ("at+jwt" | "refresh+jwt" | "dpop+jwt")) =
            header.get("typ").and_then(Value::as_str)
        {
            return Err(XrpcError::auth("BadJwtType", format!("Invalid jwt type \"{typ}\"")));
        }
        Ok(Self {
            algorithm,
            claims: claims(object(payload)?)?,
            signed,
            signature: decode(signature)?,
        })
    }
}

/// A session token (RFC 9068) taken apart.
#[derive(Debug)]
pub(super) struct SessionToken<'a> {
    pub(super) algorithm: String,
    /// `sub`, if it is a DID.
    pub(super) subject: Option<Did>,
    pub(super) audience: Option<String>,
    pub(super) scope: Option<String>,
    /// Seconds since 1970.
    pub(super) expires: Option<f64>,
    /// It is good only with a proof of who sends it (RFC 7800).
    pub(super) is_bound: bool,
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
}

impl<'a> SessionToken<'a> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let (header, payload) = (object(header).ok()?, object(payload).ok()?);
        let text = |key: &str| payload.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            algorithm: header.get("alg")?.as_str()?.to_owned(),
            subject: text("sub").and_then(|sub| Did::parse(&sub).ok()),
            audience: text("aud"),
            scope: text("scope"),
            expires: payload.get("exp").and_then(Value::as_f64),
            is_bound: payload.contains_key("cnf"),
            signed,
            signature: decode(signature).ok()?,
        })
    }
}

fn claims(mut payload: Map<String, Value>) -> Result<Claims, XrpcError> {
    let (Some(Value::String(issuer)), Some(Value::String(audience)), Some(expires)) =
        (payload.remove("iss"), payload.remove("aud"), payload.get("exp").and_then(Value::as_f64))
    else {
        return Err(malformed());
    };
    if !string_or_false(payload.get("nonce")) || !string_or_false(payload.get("lxm")) {
        return Err(malformed());
    }
    let method = match payload.remove("lxm") {
        None => None,
        Some(Value::String(method)) => Some(method),
        Some(_) => Some(String::new()),
    };
    let issued = payload.get("iat").and_then(Value::as_f64);
    Ok(Claims { issuer: Issuer::parse(&issuer), audience, expires, issued, method })
}

/// The reference takes a claim of a wrong type for absent when JavaScript holds it for false.
fn string_or_false(claim: Option<&Value>) -> bool {
    match claim {
        None | Some(Value::Null | Value::Bool(false) | Value::String(_)) => true,
        Some(Value::Number(number)) => number.as_f64() == Some(0.0),
        Some(_) => false,
    }
}

fn object(part: &str) -> Result<Map<String, Value>, XrpcError> {
    match serde_json::from_slice(&decode(part)?) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(malformed()),
    }
}

fn decode(part: &str) -> Result<Vec<u8>, XrpcError> {
    BASE64URL_NOPAD.decode(part.trim_end_matches('=').as_bytes()).map_err(|_| malformed())
}

fn malformed() -> XrpcError {
    XrpcError::auth("BadJwt", "poorly formatted jwt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers() {
        let cases = [
            ("did:plc:abc", Some("atproto")),
            ("did:plc:abc#atproto_labeler", Some("atproto_label")),
            ("did:plc:abc#other", Some("atproto")),
            ("did:plc:abc#", None),
            ("did:plc:abc#a#b", None),
            ("alice.test", None),
            ("", None),
        ];
        for (text, expect) in cases {
            assert_eq!(Issuer::parse(text).as_ref().map(Issuer::key_fragment), expect, "{text}");
        }
    }

    #[test]
    fn malformed_tokens_are_bad_jwt() {
        let part = |json: &str| BASE64URL_NOPAD.encode(json.as_bytes());
        let header = part(r#"{"alg":"ES256K"}"#);
        let payload = part(r#"{"iss":"did:plc:a","aud":"x","exp":1}"#);
        let deep = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
        let cases = [
            String::new(),
            "garbage".to_owned(),
            "a.b".to_owned(),
            "!!.!!.!!".to_owned(),
            format!("{header}.{payload}"),
            format!("{header}.{payload}.YQ.YQ"),
            format!("{}.{payload}.YQ", part("[]")),
            format!("{}.{payload}.YQ", part("{}")),
            format!("{}.{payload}.YQ", part(&deep)),
            format!("{header}.{}.YQ", part(r#"{"iss":"did:plc:a","aud":"x"}"#)),
            format!("{header}.{}.YQ", part(r#"{"iss":"did:plc:a","aud":1,"exp":1}"#)),
            format!("{header}.{}.YQ", part(r#"{"iss":"did:plc:a","aud":"x","exp":"1"}"#)),
            format!("{header}.{}.YQ", part(r#"{"iss":"did:plc:a","aud":"x","exp":1,"lxm":["a"]}"#)),
            format!("{header}.{}.YQ", "A".repeat(MAX_TOKEN)),
        ];
        for token in cases {
            assert_eq!(Token::parse(&token).unwrap_err().name(), "BadJwt", "{token}");
        }
        assert_eq!(Token::parse(&format!("{header}.{payload}.YQ")).unwrap().signature, b"a");
    }
}
