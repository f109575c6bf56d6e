//! One record in, one record out: dispatch by collection, compact edges, and records that keep their own row.

use ipld_core::ipld::Ipld;

use super::gates::Gate;
use super::names::Names;
use super::notify::Turn;
use super::reverse_edges::{Linked, Unlinked, link, unlink};
use super::{Index, notify, posts};
use crate::event::{Op, Record};
use crate::private;
use crate::repo::fields;
use crate::schema::rebuild::{Held, edge_record, held_cid, shared_cid};
use crate::schema::rows::{
    Counter, EdgeKind, EdgeRow, FeedRow, RecordRow, SubjectCid, fwd_key, order_item_key,
    order_joined_key, order_via_key,
};
use crate::schema::vacated;
use crate::schema::{ActorId, Edit, PostId, RecordId, Rkey, Rows, Target, collections as c};
use crate::store::{Ks, Reader, StoreError, Tx};
use crate::syntax::{AtUriRef, cid, datetime, is_did};

/// What is known of a path before a record comes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing is held there by all that is known. Edges take that on trust, as putting one twice does no harm; it saves
    /// them two of their five reads.
    Absent,
    /// What is held was made up to this rev, so a key that is a later time is new.
    UpTo(u64),
    /// It has to be looked at.
    Unknown,
}

impl Before {
    pub(super) fn absent_if(absent: bool) -> Self {
        if absent { Self::Absent } else { Self::Unknown }
    }

    fn is_absent(self, rkey: Rkey) -> bool {
        match self {
            Self::Absent => true,
            Self::UpTo(rev) => rkey.is_tid() && rkey.0 > rev,
            Self::Unknown => false,
        }
    }
}

impl Index {
    /// Applies a change as far as the scope admits it. `false` if it leaves the record out; then nothing is held there.
    pub(super) fn op(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        op: &Op,
        time: i64,
        before: Before,
    ) -> Result<bool, StoreError> {
        let admitted = self.admits(tx, actor, op, time)?;
        if admitted || !op.created {
            let record = op.record.as_ref().filter(|_| admitted);
            self.replace(tx, actor, op, record, time, before)?;
        }
        Ok(admitted)
    }

    /// What is held at the path of `op` becomes `record`, whatever the scope is.
    pub(super) fn replace(
        &self,
        tx: &mut Tx<'_>,
        actor: ActorId,
        op: &Op,
        record: Option<&Record>,
        time: i64,
        before: Before,
    ) -> Result<(), StoreError> {
        let coll = match record {
            Some(_) => tx.intern_coll(&op.collection)?,
            None => match tx.coll_id(&op.collection)? {
                Some(coll) => coll,
                None => return Ok(()),
            },
        };
        let rkey = match record {
            Some(_) => tx.intern_rkey(&op.rkey)?,
            None => match tx.rkey(&op.rkey)? {
                Some(rkey) => rkey,
                None => return Ok(()),
            },
        };
        let id = RecordId { actor, coll, rkey };
        match record {
            None => {
                match PostId::of(id) {
                    // The content goes with its stub.
                    Some(post) if post.is_community() => drop(private::withdraw(self, tx, post)?),
                    Some(post) => posts::vacate(tx, post, time)?,
                    None => {}
                }
                self.delete(tx, id, time)
            }
            Some(record) => {
                self.not_cached(tx, id)?;
                if before.is_absent(rkey) && EdgeKind::compact(coll).is_some() {
                    self.insert(tx, id, record, time)?;
                    self.log.put(tx, id, record.cid, true);
                    Ok(())
                } else {
                    self.upsert(tx, id, record, time)
                }
            }
        }
    }

    /// An update is a delete and an insert, so that each rule is written once.
    fn upsert(
        &self,
        tx: &mut Tx<'_>,
        id: RecordId,
        record: &Record,
        time: i64,
    ) -> Result<(), StoreError> {
        let mut same = false;
        let held = held_cid(tx, id)?;
        if let Some(held) = held {
            if held == Held::Cid(record.cid) {
                return Ok(());
            }
            same = self.log.log.is_on() && edge_cid(tx, id)? == Some(record.cid);
            self.take(tx, id, time)?;
        }
        self.insert(tx, id, record, time)?;
        // An edge that comes again is put again, as its CID is in no row, but it is no change.
        if !same {
            self.log.put(tx, id, record.cid, held.is_none());
        }
        Ok(())
    }

    /// `id` is not held.
    fn insert(
        &self,
        tx: &mut Tx<'_>,
        id: RecordId,
        record: &Record,
        time: i64,
    ) -> Result<(), StoreError> {
        self.tell_of(tx, id, time)?;
        if !record.valid {
            return put_record(tx, id, record, time, false);
        }
        match id.coll {
            c::POST => posts::insert(self, tx, id, record, time),
            c::LIKE | c::REPOST | c::FOLLOW | c::BLOCK => self.insert_edge(tx, id, record, time),
            _ => self.insert_record(tx, id, record, time),
        }
    }

    /// Takes a record and its effects away. `time` dates the notification that a verification is gone.
    pub(super) fn delete(
        &self,
        tx: &mut Tx<'_>,
        id: RecordId,
        time: i64,
    ) -> Result<(), StoreError> {
        if let Some(taken) = self.take(tx, id, time)? {
            // Another version of a profile does not take back that somebody joined.
            if id.coll == c::PROFILE && id.rkey == Rkey::SELF {
                notify::gone(self, tx, id)?;
            }
            if taken.thread {
                vacated::clear(tx, posts::post_id(id))?;
            }
            self.log.delete(tx, id, taken.target);
        }
        Ok(())
    }

    /// Does that and tells nobody, as another version follows; `None` if nothing is held there.
    fn take(&self, tx: &mut Tx<'_>, id: RecordId, time: i64) -> Result<Option<Taken>, StoreError> {
        self.not_cached(tx, id)?;
        self.lost(id);
        if id.coll == c::POST && tx.has(Ks::Post, &posts::key(id))? {
            let thread = posts::delete(self, tx, id)?;
            return Ok(Some(Taken { target: None, thread }));
        }
        if let Some(kind) = EdgeKind::compact(id.coll)
            && let Some(edge) = tx.edge(kind, id.actor, id.rkey)?
        {
            self.delete_edge(tx, kind, id, &edge)?;
            return Ok(Some(Taken { target: Some(edge.target), thread: false }));
        }
        let Some(row) = tx.record(id)? else { return Ok(None) };
        tx.del(Ks::Record, &id.to_bytes());
        if row.valid {
            let value = tx.unpack(&row.packed)?;
            self.unindex_record(tx, id, &row, &value, time)?;
            tx.touch(id.actor);
        }
        keep_subject_cid(tx, Target::of(id), row.cid, &row.packed)?;
        self.subject_cids.forget(Target::of(id));
        Ok(Some(Taken { target: None, thread: false }))
    }

    fn insert_edge(
        &self,
        tx: &mut Tx<'_>,
        id: RecordId,
        record: &Record,
        time: i64,
    ) -> Result<(), StoreError> {
        let Some(kind) = EdgeKind::compact(id.coll) else { return Ok(()) };
        let Some(subject) = subject(kind, &record.value) else {
            return put_record(tx, id, record, time, false);
        };
        let Some(target) = tx.intern_target(subject.uri)? else {
            return put_record(tx, id, record, time, false);
        };
        let created = fields::created_ms(&record.value);
        let cid = match subject.cid {
            None => SubjectCid::None,
            Some(text) => match cid::parse_strict(text).and_then(|c| cid::digest(&c)) {
                Some(digest) => self.agree(tx, target, digest)?,
                None => SubjectCid::Shared,
            },
        };
        let edge = EdgeRow {
            target,
            created_delta: created.saturating_sub(id.rkey.millis()),
            sort_delta: created.min(time).saturating_sub(created),
            cid,
            kept: !rebuilds(kind, &record.value, created),
        };
        tx.put(Ks::Fwd, &fwd_key(kind, id.actor, id.rkey), &edge.encode(id.rkey));
        if edge.kept {
            put_record(tx, id, record, time, true)?;
        }
        let sort = edge.sort_ms(id.rkey);
        if kind == EdgeKind::Repost
            && let Target::Post(post) = target
        {
            let row = FeedRow { sort, rkey: id.rkey, flags: 0, repost_of: Some(post) };
            tx.put(Ks::Feed, &row.key(id.actor), &row.encode());
            tx.touch(id.actor);
        }
        if link(tx, kind, target, id.actor, id.rkey, sort)? == Linked::New {
            if kind == EdgeKind::Follow {
                tx.count(Target::Actor(id.actor), Counter::Follows, 1)?;
                tx.touch(id.actor);
                tx.touch(target.actor());
                self.keep_followed(tx, id.actor, target.actor())?;
            }
            let via = via_repost(tx, fields::ref_uri(&record.value, "via"))?;
            if let Some(repost) = via {
                tx.put(Ks::Order, &order_via_key(repost, sort, kind, id.actor, id.rkey), &[]);
            }
            notify::edge(self, tx, kind, id, target, via, sort, Turn::Came)?;
        }
        if kind == EdgeKind::Block {
            tx.touch(id.actor);
        }
        Ok(())
    }

    fn delete_edge(
        &self,
        tx: &mut Tx<'_>,
        kind: EdgeKind,
        id: RecordId,
        edge: &EdgeRow,
    ) -> Result<(), StoreError> {
        let sort = edge.sort_ms(id.rkey);
        let mut via = None;
        if edge.kept {
            if let Some(row) = tx.record(id)? {
                let value = tx.unpack(&row.packed)?;
                via = fields::ref_uri(&value, "via").map(str::to_owned);
            }
            tx.del(Ks::Record, &id.to_bytes());
        }
        tx.del(Ks::Fwd, &fwd_key(kind, id.actor, id.rkey));
        if kind == EdgeKind::Repost
            && let Target::Post(post) = edge.target
        {
            tx.del(
                Ks::Feed,
                &FeedRow { sort, rkey: id.rkey, flags: 0, repost_of: Some(post) }.key(id.actor),
            );
            tx.touch(id.actor);
        }
        if unlink(tx, kind, edge.target, id.actor, id.rkey)? == Unlinked::Gone
            && kind == EdgeKind::Follow
        {
            tx.count(Target::Actor(id.actor), Counter::Follows, -1)?;
            tx.touch(id.actor);
            tx.touch(edge.target.actor());
            self.unkeep_followed(tx, id.actor, edge.target.actor());
        }
        if kind == EdgeKind::Block {
            tx.touch(id.actor);
        }
        let via = via_repost(tx, via.as_deref())?;
        if let Some(repost) = via {
            tx.del(Ks::Order, &order_via_key(repost, sort, kind, id.actor, id.rkey));
        }
        notify::edge(self, tx, kind, id, edge.target, via, sort, Turn::Went)
    }

    /// How an edge states the CID of its subject: shared with the others, or its own.
    fn agree(
        &self,
        tx: &mut Tx<'_>,
        target: Target,
        digest: [u8; 32],
    ) -> Result<SubjectCid, StoreError> {
        if let Some(same) = self.subject_cids.is(target, &digest) {
            return Ok(if same { SubjectCid::Shared } else { SubjectCid::Own(digest) });
        }
        let known = shared_cid(tx, target)?;
        if known.is_none() {
            tx.put(Ks::Cid, &target.key(), &digest);
        }
        let known = known.unwrap_or(digest);
        self.subject_cids.remember(target, &known);
        Ok(if known == digest { SubjectCid::Shared } else { SubjectCid::Own(digest) })
    }

    fn insert_record(
        &self,
        tx: &mut Tx<'_>,
        id: RecordId,
        record: &Record,
        time: i64,
    ) -> Result<(), StoreError> {
        let valid = self.index_record(tx, id, &record.value, sort(&record.value, time))?;
        tx.touch(id.actor);
        put_record(tx, id, record, time, valid)?;
        if valid && id.coll == c::THREADGATE {
            super::gates::reach_down(self, tx, id)
        } else {
            Ok(())
        }
    }

    /// The effects of a record that has its own row; `false` if it breaks a rule that a lexicon cannot state.
    fn index_record(
        &self,
        tx: &mut Tx<'_>,
        id: RecordId,
        v: &Ipld,
        sort: i64,
    ) -> Result<bool, StoreError> {
        let me = Target::Actor(id.actor);
        let own = Target::of(id);
        match id.coll {
            c::LISTBLOCK => {
                let Some(list) = text_target(tx, v, "subject")? else { return Ok(false) };
                link(tx, EdgeKind::ListBlock, list, id.actor, id.rkey, sort)?;
            }
            c::LISTITEM => {
                let Some((list, member)) = list_item(tx, id, v)? else { return Ok(false) };
                link(tx, EdgeKind::ListItem, list, member, id.rkey, sort)?;
                tx.put(Ks::Order, &order_item_key(list, sort, id.rkey), &member.0.to_be_bytes());
                tx.touch(member);
            }
            c::VERIFICATION => {
                let Some(subject) = text_target(tx, v, "subject")? else { return Ok(false) };
                link(tx, EdgeKind::Verification, subject, id.actor, id.rkey, sort)?;
                tx.touch(subject.actor());
                notify::verification(self, tx, id, subject.actor(), sort, Turn::Came)?;
            }
            c::COMMUNITY_LIKE | c::COMMUNITY_REPOST => {
                if let Some((kind, index_id, post)) = community_edge(tx, id, v)?
                    && link(tx, kind, post, id.actor, index_id.rkey, sort)? == Linked::New
                {
                    notify::edge(self, tx, kind, index_id, post, None, sort, Turn::Came)?;
                }
            }
            c::THREADGATE => return super::gates::put_gate(tx, id, v, Gate::Thread),
            c::POSTGATE => return super::gates::put_gate(tx, id, v, Gate::Post),
            c::PROFILE if id.rkey == Rkey::SELF => {
                if let Some(pack) = starter_pack(tx, v)? {
                    tx.count(pack, Counter::Joined, 1)?;
                    tx.put(Ks::Order, &order_joined_key(pack, sort, id.actor), &[]);
                    notify::joined(self, tx, id, pack, sort)?;
                }
            }
            c::LIST => drop(tx.count(me, Counter::Lists, 1)?),
            c::GENERATOR => drop(tx.count(me, Counter::Feeds, 1)?),
            c::STARTERPACK => drop(tx.count(me, Counter::StarterPacks, 1)?),
            _ => {}
        }
        self.subject_cids.forget(own);
        Ok(true)
    }

    fn unindex_record(
        &self,
        tx: &mut Tx<'_>,
        id: RecordId,
        row: &RecordRow,
        v: &Ipld,
        time: i64,
    ) -> Result<(), StoreError> {
        let me = Target::Actor(id.actor);
        match id.coll {
            c::LISTBLOCK => {
                if let Some(list) = text_target(tx, v, "subject")? {
                    unlink(tx, EdgeKind::ListBlock, list, id.actor, id.rkey)?;
                }
            }
            c::LISTITEM => {
                if let Some((list, member)) = list_item(tx, id, v)? {
                    unlink(tx, EdgeKind::ListItem, list, member, id.rkey)?;
                    tx.del(Ks::Order, &order_item_key(list, row.sort, id.rkey));
                    tx.touch(member);
                }
            }
            c::VERIFICATION => {
                if let Some(subject) = text_target(tx, v, "subject")? {
                    unlink(tx, EdgeKind::Verification, subject, id.actor, id.rkey)?;
                    tx.touch(subject.actor());
                    let sort = time.max(row.sort);
                    notify::verification(self, tx, id, subject.actor(), sort, Turn::Went)?;
                }
            }
            c::COMMUNITY_LIKE | c::COMMUNITY_REPOST => {
                if let Some((kind, index_id, post)) = community_edge(tx, id, v)? {
                    unlink(tx, kind, post, id.actor, index_id.rkey)?;
                    notify::edge(self, tx, kind, index_id, post, None, row.sort, Turn::Went)?;
                }
            }
            c::THREADGATE => super::gates::gate_gone(tx, id, Gate::Thread)?,
            c::POSTGATE => super::gates::gate_gone(tx, id, Gate::Post)?,
            c::PROFILE if id.rkey == Rkey::SELF => {
                if let Some(pack) = starter_pack(tx, v)? {
                    tx.count(pack, Counter::Joined, -1)?;
                    tx.del(Ks::Order, &order_joined_key(pack, row.sort, id.actor));
                }
            }
            c::LIST => drop(tx.count(me, Counter::Lists, -1)?),
            c::GENERATOR => drop(tx.count(me, Counter::Feeds, -1)?),
            c::STARTERPACK => drop(tx.count(me, Counter::StarterPacks, -1)?),
            _ => {}
        }
        Ok(())
    }
}

/// What was held under a record's address.
struct Taken {
    /// What it pointed at, if it was an edge.
    target: Option<Target>,
    /// Whether it was a post that may have begun a thread.
    thread: bool,
}

/// The CID of the record that an edge is.
fn edge_cid(tx: &Tx<'_>, id: RecordId) -> Result<Option<[u8; 32]>, StoreError> {
    let Some(kind) = EdgeKind::compact(id.coll) else { return Ok(None) };
    let Some(edge) = tx.edge(kind, id.actor, id.rkey)? else { return Ok(None) };
    let record = edge_record(tx, kind, id.actor, id.rkey, &edge)?;
    Ok(record.map(|(_, digest)| digest))
}

/// The repost that a like or repost came through.
pub(super) fn via_repost(
    names: &mut impl Names,
    uri: Option<&str>,
) -> Result<Option<Target>, StoreError> {
    Ok(match uri {
        Some(uri) => {
            names.subject(uri)?.filter(|t| matches!(t, Target::Record(r) if r.coll == c::REPOST))
        }
        None => None,
    })
}

/// A subject goes or changes: edges that share its CID must still find it.
pub(super) fn keep_subject_cid(
    tx: &mut Tx<'_>,
    target: Target,
    cid: Option<[u8; 32]>,
    packed: &[u8],
) -> Result<(), StoreError> {
    let agg = tx.agg(target)?;
    if (agg.get(Counter::Likes) > 0 || agg.get(Counter::Reposts) > 0)
        && !tx.has(Ks::Cid, &target.key())?
    {
        let digest = tx.digest(cid, packed)?;
        tx.put(Ks::Cid, &target.key(), &digest);
    }
    Ok(())
}

fn put_record(
    tx: &mut Tx<'_>,
    id: RecordId,
    record: &Record,
    time: i64,
    valid: bool,
) -> Result<(), StoreError> {
    let (packed, cid) = tx.pack_record(&record.value, record.cid)?;
    let sort = sort(&record.value, time);
    let row = RecordRow { cid, indexed: time, sort, valid, packed };
    tx.put(Ks::Record, &id.to_bytes(), &row.encode());
    Ok(())
}

/// `sortAt`; records of some kinds have no `createdAt`.
fn sort(v: &Ipld, time: i64) -> i64 {
    match fields::text(v, "createdAt") {
        Some(_) => fields::created_ms(v).min(time),
        None => time,
    }
}

struct Subject<'a> {
    uri: &'a str,
    cid: Option<&'a str>,
}

fn subject(kind: EdgeKind, v: &Ipld) -> Option<Subject<'_>> {
    match kind {
        EdgeKind::Like | EdgeKind::Repost => {
            let s = fields::field(v, "subject")?;
            Some(Subject { uri: fields::text(s, "uri")?, cid: Some(fields::text(s, "cid")?) })
        }
        _ => fields::text(v, "subject").filter(|s| is_did(s)).map(|uri| Subject { uri, cid: None }),
    }
}

/// Whether the record is exactly what `store::rebuild` would make of its edge.
fn rebuilds(kind: EdgeKind, v: &Ipld, created: i64) -> bool {
    let Ipld::Map(map) = v else { return false };
    let created_text = fields::text(v, "createdAt").unwrap_or_default();
    if map.len() != 3 || created_text.len() != 24 || datetime::format_ms(created) != created_text {
        return false;
    }
    match kind {
        EdgeKind::Like | EdgeKind::Repost => {
            let Some(Ipld::Map(s)) = map.get("subject") else { return false };
            let (Some(Ipld::String(uri)), Some(Ipld::String(text))) = (s.get("uri"), s.get("cid"))
            else {
                return false;
            };
            // The text of the URI comes back from interned parts, so it must have nothing else in it.
            let plain = AtUriRef::parse(uri).is_some_and(|u| {
                let len = u.collection.map_or(0, str::len)
                    + u.rkey.map_or(0, str::len)
                    + u.authority.len();
                u.rkey.is_some() && len + "at:////".len() == uri.len()
            });
            s.len() == 2 && plain && text.starts_with("bafyrei") && text.len() == 59
        }
        _ => matches!(map.get("subject"), Some(Ipld::String(_))),
    }
}

pub(super) fn text_target(
    names: &mut impl Names,
    v: &Ipld,
    key: &str,
) -> Result<Option<Target>, StoreError> {
    match fields::text(v, key) {
        Some(text) => names.subject(text),
        None => Ok(None),
    }
}

/// What a like or repost of the community is in the indexes, and its subject; `None` unless that is a community post.
pub(super) fn community_edge(
    names: &mut impl Names,
    id: RecordId,
    v: &Ipld,
) -> Result<Option<(EdgeKind, RecordId, Target)>, StoreError> {
    let Some((coll, rkey)) = id.indexed() else { return Ok(None) };
    let Some((kind, uri)) = EdgeKind::compact(coll).zip(fields::ref_uri(v, "subject")) else {
        return Ok(None);
    };
    let post = names.subject(uri)?.filter(|target| target.is_community());
    Ok(post.map(|post| (kind, RecordId { coll, rkey, ..id }, post)))
}

/// List and member of an item; `None` when the list is in another repo.
pub(super) fn list_item(
    names: &mut impl Names,
    id: RecordId,
    v: &Ipld,
) -> Result<Option<(Target, ActorId)>, StoreError> {
    let (Some(list), Some(member)) =
        (text_target(names, v, "list")?, text_target(names, v, "subject")?)
    else {
        return Ok(None);
    };
    let own = matches!(list, Target::Record(l) if l.actor == id.actor && l.coll == c::LIST);
    Ok((own && matches!(member, Target::Actor(_))).then(|| (list, member.actor())))
}

pub(super) fn starter_pack(names: &mut impl Names, v: &Ipld) -> Result<Option<Target>, StoreError> {
    match fields::ref_uri(v, "joinedViaStarterPack") {
        Some(uri) => Ok(names
            .subject(uri)?
            .filter(|t| matches!(t, Target::Record(r) if r.coll == c::STARTERPACK))),
        None => Ok(None),
    }
}
