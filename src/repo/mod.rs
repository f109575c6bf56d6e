//! Repository structures: canonical DAG-CBOR, CAR, MST, signed commits, and the verification of what a host sends.
//!
//! Everything here is a function of bytes. Bytes come from the firehose (through `event`) or from a repository export;
//! checked operations go to the index. Knows no store, no network and no clock: the time is a parameter.
//!
//! # Invariants
//! - Input is hostile: every length is compared with what is left before anything is allocated, every recursion has a
//!   bound, and no input makes this code panic.
//! - A block is only handed out under a CID after its hash was compared, unless the function's name says otherwise.

pub mod car;
pub(crate) mod cbor;
pub mod commit;
pub mod dag_cbor;
pub mod fields;
mod json;
pub(crate) mod memory;
pub mod message;
pub mod mst;
pub mod proof;
#[cfg(test)]
pub(crate) mod testing;
pub mod verify;

pub use self::car::{CarLimits, CarSlice};
pub use self::cbor::CborError;
pub use self::commit::Commit;
pub use self::message::{CommitFrame, OpAction, RepoOp, SyncFrame};
pub use self::verify::{Verified, VerifiedOp, VerifiedSync, VerifyError};
