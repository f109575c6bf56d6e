//! Compiled lexicon schemas: validation of records, of call parameters, inputs and outputs. Pure.
//!
//! The documents in `lexicons/` come from pinned npm packages through `scripts/lexicons`, are embedded in the binary
//! and compiled once, refs resolved. Values are checked where they are, records as IPLD and bodies as JSON. Knows
//! nothing of what a record means, nor of who calls a method.
//!
//! # Invariants
//! - Every embedded document compiles and every ref resolves (a test holds it); nothing is looked up by name while
//!   validating, except `$type` in unions.
//! - A valid value costs no allocation.

mod catalog;
mod compile;
mod document;
mod files;
mod format;
mod invalid;
mod method;
mod node;
mod params;
mod schema;
mod validate;

pub use self::catalog::{Catalog, KeyKind, RecordSchema, catalog};
pub use self::invalid::Invalid;
pub use self::method::{MethodKind, MethodSchema};
pub use self::params::{ParamSchema, Params};

#[cfg(test)]
mod tests;
