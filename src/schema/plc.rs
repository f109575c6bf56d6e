//! What the operations of the PLC directory say of each DID, in some 70 bytes, and how far they were read.
//!
//! Most of these DIDs were never seen anywhere else here: they get no number and no account. Rows of the `plc`
//! keyspace: a DID, in the form that the name table gives it, to `PlcRow`; `h` URL of a PDS to its number and `H`
//! back. Two rows of `meta` say how far the export was read ([`Progress`]) and where a file is ([`Place`]).
//! Operations come from `identity`, which also reads what is here as documents.
//!
//! # Invariants
//! - The newest operation of a DID wins, in whatever order and however often they come.
//! - Cursor and counts change in the batch of the rows they are about.

use crate::schema::bytes::{ByteReader, push_blob, push_varint};
use crate::schema::names::did_bytes;
use crate::schema::{ActorId, Key, Rows};
use crate::store::{Ks, Reader, StoreError, Tx};

/// Tag and compressed point of a public key, see [`crate::crypto::KeyBytes`].
pub type KeyBytes = [u8; 34];

/// What a DID is after an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlcState {
    /// It has a document.
    Document(PlcDocument),
    /// It was given up.
    Tombstone,
    /// It has a document that does not fit here: the directory has to be asked.
    Elsewhere,
}

/// What is used of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlcDocument {
    /// The `#atproto` key.
    pub key: Option<KeyBytes>,
    /// The URL of the PDS, without a trailing slash.
    pub pds: Option<String>,
    /// The handle that it claims.
    pub handle: Option<String>,
    /// Other keys and services, in the form that `identity` gives them; empty if there are none.
    pub more: Vec<u8>,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlcOp {
    /// Whose.
    pub did: String,
    /// When the directory took it, milliseconds since the epoch.
    pub time: i64,
    /// What the DID is since.
    pub state: PlcState,
}

/// A place in the export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The number of the last operation, where they are numbered.
    pub seq: Option<u64>,
    /// Its time.
    pub time: i64,
}

impl Cursor {
    /// Whether this is behind `other` in the export.
    #[must_use]
    pub fn is_after(self, other: Self) -> bool {
        match (self.seq, other.seq) {
            (Some(own), Some(other)) => own > other,
            _ => self.time > other.time,
        }
    }
}

/// How far the export of a directory was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The URL of the directory.
    pub directory: String,
    /// The last operation that is in.
    pub cursor: Option<Cursor>,
    /// Every operation that the directory took before this is in, milliseconds since the epoch.
    pub covered: i64,
    /// DIDs with a row.
    pub dids: u64,
    /// Of these, given up.
    pub tombstones: u64,
    /// Hosts that have a number.
    pub hosts: u32,
}

impl Progress {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        push_blob(&mut out, self.directory.as_bytes());
        let seq = self.cursor.and_then(|c| c.seq).map_or(0, |seq| seq.saturating_add(1));
        push_varint(&mut out, seq);
        push_varint(&mut out, self.cursor.map_or(0, |c| c.time).max(0).cast_unsigned());
        push_varint(&mut out, self.covered.max(0).cast_unsigned());
        push_varint(&mut out, self.dids);
        push_varint(&mut out, self.tombstones);
        push_varint(&mut out, u64::from(self.hosts));
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let directory = r.str()?.to_owned();
        let (seq, time) = (r.varint()?, r.varint()?.cast_signed());
        let cursor = (seq > 0 || time > 0).then(|| Cursor { seq: seq.checked_sub(1), time });
        Some(Self {
            directory,
            cursor,
            covered: r.varint()?.cast_signed(),
            dids: r.varint()?,
            tombstones: r.varint()?,
            hosts: u32::try_from(r.varint()?).ok()?,
        })
    }
}

/// Where the taking in of a file is, for the case that it is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Stands for the file.
    pub file: u64,
    /// Bytes of it that are done, unpacked.
    pub offset: u64,
    /// Lines of it that are done.
    pub lines: u64,
    /// The last operation, if the export may be followed from there in the end.
    pub end: Option<Cursor>,
}

impl Place {
    fn encode(self) -> Vec<u8> {
        let end = self.end.map_or([0, 0], |c| {
            [c.time.max(0).cast_unsigned().saturating_add(1), c.seq.map_or(0, |s| s + 1)]
        });
        let mut out = self.file.to_be_bytes().to_vec();
        for n in [self.offset, self.lines].into_iter().chain(end) {
            push_varint(&mut out, n);
        }
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let (file, offset, lines) = (r.u64()?, r.varint()?, r.varint()?);
        let (time, seq) = (r.varint()?, r.varint()?);
        let end = time
            .checked_sub(1)
            .map(|time| Cursor { seq: seq.checked_sub(1), time: time.cast_signed() });
        Some(Self { file, offset, lines, end })
    }
}

const PROGRESS: &[u8] = b"e";
const PLACE: &[u8] = b"ei";

/// How far the export of `directory` was read. Another directory counts its operations otherwise.
pub fn progress<R: Reader + ?Sized>(r: &R, directory: &str) -> Result<Progress, StoreError> {
    let held = r.row(Ks::Meta, PROGRESS, Progress::decode)?.unwrap_or_default();
    Ok(if held.directory == directory {
        held
    } else {
        Progress { directory: directory.to_owned(), cursor: None, covered: 0, ..held }
    })
}

/// The file that was not taken in to its end.
pub fn place<R: Reader + ?Sized>(r: &R) -> Result<Option<Place>, StoreError> {
    r.row(Ks::Meta, PLACE, Place::decode)
}

/// Operations that go in together, and what is to be remembered with them.
#[derive(Debug, Default)]
pub struct Batch {
    /// URL of the directory that took them.
    pub directory: String,
    /// In the order of the export.
    pub ops: Vec<PlcOp>,
    /// The place behind them; one that is not behind the held one changes nothing.
    pub cursor: Option<Cursor>,
    /// See [`Progress::covered`]; does not go back either.
    pub covered: i64,
    /// Where a file is, or `Some(None)` at its end.
    pub place: Option<Option<Place>>,
}

/// What a batch changed.
#[derive(Debug, Default)]
pub struct Applied {
    /// Where the export is now.
    pub progress: Progress,
    /// Operations that were news.
    pub changed: u64,
    /// Accounts whose documents were read before an operation among these, and have to be looked at; with their DIDs.
    pub outdated: Vec<(ActorId, String)>,
}

/// Puts operations in.
pub fn apply(tx: &mut Tx<'_>, batch: &Batch) -> Result<Applied, StoreError> {
    let held = progress(tx, &batch.directory)?;
    let mut applied = Applied { progress: held.clone(), ..Applied::default() };
    for op in &batch.ops {
        one(tx, op, &mut applied)?;
    }
    let now = &mut applied.progress;
    if let Some(cursor) = batch.cursor
        && now.cursor.is_none_or(|old| cursor.is_after(old))
    {
        now.cursor = Some(cursor);
    }
    now.covered = now.covered.max(batch.covered);
    if *now != held {
        tx.put(Ks::Meta, PROGRESS, &now.encode());
    }
    match batch.place {
        Some(Some(place)) => tx.put(Ks::Meta, PLACE, &place.encode()),
        Some(None) => tx.del(Ks::Meta, PLACE),
        None => {}
    }
    Ok(applied)
}

fn one(tx: &mut Tx<'_>, op: &PlcOp, applied: &mut Applied) -> Result<(), StoreError> {
    let key = did_bytes(&op.did);
    let held = tx.row(Ks::Plc, &key, PlcRow::decode)?;
    if held.as_ref().is_some_and(|row| row.time > op.time) {
        return Ok(());
    }
    let mut row = PlcRow { time: op.time, ..PlcRow::default() };
    match &op.state {
        PlcState::Tombstone => row.tombstone = true,
        PlcState::Elsewhere => row.elsewhere = true,
        PlcState::Document(doc) => {
            row.key = doc.key;
            row.host = match &doc.pds {
                Some(url) => Some(intern_host(tx, url, &mut applied.progress)?),
                None => None,
            };
            row.handle = doc.handle.clone().unwrap_or_default();
            row.more.clone_from(&doc.more);
        }
    }
    if held.as_ref() == Some(&row) {
        return Ok(());
    }
    tx.put(Ks::Plc, &key, &row.encode());
    let progress = &mut applied.progress;
    progress.dids += u64::from(held.is_none());
    progress.tombstones += u64::from(row.tombstone);
    progress.tombstones -=
        u64::from(held.is_some_and(|row| row.tombstone)).min(progress.tombstones);
    applied.changed += 1;
    if let Some(actor) = outdated(tx, op)? {
        applied.outdated.push((actor, op.did.clone()));
    }
    Ok(())
}

/// The account whose document was last read before the operation. One that was never read is read when it is seen.
fn outdated(tx: &Tx<'_>, op: &PlcOp) -> Result<Option<ActorId>, StoreError> {
    let Some(actor) = tx.actor_id(&op.did)? else { return Ok(None) };
    let read = tx.identity(actor)?;
    Ok(read.is_some_and(|row| row.checked < op.time).then_some(actor))
}

fn host_key(url: &str) -> Key {
    Key::tag(b'h').bytes(url.as_bytes())
}

fn intern_host(tx: &mut Tx<'_>, url: &str, progress: &mut Progress) -> Result<u32, StoreError> {
    if let Some(id) = tx.row(Ks::Plc, &host_key(url), |b| ByteReader::new(b).u32())? {
        return Ok(id);
    }
    let id = progress.hosts;
    progress.hosts = id.checked_add(1).ok_or(StoreError::Full("host numbers"))?;
    tx.put(Ks::Plc, &host_key(url), &id.to_be_bytes());
    tx.put(Ks::Plc, &Key::tag(b'H').u32(id), url.as_bytes());
    Ok(id)
}

/// What the newest operation of a DID made of it; `None` if there was none.
pub fn get<R: Reader + ?Sized>(r: &R, did: &str) -> Result<Option<PlcState>, StoreError> {
    let Some(row) = r.row(Ks::Plc, &did_bytes(did), PlcRow::decode)? else { return Ok(None) };
    if row.tombstone {
        return Ok(Some(PlcState::Tombstone));
    }
    if row.elsewhere {
        return Ok(Some(PlcState::Elsewhere));
    }
    let pds = match row.host {
        Some(id) => {
            let url = |b: &[u8]| std::str::from_utf8(b).ok().map(str::to_owned);
            let key = Key::tag(b'H').u32(id);
            let url = r.row(Ks::Plc, &key, url)?;
            Some(url.ok_or_else(|| StoreError::corrupt(Ks::Plc, &key))?)
        }
        None => None,
    };
    let handle = Some(row.handle).filter(|handle| !handle.is_empty());
    Ok(Some(PlcState::Document(PlcDocument { key: row.key, pds, handle, more: row.more })))
}

/// The stored form of the newest operation of a DID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct PlcRow {
    time: i64,
    tombstone: bool,
    elsewhere: bool,
    key: Option<KeyBytes>,
    host: Option<u32>,
    handle: String,
    more: Vec<u8>,
}

const TOMBSTONE: u8 = 1;
const ELSEWHERE: u8 = 2;
const KEY: u8 = 4;
const HOST: u8 = 8;
const MORE: u8 = 16;

impl PlcRow {
    fn encode(&self) -> Vec<u8> {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut out = Vec::with_capacity(48 + self.handle.len() + self.more.len());
        out.push(
            flag(self.tombstone, TOMBSTONE)
                | flag(self.elsewhere, ELSEWHERE)
                | flag(self.key.is_some(), KEY)
                | flag(self.host.is_some(), HOST)
                | flag(!self.more.is_empty(), MORE),
        );
        push_varint(&mut out, self.time.max(0).cast_unsigned());
        out.extend(self.key.iter().flatten());
        if let Some(host) = self.host {
            push_varint(&mut out, u64::from(host));
        }
        push_blob(&mut out, self.handle.as_bytes());
        out.extend_from_slice(&self.more);
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let flags = r.u8()?;
        let has = |bit| flags & bit != 0;
        let time = r.varint()?.cast_signed();
        let key = if has(KEY) { Some(r.array()?) } else { None };
        let host = if has(HOST) { Some(u32::try_from(r.varint()?).ok()?) } else { None };
        let handle = r.str()?.to_owned();
        let more = r.rest().to_vec();
        (has(MORE) != more.is_empty()).then_some(Self {
            time,
            tombstone: has(TOMBSTONE),
            elsewhere: has(ELSEWHERE),
            key,
            host,
            handle,
            more,
        })
    }
}

/// Whether a row of the keyspace is whole.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> bool {
    match key.split_first() {
        Some((0 | 1, _)) => PlcRow::decode(value).is_some(),
        Some((b'h', _)) => value.len() == 4,
        Some((b'H', id)) => id.len() == 4 && std::str::from_utf8(value).is_ok(),
        _ => false,
    }
}

/// Whether a row of `meta` that is about the export is whole; `None` for other rows.
pub(crate) fn meta_decodes(key: &[u8], value: &[u8]) -> Option<bool> {
    match key {
        PROGRESS => Some(Progress::decode(value).is_some()),
        PLACE => Some(Place::decode(value).is_some()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Edit;
    use crate::schema::rows::{IdentityRow, identity_key};
    use crate::store::{Store, Writer};

    const DID: &str = "did:plc:z72i7hdynmk6r22z27h6tvur";
    const DIRECTORY: &str = "https://plc.example";

    fn open() -> (tempfile::TempDir, Store, Writer) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        (dir, store, writer)
    }

    fn doc(n: u8) -> PlcState {
        PlcState::Document(PlcDocument {
            key: Some([n; 34]),
            pds: Some(format!("https://pds{}.example", n % 2)),
            handle: Some(format!("h{n}.example")),
            more: vec![n; usize::from(n % 3)],
        })
    }

    fn op(did: &str, time: i64, state: PlcState) -> PlcOp {
        PlcOp { did: did.to_owned(), time, state }
    }

    async fn put(writer: &Writer, ops: Vec<PlcOp>) -> Applied {
        let batch = Batch { directory: DIRECTORY.into(), ops, ..Batch::default() };
        writer.durable(move |tx| apply(tx, &batch)).await.unwrap()
    }

    #[test]
    fn rows_come_back() {
        let full = PlcRow {
            time: 1_700_000_000_000,
            key: Some([9; 34]),
            host: Some(300),
            handle: "alice.bsky.social".into(),
            ..PlcRow::default()
        };
        assert!(did_bytes(DID).len() + full.encode().len() < 80, "it is for a hundred million");
        let more = PlcRow { more: b"{}".to_vec(), tombstone: false, ..full.clone() };
        for row in [full, more, PlcRow { tombstone: true, ..PlcRow::default() }, PlcRow::default()]
        {
            assert_eq!(PlcRow::decode(&row.encode()), Some(row));
        }
        for bad in [&[][..], &[0], &[KEY, 1, 2], &[MORE, 1, 0], &[0, 1, 0, 7]] {
            assert_eq!(PlcRow::decode(bad), None, "{bad:?}");
        }
        for cursor in
            [None, Some(Cursor { seq: None, time: 5 }), Some(Cursor { seq: Some(0), time: 0 })]
        {
            let directory = DIRECTORY.to_owned();
            let p = Progress { directory, cursor, covered: 7, dids: 3, tombstones: 2, hosts: 1 };
            assert_eq!(Progress::decode(&p.encode()), Some(p));
            let place = Place { file: 5, offset: 6, lines: 7, end: cursor };
            assert_eq!(Place::decode(&place.encode()), Some(place));
        }
    }

    #[tokio::test]
    async fn the_newest_operation_wins_in_any_order() {
        let ops = [(1, doc(1)), (2, doc(2)), (3, PlcState::Tombstone), (4, doc(4))];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [0, 3, 1, 2]] {
            let (_dir, store, writer) = open();
            for n in order {
                let (time, state) = ops[n].clone();
                put(&writer, vec![op(DID, time, state)]).await;
            }
            assert_eq!(get(&store.snapshot(), DID).unwrap(), Some(doc(4)), "{order:?}");
            let p = progress(&store.snapshot(), DIRECTORY).unwrap();
            assert_eq!((p.dids, p.tombstones), (1, 0), "{order:?}");
        }
    }

    #[tokio::test]
    async fn operations_of_the_same_time_count_in_their_order_and_again_change_nothing() {
        let (_dir, store, writer) = open();
        let ops = || {
            vec![op(DID, 5, doc(1)), op(DID, 5, PlcState::Tombstone), op("did:plc:x", 5, doc(3))]
        };
        assert_eq!(put(&writer, ops()).await.changed, 3);
        let before = progress(&store.snapshot(), DIRECTORY).unwrap();
        assert_eq!((before.dids, before.tombstones, before.hosts), (2, 1, 1));
        put(&writer, ops()).await;
        assert_eq!(get(&store.snapshot(), DID).unwrap(), Some(PlcState::Tombstone));
        assert_eq!(get(&store.snapshot(), "did:plc:x").unwrap(), Some(doc(3)));
        assert_eq!(progress(&store.snapshot(), DIRECTORY).unwrap(), before);
        assert_eq!(get(&store.snapshot(), "did:plc:nobody").unwrap(), None);
    }

    #[tokio::test]
    async fn the_cursor_goes_with_the_rows_and_never_back() {
        let (_dir, store, writer) = open();
        let set = async |seq, time, covered| {
            let directory = DIRECTORY.to_owned();
            let cursor = Some(Cursor { seq, time });
            let batch = Batch { directory, cursor, covered, ..Batch::default() };
            writer.durable(move |tx| apply(tx, &batch)).await.unwrap().progress
        };
        let p = set(None, 50, 40).await;
        assert_eq!((p.cursor, p.covered), (Some(Cursor { seq: None, time: 50 }), 40));
        let p = set(None, 49, 30).await;
        assert_eq!((p.cursor, p.covered), (Some(Cursor { seq: None, time: 50 }), 40));
        assert_eq!(set(Some(7), 60, 60).await.cursor, Some(Cursor { seq: Some(7), time: 60 }));
        assert_eq!(set(Some(6), 61, 60).await.cursor, Some(Cursor { seq: Some(7), time: 60 }));
        let other = progress(&store.snapshot(), "https://other.example").unwrap();
        assert_eq!((other.cursor, other.covered), (None, 0), "places are those of one directory");
    }

    #[tokio::test]
    async fn strangers_get_no_account_and_outdated_ones_are_looked_at() {
        let (_dir, store, writer) = open();
        let known = "did:plc:known";
        let actor = writer
            .durable(move |tx| {
                let actor = tx.intern_actor(known)?;
                let row = IdentityRow { checked: 100, ..IdentityRow::default() };
                tx.put(Ks::Actor, &identity_key(actor), &row.encode());
                tx.intern_actor("did:plc:unread")?;
                Ok(actor)
            })
            .await
            .unwrap();
        let applied = put(
            &writer,
            vec![op(known, 99, doc(1)), op(DID, 200, doc(1)), op("did:plc:unread", 200, doc(1))],
        )
        .await;
        assert_eq!(applied.outdated, []);
        assert_eq!(store.snapshot().actor_id(DID).unwrap(), None);
        let applied = put(&writer, vec![op(known, 101, PlcState::Tombstone)]).await;
        assert_eq!(applied.outdated, [(actor, known.to_owned())]);
    }
}
