//! Why a value is not valid, in the words that clients of the reference implementation know.

use std::fmt::{self, Write as _};

use super::document::Literal;
use super::node::{Kind, Node};

/// UTF-16 units of a string that a message shows.
const PREVIEW: usize = 255;

/// A value that does not conform to its schema: the first problem found.
///
/// Displayed as `REASON at PATH`, which may be shown to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Where, as a JSON path (`$.embed.images[2].alt`); empty for call parameters.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, " at {}", self.path) }
    }
}

impl std::error::Error for Invalid {}

/// A problem on its way up; the path is collected from the inside out.
pub(crate) struct Problem {
    reason: String,
    path: Vec<Segment>,
}

pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

pub(crate) type Checked = Result<(), Box<Problem>>;

impl Problem {
    pub(crate) fn new(reason: String) -> Box<Self> {
        Box::new(Self { reason, path: Vec::new() })
    }

    /// An error that is not about one of the alternatives.
    pub(crate) fn expected<N: Node>(what: &str, got: Option<&N>) -> Checked {
        Err(Self::new(format!("Expected {what} value type (got {})", show(got))))
    }

    pub(crate) fn not_one_of<N: Node>(values: &[Literal], got: Option<&N>) -> Checked {
        let values: Vec<String> = values.iter().map(show_literal).collect();
        Err(Self::new(format!("Expected {} (got {})", alternatives(&values), show(got))))
    }

    pub(crate) fn too_big(
        what: &str,
        maximum: impl fmt::Display,
        got: impl fmt::Display,
    ) -> Checked {
        Err(Self::new(format!("{what} too big (maximum {maximum}, got {got})")))
    }

    pub(crate) fn too_small(
        what: &str,
        minimum: impl fmt::Display,
        got: impl fmt::Display,
    ) -> Checked {
        Err(Self::new(format!("{what} too small (minimum {minimum}, got {got})")))
    }

    pub(crate) fn missing(key: &str) -> Checked {
        Err(Self::new(format!("Missing required key \"{key}\"")))
    }

    pub(crate) fn inside(mut self: Box<Self>, segment: Segment) -> Box<Self> {
        self.path.push(segment);
        self
    }

    pub(crate) fn into_reason(self) -> String {
        self.reason
    }

    pub(crate) fn into_invalid(self) -> Invalid {
        let mut path = String::from("$");
        for segment in self.path.iter().rev() {
            // Writing to a string does not fail.
            let _ = match segment {
                Segment::Index(index) => write!(path, "[{index}]"),
                Segment::Key(key) if is_identifier(key) => write!(path, ".{key}"),
                Segment::Key(key) => write!(path, "[{}]", quote(key)),
            };
        }
        Invalid { path, reason: self.reason }
    }
}

fn is_identifier(key: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$')
        && key.chars().skip(1).all(word)
}

/// `a`, `one of a or b`, `one of a, b or c`.
pub(crate) fn alternatives(values: &[String]) -> String {
    match values {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("one of {} or {last}", first.join(", ")),
    }
}

pub(crate) fn show_literal(literal: &Literal) -> String {
    match literal {
        Literal::Bool(value) => value.to_string(),
        Literal::Int(value) => value.to_string(),
        Literal::Str(value) => quote(value),
    }
}

/// A short form of a value from outside: of bounded size, whatever the value.
pub(crate) fn show<N: Node>(value: Option<&N>) -> String {
    show_nested(value, 3)
}

fn show_nested<N: Node>(value: Option<&N>, depth: u8) -> String {
    let Some(value) = value else { return "undefined".to_owned() };
    match value.kind() {
        Kind::Null => "null".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Int(value) => value.to_string(),
        Kind::Float(value) => value.to_string(),
        Kind::Str(value) => quote(value),
        Kind::Bytes(_) => "object".to_owned(),
        Kind::Link { .. } => "cid".to_owned(),
        Kind::List(_) if depth == 0 => "[...]".to_owned(),
        Kind::List(items) => {
            let first: Vec<String> =
                items.iter().take(2).map(|item| show_nested(Some(item), depth - 1)).collect();
            let more = if items.len() > 2 { ", ..." } else { "" };
            format!("[{}{more}]", first.join(", "))
        }
        Kind::Map => {
            let keys: Vec<String> =
                value.entries().take(2).map(|(key, _)| format!("{}: ...", quote(key))).collect();
            let more = if value.entries().nth(2).is_some() { ", ..." } else { "" };
            format!("{{{}{more}}}", keys.join(", "))
        }
    }
}

/// A JSON string literal of bounded length.
pub(crate) fn quote(text: &str) -> String {
    let literal = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let mut units = 0;
    let fits = |c: &char| {
        units += c.len_utf16();
        units <= PREVIEW
    };
    let mut short: String = text.chars().take_while(fits).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    literal(&short)
}
