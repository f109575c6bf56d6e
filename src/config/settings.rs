//! The value of each option as it was given, and where it was given: what `config show` prints.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::value::Value;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table.
    Default,
    /// Made from another option, named here.
    Derived(&'static str),
    /// A file, and its line.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Derived(key) => write!(f, "default, from {key}"),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "env {name}"),
        }
    }
}

/// The value of one option and its origin. Prints TOML; a secret prints `"***"`.
#[derive(Clone, PartialEq)]
pub struct Setting {
    pub(super) value: Value,
    pub(super) secret: bool,
    /// Where the value came from.
    pub origin: Origin,
}

impl Setting {
    /// The value as JSON; a secret is `"***"`.
    pub fn to_json(&self) -> serde_json::Value {
        if self.secret {
            return "***".into();
        }
        self.value.to_json()
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secret {
            return f.write_str("\"***\"");
        }
        self.value.fmt(f)
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.origin)
    }
}

/// The settings by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Settings(BTreeMap<&'static str, Setting>);

impl Settings {
    pub(super) fn get(&self, key: &str) -> Option<&Setting> {
        self.0.get(key)
    }

    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key).map(|setting| &setting.value)
    }

    /// Sets `key`, replacing what a weaker source said.
    pub(super) fn insert(&mut self, key: &'static str, setting: Setting) {
        self.0.insert(key, setting);
    }
}
