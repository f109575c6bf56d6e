//! A record as views need it: address, version, value and times.

use std::sync::Arc;

use ipld_core::ipld::Ipld;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::room::RecordRoom;
use crate::moderation::ShownLabel;
use crate::repo::{dag_cbor, fields};
use crate::schema::rows::RecordRow;
use crate::schema::{RecordId, Rows};
use crate::store::{Snapshot, StoreError};
use crate::syntax::{cid, datetime};

/// A record that is shown.
#[derive(Debug, Clone)]
pub struct ShownRecord {
    /// Which record.
    pub id: RecordId,
    /// Its AT-URI.
    pub uri: Arc<str>,
    /// Its CID as text.
    pub cid: String,
    /// Its value.
    pub value: Json,
    /// `sortAt`: what views call `indexedAt`, milliseconds.
    pub sort: i64,
    /// The labels that its author put on it.
    pub self_labels: Vec<ShownLabel>,
    /// Bytes of memory that the value takes.
    pub(super) memory: usize,
}

impl ShownRecord {
    /// Builds it from its row; `None` if the record is not valid, or there is no room for it.
    pub(super) fn load(
        s: &Snapshot,
        id: RecordId,
        row: &RecordRow,
        room: &mut RecordRoom,
    ) -> Result<Option<Self>, StoreError> {
        if !row.valid {
            return Ok(None);
        }
        let Some((value, memory)) = room.unpack(s, &row.packed)? else { return Ok(None) };
        let (uri, cid) = (s.uri(id)?.into(), record_cid(&s.digest(row.cid, &row.packed)?));
        let labels = fields::self_labels(&value);
        let created = fields::text(&value, "createdAt");
        let self_labels = own_labels(&s.did(id.actor)?, &uri, &cid, created, &labels);
        let value = Json(Arc::new(value));
        Ok(Some(Self { id, uri, cid, value, sort: row.sort, self_labels, memory }))
    }
}

/// The labels that an author put on a record, as label objects.
#[must_use]
pub fn own_labels(
    author: &Arc<str>,
    uri: &Arc<str>,
    cid: &str,
    created: Option<&str>,
    vals: &[String],
) -> Vec<ShownLabel> {
    // Nearly no record has labels of its own.
    if vals.is_empty() {
        return Vec::new();
    }
    let cts = datetime::format_ms(created.map_or(0, datetime::normalize_ms));
    let label = |val: &String| ShownLabel {
        src: Arc::clone(author),
        uri: Arc::clone(uri),
        cid: Some(cid.to_owned()),
        val: val.clone(),
        cts: cts.clone(),
        exp: None,
    };
    vals.iter().map(label).collect()
}

/// The text of a record's CID.
#[must_use]
pub fn record_cid(digest: &[u8; 32]) -> String {
    cid::to_base32(&cid::for_digest(cid::DAG_CBOR, digest))
}

/// A value that serializes to the protocol's JSON: links as `$link`, bytes as `$bytes`.
#[derive(Debug, Clone)]
pub struct Json(pub Arc<Ipld>);

impl std::ops::Deref for Json {
    type Target = Ipld;
    fn deref(&self) -> &Ipld {
        &self.0
    }
}

impl From<Ipld> for Json {
    fn from(value: Ipld) -> Self {
        Self(Arc::new(value))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        JsonRef(&self.0).serialize(to)
    }
}

/// The same for a borrowed part of a record.
#[derive(Debug, Clone, Copy)]
pub struct JsonRef<'a>(pub &'a Ipld);

impl Serialize for JsonRef<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Ipld::Null => to.serialize_unit(),
            Ipld::Bool(value) => to.serialize_bool(*value),
            Ipld::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => to.serialize_i64(value),
                (_, Ok(value)) => to.serialize_u64(value),
                _ => to.serialize_f64(*value as f64),
            },
            Ipld::Float(value) => to.serialize_f64(*value),
            Ipld::String(text) => to.serialize_str(text),
            Ipld::Bytes(bytes) => single(to, "$bytes", &data_encoding::BASE64_NOPAD.encode(bytes)),
            Ipld::Link(link) => single(to, "$link", &cid::to_base32(link)),
            Ipld::List(list) => to.collect_seq(list.iter().map(JsonRef)),
            Ipld::Map(map) => to.collect_map(
                dag_cbor::in_record_order(map).map(|(key, value)| (key, JsonRef(value))),
            ),
        }
    }
}

fn single<S: Serializer>(to: S, key: &str, value: &str) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}
