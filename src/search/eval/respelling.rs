//! What somebody meant who typed a word that no post has.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use tantivy::{DocSet as _, TERMINATED, Term};

use super::slips::{MOST_LETTERS, slips};
use crate::search::index::{IndexError, OpenSegment, Seen, TextField};

/// A shorter word is one letter from too many others.
const SHORTEST: usize = 6;
/// Looks into dictionaries for one search: the newest segments have most of them, and what is common is in each.
const MOST_LOOKS: usize = 10_000;

/// Finds other words, for one search.
pub struct Respelling<'a> {
    seen: &'a Seen,
    left: usize,
}

impl<'a> Respelling<'a> {
    /// With all looks.
    #[must_use]
    pub fn new(seen: &'a Seen) -> Self {
        Self { seen, left: MOST_LOOKS }
    }

    /// The commonest word of posts one slip from this one; none if a post has it as it is, or if it is short.
    pub fn of(&mut self, word: &str) -> Result<Option<String>, IndexError> {
        let letters = word.chars().count();
        if !(SHORTEST..=MOST_LETTERS).contains(&letters) || self.is_known(word)? {
            return Ok(None);
        }
        let field = self.seen.records.text(TextField::Text);
        let mut known: BTreeMap<String, u64> = BTreeMap::new();
        for segment in &self.seen.posts.0 {
            for slip in slips(segment, &|_| field, word, &mut self.left)? {
                self.left = self.left.saturating_sub(1);
                let posts = segment.doc_freq(&Term::from_field_text(field, &slip))?;
                // The word as it is, of a post that is gone, is none.
                if posts > 0 && slip != word {
                    *known.entry(slip).or_default() += u64::from(posts);
                }
            }
            if self.left == 0 {
                break;
            }
        }
        // Of equally common ones always the same.
        let commonest = known.into_iter().min_by_key(|(_, posts)| Reverse(*posts));
        Ok(commonest.map(|(word, _)| word))
    }

    fn is_known(&self, word: &str) -> Result<bool, IndexError> {
        let fields = [TextField::Text, TextField::More, TextField::Tag];
        for field in fields.map(|field| self.seen.records.text(field)) {
            let term = Term::from_field_text(field, word);
            for segment in &self.seen.posts.0 {
                if is_alive(segment, &term)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Whether a document has the term that is not deleted.
fn is_alive(segment: &OpenSegment, term: &Term) -> Result<bool, IndexError> {
    let Some(mut postings) = segment.postings(term)? else { return Ok(false) };
    while postings.doc() != TERMINATED {
        if segment.is_alive(postings.doc()) {
            return Ok(true);
        }
        postings.advance();
    }
    Ok(false)
}
