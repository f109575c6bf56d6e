//! The Merkle Search Tree of a repository (<https://atproto.com/specs/repository#mst-structure>).
//!
//! Two readers, neither of which builds the tree: [`invert`] takes the operations of one commit back out of a partial
//! tree and tells what the root was before (sync 1.1), [`Walk`] goes through a whole tree in key order with the nodes of
//! one path in memory. Blocks come from whatever function the caller gives. [`root`] says what the tree of given keys is.
//!
//! # Invariants
//! - Every node that is read has ordered, valid keys of one layer, exactly one above its children.
//! - Recursion and path length are bounded by the layers of a key, at most 128.

mod invert;
mod node;
mod root;
mod walk;

pub use self::invert::{MstOp, contains, find, invert};
pub use self::root::root;
pub use self::walk::Walk;
use sha2::{Digest, Sha256};

use super::cbor::CborError;
use crate::syntax::{Cid, cid};

/// Longest key, in bytes.
const MAX_KEY_LEN: usize = 1024;

/// Why a tree is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MstError {
    /// A node's block is not there.
    #[error("MST node {0} is missing")]
    MissingBlock(Box<Cid>),
    /// A node's block is not the encoding of a node.
    #[error("MST node does not decode")]
    Decode(#[source] CborError),
    /// Keys out of order, with wrong prefixes, or not `collection/rkey`.
    #[error("MST key is invalid or out of order")]
    Key,
    /// A key or a node at another layer than its hash or its parent says.
    #[error("MST node is at the wrong layer")]
    Layer,
    /// A node that holds nothing, or a root above the tree.
    #[error("MST node is empty")]
    Empty,
    /// An operation claims something the tree does not say.
    #[error("operation does not match the MST")]
    Mismatch,
}

/// Layer of a key: leading zero bits of its SHA2-256, in pairs.
pub fn key_layer(key: &[u8]) -> u32 {
    let mut zeros = 0;
    for byte in Sha256::digest(key) {
        zeros += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    zeros / 2
}

/// `collection/rkey` of the characters that keys may have. Coarser than NSID and record key, as in the reference.
pub fn is_valid_key(key: &[u8]) -> bool {
    let allowed =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'~' | b'-' | b':' | b'.');
    let mut parts = key.split(|b| *b == b'/');
    key.len() <= MAX_KEY_LEN
        && matches!(
            (parts.next(), parts.next(), parts.next()),
            (Some(a), Some(b), None)
                if !a.is_empty() && !b.is_empty() && a.iter().all(allowed) && b.iter().all(allowed)
        )
}

/// Root of the tree without keys.
pub fn empty_root() -> Cid {
    cid::for_record(&node::encode(None, std::iter::empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_match_the_interop_vectors() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/fixtures/key_heights.json")).unwrap();
        for case in cases.as_array().unwrap() {
            let key = case["key"].as_str().unwrap();
            assert_eq!(
                u64::from(key_layer(key.as_bytes())),
                case["height"].as_u64().unwrap(),
                "{key}"
            );
        }
    }

    #[test]
    fn empty_tree_is_the_known_one() {
        assert_eq!(
            cid::to_base32(&empty_root()),
            "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
        );
    }

    #[test]
    fn keys() {
        let long = format!("a/{}", "b".repeat(1022));
        for key in ["a/b", "com.example/~1.2-3_:", &long] {
            assert!(is_valid_key(key.as_bytes()), "{key}");
        }
        let too_long = format!("{long}b");
        for key in ["", "a", "/", "a/", "/b", "a/b/c", "a/b c", "a/é", "a//b", &too_long] {
            assert!(!is_valid_key(key.as_bytes()), "{key}");
        }
    }
}
