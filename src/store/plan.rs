//! What opening a store would change of it, read from outside: its files are looked at and nothing is written, so a server may
//! have it open.

use std::fs;
use std::path::Path;

use super::format::file_format;
use super::migrate::{FORMAT, Step};
use super::{damage, salvage};
use crate::store::{Ks, StoreError, free_space};

/// What this version would do to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its format; none if that is only known once it is open.
    pub found: Option<u32>,
    /// The format of this version.
    pub reads: u32,
    /// What changes, step by step.
    pub changes: Vec<&'static str>,
    /// Whether this version opens it.
    pub opens: bool,
    /// Bytes of its tables.
    pub bytes: u64,
    /// Of these, what is gone through.
    pub read: u64,
    /// Rows that are gone through, about.
    pub rows: u64,
    /// Free bytes on its disk.
    pub free: u64,
}

/// Looks at a store.
///
/// # Errors
/// Its files cannot be read.
pub(crate) fn plan(path: &Path, steps: &[Step]) -> Result<Plan, StoreError> {
    let failed = |e| StoreError::Folder(path.to_owned(), e);
    let found = file_format(path)?;
    let from = found.unwrap_or(FORMAT);
    let taken = (from..FORMAT).map(|from| steps.iter().find(|step| step.from == from));
    let (opens, taken) = match taken.collect::<Option<Vec<_>>>() {
        Some(taken) => (from <= FORMAT, taken),
        None => (false, Vec::new()),
    };
    let rewrites: Vec<(&'static str, Ks)> = taken
        .iter()
        .flat_map(|step| step.rewrites.iter().map(|rewrite| (rewrite.name, rewrite.ks)))
        .collect();
    let keyspaces = damage::keyspaces(&path.join("db")).map_err(failed)?;
    let own = keyspaces.iter().find(|keyspace| keyspace.id == 0);
    let names = own.map_or_else(|| Ok(Vec::new()), salvage::names)?;
    let mut out = Plan {
        found,
        reads: FORMAT,
        changes: rewrites.iter().map(|(name, _)| *name).collect(),
        opens,
        bytes: 0,
        read: 0,
        rows: 0,
        free: free_space(path),
    };
    for keyspace in &keyspaces {
        let ks = names.iter().find(|(id, _)| *id == keyspace.id).map(|(_, ks)| *ks);
        let times = rewrites.iter().filter(|(_, rewritten)| Some(*rewritten) == ks).count() as u64;
        // A server that is at work changes the list meanwhile: what is missed is little.
        for table in keyspace.tables.iter().flatten() {
            let file = keyspace.table(table.id);
            let bytes = fs::metadata(&file).map_or(0, |file| file.len());
            out.bytes += bytes;
            out.read += bytes * times;
            if times > 0
                && let Ok(table) = damage::open(&file, table)
            {
                out.rows += table.metadata.item_count * times;
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrate::{Migrated, Rewrite};
    use crate::store::{Store, Writer};

    #[tokio::test]
    async fn what_would_be_done_is_said_and_nothing_is_done() {
        const STEPS: &[Step] = &[Step {
            from: FORMAT - 1,
            rewrites: &[Rewrite { ks: Ks::Post, name: "posts", row: |_, _, _| Ok(Migrated::Same) }],
        }];
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let put = |tx: &mut crate::store::Tx<'_>| {
            (0..500_u32).for_each(|n| tx.put(Ks::Post, &n.to_be_bytes(), b"post"));
            tx.put(Ks::Record, b"r", b"record");
            Ok(())
        };
        writer.durable(put).await.unwrap();
        store.flush_all().unwrap();
        // The server is at work.
        let same = plan(dir.path(), STEPS).unwrap();
        assert_eq!((same.found, same.opens, same.rows), (Some(FORMAT), true, 0));
        assert!(same.changes.is_empty() && same.bytes > same.read);
        let format = |n: u32| fs::write(dir.path().join("format"), format!("{n}\n")).unwrap();
        format(FORMAT - 1);
        let older = plan(dir.path(), STEPS).unwrap();
        assert_eq!((older.opens, older.rows, older.changes), (true, 500, vec!["posts"]));
        assert!(older.read > 0 && older.read < older.bytes);
        for refused in [1, FORMAT + 1] {
            format(refused);
            assert!(!plan(dir.path(), STEPS).unwrap().opens, "{refused}");
        }
        format(FORMAT);
    }
}
