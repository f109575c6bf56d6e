//! The method table: routing, authentication, parameter checks and the docs page all come from it.
//!
//! Query or procedure, parameters and input are not repeated here: they are the lexicon's.

use std::pin::Pin;
use std::sync::Arc;

use super::api;
use super::auth::{Auth, TokenRule};
use super::call::Call;
use super::context::AppCtx;
use super::error::XrpcError;
use super::reply::Reply;
use crate::limits::Limit;

/// Runs on the read pool: it may block on the store, not on the network. The usual kind.
pub type ReadFn = fn(&AppCtx, &Call) -> Result<Reply, XrpcError>;

/// What an asynchronous handler returns.
pub type ReplyFuture = Pin<Box<dyn Future<Output = Result<Reply, XrpcError>> + Send>>;

/// Runs on the I/O threads: for methods that ask other servers or wait for the disk. Store reads inside it go through
/// [`AppCtx::blocking`].
pub type AsyncFn = fn(Arc<AppCtx>, Call) -> ReplyFuture;

/// The function behind a method.
#[derive(Debug, Clone, Copy)]
pub enum Handler {
    /// Skeleton, hydration, view and serialisation in one hop to the read pool.
    Read(ReadFn),
    /// `Handler::Async(|ctx, call| Box::pin(get_feed(ctx, call)))`
    Async(AsyncFn),
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// The method's NSID.
    pub nsid: &'static str,
    /// Who may call.
    pub auth: Auth,
    /// Which tokens fit.
    pub tokens: TokenRule,
    /// The function.
    pub handler: Handler,
    /// What its calls count as besides [`Limit::Requests`].
    pub limit: Option<Limit>,
    /// It is among the first that are given up when too many wait.
    pub costly: bool,
    /// What it asks for is kept, which is done for members only.
    pub keeps: bool,
}

impl Method {
    /// A row with a handler that reads the store.
    pub const fn read(nsid: &'static str, auth: Auth, handler: ReadFn) -> Self {
        let (tokens, handler) = (TokenRule::Own, Handler::Read(handler));
        Self { nsid, auth, tokens, handler, limit: None, costly: false, keeps: false }
    }

    /// A row with an asynchronous handler.
    pub const fn asynchronous(nsid: &'static str, auth: Auth, handler: AsyncFn) -> Self {
        let (tokens, handler) = (TokenRule::Own, Handler::Async(handler));
        Self { nsid, auth, tokens, handler, limit: None, costly: false, keeps: false }
    }

    /// The same row with a further limit.
    #[must_use]
    pub const fn counts_as(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The same row, given up early when too many wait.
    #[must_use]
    pub const fn costly(mut self) -> Self {
        self.costly = true;
        self
    }

    /// The same row, a change that is kept: it counts as a write, and its caller has to be a member.
    #[must_use]
    pub const fn keeps(mut self) -> Self {
        self.keeps = true;
        self.counts_as(Limit::Writes)
    }

    /// The same row with another token rule.
    #[must_use]
    pub const fn tokens(mut self, tokens: TokenRule) -> Self {
        self.tokens = tokens;
        self
    }
}

/// Every method that this server answers.
#[rustfmt::skip]
pub static METHODS: &[Method] = &[
    Method::asynchronous("alt.aerie.account.deleteData", Auth::Required, |ctx, call| Box::pin(api::rights::delete_data(ctx, call))).counts_as(Limit::Writes),
    Method::asynchronous("alt.aerie.account.exportData", Auth::Required, |ctx, call| Box::pin(api::rights::export_data(ctx, call))).counts_as(Limit::Exports).costly(),
    Method::read("alt.aerie.account.getStatus", Auth::Required, api::rights::get_status),
    Method::asynchronous("alt.aerie.account.putOptOut", Auth::Required, |ctx, call| Box::pin(api::rights::put_opt_out(ctx, call))).counts_as(Limit::Writes),
    Method::read("alt.aerie.draft.previewSchedule", Auth::Required, api::schedule::preview_schedule),
    Method::read("app.bsky.actor.getProfile", Auth::OptionalOrAdmin, api::actor::get_profile),
    Method::read("app.bsky.actor.getProfiles", Auth::Optional, api::actor::get_profiles).tokens(TokenRule::OrChat),
    Method::read("app.bsky.actor.getSuggestions", Auth::Optional, api::discovery::get_suggestions).costly(),
    Method::read("app.bsky.actor.searchActors", Auth::Optional, api::search::search_actors).costly(),
    Method::read("app.bsky.actor.searchActorsTypeahead", Auth::Optional, api::search::search_actors_typeahead).costly(),
    Method::read("app.bsky.ageassurance.begin", Auth::Required, api::age_assurance::not_offered),
    Method::read("app.bsky.ageassurance.getConfig", Auth::Optional, api::age_assurance::get_config),
    Method::read("app.bsky.ageassurance.getState", Auth::Required, api::age_assurance::get_state),
    Method::asynchronous("app.bsky.bookmark.createBookmark", Auth::Required, |ctx, call| Box::pin(api::bookmark::create_bookmark(ctx, call))).keeps(),
    Method::asynchronous("app.bsky.bookmark.deleteBookmark", Auth::Required, |ctx, call| Box::pin(api::bookmark::delete_bookmark(ctx, call))).counts_as(Limit::Writes),
    Method::read("app.bsky.bookmark.getBookmarks", Auth::Required, api::bookmark::get_bookmarks),
    Method::read("app.bsky.contact.dismissMatch", Auth::Required, api::contact::not_offered),
    Method::read("app.bsky.contact.getMatches", Auth::Required, api::contact::not_offered),
    Method::read("app.bsky.contact.getSyncStatus", Auth::Required, api::contact::not_offered),
    Method::read("app.bsky.contact.importContacts", Auth::Required, api::contact::not_offered),
    Method::read("app.bsky.contact.removeData", Auth::Required, api::contact::not_offered),
    Method::read("app.bsky.contact.sendNotification", Auth::AdminOrModService, api::contact::not_offered),
    Method::read("app.bsky.contact.startPhoneVerification", Auth::Required, api::contact::not_offered),
    Method::read("app.bsky.contact.verifyPhone", Auth::Required, api::contact::not_offered),
    Method::asynchronous("app.bsky.draft.createDraft", Auth::Required, |ctx, call| Box::pin(api::draft::create_draft(ctx, call))).keeps(),
    Method::asynchronous("app.bsky.draft.deleteDraft", Auth::Required, |ctx, call| Box::pin(api::draft::delete_draft(ctx, call))).counts_as(Limit::Writes),
    Method::read("app.bsky.draft.getDrafts", Auth::Required, api::draft::get_drafts),
    Method::asynchronous("app.bsky.draft.updateDraft", Auth::Required, |ctx, call| Box::pin(api::draft::update_draft(ctx, call))).keeps(),
    Method::read("app.bsky.embed.getEmbedExternalView", Auth::Optional, api::embed::get_embed_external_view),
    Method::read("app.bsky.feed.getActorFeeds", Auth::Optional, api::feed::get_actor_feeds),
    Method::read("app.bsky.feed.getActorLikes", Auth::Optional, api::feed::get_actor_likes).costly(),
    Method::read("app.bsky.feed.getAuthorFeed", Auth::OptionalOrAdmin, api::feed::get_author_feed).costly(),
    Method::asynchronous("app.bsky.feed.getFeed", Auth::Optional, |ctx, call| Box::pin(api::feedgen::get_feed(ctx, call))).tokens(TokenRule::FeedGenerator).costly(),
    Method::asynchronous("app.bsky.feed.getFeedGenerator", Auth::Optional, |ctx, call| Box::pin(api::feedgen::get_feed_generator(ctx, call))),
    Method::read("app.bsky.feed.getFeedGenerators", Auth::Optional, api::feed::get_feed_generators),
    Method::read("app.bsky.feed.getLikes", Auth::Optional, api::feed::get_likes),
    Method::read("app.bsky.feed.getListFeed", Auth::Optional, api::feed::get_list_feed).costly(),
    Method::read("app.bsky.feed.getPostThread", Auth::OptionalOrAdmin, api::feed::get_post_thread).costly(),
    Method::read("app.bsky.feed.getPosts", Auth::Optional, api::feed::get_posts).tokens(TokenRule::OrChat),
    Method::read("app.bsky.feed.getQuotes", Auth::Optional, api::feed::get_quotes).costly(),
    Method::read("app.bsky.feed.getRepostedBy", Auth::Optional, api::feed::get_reposted_by),
    Method::read("app.bsky.feed.getSuggestedFeeds", Auth::Optional, api::discovery::get_suggested_feeds).costly(),
    Method::read("app.bsky.feed.getTimeline", Auth::Required, api::feed::get_timeline).costly(),
    Method::read("app.bsky.feed.searchPosts", Auth::Optional, api::search::search_posts).costly(),
    Method::read("app.bsky.feed.searchPostsV2", Auth::Optional, api::search::search_posts_v2).costly(),
    Method::read("app.bsky.graph.getActorStarterPacks", Auth::Optional, api::starter_pack::get_actor_starter_packs),
    Method::read("app.bsky.graph.getBlocks", Auth::Required, api::graph::get_blocks),
    Method::read("app.bsky.graph.getFollowers", Auth::OptionalOrAdmin, api::graph::get_followers),
    Method::read("app.bsky.graph.getFollows", Auth::OptionalOrAdmin, api::graph::get_follows),
    Method::read("app.bsky.graph.getKnownFollowers", Auth::Required, api::graph::get_known_followers).costly(),
    Method::read("app.bsky.graph.getList", Auth::Optional, api::graph::get_list),
    Method::read("app.bsky.graph.getListBlocks", Auth::Required, api::graph::get_list_blocks),
    Method::read("app.bsky.graph.getListMutes", Auth::Required, api::graph::get_list_mutes),
    Method::read("app.bsky.graph.getLists", Auth::OptionalOrAdmin, api::graph::get_lists),
    Method::read("app.bsky.graph.getListsWithMembership", Auth::Required, api::starter_pack::get_lists_with_membership),
    Method::read("app.bsky.graph.getMutes", Auth::Required, api::graph::get_mutes),
    Method::read("app.bsky.graph.getRelationships", Auth::None, api::graph::get_relationships),
    Method::read("app.bsky.graph.getStarterPack", Auth::Optional, api::starter_pack::get_starter_pack),
    Method::read("app.bsky.graph.getStarterPacks", Auth::Optional, api::starter_pack::get_starter_packs),
    Method::read("app.bsky.graph.getStarterPacksWithMembership", Auth::Required, api::starter_pack::get_starter_packs_with_membership),
    Method::read("app.bsky.graph.getSuggestedFollowsByActor", Auth::Optional, api::discovery::get_suggested_follows_by_actor).costly(),
    Method::asynchronous("app.bsky.graph.muteActor", Auth::Required, |ctx, call| Box::pin(api::mute::mute_actor(ctx, call))).keeps(),
    Method::asynchronous("app.bsky.graph.muteActorList", Auth::Required, |ctx, call| Box::pin(api::mute::mute_actor_list(ctx, call))).keeps(),
    Method::asynchronous("app.bsky.graph.muteThread", Auth::Required, |ctx, call| Box::pin(api::mute::mute_thread(ctx, call))).keeps(),
    Method::read("app.bsky.graph.searchStarterPacks", Auth::Optional, api::search::search_starter_packs).costly(),
    Method::read("app.bsky.graph.searchStarterPacksV2", Auth::Optional, api::search::search_starter_packs_v2).costly(),
    Method::asynchronous("app.bsky.graph.unmuteActor", Auth::Required, |ctx, call| Box::pin(api::mute::unmute_actor(ctx, call))).counts_as(Limit::Writes),
    Method::asynchronous("app.bsky.graph.unmuteActorList", Auth::Required, |ctx, call| Box::pin(api::mute::unmute_actor_list(ctx, call))).counts_as(Limit::Writes),
    Method::asynchronous("app.bsky.graph.unmuteThread", Auth::Required, |ctx, call| Box::pin(api::mute::unmute_thread(ctx, call))).counts_as(Limit::Writes),
    Method::read("app.bsky.labeler.getServices", Auth::Optional, api::labeler::get_services),
    Method::read("app.bsky.notification.getPreferences", Auth::Required, api::preferences::get_preferences),
    Method::asynchronous("app.bsky.notification.getUnreadCount", Auth::Required, |ctx, call| Box::pin(api::notification::get_unread_count(ctx, call))),
    Method::read("app.bsky.notification.listActivitySubscriptions", Auth::Required, api::subscription::list_activity_subscriptions),
    Method::asynchronous("app.bsky.notification.listNotifications", Auth::Required, |ctx, call| Box::pin(api::notification::list_notifications(ctx, call))).costly(),
    Method::asynchronous("app.bsky.notification.putActivitySubscription", Auth::Required, |ctx, call| Box::pin(api::subscription::put_activity_subscription(ctx, call))).counts_as(Limit::Writes),
    Method::asynchronous("app.bsky.notification.putPreferences", Auth::Required, |ctx, call| Box::pin(api::preferences::put_preferences(ctx, call))).keeps(),
    Method::asynchronous("app.bsky.notification.putPreferencesV2", Auth::Required, |ctx, call| Box::pin(api::preferences::put_preferences_v2(ctx, call))).keeps(),
    Method::asynchronous("app.bsky.notification.registerPush", Auth::Required, |ctx, call| Box::pin(api::push::register_push(ctx, call))).keeps(),
    Method::asynchronous("app.bsky.notification.unregisterPush", Auth::Required, |ctx, call| Box::pin(api::push::unregister_push(ctx, call))).counts_as(Limit::Writes),
    Method::asynchronous("app.bsky.notification.updateSeen", Auth::Required, |ctx, call| Box::pin(api::notification::update_seen(ctx, call))).keeps(),
    Method::read("app.bsky.unspecced.getAgeAssuranceState", Auth::Required, api::age_assurance::get_state_v1),
    Method::read("app.bsky.unspecced.getConfig", Auth::None, api::unspecced::get_config),
    Method::read("app.bsky.unspecced.getOnboardingSuggestedStarterPacks", Auth::Optional, api::discovery::get_suggested_starter_packs).costly(),
    Method::read("app.bsky.unspecced.getPopularFeedGenerators", Auth::Optional, api::discovery::get_popular_feed_generators).costly(),
    Method::read("app.bsky.unspecced.getPostThreadOtherV2", Auth::OptionalOrAdmin, api::unspecced::get_post_thread_other_v2).costly(),
    Method::read("app.bsky.unspecced.getPostThreadV2", Auth::OptionalOrAdmin, api::unspecced::get_post_thread_v2).costly(),
    Method::read("app.bsky.unspecced.getSuggestedFeeds", Auth::Optional, api::discovery::get_first_suggested_feeds).costly(),
    Method::read("app.bsky.unspecced.getSuggestedOnboardingUsers", Auth::Optional, api::discovery::get_suggested_users).costly(),
    Method::read("app.bsky.unspecced.getSuggestedStarterPacks", Auth::Optional, api::discovery::get_suggested_starter_packs).costly(),
    Method::read("app.bsky.unspecced.getSuggestedUsers", Auth::Optional, api::discovery::get_suggested_users).costly(),
    Method::read("app.bsky.unspecced.getSuggestedUsersForDiscover", Auth::Optional, api::discovery::get_suggested_users).costly(),
    Method::read("app.bsky.unspecced.getSuggestedUsersForExplore", Auth::Optional, api::discovery::get_suggested_users).costly(),
    Method::read("app.bsky.unspecced.getSuggestedUsersForSeeMore", Auth::Optional, api::discovery::get_suggested_users).costly(),
    Method::read("app.bsky.unspecced.getTaggedSuggestions", Auth::None, api::discovery::get_tagged_suggestions),
    Method::read("app.bsky.unspecced.getTrendingTopics", Auth::Optional, api::discovery::get_trending_topics),
    Method::read("app.bsky.unspecced.getTrends", Auth::Optional, api::discovery::get_trends),
    Method::read("app.bsky.unspecced.initAgeAssurance", Auth::Required, api::age_assurance::not_offered),
    Method::asynchronous("community.blacksky.actor.checkMembership", Auth::Required, |ctx, call| Box::pin(api::community::check_membership(ctx, call))),
    Method::asynchronous("community.blacksky.feed.deletePost", Auth::Required, |ctx, call| Box::pin(api::community::delete_post(ctx, call))).counts_as(Limit::Writes),
    Method::asynchronous("community.blacksky.feed.getCommunityFeed", Auth::Required, |ctx, call| Box::pin(api::community::get_community_feed(ctx, call))).costly(),
    Method::asynchronous("community.blacksky.feed.getCommunityPost", Auth::Required, |ctx, call| Box::pin(api::community::get_community_post(ctx, call))),
    Method::asynchronous("community.blacksky.feed.getCommunityTimeline", Auth::Required, |ctx, call| Box::pin(api::community::get_community_timeline(ctx, call))).costly(),
    Method::asynchronous("community.blacksky.feed.submitPost", Auth::Required, |ctx, call| Box::pin(api::community::submit_post(ctx, call))).counts_as(Limit::Writes),
    Method::read("com.atproto.admin.getAccountInfos", Auth::OptionalOrAdmin, api::admin::get_account_infos),
    Method::read("com.atproto.admin.getSubjectStatus", Auth::AdminOrModService, api::admin::get_subject_status),
    Method::asynchronous("com.atproto.admin.updateSubjectStatus", Auth::AdminOrModService, |ctx, call| Box::pin(api::admin::update_subject_status(ctx, call))),
    Method::read("com.atproto.identity.resolveHandle", Auth::None, api::identity::resolve_handle),
    Method::read("com.atproto.label.queryLabels", Auth::None, api::label::query_labels),
    Method::read("com.atproto.repo.getRecord", Auth::OptionalOrAdmin, api::repo::get_record),
    Method::read("com.atproto.temp.fetchLabels", Auth::None, api::temp::fetch_labels),
    Method::read("internal.bsky.actor.getProfiles", Auth::AdminOrModService, api::actor::get_profiles_for).costly(),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexicon::{MethodKind, catalog};

    #[test]
    fn what_changes_something_for_an_account_is_rationed() {
        for method in METHODS.iter().filter(|method| method.auth == Auth::Required) {
            let is_change = catalog().method(method.nsid).unwrap().kind() == MethodKind::Procedure;
            // Those that only read keep nothing, whatever the lexicon calls them.
            if is_change && matches!(method.handler, Handler::Async(_)) {
                assert_eq!(method.limit, Some(Limit::Writes), "{}", method.nsid);
            }
        }
    }

    /// Changes that need no member: what takes away, what everybody may ask for, and what others decide.
    const FOR_ALL: &[&str] = &[
        "alt.aerie.account.deleteData",
        "alt.aerie.account.putOptOut",
        "app.bsky.bookmark.deleteBookmark",
        "app.bsky.draft.deleteDraft",
        "app.bsky.graph.unmuteActor",
        "app.bsky.graph.unmuteActorList",
        "app.bsky.graph.unmuteThread",
        // Its handler looks whether it takes away.
        "app.bsky.notification.putActivitySubscription",
        "app.bsky.notification.unregisterPush",
        // The community has a door of its own.
        "community.blacksky.feed.deletePost",
        "community.blacksky.feed.submitPost",
    ];

    #[test]
    fn what_is_kept_is_kept_for_members() {
        for method in METHODS {
            let is_change = method.limit == Some(Limit::Writes);
            let keeps = is_change && !FOR_ALL.contains(&method.nsid);
            assert_eq!(method.keeps, keeps, "{}", method.nsid);
        }
    }
}
