//! Labels by subject: whole URIs, or all that begin with a text. In the order of the patterns, then of the store's keys.
//!
//! # Invariants
//! - A cursor is good on any replica: it goes on behind the same subject. Below one account all have the same order of
//!   posts; accounts stand in the order of their numbers, so who changes the replica in the middle of a pattern over
//!   several accounts may get some twice or not at all.
//! - A call looks at no more than `MAX_ROWS` subjects, whatever a pattern matches: a page may be short and still have
//!   a cursor.
//! - Following cursors to the end gives every label once, as long as nothing changes in between.

use std::sync::Arc;

use super::{Hydrator, Result};
use crate::moderation::{ShownLabel, labels};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::LabelRow;
use crate::schema::{Key, Rows, collections as c};
use crate::store::{KeyBuf, Ks, Reader, prefix_end};

/// Subjects that one call looks at.
const MAX_ROWS: usize = 2_000;
/// Rows that are copied at a time.
const CHUNK: usize = 256;

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

/// Where a page ended: the next label to give. It names the subject, not its key, since the keys of another replica have
/// other numbers in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelCursor {
    pattern: usize,
    /// Labels of the subject that were given.
    given: usize,
    subject: String,
}

impl LabelCursor {
    /// Reads a cursor; `None` if it is malformed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let pattern = parts.next()?.parse().ok()?;
        let given = parts.next()?.parse().ok()?;
        let subject = parts.next().filter(|subject| crate::syntax::is_uri(subject))?.to_owned();
        Some(Self { pattern, given, subject })
    }
}

impl std::fmt::Display for LabelCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.pattern, self.given, self.subject)
    }
}

type KeyRange = (KeyBuf, Option<KeyBuf>);
type LabelRows = Vec<(KeyBuf, Vec<LabelRow>)>;

impl Hydrator<'_> {
    /// A page of the labels by the request's labelers on what `patterns` match.
    pub fn labels_matching(
        &self,
        patterns: &[Pattern],
        from: Option<&LabelCursor>,
        limit: usize,
    ) -> Result<(Vec<ShownLabel>, Option<LabelCursor>)> {
        let (mut out, mut budget) = (Vec::new(), MAX_ROWS);
        let first = from.map_or(0, |cursor| cursor.pattern);
        for (pattern, wanted) in patterns.iter().enumerate().skip(first) {
            let from = from.filter(|cursor| cursor.pattern == pattern);
            // A store that does not know the subject begins the pattern again: rather twice than never.
            let from = match from {
                Some(cursor) => self.snapshot.target(&cursor.subject)?.map(|t| (t.key(), cursor)),
                None => None,
            };
            let earlier = patterns.get(..pattern).unwrap_or_default();
            for (mut lo, hi) in self.label_ranges(wanted)? {
                if let Some((key, _)) = &from {
                    lo = lo.max(key.clone());
                }
                loop {
                    let rows = self.label_rows(&lo, hi.as_deref())?;
                    let more = rows.len() == CHUNK;
                    for (key, labels) in rows {
                        lo = key.clone();
                        lo.push(0);
                        let Some(target) = ByteReader::new(&key).target() else { continue };
                        let subject: Arc<str> = self.snapshot.target_text(target)?.into();
                        let next = |given| {
                            Some(LabelCursor { pattern, given, subject: subject.to_string() })
                        };
                        if budget == 0 {
                            return Ok((out, next(0)));
                        }
                        budget -= 1;
                        let given = from.as_ref().filter(|(at, _)| *at == key);
                        let given = given.map_or(0, |(_, cursor)| cursor.given);
                        let shown = self.labels_of(&subject, &labels, wanted, earlier)?;
                        for (n, label) in shown.into_iter().enumerate().skip(given) {
                            if out.len() == limit {
                                return Ok((out, next(n)));
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
        subject: &Arc<str>,
        rows: &[LabelRow],
        wanted: &Pattern,
        earlier: &[Pattern],
    ) -> Result<Vec<ShownLabel>> {
        if !wanted.matches(subject) || earlier.iter().any(|p| p.matches(subject)) {
            return Ok(Vec::new());
        }
        let did = |id| self.snapshot.did(id);
        let mut shown = labels::judge(rows, subject, &self.ctx.labelers, self.ctx.now, did)?.shown;
        // The order of the rows may differ on another replica, and a cursor counts the labels: so names decide.
        shown.sort_unstable_by(|a, b| (&a.src, &a.val).cmp(&(&b.src, &b.val)));
        Ok(shown)
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
    fn label_ranges(&self, pattern: &Pattern) -> Result<Vec<KeyRange>> {
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

fn exactly(key: KeyBuf) -> KeyRange {
    let mut end = key.clone();
    end.push(0);
    (key, Some(end))
}

fn below(prefix: &Key) -> KeyRange {
    (KeyBuf::from_slice(prefix), prefix_end(prefix))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, NOW, seen_by};
    use super::*;
    use crate::schema::{ActorId, PostId, Rkey, Rows, Target};

    /// A store that met the accounts in this order, with labels by two labelers on an account and four posts.
    fn replica(order: [&str; 3]) -> (Fixture, [ActorId; 2]) {
        let f = Fixture::new();
        for name in order {
            f.account(name);
        }
        let id = |name: &str| f.snapshot().actor_id(&format!("did:plc:{name}")).unwrap().unwrap();
        let (alice, labelers) = (id("alice"), [id("one"), id("two")]);
        let posts = (0..4).map(|n| Target::Post(PostId { author: alice, rkey: Rkey(n + 1) }));
        for target in posts.chain([Target::Actor(alice)]) {
            for labeler in order.iter().filter(|name| **name != "alice") {
                f.label(id(labeler), target, "a");
            }
        }
        (f, labelers)
    }

    fn page(
        (f, by): &(Fixture, [ActorId; 2]),
        patterns: &[Pattern],
        from: Option<&LabelCursor>,
    ) -> (Vec<(String, String)>, Option<LabelCursor>) {
        let mut ctx = seen_by(None);
        ctx.now = NOW;
        ctx.labelers = by.iter().map(|id| (*id, false)).collect();
        f.hydrate(&ctx, |h| {
            let (labels, next) = h.labels_matching(patterns, from, 3).unwrap();
            let named = labels.iter().map(|l| (l.uri.to_string(), l.src.to_string()));
            (named.collect(), next)
        })
    }

    #[test]
    fn a_page_of_labels_that_one_store_began_another_with_other_numbers_goes_on_with() {
        let stores = [replica(["alice", "one", "two"]), replica(["two", "one", "alice"])];
        let patterns =
            ["at://did:plc:alice/*", "did:plc:alice"].map(|p| Pattern::parse(p).unwrap());
        let (mut all, mut cursor) = (Vec::new(), None::<LabelCursor>);
        for n in 0..10 {
            let (labels, next) = page(&stores[n % 2], &patterns, cursor.as_ref());
            all.extend(labels);
            // As a client hands it on.
            cursor = next.map(|next| LabelCursor::parse(&next.to_string()).unwrap());
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((all.len(), cursor), (10, None));
        let expect: Vec<_> =
            all.iter().enumerate().map(|(n, _)| ["did:plc:one", "did:plc:two"][n % 2]).collect();
        assert!(all.iter().map(|(_, src)| src.as_str()).eq(expect));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 10, "each once");
    }

    #[test]
    fn cursors_that_name_no_subject_are_malformed() {
        let good = LabelCursor::parse("1.2.at://did:plc:alice/app.bsky.feed.post/3k.x").unwrap();
        assert_eq!(LabelCursor::parse(&good.to_string()), Some(good));
        // The second is of the form before: a key of the store.
        for bad in ["", "0.0.", "0.0200000001.0", "0.02ab.0", "x.0.did:plc:a", "0.0.alice"] {
            assert_eq!(LabelCursor::parse(bad), None, "{bad}");
        }
    }
}
