//! What members see of themselves and of those whom they follow.

use std::collections::BTreeSet;

use aerie::syntax::Did;
use serde_json::{Map, Value};

use super::network::{MEMBERS, Network, Role};
use super::view::Reading;

/// Posts of founders whose threads are read: the newest, and of the older ones some.
const NEWEST: usize = 20;
const EACH: usize = 12;

/// The pages that one reader has, by name.
pub(crate) type Pages = Vec<(String, Value)>;

/// Takes out what another AppView may know better: numbers of what strangers have to do with each other, when something
/// came in, and in a circle who strangers say they are.
pub(crate) struct Plain {
    pub(crate) founders: BTreeSet<String>,
    pub(crate) circle: bool,
}

impl Plain {
    fn is_founder(&self, of: &Map<String, Value>) -> bool {
        of.get("did").and_then(Value::as_str).is_some_and(|did| self.founders.contains(did))
    }

    /// Whether a founder brings it.
    fn is_founders(&self, item: &Value) -> bool {
        let by = item.pointer("/reason/by").or(item.pointer("/post/author"));
        by.and_then(Value::as_object).is_some_and(|by| self.is_founder(by))
    }

    fn clean(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.clean(item)),
            Value::Object(map) => {
                self.clean_object(map);
                map.values_mut().for_each(|value| self.clean(value));
            }
            _ => {}
        }
    }

    fn clean_object(&self, map: &mut Map<String, Value>) {
        let mut drop = vec!["indexedAt"];
        let author = map.get("author").and_then(Value::as_object);
        if author.is_some_and(|author| !self.is_founder(author)) {
            drop.extend(["likeCount", "repostCount", "replyCount", "quoteCount", "bookmarkCount"]);
            if self.circle {
                drop.push("threadgate");
            }
        }
        if map.contains_key("handle") && !self.is_founder(map) {
            drop.extend(["followersCount", "followsCount", "postsCount"]);
            if self.circle {
                drop.extend(["displayName", "description", "createdAt"]);
            }
        }
        // A root may go with age where somebody deleted a post above: see `linked`.
        if let Some(Value::Object(reply)) = map.get_mut("reply")
            && reply.get("parent").is_some_and(|parent| parent["notFound"] == true)
        {
            reply.remove("root");
        }
        drop.iter().for_each(|key| std::mem::drop(map.remove(*key)));
    }
}

/// Whose pages are read.
#[derive(Clone, Copy)]
pub(crate) struct Whose {
    /// Those who were kept from the first day on: everything of theirs.
    pub(crate) founders: bool,
    /// The others: their feeds in outline, as what others had to do with them before is not fetched.
    pub(crate) late: bool,
}

pub(crate) async fn read(
    network: &Network,
    reading: &Reading,
    plain: &Plain,
    whose: Whose,
) -> Pages {
    let mut pages = Pages::new();
    let mut put = |name: String, mut value: Value| {
        plain.clean(&mut value);
        pages.push((name, value));
    };
    let first = &network.accounts[0].did;
    for account in &network.accounts {
        match account.role {
            Role::Founder if whose.founders => {
                of_founder(reading, first, &account.did, &mut put).await
            }
            Role::Late if whose.late => of_late(reading, first, &account.did, &mut put).await,
            _ => {}
        }
    }
    for member in network.accounts.iter().take(MEMBERS) {
        let did = &member.did;
        let timeline = reading.all(did, "app.bsky.feed.getTimeline", "", "feed").await;
        let (of_founders, rest): (Vec<_>, Vec<_>) =
            timeline.into_iter().partition(|item| plain.is_founders(item));
        if whose.founders {
            put(format!("founders in the timeline of {did}"), of_founders.into());
            if member.role == Role::Founder {
                of_member(reading, did, &mut put).await;
            }
        }
        if whose.late {
            put(format!("the others there {did}"), rest.iter().map(outline).collect());
        }
    }
    if whose.founders {
        threads(network, reading, first, &mut put).await;
    }
    pages
}

async fn of_founder(
    reading: &Reading,
    first: &Did,
    did: &Did,
    put: &mut impl FnMut(String, Value),
) {
    let actor = format!("actor={did}");
    for (nsid, viewer, key) in [
        ("app.bsky.feed.getAuthorFeed", first, "feed"),
        ("app.bsky.feed.getActorLikes", did, "feed"),
        ("app.bsky.graph.getFollows", first, "follows"),
        ("app.bsky.graph.getFollowers", first, "followers"),
    ] {
        put(format!("{nsid} {did}"), reading.all(viewer, nsid, &actor, key).await.into());
    }
    put(format!("profile {did}"), reading.ask(first, "app.bsky.actor.getProfile", &actor).await);
}

async fn of_late(reading: &Reading, first: &Did, did: &Did, put: &mut impl FnMut(String, Value)) {
    for (nsid, viewer) in
        [("app.bsky.feed.getAuthorFeed", first), ("app.bsky.feed.getActorLikes", did)]
    {
        let feed = reading.all(viewer, nsid, &format!("actor={did}"), "feed").await;
        put(format!("{nsid} {did}"), feed.iter().map(outline).collect());
    }
}

/// Which post it is, and who reposted it.
fn outline(item: &Value) -> Value {
    let part = |path| item.pointer(path).cloned().unwrap_or_default();
    ["/post/uri", "/reason/by/did"].into_iter().map(part).collect()
}

async fn threads(
    network: &Network,
    reading: &Reading,
    first: &Did,
    put: &mut impl FnMut(String, Value),
) {
    let posts: Vec<_> = network.founders_posts().collect();
    let (newest, older) = posts.split_at(NEWEST.min(posts.len()));
    for uri in newest.iter().chain(older.iter().step_by(EACH)) {
        let query = format!("uri={uri}&depth=10");
        let thread = reading.ask(first, "app.bsky.feed.getPostThread", &query).await;
        put(format!("thread {uri}"), thread);
        for (nsid, key) in [
            ("app.bsky.feed.getLikes", "likes"),
            ("app.bsky.feed.getRepostedBy", "repostedBy"),
            ("app.bsky.feed.getQuotes", "posts"),
        ] {
            let list = reading.all(first, nsid, &format!("uri={uri}"), key).await;
            put(format!("{nsid} {uri}"), list.into());
        }
    }
}

async fn of_member(reading: &Reading, member: &Did, put: &mut impl FnMut(String, Value)) {
    let nsid = "app.bsky.notification.listNotifications";
    let notifications = reading.all(member, nsid, "", "notifications").await;
    for item in notifications.iter().filter(|item| is_post(&item["uri"])) {
        let uri = item["uri"].as_str().unwrap();
        let query = format!("uri={uri}&depth=0");
        let thread = reading.ask(member, "app.bsky.feed.getPostThread", &query).await;
        put(format!("above {uri}"), thread);
    }
    put(format!("notifications {member}"), notifications.into());
    let bookmarks = reading.all(member, "app.bsky.bookmark.getBookmarks", "", "bookmarks").await;
    put(format!("bookmarks {member}"), bookmarks.into());
}

fn is_post(uri: &Value) -> bool {
    uri.as_str().is_some_and(|uri| uri.contains(super::network::POST))
}

/// The first difference of two values, if there is one.
pub(crate) fn difference(at: &str, right: &Value, got: &Value) -> Option<String> {
    match (right, got) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            keys.into_iter().find_map(|key| {
                let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                difference(&format!("{at}.{key}"), &of(a), &of(b))
            })
        }
        (Value::Array(a), Value::Array(b)) => {
            let pair = a.iter().zip(b).enumerate();
            let inner =
                pair.into_iter().find_map(|(n, (a, b))| difference(&format!("{at}[{n}]"), a, b));
            inner.or_else(|| {
                (a.len() != b.len()).then(|| format!("{at}: {} instead of {}", b.len(), a.len()))
            })
        }
        (a, b) if a == b => None,
        (a, b) => Some(format!("{at}: {b:.300} instead of {a:.300}")),
    }
}
