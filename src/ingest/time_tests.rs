//! Which time and place an event gets from its frame.

use bytes::Bytes;
use serde_json::json;

use super::Options;
use super::testing::*;
use crate::event::{Body, Event, HostingStatus, Upstream};
use crate::repo::dag_cbor::from_json;
use crate::syntax::datetime::{format_ms, parse_strict};
use crate::threads::Clock;

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
    let (_dir, store) = store();
    let ingest = start(options(&relay), &store, &directory, &sink);
    until("confirmed", || !sink.aside.lock().is_empty()).await;
    let claim = sink.events().remove(0);
    let answer = sink.aside.lock()[0].clone();
    assert!(matches!(claim.body, Body::Claimed(HostingStatus::Deleted, _)));
    assert!(matches!(answer.body, Body::Unanswered));
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
