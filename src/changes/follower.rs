//! Who follows the log.

use std::time::Duration;

use super::{Change, Entry};
use crate::schema::bytes::{ByteReader, push_blob, push_varint};
use crate::store::Snapshot;

/// Why a follower could not do something.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Something that is derived from the store and may lag behind it. A follower is a folder of its own and one line in the
/// list of `runtime`; [`super::catch_up`] calls it, from one thread.
///
/// Changes come in order, and after a crash or a scan some of them come again: a follower makes of a record what the
/// snapshot says of it, or says what is there, and does not add up.
pub trait Follower: Send + Sync {
    /// Its name, which stays the same for ever: under it the store remembers from where on the log is complete for it.
    fn name(&self) -> &'static str;

    /// Whether it wants to hear of this. A change that nobody wants is not written. Always the same answer, or it has to
    /// begin anew under another name.
    fn want(&self, change: &Change) -> bool;

    /// Whether it wants to hear of what a scan of everything finds. What it makes of something else that it finds there it
    /// need not be told.
    fn want_held(&self, change: &Change) -> bool {
        self.want(change)
    }

    /// Where it is, kept with its own data. It must not block for long.
    fn position(&self) -> Result<Position, Cause>;

    /// Everything that it has is void: it starts from nothing, at `then`. Accounts, labels and records come as changes;
    /// what else it wants to know it reads from the snapshot.
    fn begin(&self, snapshot: &Snapshot, then: &Position) -> Result<(), Cause>;

    /// Takes changes in, and in the same step that it is at `then`. The snapshot is at least as new as the changes.
    fn apply(&self, changes: &[Entry], snapshot: &Snapshot, then: &Position) -> Result<(), Cause>;

    /// It is at the tip, and nothing more is there. It says after how long it wants to hear of that again though nothing
    /// changes: one that gathers changes before it takes them in.
    fn rest(&self, snapshot: &Snapshot) -> Result<Option<Duration>, Cause> {
        let _ = snapshot;
        Ok(None)
    }

    /// It cannot take anything in now, and is asked again after that long.
    fn paused(&self) -> Option<Duration> {
        None
    }
}

/// How far a follower is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Position {
    /// It has nothing.
    #[default]
    Nowhere,
    /// It reads all that the store holds; what changes meanwhile comes from the log afterwards.
    Scanning {
        /// Where the log is read from afterwards.
        from: u64,
        /// What of the store comes next.
        place: Place,
    },
    /// The next change that it reads is the one of this number.
    At(u64),
}

/// A place in a scan of the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    pub(super) part: u8,
    pub(super) key: Vec<u8>,
}

impl Position {
    /// Where in the log it goes on; nothing of the log is needed without.
    #[must_use]
    pub fn in_log(&self) -> Option<u64> {
        match self {
            Self::Nowhere => None,
            Self::Scanning { from, .. } => Some(*from),
            Self::At(seq) => Some(*seq),
        }
    }

    /// The bytes, to keep with the data.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Nowhere => out.push(0),
            Self::Scanning { from, place } => {
                out.push(1);
                push_varint(&mut out, *from);
                out.push(place.part);
                push_blob(&mut out, &place.key);
            }
            Self::At(seq) => {
                out.push(2);
                push_varint(&mut out, *seq);
            }
        }
        out
    }

    /// Reads the bytes; those of no position are that there is nothing.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self::read(&mut ByteReader::new(bytes)).unwrap_or_default()
    }

    fn read(r: &mut ByteReader<'_>) -> Option<Self> {
        match r.u8()? {
            1 => {
                let from = r.varint()?;
                let place = Place { part: r.u8()?, key: r.blob()?.to_vec() };
                Some(Self::Scanning { from, place })
            }
            2 => Some(Self::At(r.varint()?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_back() {
        let scanning =
            Position::Scanning { from: 300, place: Place { part: 2, key: vec![1, 2, 3] } };
        for position in [Position::Nowhere, scanning, Position::At(1 << 40)] {
            assert_eq!(Position::from_bytes(&position.to_bytes()), position);
        }
        assert_eq!(Position::from_bytes(&[]), Position::Nowhere);
        assert_eq!(Position::from_bytes(&[2]), Position::Nowhere);
    }
}
