//! Who is notified of an account's new posts because they subscribed to its activity (`subscribed-post`).
//!
//! Only posts made after the subscription count, so that a backfill brings none. Whether the account's declaration
//! permits it is judged when the post is applied. Other reasons go before this one; that is `notify`'s matter.

use super::notify;
use crate::private::subscriptions::{self, Subscription};
use crate::repo::fields;
use crate::schema::rows::{EdgeKind, post_flags as f};
use crate::schema::{ActorId, PostId, RecordId, Rkey, Rows, Target, collections as c};
use crate::store::{StoreError, Tx};

/// Who is to be told of a post.
pub(super) fn recipients(
    tx: &Tx<'_>,
    post: PostId,
    flags: u16,
    sort: i64,
) -> Result<Vec<ActorId>, StoreError> {
    let mut held = subscriptions::of_account(tx, post.author)?;
    held.retain(|(_, to)| covers(*to, flags, sort));
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let allowed = allowed(tx, post.author)?;
    let mut out = Vec::with_capacity(held.len());
    for (viewer, _) in held {
        if permits(tx, allowed, post.author, viewer)?
            && !notify::muted_thread(tx, viewer, Some(Target::Post(post)))?
        {
            out.push(viewer);
        }
    }
    Ok(out)
}

fn covers(to: Subscription, flags: u16, sort: i64) -> bool {
    let wanted = if flags & f::REPLY == 0 { to.post } else { to.reply };
    wanted && sort >= to.at && flags & f::VIOLATES_THREADGATE == 0
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Followers,
    Mutuals,
    Nobody,
}

/// What the account's `app.bsky.notification.declaration` says.
fn allowed(tx: &Tx<'_>, account: ActorId) -> Result<Allowed, StoreError> {
    let id = RecordId { actor: account, coll: c::NOTIFICATION_DECLARATION, rkey: Rkey::SELF };
    let Some(row) = tx.record(id)?.filter(|row| row.valid) else { return Ok(Allowed::Followers) };
    let value = tx.unpack(&row.packed)?;
    Ok(match fields::text(&value, "allowSubscriptions") {
        Some("mutuals") => Allowed::Mutuals,
        Some("none") => Allowed::Nobody,
        _ => Allowed::Followers,
    })
}

fn permits(
    tx: &Tx<'_>,
    allowed: Allowed,
    account: ActorId,
    viewer: ActorId,
) -> Result<bool, StoreError> {
    let follows = |whom, who| -> Result<bool, StoreError> {
        Ok(tx.fan(EdgeKind::Follow, Target::Actor(whom), who)?.is_some())
    };
    Ok(match allowed {
        Allowed::Nobody => false,
        Allowed::Followers => follows(account, viewer)?,
        Allowed::Mutuals => follows(account, viewer)? && follows(viewer, account)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::event::Op;
    use crate::private::{self, Kind};

    /// The time of record `n`, as `at` has it.
    fn ms(n: i64) -> i64 {
        1_700_000_000_000 + n * 1000
    }

    async fn subscribe(w: &World, who: &str, whom: &str, at: i64, post: bool, reply: bool) {
        let (who, whom) = (w.actor(who), w.actor(whom));
        let to = Subscription { at, post, reply };
        w.writer.durable(move |tx| private::testing::subscribe(tx, who, whom, to)).await.unwrap();
    }

    fn declares(allow: &str) -> Op {
        let coll = "app.bsky.notification.declaration";
        let value = map([("$type", text(coll)), ("allowSubscriptions", text(allow))]);
        Op { rkey: "self".into(), ..op(coll, 1, value) }
    }

    /// `a` is a member, follows `b`, and subscribed to its posts at the time of record 100.
    async fn world(reply: bool) -> World {
        let mut w = World::new();
        w.commit("a", [post(1), follow(2, "b")]).await;
        w.commit("b", [post(3)]).await;
        w.join("a").await;
        subscribe(&w, "a", "b", ms(100), true, reply).await;
        w
    }

    fn told(w: &World) -> Vec<&'static str> {
        w.notifs("a").into_iter().map(|(_, reason)| reason).collect()
    }

    #[tokio::test]
    async fn new_posts_notify_and_are_taken_back() {
        let mut w = world(false).await;
        w.commit("b", [post(99)]).await;
        assert_eq!(told(&w), [""; 0], "older than the subscription");
        w.commit("b", [post(101), quote(102, &uri("c", POST, 1))]).await;
        w.commit("b", [reply(103, &uri("c", POST, 1), &uri("c", POST, 1))]).await;
        assert_eq!(told(&w), ["subscribed-post"; 2]);
        // Told once, whatever is repeated.
        w.commit("b", [post(101)]).await;
        assert_eq!(told(&w), ["subscribed-post"; 2]);
        let later = [("$type", text(POST)), ("text", text("now")), ("createdAt", text(at(110)))];
        w.commit("b", [op(POST, 101, map(later))]).await;
        assert_eq!(told(&w), ["subscribed-post"; 2], "another version, of another time");
        w.commit("b", [gone(POST, 101)]).await;
        assert_eq!(told(&w), ["subscribed-post"]);
        subscribe(&w, "a", "b", 0, false, false).await;
        w.commit("b", [post(104)]).await;
        assert_eq!(told(&w), ["subscribed-post"]);
    }

    #[tokio::test]
    async fn replies_notify_those_who_want_them_unless_they_muted_the_thread() {
        let mut w = world(true).await;
        w.commit("c", [post(1), post(2)]).await;
        let (one, two) = (uri("c", POST, 1), uri("c", POST, 2));
        let (me, muted) = (w.actor("a"), Some(Target::Post(w.post("c", 2))));
        let mute =
            w.writer.durable(move |tx| private::testing::put(tx, Kind::MutedThread, me, muted, 1));
        mute.await.unwrap();
        w.commit("b", [reply(101, &one, &one), reply(102, &two, &two)]).await;
        assert_eq!(told(&w), ["subscribed-post"]);
        w.commit("c", [gate_nobody(3, "c"), post(3)]).await;
        let gated = uri("c", POST, 3);
        w.commit("b", [reply(103, &gated, &gated)]).await;
        assert_eq!(told(&w), ["subscribed-post"], "against the gate of the thread");
    }

    #[tokio::test]
    async fn other_reasons_go_before() {
        let mut w = world(true).await;
        let (mine, far) = (uri("a", POST, 1), uri("a", POST, 50));
        w.commit("b", [reply(101, &mine, &mine), quote(102, &mine)]).await;
        assert_eq!(told(&w), ["quote", "reply"]);
        w.commit("b", [gone(POST, 101), gone(POST, 102)]).await;
        // Before its parent a reply is just a post of the account.
        w.commit("b", [reply(103, &far, &far)]).await;
        assert_eq!(told(&w), ["subscribed-post"]);
        w.commit("a", [post(50)]).await;
        assert_eq!(told(&w), ["reply"]);
        w.commit("b", [gone(POST, 103)]).await;
        assert_eq!(told(&w), [""; 0]);
    }

    #[tokio::test]
    async fn the_declaration_says_for_whom() {
        for (allow, followed_back, notifies) in [
            ("followers", false, true),
            ("mutuals", false, false),
            ("mutuals", true, true),
            ("none", true, false),
            ("whoever", false, true),
        ] {
            let mut w = world(false).await;
            if followed_back {
                w.commit("b", [follow(4, "a")]).await;
            }
            w.commit("b", [declares(allow)]).await;
            w.commit("b", [post(102)]).await;
            assert_eq!(told(&w).contains(&"subscribed-post"), notifies, "{allow} {followed_back}");
        }
        let mut w = world(false).await;
        w.commit("a", [gone(FOLLOW, 2)]).await;
        w.commit("b", [post(101)]).await;
        assert_eq!(told(&w), [""; 0], "not followed any more");
        // A viewer who is no member has no notifications.
        w.commit("c", [follow(1, "b")]).await;
        subscribe(&w, "c", "b", 0, true, true).await;
        w.commit("b", [post(105)]).await;
        assert_eq!(w.notifs("c"), []);
    }
}
