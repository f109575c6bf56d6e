//! Paths: `/{preset}/plain/{did}/{cid}[@jpeg|@webp]` below `/img`, and `{did}/{cid}` below `/blob/`.

use crate::syntax::Did;
use crate::syntax::cid::{self, Cid};

/// Goes up when the same blob gives other bytes: what is in caches under the old number is not found any more.
pub(super) const VERSION: u32 = 3;

/// A size. Smaller avatars and banners are enlarged, as in the reference. Pictures of posts are not; and their thumbnail,
/// which is what feeds load, is the smaller of the two: in the reference it is the larger one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Profile and list pictures, 1000 x 1000.
    Avatar,
    /// The same in small, 128 x 128; the reference's service has it, its source does not.
    AvatarThumbnail,
    /// Profile banners, 3000 x 1000.
    Banner,
    /// Pictures in a feed, within 1000 x 1000.
    FeedThumbnail,
    /// Pictures on their own, within 2000 x 2000.
    FeedFullsize,
}

/// How a picture comes to its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// Fills it; what is over is cut off on both sides.
    Cover,
    /// Fits into it, keeping its proportions, and is never enlarged.
    Inside,
}

impl Preset {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "avatar" => Self::Avatar,
            "avatar_thumbnail" => Self::AvatarThumbnail,
            "banner" => Self::Banner,
            "feed_thumbnail" => Self::FeedThumbnail,
            "feed_fullsize" => Self::FeedFullsize,
            _ => return None,
        })
    }

    /// The name in the path.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avatar => "avatar",
            Self::AvatarThumbnail => "avatar_thumbnail",
            Self::Banner => "banner",
            Self::FeedThumbnail => "feed_thumbnail",
            Self::FeedFullsize => "feed_fullsize",
        }
    }

    /// Width and height.
    pub(super) fn size(self) -> (u32, u32) {
        match self {
            Self::Avatar | Self::FeedThumbnail => (1000, 1000),
            Self::AvatarThumbnail => (128, 128),
            Self::Banner => (3000, 1000),
            Self::FeedFullsize => (2000, 2000),
        }
    }

    /// The size that a picture of this size (as it is shown) gets.
    pub(super) fn target(self, (width, height): (u32, u32)) -> (u32, u32) {
        let (max_width, max_height) = self.size();
        match self.fit() {
            Fit::Cover => (max_width, max_height),
            Fit::Inside => {
                let scale = (f64::from(max_width) / f64::from(width))
                    .min(f64::from(max_height) / f64::from(height))
                    .min(1.0);
                let scaled = |n: u32, max| ((f64::from(n) * scale).round() as u32).clamp(1, max);
                (scaled(width, max_width), scaled(height, max_height))
            }
        }
    }

    pub(super) fn fit(self) -> Fit {
        match self {
            Self::Avatar | Self::AvatarThumbnail | Self::Banner => Fit::Cover,
            Self::FeedThumbnail | Self::FeedFullsize => Fit::Inside,
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// `@jpeg`
    Jpeg,
    /// `@webp`, and where the path names no format.
    Webp,
}

impl OutputFormat {
    /// The name in the path.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Webp => "webp",
        }
    }

    /// The media type.
    #[must_use]
    pub fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }
}

/// One image in one size and format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRequest {
    /// The size.
    pub preset: Preset,
    /// Whose blob it is.
    pub did: Did,
    /// The blob.
    pub cid: Cid,
    /// What is sent.
    pub format: OutputFormat,
}

/// A path that names no image, in the reference's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Not of the form above.
    #[error("Invalid path")]
    Form,
    /// A size that there is not.
    #[error("Invalid path: bad preset")]
    Preset,
    /// Neither `@jpeg` nor `@webp`.
    #[error("Invalid path: bad format")]
    Format,
    /// Not a DID.
    #[error("Invalid did")]
    Did,
    /// Not the CID of a blob.
    #[error("Invalid cid")]
    Cid,
}

impl ImageRequest {
    /// Reads what comes after `/img`.
    ///
    /// # Errors
    /// The first thing that is wrong with it, in the reference's order.
    pub fn parse(path: &str) -> Result<Self, BadPath> {
        let (preset, rest) =
            path.strip_prefix('/').and_then(|p| p.split_once("/plain/")).ok_or(BadPath::Form)?;
        let (did, rest) = rest.split_once('/').ok_or(BadPath::Form)?;
        if preset.is_empty() || did.is_empty() || rest.is_empty() {
            return Err(BadPath::Form);
        }
        let preset = Preset::parse(preset).ok_or(BadPath::Preset)?;
        let (cid, format) = match rest.split_once('@') {
            None => (rest, OutputFormat::Webp),
            Some((cid, "jpeg")) => (cid, OutputFormat::Jpeg),
            Some((cid, "webp")) => (cid, OutputFormat::Webp),
            Some(_) => return Err(BadPath::Format),
        };
        let (did, cid) = parse_blob(did, cid)?;
        Ok(Self { preset, did, cid, format })
    }

    /// A strong validator: an image is always the same bytes until this folder's codecs change.
    #[must_use]
    pub fn etag(&self) -> String {
        let (preset, format) = (self.preset.name(), self.format.name());
        format!("\"{}-{preset}-{format}-{}\"", cid::to_base32(&self.cid), VERSION)
    }
}

/// Reads the two parts of a `/blob/` path.
///
/// # Errors
/// [`BadPath::Did`], [`BadPath::Cid`].
pub fn parse_blob(did: &str, cid: &str) -> Result<(Did, Cid), BadPath> {
    let did = Did::parse(did).map_err(|_| BadPath::Did)?;
    if !did.as_str().starts_with("did:plc:") && !did.as_str().starts_with("did:web:") {
        return Err(BadPath::Did);
    }
    let cid = cid::parse_strict(cid).ok_or(BadPath::Cid)?;
    Ok((did, cid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafkreig77vqcdozl2wyk6z3cscaj5q5fggi53aoh64fewkdiri3cdauyn4";

    #[test]
    fn paths() {
        let did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
        let good = [
            (format!("/avatar/plain/{did}/{CID}"), Preset::Avatar, OutputFormat::Webp),
            (
                format!("/avatar_thumbnail/plain/{did}/{CID}@jpeg"),
                Preset::AvatarThumbnail,
                OutputFormat::Jpeg,
            ),
            (format!("/banner/plain/{did}/{CID}@webp"), Preset::Banner, OutputFormat::Webp),
            (
                format!("/feed_thumbnail/plain/did:web:a.example/{CID}"),
                Preset::FeedThumbnail,
                OutputFormat::Webp,
            ),
            (format!("/feed_fullsize/plain/{did}/{CID}"), Preset::FeedFullsize, OutputFormat::Webp),
        ];
        for (path, preset, format) in good {
            let request = ImageRequest::parse(&path).unwrap();
            assert_eq!((request.preset, request.format), (preset, format), "{path}");
            assert_eq!(cid::to_base32(&request.cid), CID);
            assert!(path.starts_with(&format!("/{}/plain/", preset.name())));
        }
        let bad = [
            (String::new(), BadPath::Form),
            (format!("/avatar/{did}/{CID}"), BadPath::Form),
            (format!("//plain/{did}/{CID}"), BadPath::Form),
            (format!("/avatar/plain/{did}"), BadPath::Form),
            (format!("/avatar/plain/{did}/"), BadPath::Form),
            (format!("/avatar/plain//{CID}"), BadPath::Form),
            (format!("/huge/plain/{did}/{CID}"), BadPath::Preset),
            (format!("/avatar/plain/{did}/{CID}@png"), BadPath::Format),
            (format!("/avatar/plain/{did}/{CID}@"), BadPath::Format),
            (format!("/avatar/plain/{did}/{CID}@jpeg@webp"), BadPath::Format),
            (format!("/avatar/plain/nobody/{CID}"), BadPath::Did),
            (format!("/avatar/plain/did:nope:x/{CID}"), BadPath::Did),
            (format!("/avatar/plain/{did}/../../etc/passwd"), BadPath::Cid),
            (format!("/avatar/plain/{did}/{}", CID.to_uppercase()), BadPath::Cid),
            (format!("/avatar/plain/{did}/{CID}/"), BadPath::Cid),
        ];
        for (path, expect) in bad {
            assert_eq!(ImageRequest::parse(&path), Err(expect), "{path}");
        }
    }
}
