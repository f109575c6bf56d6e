//! Feeds, timelines and threads over a small store.

use serde_json::json;

use super::feed::{FeedFilter, SelfThreads};
use super::page::{Page, TimeCursor};
use super::post_state::PostState;
use super::testing::{Fixture, NOW, seen_by};
use super::timeline::FeedItem;
use super::*;
use crate::schema::rows::{EdgeKind, post_flags};

/// Follows cursors to the end.
fn walk<T>(mut next: impl FnMut(Option<&TimeCursor>) -> Page<T>) -> (Vec<T>, Vec<usize>) {
    let (mut all, mut sizes, mut cursor) = (Vec::new(), Vec::new(), None);
    loop {
        let page = next(cursor.as_ref());
        sizes.push(page.items.len());
        all.extend(page.items);
        let Some(text) = page.cursor else { return (all, sizes) };
        cursor = TimeCursor::parse(&text);
    }
}

#[test]
fn a_timeline_is_the_merge_of_its_feeds() {
    let f = Fixture::new();
    let viewer = f.account("viewer");
    let stranger = f.account("stranger");
    let mut expect: Vec<(i64, FeedItem)> = Vec::new();
    for a in 0..12i64 {
        let author = f.account(&format!("author{a}"));
        f.edge(EdgeKind::Follow, viewer, Target::Actor(author), NOW - a);
        // Some post often, some rarely, some long ago; some never.
        for n in 0..(a * a % 23) {
            let at = NOW - 1_000_000 * (a % 3) - 7919 * n * (a + 1) - a;
            expect.push((at, FeedItem::post(f.post(author, at, json!({})))));
        }
    }
    let other = f.post(stranger, NOW - 5, json!({}));
    let author = expect[0].1.post.author;
    let repost = f.repost(author, other, NOW - 3);
    expect.push((NOW - 3, FeedItem { post: other, repost: Some(repost), pinned: false }));
    expect.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let expect: Vec<FeedItem> = expect.into_iter().map(|(_, item)| item).collect();
    // The second time from what the first remembered.
    for _ in 0..2 {
        for limit in [1, 3, 10, 100] {
            f.hydrate(&seen_by(Some(viewer)), |h| {
                let (got, _) = walk(|c| h.timeline(viewer, limit, c).unwrap());
                assert_eq!(got, expect, "limit {limit}");
            });
        }
    }
    // What is remembered follows what changes.
    let new = f.post(author, NOW - 1, json!({}));
    f.hydrate(&seen_by(Some(viewer)), |h| {
        let page = h.timeline(viewer, 1, None).unwrap();
        assert_eq!(page.items, [FeedItem::post(new)]);
    });
}

#[test]
fn own_posts_fill_what_others_leave() {
    let f = Fixture::new();
    let (viewer, other) = (f.account("viewer"), f.account("other"));
    f.follow(viewer, other);
    for n in 0..30 {
        f.post(viewer, NOW - n, json!({}));
    }
    f.post(other, NOW + 1, json!({}));
    f.hydrate(&seen_by(Some(viewer)), |h| {
        let (all, sizes) = walk(|c| h.timeline(viewer, 20, c).unwrap());
        assert_eq!((all.len(), sizes), (31, vec![20, 11]));
    });
}

#[test]
fn author_feeds_are_filtered() {
    let f = Fixture::new();
    let (a, b) = (f.account("a"), f.account("b"));
    let own = f.post(a, NOW - 50, json!({}));
    let theirs = f.post(b, NOW - 49, json!({}));
    let in_own = f.reply(a, NOW - 40, own, own);
    let in_theirs = f.reply(a, NOW - 39, theirs, theirs);
    let media = f.post(a, NOW - 30, json!({ "testFlags": post_flags::MEDIA }));
    let video = f.post(a, NOW - 29, json!({ "testFlags": post_flags::VIDEO }));
    f.repost(a, theirs, NOW - 20);
    let posts = |filter| {
        f.hydrate(&seen_by(None), |h| {
            let (all, _) = walk(|c| h.author_feed(a, filter, 2, c).unwrap());
            all.into_iter().map(|i| i.post).collect::<Vec<_>>()
        })
    };
    assert_eq!(posts(FeedFilter::All), [theirs, video, media, in_theirs, in_own, own]);
    assert_eq!(posts(FeedFilter::NoReplies), [theirs, video, media, own]);
    assert_eq!(posts(FeedFilter::Media), [media]);
    assert_eq!(posts(FeedFilter::Video), [video]);
    assert_eq!(posts(FeedFilter::AuthorThreads), [theirs, video, media, in_own, own]);
}

#[test]
fn a_filter_that_reads_posts_ends_its_page_early() {
    let f = Fixture::new();
    let (a, b) = (f.account("a"), f.account("b"));
    let theirs = f.post(b, NOW - 900, json!({}));
    let own = f.post(a, NOW - 800, json!({}));
    for n in 0..450 {
        f.reply(a, NOW - n, theirs, theirs);
    }
    f.hydrate(&seen_by(None), |h| {
        let (all, sizes) = walk(|c| h.author_feed(a, FeedFilter::AuthorThreads, 10, c).unwrap());
        assert_eq!((all, sizes), (vec![FeedItem::post(own)], vec![0, 0, 1]));
        let (_, sizes) = walk(|c| h.author_feed(a, FeedFilter::NoReplies, 10, c).unwrap());
        assert_eq!(sizes, [1]);
    });
}

#[test]
fn self_threads_need_every_ancestor_on_the_page() {
    let f = Fixture::new();
    let (a, b) = (f.account("a"), f.account("b"));
    let root = f.post(a, NOW - 50, json!({}));
    let second = f.reply(a, NOW - 40, root, root);
    let theirs = f.reply(b, NOW - 35, root, second);
    let third = f.reply(a, NOW - 30, root, theirs);
    f.hydrate(&seen_by(None), |h| {
        let items: Vec<FeedItem> = [root, second, third].map(FeedItem::post).to_vec();
        let mut state = PostState::new(&h);
        h.feed_items(&mut state, &items).unwrap();
        let mut threads = SelfThreads::new(&items);
        let ok = [third, second, root].map(|p| threads.complete(&state, p));
        assert_eq!(ok, [false, true, true]);
    });
}

#[test]
fn a_thread_is_bounded_above_and_below() {
    let f = Fixture::new();
    let (a, b) = (f.account("a"), f.account("b"));
    let root = f.post(a, NOW - 50, json!({}));
    let one = f.reply(a, NOW - 40, root, root);
    let two = f.reply(a, NOW - 30, root, one);
    let late = f.reply(b, NOW - 20, root, one);
    let deep = f.reply(b, NOW - 10, root, two);
    f.hydrate(&seen_by(None), |h| {
        let mut state = PostState::new(&h);
        let thread = h.thread_skeleton(&mut state, one, 5, 1).unwrap();
        assert_eq!(thread.posts, [one, root, late, two]);
        assert_eq!(thread.children[&one], [late, two]);
        let thread = h.thread_skeleton(&mut state, one, 0, 9).unwrap();
        assert_eq!(thread.posts, [one, late, two, deep]);
        let line = h.op_thread(&mut state, deep).unwrap();
        assert_eq!(line, Some(vec![root, one, two]));
    });
}

#[test]
fn blocks_among_third_parties_are_found() {
    let f = Fixture::new();
    let (a, b) = (f.account("a"), f.account("b"));
    let root = f.post(a, NOW - 50, json!({}));
    let reply = f.reply(b, NOW - 40, root, root);
    f.block(a, b);
    f.hydrate(&seen_by(None), |h| {
        let mut state = PostState::new(&h);
        h.feed_items(&mut state, &[FeedItem::post(reply)]).unwrap();
        let blocks = state.blocks[&reply];
        assert!(blocks.parent && blocks.root && !blocks.embed);
    });
}

#[test]
fn a_changed_post_is_read_again() {
    let f = Fixture::new();
    let a = f.account("a");
    let text = || {
        f.hydrate(&seen_by(None), |h| {
            let id = h.author_feed(a, FeedFilter::All, 1, None).unwrap().items[0].post;
            let mut state = PostState::new(&h);
            h.posts(&mut state, &[id]).unwrap();
            state.post(id).map(|p| p.record.json.get().contains("second"))
        })
    };
    let id = f.post(a, NOW, json!({ "text": "first" }));
    assert_eq!(text(), Some(false));
    f.post(a, NOW, json!({ "text": "second" }));
    assert_eq!(text(), Some(true));
    f.take_down(Target::Post(id));
    assert_eq!(text(), None);
}
