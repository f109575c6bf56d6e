//! Accounts by what is typed of them: an exact handle, what a name begins with, and that with one slip of the finger.
//!
//! Accounts are sorted by their followers, so the first of a segment are its most followed.

use tantivy::schema::Field;
use tantivy::{TERMINATED, Term};

use super::docs::Docs;
use super::slips;
use crate::schema::ActorId;
use crate::search::index::{IndexError, OpenSegment, Seen};

/// Words of so few letters have a field of their own.
const SHORT: usize = 3;
/// Looks into the dictionary of a segment for a word with a slip.
const MOST_LOOKS: usize = 20_000;

/// An account that is looked for, maybe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Which.
    pub actor: ActorId,
    /// How many followed it when it was last written.
    pub followers: i64,
}

/// The accounts of a handle, which is one or none.
pub fn with_handle(seen: &Seen, handle: &str) -> Result<Vec<Account>, IndexError> {
    let term = Term::from_field_text(seen.accounts.handle, &handle.to_ascii_lowercase());
    most_followed(seen, 1, |segment| Docs::term(segment, &term))
}

/// The most followed accounts that have all of these words in their names, the last of them as a beginning.
pub fn beginning(seen: &Seen, words: &[&str], most: usize) -> Result<Vec<Account>, IndexError> {
    let Some((last, whole)) = words.split_last() else { return Ok(Vec::new()) };
    most_followed(seen, most, |segment| {
        let mut docs = vec![begins(seen, segment, last)?];
        for word in whole {
            docs.push(begins(seen, segment, word)?);
        }
        Ok(Docs::every(docs, segment))
    })
}

/// The same with one slip in one of the words: a letter too many, too few, another, or two swapped, though never the first.
pub fn with_slip(seen: &Seen, words: &[&str], most: usize) -> Result<Vec<Account>, IndexError> {
    let mut found = Vec::new();
    for (slipped, _) in words.iter().enumerate().filter(|(_, word)| word.chars().count() > SHORT) {
        found.extend(most_followed(seen, most, |segment| {
            let mut docs = Vec::new();
            for (at, word) in words.iter().enumerate() {
                docs.push(if at == slipped {
                    slips(segment, seen.accounts.name, word)?
                } else {
                    begins(seen, segment, word)?
                });
            }
            Ok(Docs::every(docs, segment))
        })?);
    }
    Ok(sorted(found, most))
}

/// The most followed accounts that have all of these words in their names or descriptions.
pub fn describing(seen: &Seen, words: &[&str], most: usize) -> Result<Vec<Account>, IndexError> {
    most_followed(seen, most, |segment| {
        let mut docs = Vec::new();
        for word in words {
            let fields = [seen.accounts.name, seen.accounts.bio];
            let terms = fields.map(|field| Term::from_field_text(field, word));
            docs.push(Docs::of_terms(segment, &terms)?);
        }
        Ok(Docs::every(docs, segment))
    })
}

fn begins(seen: &Seen, segment: &OpenSegment, word: &str) -> Result<Docs, IndexError> {
    if word.chars().count() <= SHORT {
        return Docs::term(segment, &Term::from_field_text(seen.accounts.pre, word));
    }
    Docs::prefix(segment, seen.accounts.name, word)
}

/// The first so many of each segment, merged by how many follow them.
fn most_followed(
    seen: &Seen,
    most: usize,
    docs: impl Fn(&OpenSegment) -> Result<Docs, IndexError>,
) -> Result<Vec<Account>, IndexError> {
    let mut found = Vec::new();
    for segment in &seen.actors.0 {
        let mut docs = docs(segment)?;
        let (mut next, mut taken) = (0, 0);
        while taken < most {
            let doc = docs.seek(next, segment);
            if doc == TERMINATED {
                break;
            }
            next = doc + 1;
            if segment.is_alive(doc) {
                found.push(Account { actor: segment.author(doc), followers: segment.order(doc) });
                taken += 1;
            }
        }
    }
    Ok(sorted(found, most))
}

fn sorted(mut found: Vec<Account>, most: usize) -> Vec<Account> {
    found.sort_by_key(|account| (std::cmp::Reverse(account.followers), account.actor));
    found.dedup();
    found.truncate(most);
    found
}

/// The documents that have a term that begins with this word, or would without one slip.
fn slips(segment: &OpenSegment, field: Field, word: &str) -> Result<Docs, IndexError> {
    let mut docs = Vec::new();
    for begin in slips::slips(segment, field, word, &mut { MOST_LOOKS })? {
        docs.push(Docs::prefix(segment, field, &begin)?);
    }
    Ok(Docs::any(docs))
}
