//! What ingest asks about accounts: DID documents, handles, hosting status.
//!
//! A seam, so that the pipeline does not care where an answer comes from; [`Network`] asks the real ones.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::event::HostingStatus;
pub use crate::identity::Freshness;
use crate::identity::{DidDoc, Identity, IdentityError};
use crate::net::{HttpClient, Limits, NetError};
use crate::syntax::{Did, Handle};

/// Answers about accounts.
pub trait Directory: Send + Sync + 'static {
    /// Forgets what is remembered of an account.
    fn forget(&self, did: &Did);
    /// The DID document.
    fn document<'a>(
        &'a self,
        did: &'a Did,
        freshness: Freshness,
    ) -> BoxFuture<'a, Result<Arc<DidDoc>, IdentityError>>;
    /// The DID that a handle leads to.
    fn handle_owner<'a>(
        &'a self,
        handle: &'a Handle,
        freshness: Freshness,
    ) -> BoxFuture<'a, Result<Option<Did>, IdentityError>>;
    /// What a PDS says about an account (`com.atproto.sync.getRepoStatus`).
    fn hosting_status<'a>(
        &'a self,
        pds: &'a str,
        did: &'a Did,
    ) -> BoxFuture<'a, Result<HostingStatus, NetError>>;
}

/// The directory, the name servers and the PDSes of the network.
pub struct Network {
    /// Documents and handles.
    pub identity: Identity,
    /// For questions to PDSes; has to be a guarded one.
    pub http: HttpClient,
}

const STATUS_LIMITS: Limits =
    Limits { max_bytes: 16 << 10, timeout: Duration::from_secs(5), redirects: 0, accept: None };

impl Directory for Network {
    fn forget(&self, did: &Did) {
        self.identity.invalidate(did);
    }

    fn document<'a>(
        &'a self,
        did: &'a Did,
        freshness: Freshness,
    ) -> BoxFuture<'a, Result<Arc<DidDoc>, IdentityError>> {
        Box::pin(self.identity.resolve_did(did, freshness))
    }

    fn handle_owner<'a>(
        &'a self,
        handle: &'a Handle,
        freshness: Freshness,
    ) -> BoxFuture<'a, Result<Option<Did>, IdentityError>> {
        Box::pin(self.identity.resolve_handle(handle, freshness))
    }

    fn hosting_status<'a>(
        &'a self,
        pds: &'a str,
        did: &'a Did,
    ) -> BoxFuture<'a, Result<HostingStatus, NetError>> {
        Box::pin(async move {
            let pds = pds.trim_end_matches('/');
            let url = format!("{pds}/xrpc/com.atproto.sync.getRepoStatus?did={did}");
            let answer = self.http.get(&url, &STATUS_LIMITS).await?;
            parse_status(answer.status.as_u16(), &answer.body)
        })
    }
}

#[derive(Deserialize)]
struct StatusAnswer {
    active: Option<bool>,
    status: Option<String>,
    error: Option<String>,
}

fn parse_status(status: u16, body: &[u8]) -> Result<HostingStatus, NetError> {
    let answer: StatusAnswer =
        serde_json::from_slice(body).map_err(|_| NetError::Status(status))?;
    let word = match (status, &answer) {
        (200, StatusAnswer { active: Some(true), .. }) => return Ok(HostingStatus::Active),
        (200, StatusAnswer { active: Some(false), status, .. }) => status.as_deref(),
        (400, StatusAnswer { error: Some(error), .. }) => Some(error.as_str()),
        _ => None,
    };
    match word {
        Some("deleted" | "RepoNotFound") => Ok(HostingStatus::Deleted),
        Some("takendown" | "RepoTakendown") => Ok(HostingStatus::Takendown),
        Some("suspended" | "RepoSuspended") => Ok(HostingStatus::Suspended),
        Some("deactivated" | "RepoDeactivated") => Ok(HostingStatus::Deactivated),
        _ => Err(NetError::Status(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_a_pds() {
        use HostingStatus::*;
        for (status, body, want) in [
            (200, r#"{"did":"did:web:a","active":true,"rev":"3k"}"#, Some(Active)),
            (200, r#"{"active":false,"status":"deactivated"}"#, Some(Deactivated)),
            (200, r#"{"active":false,"status":"takendown"}"#, Some(Takendown)),
            (200, r#"{"active":false,"status":"throttled"}"#, None),
            (200, "{}", None),
            (400, r#"{"error":"RepoNotFound","message":"x"}"#, Some(Deleted)),
            (400, r#"{"error":"InvalidRequest"}"#, None),
            (501, r#"{"error":"MethodNotImplemented"}"#, None),
            (502, "<html>", None),
        ] {
            assert_eq!(parse_status(status, body.as_bytes()).ok(), want, "{status} {body}");
        }
    }
}
