//! Reading fields out of a record's value. Records were validated when they were indexed, so a field that is absent
//! or of another type is simply not there.
use ipld_core::ipld::Ipld;

use crate::syntax::cid;

/// A field of a map.
#[must_use]
pub fn field<'a>(value: &'a Ipld, key: &str) -> Option<&'a Ipld> {
    match value {
        Ipld::Map(map) => map.get(key),
        _ => None,
    }
}

/// A text field.
#[must_use]
pub fn text<'a>(value: &'a Ipld, key: &str) -> Option<&'a str> {
    match field(value, key) {
        Some(Ipld::String(text)) => Some(text),
        _ => None,
    }
}

/// A text field, owned.
#[must_use]
pub fn string(value: &Ipld, key: &str) -> Option<String> {
    text(value, key).map(str::to_owned)
}

/// An integer field.
#[must_use]
pub fn int(value: &Ipld, key: &str) -> Option<i64> {
    match field(value, key) {
        Some(Ipld::Integer(int)) => i64::try_from(*int).ok(),
        _ => None,
    }
}

/// A boolean field.
#[must_use]
pub fn boolean(value: &Ipld, key: &str) -> Option<bool> {
    match field(value, key) {
        Some(Ipld::Bool(value)) => Some(*value),
        _ => None,
    }
}

/// The elements of a list field; empty if it is not there.
#[must_use]
pub fn list<'a>(value: &'a Ipld, key: &str) -> &'a [Ipld] {
    match field(value, key) {
        Some(Ipld::List(list)) => list,
        _ => &[],
    }
}

/// `$type`, empty if there is none.
#[must_use]
pub fn kind(value: &Ipld) -> &str {
    text(value, "$type").unwrap_or_default()
}

/// The `uri` of a strong reference.
#[must_use]
pub fn ref_uri<'a>(value: &'a Ipld, key: &str) -> Option<&'a str> {
    field(value, key).and_then(|reference| text(reference, "uri"))
}

/// The CID of a blob field, in the present form or the one before 2023.
#[must_use]
pub fn blob(value: &Ipld, key: &str) -> Option<String> {
    let blob = field(value, key)?;
    match field(blob, "ref") {
        Some(Ipld::Link(link)) => Some(cid::to_base32(link)),
        _ => string(blob, "cid"),
    }
}

/// The values of `labels`, if those are self labels (`com.atproto.label.defs#selfLabels`).
#[must_use]
pub fn self_labels(value: &Ipld) -> Vec<String> {
    match field(value, "labels") {
        Some(labels) if kind(labels) == "com.atproto.label.defs#selfLabels" => {
            list(labels, "values").iter().filter_map(|label| string(label, "val")).collect()
        }
        _ => Vec::new(),
    }
}
