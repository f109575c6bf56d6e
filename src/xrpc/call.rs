//! What a handler gets: checked parameters, checked input, and who asks.

use std::borrow::Cow;

use http::header::ACCEPT_LANGUAGE;
use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::error::XrpcError;
use super::fetch_requests::FetchRequests;
use super::labelers::ParsedLabelers;
use crate::lexicon::{Params, catalog};
use crate::limits::Client;
use crate::syntax::Did;

const ACCEPT_LABELERS: HeaderName = HeaderName::from_static("atproto-accept-labelers");

/// What a viewer is interested in, as clients say it: a hint for ranking.
pub(crate) const TOPICS: HeaderName = HeaderName::from_static("x-bsky-topics");
/// Languages that are looked at: nobody reads more.
const MAX_LANGUAGES: usize = 16;

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
    /// A call of a query that this server makes by itself, or for who asks it otherwise than by the method: the parameters, as
    /// in a URL, go through the lexicon as anybody's do.
    pub(super) fn of_query(
        nsid: &str,
        query: &str,
        credentials: Credentials,
        (headers, client): (HeaderMap, Client),
    ) -> Result<Self, XrpcError> {
        let schema = catalog().method(nsid).ok_or_else(XrpcError::not_implemented)?;
        let params = schema
            .parse_params(Some(query))
            .map_err(|invalid| XrpcError::invalid_request(invalid.to_string()))?;
        let to_fetch = FetchRequests::default();
        Ok(Self { params, input: None, credentials, headers, client, to_fetch, community: false })
    }

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

    /// The elements of a list header, without their parameters.
    pub(super) fn header_list(&self, name: &HeaderName) -> Vec<&str> {
        let lines = self.headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        let elements = lines.flat_map(|line| line.split(',')).map(str::trim);
        elements.filter(|element| !element.is_empty()).collect()
    }

    /// The languages that the client prefers, as primary subtags, the best first (RFC 9110 section 12.5.4).
    pub(super) fn languages(&self) -> Vec<String> {
        let mut ranked: Vec<(u16, String)> = Vec::new();
        for range in self.header_list(&ACCEPT_LANGUAGE).into_iter().take(MAX_LANGUAGES) {
            let (tag, quality) = range.split_once(';').unwrap_or((range, "q=1"));
            let language = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
            let is_tag = (2..=3).contains(&language.len())
                && language.bytes().all(|b| b.is_ascii_lowercase());
            let quality = thousandths(quality.trim().strip_prefix("q=").unwrap_or_default());
            if is_tag && quality > 0 && ranked.iter().all(|(_, known)| *known != language) {
                ranked.push((quality, language));
            }
        }
        ranked.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
        ranked.into_iter().map(|(_, language)| language).collect()
    }
}

/// A quality value in thousandths; none if it is not one.
fn thousandths(text: &str) -> u16 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = part.get(..3).unwrap_or(part);
    let of_part = format!("{part:0<3}").parse::<u16>().unwrap_or(0);
    whole.parse::<u16>().map_or(0, |whole| whole.min(1) * 1000 + of_part).min(1000)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_the_best_first() {
        for (header, expect) in [
            ("", &[][..]),
            ("en-US,en;q=0.9,de;q=0.8", &["en", "de"]),
            ("de;q=0.5, fr, en; q=0.75, *;q=0.1", &["fr", "en", "de"]),
            ("pt-BR;q=0, ja;q=1.000", &["ja"]),
            ("x, nonsense, e1, \u{7f}", &[]),
            ("en;q=x, de;q=9", &["de"]),
        ] {
            let mut headers = HeaderMap::new();
            if let Ok(value) = http::HeaderValue::from_str(header) {
                headers.insert(ACCEPT_LANGUAGE, value);
            }
            let call = Call {
                params: Params::default(),
                input: None,
                credentials: Credentials::None,
                headers,
                client: Client::Own,
                to_fetch: FetchRequests::default(),
                community: false,
            };
            assert_eq!(call.languages(), expect, "{header}");
        }
    }
}
