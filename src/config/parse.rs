//! From a raw [`Value`] to a typed one, with a message that says what was expected.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::value::{Data, Value};
use crate::crypto::PublicKey;
use crate::syntax::{AtUriRef, Did, is_did};

/// Why a value was refused. Never holds the value of a secret: secrets are plain text and any text is valid.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
}

/// All faults of one value.
pub(crate) type Parsed<T> = Result<T, Vec<Fault>>;

pub(crate) fn fault<T>(value: &Value, message: impl Into<String>) -> Parsed<T> {
    Err(vec![Fault { line: value.line, message: message.into() }])
}

fn expected<T>(what: &str, value: &Value) -> Parsed<T> {
    fault(value, format!("expected {what}, found {}", value.shape()))
}

pub(crate) fn text(value: &Value) -> Parsed<String> {
    match &value.data {
        Data::Text(s) if s.is_empty() => fault(value, "must not be empty"),
        Data::Text(s) => Ok(s.clone()),
        _ => expected("a string", value),
    }
}

pub(crate) fn boolean(value: &Value) -> Parsed<bool> {
    match value.data {
        Data::Bool(b) => Ok(b),
        _ => expected("true or false", value),
    }
}

pub(crate) fn integer(value: &Value, min: u32, max: u32) -> Parsed<u32> {
    let Data::Integer(n) = value.data else {
        return expected("an integer", value);
    };
    match u32::try_from(n) {
        Ok(n) if (min..=max).contains(&n) => Ok(n),
        _ => fault(value, format!("{n} is not between {min} and {max}")),
    }
}

/// Bytes: an integer, or a number with kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024).
pub(crate) fn bytes(value: &Value, min: u64) -> Parsed<u64> {
    const WHAT: &str = "a size such as \"512MB\" or \"2GiB\"";
    let size = match &value.data {
        Data::Integer(n) => u64::try_from(*n).ok(),
        Data::Text(s) => parse_bytes(s),
        _ => return expected(WHAT, value),
    };
    match size {
        Some(n) if n < min => fault(value, format!("{value} is less than {min} bytes")),
        Some(n) => Ok(n),
        None => fault(value, format!("{value} is not {WHAT}")),
    }
}

fn parse_bytes(s: &str) -> Option<u64> {
    let s = s.trim();
    let digits = s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = s.split_at_checked(digits)?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "tb" | "t" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A time of up to `max` seconds: a number with ms, s, m or h.
pub(crate) fn duration(value: &Value, max: u64) -> Parsed<Duration> {
    const WHAT: &str = "a time such as \"21s\" or \"500ms\"";
    let Data::Text(given) = &value.data else { return expected(WHAT, value) };
    match parse_duration(given) {
        Some(time) if time.as_secs() > max => fault(value, format!("{value} is more than {max}s")),
        Some(time) => Ok(time),
        None => fault(value, format!("{value} is not {WHAT}")),
    }
}

fn parse_duration(s: &str) -> Option<Duration> {
    let s = s.trim();
    let digits = s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = s.split_at_checked(digits)?;
    let milliseconds: u64 = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(milliseconds).map(Duration::from_millis)
}

pub(crate) fn address(value: &Value) -> Parsed<SocketAddr> {
    text(value)?.parse().or_else(|_| {
        let what = "an address and port such as \"127.0.0.1:2584\"";
        fault(value, format!("{value} is not {what}"))
    })
}

/// An address, or a network as address and length of its prefix.
pub(crate) fn network(value: &Value) -> Parsed<IpNet> {
    let given = text(value)?;
    let parsed = given.parse::<IpAddr>().map(IpNet::from);
    parsed.or_else(|_| given.parse::<IpNet>()).map(|network| network.trunc()).or_else(|_| {
        let what = "an address such as \"10.0.0.5\" or a network such as \"10.0.0.0/8\"";
        fault(value, format!("{value} is not {what}"))
    })
}

/// One of `choices`.
pub(crate) fn one_of(value: &Value, choices: &[&'static str]) -> Parsed<&'static str> {
    let given = text(value)?;
    match choices.iter().find(|choice| **choice == given) {
        Some(choice) => Ok(choice),
        None => fault(value, format!("{value} is not one of {}", choices.join(", "))),
    }
}

pub(crate) const HTTP: &[&str] = &["https", "http"];
pub(crate) const WEBSOCKET: &[&str] = &["wss", "ws"];

/// The AT-URI of a record in a collection by the DID of its owner.
pub(crate) fn record_uri(value: &Value, collection: &str) -> Parsed<String> {
    let given = text(value)?;
    let whole = AtUriRef::parse(&given).is_some_and(|uri| {
        let right = uri.collection == Some(collection) && uri.rkey.is_some();
        right && is_did(uri.authority)
    });
    match whole {
        true => Ok(given),
        false => fault(value, format!("{value} is not at://DID/{collection}/KEY")),
    }
}

/// The AT-URI of any record by the DID of its owner.
pub(crate) fn any_record_uri(value: &Value) -> Parsed<String> {
    let given = text(value)?;
    match AtUriRef::parse(&given).and_then(|uri| uri.collection.filter(|_| uri.rkey.is_some())) {
        Some(collection) => record_uri(value, collection),
        None => fault(value, format!("{value} is not at://DID/COLLECTION/KEY")),
    }
}

/// A URL with one of `schemes` and a host, without credentials; given back without a trailing slash.
pub(crate) fn url(value: &Value, schemes: &[&str]) -> Parsed<String> {
    let given = text(value)?;
    let example = schemes.first().copied().unwrap_or_default();
    let what = format!("a URL such as \"{example}://host.example\"");
    let Ok(url) = url::Url::parse(&given) else {
        return fault(value, format!("{value} is not {what}"));
    };
    if !schemes.contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return fault(value, format!("{value} is not {what}"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return fault(value, "a URL here has no user, password or fragment");
    }
    Ok(given.trim_end_matches('/').to_owned())
}

/// A URL that is only scheme, host and port.
pub(crate) fn origin(value: &Value) -> Parsed<String> {
    let given = url(value, HTTP)?;
    match url::Url::parse(&given) {
        Ok(url) if url.path() == "/" && url.query().is_none() => Ok(given),
        _ => fault(value, format!("{value} has a path: only scheme, host and port")),
    }
}

/// A DID of any method.
pub(crate) fn did(value: &Value) -> Parsed<Did> {
    Did::parse(&text(value)?).or_else(|_| {
        let what = "a DID such as \"did:plc:ewvi7nxzyoun6zhxrhs64oiz\"";
        fault(value, format!("{value} is not {what}"))
    })
}

/// A public key in the form `did:key:z...`.
pub(crate) fn did_key(value: &Value) -> Parsed<PublicKey> {
    PublicKey::from_did_key(&text(value)?).or_else(|_| {
        let what = "a P-256 or secp256k1 key such as \"did:key:zQ3s...\"";
        fault(value, format!("{value} is not {what}"))
    })
}

/// A secp256k1 public key in hex.
pub(crate) fn hex_key(value: &Value) -> Parsed<PublicKey> {
    PublicKey::from_k256_hex(&text(value)?)
        .or_else(|_| fault(value, format!("{value} is not the hex of a secp256k1 public key")))
}

/// The end of a handle, with its leading dot.
pub(crate) fn handle_suffix(value: &Value) -> Parsed<String> {
    let given = text(value)?;
    let ok = given.starts_with('.')
        && given.len() > 1
        && given.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
    if ok {
        return Ok(given.to_ascii_lowercase());
    }
    fault(value, format!("{value} is not a suffix such as \".test\""))
}

/// Log directives: a level, or `info,aerie::net=debug`.
pub(crate) fn log_filter(value: &Value) -> Parsed<String> {
    let given = text(value)?;
    match given.parse::<tracing_subscriber::filter::Targets>() {
        Ok(_) => Ok(given),
        Err(_) => {
            let what = "error, warn, info, debug, trace, or such as \"info,aerie::net=debug\"";
            fault(value, format!("{value} is not {what}"))
        }
    }
}

/// A list, each element read by `item`; all faults are reported.
pub(crate) fn list<T>(value: &Value, item: impl Fn(&Value) -> Parsed<T>) -> Parsed<Vec<T>> {
    let Data::List(items) = &value.data else {
        return expected("a list", value);
    };
    let mut out = Vec::with_capacity(items.len());
    let mut faults = Vec::new();
    for (i, element) in items.iter().enumerate() {
        match item(element) {
            Ok(parsed) => out.push(parsed),
            Err(found) => faults.extend(found.into_iter().map(|f| Fault {
                line: f.line.or(element.line).or(value.line),
                message: format!("[{i}]: {}", f.message),
            })),
        }
    }
    if faults.is_empty() { Ok(out) } else { Err(faults) }
}

/// The fields of one table in a list of tables. Taking a field marks it as known; [`Row::end`] refuses the rest.
pub(crate) struct Row<'a> {
    value: &'a Value,
    fields: &'a [(String, Value)],
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(value: &'a Value) -> Parsed<Self> {
        match &value.data {
            Data::Table(fields) => {
                Ok(Self { value, fields, known: Vec::new(), faults: Vec::new() })
            }
            _ => expected("a table such as { name = \"...\" }", value),
        }
    }

    /// The field `name`, if it is there and valid; a fault is kept for [`Row::end`].
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&Value) -> Parsed<T>,
    ) -> Option<T> {
        self.known.push(name);
        let (_, value) = self.fields.iter().find(|(field, _)| field == name)?;
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(faults) => {
                self.faults.extend(faults.into_iter().map(|f| Fault {
                    line: f.line.or(value.line),
                    message: format!("{name}: {}", f.message),
                }));
                None
            }
        }
    }

    /// As [`Row::optional`], and its absence is a fault.
    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&Value) -> Parsed<T>,
    ) -> Option<T> {
        if !self.fields.iter().any(|(field, _)| field == name) {
            self.faults
                .push(Fault { line: self.value.line, message: format!("`{name}` is missing") });
        }
        self.optional(name, parse)
    }

    /// The row made of its fields, or every fault found in it.
    pub(crate) fn end<T>(mut self, row: Option<T>) -> Parsed<T> {
        for (name, value) in self.fields {
            if !self.known.contains(&name.as_str()) {
                let near = super::nearest(name, self.known.iter().copied());
                self.faults.push(Fault {
                    line: value.line,
                    message: format!("unknown key `{name}`; did you mean `{near}`?"),
                });
            }
        }
        match row {
            Some(row) if self.faults.is_empty() => Ok(row),
            _ => Err(self.faults),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            ("0", Some(0)),
            ("17", Some(17)),
            ("512MB", Some(512_000_000)),
            ("2 GiB", Some(2 << 30)),
            ("128mib", Some(128 << 20)),
            ("", None),
            ("MB", None),
            ("-1", None),
            ("1.5GB", None),
            ("5 parsecs", None),
            ("99999999999999TB", None),
        ];
        for (given, expect) in table {
            assert_eq!(parse_bytes(given), expect, "{given:?}");
        }
    }

    #[test]
    fn networks() {
        let parsed = |given| network(&Value::text(given)).map(|n| n.to_string());
        for (given, expect) in [
            ("10.1.2.3", "10.1.2.3/32"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("::1", "::1/128"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(parsed(given).as_deref(), Ok(expect));
        }
        for bad in ["proxy.example", "10.0.0.0/33", "10.0.0.1:80", "10.0.0"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls() {
        let good = url(&Value::text("https://relay.example/x/"), HTTP);
        assert_eq!(good, Ok("https://relay.example/x".to_owned()));
        for bad in [
            "relay.example",
            "ftp://a.example",
            "https://",
            "wss://a.example",
            "https://u:p@a.example",
        ] {
            assert!(url(&Value::text(bad), HTTP).is_err(), "{bad}");
        }
        assert!(origin(&Value::text("https://a.example/")).is_ok());
        assert!(origin(&Value::text("https://a.example/path")).is_err());
    }
}
