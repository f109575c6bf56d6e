//! What `tests/fuzz` needs of this folder.

use super::jetstream;
use crate::event::Commit;

/// As a Jetstream's message is read.
///
/// # Errors
/// The cause to count.
pub fn jetstream(text: &[u8]) -> Result<Commit, &'static str> {
    jetstream::read(text)?;
    jetstream::commit(text)
}
