//! Private rows: that they decode, that bookmarks, drafts, subscriptions and community posts are there in all their ways,
//! and how many bookmarks each post has.

use super::Check;
use crate::private::{self, bookmarks, community, drafts, subscriptions};
use crate::schema::rows::{Counter, order_post_key};
use crate::schema::{PostId, Rows, Target};
use crate::store::{Ks, Reader, StoreError};

impl Check<'_> {
    pub(super) fn private(&mut self) -> Result<(), StoreError> {
        let mut group: Option<(PostId, u64)> = None;
        self.rows(Ks::Private, |this, k, v| {
            if let Some((post, viewer, row)) = bookmarks::by_post_row(k, v) {
                match group.as_mut() {
                    Some((counted, count)) if *counted == post => *count += 1,
                    _ => {
                        this.bookmarks_of(group.take())?;
                        this.resolves(Target::Post(post))?;
                        group = Some((post, 1));
                    }
                }
                let same = bookmarks::at(this.s, viewer, row.key)? == Some(post);
                this.expect(same, "bookmark-one-way", |t| t.name(Target::Post(post)));
            } else if let Some((viewer, key, post)) = bookmarks::by_viewer_row(k, v) {
                let same = super::lenient(bookmarks::get(this.s, viewer, post))?
                    .is_some_and(|row| row.key == key);
                this.expect(same, "bookmark-one-way", |t| t.name(Target::Post(post)));
            }
            this.draft(k, v)?;
            if let Some((_, counterpart)) = subscriptions::row(k, v) {
                let other = this.s.get(Ks::Private, &counterpart)?;
                let same = other.is_some_and(|other| *other == *v);
                this.expect(same, "subscription-one-way", |_| super::hex(k));
            }
            this.community_post(k, v)?;
            Ok(private::decodes(k, v).then_some(()))
        })?;
        self.bookmarks_of(group)
    }

    fn draft(&mut self, k: &[u8], v: &[u8]) -> Result<(), StoreError> {
        let (owner, same) = if let Some((owner, id, draft)) = drafts::by_id_row(k, v) {
            (owner, drafts::is_listed(self.s, owner, draft.updated, id)?)
        } else if let Some((owner, updated, id)) = drafts::by_time_row(k) {
            let held = super::lenient(drafts::get(self.s, owner, id))?;
            (owner, held.is_some_and(|draft| draft.updated == updated))
        } else {
            return Ok(());
        };
        self.expect(same, "draft-one-way", |t| t.name(Target::Actor(owner)));
        Ok(())
    }

    fn community_post(&mut self, k: &[u8], v: &[u8]) -> Result<(), StoreError> {
        if let Some((sort, post)) = community::listed_row(k) {
            let held = super::lenient(community::get(self.s, post))?;
            let same = held.is_some_and(|held| held.sort == sort);
            self.expect(same, "community-post-one-way", |t| t.name(Target::Post(post)));
            return Ok(());
        }
        let Some((post, held)) = community::content_row(k, v) else { return Ok(()) };
        self.resolves(Target::Post(post))?;
        let content = match self.s.unpack(&held.packed) {
            Ok(content) => content,
            Err(StoreError::Corrupt(_)) => {
                self.found("record-does-not-unpack", self.name(Target::Post(post)));
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let again = community::NewPost::read(&content);
        let same = again.is_some_and(|new| new.cid == held.cid);
        self.expect(same, "record-differs-from-cid", |t| t.name(Target::Post(post)));
        let mut listed = community::is_listed(self.s, post, held.sort)?;
        for (order, under) in community::lists(self.s, &content)? {
            let key = order_post_key(order, under, held.sort, post);
            listed &= self.s.has(Ks::Order, &key)?;
        }
        self.expect(listed, "community-post-one-way", |t| t.name(Target::Post(post)));
        Ok(())
    }

    fn bookmarks_of(&mut self, group: Option<(PostId, u64)>) -> Result<(), StoreError> {
        match group {
            Some((post, count)) => self.counter(Target::Post(post), Counter::Bookmarks, count),
            None => Ok(()),
        }
    }
}
