//! The values of operators and parameters: times, accounts, languages, addresses.

use super::ast::{Account, Link, Record};
use crate::search::language;
use crate::search::url_form::UrlForm;
use crate::syntax::datetime::{format_ms, parse_strict};
use crate::syntax::{AtUriRef, is_at_identifier, is_language};

const POST: &str = "app.bsky.feed.post";

/// The site whose addresses of posts are known.
const APP: &str = "bsky.app";

/// When something began, and when it had ended: a year, a month, a day (UTC) or an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct When {
    pub(super) start: i64,
    pub(super) end: i64,
}

impl When {
    pub(super) fn parse(text: &str) -> Option<Self> {
        // `-` alone would be a sign.
        let digits = |part: &str, most: usize| -> Option<u32> {
            let fits = (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            fits.then(|| part.parse().ok())?
        };
        let mut parts = text.split('-');
        let year = parts.next().filter(|part| part.len() == 4).and_then(|part| digits(part, 4))?;
        if text.contains(':') {
            return instant(text);
        }
        let month = parts.next().map_or(Some(None), |part| digits(part, 2).map(Some))?;
        let day = parts.next().map_or(Some(None), |part| digits(part, 2).map(Some))?;
        if parts.next().is_some() {
            return None;
        }
        let start = midnight(year, month.unwrap_or(1), day.unwrap_or(1))?;
        let end = match (month, day) {
            (_, Some(_)) => Some(start + 86_400_000),
            (Some(month), None) if month < 12 => midnight(year, month + 1, 1),
            _ => midnight(year + 1, 1, 1),
        };
        // The year 9999 ends with what can be written.
        Some(Self { start, end: end.unwrap_or(crate::syntax::datetime::MAX_MS) })
    }
}

/// RFC 3339; what is without a zone is UTC, what is without seconds begins with the minute.
fn instant(text: &str) -> Option<When> {
    let text = text.to_ascii_uppercase();
    let read = parse_strict(&text)
        .or_else(|| parse_strict(&format!("{text}Z")))
        .or_else(|| parse_strict(&format!("{text}:00Z")))?;
    Some(When { start: read, end: read + 1 })
}

fn midnight(year: u32, month: u32, day: u32) -> Option<i64> {
    let text = format!("{year:04}-{month:02}-{day:02}T00:00:00.000Z");
    // A 30 February would count on.
    parse_strict(&text).filter(|ms| format_ms(*ms) == text)
}

/// A handle or a DID, with or without `@`.
pub(super) fn account(text: &str) -> Option<Account> {
    let name = text.strip_prefix('@').unwrap_or(text);
    if name.eq_ignore_ascii_case("me") {
        return Some(Account::Me);
    }
    named(name)
}

/// The same, though not the viewer.
pub(super) fn named(name: &str) -> Option<Account> {
    let name = if name.starts_with("did:") { name.to_owned() } else { name.to_ascii_lowercase() };
    is_at_identifier(&name).then_some(Account::Named(name))
}

/// The term of a language.
pub(super) fn lang(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase().replace('_', "-");
    let primary = language::primary(&text);
    if !is_language(&text) || primary.len() > 3 {
        return None;
    }
    Some(if text.contains('-') { text } else { primary.to_owned() })
}

/// A page, a post by its address there, or a record by its URI.
pub(super) fn link(text: &str) -> Option<Link<Account>> {
    let (page, post) = if text.starts_with("at://") {
        (None, Some(record(text)?))
    } else {
        let page = UrlForm::parse(text)?;
        let post = address(&page);
        (Some(page), post)
    };
    Some(Link { text: text.to_owned(), page, post })
}

pub(super) fn record(uri: &str) -> Option<Record<Account>> {
    let uri = AtUriRef::parse(uri)?;
    Some(Record {
        author: named(uri.authority)?,
        collection: uri.collection?.to_owned(),
        rkey: uri.rkey?.to_owned(),
    })
}

/// `bsky.app/profile/{account}/post/{rkey}`.
fn address(page: &UrlForm) -> Option<Record<Account>> {
    let path = page.as_str().strip_prefix(APP)?.split('?').next()?;
    let mut parts = path.strip_prefix("/profile/")?.split('/');
    let (author, post, rkey) = (parts.next()?, parts.next()?, parts.next()?);
    if post != "post" || parts.next().is_some() {
        return None;
    }
    // In a form the colons of a DID may be escaped.
    record(&format!("at://{}/{POST}/{rkey}", author.replace("%3A", ":")))
}
