//! What moderation decides: which labels act on a subject, and what the operator took down.
//!
//! Labels come from the label rows that subscriptions wrote; takedowns from `com.atproto.admin.updateSubjectStatus`.
//! Knows nothing of views: it says what holds, hydration and views draw the consequences.

pub mod labels;
pub mod takedowns;

pub use labels::{Labelers, ShownLabel, SubjectLabels};
pub use takedowns::Takedowns;
