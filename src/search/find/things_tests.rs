//! Starter packs and feeds of a real store, as they are typed.

use super::{FindError, Thing, ThingSearch, Things, Typed};
use crate::event::Op;
use crate::index::testing::*;
use crate::schema::{ActorId, RecordId};
use crate::search::index::testing::Found;

const PACK: &str = "app.bsky.graph.starterpack";
const FEED: &str = "app.bsky.feed.generator";

fn thing(coll: &str, n: u64, name: &str, description: &str) -> Op {
    let name_key = if coll == FEED { "displayName" } else { "name" };
    let fields = [
        ("$type", text(coll)),
        (name_key, text(name)),
        ("description", text(description)),
        ("did", text("did:web:feeds.example")),
        ("list", text(uri("a", "app.bsky.graph.list", 1))),
        ("createdAt", text(at(n))),
    ];
    op(coll, n, map(fields))
}

async fn world() -> Found {
    let mut f = Found::new().await;
    f.catch_up();
    f.person("a", "anna.test", "Anna Gärtner", "").await;
    f.person("b", "hidden.test", "Ben", "").await;
    let packs = [
        (1, "Garden people", "those who dig"),
        (2, "Others", "people with a garden"),
        (3, "東京の人", ""),
        (4, "京の東京", ""),
    ];
    let packs = packs.map(|(n, name, description)| thing(PACK, n, name, description));
    f.world.commit("a", packs).await;
    let feeds = [(5, "News"), (6, "All the news"), (7, "Newsprint"), (8, "Weather")];
    f.world.commit("a", feeds.map(|(n, name)| thing(FEED, n, name, "of the day"))).await;
    f.world.commit("b", [thing(FEED, 9, "More news", "")]).await;
    f.catch_up();
    f
}

fn page(
    f: &Found,
    thing: Thing,
    text: &str,
    (cursor, limit): (Option<&str>, usize),
) -> Result<Things, FindError> {
    let (seen, s) = (f.seen(), f.world.store.snapshot());
    let hidden = f.world.actor("b");
    let hidden = move |actor: ActorId| actor == hidden;
    let search = ThingSearch { seen: &seen, snapshot: &s, thing, hidden: &hidden, now: NOW };
    search.page(&Typed::of(text), cursor, limit, |ids: Vec<RecordId>| Ok::<_, FindError>(ids))
}

/// By the seconds at which they were made.
fn seconds(found: &Things) -> Vec<u64> {
    let of = |id: &RecordId| u64::try_from(id.rkey.millis() - 1_700_000_000_000).unwrap() / 1000;
    found.ids.iter().map(of).collect()
}

fn found(f: &Found, thing: Thing, text: &str) -> Vec<u64> {
    let all = page(f, thing, text, (None, 10)).unwrap();
    assert_eq!((all.total, all.cursor.clone()), (all.ids.len() as u64, None), "{text}");
    seconds(&all)
}

#[tokio::test]
async fn all_words_in_name_description_or_creator_in_any_order() {
    let mut f = world().await;
    for (text, expect) in [
        ("garden", vec![1, 2]),
        ("people GARDEN", vec![1, 2]),
        ("garden dig", vec![1]),
        ("garden anna", vec![2, 1]),
        ("gartner", vec![4, 3, 2, 1]),
        ("gard", vec![1, 2]),
        ("ga", vec![]),
        ("garden nobody", vec![]),
        ("東京", vec![4, 3]),
        ("東京の", vec![3]),
        ("東", vec![4, 3]),
        ("!!!", vec![]),
    ] {
        let mut found = found(&f, Thing::StarterPack, text);
        // With a name and without: of the same the newer first.
        if text == "garden anna" {
            found.sort_unstable_by_key(|n| std::cmp::Reverse(*n));
        }
        assert_eq!(found, expect, "{text}");
    }
    assert_eq!(found(&f, Thing::StarterPack, "").len(), 4);
    assert_eq!(found(&f, Thing::StarterPack, "*").len(), 4);
    f.world.commit("a", [gone(PACK, 1), thing(PACK, 2, "Others", "nothing")]).await;
    assert_eq!(found_ids(&f, "garden"), [0_u64; 0], "as the records say, before the index does");
}

fn found_ids(f: &Found, text: &str) -> Vec<u64> {
    seconds(&page(f, Thing::StarterPack, text, (None, 10)).unwrap())
}

#[tokio::test]
async fn feeds_by_name_then_by_likes_and_none_of_who_is_hidden() {
    let mut f = world().await;
    assert_eq!(found(&f, Thing::Feed, "news"), [5, 7, 6], "its name, then of the same the newer");
    f.world.crowd(8, &uri("a", FEED, 6)).await;
    assert_eq!(found(&f, Thing::Feed, "news"), [5, 6, 7]);
    assert_eq!(found(&f, Thing::Feed, "day")[0], 6, "by likes where no name says it");
    assert_eq!(found(&f, Thing::Feed, "more"), [0_u64; 0]);
}

#[tokio::test]
async fn pages_go_on_behind_the_last() {
    let f = world().await;
    let first = page(&f, Thing::Feed, "news", (None, 2)).unwrap();
    assert_eq!((seconds(&first), first.total), (vec![5, 7], 3));
    let cursor = first.cursor.as_deref();
    let rest = page(&f, Thing::Feed, "news", (cursor, 2)).unwrap();
    assert_eq!((seconds(&rest), rest.total, rest.cursor), (vec![6], 3, None));
    for (thing, text) in [(Thing::Feed, "weather"), (Thing::StarterPack, "news")] {
        let other = page(&f, thing, text, (cursor, 2));
        assert!(matches!(other, Err(FindError::BadCursor(_))), "{text}");
    }
}

#[tokio::test]
async fn of_very_many_the_most_used_are_listed_and_it_is_said_about_how_many_there_are() {
    let mut f = Found::new().await;
    f.catch_up();
    f.world.commit("b", [thing(FEED, 1_000, "Other", "")]).await;
    f.world.commit("a", (1..=250).map(|n| thing(FEED, n, "Same", "")).collect::<Vec<_>>()).await;
    f.catch_up();
    f.world.crowd(2, &uri("a", FEED, 7)).await;
    let all = page(&f, Thing::Feed, "same", (None, 100)).unwrap();
    assert_eq!((all.ids.len(), all.total, all.cursor.is_some()), (100, 250, false));
    assert_eq!(seconds(&all)[0], 7);
}
