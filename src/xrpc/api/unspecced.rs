//! `app.bsky.unspecced.*`: threads as flat lists, and what clients ask for at the start.

use serde::Serialize;

use crate::hydrate::PostId;
use crate::hydrate::post_state::PostState;
use crate::hydrate::thread::ThreadSkeleton;
use crate::view::post::ThreadgateView;
use crate::view::thread_v2::{FlatThread, ThreadItem, ThreadShape, ThreadSort};
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

#[derive(Serialize)]
struct ThreadV2<'a> {
    #[serde(flatten)]
    thread: FlatThread<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threadgate: Option<ThreadgateView<'a>>,
}

/// `app.bsky.unspecced.getPostThreadV2`
pub(crate) fn get_post_thread_v2(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let (uri, found) = thread(app, &session, call)?;
    let output = match &found {
        None => ThreadV2 { thread: FlatThread::not_found(&uri), threadgate: None },
        Some(found) => {
            let root = found.state.post(found.skeleton.anchor).and_then(|post| post.root());
            let threadgate = root.and_then(|root| found.state.threadgate_view(root));
            ThreadV2 { thread: found.view(&uri), threadgate }
        }
    };
    session.reply(&output)
}

/// A thread, and as what part of it the caller wants to see it.
pub(in crate::xrpc) struct FoundThread {
    pub(in crate::xrpc) state: PostState,
    skeleton: ThreadSkeleton,
    op_thread: Option<Vec<PostId>>,
    above: usize,
    below: usize,
    branching: usize,
    sort: ThreadSort,
}

impl FoundThread {
    /// Its posts in the order in which they are shown. `uri` stands for the anchor, should that not be there.
    pub(in crate::xrpc) fn view<'a>(&'a self, uri: &'a str) -> FlatThread<'a> {
        let Self { above, below, branching, sort, .. } = *self;
        let op_thread = self.op_thread.as_deref();
        let shape = ThreadShape { above, below, branching, sort, op_thread };
        self.state.thread_v2(&self.skeleton, shape, uri)
    }
}

/// The URI of the post that a call names, and the thread around it if the store has a number for it.
pub(in crate::xrpc) fn thread(
    app: &AppCtx,
    session: &Session,
    call: &Call,
) -> Result<(String, Option<FoundThread>), XrpcError> {
    let size = |key, default| {
        call.params.int(key).and_then(|n| usize::try_from(n).ok()).unwrap_or(default)
    };
    let (uri, anchor) = session.resolve_post(call.params.str("anchor").unwrap_or_default())?;
    let limits = app.limits.load();
    let wanted = call.params.bool("above") != Some(false);
    let above = if wanted { limits.max_thread_parents as usize } else { 0 };
    let Some(anchor) = anchor else {
        call.to_fetch.record(&uri, above);
        return Ok((uri, None));
    };
    let below = size("below", 6).min(limits.max_thread_depth as usize);

    let h = session.hydrator();
    let mut state = PostState::new(&h);
    let skeleton = h.thread_skeleton(&mut state, anchor, above, below)?;
    let op_thread = h.op_thread(&mut state, anchor)?;
    h.thread_posts(&mut state, &skeleton)?;
    session.request_above(call, &state, anchor, above)?;
    h.known_likers(&mut state, anchor)?;

    let branching = size("branchingFactor", 10);
    let sort = ThreadSort::named(call.params.str("sort").unwrap_or("oldest"));
    Ok((uri, Some(FoundThread { state, skeleton, op_thread, above, below, branching, sort })))
}

#[derive(Serialize)]
struct Others<'a> {
    thread: Vec<ThreadItem<'a>>,
}

/// `app.bsky.unspecced.getPostThreadOtherV2`
pub(crate) fn get_post_thread_other_v2(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let (_, anchor) = session.resolve_post(call.params.str("anchor").unwrap_or_default())?;
    let Some(anchor) = anchor else { return session.reply(&Others { thread: Vec::new() }) };

    let h = session.hydrator();
    let mut state = PostState::new(&h);
    let skeleton = h.thread_skeleton(&mut state, anchor, 0, 1)?;
    h.thread_posts(&mut state, &skeleton)?;

    session.reply(&Others { thread: state.thread_other_v2(&skeleton) })
}

/// `app.bsky.unspecced.getConfig`: that there are trends, and who may show a link as live, from the configuration.
pub(crate) fn get_config(app: &AppCtx, _: &Call) -> Result<Reply, XrpcError> {
    let config = app.client_config.load();
    if config.live_now.is_empty() {
        return Reply::json(&serde_json::json!({ "topicsEnabled": true }));
    }
    Reply::json(&serde_json::json!({ "topicsEnabled": true, "liveNow": config.live_now }))
}
