//! The pipeline against an upstream that means harm.

use bytes::Bytes;
use serde_json::json;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use super::Options;
use super::testing::*;
use crate::event::{Belief, Body, Commit, Event, HostingStatus};
use crate::repo::dag_cbor::{encode, from_json};
use crate::threads::{Clock, Pace};

const NOW: i64 = 1_750_000_000_000;

fn frame(seq: i64) -> Bytes {
    message("#later", from_json(&json!({"seq": seq})))
}

#[tokio::test]
async fn a_number_that_leaps_ends_the_connection_and_not_the_cursor() {
    let mut account = Account::new("did:plc:a");
    let (first, leap, garbage, last) = (
        account.commit(7, 0),
        frame(i64::MAX),
        // A frame that nobody understands may have a number too.
        message("#commit", from_json(&json!({"seq": i64::MAX}))),
        account.commit(8, 0),
    );
    let relay = Relay::start(move |number, _| match number {
        0 => vec![Step::Send(first.clone()), Step::Send(leap.clone())],
        1 => vec![Step::Send(garbage.clone())],
        2 => vec![Step::Send(leap.clone())],
        _ => vec![Step::Send(last.clone())],
    })
    .await;
    let (directory, sink) = (Documents::of([&account]), Collected::new());
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("the honest frame", || sink.seq() == Some(8)).await;
    assert_eq!(relay.cursors.lock()[..], [Some(0), Some(7), Some(7), Some(7)]);
    assert_eq!(sink.events().len(), 2);
    let seqs: Vec<i64> = sink.batches.lock().iter().map(|batch| batch.seq).collect();
    assert!(seqs.iter().all(|seq| [7, 8].contains(seq)), "{seqs:?}");
    let status = ingest.status().remove(0);
    assert!(status.last_error.unwrap().contains("leaps from 7 to 9223372036854775807"));
    until("budget given back", || ingest.status()[0].queue_bytes == 0).await;
    ingest.stop().await;
}

#[tokio::test]
async fn an_upstream_of_garbage_is_left_again_and_again_and_waited_for_longer() {
    let relay = Relay::start(|_, _| {
        vec![Step::Send(Bytes::from_static(b"\xff\xff")); super::upstream::MAX_GARBAGE as usize]
    })
    .await;
    let (directory, sink) = (Documents::of([]), Collected::new());
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("three connections", || relay.cursors.lock().len() > 2).await;
    until("an end", || ingest.status()[0].last_error.is_some()).await;
    let status = ingest.status().remove(0);
    assert_eq!(status.last_error.unwrap(), "1000 frames in a row could not be read");
    assert!(status.dropped["frame-header"] >= 2000);
    assert_eq!(status.seq, None);
    assert!(status.trouble.unwrap().starts_with("nearly all that it sends is dropped"));
    ingest.stop().await;
}

#[tokio::test]
async fn a_socket_that_gives_nothing_but_garbage_is_not_alive_for_long() {
    // Never as many in a row that it is left for that.
    let relay = Relay::start(|_, _| vec![Step::Send(Bytes::from_static(b"\xff\xff"))]).await;
    let (directory, sink) = (Documents::of([]), Collected::new());
    let (_dir, store) = store();
    let clock = Clock::stopped_at(NOW);
    let mut options = Options { clock: clock.clone(), ..options(&relay) };
    options.timing.stall = Duration::from_millis(100);
    let ingest = start(options, &store, &directory, &sink);
    until("garbage", || ingest.status()[0].dropped.contains_key("frame-header")).await;
    let before = ingest.status()[0].dropped["frame-header"];
    clock.set(NOW + 180_000);
    until("more garbage", || ingest.status()[0].dropped["frame-header"] > before + 1).await;
    let trouble = ingest.status()[0].trouble.clone();
    assert_eq!(trouble.as_deref(), Some("has sent nothing that is of use for 3 min"));
    ingest.stop().await;
}

#[tokio::test]
async fn a_commit_whose_records_have_no_room_is_a_claim_and_room_comes_back() {
    let mut account = Account::new("did:plc:a");
    // Two kilobytes of maps of one entry, which take a megabyte of the two that there are.
    let maps = encode(&from_json(&json!(vec![json!({"": null}); 680])));
    let small = encode(&from_json(&json!({})));
    let records = (1..).zip([&maps, &maps, &small, &maps]);
    let frames: Vec<_> = records
        .map(|(seq, record)| (seq, account.commit_record(seq, "com.example.note", record)))
        .collect();
    let last = Arc::new(AtomicI64::new(1));
    let sent = Arc::clone(&last);
    let relay = Relay::start(move |_, cursor| {
        let next = cursor.unwrap_or(0) + 1..=sent.load(Ordering::SeqCst);
        let frames = frames.iter().filter(|(seq, _)| next.contains(seq));
        frames.map(|(_, frame)| Step::Send(frame.clone())).chain([Step::Close]).collect()
    })
    .await;
    let (directory, sink) = (Documents::of([&account]), Collected::new());
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("the first", || sink.seq() == Some(1)).await;
    let room = &ingest.feeds[0].decoded;
    until("its room is given back", || room.held() == 0).await;
    let most = room.try_take(room.limit() / 4 * 3).unwrap();
    last.store(3, Ordering::SeqCst);
    until("two more", || sink.seq() == Some(3)).await;
    drop(most);
    until("all room is given back", || room.held() == 0).await;
    last.store(4, Ordering::SeqCst);
    until("the last", || sink.seq() == Some(4)).await;
    until("budget given back", || ingest.status()[0].queue_bytes == 0).await;
    let kinds: Vec<_> = sink.events().iter().map(|e| matches!(e.body, Body::Commit(_))).collect();
    assert_eq!(kinds, [true, false, true, true]);
    let revs: Vec<_> = sink
        .events()
        .into_iter()
        .filter_map(|event| match event.body {
            Body::Sync { rev, .. } => Some(rev.as_u64()),
            _ => None,
        })
        .collect();
    assert!(revs.len() == 1 && revs[0] < account.rev().as_u64());
    ingest.stop().await;
}

#[tokio::test]
async fn while_records_hold_all_of_the_room_one_frame_is_read_at_a_time() {
    let mut account = Account::new("did:plc:a");
    let frames: Vec<Step> = (1..=60).map(|seq| Step::Send(account.commit(seq, 0))).collect();
    let full = Arc::new(AtomicBool::new(false));
    let is_full = Arc::clone(&full);
    let relay = Relay::start(move |_, _| match is_full.load(Ordering::SeqCst) {
        true => frames.clone(),
        false => vec![Step::Close],
    })
    .await;
    let (directory, sink) = (Documents::of([&account]), Collected::new());
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    let feed = Arc::clone(&ingest.feeds[0]);
    let half = feed.decoded.try_take(feed.decoded.limit() / 2).unwrap();
    let total = u32::try_from(feed.budget_total).unwrap();
    assert_eq!((feed.must_be_free(10, 0), feed.must_be_free(total, 0)), (total / 2 + 10, total));
    let rest = feed.decoded.try_take(feed.decoded.limit() / 2).unwrap();
    assert_eq!((feed.must_be_free(10, 0), feed.must_be_free(10, 100)), (total, total - 100));
    full.store(true, Ordering::SeqCst);
    until("all applied", || sink.seq() == Some(60)).await;
    assert!(sink.batches.lock().iter().all(|batch| batch.events.len() == 1));
    drop((half, rest));
    assert_eq!(feed.must_be_free(10, 0), 10);
    ingest.stop().await;
}

#[tokio::test]
async fn a_jetstreams_record_without_room_is_a_claim_and_the_others_go_on() {
    let account = Account::new("did:plc:a");
    let maps = json!(vec![json!({"": null}); 680]);
    let records = [&json!({}), &maps, &json!({})];
    let frames = (1..).zip(records).map(|(n, record)| {
        let cid = crate::syntax::cid::for_record(&encode(&from_json(record)));
        let commit = json!({"rev": format!("3l3qo2vuts{}2b", n + 1), "operation": "create",
            "collection": "com.example.note", "rkey": "x", "record": record,
            "cid": crate::syntax::cid::to_base32(&cid)});
        let time_us = NOW * 1000 + n;
        let json =
            json!({"did": &*account.did, "time_us": time_us, "kind": "commit", "commit": commit});
        (time_us, Bytes::from(json.to_string()))
    });
    let relay = Relay::of(frames.collect()).await;
    let (directory, sink) = (Documents::of([&account]), Collected::new());
    let (_dir, store) = store();
    // Half a megabyte of it is for what takes more than its message, and the second record takes a whole one.
    let options = Options {
        upstreams: vec![],
        jetstream: vec![relay.url.clone()],
        queue_bytes: 2 << 20,
        ..options(&relay)
    };
    let ingest = start(options, &store, &directory, &sink);
    until("all applied", || sink.events().len() == 3).await;
    let kinds: Vec<_> = sink.events().iter().map(|e| matches!(e.body, Body::Commit(_))).collect();
    assert_eq!(kinds, [true, false, true]);
    until("budget given back", || ingest.status()[0].queue_bytes == 0).await;
    ingest.stop().await;
}

/// A store that knows where these accounts live.
async fn store_with(accounts: &[&Account], pds: &str) -> (tempfile::TempDir, crate::store::Store) {
    use crate::schema::Edit as _;
    use crate::schema::rows::{IdentityRow, identity_key};
    let (dir, store) = store();
    let (writer, thread) = crate::store::Writer::start(store.clone()).unwrap();
    let rows: Vec<_> = accounts
        .iter()
        .map(|account| {
            let key = account.key.public().to_did_key();
            (account.did.clone(), IdentityRow { key, pds: pds.to_owned(), checked: i64::MAX })
        })
        .collect();
    let put = move |tx: &mut crate::store::Tx<'_>| {
        for (did, row) in rows {
            let actor = tx.intern_actor(&did)?;
            tx.put(crate::store::Ks::Actor, &identity_key(actor), &row.encode());
        }
        Ok(())
    };
    writer.durable(put).await.unwrap();
    drop(writer);
    thread.join().unwrap().unwrap();
    (dir, store)
}

fn claims(events: &[Event]) -> Vec<(HostingStatus, Belief)> {
    let claim = |event: &Event| match event.body {
        Body::Claimed(status, belief) => Some((status, belief)),
        _ => None,
    };
    events.iter().filter_map(claim).collect()
}

#[tokio::test]
async fn only_the_sole_upstream_or_the_host_of_an_account_is_believed() {
    use HostingStatus::{Active, Deactivated, Deleted, Suspended, Takendown};
    let account = Account::new("did:plc:a");
    let says = |from: i64| -> Vec<(i64, Bytes)> {
        let word = ["takendown", "suspended", "deactivated", "deleted"];
        let mut frames: Vec<(i64, Bytes)> = (from..)
            .zip(word)
            .map(|(seq, word)| (seq, account.account(seq, false, word)))
            .collect();
        frames.push((from + 4, account.account(from + 4, true, "")));
        frames
    };
    let (relay, other) = (Relay::of(says(1)).await, Relay::of(vec![]).await);
    let host = relay.url.replace("ws://", "http://");
    let said = [Takendown, Suspended, Deactivated, Deleted, Active];
    let by = |beliefs: [Belief; 5]| said.into_iter().zip(beliefs).collect::<Vec<_>>();
    use Belief::{Full, OnceConfirmed, UntilAsked};
    let believed = by([Full, Full, UntilAsked, UntilAsked, Full]);
    let doubted = by([OnceConfirmed; 5]);
    for (pds, alone, want) in [
        ("https://pds.example", true, &believed),
        ("https://pds.example", false, &doubted),
        (host.as_str(), false, &believed),
    ] {
        let (_dir, store) = store_with(&[&account], pds).await;
        let (directory, sink) = (Documents::of([&account]), Collected::new());
        directory.status.lock().insert(account.did.clone(), Active);
        let mut options = options(&relay);
        if !alone {
            options.upstreams.push(other.url.clone());
        }
        let ingest = start(options, &store, &directory, &sink);
        until("all", || sink.seq() == Some(5) && ingest.pending() == 0).await;
        assert_eq!(claims(&sink.events()), *want, "{pds} {alone}");
        // Where it lives has the last word, if anybody has to be asked.
        let answers: Vec<Event> = sink.aside.lock().clone();
        assert!(!answers.is_empty());
        assert!(answers.iter().all(|event| matches!(event.body, Body::Account(Active))));
        ingest.stop().await;
    }
}

#[tokio::test]
async fn who_may_be_anybody_outdates_no_identity() {
    for (pds, alone, is_believed) in [
        ("https://pds.example", true, true),
        ("https://pds.example", false, false),
        ("the upstream", false, true),
    ] {
        let mut account = Account::new("did:plc:a");
        let frames: Vec<(i64, Bytes)> =
            vec![(1, account.commit(1, 0)), (2, account.identity(2)), (3, account.commit(3, 0))];
        let (relay, other) = (Relay::of(frames).await, Relay::of(vec![]).await);
        let host = relay.url.replace("ws://", "http://");
        let pds = if pds == "the upstream" { &host } else { pds };
        let (_dir, store) = store_with(&[&account], pds).await;
        let (directory, sink) = (Documents::of([&account]), Collected::new());
        let mut options = options(&relay);
        if !alone {
            options.upstreams.push(other.url.clone());
        }
        let ingest = start(options, &store, &directory, &sink);
        until("all", || sink.seq() == Some(3) && ingest.pending() == 0).await;
        let events = sink.events();
        let changed = events.iter().find_map(|event| match event.body {
            Body::IdentityDue { .. } => Some(true),
            Body::IdentityClaimed => Some(false),
            _ => None,
        });
        assert_eq!(changed, Some(is_believed), "{pds} {alone}");
        let commits = events.iter().filter(|event| matches!(event.body, Body::Commit(_)));
        assert_eq!(commits.count(), 2, "{pds} {alone}");
        ingest.stop().await;
    }
}

#[tokio::test]
async fn a_stranger_hides_nobody_while_the_directory_or_the_host_gives_no_answer() {
    use HostingStatus::{Active, Deactivated};
    let [here, moved, silent] = ["did:plc:a", "did:plc:b", "did:plc:c"].map(Account::new);
    let frames = vec![
        (1, here.account(1, false, "deleted")),
        (2, moved.account(2, false, "takendown")),
        (3, silent.account(3, false, "deleted")),
    ];
    let (relay, other) = (Relay::of(frames).await, Relay::of(vec![]).await);
    let (_dir, store) = store_with(&[&here, &moved, &silent], "https://pds.example").await;
    let (directory, sink) = (Documents::of([&here, &moved, &silent]), Collected::new());
    directory.away.store(true, Ordering::SeqCst);
    let states = [(here.did.clone(), Active), (moved.did.clone(), Deactivated)];
    directory.status.lock().extend(states);
    let mut options = options(&relay);
    options.upstreams.push(other.url.clone());
    let ingest = start(options, &store, &directory, &sink);
    let asked = || directory.asked.lock().len() == 3 && ingest.pending() == 0;
    until("asked", || sink.seq() == Some(3) && asked()).await;
    let answers: Vec<Event> = sink.aside.lock().clone();
    // That it is not active where it lived may be because it moved, and a host that is silent says nothing.
    assert!(
        matches!(&answers[..], [Event { did, body: Body::Account(Active), .. }] if *did == here.did),
        "{answers:?}"
    );
    ingest.stop().await;
}

#[tokio::test]
async fn while_the_directory_pauses_known_accounts_go_on_and_made_up_ones_fill_nothing() {
    const UNKNOWN: i64 = 40;
    let relay = async |name: &str, count: i64, directory: &Arc<Documents>| {
        let mut frames = Vec::new();
        for seq in 1..=count {
            let mut account = Account::new(&format!("did:plc:{name}{seq}"));
            directory.paused.lock().insert(account.did.clone());
            frames.push((seq, account.commit(seq, 0)));
        }
        Relay::of(frames).await
    };
    let (directory, sink) = (Documents::of([]), Collected::new());
    let (strange, known) =
        (relay("strange", UNKNOWN, &directory).await, relay("known", UNKNOWN, &directory).await);
    let dids = (1..=UNKNOWN).map(|n| format!("did:plc:known{n}"));
    let (_dir, store) = store_of_repos(dids.collect()).await;
    let mut options = options(&strange);
    options.upstreams.push(known.url.clone());
    let hour = Duration::from_secs(3600);
    options.timing.unproven = Pace { burst: 5, every: hour };
    options.timing.plc_patience = hour;
    let ingest = start(options, &store, &directory, &sink);
    let claims = |of: &str| {
        let claim = |e: &&Event| matches!(e.body, Body::Sync { .. }) && e.did.contains(of);
        sink.events().iter().filter(claim).count()
    };
    until("the known ones", || claims("known") == usize::try_from(UNKNOWN).unwrap()).await;
    until("all asked", || directory.asked.lock().len() == 2 * usize::try_from(UNKNOWN).unwrap())
        .await;
    assert!(claims("strange") <= 5);
    ingest.stop().await;
}

#[tokio::test]
async fn who_names_accounts_of_silent_hosts_delays_no_question_of_others() {
    let strange: Vec<Account> = (0..200).map(|n| Account::new(&format!("did:plc:s{n}"))).collect();
    let honest = Account::new("did:plc:honest");
    let gone = |(seq, account): (i64, &Account)| (seq, account.account(seq, false, "deleted"));
    let relay = Relay::of((1..).zip(&strange).map(gone).collect()).await;
    let other = Relay::of(vec![]).await;
    let (directory, sink) = (Documents::of(strange.iter().chain([&honest])), Collected::new());
    strange.iter().for_each(|account| directory.hang(account));
    directory.status.lock().insert(honest.did.clone(), HostingStatus::Deleted);
    let (_dir, store) = store();
    let mut options = options(&relay);
    options.upstreams.push(other.url.clone());
    let ingest = start(options, &store, &directory, &sink);
    until("all raised, and as many asked as may be", || {
        sink.seq() == Some(200) && directory.asked.lock().len() == super::questions::SLOTS
    })
    .await;
    let due = crate::work::recheck::Due::Status(crate::work::recheck::Said::Deleted);
    let (did, upstream) = (honest.did.clone(), None);
    sink.questions.raise(crate::work::recheck::Question { did, due, upstream, line: 2 });
    until("answered", || !sink.aside.lock().is_empty()).await;
    let answer = sink.aside.lock()[0].clone();
    assert_eq!(answer.did, honest.did);
    assert!(matches!(answer.body, Body::Account(HostingStatus::Deleted)));
    ingest.stop().await;
}

/// A store that knows a repo of each of these, and no key.
async fn store_of_repos(dids: Vec<String>) -> (tempfile::TempDir, crate::store::Store) {
    use crate::schema::Edit as _;
    use crate::schema::rows::{RepoRow, repo_key};
    let (dir, store) = store();
    let (writer, thread) = crate::store::Writer::start(store.clone()).unwrap();
    let put = move |tx: &mut crate::store::Tx<'_>| {
        for did in dids {
            let actor = tx.intern_actor(&did)?;
            let row = RepoRow { rev: 1, data: [1; 32], resync: None, whole: None };
            tx.put(crate::store::Ks::Actor, &repo_key(actor), &row.encode());
        }
        Ok(())
    };
    writer.durable(put).await.unwrap();
    drop(writer);
    thread.join().unwrap().unwrap();
    (dir, store)
}

#[tokio::test]
async fn a_flood_of_deletions_waits_in_rows_and_not_in_memory() {
    const FLOOD: i64 = 21_000;
    let gone = |seq: i64| {
        let did = format!("did:plc:g{seq}");
        let body =
            json!({"seq": seq, "did": did, "time": "", "active": false, "status": "deleted"});
        (seq, message("#account", from_json(&body)))
    };
    let relay = Relay::of((1..=FLOOD).map(gone).collect()).await;
    let (directory, sink) = (Documents::of([]), Collected::new());
    let (_dir, store) = store();
    let mut options = options(&relay);
    let hour = Duration::from_secs(3600);
    options.timing.questions = Pace { burst: 5, every: hour };
    let ingest = start(options, &store, &directory, &sink);
    until("all applied", || sink.seq() == Some(FLOOD)).await;
    until("the first", || directory.asked.lock().len() == 5).await;
    assert!(ingest.pending() < 20_100, "{}", ingest.pending());
    assert!(sink.questions.waiting() >= 20_000);
    assert_eq!(directory.asked.lock().len(), 5);
    let in_time = tokio::time::timeout(Duration::from_secs(60), ingest.stop()).await;
    assert!(in_time.is_ok(), "the stop waits for no answers");
}

#[tokio::test]
async fn what_is_still_open_at_the_start_is_asked_at_a_polite_pace() {
    use crate::schema::Edit as _;
    use crate::work::recheck::{Due, Said, add_due};
    let (_dir, store) = store();
    let (writer, thread) = crate::store::Writer::start(store.clone()).unwrap();
    let add = |tx: &mut crate::store::Tx<'_>| {
        for n in 0..2000 {
            let actor = tx.intern_actor(&format!("did:plc:g{n}"))?;
            let due = if n % 2 == 0 { Due::Identity } else { Due::Status(Said::Deleted) };
            add_due(tx, actor, due);
        }
        Ok(())
    };
    writer.durable(add).await.unwrap();
    let relay = Relay::of(vec![]).await;
    let (directory, sink) = (Documents::of([]), Collected::new());
    let mut options = options(&relay);
    options.timing.rounds = Pace { burst: 7, every: Duration::from_secs(3600) };
    let ingest = start(options, &store, &directory, &sink);
    until("the first", || directory.asked.lock().len() == 7).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(directory.asked.lock().len(), 7);
    assert!(ingest.pending() > 0, "there is more");
    ingest.stop().await;
    drop(writer);
    thread.join().unwrap().unwrap();
}

#[tokio::test]
async fn a_commit_that_does_not_say_what_was_before_is_believed_only_of_such_a_host() {
    let mut account = Account::new("did:plc:a");
    let frames: Vec<(i64, Bytes)> =
        vec![(1, account.commit(1, 0)), (2, account.commit(2, 0)), (3, account.commit_untold(3))];
    let mut old = Account::new("did:plc:old");
    let without: Vec<(i64, Bytes)> = (1..=3).map(|seq| (seq, old.commit_untold(seq))).collect();
    let roots = async |relay: &Relay, account: &Account, pds: &str, verify: bool| {
        let (_dir, store) = store_with(&[account], pds).await;
        let sink = Collected::new();
        let options = Options { verify, ..options(relay) };
        let ingest = start(options, &store, &Documents::of([account]), &sink);
        let commit = |event: &Event| match &event.body {
            Body::Commit(commit) => Some(commit.prev_data),
            _ => None,
        };
        let commits = || sink.events().iter().filter_map(commit).collect::<Vec<_>>();
        until("all", || sink.seq() >= Some(3)).await;
        ingest.stop().await;
        let told = |root: Option<[u8; 32]>| match root {
            None => "believed",
            Some(Commit::UNTOLD) => "untold",
            Some(_) => "told",
        };
        commits().into_iter().take(3).map(told).collect::<Vec<_>>()
    };
    let (relay, pds) = (Relay::of(frames).await, Relay::of(without).await);
    let [at_relay, at_pds] = [&relay, &pds].map(|at| at.url.replace("ws://", "http://"));
    let other = "https://pds.example";
    assert_eq!(roots(&relay, &account, other, true).await, ["told", "told", "untold"]);
    assert_eq!(roots(&relay, &account, &at_relay, true).await, ["told", "told", "untold"]);
    // The first commit of a repo has nothing before it, and says so without a root.
    assert_eq!(roots(&pds, &old, other, true).await, ["told", "untold", "untold"]);
    assert_eq!(roots(&pds, &old, &at_pds, true).await, ["told", "believed", "believed"]);
    assert_eq!(roots(&pds, &old, other, false).await, ["believed"; 3]);
}
