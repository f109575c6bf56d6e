//! The line of replies in which the author of a thread goes on with it, with deleted ones in it.

use super::post_state::PostState;
use super::testing::{Fixture, NOW, seen_by};
use super::*;
use crate::schema::Edit as _;
use crate::schema::rows::{Order, VacatedRow, order_post_key, vacated_key};
use crate::store::{Ks, Reader, Tx};

/// A thread whose author is the only one who writes; posts are made a minute apart.
struct Thread {
    f: Fixture,
    author: ActorId,
    root: PostId,
    minute: i64,
}

impl Thread {
    fn new() -> Self {
        let f = Fixture::new();
        let author = f.account("op");
        let root = f.post(author, NOW, serde_json::json!({}));
        Self { f, author, root, minute: 0 }
    }

    fn time(&mut self) -> i64 {
        self.minute += 1;
        NOW + self.minute * 60_000
    }

    fn reply(&mut self, to: PostId) -> PostId {
        let time = self.time();
        self.f.reply(self.author, time, self.root, to)
    }

    /// As the index does it.
    fn delete(&mut self, post: PostId, parent: Rkey) {
        let (root, deleted) = (self.root, self.time());
        self.f.write(move |tx| {
            tx.del(Ks::Post, &post.to_bytes());
            let row = VacatedRow { parent, deleted };
            tx.put(Ks::Order, &vacated_key(root, post.rkey), &row.encode());
            tx.touch(post.author);
            let parent = PostId { rkey: parent, ..root };
            unlist(tx, parent, post);
            tx.count(Target::Post(parent), Counter::Replies, -1)?;
            Ok(())
        });
    }

    fn line(&self, anchor: PostId) -> Option<Vec<PostId>> {
        self.f.hydrate(&seen_by(None), |h| h.op_thread(&mut PostState::new(&h), anchor).unwrap())
    }
}

/// Takes a reply out of the list of its parent.
fn unlist(tx: &mut Tx<'_>, parent: PostId, post: PostId) {
    let key = order_post_key(Order::Replies, Target::Post(parent), post.rkey.millis(), post);
    assert!(tx.has(Ks::Order, &key).unwrap());
    tx.del(Ks::Order, &key);
}

#[test]
fn a_deleted_reply_keeps_its_place_while_one_below_is_there() {
    let mut t = Thread::new();
    let first = t.reply(t.root);
    let second = t.reply(first);
    t.delete(first, t.root.rkey);
    let line = Some(vec![t.root, first, second]);
    assert_eq!([t.line(t.root), t.line(second)], [line.clone(), line.clone()]);
    // What is written beside it is a fork.
    let fork = t.reply(t.root);
    assert_eq!([t.line(t.root), t.line(fork)], [line.clone(), line]);
    t.delete(second, first.rkey);
    assert_eq!(t.line(fork), Some(vec![t.root, fork]), "written after the first was deleted");
}

#[test]
fn the_place_of_the_last_is_free_for_what_is_written_later() {
    let mut t = Thread::new();
    let first = t.reply(t.root);
    let last = t.reply(first);
    let bystander = t.reply(first);
    t.delete(last, first.rkey);
    assert_eq!(t.line(bystander), Some(vec![t.root, first]));
    let newer = t.reply(first);
    assert_eq!(t.line(t.root), Some(vec![t.root, first, newer]));
}

#[test]
fn of_several_that_gave_a_place_up_the_last_counts() {
    let mut t = Thread::new();
    let first = t.reply(t.root);
    let child = t.reply(first);
    t.delete(child, first.rkey);
    t.delete(first, t.root.rkey);
    assert_eq!(t.line(t.root), None);
    let second = t.reply(t.root);
    let between = t.reply(t.root);
    assert_eq!(t.line(t.root), Some(vec![t.root, second]));
    t.delete(second, t.root.rkey);
    assert_eq!(t.line(t.root), None, "{between:?} was there before");
    let third = t.reply(t.root);
    assert_eq!(t.line(t.root), Some(vec![t.root, third]));
}

#[test]
fn what_came_again_is_there() {
    let mut t = Thread::new();
    let first = t.reply(t.root);
    t.delete(first, t.root.rkey);
    assert_eq!(t.line(t.root), None);
    let again = t.f.reply(t.author, first.rkey.millis(), t.root, t.root);
    assert_eq!((again, t.line(t.root)), (first, Some(vec![t.root, first])));
}
