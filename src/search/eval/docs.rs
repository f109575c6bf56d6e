//! The documents of a segment that a plan wants, in order: the newest first, since so they are sorted.
//!
//! Every set answers two questions: which of its documents is the first from one on, and whether it has one. What has few
//! documents leads, the others are asked; what is no list of documents (whether an account is among thousands, whether
//! something does not hold) is only asked, of the columns, unless there is nothing else to lead.
//!
//! # Invariants
//! - Questions go forward only: of no set is asked about a document before the one last asked about.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tantivy::postings::SegmentPostings;
use tantivy::query::BitSetDocSet;
use tantivy::schema::Field;
use tantivy::{BitSet, DocId, DocSet, TERMINATED, Term};

use super::plan::Plan;
use crate::schema::{ActorId, PostId};
use crate::search::index::{IndexError, OpenSegment, RecordFields};

/// Up to so many terms of a beginning are read side by side; the documents of more are gathered first.
const SIDE_BY_SIDE: usize = 8;
/// Up to so many accounts or posts are looked up; of more, each document is asked.
const LOOKED_UP: usize = 1_000;

/// Terms that a beginning may have in a segment: no script has so many pairs with one of its letters.
const MOST_TERMS: usize = 1 << 17;

/// Documents of a segment.
pub(super) enum Docs {
    /// All.
    All(DocId),
    /// None.
    None,
    /// Those that have a term.
    Term(Box<SegmentPostings>),
    /// Gathered ones.
    Bits(Box<BitSetDocSet>, u32),
    /// Looked up ones, sorted.
    List(Vec<DocId>, usize),
    /// Those of any of these.
    Any(Vec<Docs>),
    /// Those of all of these: the first leads.
    Every(Vec<Docs>),
    /// Those of any of these accounts.
    Authors(Arc<FxHashSet<ActorId>>),
    /// Those that are any of these posts.
    Posts(Arc<FxHashSet<PostId>>),
    /// All but these.
    Not(Box<Docs>),
}

impl Docs {
    /// What a plan wants of a segment of records.
    pub(super) fn of(
        plan: &Plan,
        segment: &OpenSegment,
        fields: &RecordFields,
    ) -> Result<Self, IndexError> {
        let all = |plans: &[Plan]| {
            plans.iter().map(|plan| Self::of(plan, segment, fields)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match plan {
            Plan::All => Self::All(segment.end()),
            Plan::Nothing => Self::None,
            Plan::Term(field, term) => {
                Self::term(segment, &Term::from_field_text(fields.text(*field), term))?
            }
            Plan::Prefix(field, begin) => {
                Self::prefix(segment, fields.text(*field), begin, MOST_TERMS)?
            }
            Plan::Number(field, number) => {
                Self::term(segment, &Term::from_field_u64(fields.number(*field), *number))?
            }
            Plan::Authors(authors) => Self::Authors(Arc::clone(authors)),
            Plan::Posts(posts) => Self::Posts(Arc::clone(posts)),
            Plan::And(plans) => Self::every(all(plans)?, segment),
            Plan::Or(plans) => Self::any(all(plans)?),
            Plan::Not(plan) => match Self::of(plan, segment, fields)? {
                Self::None => Self::All(segment.end()),
                docs => Self::Not(Box::new(docs)),
            },
        })
    }

    /// The same, so that what leads is a list of documents if it can be one.
    pub(super) fn led(self, segment: &OpenSegment, author: Field) -> Result<Self, IndexError> {
        match self {
            Self::Authors(authors) if authors.len() <= LOOKED_UP => {
                let mut docs = Vec::new();
                for actor in &*authors {
                    docs.append(&mut segment.of_author(author, *actor)?);
                }
                docs.sort_unstable();
                Ok(Self::List(docs, 0))
            }
            Self::Posts(posts) if posts.len() <= LOOKED_UP => {
                let mut by_author: FxHashMap<ActorId, Vec<PostId>> = FxHashMap::default();
                posts.iter().for_each(|post| by_author.entry(post.author).or_default().push(*post));
                let mut docs = Vec::new();
                for (actor, posts) in by_author {
                    let own = segment.of_author(author, actor)?;
                    docs.extend(own.into_iter().filter(|doc| posts.contains(&segment.post(*doc))));
                }
                docs.sort_unstable();
                Ok(Self::List(docs, 0))
            }
            Self::Every(mut docs) => {
                if let Some(first) = docs.first_mut() {
                    let leads = std::mem::replace(first, Self::None);
                    *first = leads.led(segment, author)?;
                }
                Ok(Self::Every(docs))
            }
            Self::Any(docs) => {
                let led = docs.into_iter().map(|docs| docs.led(segment, author));
                Ok(Self::Any(led.collect::<Result<_, _>>()?))
            }
            docs => Ok(docs),
        }
    }

    /// Those that have a term.
    pub(super) fn term(segment: &OpenSegment, term: &Term) -> Result<Self, IndexError> {
        Ok(match segment.postings(term)? {
            Some(postings) => Self::Term(Box::new(postings)),
            None => Self::None,
        })
    }

    /// Those that have any term that begins so, of the first so many terms.
    pub(super) fn prefix(
        segment: &OpenSegment,
        field: Field,
        begin: &str,
        most: usize,
    ) -> Result<Self, IndexError> {
        Self::of_terms(segment, &Self::terms_beginning(segment, field, begin, most)?)
    }

    /// The first so many terms that begin so.
    pub(super) fn terms_beginning(
        segment: &OpenSegment,
        field: Field,
        begin: &str,
        most: usize,
    ) -> Result<Vec<Term>, IndexError> {
        let mut terms = Vec::new();
        if most == 0 {
            return Ok(terms);
        }
        segment.terms_from(field, begin.as_bytes(), &mut |term, _| {
            let fits = term.starts_with(begin.as_bytes());
            if fits && let Ok(term) = std::str::from_utf8(term) {
                terms.push(Term::from_field_text(field, term));
            }
            fits && terms.len() < most
        })?;
        Ok(terms)
    }

    /// Those that have any of these terms.
    pub(super) fn of_terms(segment: &OpenSegment, terms: &[Term]) -> Result<Self, IndexError> {
        if terms.len() <= SIDE_BY_SIDE {
            let each = terms.iter().map(|term| Self::term(segment, term));
            return Ok(Self::any(each.collect::<Result<_, _>>()?));
        }
        let (mut bits, mut count) = (BitSet::with_max_value(segment.end()), 0_u32);
        for term in terms {
            let Some(mut postings) = segment.postings(term)? else { continue };
            let mut doc = postings.doc();
            while doc != TERMINATED {
                bits.insert(doc);
                count = count.saturating_add(1);
                doc = postings.advance();
            }
        }
        Ok(Self::Bits(Box::new(bits.into()), count))
    }

    /// Those of any of these.
    pub(super) fn any(mut docs: Vec<Self>) -> Self {
        docs.retain(|docs| !matches!(docs, Self::None));
        match docs.len() {
            0 => Self::None,
            1 => docs.pop().unwrap_or(Self::None),
            _ => Self::Any(docs),
        }
    }

    /// Those of all of these.
    pub(super) fn every(docs: Vec<Self>, segment: &OpenSegment) -> Self {
        let mut flat = Vec::new();
        for docs in docs {
            match docs {
                Self::None => return Self::None,
                Self::All(_) => {}
                Self::Every(inner) => flat.extend(inner),
                docs => flat.push(docs),
            }
        }
        flat.sort_by_key(|docs| docs.cost(segment));
        match flat.len() {
            0 => Self::All(segment.end()),
            1 => flat.pop().unwrap_or(Self::None),
            _ => Self::Every(flat),
        }
    }

    /// How many it may have: those with the fewest lead.
    pub(super) fn cost(&self, segment: &OpenSegment) -> u64 {
        let len = u64::from(segment.end());
        match self {
            Self::All(_) | Self::Not(_) => len.saturating_mul(2),
            Self::None => 0,
            Self::Term(postings) => u64::from(postings.doc_freq()),
            Self::Bits(_, count) => u64::from(*count),
            Self::List(docs, _) => docs.len() as u64,
            Self::Any(docs) => docs.iter().map(|docs| docs.cost(segment)).sum(),
            Self::Every(docs) => docs.first().map_or(len, |docs| docs.cost(segment)),
            // Before what is in every document, after what is in a list.
            Self::Authors(_) | Self::Posts(_) => len,
        }
    }

    /// The first document from `from` on.
    pub(super) fn seek(&mut self, from: DocId, segment: &OpenSegment) -> DocId {
        match self {
            Self::All(len) => {
                if from < *len {
                    from
                } else {
                    TERMINATED
                }
            }
            Self::None => TERMINATED,
            Self::Term(postings) => forward(&mut **postings, from),
            Self::Bits(bits, _) => forward(&mut **bits, from),
            Self::List(docs, at) => {
                let rest = docs.get(*at..).unwrap_or_default();
                *at += rest.partition_point(|doc| *doc < from);
                docs.get(*at).copied().unwrap_or(TERMINATED)
            }
            Self::Any(docs) => {
                docs.iter_mut().map(|docs| docs.seek(from, segment)).min().unwrap_or(TERMINATED)
            }
            Self::Every(docs) => {
                let Some((leads, others)) = docs.split_first_mut() else { return TERMINATED };
                let mut doc = leads.seek(from, segment);
                while doc != TERMINATED {
                    match others.iter_mut().find_map(|other| other.passes(doc, segment)) {
                        None => break,
                        Some(next) => doc = leads.seek(next, segment),
                    }
                }
                doc
            }
            Self::Authors(_) | Self::Posts(_) | Self::Not(_) => {
                (from..segment.end()).find(|doc| self.has(*doc, segment)).unwrap_or(TERMINATED)
            }
        }
    }

    /// Nothing if it has the document; if not, from where on it may have one.
    fn passes(&mut self, doc: DocId, segment: &OpenSegment) -> Option<DocId> {
        match self {
            Self::Authors(_) | Self::Posts(_) | Self::Not(_) => {
                (!self.has(doc, segment)).then(|| doc + 1)
            }
            _ => Some(self.seek(doc, segment)).filter(|found| *found != doc),
        }
    }

    fn has(&mut self, doc: DocId, segment: &OpenSegment) -> bool {
        match self {
            Self::Authors(authors) => authors.contains(&segment.author(doc)),
            Self::Posts(posts) => posts.contains(&segment.post(doc)),
            Self::Not(docs) => !docs.has(doc, segment),
            Self::Any(docs) => docs.iter_mut().any(|docs| docs.has(doc, segment)),
            Self::Every(docs) => docs.iter_mut().all(|docs| docs.has(doc, segment)),
            docs => docs.seek(doc, segment) == doc,
        }
    }
}

fn forward(docs: &mut impl DocSet, from: DocId) -> DocId {
    let at = docs.doc();
    if at >= from { at } else { docs.seek(from) }
}
