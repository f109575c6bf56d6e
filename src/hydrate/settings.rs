//! What the operator set that shows in answers. A reload replaces it ([`super::Shared::reload`]).

use std::sync::Arc;

use crate::moderation::Tags;

/// HydrationSettings that a reload may change.
#[derive(Debug, Clone, Default)]
pub struct HydrationSettings {
    /// What image URLs begin with: `{public_url}/img`.
    pub images: Arc<str>,
    /// What video URLs begin with: `{public_url}/vid`.
    pub videos: Arc<str>,
    /// DIDs whose verifications count.
    pub trusted_verifiers: Vec<Arc<str>>,
    /// What the operator tagged.
    pub tags: Arc<Tags>,
    /// DIDs of those to whom answers are explained.
    pub debug_dids: Vec<Arc<str>>,
}

#[cfg(any(test, feature = "testing"))]
impl HydrationSettings {
    /// HydrationSettings of a server that clients reach at `public_url`.
    #[must_use]
    pub fn new(public_url: &str) -> Self {
        let base = public_url.trim_end_matches('/');
        Self {
            images: format!("{base}/img").into(),
            videos: format!("{base}/vid").into(),
            ..Self::default()
        }
    }
}
