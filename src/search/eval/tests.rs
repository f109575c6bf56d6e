//! What plans want, against a list of posts that is looked through.

use std::sync::Arc;

use super::*;
use crate::index::testing::*;
use crate::schema::{ActorId, PostId};
use crate::search::index::testing::*;
use crate::search::index::{NumberField, TextField};

/// Which seconds are wanted.
type Want = Box<dyn Fn(u64) -> bool>;

fn word(word: &str) -> Plan {
    Plan::Term(TextField::Text, word.to_owned())
}

/// Posts of three accounts in several segments; each with the divisors of its second.
async fn numbers(n: u64) -> Found {
    let mut f = Found::new().await;
    f.catch_up();
    let words = |i: u64| {
        let of =
            [2_u64, 3, 5, 7].into_iter().filter(|d| i.is_multiple_of(*d)).map(|d| format!("by{d}"));
        of.chain([format!("n{i}")]).collect::<Vec<_>>().join(" ")
    };
    let all: Vec<u64> = (1..=n).collect();
    for chunk in all.chunks(40) {
        for (who, of) in ["a", "b", "c"].into_iter().enumerate() {
            let own = chunk.iter().filter(|i| usize::try_from(**i).unwrap() % 3 == who);
            let ops: Vec<_> = own.map(|i| say(*i, &words(*i))).collect();
            f.world.commit(of, ops).await;
        }
        f.catch_up();
    }
    f
}

fn seconds(f: &Found, plan: &Plan) -> Vec<u64> {
    newest(&f.seen(), plan).into_iter().map(second).collect()
}

fn wanted(n: u64, want: impl Fn(u64) -> bool) -> Vec<u64> {
    (1..=n).rev().filter(|i| want(*i)).collect()
}

#[tokio::test]
async fn a_plan_finds_what_it_says_the_newest_first() {
    let n = 300;
    let f = numbers(n).await;
    assert!(f.seen().posts.0.len() > 3, "several segments");
    let (two, three, five) = (word("by2"), word("by3"), word("by5"));
    let author = f.world.actor("b");
    let table: Vec<(Plan, Want)> = vec![
        (Plan::All, Box::new(|_| true)),
        (Plan::Nothing, Box::new(|_| false)),
        (two.clone(), Box::new(|i: u64| i.is_multiple_of(2))),
        (Plan::And(vec![two.clone(), three.clone()]), Box::new(|i: u64| i.is_multiple_of(6))),
        (
            Plan::Or(vec![two.clone(), three.clone()]),
            Box::new(|i: u64| i.is_multiple_of(2) || i.is_multiple_of(3)),
        ),
        (Plan::And(vec![three.clone(), two.clone().negated()]), Box::new(|i: u64| i % 6 == 3)),
        (two.clone().negated(), Box::new(|i: u64| i % 2 == 1)),
        (
            Plan::Or(vec![five.clone(), Plan::And(vec![two.clone(), three.negated()])]),
            Box::new(|i: u64| i.is_multiple_of(5) || (i.is_multiple_of(2) && !i.is_multiple_of(3))),
        ),
        (
            Plan::Prefix(TextField::Text, "n1".to_owned()),
            Box::new(|i: u64| i.to_string().starts_with('1')),
        ),
        (
            Plan::And(vec![Plan::Prefix(TextField::Text, "by".to_owned()), five]),
            Box::new(|i: u64| i.is_multiple_of(5)),
        ),
        (Plan::Number(NumberField::Author, u64::from(author.0)), Box::new(|i: u64| i % 3 == 1)),
        (Plan::Authors(Arc::new([author].into_iter().collect())), Box::new(|i: u64| i % 3 == 1)),
        (
            Plan::And(vec![two, Plan::Authors(Arc::new([author].into_iter().collect())).negated()]),
            Box::new(|i: u64| i.is_multiple_of(2) && i % 3 != 1),
        ),
        (Plan::And(vec![]), Box::new(|_| true)),
        (Plan::Or(vec![]), Box::new(|_| false)),
    ];
    for (plan, want) in &table {
        assert_eq!(seconds(&f, plan), wanted(n, want), "{plan:?}");
        let seen = f.seen();
        let count = count(&seen.posts, &seen.records, &ask(plan)).unwrap();
        assert_eq!(count, Count::Exactly(wanted(n, want).len() as u64), "{plan:?}");
    }
    let posts: Vec<PostId> =
        vec![f.world.post("a", 3), f.world.post("b", 100), f.world.post("c", 299)];
    let set = Plan::Posts(Arc::new(posts.into_iter().collect()));
    assert_eq!(seconds(&f, &set), [299, 100, 3]);
    assert_eq!(seconds(&f, &Plan::And(vec![word("by2"), set])), [100]);
}

#[tokio::test]
async fn pages_go_on_where_the_one_before_ended_and_stay_within_their_time() {
    let n = 200;
    let f = numbers(n).await;
    let seen = f.seen();
    let plan = word("by2").negated();
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let mut page = Newest::new(&seen.posts, &seen.records, ask(&plan), after);
        let mut found = Vec::new();
        for _ in 0..7 {
            if let Next::Found(candidate) = page.advance().unwrap() {
                found.push(candidate.at);
            }
        }
        let Some(last) = found.last() else { break };
        after = Some(*last);
        all.extend(found.into_iter().map(|at| second(at.post)));
    }
    assert_eq!(all, wanted(n, |i: u64| i % 2 == 1));
    let span = Span { since: 1_700_000_050_000, until: 1_700_000_060_000 };
    let within = Ask { span, ..ask(&plan) };
    let mut page = Newest::new(&seen.posts, &seen.records, within, None);
    let mut found = Vec::new();
    while let Next::Found(candidate) = page.advance().unwrap() {
        found.push(second(candidate.at.post));
    }
    assert_eq!(found, [59, 57, 55, 53, 51]);
    assert_eq!(count(&seen.posts, &seen.records, &within).unwrap(), Count::Exactly(5));
    let author = f.world.actor("a");
    let hidden = move |actor: ActorId| actor == author;
    let shown = Ask { hidden: &hidden, ..within };
    assert_eq!(count(&seen.posts, &seen.records, &shown).unwrap(), Count::Exactly(3));
}

#[tokio::test]
async fn many_posts_of_one_millisecond_are_all_found_once_in_any_page() {
    let mut f = Found::new().await;
    f.catch_up();
    let n = 2_500;
    let one = |i: u64| {
        let fields = [("$type", text(POST)), ("text", text("same")), ("createdAt", text(at(5)))];
        op(POST, 10 + i, map(fields))
    };
    for from in (0..n).step_by(500) {
        f.world.commit("a", (from..from + 500).map(one).collect::<Vec<_>>()).await;
    }
    f.catch_up();
    let all: Vec<u64> = (10..10 + n).rev().collect();
    assert_eq!(seconds(&f, &word("same")), all);
    let seen = f.seen();
    let plan = word("same");
    let (mut after, mut paged) = (None, Vec::new());
    loop {
        let mut page = Newest::new(&seen.posts, &seen.records, ask(&plan), after);
        let before = paged.len();
        for _ in 0..700 {
            if let Next::Found(candidate) = page.advance().unwrap() {
                after = Some(candidate.at);
                paged.push(second(candidate.at.post));
            }
        }
        if paged.len() == before {
            break;
        }
    }
    assert_eq!(paged, all);
}

#[tokio::test]
async fn without_time_left_it_is_said_how_far_it_came() {
    let f = numbers(600).await;
    let seen = f.seen();
    let plan = word("none").negated();
    let all_hidden = |_: ActorId| true;
    let late = Ask { deadline: std::time::Instant::now(), hidden: &all_hidden, ..ask(&plan) };
    let (mut after, mut pauses) = (None, 0);
    loop {
        match Newest::new(&seen.posts, &seen.records, late, after).advance().unwrap() {
            Next::Late(at) => {
                assert!(after.is_none_or(|after| at < after), "it goes on");
                (after, pauses) = (Some(at), pauses + 1);
            }
            Next::End => break,
            Next::Found(_) => panic!("nobody is shown"),
        }
    }
    assert!(pauses > 0);
}
