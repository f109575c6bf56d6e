//! Memory for the records that one answer shows.
//!
//! Whoever writes records decides how much a page of them takes: a record of a megabyte may take sixteen, and a page has a
//! hundred. What is as small as records for people are is always shown, so that nobody can crowd out what others
//! wrote; what takes more has a share that is the same for every answer.

use ipld_core::ipld::Ipld;

use super::Result;
use crate::schema::Rows;
use crate::store::Snapshot;

/// Always there for a record. Profiles, lists and posts take 1 to 8 kB.
const SMALL: usize = 16 << 10;
/// What larger records of one answer have together: fifty documents of a few pages, or one record of any size. As many
/// answers are made at once as the read pool has threads.
const LARGE: usize = 16 << 20;
/// The same for what is kept of one account.
const LARGE_OF_ACCOUNT: usize = 128 << 10;

/// What the large records of an answer may take still.
#[derive(Debug, Clone)]
pub struct RecordRoom {
    left: usize,
}

impl Default for RecordRoom {
    fn default() -> Self {
        Self { left: LARGE }
    }
}

impl RecordRoom {
    /// For the records of an account, which are kept for many answers.
    pub(super) fn of_account() -> Self {
        Self { left: LARGE_OF_ACCOUNT }
    }

    /// The value of a packed record and the bytes that it takes, if there is room for it.
    pub(super) fn unpack(&mut self, s: &Snapshot, packed: &[u8]) -> Result<Option<(Ipld, usize)>> {
        let value = s.unpack_within(packed, SMALL + self.left)?;
        Ok(value.filter(|(_, bytes)| self.take(*bytes)))
    }

    /// Takes what a record takes; `false` if it is not there, and then the record is not shown.
    #[must_use]
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(beyond_small(bytes));
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// What a record takes beyond what any record may.
pub(super) fn beyond_small(bytes: usize) -> usize {
    bytes.saturating_sub(SMALL)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::notification::NotifState;
    use super::super::post_state::PostState;
    use super::super::testing::{Fixture, NOW, seen_by};
    use super::*;
    use crate::schema::rows::{NotifRow, Reason};
    use crate::schema::{ActorId, PostId, RecordId};

    /// Two kilobytes of a record, and a megabyte of memory.
    fn maps() -> Value {
        json!(vec![json!({"": null}); 680])
    }

    /// As many as would take more than there is, and a small one after them.
    fn large_and_small<T>(mut make: impl FnMut(usize, Value) -> T) -> Vec<T> {
        (0..25).map(|n| make(n, if n < 24 { maps() } else { json!(1) })).collect()
    }

    fn shown(all: impl IntoIterator<Item = bool>) {
        let all: Vec<bool> = all.into_iter().collect();
        let large = all[..24].iter().filter(|shown| **shown).count();
        assert!((10..=16).contains(&large), "{large} of a megabyte each");
        assert!(all[0] && all[24], "the first and the small one");
    }

    #[test]
    fn large_records_share_what_an_answer_has_and_small_ones_are_always_shown() {
        let f = Fixture::new();
        let owner = f.account("owner");
        let lists: Vec<RecordId> = large_and_small(|n, more| {
            let list = json!({
                "$type": "app.bsky.graph.list", "name": "x", "createdAt": "2023-01-01T00:00:00Z",
                "purpose": "app.bsky.graph.defs#curatelist", "more": more,
            });
            f.record(owner, "app.bsky.graph.list", &format!("list{n}"), list)
        });
        f.hydrate(&seen_by(None), |h| {
            let mut state = h.state();
            h.lists(&mut state, &lists).unwrap();
            shown(lists.iter().map(|id| state.record(*id).is_some()));
            let held: usize = state.records.values().flatten().map(|record| record.memory).sum();
            assert!(held <= LARGE + lists.len() * SMALL);
            let mut state = h.state();
            h.lists(&mut state, &lists[23..24]).unwrap();
            assert!(state.record(lists[23]).is_some(), "each answer has its own");
        });
    }

    #[test]
    fn large_posts_share_it_too() {
        let f = Fixture::new();
        let author = f.account("author");
        let posts: Vec<PostId> = large_and_small(|n, more| {
            let more = if n < 24 { json!("x".repeat(600_000)) } else { more };
            f.post(author, NOW - i64::try_from(n).unwrap(), json!({ "more": more }))
        });
        f.hydrate(&seen_by(None), |h| {
            let mut state = PostState::new(&h);
            h.posts(&mut state, &posts).unwrap();
            shown(posts.iter().map(|id| state.post(*id).is_some()));
        });
    }

    #[test]
    fn large_records_behind_notifications_share_it_too() {
        let f = Fixture::new();
        let [me, other] = ["me", "other"].map(|name| f.account(name));
        let nsid = "app.bsky.graph.verification";
        let rows: Vec<NotifRow> = large_and_small(|n, more| {
            let record = json!({ "$type": nsid, "subject": "did:plc:me", "more": more });
            let rkey = f.record(other, nsid, &format!("v{n}"), record).rkey;
            NotifRow { sort: NOW, author: other, reason: Reason::Verified, rkey, subject: None }
        });
        f.hydrate(&seen_by(Some(me)), |h| {
            let mut state = NotifState::new(&h);
            h.notified(&mut state, &rows).unwrap();
            shown(rows.iter().map(|row| state.records.contains_key(&row.record())));
        });
    }

    #[test]
    fn an_account_is_shown_without_what_is_too_large_of_it_and_counts_as_several_in_the_cache() {
        let f = Fixture::new();
        let with = |n: usize, more: Value| -> ActorId {
            let id = f.account(&format!("a{n}"));
            let profile = json!({ "$type": "app.bsky.actor.profile", "more": more });
            f.record(id, "app.bsky.actor.profile", "self", profile);
            id
        };
        let (huge, large) = (with(0, maps()), json!("x".repeat(100_000)));
        let ids: Vec<ActorId> = (1..=20).map(|n| with(n, large.clone())).collect();
        f.hydrate(&seen_by(None), |h| {
            let mut state = h.state();
            h.profiles(&mut state, &[huge]).unwrap();
            assert!(state.actor(huge).is_some_and(|actor| actor.profile.is_none()));
            h.profiles(&mut state, &ids).unwrap();
            assert!(ids.iter().all(|id| state.actor(*id).is_some_and(|a| a.profile.is_some())));
            let held = |id: &&ActorId| {
                let mut held = true;
                let load = || {
                    held = false;
                    Ok(None)
                };
                f.shared.actors.get(h.snapshot, **id, load).unwrap();
                held
            };
            let held = ids.iter().filter(held).count();
            assert!(
                held <= 100 * 3072 / 100_000,
                "{held} accounts of 100 kB, and room for 100 of 3"
            );
        });
    }
}
