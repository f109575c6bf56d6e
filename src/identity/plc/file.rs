//! Operations out of files: the lines of `/export`, packed with gzip or not. What there is already need not be asked of
//! the directory, which gives a thousand operations a request.
//!
//! A thread reads and parses; batches go to the writer one at a time, each with the place behind it, so that an
//! interrupted file goes on there. At the end the directory is followed from the last operation of the file, if the
//! file begins where the cursor is, or is the first thing that comes.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, UNIX_EPOCH};

use flate2::read::MultiGzDecoder;
use tokio_util::sync::CancellationToken;

use super::PlcExport;
use super::chain::Operation;
use super::follow::BAD;
use super::line::{Lines, parse};
use crate::schema::plc::{self, Batch, Cursor, Place};
use crate::store::StoreError;

/// Lines that go in together: few enough that the stream's events do not wait for them.
const BATCH: u64 = 2000;
/// Batches between the thread that reads and the writer.
const AHEAD: usize = 2;
const PIECE: usize = 256 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Operations numbered in another order than their times differ by less.
const DISORDER_MS: i64 = 60_000;

/// Why a file was not taken in to its end. What came before is in.
#[derive(Debug, thiserror::Error)]
pub enum PlcFileError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// Packed in a way that is not known here.
    #[error("{0}: packed with zstd; unpack it first, or use gzip")]
    Zstd(PathBuf),
    /// None of its lines is an operation.
    #[error("{0}: no line of it is an operation of a PLC directory")]
    Nothing(PathBuf),
    /// Another file is being taken in.
    #[error("another file is being taken in: see `aerie identity status`")]
    Busy,
    /// The server stops, or its disk is full.
    #[error("stopped; the same command goes on from there")]
    Stopped,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The taking in of files.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct FileStatus {
    /// The file that is read.
    pub file: PathBuf,
    /// Bytes read of all files, packed as they are.
    pub bytes: u64,
    /// Bytes of all files.
    pub size: u64,
    /// Lines done, those of an earlier run included.
    pub lines: u64,
    /// Of these, done by an earlier run.
    pub resumed: u64,
    /// Operations that were news.
    pub changed: u64,
    /// Of these, operations whose signature could not be proven: the directory is asked for their accounts.
    pub unproven: u64,
    /// Lines that could not be read.
    pub bad: u64,
    /// Seconds that it takes so far.
    pub seconds: f64,
    /// It goes on.
    pub running: bool,
    /// At the end: whether the directory is followed from the last operation of the file.
    pub followed_from: Option<bool>,
    /// Why it ended before its end.
    pub error: Option<String>,
}

/// Where reading begins, and how.
struct FileStart {
    files: Vec<FileSource>,
    /// Files before this one are done.
    index: usize,
    /// Of that one, so much is done.
    offset: u64,
    lines: u64,
    chain: Chain,
}

struct FileSource {
    path: PathBuf,
    /// Stands for the file as it is.
    id: u64,
    size: u64,
}

/// Whether the directory can be followed from the end of what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chain {
    /// It depends on the first line: it must not lie behind this cursor.
    Begins(Option<Cursor>),
    /// From here.
    To(Cursor),
    /// It cannot: something is missing before it, or the lines are not in order.
    Broken,
}

/// Some lines, read.
struct FilePiece {
    path: PathBuf,
    ops: Vec<Operation>,
    place: Place,
    bad: u64,
}

impl PlcExport {
    /// Takes files in, in this order, as if they were one. With `partial` the directory is not followed from their
    /// end. The status shows how it goes; the following of the directory waits.
    ///
    /// # Errors
    /// [`PlcFileError::Busy`] at once; everything else comes from the work that is returned.
    pub fn import(
        &self,
        files: Vec<PathBuf>,
        partial: bool,
        stop: CancellationToken,
    ) -> Result<impl Future<Output = Result<FileStatus, PlcFileError>> + Send + 'static, PlcFileError>
    {
        let this = self.clone();
        {
            let mut file = this.0.file.lock();
            if file.as_ref().is_some_and(|f| f.running) {
                return Err(PlcFileError::Busy);
            }
            *file = Some(FileStatus { running: true, ..FileStatus::default() });
        }
        Ok(async move {
            let begun = Instant::now();
            let result = tokio::select! {
                () = stop.cancelled() => Err(PlcFileError::Stopped),
                result = this.take_in(files, partial, begun) => result,
            };
            this.reads(|f| {
                f.running = false;
                f.seconds = begun.elapsed().as_secs_f64();
                f.error = result.as_ref().err().map(ToString::to_string);
            });
            result.map(|()| this.0.file.lock().clone().unwrap_or_default())
        })
    }

    fn reads(&self, change: impl FnOnce(&mut FileStatus)) {
        if let Some(file) = &mut *self.0.file.lock() {
            change(file);
        }
    }

    async fn take_in(
        &self,
        files: Vec<PathBuf>,
        partial: bool,
        begun: Instant,
    ) -> Result<(), PlcFileError> {
        let _turn = self.0.turn.lock().await;
        let (store, held) = (self.0.store.clone(), self.0.progress.lock().cursor);
        let chain = if partial { Chain::Broken } else { Chain::Begins(held) };
        let start =
            blocking(move || FileStart::find(files, plc::place(&store.snapshot())?, chain)).await?;
        let before = start.files.iter().take(start.index).map(|f| f.size).sum();
        self.reads(|f| {
            f.size = start.files.iter().map(|f| f.size).sum();
            (f.resumed, f.lines) = (start.lines, start.lines);
        });
        let (pieces, to_writer) = flume::bounded(AHEAD);
        let read = Arc::new(AtomicU64::new(before));
        let counted = Arc::clone(&read);
        let reading = tokio::spawn(blocking(move || FileReading { pieces, counted }.run(start)));
        while let Ok(FilePiece { path, ops, place, bad }) = to_writer.recv_async().await {
            let batch = Batch { place: Some(Some(place)), ..Batch::default() };
            let (changed, unproven) = self.apply(ops, batch).await?;
            self.reads(|f| {
                (f.file, f.lines, f.bytes) = (path, place.lines, read.load(Ordering::Relaxed));
                (f.changed, f.bad) = (f.changed + changed, f.bad + bad);
                f.unproven += unproven;
                f.seconds = begun.elapsed().as_secs_f64();
            });
        }
        // A panic in it was already reported by the hook.
        let cursor = reading.await.unwrap_or(Err(PlcFileError::Stopped))?;
        let covered = cursor.map_or(0, |cursor| cursor.time);
        let batch = Batch { cursor, covered, place: Some(None), ..Batch::default() };
        self.apply(Vec::new(), batch).await?;
        self.reads(|f| (f.followed_from, f.bytes) = (Some(cursor.is_some()), f.size));
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PlcFileError> + Send + 'static,
) -> Result<T, PlcFileError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(PlcFileError::Stopped))
}

impl FileStart {
    fn find(files: Vec<PathBuf>, place: Option<Place>, chain: Chain) -> Result<Self, PlcFileError> {
        let source = |path: PathBuf| match identify(&path) {
            Ok((id, size)) => Ok(FileSource { path, id, size }),
            Err(error) => Err(PlcFileError::Read(path, error)),
        };
        let files = files.into_iter().map(source).collect::<Result<Vec<_>, _>>()?;
        let found = place.and_then(|p| Some((files.iter().position(|f| f.id == p.file)?, p)));
        Ok(match found {
            Some((index, Place { offset, lines, end, .. })) => {
                let held = match chain {
                    Chain::Broken => Chain::Broken,
                    _ => end.map_or(Chain::Broken, Chain::To),
                };
                Self { files, index, offset, lines, chain: held }
            }
            None => Self { files, index: 0, offset: 0, lines: 0, chain },
        })
    }
}

/// A number for a file as it is now, and its size.
fn identify(path: &Path) -> io::Result<(u64, u64)> {
    let (path, meta) = (path.canonicalize()?, path.metadata()?);
    let changed = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = format!("{}\n{}\n{}", path.display(), meta.len(), changed.as_nanos());
    Ok((xxhash_rust::xxh3::xxh3_64(text.as_bytes()), meta.len()))
}

impl Chain {
    fn next(&mut self, line: Cursor) {
        *self = match *self {
            Self::Broken => Self::Broken,
            Self::Begins(None) => Self::To(line),
            Self::Begins(Some(held)) => {
                let meets = match (line.seq, held.seq) {
                    (Some(first), Some(held)) => first <= held.saturating_add(1),
                    _ => line.time <= held.time,
                };
                if meets { Self::To(line) } else { Self::Broken }
            }
            Self::To(last) => {
                let ordered = match (line.seq, last.seq) {
                    (Some(seq), Some(last)) => seq > last,
                    _ => line.time >= last.time - DISORDER_MS,
                };
                match ordered {
                    true if line.is_after(last) => Self::To(line),
                    true => Self::To(last),
                    false => Self::Broken,
                }
            }
        };
    }

    fn end(self) -> Option<Cursor> {
        match self {
            Self::To(cursor) => Some(cursor),
            Self::Begins(_) | Self::Broken => None,
        }
    }
}

/// Counts the bytes that come out of a file.
struct Counted(File, Arc<AtomicU64>);

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buf)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// The thread that reads.
struct FileReading {
    pieces: flume::Sender<FilePiece>,
    counted: Arc<AtomicU64>,
}

impl FileReading {
    /// Reads to the end of the last file; gives from where the directory can be followed.
    fn run(self, start: FileStart) -> Result<Option<Cursor>, PlcFileError> {
        let FileStart { files, index, mut offset, mut lines, mut chain } = start;
        for source in files.into_iter().skip(index) {
            let path = source.path.clone();
            let mut batch =
                Collected { source, offset, lines, chain, ops: vec![], fresh: 0, bad: 0 };
            let useful = self.file(&mut batch).map_err(|error| match error {
                Interrupted::Io(error) => PlcFileError::Read(path.clone(), error),
                Interrupted::Zstd => PlcFileError::Zstd(path.clone()),
                Interrupted::Gone => PlcFileError::Stopped,
            })?;
            if !useful && offset == 0 {
                return Err(PlcFileError::Nothing(path));
            }
            (offset, lines, chain) = (0, batch.lines, batch.chain);
        }
        Ok(chain.end())
    }

    /// Reads a file from an offset on; says whether any line was an operation.
    fn file(&self, batch: &mut Collected) -> Result<bool, Interrupted> {
        let mut input = self.open(&batch.source.path, batch.offset)?;
        let (mut lines, mut piece, mut useful) = (Lines::default(), vec![0; PIECE], false);
        loop {
            let n = match input.read(&mut piece) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                n => n?,
            };
            let mut result = Ok(());
            lines.feed(piece.get(..n).unwrap_or_default(), |line, length| {
                useful |= batch.take(line, length);
                if batch.fresh >= BATCH && result.is_ok() {
                    result = self.send(batch);
                }
            });
            result?;
        }
        lines.finish(|line, length| useful |= batch.take(line, length));
        self.send(batch)?;
        Ok(useful)
    }

    fn open(&self, path: &Path, offset: u64) -> Result<Box<dyn Read>, Interrupted> {
        let file = Counted(File::open(path)?, Arc::clone(&self.counted));
        let mut file = BufReader::with_capacity(PIECE, file);
        let head = file.fill_buf()?;
        if head.starts_with(&ZSTD) {
            return Err(Interrupted::Zstd);
        }
        if head.starts_with(&GZIP) {
            let mut packed = MultiGzDecoder::new(file);
            io::copy(&mut packed.by_ref().take(offset), &mut io::sink())?;
            return Ok(Box::new(packed));
        }
        let Counted(mut file, counted) = file.into_inner();
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(Counted(file, counted)))
    }

    fn send(&self, batch: &mut Collected) -> Result<(), Interrupted> {
        let place = Place {
            file: batch.source.id,
            offset: batch.offset,
            lines: batch.lines,
            end: batch.chain.end(),
        };
        let piece = FilePiece {
            path: batch.source.path.clone(),
            ops: std::mem::take(&mut batch.ops),
            place,
            bad: std::mem::take(&mut batch.bad),
        };
        batch.fresh = 0;
        self.pieces.send(piece).map_err(|_| Interrupted::Gone)
    }
}

enum Interrupted {
    Io(io::Error),
    Zstd,
    /// Nobody takes what is read.
    Gone,
}

impl From<io::Error> for Interrupted {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Lines on their way into a batch.
struct Collected {
    source: FileSource,
    /// Behind the last line.
    offset: u64,
    lines: u64,
    chain: Chain,
    ops: Vec<Operation>,
    fresh: u64,
    bad: u64,
}

impl Collected {
    /// Takes a line in; says whether it can be read.
    fn take(&mut self, line: Option<&[u8]>, length: usize) -> bool {
        self.offset += length as u64;
        if line.is_some_and(<[u8]>::is_empty) {
            return false;
        }
        (self.lines, self.fresh) = (self.lines + 1, self.fresh + 1);
        let (cause, cursor) = match line.map(parse) {
            Some(Ok(line)) => {
                self.chain.next(line.cursor);
                self.ops.extend(line.op);
                return true;
            }
            Some(Err(bad)) => (bad.cause, bad.cursor),
            None => ("long", None),
        };
        self.bad += 1;
        BAD.inc(cause);
        if let Some(cursor) = cursor {
            self.chain.next(cursor);
        }
        false
    }
}
