//! Who follows whom, and what is counted of whom, in pieces whose size the caller bounds: for those who look over many
//! accounts at once and need none of them whole.

use ipld_core::ipld::Ipld;

use super::bytes::ByteReader;
use super::rows::{
    EdgeKind, EdgeRow, FanRow, FeedRow, Order, RecordRow, fans_prefix, feed_prefix, fwd_prefix,
    order_prefix, rev_prefix,
};
use super::{ActorId, CollId, Key, PostId, RecordId, Rkey, Rows, Target, collections, whole};
use crate::store::{Ks, Reader, Snapshot, StoreError, prefix_end};

/// Followers of an account that are read to find the newest, where they are not in order. The index puts them in order
/// before they are so many; only records that name an account twice come beyond.
const UNORDERED: usize = 4_096;
/// Entries of a feed that are looked at for a post among reposts.
const REPOSTS: usize = 32;

/// Whom an account follows by its newest `most` records, the newest first. An account that is followed twice is there
/// twice.
pub fn newest_follows(
    s: &Snapshot,
    actor: ActorId,
    most: usize,
) -> Result<Vec<ActorId>, StoreError> {
    let mut out = Vec::new();
    let prefix = fwd_prefix(EdgeKind::Follow, actor);
    let end = prefix_end(&prefix);
    s.scan(Ks::Fwd, &prefix, end.as_deref(), true, &mut |key, value| {
        let edge = whole(Ks::Fwd, key, EdgeRow::decode(key, value));
        out.extend(edge.map(|edge| edge.target.actor()));
        out.len() < most
    })?;
    Ok(out)
}

/// The newest `most` accounts that have a record of a kind on a target, the newest first.
pub fn newest_fans(
    s: &Snapshot,
    kind: EdgeKind,
    target: Target,
    most: usize,
) -> Result<Vec<ActorId>, StoreError> {
    if s.agg(target)?.is_ordered(kind) {
        let (mut out, prefix) = (Vec::new(), fans_prefix(kind, target));
        s.scan_prefix(Ks::Order, &prefix, &mut |key, _| {
            let mut rest = ByteReader::new(key.get(prefix.len()..).unwrap_or_default());
            out.extend(rest.newest_first().and_then(|_| rest.actor()));
            out.len() < most
        })?;
        return Ok(out);
    }
    let (mut fans, mut read, prefix) = (Vec::new(), 0, rev_prefix(kind, target));
    s.scan_prefix(Ks::Rev, &prefix, &mut |key, value| {
        let mut rest = ByteReader::new(key.get(prefix.len()..).unwrap_or_default());
        // Longer keys are further records of the same account.
        let fan = rest.actor().filter(|_| rest.is_empty());
        fans.extend(fan.zip(FanRow::decode(target, value)).map(|(fan, row)| (row.sort_ms(), fan)));
        read += 1;
        read < UNORDERED
    })?;
    fans.sort_unstable_by_key(|(sort, fan)| (std::cmp::Reverse(*sort), *fan));
    Ok(fans.into_iter().take(most).map(|(_, fan)| fan).collect())
}

/// Some accounts that have a record of a kind on a target, no more than `most`: those that were seen here first.
pub fn some_fans(
    s: &Snapshot,
    kind: EdgeKind,
    target: Target,
    most: usize,
) -> Result<Vec<ActorId>, StoreError> {
    let (mut out, prefix) = (Vec::new(), rev_prefix(kind, target));
    s.scan_prefix(Ks::Rev, &prefix, &mut |key, _| {
        let mut rest = ByteReader::new(key.get(prefix.len()..).unwrap_or_default());
        // Longer keys are further records of the same account.
        let fan = rest.actor().filter(|_| rest.is_empty());
        out.extend(fan);
        out.len() < most
    })?;
    Ok(out)
}

/// Members of a list by its newest `most` items. Who is on it twice is there twice.
pub fn newest_members(
    s: &Snapshot,
    list: RecordId,
    most: usize,
) -> Result<Vec<ActorId>, StoreError> {
    let mut out = Vec::new();
    let prefix = order_prefix(Order::Items, Target::Record(list));
    s.scan_prefix(Ks::Order, &prefix, &mut |_, value| {
        out.extend(ByteReader::new(value).actor());
        out.len() < most
    })?;
    Ok(out)
}

/// How many joined through a starter pack since a time, at most `most`.
pub fn joined_since(
    s: &Snapshot,
    pack: RecordId,
    since: i64,
    most: usize,
) -> Result<usize, StoreError> {
    let lo = order_prefix(Order::Joined, Target::Record(pack));
    let hi = lo.clone().newest_first(since);
    let mut count = 0;
    s.scan(Ks::Order, &lo, Some(&hi), false, &mut |_, _| {
        count += 1;
        count < most
    })?;
    Ok(count)
}

/// How many have a record of a kind on a target that is newer than a time, of the newest `most`; where they are not in
/// order, of those that are found first.
pub fn fans_since(
    s: &Snapshot,
    kind: EdgeKind,
    target: Target,
    since: i64,
    most: usize,
) -> Result<usize, StoreError> {
    let mut count = 0;
    if s.agg(target)?.is_ordered(kind) {
        let lo = fans_prefix(kind, target);
        let hi = lo.clone().newest_first(since);
        s.scan(Ks::Order, &lo, Some(&hi), false, &mut |_, _| {
            count += 1;
            count < most
        })?;
        return Ok(count);
    }
    let mut read = 0;
    s.scan_prefix(Ks::Rev, &rev_prefix(kind, target), &mut |_, value| {
        let row = FanRow::decode(target, value);
        count += usize::from(row.is_some_and(|row| row.sort_ms() > since));
        read += 1;
        read < UNORDERED && count < most
    })?;
    Ok(count)
}

/// The newest `most` records of an account in a collection, by their keys.
pub fn newest_records(
    s: &Snapshot,
    actor: ActorId,
    coll: CollId,
    most: usize,
) -> Result<Vec<RecordId>, StoreError> {
    let (mut out, prefix) = (Vec::new(), Key::new().actor(actor).u32(coll.0));
    let end = prefix_end(&prefix);
    s.scan(Ks::Record, &prefix, end.as_deref(), true, &mut |key, _| {
        out.extend(RecordId::from_bytes(key));
        out.len() < most
    })?;
    Ok(out)
}

/// The profile of an account as it is written, read once and kept by no cache.
pub fn profile(s: &Snapshot, actor: ActorId) -> Result<Option<Ipld>, StoreError> {
    profile_within(s, actor, usize::MAX)
}

/// The same of one that takes no more memory than `most`: for those who read many while somebody waits.
pub fn profile_within(
    s: &Snapshot,
    actor: ActorId,
    most: usize,
) -> Result<Option<Ipld>, StoreError> {
    let id = RecordId { actor, coll: collections::PROFILE, rkey: Rkey::SELF };
    match s.once(Ks::Record, &id.to_bytes(), RecordRow::decode)? {
        Some(row) if row.valid => {
            let profile = s.unpack_within(&row.packed, most)?;
            Ok(profile.map(|(profile, _)| profile))
        }
        _ => Ok(None),
    }
}

/// The newest post of an account and its time; `None` if there is none, or much was reposted since.
pub fn newest_post(s: &Snapshot, actor: ActorId) -> Result<Option<(PostId, i64)>, StoreError> {
    let (mut found, mut read) = (None, 0);
    s.scan_prefix(Ks::Feed, &feed_prefix(actor), &mut |key, value| {
        let row = whole(Ks::Feed, key, FeedRow::decode(key, value));
        let post = row.filter(|(_, row)| row.repost_of.is_none());
        found = post.map(|(author, row)| (PostId { author, rkey: row.rkey }, row.sort));
        read += 1;
        found.is_none() && read < REPOSTS
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hydrate::testing::{Fixture, NOW};
    use crate::schema::Edit as _;

    #[test]
    fn the_newest_come_first_and_no_more_than_are_asked_for() {
        let f = Fixture::new();
        let people: Vec<ActorId> = (0..6).map(|n| f.account(&format!("p{n}"))).collect();
        for (age, other) in [3_000, 1_000, 2_000].into_iter().zip(&people[1..4]) {
            f.edge(EdgeKind::Follow, people[0], Target::Actor(*other), NOW - age);
            f.edge(EdgeKind::Follow, *other, Target::Actor(people[5]), NOW - age);
        }
        let s = f.snapshot();
        let order = [people[2], people[3], people[1]];
        assert_eq!(newest_follows(&s, people[0], 9).unwrap(), order);
        assert_eq!(newest_follows(&s, people[0], 2).unwrap(), order[..2]);
        let followers = |most| newest_fans(&s, EdgeKind::Follow, Target::Actor(people[5]), most);
        assert_eq!(followers(9).unwrap(), order);
        assert_eq!(followers(1).unwrap(), order[..1]);
        let some = |most| some_fans(&s, EdgeKind::Follow, Target::Actor(people[5]), most).unwrap();
        assert_eq!((some(2), some(9)), (people[1..3].to_vec(), people[1..4].to_vec()));
        let name = profile(&s, people[0]).unwrap().unwrap();
        assert_eq!(crate::repo::fields::text(&name, "displayName"), Some("P0"));
    }

    #[test]
    fn members_records_and_what_is_new() {
        let f = Fixture::new();
        let [a, b, d] = ["a", "b", "d"].map(|name| f.account(name));
        let list = f.list(a, "3klist", crate::hydrate::graph::CURATELIST, &[b, d]);
        let s = f.snapshot();
        assert_eq!(newest_members(&s, list, 9).unwrap(), [d, b]);
        assert_eq!(newest_members(&s, list, 1).unwrap(), [d]);
        assert_eq!(newest_records(&s, a, list.coll, 9).unwrap(), [list]);
        assert_eq!(newest_records(&s, b, list.coll, 9).unwrap(), []);
        let target = Target::Record(list);
        f.edge(EdgeKind::Like, b, target, NOW - 500);
        f.edge(EdgeKind::Like, d, target, NOW);
        f.write(move |tx| {
            let key = crate::schema::rows::order_joined_key(target, NOW - 500, d);
            tx.put(Ks::Order, &key, &[]);
            Ok(())
        });
        let s = f.snapshot();
        let likes = |since| fans_since(&s, EdgeKind::Like, target, since, 9).unwrap();
        assert_eq!([likes(NOW - 501), likes(NOW - 400), likes(NOW)], [2, 1, 0]);
        assert_eq!(fans_since(&s, EdgeKind::Like, target, 0, 1).unwrap(), 1);
        let joined = |since| joined_since(&s, list, since, 9).unwrap();
        assert_eq!([joined(NOW - 501), joined(NOW - 400)], [1, 0]);
    }

    #[test]
    fn followers_that_are_in_order_are_read_in_it() {
        let f = Fixture::new();
        let [star, a, b] = ["star", "a", "b"].map(|name| f.account(name));
        f.follow(a, star);
        let target = Target::Actor(star);
        f.write(move |tx| {
            tx.update_agg(target, |agg| agg.set_ordered(EdgeKind::Follow))?;
            for (fan, sort) in [(a, NOW - 5), (b, NOW)] {
                let key = crate::schema::rows::fan_key(EdgeKind::Follow, target, sort, fan);
                tx.put(Ks::Order, &key, &[0; 8]);
            }
            Ok(())
        });
        let found = newest_fans(&f.snapshot(), EdgeKind::Follow, target, 9).unwrap();
        assert_eq!(found, [b, a]);
    }

    #[test]
    fn the_newest_post_is_no_repost() {
        let f = Fixture::new();
        let [a, b] = ["a", "b"].map(|name| f.account(name));
        let post = f.post(a, NOW - 500, serde_json::json!({}));
        f.repost(a, post, NOW);
        f.repost(b, post, NOW);
        let s = f.snapshot();
        assert_eq!(newest_post(&s, a).unwrap(), Some((post, NOW - 500)));
        assert_eq!(newest_post(&s, b).unwrap(), None);
    }
}
