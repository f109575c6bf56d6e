//! What goes from an index: documents by the record that they are, or all of an account.

use std::collections::BTreeMap;

use tantivy::index::SegmentId;
use tantivy::query::{ConstScorer, EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::schema::Field;
use tantivy::{DocId, DocSet, Score, SegmentReader, TERMINATED, TantivyError};

use super::error::IndexError;
use super::segment::{OpenSegment, Sorted};
use crate::schema::{ActorId, CollId, RecordId, Rkey};

/// What goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Of {
    /// All of the account.
    All,
    /// These records of it, sorted.
    Records(Vec<(CollId, Rkey)>),
}

/// What goes, by account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Deletes(BTreeMap<ActorId, Of>);

impl Deletes {
    /// All of an account goes.
    pub(super) fn account(&mut self, actor: ActorId) {
        self.0.insert(actor, Of::All);
    }

    /// A record goes.
    pub(super) fn record(&mut self, id: RecordId) {
        let of = self.0.entry(id.actor).or_insert_with(|| Of::Records(Vec::new()));
        if let Of::Records(records) = of
            && let Err(at) = records.binary_search(&(id.coll, id.rkey))
        {
            records.insert(at, (id.coll, id.rkey));
        }
    }

    /// These go too.
    pub(super) fn extend(&mut self, other: Self) {
        for (actor, of) in other.0 {
            match of {
                Of::All => self.account(actor),
                Of::Records(records) => {
                    let of = |(coll, rkey)| RecordId { actor, coll, rkey };
                    records.into_iter().map(of).for_each(|id| self.record(id));
                }
            }
        }
    }

    /// Whether nothing goes.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The documents of a segment that go, in order.
    pub(super) fn docs(
        &self,
        segment: &OpenSegment,
        author: Field,
    ) -> Result<Vec<DocId>, IndexError> {
        let mut docs = Vec::new();
        for (actor, of) in &self.0 {
            let mut own = segment.of_author(author, *actor)?;
            if let Of::Records(records) = of {
                own.retain(|doc| {
                    let record = (CollId(segment.coll(*doc)), segment.rkey(*doc));
                    records.binary_search(&record).is_ok()
                });
            }
            docs.append(&mut own);
        }
        docs.sort_unstable();
        docs.dedup();
        Ok(docs)
    }

    /// The same without what no segment has.
    pub(super) fn found_in<'a>(
        &self,
        segments: impl Iterator<Item = &'a OpenSegment>,
        author: Field,
        sorted: Sorted,
    ) -> Result<Self, IndexError> {
        let mut found = Self::default();
        for segment in segments {
            for doc in self.docs(segment, author)? {
                let actor = segment.author(doc);
                match (self.0.get(&actor), sorted) {
                    (Some(Of::All), _) | (_, Sorted::ByFollowers) => found.account(actor),
                    _ => found.record(RecordId {
                        actor,
                        coll: CollId(segment.coll(doc)),
                        rkey: segment.rkey(doc),
                    }),
                }
            }
        }
        Ok(found)
    }
}

/// The query that finds what goes.
#[derive(Debug, Clone)]
pub(super) struct Going {
    /// What goes.
    pub deletes: Deletes,
    /// The field of whose a document is.
    pub author: Field,
    /// What the documents are.
    pub sorted: Sorted,
    /// Segments that came with it, of which nothing goes: the engine shows it those too.
    pub except: Vec<SegmentId>,
}

impl Query for Going {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for Going {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let segment = OpenSegment::of_reader(reader.clone(), self.sorted).map_err(engine)?;
        let docs = if self.except.contains(&segment.id()) {
            Vec::new()
        } else {
            self.deletes.docs(&segment, self.author).map_err(engine)?
        };
        Ok(Box::new(ConstScorer::new(Docs { docs, at: 0 }, boost)))
    }

    fn explain(&self, _: &SegmentReader, _: DocId) -> tantivy::Result<Explanation> {
        Ok(Explanation::new("it goes", 1.0))
    }
}

struct Docs {
    docs: Vec<DocId>,
    at: usize,
}

impl DocSet for Docs {
    fn advance(&mut self) -> DocId {
        self.at += 1;
        self.doc()
    }

    fn doc(&self) -> DocId {
        self.docs.get(self.at).copied().unwrap_or(TERMINATED)
    }

    fn size_hint(&self) -> u32 {
        u32::try_from(self.docs.len()).unwrap_or(u32::MAX)
    }
}

fn engine(error: IndexError) -> TantivyError {
    match error {
        IndexError::Engine(error) => error,
        other => TantivyError::InternalError(other.to_string()),
    }
}
