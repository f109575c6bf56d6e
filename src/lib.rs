//! aerie: an AT Protocol AppView in one process.
//!
//! Modules in pipeline order; a module may use those above it, see `tests/layers.rs`.

pub mod admin;
pub mod changes;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod event;
pub mod hydrate;
pub mod identity;
pub mod index;
pub mod ingest;
pub mod lexicon;
pub mod media;
pub mod moderation;
pub mod net;
pub mod ops;
pub mod private;
pub mod push;
pub mod repo;
pub mod runtime;
pub mod schema;
pub mod store;
pub mod sync;
pub mod syntax;
pub mod telemetry;
pub mod threads;
pub mod upkeep;
pub mod view;
pub mod work;
pub mod xrpc;
