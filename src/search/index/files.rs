//! One index: its segments on disk, the thread's way to change them, and what readers see of it.
//!
//! # Invariants
//! - A commit is all or nothing, its payload with it: after a crash the index is as at the last one.
//! - What is deleted and what is added in one commit are seen together.
//! - What a view has open stays until the view goes.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tantivy::directory::{META_LOCK, MmapDirectory};
use tantivy::index::{SegmentId, SegmentMeta};
use tantivy::indexer::{AddOperation, IndexWriterOptions, NoMergePolicy, SegmentWriter};
use tantivy::schema::{Field, Schema};
use tantivy::{Directory, FutureResult, Index, IndexWriter, TantivyDocument, Term};

use super::deletes::{Deletes, Going};
use super::error::IndexError;
use super::merges::{self, Piece};
use super::schema::{self, ActorFields, NumberField, RecordFields};
use super::segment::{OpenSegment, Sorted};
use crate::schema::{ActorId, PostId};

/// The engine's least for a thread of its own that writes; that thread is never given anything.
const WRITER_LEAST: usize = 15_000_000;
/// What a segment that is written begins with; it grows with what comes.
const SEGMENT_BYTES: usize = 4 << 20;

/// The segments of an index at one commit, the newest first.
#[derive(Default)]
pub struct View(pub Vec<Arc<OpenSegment>>);

impl View {
    /// Documents that are not deleted.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.0.iter().map(|segment| u64::from(segment.alive())).sum()
    }

    /// Whether some document has a number.
    pub fn has_number(&self, field: Field, number: u64) -> Result<bool, IndexError> {
        let term = Term::from_field_u64(field, number);
        for segment in &self.0 {
            if segment.doc_freq(&term)? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many followers an account has here, at least one; none if it is not here.
    pub(super) fn followers_of(
        &self,
        of: &ActorFields,
        actor: ActorId,
    ) -> Result<Option<u64>, IndexError> {
        for segment in &self.0 {
            if let Some(doc) = segment.of_author(of.author, actor)?.first() {
                return Ok(Some(u64::try_from(segment.order(*doc)).unwrap_or(0).max(1)));
            }
        }
        Ok(None)
    }

    /// The tier that a post has in `top`.
    pub fn tier_of(&self, of: &RecordFields, post: PostId) -> Result<Option<u64>, IndexError> {
        let author = of.number(NumberField::Author);
        for segment in &self.0 {
            let own = segment.of_author(author, post.author)?;
            if let Some(doc) = own.into_iter().find(|doc| segment.rkey(*doc) == post.rkey) {
                return Ok(Some(segment.tier(doc)));
            }
        }
        Ok(None)
    }
}

/// What was written and is not committed.
#[derive(Default)]
struct Written {
    deletes: Deletes,
    segments: Vec<SegmentId>,
}

/// One index.
pub(super) struct DocIndex {
    index: Index,
    writer: IndexWriter,
    author: Field,
    sorted: Sorted,
    view: Arc<ArcSwap<View>>,
    written: Written,
    merging: Option<FutureResult<Option<SegmentMeta>>>,
}

impl DocIndex {
    /// Opens the index in a folder; one that is not there is made.
    pub(super) fn open(dir: &Path, fields: Schema, sorted: Sorted) -> Result<Self, IndexError> {
        std::fs::create_dir_all(dir).map_err(IndexError::io(dir))?;
        let author = fields.get_field(schema::AUTHOR)?;
        let column = match sorted {
            Sorted::ByTime => schema::TS,
            Sorted::ByFollowers => schema::FOLLOWERS,
        };
        let files = MmapDirectory::open(dir).map_err(tantivy::TantivyError::from)?;
        let index = Index::builder()
            .schema(fields)
            .settings(schema::sorted_by(column))
            .tokenizers(schema::tokenizers())
            .open_or_create(files)?;
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(WRITER_LEAST)
            .num_worker_threads(1)
            .num_merge_threads(1)
            .build();
        let writer: IndexWriter = index.writer_with_options(options)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        let view = Arc::default();
        let written = Written::default();
        let index = Self { index, writer, author, sorted, view, written, merging: None };
        index.look()?;
        Ok(index)
    }

    /// What the last commit said of itself.
    pub(super) fn payload(&self) -> Result<Option<String>, IndexError> {
        Ok(self.index.load_metas()?.payload)
    }

    /// What readers see.
    #[must_use]
    pub(super) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Where readers look for it.
    #[must_use]
    pub(super) fn views(&self) -> Arc<ArcSwap<View>> {
        Arc::clone(&self.view)
    }

    /// Reads every byte, whether it is what was written.
    pub(super) fn verify(&self) -> Result<(), IndexError> {
        match self.index.validate_checksum()?.into_iter().min() {
            Some(path) => Err(IndexError::Damaged(format!("checksum of {}", path.display()))),
            None => Ok(()),
        }
    }

    /// Takes documents out and puts others in with the next commit, each group into a segment of its own.
    pub(super) fn write(
        &mut self,
        groups: impl IntoIterator<Item = Vec<TantivyDocument>>,
        deletes: Deletes,
    ) -> Result<(), IndexError> {
        self.written.deletes.extend(deletes);
        for documents in groups {
            let segment = self.segment(documents)?;
            self.written.segments.extend(segment);
        }
        Ok(())
    }

    /// Whether a commit would change something.
    #[must_use]
    pub(super) fn is_changed(&self) -> bool {
        !self.written.deletes.is_empty() || !self.written.segments.is_empty()
    }

    /// What was written is there from now on.
    pub(super) fn commit(&mut self, payload: &str) -> Result<(), IndexError> {
        let Written { deletes, segments: except } = std::mem::take(&mut self.written);
        let view = self.view();
        let segments = view.0.iter().map(|segment| &**segment);
        let deletes = deletes.found_in(segments, self.author, self.sorted)?;
        if !deletes.is_empty() {
            let (author, sorted) = (self.author, self.sorted);
            self.writer.delete_query(Box::new(Going { deletes, author, sorted, except }))?;
        }
        let mut commit = self.writer.prepare_commit()?;
        commit.set_payload(payload);
        commit.commit()?;
        self.look()
    }

    fn segment(
        &mut self,
        documents: Vec<TantivyDocument>,
    ) -> Result<Option<SegmentId>, IndexError> {
        if documents.is_empty() {
            return Ok(None);
        }
        let segment = self.writer.new_segment();
        let mut writer = SegmentWriter::for_segment(SEGMENT_BYTES, segment.clone())?;
        for document in documents {
            writer.add_document(AddOperation { opstamp: 0, document })?;
        }
        let documents = writer.max_doc();
        writer.finalize()?;
        let segment = segment.with_max_doc(documents);
        segment.meta().untrack_temp_docstore();
        self.writer.add_segment(segment.meta().clone())?;
        Ok(Some(segment.id()))
    }

    /// Shows readers what was committed or merged.
    fn look(&self) -> Result<(), IndexError> {
        let before = self.view();
        // Nothing goes between reading which files there are and opening them.
        let _stays = self
            .index
            .directory()
            .acquire_lock(&META_LOCK)
            .map_err(|error| IndexError::Damaged(format!("its lock: {error}")))?;
        let mut segments = Vec::new();
        for segment in self.index.searchable_segments()? {
            let open = before.0.iter().find(|open| open.is(segment.meta()));
            segments.push(match open {
                Some(open) => Arc::clone(open),
                None => Arc::new(OpenSegment::open(segment, self.sorted)?),
            });
        }
        segments.sort_by_key(|segment| std::cmp::Reverse((segment.newest(), segment.id())));
        self.view.store(Arc::new(View(segments)));
        Ok(())
    }

    /// Ends a merge that is done and begins the next, if there is one of at most so many documents. Whether one goes on.
    pub(super) fn tend(&mut self, most: u32) -> Result<bool, IndexError> {
        if let Some(merging) = &mut self.merging {
            match merging.now_or_never() {
                None => return Ok(true),
                Some(Ok(_)) => {
                    self.merging = None;
                    self.look()?;
                }
                Some(Err(error)) => {
                    self.merging = None;
                    return Err(error.into());
                }
            }
        }
        let pieces = self.view().0.iter().map(|segment| piece(segment)).collect();
        if let Some(ids) = merges::next(pieces, most) {
            self.merging = Some(self.writer.merge(&ids));
        }
        Ok(self.merging.is_some())
    }
}

fn piece(segment: &OpenSegment) -> Piece<SegmentId> {
    Piece {
        id: segment.id(),
        alive: segment.alive(),
        deleted: segment.end().saturating_sub(segment.alive()),
        newest: segment.newest(),
        oldest: segment.oldest(),
    }
}
