//! What `tests/fuzz` needs of this folder.

use super::line;

/// As a line of the directory's export is read; whether it says something.
#[must_use]
pub fn says_something(bytes: &[u8]) -> bool {
    line::parse(bytes).is_ok_and(|line| line.op.is_some())
}
