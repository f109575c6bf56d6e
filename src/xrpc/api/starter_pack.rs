//! Starter packs, and which of the viewer's lists and packs an account is on (`app.bsky.graph.*`).

use serde::Serialize;

use super::graph::has_purpose;
use super::page::{CursorParam, FetchedPage, fill, limit, once};
use crate::hydrate::{ActorId, HydrationState, Hydrator, RecordId, TimeCursor};
use crate::schema::rows::EdgeKind;
use crate::schema::{Rows, Target, collections as c};
use crate::view::graph::{
    ListItemView, ListView, StarterPackView, StarterPackViewBasic, list, list_item, starter_pack,
    starter_pack_basic,
};
use crate::xrpc::session::{Identified, Session};
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One {
    starter_pack: StarterPackView,
}

/// `app.bsky.graph.getStarterPack`: reads the pack, its list and feeds, and the newest 50 members.
pub(crate) fn get_starter_pack(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let mut state = h.state();
    let uri = call.params.str("starterPack").unwrap_or_default();
    let uri = session.with_did(uri)?;
    let id = h.record_at(&uri, c::STARTERPACK)?;
    if let Some(id) = id {
        h.starter_packs(&mut state, &[id])?;
    }
    let view = id.and_then(|id| starter_pack(&state, id));
    let starter_pack = view.ok_or_else(|| XrpcError::invalid_request("Starter pack not found"))?;
    session.reply(&One { starter_pack })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Many {
    starter_packs: Vec<StarterPackViewBasic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

fn basic(h: &Hydrator<'_>, ids: &[RecordId]) -> Result<Vec<StarterPackViewBasic>, XrpcError> {
    let mut state = h.state();
    h.starter_packs_basic(&mut state, ids)?;
    Ok(ids.iter().filter_map(|id| starter_pack_basic(&state, *id)).collect())
}

/// `app.bsky.graph.getStarterPacks`: reads up to 25 packs and their counters.
pub(crate) fn get_starter_packs(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let mut ids = Vec::new();
    for uri in call.params.strs("uris") {
        ids.extend(h.record_at(uri, c::STARTERPACK)?);
    }
    session.reply(&Many { starter_packs: basic(&h, &ids)?, cursor: None })
}

/// `app.bsky.graph.getActorStarterPacks`: reads the account's packs, a page of them in full.
pub(crate) fn get_actor_starter_packs(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let owner = known_or_did(&session, call)?;
    let mut held = None;
    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        // Unlike elsewhere, a cursor of the old form is malformed.
        let from = cursor.filter(|text| !text.is_empty()).map(|text| {
            TimeCursor::parse(text).ok_or_else(|| XrpcError::invalid_request("Malformed cursor"))
        });
        let from = from.transpose()?;
        let Some(owner) = owner else { return Ok(FetchedPage::empty()) };
        let page =
            once(&mut held, || h.records_of(owner, c::STARTERPACK))?.page(from.as_ref(), limit)?;
        Ok(FetchedPage { items: basic(&h, &page.items)?, cursor: page.cursor })
    })?;
    session.reply(&Many { starter_packs: page.items, cursor: page.cursor })
}

/// The `actor` parameter: `None` for a DID that the store never saw, 400 for a handle that nobody has.
fn known_or_did(session: &Session, call: &Call) -> Result<Option<ActorId>, XrpcError> {
    match session.identify(call.params.str("actor").unwrap_or_default())? {
        Identified::Known(id) => Ok(Some(id)),
        Identified::UnknownDid => Ok(None),
        Identified::UnknownHandle => Err(XrpcError::invalid_request("Profile not found")),
    }
}

/// One page of the viewer's own records, each with the membership of the account that is asked about.
fn with_membership<T>(
    session: &Session,
    call: &Call,
    coll: crate::schema::CollId,
    show: impl Fn(&mut Membership<'_>, &[RecordId]) -> Result<Vec<T>, XrpcError>,
) -> Result<FetchedPage<T>, XrpcError> {
    let h = session.hydrator();
    let member = known_or_did(session, call)?;
    let mut held = None;
    fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        let (CursorParam::From(cursor), Some(viewer)) =
            (CursorParam::parse(cursor)?, session.ctx.viewer)
        else {
            return Ok(FetchedPage::empty());
        };
        let page = once(&mut held, || h.records_of(viewer, coll))?.page(cursor.as_ref(), limit)?;
        let mut state = h.state();
        h.profiles(&mut state, member.as_slice())?;
        let mut membership = Membership { h, state, member };
        Ok(FetchedPage { items: show(&mut membership, &page.items)?, cursor: page.cursor })
    })
}

struct Membership<'a> {
    h: Hydrator<'a>,
    state: HydrationState,
    member: Option<ActorId>,
}

impl Membership<'_> {
    /// The item that puts the account on a list.
    fn item(&self, list: RecordId) -> Result<Option<ListItemView>, XrpcError> {
        let Some(member) = self.member else { return Ok(None) };
        let snapshot = self.h.snapshot;
        let fan = snapshot.fan(EdgeKind::ListItem, Target::Record(list), member)?;
        let Some(fan) = fan else { return Ok(None) };
        let id = RecordId { actor: list.actor, coll: c::LISTITEM, rkey: fan.rkey };
        Ok(list_item(&self.state, snapshot.uri(id)?, member))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListMembership {
    list: ListView,
    #[serde(skip_serializing_if = "Option::is_none")]
    list_item: Option<ListItemView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListsWithMembershipOutput {
    lists_with_membership: Vec<ListMembership>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// `app.bsky.graph.getListsWithMembership`: reads the viewer's lists, and one edge for each list of the page.
pub(crate) fn get_lists_with_membership(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let purposes = call.params.strs("purposes");
    let page = with_membership(&session, call, c::LIST, |of, ids| {
        of.h.lists(&mut of.state, ids)?;
        let mut out = Vec::with_capacity(ids.len());
        for &id in ids.iter().filter(|id| has_purpose(&of.state, **id, purposes)) {
            let Some(list) = list(&of.state, id) else { continue };
            out.push(ListMembership { list, list_item: of.item(id)? });
        }
        Ok(out)
    })?;
    session.reply(&ListsWithMembershipOutput {
        lists_with_membership: page.items,
        cursor: page.cursor,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PackMembership {
    starter_pack: StarterPackView,
    #[serde(skip_serializing_if = "Option::is_none")]
    list_item: Option<ListItemView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Packs {
    starter_packs_with_membership: Vec<PackMembership>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// `app.bsky.graph.getStarterPacksWithMembership`: reads the viewer's packs, each of the page as getStarterPack does,
/// and one edge for each.
pub(crate) fn get_starter_packs_with_membership(
    app: &AppCtx,
    call: &Call,
) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let page = with_membership(&session, call, c::STARTERPACK, |of, ids| {
        of.h.starter_packs(&mut of.state, ids)?;
        let mut out = Vec::with_capacity(ids.len());
        for &id in ids {
            let Some(starter_pack) = starter_pack(&of.state, id) else { continue };
            let list_item = match of.state.packs.get(&id).and_then(|pack| pack.list) {
                Some(list) => of.item(list)?,
                None => None,
            };
            out.push(PackMembership { starter_pack, list_item });
        }
        Ok(out)
    })?;
    session.reply(&Packs { starter_packs_with_membership: page.items, cursor: page.cursor })
}
