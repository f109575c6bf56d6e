//! Good and bad values, each with the outcome expected of the reference implementation.

mod bodies;
mod embedded;
mod params;
mod records;

use std::collections::BTreeMap;

use cid::Cid;
use ipld_core::ipld::Ipld;
use serde_json::Value;

/// The JSON form of a record as a decoder of DAG-CBOR would give it.
fn ipld(value: &Value) -> Ipld {
    match value {
        Value::Null => Ipld::Null,
        Value::Bool(value) => Ipld::Bool(*value),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| Ipld::Float(number.as_f64().unwrap()), |n| Ipld::Integer(n.into())),
        Value::String(text) => Ipld::String(text.clone()),
        Value::Array(items) => Ipld::List(items.iter().map(ipld).collect()),
        Value::Object(map) => match map.get("$link") {
            Some(Value::String(cid)) if map.len() == 1 && Cid::try_from(cid.as_str()).is_ok() => {
                Ipld::Link(Cid::try_from(cid.as_str()).unwrap())
            }
            _ => {
                Ipld::Map(map.iter().map(|(k, v)| (k.clone(), ipld(v))).collect::<BTreeMap<_, _>>())
            }
        },
    }
}
