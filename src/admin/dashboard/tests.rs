//! What the page says, to whom, and what its forms ask.

use futures_util::FutureExt as _;
use parking_lot::Mutex as Lock;

use super::*;
use crate::config;
use crate::login::{Door, Login};
use crate::private::Private;
use crate::private::testing::Bench;

fn status() -> Value {
    json!({
        "version": "0.1.0", "uptime_s": 90061, "ingest": "stopped: paused by the operator", "members": 1, "pending": 2,
        "parts": [{"name": "push", "state": "restarting", "restarts": 2, "last_error": "panic: <b>"}],
        "upstreams": [{"url": "wss://r.example", "kind": "firehose", "connected": false, "seq": 7, "lag_ms": 2500,
            "trouble": "not reached", "last_error": "refused", "events_per_s": 1234.5, "queue_bytes": 2_000_000, "reconnects": 3,
            "dropped": {"bad-signature": 4},
            "samples": [{"cause": "bad-signature", "did": "did:plc:<i>", "seq": 6, "time": 1_767_225_600_000_i64}]}],
        "labelers": [{"did": "did:plc:l", "connected": true, "seq": 1, "last_error": null}],
        "memory": {"resident": 3_000_000, "peak": 4_000_000, "shares": [
            {"name": "fetches", "bytes": 40_000_000, "held": 2_000_000}, {"name": "names", "bytes": 900, "held": null}]},
        "disk": {"used": 1500, "free": 5, "reserve": 1, "fall_per_day": 2_000_000, "days_left": 3.2, "step": "warn", "advice": "make room"},
        "store": {"rows": {"post_1": 1_234_567}, "bytes": {"post_1": 900}, "commit_mean_us": 1500, "waiting": 1},
        "resync": {"done": 5, "repos_left": 6, "paused": true, "parked": 1, "parked_by_cause": {"host": 1}},
        "scope": {"mode": "window", "days": 30, "members": 1, "followed": 90,
            "planned": {"ended": 1_767_225_600_000_i64, "freed": 2000, "used_before": 5000}},
        "search": {"state": "ready", "posts": 12, "actors": 3, "segments": 2},
        "counters": {"limits.refused": {"logins": 9}},
    })
}

/// A dashboard, and what its commands were asked.
fn dashboard() -> (Dashboard, Arc<Lock<Vec<Value>>>) {
    let asked: Arc<Lock<Vec<Value>>> = Arc::default();
    let heard = Arc::clone(&asked);
    let commands: Arc<Handler> = Arc::new(move |request| {
        let request = serde_json::to_value(request).unwrap();
        heard.lock().push(request.clone());
        async move {
            match request["command"].as_str().unwrap() {
                "member.list" => Ok(json!({ "members": [{"did": "did:plc:m", "handle": "m.example", "follows": 7}] })),
                "repo.resync" => match request["repos"][0].as_str().unwrap() {
                    "nobody" => Ok(json!({ "added": 0, "gone": 0, "unusable": ["nobody: no such account"] })),
                    "gone" => Ok(json!({ "added": 0, "gone": 1, "unusable": [] })),
                    _ => Ok(json!({ "added": 1, "gone": 0, "unusable": [] })),
                },
                "ingest.reconnect" => Err("that is no upstream".to_owned()),
                _ => Ok(json!({})),
            }
        }
        .boxed()
    });
    let env = vec![
        ("AERIE_ADMIN__PASSWORD".to_owned(), "hunter2".to_owned()),
        ("AERIE_SERVER__PUBLIC_URL".to_owned(), "https://a.example".to_owned()),
    ];
    let config = config::load(&config::Sources { file: None, env }).unwrap();
    let samples = Arc::<Samples>::default();
    samples.take("wss://r.example", 100.0, Some(1000), 1_767_225_600_000);
    let sources = Sources {
        status: Box::new(status),
        samples,
        callers: Arc::default(),
        clock: Clock::stopped_at(1_767_225_600_000),
        url: "https://a.example".to_owned(),
    };
    (Dashboard::new(sources, commands, &config), asked)
}

async fn visitor(role: Role) -> Visitor {
    let b = Bench::new();
    let door = Door::load(&b.snapshot()).unwrap();
    let private = Private::new(b.writer.clone(), Arc::new(door.clone()));
    let login = Login::new(door, private, Clock::stopped_at(0));
    let secret = login.enter(role, "password").await.unwrap();
    login.visitor(&secret).unwrap()
}

#[tokio::test]
async fn the_page_says_how_the_server_is_and_nothing_that_is_secret() {
    let (dashboard, _) = dashboard();
    let page = dashboard.page(&visitor(Role::Admin).await).await;
    for part in [
        "paused by the operator",
        "1,234",
        "2.5 s",
        "Trouble: not reached",
        "at most 100 events a second",
        "bad-signature",
        "did:plc:&lt;i&gt;",
        "restarting",
        "panic: &lt;b&gt;",
        "2.0 MB",
        "counted, not weighed",
        "3 days",
        "make room",
        "1,234,567",
        "60 %",
        "40 %",
        "Paused: only resyncs begin",
        "90 accounts that they follow",
        "would free about 2.0 kB",
        "12 posts",
        "limits.refused logins",
        "m.example",
        "admin.password",
        "AERIE_ADMIN__PASSWORD",
        "Reload",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("hunter2") && !page.contains("<i>") && !page.contains("style="));
    let ids: Vec<&str> =
        page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let once: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), once.len(), "{ids:?}");
    for section in SECTIONS {
        assert!(once.contains(section.place), "{}", section.place);
    }
}

#[tokio::test]
async fn who_may_only_look_is_shown_no_actions() {
    let (dashboard, _) = dashboard();
    let page = dashboard.page(&visitor(Role::Viewer).await).await;
    assert!(page.contains("Upstreams") && !page.contains("/admin/do/"), "{page}");
}

#[tokio::test]
async fn actions_are_the_commands_of_the_shell() {
    let (dashboard, asked) = dashboard();
    let page = dashboard.page(&visitor(Role::Admin).await).await;
    let offered =
        page.split("action=\"/admin/do/").skip(1).filter_map(|rest| rest.split('"').next());
    let mut offered: Vec<&str> = offered.collect();
    offered.sort_unstable();
    assert_eq!(offered, ["pause", "reconnect", "reload", "resume", "resync", "retention-plan"]);
    for action in offered {
        asked.lock().clear();
        let form = [
            ("repo".to_owned(), " a.example ".to_owned()),
            ("upstream".to_owned(), "wss://x".to_owned()),
        ];
        let done = dashboard.act(action, &form).await.unwrap();
        assert_eq!(done.is_ok(), action != "reconnect", "{action}: {done:?}");
        assert_eq!(asked.lock().len(), 1, "{action}");
    }
    assert!(dashboard.act("shutdown", &[]).await.is_none());
    for repo in ["nobody", "gone"] {
        let form = [("repo".to_owned(), repo.to_owned())];
        assert!(dashboard.act("resync", &form).await.unwrap().is_err(), "{repo}");
    }
}

#[tokio::test]
async fn what_all_see_is_made_once() {
    let (dashboard, _) = dashboard();
    let (one, other) = (dashboard.now().await, dashboard.now().await);
    assert!(Arc::ptr_eq(&one, &other));
    dashboard.act("pause", &[]).await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&one, &dashboard.now().await), "what an action did is seen at once");
}
