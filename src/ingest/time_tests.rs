//! Which time and place an event gets from its frame.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::Options;
use super::testing::*;
use crate::event::{Body, Event, HostingStatus, Upstream};
use crate::repo::dag_cbor::from_json;
use crate::syntax::datetime::{format_ms, parse_strict};
use crate::threads::{Backoff, Clock, Standing};

const HOUR_MS: i64 = 3_600_000;

fn identity(account: &Account, seq: i64, time: &str) -> (i64, Bytes) {
    let body = json!({"seq": seq, "did": &*account.did, "time": time});
    (seq, message("#identity", from_json(&body)))
}

#[tokio::test]
async fn a_plausible_frame_time_is_the_events_time_and_any_other_is_not() {
    let mut account = Account::new("did:plc:a");
    let begun = Clock::system().now_ms();
    let sent = [begun - 5 * 60_000, begun - HOUR_MS, begun + HOUR_MS].map(format_ms);
    let mut frames: Vec<_> =
        (1..).zip(&sent).map(|(seq, time)| identity(&account, seq, time)).collect();
    frames.push(identity(&account, 4, "yesterday"));
    frames.push((5, account.commit_sent(5, &sent[0])));
    frames.push((6, account.commit_sent(6, &sent[1])));
    let (directory, sink, relay) =
        (Documents::of([&account]), Collected::new(), Relay::of(frames).await);
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("all applied", || sink.seq() == Some(6) && ingest.pending() == 0).await;
    let events = sink.events();
    let believed: Vec<bool> = events.iter().map(|event| event.time != event.received).collect();
    assert_eq!(believed, [true, false, false, false, true, false]);
    for event in &events {
        assert!((begun..=Clock::system().now_ms()).contains(&event.received), "{event:?}");
        assert!(event.time == begun - 5 * 60_000 || event.time == event.received, "{event:?}");
    }
    // What the upstream says is passed on as it is, believed or not.
    let told: Vec<_> = events.iter().map(|event| event.upstream).collect();
    let mut want: Vec<_> = (1..)
        .zip(&sent)
        .map(|(seq, time)| Some(Upstream { seq, time: parse_strict(time).unwrap() }))
        .collect();
    want.extend([Some(Upstream { seq: 4, time: events[3].received }), None, None]);
    assert_eq!(told, want);
    // What was looked up because of them is news of our own.
    let aside = sink.aside.lock().clone();
    assert!(!aside.is_empty());
    for event in aside {
        assert!(event.time >= begun && event.upstream.is_none(), "{event:?}");
    }
    ingest.stop().await;
}

#[tokio::test]
async fn an_account_state_keeps_the_place_of_its_frame_when_it_is_confirmed() {
    let account = Account::new("did:plc:a");
    let frames = vec![(7, account.account(7, false, "deleted"))];
    let (directory, sink, relay) =
        (Documents::of([&account]), Collected::new(), Relay::of(frames).await);
    directory.status.lock().insert(account.did.clone(), HostingStatus::Deleted);
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("confirmed", || !sink.aside.lock().is_empty()).await;
    let claim = sink.events().remove(0);
    let answer = sink.aside.lock()[0].clone();
    assert!(matches!(claim.body, Body::Claimed(HostingStatus::Deleted, _)));
    assert!(matches!(answer.body, Body::Account(HostingStatus::Deleted)));
    assert_eq!(claim.upstream.map(|at| at.seq), Some(7));
    assert_eq!(answer.upstream, claim.upstream);
    ingest.stop().await;
}

#[tokio::test]
async fn a_jetstream_dates_events_by_its_cursor_and_passes_on_the_place_in_its_firehose() {
    let account = Account::new("did:plc:a");
    let begun = Clock::system().now_ms();
    let told = "2024-09-05T06:11:04.870Z";
    let text = |time_us: i64, kind: &str, more: serde_json::Value| {
        let json = json!({"did": &*account.did, "time_us": time_us, "kind": kind, kind: more});
        Bytes::from(json.to_string())
    };
    let did = &*account.did;
    let frames = vec![
        (1, text((begun - 60_000) * 1000, "identity", json!({"did": did, "seq": 5, "time": told}))),
        (2, text((begun - HOUR_MS) * 1000, "identity", json!({"did": did}))),
        (
            3,
            text(
                (begun + 5 * 60_000) * 1000,
                "account",
                json!({"did": did, "active": true, "seq": 6, "time": told}),
            ),
        ),
    ];
    let relay = Relay::of(frames).await;
    let (directory, sink) = (Documents::of([&account]), Collected::new());
    let (_dir, store) = store();
    let options =
        Options { upstreams: vec![], jetstream: vec![relay.url.clone()], ..options(&relay) };
    let ingest = start(options, &store, &directory, &sink);
    until("all applied", || sink.events().len() == 3).await;
    let events = sink.events();
    assert_eq!(events[0].time, begun - 60_000);
    assert!(events[1..].iter().all(|event: &Event| event.time == event.received));
    let time = parse_strict(told).unwrap();
    let told: Vec<_> = events.iter().map(|event| event.upstream).collect();
    assert_eq!(told, [Some(Upstream { seq: 5, time }), None, Some(Upstream { seq: 6, time })]);
    ingest.stop().await;
}

/// When the accounts of these tests write.
const WRITTEN_MS: i64 = 1_750_000_000_000;

#[tokio::test]
async fn a_clock_that_is_behind_loses_nothing_and_says_why_nothing_is_read() {
    let mut accounts: Vec<Account> =
        (0..20).map(|n| Account::new(&format!("did:plc:a{n}"))).collect();
    let frames: Vec<_> = (1..=200)
        .map(|seq| (seq, accounts[usize::try_from(seq).unwrap() % 20].commit(seq, 0)))
        .collect();
    let (directory, sink, relay) =
        (Documents::of(&accounts), Collected::new(), Relay::of(frames).await);
    let clock = Clock::stopped_at(WRITTEN_MS - 7 * 24 * HOUR_MS);
    let options = Options { clock: clock.clone(), ..options(&relay) };
    let (_dir, store) = store();
    let ingest = start(options, &store, &directory, &sink);
    until("it says so", || ingest.times()[0].behind.is_some()).await;
    let status = ingest.status().remove(0);
    let trouble = status.trouble.unwrap();
    assert_eq!(trouble, "the clock of this machine is 7 days behind it");
    assert!(status.last_error.unwrap().contains("nothing is lost"));
    assert!(status.dropped.is_empty() && sink.events().is_empty() && sink.seq().is_none());
    let behind = ingest.times()[0].behind.unwrap();
    assert!((7 * 24 * HOUR_MS..7 * 24 * HOUR_MS + 1000).contains(&behind), "{behind}");
    until("what was held is given back", || ingest.status()[0].queue_bytes == 0).await;

    clock.set(WRITTEN_MS);
    until("all applied", || sink.seq() == Some(200)).await;
    assert_eq!(sink.events().len(), 200);
    let status = ingest.status().remove(0);
    assert!(status.dropped.is_empty() && ingest.times()[0].behind.is_none(), "{status:?}");
    ingest.stop().await;
}

#[tokio::test]
async fn a_frame_as_large_as_the_queue_does_not_wait_for_what_waits_for_others() {
    let mut odd = Account::ahead("did:plc:odd", u64::try_from(HOUR_MS).unwrap());
    let mut good: Vec<Account> = (0..2).map(|n| Account::new(&format!("did:plc:a{n}"))).collect();
    let frames = vec![
        (1, odd.commit(1, 0)),
        (2, good[0].commit(2, 0)),
        (3, good[1].commit(3, 0)),
        (4, message("#later", from_json(&json!({"seq": 4, "x": "y".repeat(700_000)})))),
        (5, good[0].commit(5, 0)),
    ];
    let (directory, sink, relay) =
        (Documents::of(&good), Collected::new(), Relay::of(frames).await);
    let clock = Clock::stopped_at(WRITTEN_MS);
    let options = Options { clock, queue_bytes: 1 << 20, ..options(&relay) };
    let (_dir, store) = store();
    let ingest = start(options, &store, &directory, &sink);
    until("all applied", || sink.seq() == Some(5)).await;
    assert_eq!((sink.events().len(), ingest.status()[0].queue_bytes), (3, 0));
    ingest.stop().await;
}

/// A relay whose first connection ends after so many frames.
async fn breaks_off_after(count: usize, all: Vec<(i64, Bytes)>) -> Relay {
    let first = all[..count].to_vec();
    Relay::start(move |connection, cursor| {
        let frames = if connection == 0 { &first } else { &all };
        let behind = frames.iter().filter(|(seq, _)| cursor.is_none_or(|c| *seq > c));
        let sent = behind.map(|(_, frame)| Step::Send(frame.clone()));
        sent.chain((connection == 0).then_some(Step::Close)).collect()
    })
    .await
}

#[tokio::test]
async fn a_clock_that_leaps_back_loses_nothing_either() {
    let mut accounts: Vec<Account> =
        (0..20).map(|n| Account::new(&format!("did:plc:a{n}"))).collect();
    let frames: Vec<_> = (1..=200)
        .map(|seq| (seq, accounts[usize::try_from(seq).unwrap() % 20].commit(seq, 0)))
        .collect();
    let relay = breaks_off_after(100, frames).await;
    let (directory, sink) = (Documents::of(&accounts), Collected::new());
    let clock = Clock::stopped_at(WRITTEN_MS);
    let mut options = Options { clock: clock.clone(), ..options(&relay) };
    options.timing.retry = Backoff::new(Duration::from_millis(300), 1, Duration::from_millis(300));
    let (_dir, store) = store();
    let ingest = start(options, &store, &directory, &sink);
    until("half is applied", || sink.seq() == Some(100)).await;
    clock.set(WRITTEN_MS - HOUR_MS);
    until("it says so", || ingest.times()[0].behind.is_some()).await;
    assert_eq!((sink.seq(), ingest.status()[0].dropped.len()), (Some(100), 0));
    clock.set(WRITTEN_MS);
    until("all applied", || sink.seq() == Some(200)).await;
    assert_eq!((sink.events().len(), ingest.status()[0].dropped.len()), (200, 0));
    ingest.stop().await;
}

#[tokio::test]
async fn nothing_is_taken_in_after_a_leap_before_somebody_looked() {
    let mut account = Account::new("did:plc:a1");
    let frames: Vec<_> = (1..=20).map(|seq| (seq, account.commit(seq, 0))).collect();
    let relay = breaks_off_after(10, frames).await;
    let (directory, sink) = (Documents::of([&account]), Collected::new());
    let clock = Clock::stopped_at(WRITTEN_MS).watched();
    clock.judge(WRITTEN_MS, Standing::Confirmed);
    let mut options = Options { clock: clock.clone(), ..options(&relay) };
    options.timing.retry = Backoff::new(Duration::from_millis(300), 1, Duration::from_millis(300));
    let (_dir, store) = store();
    let ingest = start(options, &store, &directory, &sink);
    until("half is applied", || sink.seq() == Some(10)).await;
    let years = WRITTEN_MS + 87_600 * HOUR_MS;
    clock.set(years);
    let leapt = || ingest.status()[0].last_error.as_ref().is_some_and(|e| e.contains("just leapt"));
    until("it says so", leapt).await;
    assert_eq!((sink.seq(), sink.events().len()), (Some(10), 10));
    clock.judge(years, Standing::Unopposed);
    until("all applied", || sink.seq() == Some(20)).await;
    assert_eq!((sink.events().len(), ingest.status()[0].queue_bytes), (20, 0));
    ingest.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_confirmed_is_not_doubted_because_of_many_who_are_wrong() {
    let ahead = 2 * u64::try_from(HOUR_MS).unwrap();
    let mut odd: Vec<Account> =
        (0..20).map(|n| Account::ahead(&format!("did:plc:a{n}"), ahead)).collect();
    let mut good = Account::new("did:plc:good");
    let frames: Vec<_> = (1..=41)
        .map(|seq| match seq {
            41 => (seq, good.commit(seq, 0)),
            _ => (seq, odd[usize::try_from(seq).unwrap() % 20].commit(seq, 0)),
        })
        .collect();
    let relay = Relay::of(frames).await;
    let (directory, sink) = (Documents::of(odd.iter().chain([&good])), Collected::new());
    let clock = Clock::stopped_at(WRITTEN_MS).watched();
    clock.judge(WRITTEN_MS, Standing::Confirmed);
    let options = Options { clock: clock.clone(), ..options(&relay) };
    let (_dir, store) = store();
    let ingest = start(options, &store, &directory, &sink);
    until("all applied", || sink.seq() == Some(41)).await;
    let status = ingest.status().remove(0);
    assert_eq!((status.dropped["rev-future"], status.reconnects), (40, 0));
    assert_eq!(sink.events().len(), 1);
    ingest.stop().await;
}

#[tokio::test]
async fn an_account_from_the_future_is_refused_by_itself() {
    let mut accounts: Vec<Account> =
        (0..20).map(|n| Account::new(&format!("did:plc:a{n}"))).collect();
    let mut odd = Account::ahead("did:plc:odd", 2 * u64::try_from(HOUR_MS).unwrap());
    let frames: Vec<_> = (1..=200)
        .map(|seq| match seq {
            3 | 100 => (seq, odd.commit(seq, 0)),
            _ => (seq, accounts[usize::try_from(seq).unwrap() % 20].commit(seq, 0)),
        })
        .collect();
    let relay = Relay::of(frames).await;
    let (directory, sink) = (Documents::of(accounts.iter().chain([&odd])), Collected::new());
    let options = Options { clock: Clock::stopped_at(WRITTEN_MS), ..options(&relay) };
    let (_dir, store) = store();
    let ingest = start(options, &store, &directory, &sink);
    until("all applied", || sink.seq() == Some(200)).await;
    let status = ingest.status().remove(0);
    assert_eq!((status.dropped["rev-future"], status.reconnects), (2, 0));
    assert_eq!(sink.events().len(), 198);
    ingest.stop().await;
}
