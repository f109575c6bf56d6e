//! Identifiers of the protocol: DID, handle, NSID, record key, TID, AT-URI, CID, datetime, language, URI.
//!
//! Each follows the reference's validators (`@atproto/syntax`) to the character, because a record that one side calls
//! valid and the other does not is a difference every reader can see. Knows no network, no store and no clock: text
//! goes in, a checked value or `None` comes out.
//!
//! # Invariants
//! - A value of `Did`, `Handle`, `Nsid` or `RecordKey` holds text that its `is_*` function accepts.
//! - `Tid::parse(s)` succeeds only if formatting the result gives `s` again, so a TID can stand for its text in a key.

pub mod at_uri;
pub mod cid;
pub mod datetime;
mod language;
mod names;
pub mod tid;

pub use self::at_uri::{AtUriRef, is_at_uri};
pub use self::cid::{Cid, is_cid};
pub use self::datetime::is_datetime;
pub use self::language::is_language;
pub use self::names::{Did, Handle, Nsid, RecordKey};
pub use self::names::{is_at_identifier, is_did, is_handle, is_nsid, is_rkey, is_uri};
pub use self::tid::{Tid, is_tid};

/// Which kind of identifier a text failed to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntaxError {
    /// Not a DID (<https://atproto.com/specs/did>).
    #[error("not a valid DID")]
    Did,
    /// Not a handle (<https://atproto.com/specs/handle>).
    #[error("not a valid handle")]
    Handle,
    /// Not an NSID (<https://atproto.com/specs/nsid>).
    #[error("not a valid NSID")]
    Nsid,
    /// Not a record key (<https://atproto.com/specs/record-key>).
    #[error("not a valid record key")]
    RecordKey,
}
