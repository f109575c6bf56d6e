//! The string formats of lexicons, by the strict rules.

use crate::syntax;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    AtIdentifier,
    AtUri,
    Cid,
    Datetime,
    Did,
    Handle,
    Language,
    Nsid,
    RecordKey,
    Tid,
    Uri,
}

impl Format {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "at-identifier" => Self::AtIdentifier,
            "at-uri" => Self::AtUri,
            "cid" => Self::Cid,
            "datetime" => Self::Datetime,
            "did" => Self::Did,
            "handle" => Self::Handle,
            "language" => Self::Language,
            "nsid" => Self::Nsid,
            "record-key" => Self::RecordKey,
            "tid" => Self::Tid,
            "uri" => Self::Uri,
            _ => return None,
        })
    }

    pub(crate) fn accepts(self, text: &str) -> bool {
        match self {
            Self::AtIdentifier => syntax::is_at_identifier(text),
            Self::AtUri => syntax::is_at_uri(text),
            Self::Cid => syntax::is_cid(text),
            Self::Datetime => syntax::is_datetime(text),
            Self::Did => syntax::is_did(text),
            Self::Handle => syntax::is_handle(text),
            Self::Language => syntax::is_language(text),
            Self::Nsid => syntax::is_nsid(text),
            Self::RecordKey => syntax::is_rkey(text),
            Self::Tid => syntax::is_tid(text),
            Self::Uri => syntax::is_uri(text),
        }
    }

    /// How messages call it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::AtIdentifier => "AT identifier",
            Self::AtUri => "at-uri",
            Self::Cid => "CID string",
            Self::Datetime => "datetime",
            Self::Did => "DID",
            Self::Handle => "handle",
            Self::Language => "language",
            Self::Nsid => "NSID",
            Self::RecordKey => "record key",
            Self::Tid => "TID string",
            Self::Uri => "uri",
        }
    }
}
