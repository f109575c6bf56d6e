//! What the operator says with the command that starts the server, and no configuration keeps.

use crate::store::Mark;

/// What the operator says for one start only.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The clock of this machine is right, whatever others say.
    pub trust_clock: bool,
    /// What says that there is a store, should it be gone.
    pub mark: Mark,
}
