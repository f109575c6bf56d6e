//! The sender over a filled store, with a clock that stands still and a network that answers what a test says.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::rules::{PushVerdict, judge};
use super::sender::{CommunityGate, Push, PushParts, PushSettings};
use super::transport::{Transport, Via};
use super::vapid::VapidKey;
use crate::hydrate::graph::MODLIST;
use crate::hydrate::testing::{Fixture, NOW, seen_by};
use crate::hydrate::{
    AccountStatus, ActorId, NotifRow, PostId, Reason, RecordId, Target, post_flags,
};
use crate::net::{NetError, Response};
use crate::private::registrations::{self, Platform, Registration};
use crate::private::{self, Kind, Mute, community};
use crate::schema::rows::EdgeKind;
use crate::schema::{Edit, Rows, collections};
use crate::store::Ks;
use crate::syntax::Did;
use crate::threads::{Clock, Standing};
use crate::work::pushes::{self, ENDPOINT, PushJob};

const HOOK: &str = "https://hook.example/push";
const UP: &str = "https://up.example/me";

type Answer = dyn Fn(&str) -> Option<(u16, &'static str)> + Send + Sync;

/// One request as it went out.
#[derive(Debug, Clone)]
struct Sent {
    via: Via,
    url: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Sent {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Status and `Retry-After` by URL; `None` hangs for ever.
struct Net {
    answer: Mutex<Box<Answer>>,
    sent: Mutex<Vec<Sent>>,
}

impl Transport for Net {
    fn post<'a>(
        &'a self,
        via: Via,
        url: &'a str,
        headers: &'a HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'a, Result<Response, NetError>> {
        self.sent.lock().push(Sent { via, url: url.to_owned(), headers: headers.clone(), body });
        let answer = (self.answer.lock())(url);
        Box::pin(async move {
            let Some((status, retry)) = answer else { return std::future::pending().await };
            if status == 0 {
                return Err(NetError::Connect("refused".into()));
            }
            let mut headers = HeaderMap::new();
            if !retry.is_empty() {
                headers.insert("retry-after", retry.parse().unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            Ok(Response { status, headers, body: Bytes::new() })
        })
    }
}

struct World {
    f: Fixture,
    me: ActorId,
    other: ActorId,
    labeler: ActorId,
    post: PostId,
    clock: Clock,
    net: Arc<Net>,
    key: Arc<VapidKey>,
    per_minute: u32,
    /// Who belongs to the community, if there is one.
    inside: Option<Vec<String>>,
}

struct Inside(Vec<String>);

impl CommunityGate for Inside {
    fn admits<'a>(&'a self, did: &'a Did) -> BoxFuture<'a, bool> {
        Box::pin(async move { self.0.iter().any(|member| member == did.as_str()) })
    }
}

impl World {
    fn new() -> Self {
        let f = Fixture::new();
        let [me, other, labeler] = ["me", "other", "labeler"].map(|n| f.account(n));
        let post = f.post(me, NOW - 5000, json!({ "text": " my post " }));
        let net = Net { answer: Mutex::new(Box::new(|_| Some((200, "")))), sent: Mutex::default() };
        Self {
            f,
            me,
            other,
            labeler,
            post,
            clock: Clock::stopped_at(NOW),
            net: Arc::new(net),
            key: Arc::new(VapidKey::from_pem(&VapidKey::generate_pem().unwrap()).unwrap()),
            per_minute: 60,
            inside: None,
        }
    }

    fn sender(&self) -> Push {
        Push::new(PushParts {
            store: self.f.store.clone(),
            private: private::Private::new(self.f.writer.clone(), Arc::new(())),
            hydration: Arc::clone(&self.f.shared),
            labelers: Box::new(Vec::new),
            community: self.inside.clone().map(|members| Arc::new(Inside(members)) as _),
            settings: PushSettings {
                endpoint: Some((HOOK.into(), "secret".into())),
                per_minute: self.per_minute,
                contact: "https://appview.example".into(),
            },
            key: Arc::clone(&self.key),
            transport: Arc::clone(&self.net) as Arc<dyn Transport>,
            clock: self.clock.clone(),
        })
    }

    fn answer(&self, f: impl Fn(&str) -> Option<(u16, &'static str)> + Send + Sync + 'static) {
        *self.net.answer.lock() = Box::new(f);
    }

    fn at(&self, ms: i64) {
        self.clock.set(ms);
    }

    /// One pass, and the end of the deliveries that it started.
    fn pass(&self, push: &mut Push) -> Option<i64> {
        self.f.wait(async {
            let next = push.pass().await.unwrap();
            push.drain().await;
            next
        })
    }

    fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.net.sent.lock())
    }

    fn jobs(&self) -> Vec<PushJob> {
        pushes::due(&self.f.snapshot(), i64::MAX, 10_000).unwrap().items
    }

    fn register(&self, token: &str) -> Registration {
        let new = Registration {
            at: NOW,
            platform: Platform::Web,
            app_id: "app.example".into(),
            token: token.into(),
            age_restricted: false,
        };
        let (me, held) = (self.me, new.clone());
        self.f.write(move |tx| private::testing::register(tx, me, &held));
        new
    }

    /// A like of my post with its notification.
    fn like(&self) -> NotifRow {
        let target = Target::Post(self.post);
        let rkey = self.f.edge(EdgeKind::Like, self.other, target, NOW - 1000);
        let (reason, subject) = (Reason::Like, Some(target));
        self.notif(NotifRow { sort: NOW - 1000, author: self.other, reason, rkey, subject })
    }

    fn notif(&self, row: NotifRow) -> NotifRow {
        let me = self.me;
        self.f.write(move |tx| {
            tx.put(Ks::Notif, &row.key(me), &row.encode());
            Ok(())
        });
        row
    }

    fn job(&self, row: &NotifRow, due: i64, to: registrations::RegistrationId) {
        let job = PushJob::new(due, to, self.me, row);
        self.f.write(move |tx| pushes::put(tx, job));
    }

    fn judge(&self, row: &NotifRow) -> PushVerdict {
        let mut ctx = seen_by(Some(self.me));
        ctx.labelers = [(self.labeler, true)].into_iter().collect();
        self.f.hydrate(&ctx, |h| judge(&h, self.me, &row.key(self.me)).unwrap())
    }
}

#[test]
fn a_notification_is_sent_once_when_its_delay_is_over() {
    let w = World::new();
    let mut push = w.sender();
    w.register("device-token");
    w.register(UP);
    w.job(&w.like(), NOW + 21_000, ENDPOINT);
    let next = w.pass(&mut push);
    assert!(w.sent().is_empty() && next == Some(NOW + 21_000), "{next:?}");
    w.at(NOW + 21_000);
    w.pass(&mut push);
    let sent = w.sent();
    let [one] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((one.via, one.url.as_str()), (Via::Configured, HOOK));
    let body = one.json();
    let id = body["id"].as_str().unwrap();
    assert_eq!((id.len(), one.headers["idempotency-key"].to_str().unwrap()), (32, id));
    let uri = w.f.snapshot().post_uri(w.post).unwrap();
    let expect = json!({
        "id": id, "recipient": "did:plc:me", "reason": "like", "subject": uri, "text": "my post",
        "author": { "did": "did:plc:other", "handle": "other.test", "displayName": "OTHER" },
        "uri": body["uri"], "title": "OTHER liked your post", "body": "my post",
        "createdAt": "2023-11-14T22:13:19.000Z",
        // Not the one that is served from here.
        "registrations": [{
            "platform": "web", "appId": "app.example", "token": "device-token", "ageRestricted": false,
        }],
    });
    assert_eq!(body, expect);
    assert!(body["uri"].as_str().unwrap().starts_with("at://did:plc:other/app.bsky.feed.like/"));
    let signature = one.headers["aerie-signature"].to_str().unwrap();
    let (time, mac) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert_eq!(time, "1700000021");
    let signed = [time.as_bytes(), b".", &one.body].concat();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret");
    let mac = data_encoding::HEXLOWER.decode(mac.as_bytes()).unwrap();
    ring::hmac::verify(&key, &signed, &mac).unwrap();

    assert!(w.jobs().is_empty());
    assert_eq!(pushes::watermark(&w.f.snapshot()).unwrap(), NOW + 21_000);
    w.at(NOW + 100_000);
    assert_eq!(w.pass(&mut push), None);
    assert!(w.sent().is_empty());
}

#[test]
fn a_wrong_clock_lets_messages_wait_and_drops_none() {
    let years = 3650 * 86_400_000;
    let mut w = World::new();
    w.clock = w.clock.clone().watched();
    w.clock.judge(NOW, Standing::Confirmed);
    let mut push = w.sender();
    w.register("device-token");
    let row = w.like();
    w.job(&row, NOW, ENDPOINT);
    w.at(NOW + years);
    assert_eq!(w.pass(&mut push), Some(NOW + years + 5000));
    w.clock.judge(NOW + years, Standing::Doubted);
    w.pass(&mut push);
    assert_eq!((w.sent().len(), w.jobs().len()), (0, 1), "all are too old by it");
    // Believed for a while, it gives times that are far off.
    let job = w.jobs().remove(0);
    w.f.write(move |tx| {
        pushes::remove(tx, job);
        Ok(())
    });
    w.clock.judge(NOW + years, Standing::Unopposed);
    w.pass(&mut push);
    w.job(&row, NOW + years + 1000, ENDPOINT);
    w.at(NOW);
    w.clock.judge(NOW, Standing::Confirmed);
    w.pass(&mut push);
    assert_eq!((w.sent().len(), w.jobs().len()), (1, 0));
}

#[test]
fn what_was_taken_back_is_not_sent() {
    let w = World::new();
    let mut push = w.sender();
    let row = w.like();
    w.job(&row, NOW, ENDPOINT);
    let key = row.key(w.me);
    w.f.write(move |tx| {
        tx.del(Ks::Notif, &key);
        Ok(())
    });
    w.pass(&mut push);
    assert!(w.sent().is_empty() && w.jobs().is_empty());
}

#[test]
fn tries_are_repeated_until_one_is_taken() {
    let w = World::new();
    let mut push = w.sender();
    w.job(&w.like(), NOW, ENDPOINT);
    let mut ids = Vec::new();
    for (status, retry) in [(500, ""), (0, ""), (429, "600"), (204, "")] {
        w.answer(move |_| Some((status, retry)));
        w.pass(&mut push);
        let sent = w.sent();
        assert_eq!(sent.len(), 1, "{status}");
        ids.extend(sent.iter().map(|s| s.json()["id"].clone()));
        let Some(job) = w.jobs().pop() else { break };
        let pause = job.due - w.clock.now_ms();
        let expect = match job.tries {
            1 => 7_000..=8_750,
            2 => 21_000..=26_250,
            _ => 600_000..=600_000,
        };
        assert!(expect.contains(&pause) && job.born == NOW, "{job:?}");
        // Not a moment sooner.
        w.at(job.due - 1);
        w.pass(&mut push);
        assert!(w.sent().is_empty());
        w.at(job.due);
    }
    assert_eq!((ids.len(), w.jobs()), (4, vec![]));
    assert!(ids.windows(2).all(|two| two[0] == two[1]), "{ids:?}");
}

#[test]
fn after_a_day_it_is_given_up() {
    let w = World::new();
    let mut push = w.sender();
    w.job(&w.like(), NOW, ENDPOINT);
    w.answer(|_| Some((503, "")));
    let mut tries = 0;
    while let Some(job) = w.jobs().pop() {
        w.at(job.due);
        w.pass(&mut push);
        tries += w.sent().len();
        assert!(tries <= 10);
    }
    assert_eq!(tries, 10);
    assert!(w.clock.now_ms() > NOW + 18 * 3_600_000);
}

#[test]
fn what_was_not_answered_before_a_crash_is_sent_again_under_the_same_id() {
    let w = World::new();
    w.job(&w.like(), NOW, ENDPOINT);
    w.answer(|_| None);
    let mut push = w.sender();
    w.f.wait(async {
        push.pass().await.unwrap();
        while w.net.sent.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        // A second pass does not start it again.
        push.pass().await.unwrap();
        tokio::task::yield_now().await;
    });
    drop(push);
    let first = w.sent();
    w.answer(|_| Some((200, "")));
    w.pass(&mut w.sender());
    let second = w.sent();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(first[0].json()["id"], second[0].json()["id"]);
    assert!(w.jobs().is_empty());
}

#[test]
fn a_dead_destination_holds_up_nothing_but_its_own() {
    let w = World::new();
    let (dead, good) = (w.register("https://dead.example/a"), w.register(UP));
    let row = w.like();
    let (me, to) = (w.me, dead.id());
    w.f.write(move |tx| {
        for n in 0..1200 {
            let row = NotifRow { sort: row.sort - n, ..row };
            tx.put(Ks::Notif, &row.key(me), &row.encode());
            pushes::put(tx, PushJob::new(NOW - 1200 + n, to, me, &row))?;
        }
        Ok(())
    });
    w.job(&row, NOW, good.id());
    w.answer(|url| Some((if url == UP { 200 } else { 0 }, "")));
    let mut push = w.sender();
    let mut passes = 0;
    while !w.net.sent.lock().iter().any(|s| s.url == UP) {
        w.pass(&mut push);
        passes += 1;
        assert!(passes < 10);
    }
    let sent = w.sent();
    assert!(sent.len() < 10, "{} requests", sent.len());
    let left = w.jobs();
    assert!(left.len() >= 1190 && left.iter().all(|j| j.to == dead.id()), "{}", left.len());
}

#[test]
fn a_subscription_that_ended_is_forgotten() {
    let w = World::new();
    let (gone, kept) = (w.register("https://gone.example/a"), w.register(UP));
    let row = w.like();
    w.job(&row, NOW, gone.id());
    w.job(&row, NOW, kept.id());
    w.answer(|url| Some((if url == UP { 201 } else { 410 }, "")));
    let mut push = w.sender();
    w.pass(&mut push);
    let sent = w.sent();
    assert_eq!(sent.len(), 2);
    let up = sent.iter().find(|s| s.url == UP).unwrap();
    assert_eq!((up.via, &up.headers["ttl"]), (Via::Guarded, &"86400".parse().unwrap()));
    assert!(up.headers["authorization"].to_str().unwrap().starts_with("vapid t="));
    assert_eq!(up.json().get("registrations"), None);
    let left = registrations::all(&w.f.snapshot(), w.me).unwrap();
    assert_eq!((left, w.jobs()), (vec![kept], vec![]));
    // A job that was under way before has nowhere to go.
    w.job(&row, NOW, gone.id());
    w.pass(&mut push);
    assert!(w.sent().is_empty() && w.jobs().is_empty());
}

#[test]
fn a_recipient_gets_so_many_a_minute() {
    let mut w = World::new();
    w.per_minute = 2;
    let mut push = w.sender();
    let row = w.like();
    for minute in 0..2 {
        for n in 0..4 {
            w.at(NOW + minute * 60_000 + n);
            w.job(&row, NOW + minute * 60_000 + n, ENDPOINT);
            w.pass(&mut push);
        }
        assert_eq!((w.sent().len(), w.jobs()), (2, vec![]), "{minute}");
    }
}

type Case = (&'static str, fn(&World) -> NotifRow, Option<&'static str>);

fn reply(w: &World, flags: u16) -> NotifRow {
    let root = w.f.post(w.me, NOW - 4000, json!({ "testFlags": flags }));
    let reply = w.f.reply(w.other, NOW - 900, root, root);
    let subject = Some(Target::Post(root));
    let row = NotifRow {
        sort: NOW - 900,
        author: w.other,
        reason: Reason::Reply,
        rkey: reply.rkey,
        subject,
    };
    w.notif(row)
}

fn mute(w: &World, scope: Mute) {
    let (me, other) = (w.me, w.other);
    w.f.write(move |tx| private::testing::put_mute(tx, me, other, scope));
}

fn preferences(w: &World, value: Value) {
    let me = w.me;
    w.f.write(move |tx| {
        private::testing::put_preferences(tx, me, &value.to_string());
        Ok(())
    });
}

fn put(w: &World, kind: Kind, subject: Option<Target>) {
    let me = w.me;
    w.f.write(move |tx| private::testing::put(tx, kind, me, subject, NOW));
}

fn list_block(w: &World, by: ActorId, of: ActorId) {
    let list = w.f.list(by, "mods", MODLIST, &[of]);
    let uri = w.f.snapshot().uri(list).unwrap();
    let block = json!({
        "$type": "app.bsky.graph.listblock", "subject": uri, "createdAt": "2023-05-01T00:00:00.000Z",
    });
    w.f.record(by, "app.bsky.graph.listblock", "lb", block);
}

fn review(w: &World, target: Target) {
    w.f.label(w.labeler, target, "needs-review");
}

/// What is done before, and why that keeps the notification back.
#[rustfmt::skip]
const CASES: &[Case] = &[
    ("plain like", |w| w.like(), None),
    ("plain reply", |w| reply(w, 0), None),
    ("recipient deactivated", |w| { w.f.update(w.me, |a| a.status = AccountStatus::Deactivated); w.like() }, Some("inactive-recipient")),
    ("recipient taken down", |w| { w.f.take_down(Target::Actor(w.me)); w.like() }, Some("inactive-recipient")),
    ("author taken down", |w| { w.f.take_down(Target::Actor(w.other)); w.like() }, Some("unavailable")),
    ("author deactivated", |w| { w.f.update(w.other, |a| a.status = AccountStatus::Deactivated); w.like() }, Some("unavailable")),
    ("author suspended", |w| { w.f.update(w.other, |a| a.status = AccountStatus::Suspended); w.like() }, Some("unavailable")),
    ("record taken down", |w| { let row = w.like(); w.f.take_down(Target::of(row.record())); row }, Some("unavailable")),
    ("reply taken down", |w| { let row = reply(w, 0); w.f.take_down(Target::of(row.record())); row }, Some("unavailable")),
    ("reply taken down by label", |w| { let row = reply(w, 0); w.f.label(w.labeler, Target::of(row.record()), "!takedown"); row }, Some("unavailable")),
    ("subject deleted", |w| { let key = w.post.to_bytes(); w.f.write(move |tx| { tx.del(Ks::Post, &key); Ok(()) }); w.like() }, Some("subject-gone")),
    ("I block", |w| { w.f.block(w.me, w.other); w.like() }, Some("block")),
    ("blocks me", |w| { w.f.block(w.other, w.me); w.like() }, Some("block")),
    ("I block by list", |w| { list_block(w, w.me, w.other); w.like() }, Some("block")),
    ("blocks me by list", |w| { list_block(w, w.other, w.me); w.like() }, Some("block")),
    ("muted", |w| { mute(w, Mute { at: NOW, ..Mute::default() }); w.like() }, Some("mute")),
    ("reposts muted", |w| { mute(w, Mute { at: NOW, only_reposts: true, ..Mute::default() }); w.like() }, None),
    ("muted by list", |w| { w.f.mute_list(w.me, w.f.list(w.me, "mods", MODLIST, &[w.other])); w.like() }, Some("mute")),
    ("thread muted", |w| { put(w, Kind::MutedThread, Some(Target::Post(w.post))); w.like() }, Some("thread-mute")),
    ("another thread muted", |w| { put(w, Kind::MutedThread, Some(Target::Post(w.post))); reply(w, 0) }, None),
    ("author needs review", |w| { review(w, Target::Actor(w.other)); w.like() }, Some("needs-review")),
    ("followed author needs review", |w| { review(w, Target::Actor(w.other)); w.f.follow(w.me, w.other); w.like() }, None),
    ("reply needs review", |w| { let row = reply(w, 0); review(w, Target::of(row.record())); row }, Some("needs-review")),
    ("likes off", |w| { preferences(w, json!({ "like": { "push": false } })); w.like() }, Some("preferences")),
    ("list off, push on", |w| { preferences(w, json!({ "like": { "list": false, "push": true } })); w.like() }, None),
    ("likes of replies off", |w| { preferences(w, json!({ "reply": { "push": false } })); w.like() }, None),
    ("only of followed", |w| { preferences(w, json!({ "like": { "include": "follows" } })); w.like() }, Some("preferences")),
    ("only of followed, and is", |w| { preferences(w, json!({ "like": { "include": "follows" } })); w.f.follow(w.me, w.other); w.like() }, None),
    ("priority", |w| { put(w, Kind::Priority, None); w.like() }, Some("preferences")),
    ("priority, and is followed", |w| { put(w, Kind::Priority, None); w.f.follow(w.me, w.other); w.like() }, None),
    ("reply hidden by my gate", |w| {
        let row = reply(w, post_flags::HAS_THREADGATE);
        let s = w.f.snapshot();
        let Some(Target::Post(root)) = row.subject else { panic!() };
        let (root_uri, uri) = (s.post_uri(root).unwrap(), s.uri(row.record()).unwrap());
        let gate = json!({
            "$type": "app.bsky.feed.threadgate", "post": root_uri, "hiddenReplies": [uri],
            "createdAt": "2023-05-01T00:00:00.000Z",
        });
        w.f.record(w.me, "app.bsky.feed.threadgate", root_uri.rsplit('/').next().unwrap(), gate);
        row
    }, Some("hidden-reply")),
];

#[test]
fn rules_and_preferences_keep_notifications_back() {
    for (name, prepare, expect) in CASES {
        let w = World::new();
        let row = prepare(&w);
        let cause = match w.judge(&row) {
            PushVerdict::Push(_) => None,
            PushVerdict::Suppress(cause) => Some(cause),
        };
        assert_eq!(cause, *expect, "{name}");
    }
}

#[test]
fn every_reason_has_words() {
    let w = World::new();
    let like = w.like();
    let follow = w.f.follow(w.other, w.me);
    let theirs = w.f.post(w.other, NOW - 800, json!({ "text": "x".repeat(300) }));
    let repost = w.f.repost(w.other, w.post, NOW - 700);
    let row = |reason, rkey, subject| {
        w.notif(NotifRow { sort: NOW - 700, author: w.other, reason, rkey, subject })
    };
    let mine = Some(Target::Post(w.post));
    let my_repost = Some(Target::Record(RecordId {
        actor: w.me,
        coll: collections::REPOST,
        rkey: w.f.repost(w.me, theirs, NOW - 600).rkey,
    }));
    let cut = format!("{}…", "x".repeat(200));
    for (row, title, body) in [
        (like, "liked your post", "my post"),
        (row(Reason::Repost, repost.rkey, mine), "reposted your post", "my post"),
        (row(Reason::Follow, follow, Some(Target::Actor(w.me))), "followed you", ""),
        (row(Reason::Mention, theirs.rkey, None), "mentioned you", cut.as_str()),
        (row(Reason::Quote, theirs.rkey, mine), "quoted your post", &cut),
        (row(Reason::Reply, theirs.rkey, mine), "replied to you", &cut),
        (row(Reason::SubscribedPost, theirs.rkey, None), "posted", &cut),
        (row(Reason::LikeViaRepost, like.rkey, my_repost), "liked a post that you reposted", ""),
        (row(Reason::Unverified, like.rkey, None), "took back their verification of you", ""),
    ] {
        let PushVerdict::Push(message) = w.judge(&row) else { panic!("{row:?}") };
        let sent: Value = serde_json::from_slice(&message.to_endpoint(&[])).unwrap();
        assert_eq!(sent["reason"], row.reason.name());
        assert_eq!(sent["title"], format!("OTHER {title}"));
        assert_eq!(sent["body"], body, "{title}");
        for limit in [4000, 600, 500] {
            let short = message.to_device(limit).unwrap();
            assert!(short.len() <= limit);
            let short: Value = serde_json::from_slice(&short).unwrap();
            assert_eq!((&short["id"], &short["title"]), (&sent["id"], &sent["title"]));
        }
        assert_eq!(message.to_device(100), None);
    }
}

#[test]
fn what_is_about_the_community_goes_to_those_inside() {
    for (inside, sent) in [
        (None, false),
        (Some(vec![]), false),
        (Some(vec!["did:plc:other".to_owned()]), false),
        (Some(vec!["did:plc:me".to_owned()]), true),
    ] {
        let mut w = World::new();
        w.inside.clone_from(&inside);
        let uri = "at://did:plc:me/community.blacksky.feed.post/3kaaaaaaaaa2a";
        let post = w.f.write(move |tx| {
            let Some(Target::Post(post)) = tx.intern_target(uri)? else { panic!() };
            let input = json!({ "text": "for us", "createdAt": "2023-11-14T22:13:20.000Z" });
            let new = community::NewPost::read(&crate::repo::dag_cbor::from_json(&input)).unwrap();
            private::testing::community_post(tx, post, &new, NOW)?;
            Ok(post)
        });
        let rkey = w.f.edge(EdgeKind::Like, w.other, Target::Post(post), NOW - 2000);
        let (reason, subject) = (Reason::Like, Some(Target::Post(post)));
        let row = NotifRow { sort: NOW - 2000, author: w.other, reason, rkey, subject };
        w.job(&w.notif(row), NOW, ENDPOINT);
        // Of the network: never asked.
        w.job(&w.like(), NOW, ENDPOINT);
        let mut push = w.sender();
        // The first to a destination that is not known goes alone.
        for _ in 0..3 {
            w.pass(&mut push);
        }
        let messages: Vec<_> = w.sent().iter().map(Sent::json).collect();
        let texts: Vec<_> = messages.iter().map(|message| message["text"].clone()).collect();
        assert!(messages.len() < 2 || messages[0]["id"] != messages[1]["id"]);
        assert_eq!(texts.contains(&json!("for us")), sent, "{inside:?}");
        assert!(texts.contains(&json!("my post")) && w.jobs().is_empty(), "{inside:?}");
    }
}

#[test]
fn what_is_a_day_old_is_not_sent() {
    let day = 24 * 60 * 60 * 1000;
    for (age, sent) in [(day, 1), (day + 1, 0)] {
        let w = World::new();
        w.job(&w.like(), NOW, ENDPOINT);
        w.at(NOW + age);
        w.pass(&mut w.sender());
        assert_eq!((w.sent().len(), w.jobs().len()), (sent, 0), "{age}");
    }
}

#[test]
fn what_is_under_way_is_not_started_again() {
    let w = World::new();
    w.job(&w.like(), NOW, ENDPOINT);
    let mut push = w.sender();
    w.pass(&mut push);
    assert_eq!(w.sent().len(), 1, "the destination is known to answer");
    w.answer(|_| None);
    w.job(&w.like(), NOW, ENDPOINT);
    for _ in 0..3 {
        w.f.wait(push.pass()).unwrap();
        w.f.wait(tokio::task::yield_now());
    }
    assert_eq!((w.sent().len(), w.jobs().len()), (1, 1));
}

#[test]
fn a_retry_is_no_further_notification() {
    let mut w = World::new();
    w.per_minute = 1;
    w.job(&w.like(), NOW, ENDPOINT);
    let mut push = w.sender();
    w.answer(|_| Some((500, "")));
    w.pass(&mut push);
    w.answer(|_| Some((200, "")));
    w.at(NOW + 9_000);
    w.pass(&mut push);
    assert_eq!((w.sent().len(), w.jobs().len()), (2, 0));
}
