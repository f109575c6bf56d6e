//! When two URLs are the same: what says how to get there, or who sent the link, is left out.

use std::fmt::Write as _;

use url::{Host, Url};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of the longest URL that is looked at.
const MAX: usize = 8 << 10;

/// Ports that need not be said.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

/// Parameters that only say where a link was found.
const TRACKING: [&str; 3] = ["fbclid", "gclid", "igshid"];
/// So do all that begin like these.
const TRACKING_FAMILIES: [&str; 2] = ["utm_", "mc_"];

/// A URL as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UrlForm {
    text: String,
    host: usize,
    named: bool,
}

impl UrlForm {
    /// Reads a URL of the web, with or without its scheme.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > MAX {
            return None;
        }
        let scheme = |name: &str| {
            text.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
        };
        let url = if scheme("http://") || scheme("https://") {
            Url::parse(text).ok()?
        } else if text.contains("://") {
            return None;
        } else {
            Url::parse(&format!("https://{text}")).ok()?
        };
        let named = matches!(url.host()?, Host::Domain(_));
        let host = url.host_str()?.trim_end_matches('.');
        // All of them, so that a form is its own form.
        let www = |host: &&str| host.strip_prefix("www.").is_some_and(|rest| rest.contains('.'));
        let host = std::iter::successors(Some(host), |host| host.get(4..).filter(|_| www(host)));
        let host = host.last().unwrap_or_default();
        if host.is_empty() {
            return None;
        }
        let mut out = host.to_owned();
        if let Some(port) = url.port().filter(|port| !DEFAULT_PORTS.contains(port)) {
            // Writing to a string does not fail.
            _ = write!(out, ":{port}");
        }
        canonical(url.path().trim_end_matches('/'), &mut out);
        let mut parameters: Vec<String> =
            url.query().unwrap_or_default().split('&').filter_map(parameter).collect();
        parameters.sort_unstable();
        let mut separator = '?';
        for parameter in parameters {
            out.push(separator);
            out.push_str(&parameter);
            separator = '&';
        }
        Some(Self { host: host.len(), named, text: out })
    }

    /// The form itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The number that stands for it in the index.
    #[must_use]
    pub fn hash(&self) -> u64 {
        xxh3_64(self.text.as_bytes())
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> &str {
        self.text.get(..self.host).unwrap_or_default()
    }

    /// Its host and every domain above that has two labels or more.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        let (host, named) = (self.host(), self.named);
        std::iter::successors(Some(host), move |of: &&str| {
            let (_, above) = of.split_once('.')?;
            (named && above.contains('.')).then_some(above)
        })
    }
}

/// A host as it is compared: the value of `domain:`.
#[must_use]
pub fn domain(text: &str) -> Option<String> {
    let form = UrlForm::parse(text)?;
    Some(form.host().to_owned())
}

fn parameter(text: &str) -> Option<String> {
    let name = text.split('=').next().unwrap_or_default();
    let tracks =
        TRACKING.contains(&name) || TRACKING_FAMILIES.iter().any(|family| name.starts_with(family));
    if text.is_empty() || tracks {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    canonical(text, &mut out);
    Some(out)
}

/// Appends a part with what need not be percent-encoded decoded, and the rest in capitals.
fn canonical(part: &str, out: &mut String) {
    let mut rest = part;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let byte = from.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let Some(byte) = byte.filter(|_| !from.starts_with("%+")) else {
            // One that stands for itself, or what follows it could make it mean something.
            out.push_str("%25");
            rest = from.get(1..).unwrap_or_default();
            continue;
        };
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            _ = write!(out, "%{byte:02X}");
        }
        rest = from.get(3..).unwrap_or_default();
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Option<String> {
        UrlForm::parse(text).map(|form| form.text)
    }

    #[test]
    fn what_leads_to_the_same_page_is_the_same() {
        for same in [
            "https://example.com/a/b",
            "http://www.EXAMPLE.com:80/a/b/",
            "https://example.com:443/a/b#part",
            "example.com/a/b?utm_source=x&fbclid=1&gclid=2&mc_eid=3&igshid=4",
            "https://example.com/%61/%62",
        ] {
            assert_eq!(form(same).as_deref(), Some("example.com/a/b"), "{same}");
        }
        assert_eq!(form("https://a.example/x?b=2&a=1"), form("http://a.example/x/?a=1&b=2"));
        assert_eq!(form("https://a.example/%c3%a9"), form("https://a.example/é"));
        assert_eq!(form("https://bücher.example/").as_deref(), Some("xn--bcher-kva.example"));
        assert_ne!(form("https://a.example/x"), form("https://a.example/X"));
        assert_ne!(form("https://a.example/?a=1"), form("https://a.example/?a=2"));
        assert_eq!(form("http://a.example:8080/").as_deref(), Some("a.example:8080"));
        assert_eq!(form("https://www.www.a.example/").as_deref(), Some("a.example"));
        assert_eq!(form("https://www.example/").as_deref(), Some("www.example"));
        assert_eq!(form("https://a.example/100%").as_deref(), Some("a.example/100%25"));
        assert_eq!(form("https://a.example/%4%41").as_deref(), Some("a.example/%254A"));
        assert_eq!(form("https://a.example/%254A").as_deref(), Some("a.example/%254A"));
    }

    #[test]
    fn what_is_no_page_of_the_web_has_no_form() {
        let long = format!("https://a.example/{}", "x".repeat(MAX));
        for text in ["", "at://did:plc:a/b.c.d/e", "ftp://a.example/", "https://", "a b", &long] {
            assert_eq!(form(text), None, "{text}");
        }
    }

    #[test]
    fn domains_are_the_host_and_those_above() {
        let domains = |text| -> Vec<String> {
            UrlForm::parse(text).unwrap().domains().map(str::to_owned).collect()
        };
        assert_eq!(
            domains("https://www.a.b.example.com/x"),
            ["a.b.example.com", "b.example.com", "example.com"]
        );
        assert_eq!(domains("http://127.0.0.1/"), ["127.0.0.1"]);
        assert_eq!(domain("Example.COM").as_deref(), Some("example.com"));
    }
}
