//! DID documents and handles, resolved and cached.
