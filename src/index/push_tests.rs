//! What gets into the outbox, and what does not.

use std::sync::Arc;

use super::testing::*;
use super::*;
use crate::event::Op;
use crate::private::registrations::{Platform, Registration};
use crate::private::subscriptions::Subscription;
use crate::store::{Ks, Reader};
use crate::syntax::{Tid, datetime};
use crate::work::pushes::{self, ENDPOINT, PushJob};

const DELAY: i64 = 21_000;

async fn world(endpoint: bool) -> World {
    let mut w = World::new();
    let (index, requests) = Index::new(&w.store).unwrap();
    (w.index, w.requests) = (Arc::new(index.pushing(endpoint, DELAY)), requests);
    w.commit("a", [post(1)]).await;
    w.commit("b", [post(2)]).await;
    w.join("a").await;
    w
}

fn outbox(w: &World) -> Vec<PushJob> {
    pushes::due(&w.store.snapshot(), i64::MAX, 100).unwrap().items
}

/// A like that was made `age` milliseconds before it came.
fn like_of_age(n: u64, age: i64) -> Op {
    let subject = strong(&uri("a", POST, 1));
    let created = text(datetime::format_ms(NOW - age));
    op(LIKE, n, map([("$type", text(LIKE)), ("subject", subject), ("createdAt", created)]))
}

async fn register(w: &World, token: &str) -> Registration {
    let new = Registration {
        at: NOW,
        platform: Platform::Android,
        app_id: "app".into(),
        token: token.into(),
        age_restricted: false,
    };
    let (to, held) = (w.actor("a"), new.clone());
    w.writer.durable(move |tx| crate::private::testing::register(tx, to, &held)).await.unwrap();
    new
}

#[tokio::test]
async fn members_notifications_go_to_the_endpoint() {
    let mut w = world(true).await;
    w.commit("b", [like_of_age(5, 1000)]).await;
    let jobs = outbox(&w);
    assert_eq!(jobs.len(), 1);
    assert_eq!((jobs[0].due, jobs[0].to), (NOW + DELAY, ENDPOINT));
    assert!(w.store.snapshot().has(Ks::Notif, &jobs[0].notif).unwrap());
    assert!(w.requests.push.try_recv().is_ok());
    // The job stays: who sends sees that the notification is gone.
    w.commit("b", [gone(LIKE, 5)]).await;
    assert_eq!(outbox(&w), jobs);
    assert!(!w.store.snapshot().has(Ks::Notif, &jobs[0].notif).unwrap());
}

#[tokio::test]
async fn posts_that_were_subscribed_to_are_pushed() {
    let mut w = world(true).await;
    w.commit("a", [follow(3, "b")]).await;
    let (a, b) = (w.actor("a"), w.actor("b"));
    let to = Subscription { at: NOW - 10, post: true, reply: false };
    w.writer.durable(move |tx| crate::private::testing::subscribe(tx, a, b, to)).await.unwrap();
    let new = |n, age| {
        let created = text(datetime::format_ms(NOW - age));
        op(POST, n, map([("$type", text(POST)), ("text", text("hi")), ("createdAt", created)]))
    };
    w.commit("b", [new(5, 5), new(6, 20)]).await;
    let pushed = outbox(&w);
    assert_eq!((pushed.len(), w.notifs("a").len()), (1, 1));
    assert!(w.store.snapshot().has(Ks::Notif, &pushed[0].notif).unwrap());
}

#[tokio::test]
async fn what_is_old_known_or_nobodys_is_not_pushed() {
    let mut w = world(true).await;
    w.commit("b", [like_of_age(5, 2 * 3_600_000)]).await;
    assert_eq!((outbox(&w), w.notifs("a").len()), (vec![], 1));
    // Not a member.
    let subject = strong(&uri("b", POST, 2));
    let created = text(datetime::format_ms(NOW));
    let value = map([("$type", text(LIKE)), ("subject", subject), ("createdAt", created)]);
    w.commit("a", [op(LIKE, 6, value)]).await;
    assert_eq!(outbox(&w), vec![]);
    // A reply whose parent comes late is written a second time, and a post that is updated too.
    let answer = |words: &str| {
        let root = strong(&uri("a", POST, 1));
        let value = map([
            ("$type", text(POST)),
            ("text", text(words)),
            ("createdAt", text(datetime::format_ms(NOW - 10))),
            ("reply", map([("root", root.clone()), ("parent", root)])),
        ]);
        op(POST, 7, value)
    };
    w.commit("b", [answer("one")]).await;
    assert_eq!(outbox(&w).len(), 1);
    w.writer
        .durable(|tx| {
            tx.del(Ks::Jobs, &first_job(tx));
            Ok(())
        })
        .await
        .unwrap();
    w.commit("b", [answer("two")]).await;
    assert_eq!((outbox(&w), w.notifs("a").len()), (vec![], 2));
    // A new member's notifications are built, not pushed.
    w.join("b").await;
    assert_eq!((outbox(&w), w.notifs("b").len()), (vec![], 1));
}

fn first_job(tx: &Tx<'_>) -> Vec<u8> {
    let mut found = Vec::new();
    tx.scan_prefix(Ks::Jobs, b"p", &mut |k, _| {
        found = k.to_vec();
        false
    })
    .unwrap();
    found
}

#[tokio::test]
async fn without_an_endpoint_only_web_subscriptions_count() {
    let mut w = world(false).await;
    w.commit("b", [like_of_age(5, 0)]).await;
    register(&w, "a-token-of-google").await;
    w.commit("b", [like_of_age(6, 0)]).await;
    assert_eq!(outbox(&w), vec![]);
    let one = register(&w, "https://up.example/1").await;
    let two = register(&w, r#"{"endpoint":"https://up.example/2"}"#).await;
    let c = op(FOLLOW, 9, {
        let created = text(datetime::format_ms(NOW - 5));
        let subject = text(did("a").as_str());
        map([("$type", text(FOLLOW)), ("subject", subject), ("createdAt", created)])
    });
    w.commit("c", [c]).await;
    let mut found: Vec<_> = outbox(&w).into_iter().map(|j| j.to).collect();
    let mut expect = vec![one.id(), two.id()];
    found.sort_unstable();
    expect.sort_unstable();
    assert_eq!(found, expect);
}

#[tokio::test]
async fn a_push_waits_from_when_its_event_came_not_from_when_its_host_sent_it() {
    let mut w = world(true).await;
    w.revs += 1;
    let rev = Tid::parse(&tid(w.revs)).unwrap();
    let ops = vec![like_of_age(5, 1000)];
    let body = Body::Commit(Commit { rev, data: None, prev_data: None, ops });
    let event = Event { time: NOW - 9 * 60_000, ..Event::found_here(did("b"), NOW, body) };
    let index = Arc::clone(&w.index);
    w.writer.durable(move |tx| index.apply(tx, &[event])).await.unwrap();
    assert_eq!(outbox(&w).iter().map(|job| job.due).collect::<Vec<_>>(), [NOW + DELAY]);
}
