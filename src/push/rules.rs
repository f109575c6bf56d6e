//! Whether a notification is pushed: by the rules of the notification list, asked when it is sent, and by the
//! recipient's preferences.

use super::message::{PushMessage, Texts};
use crate::hydrate::notification::{Hidden, NotifAuthors, NotifState};
use crate::hydrate::{ActorId, Hydrator, NotifRow, Result, Target};
use crate::schema::Rows;
use crate::view::notification::NotifText;

/// What to do with a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PushVerdict {
    /// Push this.
    Push(Box<PushMessage>),
    /// Leave it, for this reason.
    Suppress(&'static str),
}

/// Judges the notification with this key in `notif`, for the viewer of `h`.
pub(super) fn judge(h: &Hydrator<'_>, viewer: ActorId, key: &[u8]) -> Result<PushVerdict> {
    let Some(row) = h.snapshot.notification(key)? else {
        return Ok(PushVerdict::Suppress("undone"));
    };
    if !h.actor(viewer)?.is_some_and(|actor| actor.is_hosted()) {
        return Ok(PushVerdict::Suppress("inactive-recipient"));
    }
    let mut state = NotifState::new(h);
    if let Some(cause) = suppressed(h, &mut state, viewer, &row)? {
        return Ok(PushVerdict::Suppress(cause));
    }
    let subject = match row.subject {
        Some(Target::Actor(_)) | None => None,
        Some(target) => Some(h.snapshot.target_text(target)?),
    };
    let text = NotifText { row, uri: h.snapshot.uri(row.record())?, subject };
    // What the list does not show: authors and records that are gone or taken down.
    let shown = state.view(&text, None).is_some();
    let NotifText { uri, subject, .. } = text;
    let recipient = h.snapshot.did(viewer)?.to_string();
    let message = PushMessage::new(&state, &row, Texts { recipient, uri, subject });
    Ok(match message.filter(|_| shown) {
        Some(message) => PushVerdict::Push(Box::new(message)),
        None => PushVerdict::Suppress("unavailable"),
    })
}

fn suppressed(
    h: &Hydrator<'_>,
    state: &mut NotifState,
    viewer: ActorId,
    row: &NotifRow,
) -> Result<Option<&'static str>> {
    if !h.is_listed(viewer, NotifAuthors::All, row)? {
        return Ok(Some("subject-gone"));
    }
    if !h.wants_pushed(viewer, row)? {
        return Ok(Some("preferences"));
    }
    h.notified(state, std::slice::from_ref(row))?;
    if h.is_thread_muted(state, viewer, row)? {
        return Ok(Some("thread-mute"));
    }
    Ok(state.hidden(row).map(|hidden| match hidden {
        Hidden::Block => "block",
        Hidden::Mute => "mute",
        Hidden::NeedsReview => "needs-review",
        Hidden::Reply => "hidden-reply",
        Hidden::Tag => "tag",
    }))
}
