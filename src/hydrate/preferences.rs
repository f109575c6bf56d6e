//! Notification preferences (`app.bsky.notification.defs#preferences`): what is saved, with defaults for the rest.
//!
//! What is saved is one JSON object with a field for each reason. Whatever is missing in it or unknown is read as the
//! default, so a later version may add fields.

use serde_json::{Map, Value, json};

use super::{Hydrator, Result};
use crate::private;
use crate::schema::ActorId;
use crate::schema::rows::{NotifRow, Reason};
use crate::store::Reader;

/// Fields of `app.bsky.notification.defs#filterablePreference`.
const FILTERABLE: [&str; 8] =
    ["follow", "like", "likeViaRepost", "mention", "quote", "reply", "repost", "repostViaRepost"];

/// Fields of `app.bsky.notification.defs#preference`.
const PLAIN: [&str; 4] = ["starterpackJoined", "subscribedPost", "unverified", "verified"];

/// All fields but `chat`, with defaults for what `saved` does not say.
#[must_use]
pub fn whole(saved: &Value) -> Map<String, Value> {
    let of = |field: &str, key| saved.get(field).and_then(|held| held.get(key));
    let flag = |field, key| of(field, key).and_then(Value::as_bool).unwrap_or(true);
    let mut out = Map::new();
    for field in FILTERABLE {
        let follows = of(field, "include").is_some_and(|held| held == "follows");
        let include = if follows { "follows" } else { "all" };
        let (list, push) = (flag(field, "list"), flag(field, "push"));
        out.insert(field.into(), json!({ "include": include, "list": list, "push": push }));
    }
    for field in PLAIN {
        let (list, push) = (flag(field, "list"), flag(field, "push"));
        out.insert(field.into(), json!({ "list": list, "push": push }));
    }
    out
}

/// What an account saved; null if it saved nothing.
pub fn saved<R: Reader>(r: &R, viewer: ActorId) -> Result<Value> {
    let text = private::preferences(r, viewer)?.unwrap_or_default();
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// The field of a reason.
fn field(reason: Reason) -> &'static str {
    match reason {
        Reason::Like => "like",
        Reason::Repost => "repost",
        Reason::Follow => "follow",
        Reason::Mention => "mention",
        Reason::Reply => "reply",
        Reason::Quote => "quote",
        Reason::StarterpackJoined => "starterpackJoined",
        Reason::Verified => "verified",
        Reason::Unverified => "unverified",
        Reason::LikeViaRepost => "likeViaRepost",
        Reason::RepostViaRepost => "repostViaRepost",
        Reason::SubscribedPost => "subscribedPost",
    }
}

impl Hydrator<'_> {
    /// Whether the viewer wants a notification pushed. If only followed accounts are to be in the viewer's list, the same
    /// holds for what is pushed.
    pub fn wants_pushed(&self, viewer: ActorId, row: &NotifRow) -> Result<bool> {
        let preferences = whole(&saved(self.snapshot, viewer)?);
        let of = |key| preferences.get(field(row.reason)).and_then(|held| held.get(key));
        if of("push") == Some(&Value::Bool(false)) {
            return Ok(false);
        }
        let follows = of("include").is_some_and(|include| include == "follows");
        Ok(!(follows || self.saved_priority(viewer)?) || self.is_following(viewer, row.author)?)
    }
}
