//! Labelers (`app.bsky.labeler.defs`).

use std::sync::Arc;

use serde::Serialize;

use super::actor::{ProfileView, profile};
use super::feedgen::{LikeViewer, like_viewer};
use super::labels_with_own;
use crate::hydrate::{ActorId, Counter, HydrationState, Json, Target, graph::labeler_id};
use crate::moderation::ShownLabel;
use crate::repo::fields;
use crate::syntax::datetime::Time;

/// `labelerView` or `labelerViewDetailed`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "$type")]
pub enum LabelerViewUnion {
    /// What it is.
    #[serde(rename = "app.bsky.labeler.defs#labelerView")]
    Basic(Box<LabelerView>),
    /// And what it labels.
    #[serde(rename = "app.bsky.labeler.defs#labelerViewDetailed")]
    Detailed(Box<LabelerView>),
}

/// Both views; the last four fields are of the detailed one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct LabelerView {
    pub uri: Arc<str>,
    pub cid: String,
    pub creator: ProfileView,
    pub like_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewer: Option<LikeViewer>,
    pub indexed_at: Time,
    pub labels: Vec<ShownLabel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_types: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_types: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_collections: Option<Json>,
}

/// `labelerView`, without `$type`.
#[must_use]
pub fn labeler(state: &HydrationState, account: ActorId) -> Option<LabelerView> {
    let id = labeler_id(account);
    let record = state.record(id)?;
    let creator = profile(state, account)?;
    let target = Target::Record(id);
    Some(LabelerView {
        uri: Arc::clone(&record.uri),
        cid: record.cid.clone(),
        like_count: state.agg(target).get(Counter::Likes),
        viewer: like_viewer(state, target),
        indexed_at: Time(record.sort),
        labels: labels_with_own(state, record),
        creator,
        policies: None,
        reason_types: None,
        subject_types: None,
        subject_collections: None,
    })
}

/// The labeler's view for getServices.
#[must_use]
pub fn service(
    state: &HydrationState,
    account: ActorId,
    detailed: bool,
) -> Option<LabelerViewUnion> {
    let mut view = labeler(state, account)?;
    if !detailed {
        return Some(LabelerViewUnion::Basic(Box::new(view)));
    }
    let record = state.record(labeler_id(account))?;
    let part = |key: &str| fields::field(&record.value, key).cloned().map(Json::from);
    view.policies = part("policies");
    view.reason_types = part("reasonTypes");
    view.subject_types = part("subjectTypes");
    view.subject_collections = part("subjectCollections");
    Some(LabelerViewUnion::Detailed(Box::new(view)))
}
