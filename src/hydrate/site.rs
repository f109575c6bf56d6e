//! Records of `site.standard.*` behind a link: the document, and the publication that it says it belongs to.
//!
//! A post pins versions of them (`external.associatedRefs`). Only the present version of a record is held, so a link
//! whose records were changed since is shown as the post has it.
//!
//! # Invariants
//! - A pair agrees: the document's `site` is the publication's URI, or no publication.
//! - Where one of the two is hidden, so is the other.

use super::post_state::{PostState, SitePair};
use super::state::HydrationState;
use super::{Hydrator, Result};
use crate::repo::fields;
use crate::schema::{ActorId, PostId, RecordId, Rows, Target, collections as c};

/// A record that a link names, and what decides whether it is shown.
struct SiteRecord {
    id: RecordId,
    uri: String,
    site: String,
    hidden: bool,
}

impl SiteRecord {
    fn is_document(&self) -> bool {
        self.id.coll == c::SITE_DOCUMENT
    }

    /// Whether a document belongs to a publication, not to a site without a record.
    fn has_publication(&self) -> bool {
        self.site.starts_with("at://")
    }
}

impl Hydrator<'_> {
    /// Adds the records behind the links of posts.
    pub(super) fn post_sites(&self, state: &mut PostState, posts: &[PostId]) -> Result<()> {
        for &id in posts {
            let Some(post) = state.post(id) else { continue };
            let record = std::sync::Arc::clone(&post.record);
            let refs = record.embed.as_ref().map_or(&[][..], |embed| embed.site_refs());
            if refs.is_empty() || state.sites.contains_key(&id) {
                continue;
            }
            let mut found = Vec::new();
            for (uri, cid) in refs {
                found.extend(self.site_record(&mut state.base, uri, Some(cid))?);
            }
            if let Some(pair) = pinned(&mut found) {
                self.site_owners(&mut state.base, pair)?;
                state.sites.insert(id, pair);
            }
        }
        Ok(())
    }

    /// The records that `uris` name, for a link that is yet to be posted. A document brings its publication along.
    pub fn site_pair(&self, state: &mut HydrationState, uris: &[String]) -> Result<SitePair> {
        let mut found: Vec<SiteRecord> = Vec::new();
        for uri in uris {
            found.extend(self.site_record(state, uri, None)?);
        }
        let sites: Vec<String> =
            found.iter().filter(|f| f.has_publication()).map(|f| f.site.clone()).collect();
        for site in sites {
            if !found.iter().any(|f| f.uri == site) {
                found.extend(self.site_record(state, &site, None)?);
            }
        }
        let pair = latest(&mut found).unwrap_or_default();
        self.site_owners(state, pair)?;
        Ok(pair)
    }

    fn site_record(
        &self,
        state: &mut HydrationState,
        uri: &str,
        cid: Option<&str>,
    ) -> Result<Option<SiteRecord>> {
        let id = self.snapshot.target(uri)?.and_then(Target::record);
        let of_site = |id: &RecordId| [c::SITE_DOCUMENT, c::SITE_PUBLICATION].contains(&id.coll);
        let Some(id) = id.filter(of_site) else { return Ok(None) };
        self.view_record(state, id)?;
        let shown = state.record(id).cloned();
        let hidden = shown.is_none();
        let record = if hidden { self.load_record(id, &mut state.room)? } else { shown };
        Ok(record.filter(|record| cid.is_none_or(|cid| cid == record.cid)).map(|record| {
            SiteRecord {
                id,
                uri: record.uri.to_string(),
                site: fields::string(&record.value, "site").unwrap_or_default(),
                hidden,
            }
        }))
    }

    fn site_owners(&self, state: &mut HydrationState, pair: SitePair) -> Result<()> {
        let owners = [pair.document, pair.publication].into_iter().flatten();
        let owners: Vec<ActorId> = owners.map(|id| id.actor).collect();
        self.profiles(state, &owners)
    }
}

/// Hides what belongs to something hidden.
fn hide_pairs(found: &mut [SiteRecord]) {
    let pairs: Vec<(RecordId, RecordId)> = found
        .iter()
        .filter(|f| f.is_document())
        .flat_map(|doc| {
            let publication = found.iter().filter(|f| !f.is_document() && f.uri == doc.site);
            publication.map(|publication| (doc.id, publication.id))
        })
        .collect();
    for (document, publication) in pairs {
        let of_pair = |f: &&mut SiteRecord| f.id == document || f.id == publication;
        if found.iter().any(|f| f.hidden && (f.id == document || f.id == publication)) {
            found.iter_mut().filter(of_pair).for_each(|f| f.hidden = true);
        }
    }
}

/// What a post pinned: both have to be there, and to agree.
fn pinned(found: &mut [SiteRecord]) -> Option<SitePair> {
    hide_pairs(found);
    let document = found.iter().find(|f| f.is_document() && !f.hidden);
    let publication = found.iter().find(|f| !f.is_document() && !f.hidden);
    match (document, publication) {
        (None, None) => return None,
        (Some(document), Some(publication)) if document.site != publication.uri => return None,
        (Some(document), None) if document.has_publication() => return None,
        _ => {}
    }
    Some(SitePair { document: document.map(|f| f.id), publication: publication.map(|f| f.id) })
}

/// The first document with its publication, or else the first publication.
fn latest(found: &mut [SiteRecord]) -> Option<SitePair> {
    hide_pairs(found);
    let mut publications = found.iter().filter(|f| !f.is_document() && !f.hidden);
    let Some(document) = found.iter().find(|f| f.is_document() && !f.hidden) else {
        let publication = publications.next()?.id;
        return Some(SitePair { document: None, publication: Some(publication) });
    };
    let publication = if document.has_publication() {
        Some(publications.find(|f| f.uri == document.site)?.id)
    } else {
        None
    };
    Some(SitePair { document: Some(document.id), publication })
}
