//! Big batches for a store that nobody reads meanwhile: their rows become tables at once.
//!
//! A batch of the engine goes into its journal and its memtables, is flushed as many small tables, and these are merged
//! again and again. The rows of a big batch are sorted already, so here each keyspace gets one run of tables of them (the
//! engine's ingestion). Each keyspace takes its run in by itself; so that in the end all have, the batch is on disk as
//! a file before the first does, and who opens a store with such a file puts it in again.
//!
//! # Invariants
//! - A file that has its name is whole, and nothing else was written since it was made. Rows are absolute, so it can be
//!   put in any number of times.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;

use parking_lot::Mutex;

use crate::store::tx::Rows;
use crate::store::{Ks, StoreError};

const NAME: &str = "bulk";
/// Threads that make tables.
const BUILDERS: usize = 2;
/// In place of the length of a value: the row is removed.
const REMOVED: u32 = u32::MAX;

type OfKeyspace = (Ks, Rows);

/// Brings the rows of each keyspace into order.
pub(super) fn sort(rows: &mut [OfKeyspace]) {
    rows.sort_unstable_by_key(|(_, rows)| rows.len());
    let todo = Mutex::new(rows.iter_mut());
    let sort = || {
        loop {
            let Some((_, rows)) = todo.lock().next_back() else { return };
            rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        }
    };
    std::thread::scope(|scope| (0..BUILDERS).for_each(|_| drop(scope.spawn(sort))));
}

/// Puts sorted rows in. What was written before is on disk, and no memtable has any of it.
pub(super) fn load<'k>(
    folder: &Path,
    keyspaces: impl Fn(Ks) -> Result<&'k fjall::Keyspace, StoreError> + Sync,
    rows: &[OfKeyspace],
) -> Result<(), StoreError> {
    let failed = |e| StoreError::Folder(folder.join(NAME), e);
    let (todo, on_disk) = (Mutex::new(rows.iter().collect::<Vec<_>>()), Mutex::new(false));
    // Held until the file is there.
    let mut written = on_disk.lock();
    let build = || {
        let mut built = Vec::new();
        loop {
            let Some((ks, rows)) = todo.lock().pop() else { break };
            if rows.is_empty() {
                continue;
            }
            let mut run = keyspaces(*ks)?.start_ingestion()?;
            for (key, value) in rows {
                match value {
                    Some(value) => run.write(key.clone(), value.clone())?,
                    None => run.write_tombstone(key.clone())?,
                }
            }
            built.push(run);
        }
        if *on_disk.lock() {
            built.into_iter().try_for_each(|run| run.finish())?;
        }
        Ok::<_, StoreError>(())
    };
    std::thread::scope(|scope| {
        let builders: Vec<_> = (0..BUILDERS).map(|_| scope.spawn(build)).collect();
        let result = write(folder, rows).map_err(failed);
        *written = result.is_ok();
        drop(written);
        let join = |builder: std::thread::ScopedJoinHandle<'_, _>| {
            builder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        builders.into_iter().map(join).fold(result, |result, built| result.and(built))
    })?;
    remove(folder).map_err(failed)
}

/// Finishes what a crash left half done.
pub(super) fn recover<'k>(
    folder: &Path,
    keyspaces: impl Fn(Ks) -> Result<&'k fjall::Keyspace, StoreError> + Sync,
) -> Result<(), StoreError> {
    let failed = |e| StoreError::Folder(folder.join(NAME), e);
    match File::open(folder.join(NAME)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(file) => {
            let rows = read(&mut BufReader::with_capacity(1 << 20, file)).map_err(failed)?;
            tracing::warn!("store: a big batch was not in whole, and is put in again");
            load(folder, keyspaces, &rows)
        }
    }
}

/// Refuses a store of which a big batch is not in whole: it is not what its tables say.
pub(super) fn refuse_begun(folder: &Path) -> Result<(), StoreError> {
    let file = folder.join(NAME);
    if !file.exists() {
        return Ok(());
    }
    let why = "a big batch is not in whole: start the server, or what began it, once";
    Err(StoreError::Folder(file, std::io::Error::other(why)))
}

/// Under another name first, so that one that is cut short is none.
fn write(folder: &Path, rows: &[OfKeyspace]) -> std::io::Result<()> {
    let part = folder.join(format!("{NAME}.part"));
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&part)?);
    let len = |n: usize| u32::try_from(n).unwrap_or(REMOVED - 1).to_le_bytes();
    for (ks, rows) in rows {
        let count = rows.len() as u64;
        out.write_all(&len(ks.name().len()))?;
        out.write_all(ks.name().as_bytes())?;
        out.write_all(&count.to_le_bytes())?;
        for (key, value) in rows {
            out.write_all(&len(key.len()))?;
            out.write_all(&value.as_ref().map_or(REMOVED.to_le_bytes(), |v| len(v.len())))?;
            out.write_all(key)?;
            out.write_all(value.as_deref().unwrap_or_default())?;
        }
    }
    out.into_inner()?.sync_all()?;
    std::fs::rename(&part, folder.join(NAME))?;
    File::open(folder)?.sync_all()
}

fn read(file: &mut impl Read) -> std::io::Result<Vec<OfKeyspace>> {
    let mut all = Vec::new();
    loop {
        let mut len = [0; 4];
        match file.read_exact(&mut len) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(all),
            read => read?,
        }
        let name = bytes(file, u32::from_le_bytes(len))?;
        let known = Ks::ALL.iter().find(|ks| ks.name().as_bytes() == name);
        let ks = *known.ok_or(std::io::Error::from(ErrorKind::InvalidData))?;
        let mut count = [0; 8];
        file.read_exact(&mut count)?;
        let mut rows = Vec::new();
        for _ in 0..u64::from_le_bytes(count) {
            let (mut key, mut value) = ([0; 4], [0; 4]);
            file.read_exact(&mut key)?;
            file.read_exact(&mut value)?;
            let key = bytes(file, u32::from_le_bytes(key))?;
            let value = match u32::from_le_bytes(value) {
                REMOVED => None,
                len => Some(bytes(file, len)?.into()),
            };
            rows.push((key.into(), value));
        }
        all.push((ks, rows));
    }
}

fn bytes(file: &mut impl Read, len: u32) -> std::io::Result<Vec<u8>> {
    let mut out = vec![0; len as usize];
    file.read_exact(&mut out)?;
    Ok(out)
}

fn remove(folder: &Path) -> std::io::Result<()> {
    std::fs::remove_file(folder.join(NAME))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Reader as _, Store};

    fn rows(of: &[(&str, Option<&str>)]) -> Vec<OfKeyspace> {
        let slice = |text: &str| fjall::Slice::from(text.as_bytes());
        let mut rows = vec![(Ks::Fwd, Rows::new()), (Ks::Rev, Rows::new())];
        rows[1].1 = of.iter().map(|(key, value)| (slice(key), value.map(slice))).collect();
        sort(&mut rows);
        rows
    }

    fn held(store: &Store) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut out = Vec::new();
        let mut add = |k: &[u8], v: &[u8]| {
            out.push((text(k), text(v)));
            true
        };
        store.snapshot().scan(Ks::Rev, b"", None, false, &mut add).unwrap();
        out
    }

    #[test]
    fn what_a_crash_left_is_put_in_at_the_next_start_and_what_was_cut_short_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(dir.path(), 64 << 20).unwrap();
        let store = open();
        load(dir.path(), |ks| store.keyspace(ks), &rows(&[("b", Some("1")), ("a", Some("1"))]))
            .unwrap();
        drop(store);
        write(dir.path(), &rows(&[("b", None), ("c", Some("2")), ("d", Some(""))])).unwrap();
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(held(&open()), [pair("a", "1"), pair("c", "2"), pair("d", "")]);
        assert!(!dir.path().join(NAME).exists());
        std::fs::write(dir.path().join("bulk.part"), b"\x05\0\0\0edge").unwrap();
        assert_eq!(held(&open()).len(), 3);
    }
}
