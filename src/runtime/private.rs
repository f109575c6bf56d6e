//! Private state out of a store and into one, for `aerie private`: in the process that owns the store, whether that is
//! the server or the command itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::index::Index;
use crate::moderation::Takedowns;
use crate::private::Takedown;
use crate::private::portable::{self, Page, Restored, Row};
use crate::schema::{Edit, Rows};
use crate::store::{Reader, Store, StoreError, Tx, Writer};

/// Whoever may read and write private state.
#[derive(Clone)]
pub struct Private {
    store: Store,
    writer: Writer,
    index: Arc<Index>,
    takedowns: Takedowns,
}

/// What became of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// They were not there, or older.
    pub written: u64,
    /// There was one already.
    pub kept: u64,
    /// They are of accounts that are deleted.
    pub deleted: u64,
}

impl Tally {
    /// Adds what became of other rows.
    pub fn add(&mut self, other: Self) {
        self.written += other.written;
        self.kept += other.kept;
        self.deleted += other.deleted;
    }

    fn count(&mut self, restored: Restored) {
        match restored {
            Restored::Written => self.written += 1,
            Restored::Kept => self.kept += 1,
            Restored::Deleted => self.deleted += 1,
            Restored::NotHere => {}
        }
    }
}

impl Private {
    /// Over the parts of a running server.
    pub(super) fn new(
        store: Store,
        writer: Writer,
        index: Arc<Index>,
        takedowns: Takedowns,
    ) -> Self {
        takedowns.log_to(index.log());
        Self { store, writer, index, takedowns }
    }

    /// Over a store that no server has open.
    pub fn over(store: Store, writer: Writer) -> Result<Self, StoreError> {
        let (index, _) = Index::new(&store)?;
        let takedowns = Takedowns::load(&store.snapshot())?;
        Ok(Self::new(store, writer, Arc::new(index), takedowns))
    }

    /// Some rows, from `next` of the page before. Blocks.
    pub fn page(&self, next: Option<&str>) -> Result<Page, StoreError> {
        portable::page(&self.store.snapshot(), next)
    }

    /// Puts rows that were checked in. Each row is in whole or not at all; what is in stays when a later one fails.
    pub async fn import(&self, rows: Vec<Row>) -> Result<Tally, StoreError> {
        let done = self.writer.durable(move |tx| {
            let done = rows.iter().map(|row| portable::restore(tx, row));
            let done = done.collect::<Result<Vec<_>, _>>()?;
            Ok((rows, done))
        });
        let (rows, done) = done.await?;
        let mut tally = Tally::default();
        for (row, done) in rows.into_iter().zip(done) {
            match (row, done) {
                (Row::Member { viewer, at }, Restored::NotHere) => {
                    tally.count(self.member(viewer, at.0).await?);
                }
                (Row::OptOut { did, at }, Restored::NotHere) => {
                    tally.count(self.opt_out(did, at.0).await?);
                }
                (Row::Takedown { subject, at, reference }, Restored::NotHere) => {
                    let takedown = Takedown { at: at.0, reference };
                    tally.count(self.takedown(subject, takedown).await?);
                }
                (_, done) => tally.count(done),
            }
        }
        Ok(tally)
    }

    /// Notifications from before are built, as for everyone who becomes a member.
    async fn member(&self, did: String, at: i64) -> Result<Restored, StoreError> {
        let actor = self.writer.durable(move |tx| tx.intern_actor(&did)).await?;
        if self.index.members().contains(actor) {
            return Ok(Restored::Kept);
        }
        self.index.ensure_member(&self.store, &self.writer, actor, at).await?;
        Ok(Restored::Written)
    }

    /// What was collected goes, as for everyone who opts out.
    async fn opt_out(&self, did: String, at: i64) -> Result<Restored, StoreError> {
        let index = Arc::clone(&self.index);
        let opt_out = move |tx: &mut Tx<'_>| {
            let actor = tx.intern_actor(&did)?;
            index.opt_out(tx, actor, at)
        };
        let new = self.writer.durable(opt_out).await?;
        Ok(if new { Restored::Written } else { Restored::Kept })
    }

    async fn takedown(&self, subject: String, takedown: Takedown) -> Result<Restored, StoreError> {
        let known = self.store.snapshot().target(&subject)?;
        if known.is_some_and(|target| self.takedowns.contains(target)) {
            return Ok(Restored::Kept);
        }
        self.takedowns.set(&self.writer, subject, Some(takedown)).await?;
        Ok(Restored::Written)
    }

    /// `private-export` and `private-import` on the operator's socket.
    pub(super) async fn answer(self, command: Command, request: Value) -> Result<Value, String> {
        let text = |e: StoreError| e.to_string();
        match command {
            Command::Export => {
                let next = request.get("next").and_then(Value::as_str).map(str::to_owned);
                let page = tokio::task::spawn_blocking(move || self.page(next.as_deref())).await;
                let page = page.map_err(|e| e.to_string())?.map_err(text)?;
                serde_json::to_value(page).map_err(|e| e.to_string())
            }
            Command::Import => {
                let rows = request.get("rows").cloned().unwrap_or_default();
                let rows: Vec<Row> = serde_json::from_value(rows).map_err(|e| e.to_string())?;
                rows.iter().try_for_each(Row::check)?;
                let tally = self.import(rows).await.map_err(text)?;
                serde_json::to_value(tally).map_err(|e| e.to_string())
            }
        }
    }
}

/// What the operator's socket is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    Export,
    Import,
}

impl Command {
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "private-export" => Some(Self::Export),
            "private-import" => Some(Self::Import),
            _ => None,
        }
    }
}
