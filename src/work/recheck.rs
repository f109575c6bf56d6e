//! Accounts about which something has to be asked again: their DID document, or whether they are gone. Rows of `meta`,
//! under tags of their own: `i` and `c` with the account.
//!
//! The question is written in the batch of the event that raised it and taken away by the answer, so a crash between the
//! two repeats it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::handles::Claims;
use crate::event::Upstream;
use crate::schema::bytes::ByteReader;
use crate::schema::{ActorId, Key};
use crate::store::{Ks, Reader, StoreError, Tx};
use crate::syntax::Did;

/// What has to be asked about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// What its DID document says.
    Identity,
    /// Whether what somebody said of it is so.
    Status(Said),
}

impl Due {
    /// Under which its row is.
    fn tag(self) -> u8 {
        match self {
            Self::Identity => IDENTITY,
            Self::Status(_) => STATUS,
        }
    }
}

/// What somebody said of an account. Numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Said {
    /// It is not shown any more, but may come back.
    Away = 0,
    /// It is deleted.
    Deleted = 1,
    /// It is back.
    Back = 2,
}

impl Said {
    fn from_u8(v: u8) -> Option<Self> {
        [Self::Away, Self::Deleted, Self::Back].into_iter().find(|said| *said as u8 == v)
    }
}

const IDENTITY: u8 = b'i';
const STATUS: u8 = b'c';

fn key(tag: u8, actor: ActorId) -> Key {
    Key::tag(tag).actor(actor)
}

/// Remembers a question until it is answered. Nothing that was read of the account before the answer counts.
pub fn add_due(tx: &mut Tx<'_>, actor: ActorId, due: Due) {
    match due {
        Due::Identity => tx.put(Ks::Meta, &key(IDENTITY, actor), &[]),
        Due::Status(said) => tx.put(Ks::Meta, &key(STATUS, actor), &[said as u8]),
    }
}

/// Remembers that the document has to be looked at, as [`add_due`]; what was read after `since`, milliseconds, is no older
/// than the change. Of several changes the last one counts.
pub fn add_identity_due(tx: &mut Tx<'_>, actor: ActorId, since: i64) -> Result<(), StoreError> {
    if identity_due_since(tx, actor)?.is_none_or(|held| held < since) {
        tx.put(Ks::Meta, &key(IDENTITY, actor), &since.to_be_bytes());
    }
    Ok(())
}

/// Since when the document has to be looked at; the end of time, if nothing that was read before the answer counts.
pub fn identity_due_since<R: Reader + ?Sized>(
    r: &R,
    actor: ActorId,
) -> Result<Option<i64>, StoreError> {
    let row = r.get(Ks::Meta, &key(IDENTITY, actor))?;
    Ok(row.map(|value| (*value).try_into().map_or(i64::MAX, i64::from_be_bytes)))
}

/// Whether the document has to be looked at.
pub fn is_identity_due<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<bool, StoreError> {
    r.has(Ks::Meta, &key(IDENTITY, actor))
}

/// Whether the status has to be asked for.
pub fn is_status_due<R: Reader + ?Sized>(r: &R, actor: ActorId) -> Result<bool, StoreError> {
    r.has(Ks::Meta, &key(STATUS, actor))
}

/// The document was looked at.
pub fn remove_identity_due(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Meta, &key(IDENTITY, actor));
}

/// The status is known.
pub fn remove_status_due(tx: &mut Tx<'_>, actor: ActorId) {
    tx.del(Ks::Meta, &key(STATUS, actor));
}

/// Every question that is not answered.
pub fn dues<R: Reader + ?Sized>(r: &R) -> Result<Vec<(ActorId, Due)>, StoreError> {
    Ok(dues_after(r, None, usize::MAX)?.0)
}

/// A place in the order of questions.
pub type Place = (u8, ActorId);

/// Some of them, and where to go on.
pub type Page = (Vec<(ActorId, Due)>, Option<Place>);

/// Up to `limit` questions that are not answered, those behind `after` only, and where to go on; `None` at the end.
pub fn dues_after<R: Reader + ?Sized>(
    r: &R,
    after: Option<Place>,
    limit: usize,
) -> Result<Page, StoreError> {
    let (mut out, mut last) = (Vec::new(), None);
    for tag in [STATUS, IDENTITY] {
        let lo = match after {
            Some((at, _)) if at < tag => Key::tag(tag),
            Some((at, actor)) if at == tag => key(tag, actor).u8(0),
            Some(_) => continue,
            None => Key::tag(tag),
        };
        r.scan(Ks::Meta, &lo, Some(&[tag + 1]), false, &mut |k, v| {
            let due = match (tag, v) {
                (IDENTITY, _) => Some(Due::Identity),
                (_, [said]) => Said::from_u8(*said).map(Due::Status),
                _ => None,
            };
            let actor = k.get(1..).and_then(|a| ByteReader::new(a).actor());
            out.extend(actor.zip(due));
            last = actor.map(|actor| (tag, actor)).or(last);
            out.len() < limit
        })?;
        if out.len() >= limit {
            return Ok((out, last));
        }
    }
    Ok((out, None))
}

/// Questions that were raised and are not taken up yet: the way from the writer, which makes their rows, to whoever
/// asks. Each account waits once for each of its two questions, however often they are raised: the last one counts, as in
/// its row. What does not fit in is in its row all the same, and is found there.
///
/// Those of each upstream wait in a line of their own, so that one that asks about everybody delays only itself; of what
/// does not fit in, the longest line has the least right to a place.
#[derive(Default)]
pub struct Questions {
    /// Handles that wait in their own rows.
    pub claims: Claims,
    lines: Mutex<Lines>,
    /// Raised, and not with whoever asks.
    count: AtomicUsize,
    missed: AtomicBool,
    nudge: Notify,
}

/// Whose question waits, and under which tag its row is.
type Waiting = (Did, u8);

#[derive(Default)]
struct Lines {
    latest: HashMap<Waiting, Question>,
    lines: BTreeMap<u16, Line>,
    /// In all lines, those included that moved on to another one.
    places: usize,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    raised: Arc<Notify>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Of whom.
    pub did: Did,
    /// What is asked.
    pub due: Due,
    /// Who raised it, and where.
    pub upstream: Option<Upstream>,
    /// In which line it waits: [`crate::event::Event::line`].
    pub line: u16,
}

/// Questions in memory, about two hundred bytes each.
const WAITING: usize = 20_000;

impl Lines {
    fn len(&self, line: u16) -> usize {
        self.lines.get(&line).map_or(0, |line| line.waiting.len())
    }

    fn push(&mut self, line: u16, waiting: Waiting) {
        let line = self.lines.entry(line).or_default();
        line.waiting.push_back(waiting);
        line.raised.notify_one();
        self.places += 1;
    }

    fn next(&mut self, line: u16) -> Option<Question> {
        loop {
            let waiting = self.lines.get_mut(&line)?.waiting.pop_front()?;
            self.places -= 1;
            if self.latest.get(&waiting).is_some_and(|question| question.line == line) {
                return self.latest.remove(&waiting);
            }
        }
    }

    /// Takes the last one out of a line that is longer than that one would be; whether a place came free, and whether a
    /// question went with it.
    fn make_room(&mut self, line: u16) -> Option<bool> {
        let (longest, last) = self.lines.iter_mut().max_by_key(|(_, line)| line.waiting.len())?;
        let (longest, held) = (*longest, last.waiting.len());
        if held <= self.len(line) + 1 {
            return None;
        }
        let waiting = self.lines.get_mut(&longest)?.waiting.pop_back()?;
        self.places -= 1;
        let lost = self.latest.get(&waiting).is_some_and(|question| question.line == longest);
        if lost {
            self.latest.remove(&waiting);
        }
        Some(lost)
    }
}

impl Questions {
    /// Raises a question once its row can be read: who sees the commit sees it counted.
    pub fn raise_after(self: &Arc<Self>, tx: &mut Tx<'_>, question: Question) {
        let this = Arc::clone(self);
        tx.after_commit(move || this.raise(question));
    }

    /// Raises a question that has its row.
    pub fn raise(&self, question: Question) {
        let (waiting, line) = ((question.did.clone(), question.due.tag()), question.line);
        let mut lines = self.lines.lock();
        if let Some(held) = lines.latest.get(&waiting) {
            let before = held.line;
            // Whoever waits for less does not wait behind the others.
            let moves = lines.len(line) < lines.len(before) && lines.places < WAITING;
            let question = if moves { question } else { Question { line: before, ..question } };
            lines.latest.insert(waiting.clone(), question);
            if moves {
                lines.push(line, waiting);
            }
            return;
        }
        if lines.places >= WAITING {
            let Some(lost) = lines.make_room(line) else { return self.miss() };
            if lost {
                self.count.fetch_sub(1, Ordering::AcqRel);
                self.miss();
            }
        }
        self.count.fetch_add(1, Ordering::AcqRel);
        lines.latest.insert(waiting.clone(), question);
        lines.push(line, waiting);
    }

    /// There is a question somewhere that has only its row.
    pub fn miss(&self) {
        self.missed.store(true, Ordering::Release);
        self.nudge.notify_one();
    }

    /// The next one of a line, for the one that asks them. Call [`Self::taken`] once it is counted elsewhere.
    pub async fn next(&self, line: u16) -> Question {
        loop {
            let raised = {
                let mut lines = self.lines.lock();
                if let Some(question) = lines.next(line) {
                    return question;
                }
                Arc::clone(&lines.lines.entry(line).or_default().raised)
            };
            raised.notified().await;
        }
    }

    /// One is not waiting any more.
    pub fn taken(&self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }

    /// Waits until some were missed. They count as waiting until [`Self::look`].
    pub async fn missed(&self) {
        while !self.missed.load(Ordering::Acquire) {
            self.nudge.notified().await;
        }
    }

    /// All rows are going to be looked at: those that were missed until now are among them.
    pub fn look(&self) {
        self.missed.store(false, Ordering::Release);
    }

    /// How many wait, handles included; those that were missed are one.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let missed = usize::from(self.missed.load(Ordering::Acquire));
        self.count.load(Ordering::Acquire) + missed + self.claims.waiting()
    }
}

/// Whether a row is whole; `None` if it is not of this module.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> Option<bool> {
    match key.split_first()? {
        (&IDENTITY, rest) => Some(rest.len() == 4),
        (&STATUS, rest) => {
            Some(rest.len() == 4 && matches!(value, [said] if Said::from_u8(*said).is_some()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, Writer};

    #[tokio::test]
    async fn pages_of_dues_are_all_of_them_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, thread) = Writer::start(store.clone()).unwrap();
        let due = |n: u32| match n % 4 {
            0 => Due::Identity,
            1 => Due::Status(Said::Away),
            2 => Due::Status(Said::Deleted),
            _ => Due::Status(Said::Back),
        };
        let add = move |tx: &mut Tx<'_>| {
            (0..40).for_each(|n| add_due(tx, ActorId(n), due(n)));
            Ok(())
        };
        writer.durable(add).await.unwrap();
        for limit in [1, 7, 10, 40, 100] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let (page, next) = dues_after(&store.snapshot(), after, limit).unwrap();
                assert!(page.len() <= limit);
                found.extend(page);
                after = next;
                if after.is_none() {
                    break;
                }
            }
            found.sort_by_key(|(actor, _)| *actor);
            assert_eq!(found, (0..40).map(|n| (ActorId(n), due(n))).collect::<Vec<_>>());
        }
        drop(writer);
        thread.join().unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_does_not_fit_in_memory_is_missed_and_not_lost() {
        let questions = Questions::default();
        let question = |n: usize| {
            let did = Did::parse(&format!("did:plc:{n}")).unwrap();
            Question { did, due: Due::Identity, upstream: None, line: 0 }
        };
        (0..WAITING).for_each(|n| questions.raise(question(n)));
        assert_eq!(questions.waiting(), WAITING);
        (WAITING..WAITING + 10).for_each(|n| questions.raise(question(n)));
        assert_eq!(questions.waiting(), WAITING + 1);
        questions.missed().await;
        questions.look();
        assert_eq!(questions.next(0).await, question(0));
        assert_eq!(questions.waiting(), WAITING, "until it is counted elsewhere");
        questions.taken();
        assert_eq!(questions.waiting(), WAITING - 1);
    }
    #[tokio::test]
    async fn who_raises_the_same_again_and_again_takes_one_place_and_the_last_word_counts() {
        let questions = Questions::default();
        let of = |did: &str, due| {
            let did = Did::parse(did).unwrap();
            questions.raise(Question { did, due, upstream: None, line: 0 });
        };
        for said in [Said::Away, Said::Back, Said::Deleted].repeat(WAITING) {
            of("did:plc:flooded", Due::Status(said));
        }
        of("did:plc:other", Due::Identity);
        of("did:plc:flooded", Due::Identity);
        assert_eq!(questions.waiting(), 3, "each has its place, and nothing is missed");
        let mut asked = Vec::new();
        for _ in 0..3 {
            let Question { did, due, .. } = questions.next(0).await;
            asked.push((did.to_string(), due));
        }
        let want = [
            ("did:plc:flooded", Due::Status(Said::Deleted)),
            ("did:plc:other", Due::Identity),
            ("did:plc:flooded", Due::Identity),
        ];
        assert_eq!(asked, want.map(|(did, due)| (did.to_owned(), due)));
        // One that is taken up may change again meanwhile.
        of("did:plc:flooded", Due::Identity);
        assert_eq!(questions.next(0).await.due, Due::Identity);
    }

    #[tokio::test]
    async fn an_upstream_that_asks_about_everybody_delays_only_itself() {
        let questions = Questions::default();
        let raise = |n: usize, line| {
            let did = Did::parse(&format!("did:plc:{n}")).unwrap();
            let question = Question { did, due: Due::Identity, upstream: None, line };
            questions.raise(question.clone());
            question
        };
        (0..WAITING).for_each(|n| drop(raise(n, 1)));
        assert_eq!(questions.waiting(), WAITING);
        // Who has less to ask finds a place, and whoever has most has the row of one of his alone.
        let other = raise(WAITING, 2);
        assert_eq!(questions.waiting(), WAITING + 1);
        assert_eq!(questions.lines.lock().places, WAITING);
        questions.look();
        assert_eq!(questions.next(2).await, other);
        questions.taken();
        // So does who asks what was asked long ago, and it is asked once.
        let both = raise(0, 2);
        assert_eq!(questions.next(2).await, both);
        questions.taken();
        assert_eq!(questions.waiting(), WAITING - 2);
        assert_eq!(&*questions.next(1).await.did, "did:plc:1");
        // Where all lines are alike nobody has to go.
        let questions = Questions::default();
        for n in 0..WAITING {
            let did = Did::parse(&format!("did:plc:{n}")).unwrap();
            let line = u16::try_from(n % 4).unwrap();
            questions.raise(Question { did, due: Due::Identity, upstream: None, line });
        }
        let did = Did::parse("did:plc:last").unwrap();
        questions.raise(Question { did, due: Due::Identity, upstream: None, line: 3 });
        assert_eq!(questions.waiting(), WAITING + 1);
        assert!((0..4).all(|line| questions.lines.lock().len(line) == WAITING / 4));
    }
}
