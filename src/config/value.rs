//! Raw values of options, before they have a type: what TOML and the environment have in common.

use std::fmt;

/// A value together with the line it was written on.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) data: Data,
    /// 1-based line in the file; `None` when it does not come from a file.
    pub(crate) line: Option<usize>,
}

/// The shapes of TOML that options use.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Bool(bool),
    Integer(i64),
    Text(String),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
    /// Something no option takes, by its name ("a float", "a datetime").
    Other(&'static str),
}

/// Two values are the same option value wherever they were written.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data
    }
}

impl Value {
    pub(crate) fn text(s: impl Into<String>) -> Self {
        Self { data: Data::Text(s.into()), line: None }
    }

    /// What the value is, for "expected X, found Y".
    pub(crate) fn shape(&self) -> &'static str {
        match &self.data {
            Data::Bool(_) => "a boolean",
            Data::Integer(_) => "an integer",
            Data::Text(_) => "a string",
            Data::List(_) => "a list",
            Data::Table(_) => "a table",
            Data::Other(name) => name,
        }
    }

    /// Converts a parsed TOML item; `source` is the text its spans point into.
    pub(crate) fn from_item(item: &toml_edit::Item, source: &str) -> Self {
        if let Some(value) = item.as_value() {
            return Self::from_toml(value, source);
        }
        let line = item.span().map(|span| line_of(source, span.start));
        let data = if let Some(tables) = item.as_array_of_tables() {
            let rows = tables.iter().map(|table| Self {
                line: table.span().map(|span| line_of(source, span.start)),
                data: Data::Table(fields(table, source)),
            });
            Data::List(rows.collect())
        } else if let Some(table) = item.as_table() {
            Data::Table(fields(table, source))
        } else {
            Data::Other("nothing")
        };
        Self { data, line }
    }

    /// As [`Value::from_item`], for a value.
    pub(crate) fn from_toml(value: &toml_edit::Value, source: &str) -> Self {
        let line = value.span().map(|span| line_of(source, span.start));
        let data = match value {
            toml_edit::Value::String(s) => Data::Text(s.value().clone()),
            toml_edit::Value::Integer(n) => Data::Integer(*n.value()),
            toml_edit::Value::Boolean(b) => Data::Bool(*b.value()),
            toml_edit::Value::Float(_) => Data::Other("a float"),
            toml_edit::Value::Datetime(_) => Data::Other("a datetime"),
            toml_edit::Value::Array(items) => {
                Data::List(items.iter().map(|v| Self::from_toml(v, source)).collect())
            }
            toml_edit::Value::InlineTable(table) => Data::Table(fields(table, source)),
        };
        Self { data, line }
    }

    /// The value as JSON, for scripts.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.data {
            Data::Bool(b) => (*b).into(),
            Data::Integer(n) => (*n).into(),
            Data::Text(s) => s.as_str().into(),
            Data::List(items) => items.iter().map(Value::to_json).collect(),
            Data::Table(fields) => serde_json::Value::Object(
                fields.iter().map(|(name, value)| (name.clone(), value.to_json())).collect(),
            ),
            Data::Other(_) => serde_json::Value::Null,
        }
    }
}

fn fields(table: &dyn toml_edit::TableLike, source: &str) -> Vec<(String, Value)> {
    table.iter().map(|(name, item)| (name.to_owned(), Value::from_item(item, source))).collect()
}

/// The 1-based line that holds byte `offset` of `source`.
pub(crate) fn line_of(source: &str, offset: usize) -> usize {
    let before = source.as_bytes().get(..offset).unwrap_or(source.as_bytes());
    1 + before.iter().filter(|&&b| b == b'\n').count()
}

/// Prints TOML.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.data {
            Data::Bool(b) => write!(f, "{b}"),
            Data::Integer(n) => write!(f, "{n}"),
            Data::Text(s) => write!(f, "{}", toml_edit::Value::from(s.as_str())),
            Data::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Data::Table(fields) => {
                f.write_str("{ ")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name} = {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(" }")
            }
            Data::Other(name) => f.write_str(name),
        }
    }
}
