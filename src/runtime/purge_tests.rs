//! The purge part with an account that can be purged and one that cannot.

use super::*;
use crate::index::testing::{World, did, post};
use crate::media::testing::media;
use crate::moderation::Takedowns;

#[tokio::test]
async fn an_account_that_cannot_be_purged_is_told_and_keeps_no_other_here() {
    let mut w = World::new();
    w.commit("a", vec![post(1)]).await;
    let actor = w.store.snapshot().actor_id(&did("a")).unwrap().unwrap();
    // Nobody has this number, so its DID is not found.
    let nobody = ActorId(999);
    let list = w.writer.durable(move |tx| {
        purge::add_purge(tx, actor, purge::Purge::Deleted);
        purge::add_purge(tx, nobody, purge::Purge::Deleted);
        Ok(())
    });
    list.await.unwrap();
    let takedowns = Takedowns::load(&w.store.snapshot()).unwrap();
    let part = Arc::new(Purge {
        store: w.store.clone(),
        writer: w.writer.clone(),
        index: Arc::clone(&w.index),
        media: media(&w.store, takedowns, Arc::default()),
        requests: w.requests.purge.clone(),
    });
    for run in 0..2 {
        let ended = Arc::clone(&part).run(CancellationToken::new()).await;
        let why = ended.expect_err("it cannot be done").to_string();
        assert!(why.starts_with("account 999: "), "{run}: {why}");
        let left = purge::purges(&w.store.snapshot()).unwrap();
        assert_eq!(left, [(nobody, purge::Purge::Deleted)], "{run}");
        assert_eq!(part.pending(), 0, "{run}");
    }
    // What is asked for from now on is counted again.
    let index = Arc::clone(&w.index);
    index.purging().fetch_add(1, Ordering::Relaxed);
    assert_eq!(part.pending(), 1);
}
