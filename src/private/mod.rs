//! Private state: what exists nowhere else and the network cannot give back. One keyspace, one file a kind of row, and the
//! forms in which rows leave a store and come into one ([`portable`], [`takeout`]).

pub mod bookmarks;
pub mod community;
pub mod drafts;
pub mod portable;
pub mod registrations;
mod rows;
pub mod subscriptions;
pub mod takeout;

pub use rows::*;
