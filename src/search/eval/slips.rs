//! Words that are one slip of the finger from a typed one: a letter too many, too few, another, or two swapped, though
//! never the first.
//!
//! Instead of every letter of every script only those are tried that the dictionary has after what comes before the slip.

use std::collections::BTreeSet;

use tantivy::schema::Field;

use crate::search::index::{IndexError, OpenSegment};

/// Letters between which a slip may be that are tried.
pub(super) const MOST_LETTERS: usize = 24;

/// Letters that are tried in one place: who names things with every character there is has not all of them tried.
const MOST_TRIED: usize = 64;

/// What the word would be without one slip, be it a word or what words begin with. Of a longer one only the first letters
/// are looked at. It takes a look into the dictionary for each letter that may be another, while some are `left`,
/// in the field that has terms of so many letters.
pub(super) fn slips(
    segment: &OpenSegment,
    field: &dyn Fn(usize) -> Field,
    word: &str,
    left: &mut usize,
) -> Result<BTreeSet<String>, IndexError> {
    let letters: Vec<char> = word.chars().take(MOST_LETTERS).collect();
    let text = |range: &[char]| range.iter().collect::<String>();
    let mut slips = BTreeSet::new();
    for at in 1..=letters.len() {
        let (before, rest) = letters.split_at(at);
        let before = text(before);
        let after = rest.get(1..);
        if let Some(after) = after {
            // One too many.
            slips.insert(before.clone() + &text(after));
        }
        if let [first, second, others @ ..] = rest
            && first != second
        {
            slips.insert(format!("{before}{second}{first}{}", text(others)));
        }
        for letter in letters_after(segment, field(at), &before, left)? {
            if let Some(after) = after {
                // Another.
                slips.insert(format!("{before}{letter}{}", text(after)));
            }
            // One too few.
            slips.insert(format!("{before}{letter}{}", text(rest)));
        }
    }
    Ok(slips)
}

/// Letters that some term has after this beginning: one look for each.
fn letters_after(
    segment: &OpenSegment,
    field: Field,
    begin: &str,
    left: &mut usize,
) -> Result<Vec<char>, IndexError> {
    let mut letters: Vec<char> = Vec::new();
    let mut from = begin.to_owned();
    while *left > 0 && letters.len() < MOST_TRIED {
        *left -= 1;
        let mut next = None;
        segment.terms_from(field, from.as_bytes(), &mut |term, _| {
            let rest = term.strip_prefix(begin.as_bytes());
            let letter = rest.and_then(|rest| std::str::from_utf8(rest).ok()?.chars().next());
            next = rest.map(|_| letter);
            // The beginning itself may be a term.
            rest.is_some() && letter.is_none()
        })?;
        let Some(Some(letter)) = next else { break };
        letters.push(letter);
        // The next in the order of code points, which is that of the bytes.
        let Some(after) = (letter..=char::MAX).nth(1) else { break };
        from = format!("{begin}{after}");
    }
    Ok(letters)
}
