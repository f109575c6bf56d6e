//! Why a request or connection failed.

use std::error::Error;
use std::net::IpAddr;

/// A failure, with [`NetError::cause`] for counting. Cheap to clone, so that several waiters can share one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// Not a URL, or one of a scheme or form that is not used here.
    #[error("unusable URL: {0}")]
    Url(String),
    /// Plain text was asked for where only TLS is allowed.
    #[error("{0} is not encrypted")]
    Insecure(String),
    /// The name has no address, or the resolver failed.
    #[error("DNS: {0}")]
    Dns(String),
    /// Every address of the host is private or otherwise not to be connected to.
    #[error("{0} is not a public address")]
    RefusedAddress(IpAddr),
    /// No address answered.
    #[error("connect: {0}")]
    Connect(String),
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// Took too long; the word says which step.
    #[error("{0} timed out")]
    Timeout(&'static str),
    /// Larger than allowed; the word says what.
    #[error("{0} is too big")]
    TooBig(&'static str),
    /// The answer had this status instead of success.
    #[error("status {0}")]
    Status(u16),
    /// More redirects than allowed.
    #[error("too many redirects")]
    Redirects,
    /// The peer broke the protocol or the connection.
    #[error("protocol: {0}")]
    Protocol(String),
    /// The peer keeps the protocol and does harm with it; the words say how.
    #[error("the peer {0}")]
    Misbehaves(&'static str),
}

impl NetError {
    /// A short stable name to count by.
    pub fn cause(&self) -> &'static str {
        match self {
            NetError::Url(_) => "url",
            NetError::Insecure(_) => "insecure",
            NetError::Dns(_) => "dns",
            NetError::RefusedAddress(_) => "refused-address",
            NetError::Connect(_) => "connect",
            NetError::Tls(_) => "tls",
            NetError::Timeout(_) => "timeout",
            NetError::TooBig(_) => "too-big",
            NetError::Status(_) => "status",
            NetError::Redirects => "redirects",
            NetError::Protocol(_) => "protocol",
            NetError::Misbehaves(_) => "misbehaves",
        }
    }

    /// Whether another try later may succeed without anyone changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            NetError::Status(status) => *status == 429 || *status >= 500,
            NetError::Dns(_)
            | NetError::Connect(_)
            | NetError::Tls(_)
            | NetError::Timeout(_)
            | NetError::Protocol(_)
            | NetError::Misbehaves(_) => true,
            NetError::Url(_)
            | NetError::Insecure(_)
            | NetError::RefusedAddress(_)
            | NetError::TooBig(_)
            | NetError::Redirects => false,
        }
    }

    /// The most telling error in a chain of sources.
    pub(super) fn from_chain(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(current) = next {
            if let Some(known) = find_known(current) {
                return known;
            }
            next = current.source();
        }
        NetError::Protocol(deepest(error).to_string())
    }
}

fn find_known(error: &(dyn Error + 'static)) -> Option<NetError> {
    if let Some(own) = error.downcast_ref::<NetError>() {
        return Some(own.clone());
    }
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(NetError::Tls(tls.to_string()));
    }
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        // `io::Error::source` skips the error that it wraps.
        return io.get_ref().map(|inner| inner as &(dyn Error + 'static)).and_then(find_known);
    }
    let hyper = error.downcast_ref::<hyper::Error>()?;
    hyper.is_parse_too_large().then_some(NetError::TooBig("header"))
}

fn deepest<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current
}

/// So that a body stream can be read through `tokio_util::io::StreamReader`.
impl From<NetError> for std::io::Error {
    fn from(error: NetError) -> Self {
        std::io::Error::other(error)
    }
}
