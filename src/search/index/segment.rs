//! A segment that is open: its columns are opened once, and say which record a document is.

use std::sync::Arc;

use tantivy::columnar::ColumnValues;
use tantivy::index::{Segment, SegmentId};
use tantivy::postings::SegmentPostings;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, DocSet, SegmentReader, TERMINATED, Term};

use super::error::IndexError;
use super::schema;
use crate::schema::{ActorId, PostId, Rkey};

/// Milliseconds of a partition: what is searched for is mostly new, and what is old goes together.
pub(super) const PARTITION_MS: i64 = 30 * 24 * 3600 * 1000;

/// Which column of time or rank a segment is sorted by, and whether its documents are records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sorted {
    /// Records, by time.
    ByTime,
    /// Accounts, by followers.
    ByFollowers,
}

impl Sorted {
    fn column(self) -> &'static str {
        match self {
            Self::ByTime => schema::TS,
            Self::ByFollowers => schema::FOLLOWERS,
        }
    }
}

/// A segment that is open.
pub struct OpenSegment {
    reader: SegmentReader,
    /// As long as this is here, its files are. None of a segment that the engine holds.
    segment: Option<Segment>,
    order: Arc<dyn ColumnValues<i64>>,
    author: Arc<dyn ColumnValues<u64>>,
    /// Of records only.
    record: Option<RecordColumns>,
}

struct RecordColumns {
    key: Arc<dyn ColumnValues<i64>>,
    coll: Arc<dyn ColumnValues<u64>>,
    tier: Option<Arc<dyn ColumnValues<u64>>>,
}

impl OpenSegment {
    /// Opens it.
    pub fn open(segment: Segment, sorted: Sorted) -> Result<Self, IndexError> {
        let reader = SegmentReader::open(&segment)?;
        Ok(Self { segment: Some(segment), ..Self::of_reader(reader, sorted)? })
    }

    /// One that the engine has open.
    pub fn of_reader(reader: SegmentReader, sorted: Sorted) -> Result<Self, IndexError> {
        let columns = reader.fast_fields();
        let record = match sorted {
            Sorted::ByTime => Some(RecordColumns {
                key: columns.i64(schema::KEY)?.first_or_default_col(0),
                coll: columns.u64(schema::COLL)?.first_or_default_col(0),
                tier: columns
                    .column_opt::<u64>(schema::TIER)?
                    .map(|column| column.first_or_default_col(0)),
            }),
            Sorted::ByFollowers => None,
        };
        Ok(Self {
            order: columns.i64(sorted.column())?.first_or_default_col(0),
            author: columns.u64(schema::AUTHOR)?.first_or_default_col(0),
            record,
            reader,
            segment: None,
        })
    }

    /// Its number in the index.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.reader.segment_id()
    }

    /// Whether this is it, with no more deleted.
    #[must_use]
    pub fn is(&self, other: &tantivy::index::SegmentMeta) -> bool {
        let same = |own: &Segment| own.meta().delete_opstamp() == other.delete_opstamp();
        self.id() == other.id() && self.segment.as_ref().is_some_and(same)
    }

    /// One after its last document, deleted ones too.
    #[must_use]
    pub fn end(&self) -> DocId {
        self.reader.max_doc()
    }

    /// Documents that are not deleted.
    #[must_use]
    pub fn alive(&self) -> u32 {
        self.reader.num_docs()
    }

    /// Whether a document is not deleted.
    #[must_use]
    pub fn is_alive(&self, doc: DocId) -> bool {
        self.reader.alive_bitset().is_none_or(|alive| alive.is_alive(doc))
    }

    /// By what it is sorted: the time of a record, the followers of an account.
    #[must_use]
    pub fn order(&self, doc: DocId) -> i64 {
        self.order.get_val(doc)
    }

    /// The largest of those: that of the first document.
    #[must_use]
    pub fn newest(&self) -> i64 {
        if self.end() == 0 { i64::MIN } else { self.order(0) }
    }

    /// The smallest of those: that of the last document.
    #[must_use]
    pub fn oldest(&self) -> i64 {
        self.end().checked_sub(1).map_or(i64::MAX, |last| self.order(last))
    }

    /// The first document whose order is `most` or less.
    #[must_use]
    pub fn first_at_most(&self, most: i64) -> DocId {
        let (mut from, mut to) = (0, self.end());
        while from < to {
            let middle = from + (to - from) / 2;
            if self.order(middle) > most { from = middle + 1 } else { to = middle }
        }
        from
    }

    /// Whose a document is.
    #[must_use]
    pub fn author(&self, doc: DocId) -> ActorId {
        ActorId(u32::try_from(self.author.get_val(doc)).unwrap_or(u32::MAX))
    }

    /// The record key of a document that is a record.
    #[must_use]
    pub fn rkey(&self, doc: DocId) -> Rkey {
        let key = self.record.as_ref().map_or(0, |columns| columns.key.get_val(doc));
        rkey_of(self.order(doc), key)
    }

    /// The number of the collection of a document that is a record.
    #[must_use]
    pub fn coll(&self, doc: DocId) -> u32 {
        let coll = self.record.as_ref().map_or(0, |columns| columns.coll.get_val(doc));
        u32::try_from(coll).unwrap_or(u32::MAX)
    }

    /// The tier of a document of `top`; 0 elsewhere.
    #[must_use]
    pub fn tier(&self, doc: DocId) -> u64 {
        let tier = self.record.as_ref().and_then(|columns| columns.tier.as_ref());
        tier.map_or(0, |column| column.get_val(doc))
    }

    /// The post that a document is.
    #[must_use]
    pub fn post(&self, doc: DocId) -> PostId {
        PostId { author: self.author(doc), rkey: self.rkey(doc) }
    }

    /// The documents that have a term.
    pub fn postings(&self, term: &Term) -> Result<Option<SegmentPostings>, IndexError> {
        let index = self.reader.inverted_index(term.field())?;
        Ok(index.read_postings(term, IndexRecordOption::Basic)?)
    }

    /// How many documents have a term, deleted ones too.
    pub fn doc_freq(&self, term: &Term) -> Result<u32, IndexError> {
        Ok(self.reader.inverted_index(term.field())?.doc_freq(term)?)
    }

    /// Calls `found` with the terms of a field from `from` on, up to those that it does not want, in order, and with how
    /// many documents have each.
    pub fn terms_from(
        &self,
        field: Field,
        from: &[u8],
        found: &mut dyn FnMut(&[u8], u32) -> bool,
    ) -> Result<(), IndexError> {
        let index = self.reader.inverted_index(field)?;
        let mut stream = index.terms().range().ge(from).into_stream()?;
        while stream.advance() {
            if !found(stream.key(), stream.value().doc_freq) {
                break;
            }
        }
        Ok(())
    }

    /// The documents of an account that are not deleted.
    pub fn of_author(&self, field: Field, author: ActorId) -> Result<Vec<DocId>, IndexError> {
        let term = Term::from_field_u64(field, u64::from(author.0));
        let mut docs = Vec::new();
        if let Some(mut postings) = self.postings(&term)? {
            let mut doc = postings.doc();
            while doc != TERMINATED {
                if self.is_alive(doc) {
                    docs.push(doc);
                }
                doc = postings.advance();
            }
        }
        Ok(docs)
    }
}

/// What the column of keys has: the record key less the time of the document. Most keys are times within a second of it,
/// and what is left of them is small. The bit that says whether a key is a time goes last.
#[must_use]
pub(super) fn key_of(ts: i64, rkey: Rkey) -> i64 {
    rkey.0.rotate_left(1).cast_signed().wrapping_sub(base(ts))
}

fn rkey_of(ts: i64, key: i64) -> Rkey {
    Rkey(key.wrapping_add(base(ts)).cast_unsigned().rotate_right(1))
}

/// The record key that a TID of this time would be.
fn base(ts: i64) -> i64 {
    ts.wrapping_mul(1000 << 11)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_comes_back_and_that_of_its_time_is_small() {
        for ts in [0, -5, 1_700_000_000_000, i64::MAX, i64::MIN] {
            for rkey in [0, 1, 1 << 63, u64::MAX, 1_700_000_000_000_000 << 10] {
                assert_eq!(rkey_of(ts, key_of(ts, Rkey(rkey))), Rkey(rkey));
            }
        }
        let ts = 1_700_000_000_000_i64;
        let tid = Rkey((1_700_000_000_000_321 << 10) | 7);
        assert!((0..1 << 20).contains(&key_of(ts, tid)));
    }
}
