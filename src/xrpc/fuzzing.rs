//! What `tests/fuzz` needs of this folder.

use super::api::page::{CursorParam, tid_cursor, time_cursor};
use super::jwt::{self, Token};
use crate::hydrate::label_query::LabelCursor;

/// As a token is taken apart; whether it is one.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let typ = jwt::type_of(text);
    let parsed = Token::parse(text);
    typ.is_some() && parsed.is_ok()
}

/// As the cursors of all pages are read; whether it is any.
#[must_use]
pub fn is_cursor(text: &str) -> bool {
    CursorParam::parse(Some(text)).is_ok()
        | tid_cursor(Some(text)).is_ok()
        | time_cursor(Some(text)).is_ok()
        | LabelCursor::parse(text).is_some()
}
