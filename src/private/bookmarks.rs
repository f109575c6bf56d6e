//! Bookmarks (`app.bsky.bookmark.defs#bookmark`), rows of the `private` keyspace, and the counter of each post.
//!
//! | tag | key | value |
//! |---|---|---|
//! | `k` | post, viewer | the key of the bookmark, the CID that was seen |
//! | `o` | viewer, the key of the bookmark | the post |
//!
//! The key is a TID of the time it was made, so that a viewer's bookmarks lie in order of time.
//!
//! # Invariants
//! - Every row has its counterpart, and [`Counter::Bookmarks`] of a post is how many rows `k` it has.
use crate::schema::bytes::{ByteReader, push_blob};
use crate::schema::rows::Counter;
use crate::schema::{ActorId, Edit, Key, PostId, Target};
use crate::store::{Ks, Reader, StoreError, Tx, prefix_end};
use crate::syntax::Tid;

pub(crate) const BY_POST: u8 = b'k';
pub(crate) const BY_VIEWER: u8 = b'o';

/// A bookmark of a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// Its key: the time it was made.
    pub key: Tid,
    /// The CID of the post as the viewer saw it.
    pub cid: String,
}

impl Bookmark {
    fn encode(&self) -> Vec<u8> {
        let mut out = self.key.as_u64().to_be_bytes().to_vec();
        push_blob(&mut out, self.cid.as_bytes());
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        Some(Self { key: Tid::from_u64(r.u64()?)?, cid: r.str()?.to_owned() })
    }
}

/// All rows `k` of a post.
pub(crate) fn of_post(post: PostId) -> Key {
    Key::tag(BY_POST).post(post)
}

fn by_post(post: PostId, viewer: ActorId) -> Key {
    of_post(post).actor(viewer)
}

fn of_viewer(viewer: ActorId) -> Key {
    Key::tag(BY_VIEWER).actor(viewer)
}

fn by_viewer(viewer: ActorId, key: Tid) -> Key {
    of_viewer(viewer).u64(key.as_u64())
}

/// Whose bookmark of which post a row `k` is.
pub(crate) fn by_post_row(k: &[u8], v: &[u8]) -> Option<(PostId, ActorId, Bookmark)> {
    let mut r = ByteReader::new(k);
    let (tag, post, viewer) = (r.u8()?, r.post()?, r.actor()?);
    (tag == BY_POST && r.is_empty()).then_some((post, viewer, Bookmark::decode(v)?))
}

/// Whose bookmark of which post a row `o` is.
pub(crate) fn by_viewer_row(k: &[u8], v: &[u8]) -> Option<(ActorId, Tid, PostId)> {
    let mut r = ByteReader::new(k);
    let (tag, viewer, key) = (r.u8()?, r.actor()?, Tid::from_u64(r.u64()?)?);
    (tag == BY_VIEWER && r.is_empty()).then_some((viewer, key, PostId::from_bytes(v)?))
}

/// The viewer's bookmark of a post.
pub fn get<R: Reader + ?Sized>(
    r: &R,
    viewer: ActorId,
    post: PostId,
) -> Result<Option<Bookmark>, StoreError> {
    r.row(Ks::Private, &by_post(post, viewer), Bookmark::decode)
}

/// The post of the viewer's bookmark with this key; `None` also if the row does not decode.
pub(crate) fn at<R: Reader + ?Sized>(
    r: &R,
    viewer: ActorId,
    key: Tid,
) -> Result<Option<PostId>, StoreError> {
    Ok(r.get(Ks::Private, &by_viewer(viewer, key))?.and_then(|v| PostId::from_bytes(&v)))
}

/// Up to `limit` of the viewer's bookmarks made before `before`, the last made first.
pub fn page<R: Reader + ?Sized>(
    r: &R,
    viewer: ActorId,
    before: Option<Tid>,
    limit: usize,
) -> Result<Vec<(Tid, PostId)>, StoreError> {
    let prefix = of_viewer(viewer);
    let hi = match before {
        Some(key) => Some(by_viewer(viewer, key).to_vec()),
        None => prefix_end(&prefix).map(|end| end.to_vec()),
    };
    let mut out = Vec::new();
    r.scan(Ks::Private, &prefix, hi.as_deref(), true, &mut |k, v| {
        if out.len() < limit {
            out.extend(by_viewer_row(k, v).map(|(_, key, post)| (key, post)));
        }
        out.len() < limit
    })?;
    Ok(out)
}

/// Bookmarks a post; one that is there stays as it is.
pub fn put(
    tx: &mut Tx<'_>,
    viewer: ActorId,
    post: PostId,
    cid: &str,
    at: i64,
) -> Result<(), StoreError> {
    if get(tx, viewer, post)?.is_some() {
        return Ok(());
    }
    let newest = page(tx, viewer, None, 1)?.first().map_or(0, |(key, _)| key.micros());
    let now = u64::try_from(at).unwrap_or(0).saturating_mul(1000);
    let key = Tid::from_micros(now.max(newest.saturating_add(1)), 0);
    write(tx, viewer, post, &Bookmark { key, cid: cid.to_owned() })
}

/// Puts a bookmark of another store in; `false` if the post has one, which stays.
pub(super) fn restore(
    tx: &mut Tx<'_>,
    viewer: ActorId,
    post: PostId,
    key: Tid,
    cid: &str,
) -> Result<bool, StoreError> {
    if get(tx, viewer, post)?.is_some() {
        return Ok(false);
    }
    let mut key = key;
    while at(tx, viewer, key)?.is_some() {
        key = Tid::from_micros(key.micros().saturating_add(1), 0);
    }
    write(tx, viewer, post, &Bookmark { key, cid: cid.to_owned() })?;
    Ok(true)
}

fn write(tx: &mut Tx<'_>, viewer: ActorId, post: PostId, row: &Bookmark) -> Result<(), StoreError> {
    tx.put(Ks::Private, &by_post(post, viewer), &row.encode());
    tx.put(Ks::Private, &by_viewer(viewer, row.key), &post.to_bytes());
    tx.count(Target::Post(post), Counter::Bookmarks, 1).map(drop)
}

/// Takes a bookmark away, if it is there.
pub fn remove(tx: &mut Tx<'_>, viewer: ActorId, post: PostId) -> Result<(), StoreError> {
    let Some(row) = get(tx, viewer, post)? else { return Ok(()) };
    tx.del(Ks::Private, &by_post(post, viewer));
    tx.del(Ks::Private, &by_viewer(viewer, row.key));
    tx.count(Target::Post(post), Counter::Bookmarks, -1).map(drop)
}

/// Takes up to `most` bookmarks of a viewer away and says how many.
pub(super) fn forget(tx: &mut Tx<'_>, viewer: ActorId, most: usize) -> Result<usize, StoreError> {
    let page = page(tx, viewer, None, most)?;
    for (_, post) in &page {
        remove(tx, viewer, *post)?;
    }
    Ok(page.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private;
    use crate::schema::{Rkey, Rows};
    use crate::store::{Store, Writer};

    #[tokio::test]
    async fn bookmarks_come_in_order_count_and_go_with_the_account() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let (me, you) = (ActorId(1), ActorId(2));
        let post = |n| PostId { author: ActorId(9), rkey: Rkey(n) };
        writer
            .durable(move |tx| {
                // In the same millisecond, then with a clock that was set back; the last is there already.
                for (n, at) in [(3, 5), (1, 5), (2, 4), (3, 8)] {
                    put(tx, me, post(n), "cid", at)?;
                }
                put(tx, you, post(1), "other", 7)
            })
            .await
            .unwrap();
        let posts = |before, limit| -> Vec<(Tid, u64)> {
            let page = page(&store.snapshot(), me, before, limit).unwrap();
            page.into_iter().map(|(key, post)| (key, post.rkey.0)).collect()
        };
        let numbers = |page: &[(Tid, u64)]| -> Vec<u64> { page.iter().map(|(_, n)| *n).collect() };
        let first = posts(None, 2);
        assert_eq!(numbers(&first), [2, 1]);
        assert_eq!(numbers(&posts(Some(first[1].0), 2)), [3]);
        assert_eq!(first[0].0.micros(), 5002);
        let count =
            |n| store.snapshot().agg(Target::Post(post(n))).unwrap().get(Counter::Bookmarks);
        assert_eq!((count(1), count(2), count(3)), (2, 1, 1));
        writer
            .durable(move |tx| {
                remove(tx, me, post(2))?;
                remove(tx, me, post(2))
            })
            .await
            .unwrap();
        assert_eq!(get(&store.snapshot(), me, post(2)).unwrap(), None);
        assert_eq!((numbers(&posts(None, 9)), count(2)), (vec![1, 3], 0));
        assert!(writer.durable(move |tx| private::forget(tx, me, 100)).await.unwrap());
        assert_eq!((numbers(&posts(None, 9)), count(1), count(3)), (vec![], 1, 0));
        let other = get(&store.snapshot(), you, post(1)).unwrap().unwrap();
        assert_eq!((other.cid.as_str(), other.key.micros()), ("other", 7000));
    }
}
