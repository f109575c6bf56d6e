//! Searches over real indexes of a real store.

use super::{FindError, PostSearch};
use crate::index::testing::*;
use crate::schema::{ActorId, PostId, Rows as _};
use crate::search::index::testing::{Found, say, second};
use crate::search::query::{Search, Sort, parse};

fn search(text: &str, sort: Sort) -> Search {
    Search { query: parse(text).unwrap(), sort, only_recent: false, language: None }
}

/// One page: the seconds of its posts, its cursor, and how many there are.
fn page(
    f: &Found,
    search: &Search,
    (cursor, limit): (Option<&str>, usize),
    shown: impl Fn(PostId) -> bool,
) -> (Vec<u64>, Option<String>, u64) {
    let (seen, s) = (f.seen(), f.world.store.snapshot());
    let viewer = s.actor_id(&did("a")).unwrap();
    let nobody = |_: ActorId| false;
    let found = PostSearch::new(&seen, &s, search, (viewer, NOW), &nobody).unwrap();
    let keep = |mut posts: Vec<PostId>| {
        posts.retain(|post| shown(*post));
        Ok::<_, FindError>(posts)
    };
    let found = found.page(cursor, limit, keep).unwrap();
    (found.posts.into_iter().map(second).collect(), found.cursor, found.total)
}

/// All pages, however the clock cut them.
fn all(f: &Found, text: &str, sort: Sort, limit: usize) -> Vec<u64> {
    let search = search(text, sort);
    let (mut out, mut cursor) = (Vec::new(), None);
    loop {
        let (posts, next, _) = page(f, &search, (cursor.as_deref(), limit), |_| true);
        assert!(posts.len() <= limit);
        out.extend(posts);
        let Some(next) = next else { return out };
        cursor = Some(next);
    }
}

async fn world() -> Found {
    let mut f = Found::new().await;
    f.catch_up();
    for (who, n, words) in [
        ("a", 1, "red apples and green pears"),
        ("b", 2, "green apples"),
        ("b", 3, "apples, green or not"),
        ("c", 4, "nothing of this"),
        ("c", 5, "東京都に行く"),
        ("a", 6, "京都に行く"),
    ] {
        f.world.commit(who, [say(n, words)]).await;
        f.catch_up();
    }
    f
}

#[tokio::test]
async fn what_a_query_says_is_found_and_nothing_else() {
    let f = world().await;
    for (text, found) in [
        ("apples", vec![3, 2, 1]),
        ("green apples", vec![3, 2, 1]),
        ("\"green apples\"", vec![2]),
        ("-apples", vec![6, 5, 4]),
        ("-\"green apples\" apples", vec![3, 1]),
        ("pears OR nothing", vec![4, 1]),
        ("from:me", vec![6, 1]),
        (&*format!("from:{} green", did("b")), vec![3, 2]),
        ("from:nobody.example", vec![]),
        ("from:nobody.example OR pears", vec![1]),
        ("京都", vec![6, 5]),
        ("東京", vec![5]),
        ("apples since:2023-11-14T22:13:22Z", vec![3, 2]),
        ("apples (until:2023-11-14T22:13:22Z OR \"green or\")", vec![3, 1]),
        ("", vec![6, 5, 4, 3, 2, 1]),
    ] {
        assert_eq!(all(&f, text, Sort::Latest, 2), found, "{text}");
        let mut best = all(&f, text, Sort::Top, 2);
        best.sort_unstable_by_key(|second| std::cmp::Reverse(*second));
        assert_eq!(best, found, "the best: {text}");
        let (.., total) = page(&f, &search(text, Sort::Latest), (None, 100), |_| true);
        assert_eq!(total, found.len() as u64, "{text}");
    }
}

#[tokio::test]
async fn a_post_that_goes_is_found_no_more_though_the_index_has_it() {
    let mut f = world().await;
    f.world.commit("b", [gone(POST, 2)]).await;
    assert!(all(&f, "\"green apples\"", Sort::Latest, 5).is_empty());
    f.catch_up();
    assert_eq!(all(&f, "apples", Sort::Latest, 5), [3, 1]);
}

#[tokio::test]
async fn pages_are_filled_beyond_what_is_not_shown_and_new_posts_shift_nothing() {
    let mut f = Found::new().await;
    f.catch_up();
    f.world.commit("a", (1..=60).map(|n| say(n, "word")).collect::<Vec<_>>()).await;
    f.catch_up();
    let search = search("word", Sort::Latest);
    let some = |post: PostId| second(post).is_multiple_of(5);
    let (first, cursor, total) = page(&f, &search, (None, 4), some);
    assert_eq!((first, total), (vec![60, 55, 50, 45], 60));
    f.world.commit("a", [say(61, "word")]).await;
    f.catch_up();
    let (second_page, cursor, _) = page(&f, &search, (cursor.as_deref(), 4), some);
    assert_eq!(second_page, [40, 35, 30, 25]);
    let (third, cursor, _) = page(&f, &search, (cursor.as_deref(), 5), some);
    assert_eq!((third, cursor), (vec![20, 15, 10, 5], None));
}

#[tokio::test]
async fn a_word_that_no_post_has_is_taken_for_the_commonest_one_near_it() {
    let mut f = Found::new().await;
    f.catch_up();
    for (n, words) in [
        (1, "the library is open"),
        (2, "our library and yours"),
        (3, "one librarx, a name"),
        (4, "libraries everywhere"),
        (5, "liberty for all"),
        (6, "notebook"),
        (7, "the kitten sleeps"),
        (8, "v123456 is out"),
    ] {
        f.world.commit("a", [say(n, words)]).await;
        f.catch_up();
    }
    for (text, found) in [
        ("libray", vec![2, 1]),
        ("librray", vec![2, 1]),
        ("librayr", vec![2, 1]),
        ("librury", vec![2, 1]),
        ("LIBRURY open", vec![1]),
        ("librury -open", vec![2]),
        ("librury notebuok", vec![]),
        ("librury OR notebuok", vec![6, 2, 1]),
        ("librarx", vec![3]),
        ("library", vec![2, 1]),
        ("notebooks", vec![6]),
        // The first letter is right, two slips are another word, and what was said exactly is meant.
        ("xibrary", vec![]),
        ("lubrury", vec![]),
        ("\"librury\"", vec![]),
        ("alt:librury", vec![]),
        ("#librury", vec![]),
        ("-librury librarx", vec![3]),
        // Short words, numbers, and what is found as it is.
        ("kiten", vec![]),
        ("kittn", vec![]),
        ("kitten", vec![7]),
        ("v123457", vec![]),
        ("notebuok OR kitten", vec![7]),
    ] {
        assert_eq!(all(&f, text, Sort::Latest, 1), found, "{text}");
        let mut best = all(&f, text, Sort::Top, 1);
        best.sort_unstable_by_key(|second| std::cmp::Reverse(*second));
        assert_eq!(best, found, "the best: {text}");
    }
    // What is gone is meant no more, and no longer in the way.
    f.world.commit("a", [gone(POST, 3)]).await;
    f.catch_up();
    assert_eq!(all(&f, "librarx", Sort::Latest, 1), [2, 1]);
    let misspelled = search("librury", Sort::Latest);
    let (first, cursor, total) = page(&f, &misspelled, (None, 1), |_| true);
    assert_eq!((first, total), (vec![2], 2));
    // Why they were found is told of the words that were meant.
    let (seen, s) = (f.seen(), f.world.store.snapshot());
    let nobody = |_: ActorId| false;
    let asked = PostSearch::new(&seen, &s, &misspelled, (None, NOW), &nobody).unwrap();
    let found = asked.page(None, 5, Ok::<_, FindError>).unwrap();
    assert!(found.respelled);
    let why = asked.why(&found).unwrap();
    assert!(why.len() == 2 && why.iter().all(|why| why.quality > 0), "{why:?}");
    // Somebody writes it as it was typed: the pages that were of another word end.
    f.world.commit("a", [say(9, "librury")]).await;
    f.catch_up();
    assert_eq!(page(&f, &misspelled, (cursor.as_deref(), 1), |_| true), (vec![], None, 0));
    assert_eq!(all(&f, "librury", Sort::Latest, 1), [9]);
}

#[tokio::test]
async fn a_cursor_of_another_search_is_refused() {
    let f = world().await;
    let (_, cursor, _) = page(&f, &search("apples", Sort::Latest), (None, 1), |_| true);
    let (seen, s) = (f.seen(), f.world.store.snapshot());
    let nobody = |_: ActorId| false;
    for (text, sort) in [("pears", Sort::Latest), ("apples", Sort::Top)] {
        let other = search(text, sort);
        let found = PostSearch::new(&seen, &s, &other, (None, NOW), &nobody).unwrap();
        for cursor in [cursor.as_deref(), Some("25"), Some("!")] {
            let page = found.page(cursor, 1, Ok::<_, FindError>);
            assert!(matches!(page, Err(FindError::BadCursor(_))), "{text} {cursor:?}");
        }
    }
}
