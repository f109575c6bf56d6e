//! What `tests/fuzz` needs of this folder.

use super::jetstream;
use super::room::Room;
use crate::event::Body;
use crate::threads::Budget;

/// As a Jetstream's message is read.
///
/// # Errors
/// The cause to count.
pub fn jetstream(text: &[u8]) -> Result<Body, &'static str> {
    jetstream::read(text)?;
    jetstream::commit(text, &mut Room::new(&Budget::new(8 << 20), 16 << 10))
}
