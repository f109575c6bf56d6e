//! `app.bsky.notification.*`: what happened to the viewer, and up to when they have seen it.
//!
//! The first call of an account makes it a member, if `scope.join` lets it in: from then on its notifications are kept,
//! and those from before are built.

use std::sync::Arc;

use serde::Serialize;

use super::page::{limit, time_cursor};
use crate::hydrate::notification::{NotifAuthors, NotifPage, NotifState};
use crate::hydrate::{ActorId, Hydrator, Target};
use crate::private::seen;
use crate::schema::Rows;
use crate::schema::rows::NotifRow;
use crate::store::StoreError;
use crate::syntax::datetime::{self, Time};
use crate::view::notification::{NotifText, NotificationView};
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// How often the store is asked to fill one page.
const MAX_FETCHES: usize = 10;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Notifications<'a> {
    notifications: Vec<NotificationView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    priority: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen_at: Option<Time>,
}

/// An answer, and whether the viewer is shown more if they belong to the community.
type Partial = Result<(Reply, bool), XrpcError>;

/// Runs `read` on the read pool once the viewer is a member, and once more if they belong to the community and are shown
/// more by that.
async fn as_member(
    app: Arc<AppCtx>,
    mut call: Call,
    read: fn(&AppCtx, &Call) -> Partial,
) -> Result<Reply, XrpcError> {
    refuse_seen_at(&call)?;
    match app.members.ensure(call.require_viewer()?).await {
        // It becomes one at a later call; nobody's reading depends on the disk.
        Ok(true) | Err(StoreError::NoRoom) => {}
        Ok(false) => return Err(XrpcError::not_a_member()),
        Err(error) => return Err(error.into()),
    }
    loop {
        let on_pool = Arc::clone(&app);
        let line = call.line();
        let run = move || (read(&on_pool, &call), call);
        let (answer, back) = app.blocking(line, run).await?;
        let (reply, withheld) = answer?;
        call = back;
        if !withheld || call.community || !app.seek_community(&mut call).await? {
            return Ok(reply);
        }
    }
}

fn refuse_seen_at(call: &Call) -> Result<(), XrpcError> {
    match call.params.str("seenAt") {
        Some(_) => Err(XrpcError::invalid_request("The seenAt parameter is unsupported")),
        None => Ok(()),
    }
}

/// `app.bsky.notification.listNotifications`
pub(crate) async fn list_notifications(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    as_member(app, call, list).await
}

/// What is given so far.
struct Listing<'h> {
    h: Hydrator<'h>,
    state: NotifState,
    shown: Vec<(NotifText, Option<i64>)>,
}

impl Listing<'_> {
    /// Hydrates rows, drops those that rules hide, and keeps the rest with the seen time that holds for them.
    fn add(&mut self, rows: &[NotifRow], seen: Option<i64>) -> Result<(), StoreError> {
        self.h.notified(&mut self.state, rows)?;
        for row in rows.iter().filter(|row| !self.state.is_hidden(row)) {
            let s = self.h.snapshot;
            let subject = match row.subject {
                Some(Target::Actor(_)) | None => None,
                Some(target) => Some(s.target_text(target)?),
            };
            let text = NotifText { row: *row, uri: s.uri(row.record())?, subject };
            if self.state.view(&text, seen).is_some() {
                self.shown.push((text, seen));
            }
        }
        Ok(())
    }
}

fn list(app: &AppCtx, call: &Call) -> Partial {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let limit = limit(call);
    let priority = match (call.params.bool("priority"), session.ctx.viewer) {
        (Some(asked), _) => asked,
        (None, Some(viewer)) => h.saved_priority(viewer)?,
        (None, None) => false,
    };
    let authors = if priority { NotifAuthors::Followed } else { NotifAuthors::All };
    let from = time_cursor(call.params.str("cursor"))?;
    let now = session.ctx.now;
    let mut listing = Listing { h, state: NotifState::new(&h), shown: Vec::new() };
    let (mut seen_at, mut next, mut withheld) = (None, None, false);
    if let Some(viewer) = session.ctx.viewer {
        let seen = h.seen(viewer)?;
        let mut before = from.map_or(now, |ms| ms.min(now));
        for fetch in 0..MAX_FETCHES {
            let room = limit.saturating_sub(listing.shown.len());
            let page = page(&h, call, viewer, authors, room, before)?;
            // Without a seen time only the newest of the first page is unread.
            let seen = match (seen, from, fetch) {
                (None, None, 0) => page.rows.first().map(|row| row.sort),
                (seen, ..) => seen,
            };
            if fetch == 0 {
                seen_at = seen;
            }
            listing.add(&page.rows, seen)?;
            withheld |= page.withheld;
            next = page.cursor;
            match next {
                Some(at) if listing.shown.len() < limit => before = at,
                _ => break,
            }
        }
    }
    let Listing { state, shown, .. } = &listing;
    let views = shown.iter().filter_map(|(text, seen)| state.view(text, *seen));
    let reply = session.reply(&Notifications {
        notifications: views.collect(),
        cursor: next.map(datetime::format_ms),
        priority,
        seen_at: seen_at.map(Time),
    });
    Ok((reply?, withheld))
}

/// One page of rows; reasons are filtered after paging.
fn page(
    h: &Hydrator<'_>,
    call: &Call,
    viewer: ActorId,
    authors: NotifAuthors,
    limit: usize,
    before: i64,
) -> Result<NotifPage, StoreError> {
    let mut page = h.notifications(viewer, authors, limit, before)?;
    let reasons = call.params.strs("reasons");
    if !reasons.is_empty() {
        page.rows.retain(|row| reasons.iter().any(|reason| reason == row.reason.name()));
    }
    Ok(page)
}

#[derive(Serialize)]
struct Count {
    count: u64,
}

/// `app.bsky.notification.getUnreadCount`
pub(crate) async fn get_unread_count(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    as_member(app, call, unread).await
}

fn unread(app: &AppCtx, call: &Call) -> Partial {
    let session = Session::open(app, call)?;
    let (count, withheld) = match session.ctx.viewer {
        Some(viewer) => session.hydrator().unread(viewer)?,
        None => (0, false),
    };
    Ok((Reply::json(&Count { count })?, withheld))
}

/// `app.bsky.notification.updateSeen`
pub(crate) async fn update_seen(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str().to_owned();
    let seen = call.input.as_ref().and_then(|input| input.get("seenAt")?.as_str());
    let seen = seen.and_then(datetime::parse_strict);
    let at = seen.ok_or_else(|| XrpcError::invalid_request("seenAt must be a datetime"))?;
    app.private.change(move |r| seen::see(r, &viewer, at)).await?;
    Ok(Reply::empty())
}
