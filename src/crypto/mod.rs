//! Keys and signatures of the protocol: did:key, multikey, ES256K and ES256 over SHA2-256.
//!
//! Signatures are 64 bytes, r then s. Repositories and labels require the low of the two possible s; service tokens
//! allow both, as the reference does. A key is parsed once and kept ready, so that verifying costs curve arithmetic
//! only. Knows nothing of DID documents beyond the text of one verification method.

mod keys;

pub use self::keys::{KeyBytes, KeyError, PrivateKey, PublicKey};
