//! Private state from one store into another: as exported rows and as changes.

use serde_json::json;

use super::super::change::{Afterwards, Change};
use super::super::registrations::{self, MAX_PER_ACCOUNT, Platform, Registration};
use super::super::subscriptions::{self, Subscription};
use super::super::testing::{self, Bench, DID as ME, OTHER, a_draft};
use super::*;
use crate::private::{
    Access, Kind, Lets, Mute, Plan, Role, Takedown, access, bookmarks, community, drafts, members,
    mutes, opt_outs, preferences, priority, seen, tags_of_account, takedowns,
};
use crate::repo::dag_cbor;
use crate::schema::rows::{AccountStatus, ActorRow, actor_key};
use crate::schema::{Edit, Target};
use crate::store::Snapshot;

const POST: &str = "at://did:plc:you/app.bsky.feed.post/3kaaaaaaaaa2a";
const LIST: &str = "at://did:plc:you/app.bsky.graph.list/a-list";
const RKEY: &str = "3kaaaaaaaaa2a";

impl Bench {
    /// Puts lines in as the importer does, but for members.
    async fn import(&self, lines: &[String]) -> Vec<Restored> {
        let rows: Vec<Row> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for row in &rows {
            row.check().unwrap();
        }
        let private = self.private.clone();
        self.write(move |tx| import(&private, tx, &rows)).await
    }

    /// What a plan would change here, which stays undone.
    async fn plan<T: Send + 'static>(
        &self,
        plan: impl FnOnce(&Tx<'_>) -> Plan<T> + Send + 'static,
    ) -> (Vec<Change>, T) {
        self.write(move |tx| plan(tx)).await
    }
}

fn device() -> Registration {
    Registration {
        at: 11,
        platform: Platform::Ios,
        app_id: "app".into(),
        token: "token".into(),
        age_restricted: true,
    }
}

fn post() -> community::NewPost {
    let post = json!({ "text": "hi", "createdAt": "1970-01-01T00:00:00.012Z", "tags": ["t"] });
    community::NewPost::read(&dag_cbor::from_json(&post)).unwrap()
}

fn session() -> Access {
    let (lets, role) = (Lets::Session, Role::Admin);
    let [at, seen, until] = [16, 17, 18].map(Time);
    Access { hash: [7; 32], lets, role, name: "password".into(), at, seen, until }
}

fn down() -> Takedown {
    Takedown { at: 10, reference: "r".into() }
}

/// What puts a row of each kind in, by the plans that callers use.
fn everything(r: &Tx<'_>) -> Plan {
    let mut all = Vec::new();
    let mute = Mute { at: 1, only_reposts: true, ..Mute::default() };
    all.extend(mutes::mute_account(r, ME, OTHER, mute)?.0);
    all.extend(mutes::mute_record(r, ME, mutes::MutedRecord::List, LIST, 2)?.0);
    all.extend(mutes::mute_record(r, ME, mutes::MutedRecord::Thread, POST, 3)?.0);
    let to = Subscription { at: 4, post: true, reply: false };
    all.extend(subscriptions::subscribe(r, ME, OTHER, to)?.0);
    all.extend(seen::see(r, ME, 5)?.0);
    all.extend(members::join(r, ME, 6)?.0);
    all.extend(priority::set(r, ME, priority::Notifying::Followed, 7)?.0);
    all.push(preferences::save(ME, json!({ "like": { "list": false } })));
    all.extend(bookmarks::add(r, ME, POST, "cid", 8)?.0);
    all.extend(drafts::create(r, ME, a_draft("x"), 9, 9)?.0);
    all.extend(registrations::register(r, ME, &device())?.0);
    all.extend(community::submit(r, ME, RKEY, &post(), 13, 9)?.0);
    all.extend(takedowns::moderate(OTHER, Some(down()))?.0);
    all.extend(takedowns::moderate(LIST, Some(down()))?.0);
    all.push(takedowns::moderate_blob(OTHER, "blob", Some(down())));
    all.extend(access::open(r, session(), 16)?.0);
    all.extend(opt_outs::opt_out(r, OTHER, 14)?.0);
    Ok((all, ()))
}

/// What takes most of them away.
fn nothing_of_it(r: &Tx<'_>) -> Plan {
    let mut all = vec![
        mutes::unmute_account(ME, OTHER),
        mutes::unmute_record(ME, mutes::MutedRecord::List, LIST),
        mutes::unmute_record(ME, mutes::MutedRecord::Thread, POST),
        members::leave(ME),
        bookmarks::take_away(ME, POST),
        registrations::unregister(ME, &device().id()),
        takedowns::moderate_blob(OTHER, "blob", None),
    ];
    all.extend(access::close(r, &[session().hash])?.0);
    all.extend(subscriptions::subscribe(r, ME, OTHER, Subscription::default())?.0);
    all.extend(priority::set(r, ME, priority::Notifying::Everyone, 0)?.0);
    all.extend(takedowns::moderate(OTHER, None)?.0);
    all.extend(takedowns::moderate(LIST, None)?.0);
    let id = drafts::page(r, r.actor_id(ME)?.unwrap(), None, 1)?[0].0;
    all.push(drafts::delete(ME, id));
    let uri = format!("at://{ME}/community.blacksky.feed.post/{RKEY}");
    all.extend(community::delete(r, ME, &uri)?.0);
    all.extend(opt_outs::opt_in(r, OTHER, 15)?.0);
    Ok((all, ()))
}

/// The store has given its numbers to other names first, so that no two stores agree in them.
async fn other_numbers(b: &Bench) {
    for did in ["did:plc:one", OTHER, "did:plc:two", "did:plc:three"] {
        b.intern(did).await;
    }
    b.write(|tx| tx.intern_target("at://did:plc:two/a.b.c/key").map(drop)).await;
}

async fn filled() -> Bench {
    let b = Bench::new();
    b.change(everything).await;
    b
}

#[tokio::test]
async fn every_kind_of_row_goes_into_another_store_once() {
    let from = filled().await;
    let lines = from.lines();
    let mut tags = Vec::new();
    from.snapshot()
        .scan(Ks::Private, &[], None, false, &mut |k, _| {
            tags.push(k[0]);
            true
        })
        .unwrap();
    for tag in tags_of_account() {
        assert!(tags.contains(&tag), "{}", char::from(tag));
    }
    // Two rows each for a bookmark, a draft and a subscription, three for a community post.
    assert_eq!(lines.len(), tags.len() - 5);
    let expected = [
        r#"{"kind":"mute","viewer":"did:plc:me","subject":"did:plc:you","at":"1970-01-01T00:00:00.001Z","onlyReposts":true}"#,
        r#"{"kind":"list-mute","viewer":"did:plc:me","list":"at://did:plc:you/app.bsky.graph.list/a-list","at":"1970-01-01T00:00:00.002Z"}"#,
        r#"{"kind":"thread-mute","viewer":"did:plc:me","root":"at://did:plc:you/app.bsky.feed.post/3kaaaaaaaaa2a","at":"1970-01-01T00:00:00.003Z"}"#,
        r#"{"kind":"subscription","viewer":"did:plc:me","subject":"did:plc:you","at":"1970-01-01T00:00:00.004Z","post":true,"reply":false}"#,
        r#"{"kind":"seen","viewer":"did:plc:me","at":"1970-01-01T00:00:00.005Z"}"#,
        r#"{"kind":"member","viewer":"did:plc:me","at":"1970-01-01T00:00:00.006Z"}"#,
        r#"{"kind":"priority","viewer":"did:plc:me","at":"1970-01-01T00:00:00.007Z"}"#,
        r#"{"kind":"preferences","viewer":"did:plc:me","preferences":{"like":{"list":false}}}"#,
        r#"{"kind":"bookmark","viewer":"did:plc:me","uri":"at://did:plc:you/app.bsky.feed.post/3kaaaaaaaaa2a","cid":"cid","key":"22222222bu222"}"#,
        r#"{"kind":"draft","viewer":"did:plc:me","id":"22222222ctc22","createdAt":"1970-01-01T00:00:00.009Z","updatedAt":"1970-01-01T00:00:00.009Z","draft":{"posts":[{"text":"x"}]}}"#,
        r#"{"kind":"push","viewer":"did:plc:me","platform":"ios","appId":"app","token":"token","ageRestricted":true,"at":"1970-01-01T00:00:00.011Z"}"#,
        r#"{"kind":"community-post","viewer":"did:plc:me","rkey":"3kaaaaaaaaa2a","indexedAt":"1970-01-01T00:00:00.013Z","post":{"createdAt":"1970-01-01T00:00:00.012Z","tags":["t"],"text":"hi"}}"#,
        r#"{"kind":"takedown","subject":"did:plc:you","at":"1970-01-01T00:00:00.010Z","reference":"r"}"#,
        r#"{"kind":"opt-out","did":"did:plc:you","at":"1970-01-01T00:00:00.014Z"}"#,
        r#"{"kind":"blob-takedown","did":"did:plc:you","cid":"blob","at":"1970-01-01T00:00:00.010Z","reference":"r"}"#,
        r#"{"kind":"access","hash":"0707070707070707070707070707070707070707070707070707070707070707","lets":"session","role":"admin","name":"password","at":"1970-01-01T00:00:00.016Z","seen":"1970-01-01T00:00:00.017Z","until":"1970-01-01T00:00:00.018Z"}"#,
    ];
    for line in expected {
        assert!(lines.iter().any(|l| l == line), "{line} in {lines:#?}");
    }

    let to = Bench::new();
    other_numbers(&to).await;
    let done = to.import(&lines).await;
    let elsewhere = done.iter().filter(|r| **r == Restored::Joins).count();
    assert_eq!((done.len(), elsewhere), (17, 1));
    assert!(done.iter().all(|r| matches!(r, Restored::Written | Restored::Joins)));
    let mut here = from.sorted();
    here.retain(|line| !line.contains(r#""kind":"member""#));
    assert_eq!(to.sorted(), here);
    let restored = to.lines();
    let again = to.import(&lines).await;
    assert!(again.iter().all(|r| matches!(r, Restored::Kept | Restored::Joins)), "{again:?}");
    assert_eq!(to.lines(), restored);
}

#[tokio::test]
async fn a_change_means_the_same_in_any_store_once_or_twice() {
    let (planned, once, twice) = (filled().await, Bench::new(), Bench::new());
    let (changes, ()) = Bench::new().plan(everything).await;
    other_numbers(&twice).await;
    let mut kinds = std::collections::BTreeSet::new();
    let (gone, ()) = planned.plan(nothing_of_it).await;
    for change in changes.into_iter().chain(gone) {
        let json = serde_json::to_value(&change).unwrap();
        kinds.insert(
            json.pointer("/put/kind")
                .or(json.pointer("/gone/kind"))
                .cloned()
                .map_or(json.as_object().unwrap().keys().next().unwrap().clone(), |kind| {
                    kind.to_string()
                }),
        );
        let back: Change = serde_json::from_value(json).unwrap();
        assert_eq!(back, change);
        once.apply(std::slice::from_ref(&change)).await;
        twice.apply(std::slice::from_ref(&back)).await;
        assert_eq!(twice.sorted(), once.sorted(), "{change:?}");
        twice.apply(&[back]).await;
        assert_eq!(twice.sorted(), once.sorted(), "twice {change:?}");
        if matches!(change, Change::OptOut(_)) {
            assert_eq!(once.sorted(), planned.sorted());
        }
    }
    // The twelve kinds of an account, what is said about one, and what lets somebody in.
    assert_eq!(kinds.len(), 16, "{kinds:?}");
    let kind =
        |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].clone();
    let left: Vec<_> = once.lines().iter().map(kind).collect();
    assert_eq!(left, ["preferences", "seen"]);
    let counts = |b: &Bench| {
        let s = b.snapshot();
        let post = s.target(POST).unwrap().unwrap();
        s.agg(post).unwrap().get(crate::schema::rows::Counter::Bookmarks)
    };
    assert_eq!((counts(&once), counts(&twice)), (0, 0));
}

#[tokio::test]
async fn rules_that_look_first_are_the_plans() {
    let b = filled().await;
    // What is there keeps its time, its key, its id.
    b.change(|r| mutes::mute_account(r, ME, OTHER, Mute { at: 99, ..Mute::default() })).await;
    let plan = b.plan(|r| mutes::mute_record(r, ME, mutes::MutedRecord::List, LIST, 99)).await;
    assert_eq!(plan.0, []);
    assert_eq!(b.plan(|r| bookmarks::add(r, ME, POST, "later", 99)).await.0, []);
    assert_eq!(b.plan(|r| members::join(r, ME, 99)).await, (vec![], false));
    assert_eq!(b.plan(|r| seen::see(r, ME, 5)).await.0, []);
    assert_eq!(b.plan(|r| opt_outs::opt_out(r, OTHER, 99)).await, (vec![], false));
    // No more than the limit, whatever is applied.
    assert_eq!(b.plan(|r| drafts::create(r, ME, a_draft("y"), 99, 1)).await, (vec![], None));
    let submit = |r: &Tx<'_>| community::submit(r, ME, "3kaaaaaaaaa3a", &post(), 99, 1);
    assert_eq!(b.plan(submit).await, (vec![], false));
    let (more, _) = Bench::new().plan(|r| drafts::create(r, ME, a_draft("y"), 99, 1)).await;
    b.apply(&more).await;
    let numbered = |n: usize| Registration { at: 20, token: n.to_string(), ..device() };
    for n in 0..MAX_PER_ACCOUNT {
        let (more, ()) =
            Bench::new().plan(move |r| registrations::register(r, ME, &numbered(n))).await;
        b.apply(&more).await;
    }
    let lines = b.sorted();
    let of = |kind: &str| lines.iter().filter(|line| line.contains(kind)).count();
    assert_eq!((of(r#""kind":"draft""#), of(r#""kind":"push""#)), (2, MAX_PER_ACCOUNT + 1));
    let mute = r#"{"kind":"mute","viewer":"did:plc:me","subject":"did:plc:you","at":"1970-01-01T00:00:00.001Z"}"#;
    assert!(lines.iter().any(|line| line == mute), "{lines:#?}");
}

#[tokio::test]
async fn who_goes_is_given_nothing_more() {
    use crate::work::purge::{Purge, add_purge};
    let (changes, ()) = Bench::new().plan(everything).await;
    let about_others = |line: &&String| !line.contains(r#""viewer""#);
    // Settings go with the account, posts with what was collected of it, too.
    for (purge, left) in
        [(Purge::Deleted, 0), (Purge::Everything, 0), (Purge::Collected, 11), (Purge::Records, 11)]
    {
        let b = Bench::new();
        let me = b.intern(ME).await;
        b.write(move |tx| {
            add_purge(tx, me, purge);
            Ok(())
        })
        .await;
        b.apply(&changes).await;
        let lines = b.lines();
        let others = lines.iter().filter(about_others).count();
        assert_eq!((others, lines.len() - others), (5, left), "{purge:?}");
    }
}

#[tokio::test]
async fn rights_are_changes_too() {
    let b = filled().await;
    let erase = |then| move |r: &Tx<'_>| opt_outs::erase(r, OTHER, then, 20);
    // Who opted out before stays so.
    for then in [Afterwards::Collected, Afterwards::OptedOut] {
        let (changes, ()) = b.plan(erase(then)).await;
        let expected =
            Change::Erase { did: OTHER.into(), at: Time(20), then: Afterwards::OptedOut };
        assert_eq!(changes, [expected]);
    }
    let (changes, done) = b.plan(|r| opt_outs::opt_in(r, OTHER, 21)).await;
    assert_eq!((changes.len(), done), (1, true));
    b.apply(&changes).await;
    b.apply(&changes).await;
    assert_eq!(opt_outs::standing(&b.snapshot(), OTHER).unwrap().opted_out, None);
    let (changes, ()) = b.plan(erase(Afterwards::OptedOut)).await;
    let json: Vec<String> =
        changes.iter().map(|change| serde_json::to_string(change).unwrap()).collect();
    assert_eq!(
        json,
        [
            r#"{"opt-out":{"did":"did:plc:you","at":"1970-01-01T00:00:00.020Z"}}"#,
            r#"{"erase":{"did":"did:plc:you","at":"1970-01-01T00:00:00.020Z","then":"opted-out"}}"#
        ]
    );
}

#[tokio::test]
async fn what_is_there_stays_unless_it_is_older() {
    let b = filled().await;
    let lines = b.lines();
    let draft: Row =
        serde_json::from_str(lines.iter().find(|l| l.contains("draft")).unwrap()).unwrap();
    let Row::Draft(drafts::Drafted { id, .. }) = draft else { panic!("{draft:?}") };
    let time = |n| format!("1970-01-01T00:00:00.{n:03}Z");
    let cases = [
        (json!({ "kind": "seen", "viewer": ME, "at": time(4) }), Restored::Kept),
        (json!({ "kind": "seen", "viewer": ME, "at": time(50) }), Restored::Written),
        (json!({ "kind": "mute", "viewer": ME, "subject": OTHER, "at": time(50) }), Restored::Kept),
        (json!({ "kind": "preferences", "viewer": ME, "preferences": {} }), Restored::Kept),
        (
            json!({ "kind": "draft", "viewer": ME, "id": id, "createdAt": time(9), "updatedAt": time(8),
                "draft": { "posts": [{ "text": "older" }] } }),
            Restored::Kept,
        ),
        (
            json!({ "kind": "draft", "viewer": ME, "id": id, "createdAt": time(9), "updatedAt": time(60),
                "draft": { "posts": [{ "text": "newer" }] } }),
            Restored::Written,
        ),
        // Another draft that was changed at the same time.
        (
            json!({ "kind": "draft", "viewer": ME, "id": "3kaaaaaaaaa2a", "createdAt": time(9),
                "updatedAt": time(60), "draft": { "posts": [{ "text": "other" }] } }),
            Restored::Written,
        ),
        // Another bookmark that was made at the same time.
        (
            json!({ "kind": "bookmark", "viewer": ME, "uri": POST.replace("2a", "2b"), "cid": "c",
                "key": "22222222bu222" }),
            Restored::Written,
        ),
        // The root of a thread of the community.
        (
            json!({ "kind": "thread-mute", "viewer": ME, "at": time(9),
                "root": POST.replace("app.bsky", "community.blacksky") }),
            Restored::Written,
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(b.import(&[line.to_string()]).await, [expected], "{line}");
    }
    let s = b.snapshot();
    let me = b.actor(ME);
    let page = drafts::page(&s, me, None, 9).unwrap();
    let shown: Vec<_> = page.iter().map(|(_, d)| (d.updated, d.json.contains("newer"))).collect();
    assert_eq!(shown, [(61, false), (60, true)]);
    assert_eq!(bookmarks::page(&s, me, None, 9).unwrap().len(), 2);
}

#[test]
fn lines_that_cannot_be_put_in_say_why() {
    let at = "2026-01-01T00:00:00.000Z";
    let cases = [
        (
            json!({ "kind": "mute", "viewer": "me", "subject": ME, "at": at }),
            "viewer \"me\" is not",
        ),
        (json!({ "kind": "mute", "viewer": ME, "subject": POST, "at": at }), "is not a DID"),
        (
            json!({ "kind": "list-mute", "viewer": ME, "list": POST, "at": at }),
            "app.bsky.graph.list",
        ),
        (json!({ "kind": "bookmark", "viewer": ME, "uri": POST, "cid": "c", "key": "x" }), "TID"),
        (json!({ "kind": "seen", "viewer": ME, "at": "today" }), "\"today\" is not a datetime"),
        (json!({ "kind": "seen", "viewer": ME, "at": at, "more": 1 }), "unknown field `more`"),
        (json!({ "kind": "seen", "viewer": ME }), "missing field `at`"),
        (json!({ "kind": "sean", "viewer": ME }), "unknown variant `sean`"),
        (json!({ "kind": "takedown", "subject": "at://x", "at": at, "reference": "" }), "record"),
        (
            json!({ "kind": "draft", "viewer": ME, "id": "3kaaaaaaaaa2a", "createdAt": at, "updatedAt": at,
                "draft": {} }),
            "posts",
        ),
    ];
    for (line, expected) in cases {
        let parsed = serde_json::from_value::<Row>(line.clone());
        let error = parsed.map_err(|e| e.to_string()).and_then(|row| row.check()).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[tokio::test]
async fn who_opted_out_gets_back_what_nobody_else_sees() {
    let (from, to) = (filled().await, Bench::new());
    to.write(|tx| {
        let me = tx.intern_actor(ME)?;
        testing::set_opt_out(tx, me, Some(1));
        Ok(())
    })
    .await;
    let lines = from.lines();
    for (line, done) in lines.iter().zip(to.import(&lines).await) {
        let published = line.contains("community-post");
        assert_eq!(done == Restored::Deleted, published, "{line}");
    }
}

#[tokio::test]
async fn a_deleted_account_gets_nothing_back() {
    let b = Bench::new();
    b.write(|tx| {
        let me = tx.intern_actor(ME)?;
        let row = ActorRow { status: AccountStatus::Deleted, ..Default::default() };
        tx.put(Ks::Actor, &actor_key(me), &row.encode());
        Ok(())
    })
    .await;
    let seen = json!({ "kind": "seen", "viewer": ME, "at": "2026-01-01T00:00:00.000Z" });
    assert_eq!(b.import(&[seen.to_string()]).await, [Restored::Deleted]);
    assert_eq!(b.lines(), [""; 0]);
}

#[tokio::test]
async fn rows_of_one_viewer_come_and_go() {
    let b = Bench::new();
    for at in [5, 6] {
        b.change(move |r| {
            let mute = Mute { at, ..Mute::default() };
            mutes::mute_account(r, ME, OTHER, mute)
        })
        .await;
    }
    for at in [7, 9, 8] {
        b.change(move |r| seen::see(r, ME, at)).await;
    }
    b.change(|r| members::join(r, ME, 9)).await;
    b.change(|_| takedowns::moderate(OTHER, Some(down()))).await;
    let (me, other) = (b.actor(ME), Target::Actor(b.actor(OTHER)));
    let s = b.snapshot();
    let muted =
        |s: &Snapshot, after| super::super::list_of(s, Kind::MutedActor, me, after, 9).unwrap();
    let held = |s: &Snapshot| super::super::get(s, Kind::Seen, me, None).unwrap();
    assert_eq!(muted(&s, None), [(other, 5)]);
    assert_eq!(muted(&s, Some(other)), []);
    assert_eq!(held(&s), Some(8));
    assert_eq!(members(&s).unwrap(), [me]);
    assert_eq!(takedowns(&s).unwrap(), [other]);
    assert!(!b.forget(ME, 2).await);
    assert!(b.forget(ME, 100).await);
    let s = b.snapshot();
    assert_eq!((muted(&s, None), held(&s)), (vec![], None));
    assert_eq!(takedowns::takedown(&s, other).unwrap(), Some(down()));
}
