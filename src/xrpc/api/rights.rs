//! `alt.aerie.account.*`: what an account may ask about itself: that nothing of it is collected, that what is held is
//! deleted, and all of it to take along. Always for the caller, by a service token for just this method.
//!
//! These methods exist in this AppView only, so their names must be nobody else's. A name under the operator's domain
//! would be another one on each server, which no client could know and a wrong setting would change; one under a
//! domain that the project does not own could come to mean something else. `.alt` is set aside for names outside of the
//! DNS (RFC 9476): nobody can own `aerie.alt`, and nothing has to be configured.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::private::takeout::{self, Page};
use crate::private::{self, Standing};
use crate::syntax::{Did, datetime};
use crate::xrpc::{AppCtx, Call, Line, Reply, Rest, XrpcError};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RightsOutput<'a> {
    did: &'a str,
    opted_out: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    opted_out_at: Option<String>,
    deleting: bool,
}

fn status(app: &AppCtx, did: &Did) -> Result<Reply, XrpcError> {
    let Standing { opted_out, deleting } = private::standing(&app.store.snapshot(), did.as_str())?;
    let opted_out_at = opted_out.map(datetime::format_ms);
    let (did, opted_out) = (did.as_str(), opted_out.is_some());
    Reply::json(&RightsOutput { did, opted_out, opted_out_at, deleting })
}

/// `alt.aerie.account.getStatus`
pub(crate) fn get_status(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    status(app, call.require_viewer()?)
}

fn flag(call: &Call, name: &str) -> bool {
    call.input.as_ref().and_then(|input| input.get(name)).and_then(Value::as_bool) == Some(true)
}

async fn status_after(app: Arc<AppCtx>, did: Did) -> Result<Reply, XrpcError> {
    let reads = Arc::clone(&app);
    app.blocking(Line::of(&did), move || status(&reads, &did)).await?
}

/// `alt.aerie.account.putOptOut`
pub(crate) async fn put_opt_out(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let did = call.require_viewer()?.clone();
    if flag(&call, "optOut") {
        app.rights.opt_out(&did).await?;
    } else if !app.rights.opt_in(&did).await? {
        let message = "What was held of the account is still being deleted; try again later";
        return Err(XrpcError::named("DeletionPending", message));
    }
    status_after(app, did).await
}

/// `alt.aerie.account.deleteData`
pub(crate) async fn delete_data(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let did = call.require_viewer()?.clone();
    app.rights.erase(&did, flag(&call, "optOut")).await?;
    status_after(app, did).await
}

/// How often, and after what time, a page is tried again when the readers have too much to do.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(200);

/// `alt.aerie.account.exportData`: a page is read when the one before it was sent.
pub(crate) async fn export_data(app: Arc<AppCtx>, call: Call) -> Result<Reply, XrpcError> {
    let did = call.require_viewer()?.clone();
    let Page { text, next } = page(&app, &did, None).await?;
    let rest = stream::unfold((app, did, next), |(app, did, next)| async move {
        let page = patient_page(&app, &did, next?).await;
        Some(match page {
            Ok(Page { text, next }) => (Ok(Bytes::from(text)), (app, did, next)),
            // Whoever reads must not take this for the end.
            Err(error) => (Err(io::Error::other(error)), (app, did, None)),
        })
    });
    let reply = Reply::with_type(text.into_bytes(), "application/jsonl");
    Ok(reply.with_cache_control("private, no-store").followed_by(Rest(rest.boxed())))
}

async fn page(app: &Arc<AppCtx>, did: &Did, next: Option<String>) -> Result<Page, XrpcError> {
    let (reads, did, line) = (Arc::clone(app), did.clone(), Line::of(did));
    let now = app.clock.now_ms();
    let read = move || takeout::page(&reads.store.snapshot(), did.as_str(), now, next.as_deref());
    Ok(app.blocking(line, read).await??)
}

async fn patient_page(app: &Arc<AppCtx>, did: &Did, next: String) -> Result<Page, XrpcError> {
    for _ in 1..TRIES {
        match page(app, did, Some(next.clone())).await {
            Err(error) if error.status() == StatusCode::SERVICE_UNAVAILABLE => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
    page(app, did, Some(next)).await
}
