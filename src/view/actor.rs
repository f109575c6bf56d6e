//! Profiles, their viewer state, verification and status (`app.bsky.actor.defs`).

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::graph::{ListView, StarterPackViewBasic, list_basic, starter_pack_basic};
use super::{INVALID_HANDLE, image_url, labels};
use crate::hydrate::{
    Actor, ActorId, Counter, HydrationState, ImagePreset, Json, JsonRef, LiveStatus, Profile,
    Target,
};
use crate::moderation::ShownLabel;
use crate::repo::fields;
use crate::syntax::datetime::Time;

/// `profileViewBasic`, `profileView` and `profileViewDetailed`: each has the fields of the one before and more.
#[derive(Debug, Clone, Serialize, Default)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct ProfileView {
    pub did: Arc<str>,
    pub handle: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pronouns: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Arc<str>>,
    pub associated: Associated,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewer: Option<Box<ViewerState>>,
    pub labels: Vec<ShownLabel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<StatusView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug: Option<Box<ActorDebug>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indexed_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub banner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub followers_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posts_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined_via_starter_pack: Option<Box<StarterPackViewBasic>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_post: Option<Json>,
}

/// `profileAssociated`.
#[derive(Debug, Clone, Serialize, Default)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct Associated {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lists: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedgens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starter_packs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labeler: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<AssociatedChat>,
    pub activity_subscription: AssociatedActivitySubscription,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub germ: Option<AssociatedGerm>,
}

/// `profileAssociatedChat`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct AssociatedChat {
    pub allow_incoming: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_group_invites: Option<String>,
}

/// `profileAssociatedActivitySubscription`.
#[derive(Debug, Clone, Serialize, Default)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct AssociatedActivitySubscription {
    pub allow_subscriptions: &'static str,
}

/// `profileAssociatedGerm`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct AssociatedGerm {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_button_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_me_url: Option<String>,
}

/// `viewerState`.
#[derive(Debug, Clone, Serialize, Default)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct ViewerState {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_only_reposts: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_only_quoteposts: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_by_list: Option<ListView>,
    pub blocked_by: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocking: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocking_by_list: Option<ListView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub following: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub followed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity_subscription: Option<ActivitySubscription>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_followers: Option<KnownFollowersView>,
}

/// `app.bsky.notification.defs#activitySubscription`.
#[derive(Debug, Clone, Copy, Serialize)]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct ActivitySubscription {
    pub post: bool,
    pub reply: bool,
}

/// `knownFollowers`.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct KnownFollowersView {
    pub count: u64,
    pub followers: Vec<ProfileView>,
}

/// `verificationState`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct VerificationState {
    pub verifications: Vec<VerificationView>,
    pub verified_status: &'static str,
    pub trusted_verifier_status: &'static str,
}

/// `verificationView`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct VerificationView {
    pub issuer: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_display_name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_handle: Option<Arc<str>>,
    pub uri: String,
    pub is_valid: bool,
    pub created_at: Time,
}

/// `statusView`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct StatusView {
    pub uri: Arc<str>,
    pub cid: String,
    pub record: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embed: Option<StatusLink>,
    pub labels: Vec<ShownLabel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_active: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_disabled: Option<bool>,
}

/// The `app.bsky.embed.external#view` of a status.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct StatusLink {
    #[serde(rename = "$type")]
    pub tag: &'static str,
    pub external: StatusLinkView,
}

/// `app.bsky.embed.external#viewExternal`, without what `site.standard.*` records add.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct StatusLinkView {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumb: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub associated_refs: Option<Json>,
}

/// `profileViewBasic`.
#[must_use]
pub fn profile_basic(state: &HydrationState, id: ActorId) -> Option<ProfileView> {
    let actor = state.actor(id)?;
    let profile = actor.profile.as_ref();
    Some(ProfileView {
        did: Arc::clone(&actor.did),
        handle: actor.handle.clone().unwrap_or_else(|| INVALID_HANDLE.into()),
        display_name: profile.and_then(|p| p.display_name.clone()),
        pronouns: profile.and_then(|p| p.pronouns.clone()),
        avatar: profile.and_then(|p| p.avatar.clone()),
        associated: associated(actor),
        viewer: viewer_state(state, id).map(Box::new),
        labels: actor_labels(state, actor),
        created_at: actor.created.map(Time),
        verification: verification(state, actor),
        status: status(state, actor).map(Box::new),
        debug: actor_debug(state, actor).map(Box::new),
        ..ProfileView::default()
    })
}

/// What the operator tagged an account with.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the reference's")]
pub struct ActorDebug {
    pub account_tags: Vec<String>,
    pub profile_tags: Vec<String>,
}

/// The `debug` field, for those to whom answers are explained.
pub(super) fn actor_debug(state: &HydrationState, actor: &Actor) -> Option<ActorDebug> {
    if !state.ctx.explained {
        return None;
    }
    let (account, profile) = state.tags.names_of_account(&actor.did);
    Some(ActorDebug { account_tags: account.to_vec(), profile_tags: profile.to_vec() })
}

impl ProfileView {
    /// What stands in for an account that is not to be shown, where an answer must have one: its DID and no more.
    #[must_use]
    pub fn absent(did: Arc<str>) -> Self {
        let associated = Associated::default();
        let associated = Associated {
            activity_subscription: AssociatedActivitySubscription { allow_subscriptions: "none" },
            ..associated
        };
        Self { did, handle: INVALID_HANDLE.into(), associated, ..Self::default() }
    }
}

/// What is said of an account: of itself, of its profile, and by its profile.
pub(super) fn actor_labels(state: &HydrationState, actor: &Actor) -> Vec<ShownLabel> {
    let mut all = labels(state, Target::Actor(actor.id));
    if let Some(profile) = &actor.profile {
        all.extend(labels(state, Target::Record(profile.record.id)));
        all.extend(profile.record.self_labels.iter().cloned());
    }
    all
}

/// Whether an account with these labels asks that what it writes is shown to those only who are signed in.
#[must_use]
pub fn says_no_unauthenticated(labels: &[ShownLabel]) -> bool {
    labels.iter().any(|label| label.val == "!no-unauthenticated")
}

/// [`profile_basic`] as JSON, made once for an answer.
#[must_use]
pub fn author(state: &HydrationState, id: ActorId) -> Option<Arc<RawValue>> {
    if let Some(made) = state.authors.borrow().get(&id) {
        return made.clone();
    }
    // A profile view holds strings, numbers and lists only, so serializing cannot fail.
    let made = profile_basic(state, id).and_then(|view| to_raw_value(&view).ok()).map(Arc::from);
    state.authors.borrow_mut().insert(id, made.clone());
    made
}

/// `profileView`.
#[must_use]
pub fn profile(state: &HydrationState, id: ActorId) -> Option<ProfileView> {
    let mut view = profile_basic(state, id)?;
    let own = state.actor(id)?.profile.as_ref();
    view.description = own_text(own, "description").filter(|text| !text.is_empty());
    view.indexed_at = own.map(|own| Time(own.record.sort));
    Some(view)
}

/// `profileView` with whom the viewer follows among the account's followers.
#[must_use]
pub fn profile_known_followers(state: &HydrationState, id: ActorId) -> Option<ProfileView> {
    let mut view = profile(state, id)?;
    if let Some(viewer) = &mut view.viewer {
        viewer.known_followers = known_followers(state, id);
    }
    Some(view)
}

/// `profileViewDetailed`.
#[must_use]
pub fn profile_detailed(state: &HydrationState, id: ActorId) -> Option<ProfileView> {
    let mut view = profile(state, id)?;
    let actor = state.actor(id)?;
    let own = actor.profile.as_ref();
    let agg = state.profile_aggs.get(&id).copied().unwrap_or_default();
    // Any scheme is valid in the record; clients get to see only this one.
    view.website = own_text(own, "website").filter(|url| url.starts_with("https://"));
    view.banner = own
        .and_then(|own| own.banner.as_ref())
        .map(|cid| image_url(state, ImagePreset::Banner, &actor.did, cid));
    view.followers_count = Some(agg.get(Counter::Followers));
    view.follows_count = Some(agg.get(Counter::Follows));
    view.posts_count = Some(agg.get(Counter::Posts));
    view.associated.lists = Some(agg.get(Counter::Lists));
    view.associated.feedgens = Some(agg.get(Counter::Feeds));
    view.associated.starter_packs = Some(agg.get(Counter::StarterPacks));
    view.associated.labeler = Some(actor.is_labeler);
    if let Some(viewer) = &mut view.viewer {
        viewer.known_followers = known_followers(state, id);
    }
    view.joined_via_starter_pack = own
        .and_then(|own| fields::ref_uri(&own.record.value, "joinedViaStarterPack"))
        .and_then(|uri| state.starter_packs.get(uri))
        .and_then(|pack| starter_pack_basic(state, *pack))
        .map(Box::new);
    view.pinned_post = own
        .and_then(|own| fields::field(&own.record.value, "pinnedPost"))
        .filter(|pin| is_strong_ref(JsonRef(pin)))
        .map(|pin| Json::from(pin.clone()));
    Some(view)
}

fn own_text(profile: Option<&Profile>, key: &str) -> Option<String> {
    profile.and_then(|profile| profile.text(key)).map(str::to_owned)
}

/// Pinned posts were written unchecked for a while.
fn is_strong_ref(JsonRef(value): JsonRef<'_>) -> bool {
    fields::text(value, "uri").is_some_and(crate::syntax::is_at_uri)
        && fields::text(value, "cid").is_some_and(crate::syntax::cid::is_cid)
}

fn associated(actor: &Actor) -> Associated {
    Associated {
        labeler: actor.is_labeler.then_some(true),
        chat: actor.chat.as_ref().map(|(incoming, invites)| AssociatedChat {
            allow_incoming: incoming.clone(),
            allow_group_invites: invites.clone(),
        }),
        activity_subscription: AssociatedActivitySubscription {
            allow_subscriptions: actor.allow_subscriptions,
        },
        germ: actor.germ.as_ref().map(|germ| AssociatedGerm {
            show_button_to: fields::string(germ, "showButtonTo"),
            message_me_url: fields::string(germ, "messageMeUrl"),
        }),
        ..Associated::default()
    }
}

fn viewer_state(state: &HydrationState, id: ActorId) -> Option<ViewerState> {
    let viewer = state.profile_viewers.get(&id)?;
    let block = viewer.blocks();
    let muted = viewer.muted || viewer.muted_by_list.is_some();
    let uri = |list| state.record(list).map(|record| record.uri.to_string());
    Some(ViewerState {
        muted: Some(muted),
        // Under a full mute, mutes of reposts or quote posts alone change nothing and are not shown.
        muted_only_reposts: Some(!muted && viewer.muted_only_reposts),
        muted_only_quoteposts: Some(!muted && viewer.muted_only_quoteposts),
        muted_by_list: viewer.muted_by_list.and_then(|list| list_basic(state, list)),
        blocked_by: viewer.blocked_by.is_some() || viewer.blocked_by_list.is_some(),
        blocking: viewer.blocking.clone().or_else(|| viewer.blocking_by_list.and_then(uri)),
        blocking_by_list: viewer.blocking_by_list.and_then(|list| list_basic(state, list)),
        following: viewer.following.clone().filter(|_| !block),
        followed_by: viewer.followed_by.clone().filter(|_| !block),
        known_followers: None,
        activity_subscription: subscription(state, id),
    })
}

/// The viewer's subscription, as long as the account permits it.
fn subscription(state: &HydrationState, id: ActorId) -> Option<ActivitySubscription> {
    let to = state.subscriptions.get(&id)?;
    let viewer = state.profile_viewers.get(&id)?;
    let permitted = match state.actor(id)?.allow_subscriptions {
        "followers" => viewer.following.is_some(),
        "mutuals" => viewer.following.is_some() && viewer.followed_by.is_some(),
        _ => false,
    };
    permitted.then_some(ActivitySubscription { post: to.post, reply: to.reply })
}

/// The `viewer` of a `blockedAuthor`: only what concerns the block.
#[must_use]
pub fn blocked_viewer_state(state: &HydrationState, id: ActorId) -> Option<ViewerState> {
    let full = viewer_state(state, id)?;
    Some(ViewerState {
        blocked_by: full.blocked_by,
        blocking: full.blocking,
        ..ViewerState::default()
    })
}

fn known_followers(state: &HydrationState, id: ActorId) -> Option<KnownFollowersView> {
    let known = state.known_followers.get(&id)?;
    let followers = known
        .sample
        .iter()
        .filter(|other| !state.viewer_block_exists(**other))
        .filter(|other| !state.blocked(id, **other) && !state.is_no_hosted(**other))
        .filter_map(|other| profile_basic(state, *other))
        .collect();
    Some(KnownFollowersView { count: known.count, followers })
}

fn verification(state: &HydrationState, actor: &Actor) -> Option<VerificationState> {
    let handle = actor.handle.as_deref()?;
    let display_name = actor.profile.as_ref().and_then(|p| p.display_name.as_deref());
    let impersonation =
        state.labels.get(&Target::Actor(actor.id)).is_some_and(|labels| labels.impersonation);
    if actor.verifications.is_empty() && !actor.trusted_verifier {
        return None;
    }
    let verifications: Vec<VerificationView> = actor
        .verifications
        .iter()
        .map(|v| {
            let issuer = state.actor(v.issuer);
            VerificationView {
                issuer: Arc::clone(&v.issuer_did),
                issuer_display_name: issuer
                    .and_then(|issuer| issuer.profile.as_ref()?.display_name.clone()),
                issuer_handle: issuer.and_then(|issuer| issuer.handle.clone()),
                uri: v.uri.clone(),
                is_valid: !v.display_name.is_empty()
                    && Some(v.display_name.as_str()) == display_name
                    && v.handle == handle,
                created_at: Time(v.sort),
            }
        })
        .collect();
    let verdict = |is_valid: bool| if is_valid && !impersonation { "valid" } else { "invalid" };
    Some(VerificationState {
        verified_status: match verifications.is_empty() {
            true => "none",
            false => verdict(verifications.iter().any(|v| v.is_valid)),
        },
        trusted_verifier_status: if actor.trusted_verifier { verdict(true) } else { "none" },
        verifications,
    })
}

const MINUTE: i64 = 60_000;

fn status(state: &HydrationState, actor: &Actor) -> Option<StatusView> {
    let LiveStatus { record, taken_down } = actor.live.as_ref()?;
    let own = state.ctx.viewer == Some(actor.id);
    if *taken_down && !own {
        return None;
    }
    let expires =
        fields::int(&record.value, "durationMinutes").filter(|m| *m != 0).map(|minutes| {
            record.sort + minutes.saturating_mul(MINUTE).clamp(5 * MINUTE, 240 * MINUTE)
        });
    Some(StatusView {
        uri: Arc::clone(&record.uri),
        cid: record.cid.clone(),
        record: record.value.clone(),
        status: fields::string(&record.value, "status"),
        embed: external(state, actor, record),
        labels: labels(state, Target::Record(record.id)),
        expires_at: expires.map(Time),
        is_active: expires.map(|at| at > state.ctx.now),
        is_disabled: own.then_some(*taken_down),
    })
}

/// The link of a status (`app.bsky.embed.external#view`).
fn external(
    state: &HydrationState,
    actor: &Actor,
    record: &crate::hydrate::ShownRecord,
) -> Option<StatusLink> {
    let embed = fields::field(&record.value, "embed")
        .filter(|embed| fields::kind(embed) == "app.bsky.embed.external")?;
    let link = fields::field(embed, "external")?;
    let external = StatusLinkView {
        uri: fields::string(link, "uri"),
        title: fields::string(link, "title"),
        description: fields::string(link, "description"),
        thumb: fields::blob(link, "thumb")
            .map(|cid| image_url(state, ImagePreset::FeedThumbnail, &actor.did, &cid)),
        associated_refs: fields::field(link, "associatedRefs").cloned().map(Json::from),
    };
    Some(StatusLink { tag: "app.bsky.embed.external#view", external })
}
