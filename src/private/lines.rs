//! Private state as the lines of a file (see [`super::portable`]), written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::portable::{Frame, Page, Time, VERSION, page};
use crate::store::{Ks, Snapshot, Store, StoreError};

/// Writes the lines: the first at its making, then pages, then the last.
pub struct Lines<W> {
    out: W,
    rows: u64,
    left_out: u64,
}

/// How much was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows.
    pub rows: u64,
    /// Rows that do not decode or are of another version.
    pub left_out: u64,
}

impl<W: Write> Lines<W> {
    /// Writes the first line: made `now`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(out: W, now: i64) -> io::Result<Self> {
        let mut this = Self { out, rows: 0, left_out: 0 };
        this.line(&Frame::Head { version: VERSION, made: Time(now) })?;
        Ok(this)
    }

    /// Writes some rows.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn page(&mut self, page: &Page) -> io::Result<Written> {
        page.rows.iter().try_for_each(|row| self.line(row))?;
        self.rows += page.rows.len() as u64;
        self.left_out += page.left_out;
        Ok(self.written())
    }

    /// Writes the last line.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(mut self) -> io::Result<Written> {
        self.line(&Frame::End { rows: self.rows })?;
        self.out.flush()?;
        Ok(self.written())
    }

    fn written(&self) -> Written {
        Written { rows: self.rows, left_out: self.left_out }
    }

    fn line(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        writeln!(self.out, "{text}")
    }
}

/// A file that is there whole or not at all, and readable by its owner only.
pub struct WholeFile {
    path: PathBuf,
    partial: PathBuf,
    out: BufWriter<File>,
}

impl WholeFile {
    /// Begins beside it.
    ///
    /// # Errors
    /// Nothing can be made there.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let _ = fs::remove_file(&partial);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        Ok(Self { path: path.to_owned(), partial, out: BufWriter::new(file) })
    }

    /// Where to write.
    pub fn out(&mut self) -> &mut (dyn Write + 'static) {
        &mut self.out
    }

    /// Puts it in its place, on disk.
    ///
    /// # Errors
    /// It cannot be written; what was there before stays.
    pub fn end(mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        fs::rename(&self.partial, &self.path)?;
        // The name too.
        match self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        // Gone already if it came to its end.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Private state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be written.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
}

/// A number that is another one when private state was changed; 0 of a store without any.
#[must_use]
pub fn last_change(store: &Store) -> u64 {
    store.last_change(Ks::Private).unwrap_or(0)
}

/// Writes all private state into a file, as of now. Without any, no file. Blocks.
///
/// # Errors
/// See [`ExportError`]; a file that was there stays.
pub fn export(s: &Snapshot, path: &Path, now: i64) -> Result<Written, ExportError> {
    let failed = |e| ExportError::File(path.to_owned(), e);
    let mut file = WholeFile::begin(path).map_err(failed)?;
    let mut lines = Lines::begin(file.out(), now).map_err(failed)?;
    let mut next = None;
    loop {
        let some = page(s, next.as_deref())?;
        lines.page(&some).map_err(failed)?;
        next = some.next;
        if next.is_none() {
            break;
        }
    }
    let written = lines.end().map_err(failed)?;
    if written.rows > 0 {
        file.end().map_err(failed)?;
    }
    Ok(written)
}
