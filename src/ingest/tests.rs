//! The pipeline against a relay in this process.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::directory::Freshness;
use super::testing::*;
use crate::crypto::PrivateKey;
use crate::event::{Belief, Body, Event, HostingStatus};
use crate::repo::dag_cbor::{encode, from_json};
use crate::schema::Edit;

fn accounts(count: usize) -> Vec<Account> {
    (0..count).map(|n| Account::new(&format!("did:plc:a{n}"))).collect()
}

/// The revs of the commits, by account, in order.
fn revs<'e>(events: &'e [Event], account: &Account) -> Vec<u64> {
    let of = |event: &&'e Event| event.did == account.did;
    let rev = |event: &Event| match &event.body {
        Body::Commit(commit) => Some(commit.rev.as_u64()),
        _ => None,
    };
    events.iter().filter(of).filter_map(rev).collect()
}

#[tokio::test]
async fn events_come_in_order_and_every_slot_is_filled() {
    let mut accounts = accounts(7);
    let mut frames = Vec::new();
    for seq in 1..=300 {
        let frame = match seq % 20 {
            3 => Bytes::from_static(b"\xff\xff"),
            5 => message("#later", from_json(&json!({"seq": seq}))),
            _ => accounts[usize::try_from(seq).unwrap() % 7].commit(seq, 0),
        };
        frames.push((seq, frame));
    }
    let (directory, sink, relay) =
        (Documents::of(&accounts), Collected::new(), Relay::of(frames).await);
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("all applied", || sink.seq() == Some(300)).await;
    let events = sink.events();
    assert_eq!(events.len(), 270);
    for account in &accounts {
        let revs = revs(&events, account);
        assert!(revs.len() > 30 && revs.is_sorted_by(|a, b| a < b), "{revs:?}");
    }
    let seqs: Vec<i64> = sink.batches.lock().iter().map(|batch| batch.seq).collect();
    assert!(seqs.is_sorted());
    let status = ingest.status().remove(0);
    assert_eq!((status.seq, status.last_received_seq), (Some(300), Some(300)));
    assert_eq!((status.dropped["frame-header"], status.dropped["unknown-frame"]), (15, 15));
    until("budget given back", || ingest.status()[0].queue_bytes == 0).await;
    // Each account was seen for the first time, so its document is on record.
    until("identities", || ingest.pending() == 0).await;
    let aside = sink.aside.lock().clone();
    let handles = aside.iter().filter(
        |event| matches!(&event.body, Body::Keyed(state) if state.handle.is_some() && state.key.is_some()),
    );
    assert_eq!(handles.count(), 7);
    tokio::time::timeout(Duration::from_secs(8), ingest.stop()).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_stops_the_reading() {
    const COUNT: i64 = 600;
    let mut account = Account::new("did:plc:big");
    let frame = account.commit(1, 100_000);
    // The same frame under other numbers: what counts is its size.
    let other =
        |seq: i64| message("#later", from_json(&json!({"seq": seq, "x": "y".repeat(100_000)})));
    let frames = (2..=COUNT).map(|seq| (seq, other(seq)));
    let frames = std::iter::once((1, frame)).chain(frames).collect();
    let (directory, sink, relay) =
        (Documents::of([&account]), Collected::gated(0), Relay::of(frames).await);
    let (_dir, store) = store();
    let ingest = start(
        super::Options { queue_bytes: 1 << 20, ..options(&relay) },
        &store,
        &directory,
        &sink,
    );
    until("queue full", || ingest.status()[0].queue_bytes > 900_000).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let status = ingest.status().remove(0);
    assert!(status.queue_bytes <= 1 << 20);
    assert!(status.last_received_seq.unwrap() <= 12, "{:?}", status.last_received_seq);
    assert!(relay.sent.load(Ordering::SeqCst) < 500, "the socket was read on");
    assert!(status.connected && status.reconnects == 0);
    sink.gate.add_permits(100_000);
    until("all applied", || sink.seq() == Some(COUNT)).await;
    ingest.stop().await;
}

#[tokio::test]
async fn another_connection_is_made_when_it_is_asked_for_and_nothing_is_lost() {
    let mut account = Account::new("did:plc:a");
    let frames: Vec<Bytes> = (1..=9).map(|seq| account.commit(seq, 0)).collect();
    // Each connection has three frames, and then nothing.
    let relay = Relay::start(move |_, cursor| {
        let from = usize::try_from(cursor.unwrap_or(0)).unwrap();
        frames.iter().skip(from).take(3).cloned().map(Step::Send).collect()
    })
    .await;
    let (directory, sink) = (Documents::of([&account]), Collected::new());
    let (_dir, store) = store();
    let mut options = options(&relay);
    options.timing.stall = Duration::from_secs(600);
    let url = options.upstreams[0].clone();
    let ingest = start(options, &store, &directory, &sink);
    until("the first connection", || sink.seq() == Some(3)).await;
    assert!(!ingest.reconnect("wss://other.example"));
    assert!(ingest.reconnect(&url));
    until("the second", || sink.seq() == Some(6)).await;
    assert!(ingest.reconnect(&url));
    until("the third", || sink.seq() == Some(9)).await;
    assert_eq!(revs(&sink.events(), &account).len(), 9);
    assert_eq!(ingest.status()[0].reconnects, 2);
    ingest.stop().await;
}

#[tokio::test]
async fn a_dropped_or_stalled_connection_goes_on_behind_what_was_read() {
    let mut account = Account::new("did:plc:a");
    let frames: Vec<Bytes> = (1..=9).map(|seq| account.commit(seq, 0)).collect();
    let relay = Relay::start(move |number, cursor| {
        let from = usize::try_from(cursor.unwrap_or(0)).unwrap();
        let mut steps: Vec<Step> =
            frames.iter().skip(from).take(3).cloned().map(Step::Send).collect();
        if number == 0 {
            steps.push(Step::Close);
        }
        steps
    })
    .await;
    let (directory, sink) = (Documents::of([&account]), Collected::new());
    let (_dir, store) = store();
    let mut options = options(&relay);
    // The second connection goes silent after its frames, as every one after it.
    // Longer than a busy machine takes to read three frames.
    options.timing.stall = Duration::from_secs(1);
    let ingest = start(options, &store, &directory, &sink);
    until("all applied", || sink.seq() == Some(9)).await;
    assert_eq!(relay.cursors.lock()[..3], [Some(0), Some(3), Some(6)]);
    assert_eq!(revs(&sink.events(), &account).len(), 9);
    assert!(ingest.status()[0].reconnects >= 2);
    ingest.stop().await;
}

#[tokio::test]
async fn a_socket_that_is_dead_but_open_is_given_up() {
    // The relay reads nothing any more, so it answers no ping.
    let relay = Relay::start(|_, _| vec![Step::Hang]).await;
    let (directory, sink) = (Documents::of([]), Collected::new());
    let (_dir, store) = store();
    let mut options = options(&relay);
    options.timing.ping = Duration::from_millis(50);
    options.timing.alive = Duration::from_millis(200);
    let ingest = start(options, &store, &directory, &sink);
    until("another connection", || relay.cursors.lock().len() > 1).await;
    let error = ingest.status()[0].last_error.clone();
    assert!(error.is_some_and(|error| error.contains("sign of life")));
    ingest.stop().await;
}

#[tokio::test]
async fn the_stored_cursor_is_where_reading_begins() {
    let relay = Relay::of(vec![]).await;
    let (_dir, store) = store();
    let (writer, thread) = crate::store::Writer::start(store.clone()).unwrap();
    let of = crate::schema::cursors::CursorOf::Upstream(relay.url.clone());
    let set = move |tx: &mut crate::store::Tx<'_>| {
        crate::schema::cursors::set_cursor(tx, &of, 77);
        Ok(())
    };
    writer.durable(set).await.unwrap();
    let ingest = start(options(&relay), &store, &Documents::of([]), &Collected::new());
    until("connected", || !relay.cursors.lock().is_empty()).await;
    assert_eq!(relay.cursors.lock()[0], Some(77));
    assert_eq!(ingest.status()[0].seq, Some(77));
    ingest.stop().await;
    drop(writer);
    thread.join().unwrap().unwrap();
}

#[tokio::test]
async fn a_relay_that_counts_anew_is_followed_live() {
    let mut account = Account::new("did:plc:a");
    let (first, second) = (account.commit(100, 0), account.commit(1, 0));
    let relay = Relay::start(move |number, _| match number {
        0 => vec![Step::Send(first.clone()), Step::Close],
        1 => vec![Step::Send(error_frame("FutureCursor")), Step::Close],
        _ => vec![
            Step::Send(message("#info", from_json(&json!({"name": "OutdatedCursor"})))),
            Step::Send(second.clone()),
        ],
    })
    .await;
    let (directory, sink) = (Documents::of([&account]), Collected::new());
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("the new numbers", || sink.seq() == Some(1)).await;
    assert_eq!(relay.cursors.lock()[..3], [Some(0), Some(100), None]);
    assert_eq!(revs(&sink.events(), &account).len(), 2);
    let status = ingest.status().remove(0);
    assert_eq!(status.seq, Some(1));
    assert_eq!((status.dropped["future-cursor"], status.dropped["outdated-cursor"]), (1, 1));
    // Noted once, for the cursor that was not known any more, and before what came after it.
    assert!(matches!(sink.gaps.lock()[..], [0 | 1]));
    ingest.stop().await;
}

#[tokio::test]
async fn what_a_relay_has_not_any_more_is_a_gap_only_behind_a_cursor() {
    let mut account = Account::new("did:plc:a");
    let (first, second) = (account.commit(5, 0), account.commit(90, 0));
    let relay = Relay::start(move |number, _| {
        let outdated = message("#info", from_json(&json!({"name": "OutdatedCursor"})));
        match number {
            0 => vec![Step::Send(outdated), Step::Send(first.clone()), Step::Close],
            _ => vec![Step::Send(outdated), Step::Send(second.clone())],
        }
    })
    .await;
    let (directory, sink) = (Documents::of([&account]), Collected::new());
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("all", || sink.seq() == Some(90)).await;
    assert_eq!(relay.cursors.lock()[..2], [Some(0), Some(5)]);
    assert!(matches!(sink.gaps.lock()[..], [0 | 1]));
    ingest.stop().await;
}

#[tokio::test]
async fn a_rotated_key_is_looked_up_once_and_a_forged_frame_is_dropped() {
    let mut account = Account::new("did:plc:a");
    let first = account.commit(1, 0);
    let directory = Documents::of([&account]);
    account.key = PrivateKey::generate();
    let second = account.commit(2, 0);
    let mut forger = Account::new("did:plc:a");
    let forged = forger.commit(3, 0);
    let relay = Relay::of(vec![(1, first), (2, second), (3, forged)]).await;
    let sink = Collected::new();
    let (_dir, store) = store();
    directory.put_fresh(&account);
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("all", || sink.seq() == Some(3)).await;
    assert_eq!(revs(&sink.events(), &account).len(), 2, "{:?}", ingest.status());
    assert_eq!(ingest.status()[0].dropped["bad-signature"], 1);
    let fresh = directory.asked.lock().iter().filter(|(_, f)| *f == Freshness::Fresh).count();
    assert_eq!(fresh, 1);
    ingest.stop().await;
}

#[tokio::test]
async fn after_identity_no_old_key_is_used() {
    let mut account = Account::new("did:plc:a");
    let first = account.commit(1, 0);
    let changed = account.identity(2);
    let mut thief = Account::new("did:plc:a");
    thief.key = PrivateKey::from_hex(&account.key.to_hex()).unwrap();
    thief.commit(0, 0);
    let stolen = thief.commit(3, 5);
    let directory = Documents::of([&account]);
    account.key = PrivateKey::generate();
    directory.put_fresh(&account);
    let (sink, relay) =
        (Collected::new(), Relay::of(vec![(1, first), (2, changed), (3, stolen)]).await);
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("all", || sink.seq() == Some(3)).await;
    assert!(directory.forgotten.lock().contains(&account.did));
    let accepted = revs(&sink.events(), &account);
    assert!(!accepted.contains(&thief.rev().as_u64()), "signed by a key that is no more");
    assert!(ingest.status()[0].dropped["bad-signature"] >= 1);
    until("checked", || ingest.pending() == 0).await;
    let key = account.key.public().to_did_key();
    let state = sink.aside.lock().iter().rev().find_map(|event| match &event.body {
        Body::Identity(state) => Some(state.clone()),
        _ => None,
    });
    assert_eq!(state.unwrap().key, Some(key));
    ingest.stop().await;
}

#[tokio::test]
async fn a_did_that_does_not_resolve_holds_only_itself() {
    let (mut slow, mut quick) = (Account::new("did:web:slow.example"), Account::new("did:plc:b"));
    let mut frames = Vec::new();
    for seq in 1..=10 {
        let account = if seq % 2 == 1 { &mut slow } else { &mut quick };
        frames.push((seq, account.commit(seq, 0)));
    }
    let (directory, sink, relay) =
        (Documents::of([&slow, &quick]), Collected::new(), Relay::of(frames).await);
    directory.hang(&slow);
    let (_dir, store) = store();
    let mut options = options(&relay);
    options.timing.web_patience = Duration::from_millis(200);
    let ingest = start(options, &store, &directory, &sink);
    until("all applied", || sink.seq() == Some(10)).await;
    let events = sink.events();
    assert_eq!(revs(&events, &quick).len(), 5);
    // Its newest claim asks for the whole repo.
    let claims: Vec<u64> = events
        .iter()
        .filter(|event| event.did == slow.did)
        .map(|event| match &event.body {
            Body::Sync { rev, .. } => rev.as_u64(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(claims, [slow.rev().as_u64()]);
    ingest.stop().await;
}

#[tokio::test]
async fn parked_frames_go_on_in_order() {
    let mut account = Account::new("did:plc:a");
    let frames = (1..=50).map(|seq| (seq, account.commit(seq, 0))).collect();
    let (directory, sink, relay) =
        (Documents::of([&account]), Collected::new(), Relay::of(frames).await);
    directory.hang(&account);
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("all read", || ingest.status()[0].last_received_seq == Some(50)).await;
    until("parked", || ingest.pending() > 0).await;
    assert!(sink.batches.lock().is_empty());
    directory.let_go();
    until("all applied", || sink.seq() == Some(50)).await;
    let revs = revs(&sink.events(), &account);
    assert!(revs.len() == 50 && revs.is_sorted_by(|a, b| a < b));
    ingest.stop().await;
}

#[tokio::test]
async fn few_keys_are_looked_up_at_a_time_and_those_of_one_method_do_not_wait_for_the_other() {
    let mut all = accounts(300);
    all.push(Account::new("did:web:a.example"));
    let frames = (1..).zip(&mut all).map(|(seq, account)| (seq, account.commit(seq, 0))).collect();
    let (directory, sink, relay) = (Documents::of(&all), Collected::new(), Relay::of(frames).await);
    all.iter().for_each(|account| directory.hang(account));
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("all wait", || ingest.pending() == 301).await;
    let web = |(did, _): &(crate::syntax::Did, Freshness)| did.starts_with("did:web:");
    let asked = || {
        let asked = directory.asked.lock();
        (asked.iter().filter(|of| !web(of)).count(), asked.iter().filter(|of| web(of)).count())
    };
    until("some are asked for", || asked() == (super::checks::KEYS, 1)).await;
    directory.let_go();
    until("all applied", || sink.seq() == Some(301)).await;
    ingest.stop().await;
}

#[tokio::test]
async fn an_account_state_is_confirmed_where_the_account_lives() {
    use HostingStatus::*;
    let all = accounts(5);
    let says = [
        (Deleted, Some(Deleted), vec![Deactivated, Deleted]),
        // It moved: its old PDS let go of it.
        (Deactivated, Some(Active), vec![Deactivated, Active]),
        (Deleted, Some(Active), vec![Deactivated, Active]),
        // Nobody can say, so nothing is taken away.
        (Deleted, None, vec![Deactivated]),
        (Takendown, Some(Active), vec![Takendown]),
    ];
    let word = |status| match status {
        Deleted => "deleted",
        Takendown => "takendown",
        _ => "deactivated",
    };
    let mut frames = Vec::new();
    let directory = Documents::of(&all);
    for (seq, (account, (claimed, actual, _))) in (1..).zip(all.iter().zip(&says)) {
        frames.push((seq, account.account(seq, false, word(*claimed))));
        if let Some(actual) = actual {
            directory.status.lock().insert(account.did.clone(), *actual);
        }
    }
    let (sink, relay) = (Collected::new(), Relay::of(frames).await);
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("applied", || sink.seq() == Some(5) && ingest.pending() == 0).await;
    let mut events = sink.events();
    events.extend(sink.aside.lock().iter().cloned());
    for (account, (_, _, want)) in all.iter().zip(says) {
        let of = events.iter().filter(|event| event.did == account.did);
        let states: Vec<HostingStatus> = of
            .filter_map(|event| match event.body {
                Body::Account(status) | Body::Claimed(status, Belief::Full) => Some(status),
                Body::Claimed(_, Belief::UntilAsked) => Some(Deactivated),
                _ => None,
            })
            .collect();
        assert_eq!(states, want, "{}", account.did);
    }
    ingest.stop().await;
}

#[tokio::test]
async fn what_was_not_answered_before_the_end_is_asked_at_the_next_start() {
    use crate::work::recheck::{Due, Said, add_due};
    let accounts = accounts(3);
    let (_dir, store) = store();
    let (writer, thread) = crate::store::Writer::start(store.clone()).unwrap();
    let dids: Vec<_> = accounts.iter().map(|account| account.did.clone()).collect();
    let gone = Due::Status(Said::Deleted);
    let dues = [Due::Identity, gone, gone];
    let set = move |tx: &mut crate::store::Tx<'_>| {
        for (did, due) in dids.iter().zip(dues) {
            let actor = tx.intern_actor(did)?;
            add_due(tx, actor, due);
        }
        Ok(())
    };
    writer.durable(set).await.unwrap();
    let (directory, sink, relay) =
        (Documents::of(&accounts), Collected::new(), Relay::of(vec![]).await);
    directory.status.lock().insert(accounts[2].did.clone(), HostingStatus::Active);
    *sink.unseen.lock() = Some(Vec::new());
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("asked", || sink.aside.lock().len() == 2 && ingest.pending() == 2).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(ingest.pending(), 2, "nobody sees the answers yet");
    *sink.unseen.lock() = None;
    assert_eq!(ingest.pending(), 0);
    assert_eq!(*directory.forgotten.lock(), [accounts[0].did.clone()]);
    let found = |account: &Account| -> Vec<Body> {
        let aside = sink.aside.lock();
        aside.iter().filter(|e| e.did == account.did).map(|e| e.body.clone()).collect()
    };
    let key = Some(accounts[0].key.public().to_did_key());
    assert!(matches!(&found(&accounts[0])[..], [Body::Identity(state)] if state.key == key));
    // The PDS of the other says nothing.
    assert!(directory.asked.lock().iter().any(|(did, _)| *did == accounts[1].did));
    assert!(found(&accounts[1]).is_empty());
    assert!(matches!(found(&accounts[2])[..], [Body::Account(HostingStatus::Active)]));
    ingest.stop().await;
    drop(writer);
    thread.join().unwrap().unwrap();
}

#[tokio::test]
async fn the_answer_to_an_identity_comes_behind_the_question() {
    let mut account = Account::new("did:plc:a");
    let frames =
        vec![(1, account.identity(1)), (2, account.commit(2, 0)), (3, account.identity(3))];
    let (directory, sink, relay) =
        (Documents::of([&account]), Collected::gated(0), Relay::of(frames).await);
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("all read", || ingest.status()[0].last_received_seq == Some(3)).await;
    // The key of the commit was found, and with it the document.
    until("nothing is under way", || !sink.aside.lock().is_empty() && ingest.pending() == 0).await;
    let (asked, told) = (directory.asked.lock().len(), sink.aside.lock().len());
    sink.gate.add_permits(100);
    until("answered", || sink.seq() == Some(3) && ingest.pending() == 0).await;
    assert!(directory.asked.lock()[asked..].iter().all(|(_, f)| *f == Freshness::Fresh));
    assert!(sink.aside.lock().len() > told && directory.asked.lock().len() > asked);
    let due = |event: &Event| matches!(event.body, Body::IdentityDue { .. });
    assert_eq!(sink.events().iter().filter(|event| due(event)).count(), 2);
    assert!(matches!(sink.aside.lock().last().unwrap().body, Body::Identity(_)));
    ingest.stop().await;
}

#[tokio::test]
async fn an_invalid_record_is_marked() {
    let mut account = Account::new("did:plc:a");
    let bad = encode(&from_json(&json!({"$type": "app.bsky.feed.like", "subject": 5})));
    let frame = account.commit_record(1, "app.bsky.feed.like", &bad);
    let (directory, sink, relay) =
        (Documents::of([&account]), Collected::new(), Relay::of(vec![(1, frame)]).await);
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("applied", || sink.seq() == Some(1)).await;
    let events = sink.events();
    let Body::Commit(commit) = &events[0].body else { panic!() };
    assert!(!commit.ops[0].record.as_ref().unwrap().valid);
    ingest.stop().await;
}

#[tokio::test]
async fn without_verification_no_document_is_asked_for() {
    let mut account = Account::new("did:plc:a");
    let frame = account.commit(1, 0);
    let (directory, sink, relay) =
        (Documents::of([]), Collected::new(), Relay::of(vec![(1, frame)]).await);
    let (_dir, store) = store();
    let options = super::Options { verify: false, ..options(&relay) };
    let ingest = start(options, &store, &directory, &sink);
    until("applied", || sink.seq() == Some(1)).await;
    assert_eq!(revs(&sink.events(), &account).len(), 1);
    assert!(directory.asked.lock().is_empty());
    ingest.stop().await;
}

#[tokio::test]
async fn a_did_without_a_document_was_given_up_or_never_was() {
    let accounts: Vec<Account> =
        ["did:plc:known", "did:plc:unknown", "did:web:known.example", "did:web:unknown.example"]
            .map(Account::new)
            .into();
    let documents = Documents::of([]);
    documents.tombstoned.lock().insert(accounts[0].did.clone());
    let (_dir, store) = store();
    let (writer, _thread) = crate::store::Writer::start(store.clone()).unwrap();
    writer
        .durable(|tx| {
            let actor = tx.intern_actor("did:web:known.example")?;
            let pds = "https://pds.example".to_owned();
            let row = crate::schema::rows::IdentityRow { pds, ..Default::default() };
            tx.put(
                crate::store::Ks::Actor,
                &crate::schema::rows::identity_key(actor),
                &row.encode(),
            );
            Ok(())
        })
        .await
        .unwrap();
    let frames = (1..).zip(&accounts).map(|(seq, account)| (seq, account.identity(seq))).collect();
    let relay = Relay::of(frames).await;
    let sink = Collected::new();
    let ingest = start(options(&relay), &store, &documents, &sink);
    until("four answers", || sink.aside.lock().len() == 4).await;
    let answer = |account: &Account| {
        let aside = sink.aside.lock();
        let event = aside.iter().find(|event| event.did == account.did).unwrap();
        match event.body {
            Body::NoDocument { tombstoned } => tombstoned,
            ref other => panic!("{other:?}"),
        }
    };
    assert_eq!(accounts.iter().map(answer).collect::<Vec<_>>(), [true, false, true, false]);
    ingest.stop().await;
}

/// Runs `work` on a thread of its own that is let go after a while, and says whether it ended by itself: what blocks the
/// thread of the runtime cannot be waited for on it.
fn ends_by_itself(
    release: &std::sync::Arc<Documents>,
    work: impl Future<Output = ()> + Send + 'static,
) -> bool {
    let (done, ended) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work);
        let _ = done.send(());
    });
    let in_time = ended.recv_timeout(Duration::from_secs(10)).is_ok();
    release.blocked.store(false, Ordering::SeqCst);
    thread.join().unwrap();
    in_time
}

#[test]
fn stopping_does_not_block_the_thread_that_reads_signals() {
    let account = Account::new("did:plc:a");
    let directory = Documents::of([&account]);
    directory.blocked.store(true, Ordering::SeqCst);
    let held = std::sync::Arc::clone(&directory);
    let work = async move {
        let relay = Relay::of(vec![(1, account.identity(1))]).await;
        let sink = Collected::new();
        let (_dir, store) = store();
        let ingest = start(options(&relay), &store, &held, &sink);
        until("a lane is held up", || !held.forgotten.lock().is_empty()).await;
        // On one thread the lane is let go only if the stop lets others run.
        let signal = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            held.blocked.store(false, Ordering::SeqCst);
        };
        tokio::join!(ingest.stop(), signal);
    };
    assert!(ends_by_itself(&directory, work), "the stop blocked its thread");
}

#[tokio::test]
async fn a_frame_that_a_lane_panics_at_is_dropped_and_those_behind_it_are_not() {
    let (mut good, bad) = (Account::new("did:plc:good"), Account::new("did:plc:bad"));
    let frames = vec![(1, good.commit(1, 0)), (2, bad.identity(2)), (3, good.commit(3, 0))];
    let (directory, sink, relay) =
        (Documents::of([&good]), Collected::new(), Relay::of(frames).await);
    directory.panics.lock().insert(bad.did.clone());
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("all applied", || sink.seq() == Some(3)).await;
    assert_eq!(revs(&sink.events(), &good).len(), 2);
    assert_eq!(ingest.status()[0].dropped["panic"], 1);
    ingest.stop().await;
}

#[tokio::test]
async fn a_task_of_ingest_that_ends_is_told() {
    let mut account = Account::new("did:plc:a");
    let relay = Relay::of(vec![(1, account.commit(1, 0))]).await;
    let (directory, sink) = (Documents::of([&account]), Collected::new());
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    // The sink closes: the sequencer has nobody to hand anything to.
    sink.gate.close();
    let told = tokio::time::timeout(Duration::from_secs(10), ingest.failure().told()).await;
    assert_eq!(told.unwrap(), format!("the sequencer of {} ended", relay.url));
    ingest.stop().await;

    // And a look-up that panics would leave frames without a key for ever.
    let (directory, sink) = (Documents::of([&account]), Collected::new());
    directory.panics.lock().insert(account.did.clone());
    let ingest = start(options(&relay), &store, &directory, &sink);
    let told = tokio::time::timeout(Duration::from_secs(10), ingest.failure().told()).await;
    assert_eq!(told.unwrap(), "a look-up of a key: panic: of the directory");
    ingest.stop().await;
}

#[tokio::test]
async fn an_upstream_of_which_nothing_is_left_is_in_trouble_until_something_is() {
    let mut accounts = accounts(3);
    let frames: Vec<_> = (1..=80).map(|seq| (seq, Bytes::from_static(b"\xff\xff"))).collect();
    let release = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let good: Vec<_> = (81..=90)
        .map(|seq| (seq, accounts[usize::try_from(seq).unwrap() % 3].commit(seq, 0)))
        .collect();
    let open = std::sync::Arc::clone(&release);
    let relay = Relay::start(move |_, _| {
        let frames = if open.load(Ordering::SeqCst) { good.clone() } else { frames.clone() };
        let sent = frames.into_iter().map(|(_, frame)| Step::Send(frame));
        let close = (!open.load(Ordering::SeqCst)).then_some(Step::Close);
        sent.chain(close).collect()
    })
    .await;
    let (directory, sink) = (Documents::of(&accounts), Collected::new());
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    let trouble = || ingest.status()[0].trouble.clone().unwrap_or_default();
    until("it is in trouble", || trouble().contains("nearly all that it sends is dropped")).await;
    assert!(trouble().contains("frame-header"), "{}", trouble());
    release.store(true, Ordering::SeqCst);
    until("it is not any more", || !trouble().contains("nearly all")).await;
    ingest.stop().await;
}
