//! `app.bsky.feed.*`: timelines, feeds, threads, posts, and who likes, reposts and quotes them.

use serde::Serialize;

use super::page::{CursorParam, FetchedPage, fill, is_outdated, limit, once};
use crate::hydrate::feed::{FeedFilter, SelfThreads};
use crate::hydrate::page::{Page, TimeCursor};
use crate::hydrate::post_state::PostState;
use crate::hydrate::timeline::FeedItem;
use crate::hydrate::{ActorId, Hydrator, PostId, RecordId, Target};
use crate::schema::rows::EdgeKind;
use crate::schema::{Rows, collections as c};
use crate::syntax::AtUriRef;
use crate::syntax::datetime::Time;
use crate::view::actor::{ProfileView, profile};
use crate::view::feed::FeedViewPost;
use crate::view::feedgen::{GeneratorView, generator};
use crate::view::post::{PostView, ThreadgateView};
use crate::view::thread::ThreadNode;
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

#[derive(Serialize)]
pub(super) struct FeedOutput<'a> {
    pub(super) feed: Vec<FeedViewPost<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
}

/// Fills a page of feed items. `keep` drops what rules hide; what has no view is dropped anyway.
pub(super) fn feed_page(
    session: &Session,
    call: &Call,
    mut skeleton: impl FnMut(
        &Hydrator<'_>,
        Option<&TimeCursor>,
        usize,
        bool,
    ) -> Result<Page<FeedItem>, XrpcError>,
    mut keep: impl FnMut(&mut PostState, Vec<FeedItem>) -> Result<Vec<FeedItem>, XrpcError>,
) -> Result<(PostState, FetchedPage<FeedItem>), XrpcError> {
    let h = session.hydrator();
    let mut state = PostState::new(&h);
    let mut first = true;
    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        let CursorParam::From(cursor) = CursorParam::parse(cursor)? else {
            return Ok(FetchedPage::empty());
        };
        let page = skeleton(&h, cursor.as_ref(), limit, first && cursor.is_none())?;
        first = false;
        h.feed_items(&mut state, &page.items)?;
        request_items(session, call, &state, &page.items)?;
        let mut items = keep(&mut state, page.items)?;
        items.retain(|item| state.has_feed_view(item));
        Ok(FetchedPage { items, cursor: page.cursor })
    })?;
    Ok((state, page))
}

/// Requests what the store lacks of a feed: the posts themselves, reposted ones as a rule, what is above replies, and
/// what any of these quote.
pub(super) fn request_items(
    session: &Session,
    call: &Call,
    state: &PostState,
    items: &[FeedItem],
) -> Result<(), XrpcError> {
    for item in items {
        session.request_shown(call, state, item.post, 1)?;
        let reply = state.post(item.post).filter(|post| post.record.reply.is_some());
        for above in reply.into_iter().flat_map(|post| [post.parent(), post.root()]).flatten() {
            session.request_shown(call, state, above, 0)?;
        }
    }
    Ok(())
}

pub(super) fn reply_feed(
    session: &Session,
    state: &PostState,
    page: FetchedPage<FeedItem>,
) -> Result<Reply, XrpcError> {
    let feed = page.items.iter().filter_map(|item| state.feed_view(item)).collect();
    session.reply(&FeedOutput { feed, cursor: page.cursor })
}

fn with_rev(session: &Session, reply: Reply) -> Result<Reply, XrpcError> {
    Ok(reply.with_repo_rev(session.repo_rev()?.as_deref()))
}

pub(super) fn unhidden(
    state: &mut PostState,
    mut items: Vec<FeedItem>,
) -> Result<Vec<FeedItem>, XrpcError> {
    items.retain(|item| !state.blocks_and_mutes(item).any());
    Ok(items)
}

/// `app.bsky.feed.getTimeline`
pub(crate) fn get_timeline(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let viewer = session.ctx.viewer;
    let skeleton = |h: &Hydrator<'_>, cursor: Option<&TimeCursor>, limit: usize, _| match viewer {
        Some(viewer) => Ok(h.timeline(viewer, limit, cursor)?),
        None => Ok(Page::empty()),
    };
    let (state, page) = feed_page(&session, call, skeleton, unhidden)?;
    with_rev(&session, reply_feed(&session, &state, page)?)
}

/// `app.bsky.feed.getListFeed`
pub(crate) fn get_list_feed(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let uri = call.params.str("list").unwrap_or_default();
    let list = session.snapshot.target(uri)?.and_then(Target::record).filter(|r| r.coll == c::LIST);
    let skeleton = |h: &Hydrator<'_>, cursor: Option<&TimeCursor>, limit: usize, _| match list {
        Some(list) => Ok(h.list_feed(list, limit, cursor)?),
        None => Ok(Page::empty()),
    };
    let h = session.hydrator();
    // The owner of a list does not bring together who is blocked.
    let keep = |state: &mut PostState, items: Vec<FeedItem>| {
        let mut items = unhidden(state, items)?;
        if let Some(list) = list {
            h.blocks(&mut state.base, items.iter().map(|item| (list.actor, item.post.author)))?;
            items.retain(|item| !state.base.blocked(list.actor, item.post.author));
        }
        Ok(items)
    };
    let (state, page) = feed_page(&session, call, skeleton, keep)?;
    with_rev(&session, reply_feed(&session, &state, page)?)
}

/// `app.bsky.feed.getActorLikes`: only the viewer's own.
pub(crate) fn get_actor_likes(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let actor = session.actor(call.params.str("actor").unwrap_or_default())?;
    let h = session.hydrator();
    let own = actor.filter(|actor| session.ctx.viewer == Some(*actor));
    let mut likes = own.map(|own| h.edges(EdgeKind::Like, own));
    let skeleton = |_: &Hydrator<'_>, cursor: Option<&TimeCursor>, limit: usize, _| {
        let not_found = || XrpcError::invalid_request("Profile not found");
        let page = likes.as_mut().ok_or_else(not_found)?.page(cursor, limit)?;
        let posts = page.items.iter().filter_map(|edge| match edge.target {
            Target::Post(post) => Some(FeedItem::post(post)),
            _ => None,
        });
        Ok(Page { items: posts.collect(), cursor: page.cursor })
    };
    let keep = |state: &mut PostState, mut items: Vec<FeedItem>| {
        items.retain(|item| !state.base.viewer_block_exists(item.post.author));
        Ok(items)
    };
    let (state, page) = feed_page(&session, call, skeleton, keep)?;
    with_rev(&session, reply_feed(&session, &state, page)?)
}

/// `app.bsky.feed.getAuthorFeed`
pub(crate) fn get_author_feed(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let (state, page) = author_feed(&session, call)?;
    with_rev(&session, reply_feed(&session, &state, page)?)
}

/// A page of what an account posts and reposts.
pub(in crate::xrpc) fn author_feed(
    session: &Session,
    call: &Call,
) -> Result<(PostState, FetchedPage<FeedItem>), XrpcError> {
    let h = session.hydrator();
    let not_found = || XrpcError::invalid_request("Profile not found");
    let id = session.actor(call.params.str("actor").unwrap_or_default())?.ok_or_else(not_found)?;
    let actor = h.actor(id)?.ok_or_else(not_found)?;
    if !session.ctx.include_takedowns && !actor.is_hosted() {
        return Err(not_found());
    }
    let filter = FeedFilter::named(call.params.str("filter").unwrap_or_default());
    let pinned = match actor.pinned_post().filter(|_| call.params.bool("includePins") == Some(true))
    {
        Some(uri) => match session.snapshot.target(uri)? {
            Some(Target::Post(post)) if post.author == id => Some(post),
            _ => None,
        },
        None => None,
    };
    let skeleton = |h: &Hydrator<'_>, cursor: Option<&TimeCursor>, limit: usize, first: bool| {
        let mut page = h.author_feed(id, filter, limit, cursor)?;
        if let Some(post) = pinned.filter(|_| first) {
            page.items.retain(|item| item.post != post);
            page.items.insert(0, FeedItem { post, repost: None, pinned: true });
        }
        Ok(page)
    };
    let keep = |state: &mut PostState, items: Vec<FeedItem>| {
        h.profile_viewers(&mut state.base, &[id])?;
        refuse_blocked(state, id, &actor.did)?;
        let mut threads = SelfThreads::new(&items);
        let shown = |item: &FeedItem| {
            let rules = state.blocks_and_mutes(item);
            // Reposts of muted accounts go; the feed of one that is muted itself is shown.
            let visible = !rules.author_blocked
                && !rules.originator_blocked
                && (!rules.author_muted || rules.originator_muted);
            visible
                && (filter != FeedFilter::AuthorThreads
                    || item.repost.is_some()
                    || item.pinned
                    || threads.complete(state, item.post))
        };
        Ok(items.iter().copied().filter(shown).collect())
    };
    feed_page(session, call, skeleton, keep)
}

fn refuse_blocked(state: &PostState, id: ActorId, did: &str) -> Result<(), XrpcError> {
    let Some(viewer) = state.base.profile_viewers.get(&id) else { return Ok(()) };
    if viewer.blocking.is_some() || viewer.blocking_by_list.is_some() {
        let message = format!("Requester has blocked actor: {did}");
        return Err(XrpcError::named("BlockedActor", message));
    }
    if viewer.blocked_by.is_some() || viewer.blocked_by_list.is_some() {
        let message = format!("Requester is blocked by actor: {did}");
        return Err(XrpcError::named("BlockedByActor", message));
    }
    Ok(())
}

/// Records are named by DID; a handle in its place is refused, as the reference finds nothing by it.
fn by_did(uri: &str) -> Result<&str, XrpcError> {
    match AtUriRef::parse(uri) {
        Some(parts) if !parts.authority.starts_with("did:") => {
            Err(XrpcError::invalid_request("AT-URIs must begin with a DID"))
        }
        _ => Ok(uri),
    }
}

#[derive(Serialize)]
struct Posts<'a> {
    posts: Vec<PostView<'a>>,
}

/// `app.bsky.feed.getPosts`
pub(crate) fn get_posts(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let mut ids: Vec<PostId> = Vec::new();
    for uri in call.params.strs("uris") {
        by_did(uri)?;
        match session.snapshot.target(uri)? {
            Some(Target::Post(id)) if !ids.contains(&id) => ids.push(id),
            Some(_) => {}
            None => call.to_fetch.record(uri, 0),
        }
    }

    let h = session.hydrator();
    let mut state = PostState::new(&h);
    h.posts(&mut state, &ids)?;
    for id in ids.iter().filter(|id| state.post(**id).is_none()) {
        session.request_post(call, *id, 0)?;
    }

    ids.retain(|id| !state.base.viewer_block_exists(id.author));
    let posts = ids.iter().filter_map(|id| state.post_view(*id, 0)).collect();
    session.reply(&Posts { posts })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Like {
    actor: ProfileView,
    created_at: Time,
    indexed_at: Time,
}

/// A page about a record, which the answer names again as it was asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct About<'a, T> {
    #[serde(flatten)]
    items: T,
    uri: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

impl<'a, T> About<'a, T> {
    fn new(call: &'a Call, items: T, cursor: Option<String>) -> Self {
        let uri = call.params.str("uri").unwrap_or_default();
        Self { items, uri, cid: call.params.str("cid"), cursor }
    }
}

#[derive(Serialize)]
struct Likes {
    likes: Vec<Like>,
}

/// `app.bsky.feed.getLikes`
pub(crate) fn get_likes(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let uri = by_did(call.params.str("uri").unwrap_or_default())?;
    let target = session.snapshot.target(uri)?;
    let h = session.hydrator();
    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        if cursor.is_some_and(|c| c.starts_with("did:") && !is_outdated(c)) {
            let message = "Cursor appear to be out of date, please try reloading.";
            return Err(XrpcError::invalid_request(message));
        }
        let (CursorParam::From(cursor), Some(target)) = (CursorParam::parse(cursor)?, target)
        else {
            return Ok(FetchedPage::empty());
        };
        let page = h.fans(EdgeKind::Like, target, cursor.as_ref(), limit)?;
        let actors: Vec<ActorId> = page.items.iter().map(|fan| fan.actor).collect();
        let mut state = h.state();
        h.profiles(&mut state, &actors)?;
        h.blocks(&mut state, actors.iter().map(|a| (target.actor(), *a)))?;
        let mut items = Vec::with_capacity(actors.len());
        for fan in &page.items {
            let like = RecordId::from_index(fan.actor, c::LIKE, fan.rkey);
            if state.blocked(target.actor(), fan.actor)
                || state.viewer_block_exists(fan.actor)
                || h.is_taken_down(Target::Record(like))
            {
                continue;
            }
            let since = h.fan_since(EdgeKind::Like, fan)?;
            items.extend(since.zip(profile(&state, fan.actor)).map(|(since, actor)| Like {
                actor,
                created_at: Time(since),
                indexed_at: Time(fan.sort),
            }));
        }
        Ok(FetchedPage { items, cursor: page.cursor })
    })?;
    session.reply(&About::new(call, Likes { likes: page.items }, page.cursor))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RepostedBy {
    reposted_by: Vec<ProfileView>,
}

/// `app.bsky.feed.getRepostedBy`
pub(crate) fn get_reposted_by(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let target = session.snapshot.target(call.params.str("uri").unwrap_or_default())?;
    let h = session.hydrator();
    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        let (CursorParam::From(cursor), Some(target)) = (CursorParam::parse(cursor)?, target)
        else {
            return Ok(FetchedPage::empty());
        };
        let page = h.fans(EdgeKind::Repost, target, cursor.as_ref(), limit)?;
        let actors: Vec<ActorId> = page.items.iter().map(|fan| fan.actor).collect();
        let mut state = h.state();
        h.profiles(&mut state, &actors)?;
        let shown = page.items.iter().filter(|fan| {
            let repost = RecordId::from_index(fan.actor, c::REPOST, fan.rkey);
            !state.viewer_block_exists(fan.actor) && !h.is_taken_down(Target::Record(repost))
        });
        let items = shown.filter_map(|fan| profile(&state, fan.actor)).collect();
        Ok(FetchedPage { items, cursor: page.cursor })
    })?;
    session.reply(&About::new(call, RepostedBy { reposted_by: page.items }, page.cursor))
}

/// `app.bsky.feed.getQuotes`
pub(crate) fn get_quotes(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let target = session.snapshot.target(call.params.str("uri").unwrap_or_default())?;
    let target = match target {
        // Quotes of what its author deleted are not listed; of posts that are not held, only not yet, they are.
        Some(Target::Post(post)) if session.is_deleted(post)? => None,
        target => target,
    };
    let h = session.hydrator();
    let mut state = PostState::new(&h);
    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        let (CursorParam::From(cursor), Some(target)) = (CursorParam::parse(cursor)?, target)
        else {
            return Ok(FetchedPage::empty());
        };
        let page = h.quotes(target, limit, cursor.as_ref())?;
        h.posts(&mut state, &page.items)?;
        let mut items = page.items;
        items.retain(|id| {
            !state.base.viewer_block_exists(id.author)
                && !state.blocks.get(id).is_some_and(|b| b.embed)
                && state.base.viewer_sees_needs_review(Target::Post(*id))
                && state.post(*id).is_some()
                && state.base.actor(id.author).is_some()
        });
        Ok(FetchedPage { items, cursor: page.cursor })
    })?;
    let posts = page.items.iter().filter_map(|id| state.post_view(*id, 0)).collect();
    session.reply(&About::new(call, Posts { posts }, page.cursor))
}

#[derive(Serialize)]
struct Thread<'a> {
    thread: ThreadNode<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threadgate: Option<ThreadgateView<'a>>,
}

/// `app.bsky.feed.getPostThread`
pub(crate) fn get_post_thread(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let rev = session.repo_rev()?;
    let reply = post_thread(app, &session, call).map_err(|e| e.with_repo_rev(rev.as_deref()))?;
    Ok(reply.with_repo_rev(rev.as_deref()))
}

fn post_thread(app: &AppCtx, session: &Session, call: &Call) -> Result<Reply, XrpcError> {
    let size = |key, default| {
        call.params.int(key).and_then(|n| usize::try_from(n).ok()).unwrap_or(default)
    };
    let depth = size("depth", 6).min(app.limits.load().max_thread_depth as usize);
    let height = size("parentHeight", 80);
    let (uri, anchor) = session.resolve_post(call.params.str("uri").unwrap_or_default())?;
    let not_found = || XrpcError::named("NotFound", format!("Post not found: {uri}"));
    let Some(anchor) = anchor else {
        call.to_fetch.record(&uri, height);
        return Err(not_found());
    };

    let h = session.hydrator();
    let mut state = PostState::new(&h);
    let thread = h.thread_skeleton(&mut state, anchor, height, depth)?;
    h.thread_posts(&mut state, &thread)?;
    session.request_above(call, &state, anchor, height)?;

    let view = state.thread_view(&thread, height, depth).ok_or_else(not_found)?;
    let root = state.post(anchor).and_then(|post| post.root());
    let threadgate = root.and_then(|root| state.threadgate_view(root));
    session.reply(&Thread { thread: view, threadgate })
}

#[derive(Serialize)]
struct GeneratorsOutput {
    feeds: Vec<GeneratorView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

fn generators(session: &Session, ids: &[RecordId]) -> Result<Vec<GeneratorView>, XrpcError> {
    let h = session.hydrator();
    let mut state = h.state();
    h.feed_generators(&mut state, ids)?;
    Ok(ids.iter().filter_map(|id| generator(&state, *id)).collect())
}

/// `app.bsky.feed.getFeedGenerators`
pub(crate) fn get_feed_generators(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let mut ids = Vec::new();
    for uri in call.params.strs("feeds") {
        ids.extend(session.generator_id(uri)?);
    }
    session.reply(&GeneratorsOutput { feeds: generators(&session, &ids)?, cursor: None })
}

/// `app.bsky.feed.getActorFeeds`
pub(crate) fn get_actor_feeds(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let actor = session.actor(call.params.str("actor").unwrap_or_default())?;
    let h = session.hydrator();
    let mut held = None;
    let page = fill(call.params.str("cursor"), limit(call), |cursor, limit| {
        let CursorParam::From(cursor) = CursorParam::parse(cursor)? else {
            return Ok(FetchedPage::empty());
        };
        let actor = actor.ok_or_else(|| XrpcError::invalid_request("Profile not found"))?;
        let page =
            once(&mut held, || h.records_of(actor, c::GENERATOR))?.page(cursor.as_ref(), limit)?;
        Ok(FetchedPage { items: generators(&session, &page.items)?, cursor: page.cursor })
    })?;
    session.reply(&GeneratorsOutput { feeds: page.items, cursor: page.cursor })
}
