//! The rows that the writer reads and changes with nearly every event: the repo of who writes, the counters of what is
//! liked. They are small, and each stands in an entry of one size ([`Sets`]), so that the rows of some hundred thousand
//! accounts take as little memory as they do on disk.
//!
//! # Invariants
//! - What is here is what the last commit left in the store, or the one that is under way: the writer puts what it commits,
//!   and what it reads between two commits. A reader has to look whether that is what its snapshot sees.

use super::Sets;
use crate::store::Ks;

/// Where the key begins, behind its length and the value's.
const HEAD: usize = 2;

/// Small rows of one kind; bigger ones are not kept.
struct SmallRows<const WORDS: usize, const WAYS: usize>(Sets<WORDS, WAYS>);

impl<const WORDS: usize, const WAYS: usize> SmallRows<WORDS, WAYS> {
    fn get(&self, key: &[u8]) -> Option<fjall::Slice> {
        let entry = self.0.get(self.0.hash(key), |entry| is_of(entry, key))?;
        let [of_key, of_value] = *entry.as_flattened().first_chunk()?;
        let value = entry.as_flattened().get(HEAD + usize::from(of_key)..)?;
        value.get(..usize::from(of_value)).map(fjall::Slice::from)
    }

    fn put(&self, key: &[u8], value: Option<&[u8]>) {
        let place = self.0.hash(key);
        match value.and_then(|value| entry(key, value)) {
            Some(entry) => self.0.put(place, |entry| is_of(entry, key), entry),
            None => self.0.remove(place, |entry| is_of(entry, key)),
        }
    }
}

fn is_of<const WORDS: usize>(entry: &[[u8; 4]; WORDS], key: &[u8]) -> bool {
    let bytes = entry.as_flattened();
    bytes.first().is_some_and(|len| usize::from(*len) == key.len())
        && bytes.get(HEAD..HEAD + key.len()) == Some(key)
}

fn entry<const WORDS: usize>(key: &[u8], value: &[u8]) -> Option<[[u8; 4]; WORDS]> {
    let mut entry = [[0; 4]; WORDS];
    let (head, rest) = entry.as_flattened_mut().split_at_mut_checked(HEAD)?;
    head.copy_from_slice(&[u8::try_from(key.len()).ok()?, u8::try_from(value.len()).ok()?]);
    let (of_key, rest) = rest.split_at_mut_checked(key.len())?;
    of_key.copy_from_slice(key);
    rest.get_mut(..value.len())?.copy_from_slice(value);
    Some(entry)
}

/// The writer's own rows.
pub(super) struct WriterRows {
    /// 64 bytes: a key of five, and the three numbers and the hash that a repo has at most.
    repos: SmallRows<16, 4>,
    /// 32 bytes: the key of a post, and its counters as long as they take no more than 17.
    counters: SmallRows<8, 8>,
}

impl WriterRows {
    /// As many as fit into so many bytes for each kind.
    pub(super) fn new(repos: u64, counters: u64) -> Self {
        Self { repos: SmallRows(Sets::new(repos)), counters: SmallRows(Sets::new(counters)) }
    }

    /// Whether the row is one of these.
    pub(super) fn are(ks: Ks, key: &[u8]) -> bool {
        matches!((ks, key.first()), (Ks::Agg, _) | (Ks::Actor, Some(&Ks::REPOS)))
    }

    /// The row, if it is here.
    pub(super) fn get(&self, ks: Ks, key: &[u8]) -> Option<fjall::Slice> {
        match ks {
            Ks::Agg => self.counters.get(key),
            _ => self.repos.get(key),
        }
    }

    /// The row has this value from now on, or is not there any more.
    pub(super) fn put(&self, ks: Ks, key: &[u8], value: Option<&[u8]>) {
        match ks {
            Ks::Agg => self.counters.put(key, value),
            _ => self.repos.put(key, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::rows::{AggRow, Counter, EdgeKind, RepoRow, repo_key};
    use crate::schema::{ActorId, PostId, Rkey, Target};

    #[test]
    fn rows_are_kept_as_they_are_and_go_when_they_are_too_long() {
        let rows = WriterRows::new(1 << 20, 1 << 20);
        let get = |key: &[u8]| rows.get(Ks::Agg, key).map(|value| value.to_vec());
        rows.put(Ks::Agg, b"key", Some(b"one"));
        rows.put(Ks::Agg, b"key\0", Some(b""));
        assert_eq!(
            [get(b"key"), get(b"key\0"), get(b"ke")],
            [Some(b"one".into()), Some(vec![]), None]
        );
        rows.put(Ks::Agg, b"key", Some(&[7; 27]));
        assert_eq!(get(b"key"), Some(vec![7; 27]));
        rows.put(Ks::Agg, b"key", Some(&[7; 28]));
        assert_eq!(get(b"key"), None, "and not what was before");
        rows.put(Ks::Agg, b"key", Some(b"two"));
        rows.put(Ks::Agg, b"key", None);
        assert_eq!(get(b"key"), None);
    }

    #[test]
    fn every_repo_and_the_counters_of_nearly_every_post_fit() {
        let rows = WriterRows::new(1 << 20, 1 << 20);
        let all = Some(u64::MAX >> 1);
        let repo = RepoRow { rev: u64::MAX >> 1, data: [0xff; 32], resync: all, whole: all };
        let key = repo_key(ActorId(u32::MAX));
        assert!(WriterRows::are(Ks::Actor, &key));
        rows.put(Ks::Actor, &key, Some(&repo.encode()));
        assert_eq!(rows.get(Ks::Actor, &key).as_deref(), Some(&repo.encode()[..]));
        let key = Target::Post(PostId { author: ActorId(1), rkey: Rkey(2) }).key();
        let mut counters = AggRow::default();
        let of_posts = [Counter::Likes, Counter::Reposts, Counter::Replies, Counter::Quotes];
        of_posts.into_iter().for_each(|counter| counters.set(counter, 1_000_000));
        counters.set_ordered(EdgeKind::Like);
        rows.put(Ks::Agg, &key, Some(&counters.encode()));
        assert_eq!(rows.get(Ks::Agg, &key).as_deref(), Some(&counters.encode()[..]));
    }
}
