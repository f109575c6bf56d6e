//! Who is notified of what. Rows are written for members only (see [`super::members`]).
//!
//! One notification for each recipient and post: mention before quote before reply before subscription (see
//! [`super::subscribed`]). A reply notifies the authors of up to four posts above it, and stops above one that the
//! thread's owner hid.

use ipld_core::ipld::Ipld;

use super::posts::{REPLY_NOTIF_DEPTH, Refs};
use super::{Index, gates, posts, push, subscribed};
use crate::private::{self, community};
use crate::repo::fields;
use crate::schema::rebuild::held_cid;
use crate::schema::rows::{
    EdgeKind, NotifRow, Reason, notif_prefix, post_flags as f, traces_prefix,
};
use crate::schema::{ActorId, PostId, RecordId, Rows, Target};
use crate::store::{Ks, Reader, Snapshot, StoreError, Tx};

/// What happened to the record that a notification tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is there now.
    Came,
    /// It is not there any more.
    Went,
}

fn write(
    index: &Index,
    tx: &mut Tx<'_>,
    to: ActorId,
    row: NotifRow,
    turn: Turn,
) -> Result<(), StoreError> {
    if to == row.author || !index.members.contains(to) {
        return Ok(());
    }
    if turn == Turn::Went {
        take(tx, to, &row);
    } else if !muted_thread(tx, to, row.subject)? {
        put(index, tx, to, row)?;
    }
    Ok(())
}

/// Writes a member's row, which is to be pushed too.
fn put(index: &Index, tx: &mut Tx<'_>, to: ActorId, row: NotifRow) -> Result<(), StoreError> {
    push::notified(index, tx, to, &row)?;
    keep(tx, to, &row);
    Ok(())
}

/// Keeps a row, with the trace that leads to it.
pub(super) fn keep(tx: &mut Tx<'_>, to: ActorId, row: &NotifRow) {
    tx.put(Ks::Notif, &row.key(to), &row.encode());
    if row.reason.is_traced() {
        tx.put(Ks::Order, &row.trace(to), &[]);
    }
}

fn take(tx: &mut Tx<'_>, to: ActorId, row: &NotifRow) {
    tx.del(Ks::Notif, &row.key(to));
    if row.reason.is_traced() {
        tx.del(Ks::Order, &row.trace(to));
    }
}

/// The notifications that have a trace from a record.
fn traced(tx: &Tx<'_>, record: RecordId) -> Result<Vec<(ActorId, NotifRow)>, StoreError> {
    let mut out = Vec::new();
    tx.scan_prefix(Ks::Order, &traces_prefix(record), &mut |k, _| {
        out.extend(NotifRow::from_trace(k));
        true
    })?;
    Ok(out)
}

/// Whether a record is held.
pub(super) fn is_there<R: Reader>(r: &R, id: RecordId) -> Result<bool, StoreError> {
    match PostId::of(id).filter(|post| post.is_community()) {
        Some(post) => community::has(r, post),
        None => Ok(held_cid(r, id)?.is_some()),
    }
}

/// A record went: what it notified of goes, whoever was told and why.
pub(super) fn gone(index: &Index, tx: &mut Tx<'_>, record: RecordId) -> Result<(), StoreError> {
    if index.members.is_empty() {
        return Ok(());
    }
    for (to, row) in traced(tx, record)? {
        take(tx, to, &row);
    }
    Ok(())
}

/// Takes up to `most` notifications of an account away; `true` once none are left.
pub(super) fn clear(tx: &mut Tx<'_>, of: ActorId, most: usize) -> Result<bool, StoreError> {
    let mut rows: Vec<(Vec<u8>, Option<NotifRow>)> = Vec::new();
    tx.scan_prefix(Ks::Notif, &notif_prefix(of), &mut |k, v| {
        rows.push((k.to_vec(), NotifRow::decode(k, v).map(|(_, row)| row)));
        rows.len() < most
    })?;
    for (key, row) in &rows {
        match row {
            Some(row) => take(tx, of, row),
            // What does not decode is nobody's notification.
            None => tx.del(Ks::Notif, key),
        }
    }
    Ok(rows.len() < most)
}

/// Whether the recipient muted the thread that the subject is in.
pub(super) fn muted_thread<R: Reader>(
    r: &R,
    viewer: ActorId,
    subject: Option<Target>,
) -> Result<bool, StoreError> {
    let Some(Target::Post(post)) = subject else { return Ok(false) };
    let root = match standing(r, post)? {
        Standing::NotHeld => return Ok(false),
        Standing::First => Target::Post(post),
        Standing::Reply(value) => match reply_uri(&value, "root") {
            None => Target::Post(post),
            Some(uri) => match r.target(uri)? {
                Some(root) => root,
                None => return Ok(false),
            },
        },
    };
    Ok(private::get(r, private::Kind::MutedThread, viewer, Some(root))?.is_some())
}

/// Where a post stands, of the network or of the community.
enum Standing {
    /// It is not held.
    NotHeld,
    /// It begins a thread.
    First,
    /// It is this reply.
    Reply(Ipld),
}

fn standing<R: Reader>(r: &R, post: PostId) -> Result<Standing, StoreError> {
    let reply = if post.is_community() {
        let Some(held) = community::get(r, post)? else { return Ok(Standing::NotHeld) };
        Some(r.unpack(&held.packed)?).filter(|value| fields::field(value, "reply").is_some())
    } else {
        let Some(row) = r.post(post)? else { return Ok(Standing::NotHeld) };
        if row.has(f::REPLY) { Some(r.unpack(&row.packed)?) } else { None }
    };
    Ok(reply.map_or(Standing::First, Standing::Reply))
}

fn reply_uri<'a>(value: &'a Ipld, which: &str) -> Option<&'a str> {
    fields::field(value, "reply").and_then(|reply| fields::ref_uri(reply, which))
}

/// A like, repost or follow came or went.
#[expect(clippy::too_many_arguments, reason = "the parts of one edge")]
pub(super) fn edge(
    index: &Index,
    tx: &mut Tx<'_>,
    kind: EdgeKind,
    id: RecordId,
    target: Target,
    via: Option<Target>,
    sort: i64,
    turn: Turn,
) -> Result<(), StoreError> {
    let (reason, via_reason) = match kind {
        EdgeKind::Like => (Reason::Like, Reason::LikeViaRepost),
        EdgeKind::Repost => (Reason::Repost, Reason::RepostViaRepost),
        EdgeKind::Follow => (Reason::Follow, Reason::Follow),
        _ => return Ok(()),
    };
    let row = |reason, subject| NotifRow {
        sort,
        author: id.actor,
        reason,
        rkey: id.rkey,
        subject: Some(subject),
    };
    // No notice to oneself, nor to the one whose repost it came through.
    if target.actor() == id.actor && kind != EdgeKind::Follow {
        return Ok(());
    }
    write(index, tx, target.actor(), row(reason, target), turn)?;
    if kind == EdgeKind::Follow {
        return Ok(());
    }
    if let Some(repost) = via {
        write(index, tx, repost.actor(), row(via_reason, repost), turn)?;
    }
    Ok(())
}

pub(super) fn verification(
    index: &Index,
    tx: &mut Tx<'_>,
    id: RecordId,
    subject: ActorId,
    sort: i64,
    turn: Turn,
) -> Result<(), StoreError> {
    let reason = match turn {
        Turn::Came => Reason::Verified,
        Turn::Went => Reason::Unverified,
    };
    let row = NotifRow { sort, author: id.actor, reason, rkey: id.rkey, subject: None };
    if subject != id.actor && index.members.contains(subject) {
        put(index, tx, subject, row)?;
    }
    Ok(())
}

pub(super) fn joined(
    index: &Index,
    tx: &mut Tx<'_>,
    id: RecordId,
    pack: Target,
    sort: i64,
) -> Result<(), StoreError> {
    let row = NotifRow {
        sort,
        author: id.actor,
        reason: Reason::StarterpackJoined,
        rkey: id.rkey,
        subject: Some(pack),
    };
    let to = pack.actor();
    if to == id.actor || !index.members.contains(to) {
        return Ok(());
    }
    // Another version of the profile is no news.
    if traced(tx, row.record())?.iter().any(|(told, _)| *told == to) {
        return Ok(());
    }
    put(index, tx, to, row)
}

/// A post came, or its surroundings changed.
pub(super) fn post(
    index: &Index,
    tx: &mut Tx<'_>,
    post: PostId,
    refs: &Refs,
    flags: u16,
    sort: i64,
) -> Result<(), StoreError> {
    if index.members.is_empty() {
        return Ok(());
    }
    let told = recipients(tx, post, refs, flags)?;
    for to in subscribed::recipients(tx, post, flags, sort)? {
        // What came late may give another reason to somebody who was told as a subscriber.
        let only = told.iter().all(|(other, ..)| *other != to);
        let turn = if only { Turn::Came } else { Turn::Went };
        write(index, tx, to, of_subscription(post, sort), turn)?;
    }
    tell(index, tx, post, told, sort)
}

/// Writes the notifications of a post.
fn tell(
    index: &Index,
    tx: &mut Tx<'_>,
    post: PostId,
    told: Vec<Recipient>,
    sort: i64,
) -> Result<(), StoreError> {
    for (to, reason, subject) in told {
        let row = NotifRow { sort, author: post.author, reason, rkey: post.rkey, subject };
        write(index, tx, to, row, Turn::Came)?;
    }
    Ok(())
}

/// A community post comes. It may be against no gate, or it had not been kept.
pub(super) fn community_post(
    index: &Index,
    tx: &mut Tx<'_>,
    post: PostId,
    refs: &Refs,
    sort: i64,
) -> Result<(), StoreError> {
    if index.members.is_empty() {
        return Ok(());
    }
    let told = recipients(tx, post, refs, 0)?;
    tell(index, tx, post, told, sort)
}

/// It has no subject: that is how clients know which of them to show as one.
fn of_subscription(post: PostId, sort: i64) -> NotifRow {
    let reason = Reason::SubscribedPost;
    NotifRow { sort, author: post.author, reason, rkey: post.rkey, subject: None }
}

type Recipient = (ActorId, Reason, Option<Target>);

/// Everybody whom a post notifies, each once.
fn recipients(
    tx: &Tx<'_>,
    post: PostId,
    refs: &Refs,
    flags: u16,
) -> Result<Vec<Recipient>, StoreError> {
    let mut out: Vec<Recipient> = Vec::new();
    let mut add = |to: ActorId, reason, subject| {
        if to != post.author && !out.iter().any(|(a, ..)| *a == to) {
            out.push((to, reason, subject));
        }
    };
    for to in &refs.mentions {
        add(*to, Reason::Mention, None);
    }
    if let Some(quoted) = refs.quoted()
        && flags & f::VIOLATES_EMBEDDING == 0
    {
        add(quoted.author, Reason::Quote, Some(Target::Post(quoted)));
    }
    if flags & f::VIOLATES_THREADGATE == 0 && refs.parent.is_some() {
        let hidden = match refs.root {
            Some(root) => gates::hidden_replies(tx, root)?,
            None => Vec::new(),
        };
        for above in ancestors(tx, refs)? {
            add(above.author, Reason::Reply, Some(Target::Post(above)));
            if hidden.contains(&Target::Post(above)) {
                break;
            }
        }
    }
    Ok(out)
}

/// The posts above a reply that are held, nearest first.
fn ancestors<R: Reader>(r: &R, refs: &Refs) -> Result<Vec<PostId>, StoreError> {
    let mut out = Vec::new();
    let mut next = refs.parent;
    while let Some(post) = next.take() {
        let standing = standing(r, post)?;
        if matches!(standing, Standing::NotHeld) {
            break;
        }
        out.push(post);
        match standing {
            Standing::Reply(value) if out.len() + 1 < REPLY_NOTIF_DEPTH => {
                next = parent_of(r, &value)?;
            }
            _ => break,
        }
    }
    Ok(out)
}

fn parent_of<R: Reader>(r: &R, value: &Ipld) -> Result<Option<PostId>, StoreError> {
    Ok(match reply_uri(value, "parent") {
        Some(uri) => match r.target(uri)? {
            Some(Target::Post(p)) => Some(p),
            _ => None,
        },
        None => None,
    })
}

/// The notification that a held post makes for one account, by the same rules as [`recipients`].
pub(super) fn of_post(
    s: &Snapshot,
    post: PostId,
    me: ActorId,
) -> Result<Option<NotifRow>, StoreError> {
    if post.author == me {
        return Ok(None);
    }
    let Some((value, flags, sort)) = held(s, post)? else { return Ok(None) };
    let found = |reason, subject| {
        Ok(Some(NotifRow { sort, author: post.author, reason, rkey: post.rkey, subject }))
    };
    let own_did = s.did(me)?;
    if posts::mentions(&value).any(|did| did == &*own_did) {
        return found(Reason::Mention, None);
    }
    if flags & f::VIOLATES_EMBEDDING == 0
        && let Some(Target::Post(quoted)) = quoted(s, &value)?
        && quoted.author == me
    {
        return found(Reason::Quote, Some(Target::Post(quoted)));
    }
    if flags & f::VIOLATES_THREADGATE != 0 {
        return Ok(None);
    }
    let refs = Refs { parent: parent_of(s, &value)?, ..Refs::default() };
    let hidden = hidden_in(s, &value)?;
    for above in ancestors(s, &refs)? {
        if above.author == me {
            return found(Reason::Reply, Some(Target::Post(above)));
        }
        if hidden.contains(&Target::Post(above)) {
            break;
        }
    }
    Ok(None)
}

/// The record of a held post, its flags as far as rules set them, and its `sortAt`.
fn held(s: &Snapshot, post: PostId) -> Result<Option<(Ipld, u16, i64)>, StoreError> {
    if post.is_community() {
        let Some(held) = community::get(s, post)? else { return Ok(None) };
        return Ok(Some((s.unpack(&held.packed)?, 0, held.sort)));
    }
    let Some(row) = s.post(post)? else { return Ok(None) };
    Ok(Some((s.unpack(&row.packed)?, row.flags, row.sort_ms(post.rkey))))
}

fn quoted(s: &Snapshot, value: &Ipld) -> Result<Option<Target>, StoreError> {
    let Some(embed) = fields::field(value, "embed") else { return Ok(None) };
    let record = match fields::kind(embed) {
        "app.bsky.embed.record" => Some(embed),
        "app.bsky.embed.recordWithMedia" => fields::field(embed, "record"),
        _ => None,
    };
    match record.and_then(|r| fields::ref_uri(r, "record")) {
        Some(uri) => s.target(uri),
        None => Ok(None),
    }
}

fn hidden_in(s: &Snapshot, value: &Ipld) -> Result<Vec<Target>, StoreError> {
    let root = match reply_uri(value, "root") {
        Some(uri) => s.target(uri)?,
        None => None,
    };
    match root {
        Some(Target::Post(root)) => gates::hidden_replies(s, root),
        _ => Ok(Vec::new()),
    }
}
