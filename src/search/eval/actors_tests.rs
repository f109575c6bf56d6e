//! Accounts of real indexes, by what is typed of them.

use proptest::prelude::*;

use super::actors::{Account, Accounts, begins_with_slip};
use crate::index::testing::*;
use crate::schema::ActorId;
use crate::search::index::Seen;
use crate::search::index::testing::{Found, profile};

const PEOPLE: [(&str, &str, &str, &str); 7] = [
    ("a", "robert.example", "Robert Miller", "bread and bicycles"),
    ("b", "flack.bsky.social", "Roberta Flack", "songs"),
    ("c", "bj.example", "Bob Jones", ""),
    ("d", "taro.example", "日本 太郎", "自転車と本"),
    ("e", "rob.bsky.social", "Rob", "bread"),
    ("f", "crab.example", "🦀 Crab", ""),
    ("g", "anna-lena.example", "", ""),
];

/// Those people, the second of whom is followed by one, in several segments.
async fn people() -> Found {
    let mut f = Found::new().await;
    f.catch_up();
    for (who, handle, name, bio) in PEOPLE {
        f.person(who, handle, name, bio).await;
        f.catch_up();
    }
    f.world.commit("x", [follow(1, "b")]).await;
    f.world.commit("b", [profile("Roberta Flack", "songs, songs")]).await;
    f.catch_up();
    assert!(f.seen().actors.0.len() > 2, "several segments");
    f
}

fn nobody(_: ActorId) -> bool {
    false
}

fn of(seen: &Seen, most: usize) -> Accounts<'_> {
    Accounts { seen, hidden: &nobody, most }
}

fn who(f: &Found, found: Vec<Account>) -> String {
    let name = |actor| PEOPLE.iter().find(|(who, ..)| f.world.actor(who) == actor).map(|p| p.0);
    found.into_iter().filter_map(|account| name(account.actor)).collect()
}

#[tokio::test]
async fn accounts_are_found_by_what_names_and_handles_begin_with() {
    let f = people().await;
    let seen = f.seen();
    for (words, expect) in [
        (&["rob"][..], "bae"),
        (&["r"], "bae"),
        (&["robert"], "ba"),
        (&["robert", "mil"], "a"),
        (&["mil", "robert"], "a"),
        (&["bobjones"], "c"),
        (&["bob", "jones"], "c"),
        (&["jo"], "c"),
        (&["日"], "d"),
        (&["日本"], "d"),
        (&["🦀"], "f"),
        (&["anna"], "g"),
        (&["lena"], "g"),
        (&["anna-lena"], "g"),
        (&["nobody"], ""),
        (&["robert", "flack", "miller"], ""),
        (&["bsky"], ""),
    ] {
        assert_eq!(who(&f, of(&seen, 10).beginning(words).unwrap()), expect, "{words:?}");
    }
    assert_eq!(who(&f, of(&seen, 1).beginning(&["rob"]).unwrap()), "b", "the most followed");
    assert_eq!(who(&f, of(&seen, 10).named(&["rob"]).unwrap()), "e");
    assert_eq!(who(&f, of(&seen, 10).named(&["robert"]).unwrap()), "a");
    for (begin, expect) in [("rob.", "e"), ("rob", "ae"), ("rob.bsky.so", "e"), ("x.", "")] {
        assert_eq!(who(&f, of(&seen, 10).with_handle(begin).unwrap()), expect, "{begin}");
    }
    assert_eq!(who(&f, of(&seen, 2).all().unwrap()), "ba");
    let hidden = f.world.actor("b");
    let shown = Accounts { hidden: &|actor| actor == hidden, ..of(&seen, 1) };
    assert_eq!(who(&f, shown.beginning(&["rob"]).unwrap()), "a");
}

#[tokio::test]
async fn those_of_some_accounts_are_found_among_all() {
    let f = people().await;
    let seen = f.seen();
    let known = ["e", "d", "a"].map(|who| f.world.actor(who));
    let found = |words: &[&str]| who(&f, of(&seen, 10).beginning_of(words, &known).unwrap());
    assert_eq!((found(&["rob"]), found(&["flack"])), ("ae".to_owned(), String::new()));
    assert_eq!(who(&f, of(&seen, 10).beginning_of(&["rob"], &[]).unwrap()), "");
}

#[tokio::test]
async fn one_slip_is_forgiven_but_for_the_first_letter() {
    let f = people().await;
    let seen = f.seen();
    let slip = |words: &[&str]| who(&f, of(&seen, 10).with_slip(words).unwrap());
    for typed in ["robret", "rbert", "robbert", "robart", "roberx"] {
        assert_eq!(slip(&[typed]), "ba", "{typed}");
    }
    assert_eq!(slip(&["milelr", "rob"]), "a");
    assert_eq!(slip(&["miller", "xob"]), "");
    for none in ["xobert", "rxxert", "rob", "日本", ""] {
        assert_eq!(slip(&[none]), "", "{none}");
    }
}

#[tokio::test]
async fn descriptions_say_it_in_whole_words() {
    let f = people().await;
    let seen = f.seen();
    let said = |words: &[&str]| who(&f, of(&seen, 10).describing(words).unwrap());
    assert_eq!(said(&["bread"]), "ae");
    assert_eq!(said(&["bread", "robert"]), "a");
    assert_eq!(said(&["自転", "転車"]), "d");
    assert_eq!((said(&["brea"]), said(&["bread", "songs"])), (String::new(), String::new()));
}

/// Names of a few letters, so that many are one slip from another.
fn name() -> impl Strategy<Value = String> {
    "[ab][abc]{3,6}"
}

/// A name with a slip at a place, or with two.
fn slipped(name: &str, slips: &[(u8, usize, char)]) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    for (kind, at, letter) in slips {
        let at = at % letters.len().max(1);
        match kind {
            0 if letters.len() > 1 => _ = letters.remove(at),
            1 => letters.insert(at, *letter),
            2 if !letters.is_empty() => letters[at] = *letter,
            3 if at + 1 < letters.len() => letters.swap(at, at + 1),
            _ => {}
        }
    }
    letters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn what_the_index_finds_with_a_slip_is_what_each_name_says(
        names in proptest::collection::btree_set(name(), 1..12),
        slips in proptest::collection::vec((0..4_u8, 0..8_usize, "[abcd]"), 24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (f, accounts) = runtime.block_on(async {
            let mut f = Found::new().await;
            f.catch_up();
            let mut accounts = Vec::new();
            for name in names {
                f.world.commit(&name, [profile(&name, "")]).await;
                accounts.push((f.world.actor(&name), name));
            }
            f.catch_up();
            (f, accounts)
        });
        let seen = f.seen();
        let slips: Vec<_> =
            slips.iter().map(|(kind, at, letter)| (*kind, *at, letter.chars().next().unwrap())).collect();
        for (n, (_, name)) in accounts.iter().enumerate() {
            for word in [slipped(name, &slips[n..=n]), slipped(name, &slips[n..n + 2])] {
                let found = of(&seen, 100).with_slip(&[word.as_str()]).unwrap();
                for (actor, name) in &accounts {
                    let is_found = found.iter().any(|account| account.actor == *actor);
                    let says = word.chars().count() > 3 && begins_with_slip(name, &word);
                    prop_assert_eq!(is_found, says, "{} {}", name, word);
                }
            }
        }
    }
}
