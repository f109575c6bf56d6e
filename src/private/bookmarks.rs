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

use serde::{Deserialize, Serialize};

use super::change::{Change, Plan, nothing};
use super::effects::Effects;
use super::kinds::{Export, Goes, Kept, Row, RowKey, Table};
use super::names::{self, owned};
use crate::schema::bytes::{ByteReader, push_blob};
use crate::schema::rows::Counter;
use crate::schema::{ActorId, Edit, Key, PostId, Rows, Target};
use crate::store::{Ks, Reader, StoreError, Tx, prefix_end};
use crate::syntax::Tid;

const BY_POST: u8 = b'k';
const BY_VIEWER: u8 = b'o';

const POST: &str = "app.bsky.feed.post";

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

pub(super) fn of_viewer(viewer: ActorId) -> Key {
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

/// The key of a viewer's next bookmark: the time, or later if one was made then or after.
pub(super) fn next_key<R: Reader>(r: &R, viewer: ActorId, at: i64) -> Result<Tid, StoreError> {
    let newest = page(r, viewer, None, 1)?.first().map_or(0, |(key, _)| key.micros());
    let now = u64::try_from(at).unwrap_or(0).saturating_mul(1000);
    Ok(Tid::from_micros(now.max(newest.saturating_add(1)), 0))
}

/// The numbers of a viewer and a post that were seen before.
fn known<R: Reader>(
    r: &R,
    viewer: &str,
    uri: &str,
) -> Result<Option<(ActorId, PostId)>, StoreError> {
    Ok(match (r.actor_id(viewer)?, r.target(uri)?) {
        (Some(viewer), Some(Target::Post(post))) => Some((viewer, post)),
        _ => None,
    })
}

/// Whether a viewer has a bookmark of the post with this URI.
pub(super) fn has<R: Reader>(r: &R, viewer: &str, uri: &str) -> Result<bool, StoreError> {
    match known(r, viewer, uri)? {
        Some((viewer, post)) => Ok(get(r, viewer, post)?.is_some()),
        None => Ok(false),
    }
}

/// Bookmarks a post; one that is there stays as it is. `false` if the URI does not name a post by the DID of its author.
pub fn add<R: Reader>(r: &R, viewer: &str, uri: &str, cid: &str, at: i64) -> Plan<bool> {
    if names::record_of("uri", uri, &[POST]).is_err() {
        return nothing(false);
    }
    if let Some((viewer, post)) = known(r, viewer, uri)?
        && get(r, viewer, post)?.is_some()
    {
        return nothing(true);
    }
    let key = match r.actor_id(viewer)? {
        Some(viewer) => next_key(r, viewer, at)?,
        None => Tid::from_micros(u64::try_from(at).unwrap_or(0).saturating_mul(1000), 0),
    };
    let row = Bookmarked {
        viewer: viewer.to_owned(),
        uri: uri.to_owned(),
        cid: cid.to_owned(),
        key: key.to_string(),
    };
    Ok((vec![Change::Put(Row::Bookmark(row))], true))
}

/// Takes a bookmark away.
#[must_use]
pub fn take_away(viewer: &str, uri: &str) -> Change {
    let (viewer, uri) = (viewer.to_owned(), uri.to_owned());
    Change::Gone(RowKey::Bookmark(BookmarkKey { viewer, uri }))
}

/// Writes a bookmark. Another of the same post goes, and the one that has the key, if it is of another post.
pub(super) fn write(
    tx: &mut Tx<'_>,
    viewer: ActorId,
    post: PostId,
    row: &Bookmark,
) -> Result<(), StoreError> {
    if let Some(other) = at(tx, viewer, row.key)?
        && other != post
    {
        remove(tx, viewer, other)?;
    }
    let held = get(tx, viewer, post)?;
    if let Some(held) = &held {
        tx.del(Ks::Private, &by_viewer(viewer, held.key));
    }
    tx.put(Ks::Private, &by_post(post, viewer), &row.encode());
    tx.put(Ks::Private, &by_viewer(viewer, row.key), &post.to_bytes());
    match held {
        Some(_) => Ok(()),
        None => tx.count(Target::Post(post), Counter::Bookmarks, 1).map(drop),
    }
}

fn remove(tx: &mut Tx<'_>, viewer: ActorId, post: PostId) -> Result<(), StoreError> {
    let Some(row) = get(tx, viewer, post)? else { return Ok(()) };
    tx.del(Ks::Private, &by_post(post, viewer));
    tx.del(Ks::Private, &by_viewer(viewer, row.key));
    tx.count(Target::Post(post), Counter::Bookmarks, -1).map(drop)
}

/// A bookmark, in names. The key is a TID of when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct Bookmarked {
    pub viewer: String,
    pub uri: String,
    pub cid: String,
    pub key: String,
}

/// What it is known by: a viewer has one of each post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct BookmarkKey {
    pub viewer: String,
    pub uri: String,
}

owned!(viewer: Bookmarked);

impl Kept for Bookmarked {
    type Key = BookmarkKey;
    const TABLES: &'static [Table] = &[
        Table {
            tag: BY_VIEWER,
            goes: Goes::WithAccount,
            export: Export::Rows,
            whole: |k, v| by_viewer_row(k, v).is_some(),
        },
        Table {
            tag: BY_POST,
            goes: Goes::WithRow,
            export: Export::Nothing,
            whole: |k, v| by_post_row(k, v).is_some(),
        },
    ];

    fn check(&self) -> Result<(), String> {
        names::record_of("uri", &self.uri, &[POST])?;
        names::tid("key", &self.key).map(drop)
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        let Some((viewer, _, post)) = by_viewer_row(k, v) else { return Ok(None) };
        let Some(held) = get(r, viewer, post)? else { return Ok(None) };
        let (viewer, uri) = (r.did(viewer)?.to_string(), r.post_uri(post)?);
        Ok(Some(Self { viewer, uri, cid: held.cid, key: held.key.to_string() }))
    }

    /// One of a post that has one stays out. Its key is a later one if that is another post's.
    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        let Some(mut key) = Tid::parse(&self.key) else { return Ok(Vec::new()) };
        if let Some((viewer, post)) = known(r, &self.viewer, &self.uri)?
            && get(r, viewer, post)?.is_some()
        {
            return Ok(Vec::new());
        }
        if let Some(viewer) = r.actor_id(&self.viewer)? {
            while at(r, viewer, key)?.is_some() {
                key = Tid::from_micros(key.micros().saturating_add(1), 0);
            }
        }
        Ok(vec![Change::Put(Row::Bookmark(Self { key: key.to_string(), ..self.clone() }))])
    }

    fn write(&self, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let viewer = tx.intern_actor(&self.viewer)?;
        match (tx.intern_target(&self.uri)?, Tid::parse(&self.key)) {
            (Some(Target::Post(post)), Some(key)) => {
                write(tx, viewer, post, &Bookmark { key, cid: self.cid.clone() })
            }
            _ => Ok(()),
        }
    }

    fn remove(key: &BookmarkKey, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        match known(tx, &key.viewer, &key.uri)? {
            Some((viewer, post)) => remove(tx, viewer, post),
            None => Ok(()),
        }
    }

    /// With its counterpart and the counter of the post.
    fn forget(tx: &mut Tx<'_>, viewer: ActorId, most: usize) -> Result<usize, StoreError> {
        let page = page(tx, viewer, None, most)?;
        for (_, post) in &page {
            remove(tx, viewer, *post)?;
        }
        // Rows that lead nowhere.
        let rest = most.saturating_sub(page.len());
        Ok(page.len() + super::kinds::forget_tables(Self::TABLES, tx, viewer, rest)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::testing::{Bench, DID, OTHER};

    fn uri(n: char) -> String {
        format!("at://{OTHER}/{POST}/3kaaaaaaaaa{n}a")
    }

    #[tokio::test]
    async fn bookmarks_come_in_order_count_and_go_with_the_account() {
        let b = Bench::new();
        // In the same millisecond, then with a clock that was set back; the last is there already.
        for (n, at) in [('5', 5), ('3', 5), ('4', 4), ('5', 8)] {
            assert!(b.change(move |r| add(r, DID, &uri(n), "cid", at)).await);
        }
        assert!(b.change(|r| add(r, OTHER, &uri('3'), "other", 7)).await);
        assert!(
            !b.change(|r| add(r, DID, "at://handle.example/app.bsky.feed.post/x", "", 9)).await
        );
        let (me, you) = (b.actor(DID), b.actor(OTHER));
        let post = |n| match b.snapshot().target(&uri(n)).unwrap() {
            Some(Target::Post(post)) => post,
            other => panic!("{other:?}"),
        };
        let posts = |before, limit| page(&b.snapshot(), me, before, limit).unwrap();
        let named = |page: &[(Tid, PostId)]| -> String {
            let all = ['3', '4', '5'].map(|n| (post(n), n));
            page.iter().map(|(_, p)| all.iter().find(|(post, _)| post == p).unwrap().1).collect()
        };
        let first = posts(None, 2);
        assert_eq!(named(&first), "43");
        assert_eq!(named(&posts(Some(first[1].0), 2)), "5");
        assert_eq!(first[0].0.micros(), 5002);
        let count = |n| b.snapshot().agg(Target::Post(post(n))).unwrap().get(Counter::Bookmarks);
        assert_eq!((count('3'), count('4'), count('5')), (2, 1, 1));
        for _ in 0..2 {
            b.change(|_| Ok((vec![take_away(DID, &uri('4'))], ()))).await;
        }
        assert_eq!(get(&b.snapshot(), me, post('4')).unwrap(), None);
        assert_eq!((named(&posts(None, 9)).as_str(), count('4')), ("35", 0));
        assert!(b.forget(DID, 100).await);
        assert_eq!((named(&posts(None, 9)).as_str(), count('3'), count('5')), ("", 1, 0));
        let other = get(&b.snapshot(), you, post('3')).unwrap().unwrap();
        assert_eq!((other.cid.as_str(), other.key.micros()), ("other", 7000));
    }

    #[tokio::test]
    async fn a_bookmark_that_comes_again_takes_the_place_of_what_has_its_post_or_its_key() {
        let b = Bench::new();
        let put = |n, key: u64, cid: &str| {
            let key = Tid::from_micros(key, 0).to_string();
            let (viewer, cid) = (DID.to_owned(), cid.to_owned());
            Change::Put(Row::Bookmark(Bookmarked { viewer, uri: uri(n), cid, key }))
        };
        for change in [put('3', 7, "a"), put('3', 9, "b"), put('4', 9, "c")] {
            b.apply(&[change]).await;
        }
        let lines = b.lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains(r#""cid":"c""#), "{lines:#?}");
        let count = |n| {
            let s = b.snapshot();
            let target = s.target(&uri(n)).unwrap().unwrap();
            s.agg(target).unwrap().get(Counter::Bookmarks)
        };
        assert_eq!((count('3'), count('4')), (0, 1));
    }
}
