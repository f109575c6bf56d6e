//! Community posts, which their authors bring and no repo does: kept and taken away together with the notifications that
//! they make.
//!
//! The content and its place in lists and counters are the matter of `private::community`, whom a post notifies that of
//! `notify`. Whether a recipient belongs to the community is asked when notifications are read: who leaves it reads no
//! more of it.

use super::{Index, notify, posts};
use crate::private::{self, community};
use crate::schema::{ActorId, PostId, Rows};
use crate::store::{StoreError, Tx};

impl Index {
    /// Takes up to `most` posts of an author away; `true` once nothing is left.
    pub(super) fn remove_community_posts(
        &self,
        tx: &mut Tx<'_>,
        author: ActorId,
        most: usize,
    ) -> Result<bool, StoreError> {
        let posts = community::some_of(tx, author, most)?;
        for post in &posts {
            private::withdraw(self, tx, *post)?;
        }
        Ok(posts.len() < most)
    }

    /// Writes the notifications of a held post.
    pub(super) fn tell_of_community_post(
        &self,
        tx: &mut Tx<'_>,
        post: PostId,
    ) -> Result<(), StoreError> {
        let Some(held) = community::get(tx, post)? else { return Ok(()) };
        let content = tx.unpack(&held.packed)?;
        let refs = posts::refs(tx, &content)?;
        notify::community_post(self, tx, post, &refs, held.sort)
    }
}

#[cfg(test)]
mod tests {
    use ipld_core::ipld::Ipld;

    use super::super::check::{Options, check};
    use super::super::retention_tests::{policy, run};
    use super::super::scope::Mode;
    use super::super::testing::*;
    use super::*;
    use crate::event::Op;
    use crate::schema::Target;
    use crate::schema::rows::Counter;
    use crate::work::pushes;

    const OF: &str = "community.blacksky.feed.post";
    const LIKE_OF: &str = "community.blacksky.feed.like";
    const REPOST_OF: &str = "community.blacksky.feed.repost";

    /// Submits a post with more members; gives its URI.
    async fn submit<const N: usize>(
        w: &World,
        who: &str,
        n: u64,
        more: [(&'static str, Ipld); N],
    ) -> String {
        let Ipld::Map(mut input) = map(more) else { panic!() };
        input.insert("text".into(), text(n.to_string()));
        input.insert("createdAt".into(), text(at(n)));
        let uri = uri(who, OF, n);
        let new = community::NewPost::read(&Ipld::Map(input)).unwrap();
        let (who, rkey) = (who.to_owned(), tid(n));
        let private = w.private();
        let put = private.change(move |r| {
            community::submit(r, did(&who).as_str(), &rkey, &new, NOW, usize::MAX)
        });
        assert!(put.await.unwrap());
        uri
    }

    fn answer(root: &str, parent: &str) -> (&'static str, Ipld) {
        ("reply", map([("root", strong(root)), ("parent", strong(parent))]))
    }

    fn edge(coll: &str, n: u64, of: &str) -> Op {
        op(
            coll,
            n,
            map([("$type", text(coll)), ("subject", strong(of)), ("createdAt", text(at(n)))]),
        )
    }

    fn target(w: &World, uri: &str) -> Target {
        w.store.snapshot().target(uri).unwrap().unwrap()
    }

    fn clean(w: &World, what: &str) {
        let report = check(&w.store, &Options { full: true, repair: None }, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{what}: {:#?}", report.findings);
    }

    /// Posts, a thread, likes and reposts of both kinds, a gate.
    async fn filled() -> (World, [String; 3]) {
        let mut w = World::new();
        for who in ["a", "b", "c"] {
            w.commit(who, []).await;
        }
        let root = submit(&w, "a", 1, []).await;
        let reply = submit(&w, "b", 2, [answer(&root, &root)]).await;
        let below = submit(&w, "c", 3, [answer(&root, &reply)]).await;
        w.commit("b", [edge(LIKE_OF, 4, &root), edge(REPOST_OF, 5, &root), like(6, &root)]).await;
        w.commit("c", [like(7, &root), edge(LIKE_OF, 8, &root), edge(LIKE_OF, 9, &reply)]).await;
        (w, [root, reply, below])
    }

    #[tokio::test]
    async fn likes_and_reposts_are_counted_whoever_comes_first_and_check() {
        let (mut w, [root, reply, _]) = filled().await;
        let counts = |w: &World, of: &str| {
            [Counter::Likes, Counter::Reposts, Counter::Replies]
                .map(|counter| w.count(target(w, of), counter))
        };
        assert_eq!((counts(&w, &root), counts(&w, &reply)), ([2, 1, 1], [1, 0, 1]));
        clean(&w, "filled");
        let rows = w.rows();
        // Again, as a replay or another upstream brings it; then another version under the same key.
        w.commit("b", [edge(LIKE_OF, 4, &root), like(6, &root)]).await;
        assert_eq!(w.rows(), rows);
        w.commit("b", [edge(LIKE_OF, 4, &reply)]).await;
        assert_eq!((counts(&w, &root), counts(&w, &reply)), ([2, 1, 1], [2, 0, 1]));
        clean(&w, "another subject");
        w.commit("b", [gone(LIKE_OF, 4), gone(LIKE, 6), gone(REPOST_OF, 5)]).await;
        w.commit("c", [gone(LIKE, 7)]).await;
        assert_eq!((counts(&w, &root), counts(&w, &reply)), ([1, 0, 1], [1, 0, 1]));
        // Before its post comes, too.
        let late = uri("a", OF, 50);
        w.commit("b", [edge(LIKE_OF, 51, &late)]).await;
        submit(&w, "a", 50, []).await;
        assert_eq!(counts(&w, &late), [1, 0, 0]);
        // On what is no community post, or under a key that is no time, it is a record and no more.
        let mut odd = edge(LIKE_OF, 52, &root);
        odd.rkey = "odd".into();
        w.commit("b", [post(53), edge(LIKE_OF, 54, &uri("b", POST, 53)), odd]).await;
        assert_eq!((counts(&w, &root), counts(&w, &uri("b", POST, 53))), ([1, 0, 1], [0, 0, 0]));
        clean(&w, "at the end");
    }

    #[tokio::test]
    async fn who_joins_later_is_told_of_the_same() {
        let (mut w, [root, reply, _]) = filled().await;
        let mention = map([
            ("$type", text("app.bsky.richtext.facet#mention")),
            ("did", text(did("a").as_str())),
        ]);
        let facets = |feature: Ipld| {
            ("facets", Ipld::List(vec![map([("features", Ipld::List(vec![feature]))])]))
        };
        submit(&w, "c", 10, [facets(mention.clone())]).await;
        let embed = map([("$type", text("app.bsky.embed.record")), ("record", strong(&root))]);
        submit(&w, "b", 11, [("embed", embed)]).await;
        w.join("a").await;
        w.join("b").await;
        let reasons = |w: &World, who| -> Vec<_> {
            w.notifs(who).into_iter().map(|(_, reason)| reason).collect()
        };
        let of_a = ["quote", "mention", "like", "repost", "like", "reply", "reply"];
        assert_eq!((reasons(&w, "a"), reasons(&w, "b")), (of_a.to_vec(), vec!["like", "reply"]));
        let notifs = |w: &World| {
            let rows = w.rows().into_iter().filter(|((ks, _), _)| *ks == crate::store::Ks::Notif);
            rows.collect::<Vec<_>>()
        };
        let built = notifs(&w);
        // What is written as it comes is what was built.
        let names = [&root, &reply].map(|uri| target(&w, uri).record().unwrap());
        for (who, coll, n) in
            [("c", LIKE, 7), ("b", LIKE_OF, 4), ("b", REPOST_OF, 5), ("c", LIKE_OF, 9)]
        {
            w.commit(who, [gone(coll, n)]).await;
            assert!(notifs(&w).len() < built.len(), "{who} {coll}");
        }
        w.commit("c", [gone(LIKE_OF, 8), gone(OF, 3), gone(OF, 10)]).await;
        w.commit("b", [gone(LIKE, 6), gone(OF, 11), gone(OF, 2)]).await;
        assert_eq!(notifs(&w), []);
        assert_eq!(
            names.map(|id| w.store.snapshot().uri(id).unwrap()),
            [root.clone(), reply.clone()]
        );
        submit(&w, "b", 2, [answer(&root, &root)]).await;
        submit(&w, "c", 3, [answer(&root, &reply)]).await;
        w.commit("b", [edge(LIKE_OF, 4, &root), edge(REPOST_OF, 5, &root)]).await;
        w.commit("c", [like(7, &root), edge(LIKE_OF, 9, &reply)]).await;
        submit(&w, "c", 10, [facets(mention)]).await;
        let embed = map([("$type", text("app.bsky.embed.record")), ("record", strong(&root))]);
        submit(&w, "b", 11, [("embed", embed)]).await;
        assert_eq!(notifs(&w), built);
        clean(&w, "told");
    }

    #[tokio::test]
    async fn what_is_new_is_pushed() {
        let (mut w, [root, ..]) = filled().await;
        let (index, requests) = Index::new(&w.store).unwrap();
        (w.index, w.requests) = (std::sync::Arc::new(index.pushing(true, 7)), requests);
        w.join("a").await;
        let now = 100_000_000;
        submit(&w, "b", now - 5, [answer(&root, &root)]).await;
        submit(&w, "b", now - 7200, [answer(&root, &root)]).await;
        let due = pushes::due(&w.store.snapshot(), i64::MAX, 9).unwrap().items;
        assert_eq!(due.iter().map(|job| job.due).collect::<Vec<_>>(), [NOW + 7]);
    }

    #[tokio::test]
    async fn another_version_notifies_of_what_it_says() {
        let (w, [root, reply, _]) = filled().await;
        w.join("a").await;
        let told = |w: &World| {
            let rows = w.notifs("a").into_iter();
            rows.filter(|(by, reason)| *by == did("b").as_str() && *reason == "reply").count()
        };
        assert_eq!(told(&w), 1);
        submit(&w, "b", 2, []).await;
        assert_eq!(told(&w), 0);
        submit(&w, "b", 2, [answer(&root, &root)]).await;
        submit(&w, "b", 2, [answer(&root, &root)]).await;
        assert_eq!((told(&w), reply), (1, uri("b", OF, 2)));
    }

    #[tokio::test]
    async fn a_reply_that_the_owner_hid_ends_the_line_of_those_who_are_told() {
        let (mut w, [root, reply, _]) = filled().await;
        w.join("a").await;
        w.join("b").await;
        let gate = |post: &str| {
            let coll = "community.blacksky.feed.threadgate";
            let hidden = Ipld::List(vec![text(reply.clone())]);
            let fields =
                [("post", text(post)), ("createdAt", text(at(1))), ("hiddenReplies", hidden)];
            op(coll, 1, map(fields))
        };
        let replies = |w: &World| {
            let told = w.notifs("a").into_iter();
            told.filter(|(by, reason)| *reason == "reply" && *by == did("c").as_str()).count()
        };
        assert_eq!(replies(&w), 1);
        // A gate for another post says nothing about this one.
        w.commit("a", [gate(&reply)]).await;
        submit(&w, "c", 20, [answer(&root, &reply)]).await;
        assert_eq!(replies(&w), 2);
        w.commit("a", [gate(&root)]).await;
        submit(&w, "c", 21, [answer(&root, &reply)]).await;
        assert_eq!(replies(&w), 2);
    }

    #[tokio::test]
    async fn no_retention_takes_what_is_nowhere_else() {
        for mode in [Mode::Window, Mode::Circle] {
            let (mut w, all) = filled().await;
            let stub = |n| op(OF, n, map([("$type", text(OF)), ("createdAt", text(at(n)))]));
            let gate = "community.blacksky.feed.threadgate";
            let value =
                [("$type", text(gate)), ("post", text(&*all[0])), ("createdAt", text(at(1)))];
            w.commit("a", [stub(1), op(gate, 1, map(value)), post(60)]).await;
            w.commit("d", [post(61), like(62, &uri("a", POST, 60)), like(63, &all[0])]).await;
            w.commit("m", [follow(64, "nobody")]).await;
            w.join("m").await;
            // Nobody of these is kept, and everything is as old as can be.
            w.restart(mode, 30);
            let community = |w: &World| {
                let s = w.store.snapshot();
                let mut rows = w.rows();
                let feed = [POST, FOLLOW].map(|coll| s.coll_id(coll).unwrap());
                assert!(feed.iter().all(Option::is_some));
                rows.retain(|(ks, k), _| match ks {
                    crate::store::Ks::Private => true,
                    crate::store::Ks::Record => {
                        let id = crate::schema::RecordId::from_bytes(k).unwrap();
                        s.coll_text(id.coll).unwrap().starts_with("community.")
                    }
                    _ => false,
                });
                rows
            };
            let (before, likes) = (community(&w), w.count(target(&w, &all[0]), Counter::Likes));
            let tally = run(&w, policy(mode)).await;
            // The last step of a budget: everything that was ever made.
            let last = super::super::retention::Policy { cutoff: NOW, ..policy(mode) };
            run(&w, last).await;
            assert!(tally.posts >= 2 && tally.likes >= 1, "{mode:?}: {tally:?}");
            assert_eq!(community(&w), before, "{mode:?}");
            assert_eq!(w.count(target(&w, &all[0]), Counter::Likes), likes, "{mode:?}");
            // Nor is what comes late left out for its age.
            w.commit("d", [like(70, &all[1]), edge(LIKE_OF, 71, &all[2])]).await;
            assert_eq!(
                [&all[1], &all[2]].map(|of| w.count(target(&w, of), Counter::Likes)),
                [2, 1]
            );
            clean(&w, "after retention");
        }
    }
}
