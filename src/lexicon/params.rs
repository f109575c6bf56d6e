//! Call parameters from a query string.
//!
//! # Invariants
//! A [`Params`] holds only parameters of its method, with values that its lexicon allows.

use std::borrow::Cow;

use url::form_urlencoded;

use super::document::Literal;
use super::invalid::{Checked, Problem, alternatives, quote, show_literal};
use super::node::MAX_SAFE_INTEGER;
use super::schema::{Limits, Range, StringDef};
use super::validate::{check_size, check_string};

/// Bytes of a query string, and parameters in it: more than any method can use. The longest text that is searched for has
/// 3,000 characters, each of up to twelve bytes here.
const MAX_QUERY: usize = 40 * 1024;
const MAX_PAIRS: usize = 1_000;

/// One parameter of a method.
pub struct ParamSchema {
    pub(crate) name: &'static str,
    pub(crate) kind: ParamKind,
    pub(crate) required: bool,
    pub(crate) default: Option<Literal>,
}

pub(crate) enum ParamKind {
    Str(StringDef),
    Int(Range),
    Bool,
    OneOf(Box<[Literal]>),
    Strs { item: StringDef, length: Limits },
}

impl ParamSchema {
    /// The name in the query string.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `string`, `integer`, `boolean` or `string[]`.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            ParamKind::Str(_) | ParamKind::OneOf(_) => "string",
            ParamKind::Int(_) => "integer",
            ParamKind::Bool => "boolean",
            ParamKind::Strs { .. } => "string[]",
        }
    }

    /// Whether the call fails without it.
    pub fn required(&self) -> bool {
        self.required
    }

    /// The value when it is absent, as text.
    pub fn default_value(&self) -> Option<String> {
        Some(match self.default? {
            Literal::Bool(value) => value.to_string(),
            Literal::Int(value) => value.to_string(),
            Literal::Str(value) => value.to_owned(),
        })
    }
}

/// The parameters of one call, checked, with defaults filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(&'static str, ParamValue)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum ParamValue {
    Str(String),
    Int(i64),
    Bool(bool),
    Strs(Vec<String>),
}

impl Params {
    fn get(&self, name: &str) -> Option<&ParamValue> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// A string parameter; none if absent without default.
    pub fn str(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            ParamValue::Str(value) => Some(value),
            _ => None,
        }
    }

    /// An integer parameter; none if absent without default.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            ParamValue::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// A boolean parameter; none if absent without default.
    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            ParamValue::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// An array parameter; empty if absent.
    pub fn strs(&self, name: &str) -> &[String] {
        match self.get(name) {
            Some(ParamValue::Strs(values)) => values,
            _ => &[],
        }
    }
}

/// How a query string is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// `key[]` and `key[0]` are taken for `key`.
    pub(crate) loose: bool,
    /// What is required may be there without a value.
    pub(crate) empty: bool,
}

/// Reads `query`.
pub(crate) fn parse(
    schema: &[ParamSchema],
    query: &str,
    Reading { loose, empty }: Reading,
) -> Result<Params, Box<Problem>> {
    if query.len() > MAX_QUERY {
        return Err(Problem::new(format!("query too long (maximum {MAX_QUERY} bytes)")));
    }
    let mut given: Vec<Vec<ParamValue>> = schema.iter().map(|_| Vec::new()).collect();
    let mut bracketed = Vec::new();
    let mut accept =
        |name: &str, value: &str| match schema.iter().zip(&mut given).find(|(s, _)| s.name == name)
        {
            // An empty value is like none.
            Some((param, values)) if !value.is_empty() || (empty && param.required) => {
                param.coerce(value).map(|value| values.push(value))
            }
            _ => Ok(()),
        };
    for (count, (name, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
        if count == MAX_PAIRS {
            return Err(Problem::new(format!("too many parameters (maximum {MAX_PAIRS})")));
        }
        match without_brackets(&name) {
            Some(name) if loose => bracketed.push((name.to_owned(), value)),
            _ => accept(&name, &value)?,
        }
    }
    for (name, value) in bracketed {
        let value: Cow<'_, str> = value;
        accept(&name, &value)?;
    }
    let mut params = Vec::with_capacity(schema.len());
    for (param, values) in schema.iter().zip(given) {
        if let Some(value) = param.settle(values)? {
            params.push((param.name, value));
        }
    }
    Ok(Params(params))
}

fn without_brackets(name: &str) -> Option<&str> {
    let (name, index) = name.strip_suffix(']')?.split_once('[')?;
    index.bytes().all(|b| b.is_ascii_digit()).then_some(name)
}

impl ParamSchema {
    fn coerce(&self, text: &str) -> Result<ParamValue, Box<Problem>> {
        let refused =
            |expected: &str| Problem::new(format!("Expected {expected} (got {})", quote(text)));
        match &self.kind {
            ParamKind::Str(_) | ParamKind::Strs { .. } => Ok(ParamValue::Str(text.to_owned())),
            ParamKind::Int(_) => integer(text).ok_or_else(|| refused("integer value type")),
            ParamKind::Bool => match text {
                "true" => Ok(ParamValue::Bool(true)),
                "false" => Ok(ParamValue::Bool(false)),
                _ => Err(refused("boolean value type")),
            },
            ParamKind::OneOf(literals) => {
                let value = literals
                    .iter()
                    .map(|literal| ParamValue::from(*literal))
                    .find(|v| v.matches(text));
                value.ok_or_else(|| {
                    let values: Vec<String> = literals.iter().map(show_literal).collect();
                    refused(&alternatives(&values))
                })
            }
        }
    }

    /// The value of the parameter from all that was given for it.
    fn settle(&self, mut values: Vec<ParamValue>) -> Result<Option<ParamValue>, Box<Problem>> {
        if values.is_empty() {
            return match self.default {
                Some(default) => Ok(Some(default.into())),
                None if self.required => Problem::missing(self.name).map(|()| None),
                None => Ok(None),
            };
        }
        if let ParamKind::Strs { item, length } = &self.kind {
            let values = values.into_iter().filter_map(ParamValue::into_string).collect::<Vec<_>>();
            check_size("array", *length, values.len())?;
            values.iter().try_for_each(|value| check_string(item, value))?;
            return Ok(Some(ParamValue::Strs(values)));
        }
        if values.len() > 1 {
            return Err(self.repeated(&values));
        }
        values.iter().try_for_each(|value| self.check(value))?;
        Ok(values.pop())
    }

    fn check(&self, value: &ParamValue) -> Checked {
        match (&self.kind, value) {
            (ParamKind::Str(def), ParamValue::Str(text)) => check_string(def, text),
            (ParamKind::Int(range), ParamValue::Int(value)) if *value > range.max => {
                Problem::too_big("integer", range.max, value)
            }
            (ParamKind::Int(range), ParamValue::Int(value)) if *value < range.min => {
                Problem::too_small("integer", range.min, value)
            }
            _ => Ok(()),
        }
    }

    /// A list was given where one value is expected.
    fn repeated(&self, values: &[ParamValue]) -> Box<Problem> {
        let shown: Vec<String> = values.iter().take(2).map(ParamValue::show).collect();
        let more = if values.len() > 2 { ", ..." } else { "" };
        let what = match &self.kind {
            ParamKind::OneOf(literals) => {
                alternatives(&literals.iter().map(show_literal).collect::<Vec<_>>())
            }
            _ => format!("{} value type", self.type_name()),
        };
        Problem::new(format!("Expected {what} (got [{}{more}])", shown.join(", ")))
    }
}

/// Digits with an optional minus, and nothing that a double would round.
fn integer(text: &str) -> Option<ParamValue> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: i64 = text.parse().ok()?;
    (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&value).then_some(ParamValue::Int(value))
}

impl From<Literal> for ParamValue {
    fn from(literal: Literal) -> Self {
        match literal {
            Literal::Bool(value) => Self::Bool(value),
            Literal::Int(value) => Self::Int(value),
            Literal::Str(value) => Self::Str(value.to_owned()),
        }
    }
}

impl ParamValue {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Str(value) => value == text,
            Self::Int(value) => value.to_string() == text,
            Self::Bool(value) => value.to_string() == text,
            Self::Strs(_) => false,
        }
    }

    fn into_string(self) -> Option<String> {
        match self {
            Self::Str(value) => Some(value),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Str(value) => quote(value),
            Self::Int(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Strs(_) => "[...]".to_owned(),
        }
    }
}
