//! The cookie that a browser keeps a session's secret in (RFC 6265bis).

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::{SESSION, Secret};

/// A name that browsers take only from this very host, over TLS, and for all of its paths.
const SECURE: &str = "__Host-aerie";
/// Without TLS there is no such name.
const PLAIN: &str = "aerie";

/// How cookies of this server look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie {
    secure: bool,
}

impl Cookie {
    /// Of the server at this URL.
    #[must_use]
    pub fn of(public_url: &str) -> Self {
        Self { secure: public_url.starts_with("https://") }
    }

    fn name(self) -> &'static str {
        if self.secure { SECURE } else { PLAIN }
    }

    /// The secret that a browser sends. Of several, which another server on the host may have left, the first that is one.
    #[must_use]
    pub fn read(self, headers: &HeaderMap) -> Option<Secret> {
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
        let mut own = pairs.filter(|(name, _)| name.trim() == self.name());
        own.find_map(|(_, value)| Secret::parse(value.trim()))
    }

    /// What makes the browser keep a secret.
    #[must_use]
    pub fn keep(self, secret: &Secret) -> Option<HeaderValue> {
        self.header(&secret.text(), SESSION.as_secs())
    }

    /// What makes it forget.
    #[must_use]
    pub fn forget(self) -> Option<HeaderValue> {
        self.header("", 0)
    }

    fn header(self, value: &str, seconds: u64) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let name = self.name();
        let text =
            format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}
