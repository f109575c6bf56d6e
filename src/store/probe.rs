//! A small read from the disk itself, past every cache: whether the tables can be read.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::store::{Store, StoreError};

/// Bytes of a read.
const BLOCK: u64 = 4096;

impl Store {
    /// Reads a block of some table, another one each turn: what is asked for all the time is in memory, so that a disk
    /// that gives nothing more may go unseen for hours.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn probe(&self, turn: u64) -> Result<(), StoreError> {
        let file = match some_table(self, turn) {
            Ok(Some(file)) => file,
            // A young store has none.
            Ok(None) => self.path().join("format"),
            Err((path, e)) => return Err(StoreError::Folder(path, e)),
        };
        match read_block(&file, turn) {
            // Merged away meanwhile.
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            read => read.map_err(|e| StoreError::Folder(file, e)),
        }
    }
}

fn some_table(store: &Store, turn: u64) -> Result<Option<PathBuf>, (PathBuf, io::Error)> {
    let keyspaces = &store.0.keyspaces;
    let count = keyspaces.len();
    // The next keyspace each turn, or the first behind it that has tables.
    for step in 0..count {
        let at = usize::try_from(turn).unwrap_or(0).wrapping_add(step).checked_rem(count);
        let Some(keyspace) = at.and_then(|at| keyspaces.get(at)) else { continue };
        let folder = keyspace.path().join("tables");
        let listed = std::fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let tables = match listed {
            Ok(tables) => tables,
            Err(e) => return Err((folder, e)),
        };
        let at = usize::try_from(spread(turn)).unwrap_or(0).checked_rem(tables.len());
        if let Some(table) = at.and_then(|at| tables.get(at)) {
            return Ok(Some(table.path()));
        }
    }
    Ok(None)
}

fn read_block(path: &Path, turn: u64) -> io::Result<()> {
    let file = File::open(path)?;
    let blocks = file.metadata()?.len() / BLOCK;
    let at = spread(turn).checked_rem(blocks).unwrap_or(0) * BLOCK;
    // Without the page in memory the read goes to the disk. Where that is refused it is a read all the same.
    let _ = rustix::fs::fadvise(&file, at, NonZeroU64::new(BLOCK), rustix::fs::Advice::DontNeed);
    let mut block = [0; BLOCK as usize];
    file.read_at(&mut block, at).map(drop)
}

/// Numbers that follow on each other, far apart.
fn spread(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::{Ks, Writer};

    #[tokio::test]
    async fn a_disk_that_gives_nothing_is_seen_though_all_is_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        assert!((0..40).all(|turn| store.probe(turn).is_ok()), "it is young");
        let (writer, thread) = Writer::start(store.clone()).unwrap();
        let put = |tx: &mut crate::store::Tx<'_>| {
            tx.put(Ks::Meta, b"xa", b"1");
            Ok(())
        };
        writer.durable(put).await.unwrap();
        writer.stop().await;
        thread.join().unwrap().unwrap();
        store.compact(|_| {}).unwrap();
        assert!((0..40).all(|turn| store.probe(turn).is_ok()));
        // Folders in place of tables cannot be read, by root neither.
        let tables = store.0.keyspaces[Ks::Meta as usize].path().join("tables");
        for table in fs::read_dir(&tables).unwrap() {
            let table = table.unwrap().path();
            fs::remove_file(&table).unwrap();
            fs::create_dir(&table).unwrap();
        }
        let error = (0..40).find_map(|turn| store.probe(turn).err()).unwrap();
        assert!(error.to_string().contains("tables"), "{error}");
    }
}
