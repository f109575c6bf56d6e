//! `aerie private`: what exists only here, out of a store and into one, in the process that owns the store: the server,
//! or the command itself.

use std::sync::Arc;

use super::words;
use crate::admin::ports::{Accounts, Said};
use crate::admin::protocol::{PrivateExport, PrivateImport, PrivateImported};
use crate::moderation::Takedowns;
use crate::private::Takedown;
use crate::private::portable::{self, Page, Restored, Row};
use crate::schema::Rows as _;
use crate::store::{Store, StoreError, Writer};

/// Whoever may read and write private state.
#[derive(Clone)]
pub struct PrivateState {
    /// What is read.
    pub store: Store,
    /// What is changed.
    pub writer: Writer,
    /// Does what follows from memberships and opt-outs.
    pub accounts: Arc<dyn Accounts>,
    /// Does what follows from takedowns.
    pub takedowns: Takedowns,
}

impl PrivateImported {
    fn count(&mut self, restored: Restored) {
        match restored {
            Restored::Written => self.written += 1,
            Restored::Kept => self.kept += 1,
            Restored::Deleted => self.deleted += 1,
            Restored::NotHere => {}
        }
    }
}

/// A change that was made, or found made.
fn made(new: bool) -> Restored {
    if new { Restored::Written } else { Restored::Kept }
}

impl PrivateState {
    /// Some rows, from `next` of the page before. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn page(&self, next: Option<&str>) -> Result<Page, StoreError> {
        portable::page(&self.store.snapshot(), next)
    }

    /// Puts rows that were checked in. Each row is in whole or not at all; what is in stays when a later one fails.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn import(&self, rows: Vec<Row>) -> Result<PrivateImported, StoreError> {
        let done = self.writer.durable(move |tx| {
            let done = rows.iter().map(|row| portable::restore(tx, row));
            let done = done.collect::<Result<Vec<_>, _>>()?;
            Ok((rows, done))
        });
        let (rows, done) = done.await?;
        let mut all = PrivateImported::default();
        for (row, done) in rows.into_iter().zip(done) {
            match (row, done) {
                // Notifications from before are built, as for everyone who becomes a member.
                (Row::Member { viewer, at }, Restored::NotHere) => {
                    all.count(made(self.accounts.join(&viewer, at.0).await?));
                }
                // What was collected goes, as for everyone who opts out.
                (Row::OptOut { did, at }, Restored::NotHere) => {
                    all.count(made(self.accounts.opt_out(&did, at.0).await?));
                }
                (Row::Takedown { subject, at, reference }, Restored::NotHere) => {
                    let takedown = Takedown { at: at.0, reference };
                    all.count(made(self.take_down(subject, takedown).await?));
                }
                (_, done) => all.count(done),
            }
        }
        Ok(all)
    }

    async fn take_down(&self, subject: String, takedown: Takedown) -> Result<bool, StoreError> {
        let known = self.store.snapshot().target(&subject)?;
        if known.is_some_and(|target| self.takedowns.contains(target)) {
            return Ok(false);
        }
        self.takedowns.set(&self.writer, subject, Some(takedown)).await?;
        Ok(true)
    }

    pub(super) async fn export(&self, of: PrivateExport) -> Said<Page> {
        let this = self.clone();
        let page = tokio::task::spawn_blocking(move || this.page(of.next.as_deref())).await;
        page.map_err(words)?.map_err(words)
    }

    pub(super) async fn put(&self, of: PrivateImport) -> Said<PrivateImported> {
        of.rows.iter().try_for_each(Row::check)?;
        self.import(of.rows).await.map_err(words)
    }
}
