//! Posts: their row, feed entry, place in threads, quotes and mentions, and what a late one repairs.

use ipld_core::ipld::Ipld;

use super::gates::{Gate, Known};
use super::names::Names;
use super::{Index, gates, notify, records};
use crate::event::Record;
use crate::repo::fields;
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{
    Counter, FeedRow, Order, PostRow, VacatedRow, order_post_key, order_prefix, post_flags as f,
};
use crate::schema::vacated;
use crate::schema::{ActorId, Edit, PostId, RecordId, Rows, Target, collections as c};
use crate::store::{Ks, Reader, StoreError, Tx};

/// How far up a thread a reply notifies.
pub(super) const REPLY_NOTIF_DEPTH: usize = 5;
/// Replies of one thread that a late gate or root looks at again.
const REPAIR_LIMIT: usize = 5000;

pub(super) fn key(id: RecordId) -> [u8; 12] {
    post_id(id).to_bytes()
}

pub(super) fn post_id(id: RecordId) -> PostId {
    PostId { author: id.actor, rkey: id.rkey }
}

/// What a post says about others, as numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Refs {
    pub(super) root: Option<PostId>,
    pub(super) parent: Option<PostId>,
    pub(super) is_reply: bool,
    /// The record embedded, posts and others.
    pub(super) embed: Option<Target>,
    pub(super) mentions: Vec<ActorId>,
    pub(super) media: bool,
    pub(super) video: bool,
}

impl Refs {
    pub(super) fn flags(&self) -> u16 {
        let on = |set: bool, flag: u16| if set { flag } else { 0 };
        on(self.is_reply, f::REPLY)
            | on(self.media, f::MEDIA)
            | on(self.video, f::VIDEO)
            | on(self.embed.is_some(), f::QUOTE)
    }

    pub(super) fn quoted(&self) -> Option<PostId> {
        match self.embed {
            Some(Target::Post(p)) => Some(p),
            _ => None,
        }
    }
}

/// Reads the references out of a post.
pub(super) fn refs(names: &mut impl Names, v: &Ipld) -> Result<Refs, StoreError> {
    let mut out = Refs::default();
    if let Some(reply) = fields::field(v, "reply") {
        out.is_reply = true;
        out.root = post_ref(names, fields::ref_uri(reply, "root"))?;
        out.parent = post_ref(names, fields::ref_uri(reply, "parent"))?;
    }
    if let Some(embed) = fields::field(v, "embed") {
        let (record, media) = match fields::kind(embed) {
            "app.bsky.embed.record" => (Some(embed), None),
            "app.bsky.embed.recordWithMedia" => {
                (fields::field(embed, "record"), fields::field(embed, "media"))
            }
            _ => (None, Some(embed)),
        };
        if let Some(uri) = record.and_then(|r| fields::ref_uri(r, "record")) {
            out.embed = names.subject(uri)?.filter(|t| t.record().is_some());
        }
        let media = media.map(fields::kind).unwrap_or_default();
        out.media = matches!(media, "app.bsky.embed.images" | "app.bsky.embed.gallery");
        out.video = media == "app.bsky.embed.video";
    }
    for did in mentions(v) {
        let Some(actor) = names.account(did)? else { continue };
        if !out.mentions.contains(&actor) {
            out.mentions.push(actor);
        }
    }
    Ok(out)
}

/// The DIDs that facets mention, in their order.
pub(super) fn mentions(v: &Ipld) -> impl Iterator<Item = &str> {
    fields::features(v)
        .filter(|feature| fields::kind(feature) == "app.bsky.richtext.facet#mention")
        .filter_map(|feature| fields::text(feature, "did"))
        .filter(|did| crate::syntax::is_did(did))
}

fn post_ref(names: &mut impl Names, uri: Option<&str>) -> Result<Option<PostId>, StoreError> {
    Ok(match uri {
        Some(uri) => match names.subject(uri)? {
            Some(Target::Post(p)) => Some(p),
            _ => None,
        },
        None => None,
    })
}

pub(super) fn insert(
    index: &Index,
    tx: &mut Tx<'_>,
    id: RecordId,
    record: &Record,
    time: i64,
) -> Result<(), StoreError> {
    let post = post_id(id);
    let refs = refs(tx, &record.value)?;
    let sort = fields::created_ms(&record.value).min(time);
    let mut flags = refs.flags();
    flags |= gates::flags_of_post(tx, post)?;
    if refs.is_reply {
        flags |= reply_flags(tx, post, &refs, sort, Known::Now)?;
    }
    if let Some(quoted) = refs.quoted()
        && gates::forbids_embedding(tx, quoted, post.author)?
    {
        flags |= f::VIOLATES_EMBEDDING;
    }
    let (packed, cid) = tx.pack_record(&record.value, record.cid)?;
    let row = PostRow { flags, cid, sort_delta: sort.saturating_sub(id.rkey.millis()), packed };
    tx.put(Ks::Post, &post.to_bytes(), &row.encode());
    forget_shared_cid(index, tx, post, record.cid)?;
    place(tx, post, &refs, flags, sort)?;
    tx.count(Target::Actor(post.author), Counter::Posts, 1)?;
    if let Some(parent) = refs.parent {
        tx.count(Target::Post(parent), replies(flags), 1)?;
    }
    if let Some(quoted) = refs.quoted() {
        tx.count(Target::Post(quoted), Counter::Quotes, 1)?;
    }
    tx.touch(post.author);
    notify::post(index, tx, post, &refs, flags, sort)?;
    repair_children(index, tx, post, &refs)
}

/// Feed entry and entries in the lists of others.
fn place(
    tx: &mut Tx<'_>,
    post: PostId,
    refs: &Refs,
    flags: u16,
    sort: i64,
) -> Result<(), StoreError> {
    let [_, low] = flags.to_be_bytes();
    let feed = FeedRow { sort, rkey: post.rkey, flags: low, repost_of: None };
    tx.put(Ks::Feed, &feed.key(post.author), &feed.encode());
    for (order, target) in lists(refs) {
        tx.put(Ks::Order, &order_post_key(order, target, sort, post), &[low]);
    }
    Ok(())
}

/// Where a reply counts.
fn replies(flags: u16) -> Counter {
    if flags & f::VIOLATES_THREADGATE == 0 { Counter::Replies } else { Counter::ForbiddenReplies }
}

pub(super) fn lists(refs: &Refs) -> impl Iterator<Item = (Order, Target)> + '_ {
    let parent = refs.parent.map(|p| (Order::Replies, Target::Post(p)));
    let quoted = refs.quoted().map(|p| (Order::Quotes, Target::Post(p)));
    let mentioned = refs.mentions.iter().map(|a| (Order::Mentions, Target::Actor(*a)));
    parent.into_iter().chain(quoted).chain(mentioned)
}

/// An edge that came before the post agreed on a CID; if it is the post's own, the row has served.
fn forget_shared_cid(
    index: &Index,
    tx: &mut Tx<'_>,
    post: PostId,
    cid: [u8; 32],
) -> Result<(), StoreError> {
    let target = Target::Post(post);
    let shared = tx.get(Ks::Cid, &target.key())?;
    let agreed = match shared.as_deref().map(<[u8; 32]>::try_from) {
        Some(Ok(agreed)) if agreed == cid => {
            tx.del(Ks::Cid, &target.key());
            cid
        }
        Some(Ok(agreed)) => agreed,
        // It says nothing, and who needs it is told so.
        Some(Err(_)) => {
            index.subject_cids.forget(target);
            return Ok(());
        }
        None => cid,
    };
    // Most likes go to posts that are new.
    index.subject_cids.remember(target, &agreed);
    Ok(())
}

/// If another version follows, it brings its notifications anew: its time may be another. Says whether it was one that may
/// have begun a thread.
pub(super) fn delete(index: &Index, tx: &mut Tx<'_>, id: RecordId) -> Result<bool, StoreError> {
    let post = post_id(id);
    let Some(row) = tx.post(post)? else { return Ok(false) };
    let value = tx.unpack(&row.packed)?;
    let refs = refs(tx, &value)?;
    let sort = row.sort_ms(id.rkey);
    tx.del(Ks::Post, &post.to_bytes());
    tx.del(
        Ks::Feed,
        &FeedRow { sort, rkey: post.rkey, flags: 0, repost_of: None }.key(post.author),
    );
    for (order, target) in lists(&refs) {
        tx.del(Ks::Order, &order_post_key(order, target, sort, post));
    }
    tx.count(Target::Actor(post.author), Counter::Posts, -1)?;
    if let Some(parent) = refs.parent {
        tx.count(Target::Post(parent), replies(row.flags), -1)?;
    }
    if let Some(quoted) = refs.quoted() {
        tx.count(Target::Post(quoted), Counter::Quotes, -1)?;
    }
    records::keep_subject_cid(tx, Target::Post(post), row.cid, &row.packed)?;
    index.subject_cids.forget(Target::Post(post));
    tx.touch(post.author);
    notify::gone(index, tx, id)?;
    Ok(!refs.is_reply)
}

/// A post is about to be deleted because its author wants it, which retention does not: if it stands in the line of its
/// author's replies to themselves, the place is kept.
pub(super) fn vacate(tx: &mut Tx<'_>, post: PostId, time: i64) -> Result<(), StoreError> {
    let Some(row) = tx.post(post)?.filter(|row| row.has(f::REPLY)) else { return Ok(()) };
    let value = tx.unpack(&row.packed)?;
    let refs = refs(tx, &value)?;
    let Some((root, parent)) = refs.root.zip(refs.parent) else { return Ok(()) };
    if [root.author, parent.author].iter().any(|author| *author != post.author) {
        return Ok(());
    }
    vacated::keep(tx, root, post, VacatedRow { parent: parent.rkey, deleted: time })
}

/// The flags that depend on the thread a reply stands in.
fn reply_flags(
    tx: &mut Tx<'_>,
    post: PostId,
    refs: &Refs,
    sort: i64,
    known: Known,
) -> Result<u16, StoreError> {
    let mut flags = 0;
    if invalid_root(tx, refs)? {
        flags |= f::INVALID_ROOT;
    }
    if let Some(root) = refs.root
        && gates::forbids_reply(tx, root, post.author, sort, known)?
    {
        flags |= f::VIOLATES_THREADGATE;
        gates::doubt(tx, root, post)?;
    }
    Ok(flags)
}

/// Whether the root that a reply names is not the one its parent belongs to.
fn invalid_root(tx: &Tx<'_>, refs: &Refs) -> Result<bool, StoreError> {
    let (Some(root), Some(parent)) = (refs.root, refs.parent) else { return Ok(true) };
    let Some(row) = tx.post(parent)? else { return Ok(true) };
    if row.has(f::INVALID_ROOT) {
        return Ok(true);
    }
    if parent == root {
        return Ok(row.has(f::REPLY));
    }
    let value = tx.unpack(&row.packed)?;
    let of_parent = fields::field(&value, "reply").and_then(|r| fields::ref_uri(r, "root"));
    let same = match of_parent {
        Some(uri) => tx.target(uri)? == Some(Target::Post(root)),
        None => false,
    };
    Ok(!same)
}

/// Direct replies to a post that are held.
pub(super) fn children<R: Reader>(
    r: &R,
    post: PostId,
    limit: usize,
) -> Result<Vec<PostId>, StoreError> {
    let prefix = order_prefix(Order::Replies, Target::Post(post));
    let mut out = Vec::new();
    r.scan_prefix(Ks::Order, &prefix, &mut |k, _| {
        let mut key = ByteReader::new(k.get(prefix.len()..).unwrap_or_default());
        if let (Some(_), Some(child)) = (key.newest_first(), key.post()) {
            out.push(child);
        }
        out.len() < limit
    })?;
    Ok(out)
}

/// Replies that came before their parent: their flags and notifications could not be right.
fn repair_children(
    index: &Index,
    tx: &mut Tx<'_>,
    post: PostId,
    refs: &Refs,
) -> Result<(), StoreError> {
    if !tx.agg(Target::Post(post))?.has_replies() {
        return Ok(());
    }
    let mut level = children(tx, post, REPAIR_LIMIT)?;
    let mut left = REPAIR_LIMIT;
    for height in 1.. {
        let mut next = Vec::new();
        for child in level {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            let changed = recheck(index, tx, child)?;
            // Further down only what depends on this: the flags, or a notification that reaches up to here.
            if changed || height < REPLY_NOTIF_DEPTH || refs.root.is_none() {
                next.extend(children(tx, child, left)?);
            }
        }
        if next.is_empty() {
            break;
        }
        level = next;
    }
    Ok(())
}

/// Computes a reply's flags anew and corrects counts and notifications; says whether the flags changed.
pub(super) fn recheck(index: &Index, tx: &mut Tx<'_>, post: PostId) -> Result<bool, StoreError> {
    let Some(mut row) = tx.post(post)? else { return Ok(false) };
    let value = tx.unpack(&row.packed)?;
    let refs = refs(tx, &value)?;
    let sort = row.sort_ms(post.rkey);
    let dependent = f::INVALID_ROOT | f::VIOLATES_THREADGATE;
    let flags = row.flags & !dependent | reply_flags(tx, post, &refs, sort, Known::Then)?;
    let changed = flags != row.flags;
    if changed {
        let old = std::mem::replace(&mut row.flags, flags);
        let (was, is) = (old & f::VIOLATES_THREADGATE != 0, row.has(f::VIOLATES_THREADGATE));
        tx.put(Ks::Post, &post.to_bytes(), &row.encode());
        if let (Some(parent), true) = (refs.parent, was != is) {
            tx.update_agg(Target::Post(parent), |agg| {
                agg.add(replies(old), -1);
                agg.add(replies(flags), 1);
            })?;
        }
        if is && !was {
            notify::gone(index, tx, post.record())?;
        }
    }
    notify::post(index, tx, post, &refs, flags, sort)?;
    Ok(changed)
}

/// Every reply below a root, the gate of which came late.
pub(super) fn recheck_thread(
    index: &Index,
    tx: &mut Tx<'_>,
    root: PostId,
) -> Result<(), StoreError> {
    let mut queue = children(tx, root, REPAIR_LIMIT)?;
    let mut left = REPAIR_LIMIT;
    while let Some(post) = queue.pop() {
        if left == 0 {
            break;
        }
        left -= 1;
        recheck(index, tx, post)?;
        queue.extend(children(tx, post, left)?);
    }
    Ok(())
}

/// One of the author's gates of a post came.
pub(super) fn set_flag(tx: &mut Tx<'_>, post: PostId, flag: u16) -> Result<(), StoreError> {
    change_flags(tx, post, |flags| flags | flag)
}

/// One of the author's gates of a post went.
pub(super) fn clear_flag(tx: &mut Tx<'_>, post: PostId, flag: u16) -> Result<(), StoreError> {
    change_flags(tx, post, |flags| flags & !flag)
}

fn change_flags(
    tx: &mut Tx<'_>,
    post: PostId,
    change: impl FnOnce(u16) -> u16,
) -> Result<(), StoreError> {
    let Some(mut row) = tx.post(post)? else { return Ok(()) };
    let flags = change(row.flags);
    if flags != row.flags {
        row.flags = flags;
        tx.put(Ks::Post, &post.to_bytes(), &row.encode());
    }
    Ok(())
}

/// The gate record of a post.
pub(super) fn gate_of(post: PostId, of: Gate) -> RecordId {
    let coll = match (post.is_community(), of) {
        (false, Gate::Thread) => c::THREADGATE,
        (false, Gate::Post) => c::POSTGATE,
        (true, Gate::Thread) => c::COMMUNITY_THREADGATE,
        (true, Gate::Post) => c::COMMUNITY_POSTGATE,
    };
    RecordId { coll, ..post.record() }
}
