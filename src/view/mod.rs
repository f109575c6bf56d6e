//! Views: pure functions from a hydrated [`crate::hydrate::HydrationState`] to what goes out as JSON.
//!
//! Each is `None` when there is nothing to show. No reads, no clock: the time is the request's.

pub mod actor;
pub mod bookmark;
pub mod embed;
pub mod feed;
pub mod feedgen;
pub mod graph;
pub mod labeler;
pub mod notification;
pub mod post;
pub mod site;
pub mod thread;
pub mod thread_v2;

use crate::hydrate::{HydrationState, ImagePreset, ShownRecord, Target};
use crate::moderation::ShownLabel;

/// The handle of an account that has no valid one.
pub const INVALID_HANDLE: &str = "handle.invalid";

/// The URL of an image: `{images}/{preset}/plain/{did}/{cid}`.
#[must_use]
pub fn image_url(state: &HydrationState, preset: ImagePreset, did: &str, cid: &str) -> String {
    preset.url(&state.images, did, cid)
}

/// The labels on a subject that clients see.
#[must_use]
pub fn labels(state: &HydrationState, target: Target) -> Vec<ShownLabel> {
    state.labels.get(&target).map(|labels| labels.shown.clone()).unwrap_or_default()
}

/// The labels on a record, those of its author included.
#[must_use]
pub fn labels_with_own(state: &HydrationState, record: &ShownRecord) -> Vec<ShownLabel> {
    let mut out = labels(state, Target::of(record.id));
    out.extend(record.self_labels.iter().cloned());
    out
}
