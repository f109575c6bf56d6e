//! Lists, starter packs and relationships (`app.bsky.graph.defs`).

use std::sync::Arc;

use serde::Serialize;

use super::actor::{ProfileView, profile, profile_basic};
use super::feedgen::{GeneratorView, generator};
use super::{image_url, labels};
use crate::hydrate::{ActorId, Counter, HydrationState, ImagePreset, Json, RecordId, Target};
use crate::moderation::ShownLabel;
use crate::repo::fields;
use crate::syntax::datetime::Time;

/// `listViewBasic` and, with its creator, `listView`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct ListView {
    pub uri: Arc<str>,
    pub cid: String,
    pub name: String,
    pub purpose: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    pub list_item_count: u64,
    pub indexed_at: Time,
    pub labels: Vec<ShownLabel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewer: Option<ListViewerView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<Box<ProfileView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description_facets: Option<Json>,
}

/// `listViewerState`.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct ListViewerView {
    pub muted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    #[serde(rename = "referenceListOptOut", skip_serializing_if = "Option::is_none")]
    pub opt_out: Option<String>,
}

/// `listItemView`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct ListItemView {
    pub uri: String,
    pub subject: ProfileView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_opted_out: Option<bool>,
}

/// `starterPackViewBasic`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct StarterPackViewBasic {
    pub uri: Arc<str>,
    pub cid: String,
    pub record: Json,
    pub creator: Box<ProfileView>,
    pub joined_all_time_count: u64,
    pub joined_week_count: u64,
    pub labels: Vec<ShownLabel>,
    pub indexed_at: Time,
}

/// `starterPackView`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct StarterPackView {
    #[serde(flatten)]
    pub basic: StarterPackViewBasic,
    pub feeds: Vec<GeneratorView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<ListView>,
    pub list_items_sample: Vec<ListItemView>,
}

/// `relationship` and `notFoundActor`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "$type")]
pub enum RelationshipView {
    /// How two accounts relate.
    #[serde(rename = "app.bsky.graph.defs#relationship")]
    Relationship(Box<Relationship>),
    /// An identifier that names no account.
    #[serde(rename = "app.bsky.graph.defs#notFoundActor", rename_all = "camelCase")]
    NotFound {
        /// The identifier.
        actor: String,
        /// True.
        not_found: bool,
    },
}

/// `relationship`.
#[derive(Debug, Clone, Serialize, Default)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct Relationship {
    pub did: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub following: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub followed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocking: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocking_by_list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by_list: Option<String>,
}

/// `listViewBasic`.
#[must_use]
pub fn list_basic(state: &HydrationState, id: RecordId) -> Option<ListView> {
    let list = state.record(id)?;
    let owner = list.uri.strip_prefix("at://").and_then(|rest| rest.split('/').next());
    let target = Target::Record(id);
    Some(ListView {
        uri: Arc::clone(&list.uri),
        cid: list.cid.clone(),
        creator: None,
        name: fields::string(&list.value, "name").unwrap_or_default(),
        purpose: fields::string(&list.value, "purpose").unwrap_or_default(),
        description: None,
        description_facets: None,
        avatar: fields::blob(&list.value, "avatar")
            .zip(owner)
            .map(|(cid, owner)| image_url(state, ImagePreset::Avatar, owner, &cid)),
        list_item_count: state.agg(target).get(Counter::Items),
        labels: labels(state, target),
        viewer: state.list_viewers.get(&id).map(|v| ListViewerView {
            muted: v.muted,
            blocked: v.blocked.clone(),
            opt_out: v.opt_out.clone(),
        }),
        indexed_at: Time(list.sort),
    })
}

/// `listView`.
#[must_use]
pub fn list(state: &HydrationState, id: RecordId) -> Option<ListView> {
    let creator = profile(state, id.actor)?;
    let record = state.record(id)?;
    let mut view = list_basic(state, id)?;
    view.creator = Some(Box::new(creator));
    view.description = fields::string(&record.value, "description");
    view.description_facets =
        fields::field(&record.value, "descriptionFacets").cloned().map(Json::from);
    Some(view)
}

/// `listItemView`.
#[must_use]
pub fn list_item(state: &HydrationState, uri: String, member: ActorId) -> Option<ListItemView> {
    Some(ListItemView { uri, subject: profile(state, member)?, subject_opted_out: None })
}

/// `starterPackViewBasic`.
#[must_use]
pub fn starter_pack_basic(state: &HydrationState, id: RecordId) -> Option<StarterPackViewBasic> {
    let pack = state.record(id)?;
    let target = Target::Record(id);
    Some(StarterPackViewBasic {
        uri: Arc::clone(&pack.uri),
        cid: pack.cid.clone(),
        record: pack.value.clone(),
        creator: Box::new(profile_basic(state, id.actor)?),
        joined_week_count: state.joined_week.get(&id).copied().unwrap_or(0),
        joined_all_time_count: state.agg(target).get(Counter::Joined),
        labels: labels(state, target),
        indexed_at: Time(pack.sort),
    })
}

/// `starterPackView`.
#[must_use]
pub fn starter_pack(state: &HydrationState, id: RecordId) -> Option<StarterPackView> {
    let basic = starter_pack_basic(state, id)?;
    let pack = state.packs.get(&id)?;
    let sample = pack.sample.iter().filter_map(|item| {
        let mut view = list_item(state, item.uri.clone(), item.member)?;
        view.subject_opted_out = item.opted_out.then_some(true);
        Some(view)
    });
    Some(StarterPackView {
        basic,
        feeds: pack.feeds.iter().filter_map(|feed| generator(state, *feed)).collect(),
        list: pack.list.and_then(|list| list_basic(state, list)),
        list_items_sample: sample.collect(),
    })
}
