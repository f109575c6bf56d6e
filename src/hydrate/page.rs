//! Pages of what is ordered by time: newest first, ties by a text (mostly the record's CID), with the cursor
//! `{milliseconds}__{text}`.
//!
//! # Invariants
//! - Following cursors to the end gives every row once, as long as nothing changes in between.

use super::Result;

/// Rows of one millisecond that are sorted by their tie; more of them are left out. Only made-up times come near it.
const MAX_TIE: usize = 2_000;

/// Rows of an account that are read and sorted for a page, where no index has them in its order. Of more a page is in the
/// order of the rows' keys.
pub(super) const MAX_SORTED: usize = 10_000;

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeCursor {
    /// Time of the last row.
    pub ms: i64,
    /// What decides among rows of the same time.
    pub tie: String,
}

impl TimeCursor {
    /// Reads a cursor; `None` if it is malformed. The number is read as leniently as the reference does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (ms, tie) = text.split_once("__")?;
        if ms.is_empty() || tie.is_empty() || tie.contains("__") {
            return None;
        }
        let ms = ms.trim_start();
        let digits = ms.strip_prefix('-').unwrap_or(ms);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let value: i64 = digits.get(..end)?.parse().ok().filter(|v| *v <= 8_640_000_000_000_000)?;
        Some(Self { ms: if ms.starts_with('-') { -value } else { value }, tie: tie.to_owned() })
    }
}

impl std::fmt::Display for TimeCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}__{}", self.ms, self.tie)
    }
}

/// A page and where it ended, if there is more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// For the next page.
    pub cursor: Option<String>,
}

impl<T> Page<T> {
    /// Nothing, and nothing more.
    #[must_use]
    pub fn empty() -> Self {
        Self { items: Vec::new(), cursor: None }
    }
}

/// Takes rows newest first until a page is full.
#[derive(Debug)]
pub struct Collector<'c, T> {
    limit: usize,
    cursor: Option<&'c TimeCursor>,
    rows: Vec<(i64, T)>,
    /// Rows that are older than the cursor, and so are on this page or behind it. Of those of the cursor's own millisecond
    /// only the tie decides, later.
    sure: usize,
    full_at: Option<i64>,
}

impl<'c, T> Collector<'c, T> {
    /// A page of `limit` rows after `cursor`.
    #[must_use]
    pub fn new(limit: usize, cursor: Option<&'c TimeCursor>) -> Self {
        Self { limit, cursor, rows: Vec::with_capacity(limit + 2), sure: 0, full_at: None }
    }

    /// Adds the next row, not newer than the one before; `false` when no more are needed.
    pub fn push(&mut self, ms: i64, row: T) -> bool {
        if self.cursor.is_some_and(|c| ms > c.ms) {
            return true;
        }
        if self.full_at.is_some_and(|full| ms < full) || self.rows.len() > self.limit + MAX_TIE {
            return false;
        }
        self.rows.push((ms, row));
        if self.cursor.is_none_or(|c| ms < c.ms) {
            self.sure += 1;
            if self.sure == self.limit + 1 {
                self.full_at = Some(ms);
            }
        }
        true
    }

    /// The rows in their final order, with their times: one more than fits if there is more. `tie` is asked only
    /// where it decides.
    pub fn rows(self, tie: impl Fn(&T) -> Result<String>) -> Result<Vec<(i64, T)>> {
        let mut out = Vec::with_capacity(self.rows.len());
        let mut group: Vec<(String, T)> = Vec::new();
        let mut rows = self.rows.into_iter().peekable();
        while let Some((ms, row)) = rows.next() {
            let tied = rows.peek().is_some_and(|(next, _)| *next == ms);
            let at_cursor = self.cursor.filter(|c| c.ms == ms);
            if !tied && group.is_empty() && at_cursor.is_none() {
                out.push((ms, row));
                continue;
            }
            group.push((tie(&row)?, row));
            if tied {
                continue;
            }
            group.sort_by(|(a, _), (b, _)| b.cmp(a));
            let group = std::mem::take(&mut group).into_iter();
            out.extend(
                group
                    .filter(|(t, _)| at_cursor.is_none_or(|c| *t < c.tie))
                    .map(|(_, row)| (ms, row)),
            );
        }
        out.truncate(self.limit + 1);
        Ok(out)
    }

    /// The page.
    pub fn page(self, tie: impl Fn(&T) -> Result<String>) -> Result<Page<T>> {
        let limit = self.limit;
        page(self.rows(&tie)?, limit, tie)
    }
}

/// Rows with their times, the latest first.
pub(super) struct Sorted<T>(Vec<(i64, T)>);

impl<T: Copy> Sorted<T> {
    pub(super) fn new(mut rows: Vec<(i64, T)>) -> Self {
        rows.sort_by_key(|(sort, _)| std::cmp::Reverse(*sort));
        Self(rows)
    }

    pub(super) fn page(
        &self,
        cursor: Option<&TimeCursor>,
        limit: usize,
        tie: impl Fn(&T) -> Result<String>,
    ) -> Result<Page<T>> {
        self.page_of(cursor, limit, |_| Ok(true), tie)
    }

    /// A page of those that count.
    pub(super) fn page_of(
        &self,
        cursor: Option<&TimeCursor>,
        limit: usize,
        counts: impl Fn(&T) -> Result<bool>,
        tie: impl Fn(&T) -> Result<String>,
    ) -> Result<Page<T>> {
        let newer = cursor.map_or(0, |c| self.0.partition_point(|(sort, _)| *sort > c.ms));
        let mut out = Collector::new(limit, cursor);
        for (sort, row) in self.0.iter().skip(newer) {
            if counts(row)? && !out.push(*sort, *row) {
                break;
            }
        }
        out.page(tie)
    }
}

/// Cuts rows to a page, with a cursor if there are more than `limit`.
pub fn page<T>(
    mut rows: Vec<(i64, T)>,
    limit: usize,
    tie: impl Fn(&T) -> Result<String>,
) -> Result<Page<T>> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let cursor = match rows.last() {
        Some((ms, last)) if more => Some(TimeCursor { ms: *ms, tie: tie(last)? }.to_string()),
        _ => None,
    };
    Ok(Page { items: rows.into_iter().map(|(_, row)| row).collect(), cursor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors() {
        for (text, expect) in [
            ("5__x", Some((5, "x"))),
            ("5a__x", Some((5, "x"))),
            ("-5__x", Some((-5, "x"))),
            ("5", None),
            ("5__", None),
            ("__x", None),
            ("a__x", None),
            ("5__x__y", None),
            ("99999999999999999__x", None),
            ("9999999999999999999999__x", None),
            ("!!!", None),
        ] {
            let got = TimeCursor::parse(text);
            assert_eq!(got.as_ref().map(|c| (c.ms, c.tie.as_str())), expect, "{text}");
        }
    }

    #[test]
    fn pages_give_every_row_once_in_order() {
        let all: Vec<(i64, &str)> = vec![
            (9, "a"),
            (8, "b"),
            (7, "c"),
            (7, "e"),
            (7, "d"),
            (7, "a"),
            (5, "a"),
            (1, "z"),
            (1, "y"),
        ];
        let mut expect = all.clone();
        expect.sort_by(|a, b| b.cmp(a));
        for limit in 1..=all.len() + 1 {
            let (mut got, mut cursor) = (Vec::new(), None);
            loop {
                let mut page = Collector::new(limit, cursor.as_ref());
                for (ms, row) in &all {
                    if !page.push(*ms, (*ms, *row)) {
                        break;
                    }
                }
                let page = page.page(|(_, tie)| Ok((*tie).to_owned())).unwrap();
                assert!(page.items.len() <= limit);
                got.extend(page.items);
                let Some(next) = page.cursor else { break };
                cursor = TimeCursor::parse(&next);
            }
            assert_eq!(got, expect, "limit {limit}");
        }
    }

    #[test]
    fn a_full_page_stops_the_scan() {
        let mut page = Collector::new(2, None);
        let pushed: Vec<bool> = [9, 8, 7, 7, 6].iter().map(|ms| page.push(*ms, ())).collect();
        assert_eq!(pushed, [true, true, true, true, false]);
    }
}
