//! Where things are: the paths of pages, which are those of bsky.app, and links that lead away.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::view::INVALID_HANDLE;
use crate::view::actor::ProfileView;

/// What a part of a path may be written with (RFC 3986 section 3.3), but for what a reader might take for something else.
const PART: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// How an account is called in paths: by its handle if it has one.
pub(super) fn name(profile: &ProfileView) -> &str {
    if &*profile.handle == INVALID_HANDLE { &profile.did } else { &profile.handle }
}

/// `/profile/{actor}`
pub(super) fn account(name: &str) -> String {
    format!("/profile/{}", part(name))
}

/// `/profile/{actor}/post/{rkey}`
pub(super) fn post(author: &ProfileView, uri: &str) -> String {
    post_of(name(author), uri)
}

fn post_of(author: &str, uri: &str) -> String {
    let rkey = uri.rsplit('/').next().unwrap_or_default();
    format!("{}/post/{}", account(author), part(rkey))
}

/// `/hashtag/{tag}`
pub(super) fn tag(tag: &str) -> String {
    format!("/hashtag/{}", part(tag))
}

/// A page of the sitemap.
pub(super) fn sitemap(date: &str, number: u32) -> String {
    format!("/external/sitemap/users/{}/{number}.xml.gz", part(date))
}

/// A path with parameters.
pub(super) fn with(path: &str, parameters: &[(&str, &str)]) -> String {
    let given = parameters.iter().filter(|(_, value)| !value.is_empty());
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A link that leads away, if it is one of the web.
pub(super) fn away(uri: &str) -> Option<Url> {
    Url::parse(uri).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// What the links of readers lead to is not this server's word (HTML, section 4.6.7), and must not learn of this page.
pub(super) const REL: &str = "nofollow noopener ugc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_so_that_they_are_read_back() {
        assert_eq!(account("did:plc:abc"), "/profile/did:plc:abc");
        assert_eq!(tag("café/\"<x> 50%"), "/hashtag/caf%C3%A9%2F%22%3Cx%3E%2050%25");
        let uri = "at://did:plc:abc/app.bsky.feed.post/3k~a:b";
        assert_eq!(post_of("a.example", uri), "/profile/a.example/post/3k~a:b");
        assert_eq!(with("/search", &[("q", "a b&c=d"), ("cursor", "")]), "/search?q=a+b%26c%3Dd");
        assert_eq!(with("/search", &[]), "/search");
    }

    #[test]
    fn only_the_web_is_linked() {
        for bad in ["javascript:alert(1)", "data:text/html,x", "ftp://a.example", "/x", "a", ""] {
            assert_eq!(away(bad), None, "{bad}");
        }
        assert!(away("HTTPS://a.example/x").is_some());
    }
}
