//! What `site.standard.*` records add to the view of a link: title, dates, reading time, where it was published.
//!
//! They count only if they stand for the link: the publication's address and the document's path make its URL.

use std::sync::Arc;

use serde::Serialize;
use url::Url;

use super::actor::{ProfileView, profile_basic};
use super::{image_url, labels};
use crate::hydrate::post_state::SitePair;
use crate::hydrate::{HydrationState, ImagePreset, ShownRecord, Target};
use crate::moderation::ShownLabel;
use crate::repo::fields;

const WORDS_PER_MINUTE: usize = 200;
/// Hosts where everything below a document's URL is its author's too.
const SUBPATH_HOSTS: [&str; 3] = ["pckt.blog", "leaflet.pub", "offprint.app"];

/// The fields that come from the records.
#[derive(Debug, Serialize)]
pub struct SiteOverlay {
    /// The link's title.
    pub title: String,
    /// The link's description, empty if there is none.
    pub description: String,
    /// The document's cover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumb: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extras: Extras,
}

/// The fields that posts cannot have themselves.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Extras {
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reading_time: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<ShownLabel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SiteSource>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    associated_profiles: Vec<ProfileView>,
}

/// `app.bsky.embed.external#viewExternalSource`
#[derive(Debug, Serialize)]
struct SiteSource {
    #[serde(rename = "$type")]
    tag: &'static str,
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<String>,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    theme: Option<Theme>,
}

/// `app.bsky.embed.external#viewExternalSourceTheme`
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Theme {
    #[serde(rename = "backgroundRGB", skip_serializing_if = "Option::is_none")]
    background: Option<Color>,
    #[serde(rename = "foregroundRGB", skip_serializing_if = "Option::is_none")]
    foreground: Option<Color>,
    #[serde(rename = "accentRGB", skip_serializing_if = "Option::is_none")]
    accent: Option<Color>,
    #[serde(rename = "accentForegroundRGB", skip_serializing_if = "Option::is_none")]
    accent_foreground: Option<Color>,
}

/// `app.bsky.embed.external#colorRGB`
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Color {
    #[serde(rename = "$type")]
    tag: &'static str,
    r: i64,
    g: i64,
    b: i64,
}

/// What the records add to the view of `url`; `None` if they do not stand for it or have no title.
#[must_use]
pub fn overlay(state: &HydrationState, pair: SitePair, url: &str) -> Option<SiteOverlay> {
    let document = pair.document.and_then(|id| state.record(id));
    let publication = pair.publication.and_then(|id| state.record(id));
    if !stands_for(document, publication, url) {
        return None;
    }
    // Title and description come from the same record.
    let (titled, key) = match document {
        Some(document) => (document, "title"),
        None => (publication?, "name"),
    };
    let title = fields::string(&titled.value, key).filter(|title| !title.is_empty())?;
    let of_document = |key| document.and_then(|d| fields::string(&d.value, key));
    let body = document.and_then(|d| fields::text(&d.value, "textContent"));
    let records = [document, publication].into_iter().flatten();
    let mut owners: Vec<_> = records.clone().map(|record| record.id.actor).collect();
    owners.dedup();
    Some(SiteOverlay {
        title,
        description: fields::string(&titled.value, "description").unwrap_or_default(),
        thumb: document.and_then(|d| image(state, d, "coverImage", ImagePreset::FeedThumbnail)),
        extras: Extras {
            created_at: of_document("publishedAt"),
            updated_at: of_document("updatedAt"),
            reading_time: body.and_then(reading_time),
            labels: records.flat_map(|r| labels(state, Target::Record(r.id))).collect(),
            source: publication.map(|publication| source(state, publication)),
            associated_profiles: owners
                .into_iter()
                .filter_map(|owner| profile_basic(state, owner))
                .collect(),
        },
    })
}

fn image(
    state: &HydrationState,
    record: &ShownRecord,
    key: &str,
    preset: ImagePreset,
) -> Option<String> {
    let cid = fields::blob(&record.value, key)?;
    let owner = record.uri.strip_prefix("at://")?.split('/').next()?;
    Some(image_url(state, preset, owner, &cid))
}

fn source(state: &HydrationState, publication: &ShownRecord) -> SiteSource {
    let value = &publication.value;
    SiteSource {
        tag: "app.bsky.embed.external#viewExternalSource",
        uri: fields::string(value, "url").unwrap_or_default(),
        icon: image(state, publication, "icon", ImagePreset::Avatar),
        title: fields::string(value, "name").unwrap_or_default(),
        description: fields::string(value, "description"),
        theme: theme(publication),
    }
}

fn theme(publication: &ShownRecord) -> Option<Theme> {
    let theme = fields::field(&publication.value, "basicTheme")?;
    let color = |key: &str| {
        let color = fields::field(theme, key)
            .filter(|color| fields::kind(color) == "site.standard.theme.color#rgb")?;
        let part = |key| fields::int(color, key);
        let tag = "app.bsky.embed.external#colorRGB";
        Some(Color { tag, r: part("r")?, g: part("g")?, b: part("b")? })
    };
    let theme = Theme {
        background: color("background"),
        foreground: color("foreground"),
        accent: color("accent"),
        accent_foreground: color("accentForeground"),
    };
    (theme != Theme::default()).then_some(theme)
}

/// Minutes it takes to read a text; `None` for one without words.
fn reading_time(text: &str) -> Option<usize> {
    let words = text.split_whitespace().count();
    (words > 0).then(|| words.div_ceil(WORDS_PER_MINUTE))
}

/// Whether the records are those of the page at `url`.
fn stands_for(
    document: Option<&ShownRecord>,
    publication: Option<&ShownRecord>,
    url: &str,
) -> bool {
    let text = |record: &ShownRecord, key| fields::string(&record.value, key).unwrap_or_default();
    let Some(asked) = canonical(url) else { return false };
    match (document, publication) {
        (Some(document), _) => {
            let base = match publication {
                Some(publication) => text(publication, "url"),
                None => text(document, "site"),
            };
            canonical(&joined(&base, &text(document, "path")))
                .is_some_and(|own| is_at_or_below(&own, &asked))
        }
        (None, Some(publication)) => canonical(&text(publication, "url")) == Some(asked),
        (None, None) => false,
    }
}

/// An HTTP URL without query, fragment and trailing slash.
fn canonical(url: &str) -> Option<Arc<str>> {
    let url = Url::parse(url).ok().filter(|url| ["http", "https"].contains(&url.scheme()))?;
    let host = url.host_str()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path = url.path().strip_suffix('/').unwrap_or(url.path());
    Some(format!("{}://{host}{port}{path}", url.scheme()).into())
}

/// Unlike a relative URL, a path does not take the place of the base's own.
fn joined(base: &str, path: &str) -> String {
    if path.is_empty() {
        return base.to_owned();
    }
    let base = base.strip_suffix('/').unwrap_or(base);
    format!("{base}/{}", path.strip_prefix('/').unwrap_or(path))
}

fn is_at_or_below(own: &str, asked: &str) -> bool {
    let Some(rest) = asked.strip_prefix(own) else { return false };
    rest.is_empty() || (rest.starts_with('/') && has_subpaths(asked))
}

fn has_subpaths(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let mut host = url.host_str().unwrap_or_default().to_owned();
    if let Some(port) = url.port() {
        host.push_str(&format!(":{port}"));
    }
    SUBPATH_HOSTS.iter().any(|friendly| {
        host.strip_suffix(friendly).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_documents() {
        for (base, path, asked, expect) in [
            ("https://a.example", "/post", "https://a.example/post", true),
            ("https://a.example/blog/", "post", "https://A.example/blog/post/?utm=1#x", true),
            ("https://a.example/blog", "/post", "https://a.example/post", false),
            ("https://a.example", "/post", "https://a.example/post/more", false),
            ("https://me.leaflet.pub", "/post", "https://me.leaflet.pub/post/more", true),
            ("https://me.leaflet.pub", "/post", "https://me.leaflet.pub/post-more", false),
            ("https://notleaflet.pub", "/post", "https://notleaflet.pub/post/more", false),
            ("https://a.example", "", "http://a.example", false),
            ("https://a.example:8443", "", "https://a.example:8443/", true),
            ("https://a.example", "", "https://a.example:443/", true),
            ("ftp://a.example", "", "ftp://a.example", false),
        ] {
            let own = canonical(&joined(base, path));
            let same =
                own.zip(canonical(asked)).is_some_and(|(own, asked)| is_at_or_below(&own, &asked));
            assert_eq!(same, expect, "{base} {path} {asked}");
        }
    }

    #[test]
    fn reading_times() {
        for (words, minutes) in [(0, None), (1, Some(1)), (200, Some(1)), (201, Some(2))] {
            assert_eq!(reading_time(&"word \n".repeat(words)), minutes, "{words}");
        }
    }
}
