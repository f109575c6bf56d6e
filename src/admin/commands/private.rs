//! `aerie private`: what exists only here, out of a store and into one, in the process that owns the store: the server,
//! or the command itself.

use std::sync::Arc;

use super::words;
use crate::admin::ports::{Accounts, Said};
use crate::admin::protocol::{PrivateExport, PrivateImport, PrivateImported};
use crate::private::Private;
use crate::private::portable::{self, Page, Restored, Row};
use crate::store::{Store, StoreError};

/// Whoever may read and write private state.
#[derive(Clone)]
pub struct PrivateState {
    /// What is read.
    pub store: Store,
    /// What is changed.
    pub private: Private,
    /// Makes members, with their notifications.
    pub accounts: Arc<dyn Accounts>,
}

impl PrivateImported {
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
        let private = self.private.clone();
        let done = self.private.writer().durable(move |tx| {
            let done = portable::import(&private, tx, &rows)?;
            Ok((rows, done))
        });
        let (rows, done) = done.await?;
        let mut all = PrivateImported::default();
        for (row, done) in rows.into_iter().zip(done) {
            match (row, done) {
                // Notifications from before are built, as for everyone who becomes a member.
                (Row::Member(member), Restored::Joins) => {
                    let new = self.accounts.join(&member.viewer, member.at.0).await?;
                    all.count(if new { Restored::Written } else { Restored::Kept });
                }
                (_, done) => all.count(done),
            }
        }
        Ok(all)
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
