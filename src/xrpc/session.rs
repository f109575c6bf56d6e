//! One call's view of the store: a snapshot, who asks, and the labelers that apply.

use std::sync::Arc;

use super::call::Call;
use super::context::AppCtx;
use super::error::XrpcError;
use super::labelers::ParsedLabelers;
use super::reply::Reply;
use crate::hydrate::post_record::RecordRef;
use crate::hydrate::post_state::PostState;
use crate::hydrate::{ActorId, HydrateCtx, Hydrator, Shared};
use crate::schema::{PostId, RecordId, Rows, Target, collections};
use crate::store::{Snapshot, StoreError};
use crate::syntax::{AtUriRef, Tid, is_did};

/// What every reading handler opens first.
pub(crate) struct Session {
    pub(crate) snapshot: Snapshot,
    pub(crate) ctx: HydrateCtx,
    labelers: ParsedLabelers,
    shared: Arc<Shared>,
}

impl Session {
    /// Takes a snapshot. Labelers without an account that may be shown do not apply, the operator's defaults always.
    pub(crate) fn open(app: &AppCtx, call: &Call) -> Result<Self, XrpcError> {
        let access = call.access();
        let snapshot = app.store.snapshot();
        let shared = Arc::clone(&app.hydration);
        let viewer = match call.viewer() {
            Some(did) => snapshot.actor_id(did.as_str())?,
            None => None,
        };
        let ctx = HydrateCtx {
            viewer,
            signed_in: call.viewer().is_some(),
            include_takedowns: access.include_takedowns,
            include_3p_blocks: access.include_3p_blocks,
            skip_viewer_blocks: access.skip_viewer_blocks,
            community: call.community,
            explained: call.viewer().is_some_and(|did| explains(&shared, did.as_str())),
            now: app.clock.now_ms(),
            ..HydrateCtx::default()
        };
        let mut this = Self { snapshot, ctx, labelers: ParsedLabelers::default(), shared };
        this.accept(app, &app.labelers(call))?;
        Ok(this)
    }

    fn accept(&mut self, app: &AppCtx, asked: &ParsedLabelers) -> Result<(), StoreError> {
        let defaults = app.default_labelers.load();
        let mut ids = Vec::with_capacity(asked.labelers.len());
        for labeler in &asked.labelers {
            let id = self.snapshot.actor_id(labeler.did.as_str())?;
            let is_default = defaults.labelers.iter().any(|known| known.did == labeler.did);
            if !is_default && !self.has_account(id)? {
                continue;
            }
            ids.extend(id.map(|id| (id, labeler.redact)));
            self.labelers.labelers.push(labeler.clone());
        }
        self.ctx.labelers = ids.into_iter().collect();
        Ok(())
    }

    fn has_account(&self, id: Option<ActorId>) -> Result<bool, StoreError> {
        let Some(id) = id else { return Ok(false) };
        let actor = self.hydrator().actor(id)?;
        Ok(actor.is_some_and(|actor| self.ctx.include_takedowns || actor.is_hosted()))
    }

    pub(crate) fn hydrator(&self) -> Hydrator<'_> {
        Hydrator { snapshot: &self.snapshot, ctx: &self.ctx, shared: &self.shared }
    }

    /// The account behind a DID or handle. A DID that the store never saw has no number, but is a DID all the same.
    pub(crate) fn identify(&self, identifier: &str) -> Result<Identified, StoreError> {
        identify(&self.snapshot, identifier)
    }

    /// The number of the account behind a DID or handle.
    pub(crate) fn actor(&self, identifier: &str) -> Result<Option<ActorId>, StoreError> {
        Ok(match self.identify(identifier)? {
            Identified::Known(id) => Some(id),
            Identified::UnknownDid | Identified::UnknownHandle => None,
        })
    }

    /// The number of an account that a caller asks for; without one, or without a profile that might exist, it is
    /// wished for.
    pub(crate) fn wanted_actor(
        &self,
        call: &Call,
        identifier: &str,
    ) -> Result<Option<ActorId>, StoreError> {
        let id = self.actor(identifier)?;
        let known = match id {
            Some(id) => self.hydrator().actor(id)?.is_some_and(|actor| actor.profile.is_some()),
            None => false,
        };
        match id {
            _ if known => {}
            None => call.to_fetch.account(identifier),
            Some(id) if self.is_complete(id)? => {}
            Some(id) => call.to_fetch.account(&self.snapshot.did(id)?),
        }
        Ok(id)
    }

    /// Requests a post that the store lacks, and as many levels above it, unless nothing of it can be missing.
    pub(crate) fn request_post(
        &self,
        call: &Call,
        post: PostId,
        parents: usize,
    ) -> Result<(), StoreError> {
        // The network has no more of a community post than a stub.
        if !post.is_community() && !self.is_complete(post.author)? {
            call.to_fetch.record(&self.snapshot.post_uri(post)?, parents);
        }
        Ok(())
    }

    /// Requests a post that is to be shown, with as many levels above it; if the store has it, what it quotes.
    pub(crate) fn request_shown(
        &self,
        call: &Call,
        state: &PostState,
        post: PostId,
        parents: usize,
    ) -> Result<(), StoreError> {
        let Some(held) = state.post(post) else { return self.request_post(call, post, parents) };
        let quoted = held.embedded().and_then(RecordRef::post);
        match quoted.filter(|quoted| state.post(*quoted).is_none()) {
            Some(quoted) => self.request_post(call, quoted, 0),
            None => Ok(()),
        }
    }

    /// Requests what is missing of the line from `anchor` upwards.
    pub(crate) fn request_above(
        &self,
        call: &Call,
        state: &PostState,
        anchor: PostId,
        height: usize,
    ) -> Result<(), StoreError> {
        let mut at = anchor;
        for left in (0..=height).rev() {
            self.request_shown(call, state, at, left)?;
            let Some(post) = state.post(at) else { break };
            let Some(parent) = post.parent() else { break };
            at = parent;
        }
        Ok(())
    }

    /// Whether the store has every record of an account.
    pub(crate) fn is_complete(&self, id: ActorId) -> Result<bool, StoreError> {
        Ok(self.snapshot.repo(id)?.is_some_and(|row| row.is_complete()))
    }

    /// Whether a post that the store has a number for is certainly gone.
    pub(crate) fn is_deleted(&self, post: PostId) -> Result<bool, StoreError> {
        Ok(!post.is_community()
            && self.snapshot.post(post)?.is_none()
            && self.is_complete(post.author)?)
    }

    /// A post's URI with the DID in place of a handle, and the post if the store has a number for it.
    pub(crate) fn resolve_post(&self, uri: &str) -> Result<(String, Option<PostId>), StoreError> {
        let uri = self.with_did(uri)?;
        let post = match self.snapshot.target(&uri)? {
            Some(Target::Post(post)) => Some(post),
            _ => None,
        };
        Ok((uri, post))
    }

    /// A URI with the DID in place of a handle, if somebody has it.
    pub(crate) fn with_did(&self, uri: &str) -> Result<String, StoreError> {
        if let Some(parts) = AtUriRef::parse(uri)
            && let Identified::Known(id) = self.identify(parts.authority)?
        {
            let rest = uri.get("at://".len() + parts.authority.len()..).unwrap_or_default();
            return Ok(format!("at://{}{rest}", self.snapshot.did(id)?));
        }
        Ok(uri.to_owned())
    }

    /// The feed generator record that a URI names, if the store has a number for it.
    pub(crate) fn generator_id(&self, uri: &str) -> Result<Option<RecordId>, StoreError> {
        let target = self.snapshot.target(uri)?;
        Ok(target.and_then(Target::record).filter(|id| id.coll == collections::GENERATOR))
    }

    /// The rev of the viewer's repo that this snapshot includes.
    pub(crate) fn repo_rev(&self) -> Result<Option<String>, StoreError> {
        let Some(viewer) = self.ctx.viewer else { return Ok(None) };
        let row = self.snapshot.repo(viewer)?;
        Ok(row.and_then(|row| Tid::from_u64(row.rev)).map(|rev| rev.to_string()))
    }

    /// A reply with the labelers that were applied.
    pub(crate) fn reply<T: serde::Serialize>(&self, body: &T) -> Result<Reply, XrpcError> {
        Ok(Reply::json(body)?.with_labelers(&self.labelers))
    }
}

/// Whether answers are explained to an account.
fn explains(shared: &Shared, did: &str) -> bool {
    shared.settings().debug_dids.iter().any(|known| **known == *did)
}

/// What a DID or handle names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identified {
    /// A DID with a number, or the handle of one.
    Known(ActorId),
    /// A DID that the store never saw.
    UnknownDid,
    /// A handle that nobody has.
    UnknownHandle,
}

/// Looks a DID or handle up.
pub(crate) fn identify(s: &Snapshot, identifier: &str) -> Result<Identified, StoreError> {
    if is_did(identifier) {
        return Ok(s.actor_id(identifier)?.map_or(Identified::UnknownDid, Identified::Known));
    }
    let owner = s.handle_owner(&identifier.to_ascii_lowercase())?;
    Ok(owner.map_or(Identified::UnknownHandle, Identified::Known))
}
