//! Secrets of sessions and links: 256 random bits, as text and as what they hash to.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sha2::{Digest, Sha256};

use crate::private::Hash;

/// Bytes of a hash by which an operator names it.
const ID: usize = 6;

/// A secret. It does not print itself.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.id())
    }
}

impl Secret {
    /// A new one, from the system's source of secrets.
    #[must_use]
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    /// Reads one; `None` if the text is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// As links and cookies have it.
    #[must_use]
    pub fn text(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    pub(super) fn hash(&self) -> Hash {
        Sha256::digest(self.0).into()
    }

    /// The name of what it opens.
    #[must_use]
    pub fn id(&self) -> String {
        id(&self.hash())
    }

    /// What forms of its session carry: follows from the secret, which cannot be found out from it.
    pub(super) fn token(&self) -> String {
        let digest = Sha256::new().chain_update(b"form of ").chain_update(self.0).finalize();
        BASE64URL_NOPAD.encode(&digest)
    }
}

pub(super) fn id(hash: &Hash) -> String {
    HEXLOWER.encode(hash.get(..ID).unwrap_or_default())
}
