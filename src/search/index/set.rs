//! The four indexes that are made and kept together, in one folder: a generation.
//!
//! The index of posts says in its commits how far all of them are, and is committed last: the others may be ahead of it
//! after a crash, never behind, and what they are ahead by comes again and changes nothing.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use tantivy::TantivyDocument;

use super::deletes::Deletes;
use super::documents::RecordDocument;
use super::error::IndexError;
use super::files::{DocIndex, View};
use super::merges::partition;
use super::schema::{ActorFields, RecordFields, SCHEMA};
use super::segment::Sorted;
use crate::changes::Position;
use crate::search::analysis::ANALYSIS;

/// Fewer documents of a partition than this go into a segment with those of others: who writes posts of all years cannot
/// make a segment for each.
const OWN_SEGMENT: usize = 200;

/// What a commit of the posts says of all indexes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Payload {
    schema: u32,
    analysis: u32,
    position: String,
}

/// The indexes of a generation.
pub(super) struct Indexes {
    posts: DocIndex,
    top: DocIndex,
    things: DocIndex,
    actors: DocIndex,
    /// Fields of posts, `top` and things.
    pub records: RecordFields,
    /// Fields of accounts.
    pub accounts: ActorFields,
}

/// What changes in the indexes at once.
#[derive(Default)]
pub(super) struct Batch {
    /// Of posts.
    pub posts: Changed<RecordDocument>,
    /// Of popular posts.
    pub top: Changed<RecordDocument>,
    /// Of lists, starter packs and feed generators.
    pub things: Changed<RecordDocument>,
    /// Of accounts.
    pub actors: Changed<TantivyDocument>,
}

/// What goes and what comes.
pub(super) struct Changed<D> {
    /// What goes; what comes anew is among it.
    pub deletes: Deletes,
    /// What comes.
    pub documents: Vec<D>,
}

impl<D> Default for Changed<D> {
    fn default() -> Self {
        Self { deletes: Deletes::default(), documents: Vec::new() }
    }
}

/// Where readers look for what is committed.
#[derive(Clone)]
pub(super) struct Views {
    posts: Arc<ArcSwap<View>>,
    top: Arc<ArcSwap<View>>,
    things: Arc<ArcSwap<View>>,
    actors: Arc<ArcSwap<View>>,
    records: RecordFields,
    accounts: ActorFields,
}

/// What a reader sees: all of it as of now, for as long as this is held.
pub struct Seen {
    /// Posts.
    pub posts: Arc<View>,
    /// Posts with interactions, by tier.
    pub top: Arc<View>,
    /// Lists, starter packs and feed generators.
    pub things: Arc<View>,
    /// Accounts.
    pub actors: Arc<View>,
    /// Fields of the first three.
    pub records: RecordFields,
    /// Fields of accounts.
    pub accounts: ActorFields,
}

impl Views {
    /// All as of now.
    #[must_use]
    pub(super) fn seen(&self) -> Seen {
        Seen {
            // The popular first: one that is in both is then no post that is gone.
            top: self.top.load_full(),
            posts: self.posts.load_full(),
            things: self.things.load_full(),
            actors: self.actors.load_full(),
            records: self.records.clone(),
            accounts: self.accounts.clone(),
        }
    }
}

impl Indexes {
    /// Opens those in a folder, or makes them.
    pub(super) fn open(dir: &Path) -> Result<Self, IndexError> {
        let (schema, records) = RecordFields::schema();
        let (actor_schema, accounts) = ActorFields::schema();
        let of_records =
            |name: &str| DocIndex::open(&dir.join(name), schema.clone(), Sorted::ByTime);
        Ok(Self {
            posts: of_records("posts")?,
            top: of_records("top")?,
            things: of_records("things")?,
            actors: DocIndex::open(&dir.join("actors"), actor_schema, Sorted::ByFollowers)?,
            records,
            accounts,
        })
    }

    /// How far they are; none if they were made by other rules, or not begun.
    pub(super) fn position(&self) -> Result<Option<Position>, IndexError> {
        let Some(payload) = self.posts.payload()? else { return Ok(None) };
        let Ok(payload) = serde_json::from_str::<Payload>(&payload) else { return Ok(None) };
        if (payload.schema, payload.analysis) != (SCHEMA, ANALYSIS) {
            return Ok(None);
        }
        let bytes = BASE64.decode(payload.position.as_bytes()).unwrap_or_default();
        Ok(Some(Position::from_bytes(&bytes)))
    }

    /// Reads every byte, whether it is what was written.
    pub(super) fn verify(&self) -> Result<(), IndexError> {
        self.all().into_iter().try_for_each(DocIndex::verify)
    }

    fn all(&self) -> [&DocIndex; 4] {
        [&self.posts, &self.top, &self.things, &self.actors]
    }

    /// Where readers look.
    #[must_use]
    pub(super) fn views(&self) -> Views {
        Views {
            posts: self.posts.views(),
            top: self.top.views(),
            things: self.things.views(),
            actors: self.actors.views(),
            records: self.records.clone(),
            accounts: self.accounts.clone(),
        }
    }

    /// What of these is already so; readers see it.
    #[must_use]
    pub(super) fn seen(&self) -> Seen {
        self.views().seen()
    }

    /// Writes what changes. Nobody sees it before the next commit, and after a crash it was never there.
    pub(super) fn write(&mut self, batch: Batch) -> Result<(), IndexError> {
        let Batch { posts, top, things, actors } = batch;
        self.posts.write(by_partition(posts.documents), posts.deletes)?;
        self.top.write(by_partition(top.documents), top.deletes)?;
        self.things.write(by_partition(things.documents), things.deletes)?;
        self.actors.write([actors.documents], actors.deletes)
    }

    /// Takes in what was written, and in the same step that all are at `position`.
    pub(super) fn commit(&mut self, position: &Position) -> Result<(), IndexError> {
        let payload = Payload {
            schema: SCHEMA,
            analysis: ANALYSIS,
            position: BASE64.encode(&position.to_bytes()),
        };
        let payload = serde_json::to_string(&payload).map_err(std::io::Error::from)?;
        for index in [&mut self.top, &mut self.things, &mut self.actors] {
            if index.is_changed() {
                index.commit(&payload)?;
            }
        }
        self.posts.commit(&payload)
    }

    /// Lets merges end and begin. Whether one goes on.
    pub(super) fn tend(&mut self, most: u32) -> Result<bool, IndexError> {
        let mut any = false;
        for index in [&mut self.posts, &mut self.top, &mut self.things, &mut self.actors] {
            // One at a time.
            if !any {
                any = index.tend(most)?;
            }
        }
        Ok(any)
    }
}

/// The groups of documents that become a segment each.
fn by_partition(mut documents: Vec<RecordDocument>) -> Vec<Vec<TantivyDocument>> {
    documents.sort_by_key(|document| std::cmp::Reverse(document.ts));
    let groups = documents.chunk_by(|a, b| partition(a.ts) == partition(b.ts));
    let sizes: Vec<usize> = groups.map(<[_]>::len).collect();
    let alone = sizes.iter().filter(|size| **size < OWN_SEGMENT).count() < 2;
    let (mut out, mut mixed) = (Vec::new(), Vec::new());
    let mut documents = documents.into_iter().map(|document| document.document);
    for size in sizes {
        let group = documents.by_ref().take(size);
        if size >= OWN_SEGMENT || alone {
            out.push(group.collect());
        } else {
            mixed.extend(group);
        }
    }
    out.push(mixed);
    out
}
