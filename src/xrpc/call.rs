//! What a handler gets: checked parameters, checked input, and who asks.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::error::XrpcError;
use super::fetch_requests::FetchRequests;
use super::labelers::ParsedLabelers;
use crate::lexicon::Params;
use crate::limits::Client;
use crate::syntax::Did;

const ACCEPT_LABELERS: HeaderName = HeaderName::from_static("atproto-accept-labelers");

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    None,
    /// An account, by a service token that it signed.
    Viewer {
        /// The account.
        did: Did,
        /// Whether it is the operator's moderation service.
        mod_service: bool,
    },
    /// A service of an account, such as `did#atproto_labeler`: it sees what anonymous callers see.
    Service {
        /// The account that the service belongs to.
        did: Did,
        /// Whether it is the operator's moderation service.
        mod_service: bool,
    },
    /// The operator, by password.
    Admin,
    /// The operator's moderation service on an admin method.
    ModService {
        /// Its DID.
        did: Did,
    },
}

impl Credentials {
    /// Whose share of the limits a call is taken from that came from `client`.
    pub(super) fn counts_as(&self, client: Client) -> Client {
        match self {
            // What the operator does is never too much, nor what his own machines do for others.
            Self::Admin | Self::ModService { .. } => Client::Own,
            _ if client == Client::Own => client,
            Self::None => client,
            Self::Viewer { did, .. } | Self::Service { did, .. } => Client::account(did),
        }
    }
}

/// What the credentials allow a call to see and do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// Taken-down accounts and records are shown.
    pub include_takedowns: bool,
    /// Blocks between others are shown.
    pub include_3p_blocks: bool,
    /// May change the takedown status of a subject.
    pub can_perform_takedown: bool,
    /// The caller is the moderation service.
    pub is_mod_service: bool,
    /// The viewer's own blocks do not hide anything: a moderator has to see what blocks them.
    pub skip_viewer_blocks: bool,
}

/// In which line a call waits for a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Whose it is.
    pub client: Client,
    /// It may be as long as all: what the operator's own machines do is not a flood.
    pub spared: bool,
    /// The operator is never sent away.
    pub first: bool,
}

impl Line {
    /// That of an account.
    #[must_use]
    pub fn of(account: &Did) -> Self {
        Self { client: Client::account(account), spared: false, first: false }
    }
}

/// One call of a method.
#[derive(Debug)]
pub struct Call {
    /// The parameters, checked against the lexicon, defaults filled in.
    pub params: Params,
    /// The input of a procedure, checked against the lexicon.
    pub input: Option<Value>,
    /// Who asks.
    pub credentials: Credentials,
    /// The headers as sent.
    pub headers: HeaderMap,
    /// Whose share of the limits it is taken from.
    pub client: Client,
    /// What the handler finds missing.
    pub to_fetch: FetchRequests,
    /// The caller was found to belong to the community; asked only where it matters.
    pub community: bool,
}

impl Call {
    /// The account that asks, if an account does.
    pub fn viewer(&self) -> Option<&Did> {
        match &self.credentials {
            Credentials::Viewer { did, .. } => Some(did),
            _ => None,
        }
    }

    /// The account that asks; 401 `AuthMissing` without one. Methods with [`super::Auth::Required`] always have one.
    pub fn require_viewer(&self) -> Result<&Did, XrpcError> {
        self.viewer().ok_or_else(|| XrpcError::auth("AuthMissing", ""))
    }

    /// The line of whoever asks: an account has one of its own, even if it comes through a machine of the operator.
    pub fn line(&self) -> Line {
        let spared = self.client == Client::Own;
        match &self.credentials {
            Credentials::None => Line { client: self.client, spared, first: false },
            Credentials::Viewer { did, .. } | Credentials::Service { did, .. } => {
                Line { spared, ..Line::of(did) }
            }
            Credentials::Admin | Credentials::ModService { .. } => {
                Line { client: Client::Own, spared, first: true }
            }
        }
    }

    /// What the caller may see and do.
    pub fn access(&self) -> Access {
        let (privileged, takedown, mod_service) = match &self.credentials {
            Credentials::None => (false, false, false),
            Credentials::Admin => (true, true, false),
            Credentials::ModService { .. } => (true, true, true),
            Credentials::Viewer { mod_service, .. } | Credentials::Service { mod_service, .. } => {
                (*mod_service, false, *mod_service)
            }
        };
        Access {
            include_takedowns: privileged,
            include_3p_blocks: privileged,
            can_perform_takedown: takedown,
            is_mod_service: mod_service,
            skip_viewer_blocks: mod_service && self.viewer().is_some(),
        }
    }

    /// The labelers that the client names; `None` when it names none or not readably, so that the defaults apply.
    pub fn accept_labelers(&self) -> Option<ParsedLabelers> {
        ParsedLabelers::parse(&joined(&self.headers, &ACCEPT_LABELERS)?)
    }
}

/// A list header that was sent in several lines is one list (RFC 9110 section 5.3).
fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut lines = headers.get_all(name).iter();
    let mut out = Cow::Borrowed(lines.next()?.to_str().ok()?);
    for line in lines {
        out = Cow::Owned(format!("{out}, {}", line.to_str().ok()?));
    }
    Some(out)
}
