//! What moderation decides: which labels and tags act on a subject, and what the operator took down.
//!
//! Labels come from the label rows that subscriptions wrote; takedowns from `com.atproto.admin.updateSubjectStatus`.
//! Knows nothing of views: it says what holds, hydration and views draw the consequences.

pub mod labels;
pub mod tags;
pub mod takedowns;

pub use labels::{Labelers, ShownLabel, SubjectLabels};
pub use tags::{TagRules, Tags};
pub use takedowns::Takedowns;
