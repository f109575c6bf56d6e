//! Private state from one store into another.
use super::*;
use crate::schema::{Edit, Rows};
use crate::store::{Store, Writer};

const ME: &str = "did:plc:me";
const POST: &str = "at://did:plc:you/app.bsky.feed.post/3kaaaaaaaaa2a";

struct Bench {
    store: Store,
    writer: Writer,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        Self { store, writer, _dir: dir }
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.writer.durable(job).await.unwrap()
    }

    fn lines(&self) -> Vec<String> {
        let s = self.store.snapshot();
        let (mut out, mut next) = (Vec::new(), None);
        loop {
            let page = page(&s, next.as_deref()).unwrap();
            assert_eq!(page.left_out, 0);
            out.extend(page.rows.iter().map(|row| serde_json::to_string(row).unwrap()));
            next = page.next;
            if next.is_none() {
                return out;
            }
        }
    }

    /// Puts lines in as the importer does, but for members, takedowns and opt-outs.
    async fn import(&self, lines: &[String]) -> Vec<Restored> {
        let rows: Vec<Row> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for row in &rows {
            row.check().unwrap();
        }
        self.write(move |tx| rows.iter().map(|row| restore(tx, row)).collect()).await
    }
}

/// A row of each kind that there is.
fn fill(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let (me, you) = (tx.intern_actor(ME)?, tx.intern_actor("did:plc:you")?);
    let list = tx.intern_target("at://did:plc:you/app.bsky.graph.list/a-list")?;
    let post = tx.intern_target(POST)?;
    private::put_mute(tx, me, you, Mute { at: 1, only_reposts: true, ..Mute::default() })?;
    private::put(tx, Kind::MutedList, me, list, 2)?;
    private::put(tx, Kind::MutedThread, me, post, 3)?;
    let to = Subscription { at: 4, post: true, reply: false };
    subscriptions::put(tx, me, you, to)?;
    private::put(tx, Kind::Seen, me, None, 5)?;
    private::put(tx, Kind::Member, me, None, 6)?;
    private::put(tx, Kind::Priority, me, None, 7)?;
    private::put_preferences(tx, me, r#"{"like":{"list":false}}"#);
    if let Some(Target::Post(post)) = post {
        bookmarks::put(tx, me, post, "cid", 8)?;
    }
    let post = json!({ "text": "hi", "createdAt": "1970-01-01T00:00:00.012Z", "tags": ["t"] });
    let new = community::NewPost::read(&dag_cbor::from_json(&post)).unwrap();
    community::put(tx, community_id(me, "3kaaaaaaaaa2a").unwrap(), &new, 13)?;
    drafts::create(tx, me, r#"{"posts":[{"text":"x"}]}"#.into(), 9, 9)?;
    let device = Registration {
        at: 11,
        platform: Platform::Ios,
        app_id: "app".into(),
        token: "token".into(),
        age_restricted: true,
    };
    registrations::put(tx, me, &device)?;
    let takedown = Takedown { at: 10, reference: "r".into() };
    private::set_takedown(tx, Target::Actor(you), Some(&takedown));
    private::set_takedown(tx, list.unwrap(), Some(&takedown));
    private::set_blob_takedown(tx, you, "blob", Some(&takedown));
    private::set_opt_out(tx, you, Some(14));
    Ok(())
}

#[tokio::test]
async fn every_kind_of_row_goes_into_another_store_once() {
    let from = Bench::new();
    from.write(fill).await;
    let lines = from.lines();
    let mut tags = Vec::new();
    from.store
        .snapshot()
        .scan(Ks::Private, &[], None, false, &mut |k, _| {
            tags.push(k[0]);
            true
        })
        .unwrap();
    for tag in private::OF_ACCOUNT {
        assert!(tags.contains(&tag), "{}", char::from(tag));
    }
    // Two rows each for a bookmark, a draft and a subscription, three for a community post.
    assert_eq!(lines.len(), tags.len() - 5);
    let expected = [
        r#"{"kind":"mute","viewer":"did:plc:me","subject":"did:plc:you","at":"1970-01-01T00:00:00.001Z","onlyReposts":true}"#,
        r#"{"kind":"list-mute","viewer":"did:plc:me","list":"at://did:plc:you/app.bsky.graph.list/a-list","at":"1970-01-01T00:00:00.002Z"}"#,
        r#"{"kind":"bookmark","viewer":"did:plc:me","uri":"at://did:plc:you/app.bsky.feed.post/3kaaaaaaaaa2a","cid":"cid","key":"22222222bu222"}"#,
        r#"{"kind":"push","viewer":"did:plc:me","platform":"ios","appId":"app","token":"token","ageRestricted":true,"at":"1970-01-01T00:00:00.011Z"}"#,
        r#"{"kind":"community-post","viewer":"did:plc:me","rkey":"3kaaaaaaaaa2a","indexedAt":"1970-01-01T00:00:00.013Z","post":{"createdAt":"1970-01-01T00:00:00.012Z","tags":["t"],"text":"hi"}}"#,
        r#"{"kind":"takedown","subject":"did:plc:you","at":"1970-01-01T00:00:00.010Z","reference":"r"}"#,
        r#"{"kind":"opt-out","did":"did:plc:you","at":"1970-01-01T00:00:00.014Z"}"#,
    ];
    for line in expected {
        assert!(lines.iter().any(|l| l == line), "{line} in {lines:#?}");
    }

    let to = Bench::new();
    let done = to.import(&lines).await;
    let elsewhere = done.iter().filter(|r| **r == Restored::NotHere).count();
    assert_eq!((done.len(), elsewhere), (16, 4));
    assert!(done.iter().all(|r| matches!(r, Restored::Written | Restored::NotHere)));
    let restored = to.lines();
    let elsewhere = [r#""kind":"takedown""#, r#""kind":"member""#, r#""kind":"opt-out""#];
    let here = |line: &&String| !elsewhere.iter().any(|kind| line.contains(kind));
    let sorted = |lines: &[String]| -> Vec<String> {
        let mut lines: Vec<_> = lines.iter().filter(here).cloned().collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&restored), sorted(&lines));
    let again = to.import(&lines).await;
    assert!(again.iter().all(|r| matches!(r, Restored::Kept | Restored::NotHere)), "{again:?}");
    assert_eq!(to.lines(), restored);
}

#[tokio::test]
async fn what_is_there_stays_unless_it_is_older() {
    let b = Bench::new();
    b.write(fill).await;
    let lines = b.lines();
    let draft: Row =
        serde_json::from_str(lines.iter().find(|l| l.contains("draft")).unwrap()).unwrap();
    let Row::Draft { id, .. } = draft else { panic!("{draft:?}") };
    let time = |n| format!("1970-01-01T00:00:00.{n:03}Z");
    let cases = [
        (json!({ "kind": "seen", "viewer": ME, "at": time(4) }), Restored::Kept),
        (json!({ "kind": "seen", "viewer": ME, "at": time(50) }), Restored::Written),
        (
            json!({ "kind": "mute", "viewer": ME, "subject": "did:plc:you", "at": time(50) }),
            Restored::Kept,
        ),
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
    ];
    for (line, expected) in cases {
        assert_eq!(b.import(&[line.to_string()]).await, [expected], "{line}");
    }
    let s = b.store.snapshot();
    let me = s.actor_id(ME).unwrap().unwrap();
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
    let (from, to) = (Bench::new(), Bench::new());
    from.write(fill).await;
    to.write(|tx| {
        let me = tx.intern_actor(ME)?;
        private::set_opt_out(tx, me, Some(1));
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
        let row =
            crate::schema::rows::ActorRow { status: AccountStatus::Deleted, ..Default::default() };
        tx.put(Ks::Actor, &crate::schema::rows::actor_key(me), &row.encode());
        Ok(())
    })
    .await;
    let seen = json!({ "kind": "seen", "viewer": ME, "at": "2026-01-01T00:00:00.000Z" });
    assert_eq!(b.import(&[seen.to_string()]).await, [Restored::Deleted]);
    assert_eq!(b.lines(), [""; 0]);
}
