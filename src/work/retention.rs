//! Where a run of retention goes on after a stop, and what the last one said of itself: two rows of `meta`.

use crate::store::{Ks, Reader, StoreError, Tx};

const PLACE: &[u8] = b"kplace";
const REPORT: &[u8] = b"kreport";

/// Where retention goes on, in its own words; `None` when it is through.
pub fn place<R: Reader + ?Sized>(r: &R) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(r.get(Ks::Meta, PLACE)?.map(|v| v.to_vec()))
}

/// Remembers that place with the batch.
pub fn set_place(tx: &mut Tx<'_>, place: Option<&[u8]>) {
    match place {
        Some(place) => tx.put(Ks::Meta, PLACE, place),
        None => tx.del(Ks::Meta, PLACE),
    }
}

/// What the last retention said of itself, as JSON.
pub fn report<R: Reader + ?Sized>(r: &R) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(r.get(Ks::Meta, REPORT)?.map(|v| v.to_vec()))
}

/// Remembers that report.
pub fn set_report(tx: &mut Tx<'_>, report: &[u8]) {
    tx.put(Ks::Meta, REPORT, report);
}

/// Whether a row is one of these; both are whole whatever is in them.
pub(crate) fn decodes(key: &[u8]) -> Option<bool> {
    (key == PLACE || key == REPORT).then_some(true)
}
