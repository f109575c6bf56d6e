//! Thread gates (who may reply) and post gates (who may quote).
//!
//! Whether a reply is against the gate of its thread is decided once, when both are there, and a gate made after
//! the reply does not reach back. Only what was forbidden while a repo was being fetched that could have allowed it is
//! decided again.

use ipld_core::ipld::Ipld;

use super::{Index, posts};
use crate::repo::fields;
use crate::schema::rows::{EdgeKind, post_flags as f};
use crate::schema::{ActorId, Edit, PostId, RecordId, Rows, Target};
use crate::store::{Reader, StoreError, Tx};
use crate::work::gate_rechecks;

/// Replies judged again at the end of one fetch; what is left waits for the next.
const MAX_DOUBTS: usize = 10_000;

/// The two kinds of gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Who may reply.
    Thread,
    /// Who may quote.
    Post,
}

impl Gate {
    pub(super) const ALL: [Self; 2] = [Self::Thread, Self::Post];

    /// What a post has that is under such a gate.
    fn flag(self) -> u16 {
        match self {
            Self::Thread => f::HAS_THREADGATE,
            Self::Post => f::HAS_POSTGATE,
        }
    }
}

/// A gate must be under the record key of its post, in the same repo.
fn gated_post(tx: &Tx<'_>, id: RecordId, v: &Ipld) -> Result<Option<PostId>, StoreError> {
    let post = posts::post_id(id);
    Ok(match fields::text(v, "post") {
        Some(uri) if tx.target(uri)? == Some(Target::Post(post)) => Some(post),
        _ => None,
    })
}

/// `false` if the gate is not where it has to be.
pub(super) fn put_gate(
    tx: &mut Tx<'_>,
    id: RecordId,
    v: &Ipld,
    of: Gate,
) -> Result<bool, StoreError> {
    intern_post(tx, v)?;
    let Some(post) = gated_post(tx, id, v)? else { return Ok(false) };
    posts::set_flag(tx, post, of.flag())?;
    Ok(true)
}

fn intern_post(tx: &mut Tx<'_>, v: &Ipld) -> Result<(), StoreError> {
    if let Some(uri) = fields::text(v, "post") {
        tx.intern_target(uri)?;
    }
    Ok(())
}

pub(super) fn gate_gone(tx: &mut Tx<'_>, id: RecordId, of: Gate) -> Result<(), StoreError> {
    posts::clear_flag(tx, posts::post_id(id), of.flag())
}

/// The gates that came before their post.
pub(super) fn flags_of_post<R: Reader>(tx: &R, post: PostId) -> Result<u16, StoreError> {
    let mut flags = 0;
    for of in Gate::ALL {
        if gate(tx, post, of)?.is_some() {
            flags |= of.flag();
        }
    }
    Ok(flags)
}

fn gate<R: Reader>(tx: &R, post: PostId, of: Gate) -> Result<Option<Ipld>, StoreError> {
    let Some(row) = tx.record(posts::gate_of(post, of))?.filter(|row| row.valid) else {
        return Ok(None);
    };
    let gate = tx.unpack(&row.packed)?;
    // Those of the network are not valid if they name another post.
    if post.is_community() {
        let named = fields::text(&gate, "post").map(|uri| tx.target(uri)).transpose()?.flatten();
        return Ok(Some(gate).filter(|_| named == Some(Target::Post(post))));
    }
    Ok(Some(gate))
}

/// Replies hidden by the owner of a thread.
pub(super) fn hidden_replies<R: Reader>(tx: &R, root: PostId) -> Result<Vec<Target>, StoreError> {
    let Some(gate) = gate(tx, root, Gate::Thread)? else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for uri in fields::list(&gate, "hiddenReplies") {
        if let Ipld::String(uri) = uri {
            out.extend(tx.target(uri)?);
        }
    }
    Ok(out)
}

/// Whether the post gate of `quoted` keeps `author` from embedding it.
pub(super) fn forbids_embedding(
    tx: &Tx<'_>,
    quoted: PostId,
    author: ActorId,
) -> Result<bool, StoreError> {
    if quoted.author == author {
        return Ok(false);
    }
    let Some(gate) = gate(tx, quoted, Gate::Post)? else { return Ok(false) };
    let rules = fields::list(&gate, "embeddingRules");
    Ok(rules.iter().any(|r| fields::kind(r) == "app.bsky.feed.postgate#disableRule"))
}

/// Which follows and list items count for a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// All that are held: the reply was just made.
    Now,
    /// Those that are not newer than the reply: it is judged late, or comes from a repo that is being fetched.
    Then,
}

/// Whether the thread gate of `root` keeps `author` from replying at `sort`.
pub(super) fn forbids_reply(
    tx: &Tx<'_>,
    root: PostId,
    author: ActorId,
    sort: i64,
    known: Known,
) -> Result<bool, StoreError> {
    if root.author == author {
        return Ok(false);
    }
    let Some(gate) = gate(tx, root, Gate::Thread)? else { return Ok(false) };
    if fields::field(&gate, "allow").is_none() || fields::created_ms(&gate) > sort {
        return Ok(false);
    }
    let known = if is_all_here(tx, author)? { known } else { Known::Then };
    let latest = if known == Known::Now { i64::MAX } else { sort };
    for rule in fields::list(&gate, "allow") {
        if allows(tx, rule, root, author, latest)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn allows(
    tx: &Tx<'_>,
    rule: &Ipld,
    root: PostId,
    author: ActorId,
    latest: i64,
) -> Result<bool, StoreError> {
    let holds = |kind, target, fan| -> Result<bool, StoreError> {
        Ok(tx.fan(kind, target, fan)?.is_some_and(|row| row.sort_ms() <= latest))
    };
    match fields::kind(rule) {
        "app.bsky.feed.threadgate#mentionRule" => {
            let Some(row) = tx.post(root)? else { return Ok(false) };
            let value = tx.unpack(&row.packed)?;
            let author = tx.did(author)?;
            Ok(posts::mentions(&value).any(|did| did == &*author))
        }
        "app.bsky.feed.threadgate#followingRule" => {
            holds(EdgeKind::Follow, Target::Actor(author), root.author)
        }
        "app.bsky.feed.threadgate#followerRule" => {
            holds(EdgeKind::Follow, Target::Actor(root.author), author)
        }
        "app.bsky.feed.threadgate#listRule" => match fields::text(rule, "list") {
            Some(uri) => match tx.target(uri)? {
                Some(list) => holds(EdgeKind::ListItem, list, author),
                None => Ok(false),
            },
            None => Ok(false),
        },
        _ => Ok(false),
    }
}

fn is_all_here(tx: &Tx<'_>, actor: ActorId) -> Result<bool, StoreError> {
    Ok(tx.repo(actor)?.is_some_and(|row| row.is_complete()))
}

/// A reply is forbidden, but what would allow it may be in a repo that is not all here.
pub(super) fn doubt(tx: &mut Tx<'_>, root: PostId, reply: PostId) -> Result<(), StoreError> {
    for actor in [reply.author, root.author] {
        if !is_all_here(tx, actor)? {
            gate_rechecks::put(tx, actor, reply);
        }
    }
    Ok(())
}

/// The repo of `actor` is all here: replies that waited for it are judged again.
pub(super) fn settle_doubts(
    index: &Index,
    tx: &mut Tx<'_>,
    actor: ActorId,
) -> Result<(), StoreError> {
    for reply in gate_rechecks::take(tx, actor, MAX_DOUBTS)? {
        posts::recheck(index, tx, reply)?;
    }
    Ok(())
}

/// A gate that came after its thread had begun: replies made under it are looked at again.
pub(super) fn reach_down(index: &Index, tx: &mut Tx<'_>, id: RecordId) -> Result<(), StoreError> {
    posts::recheck_thread(index, tx, posts::post_id(id))
}
