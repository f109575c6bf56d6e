//! A post record, read once: the parts that rules and views look at, and its JSON as it goes out.
//!
//! Knows the lexicons `app.bsky.feed.post`, `threadgate` and `postgate`; does not know the viewer. What is parsed depends
//! on the record alone, so it may be kept for as long as the record has the same CID.

use std::sync::Arc;

use ipld_core::ipld::Ipld;
use serde_json::value::RawValue;

use super::record::record_cid;
use crate::repo::dag_cbor;
use crate::repo::fields::{blob, features, field, kind, list, ref_uri, self_labels, string, text};
use crate::schema::collections::fixed;
use crate::schema::{ActorId, CollId, PostId, RecordId, Rows, Target};
use crate::store::{Reader, StoreError};
use crate::syntax::AtUriRef;

/// Pictures of a gallery that are shown; the lexicon allows twice as many.
const GALLERY_LIMIT: usize = 10;

/// A link has a document and a publication; the lexicon sets no limit.
const MAX_SITE_REFS: usize = 8;

/// A reference to a record by its AT-URI, with the store's numbers if it knows the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRef {
    /// The URI as written.
    pub uri: Arc<str>,
    /// What it names; `None` when the store has never seen it.
    pub target: Option<Target>,
    /// The owner; `None` when the store has never seen the DID, or the authority is a handle.
    pub actor: Option<ActorId>,
    /// The collection, if it is one that the index knows by name.
    pub coll: Option<CollId>,
}

impl RecordRef {
    /// Looks the parts of a URI up.
    pub fn resolve<R: Reader>(r: &R, uri: &str) -> Result<Self, StoreError> {
        let mut out = Self { uri: uri.into(), target: None, actor: None, coll: None };
        let Some(parts) = AtUriRef::parse(uri) else { return Ok(out) };
        out.coll = parts.collection.and_then(fixed);
        out.actor = r.actor_id(parts.authority)?;
        if parts.rkey.is_some() && out.actor.is_some() {
            out.target = r.target(uri)?;
        }
        Ok(out)
    }

    /// The post, if it names one.
    #[must_use]
    pub fn post(&self) -> Option<PostId> {
        match self.target {
            Some(Target::Post(p)) => Some(p),
            _ => None,
        }
    }

    /// The record that is not a post, if it names one.
    #[must_use]
    pub fn record(&self) -> Option<RecordId> {
        match self.target {
            Some(Target::Record(r)) => Some(r),
            _ => None,
        }
    }

    /// The authority as written.
    #[must_use]
    pub fn authority(&self) -> &str {
        let rest = self.uri.strip_prefix("at://").unwrap_or(&self.uri);
        rest.split('/').next().unwrap_or(rest)
    }
}

/// `reply` of a post.
#[derive(Debug, Clone)]
pub struct ReplyRefs {
    /// The first post of the thread.
    pub root: RecordRef,
    /// The post replied to.
    pub parent: RecordRef,
}

/// One picture of an images or gallery embed.
#[derive(Debug, Clone)]
pub struct EmbedImage {
    /// The blob's CID.
    pub cid: String,
    /// Alternative text.
    pub alt: String,
    /// `aspectRatio` as written.
    pub aspect_ratio: Option<Box<RawValue>>,
}

/// An embed without a record.
#[derive(Debug, Clone)]
pub enum EmbedMedia {
    /// `app.bsky.embed.images`
    Images(Vec<EmbedImage>),
    /// `app.bsky.embed.gallery`; items of unknown types are left out.
    Gallery(Vec<EmbedImage>),
    /// `app.bsky.embed.video`
    Video {
        /// The blob's CID.
        cid: String,
        /// Alternative text.
        alt: Option<String>,
        /// `aspectRatio` as written.
        aspect_ratio: Option<Box<RawValue>>,
        /// `presentation`
        presentation: Option<String>,
    },
    /// `app.bsky.embed.external`
    External {
        /// The link.
        uri: String,
        /// Its title.
        title: String,
        /// Its description.
        description: String,
        /// The thumbnail's CID.
        thumb: Option<String>,
        /// `associatedRefs` as written.
        associated_refs: Option<Box<RawValue>>,
        /// Those of them that are `site.standard.*` records: URI and CID.
        site_refs: Vec<(String, String)>,
    },
}

/// `embed` of a post; unknown types are none.
#[derive(Debug, Clone)]
pub enum Embed {
    /// Pictures, a video or a link.
    Media(EmbedMedia),
    /// `app.bsky.embed.record`
    Record(RecordRef),
    /// `app.bsky.embed.recordWithMedia`; media of an unknown type makes the whole embed invisible, but it still
    /// quotes.
    RecordWithMedia(RecordRef, Option<EmbedMedia>),
}

impl Embed {
    /// The record in it.
    #[must_use]
    pub fn record(&self) -> Option<&RecordRef> {
        match self {
            Self::Media(_) => None,
            Self::Record(r) | Self::RecordWithMedia(r, _) => Some(r),
        }
    }

    /// The `site.standard.*` records that a link refers to: URI and CID.
    #[must_use]
    pub fn site_refs(&self) -> &[(String, String)] {
        match self {
            Self::Media(EmbedMedia::External { site_refs, .. })
            | Self::RecordWithMedia(_, Some(EmbedMedia::External { site_refs, .. })) => site_refs,
            _ => &[],
        }
    }
}

/// The parts of a post record.
#[derive(Debug)]
pub struct PostRecord {
    /// The post's URI.
    pub uri: Arc<str>,
    /// The author's DID.
    pub did: Arc<str>,
    /// The record's CID.
    pub cid: String,
    /// The JSON, whole.
    pub json: Box<RawValue>,
    /// `text` is a single pushpin: kept out of the way in threads.
    pub only_pushpin: bool,
    /// `createdAt`, as written.
    pub created_at: String,
    /// What it replies to.
    pub reply: Option<ReplyRefs>,
    /// What it embeds.
    pub embed: Option<Embed>,
    /// Whom facets mention.
    pub mentions: Vec<ActorId>,
    /// Values of `labels`.
    pub self_labels: Vec<String>,
}

/// The JSON text of a value.
#[must_use]
pub fn raw_json(value: &Ipld) -> Box<RawValue> {
    let mut out = Vec::with_capacity(256);
    dag_cbor::write_json(value, &mut out);
    String::from_utf8(out)
        .ok()
        .and_then(|text| RawValue::from_string(text).ok())
        // `write_json` always writes valid JSON. Should it ever not, null keeps the rest of the answer readable.
        .unwrap_or_else(|| RawValue::NULL.to_owned())
}

fn raw(value: &Ipld, key: &str) -> Option<Box<RawValue>> {
    field(value, key).map(raw_json)
}

impl PostRecord {
    /// Reads the parts.
    pub fn parse<R: Reader>(
        r: &R,
        id: PostId,
        record: &Ipld,
        digest: &[u8; 32],
    ) -> Result<Self, StoreError> {
        Ok(Self {
            uri: r.post_uri(id)?.into(),
            did: r.did(id.author)?,
            cid: record_cid(digest),
            json: raw_json(record),
            only_pushpin: text(record, "text").is_some_and(|t| t.trim() == "📌"),
            created_at: text(record, "createdAt").unwrap_or_default().to_owned(),
            reply: reply(r, record)?,
            embed: match field(record, "embed") {
                Some(e) => embed(r, e)?,
                None => None,
            },
            mentions: mentions(r, record)?,
            self_labels: self_labels(record),
        })
    }
}

impl PostRecord {
    /// Bytes of memory that it takes: its JSON, and parts that are kept beside.
    pub(super) fn memory(&self) -> usize {
        2 * self.json.get().len()
    }

    /// Whether every reference has its numbers, so that parsing again would give the same.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let known = |r: &RecordRef| r.target.is_some();
        self.reply.as_ref().is_none_or(|r| known(&r.root) && known(&r.parent))
            && self.embed.as_ref().and_then(Embed::record).is_none_or(known)
    }
}

fn mentions<R: Reader>(r: &R, record: &Ipld) -> Result<Vec<ActorId>, StoreError> {
    let dids = features(record)
        .filter(|f| kind(f) == "app.bsky.richtext.facet#mention")
        .filter_map(|f| text(f, "did"));
    let mut out = Vec::new();
    for did in dids {
        // An account that the store has never seen cannot be the viewer, and only the viewer is looked for here.
        out.extend(r.actor_id(did)?);
    }
    Ok(out)
}

fn reply<R: Reader>(r: &R, record: &Ipld) -> Result<Option<ReplyRefs>, StoreError> {
    let Some(reply) = field(record, "reply") else { return Ok(None) };
    let (Some(root), Some(parent)) = (ref_uri(reply, "root"), ref_uri(reply, "parent")) else {
        return Ok(None);
    };
    let root = RecordRef::resolve(r, root)?;
    let parent = if parent == &*root.uri { root.clone() } else { RecordRef::resolve(r, parent)? };
    Ok(Some(ReplyRefs { root, parent }))
}

fn embed<R: Reader>(r: &R, value: &Ipld) -> Result<Option<Embed>, StoreError> {
    let record =
        |value: &Ipld| ref_uri(value, "record").map(|uri| RecordRef::resolve(r, uri)).transpose();
    Ok(match kind(value) {
        "app.bsky.embed.record" => record(value)?.map(Embed::Record),
        "app.bsky.embed.recordWithMedia" => {
            let inner = field(value, "record").map(record).transpose()?.flatten();
            inner.map(|re| Embed::RecordWithMedia(re, field(value, "media").and_then(media)))
        }
        _ => media(value).map(Embed::Media),
    })
}

fn media(value: &Ipld) -> Option<EmbedMedia> {
    Some(match kind(value) {
        "app.bsky.embed.images" => {
            EmbedMedia::Images(list(value, "images").iter().filter_map(image).collect())
        }
        "app.bsky.embed.gallery" => EmbedMedia::Gallery(
            list(value, "items")
                .iter()
                .take(GALLERY_LIMIT)
                .filter(|i| kind(i) == "app.bsky.embed.gallery#image")
                .filter_map(image)
                .collect(),
        ),
        // The second type is the same as the first; its lexicon allows larger files.
        "app.bsky.embed.video" | "community.blacksky.embed.video" => EmbedMedia::Video {
            cid: blob(value, "video")?,
            alt: string(value, "alt"),
            aspect_ratio: raw(value, "aspectRatio"),
            presentation: string(value, "presentation"),
        },
        "app.bsky.embed.external" => {
            let e = field(value, "external")?;
            EmbedMedia::External {
                uri: string(e, "uri")?,
                title: string(e, "title")?,
                description: string(e, "description")?,
                thumb: blob(e, "thumb"),
                associated_refs: raw(e, "associatedRefs"),
                site_refs: site_refs(e),
            }
        }
        _ => return None,
    })
}

fn site_refs(external: &Ipld) -> Vec<(String, String)> {
    let refs = list(external, "associatedRefs").iter();
    refs.filter_map(|of| string(of, "uri").zip(string(of, "cid")))
        .filter(|(uri, _)| uri.split('/').nth(3).is_some_and(|c| c.starts_with("site.standard.")))
        .take(MAX_SITE_REFS)
        .collect()
}

fn image(value: &Ipld) -> Option<EmbedImage> {
    Some(EmbedImage {
        cid: blob(value, "image")?,
        alt: string(value, "alt").unwrap_or_default(),
        aspect_ratio: raw(value, "aspectRatio"),
    })
}

/// Who may reply, by a rule of a thread gate.
#[derive(Debug, Clone)]
pub enum GateRule {
    /// Those whom the root mentions.
    Mention,
    /// Those who follow its author.
    Follower,
    /// Those whom its author follows.
    Following,
    /// Members of a list.
    List(RecordRef),
}

/// `app.bsky.feed.threadgate`
#[derive(Debug)]
pub struct Threadgate {
    /// Its URI; empty if its rules came with a community post and are in no record.
    pub uri: Arc<str>,
    /// Its CID.
    pub cid: String,
    /// Its JSON.
    pub json: Box<RawValue>,
    /// The rules; none: everybody, empty: nobody.
    pub allow: Option<Vec<GateRule>>,
    /// Replies that the author hides.
    pub hidden: Vec<String>,
}

impl Threadgate {
    /// Reads the parts.
    pub fn parse<R: Reader>(
        r: &R,
        uri: Arc<str>,
        record: &Ipld,
        digest: &[u8; 32],
    ) -> Result<Self, StoreError> {
        let mut allow = None;
        if field(record, "allow").is_some() {
            let mut rules = Vec::new();
            for rule in list(record, "allow") {
                rules.push(match rule_name(rule, "threadgate") {
                    "mentionRule" => GateRule::Mention,
                    "followerRule" => GateRule::Follower,
                    "followingRule" => GateRule::Following,
                    "listRule" => match text(rule, "list") {
                        Some(uri) => GateRule::List(RecordRef::resolve(r, uri)?),
                        None => continue,
                    },
                    _ => continue,
                });
            }
            allow = Some(rules);
        }
        Ok(Self {
            uri,
            cid: record_cid(digest),
            json: raw_json(record),
            allow,
            hidden: strings(record, "hiddenReplies"),
        })
    }

    /// As of a post; the numbers of rules are as long as what they are written with.
    pub(super) fn memory(&self) -> usize {
        2 * self.json.get().len()
    }

    /// The lists that its rules name.
    pub fn lists(&self) -> impl Iterator<Item = &RecordRef> {
        self.allow.iter().flatten().filter_map(|r| match r {
            GateRule::List(l) => Some(l),
            _ => None,
        })
    }
}

/// `app.bsky.feed.postgate`
#[derive(Debug)]
pub struct Postgate {
    /// Nobody else may embed the post.
    pub disabled: bool,
    /// Posts that the author took the post out of.
    pub detached: Vec<String>,
}

impl Postgate {
    /// Reads the parts.
    #[must_use]
    pub fn parse(record: &Ipld) -> Self {
        Self {
            disabled: list(record, "embeddingRules")
                .iter()
                .any(|r| rule_name(r, "postgate") == "disableRule"),
            detached: strings(record, "detachedEmbeddingUris"),
        }
    }
}

/// What a rule of a gate is called; those of community posts are called the same in their own lexicon.
fn rule_name<'a>(rule: &'a Ipld, gate: &str) -> &'a str {
    let of = |family: &str| kind(rule).strip_prefix(family)?.strip_prefix(gate)?.strip_prefix('#');
    of("app.bsky.feed.").or_else(|| of("community.blacksky.feed.")).unwrap_or_default()
}

fn strings(record: &Ipld, key: &str) -> Vec<String> {
    let text = |v: &Ipld| match v {
        Ipld::String(s) => Some(s.clone()),
        _ => None,
    };
    list(record, key).iter().filter_map(text).collect()
}
