//! Brings a damaged store to open again: what is damaged is set aside, and what can be read of it is put in its place.
//!
//! Only the keyspaces that lost something are made anew, from the rows of their tables, the newest of each key; the
//! others and the journals stay as they are, and the engine puts in again from the journals what is newer. Of a table
//! with a bad block all rows before the first and behind the last bad block are read.
//!
//! # Invariants
//! - Nothing is removed: what is replaced is moved to a folder of its own beside the engine's.
//! - A store of which nothing is damaged stays as it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::damage::{self, Keyspace, Listed};
use super::damages::Damage;
use super::{format, journal};
use crate::config::memory::Share;
use crate::store::{Ks, StoreError};
use crate::threads::catch;

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Of what.
    pub ks: Ks,
    /// In which file that was.
    pub file: PathBuf,
    /// The last key before and the first behind what is lost, as far as that is known. Rows between them may be there
    /// all the same, from other tables.
    pub between: (Option<Vec<u8>>, Option<Vec<u8>>),
}

/// What was done.
#[derive(Debug, Default)]
pub struct Salvaged {
    /// What was damaged.
    pub damaged: Vec<Damage>,
    /// What of it could not be read.
    pub lost: Vec<Lost>,
    /// Journals with batches that were not whole: what can be made out of these is in, and a row may be wrong.
    pub mended: Vec<PathBuf>,
    /// Where what was damaged was put, if anything was.
    pub aside: Option<PathBuf>,
}

/// Makes a damaged store one that opens. `told` hears what is being done.
///
/// # Errors
/// The store is in use, its folder cannot be read or written, or what names its keyspaces cannot be made again.
pub fn salvage(
    store: &Path,
    memory_budget: u64,
    told: &mut dyn FnMut(&str),
) -> Result<Salvaged, StoreError> {
    let db = store.join("db");
    let failed = |e| StoreError::Folder(db.clone(), e);
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false);
    let lock = options.open(db.join("lock")).map_err(failed)?;
    lock.try_lock().map_err(|_| StoreError::Locked(store.to_owned()))?;
    told("every file of the store is read");
    let damaged = damage::examine(store, true).map_err(failed)?;
    let mut out = Salvaged { damaged, ..Salvaged::default() };
    if out.damaged.is_empty() {
        return Ok(out);
    }
    let aside = new_folder(store).map_err(failed)?;
    damage::write_version(&db).map_err(failed)?;
    if let Some(damage) = format::damaged_file(store) {
        // The next start writes it again.
        fs::rename(&damage.file, aside.join("format")).map_err(failed)?;
    }
    let mut work = Work { db: &db, aside: &aside, memory_budget, names: Vec::new() };
    work.names()?;
    for keyspace in damage::keyspaces(&db).map_err(failed)? {
        if keyspace.id == 0 || keyspace.damages(true).is_empty() {
            continue;
        }
        let Some(ks) = work.name(keyspace.id) else { continue };
        told(&format!("{} is made anew from what can be read of it", ks.name()));
        work.rebuild(&keyspace, ks, &mut out.lost)?;
    }
    for file in damage::journals(&db).map_err(failed)? {
        if work.mend_journal(&file).map_err(failed)? {
            out.mended.push(file);
        }
    }
    out.aside = Some(aside);
    Ok(out)
}

/// What each keyspace is, by its number, as far as the engine's own one says it.
pub(super) fn names(own: &Keyspace) -> Result<Vec<(u64, Ks)>, StoreError> {
    let mut names = Vec::new();
    // Nothing of ours is in it, so what it lost is not named.
    Rows::of(own, Ks::Meta).merge(|key, value| {
        let id = key.split_first().filter(|(tag, _)| **tag == b'n').map(|(_, id)| id);
        let id = id.and_then(|id| Some(u64::from_be_bytes(id.try_into().ok()?)));
        let ks = Ks::ALL.iter().find(|ks| ks.name().as_bytes() == value);
        names.extend(id.zip(ks.copied()));
        Ok(())
    })?;
    Ok(names)
}

/// Moves the engine's folder away, so that the next start makes a new store; gives where it is.
///
/// # Errors
/// It cannot be moved.
pub fn set_aside(store: &Path) -> Result<PathBuf, StoreError> {
    let failed = |e| StoreError::Folder(store.to_owned(), e);
    let aside = new_folder(store).map_err(failed)?;
    fs::rename(store.join("db"), aside.join("db")).map_err(failed)?;
    // It says which format the store has, and the new one has its own.
    match fs::rename(store.join("format"), aside.join("format")) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    sync(store).map_err(failed)?;
    Ok(aside)
}

fn new_folder(store: &Path) -> io::Result<PathBuf> {
    for n in 1.. {
        let folder = store.join(format!("damaged-{n}"));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::other("too many folders of damaged stores"))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

struct Work<'a> {
    db: &'a Path,
    aside: &'a Path,
    memory_budget: u64,
    /// What each keyspace is, by its number.
    names: Vec<(u64, Ks)>,
}

impl Work<'_> {
    fn name(&self, id: u64) -> Option<Ks> {
        self.names.iter().find(|(known, _)| *known == id).map(|(_, ks)| *ks)
    }

    /// Finds out what each keyspace is called; makes the keyspace that says so anew if it is damaged.
    fn names(&mut self) -> Result<(), StoreError> {
        let failed = |e| StoreError::Folder(self.db.to_owned(), e);
        let keyspaces = damage::keyspaces(self.db).map_err(failed)?;
        let found = keyspaces.iter().find(|keyspace| keyspace.id == 0);
        let whole = found.is_some_and(|keyspace| keyspace.damages(true).is_empty());
        self.names = found.map_or_else(|| Ok(Vec::new()), names)?;
        if whole {
            return Ok(());
        }
        // A store made by this version numbers its keyspaces in the order of the table. What can be read has to agree.
        let template = self.template(Ks::ALL)?;
        let made: Vec<(u64, Ks)> = (1..).zip(Ks::ALL.iter().copied()).collect();
        let agrees = self.names.iter().all(|pair| made.contains(pair))
            && keyspaces.iter().all(|k| k.id == 0 || made.iter().any(|(id, _)| *id == k.id));
        if !agrees {
            fs::remove_dir_all(&template).map_err(failed)?;
            return Err(StoreError::Nameless(self.db.join("keyspaces/0")));
        }
        self.replace(0, &template.join("keyspaces/0"))?;
        fs::remove_dir_all(&template).map_err(failed)?;
        self.names = made;
        Ok(())
    }

    /// A new store with these keyspaces, closed again.
    fn template(&self, keyspaces: &[Ks]) -> Result<PathBuf, StoreError> {
        self.build(keyspaces, |_| Ok(()))
    }

    fn build(
        &self,
        keyspaces: &[Ks],
        fill: impl FnOnce(&[fjall::Keyspace]) -> Result<(), StoreError>,
    ) -> Result<PathBuf, StoreError> {
        let folder = self.aside.join("new");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|e| StoreError::Folder(folder.clone(), e))?;
        }
        let cache = (self.memory_budget / 8).max(16 << 20);
        let db = fjall::Database::builder(&folder).cache_size(cache).worker_threads(1).open()?;
        let memtable = Share::Memtables.of(self.memory_budget) / 2;
        let made = keyspaces
            .iter()
            .map(|ks| db.keyspace(ks.name(), || ks.tuning().options(memtable)))
            .collect::<Result<Vec<_>, _>>()?;
        fill(&made)?;
        drop(made);
        db.persist(fjall::PersistMode::SyncAll)?;
        drop(db);
        Ok(folder)
    }

    /// Makes a keyspace anew from its tables.
    fn rebuild(&self, keyspace: &Keyspace, ks: Ks, lost: &mut Vec<Lost>) -> Result<(), StoreError> {
        let mut rows = Rows::of(keyspace, ks);
        lost.append(&mut rows.lost);
        let folder = self.build(&[ks], |made| {
            let Some(made) = made.first() else { return Ok(()) };
            let mut run = made.start_ingestion()?;
            rows.merge(|key, value| Ok(run.write(key.to_vec(), value.to_vec())?))?;
            Ok(run.finish()?)
        })?;
        self.replace(keyspace.id, &folder.join("keyspaces/1"))?;
        fs::remove_dir_all(&folder).map_err(|e| StoreError::Folder(folder.clone(), e))
    }

    fn replace(&self, id: u64, by: &Path) -> Result<(), StoreError> {
        let folder = self.db.join("keyspaces").join(id.to_string());
        let aside = self.aside.join("keyspaces");
        let done = || {
            fs::create_dir_all(&aside)?;
            if folder.exists() {
                fs::rename(&folder, aside.join(id.to_string()))?;
            }
            fs::rename(by, &folder)?;
            sync(&self.db.join("keyspaces"))
        };
        done().map_err(|e| StoreError::Folder(folder.clone(), e))
    }

    /// Makes whole batches of those that are not.
    fn mend_journal(&self, file: &Path) -> io::Result<bool> {
        let bytes = fs::read(file)?;
        let journal = journal::parse(&bytes);
        if journal.bad() == 0 {
            return Ok(false);
        }
        let mended = self.aside.join("mended");
        fs::write(&mended, journal.mended(&bytes))?;
        File::open(&mended)?.sync_all()?;
        fs::copy(file, self.aside.join(file.file_name().unwrap_or_default()))?;
        fs::rename(&mended, file)?;
        sync(self.db)?;
        Ok(true)
    }
}

type Row = lsm_tree::InternalValue;
type Run = Box<dyn Iterator<Item = Row>>;

/// The rows of a keyspace, table by table.
#[derive(Default)]
struct Rows {
    /// In the order of keys; with the number of the table, by which later ones count.
    runs: Vec<(u64, Run)>,
    lost: Vec<Lost>,
}

impl Rows {
    /// What can be read. Without a list of its tables, all that are in the folder count.
    fn of(keyspace: &Keyspace, ks: Ks) -> Self {
        let mut out = Self::default();
        let lose = |out: &mut Self, file: PathBuf, between| {
            out.lost.push(Lost { ks, file, between });
        };
        let listed = match &keyspace.tables {
            Ok(tables) => tables.clone(),
            Err(_) => every_table(keyspace),
        };
        for table in listed {
            let file = keyspace.table(table.id);
            let Ok(opened) = damage::open(&file, &table) else {
                lose(&mut out, file, (None, None));
                continue;
            };
            // Without the list nobody knows what it was, but each of its blocks has a checksum too.
            let whole = match keyspace.tables {
                Ok(_) => keyspace.look(&table, true).is_ok(),
                Err(_) => reads_through(&opened),
            };
            if whole {
                out.runs.push((table.id, Box::new(opened.iter().map_while(Result::ok))));
                continue;
            }
            let (rows, between) = readable(&opened);
            out.runs.push((table.id, Box::new(rows.into_iter())));
            if let Some(between) = between {
                lose(&mut out, file, between);
            }
        }
        out
    }

    /// The newest row of each key, in order.
    fn merge(
        &mut self,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut runs: Vec<(u64, Run)> = std::mem::take(&mut self.runs);
        let (count, mut heap) = (runs.len(), BinaryHeap::new());
        let mut next = |heap: &mut BinaryHeap<Reverse<Head>>, at: usize| {
            if let Some((table, run)) = runs.get_mut(at)
                && let Some(row) = run.next()
            {
                heap.push(Reverse(Head { row, table: *table, at }));
            }
        };
        for at in 0..count {
            next(&mut heap, at);
        }
        let mut last: Option<lsm_tree::Slice> = None;
        while let Some(Reverse(Head { row, at, .. })) = heap.pop() {
            next(&mut heap, at);
            if last.as_ref() == Some(&row.key.user_key) {
                continue;
            }
            if row.key.value_type == lsm_tree::ValueType::Value {
                take(&row.key.user_key, &row.value)?;
            }
            last = Some(row.key.user_key);
        }
        Ok(())
    }
}

/// The next row of a run: by key, the newest first.
struct Head {
    row: Row,
    table: u64,
    at: usize,
}

impl Head {
    fn order(&self) -> (&[u8], Reverse<u64>, Reverse<u64>) {
        (&self.row.key.user_key, Reverse(self.row.key.seqno), Reverse(self.table))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

fn every_table(keyspace: &Keyspace) -> Vec<Listed> {
    let entries = fs::read_dir(keyspace.folder.join("tables")).into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    let mut ids: Vec<u64> = ids.collect();
    ids.sort_unstable();
    ids.into_iter().map(|id| Listed { id, checksum: 0, seqno: 0 }).collect()
}

fn reads_through(table: &lsm_tree::Table) -> bool {
    catch(|| table.iter().all(|row| row.is_ok())) == Ok(true)
}

type Between = (Option<Vec<u8>>, Option<Vec<u8>>);

/// The rows before the first and behind the last block that cannot be read, and what lies between if anything does.
fn readable(table: &lsm_tree::Table) -> (Vec<Row>, Option<Between>) {
    let read = |backwards: bool, from: Option<&[u8]>| -> (Vec<Row>, bool) {
        let mut rows: Vec<Row> = Vec::new();
        let ended = catch(|| {
            let mut iter = table.iter();
            loop {
                let next = if backwards { iter.next_back() } else { iter.next() };
                match next {
                    None => return true,
                    Some(Err(_)) => return false,
                    Some(Ok(row)) if from.is_some_and(|from| *row.key.user_key <= *from) => {
                        return true;
                    }
                    Some(Ok(row)) => rows.push(row),
                }
            }
        });
        (rows, ended == Ok(true))
    };
    let (mut rows, whole) = read(false, None);
    if whole {
        return (rows, None);
    }
    let before = rows.last().map(|row| row.key.user_key.to_vec());
    let (mut behind, _) = read(true, before.as_deref());
    behind.reverse();
    let after = behind.first().map(|row| row.key.user_key.to_vec());
    rows.append(&mut behind);
    (rows, Some((before, after)))
}

#[cfg(test)]
#[path = "salvage_tests.rs"]
mod tests;
