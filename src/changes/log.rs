//! The log: what a batch appends, the numbers and times that it gets, and from where on nothing is missing.
//!
//! The batch collects changes in memory, so that one that is taken back leaves nothing, and makes rows of them right
//! before it is committed ([`Collector`]). A row goes into the ring of the tail once the batch is in.
//!
//! # Who follows
//! Only what somebody wants is written, so the log is complete for a follower only from the moment on from which it is in
//! the list. `meta` has a row for each follower with that number, and one with the bounds of the log. A follower that
//! was not in the list for a while gets a new number, one that no position can have had before. Where the list is not
//! known, as in a command that owns the store for a minute, everything is written if `meta` names any follower.

use std::sync::Arc;

use parking_lot::Mutex;

use super::row::{self, Head, MOST, meta_key};
use super::tail::Tail;
use super::{Change, ChangesError, Follower, Page};
use crate::config::memory::Share;
use crate::schema::bytes::ByteReader;
use crate::store::{Collector, Ks, Reader, Snapshot, Store, StoreError, Tx, Writer};
use crate::threads::Clock;

/// The log of a store. One process has one, and its writer alone appends.
pub struct Log {
    pub(super) store: Store,
    wanted: Wanted,
    /// From where on it is complete for whom.
    since: Vec<(&'static str, u64)>,
    end: Mutex<End>,
    pub(super) tail: Tail,
}

/// What is written.
enum Wanted {
    Nothing,
    Everything,
    By(Vec<Arc<dyn Follower>>),
}

/// Where the writer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    next: u64,
    last_us: u64,
    /// Bytes of all rows that there ever were.
    bytes: u64,
}

/// The row of bounds in `meta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// No number below is given, whatever the rows say.
    pub(super) floor: u64,
    /// Rows below are gone: whoever looks for the first one begins here.
    pub(super) oldest: u64,
}

impl Bounds {
    pub(super) fn load<R: Reader>(r: &R) -> Result<Self, StoreError> {
        let row = r.row(Ks::Meta, &meta_key(""), Self::decode)?;
        Ok(row.unwrap_or(Self { floor: 1, oldest: 1 }))
    }

    pub(super) fn save(self, tx: &mut Tx<'_>) {
        let value = [self.floor.to_be_bytes(), self.oldest.to_be_bytes()].concat();
        tx.put(Ks::Meta, &meta_key(""), &value);
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        let bounds = Self { floor: r.u64()?, oldest: r.u64()? };
        r.is_empty().then_some(bounds)
    }
}

/// Whether a row of `meta` is whole; `None` if it is none of the log's.
pub(crate) fn meta_decodes(key: &[u8], value: &[u8]) -> Option<bool> {
    let name = key.strip_prefix(&meta_key("")[..])?;
    Some(if name.is_empty() { Bounds::decode(value).is_some() } else { value.len() == 8 })
}

/// Who follows, and from where on the log is complete for it.
fn known<R: Reader>(r: &R) -> Result<Vec<(String, u64)>, StoreError> {
    let (mut found, mut whole) = (Vec::new(), true);
    let prefix = meta_key("");
    r.scan_prefix(Ks::Meta, &prefix, &mut |k, v| {
        let name = k.get(prefix.len()..).unwrap_or_default();
        if !name.is_empty() {
            let name = std::str::from_utf8(name).ok().map(str::to_owned);
            let row = name.zip(v.try_into().ok().map(u64::from_be_bytes));
            whole &= row.is_some();
            found.extend(row);
        }
        true
    })?;
    if whole { Ok(found) } else { Err(StoreError::corrupt(Ks::Meta, &prefix)) }
}

impl End {
    /// What the last row says. Of those after it that do not decode only the number is known: it is taken that they were
    /// full, so that no number is given twice, and who was told of them begins anew.
    fn load(s: &Snapshot, bounds: Bounds) -> Result<Self, StoreError> {
        let mut end = Self { next: bounds.floor, last_us: 0, bytes: 0 };
        s.scan(Ks::Events, &row::key(bounds.oldest), None, true, &mut |k, v| {
            let Some(first) = row::first_of(k) else { return true };
            let head = Head::decode(v);
            let count = head.map_or(MOST as u64, |head| head.count);
            end.next = end.next.max(first.saturating_add(count));
            match head {
                Some(head) => {
                    end.last_us = head.last_us();
                    end.bytes = head.before.saturating_add(v.len() as u64);
                }
                None => {
                    let error = StoreError::corrupt(Ks::Events, k);
                    tracing::error!(%error, "the newest row of the log of changes is lost");
                }
            }
            head.is_none()
        })?;
        Ok(end)
    }
}

impl Log {
    /// The log for those who change the store and do not know who follows.
    pub fn of(store: &Store) -> Result<Arc<Self>, StoreError> {
        let s = store.snapshot();
        let wanted = if known(&s)?.is_empty() { Wanted::Nothing } else { Wanted::Everything };
        let bounds = Bounds::load(&s)?;
        let end = End::load(&s, bounds)?;
        Ok(Self::from_here(store, wanted, Vec::new(), bounds.oldest, end))
    }

    /// The log for these followers and for no others. Before anything is written to the store.
    pub async fn start(
        store: &Store,
        writer: &Writer,
        followers: Vec<Arc<dyn Follower>>,
    ) -> Result<Arc<Self>, ChangesError> {
        let s = store.snapshot();
        let (bounds, before) = (Bounds::load(&s)?, known(&s)?);
        let mut end = End::load(&s, bounds)?;
        let mut since = Vec::new();
        let mut new = Vec::new();
        let mut beyond = end.next;
        for follower in &followers {
            let name = follower.name();
            let position = follower.position();
            let position = position.map_err(|cause| ChangesError::Follower { name, cause })?;
            // After a loss of power the store may have less than the follower was told.
            let ahead = position.in_log().filter(|seq| *seq > end.next);
            beyond = beyond.max(ahead.unwrap_or_default());
            match before.iter().find(|(known, _)| known == name) {
                Some((_, from)) if ahead.is_none() => since.push((name, *from)),
                _ => new.push(name),
            }
        }
        if !new.is_empty() {
            end.next = beyond.saturating_add(1);
            since.extend(new.iter().map(|name| (*name, end.next)));
        }
        let names: Vec<_> = followers.iter().map(|follower| follower.name()).collect();
        let gone: Vec<_> = before.into_iter().filter(|(k, _)| !names.contains(&&**k)).collect();
        if !new.is_empty() || !gone.is_empty() {
            let bounds = Bounds { floor: end.next, ..bounds };
            let register = move |tx: &mut Tx<'_>| {
                bounds.save(tx);
                new.iter().for_each(|name| {
                    tx.put(Ks::Meta, &meta_key(name), &bounds.floor.to_be_bytes());
                });
                gone.iter().for_each(|(name, _)| tx.del(Ks::Meta, &meta_key(name)));
                Ok(())
            };
            writer.durable(register).await?;
        }
        let wanted = if followers.is_empty() { Wanted::Nothing } else { Wanted::By(followers) };
        Ok(Self::from_here(store, wanted, since, bounds.oldest, end))
    }

    fn from_here(
        store: &Store,
        wanted: Wanted,
        since: Vec<(&'static str, u64)>,
        oldest: u64,
        end: End,
    ) -> Arc<Self> {
        let most = usize::try_from(store.share(Share::Changes)).unwrap_or(usize::MAX);
        let tail = Tail::new(oldest, end.next, most);
        Arc::new(Self { store: store.clone(), wanted, since, end: Mutex::new(end), tail })
    }

    /// Whether anything is written. What is made only for the log need not be made otherwise.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !matches!(self.wanted, Wanted::Nothing)
    }

    /// Who follows; none where that is not known.
    #[must_use]
    pub fn followers(&self) -> &[Arc<dyn Follower>] {
        match &self.wanted {
            Wanted::By(followers) => followers,
            Wanted::Nothing | Wanted::Everything => &[],
        }
    }

    /// Writes a change with the batch, if somebody wants it.
    pub fn append(self: &Arc<Self>, tx: &mut Tx<'_>, change: Change) {
        let wanted = match &self.wanted {
            Wanted::Nothing => false,
            Wanted::Everything => true,
            Wanted::By(followers) => followers.iter().any(|follower| follower.want(&change)),
        };
        if wanted {
            let new = || Batch { log: Arc::clone(self), changes: Vec::new() };
            tx.collect(new, |batch| batch.changes.push(change));
        }
    }

    /// From where on nothing is missing for a follower.
    pub(super) fn complete_since(&self, name: &str) -> u64 {
        let since = self.since.iter().find(|(known, _)| *known == name);
        since.map_or(u64::MAX, |(_, from)| *from).max(self.tail.oldest())
    }

    /// Bytes of all rows that there ever were.
    pub(super) fn bytes(&self) -> u64 {
        self.end.lock().bytes
    }

    /// Gives changes their numbers and times, and makes rows of them.
    fn rows(&self, changes: &[Change]) -> Vec<(Vec<u8>, Page)> {
        let mut end = self.end.lock();
        let mut rows = Vec::new();
        let mut time_us = now_us();
        for changes in changes.chunks(MOST) {
            time_us = time_us.max(end.last_us.saturating_add(1));
            let value = row::encode(time_us, end.bytes, changes);
            end.bytes = end.bytes.saturating_add(value.len() as u64);
            let page = Page { first: end.next, time_us, changes: changes.to_vec() };
            end.next = page.end();
            end.last_us = time_us.saturating_add(changes.len() as u64 - 1);
            rows.push((value, page));
        }
        rows
    }
}

/// What a batch adds to the log.
struct Batch {
    log: Arc<Log>,
    changes: Vec<Change>,
}

impl Collector for Batch {
    fn place(&self) -> usize {
        self.changes.len()
    }

    fn back_to(&mut self, place: usize) {
        self.changes.truncate(place);
    }

    fn finish(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let Self { log, changes, .. } = *self;
        let rows = log.rows(&changes);
        if let Some((_, last)) = rows.last() {
            let end = last.end();
            let mut pages = Vec::with_capacity(rows.len());
            for (value, page) in rows {
                tx.put(Ks::Events, &row::key(page.first), &value);
                pages.push(Arc::new(page));
            }
            let of = Arc::clone(&log);
            tx.after_commit(move || of.tail.push(pages, end));
            tx.after_sync(move || log.tail.is_on_disk(end));
        }
        Ok(())
    }
}

pub(super) fn now_us() -> u64 {
    Clock::system().now_us()
}
