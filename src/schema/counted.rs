//! What is counted of accounts and records, row by row, for who looks for the largest.

use super::bytes::ByteReader;
use super::rows::AggRow;
use super::{ActorId, RecordId, Target, whole};
use crate::store::{Ks, Reader, Snapshot, StoreError};

/// Visits what is counted of accounts, in the order of their numbers, from `from` on; `false` ends it.
pub fn each_counted_account(
    s: &Snapshot,
    from: ActorId,
    visit: &mut dyn FnMut(ActorId, &AggRow) -> bool,
) -> Result<(), StoreError> {
    each_counted(s, Target::Actor(from), &mut |target, agg| match target {
        Target::Actor(actor) => visit(actor, agg),
        _ => false,
    })
}

/// Visits what is counted of records that are no posts, in the order of their keys, from `from` on; `false` ends it.
pub fn each_counted_record(
    s: &Snapshot,
    from: RecordId,
    visit: &mut dyn FnMut(RecordId, &AggRow) -> bool,
) -> Result<(), StoreError> {
    each_counted(s, Target::Record(from), &mut |target, agg| match target {
        Target::Record(record) => visit(record, agg),
        _ => false,
    })
}

fn each_counted(
    s: &Snapshot,
    from: Target,
    visit: &mut dyn FnMut(Target, &AggRow) -> bool,
) -> Result<(), StoreError> {
    s.scan(Ks::Agg, &from.key(), None, false, &mut |key, value| {
        let row = ByteReader::new(key).target().zip(AggRow::decode(value));
        whole(Ks::Agg, key, row).is_none_or(|(target, agg)| visit(target, &agg))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hydrate::testing::{Fixture, NOW};
    use crate::schema::rows::{Counter, EdgeKind};

    #[test]
    fn accounts_and_records_apart_from_where_one_likes() {
        let f = Fixture::new();
        let [a, b] = ["a", "b"].map(|name| f.account(name));
        f.follow(a, b);
        let post = f.post(a, NOW, serde_json::json!({}));
        f.edge(EdgeKind::Like, b, Target::Post(post), NOW);
        let list = f.list(a, "3klist", crate::hydrate::graph::CURATELIST, &[b]);
        let s = f.snapshot();
        let (mut accounts, mut records) = (Vec::new(), Vec::new());
        each_counted_account(&s, b, &mut |id, agg| {
            accounts.push((id, agg.get(Counter::Followers)));
            true
        })
        .unwrap();
        let first = RecordId { actor: ActorId(0), ..list };
        each_counted_record(&s, first, &mut |id, agg| {
            records.push((id, agg.get(Counter::Items)));
            true
        })
        .unwrap();
        assert_eq!((accounts, records), (vec![(b, 1)], vec![(list, 1)]));
    }
}
