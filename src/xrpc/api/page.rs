//! Paging as the reference does it: cursors, and pages that rules made short are filled up.

use crate::hydrate::TimeCursor;
use crate::syntax::{Tid, datetime, is_rkey};
use crate::xrpc::XrpcError;

/// How often the store is asked to fill one page.
const MAX_FETCHES: usize = 10;

/// What one fetch gave, after rules.
pub(crate) struct FetchedPage<T> {
    pub(crate) items: Vec<T>,
    pub(crate) cursor: Option<String>,
}

impl<T> FetchedPage<T> {
    pub(crate) fn empty() -> Self {
        Self { items: Vec::new(), cursor: None }
    }
}

/// Fetches until a page is full or there is no more, [`MAX_FETCHES`] times at most: as in the reference, a short page is
/// the last one.
pub(crate) fn fill<T>(
    cursor: Option<&str>,
    limit: usize,
    mut fetch: impl FnMut(Option<&str>, usize) -> Result<FetchedPage<T>, XrpcError>,
) -> Result<FetchedPage<T>, XrpcError> {
    let mut out = fetch(cursor, limit)?;
    for _ in 1..MAX_FETCHES {
        let short = out.items.len() < limit;
        let Some(next) = out.cursor.clone().filter(|_| short) else { break };
        let page = fetch(Some(&next), limit.saturating_sub(out.items.len()))?;
        out.items.extend(page.items);
        out.cursor = page.cursor.filter(|cursor| *cursor != next);
    }
    Ok(out)
}

/// What all fetches of an answer need, read with the first of them.
pub(crate) fn once<T, E>(
    held: &mut Option<T>,
    read: impl FnOnce() -> Result<T, E>,
) -> Result<&T, E> {
    let value = match held.take() {
        Some(value) => value,
        None => read()?,
    };
    Ok(held.insert(value))
}

/// Whether a cursor is of a form that was used long ago.
pub(crate) fn is_outdated(cursor: &str) -> bool {
    cursor.contains("::")
}

/// A cursor parameter.
pub(crate) enum CursorParam {
    /// From the start, or from here.
    From(Option<TimeCursor>),
    /// Of a form that was used long ago: the answer is an empty page.
    Outdated,
}

impl CursorParam {
    /// Reads the parameter; 400 if it is malformed.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, XrpcError> {
        match text.filter(|text| !text.is_empty()) {
            None => Ok(Self::From(None)),
            Some(text) if is_outdated(text) => Ok(Self::Outdated),
            Some(text) => match TimeCursor::parse(text) {
                Some(cursor) => Ok(Self::From(Some(cursor))),
                None => Err(XrpcError::invalid_request("Malformed cursor")),
            },
        }
    }
}

/// A cursor that is a TID; 400 if it is no record key at all. One of another method is such a key as a rule: nothing comes
/// behind it.
pub(crate) fn tid_cursor(text: Option<&str>) -> Result<Option<Tid>, XrpcError> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) if !is_rkey(text) => Err(XrpcError::invalid_request("Malformed cursor")),
        Some(text) => Ok(Some(Tid::parse(text).unwrap_or(Tid::from_micros(0, 0)))),
    }
}

/// A cursor that is a datetime, in milliseconds since 1970; 400 if it is malformed.
pub(crate) fn time_cursor(text: Option<&str>) -> Result<Option<i64>, XrpcError> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match datetime::parse_strict(text) {
            Some(ms) => Ok(Some(ms)),
            None => Err(XrpcError::invalid_request("Malformed cursor")),
        },
    }
}

/// The `limit` parameter, which the lexicon bounds.
pub(crate) fn limit(call: &crate::xrpc::Call) -> usize {
    call.params.int("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_fetches_need_is_read_once_and_again_after_a_failure() {
        let (mut held, mut reads) = (None, 0);
        for (outcome, expect, read) in
            [(Err(()), Err(()), 1), (Ok(5), Ok(&5), 2), (Ok(6), Ok(&5), 2)]
        {
            let read_now = || {
                reads += 1;
                outcome
            };
            assert_eq!(once(&mut held, read_now), expect);
            assert_eq!(reads, read);
        }
    }

    #[test]
    fn short_pages_are_filled_and_a_stuck_cursor_ends() {
        // Two of three rows are dropped by rules.
        let fetch = |cursor: Option<&str>, limit: usize| {
            let from: usize = cursor.map_or(0, |c| c.parse().unwrap());
            let to = (from + limit).min(30);
            let items = (from..to).filter(|n| n % 3 == 0).collect();
            Ok(FetchedPage { items, cursor: (to < 30).then(|| to.to_string()) })
        };
        let page = fill(None, 8, fetch).unwrap();
        let full: Vec<usize> = (0..8).map(|n| 3 * n).collect();
        assert_eq!((page.items, page.cursor.as_deref()), (full, Some("22")));
        let page = fill(Some("25"), 8, fetch).unwrap();
        assert_eq!((page.items, page.cursor), (vec![27], None));
        let mut calls = 0;
        let stuck = |_: Option<&str>, _| {
            calls += 1;
            Ok(FetchedPage::<u8> { items: vec![], cursor: Some("x".into()) })
        };
        assert_eq!(fill(Some("x"), 5, stuck).unwrap().cursor, None);
        assert_eq!(calls, 2);
    }
}
