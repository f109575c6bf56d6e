//! What a backup has: a line that says what it is, a line for each file, and a last one that counts them.
//!
//! ```json
//! {"kind":"aerie-backup","version":1,"of":"whole","made":"2026-01-01T00:00:00.000Z","aerie":"0.1.0","format":4,"rows":{"post_1":7}}
//! {"kind":"file","path":"db/keyspaces/1/tables/3","size":5000,"sha256":"…","stored":5000,"checksum":"…"}
//! {"kind":"end","files":1,"bytes":5000}
//! ```
//!
//! Its name has the beginning of its own SHA-256, so that one that is not what it was is found out.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::BackupError;
use super::id::{Id, Kind};

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// Bytes of a line, and files of a backup, that are believed.
const MAX_LINE: u64 = 64 << 10;
const MAX_FILES: usize = 4_000_000;

/// What a backup has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What it is.
    pub head: Head,
    /// Its files, in the order in which they are put back.
    pub files: Vec<Entry>,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of this format.
    pub version: u32,
    /// Of what it is.
    pub of: Kind,
    /// When, milliseconds since the epoch; RFC 3339 on disk.
    #[serde(with = "time")]
    pub made: i64,
    /// The version of the program that made it.
    pub aerie: String,
    /// The format of keys and values in the store.
    pub format: u32,
    /// To whom its objects are encrypted: the beginning of a hash of the recipients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<String>,
    /// The number of the newest change of private state that is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<u64>,
    /// About how many rows each keyspace has, or how many lines the export.
    pub rows: BTreeMap<String, u64>,
}

/// The line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it goes.
    pub path: String,
    /// Its length.
    pub size: u64,
    /// Of its bytes, as hexadecimal digits.
    pub sha256: String,
    /// The length of the object.
    pub stored: u64,
    /// The engine's checksum, by which the next backup knows it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    #[serde(rename = "aerie-backup")]
    Head(Head),
    File(Entry),
    End {
        files: u64,
        bytes: u64,
    },
}

mod time {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::syntax::datetime::format_ms;

    pub(super) fn serialize<S: Serializer>(ms: &i64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format_ms(*ms))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<i64, D::Error> {
        let text = String::deserialize(d)?;
        let time: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(time.as_millisecond())
    }
}

impl Head {
    /// Of a backup that is made now.
    pub(super) fn new(of: Kind, made: i64, format: u32, encrypted: Option<String>) -> Self {
        let (aerie, rows) = (env!("CARGO_PKG_VERSION").to_owned(), BTreeMap::new());
        Self { version: VERSION, of, made, aerie, format, encrypted, change: None, rows }
    }

    /// The name of the object with these bytes.
    pub(super) fn object(&self, sha256: &str) -> String {
        let folder = sha256.get(..2).unwrap_or_default();
        match &self.encrypted {
            Some(tag) => format!("objects/{folder}/{sha256}.age-{tag}"),
            None => format!("objects/{folder}/{sha256}"),
        }
    }
}

impl Manifest {
    /// Bytes of its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Its name, and its lines.
    pub(super) fn encode(&self) -> Result<(Id, Vec<u8>), serde_json::Error> {
        let mut out = Vec::new();
        let mut line = |line: &Line| -> Result<(), serde_json::Error> {
            serde_json::to_writer(&mut out, line)?;
            out.push(b'\n');
            Ok(())
        };
        line(&Line::Head(self.head.clone()))?;
        self.files.iter().try_for_each(|file| line(&Line::File(file.clone())))?;
        line(&Line::End { files: self.files.len() as u64, bytes: self.bytes() })?;
        let hash = hex(&Sha256::digest(&out));
        Ok((Id::new(self.head.made, self.head.of, &hash), out))
    }

    /// Reads one, whose name is known.
    pub(super) fn decode(id: &Id, bytes: impl Read) -> Result<Self, BackupError> {
        let bad = |why: &str| BackupError::Manifest(id.key(), why.to_owned());
        let cut = || BackupError::Damaged {
            id: id.clone(),
            what: "its manifest is cut short or was changed".to_owned(),
        };
        let (mut head, mut files, mut hash) = (None, Vec::new(), Sha256::new());
        let mut bytes = BufReader::new(bytes);
        let mut text = Vec::new();
        loop {
            text.clear();
            let read = bytes.by_ref().take(MAX_LINE).read_until(b'\n', &mut text);
            read.map_err(|e| bad(&e.to_string()))?;
            if text.last() != Some(&b'\n') {
                return Err(cut());
            }
            hash.update(&text);
            let line = serde_json::from_slice(&text);
            match line {
                Ok(Line::Head(_)) if head.is_some() => return Err(cut()),
                Ok(Line::Head(first)) if first.version != VERSION => {
                    return Err(bad(&format!("it is of version {}", first.version)));
                }
                Ok(Line::Head(first)) => head = Some(first),
                Ok(Line::File(_)) if head.is_none() || files.len() >= MAX_FILES => {
                    return Err(cut());
                }
                Ok(Line::File(file)) => files.push(file),
                Ok(Line::End { files: count, .. }) => {
                    let whole = count == files.len() as u64;
                    let named = id.is_of(&hex(&hash.finalize()));
                    let Some(head) = head.filter(|_| whole && named) else { return Err(cut()) };
                    return Ok(Self { head, files });
                }
                Err(_) if head.is_none() => return Err(bad("its first line is another")),
                Err(_) => return Err(cut()),
            }
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
