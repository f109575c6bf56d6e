//! Rows that do not decode, under everything that changes the store beside events: the change is taken back, its caller
//! is told, and the next one succeeds.

use std::sync::Arc;

use super::testing::*;
use super::*;
use crate::event::label::Label;
use crate::private::{self, Kind};
use crate::schema::{Key, Target};
use crate::store::{Ks, Reader};
use crate::work::purge::{self, Purge};
use crate::work::repo_queue as jobs;

const DAMAGED: &[u8] = &[0xff; 3];

impl World {
    async fn damage(&self, ks: Ks, key: &[u8]) {
        let key = key.to_vec();
        let job = move |tx: &mut Tx<'_>| {
            tx.put(ks, &key, DAMAGED);
            Ok(())
        };
        self.writer.durable(job).await.unwrap();
    }
}

fn label(of: &str) -> Label {
    Label {
        ver: Some(1),
        src: did("labeler"),
        uri: did(of).to_string(),
        cid: None,
        val: "spam".to_owned(),
        neg: None,
        cts: at(1),
        exp: None,
        sig: None,
    }
}

#[tokio::test]
async fn a_label_whose_row_does_not_decode_is_dropped_and_those_beside_it_stay() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    w.commit("b", [post(2)]).await;
    let (a, b) = (Target::Actor(w.actor("a")), Target::Actor(w.actor("b")));
    w.damage(Ks::Label, &a.key()).await;
    let labels = vec![label("a"), label("b")];
    w.writer.durable(move |tx| apply_labels(tx, &labels)).await.unwrap();
    let s = w.store.snapshot();
    assert_eq!(s.labels(b).unwrap().len(), 1);
    assert!(matches!(s.labels(a), Err(StoreError::Corrupt(_))));
}

#[tokio::test]
async fn a_purge_that_meets_a_row_that_does_not_decode_says_so_and_others_go_on() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    w.commit("b", [post(2)]).await;
    let (a, b) = (w.actor("a"), w.actor("b"));
    let both = move |tx: &mut Tx<'_>| {
        purge::add_purge(tx, a, Purge::Collected);
        purge::add_purge(tx, b, Purge::Collected);
        Ok(())
    };
    w.writer.durable(both).await.unwrap();
    w.damage(Ks::Agg, &Target::Actor(a).key()).await;
    let step = |actor| {
        let index = Arc::clone(&w.index);
        w.writer.durable(move |tx| purge_step(&index, tx, actor))
    };
    let error = step(a).await.unwrap_err();
    assert!(error.to_string().contains("agg_1"), "{error}");
    while !step(b).await.unwrap() {}
    let left = purge::purges(&w.store.snapshot()).unwrap();
    assert_eq!(left, [(a, Purge::Collected)], "kept for when it can be done");
    let post = w.post("a", 1);
    assert!(w.store.snapshot().has(Ks::Post, &post.to_bytes()).unwrap(), "all of a step or none");
}

#[tokio::test]
async fn retention_passes_over_a_record_that_it_cannot_take_away() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    w.commit("b", [post(2)]).await;
    w.damage(Ks::Agg, &Target::Actor(w.actor("a")).key()).await;
    let posts = [w.post("a", 1), w.post("b", 2)];
    let (index, records) = (Arc::clone(&w.index), posts.map(|post| post.record()).to_vec());
    let step = move |tx: &mut Tx<'_>| {
        let policy = retention::Policy {
            mode: scope::Mode::Circle,
            now: NOW,
            cutoff: i64::MAX,
            spare: None,
        };
        retention::step(&index, tx, &policy, records, &retention::Place::default())
    };
    let done = w.writer.durable(step).await.unwrap();
    assert!(done.left.is_empty(), "it goes on behind them");
    let held = posts.map(|post| w.store.snapshot().has(Ks::Post, &post.to_bytes()).unwrap());
    assert_eq!(held, [true, false]);
}

#[tokio::test]
async fn a_private_change_that_fails_leaves_neither_rows_nor_what_is_remembered_of_them() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    w.commit("b", [post(2)]).await;
    let (a, b) = (w.actor("a"), w.actor("b"));
    let change = |who: &str, out| {
        let (private, did) = (w.private(), did(who));
        async move {
            let plan = move |r: &Tx<'_>| match out {
                true => private::opt_outs::opt_out(r, did.as_str(), NOW),
                false => private::opt_outs::opt_in(r, did.as_str(), NOW),
            };
            private.change(plan).await
        }
    };
    // The way out fails.
    w.damage(Ks::Meta, &Key::tag(b'p').actor(a)).await;
    assert!(matches!(change("a", true).await, Err(StoreError::Corrupt(_))));
    assert_eq!(private::opted_out(&w.store.snapshot(), a).unwrap(), None);
    assert!(!w.index.left_out.contains(a));
    // The way back fails after it is forgotten that nothing of the account is taken in.
    assert!(change("b", true).await.unwrap());
    let done = move |tx: &mut Tx<'_>| {
        purge::remove_purge(tx, b);
        Ok(())
    };
    w.writer.durable(done).await.unwrap();
    w.damage(Ks::Jobs, &Key::tag(b'K').actor(b)).await;
    assert!(matches!(change("b", false).await, Err(StoreError::Corrupt(_))));
    assert!(private::opted_out(&w.store.snapshot(), b).unwrap().is_some());
    assert!(w.index.left_out.contains(b));
    let repaired = move |tx: &mut Tx<'_>| {
        tx.del(Ks::Jobs, &Key::tag(b'K').actor(b));
        private::testing::put(tx, Kind::Seen, b, None, NOW)
    };
    w.writer.durable(repaired).await.unwrap();
    assert!(change("b", false).await.unwrap() && !w.index.left_out.contains(b));
    assert!(jobs::get(&w.store.snapshot(), b).unwrap().is_some());
}
