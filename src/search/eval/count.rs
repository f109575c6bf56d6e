//! How many documents a plan wants: exactly while they are few, then about.

use std::time::Instant;

use tantivy::TERMINATED;

use super::docs::Docs;
use super::plan::Ask;
use crate::search::index::{IndexError, NumberField, RecordFields, View};

/// Documents that are looked at before the rest is taken to be like them: of so many only two digits are said.
const LOOKED_AT: u64 = 20_000;
/// Documents between two looks at the clock.
const STRIDE: u64 = 1_024;

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Exactly(u64),
    /// About so many.
    About(u64),
}

impl Count {
    /// The number.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Exactly(n) | Self::About(n) => n,
        }
    }
}

/// How many documents a plan wants.
pub fn count(view: &View, fields: &RecordFields, ask: &Ask<'_>) -> Result<Count, IndexError> {
    let author = fields.number(NumberField::Author);
    let last = ask.span.until.saturating_sub(1);
    let ranges = view
        .0
        .iter()
        .filter(|segment| segment.newest() >= ask.span.since && segment.oldest() <= last);
    let ranges: Vec<_> = ranges
        .map(|segment| {
            let from = segment.first_at_most(last);
            let to = match ask.span.since.checked_sub(1) {
                Some(before) => segment.first_at_most(before),
                None => segment.end(),
            };
            (segment, from, to)
        })
        .collect();
    let all: u64 = ranges.iter().map(|(_, from, to)| u64::from(to.saturating_sub(*from))).sum();
    let (mut found, mut looked, mut passed) = (0_u64, 0_u64, 0_u64);
    for (segment, from, to) in ranges {
        let mut docs = Docs::of(ask.plan, segment, fields)?.led(segment, author)?;
        let mut next = from;
        loop {
            let doc = docs.seek(next, segment);
            if doc == TERMINATED || doc >= to {
                break;
            }
            next = doc + 1;
            looked += 1;
            found += u64::from(segment.is_alive(doc) && !(ask.hidden)(segment.author(doc)));
            let late = looked.is_multiple_of(STRIDE) && Instant::now() >= ask.deadline;
            if late || looked >= LOOKED_AT {
                let passed = passed + u64::from(next.saturating_sub(from));
                return Ok(Count::About(scaled(found, all, passed)));
            }
        }
        passed += u64::from(to.saturating_sub(from));
    }
    Ok(Count::Exactly(found))
}

/// As many of all as of a part.
fn scaled(found: u64, all: u64, part: u64) -> u64 {
    let scaled = u128::from(found) * u128::from(all) / u128::from(part.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}
