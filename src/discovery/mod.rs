//! What is shown to who did not ask for it: accounts, feeds and starter packs that may interest a viewer.
//!
//! ```text
//! store -> survey (now and then, all that is popular) -> communities, cold start
//!   |                                                        |
//!   +---- suggest (a viewer's follows, two steps) ---+       v
//!                                                    +-> lists that are kept -> pages -> xrpc
//! operator's lists, which come first ----------------+
//! ```
//!
//! Everything here is counted from what is public in the store: whom people follow, what they like, what they say of
//! themselves. There is no random number in it: the same store gives the same order.
//!
//! Does not know: HTTP, the shape of answers. Whether somebody may be shown to a viewer is asked of `hydrate`, once when a
//! list is made and again with each page of it.
//!
//! # Invariants
//! - Nothing that a request causes reads more than a fixed number of rows, however many follow or are followed.
//! - Nobody is suggested who is followed already, blocked either way, muted, hidden, labelled spam, or asked not to be
//!   (`app.bsky.actor.contentVisibilityDeclaration`).

mod fit;
mod kept;
mod suggest;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::hydrate::{ActorId, HydrateCtx, HydrationState, Hydrator, Result};
use crate::schema::Rows as _;
use crate::syntax::Did;
use kept::Lists;
use suggest::Suggester;

pub use kept::{Cursor, List};

/// What the operator wants to be shown first.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Accounts.
    pub follows: Vec<Did>,
}

/// All lists that are kept.
pub struct Discovery {
    settings: ArcSwap<Settings>,
    /// How often the settings were replaced: lists are made of them.
    version: AtomicU64,
    accounts: Lists<ActorId>,
}

impl Discovery {
    /// Keeps lists of so many bytes together, from this time on.
    #[must_use]
    pub fn new(settings: Settings, bytes: u64, now_us: u64) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            version: AtomicU64::default(),
            accounts: Lists::new(bytes, now_us),
        }
    }

    /// Replaces what the operator wants to be shown first.
    pub fn reload(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// Accounts for the viewer. With a cursor the list that it is in, unless that is kept no more.
    pub fn accounts(
        &self,
        h: &Hydrator<'_>,
        cursor: Option<Cursor>,
    ) -> Result<Option<Arc<List<ActorId>>>> {
        let key = h.ctx.viewer.map_or_else(|| "all".to_owned(), |id| format!("for {}", id.0));
        if let Some(cursor) = cursor {
            return Ok(self.accounts.of_cursor(&key, cursor, h.ctx.now));
        }
        let made_of = self.made_of(h)?;
        let make = || {
            let mut out = Vec::new();
            for did in &self.settings.load().follows {
                out.extend(h.snapshot.actor_id(did.as_str())?);
            }
            if let Some(viewer) = h.ctx.viewer {
                out.extend(Suggester(*h).for_viewer(viewer)?);
            }
            Ok(suggest::distinct(out))
        };
        self.accounts.current(&key, made_of, h.ctx.now, make).map(Some)
    }

    /// Accounts like one. Not for this viewer in particular: what is held of it is given to others too.
    pub fn accounts_like(&self, h: &Hydrator<'_>, actor: ActorId) -> Result<Arc<List<ActorId>>> {
        let key = format!("like {}", actor.0);
        let ctx = HydrateCtx { now: h.ctx.now, ..HydrateCtx::default() };
        let make = || Suggester(Hydrator { ctx: &ctx, ..*h }).like(actor);
        self.accounts.current(&key, 0, h.ctx.now, make)
    }

    fn made_of(&self, h: &Hydrator<'_>) -> Result<u64> {
        let stance = h.ctx.viewer.map_or(Ok(0), |viewer| h.stance(viewer))?;
        Ok(stance.wrapping_add(self.version.load(Ordering::Relaxed)))
    }
}

/// Those of `ids` that may be suggested to the viewer, in their order. `state` has what their profile views need then.
pub fn fit(h: &Hydrator<'_>, state: &mut HydrationState, ids: &[ActorId]) -> Result<Vec<ActorId>> {
    fit::fit(h, state, ids)
}
