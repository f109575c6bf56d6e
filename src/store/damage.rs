//! Which files of a store are damaged: read from outside, while the engine has it closed, and without changing anything.
//!
//! The engine opens a store as a whole or not at all, and says of what it met that it did not like it, but not where.
//! So here its folder is gone through file by file: every keyspace has a list of its tables (`current` names it) with a
//! checksum of each, and every batch of a journal has one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::damages::{Damage, Damages};
use super::{format, journal};
use crate::store::StoreError;
use crate::threads::catch;

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// A table as the list of its keyspace names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    pub(super) id: u64,
    pub(super) checksum: u128,
    pub(super) seqno: u64,
}

/// A keyspace on disk.
#[derive(Debug)]
pub(super) struct Keyspace {
    pub(super) id: u64,
    pub(super) folder: PathBuf,
    /// Its tables, or what is the matter with the list.
    pub(super) tables: Result<Vec<Listed>, Damage>,
}

impl Keyspace {
    pub(super) fn table(&self, id: u64) -> PathBuf {
        self.folder.join("tables").join(id.to_string())
    }

    /// What is the matter with it. With `whole`, every byte of the tables is read.
    pub(super) fn damages(&self, whole: bool) -> Vec<Damage> {
        match &self.tables {
            Err(damage) => vec![damage.clone()],
            Ok(tables) => tables.iter().filter_map(|table| self.look(table, whole).err()).collect(),
        }
    }

    /// Whether a table is what the list says.
    pub(super) fn look(&self, table: &Listed, whole: bool) -> Result<(), Damage> {
        let file = self.table(table.id);
        let damage = |what: String| Damage { file: file.clone(), what };
        if whole {
            return match checksum(&file) {
                Ok(sum) if sum == table.checksum => Ok(()),
                Ok(_) => Err(damage("its checksum does not fit".to_owned())),
                Err(e) => Err(damage(e.to_string())),
            };
        }
        open(&file, table).map(drop).map_err(damage)
    }
}

/// Opens a table by itself.
pub(super) fn open(file: &Path, table: &Listed) -> Result<lsm_tree::Table, String> {
    let cache = std::sync::Arc::new(lsm_tree::Cache::with_capacity_bytes(8 << 20));
    let checksum = lsm_tree::Checksum::from_raw(table.checksum);
    let (file, seqno) = (file.to_owned(), table.seqno);
    // Bytes that are not what they were are met by code that did not expect it.
    let opened =
        catch(move || lsm_tree::Table::recover(file, checksum, seqno, 0, cache, None, true, true));
    opened?.map_err(|e| e.to_string())
}

fn checksum(file: &Path) -> io::Result<u128> {
    let mut file = File::open(file)?;
    let (mut hash, mut piece) = (xxhash_rust::xxh3::Xxh3::new(), vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hash.digest128());
        }
        hash.update(piece.get(..read).unwrap_or_default());
    }
}

/// The keyspaces of the engine's folder, by number.
pub(super) fn keyspaces(db: &Path) -> io::Result<Vec<Keyspace>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(db.join("keyspaces"))? {
        let folder = entry?.path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Ok(id) = name.parse::<u64>() else { continue };
        let tables = tables(&folder);
        found.push(Keyspace { id, folder, tables });
    }
    found.sort_unstable_by_key(|keyspace| keyspace.id);
    Ok(found)
}

/// The journals of the engine's folder, the oldest first.
pub(super) fn journals(db: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(db)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if path.extension().is_some_and(|ext| ext == "jnl") {
            found.extend(number.map(|number| (number, path)));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The list of tables.
fn tables(folder: &Path) -> Result<Vec<Listed>, Damage> {
    let current = folder.join("current");
    let bytes = fs::read(&current);
    let bytes = bytes.map_err(|e| Damage { file: current.clone(), what: e.to_string() })?;
    let parsed = bytes.split_first_chunk::<8>().and_then(|(id, rest)| {
        Some((u64::from_le_bytes(*id), u128::from_le_bytes(*rest.first_chunk::<16>()?)))
    });
    let short = || Damage { file: current.clone(), what: "it is too short".to_owned() };
    let (version, sum) = parsed.ok_or_else(short)?;
    let file = folder.join(format!("v{version}"));
    let damage = |what: String| Damage { file: file.clone(), what };
    match checksum(&file) {
        Ok(found) if found == sum => {}
        Ok(_) => return Err(damage("its checksum does not fit".to_owned())),
        Err(e) => return Err(damage(format!("{e} (named by {})", current.display()))),
    }
    let read = || -> Option<Vec<Listed>> {
        let reader = sfa::Reader::new(&file).ok()?;
        let section = reader.toc().section(b"tables")?;
        let mut bytes = Vec::new();
        section.buf_reader(&file).ok()?.read_to_end(&mut bytes).ok()?;
        listed(&bytes)
    };
    read().ok_or_else(|| damage("it is no list of tables".to_owned()))
}

fn listed(bytes: &[u8]) -> Option<Vec<Listed>> {
    let mut rest = bytes;
    let mut take = |n: usize| -> Option<&[u8]> {
        let (head, tail) = rest.split_at_checked(n)?;
        rest = tail;
        Some(head)
    };
    let mut out = Vec::new();
    let levels = *take(1)?.first()?;
    for _ in 0..levels {
        let runs = *take(1)?.first()?;
        for _ in 0..runs {
            let count = u32::from_le_bytes(take(4)?.try_into().ok()?);
            for _ in 0..count {
                let id = u64::from_le_bytes(take(8)?.try_into().ok()?);
                // The only kind of checksum that there is.
                (*take(1)?.first()? == 0).then_some(())?;
                let checksum = u128::from_le_bytes(take(16)?.try_into().ok()?);
                let seqno = u64::from_le_bytes(take(8)?.try_into().ok()?);
                out.push(Listed { id, checksum, seqno });
            }
        }
    }
    Some(out)
}

/// The number of the list of tables that counts.
pub(super) fn current_version(folder: &Path) -> io::Result<u64> {
    let bytes = fs::read(folder.join("current"))?;
    let id = bytes.first_chunk::<8>().ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
    Ok(u64::from_le_bytes(*id))
}

/// What the engine says of its own format, in a file.
pub(super) const VERSION: &[u8] = b"FJL\x03";

/// Writes that file again.
pub(super) fn write_version(db: &Path) -> io::Result<()> {
    fs::write(db.join("version"), VERSION)
}

/// A keyspace without its `current` has not been made to its end, for the engine, which removes it. One that has tables
/// was, and lost it.
///
/// # Errors
/// There is such a keyspace.
pub(super) fn refuse_headless(store: &Path) -> Result<(), StoreError> {
    // Without a folder there is nothing to lose.
    let keyspaces = keyspaces(&store.join("db")).unwrap_or_default();
    let headless = |keyspace: &Keyspace| {
        let current = keyspace.folder.join("current");
        let tables = fs::read_dir(keyspace.folder.join("tables"));
        let some = tables.is_ok_and(|mut tables| tables.next().is_some());
        let what = "it is missing".to_owned();
        (some && !current.exists()).then_some(Damage { file: current, what })
    };
    let found: Vec<Damage> = keyspaces.iter().filter_map(headless).collect();
    if found.is_empty() {
        return Ok(());
    }
    let cause = "the engine would remove all of the keyspace".to_owned();
    Err(StoreError::Damaged { path: store.to_owned(), found: Damages(found), cause })
}

/// Bytes of tables up to which all of them are read only to say which is to blame.
const SMALL: u64 = 1 << 30;

fn size(store: &Path) -> u64 {
    let keyspaces = keyspaces(&store.join("db")).unwrap_or_default();
    let tables = keyspaces.iter().flat_map(|keyspace| {
        fs::read_dir(keyspace.folder.join("tables")).into_iter().flatten().flatten()
    });
    tables.filter_map(|table| table.metadata().ok()).map(|table| table.len()).sum()
}

/// The error of an engine that did not open or read a store, with the files that are to blame, if there are any.
#[must_use]
pub fn explained(store: &Path, error: StoreError) -> StoreError {
    let StoreError::Engine(cause) = error else { return error };
    let found = match examine(store, false) {
        // A bad block among the first rows that are read. In a large store that takes its time, and `db repair` does it.
        Ok(found) if found.is_empty() && size(store) < SMALL => examine(store, true),
        found => found,
    };
    match found {
        Ok(found) if !found.is_empty() || !matches!(cause, fjall::Error::Io(_)) => {
            let cause = format!("{cause:?}");
            StoreError::Damaged { path: store.to_owned(), found: Damages(found), cause }
        }
        _ => StoreError::Engine(cause),
    }
}

/// What is damaged of the store in a folder. With `whole`, every byte of it is read.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn examine(store: &Path, whole: bool) -> io::Result<Vec<Damage>> {
    let db = store.join("db");
    let version = db.join("version");
    let mut found = Vec::new();
    if fs::read(&version).unwrap_or_default() != VERSION {
        found.push(Damage { file: version, what: "it says nothing that is known".to_owned() });
    }
    found.extend(format::damaged_file(store));
    found.extend(
        keyspaces(&db)?.iter().flat_map(|keyspace| keyspace.damages(whole || keyspace.id == 0)),
    );
    for file in journals(&db)? {
        match journal::read(&file) {
            Ok(journal) if journal.bad() == 0 => {}
            Ok(journal) => {
                let what = format!("{} of its batches are not whole", journal.bad());
                found.push(Damage { file, what });
            }
            Err(e) => found.push(Damage { file, what: e.to_string() }),
        }
    }
    Ok(found)
}
