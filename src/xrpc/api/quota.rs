//! How much private state of each kind an account may keep.

use crate::config::Limits;
use crate::limits::Client;
use crate::private::{self, Counted};
use crate::store::StoreError;
use crate::xrpc::{AppCtx, Call, XrpcError};

/// A kind of private state that has a quota.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    kind: Counted,
    most: fn(&Limits) -> u32,
    /// What the refusal is called.
    error: &'static str,
    message: &'static str,
}

pub(super) const MUTES: Quota = Quota {
    kind: Counted::Mutes,
    most: |limits| limits.mutes,
    error: "MuteLimitReached",
    message: "This account mutes as many accounts as it may here",
};
pub(super) const THREAD_MUTES: Quota = Quota {
    kind: Counted::ThreadMutes,
    message: "This account mutes as many threads as it may here",
    ..MUTES
};
pub(super) const LIST_MUTES: Quota = Quota {
    kind: Counted::ListMutes,
    most: |limits| limits.list_mutes,
    message: "This account mutes as many lists as it may here",
    ..MUTES
};
pub(super) const BOOKMARKS: Quota = Quota {
    kind: Counted::Bookmarks,
    most: |limits| limits.bookmarks,
    error: "BookmarkLimitReached",
    message: "This account has as many bookmarks as it may here",
};
pub(super) const SUBSCRIPTIONS: Quota = Quota {
    kind: Counted::Subscriptions,
    most: |limits| limits.subscriptions,
    error: "SubscriptionLimitReached",
    message: "This account has as many activity subscriptions as it may here",
};

/// Refuses a row about `subject` if the caller has as many of the kind as it may; one that it has already is none more.
/// Rows are counted on the read pool, in the account's own line.
pub(super) async fn room_for(
    quota: Quota,
    app: &AppCtx,
    call: &Call,
    subject: &str,
) -> Result<(), XrpcError> {
    let (viewer, kind) = (call.require_viewer()?.clone(), quota.kind);
    let (account, most) = (Client::account(&viewer), (quota.most)(&app.limits.load()));
    if app.quotas.add(account, kind, most) {
        return Ok(());
    }
    let (store, subject) = (app.store.clone(), subject.to_owned());
    let count = move || {
        let (snapshot, bound) = (store.snapshot(), most as usize);
        let rows = private::count(&snapshot, kind, &viewer, bound)?;
        let is_held = rows >= bound && private::has(&snapshot, kind, &viewer, &subject)?;
        Ok::<_, StoreError>((u32::try_from(rows).unwrap_or(u32::MAX), is_held))
    };
    let (rows, is_held) = app.blocking(call.line(), count).await??;
    app.quotas.counted(account, kind, rows.saturating_add(1));
    match rows < most || is_held {
        true => Ok(()),
        false => Err(XrpcError::named(quota.error, quota.message)),
    }
}
