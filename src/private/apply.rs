//! The one way in which private state changes: a plan over what is held, then its changes, both in one durable job.
//!
//! [`apply`] looks at rows only to keep the rows that follow from others right. It knows no clock, no limit, no random
//! number and no configuration, so that it writes the same in every store and the same twice over.

use std::sync::Arc;

use super::change::{Change, Moderated, Plan};
use super::effects::Effects;
use super::kinds::{self, Goes, Row};
use super::takedowns::{self, Takedown};
use super::{community, opt_outs};
use crate::schema::rows::AccountStatus;
use crate::schema::{ActorId, Edit, PostId, Rows};
use crate::store::{Reader, StoreError, Tx, Writer};
use crate::work::purge;

/// Private state of a store, to be changed. Cheap to clone.
#[derive(Clone)]
pub struct Private {
    writer: Writer,
    effects: Arc<dyn Effects>,
}

impl Private {
    /// Changes go through `writer`, and what else they mean is done by `effects`.
    #[must_use]
    pub fn new(writer: Writer, effects: Arc<dyn Effects>) -> Self {
        Self { writer, effects }
    }

    /// Plans over what is held and applies that at once; answers when it is on disk.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn change<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&Tx<'_>) -> Plan<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = self.clone();
        self.writer.durable(move |tx| this.within(tx, plan)).await
    }

    /// The same within a job of the writer that does more.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn within<T>(
        &self,
        tx: &mut Tx<'_>,
        plan: impl FnOnce(&Tx<'_>) -> Plan<T>,
    ) -> Result<T, StoreError> {
        let (changes, answer) = plan(tx)?;
        changes.iter().try_for_each(|change| apply(&*self.effects, tx, change))?;
        Ok(answer)
    }

    /// The writer that changes go through.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.writer
    }
}

/// Writes a change down and does what it means. What belongs to an account that is deleted or being deleted is passed over.
///
/// # Errors
/// The store cannot be read.
pub fn apply(effects: &dyn Effects, tx: &mut Tx<'_>, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Put(row) => {
            if let Some(did) = row.owner() {
                let owner = tx.intern_actor(did)?;
                if !settles(tx, owner, row)? {
                    return Ok(());
                }
            }
            row.write(effects, tx)
        }
        Change::Gone(key) => key.remove(effects, tx),
        Change::OptOut(row) => opt_outs::write(effects, tx, row),
        Change::OptIn { did, at } => {
            let actor = tx.intern_actor(did)?;
            opt_outs::remove(tx, actor);
            effects.opted_in(tx, actor, at.0)
        }
        Change::Erase { did, at, then } => {
            let actor = tx.intern_actor(did)?;
            effects.erased(tx, actor, at.0, *then)
        }
        Change::RemoveRepo { did, at } => {
            let actor = tx.intern_actor(did)?;
            effects.repo_removed(tx, actor, at.0)
        }
        Change::Moderate(moderated) => moderate(effects, tx, moderated),
    }
}

fn moderate(effects: &dyn Effects, tx: &mut Tx<'_>, of: &Moderated) -> Result<(), StoreError> {
    let takedown = of.takedown.as_ref();
    let takedown = takedown.map(|t| Takedown { at: t.at.0, reference: t.reference.clone() });
    let Some(target) = tx.intern_target(&of.subject)? else { return Ok(()) };
    match &of.cid {
        Some(cid) => takedowns::set_blob(tx, target.actor(), cid, takedown.as_ref()),
        None => takedowns::set(effects, tx, target, takedown.as_ref()),
    }
    Ok(())
}

/// Whether a row of this kind may be written for an account: not while or after it goes.
///
/// # Errors
/// The store cannot be read.
pub(super) fn settles<R: Reader>(r: &R, owner: ActorId, row: &Row) -> Result<bool, StoreError> {
    let goes = row.goes();
    if goes == Goes::Never {
        return Ok(true);
    }
    Ok(match goes {
        Goes::WithPosts => {
            purge::purge(r, owner)?.is_none()
                && keeps_settings(r, owner)?
                && opt_outs::opted_out(r, owner)?.is_none()
        }
        _ => keeps_settings(r, owner)?,
    })
}

/// Whether an account may set something here: not while or after it is deleted.
///
/// # Errors
/// The store cannot be read.
pub fn keeps_settings<R: Reader>(r: &R, owner: ActorId) -> Result<bool, StoreError> {
    Ok(match purge::purge(r, owner)? {
        // One whose repo the operator removed counts as deleted until the last of that went.
        Some(purge) => !purge.takes_settings(),
        None => r.actor(owner)?.is_none_or(|row| row.status != AccountStatus::Deleted),
    })
}

/// Takes a community post away because its author took the stub away that named it, or because it goes with its author;
/// `false` if it is not there.
///
/// # Errors
/// The store cannot be read.
pub fn withdraw(effects: &dyn Effects, tx: &mut Tx<'_>, post: PostId) -> Result<bool, StoreError> {
    community::take(effects, tx, post)
}

/// Removes up to `most` rows that go with an account; `true` once nothing is left. Community posts, which others see, are
/// not among them. What the rows mean to others ends with the removal of the account, not here.
///
/// # Errors
/// The store cannot be read.
pub fn forget(tx: &mut Tx<'_>, viewer: ActorId, most: usize) -> Result<bool, StoreError> {
    let left = kinds::forget(tx, viewer, most)?;
    tx.touch(viewer);
    Ok(left > 0)
}
