//! What can happen to private state, in names, so that it means the same in every store.
//!
//! A change carries every time, key and value that is written; whoever planned it looked at what was held and at the
//! clock. As JSON:
//!
//! ```json
//! {"put":{"kind":"mute","viewer":"did:plc:a","subject":"did:plc:b","at":"2026-01-01T00:00:00.000Z"}}
//! {"gone":{"kind":"mute","viewer":"did:plc:a","subject":"did:plc:b"}}
//! {"opt-out":{"did":"did:plc:a","at":"2026-01-01T00:00:00.000Z"}}
//! {"moderate":{"subject":"did:plc:a","takedown":{"at":"2026-01-01T00:00:00.000Z","reference":"r"}}}
//! ```

use serde::{Deserialize, Serialize};

use super::kinds::{Row, RowKey};
use super::names::Time;
use super::opt_outs::OptOut;
use crate::store::StoreError;

/// What a plan gives: the changes, and what its caller is answered.
pub type Plan<T = ()> = Result<(Vec<Change>, T), StoreError>;

/// The plan that changes nothing.
pub fn nothing<T>(answer: T) -> Plan<T> {
    Ok((Vec::new(), answer))
}

/// One change of private state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// The row is there from now on, in place of any other under its key.
    Put(Row),
    /// There is no row under the key.
    Gone(RowKey),
    /// Nothing of the account is collected any more, and what was goes.
    OptOut(OptOut),
    /// The account is collected again.
    OptIn {
        /// Whose DID.
        did: String,
        /// When it said so.
        at: Time,
    },
    /// Everything that is held of the account goes.
    Erase {
        /// Whose DID.
        did: String,
        /// When it said so.
        at: Time,
        /// What is collected of it then.
        then: Afterwards,
    },
    /// What was collected of the account goes; what it set for itself stays.
    RemoveRepo {
        /// Whose DID.
        did: String,
        /// When the operator said so.
        at: Time,
    },
    /// An account, a record or a blob is taken down, or that is lifted.
    Moderate(Moderated),
}

/// What is collected of an account after it was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Afterwards {
    /// What it does then.
    Collected,
    /// Nothing: it opted out.
    OptedOut,
}

/// What becomes of a subject that was moderated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moderated {
    /// A DID or the URI of a record.
    pub subject: String,
    /// If it is a blob of the account: its CID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    /// The takedown; none if it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takedown: Option<Applied>,
}

/// A takedown that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// Since when.
    pub at: Time,
    /// The reference given with it; empty if there was none.
    pub reference: String,
}
