//! Pages of what is ranked: the list is made for each page, and goes on behind the last that was given.

use std::cmp::Ordering;

use crate::schema::PostId;
use crate::search::cursor::{Cursor, Malformed};

/// What was found at its place among the best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Best {
    pub score: f64,
    /// A post; of an account the author alone, of a thing its account and key.
    pub of: PostId,
}

/// Where a page begins: the time that all scores are of, and behind whom.
pub(super) type After = Option<(i64, Best)>;

/// Where a cursor goes on in a ranked list of the search that this number stands for.
pub(super) fn from(cursor: Option<&str>, search: u64) -> Result<After, Malformed> {
    match cursor.filter(|text| !text.is_empty()).map(|text| Cursor::read(text, search)) {
        None => Ok(None),
        Some(Ok(Cursor::Top { now, score, post })) => Ok(Some((now, Best { score, of: post }))),
        Some(_) => Err(Malformed),
    }
}

/// The better first, and of equals the newer key.
pub(super) fn order(a: &Best, b: &Best) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| b.of.cmp(&a.of))
}

/// The next so many of a list in order that `keep` lets through, and behind whom to go on if there are more.
pub(super) fn page<E>(
    mut best: Vec<Best>,
    after: After,
    limit: usize,
    keep: &mut impl FnMut(Vec<PostId>) -> Result<Vec<PostId>, E>,
) -> Result<(Vec<PostId>, Option<Best>), E> {
    if let Some((_, after)) = after {
        best.retain(|at| order(at, &after) == Ordering::Greater);
    }
    let mut best = best.into_iter().peekable();
    let (mut found, mut last) = (Vec::new(), None);
    while found.len() < limit && best.peek().is_some() {
        let batch: Vec<_> = best.by_ref().take(limit - found.len()).collect();
        last = batch.last().copied();
        found.append(&mut keep(batch.into_iter().map(|at| at.of).collect())?);
    }
    let more = best.peek().is_some();
    Ok((found, last.filter(|_| more)))
}

/// The cursor behind somebody.
pub(super) fn cursor(last: Option<Best>, now: i64, search: u64) -> Option<String> {
    last.map(|Best { score, of }| Cursor::Top { now, score, post: of }.write(search))
}

/// The logarithm of one more.
pub(super) fn log2(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "its logarithm is asked for")]
    let count = count as f64;
    (1.0 + count).log2()
}

/// A number of which only the first two digits are known.
pub(super) fn rounded(number: u64) -> u64 {
    let digits = number.checked_ilog10().unwrap_or(0);
    let unit = 10_u64.pow(digits.saturating_sub(1));
    number / unit * unit
}
