//! The operator's commands to the running server.
//!
//! ```text
//! cli -> protocol::Request -> socket (JSON lines) -> commands -> store, identity, or a port
//! ```
//!
//! The dashboard in the browser ([`Dashboard`]) shows what the status has and asks the same commands.
//!
//! A Unix socket in the store's folder, readable by its owner only, since the store has one owner and whoever may
//! read the store may ask. What a command needs of the parts that fetch, index or clear away is a trait in [`ports`], so
//! that this folder knows none of them.

pub mod commands;
mod dashboard;
pub mod ports;
pub mod protocol;
mod socket;

pub use commands::{Commands, PrivateState};
pub use dashboard::{Dashboard, Places, Sources};
pub use socket::{AskError, Handler, Socket, ask, ask_within, socket_path};
