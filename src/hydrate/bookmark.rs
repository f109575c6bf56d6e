//! The viewer's bookmarks and the posts behind them.

use super::page::Page;
use super::post_state::PostState;
use super::{Hydrator, Result};
use crate::private::bookmarks;
use crate::schema::{ActorId, PostId, Rows};
use crate::syntax::Tid;

/// A bookmark on a page.
#[derive(Debug, Clone)]
pub struct Bookmarked {
    /// The post; it may be gone.
    pub post: PostId,
    /// Its URI.
    pub uri: String,
    /// Its CID as the viewer saw it.
    pub cid: String,
    /// When the bookmark was made, milliseconds.
    pub at: i64,
}

impl Hydrator<'_> {
    /// The viewer's bookmarks made before the one with the key `before`, the last made first.
    pub fn bookmarks(
        &self,
        viewer: ActorId,
        before: Option<Tid>,
        limit: usize,
    ) -> Result<Page<Bookmarked>> {
        let mut rows = bookmarks::page(self.snapshot, viewer, before, limit.saturating_add(1))?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let cursor = rows.last().filter(|_| more).map(|(key, _)| key.to_string());
        let mut items = Vec::with_capacity(rows.len());
        for (key, post) in rows {
            let Some(row) = bookmarks::get(self.snapshot, viewer, post)? else { continue };
            let at = i64::try_from(key.micros() / 1000).unwrap_or(i64::MAX);
            items.push(Bookmarked { post, uri: self.snapshot.post_uri(post)?, cid: row.cid, at });
        }
        Ok(Page { items, cursor })
    }

    /// Hydrates `items` as `app.bsky.bookmark.defs#bookmarkView`.
    pub fn bookmarked(&self, items: &[Bookmarked]) -> Result<PostState> {
        let mut state = PostState::new(self);
        let posts: Vec<PostId> = items.iter().map(|item| item.post).collect();
        self.posts(&mut state, &posts)?;
        Ok(state)
    }
}
