//! Accounts by what is typed of them: what a handle or a name begins with, and that with one slip of the finger.
//!
//! Accounts are sorted by their followers, so the first of a segment are its most followed.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use tantivy::{TERMINATED, Term};

use super::docs::Docs;
use super::slips::{self, MOST_LETTERS};
use crate::schema::ActorId;
use crate::search::index::{ActorFields, BEGINNINGS, IndexError, OpenSegment, Seen};

/// In words of so few letters no slip is looked for.
const SHORT: usize = 3;
/// Looks into the dictionary of a segment for a word with a slip.
const MOST_LOOKS: usize = 1_500;
/// Terms that a beginning may have in a segment: who names thousands of accounts alike has not all of them read.
const MOST_TERMS: usize = 10_000;
/// Up to so many accounts with a word are asked whether they are among others; of more, so many of those are looked up.
const ASKED: u64 = 50_000;
const LOOKED_UP: usize = 200;

/// An account that is looked for, maybe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Which.
    pub actor: ActorId,
    /// How many followed it when it was last written.
    pub followers: i64,
}

/// The accounts of an index, of which the most followed are given.
#[derive(Clone, Copy)]
pub struct Accounts<'a> {
    /// The index.
    pub seen: &'a Seen,
    /// Those that are not shown to anybody.
    pub hidden: &'a (dyn Fn(ActorId) -> bool + Sync),
    /// So many at most.
    pub most: usize,
}

impl Accounts<'_> {
    /// Any.
    pub fn all(&self) -> Result<Vec<Account>, IndexError> {
        self.most_followed(|segment| Ok(Docs::All(segment.end())))
    }

    /// Those whose handle begins so.
    pub fn with_handle(&self, begin: &str) -> Result<Vec<Account>, IndexError> {
        self.most_followed(|segment| {
            Docs::prefix(segment, self.seen.accounts.handle, begin, MOST_TERMS)
        })
    }

    /// Those that have all of these words in their names.
    pub fn named(&self, words: &[&str]) -> Result<Vec<Account>, IndexError> {
        self.most_followed(|segment| {
            every(segment, words, |word| {
                Docs::term(segment, &Term::from_field_text(self.seen.accounts.name, word))
            })
        })
    }

    /// Those that have words in their names which begin so, each of them.
    pub fn beginning(&self, words: &[&str]) -> Result<Vec<Account>, IndexError> {
        self.most_followed(|segment| every(segment, words, |word| self.begins(segment, word)))
    }

    /// Those of `known` of which that is true. Where very many have such words, only the first of `known` are looked at.
    pub fn beginning_of(
        &self,
        words: &[&str],
        known: &[ActorId],
    ) -> Result<Vec<Account>, IndexError> {
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let set = |known: &[ActorId]| Arc::new(known.iter().copied().collect::<FxHashSet<_>>());
        let (all, first) = (set(known), set(known.get(..LOOKED_UP).unwrap_or(known)));
        let are_few = first.len() == all.len();
        self.most_followed(|segment| {
            let docs = every(segment, words, |word| self.begins(segment, word))?;
            let known = match !are_few && docs.cost(segment) <= ASKED {
                true => Docs::Authors(Arc::clone(&all)),
                false => {
                    Docs::Authors(Arc::clone(&first)).led(segment, self.seen.accounts.author)?
                }
            };
            Ok(Docs::every(vec![docs, known], segment))
        })
    }

    /// Those that have words in their names which begin so with one slip in one of them: a letter too many, too few,
    /// another, or two swapped, though never the first.
    pub fn with_slip(&self, words: &[&str]) -> Result<Vec<Account>, IndexError> {
        let mut found = Vec::new();
        for (slipped, word) in words.iter().enumerate().filter(|(_, word)| may_slip(word)) {
            found.extend(self.most_followed(|segment| {
                // The one with the slip costs most, and need not be looked for where the others are not.
                let others = words.iter().enumerate().filter(|(at, _)| *at != slipped);
                let others: Vec<&str> = others.map(|(_, word)| *word).collect();
                let mut docs = vec![every(segment, &others, |word| self.begins(segment, word))?];
                if matches!(docs.as_slice(), [Docs::None]) {
                    return Ok(Docs::None);
                }
                docs.push(slips(segment, &self.seen.accounts, word)?);
                Ok(Docs::every(docs, segment))
            })?);
        }
        Ok(sorted(found, self.most))
    }

    /// Those that have all of these words in their names or descriptions.
    pub fn describing(&self, words: &[&str]) -> Result<Vec<Account>, IndexError> {
        self.most_followed(|segment| {
            every(segment, words, |word| {
                let fields = [self.seen.accounts.name, self.seen.accounts.bio];
                let terms = fields.map(|field| Term::from_field_text(field, word));
                Docs::of_terms(segment, &terms)
            })
        })
    }

    fn begins(&self, segment: &OpenSegment, word: &str) -> Result<Docs, IndexError> {
        Docs::of_terms(segment, &beginning(segment, &self.seen.accounts, word, MOST_TERMS)?)
    }

    /// The first so many of each segment, merged by how many follow them.
    fn most_followed(
        &self,
        docs: impl Fn(&OpenSegment) -> Result<Docs, IndexError>,
    ) -> Result<Vec<Account>, IndexError> {
        let mut found = Vec::new();
        for segment in &self.seen.actors.0 {
            let mut docs = docs(segment)?;
            let (mut next, mut taken) = (0, 0);
            while taken < self.most {
                let doc = docs.seek(next, segment);
                if doc == TERMINATED {
                    break;
                }
                next = doc + 1;
                let actor = segment.author(doc);
                if segment.is_alive(doc) && !(self.hidden)(actor) {
                    found.push(Account { actor, followers: segment.order(doc) });
                    taken += 1;
                }
            }
        }
        Ok(sorted(found, self.most))
    }
}

/// Documents for which that holds of every word; none for no words.
fn every(
    segment: &OpenSegment,
    words: &[&str],
    of: impl Fn(&str) -> Result<Docs, IndexError>,
) -> Result<Docs, IndexError> {
    let docs = words.iter().map(|word| of(word)).collect::<Result<Vec<_>, _>>()?;
    Ok(Docs::every(docs, segment))
}

/// Terms of names that begin so: a short beginning is one itself.
fn beginning(
    segment: &OpenSegment,
    fields: &ActorFields,
    word: &str,
    most: usize,
) -> Result<Vec<Term>, IndexError> {
    if is_short(word) {
        return Ok(vec![Term::from_field_text(fields.pre, word)]);
    }
    Docs::terms_beginning(segment, fields.name, word, most)
}

fn is_short(word: &str) -> bool {
    word.chars().nth(BEGINNINGS).is_none()
}

/// Whether a word is long enough to be looked for with a slip.
#[must_use]
pub fn may_slip(word: &str) -> bool {
    word.chars().count() > SHORT
}

/// Whether a name begins with a word but for one slip: what [`Accounts::with_slip`] looks for, said of one name.
#[must_use]
pub fn begins_with_slip(name: &str, word: &str) -> bool {
    let mut name: &[char] = &name.chars().collect::<Vec<_>>();
    let letters: Vec<char> = word.chars().take(MOST_LETTERS).collect();
    let mut word: &[char] = &letters;
    let first = name.first();
    if first.is_none() || first != word.first() {
        return false;
    }
    while let ([one, names @ ..], [same, words @ ..]) = (name, word)
        && one == same
    {
        (name, word) = (names, words);
    }
    let (name_rest, word_rest) = (name.get(1..), word.get(1..));
    let swapped = match (name, word) {
        ([a, b, names @ ..], [c, d, words @ ..]) => a == d && b == c && names.starts_with(words),
        _ => false,
    };
    let (names, words) = (name_rest.unwrap_or_default(), word_rest.unwrap_or_default());
    // One too many, another, one too few, two swapped.
    word.is_empty()
        || name.starts_with(words)
        || (name_rest.is_some() && (names.starts_with(words) || names.starts_with(word)))
        || swapped
}

fn sorted(mut found: Vec<Account>, most: usize) -> Vec<Account> {
    found.sort_by_key(|account| (std::cmp::Reverse(account.followers), account.actor));
    found.dedup();
    found.truncate(most);
    found
}

/// The documents that have a term that begins with this word, or would without one slip.
fn slips(segment: &OpenSegment, fields: &ActorFields, word: &str) -> Result<Docs, IndexError> {
    let field = |letters| if letters < BEGINNINGS { fields.pre } else { fields.name };
    let mut terms = Vec::new();
    let mut done = String::new();
    for begin in slips::slips(segment, &field, word, &mut { MOST_LOOKS })? {
        // In order, so what begins with one that was read comes right behind it.
        if !done.is_empty() && begin.starts_with(&done) {
            continue;
        }
        let left = MOST_TERMS.saturating_sub(terms.len());
        terms.append(&mut beginning(segment, fields, &begin, left)?);
        done = begin;
    }
    Docs::of_terms(segment, &terms)
}
