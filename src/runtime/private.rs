//! Private state out of a store and into one, for `aerie private`: in the process that owns the store, whether that is
//! the server or the command itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::index::Index;
use crate::moderation::Takedowns;
use crate::private::portable::{self, Page, Restored, Row};
use crate::private::{Effects, Private, Together};
use crate::schema::Edit;
use crate::store::{Store, StoreError, Writer};

/// Whoever may read and write private state.
#[derive(Clone)]
pub struct PrivateState {
    store: Store,
    private: Private,
    index: Arc<Index>,
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
            // Counted once it is one.
            Restored::Joins => {}
        }
    }
}

/// Private state over a writer, whose changes `index` and `takedowns` follow.
pub(super) fn followed(writer: Writer, index: &Arc<Index>, takedowns: &Takedowns) -> Private {
    let effects: Vec<Arc<dyn Effects>> = vec![Arc::clone(index) as _, Arc::new(takedowns.clone())];
    Private::new(writer, Arc::new(Together(effects)))
}

impl PrivateState {
    /// Over the parts of a running server.
    pub(super) fn new(store: Store, private: Private, index: Arc<Index>) -> Self {
        Self { store, private, index }
    }

    /// Over a store that no server has open.
    pub fn over(store: Store, writer: Writer) -> Result<Self, StoreError> {
        let index = Arc::new(Index::new(&store)?.0);
        let takedowns = Takedowns::load(&store.snapshot())?;
        let private = followed(writer, &index, &takedowns);
        Ok(Self::new(store, private, index))
    }

    /// Some rows, from `next` of the page before. Blocks.
    pub fn page(&self, next: Option<&str>) -> Result<Page, StoreError> {
        portable::page(&self.store.snapshot(), next)
    }

    /// Puts rows that were checked in. Each row is in whole or not at all; what is in stays when a later one fails.
    pub async fn import(&self, rows: Vec<Row>) -> Result<Tally, StoreError> {
        let private = self.private.clone();
        let done = self.private.writer().durable(move |tx| {
            let done = portable::import(&private, tx, &rows)?;
            Ok((rows, done))
        });
        let (rows, done) = done.await?;
        let mut tally = Tally::default();
        for (row, done) in rows.into_iter().zip(done) {
            match (row, done) {
                (Row::Member(member), Restored::Joins) => {
                    tally.count(self.member(member.viewer, member.at.0).await?);
                }
                (_, done) => tally.count(done),
            }
        }
        Ok(tally)
    }

    /// Notifications from before are built, as for everyone who becomes a member.
    async fn member(&self, did: String, at: i64) -> Result<Restored, StoreError> {
        let actor = self.private.writer().durable(move |tx| tx.intern_actor(&did)).await?;
        if self.index.members().contains(actor) {
            return Ok(Restored::Kept);
        }
        self.index.ensure_member(&self.store, &self.private, actor, at).await?;
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
