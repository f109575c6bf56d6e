//! `app.bsky.graph.*`, the reading side.

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::page::{CursorParam, FetchedPage, fill, limit, once};
use crate::hydrate::{
    self, ActorId, HydrationState, Hydrator, RecordId, TimeCursor,
    edges::Edge,
    graph::{CURATELIST, MODLIST},
    sorted_pages::Records,
};
use crate::repo::fields;
use crate::schema::rows::EdgeKind;
use crate::schema::{Rows, Target, collections as c};
use crate::syntax::AtUriRef;
use crate::view::actor::{ProfileView, profile};
use crate::view::graph::{ListItemView, ListView, Relationship, RelationshipView, list, list_item};
use crate::xrpc::session::{Identified, Session};
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// Hydrates `ids` as profiles, drops those that rules hide, and shows the rest.
fn profiles(
    h: &Hydrator<'_>,
    ids: &[ActorId],
    hidden: impl Fn(&HydrationState, ActorId) -> bool,
) -> Result<Vec<ProfileView>, XrpcError> {
    let mut state = h.state();
    h.profiles(&mut state, ids)?;
    let shown = ids.iter().filter(|id| !hidden(&state, **id));
    Ok(shown.filter_map(|id| profile(&state, *id)).collect())
}

#[derive(Serialize)]
struct FollowsOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    followers: Option<Vec<ProfileView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    follows: Option<Vec<ProfileView>>,
    subject: ProfileView,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

#[derive(Serialize)]
struct KnownFollowersOutput {
    subject: ProfileView,
    followers: Vec<ProfileView>,
}

/// `app.bsky.graph.getFollowers`
pub(crate) fn get_followers(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let (subject, page) = follow_page(&session, call, |h, id, cursor, limit| {
        let page = h.fans(EdgeKind::Follow, Target::Actor(id), cursor, limit)?;
        Ok((page.items.iter().map(|fan| fan.actor).collect(), page.cursor))
    })?;
    let FetchedPage { items, cursor } = page;
    session.reply(&FollowsOutput { subject, followers: Some(items), follows: None, cursor })
}

/// `app.bsky.graph.getFollows`
pub(crate) fn get_follows(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let mut follows = None;
    let (subject, page) = follow_page(&session, call, |_, id, cursor, limit| {
        let follows = follows.get_or_insert_with(|| h.edges(EdgeKind::Follow, id));
        let page = follows.page(cursor, limit)?;
        Ok((page.items.iter().map(|edge| edge.target.actor()).collect(), page.cursor))
    })?;
    let FetchedPage { items, cursor } = page;
    session.reply(&FollowsOutput { subject, followers: None, follows: Some(items), cursor })
}

type FollowsSkeleton = (Vec<ActorId>, Option<String>);

fn follow_page(
    session: &Session,
    call: &Call,
    mut skeleton: impl FnMut(
        &Hydrator<'_>,
        ActorId,
        Option<&TimeCursor>,
        usize,
    ) -> Result<FollowsSkeleton, XrpcError>,
) -> Result<(ProfileView, FetchedPage<ProfileView>), XrpcError> {
    let actor = call.params.str("actor").unwrap_or_default();
    let not_found = || XrpcError::invalid_request(format!("Actor not found: {actor}"));
    let id = session.actor(actor)?.ok_or_else(not_found)?;
    let h = session.hydrator();
    let include_takedowns = session.ctx.include_takedowns;

    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        let CursorParam::From(cursor) = CursorParam::parse(cursor)? else {
            return Ok(FetchedPage::empty());
        };
        let (ids, cursor) = skeleton(&h, id, cursor.as_ref(), limit)?;
        let mut blocks = h.state();
        h.blocks(&mut blocks, ids.iter().map(|other| (id, *other)))?;
        let items = profiles(&h, &ids, |state, other| {
            blocks.blocked(id, other)
                || state.viewer_block_exists(other)
                || (!include_takedowns && state.is_no_hosted(other))
        })?;
        Ok(FetchedPage { items, cursor })
    })?;

    let subject = profiles(&h, &[id], |state, id| !include_takedowns && state.is_no_hosted(id))?;
    let subject = subject.into_iter().next().ok_or_else(not_found)?;
    Ok((subject, page))
}

/// `app.bsky.graph.getKnownFollowers`
pub(crate) fn get_known_followers(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let actor = call.params.str("actor").unwrap_or_default();
    let not_found = || XrpcError::invalid_request(format!("Actor not found: {actor}"));
    let id = session.actor(actor)?.ok_or_else(not_found)?;
    let h = session.hydrator();

    let mut ids = match (CursorParam::parse(call.params.str("cursor")), session.ctx.viewer) {
        (Ok(CursorParam::Outdated), _) | (_, None) => Vec::new(),
        (_, Some(viewer)) => h.all_known_followers(viewer, id)?,
    };
    ids.truncate(limit(call));

    let followers = profiles(&h, &ids, HydrationState::viewer_block_exists)?;
    let shown = profiles(&h, &[id], |_, _| false)?.into_iter().next();
    let subject = match shown {
        Some(subject) => subject,
        None if h.actor(id)?.is_some() => ProfileView::absent(session.snapshot.did(id)?),
        None => return Err(not_found()),
    };
    session.reply(&KnownFollowersOutput { subject, followers })
}

#[derive(Serialize)]
struct BlocksOutput {
    blocks: Vec<ProfileView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// `app.bsky.graph.getBlocks`
pub(crate) fn get_blocks(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let mut blocks = session.ctx.viewer.map(|viewer| h.edges(EdgeKind::Block, viewer));
    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        let (CursorParam::From(cursor), Some(blocks)) = (CursorParam::parse(cursor)?, &mut blocks)
        else {
            return Ok(FetchedPage::empty());
        };
        let page = blocks.page(cursor.as_ref(), limit)?;
        let is_shown = |edge: &&Edge| {
            let block = |viewer| RecordId::from_index(viewer, c::BLOCK, edge.rkey);
            !session.ctx.viewer.is_some_and(|by| h.is_taken_down(Target::Record(block(by))))
        };
        let shown = page.items.iter().filter(is_shown);
        let ids: Vec<ActorId> = shown.map(|edge| edge.target.actor()).collect();
        Ok(FetchedPage { items: profiles(&h, &ids, |_, _| false)?, cursor: page.cursor })
    })?;
    session.reply(&BlocksOutput { blocks: page.items, cursor: page.cursor })
}

#[derive(Serialize)]
struct MutesOutput {
    mutes: Vec<ProfileView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// `app.bsky.graph.getMutes`: only accounts that are muted entirely.
pub(crate) fn get_mutes(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let mut held = None;
    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        let (CursorParam::From(cursor), Some(viewer)) =
            (CursorParam::parse(cursor)?, session.ctx.viewer)
        else {
            return Ok(FetchedPage::empty());
        };
        let page = once(&mut held, || h.mutes(viewer))?.page(cursor.as_ref(), limit)?;
        Ok(FetchedPage { items: profiles(&h, &page.items, |_, _| false)?, cursor: page.cursor })
    })?;
    session.reply(&MutesOutput { mutes: page.items, cursor: page.cursor })
}

#[derive(Serialize)]
struct ListsOutput {
    lists: Vec<ListView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// `app.bsky.graph.getLists`
pub(crate) fn get_lists(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let actor = call.params.str("actor").unwrap_or_default();
    let purposes = call.params.strs("purposes");
    let mut held = None;

    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        let CursorParam::From(cursor) = CursorParam::parse(cursor)? else {
            return Ok(FetchedPage::empty());
        };
        let owner = match session.identify(actor)? {
            Identified::Known(id) => id,
            Identified::UnknownDid => return Ok(FetchedPage::empty()),
            Identified::UnknownHandle => {
                return Err(XrpcError::invalid_request("Profile not found"));
            }
        };
        let page =
            once(&mut held, || h.records_of(owner, c::LIST))?.page(cursor.as_ref(), limit)?;
        let mut state = h.state();
        h.lists(&mut state, &page.items)?;
        let shown = page.items.iter().filter(|id| has_purpose(&state, **id, purposes));
        let items = shown.filter_map(|id| list(&state, *id)).collect();
        Ok(FetchedPage { items, cursor: page.cursor })
    })?;
    session.reply(&ListsOutput { lists: page.items, cursor: page.cursor })
}

/// Whether a list is for blocking or for reading, and of one of `purposes` if there are any, by its full name or the
/// part behind the `#`.
pub(super) fn has_purpose(state: &HydrationState, list: RecordId, purposes: &[String]) -> bool {
    let purpose = state.record(list).and_then(|list| fields::text(&list.value, "purpose"));
    purpose.filter(|list| [MODLIST, CURATELIST].contains(list)).is_some_and(|list| {
        let short = list.rsplit('#').next().unwrap_or_default();
        purposes.is_empty() || purposes.iter().any(|p| p == list || p == short)
    })
}

/// `app.bsky.graph.getListBlocks`: the lists whose members the viewer blocks.
pub(crate) fn get_list_blocks(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    lists_of_viewer(app, call, |h, viewer| h.lists_by_age(&h.block_set(viewer)?.blocked_lists))
}

/// `app.bsky.graph.getListMutes`: the lists whose members the viewer muted.
pub(crate) fn get_list_mutes(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    lists_of_viewer(app, call, |h, viewer| h.lists_by_age(&h.mute_set(viewer)?.lists))
}

fn lists_of_viewer(
    app: &AppCtx,
    call: &Call,
    read: impl for<'h> Fn(&'h Hydrator<'h>, ActorId) -> hydrate::Result<Records<'h>>,
) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let mut held = None;
    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        let (CursorParam::From(cursor), Some(viewer)) =
            (CursorParam::parse(cursor)?, session.ctx.viewer)
        else {
            return Ok(FetchedPage::empty());
        };
        let page = once(&mut held, || read(&h, viewer))?.page(cursor.as_ref(), limit)?;
        let mut state = h.state();
        h.lists(&mut state, &page.items)?;
        let items = page.items.iter().filter_map(|id| list(&state, *id)).collect();
        Ok(FetchedPage { items, cursor: page.cursor })
    })?;
    session.reply(&ListsOutput { lists: page.items, cursor: page.cursor })
}

#[derive(Serialize)]
struct List {
    list: ListView,
    items: Vec<ListItemView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// `app.bsky.graph.getList`
pub(crate) fn get_list(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let not_found = || XrpcError::invalid_request("List not found");
    let uri = call.params.str("list").unwrap_or_default();
    let Some(Target::Record(id)) = session.snapshot.target(uri)?.filter(is_list) else {
        CursorParam::parse(call.params.str("cursor"))?;
        return Err(not_found());
    };

    let mut state = h.state();
    h.lists(&mut state, &[id])?;
    let view = list(&state, id);
    // Who was put on a moderation list need not get on with its owner; elsewhere blocks hide.
    let hide_blocked = session.ctx.viewer != Some(id.actor)
        && state.record(id).is_none_or(|l| fields::text(&l.value, "purpose") != Some(MODLIST));
    let owns_reference_list = session.ctx.viewer == Some(id.actor)
        && state.record(id).is_some_and(hydrate::graph::is_reference_list);

    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        let CursorParam::From(cursor) = CursorParam::parse(cursor)? else {
            return Ok(FetchedPage::empty());
        };
        let page = h.list_items(id, cursor.as_ref(), limit)?;
        let members: Vec<ActorId> = page.items.iter().map(|item| item.member).collect();
        h.profiles(&mut state, &members)?;
        if hide_blocked {
            h.blocks(&mut state, members.iter().map(|member| (id.actor, *member)))?;
        }
        let mut items = Vec::with_capacity(page.items.len());
        for item in &page.items {
            if hide_blocked && state.blocked(id.actor, item.member) {
                continue;
            }
            let uri = session.snapshot.uri(RecordId {
                actor: id.actor,
                coll: c::LISTITEM,
                rkey: item.rkey,
            })?;
            let mut view = list_item(&state, uri, item.member);
            if let Some(view) = &mut view
                && owns_reference_list
                && h.opt_out(id, item.member)?.is_some()
            {
                view.subject_opted_out = Some(true);
            }
            items.extend(view);
        }
        Ok(FetchedPage { items, cursor: page.cursor })
    })?;
    let list = view.ok_or_else(not_found)?;
    session.reply(&List { list, items: page.items, cursor: page.cursor })
}

fn is_list(target: &Target) -> bool {
    target.record().is_some_and(|record| record.coll == c::LIST)
}

#[derive(Serialize)]
struct Relationships {
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    relationships: Vec<RelationshipView>,
}

/// `app.bsky.graph.getRelationships`: the bare edges, lists that are no moderation lists included.
pub(crate) fn get_relationships(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let identifier = call.params.str("actor").unwrap_or_default();
    let others = call.params.strs("others");
    let (actor, did) = match session.identify(identifier)? {
        Identified::Known(id) => (Some(id), Some(session.snapshot.did(id)?.to_string())),
        Identified::UnknownDid => (None, Some(identifier.to_owned())),
        Identified::UnknownHandle => (None, None),
    };
    let mut state = session.hydrator().state();
    let mut known: FxHashMap<&str, RelationshipView> = FxHashMap::default();
    for other in others {
        let view = match (&did, crate::syntax::is_did(other)) {
            (Some(_), true) => {
                let relation = relationship(&session, &mut state, actor, other)?;
                RelationshipView::Relationship(Box::new(relation))
            }
            // As in the reference, handles are not resolved here.
            _ => RelationshipView::NotFound { actor: other.clone(), not_found: true },
        };
        known.insert(other, view);
    }
    let relationships = others.iter().filter_map(|o| known.get(o.as_str()).cloned()).collect();
    Reply::json(&Relationships { actor: did, relationships })
}

fn relationship(
    session: &Session,
    state: &mut HydrationState,
    actor: Option<ActorId>,
    other: &str,
) -> Result<Relationship, XrpcError> {
    let mut out = Relationship { did: other.to_owned(), ..Relationship::default() };
    let (Some(actor), Some(id)) = (actor, session.snapshot.actor_id(other)?) else {
        return Ok(out);
    };
    let h = session.hydrator();
    if actor == id || h.actor(id)?.is_none() {
        return Ok(out);
    }
    let direct = h.direct_relation(&h.side(actor)?, id)?;
    let mut by_list = |from: ActorId, to: ActorId| -> Result<Option<String>, XrpcError> {
        let list = h.any_list_with(state, &h.block_set(from)?.blocked_lists, to)?;
        Ok(list.map(|list| session.snapshot.uri(list)).transpose()?)
    };
    out.following = direct.following;
    out.followed_by = direct.followed_by;
    out.blocking = direct.blocking;
    out.blocked_by = direct.blocked_by;
    out.blocking_by_list = by_list(actor, id)?;
    out.blocked_by_list = by_list(id, actor)?;
    Ok(out)
}

/// Whether a text is the AT-URI of a record in `collection`, its authority a DID.
pub(super) fn is_record_uri(text: &str, collection: &str) -> bool {
    AtUriRef::parse(text).is_some_and(|uri| {
        uri.collection == Some(collection)
            && uri.rkey.is_some()
            && crate::syntax::is_did(uri.authority)
    })
}
