//! URLs of images (`app.bsky.actor.defs`, `app.bsky.embed.images#viewImage`).

/// The sizes of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePreset {
    /// Profile and list pictures.
    Avatar,
    /// Profile banners.
    Banner,
    /// Pictures in a feed.
    FeedThumbnail,
    /// Pictures on their own.
    FeedFullsize,
}

impl ImagePreset {
    /// The name in the path.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avatar => "avatar",
            Self::Banner => "banner",
            Self::FeedThumbnail => "feed_thumbnail",
            Self::FeedFullsize => "feed_fullsize",
        }
    }

    /// `{images}/{preset}/plain/{did}/{cid}`
    #[must_use]
    pub fn url(self, images: &str, did: &str, cid: &str) -> String {
        [images, "/", self.name(), "/plain/", did, "/", cid].concat()
    }
}
