//! The one reader of fields out of a record's value. Whether a record is valid was found out before, by its lexicon, so a
//! field that is absent or of another type is simply not there.
//!
//! Knows no lexicon but the few shapes that many of them share: strong references, blobs, self labels, `createdAt`.

use ipld_core::ipld::Ipld;

use crate::syntax::{cid, datetime};

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

/// What the facets of a post say of its text: mentions, links, tags.
pub fn features(post: &Ipld) -> impl Iterator<Item = &Ipld> {
    list(post, "facets").iter().flat_map(|facet| list(facet, "features"))
}

/// `$type`, empty if there is none.
#[must_use]
pub fn kind(value: &Ipld) -> &str {
    text(value, "$type").unwrap_or_default()
}

/// `createdAt` in milliseconds, bad ones normalised as the reference does.
#[must_use]
pub fn created_ms(value: &Ipld) -> i64 {
    datetime::normalize_ms(text(value, "createdAt").unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::dag_cbor::from_json;
    use serde_json::json;

    #[test]
    fn a_field_that_is_absent_or_of_another_type_is_not_there() {
        let value = from_json(&json!({
            "$type": "a.b.c", "n": 5, "yes": true, "list": ["x"], "subject": {"uri": "at://x"},
            "createdAt": "2026-01-01T00:00:00Z",
        }));
        assert_eq!(
            (kind(&value), text(&value, "$type"), text(&value, "n")),
            ("a.b.c", Some("a.b.c"), None)
        );
        assert_eq!((int(&value, "n"), int(&value, "yes")), (Some(5), None));
        assert_eq!((boolean(&value, "yes"), boolean(&value, "n")), (Some(true), None));
        assert_eq!((list(&value, "list").len(), list(&value, "n").len()), (1, 0));
        assert_eq!((ref_uri(&value, "subject"), ref_uri(&value, "list")), (Some("at://x"), None));
        assert_eq!(created_ms(&value), 1_767_225_600_000);
        let none = Ipld::Null;
        assert_eq!((field(&none, "n"), kind(&none), created_ms(&none)), (None, "", 0));
    }

    #[test]
    fn blobs_of_both_forms_and_self_labels_are_read() {
        let link = "bafkreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";
        let value = from_json(&json!({
            "new": {"$type": "blob", "ref": {"$link": link}}, "old": {"cid": link, "mimeType": "image/png"},
            "labels": {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "porn"}, {}]},
        }));
        assert_eq!(
            (blob(&value, "new"), blob(&value, "old")),
            (Some(link.into()), Some(link.into()))
        );
        assert_eq!(blob(&value, "labels"), None);
        assert_eq!(self_labels(&value), ["porn"]);
        let other = from_json(&json!({"labels": {"$type": "a.b.c", "values": [{"val": "porn"}]}}));
        assert!(self_labels(&other).is_empty());
    }
}
