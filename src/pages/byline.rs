//! Who wrote it, and when.

use maud::{Markup, html};

use super::labels::{self, Cover};
use super::links;
use crate::hydrate::PostId;
use crate::hydrate::post_state::PostState;
use crate::syntax::datetime::{Time, format_ms};
use crate::view::actor::{ProfileView, profile_basic, says_no_unauthenticated};

/// Stands for what an author shows to those only who are signed in.
pub(super) const NOT_FOR_STRANGERS: &str =
    "The author of this post shows it only to readers who are signed in to an app.";

/// Who wrote a post, if strangers may see that.
pub(super) fn author(state: &PostState, id: PostId) -> Option<ProfileView> {
    profile_basic(&state.base, id.author).filter(|author| !says_no_unauthenticated(&author.labels))
}

/// A time as people read it, the same wherever they are.
pub(super) fn when(Time(ms): Time) -> Markup {
    let text = format_ms(ms);
    html! { time datetime=(text) { (day(&text)) ", " (text.get(11..16).unwrap_or_default()) " UTC" } }
}

/// `2023-11-14T…` is `14 Nov 2023`.
pub(super) fn day(datetime: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let part = |from, to| datetime.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse().ok().and_then(|n: usize| MONTHS.get(n.checked_sub(1)?));
    let day = part(8, 10).trim_start_matches('0');
    format!("{day} {} {}", month.copied().unwrap_or_default(), part(0, 4))
}

/// The picture of an account, unless labels take it away.
pub(super) fn avatar(account: &ProfileView, pixels: u16) -> Markup {
    let heeded = labels::of_account(&account.labels);
    let shown = heeded.no_media.is_none() && heeded.cover == Cover::Open;
    html! {
        @match account.avatar.as_deref().filter(|_| shown) {
            Some(url) => img.avatar src=(url) alt="" width=(pixels) height=(pixels) loading="lazy" decoding="async";,
            None => span.avatar.blank aria-hidden="true" {},
        }
    }
}

/// What an account is called, for the eye first.
pub(super) fn display_name(account: &ProfileView) -> &str {
    match account.display_name.as_deref().map(str::trim) {
        Some(name) if !name.is_empty() && labels::are_words_open(&account.labels) => name,
        _ => links::name(account),
    }
}

/// The line above a post: picture, name, handle, time.
pub(super) fn byline(account: &ProfileView, path: &str, at: Time) -> Markup {
    let home = links::account(links::name(account));
    html! {
        div.byline {
            a.face href=(home) tabindex="-1" aria-hidden="true" { (avatar(account, 42)) }
            a.name href=(home) { bdi { (display_name(account)) } }
            " "
            span.handle { "@" (account.handle) }
            " "
            a.when href=(path) { (when(at)) }
        }
    }
}
