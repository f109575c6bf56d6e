//! Names and the numbers that stand for them, both ways. A number never changes its meaning, so nothing is ever forgotten
//! but for lack of room.
//!
//! A name is what the store has for it. Nearly all that are asked for with each event are of sixteen bytes, and those take
//! no more than that and their number.

use std::sync::Arc;

use super::Sets;

/// Bytes that an entry of the queue and the map of the other caches takes, with its name.
const ENTRY: u64 = 96;
/// Of the bytes: to the numbers of names of the usual length, and to the names of numbers. The rest is for other names.
const PARTS: [u64; 3] = [5, 6, 12];

/// The length that names mostly have.
const USUAL: usize = 16;

/// A bounded cache, shared by the writer and all readers.
pub(crate) struct NumberCache {
    /// Name, then number.
    usual: Sets<5, 8>,
    other: quick_cache::sync::Cache<Box<[u8]>, u32>,
    by_number: quick_cache::sync::Cache<u32, Arc<str>>,
}

impl NumberCache {
    /// Of about so many bytes.
    pub(in crate::store) fn new(bytes: u64) -> Self {
        let [usual, by_number, all] = PARTS;
        let entries = |parts| usize::try_from(bytes / all * parts / ENTRY).unwrap_or(100_000);
        Self {
            usual: Sets::new(bytes / all * usual),
            other: quick_cache::sync::Cache::new(entries(all - usual - by_number)),
            by_number: quick_cache::sync::Cache::new(entries(by_number)),
        }
    }

    /// The number of a name, if it is held.
    pub(crate) fn number(&self, name: &[u8]) -> Option<u32> {
        let Ok(usual) = <&[u8; USUAL]>::try_from(name) else { return self.other.get(name) };
        let [.., number] = self.usual.get(self.usual.hash(usual), |entry| is(entry, usual))?;
        Some(u32::from_be_bytes(number))
    }

    /// The name behind a number, if it is held.
    pub(crate) fn name(&self, number: u32) -> Option<Arc<str>> {
        self.by_number.get(&number)
    }

    /// Keeps the number of a name.
    pub(crate) fn remember_number(&self, name: &[u8], number: u32) {
        let Ok(usual) = <&[u8; USUAL]>::try_from(name) else {
            return self.other.insert(name.into(), number);
        };
        let mut entry = [[0; 4]; 5];
        let bytes = usual.iter().copied().chain(number.to_be_bytes());
        entry.as_flattened_mut().iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
        self.usual.put(self.usual.hash(usual), |entry| is(entry, usual), entry);
    }

    /// Keeps the text of a name.
    pub(crate) fn remember_name(&self, number: u32, name: &Arc<str>) {
        self.by_number.insert(number, Arc::clone(name));
    }
}

fn is(entry: &[[u8; 4]; 5], name: &[u8; USUAL]) -> bool {
    entry.as_flattened().first_chunk() == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_length_are_held_with_their_numbers() {
        let cache = NumberCache::new(1 << 20);
        let names: [&[u8]; 3] = [b"\x01fifteen of plc!", b"\0did:web:example", b"\0did:web:e"];
        for (name, number) in names.into_iter().zip(u32::MAX - 9..) {
            assert_eq!(cache.number(name), None);
            cache.remember_number(name, number);
            assert_eq!(cache.number(name), Some(number));
        }
        assert_eq!(cache.number(b"\x01fifteen of plc?"), None);
        cache.remember_name(7, &Arc::from("did:web:e"));
        assert_eq!((cache.name(7).as_deref(), cache.name(8)), (Some("did:web:e"), None));
    }

    #[test]
    fn many_are_held_in_few_bytes() {
        let cache = NumberCache::new(12 << 20);
        let name = |n: u32| [&[1; 12][..], &n.to_be_bytes()].concat();
        for n in 0..200_000 {
            cache.remember_number(&name(n), n);
        }
        let held = (0..200_000).filter(|n| cache.number(&name(*n)) == Some(*n)).count();
        assert!(held > 180_000, "{held}");
    }
}
