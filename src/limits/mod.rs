//! Who may have how much: one table of limits, and who counts as whom.
//!
//! ```text
//! peer's address, forwarding headers, DID -> Client -> row of the table -> go on, or Refused
//! ```
//!
//! A row of `table` is a rate, a number at one time, or both. A new surface adds its row and calls
//! [`Limits::take`] or [`Limits::hold`]; nobody keeps a limiter of his own. What a refusal looks like on the wire is
//! not known here.
//!
//! # Invariants
//! - The keys kept for a row are bounded, whatever addresses and accounts come: those that owe nothing go first, and
//!   who finds no place shares a bucket with his neighbours. Addresses of one kind cannot push out those of another.
//! - A hostile header moves nobody but its sender: only what a trusted proxy wrote is believed.

mod buckets;
mod client;
mod held;
mod limiter;
mod shed;
mod table;
mod time;

pub use client::{Client, Proxies};
pub use held::Hold;
pub use limiter::{Limits, Refused, Standing};
pub use shed::Shed;
pub use table::{ANSWER_COUNTS, Limit, Rate};
pub use time::Elapsed;
