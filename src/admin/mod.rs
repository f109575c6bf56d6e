//! The operator's socket: commands of the CLI to the running server.
//!
//! A Unix socket in the store's folder, readable by its owner only, since the store has one owner and whoever may
//! read the store may ask. One line of JSON asks (`{"command": "status"}`), one line answers.

mod socket;

pub use socket::{Answer, Ask, AskError, Socket, ask, ask_within, socket_path};
