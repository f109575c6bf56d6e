//! aerie: an AT Protocol AppView in one process.
//!
//! Modules in pipeline order; a module may use those above it, see `tests/layers.rs`.

pub mod syntax;
pub mod crypto;
pub mod lexicon;
pub mod repo;
pub mod event;
pub mod config;
pub mod telemetry;
pub mod net;
pub mod store;
pub mod identity;
pub mod moderation;
pub mod ingest;
pub mod sync;
pub mod index;
pub mod hydrate;
pub mod view;
pub mod xrpc;
pub mod ops;
pub mod admin;
pub mod runtime;
pub mod cli;
