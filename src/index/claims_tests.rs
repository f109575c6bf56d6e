//! What upstreams say of accounts, true or not.

use super::testing::*;
use crate::event::HostingStatus::{Active, Deactivated, Deleted, Suspended, Takendown};
use crate::event::{Belief, Body, Commit, HandleAnswer, HostingStatus, IdentityState};
use crate::schema::Rows;
use crate::schema::Target;
use crate::schema::rows::{AccountStatus, Counter};
use crate::syntax::Tid;
use crate::work::handles;
use crate::work::recheck::{self, Due, Said, dues};
use crate::work::repo_queue as jobs;

fn status(w: &World, who: &str) -> AccountStatus {
    w.store.snapshot().actor(w.actor(who)).unwrap().unwrap().status
}

fn due(w: &World) -> Vec<Due> {
    dues(&w.store.snapshot()).unwrap().into_iter().map(|(_, due)| due).collect()
}

fn asked(w: &World) -> usize {
    w.requests.questions.waiting()
}

#[tokio::test]
async fn what_is_said_of_unseen_accounts_leaves_nothing() {
    let mut w = World::new();
    let beliefs = [Belief::Full, Belief::UntilAsked, Belief::OnceConfirmed];
    for status in [Active, Deactivated, Suspended, Takendown, Deleted] {
        for belief in beliefs {
            w.event("x", Body::Claimed(status, belief)).await;
        }
    }
    w.event("x", Body::IdentityDue { since: NOW }).await;
    w.event("y", Body::Claimed(Deleted, Belief::UntilAsked)).await;
    let actor = |w: &World, who| w.store.snapshot().actor_id(&did(who)).unwrap();
    assert_eq!([actor(&w, "x"), actor(&w, "y")], [None; 2]);
    assert_eq!((due(&w), asked(&w)), (vec![], 0));
    // An account that is only named by others is not held either.
    w.commit("a", [follow(1, "z")]).await;
    w.event("z", Body::IdentityDue { since: NOW }).await;
    w.event("z", Body::Claimed(Deleted, Belief::UntilAsked)).await;
    assert!(w.store.snapshot().actor(actor(&w, "z").unwrap()).unwrap().is_none());
    assert_eq!((due(&w), asked(&w)), (vec![], 0));
    // Who announced itself is looked at with the first thing that is held of it, and only then.
    w.commit("x", [post(1)]).await;
    w.commit("x", [post(2)]).await;
    w.commit("y", [post(1)]).await;
    assert_eq!((due(&w), asked(&w)), (vec![Due::Identity], 1));
    assert_eq!(w.requests.questions.next(0).await.did, did("x"));
}

#[tokio::test]
async fn nothing_is_taken_away_that_nobody_confirmed() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    w.event("a", Body::Claimed(Deleted, Belief::UntilAsked)).await;
    assert_eq!(status(&w, "a"), AccountStatus::Deactivated);
    assert_eq!(due(&w), [Due::Status(Said::Deleted)], "until somebody answers");
    assert!(w.requests.purge.is_empty());
    assert!(w.store.snapshot().post(w.post("a", 1)).unwrap().is_some());
    w.event("a", Body::Account(Active)).await;
    assert_eq!((status(&w, "a"), due(&w)), (AccountStatus::Active, vec![]));
    // Confirmed, it goes.
    w.event("a", Body::Claimed(Deleted, Belief::UntilAsked)).await;
    w.event("a", Body::Account(Deleted)).await;
    assert_eq!(w.requests.purge.len(), 1);
    assert_eq!(asked(&w), 1, "one place for all claims that nobody looked into yet");
}

#[tokio::test]
async fn a_stranger_among_the_upstreams_changes_no_status_by_itself() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    let says = |said: HostingStatus| Body::Claimed(said, Belief::OnceConfirmed);
    w.event("a", says(Active)).await;
    assert_eq!((due(&w), asked(&w)), (vec![], 0), "that is known");
    for (said, kept) in [
        (Takendown, Said::Away),
        (Suspended, Said::Away),
        (Deactivated, Said::Away),
        (Deleted, Said::Deleted),
    ] {
        w.event("a", says(said)).await;
        assert_eq!((status(&w, "a"), due(&w)), (AccountStatus::Active, vec![Due::Status(kept)]));
        assert_eq!(asked(&w), 1);
        w.event("a", Body::Account(Active)).await;
        assert_eq!(due(&w), []);
    }
    w.event("a", Body::Account(Takendown)).await;
    w.event("a", says(Active)).await;
    assert_eq!(status(&w, "a"), AccountStatus::Takendown);
    assert_eq!(due(&w), [Due::Status(Said::Back)]);
    // A state that is believed ends the question.
    w.event("a", Body::Claimed(Active, Belief::Full)).await;
    assert_eq!((status(&w, "a"), due(&w)), (AccountStatus::Active, vec![]));
}

#[tokio::test]
async fn a_claim_without_a_tree_marks_the_repo_even_at_the_rev_that_is_held() {
    let w = World::new();
    let rev = |n: u64| Tid::parse(&tid(n)).unwrap();
    let resync =
        |w: &World, who: &str| w.store.snapshot().repo(w.actor(who)).unwrap().unwrap().resync;
    let claim = |n| Body::Sync { rev: rev(n), data: Commit::UNTOLD };
    // As a Jetstream tells operations of one commit apart: for the second there was no room.
    let told = |n| Commit { rev: rev(n), data: None, prev_data: None, ops: vec![post(n)] };
    w.event("a", Body::Commit(told(5))).await;
    w.event("a", claim(4)).await;
    assert_eq!(resync(&w, "a"), None, "an older one");
    w.event("a", claim(5)).await;
    assert_eq!(resync(&w, "a"), Some(rev(5).as_u64()));
    assert_eq!(w.requests.resync.drain().count(), 1);
    w.event("a", Body::Commit(told(6))).await;
    assert_eq!(w.count(Target::Actor(w.actor("a")), Counter::Posts), 2, "others are not held up");
    w.event("b", claim(5)).await;
    assert_eq!(resync(&w, "b"), Some(rev(5).as_u64()));
    assert_eq!(w.requests.resync.drain().count(), 1);
}

#[tokio::test]
async fn a_repo_whose_upstream_left_something_out_is_fetched_at_most_once_an_hour() {
    let w = World::new();
    let commit = |n: u64, data: u8, prev_data| {
        let (rev, data) = (Tid::parse(&tid(n)).unwrap(), Some([data; 32]));
        Body::Commit(Commit { rev, data, prev_data, ops: vec![post(n)] })
    };
    let repo = |w: &World| w.store.snapshot().repo(w.actor("a")).unwrap().unwrap();
    let job = |w: &World| jobs::get(&w.store.snapshot(), w.actor("a")).unwrap();
    w.event("a", commit(1, 1, Some([9; 32]))).await;
    assert_eq!(repo(&w).resync, None, "the first that is seen");
    // The proxy took prevData away, and an operation with it.
    w.event("a", commit(2, 3, Some(Commit::UNTOLD))).await;
    assert!(repo(&w).resync.is_some());
    assert_eq!(job(&w).unwrap().due, NOW);
    assert_eq!(w.requests.resync.drain().count(), 1);
    w.event("a", commit(3, 4, Some(Commit::UNTOLD))).await;
    assert!(w.requests.resync.is_empty(), "it is on its way");
    let rev = |n: u64| Tid::parse(&tid(n)).unwrap();
    let fetched = async |w: &World, n: u64| {
        w.event("a", Body::Fetching { rev: rev(n), data: [4; 32] }).await;
        w.event("a", Body::Fetched { rev: rev(n) }).await;
        let actor = w.actor("a");
        w.writer.durable(move |tx| jobs::remove(tx, actor).map(drop)).await.unwrap();
    };
    fetched(&w, 3).await;
    assert_eq!(repo(&w).resync, None);
    // The next one waits.
    w.event("a", commit(4, 5, Some(Commit::UNTOLD))).await;
    assert!(repo(&w).resync.is_some() && w.requests.resync.is_empty());
    assert_eq!(job(&w).unwrap().due, NOW + 3_600_000);
    // One that says what was before follows on nevertheless.
    fetched(&w, 4).await;
    w.event("a", commit(5, 6, Some([5; 32]))).await;
    assert_eq!(repo(&w).resync, None);
    // From an upstream that nobody verifies it is as it was.
    w.event("a", commit(6, 7, None)).await;
    assert_eq!((repo(&w).resync, job(&w)), (None, None));
}

#[tokio::test]
async fn who_may_be_anybody_takes_no_key_away() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    let key = crate::crypto::PrivateKey::generate().public().to_did_key();
    let state = IdentityState { handle: Some("a.example".into()), key: Some(key), pds: None };
    w.event("a", Body::Identity(state)).await;
    let has_key =
        |w: &World| !w.store.snapshot().identity(w.actor("a")).unwrap().unwrap().key.is_empty();
    let due_now = Body::IdentityDue { since: NOW };
    for (says, stays) in [(Body::IdentityClaimed, true), (due_now, false)] {
        w.event("a", says).await;
        assert_eq!((due(&w), has_key(&w)), (vec![Due::Identity], stays));
    }
}

#[tokio::test]
async fn a_document_that_is_known_settles_an_announcement() {
    let mut w = World::new();
    w.event("x", Body::IdentityDue { since: NOW }).await;
    w.commit("x", [post(1)]).await;
    assert_eq!(due(&w), [Due::Identity]);
    let state = IdentityState { handle: Some("x.example".into()), key: None, pds: None };
    w.event("x", Body::Identity(state)).await;
    assert_eq!(due(&w), []);
}

/// The handle and the key of an account, and how many handles are to be looked up.
fn held(w: &World, who: &str) -> (Option<String>, bool, usize) {
    let s = w.store.snapshot();
    let row = s.actor(w.actor(who)).unwrap().unwrap();
    let key = s.identity(w.actor(who)).unwrap().is_some_and(|row| !row.key.is_empty());
    let waiting = handles::waiting(&s, 99, |_, _| false).unwrap().len();
    assert_eq!(w.requests.questions.claims.waiting(), waiting, "rows and their count");
    (row.handle, key, waiting)
}

fn document(handle: Option<&str>) -> IdentityState {
    let key = crate::crypto::PrivateKey::generate().public().to_did_key();
    IdentityState { handle: handle.map(str::to_owned), key: Some(key), pds: None }
}

/// What became of the oldest handle that is to be looked up.
fn looked_up(w: &World, holds: bool) -> Body {
    let claim = handles::waiting(&w.store.snapshot(), 1, |_, _| false).unwrap().remove(0);
    let handles::Claim { due, read, handle, .. } = claim;
    Body::Handle(HandleAnswer { due, read, handle, holds })
}

#[tokio::test]
async fn a_key_is_stored_at_once_and_its_handle_once_it_was_looked_up() {
    let mut w = World::new();
    let name = |text: &str| Some(text.to_owned());
    w.commit("a", [post(1)]).await;
    w.event("a", Body::Keyed(document(Some("a.example")))).await;
    assert_eq!(held(&w, "a"), (None, true, 1), "claimed only");
    let answer = looked_up(&w, true);
    w.event("a", answer.clone()).await;
    assert_eq!(held(&w, "a"), (name("a.example"), true, 0));
    w.event("a", answer).await;
    assert_eq!(held(&w, "a"), (name("a.example"), true, 0), "an answer counts once");
    // It is the same handle, or there is none.
    w.event("a", Body::Keyed(document(Some("a.example")))).await;
    assert_eq!(held(&w, "a"), (name("a.example"), true, 0));
    w.event("b", Body::Keyed(document(None))).await;
    assert_eq!(held(&w, "b"), (None, true, 0));
    // It leads to somebody else.
    w.event("c", Body::Keyed(document(Some("a.example")))).await;
    w.event("c", looked_up(&w, false)).await;
    assert_eq!(held(&w, "c"), (None, true, 0));
    assert_eq!(w.store.snapshot().handle_owner("a.example").unwrap(), Some(w.actor("a")));
}

#[tokio::test]
async fn what_was_found_out_since_is_newer_than_a_claim() {
    let mut w = World::new();
    w.commit("a", [post(1)]).await;
    w.event("a", Body::Keyed(document(Some("old.example")))).await;
    w.event("a", Body::Identity(document(Some("new.example")))).await;
    w.event("a", looked_up(&w, true)).await;
    assert_eq!(held(&w, "a"), (Some("new.example".to_owned()), true, 0));
    // A document that was read before it changed is none.
    w.event("a", Body::IdentityDue { since: NOW }).await;
    w.event("a", Body::Keyed(document(Some("old.example")))).await;
    assert_eq!(held(&w, "a"), (Some("new.example".to_owned()), false, 0));
    // Nor is its handle, if it changed while that was looked up.
    w.commit("b", [post(1)]).await;
    w.event("b", Body::Keyed(document(Some("b.example")))).await;
    w.event("b", Body::IdentityDue { since: NOW }).await;
    w.event("b", looked_up(&w, true)).await;
    assert_eq!(held(&w, "b"), (None, false, 0));
    // Of an account that is gone nothing is left waiting.
    w.commit("c", [post(1)]).await;
    w.event("c", Body::Keyed(document(Some("c.example")))).await;
    w.event("c", Body::Account(Deleted)).await;
    w.event("c", looked_up(&w, true)).await;
    assert_eq!(held(&w, "c").2, 0);
    assert_eq!(w.store.snapshot().handle_owner("c.example").unwrap(), None);
}

#[tokio::test]
async fn a_key_that_was_read_after_a_change_is_stored_while_the_question_is_open() {
    let mut w = World::new();
    // An account that announces itself, and is verified before anybody looked at what it announced.
    w.event("a", Body::IdentityDue { since: NOW - 1 }).await;
    w.commit("a", [post(1)]).await;
    w.event("a", Body::Keyed(document(Some("a.example")))).await;
    assert_eq!(held(&w, "a"), (None, true, 0), "its handle comes with the answer");
    assert_eq!(due(&w), [Due::Identity]);
    // Who may be anybody keeps nothing away, and takes nothing back.
    w.event("b", Body::IdentityClaimed).await;
    w.commit("b", [post(1)]).await;
    w.event("b", Body::Keyed(document(None))).await;
    assert_eq!(held(&w, "b"), (None, true, 0));
    // The last change counts, whoever told of another one since.
    for since in [NOW - 2, NOW, NOW - 1] {
        w.event("c", Body::IdentityDue { since }).await;
    }
    w.commit("c", [post(1)]).await;
    w.event("c", Body::IdentityDue { since: NOW - 1 }).await;
    w.event("c", Body::IdentityClaimed).await;
    w.event("c", Body::Keyed(document(None))).await;
    assert_eq!(held(&w, "c"), (None, false, 0), "read before it changed");
    w.event("c", Body::Identity(document(Some("c.example")))).await;
    assert_eq!(held(&w, "c"), (Some("c.example".to_owned()), true, 0));
    // What the mirror of the directory, or an earlier version, left open says nothing of when it changed.
    let d = w.actor("b");
    w.writer
        .durable(move |tx| {
            recheck::add_due(tx, d, Due::Identity);
            Ok(())
        })
        .await
        .unwrap();
    let before = w.store.snapshot().identity(d).unwrap().unwrap().key;
    w.event("b", Body::Keyed(document(None))).await;
    assert_eq!(w.store.snapshot().identity(d).unwrap().unwrap().key, before);
}

#[tokio::test]
async fn handles_that_wait_are_counted_at_the_next_start() {
    let mut w = World::new();
    for who in ["a", "b"] {
        w.commit(who, [post(1)]).await;
        w.event(who, Body::Keyed(document(Some(&format!("{who}.example"))))).await;
    }
    let (_, requests) = super::Index::new(&w.store).unwrap();
    assert_eq!(requests.questions.waiting(), 2);
}
