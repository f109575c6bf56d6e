//! Accounts of a real store, as they are typed.

use ipld_core::ipld::Ipld;

use super::{AccountSearch, FindError, Typed};
use crate::event::{Body, HostingStatus};
use crate::index::testing::*;
use crate::schema::{ActorId, Rows as _};
use crate::search::index::testing::{Found, profile};

/// A search by somebody: who is found, and where to go on.
fn page(
    f: &Found,
    viewer: Option<&str>,
    (text, descriptions): (&str, bool),
    (cursor, limit): (Option<&str>, usize),
) -> Result<(Vec<String>, Option<String>), FindError> {
    let (seen, s) = (f.seen(), f.world.store.snapshot());
    let spam = s.actor_id(&did("spam")).unwrap();
    let hidden = s.actor_id(&did("hidden")).unwrap();
    let search = AccountSearch {
        seen: &seen,
        snapshot: &s,
        viewer: viewer.map(|who| f.world.actor(who)),
        hidden: &|actor| Some(actor) == hidden,
        marked: &|actor| Ok(Some(actor) == spam),
        descriptions,
    };
    let keep = |accounts: Vec<ActorId>| Ok::<_, FindError>(accounts);
    let (found, cursor) = search.page(&Typed::of(text), cursor, limit, keep)?;
    let name = |id: ActorId| {
        let did = s.did(id).unwrap();
        did.trim_start_matches("did:web:").trim_end_matches(".example").to_owned()
    };
    Ok((found.into_iter().map(name).collect(), cursor))
}

fn found(f: &Found, viewer: Option<&str>, text: &str) -> Vec<String> {
    page(f, viewer, (text, false), (None, 10)).unwrap().0
}

async fn people(people: &[(&str, &str, &str, &str)]) -> Found {
    let mut f = Found::new().await;
    f.catch_up();
    for (who, handle, name, bio) in people {
        f.person(who, handle, name, bio).await;
    }
    f.catch_up();
    f
}

/// So many follow an account, and the index knows of it.
async fn followed(f: &mut Found, who: &str, by: u64) {
    for n in 0..by {
        f.world.commit(&format!("fan-{who}{n}"), [follow(1, who)]).await;
    }
    let name = f.world.actor(who);
    let snapshot = f.world.store.snapshot();
    let record = crate::schema::graph::profile(&snapshot, name).unwrap().unwrap();
    let of = |key| crate::repo::fields::text(&record, key).unwrap_or_default().to_owned();
    f.world.commit(who, [profile(&of("displayName"), &(of("description") + "."))]).await;
    f.catch_up();
}

#[tokio::test]
async fn the_exact_handle_first_then_the_first_label_then_names_by_how_well_they_fit() {
    let mut f = people(&[
        ("star", "famous.test", "Alice Star", ""),
        ("prefix", "other.test", "Alicentia", ""),
        ("label", "alice.example.com", "Somebody", ""),
        ("exact", "alice", "Nobody", ""),
        ("bio", "else.test", "Else", "a friend of alice"),
    ])
    .await;
    followed(&mut f, "star", 40).await;
    f.person("exact", "alice.example.org", "Nobody", "").await;
    f.catch_up();
    for typed in ["alice.example.org", "@Alice.Example.ORG", " \u{2066}alice.example.org\u{2069}"] {
        assert_eq!(found(&f, None, typed)[0], "exact", "{typed}");
    }
    let all = found(&f, None, "alice");
    assert_eq!((&all[2..], all.len()), (&["star".to_owned(), "prefix".to_owned()][..], 4));
    assert!(["label", "exact"].iter().all(|who| all[..2].iter().any(|found| found == who)));
    assert_eq!(found(&f, None, "alice.example."), all[..2].to_vec(), "a handle half typed");
    let with_bio = page(&f, None, ("alice", true), (None, 10)).unwrap().0;
    assert_eq!((&with_bio[..4], with_bio[4].as_str()), (&all[..], "bio"), "descriptions last");
}

#[tokio::test]
async fn a_slip_is_forgiven_where_little_is_found_and_words_may_be_one() {
    let f = people(&[
        ("robert", "robert.test", "Robert Miller", ""),
        ("jones", "bobjones.test", "", ""),
        ("spaced", "bj.test", "Bob Jones", ""),
        ("anna", "anna.test", "Anna", ""),
    ])
    .await;
    assert_eq!(found(&f, None, "robret"), ["robert"]);
    assert_eq!(found(&f, None, "miler rob"), ["robert"]);
    for typed in ["bob jones", "bobjones", "bobjo"] {
        let mut all = found(&f, None, typed);
        all.sort();
        assert_eq!(all, ["jones", "spaced"], "{typed}");
    }
    // With a page full of what was typed nothing else is looked for.
    assert_eq!(page(&f, None, ("anna", false), (None, 1)).unwrap().0, ["anna"]);
    assert_eq!(found(&f, None, "annb"), ["anna"]);
    assert_eq!(found(&f, None, "xnna"), [""; 0]);
}

#[tokio::test]
async fn whom_the_viewer_knows_comes_before_who_is_better_known() {
    let mut f = people(&[
        ("me", "me.test", "Me", ""),
        ("friend", "friend.test", "Rob Friend", ""),
        ("known", "known.test", "Rob Known", ""),
        ("star", "star.test", "Rob Star", ""),
        ("spam", "spam.test", "Rob Spam", ""),
    ])
    .await;
    followed(&mut f, "star", 12).await;
    followed(&mut f, "spam", 12).await;
    assert_eq!(found(&f, None, "rob")[0], "star");
    assert_eq!(found(&f, None, "rob")[3], "spam", "marked ones come last");
    f.world.commit("me", [follow(1, "friend"), follow(2, "other"), follow(3, "more")]).await;
    f.world.commit("other", [follow(1, "known")]).await;
    f.world.commit("more", [follow(1, "known")]).await;
    assert_eq!(found(&f, Some("me"), "rob"), ["friend", "known", "star", "spam"]);
    let mut own = found(&f, Some("me"), "*");
    own[..3].sort();
    assert_eq!(own[..3], ["friend", "more", "other"], "own follows, then the most followed");
    let all = found(&f, None, "");
    assert!(all[..2].contains(&"star".to_owned()) && all[..2].contains(&"spam".to_owned()));
}

#[tokio::test]
async fn a_twin_on_the_common_domain_comes_behind_who_has_a_domain() {
    let mut f = people(&[
        ("real", "paper.example.com", "Paper", ""),
        ("twin", "paper.bsky.social", "Paper", ""),
    ])
    .await;
    followed(&mut f, "twin", 2).await;
    assert_eq!(found(&f, None, "paper"), ["real", "twin"]);
}

#[tokio::test]
async fn who_is_not_there_or_called_otherwise_now_is_not_found() {
    let mut f = people(&[
        ("gone", "gone.test", "Sleeper", ""),
        ("hidden", "hidden.test", "Sleeper", ""),
        ("renamed", "before.test", "Sleeper", ""),
    ])
    .await;
    f.world.event("gone", Body::Account(HostingStatus::Deactivated)).await;
    f.person("renamed", "after.test", "Waker", "").await;
    assert_eq!(found(&f, None, "sleeper"), ["gone"], "as the record says, before the index does");
    f.catch_up();
    assert_eq!(found(&f, None, "sleeper"), [""; 0]);
    assert_eq!((found(&f, None, "waker"), found(&f, None, "after")).0, ["renamed"]);
    assert_eq!(found(&f, None, "before.test"), [""; 0]);
    f.world.event("gone", Body::Account(HostingStatus::Active)).await;
    f.catch_up();
    assert_eq!(found(&f, None, "sleeper"), ["gone"]);
    assert_eq!(found(&f, None, "hidden.test"), [""; 0]);
    let did = did("renamed");
    assert_eq!(found(&f, None, did.as_str()), ["renamed"]);
}

#[tokio::test]
async fn names_of_all_scripts() {
    let f = people(&[
        ("taro", "taro.test", "日本 太郎", ""),
        ("split", "split.test", "日本語の太い川と郎", ""),
        ("kyo", "kyo.test", "京の東京", ""),
        ("crab", "crab.test", "🦀🚀 Ferris", ""),
        ("kim", "kim.test", "김철수", ""),
        ("nguyen", "nguyen.test", "Nguyễn Văn", ""),
        ("som", "som.test", "สมชาย ใจดี", ""),
    ])
    .await;
    for (typed, who) in [
        ("太郎", "taro"),
        ("日本太郎", ""),
        ("川と郎", "split"),
        ("東京", "kyo"),
        ("東京の", ""),
        ("🦀", "crab"),
        ("🚀", "crab"),
        ("철수", "kim"),
        ("nguyen van", "nguyen"),
        ("NGUYỄN", "nguyen"),
        ("สมชาย", "som"),
    ] {
        assert_eq!(found(&f, None, typed).join(" "), who, "{typed}");
    }
    let mut both = found(&f, None, "日本");
    both.sort();
    assert_eq!(both, ["split", "taro"]);
}

#[tokio::test]
async fn pages_go_on_behind_the_last_and_a_foreign_cursor_is_refused() {
    let names: Vec<String> = (0..9).map(|n| format!("rob{n}")).collect();
    let mut f = Found::new().await;
    f.catch_up();
    for name in &names {
        f.person(name, &format!("{name}.test"), "Rob", "").await;
    }
    f.catch_up();
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let (some, next) = page(&f, None, ("rob", true), (cursor.as_deref(), 4)).unwrap();
        all.extend(some);
        cursor = next;
        if cursor.is_none() {
            break;
        }
        assert_eq!(all.len() % 4, 0);
        for (text, bio) in [("bob", true), ("rob", false)] {
            let other = page(&f, None, (text, bio), (cursor.as_deref(), 4));
            assert!(matches!(other, Err(FindError::BadCursor(_))), "{text} {bio}");
        }
    }
    all.sort();
    assert_eq!(all, names);
    for cursor in ["25", "!", "日本"] {
        let refused = page(&f, None, ("rob", true), (Some(cursor), 4));
        assert!(matches!(refused, Err(FindError::BadCursor(_))), "{cursor}");
    }
}

#[tokio::test]
async fn whatever_is_typed_there_is_an_answer() {
    let f = people(&[("a", "a.test", "Somebody", "")]).await;
    let words = |n: usize| (0..n).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
    let hostile = [
        words(64),
        "x".repeat(10_000),
        "日".repeat(10_000),
        "\u{202e}\u{2066}".repeat(100),
        "%_*?[a-z]\\ ' OR 1=1 --".to_owned(),
        "a b c d e f g h i j".to_owned(),
        "-..-".to_owned(),
        "did:".to_owned(),
        "did:web:".to_owned() + &"a".repeat(300),
        "👨‍👩‍👧‍👦".repeat(50),
        "e\u{301}\u{301}\u{301}".repeat(100),
        "\0\u{feff}".to_owned(),
    ];
    for text in hostile {
        for descriptions in [true, false] {
            let got = page(&f, Some("a"), (&text, descriptions), (None, 100)).unwrap();
            assert!(got.0.len() <= 1 && got.1.is_none(), "{text}");
        }
    }
}

#[tokio::test]
async fn a_profile_that_nobody_wrote_by_hand_is_not_read() {
    let mut f = people(&[("large", "large.test", "Giant", "")]).await;
    assert_eq!(found(&f, None, "giant"), ["large"]);
    let mut value = profile("Giant", "").record.unwrap().value;
    if let Ipld::Map(fields) = &mut value {
        fields.insert("junk".to_owned(), Ipld::List(vec![Ipld::Integer(1); 100_000]));
    }
    let mut large = op("app.bsky.actor.profile", 1, value);
    large.rkey = "self".into();
    f.world.commit("large", [large]).await;
    f.catch_up();
    assert_eq!((found(&f, None, "giant"), found(&f, None, "large.test").len()), (vec![], 1));
}
