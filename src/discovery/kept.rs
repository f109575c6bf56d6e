//! Lists that were made and are kept for some minutes, so that pages of one are by place in it, whatever changes
//! meanwhile.
//!
//! A list that is not current any more, since its viewer follows somebody else by now, is there for who is in the middle
//! of it, until its time is over or others need the room.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// How long a list is kept, milliseconds.
pub(super) const KEPT_FOR: i64 = 10 * 60 * 1000;
/// The same of one that has nothing in it: a store that was empty a moment ago may have something.
const EMPTY_KEPT_FOR: i64 = 10 * 1000;
/// What a list takes besides its entries.
const OVERHEAD: u64 = 256;

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    list: u64,
    place: u32,
}

impl Cursor {
    /// Reads a cursor; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (list, place) = text.split_once('.')?;
        // Of each there is one way to write it.
        let cursor = Self { list: u64::from_str_radix(list, 36).ok()?, place: place.parse().ok()? };
        (cursor.to_string() == text).then_some(cursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut n, mut digits) = (self.list, Vec::new());
        loop {
            digits.push(char::from_digit(u32::try_from(n % 36).unwrap_or(0), 36).unwrap_or('0'));
            n /= 36;
            if n == 0 {
                break;
            }
        }
        write!(f, "{}.{}", digits.iter().rev().collect::<String>(), self.place)
    }
}

/// A list that was made for somebody.
#[derive(Debug)]
pub struct List<T> {
    number: u64,
    /// For whom and what: see [`Lists::current`].
    key: Box<str>,
    /// What it was made of; with another it would be another list.
    made_of: u64,
    made_at: i64,
    /// In order.
    pub items: Box<[T]>,
}

impl<T: Copy> List<T> {
    fn weight(&self) -> u64 {
        OVERHEAD + 2 * self.key.len() as u64 + size_of_val(&*self.items) as u64
    }

    /// Whether it is what would be made now of `made_of`, or was but moments ago.
    fn is_current(&self, made_of: u64, now: i64) -> bool {
        let kept_for = if self.items.is_empty() { EMPTY_KEPT_FOR } else { KEPT_FOR };
        self.made_of == made_of && (0..kept_for).contains(&now.saturating_sub(self.made_at))
    }

    /// A page: the first `limit` items behind the cursor that `fit` lets through, which is asked of `limit` items at a time,
    /// and where to go on if there is more.
    pub fn page<E>(
        &self,
        from: Option<Cursor>,
        limit: usize,
        mut fit: impl FnMut(&[T]) -> Result<Vec<T>, E>,
    ) -> Result<(Vec<T>, Option<Cursor>), E> {
        let mut at = from.map_or(0, |c| usize::try_from(c.place).unwrap_or(usize::MAX));
        let mut page = Vec::new();
        while page.len() < limit {
            let rest = self.items.get(at..).unwrap_or_default();
            let next = rest.get(..limit - page.len()).unwrap_or(rest);
            if next.is_empty() {
                return Ok((page, None));
            }
            at += next.len();
            page.extend(fit(next)?);
        }
        let more = at < self.items.len();
        Ok((page, more.then(|| self.at(at))))
    }

    /// Behind the last item.
    #[must_use]
    pub fn end(&self) -> Cursor {
        self.at(self.items.len())
    }

    fn at(&self, place: usize) -> Cursor {
        Cursor { list: self.number, place: u32::try_from(place).unwrap_or(u32::MAX) }
    }
}

/// The lists of all.
pub(super) struct Lists<T> {
    most: u64,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    lists: FxHashMap<u64, Arc<List<T>>>,
    current: FxHashMap<Box<str>, u64>,
    /// By age, which is how they go.
    order: VecDeque<u64>,
    bytes: u64,
    next: u64,
}

impl<T: Copy> Lists<T> {
    /// Lists of so many bytes together. They are numbered from the time on at which this was made, so that a cursor from
    /// before a restart is none of these.
    #[must_use]
    pub(super) fn new(most: u64, now_us: u64) -> Self {
        let held = Held {
            lists: FxHashMap::default(),
            current: FxHashMap::default(),
            order: VecDeque::new(),
            bytes: 0,
            next: now_us,
        };
        Self { most, held: Mutex::new(held) }
    }

    /// The list for `key`, made of what `made_of` stands for; it is made if none is held.
    pub(super) fn current<E>(
        &self,
        key: &str,
        made_of: u64,
        now: i64,
        make: impl FnOnce() -> Result<Vec<T>, E>,
    ) -> Result<Arc<List<T>>, E> {
        let held = self.held.lock().current(key);
        if let Some(list) = held.filter(|list| list.is_current(made_of, now)) {
            return Ok(list);
        }
        let items = make()?.into();
        let mut held = self.held.lock();
        let number = held.next;
        held.next += 1;
        let list = Arc::new(List { number, key: key.into(), made_of, made_at: now, items });
        held.add(Arc::clone(&list), self.most, now);
        Ok(list)
    }

    /// The list that a cursor of `key` is in; `None` if it is kept no more, or was made for something else.
    #[must_use]
    pub(super) fn of_cursor(&self, key: &str, cursor: Cursor, now: i64) -> Option<Arc<List<T>>> {
        let list = Arc::clone(self.held.lock().lists.get(&cursor.list)?);
        let in_time = now.saturating_sub(list.made_at) < 2 * KEPT_FOR;
        (*list.key == *key && in_time).then_some(list)
    }
}

impl<T: Copy> Held<T> {
    fn current(&self, key: &str) -> Option<Arc<List<T>>> {
        self.lists.get(self.current.get(key)?).cloned()
    }

    fn add(&mut self, list: Arc<List<T>>, most: u64, now: i64) {
        self.bytes += list.weight();
        self.current.insert(list.key.clone(), list.number);
        self.order.push_back(list.number);
        self.lists.insert(list.number, list);
        while let Some(oldest) = self.order.front() {
            let outlived = self
                .lists
                .get(oldest)
                .is_none_or(|list| !(0..2 * KEPT_FOR).contains(&now.saturating_sub(list.made_at)));
            if !outlived && self.bytes <= most {
                break;
            }
            let Some(gone) = self.order.pop_front().and_then(|n| self.lists.remove(&n)) else {
                continue;
            };
            self.bytes = self.bytes.saturating_sub(gone.weight());
            if self.current.get(&gone.key) == Some(&gone.number) {
                self.current.remove(&gone.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn list(lists: &Lists<u32>, key: &str, made_of: u64, now: i64) -> Arc<List<u32>> {
        let made = u32::try_from(now - NOW).unwrap();
        lists.current(key, made_of, now, || Ok::<_, ()>((made..made + 10).collect())).unwrap()
    }

    fn page(
        list: &List<u32>,
        from: Option<Cursor>,
        fit: impl Fn(u32) -> bool,
    ) -> (Vec<u32>, Option<Cursor>) {
        let those =
            |items: &[u32]| Ok::<_, ()>(items.iter().copied().filter(|n| fit(*n)).collect());
        list.page(from, 4, those).unwrap()
    }

    #[test]
    fn cursors_are_written_in_one_way() {
        for (list, place) in [(0, 0), (35, 1), (36, 200), (u64::MAX, u32::MAX)] {
            let cursor = Cursor { list, place };
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        for text in ["", ".", "1.", ".1", "A.1", "01.1", "1.01", "1.+1", "1.1.1", "é.1", "-1.1"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_list_stays_as_it_is_for_who_is_in_the_middle_of_it() {
        let lists = Lists::new(1 << 20, 7);
        let first = list(&lists, "a", 1, NOW);
        assert_eq!(list(&lists, "a", 1, NOW + KEPT_FOR - 1).items, first.items);
        let (seen, cursor) = page(&first, None, |_| true);
        assert_eq!(seen, [0, 1, 2, 3]);
        let cursor = cursor.unwrap();
        let second = list(&lists, "a", 2, NOW + 5);
        assert_eq!(second.items[0], 5, "made of something else");
        assert_eq!(list(&lists, "a", 2, NOW + 5 + KEPT_FOR).items[0], 600_005, "too old");
        let again = lists.of_cursor("a", cursor, NOW + 9).unwrap();
        let (rest, cursor) = page(&again, Some(cursor), |n| n != 4);
        assert_eq!(rest, [5, 6, 7, 8]);
        assert_eq!(page(&again, cursor, |_| true), (vec![9], None));
        assert!(lists.of_cursor("b", cursor.unwrap(), NOW).is_none(), "somebody else's");
        assert!(lists.of_cursor("a", cursor.unwrap(), NOW + 2 * KEPT_FOR).is_none());
        let beyond = Cursor { place: u32::MAX, ..cursor.unwrap() };
        assert_eq!(page(&again, Some(beyond), |_| true), (vec![], None));
    }

    #[test]
    fn an_empty_list_is_soon_made_again() {
        let lists = Lists::new(1 << 20, 7);
        let made = |items: &[u32], now| {
            lists.current("a", 1, now, || Ok::<_, ()>(items.to_vec())).unwrap().items.to_vec()
        };
        assert!(made(&[], NOW).is_empty());
        assert!(made(&[1], NOW + EMPTY_KEPT_FOR - 1).is_empty());
        assert_eq!(made(&[1], NOW + EMPTY_KEPT_FOR), [1]);
        assert_eq!(made(&[2], NOW + KEPT_FOR), [1]);
    }

    #[test]
    fn the_oldest_make_room() {
        let lists = Lists::new(8 * (OVERHEAD + 60), 7);
        for n in 0..100 {
            list(&lists, &n.to_string(), 0, NOW);
            list(&lists, &n.to_string(), 1, NOW);
        }
        let held = lists.held.lock();
        assert!(held.bytes <= lists.most && held.lists.len() >= 7, "{}", held.lists.len());
        assert_eq!(held.order.len(), held.lists.len());
        assert!(held.current.len() <= held.lists.len());
        assert!(held.current.contains_key("99"));
    }
}
