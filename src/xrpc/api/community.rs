//! `community.blacksky.*`: posts whose content is kept here, answered once they are on disk, their feeds, and who belongs
//! to the community.
//!
//! A client submits the content, then writes a stub with its CID to the author's repo; the content goes when the stub
//! goes. Rules are checked when a post comes, as of what the store holds then.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::feed::{feed_page, reply_feed, unhidden};
use crate::hydrate::post_state::{Post, PostState};
use crate::hydrate::{ActorId, Hydrator, PostId, Target, TimeCursor};
use crate::private::community::NewPost;
use crate::private::{self, community as posts};
use crate::repo::dag_cbor;
use crate::schema::Rows;
use crate::syntax::cid;
use crate::view::post::PostView;
use crate::xrpc::session::{Identified, Session};
use crate::xrpc::{AppCtx, Call, Community, Reply, XrpcError};

fn configured(app: &AppCtx) -> Result<Arc<Community>, XrpcError> {
    let community = app.community.clone();
    community.ok_or_else(|| XrpcError::not_configured("This service has no community posts."))
}

/// The community, if the caller belongs to it.
async fn enter(app: &AppCtx, call: &mut Call) -> Result<Arc<Community>, XrpcError> {
    let community = configured(app)?;
    call.require_viewer()?;
    match call.community || app.seek_community(call).await? {
        true => Ok(community),
        false => Err(XrpcError::auth("MembershipRequired", "Must be a community member")),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Membership {
    is_member: bool,
}

/// `community.blacksky.actor.checkMembership`: whether the client has to show anything of the community.
pub(crate) async fn check_membership(app: Arc<AppCtx>, mut call: Call) -> Result<Reply, XrpcError> {
    configured(&app)?;
    call.require_viewer()?;
    let is_member = call.community || app.seek_community(&mut call).await?;
    Reply::json(&Membership { is_member })
}

/// Runs a reading handler for a member.
async fn read(
    app: Arc<AppCtx>,
    mut call: Call,
    handler: fn(&Session, &Call) -> Result<Reply, XrpcError>,
) -> Result<Reply, XrpcError> {
    enter(&app, &mut call).await?;
    let reads = Arc::clone(&app);
    app.blocking(call.line(), move || handler(&Session::open(&reads, &call)?, &call)).await?
}

fn feed(session: &Session, call: &Call, author: Option<ActorId>) -> Result<Reply, XrpcError> {
    let skeleton = |h: &Hydrator<'_>, cursor: Option<&TimeCursor>, limit: usize, _| {
        Ok(h.community_posts(author, limit, cursor)?)
    };
    let (state, page) = feed_page(session, call, skeleton, unhidden)?;
    reply_feed(session, &state, page)
}

/// `community.blacksky.feed.getCommunityTimeline`
pub(crate) async fn get_community_timeline(
    app: Arc<AppCtx>,
    call: Call,
) -> Result<Reply, XrpcError> {
    read(app, call, |session, call| feed(session, call, None)).await
}

#[derive(Serialize)]
struct Empty {
    feed: [(); 0],
}

/// `community.blacksky.feed.getCommunityFeed`
pub(crate) async fn get_community_feed(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    read(app, call, |session, call| {
        match session.identify(call.params.str("actor").unwrap_or_default())? {
            Identified::Known(author) => feed(session, call, Some(author)),
            Identified::UnknownDid => session.reply(&Empty { feed: [] }),
            Identified::UnknownHandle => Err(XrpcError::invalid_request("Actor not found")),
        }
    })
    .await
}

fn not_found() -> XrpcError {
    XrpcError::named("PostNotFound", "Post not found")
}

#[derive(Serialize)]
struct PostOutput<'a> {
    post: PostView<'a>,
}

/// `community.blacksky.feed.getCommunityPost`: as if it were not there for those between whom and the author is a block.
pub(crate) async fn get_community_post(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    read(app, call, |session, call| {
        let uri = session.with_did(call.params.str("uri").unwrap_or_default())?;
        let post = community_post(session, &uri)?.ok_or_else(not_found)?;
        let mut state = PostState::new(&session.hydrator());
        session.hydrator().posts(&mut state, &[post])?;
        let shown = !state.base.viewer_block_exists(post.author);
        let view = state.post_view(post, 0).filter(|_| shown).ok_or_else(not_found)?;
        session.reply(&PostOutput { post: view })
    })
    .await
}

fn community_post(session: &Session, uri: &str) -> Result<Option<PostId>, XrpcError> {
    Ok(match session.snapshot.target(uri)? {
        Some(Target::Post(post)) => Some(post).filter(|post| post.is_community()),
        _ => None,
    })
}

#[derive(Serialize)]
struct Submitted {
    uri: String,
    cid: String,
}

/// `community.blacksky.feed.submitPost`
pub(crate) async fn submit_post(app: Arc<AppCtx>, mut call: Call) -> Result<Reply, XrpcError> {
    let community = enter(&app, &mut call).await?;
    let author = call.require_viewer()?.as_str().to_owned();
    let input = call.input.as_ref();
    let text = |key: &str| input.and_then(|input| input.get(key)?.as_str()).unwrap_or_default();
    let rkey = text("rkey").to_owned();
    if posts::id(ActorId(0), &rkey).is_none() {
        return Err(XrpcError::invalid_request("rkey must be a TID of the present time"));
    }
    let Some(new) = input.and_then(|input| NewPost::read(&dag_cbor::from_json(input))) else {
        return Err(XrpcError::invalid_request(
            "createdAt must be a canonical ISO-8601 timestamp, and the post must not nest too deep",
        ));
    };
    let computed = cid::to_base32(&cid::for_digest(cid::DAG_CBOR, &new.cid));
    let expected = text("expectedCid");
    if !expected.is_empty() && expected != computed {
        let message = format!("CID mismatch: expected {expected}, computed {computed}");
        return Err(XrpcError::named("CidMismatch", message));
    }
    let uri = format!("at://{author}/community.blacksky.feed.post/{}", text("rkey"));
    let reads = Arc::clone(&app);
    app.blocking(call.line(), move || permitted(&Session::open(&reads, &call)?, &call)).await??;
    let now = app.clock.now_ms();
    let most = community.most_posts;
    let kept = app.private.change(move |r| posts::submit(r, &author, &rkey, &new, now, most));
    match kept.await? {
        true => Reply::json(&Submitted { uri, cid: computed }),
        false => Err(XrpcError::named("PostLimitReached", "Community posts limit reached")),
    }
}

/// Whether the caller may post here, and may reply to and quote what the post replies to and quotes.
fn permitted(session: &Session, call: &Call) -> Result<(), XrpcError> {
    let Some(input) = &call.input else { return Ok(()) };
    if let Some(author) = session.ctx.viewer
        && private::opted_out(&session.snapshot, author)?.is_some()
    {
        let message = "You opted out of being collected here, so nothing that you publish is kept";
        return Err(XrpcError::named("OptedOut", message));
    }
    let uri = |path: &str| input.pointer(path).and_then(Value::as_str);
    let h = session.hydrator();
    let mut state = PostState::new(&h);
    if input.get("reply").is_some() {
        let at = |path| community_post(session, uri(path).unwrap_or_default());
        let (root, parent) = (at("/reply/root/uri")?, at("/reply/parent/uri")?);
        let wrong = |what| XrpcError::named("InvalidReply", what);
        let missing = || wrong("Replies to community posts must reference community posts");
        let (root, parent) = root.zip(parent).ok_or_else(missing)?;
        h.posts(&mut state, &[root, parent])?;
        let found = |id| state.post(id).filter(|_| state.base.actor(id.author).is_some());
        let (root, parent) = found(root)
            .zip(found(parent))
            .ok_or_else(|| wrong("Reply root or parent post not found"))?;
        if parent.root() != Some(root.id) || root.record.reply.is_some() {
            return Err(wrong("The parent is not in the thread of the root"));
        }
        may_reply(&state, root, parent)?;
    }
    for path in ["/embed/record/uri", "/embed/record/record/uri"] {
        if let Some(Target::Post(quoted)) =
            session.snapshot.target(uri(path).unwrap_or_default())?
        {
            h.posts(&mut state, &[quoted])?;
            if state.embedding_disabled(quoted) {
                let message = "The quoted post has quotes disabled";
                return Err(XrpcError::named("EmbeddingDisabled", message));
            }
        }
    }
    Ok(())
}

fn may_reply(state: &PostState, root: &Post, parent: &Post) -> Result<(), XrpcError> {
    let authors = [root.id.author, parent.id.author];
    if authors.into_iter().any(|author| state.base.viewer_block_exists(author)) {
        return Err(XrpcError::named("BlockedActor", "Cannot reply to this thread"));
    }
    if state.reply_disabled(root) == Some(true) {
        let message = "The thread author has limited who can reply";
        return Err(XrpcError::named("ReplyNotAllowed", message));
    }
    Ok(())
}

#[derive(Serialize)]
struct DeletePostOutput {}

/// `community.blacksky.feed.deletePost`: for who left the community too.
pub(crate) async fn delete_post(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    configured(&app)?;
    let author = call.require_viewer()?.as_str().to_owned();
    let uri = call.input.as_ref().and_then(|input| input.get("uri")?.as_str()).map(str::to_owned);
    let uri = uri.unwrap_or_default();
    let deleted = app.private.change(move |r| posts::delete(r, &author, &uri));
    match deleted.await? {
        true => Reply::json(&DeletePostOutput {}),
        false => Err(XrpcError::named("PostNotFound", "Post not found or not owned by requester")),
    }
}
