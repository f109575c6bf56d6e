//! What the operations of the PLC directory say of each DID, in some 80 bytes, and how far they were read.
//!
//! Most of these DIDs were never seen anywhere else here: they get no number and no account. Rows of the `plc`
//! keyspace: a DID, in the form that the name table gives it, to `PlcRow`; `h` URL of a PDS to its number and `H`
//! back; `r` hash of a list of rotation keys to its number and `R` back to the list. Two rows of `meta` say how far the export was read ([`Progress`]) and where a file is ([`Place`]).
//! Operations come from `identity`, which also reads what is here as documents.
//!
//! A row keeps the end of the chain of signed operations (which one, and who may sign the next), so that each operation
//! can be proven when it comes, see `identity::plc`. What a row says is given as proven only if its newest operation is
//! that end.
//!
//! # Invariants
//! - The newest operation of a DID wins, in whatever order and however often they come.
//! - The chain of a row only goes forward, by operations that the keys before them signed.
//! - Cursor and counts change in the batch of the rows they are about.

use sha2::{Digest, Sha256};

use crate::schema::bytes::{ByteReader, push_blob, push_varint};
use crate::schema::names::did_bytes;
use crate::schema::{ActorId, Key, Rows};
use crate::store::{Ks, Reader, StoreError, Tx};

/// Tag and compressed point of a public key, see [`crate::crypto::KeyBytes`].
pub type KeyBytes = [u8; 34];

/// Of the SHA-256 of an operation as much as tells it from others of its DID. What counts is the signature; this says
/// only which operation it goes on from.
pub type OpId = [u8; 8];

/// An operation that may go on a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainEnd {
    /// Which one.
    pub op: OpId,
    /// Who may sign the next one.
    pub rotation: Vec<KeyBytes>,
}

/// An operation that was proven: its keys, or for the first of a DID its hash, fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The end of the chain that it goes on from; none of the first.
    pub from: Option<OpId>,
    /// The end of the chain afterwards.
    pub end: ChainEnd,
}

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
    /// That it is signed, if that is proven.
    pub proof: Option<Proof>,
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
    /// Lists of rotation keys that have a number.
    pub rotations: u32,
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
        push_varint(&mut out, u64::from(self.rotations) + 1);
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let directory = r.str()?.to_owned();
        let (seq, time) = (r.varint()?, r.varint()?.cast_signed());
        let cursor = (seq > 0 || time > 0).then(|| Cursor { seq: seq.checked_sub(1), time });
        let mut held = Self {
            directory,
            cursor,
            covered: r.varint()?.cast_signed(),
            dids: r.varint()?,
            tombstones: r.varint()?,
            hosts: u32::try_from(r.varint()?).ok()?,
            rotations: 0,
        };
        match r.varint() {
            Some(rotations) => held.rotations = u32::try_from(rotations.checked_sub(1)?).ok()?,
            // From before chains were kept: to prove anything, the export has to be read once more.
            None => (held.cursor, held.covered) = (None, 0),
        }
        Some(held)
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
    /// Of these, not proven.
    pub unproven: u64,
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
    // The newest one again.
    if held.as_ref().is_some_and(|row| row.proven && row.ends_with(op)) {
        return Ok(());
    }
    let old = held.as_ref().and_then(|row| row.chain);
    let goes_on = match &op.proof {
        // When an operation was taken is not signed, so a chain never begins anew: old keys would come back with it.
        Some(proof) if proof.from == old.map(|chain| chain.op) => {
            let rotation = intern_rotation(tx, &proof.end.rotation, &mut applied.progress)?;
            Some(Chain { op: proof.end.op, rotation })
        }
        _ => None,
    };
    // One of the chain that is older than its end, in the same millisecond.
    if held.as_ref().is_some_and(|row| row.proven && row.time == op.time) && goes_on.is_none() {
        return Ok(());
    }
    if let Some(row) = held.as_ref().filter(|row| row.time > op.time) {
        // What is newer is not proven, and could be, once the operations before it have come.
        if let Some(chain) = goes_on.filter(|_| !row.proven) {
            tx.put(Ks::Plc, &key, &PlcRow { chain: Some(chain), ..row.clone() }.encode());
        }
        return Ok(());
    }
    let proven = goes_on.is_some();
    let mut row = PlcRow { time: op.time, chain: goes_on.or(old), proven, ..PlcRow::default() };
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
    if held.as_ref().is_some_and(|held| held.says_the_same(&row)) {
        return Ok(());
    }
    let progress = &mut applied.progress;
    progress.dids += u64::from(held.is_none());
    progress.tombstones += u64::from(row.tombstone);
    progress.tombstones -=
        u64::from(held.is_some_and(|row| row.tombstone)).min(progress.tombstones);
    applied.changed += 1;
    applied.unproven += u64::from(!proven);
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

fn intern_rotation(
    tx: &mut Tx<'_>,
    keys: &[KeyBytes],
    progress: &mut Progress,
) -> Result<u32, StoreError> {
    let bytes = keys.concat();
    let digest = Sha256::digest(&bytes);
    let key = Key::tag(b'r').bytes(digest.get(..16).unwrap_or_default());
    if let Some(id) = tx.row(Ks::Plc, &key, |b| ByteReader::new(b).u32())? {
        return Ok(id);
    }
    let id = progress.rotations;
    progress.rotations = id.checked_add(1).ok_or(StoreError::Full("lists of rotation keys"))?;
    tx.put(Ks::Plc, &key, &id.to_be_bytes());
    tx.put(Ks::Plc, &rotation_key(id), &bytes);
    Ok(id)
}

fn rotation_key(id: u32) -> Key {
    Key::tag(b'R').u32(id)
}

/// What the next operations of a DID have to go on from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The end of its chain.
    pub end: Option<ChainEnd>,
    /// When the directory took it, if it is the newest operation: earlier ones are of no interest.
    pub proven_until: Option<i64>,
}

/// What the next operations of a DID have to go on from.
pub fn chain<R: Reader + ?Sized>(r: &R, did: &str) -> Result<Held, StoreError> {
    let row = r.row(Ks::Plc, &did_bytes(did), PlcRow::decode)?;
    let Some((row, chain)) = row.and_then(|row| row.chain.map(|chain| (row, chain))) else {
        return Ok(Held::default());
    };
    let key = rotation_key(chain.rotation);
    let keys = |b: &[u8]| {
        let (keys, rest) = b.as_chunks::<34>();
        rest.is_empty().then(|| keys.to_vec())
    };
    let rotation = r.row(Ks::Plc, &key, keys)?;
    let rotation = rotation.ok_or_else(|| StoreError::corrupt(Ks::Plc, &key))?;
    let end = Some(ChainEnd { op: chain.op, rotation });
    Ok(Held { end, proven_until: row.proven.then_some(row.time) })
}

/// What the operations of a DID say of it, if they are proven.
pub fn proven<R: Reader + ?Sized>(r: &R, did: &str) -> Result<Option<PlcState>, StoreError> {
    match r.row(Ks::Plc, &did_bytes(did), PlcRow::decode)? {
        Some(row) if row.proven => state(r, row).map(Some),
        _ => Ok(None),
    }
}

/// What the newest operation of a DID made of it, signed or not; `None` if there was none.
#[cfg(test)]
pub fn get<R: Reader + ?Sized>(r: &R, did: &str) -> Result<Option<PlcState>, StoreError> {
    let row = r.row(Ks::Plc, &did_bytes(did), PlcRow::decode)?;
    row.map(|row| state(r, row)).transpose()
}

fn state<R: Reader + ?Sized>(r: &R, row: PlcRow) -> Result<PlcState, StoreError> {
    if row.tombstone {
        return Ok(PlcState::Tombstone);
    }
    if row.elsewhere {
        return Ok(PlcState::Elsewhere);
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
    Ok(PlcState::Document(PlcDocument { key: row.key, pds, handle, more: row.more }))
}

/// The stored form of the newest operation of a DID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct PlcRow {
    time: i64,
    tombstone: bool,
    elsewhere: bool,
    key: Option<KeyBytes>,
    host: Option<u32>,
    chain: Option<Chain>,
    /// The newest operation is the end of the chain.
    proven: bool,
    handle: String,
    more: Vec<u8>,
}

/// The end of a chain; the keys by the number of their list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chain {
    op: OpId,
    rotation: u32,
}

const TOMBSTONE: u8 = 1;
const ELSEWHERE: u8 = 2;
const KEY: u8 = 4;
const HOST: u8 = 8;
const MORE: u8 = 16;
const CHAIN: u8 = 32;
const PROVEN: u8 = 64;

impl PlcRow {
    fn ends_with(&self, op: &PlcOp) -> bool {
        let end = op.proof.as_ref().map(|proof| proof.end.op);
        end.is_some() && end == self.chain.map(|chain| chain.op)
    }

    /// All but whether it is proven.
    fn says_the_same(&self, other: &Self) -> bool {
        Self { chain: other.chain, proven: other.proven, ..self.clone() } == *other
    }

    fn encode(&self) -> Vec<u8> {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut out = Vec::with_capacity(48 + self.handle.len() + self.more.len());
        out.push(
            flag(self.tombstone, TOMBSTONE)
                | flag(self.elsewhere, ELSEWHERE)
                | flag(self.key.is_some(), KEY)
                | flag(self.host.is_some(), HOST)
                | flag(!self.more.is_empty(), MORE)
                | flag(self.chain.is_some(), CHAIN)
                | flag(self.proven, PROVEN),
        );
        push_varint(&mut out, self.time.max(0).cast_unsigned());
        out.extend(self.key.iter().flatten());
        if let Some(host) = self.host {
            push_varint(&mut out, u64::from(host));
        }
        if let Some(Chain { op, rotation }) = self.chain {
            out.extend(op);
            push_varint(&mut out, u64::from(rotation));
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
        let chain = if has(CHAIN) {
            Some(Chain { op: r.array()?, rotation: u32::try_from(r.varint()?).ok()? })
        } else {
            None
        };
        let handle = r.str()?.to_owned();
        let more = r.rest().to_vec();
        (has(MORE) != more.is_empty()).then_some(Self {
            time,
            tombstone: has(TOMBSTONE),
            elsewhere: has(ELSEWHERE),
            key,
            host,
            chain,
            proven: has(PROVEN),
            handle,
            more,
        })
    }
}

/// Whether a row of the keyspace is whole.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> bool {
    match key.split_first() {
        Some((0 | 1, _)) => PlcRow::decode(value).is_some(),
        Some((b'h' | b'r', _)) => value.len() == 4,
        Some((b'R', id)) => id.len() == 4 && value.len().is_multiple_of(34),
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
#[path = "plc_tests.rs"]
mod tests;
