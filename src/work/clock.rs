//! The time that the clock was last believed to show: a row of `meta`, so that a start sees whether the clock went back or
//! leapt while nobody looked.

use crate::schema::bytes::ByteReader;
use crate::store::{Ks, Reader, StoreError, Tx};

const KEY: &[u8] = b"tclock";

/// A time that was believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Believed {
    /// Milliseconds since the epoch.
    pub ms: i64,
    /// Somebody else said the same.
    pub confirmed: bool,
}

impl Believed {
    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let (ms, confirmed) = (i64::try_from(r.u64()?).ok()?, r.u8()?);
        (r.is_empty() && confirmed <= 1).then_some(Self { ms, confirmed: confirmed == 1 })
    }
}

/// The last one, if there was one.
pub fn believed<R: Reader + ?Sized>(r: &R) -> Result<Option<Believed>, StoreError> {
    r.row(Ks::Meta, KEY, Believed::decode)
}

/// Remembers one.
pub fn set_believed(tx: &mut Tx<'_>, time: Believed) {
    let mut value = u64::try_from(time.ms).unwrap_or(0).to_be_bytes().to_vec();
    value.push(u8::from(time.confirmed));
    tx.put(Ks::Meta, KEY, &value);
}

/// Whether a row is this one, and whole.
pub(super) fn decodes(key: &[u8], value: &[u8]) -> bool {
    key == KEY && Believed::decode(value).is_some()
}
