//! Keys and signatures of the protocol (did:key, multikey, ES256K, ES256). Pure.
