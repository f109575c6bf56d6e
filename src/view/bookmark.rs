//! `app.bsky.bookmark.defs#bookmarkView`.

use serde::Serialize;

use super::post::{MaybePost, NotFoundPost};
use crate::hydrate::bookmark::Bookmarked;
use crate::hydrate::post_state::PostState;
use crate::syntax::datetime::Time;

/// A bookmark and its post.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BookmarkView<'a> {
    created_at: Time,
    subject: BookmarkSubject<'a>,
    item: MaybePost<'a>,
}

#[derive(Debug, Serialize)]
struct BookmarkSubject<'a> {
    uri: &'a str,
    cid: &'a str,
}

impl PostState {
    /// The view of a bookmark. Posts that are gone or behind a block have something to stand in for them.
    #[must_use]
    pub fn bookmark_view<'a>(&'a self, bookmark: &'a Bookmarked) -> BookmarkView<'a> {
        BookmarkView {
            created_at: Time(bookmark.at),
            subject: BookmarkSubject { uri: &bookmark.uri, cid: &bookmark.cid },
            item: self.bookmarked_post(bookmark),
        }
    }

    fn bookmarked_post<'a>(&'a self, bookmark: &'a Bookmarked) -> MaybePost<'a> {
        let shown = self.post(bookmark.post).zip(self.post_view(bookmark.post, 0));
        match shown {
            None => MaybePost::NotFound(NotFoundPost::new(&bookmark.uri)),
            Some((post, _)) if self.base.viewer_block_exists(post.id.author) => {
                let author = self.blocked_author_of(post);
                MaybePost::Blocked(self.blocked_post_at(&bookmark.uri, author))
            }
            Some((_, mut view)) => {
                view.tag = Some("app.bsky.feed.defs#postView");
                MaybePost::Post(Box::new(view))
            }
        }
    }
}
