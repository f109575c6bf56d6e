//! Labels by subject: whole URIs, or all that begin with a text. In the order of the patterns, then of the store's keys.
//!
//! # Invariants
//! - A call looks at no more than `MAX_ROWS` subjects, whatever a pattern matches: a page may be short and still have
//!   a cursor.
//! - Following cursors to the end gives every label once, as long as nothing changes in between.

use std::sync::Arc;

use super::{Hydrator, Result};
use crate::moderation::{Label, labels};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::LabelRow;
use crate::schema::{Key, Rows, collections as c};
use crate::store::{KeyBuf, Ks, Reader, prefix_end};

/// Subjects that one call looks at.
const MAX_ROWS: usize = 2_000;
/// Rows that are copied at a time.
const CHUNK: usize = 256;
/// The longest key of a subject.
const MAX_KEY: usize = 17;

/// Which subjects are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// A DID or AT-URI.
    Exact(String),
    /// All that begin with this.
    Prefix(String),
}

impl Pattern {
    /// Reads a pattern: a `*` may only be at the end.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('*') {
            Some(prefix) if !prefix.contains('*') => Some(Self::Prefix(prefix.to_owned())),
            None if !text.contains('*') && crate::syntax::is_uri(text) => {
                Some(Self::Exact(text.to_owned()))
            }
            _ => None,
        }
    }

    fn matches(&self, subject: &str) -> bool {
        match self {
            Self::Exact(uri) => uri == subject,
            Self::Prefix(prefix) => subject.starts_with(prefix),
        }
    }
}

/// Where a page ended: the next label to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pattern: usize,
    key: KeyBuf,
    skip: usize,
}

impl Place {
    /// Reads a cursor; `None` if it is malformed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let pattern = parts.next()?.parse().ok()?;
        let key = parts.next().filter(|hex| hex.len() <= 2 * MAX_KEY)?;
        let key = data_encoding::HEXLOWER.decode(key.as_bytes()).ok()?;
        Some(Self { pattern, key: KeyBuf::from_vec(key), skip: parts.next()?.parse().ok()? })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = data_encoding::HEXLOWER.encode(&self.key);
        write!(f, "{}.{key}.{}", self.pattern, self.skip)
    }
}

type Range = (KeyBuf, Option<KeyBuf>);
type LabelRows = Vec<(KeyBuf, Vec<LabelRow>)>;

impl Hydrator<'_> {
    /// A page of the labels by the request's labelers on what `patterns` match.
    pub fn labels_matching(
        &self,
        patterns: &[Pattern],
        from: Option<&Place>,
        limit: usize,
    ) -> Result<(Vec<Label>, Option<Place>)> {
        let (mut out, mut budget) = (Vec::new(), MAX_ROWS);
        let first = from.map_or(0, |place| place.pattern);
        for (pattern, wanted) in patterns.iter().enumerate().skip(first) {
            let from = from.filter(|place| place.pattern == pattern);
            let earlier = patterns.get(..pattern).unwrap_or_default();
            for (mut lo, hi) in self.label_ranges(wanted)? {
                if let Some(place) = from {
                    lo = lo.max(place.key.clone());
                }
                loop {
                    let rows = self.label_rows(&lo, hi.as_deref())?;
                    let more = rows.len() == CHUNK;
                    for (key, labels) in rows {
                        if budget == 0 {
                            return Ok((out, Some(Place { pattern, key, skip: 0 })));
                        }
                        budget -= 1;
                        lo = key.clone();
                        lo.push(0);
                        let skip = from.filter(|place| place.key == key).map_or(0, |p| p.skip);
                        let shown = self.labels_of(&key, &labels, wanted, earlier)?;
                        for (n, label) in shown.into_iter().enumerate().skip(skip) {
                            if out.len() == limit {
                                return Ok((out, Some(Place { pattern, key, skip: n })));
                            }
                            out.push(label);
                        }
                    }
                    if !more {
                        break;
                    }
                }
            }
        }
        Ok((out, None))
    }

    fn labels_of(
        &self,
        key: &[u8],
        rows: &[LabelRow],
        wanted: &Pattern,
        earlier: &[Pattern],
    ) -> Result<Vec<Label>> {
        let Some(target) = ByteReader::new(key).target() else { return Ok(Vec::new()) };
        let subject: Arc<str> = self.snapshot.target_text(target)?.into();
        if !wanted.matches(&subject) || earlier.iter().any(|p| p.matches(&subject)) {
            return Ok(Vec::new());
        }
        let did = |id| self.snapshot.did(id);
        Ok(labels::judge(rows, &subject, &self.ctx.labelers, self.ctx.now, did)?.shown)
    }

    fn label_rows(&self, lo: &[u8], hi: Option<&[u8]>) -> Result<LabelRows> {
        let mut rows = Vec::new();
        self.snapshot.scan(Ks::Label, lo, hi, false, &mut |key, value| {
            rows.push((KeyBuf::from_slice(key), LabelRow::decode_all(value).unwrap_or_default()));
            rows.len() < CHUNK
        })?;
        Ok(rows)
    }

    /// Where the subjects of a pattern are, in ascending order.
    fn label_ranges(&self, pattern: &Pattern) -> Result<Vec<Range>> {
        let prefix = match pattern {
            Pattern::Exact(uri) => {
                let target = self.snapshot.target(uri)?;
                return Ok(target.map(|target| exactly(target.key())).into_iter().collect());
            }
            Pattern::Prefix(prefix) => prefix,
        };
        let Some((authority, rest)) =
            prefix.strip_prefix("at://").and_then(|rest| rest.split_once('/'))
        else {
            return Ok(vec![(KeyBuf::new(), None)]);
        };
        let Some(actor) = self.snapshot.actor_id(authority)? else { return Ok(Vec::new()) };
        let posts = below(&Key::tag(2).actor(actor));
        let Some((collection, _)) = rest.split_once('/') else {
            return Ok(vec![posts, below(&Key::tag(3).actor(actor))]);
        };
        Ok(match self.snapshot.coll_id(collection)? {
            Some(c::POST) => vec![posts],
            Some(coll) => vec![below(&Key::tag(3).actor(actor).u32(coll.0))],
            None => Vec::new(),
        })
    }
}

fn exactly(key: KeyBuf) -> Range {
    let mut end = key.clone();
    end.push(0);
    (key, Some(end))
}

fn below(prefix: &Key) -> Range {
    (KeyBuf::from_slice(prefix), prefix_end(prefix))
}
