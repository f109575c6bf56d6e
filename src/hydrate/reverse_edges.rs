//! Reverse edges: the accounts with a record on a target (likers, reposters, followers), the latest first. Such an account
//! is called a fan of the target.
//!
//! For popular targets the index keeps them in the order of time; of other targets all are read and sorted.

use super::record::record_cid;
use super::{Hydrator, Result};
use crate::repo::fields;
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{EdgeKind, FanRow, fans_prefix, rev_prefix};
use crate::schema::{ActorId, RecordId, Rkey, Rows, Target, rebuild};
use crate::store::{Ks, Reader, prefix_end};
use crate::syntax::datetime::normalize_ms;

/// Fans of a target without an order of its own that are looked at: the index orders them long before.
const MAX_UNORDERED: usize = 20_000;

/// An account with a record on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fan {
    /// The account.
    pub actor: ActorId,
    /// The key of its record.
    pub rkey: Rkey,
    /// `sortAt` of its record, milliseconds.
    pub sort: i64,
}

impl Hydrator<'_> {
    /// Visits the fans of a target, the latest first, those newer than `from` left out.
    pub fn each_fan(
        &self,
        kind: EdgeKind,
        target: Target,
        from: Option<i64>,
        visit: &mut dyn FnMut(Fan) -> bool,
    ) -> Result<()> {
        let ordered = self.snapshot.agg(target)?.is_ordered(kind);
        if !ordered {
            let mut fans = self.unordered_fans(kind, target)?;
            fans.sort_unstable_by_key(|fan| (std::cmp::Reverse(fan.sort), fan.actor));
            let mut shown = fans.into_iter().filter(|fan| from.is_none_or(|ms| fan.sort <= ms));
            while shown.next().is_some_and(&mut *visit) {}
            return Ok(());
        }
        let prefix = fans_prefix(kind, target);
        let (end, skip) = (prefix_end(&prefix), prefix.len());
        let lo = match from {
            Some(ms) => prefix.newest_first(ms),
            None => prefix,
        };
        self.snapshot.scan(Ks::Order, &lo, end.as_deref(), false, &mut |k, v| {
            let mut key = ByteReader::new(k.get(skip..).unwrap_or_default());
            match (key.newest_first(), key.actor(), ByteReader::new(v).rkey()) {
                (Some(sort), Some(actor), Some(rkey)) => visit(Fan { actor, rkey, sort }),
                _ => true,
            }
        })
    }

    /// `createdAt` of the record that makes somebody a fan, milliseconds; `None` if it is gone.
    pub fn fan_since(&self, kind: EdgeKind, fan: &Fan) -> Result<Option<i64>> {
        let id = RecordId::from_index(fan.actor, kind.collection(), fan.rkey);
        if id.rkey == fan.rkey {
            let edge = self.snapshot.edge(kind, fan.actor, fan.rkey)?;
            return Ok(edge.map(|edge| edge.created_ms(fan.rkey)));
        }
        let Some(row) = self.snapshot.record(id)? else { return Ok(None) };
        let value = self.snapshot.unpack(&row.packed)?;
        Ok(fields::text(&value, "createdAt").map(normalize_ms))
    }

    fn unordered_fans(&self, kind: EdgeKind, target: Target) -> Result<Vec<Fan>> {
        let mut fans = Vec::new();
        let prefix = rev_prefix(kind, target);
        self.snapshot.scan_prefix(Ks::Rev, &prefix, &mut |k, v| {
            let mut key = ByteReader::new(k.get(prefix.len()..).unwrap_or_default());
            // Longer keys are further records of the same account.
            if let (Some(actor), true, Some(row)) =
                (key.actor(), key.is_empty(), FanRow::decode(target, v))
            {
                fans.push(Fan { actor, rkey: row.rkey, sort: row.sort_ms() });
            }
            fans.len() < MAX_UNORDERED
        })?;
        Ok(fans)
    }

    /// The CID of a like, repost, follow or block; "0" if its record cannot be rebuilt, so that it still has a place in
    /// an order.
    pub fn tie_cid(&self, kind: EdgeKind, actor: ActorId, rkey: Rkey) -> Result<String> {
        let id = RecordId::from_index(actor, kind.collection(), rkey);
        if id.rkey != rkey {
            return self.row_cid(id);
        }
        let Some(edge) = self.snapshot.edge(kind, actor, rkey)? else { return Ok("0".to_owned()) };
        let record = rebuild::edge_record(self.snapshot, kind, actor, rkey, &edge)?;
        Ok(record.map_or_else(|| "0".to_owned(), |(_, digest)| record_cid(&digest)))
    }
}
