//! Which of the posts at hand an account likes or reposts.
//!
//! A page asks this for each of its posts, mostly about one viewer. The likes of an account are cached as a whole if they
//! are not too many, so that a page costs no read.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Hydrator, Result};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::{EdgeKind, EdgeRow, fwd_prefix};
use crate::schema::{ActorId, PostId, RecordId, Rkey, Rows, Target};
use crate::store::{Ks, Reader, RowViews};

/// Records of a kind that are held of one account.
const MAX_HELD: usize = 1_000;

/// The posts that an account likes or reposts, with the key of the record unless there are several; `None` if they are
/// too many to hold.
type EdgeMap = Option<Arc<FxHashMap<PostId, Option<Rkey>>>>;

/// What accounts like and what they repost, by account and kind.
pub(super) type OwnEdgesCache = RowViews<EdgeMap>;

/// A cache of likes and reposts of `budget` bytes together; those of an account take forty kilobytes at worst.
pub(super) fn cache(budget: u64) -> OwnEdgesCache {
    RowViews::weighed(budget, weight)
}

/// Bytes that they take.
fn weight(edges: &EdgeMap) -> u64 {
    128 + edges.as_ref().map_or(0, |edges| 37 * edges.capacity() as u64)
}

/// The edge maps that an answer has at hand: of each kind that of the account it asked about last.
#[derive(Default)]
pub(super) struct OwnEdges(Vec<(EdgeKind, ActorId, EdgeMap)>);

impl Hydrator<'_> {
    /// The AT-URI of an account's like or repost of a post.
    pub(super) fn own_edge(
        &self,
        known: &mut OwnEdges,
        kind: EdgeKind,
        post: PostId,
        actor: ActorId,
    ) -> Result<Option<String>> {
        let fallback = || self.fan_uri(kind, Target::Post(post), actor);
        // Likes of community posts have a row by target only, none by author, so they are not in the edge map.
        if post.is_community() {
            return fallback();
        }
        match self.edge_map(known, kind, actor)?.as_ref().map(|edges| edges.get(&post)) {
            Some(None) => Ok(None),
            Some(Some(Some(rkey))) => {
                let id = RecordId::from_index(actor, kind.collection(), *rkey);
                self.snapshot.uri(id).map(Some)
            }
            Some(Some(None)) | None => fallback(),
        }
    }

    fn edge_map<'k>(
        &self,
        OwnEdges(known): &'k mut OwnEdges,
        kind: EdgeKind,
        actor: ActorId,
    ) -> Result<&'k EdgeMap> {
        let at = match known.iter().position(|(of, _, _)| *of == kind) {
            Some(at) => at,
            None => {
                known.push((kind, actor, self.load_edge_map(kind, actor)?));
                known.len() - 1
            }
        };
        let Some((_, of, edges)) = known.get_mut(at) else { return Ok(&None) };
        if *of != actor {
            (*of, *edges) = (actor, self.load_edge_map(kind, actor)?);
        }
        Ok(edges)
    }

    fn load_edge_map(&self, kind: EdgeKind, actor: ActorId) -> Result<EdgeMap> {
        let prefix = fwd_prefix(kind, actor);
        self.snapshot.view(&self.shared.own_edges, (Ks::Fwd, &prefix), || {
            let (mut edges, mut rows) = (FxHashMap::default(), 0);
            self.snapshot.scan_prefix(Ks::Fwd, &prefix, &mut |key, value| {
                let rkey = key.get(prefix.len()..).and_then(|rest| ByteReader::new(rest).rkey());
                if let Some((rkey, edge)) = rkey.zip(EdgeRow::decode(key, value))
                    && let Target::Post(post) = edge.target
                {
                    edges.entry(post).and_modify(|of| *of = None).or_insert(Some(rkey));
                }
                rows += 1;
                rows <= MAX_HELD
            })?;
            Ok((Some(Arc::new(edges)).filter(|_| rows <= MAX_HELD), true))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, NOW, seen_by};
    use super::*;
    use crate::schema::Rows;

    fn liked(f: &Fixture, posts: &[PostId], actor: ActorId) -> Vec<Option<String>> {
        f.hydrate(&seen_by(None), |h| {
            let mut known = OwnEdges::default();
            let like = |post: &PostId| h.own_edge(&mut known, EdgeKind::Like, *post, actor);
            posts.iter().map(like).collect::<Result<_>>().unwrap()
        })
    }

    #[test]
    fn what_is_held_of_likes_follows_every_change_and_knows_kinds_and_accounts_apart() {
        let f = Fixture::new();
        let (alice, bob) = (f.account("alice"), f.account("bob"));
        let posts = [1, 2].map(|n| f.post(alice, NOW - n, serde_json::json!({})));
        f.edge(EdgeKind::Repost, bob, Target::Post(posts[0]), NOW);
        assert_eq!(liked(&f, &posts, bob), [None, None]);
        f.edge(EdgeKind::Like, alice, Target::Post(posts[0]), NOW - 3);
        let rkey = f.edge(EdgeKind::Like, bob, Target::Post(posts[1]), NOW - 2);
        let uri = format!(
            "at://did:plc:bob/app.bsky.feed.like/{}",
            f.snapshot().rkey_text(rkey).unwrap()
        );
        assert_eq!(liked(&f, &posts, bob), [None, Some(uri.clone())]);
        // Of two records on one post that one counts which the index names.
        f.write(move |tx| {
            let key = crate::schema::rows::fwd_key(EdgeKind::Like, bob, Rkey(rkey.0 + 1024));
            let row = tx.edge(EdgeKind::Like, bob, rkey)?.unwrap();
            tx.put(Ks::Fwd, &key, &row.encode(Rkey(rkey.0 + 1024)));
            Ok(())
        });
        assert_eq!(liked(&f, &posts, bob), [None, Some(uri)]);
        f.hydrate(&seen_by(None), |h| {
            let mut known = OwnEdges::default();
            let mut of = |kind, post, actor| h.own_edge(&mut known, kind, post, actor).unwrap();
            assert!(of(EdgeKind::Repost, posts[0], bob).is_some());
            assert!(of(EdgeKind::Like, posts[0], bob).is_none());
            assert!(of(EdgeKind::Like, posts[0], alice).is_some());
            assert!(of(EdgeKind::Repost, posts[0], alice).is_none());
        });
    }

    #[test]
    fn likes_that_are_too_many_to_hold_are_read_one_by_one() {
        let f = Fixture::new();
        let alice = f.account("alice");
        let post = move |n: u64| PostId { author: alice, rkey: Rkey(n) };
        f.write(move |tx| {
            for n in 0..=MAX_HELD as u64 {
                let row = EdgeRow {
                    target: Target::Post(post(n)),
                    created_delta: 0,
                    sort_delta: 0,
                    cid: crate::schema::rows::SubjectCid::None,
                    kept: false,
                };
                let key = crate::schema::rows::fwd_key(EdgeKind::Like, alice, Rkey(n + 5));
                tx.put(Ks::Fwd, &key, &row.encode(Rkey(n + 5)));
            }
            Ok(())
        });
        f.edge(EdgeKind::Like, alice, Target::Post(post(7)), NOW);
        f.hydrate(&seen_by(None), |h| {
            assert!(h.load_edge_map(EdgeKind::Like, alice).unwrap().is_none())
        });
        let found = liked(&f, &[post(7), post(8)], alice);
        assert!(found[0].is_some() && found[1].is_none(), "only one of them is in the index");
    }
}
