//! `app.bsky.embed.*#view`: what a post shows besides its text.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::feedgen::{GeneratorView, generator};
use super::graph::{ListView, StarterPackViewBasic, list, starter_pack_basic};
use super::image_url;
use super::labeler::{LabelerView, labeler};
use super::post::BlockedAuthor;
use super::site::{Extras, overlay};
use crate::hydrate::collections as c;
use crate::hydrate::post_flags;
use crate::hydrate::post_record::{Embed, EmbedImage, EmbedMedia, RecordRef};
use crate::hydrate::post_state::{Post, PostState};
use crate::hydrate::{ImagePreset, PostId};
use crate::moderation::ShownLabel;
use crate::syntax::datetime::Time;

/// The view of an embed.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum EmbedView<'a> {
    /// Pictures, a video or a link.
    Media(MediaView<'a>),
    /// A record.
    Record(RecordEmbedView<'a>),
    /// Both.
    RecordWithMedia(RecordWithMediaView<'a>),
}

/// An embed without a record.
#[derive(Debug, Serialize)]
#[serde(tag = "$type")]
pub enum MediaView<'a> {
    /// Up to four pictures.
    #[serde(rename = "app.bsky.embed.images#view")]
    Images {
        /// The pictures.
        images: Vec<ImageView<'a>>,
    },
    /// Up to ten pictures.
    #[serde(rename = "app.bsky.embed.gallery#view")]
    Gallery {
        /// The pictures.
        items: Vec<GalleryImageView<'a>>,
    },
    /// A video.
    #[serde(rename = "app.bsky.embed.video#view")]
    Video(VideoView<'a>),
    /// A link.
    #[serde(rename = "app.bsky.embed.external#view")]
    External {
        /// The link.
        external: Box<ExternalView<'a>>,
    },
}

/// `app.bsky.embed.images#viewImage`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct ImageView<'a> {
    pub thumb: String,
    pub fullsize: String,
    pub alt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect_ratio: Option<&'a RawValue>,
}

/// `app.bsky.embed.gallery#viewImage`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct GalleryImageView<'a> {
    #[serde(rename = "$type")]
    tag: &'static str,
    pub thumbnail: String,
    pub fullsize: String,
    pub alt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect_ratio: Option<&'a RawValue>,
}

/// `app.bsky.embed.video#view`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct VideoView<'a> {
    pub cid: &'a str,
    pub playlist: String,
    pub thumbnail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect_ratio: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presentation: Option<&'a str>,
}

/// `app.bsky.embed.external#viewExternal`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct ExternalView<'a> {
    pub uri: &'a str,
    pub title: Cow<'a, str>,
    pub description: Cow<'a, str>,
    /// The picture, if the document has one too: the reference has it in this place then.
    #[serde(rename = "thumb", skip_serializing_if = "Option::is_none")]
    thumb_or_cover: Option<String>,
    #[serde(flatten)]
    extras: Option<Extras>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thumb: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub associated_refs: Option<&'a RawValue>,
}

impl ExternalView<'_> {
    /// Its picture.
    #[must_use]
    pub fn picture(&self) -> Option<&str> {
        self.thumb_or_cover.as_deref().or(self.thumb.as_deref())
    }
}

/// `app.bsky.embed.record#view`; without `$type` inside of `recordWithMedia`, unless something stands in.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct RecordEmbedView<'a> {
    #[serde(rename = "$type", skip_serializing_if = "Option::is_none")]
    tag: Option<&'static str>,
    pub record: Box<EmbeddedRecord<'a>>,
}

/// `app.bsky.embed.recordWithMedia#view`
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct RecordWithMediaView<'a> {
    #[serde(rename = "$type")]
    tag: &'static str,
    pub media: MediaView<'a>,
    pub record: RecordEmbedView<'a>,
}

/// What an embedded record shows.
#[derive(Debug, Serialize)]
#[serde(tag = "$type")]
pub enum EmbeddedRecord<'a> {
    /// A post.
    #[serde(rename = "app.bsky.embed.record#viewRecord")]
    Post(ViewRecord<'a>),
    /// It is not there.
    #[serde(rename = "app.bsky.embed.record#viewNotFound", rename_all = "camelCase")]
    NotFound {
        /// Which record.
        uri: &'a str,
        /// True.
        not_found: bool,
    },
    /// There is a block.
    #[serde(rename = "app.bsky.embed.record#viewBlocked")]
    Blocked {
        /// Which record.
        uri: &'a str,
        /// True.
        blocked: bool,
        /// Its owner.
        author: BlockedAuthor<'a>,
    },
    /// Its author took it out of this post, or does not allow quotes.
    #[serde(rename = "app.bsky.embed.record#viewDetached")]
    Detached {
        /// Which record.
        uri: &'a str,
        /// True.
        detached: bool,
    },
    /// A feed generator.
    #[serde(rename = "app.bsky.feed.defs#generatorView")]
    Generator(GeneratorView),
    /// A list.
    #[serde(rename = "app.bsky.graph.defs#listView")]
    List(ListView),
    /// A labeler.
    #[serde(rename = "app.bsky.labeler.defs#labelerView")]
    Labeler(Box<LabelerView>),
    /// A starter pack.
    #[serde(rename = "app.bsky.graph.defs#starterPackViewBasic")]
    StarterPack(StarterPackViewBasic),
}

/// `app.bsky.embed.record#viewRecord`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are the lexicon's")]
pub struct ViewRecord<'a> {
    /// Which post; clients have the URI.
    #[serde(skip)]
    pub id: PostId,
    pub uri: &'a str,
    pub cid: &'a str,
    author: Arc<RawValue>,
    pub value: &'a RawValue,
    pub labels: Vec<ShownLabel>,
    pub like_count: u64,
    pub reply_count: u64,
    pub repost_count: u64,
    pub quote_count: u64,
    pub indexed_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embeds: Option<Vec<EmbedView<'a>>>,
}

/// Where the view of an embedded record has its `$type`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TypeTag {
    Always,
    /// Only where something stands in for the record: it is gone, blocked or detached.
    OnStandIns,
}

impl PostState {
    /// The view of a post's embed. `depth` is one for the embed of a post that is not embedded itself.
    pub(super) fn embed_view<'a>(
        &'a self,
        post: &'a Post,
        embed: &'a Embed,
        depth: u8,
    ) -> Option<EmbedView<'a>> {
        Some(match embed {
            Embed::Media(media) => EmbedView::Media(self.media_view(post, media)),
            Embed::Record(record) => {
                EmbedView::Record(self.record_view(post, record, depth, TypeTag::Always))
            }
            Embed::RecordWithMedia(record, media) => {
                EmbedView::RecordWithMedia(RecordWithMediaView {
                    tag: "app.bsky.embed.recordWithMedia#view",
                    media: self.media_view(post, media.as_ref()?),
                    record: self.record_view(post, record, depth, TypeTag::OnStandIns),
                })
            }
        })
    }

    fn media_view<'a>(&'a self, post: &'a Post, media: &'a EmbedMedia) -> MediaView<'a> {
        let did = &*post.record.did;
        let thumb =
            |image: &EmbedImage| image_url(&self.base, ImagePreset::FeedThumbnail, did, &image.cid);
        let fullsize =
            |image: &EmbedImage| image_url(&self.base, ImagePreset::FeedFullsize, did, &image.cid);
        match media {
            EmbedMedia::Images(images) => {
                let view = |image: &'a EmbedImage| ImageView {
                    thumb: thumb(image),
                    fullsize: fullsize(image),
                    alt: &image.alt,
                    aspect_ratio: image.aspect_ratio.as_deref(),
                };
                MediaView::Images { images: images.iter().map(view).collect() }
            }
            EmbedMedia::Gallery(items) => {
                let view = |image: &'a EmbedImage| GalleryImageView {
                    tag: "app.bsky.embed.gallery#viewImage",
                    thumbnail: thumb(image),
                    fullsize: fullsize(image),
                    alt: &image.alt,
                    aspect_ratio: image.aspect_ratio.as_deref(),
                };
                MediaView::Gallery { items: items.iter().map(view).collect() }
            }
            EmbedMedia::Video { cid, alt, aspect_ratio, presentation } => {
                // As `encodeURIComponent` does: of the characters of DIDs and CIDs it escapes only these two.
                let did = did.replace('%', "%25").replace(':', "%3A");
                let base = format!("{}/{did}/{cid}", self.base.videos);
                MediaView::Video(VideoView {
                    cid,
                    playlist: format!("{base}/playlist.m3u8"),
                    thumbnail: format!("{base}/thumbnail.jpg"),
                    alt: alt.as_deref(),
                    aspect_ratio: aspect_ratio.as_deref(),
                    presentation: presentation.as_deref(),
                })
            }
            EmbedMedia::External { uri, title, description, thumb, associated_refs, .. } => {
                let thumb = thumb
                    .as_ref()
                    .map(|cid| image_url(&self.base, ImagePreset::FeedThumbnail, did, cid));
                let mut external = ExternalView {
                    uri,
                    title: Cow::Borrowed(title),
                    description: Cow::Borrowed(description),
                    thumb_or_cover: None,
                    extras: None,
                    thumb,
                    associated_refs: associated_refs.as_deref(),
                };
                let pair = self.sites.get(&post.id);
                if let Some(site) = pair.and_then(|pair| overlay(&self.base, *pair, uri)) {
                    external.title = Cow::Owned(site.title);
                    external.description = Cow::Owned(site.description);
                    if site.thumb.is_some() {
                        external.thumb_or_cover = external.thumb.take().or(site.thumb);
                    }
                    external.extras = Some(site.extras);
                }
                MediaView::External { external: Box::new(external) }
            }
        }
    }

    fn record_view<'a>(
        &'a self,
        post: &'a Post,
        r: &'a RecordRef,
        depth: u8,
        tag: TypeTag,
    ) -> RecordEmbedView<'a> {
        let record = self.embedded_view(post, r, depth);
        let stands_in = matches!(
            record,
            EmbeddedRecord::NotFound { .. }
                | EmbeddedRecord::Blocked { .. }
                | EmbeddedRecord::Detached { .. }
        );
        RecordEmbedView {
            tag: (tag == TypeTag::Always || stands_in).then_some("app.bsky.embed.record#view"),
            record: Box::new(record),
        }
    }

    fn embedded_view<'a>(
        &'a self,
        post: &'a Post,
        r: &'a RecordRef,
        depth: u8,
    ) -> EmbeddedRecord<'a> {
        let uri = &*r.uri;
        let third_party =
            !self.base.ctx.include_3p_blocks && self.blocks.get(&post.id).is_some_and(|b| b.embed);
        if third_party || r.actor.is_some_and(|a| self.base.viewer_block_exists(a)) {
            return EmbeddedRecord::Blocked { uri, blocked: true, author: self.blocked_author(r) };
        }
        if post.has(post_flags::VIOLATES_EMBEDDING) {
            return EmbeddedRecord::Detached { uri, detached: true };
        }
        let found = match r.coll {
            Some(c::POST | c::COMMUNITY_POST) => self.quoted_view(post, r, depth),
            Some(c::GENERATOR) => {
                r.record().and_then(|id| generator(&self.base, id)).map(EmbeddedRecord::Generator)
            }
            Some(c::LIST) => {
                r.record().and_then(|id| list(&self.base, id)).map(EmbeddedRecord::List)
            }
            Some(c::LABELER) => r
                .actor
                .and_then(|a| labeler(&self.base, a))
                .map(Box::new)
                .map(EmbeddedRecord::Labeler),
            Some(c::STARTERPACK) => r
                .record()
                .and_then(|id| starter_pack_basic(&self.base, id))
                .map(EmbeddedRecord::StarterPack),
            _ => None,
        };
        found.unwrap_or(EmbeddedRecord::NotFound { uri, not_found: true })
    }

    fn quoted_view<'a>(
        &'a self,
        post: &'a Post,
        r: &'a RecordRef,
        depth: u8,
    ) -> Option<EmbeddedRecord<'a>> {
        let id = r.post()?;
        let view = self.post_view(id, depth)?;
        let gate = self.postgates.get(&id);
        if gate.is_some_and(|g| g.detached.iter().any(|uri| **uri == *post.record.uri)) {
            return Some(EmbeddedRecord::Detached { uri: &r.uri, detached: true });
        }
        Some(EmbeddedRecord::Post(ViewRecord {
            id,
            uri: view.uri,
            cid: view.cid,
            author: view.author,
            value: view.record,
            labels: view.labels,
            like_count: view.like_count,
            reply_count: view.reply_count,
            repost_count: view.repost_count,
            quote_count: view.quote_count,
            indexed_at: view.indexed_at,
            embeds: (depth <= 1).then(|| view.embed.into_iter().map(|e| *e).collect()),
        }))
    }
}
