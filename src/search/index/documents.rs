//! Documents of the indexes, made of what the store holds.
//!
//! What the store does not hold has no document, and neither has what does not decode: it cannot be shown either.

use tantivy::TantivyDocument;
use tantivy::schema::Field;

use super::error::IndexError;
use super::schema::{ActorFields, BEGINNINGS, NumberField, RecordFields, SEPARATOR, TextField};
use super::segment::key_of;
use crate::schema::rows::{ActorRow, Counter};
use crate::schema::{ActorId, PostId, RecordId, Rkey, Rows, Target, collections};
use crate::search::analysis::{Analyzer, tag_term};
use crate::search::document::{PostDocument, ProfileDocument, ThingDocument};
use crate::store::{StoreError, decodable};

/// From so many interactions on a post is in `top`.
const POPULAR: f64 = 4.0;

/// A record as a document, with its time.
pub(super) struct RecordDocument {
    /// Its time, milliseconds.
    pub ts: i64,
    /// The document.
    pub document: TantivyDocument,
}

/// Makes documents, and says what they take; its buffers serve all of them.
#[derive(Default)]
pub(super) struct Documents {
    analyzer: Analyzer,
    value: String,
    /// Bytes of what was made and is not written.
    made: usize,
}

/// What a document takes beside its terms, about.
const DOCUMENT: usize = 512;

/// What the interactions with a post amount to: who repeats or quotes it says more than who likes it.
pub fn interactions(s: &impl Rows, post: PostId) -> Result<f64, StoreError> {
    let counts = s.agg(Target::Post(post))?;
    #[expect(clippy::cast_precision_loss, reason = "only its logarithm is asked for")]
    let of = |counter| counts.get(counter) as f64;
    Ok(of(Counter::Likes)
        + 1.5 * (of(Counter::Reposts) + of(Counter::Quotes))
        + 0.5 * of(Counter::Replies))
}

/// What popularity a post has: the power of two of its interactions; none if it is not popular.
pub(super) fn tier(s: &impl Rows, post: PostId) -> Result<Option<u64>, StoreError> {
    let all = interactions(s, post)?;
    if all < POPULAR {
        return Ok(None);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 2 and 66")]
    let tier = (1.0 + all).log2().floor() as u64;
    Ok(Some(tier))
}

/// Of which kind a thing is; none of a record that is none.
#[must_use]
pub(super) fn kind_of_thing(id: RecordId) -> Option<&'static str> {
    match id.coll {
        collections::LIST => Some("list"),
        collections::STARTERPACK => Some("starterpack"),
        collections::GENERATOR => Some("generator"),
        _ => None,
    }
}

impl Documents {
    /// Bytes of the documents that were made since they were last [taken](Self::taken), about.
    #[must_use]
    pub(super) fn bytes(&self) -> usize {
        self.made
    }

    /// Those that were made are written.
    pub(super) fn taken(&mut self) {
        self.made = 0;
    }

    /// The document of a post.
    pub(super) fn post(
        &mut self,
        s: &impl Rows,
        fields: &RecordFields,
        post: PostId,
        tier: Option<u64>,
    ) -> Result<Option<RecordDocument>, IndexError> {
        let Some(row) = decodable(s.post(post))?.flatten() else { return Ok(None) };
        let Some(record) = decodable(s.unpack(&row.packed))? else { return Ok(None) };
        let parts = PostDocument::of(&record);
        let ts = row.sort_ms(post.rkey);
        let mut out = begin(fields, post.record(), ts);
        self.made += DOCUMENT;
        self.words(&mut out, fields.text(TextField::Text), [parts.body]);
        self.words(&mut out, fields.text(TextField::More), parts.more());
        self.put(&mut out, fields.text(TextField::Tag), |value| {
            parts.tags.iter().for_each(|tag| push(value, &tag_term(tag)));
        });
        self.put(&mut out, fields.text(TextField::Lang), |value| {
            parts.lang_terms(&mut |lang| push(value, lang));
        });
        self.put(&mut out, fields.text(TextField::Flag), |value| {
            parts.flags().for_each(|flag| push(value, flag.term()));
        });
        let urls: Vec<_> = parts.urls().collect();
        self.put(&mut out, fields.text(TextField::Domain), |value| {
            urls.iter().flat_map(|url| url.domains()).for_each(|domain| push(value, domain));
        });
        urls.iter().for_each(|url| out.add_u64(fields.number(NumberField::Url), url.hash()));
        for did in &parts.mentions {
            if let Some(actor) = s.actor_id(did)? {
                out.add_u64(fields.number(NumberField::Mention), u64::from(actor.0));
            }
        }
        if let Some(tier) = tier {
            out.add_u64(fields.number(NumberField::Tier), tier);
        }
        Ok(Some(RecordDocument { ts, document: out }))
    }

    /// The document of a list, starter pack or feed generator.
    pub(super) fn thing(
        &mut self,
        s: &impl Rows,
        fields: &RecordFields,
        id: RecordId,
    ) -> Result<Option<RecordDocument>, IndexError> {
        let Some(kind) = kind_of_thing(id) else { return Ok(None) };
        let Some(row) = decodable(s.record(id))?.flatten() else { return Ok(None) };
        if !row.valid {
            return Ok(None);
        }
        let Some(record) = decodable(s.unpack(&row.packed))? else { return Ok(None) };
        let parts = ThingDocument::of(&record);
        let ts = row.sort;
        let mut out = begin(fields, id, ts);
        self.made += DOCUMENT;
        self.words(&mut out, fields.text(TextField::Text), [parts.name]);
        let profile = profile(s, id.actor)?;
        let owner = profile.as_ref().map(ProfileDocument::of).unwrap_or_default();
        let handle = decodable(s.actor(id.actor))?.flatten().and_then(|row| row.handle);
        let analyzer = &mut self.analyzer;
        self.made += put(&mut self.value, &mut out, fields.text(TextField::More), |value| {
            for text in [parts.description, owner.name] {
                analyzer.terms(text, &mut |term| push(value, term));
            }
            analyzer.handle_terms(handle.as_deref().unwrap_or_default(), &mut |t| push(value, t));
        });
        self.put(&mut out, fields.text(TextField::Flag), |value| push(value, kind));
        Ok(Some(RecordDocument { ts, document: out }))
    }

    /// The document of an account with how many follow it; none of one that has neither a handle nor a name, or is not
    /// there for anybody: it takes no place from those that are, and comes back with its next status.
    pub(super) fn actor(
        &mut self,
        s: &impl Rows,
        fields: &ActorFields,
        actor: ActorId,
    ) -> Result<Option<TantivyDocument>, IndexError> {
        let row = decodable(s.actor(actor))?.flatten();
        let Some(row) = row.filter(ActorRow::is_active) else { return Ok(None) };
        let profile = profile(s, actor)?;
        let parts = profile.as_ref().map(ProfileDocument::of).unwrap_or_default();
        let handle = row.handle.as_deref().unwrap_or_default().to_ascii_lowercase();
        if handle.is_empty() && parts.name.is_empty() {
            return Ok(None);
        }
        self.made += DOCUMENT;
        let mut out = TantivyDocument::new();
        out.add_u64(fields.author, u64::from(actor.0));
        let followers = s.agg(Target::Actor(actor))?.get(Counter::Followers);
        out.add_i64(fields.followers, i64::try_from(followers).unwrap_or(i64::MAX));
        if !handle.is_empty() {
            out.add_text(fields.handle, &handle);
        }
        let names = self.analyzer.account_names(&handle, parts.name);
        self.put(&mut out, fields.name, |value| names.iter().for_each(|name| push(value, name)));
        self.put(&mut out, fields.pre, |value| {
            for name in names.iter() {
                let ends = name.char_indices().skip(1).map(|(at, _)| at);
                for end in ends.chain([name.len()]).take(BEGINNINGS) {
                    push(value, name.get(..end).unwrap_or_default());
                }
            }
        });
        self.words(&mut out, fields.bio, [parts.bio]);
        Ok(Some(out))
    }

    fn words<'a>(
        &mut self,
        out: &mut TantivyDocument,
        field: Field,
        texts: impl IntoIterator<Item = &'a str>,
    ) {
        let analyzer = &mut self.analyzer;
        self.made += put(&mut self.value, out, field, |value| {
            texts.into_iter().for_each(|text| analyzer.terms(text, &mut |term| push(value, term)));
        });
    }

    fn put(&mut self, out: &mut TantivyDocument, field: Field, fill: impl FnOnce(&mut String)) {
        self.made += put(&mut self.value, out, field, fill);
    }
}

fn put(
    value: &mut String,
    out: &mut TantivyDocument,
    field: Field,
    fill: impl FnOnce(&mut String),
) -> usize {
    value.clear();
    fill(value);
    if !value.is_empty() {
        out.add_text(field, &value);
    }
    value.len()
}

fn push(value: &mut String, term: &str) {
    value.push_str(term);
    value.push(SEPARATOR);
}

fn begin(fields: &RecordFields, id: RecordId, ts: i64) -> TantivyDocument {
    let (coll, rkey) = id.indexed().unwrap_or((id.coll, id.rkey));
    let mut out = TantivyDocument::new();
    out.add_u64(fields.number(NumberField::Author), u64::from(id.actor.0));
    out.add_u64(fields.coll, u64::from(coll.0));
    out.add_i64(fields.ts, ts);
    out.add_i64(fields.key, key_of(ts, rkey));
    out
}

fn profile(s: &impl Rows, actor: ActorId) -> Result<Option<ipld_core::ipld::Ipld>, StoreError> {
    let id = RecordId { actor, coll: collections::PROFILE, rkey: Rkey::SELF };
    let Some(row) = decodable(s.record(id))?.flatten() else { return Ok(None) };
    decodable(s.unpack(&row.packed))
}
