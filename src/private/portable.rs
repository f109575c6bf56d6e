//! Private state in a form that outlives this store: one JSON object for each row, numbers as the names they stand for.
//!
//! A file of it has a line for each row between a first line that says what it is and a last one that says how many rows
//! there are, so that a file which was cut off is found out:
//!
//! ```json
//! {"kind":"aerie-private","version":1,"made":"2026-01-01T00:00:00.000Z"}
//! {"kind":"mute","viewer":"did:plc:a","subject":"did:plc:b","at":"2026-01-01T00:00:00.000Z"}
//! {"kind":"end","rows":1}
//! ```
//!
//! [`Row`] is the table of kinds. Within a version kinds and optional members may be added; nothing changes its meaning.
//! What is not in it: rows of the index, which the network gives back, and rows that follow from another private row.

use serde::{Deserialize, Serialize};

use super::apply::{Private, settles};
pub use super::kinds::Row;
use super::kinds::{self, Exported};
pub use super::names::Time;
use crate::schema::Rows;
use crate::store::{Ks, Reader, StoreError, Tx};

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// What a line of a file can be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum Frame {
    /// The first line.
    #[serde(rename = "aerie-private")]
    Head {
        /// See [`VERSION`].
        version: u32,
        /// When the file was made.
        made: Time,
    },
    /// The last line.
    #[serde(rename = "end")]
    End {
        /// How many rows there are in between.
        rows: u64,
    },
}

/// Some rows of a store.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next page begins; none if this is the last.
    pub next: Option<String>,
    /// Rows that do not decode or are of a kind that is not exported.
    pub left_out: u64,
}

/// Rows of a page, and about how many bytes they may take together.
const PAGE_ROWS: u64 = 2000;
const PAGE_BYTES: usize = 2 << 20;

/// The rows from `next` of the page before.
pub fn page<R: Reader>(r: &R, next: Option<&str>) -> Result<Page, StoreError> {
    let hex = data_encoding::HEXLOWER;
    let from = hex.decode(next.unwrap_or_default().as_bytes()).unwrap_or_default();
    let (mut page, mut read, mut bytes, mut failed) = (Page::default(), 0, 0, None);
    r.scan(Ks::Private, &from, None, false, &mut |k, v| {
        if read >= PAGE_ROWS || bytes >= PAGE_BYTES {
            page.next = Some(hex.encode(k));
            return false;
        }
        (read, bytes) = (read + 1, bytes + v.len());
        match kinds::read(r, k, v) {
            Ok(Exported::Row(row)) => page.rows.push(row),
            Ok(Exported::Follows) => {}
            Ok(Exported::Damaged) | Err(StoreError::Corrupt(_)) => page.left_out += 1,
            Err(e) => failed = Some(e),
        }
        failed.is_none()
    })?;
    failed.map_or(Ok(page), Err)
}

/// What becomes of a row that is put into a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It was not there, or what was there was older.
    Written,
    /// There is one already, which stays.
    Kept,
    /// Its account is deleted or opted out, so it would have to go at once.
    Deleted,
    /// A member, whose notifications have to be built first: whoever does that makes it one.
    Joins,
}

/// Puts checked rows in, each as if it came alone. What is there stays, but for drafts and seen times that are older.
///
/// # Errors
/// The store cannot be written.
pub fn import(
    private: &Private,
    tx: &mut Tx<'_>,
    rows: &[Row],
) -> Result<Vec<Restored>, StoreError> {
    rows.iter()
        .map(|row| {
            private.within(tx, |r| {
                if let Some(owner) = row.owner()
                    && let Some(owner) = r.actor_id(owner)?
                    && !settles(r, owner, row)?
                {
                    return super::nothing(Restored::Deleted);
                }
                if matches!(row, Row::Member(_)) {
                    return super::nothing(Restored::Joins);
                }
                let changes = row.incoming(r)?;
                let done = if changes.is_empty() { Restored::Kept } else { Restored::Written };
                Ok((changes, done))
            })
        })
        .collect()
}

#[cfg(test)]
#[path = "portable_tests.rs"]
mod tests;
