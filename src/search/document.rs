//! Which parts of a record are searched: what is indexed of it, and what a candidate is verified on.
//!
//! Knows the lexicons of posts, profiles, lists, starter packs and feed generators. Nothing is copied: the parts are those
//! of the record, and whoever indexes or verifies makes terms of them.

use ipld_core::ipld::Ipld;
use smallvec::SmallVec;

use super::url_form;
use crate::repo::fields::{field, kind, list, ref_uri, text};

/// Links of a post that are looked at, tags, mentions: no post that anybody wrote has more.
const MOST: usize = 64;

/// What is searched of a post.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PostDocument<'a> {
    /// `text`.
    pub body: &'a str,
    /// Alternative texts of pictures and video.
    pub alts: SmallVec<[&'a str; 4]>,
    /// Title and description of the link's card.
    pub card: SmallVec<[&'a str; 2]>,
    /// Tags of facets, then `tags`; as written.
    pub tags: SmallVec<[&'a str; 8]>,
    /// `langs`.
    pub langs: SmallVec<[&'a str; 3]>,
    /// URLs of facets and of the card; as written.
    pub links: SmallVec<[&'a str; 4]>,
    /// DIDs that facets mention.
    pub mentions: SmallVec<[&'a str; 4]>,
    /// The record that it quotes.
    pub quote: Option<&'a str>,
    /// Its parent.
    pub reply_parent: Option<&'a str>,
    /// The first post of its thread.
    pub reply_root: Option<&'a str>,
    /// It has pictures.
    pub image: bool,
    /// It has a video.
    pub video: bool,
}

/// What a post has or is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flag {
    /// Pictures or a video.
    Media,
    /// Pictures.
    Image,
    /// A video.
    Video,
    /// A link, in the text or on a card.
    Link,
    /// A quoted record.
    Quote,
    /// It replies.
    Reply,
    /// A text in place of a picture or a video.
    Alt,
}

impl Flag {
    /// All.
    pub const ALL: [Self; 7] =
        [Self::Media, Self::Image, Self::Video, Self::Link, Self::Quote, Self::Reply, Self::Alt];

    /// Its term.
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::Image => "image",
            Self::Video => "video",
            Self::Link => "link",
            Self::Quote => "quote",
            Self::Reply => "reply",
            Self::Alt => "alt",
        }
    }
}

impl<'a> PostDocument<'a> {
    /// The parts of a post record.
    #[must_use]
    pub fn of(record: &'a Ipld) -> Self {
        let mut out = Self { body: text(record, "text").unwrap_or_default(), ..Self::default() };
        for feature in list(record, "facets").iter().flat_map(|facet| list(facet, "features")) {
            match kind(feature) {
                "app.bsky.richtext.facet#tag" => push(&mut out.tags, text(feature, "tag")),
                "app.bsky.richtext.facet#link" => push(&mut out.links, text(feature, "uri")),
                "app.bsky.richtext.facet#mention" => push(&mut out.mentions, text(feature, "did")),
                _ => {}
            }
        }
        strings(record, "tags").for_each(|tag| push(&mut out.tags, Some(tag)));
        strings(record, "langs").for_each(|lang| push(&mut out.langs, Some(lang)));
        if let Some(reply) = field(record, "reply") {
            out.reply_parent = ref_uri(reply, "parent");
            out.reply_root = ref_uri(reply, "root");
        }
        if let Some(embed) = field(record, "embed") {
            out.embed(embed);
        }
        out
    }

    fn embed(&mut self, embed: &'a Ipld) {
        match kind(embed) {
            "app.bsky.embed.record" => self.quote = ref_uri(embed, "record"),
            "app.bsky.embed.recordWithMedia" => {
                self.quote = field(embed, "record").and_then(|inner| ref_uri(inner, "record"));
                if let Some(media) = field(embed, "media") {
                    self.media(media);
                }
            }
            _ => self.media(embed),
        }
    }

    fn media(&mut self, media: &'a Ipld) {
        match kind(media) {
            "app.bsky.embed.images" => self.images(list(media, "images")),
            "app.bsky.embed.gallery" => self.images(list(media, "items")),
            "app.bsky.embed.video" | "community.blacksky.embed.video" => {
                self.video = true;
                self.alt(media);
            }
            "app.bsky.embed.external" => {
                let Some(card) = field(media, "external") else { return };
                push(&mut self.links, text(card, "uri"));
                for part in ["title", "description"] {
                    self.card.extend(text(card, part).filter(|text| !text.is_empty()));
                }
            }
            _ => {}
        }
    }

    fn images(&mut self, images: &'a [Ipld]) {
        self.image |= !images.is_empty();
        images.iter().for_each(|image| self.alt(image));
    }

    fn alt(&mut self, of: &'a Ipld) {
        push(&mut self.alts, text(of, "alt").filter(|alt| !alt.trim().is_empty()));
    }

    /// Everything beside the body that words are looked for in.
    pub fn more(&self) -> impl Iterator<Item = &'a str> {
        self.alts.iter().chain(&self.card).copied()
    }

    /// The body and everything beside it.
    pub fn texts(&self) -> impl Iterator<Item = &'a str> {
        std::iter::once(self.body).chain(self.more())
    }

    /// Whether it has or is this.
    #[must_use]
    pub fn has(&self, flag: Flag) -> bool {
        match flag {
            Flag::Media => self.image || self.video,
            Flag::Image => self.image,
            Flag::Video => self.video,
            Flag::Link => !self.links.is_empty(),
            Flag::Quote => self.quote.is_some(),
            Flag::Reply => self.reply_parent.is_some(),
            Flag::Alt => !self.alts.is_empty(),
        }
    }

    /// The flags that it has.
    pub fn flags(&self) -> impl Iterator<Item = Flag> {
        Flag::ALL.into_iter().filter(|flag| self.has(*flag))
    }

    /// Calls `found` with the terms of its languages: each whole, and its primary subtag; in lower case.
    pub fn lang_terms(&self, found: &mut impl FnMut(&str)) {
        for lang in &self.langs {
            let whole = lang.to_ascii_lowercase();
            let primary = super::language::primary(&whole);
            found(primary);
            if primary != whole {
                found(&whole);
            }
        }
    }

    /// The forms of its links by which they are equal.
    pub fn urls(&self) -> impl Iterator<Item = url_form::UrlForm> {
        self.links.iter().filter_map(|link| url_form::UrlForm::parse(link))
    }
}

/// What is searched of an account beside its handle.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ProfileDocument<'a> {
    /// `displayName`.
    pub name: &'a str,
    /// `description`.
    pub bio: &'a str,
}

impl<'a> ProfileDocument<'a> {
    /// The parts of a profile record.
    #[must_use]
    pub fn of(record: &'a Ipld) -> Self {
        let part = |key| text(record, key).unwrap_or_default();
        Self { name: part("displayName"), bio: part("description") }
    }
}

/// What is searched of a starter pack, a list or a feed generator.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ThingDocument<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What it says of itself.
    pub description: &'a str,
}

impl<'a> ThingDocument<'a> {
    /// The parts of such a record; a feed generator calls its name otherwise.
    #[must_use]
    pub fn of(record: &'a Ipld) -> Self {
        let name = text(record, "name").or_else(|| text(record, "displayName"));
        Self {
            name: name.unwrap_or_default(),
            description: text(record, "description").unwrap_or_default(),
        }
    }
}

fn push<'a, A: smallvec::Array<Item = &'a str>>(to: &mut SmallVec<A>, text: Option<&'a str>) {
    if to.len() < MOST {
        to.extend(text);
    }
}

fn strings<'a>(record: &'a Ipld, key: &str) -> impl Iterator<Item = &'a str> {
    list(record, key).iter().filter_map(|value| match value {
        Ipld::String(text) => Some(text.as_str()),
        _ => None,
    })
}
