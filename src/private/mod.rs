//! Private state: what exists nowhere else and the network cannot give back.
//!
//! Whoever wants some of it changed hands a plan to [`Private::change`]. A plan looks at what is held and gives a list of
//! [`Change`]s in names (DIDs, AT-URIs); [`apply`] writes them. Every rule that looks first, every limit, time and key is
//! the plan's; `apply` writes what a change says, the same twice over, and tells [`Effects`] what else it means. So the
//! same changes give the same state in any store, whatever numbers that has given to the names.
//!
//! `kinds` is the table of what there is: a kind is a file with the form of its row and a line there. Export
//! ([`portable`]), take-out ([`takeout`]), the deletion of an account and `db check` go by that table.
//!
//! # Invariants
//! - Nothing but [`apply`], [`withdraw`] and [`forget`] changes a row of this keyspace: the functions that write are
//!   visible in this folder only.

pub mod access;
mod apply;
pub mod bookmarks;
mod change;
pub mod community;
mod counts;
pub mod drafts;
mod effects;
mod kinds;
pub mod lines;
pub mod members;
pub mod mutes;
mod names;
pub mod opt_outs;
pub mod portable;
pub mod preferences;
pub mod priority;
pub mod registrations;
pub mod seen;
pub mod subscriptions;
pub mod takedowns;
pub mod takeout;
#[cfg(test)]
pub(crate) mod testing;
mod timed;

pub use access::{Access, Hash, Lets, Role, accesses};
pub use apply::{Private, apply, forget, keeps_settings, withdraw};
pub use change::{Afterwards, Change, Moderated, Plan, nothing};
pub use counts::{Counted, count, has};
pub use effects::{Effects, Together};
pub(crate) use kinds::decodes;
#[cfg(test)]
pub(crate) use kinds::tags_of_account;
pub use kinds::{Row, RowKey};
pub use members::members;
pub use mutes::{Mute, mute, mutes};
pub use names::Time;
pub use opt_outs::{Standing, opt_outs, opted_out, standing};
pub use preferences::preferences;
pub use takedowns::{Takedown, blob_takedown, takedown, takedowns};
pub use timed::{Kind, get, list_of};
