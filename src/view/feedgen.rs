//! Feed generators (`app.bsky.feed.defs#generatorView`).

use std::sync::Arc;

use serde::Serialize;

use super::actor::{ProfileView, profile};
use super::{image_url, labels};
use crate::hydrate::{Counter, HydrationState, ImagePreset, Json, RecordId, Target};
use crate::moderation::ShownLabel;
use crate::repo::fields;
use crate::syntax::datetime::Time;

/// `generatorView`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct GeneratorView {
    pub uri: Arc<str>,
    pub cid: String,
    pub did: String,
    pub creator: Box<ProfileView>,
    pub display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description_facets: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    pub like_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepts_interactions: Option<bool>,
    pub labels: Vec<ShownLabel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewer: Option<LikeViewer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_mode: Option<String>,
    pub indexed_at: Time,
}

/// `generatorViewerState` and `labelerViewerState`.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct LikeViewer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
}

/// The viewer's like of a feed generator or labeler.
pub(super) fn like_viewer(state: &HydrationState, target: Target) -> Option<LikeViewer> {
    state.likes.get(&target).map(|like| LikeViewer { like: like.clone() })
}

/// `generatorView`.
#[must_use]
pub fn generator(state: &HydrationState, id: RecordId) -> Option<GeneratorView> {
    let feed = state.record(id)?;
    let creator = profile(state, id.actor)?;
    let value = &feed.value;
    let target = Target::Record(id);
    Some(GeneratorView {
        uri: Arc::clone(&feed.uri),
        cid: feed.cid.clone(),
        did: fields::string(value, "did").unwrap_or_default(),
        display_name: fields::string(value, "displayName").unwrap_or_default(),
        description: fields::string(value, "description"),
        description_facets: fields::field(value, "descriptionFacets").cloned().map(Json::from),
        avatar: fields::blob(value, "avatar")
            .map(|cid| image_url(state, ImagePreset::Avatar, &creator.did, &cid)),
        like_count: state.agg(target).get(Counter::Likes),
        accepts_interactions: fields::boolean(value, "acceptsInteractions"),
        labels: labels(state, target),
        viewer: like_viewer(state, target),
        content_mode: fields::string(value, "contentMode"),
        indexed_at: Time(feed.sort),
        creator: Box::new(creator),
    })
}
