//! `app.bsky.bookmark.*`: private state, answered once it is on disk, and its pages.

use std::sync::Arc;

use serde::Serialize;

use super::page::{limit, tid_cursor};
use super::quota;
use crate::hydrate::Page;
use crate::private::bookmarks;
use crate::syntax::AtUriRef;
use crate::view::bookmark::BookmarkView;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

const POST: &str = "app.bsky.feed.post";

fn text<'a>(call: &'a Call, key: &str) -> &'a str {
    call.input.as_ref().and_then(|input| input.get(key)?.as_str()).unwrap_or_default()
}

/// The post's URI in the input.
fn subject(call: &Call) -> Result<String, XrpcError> {
    let uri = text(call, "uri");
    match AtUriRef::parse(uri) {
        Some(parts) if parts.collection == Some(POST) => Ok(uri.to_owned()),
        _ => Err(XrpcError::named(
            "UnsupportedCollection",
            format!("Only '{POST}' records can be bookmarked"),
        )),
    }
}

/// `app.bsky.bookmark.createBookmark`
pub(crate) async fn create_bookmark(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let viewer = call.require_viewer()?.as_str().to_owned();
    let (uri, cid) = (subject(&call)?, text(&call, "cid").to_owned());
    quota::room_for(quota::BOOKMARKS, &app, &call, &uri).await?;
    let at = app.clock.now_ms();
    let made = app.private.change(move |r| bookmarks::add(r, &viewer, &uri, &cid, at)).await?;
    match made {
        true => Ok(Reply::empty()),
        false => Err(XrpcError::invalid_request("uri must name a post by the DID of its author")),
    }
}

/// `app.bsky.bookmark.deleteBookmark`: to take away what is not there is fine.
pub(crate) async fn delete_bookmark(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let gone = bookmarks::take_away(call.require_viewer()?.as_str(), &subject(&call)?);
    app.private.change(move |_| Ok((vec![gone], ()))).await?;
    Ok(Reply::empty())
}

#[derive(Serialize)]
struct Bookmarks<'a> {
    bookmarks: Vec<BookmarkView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// `app.bsky.bookmark.getBookmarks`: mutes do not hide, blocks are shown as such.
pub(crate) fn get_bookmarks(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let before = tid_cursor(call.params.str("cursor"))?;
    let page = match session.ctx.viewer {
        Some(viewer) => h.bookmarks(viewer, before, limit(call))?,
        None => Page::empty(),
    };
    let state = h.bookmarked(&page.items)?;
    let bookmarks = page.items.iter().map(|item| state.bookmark_view(item)).collect();
    session.reply(&Bookmarks { bookmarks, cursor: page.cursor })
}
