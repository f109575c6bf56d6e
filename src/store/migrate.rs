//! The format of keys and values on disk: written into a new store, looked at whenever one is opened, and brought from an
//! older one to this one by steps, which `schema` knows. Here nothing is known of what is in a row.
//!
//! The format stands in two places: a row of `meta`, and a file beside the engine's folder, which is read first. So a
//! store of a newer version is refused before the engine is opened, which would already change files.
//!
//! A step goes through whole keyspaces from the first key to the last and writes changed rows in place, some thousand in
//! one batch together with the place that it reached. The batch is on disk before the engine puts it anywhere else, so
//! after a crash at any instant, a power loss included, each row was changed once or not yet, and the place says which.
//!
//! # Invariants
//! - From the first changed row on the store has the newer format, with a place until the step is through: a version that
//!   reads the older one never opens what is half changed.
//! - Memory is bounded by one chunk. A row that a step cannot read stays as it is, and is counted and named.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::format::{FILE, file_format, set_file_format};
use crate::store::{Ks, Snapshot, Store, StoreError};

/// The format of keys and values on disk. Raised with a migration, never without.
pub const FORMAT: u32 = 4;

/// Its row in [`Ks::Meta`].
const FORMAT_KEY: &[u8] = b"format";
/// How far a step is, in [`Ks::Meta`]; absent but while one is under way.
const PLACE_KEY: &[u8] = b"format-place";

/// Rows of one batch, and the bytes that they may have.
const CHUNK_ROWS: u64 = 16_384;
const CHUNK_BYTES: usize = 4 << 20;
/// Between two lines of the log.
const SAY: Duration = Duration::from_secs(5);

/// What a step makes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Migrated {
    /// It is the same in both formats.
    Same,
    /// It is this from now on.
    Changed(Vec<u8>),
    /// It does not decode.
    Damaged,
}

/// What becomes of a row, by its key and value, and by rows that no step changes.
pub type OfRow = fn(&Snapshot, &[u8], &[u8]) -> Result<Migrated, StoreError>;

/// What changes in one keyspace.
pub struct Rewrite {
    /// Where.
    pub ks: Ks,
    /// What, for people.
    pub name: &'static str,
    /// What becomes of a row.
    pub row: OfRow,
}

/// The way from one format to the next.
pub struct Step {
    /// The format before; the one after is greater by one.
    pub from: u32,
    /// What changes, in this order.
    pub rewrites: &'static [Rewrite],
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The format before.
    pub from: u32,
    /// What is changed.
    pub name: &'static str,
    /// Rows that were looked at.
    pub done: u64,
    /// How many there are, about.
    pub of: u64,
    /// Rows that do not decode and stay as they are.
    pub damaged: u64,
    /// Rows in a second since this run began.
    pub per_second: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, name, done, of, damaged, per_second } = self;
        write!(f, "store: format {from} becomes {}: {name}, {done} of about {of} rows", from + 1)?;
        write!(f, ", {per_second} rows/s")?;
        if *damaged > 0 { write!(f, ", {damaged} do not decode") } else { Ok(()) }
    }
}

/// Where a step goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    from: u32,
    rewrite: u32,
    done: u64,
    of: u64,
    damaged: u64,
    /// The last key that was looked at; none at the begin of a keyspace.
    after: Option<Vec<u8>>,
}

impl Place {
    fn begin(from: u32, rewrite: u32, of: usize) -> Self {
        Self { from, rewrite, done: 0, of: of as u64, damaged: 0, after: None }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(&self.from.to_be_bytes());
        out.extend_from_slice(&self.rewrite.to_be_bytes());
        for n in [self.done, self.of, self.damaged] {
            out.extend_from_slice(&n.to_be_bytes());
        }
        if let Some(after) = &self.after {
            out.push(1);
            out.extend_from_slice(after);
        }
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let (from, b) = b.split_first_chunk::<4>()?;
        let (rewrite, b) = b.split_first_chunk::<4>()?;
        let (done, b) = b.split_first_chunk::<8>()?;
        let (of, b) = b.split_first_chunk::<8>()?;
        let (damaged, b) = b.split_first_chunk::<8>()?;
        let after = match b.split_first() {
            None => None,
            Some((1, key)) => Some(key.to_vec()),
            Some(_) => return None,
        };
        Some(Self {
            from: u32::from_be_bytes(*from),
            rewrite: u32::from_be_bytes(*rewrite),
            done: u64::from_be_bytes(*done),
            of: u64::from_be_bytes(*of),
            damaged: u64::from_be_bytes(*damaged),
            after,
        })
    }
}

fn decode_format(b: &[u8]) -> Option<u32> {
    b.try_into().ok().map(u32::from_be_bytes)
}

/// The format and the place; no format in a store that was never opened whole.
fn held(meta: &fjall::Keyspace) -> Result<(Option<u32>, Option<Place>), StoreError> {
    let corrupt = |key| move || StoreError::corrupt(Ks::Meta, key);
    let format = match meta.get(FORMAT_KEY)? {
        Some(v) => Some(decode_format(&v).ok_or_else(corrupt(FORMAT_KEY))?),
        None => None,
    };
    let place = match meta.get(PLACE_KEY)? {
        Some(v) => Some(Place::decode(&v).ok_or_else(corrupt(PLACE_KEY))?),
        None => None,
    };
    Ok((format, place))
}

fn version(path: &Path, found: u32) -> StoreError {
    let advice = if found > FORMAT {
        "start the newer version again, or put a backup of before back (`aerie backup restore`); nothing was changed"
    } else {
        "there is no migration from it; nothing was changed"
    };
    StoreError::Version { path: path.to_owned(), found, expected: FORMAT, advice }
}

/// Refuses a folder that says it is of a newer version, before anything in it is touched.
pub(super) fn refuse_newer(path: &Path) -> Result<(), StoreError> {
    match file_format(path)? {
        Some(found) if found > FORMAT => Err(version(path, found)),
        _ => Ok(()),
    }
}

/// Refuses a store that this version cannot bring to its format, before a keyspace is made in it.
pub(super) fn refuse(db: &fjall::Database, path: &Path, steps: &[Step]) -> Result<(), StoreError> {
    if !db.keyspace_exists(Ks::Meta.name()) {
        return Ok(());
    }
    let meta = db.keyspace(Ks::Meta.name(), fjall::KeyspaceCreateOptions::default)?;
    let (Some(format), place) = held(&meta)? else { return Ok(()) };
    let from = place.map_or(format, |place| place.from);
    let reached = (from..FORMAT).all(|from| steps.iter().any(|step| step.from == from));
    if format > FORMAT || !reached { Err(version(path, format)) } else { Ok(()) }
}

/// The format of a store in which nothing is half changed; none of one that is new.
pub(super) fn untouched(store: &Store) -> Result<Option<u32>, StoreError> {
    let (format, place) = held(store.keyspace(Ks::Meta)?)?;
    Ok(format.filter(|_| place.is_none()))
}

/// Brings the store to [`FORMAT`]; `told` hears of every chunk, and the log now and then.
pub(super) fn run(
    store: &Store,
    steps: &[Step],
    told: &mut dyn FnMut(&Progress),
) -> Result<(), StoreError> {
    let meta = store.keyspace(Ks::Meta)?;
    let path = store.path();
    let (format, mut place) = held(meta)?;
    if file_format(path)? != Some(FORMAT) {
        set_file_format(path, FORMAT).map_err(|e| StoreError::Folder(path.join(FILE), e))?;
    }
    let Some(mut format) = format else {
        meta.insert(FORMAT_KEY, FORMAT.to_be_bytes())?;
        return store.sync();
    };
    loop {
        let from = place.as_ref().map_or(format, |place| place.from);
        if from == FORMAT {
            return Ok(());
        }
        let Some(step) = steps.iter().find(|step| step.from == from) else {
            return Err(version(path, from));
        };
        take(store, step, place.take(), told)?;
        format = from + 1;
    }
}

/// Takes one step, from `place` on if it was begun.
fn take(
    store: &Store,
    step: &Step,
    mut place: Option<Place>,
    told: &mut dyn FnMut(&Progress),
) -> Result<(), StoreError> {
    let first = place.as_ref().map_or(0, |place| place.rewrite);
    for (rewrite, n) in step.rewrites.iter().zip(0u32..).filter(|(_, n)| *n >= first) {
        let rows = store.keyspace(rewrite.ks)?.approximate_len();
        let begun = Place::begin(step.from, n, rows);
        let place = place.take().filter(|place| place.rewrite == n).unwrap_or(begun);
        go_through(store, rewrite, place, told)?;
    }
    let meta = store.keyspace(Ks::Meta)?;
    let mut batch = durable_batch(store);
    batch.insert(meta, FORMAT_KEY, (step.from + 1).to_be_bytes());
    batch.remove(meta, PLACE_KEY);
    Ok(batch.commit()?)
}

fn go_through(
    store: &Store,
    rewrite: &Rewrite,
    mut place: Place,
    told: &mut dyn FnMut(&Progress),
) -> Result<(), StoreError> {
    let (begun, before) = (Instant::now(), place.done);
    let progress = |place: &Place| {
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let per_second = (place.done - before).saturating_mul(1000) / ms;
        let Place { from, done, of, damaged, .. } = *place;
        Progress { from, name: rewrite.name, done, of, damaged, per_second }
    };
    tracing::info!("{}", progress(&place));
    told(&progress(&place));
    let mut said = begun;
    while chunk(store, rewrite, &mut place)? {
        told(&progress(&place));
        if said.elapsed() >= SAY {
            said = Instant::now();
            tracing::info!("{}", progress(&place));
        }
    }
    tracing::info!("{}", progress(&place));
    told(&progress(&place));
    Ok(())
}

/// Changes the next rows; `false` if there are no more.
fn chunk(store: &Store, rewrite: &Rewrite, place: &mut Place) -> Result<bool, StoreError> {
    use std::ops::Bound::{Excluded, Unbounded};
    let (keyspace, meta) = (store.keyspace(rewrite.ks)?, store.keyspace(Ks::Meta)?);
    let from = place.after.as_deref().map_or(Unbounded, Excluded);
    let mut batch = durable_batch(store);
    let view = store.snapshot();
    let (mut rows, mut bytes) = (0, 0);
    let mut last = None;
    for guard in keyspace.range::<&[u8], _>((from, Unbounded)) {
        let (key, value) = guard.into_inner()?;
        rows += 1;
        bytes += key.len() + value.len();
        match (rewrite.row)(&view, &key, &value)? {
            Migrated::Same => {}
            Migrated::Changed(new) => batch.insert(keyspace, key.clone(), new),
            Migrated::Damaged => {
                place.damaged += 1;
                let error = StoreError::corrupt(rewrite.ks, &key);
                tracing::error!(%error, "it stays as it is: `aerie db check` lists such rows");
            }
        }
        last = Some(key);
        if rows >= CHUNK_ROWS || bytes >= CHUNK_BYTES {
            break;
        }
    }
    let Some(last) = last else { return Ok(false) };
    place.done += rows;
    place.of = place.of.max(place.done);
    place.after = Some(last.to_vec());
    batch.insert(meta, FORMAT_KEY, (place.from + 1).to_be_bytes());
    batch.insert(meta, PLACE_KEY, place.encode());
    store.make_room();
    batch.commit()?;
    Ok(true)
}

/// A batch that is on disk before its rows are anywhere else: the engine may write a full memtable out at any time, and a
/// row that is there without the place would be changed twice.
fn durable_batch(store: &Store) -> fjall::OwnedWriteBatch {
    let batch = fjall::OwnedWriteBatch::with_capacity(store.db().clone(), 1024);
    batch.durability(Some(fjall::PersistMode::SyncAll))
}

/// Whether a row of `meta` about the format is whole; `None` if it is another.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> Option<bool> {
    match key {
        FORMAT_KEY => Some(decode_format(value).is_some()),
        PLACE_KEY => Some(Place::decode(value).is_some()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const BUDGET: u64 = 64 << 20;

    /// Every file below a folder, with what is in it.
    fn tree(path: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
        let mut out = BTreeMap::new();
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                out.extend(tree(&path));
            } else {
                let bytes = std::fs::read(&path).unwrap();
                out.insert(path, bytes);
            }
        }
        out
    }

    fn set(store: &Store, format: u32) {
        store.keyspace(Ks::Meta).unwrap().insert(FORMAT_KEY, format.to_be_bytes()).unwrap();
        store.sync().unwrap();
    }

    #[test]
    fn a_store_of_a_newer_format_is_refused_and_nothing_in_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), BUDGET).unwrap();
        set(&store, 99);
        drop(store);
        std::fs::write(dir.path().join(FILE), "99\n").unwrap();
        let before = tree(dir.path());
        let error = Store::open(dir.path(), BUDGET).unwrap_err();
        assert!(matches!(error, StoreError::Version { found: 99, .. }), "{error}");
        assert!(error.to_string().contains("start the newer version again"), "{error}");
        assert!(before == tree(dir.path()));
        // Whoever lost the file is refused by the row, and no keyspace is made.
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        let error = Store::open(dir.path(), BUDGET).unwrap_err();
        assert!(matches!(error, StoreError::Version { found: 99, .. }), "{error}");
        assert!(!dir.path().join(FILE).exists());
    }

    #[test]
    fn a_format_that_no_step_begins_at_is_refused_before_a_keyspace_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let db = fjall::Database::builder(dir.path().join("db")).open().unwrap();
        let meta = db.keyspace("meta_1", fjall::KeyspaceCreateOptions::default).unwrap();
        meta.insert(FORMAT_KEY, 1u32.to_be_bytes()).unwrap();
        db.persist(fjall::PersistMode::SyncAll).unwrap();
        drop((meta, db));
        let error = Store::open(dir.path(), BUDGET).unwrap_err();
        assert!(error.to_string().contains("there is no migration from it"), "{error}");
        let db = fjall::Database::builder(dir.path().join("db")).open().unwrap();
        assert_eq!(db.list_keyspace_names().len(), 1);
        assert!(!dir.path().join(FILE).exists());
    }

    /// Appends a byte, so that a row that is changed twice shows it; cannot read rows with an empty value.
    fn append(_: &Snapshot, _: &[u8], value: &[u8]) -> Result<Migrated, StoreError> {
        Ok(match value {
            [] => Migrated::Damaged,
            value => Migrated::Changed([value, b"!"].concat()),
        })
    }

    const STEPS: &[Step] = &[Step {
        from: FORMAT - 1,
        rewrites: &[
            Rewrite { ks: Ks::Post, name: "posts", row: append },
            Rewrite { ks: Ks::Record, name: "records", row: |_, _, _| Ok(Migrated::Same) },
            Rewrite { ks: Ks::Label, name: "labels", row: append },
        ],
    }];

    #[test]
    fn a_step_that_stopped_anywhere_changes_each_row_once() {
        for stop_after in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(dir.path(), BUDGET).unwrap();
            let rows = 2 * CHUNK_ROWS + 5;
            for n in 0..rows {
                store.keyspace(Ks::Post).unwrap().insert(n.to_be_bytes(), b"p").unwrap();
            }
            store.keyspace(Ks::Label).unwrap().insert(b"a", b"").unwrap();
            store.keyspace(Ks::Label).unwrap().insert(b"b", b"l").unwrap();
            set(&store, FORMAT - 1);
            // The first run stops behind a chunk, as after a crash.
            let mut chunks = 0;
            let mut place = Place::begin(FORMAT - 1, 0, 0);
            while chunks < stop_after && chunk(&store, &STEPS[0].rewrites[0], &mut place).unwrap() {
                chunks += 1;
            }
            drop(store);
            let mut told = Vec::new();
            let open = |told: &mut Vec<Progress>| {
                Store::open_with(dir.path(), BUDGET, STEPS, &mut |p| told.push(*p)).unwrap()
            };
            let store = open(&mut told);
            assert_eq!(told[0].done, place.done, "it goes on where it was");
            let ends: Vec<_> = told.iter().filter(|p| p.name == "posts").map(|p| p.done).collect();
            assert_eq!(ends.last(), Some(&rows));
            assert_eq!(told.last().map(|p| (p.name, p.done, p.damaged)), Some(("labels", 2, 1)));
            for n in 0..rows {
                let value = store.keyspace(Ks::Post).unwrap().get(n.to_be_bytes()).unwrap();
                assert_eq!(value.as_deref(), Some(&b"p!"[..]), "{n} after {stop_after}");
            }
            let label = |key| store.keyspace(Ks::Label).unwrap().get(key).unwrap().unwrap();
            assert_eq!((&*label("a"), &*label("b")), (&b""[..], &b"l!"[..]));
            assert_eq!(held(store.keyspace(Ks::Meta).unwrap()).unwrap(), (Some(FORMAT), None));
            drop(store);
            told.clear();
            drop(open(&mut told));
            assert_eq!(told, [], "it is done");
            if chunks < stop_after {
                break;
            }
        }
    }

    #[test]
    fn what_is_half_changed_is_refused_by_whoever_does_not_know_the_step() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), BUDGET).unwrap();
        store.keyspace(Ks::Post).unwrap().insert(b"a", b"p").unwrap();
        set(&store, FORMAT - 1);
        let mut place = Place::begin(FORMAT - 1, 0, 0);
        assert!(chunk(&store, &STEPS[0].rewrites[0], &mut place).unwrap());
        let format = store.keyspace(Ks::Meta).unwrap().get(FORMAT_KEY).unwrap();
        assert_eq!(format.as_deref(), Some(&FORMAT.to_be_bytes()[..]), "older ones refuse it");
        drop(store);
        let error = Store::open(dir.path(), BUDGET).unwrap_err();
        assert!(matches!(error, StoreError::Version { .. }), "{error}");
    }
}
