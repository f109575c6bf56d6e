//! What a plan wants, the newest first, over all segments, from any position on.
//!
//! Segments are merged by their next document; one whose newest is older than what is taken is never looked into. Within
//! one millisecond records are in the order of their accounts and keys, so that a page goes on exactly where the one
//! before ended, whatever was written or merged meanwhile.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

use tantivy::{DocId, TERMINATED};

use super::docs::Docs;
use super::plan::Ask;
use crate::schema::{ActorId, PostId, Rkey};
use crate::search::index::{IndexError, NumberField, OpenSegment, RecordFields, View};

/// Records of one millisecond that are gathered at a time. People write a few; who writes millions with one date has them
/// found all the same.
const AT_ONCE: usize = 1_024;
/// Documents between two looks at the clock.
const STRIDE: u32 = 256;

/// A record at its place in the order, the smallest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Its time, milliseconds.
    pub ts: i64,
    /// Which record. Of a thing, its account and key.
    pub post: PostId,
}

impl Position {
    /// After all of a time.
    fn before_all_of(ts: i64) -> Self {
        Self { ts, post: PostId { author: ActorId(u32::MAX), rkey: Rkey(u64::MAX) } }
    }
}

/// A record that a plan wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is in the order, and which it is.
    pub at: Position,
    /// Its collection's number.
    pub coll: u32,
    /// How many interactions it has, by powers of two, if it comes from `top`.
    pub tier: u64,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This.
    Found(Candidate),
    /// Nothing.
    End,
    /// Nobody knows: there was no time left. All before this position was looked at.
    Late(Position),
}

/// What a plan wants, one after the other.
pub struct Newest<'a> {
    ask: Ask<'a>,
    fields: &'a RecordFields,
    streams: Vec<Stream>,
    heads: BinaryHeap<(Position, Reverse<usize>)>,
    after: Option<Position>,
}

struct Stream {
    segment: Arc<OpenSegment>,
    docs: Option<Docs>,
    next: DocId,
    /// Those of one time, the next one last.
    run: Vec<Candidate>,
    /// The run had more than was gathered: where it begins, and the last that was.
    again: Option<(DocId, Position)>,
    looked: u32,
}

enum Filled {
    Yes,
    Ended,
    Late(i64),
}

impl<'a> Newest<'a> {
    /// What comes after a position, or all.
    #[must_use]
    pub fn new(
        view: &View,
        fields: &'a RecordFields,
        ask: Ask<'a>,
        after: Option<Position>,
    ) -> Self {
        let last = ask.span.until.saturating_sub(1).min(after.map_or(i64::MAX, |at| at.ts));
        let (mut streams, mut heads) = (Vec::new(), BinaryHeap::new());
        for segment in &view.0 {
            if segment.oldest() > last || segment.newest() < ask.span.since {
                continue;
            }
            let first = Position::before_all_of(segment.newest().min(last));
            heads.push((first, Reverse(streams.len())));
            streams.push(Stream {
                segment: Arc::clone(segment),
                docs: None,
                next: 0,
                run: Vec::new(),
                again: None,
                looked: 0,
            });
        }
        Self { ask, fields, streams, heads, after }
    }

    /// The next one.
    pub fn advance(&mut self) -> Result<Next, IndexError> {
        while let Some((at, Reverse(number))) = self.heads.pop() {
            let Some(stream) = self.streams.get_mut(number) else { continue };
            let mut found = None;
            // A head that stands for none yet is only where the segment begins.
            if stream.run.last().is_some_and(|next| next.at == at) {
                found = stream.run.pop();
            }
            if stream.run.is_empty() {
                match stream.fill(&self.ask, self.fields, self.after)? {
                    Filled::Yes | Filled::Ended => {}
                    Filled::Late(ts) => {
                        let head = Position::before_all_of(ts);
                        self.heads.push((head, Reverse(number)));
                        if found.is_none() {
                            let newest = self.heads.peek().map_or(head, |(at, _)| *at);
                            return Ok(Next::Late(newest));
                        }
                    }
                }
            }
            if let Some(next) = stream.run.last() {
                self.heads.push((next.at, Reverse(number)));
            }
            if let Some(found) = found {
                return Ok(Next::Found(found));
            }
        }
        Ok(Next::End)
    }
}

impl Stream {
    /// Gathers what is of the next time that has any.
    fn fill(
        &mut self,
        ask: &Ask<'_>,
        fields: &RecordFields,
        after: Option<Position>,
    ) -> Result<Filled, IndexError> {
        let segment = Arc::clone(&self.segment);
        let author = fields.number(NumberField::Author);
        let open = || Docs::of(ask.plan, &segment, fields)?.led(&segment, author);
        let mut below = after;
        let mut docs = match (self.docs.take(), self.again.take()) {
            (_, Some((from, last))) => {
                self.next = from;
                below = Some(last);
                open()?
            }
            (Some(docs), None) => docs,
            (None, None) => {
                let last = ask.span.until.saturating_sub(1);
                let last = after.map_or(last, |after| after.ts.min(last));
                self.next = segment.first_at_most(last);
                open()?
            }
        };
        let filled = self.gather(&mut docs, ask, below);
        self.docs = Some(docs);
        Ok(filled)
    }

    fn gather(&mut self, docs: &mut Docs, ask: &Ask<'_>, below: Option<Position>) -> Filled {
        let segment = Arc::clone(&self.segment);
        let mut smallest: BinaryHeap<Reverse<(Position, u32, u64)>> = BinaryHeap::new();
        let (mut of, mut from) = (None, self.next);
        let mut full = false;
        loop {
            self.looked += 1;
            if self.looked.is_multiple_of(STRIDE) && Instant::now() >= ask.deadline && of.is_none()
            {
                let late =
                    if self.next < segment.end() { segment.order(self.next) } else { i64::MIN };
                return Filled::Late(late);
            }
            let doc = docs.seek(self.next, &segment);
            if doc == TERMINATED {
                self.next = TERMINATED;
                break;
            }
            let ts = segment.order(doc);
            if of.is_some_and(|of| of != ts) {
                self.next = doc;
                break;
            }
            if ts < ask.span.since {
                self.next = TERMINATED;
                break;
            }
            self.next = doc + 1;
            if !segment.is_alive(doc) || (ask.hidden)(segment.author(doc)) {
                continue;
            }
            let at = Position { ts, post: segment.post(doc) };
            if below.is_some_and(|below| at >= below) {
                continue;
            }
            if of.is_none() {
                (of, from) = (Some(ts), doc);
            }
            smallest.push(Reverse((at, segment.coll(doc), segment.tier(doc))));
            if smallest.len() > AT_ONCE {
                smallest.pop();
                full = true;
            }
        }
        // The heap gives the smallest first, and it is taken last.
        let mut run = Vec::with_capacity(smallest.len());
        while let Some(Reverse((at, coll, tier))) = smallest.pop() {
            run.push(Candidate { at, coll, tier });
        }
        self.again = full.then(|| run.first().map(|last| (from, last.at))).flatten();
        self.run = run;
        if self.run.is_empty() { Filled::Ended } else { Filled::Yes }
    }
}
