//! The store as of one instant, for a copy of it: its tables do not change, so it is enough that none of them goes away.
//!
//! Of a store that is open, [`Store::pin`] takes hold of the list of tables of each keyspace, which keeps the engine from
//! deleting any of them, and of the journals, as open files. It has to be called while nothing is committed, so within a
//! change of the writer; that takes milliseconds. What is in the journals and not yet in tables becomes one journal of the copy.
//!
//! # Invariants
//! - What a pin names is a store that opens with exactly the batches that were committed before it.
//! - A pin leaves nothing behind that the next start would not clear away, whenever the process ends.

use std::any::Any;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Cursor, ErrorKind, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::AbstractTree as _;

use super::damage::{self, Listed};
use super::format::{self, file_format};
use super::journal::{Batch, Batches};
use super::migrate::FORMAT;
use crate::store::{Ks, Store, StoreError};

/// The files of a store as of one instant. They stay as they are for as long as this lives.
pub struct Pinned {
    files: Vec<PinnedFile>,
    rows: Vec<(&'static str, u64)>,
    format: u32,
    took: Duration,
    /// Lists of tables, or the lock on a closed store.
    _held: Vec<Box<dyn Any + Send + Sync>>,
}

/// One of them.
pub struct PinnedFile {
    path: String,
    content: Content,
}

enum Content {
    Bytes(Arc<[u8]>),
    /// A file that does not change, up to a length; with the engine's checksum of all of it, if it is a table.
    File {
        file: PathBuf,
        len: u64,
        checksum: Option<u128>,
    },
    Journals(Arc<Journals>),
}

impl Pinned {
    /// The files, in the order in which they are best put back.
    #[must_use]
    pub fn files(&self) -> &[PinnedFile] {
        &self.files
    }

    /// About how many rows each keyspace has; nothing of a store that was closed.
    #[must_use]
    pub fn rows(&self) -> &[(&'static str, u64)] {
        &self.rows
    }

    /// The format of its keys and values.
    #[must_use]
    pub fn format(&self) -> u32 {
        self.format
    }

    /// For how long nothing could be written because of it.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }

    fn add(&mut self, path: String, content: Content) {
        self.files.push(PinnedFile { path, content });
    }

    fn add_table(&mut self, keyspace: u64, folder: &Path, table: &Listed) -> io::Result<()> {
        let file = folder.join("tables").join(table.id.to_string());
        let len = fs::metadata(&file)?.len();
        let path = format!("db/keyspaces/{keyspace}/tables/{}", table.id);
        self.add(path, Content::File { file, len, checksum: Some(table.checksum) });
        Ok(())
    }

    fn add_list(&mut self, keyspace: u64, version: u64, list: Vec<u8>) {
        let mut current = version.to_le_bytes().to_vec();
        current.extend(xxhash_rust::xxh3::xxh3_128(&list).to_le_bytes());
        // The kind of checksum.
        current.push(0);
        self.add(format!("db/keyspaces/{keyspace}/v{version}"), Content::Bytes(list.into()));
        self.add(format!("db/keyspaces/{keyspace}/current"), Content::Bytes(current.into()));
    }

    /// A keyspace of which no list of tables is written meanwhile.
    fn add_resting(&mut self, store: &Path, keyspace: &damage::Keyspace) -> Result<(), StoreError> {
        let failed = |e| StoreError::Folder(keyspace.folder.clone(), e);
        let tables = keyspace.tables.as_ref().map_err(|damage| StoreError::Damaged {
            path: store.to_owned(),
            found: super::Damages(vec![damage.clone()]),
            cause: "it cannot be copied".to_owned(),
        })?;
        tables
            .iter()
            .try_for_each(|table| self.add_table(keyspace.id, &keyspace.folder, table))
            .map_err(failed)?;
        let version = damage::current_version(&keyspace.folder).map_err(failed)?;
        let list = fs::read(keyspace.folder.join(format!("v{version}"))).map_err(failed)?;
        self.add_list(keyspace.id, version, list);
        Ok(())
    }
}

impl PinnedFile {
    /// Where it is in the store's folder, with slashes.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Of a file that may have been there before: two with the same have the same bytes. A length and a checksum.
    #[must_use]
    pub fn same(&self) -> Option<(u64, u128)> {
        match self.content {
            Content::File { len, checksum: Some(checksum), .. } => Some((len, checksum)),
            _ => None,
        }
    }

    /// Its bytes, the same each time.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(match &self.content {
            Content::Bytes(bytes) => Box::new(Cursor::new(bytes)),
            Content::File { file, len, .. } => {
                let file = File::open(file)?;
                // What is read once pushes nothing out of memory that others read again and again.
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::NoReuse);
                Box::new(file.take(*len))
            }
            Content::Journals(journals) => Box::new(journals.read()?),
        })
    }
}

impl Store {
    /// Takes hold of the store as of now. To be called in a change of the writer, so that nothing is committed meanwhile.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn pin(&self) -> Result<Pinned, StoreError> {
        let begun = Instant::now();
        let db = self.path().join("db");
        let failed = |e| StoreError::Folder(db.clone(), e);
        let mut pin = begin(super::migrate::untouched(self)?.unwrap_or(FORMAT));
        // All that was committed is in the files then, not only in memory.
        self.is_alive()?;
        let before = self.db().seqno();
        // Before the tables: what goes from the journals meanwhile is in tables that come after.
        let mut files = Vec::new();
        for path in damage::journals(&db).map_err(failed)? {
            match File::open(&path) {
                Ok(file) => files.push(file),
                // All that it had is in tables.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(failed(e)),
            }
        }
        let mut in_tables = HashMap::new();
        for (ks, keyspace) in Ks::ALL.iter().zip(&self.0.keyspaces) {
            let folder = keyspace.path();
            let (version, list) = loop {
                let version = keyspace.tree.current_version();
                match fs::read(folder.join(format!("v{}", version.id()))) {
                    Ok(list) => break (version, list),
                    // The engine has a newer one.
                    Err(e) if e.kind() == ErrorKind::NotFound => {}
                    Err(e) => return Err(failed(e)),
                }
            };
            for table in version.iter_tables() {
                let (id, checksum) = (table.id(), table.checksum().into_u128());
                let table = Listed { id, checksum, seqno: table.global_seqno() };
                pin.add_table(keyspace.id(), folder, &table).map_err(failed)?;
            }
            let newest = version.iter_tables().map(|table| table.get_highest_seqno()).max();
            in_tables.extend(newest.map(|newest| (keyspace.id(), newest)));
            pin.add_list(keyspace.id(), version.id(), list);
            pin.rows.push((ks.name(), keyspace.approximate_len() as u64));
            pin._held.push(Box::new(version));
        }
        // The engine's own, which changes when keyspaces are made.
        let own = damage::keyspaces(&db).map_err(failed)?;
        if let Some(own) = own.iter().find(|keyspace| keyspace.id == 0) {
            pin.add_resting(self.path(), own)?;
        }
        let journals = Journals { files, before, in_tables };
        pin.add("db/0.jnl".to_owned(), Content::Journals(Arc::new(journals)));
        end(&mut pin, begun);
        Ok(pin)
    }

    /// Takes hold of a store that nobody has open; nobody opens it while the pin lives.
    ///
    /// # Errors
    /// It is in use, of a newer version, or its files cannot be read.
    pub fn pin_closed(path: &Path) -> Result<Pinned, StoreError> {
        let begun = Instant::now();
        let db = path.join("db");
        let failed = |e| StoreError::Folder(db.clone(), e);
        super::migrate::refuse_newer(path)?;
        let lock = File::options().read(true).write(true).open(db.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|_| StoreError::Locked(path.to_owned()))?;
        super::bulk::refuse_begun(path)?;
        let mut pin = begin(file_format(path)?.unwrap_or(FORMAT));
        for keyspace in damage::keyspaces(&db).map_err(failed)? {
            // One that was not made to its end, which the engine removes.
            if keyspace.folder.join("current").exists() {
                pin.add_resting(path, &keyspace)?;
            }
        }
        for journal in damage::journals(&db).map_err(failed)? {
            let name = journal.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let len = written(&journal).map_err(failed)?;
            let name = format!("db/{name}");
            pin.add(name, Content::File { file: journal, len, checksum: None });
        }
        pin._held.push(Box::new(lock));
        end(&mut pin, begun);
        Ok(pin)
    }
}

fn begin(format: u32) -> Pinned {
    Pinned { files: Vec::new(), rows: Vec::new(), format, took: Duration::ZERO, _held: Vec::new() }
}

/// What says of which format it is comes first, what says that there is a store comes last.
fn end(pin: &mut Pinned, begun: Instant) {
    let format = format!("{}\n", pin.format).into_bytes();
    let first =
        PinnedFile { path: format::FILE.to_owned(), content: Content::Bytes(format.into()) };
    pin.files.insert(0, first);
    pin.add("db/version".to_owned(), Content::Bytes(damage::VERSION.into()));
    pin.add("db/lock".to_owned(), Content::Bytes(Arc::new([])));
    pin.took = begun.elapsed();
}

/// The length of a journal without the room that it has behind what was written.
fn written(journal: &Path) -> io::Result<u64> {
    const PIECE: u64 = 1 << 16;
    let file = File::open(journal)?;
    let mut end = file.metadata()?.len();
    let mut piece = [0; PIECE as usize];
    while end > 0 {
        let len = usize::try_from(end.min(PIECE)).unwrap_or(piece.len());
        let piece = piece.get_mut(..len).unwrap_or_default();
        file.read_exact_at(piece, end - len as u64)?;
        if let Some(last) = piece.iter().rposition(|b| *b != 0) {
            return Ok(end - len as u64 + last as u64 + 1);
        }
        end -= len as u64;
    }
    Ok(0)
}

/// The batches of some journals that are not yet in tables, as one journal.
struct Journals {
    files: Vec<File>,
    /// Batches with this number or a higher one came later.
    before: u64,
    /// By keyspace: the number of the last batch that is in tables.
    in_tables: HashMap<u64, u64>,
}

impl Journals {
    fn read(&self) -> io::Result<JournalsReader<'_>> {
        let files = self.files.iter().map(File::try_clone).collect::<io::Result<Vec<_>>>()?;
        let rest = files.into_iter().map(Batches::of).collect::<Vec<_>>().into_iter();
        Ok(JournalsReader { of: self, rest, now: None, batch: Cursor::default() })
    }

    fn wants(&self, batch: &Batch<'_>) -> bool {
        let is_in_tables = |keyspace| self.in_tables.get(&keyspace) >= Some(&batch.number());
        batch.number() < self.before && !batch.all_of(is_in_tables)
    }
}

struct JournalsReader<'a> {
    of: &'a Journals,
    rest: std::vec::IntoIter<Batches>,
    now: Option<Batches>,
    batch: Cursor<Vec<u8>>,
}

impl Read for JournalsReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.batch.read(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            let Some(now) = &mut self.now else {
                self.now = self.rest.next();
                if self.now.is_none() {
                    return Ok(0);
                }
                continue;
            };
            match now.next()? {
                Some(batch) if self.of.wants(&batch) => {
                    self.batch = Cursor::new(batch.bytes().to_vec());
                }
                // Later ones have higher numbers.
                Some(batch) if batch.number() >= self.of.before => self.now = None,
                Some(_) => {}
                None => self.now = None,
            }
        }
    }
}

#[cfg(test)]
#[path = "pin_tests.rs"]
mod tests;
