//! Reading fields out of a record's value.
use ipld_core::ipld::Ipld;

/// A field of a map.
pub(super) fn get<'a>(v: &'a Ipld, key: &str) -> Option<&'a Ipld> {
    match v {
        Ipld::Map(m) => m.get(key),
        _ => None,
    }
}

/// A text field.
pub(super) fn text<'a>(v: &'a Ipld, key: &str) -> Option<&'a str> {
    match get(v, key) {
        Some(Ipld::String(s)) => Some(s),
        _ => None,
    }
}

/// The elements of a list field; empty if it is not there.
pub(super) fn list<'a>(v: &'a Ipld, key: &str) -> &'a [Ipld] {
    match get(v, key) {
        Some(Ipld::List(l)) => l,
        _ => &[],
    }
}

/// `$type`.
pub(super) fn kind(v: &Ipld) -> &str {
    text(v, "$type").unwrap_or_default()
}

/// `createdAt` in milliseconds, bad ones normalised as the reference does.
pub(super) fn created_ms(v: &Ipld) -> i64 {
    crate::syntax::datetime::normalize_ms(text(v, "createdAt").unwrap_or_default())
}

/// The `uri` of a strong reference.
pub(super) fn ref_uri<'a>(v: &'a Ipld, key: &str) -> Option<&'a str> {
    get(v, key).and_then(|r| text(r, "uri"))
}
