//! Files of a store that are damaged, by name.

use std::fmt;
use std::path::PathBuf;

/// A file that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Which.
    pub file: PathBuf,
    /// What is the matter with it.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

/// Files of which all that was found is told.
#[derive(Debug, Default)]
pub struct Damages(pub Vec<Damage>);

/// How many are named in one sentence.
const NAMED: usize = 3;

impl fmt::Display for Damages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no file of it could be found out");
        }
        for (n, damage) in self.0.iter().take(NAMED).enumerate() {
            write!(f, "{}{damage}", if n == 0 { "" } else { "; " })?;
        }
        match self.0.len().checked_sub(NAMED) {
            Some(more @ 1..) => write!(f, "; and {more} more"),
            _ => Ok(()),
        }
    }
}
