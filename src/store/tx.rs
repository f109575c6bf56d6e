//! The writer's view: the store with an open batch laid over it.
//!
//! Writes go to the overlay, reads see them, and [`Tx::into_parts`] gives what is left for one atomic batch,
//! so a counter that changes a thousand times in a batch is written once. What is better written as few rows than as
//! many is collected beside the rows until the batch ends ([`Collector`]).
//!
//! # Invariants
//! - [`Tx::rollback`] takes back everything since [`Tx::mark`], what was collected and what was to happen after the commit
//!   included, but not interned names: a number once given stays. The writer marks where a change begins, which a change
//!   may do again for parts of itself: going back to the begin of the whole change takes all of them back, but for those
//!   that it let stay ([`Tx::keep`]).

use std::any::Any;
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use quick_cache::DefaultHashBuilder;
use smallvec::SmallVec;

use crate::store::read::visit;
use crate::store::{Ks, Reader, Slice, Store, StoreError, Visit};

/// Keys with their values, or that they have none.
pub(super) type Rows = Vec<(fjall::Slice, Option<fjall::Slice>)>;

/// Rows of one keyspace. Most are looked up and few are scanned, so their order is known only from the first scan on.
#[derive(Default)]
struct Overlay {
    // Seeded: whoever writes records chooses keys.
    rows: HashMap<fjall::Slice, Option<fjall::Slice>, DefaultHashBuilder>,
    order: OnceCell<BTreeSet<fjall::Slice>>,
}

impl Overlay {
    fn insert(
        &mut self,
        key: fjall::Slice,
        value: Option<fjall::Slice>,
    ) -> Option<Option<fjall::Slice>> {
        if let Some(order) = self.order.get_mut() {
            order.insert(key.clone());
        }
        self.rows.insert(key, value)
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(order) = self.order.get_mut() {
            order.remove(key);
        }
        self.rows.remove(key);
    }

    fn range<'o>(
        &'o self,
        bounds: (Bound<&'o [u8]>, Bound<&'o [u8]>),
    ) -> impl DoubleEndedIterator<Item = (&'o fjall::Slice, &'o Option<fjall::Slice>)> {
        let order = self.order.get_or_init(|| self.rows.keys().cloned().collect());
        order.range::<[u8], _>(bounds).filter_map(|key| self.rows.get_key_value(key))
    }
}

/// What to put back: keyspace, key, and what the overlay had before.
type Undo = (Ks, fjall::Slice, Option<Option<fjall::Slice>>);

/// A point of a batch that can be gone back to: how long the lists of what to undo, and of what follows the commit, were.
#[derive(Debug, Clone, Default)]
struct Mark {
    undo: usize,
    after: usize,
    synced: usize,
    taken_back: usize,
    /// Of each collector.
    collected: SmallVec<[usize; 2]>,
}

/// What becomes of a row.
pub enum Update {
    /// It stays as it is.
    Keep,
    /// It is this from now on.
    Put(Vec<u8>),
    /// It goes.
    Remove,
}

/// What a batch collects until it ends, when rows are made of it.
pub trait Collector: Any {
    /// How much was collected: a place that can be gone back to.
    fn place(&self) -> usize;
    /// Takes back what was collected since.
    fn back_to(&mut self, place: usize);
    /// The batch is about to be committed: writes what was collected.
    fn finish(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), StoreError>;
}

/// An open batch.
pub struct Tx<'s> {
    store: &'s Store,
    overlays: Vec<Overlay>,
    undo: Vec<Undo>,
    change: Mark,
    part: Mark,
    bytes: usize,
    after: Vec<Box<dyn FnOnce() + Send>>,
    taken_back: Vec<Box<dyn FnOnce() + Send>>,
    synced: Vec<Box<dyn FnOnce() + Send>>,
    touched: Vec<u32>,
    collectors: Vec<Box<dyn Collector>>,
}

impl<'s> Tx<'s> {
    pub(super) fn new(store: &'s Store) -> Self {
        Self {
            store,
            overlays: Ks::ALL.iter().map(|_| Overlay::default()).collect(),
            undo: Vec::new(),
            change: Mark::default(),
            part: Mark::default(),
            bytes: 0,
            after: Vec::new(),
            taken_back: Vec::new(),
            synced: Vec::new(),
            touched: Vec::new(),
            collectors: Vec::new(),
        }
    }

    fn overlay(&self, ks: Ks) -> Option<&Overlay> {
        self.overlays.get(ks as usize)
    }

    fn write(&mut self, ks: Ks, key: &[u8], value: Option<&[u8]>, undoable: bool) {
        let key = fjall::Slice::from(key);
        let value = value.map(fjall::Slice::from);
        self.bytes += key.len() + value.as_ref().map_or(0, |v| v.len());
        let Some(overlay) = self.overlays.get_mut(ks as usize) else { return };
        let old = overlay.insert(key.clone(), value);
        if let Some(old) = &old {
            self.bytes = self.bytes.saturating_sub(key.len() + old.as_ref().map_or(0, |v| v.len()));
        }
        if undoable {
            self.undo.push((ks, key, old));
        }
    }

    /// Writes a row.
    pub fn put(&mut self, ks: Ks, key: &[u8], value: &[u8]) {
        self.write(ks, key, Some(value), true);
    }

    /// Removes a row.
    pub fn del(&mut self, ks: Ks, key: &[u8]) {
        self.write(ks, key, None, true);
    }

    /// Whether the store had the row before this batch.
    pub fn had(&self, ks: Ks, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.store.keyspace(ks)?.contains_key(key)?)
    }

    /// Writes a row that outlives a rollback: a number once given stays, a cursor moves over what was dropped.
    pub(crate) fn put_kept(&mut self, ks: Ks, key: &[u8], value: &[u8]) {
        self.write(ks, key, Some(value), false);
    }

    /// What was done up to here stays, whatever fails after it: nobody goes back behind here any more. The writer begins
    /// each change so; a change of many parts that each stand for themselves begins each part so, and what would undo
    /// the earlier ones is not carried along.
    pub fn keep(&mut self) {
        self.undo.clear();
        self.taken_back.clear();
        self.part = self.here();
        self.change.clone_from(&self.part);
    }

    /// Takes back everything that the change did.
    pub(super) fn take_back(&mut self) {
        self.undo_to(&self.change.clone());
        self.part = self.change.clone();
    }

    /// Begins a part of a change, such as one event of many: a rollback comes back to here.
    pub fn mark(&mut self) {
        self.part = self.here();
    }

    /// Takes back every write since the last mark.
    pub fn rollback(&mut self) {
        self.undo_to(&self.part.clone());
    }

    fn here(&self) -> Mark {
        Mark {
            undo: self.undo.len(),
            after: self.after.len(),
            synced: self.synced.len(),
            taken_back: self.taken_back.len(),
            collected: self.collectors.iter().map(|collector| collector.place()).collect(),
        }
    }

    fn undo_to(&mut self, mark: &Mark) {
        while self.undo.len() > mark.undo
            && let Some((ks, key, old)) = self.undo.pop()
        {
            let Some(overlay) = self.overlays.get_mut(ks as usize) else { continue };
            match old {
                Some(v) => drop(overlay.insert(key, v)),
                None => overlay.remove(&key),
            }
        }
        self.after.truncate(mark.after);
        self.synced.truncate(mark.synced);
        for (n, collector) in self.collectors.iter_mut().enumerate() {
            // One that was not there yet had nothing.
            collector.back_to(mark.collected.get(n).copied().unwrap_or(0));
        }
        while self.taken_back.len() > mark.taken_back
            && let Some(f) = self.taken_back.pop()
        {
            f();
        }
    }

    /// Collects something in this batch's collector of a kind, which `new` makes when the batch has none yet.
    pub fn collect<C: Collector>(&mut self, new: impl FnOnce() -> C, add: impl FnOnce(&mut C)) {
        let of_kind = |collector: &dyn Collector| (collector as &dyn Any).is::<C>();
        if !self.collectors.iter().any(|collector| of_kind(&**collector)) {
            self.collectors.push(Box::new(new()));
        }
        let all = self.collectors.iter_mut();
        let mut own = all.filter_map(|collector| (&mut **collector as &mut dyn Any).downcast_mut());
        if let Some(own) = own.next() {
            add(own);
        }
    }

    /// Runs `f` once the batch is in the store and every cache forgot what it changed; never if the change is taken back.
    pub fn after_commit(&mut self, f: impl FnOnce() + Send + 'static) {
        self.after.push(Box::new(f));
    }

    /// Runs `f` if what the change did up to here is taken back: for what it changed beside the batch, in memory.
    pub fn if_taken_back(&mut self, f: impl FnOnce() + Send + 'static) {
        self.taken_back.push(Box::new(f));
    }

    /// Runs `f` once the batch is on disk, where no crash takes it from; never if the change is taken back.
    pub fn after_sync(&mut self, f: impl FnOnce() + Send + 'static) {
        self.synced.push(Box::new(f));
    }

    /// Cached state of the account of this number is stale once the batch is in.
    pub fn touch(&mut self, actor: impl Into<u32>) {
        let actor = actor.into();
        if self.touched.last() != Some(&actor) {
            self.touched.push(actor);
        }
    }

    /// Changes a row from what it is to what `f` says. Rows that are changed many times in a batch cost one look-up each time.
    pub fn update<T>(
        &mut self,
        ks: Ks,
        key: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> Result<(Update, T), StoreError>,
    ) -> Result<T, StoreError> {
        let open = self.overlays.get_mut(ks as usize).and_then(|o| o.rows.get_mut(key));
        if let Some(open) = open {
            let (update, value) = f(open.as_deref())?;
            let new = match update {
                Update::Keep => return Ok(value),
                Update::Put(bytes) => Some(bytes.into()),
                Update::Remove => None,
            };
            let old = std::mem::replace(open, new);
            self.undo.push((ks, fjall::Slice::from(key), Some(old)));
            return Ok(value);
        }
        let (update, value) = f(self.get(ks, key)?.as_deref())?;
        match update {
            Update::Keep => {}
            Update::Put(bytes) => self.put(ks, key, &bytes),
            Update::Remove => self.del(ks, key),
        }
        Ok(value)
    }

    /// Bytes in the batch, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn into_parts(mut self) -> Result<Committable, StoreError> {
        for collector in std::mem::take(&mut self.collectors) {
            collector.finish(&mut self)?;
        }
        let rows = self.overlays.into_iter().map(|overlay| overlay.rows.into_iter().collect());
        let rows = Ks::ALL.iter().copied().zip(rows).collect();
        Ok(Committable { rows, after: self.after, synced: self.synced, touched: self.touched })
    }
}

/// A batch on its way into the store.
pub(super) struct Committable {
    /// In no order.
    pub(super) rows: Vec<(Ks, Rows)>,
    pub(super) after: Vec<Box<dyn FnOnce() + Send>>,
    pub(super) synced: Vec<Box<dyn FnOnce() + Send>>,
    pub(super) touched: Vec<u32>,
}

impl Reader for Tx<'_> {
    fn store(&self) -> &Store {
        self.store
    }

    fn get(&self, ks: Ks, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        if let Some(v) = self.overlay(ks).and_then(|o| o.rows.get(key)) {
            return Ok(v.clone().map(Slice));
        }
        let load = || Ok(self.store.keyspace(ks)?.get(key)?.map(Slice));
        self.store.rows().get_to_write(ks, key, self.store.epoch(), load)
    }

    /// Merges the overlay with the store. Scans by the writer are short or chunked, so both sides of the merge
    /// hold only what the range holds.
    fn scan(
        &self,
        ks: Ks,
        lo: &[u8],
        hi: Option<&[u8]>,
        reverse: bool,
        f: Visit<'_>,
    ) -> Result<(), StoreError> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        if hi.is_some_and(|hi| lo >= hi) {
            return Ok(());
        }
        let bounds = (Included(lo), hi.map_or(Unbounded, Excluded));
        let own: Vec<(&fjall::Slice, &Option<fjall::Slice>)> = match self.overlay(ks) {
            Some(o) if reverse => o.range(bounds).rev().collect(),
            Some(o) => o.range(bounds).collect(),
            None => Vec::new(),
        };
        let mut own = own.into_iter().peekable();
        let before = |a: &[u8], b: &[u8]| if reverse { a > b } else { a < b };
        let mut stopped = false;
        let keyspace = self.store.keyspace(ks)?;
        let iter = match hi {
            Some(hi) => keyspace.range(lo..hi),
            None => keyspace.range(lo..),
        };
        visit(iter, reverse, &mut |k, v| {
            while let Some((ok, ov)) = own.next_if(|(ok, _)| before(ok, k)) {
                if let Some(ov) = ov
                    && !f(ok, ov)
                {
                    stopped = true;
                    return false;
                }
            }
            let go_on = match own.next_if(|(ok, _)| ***ok == *k) {
                Some((ok, Some(ov))) => f(ok, ov),
                Some((_, None)) => true,
                None => f(k, v),
            };
            stopped = !go_on;
            go_on
        })?;
        if !stopped {
            for (ok, ov) in own {
                if let Some(ov) = ov
                    && !f(ok, ov)
                {
                    break;
                }
            }
        }
        Ok(())
    }
}
