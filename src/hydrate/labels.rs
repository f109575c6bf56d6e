//! Labels of the subjects at hand.
//!
//! An answer asks for the labels on every account, profile and post that it shows, and nearly nothing is labelled. So all
//! labels on what belongs to an account are cached as one value, which mostly says that there are none.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::state::HydrationState;
use super::{Hydrator, Result};
use crate::moderation::{SubjectLabels, labels};
use crate::schema::bytes::ByteReader;
use crate::schema::rows::LabelRow;
use crate::schema::{ActorId, Key, Rows, Target};
use crate::store::{Ks, Reader, RowViews, StoreError};

/// AccountLabels subjects that are held of one account.
const MAX_HELD: usize = 32;

/// The labels on an account and on all that is its own.
#[derive(Debug, Clone)]
pub(super) enum AccountLabels {
    Nothing,
    Few(Arc<FxHashMap<Target, Vec<LabelRow>>>),
    /// Too many subjects to hold.
    Many,
}

/// Labels by account: on whatever is its own.
pub(super) type AccountLabelsCache = RowViews<AccountLabels>;

/// A cache of the labels of up to `entries` accounts.
pub(super) fn cache(entries: usize) -> AccountLabelsCache {
    RowViews::new(entries)
}

impl Hydrator<'_> {
    /// Adds the labels on `targets`.
    pub fn labels(
        &self,
        state: &mut HydrationState,
        targets: impl IntoIterator<Item = Target>,
    ) -> Result<()> {
        if self.ctx.labelers.is_empty() {
            return Ok(());
        }
        // Targets of one account mostly follow one another (the account, its profile), so its labels are kept at hand.
        let mut last: Option<(ActorId, AccountLabels)> = None;
        let targets = targets.into_iter();
        state.labels.reserve(targets.size_hint().0);
        for target in targets {
            let Entry::Vacant(entry) = state.labels.entry(target) else { continue };
            let author = target.actor();
            let labelled = match &last {
                Some((of, labelled)) if *of == author => labelled,
                _ => &last.insert((author, self.account_labels(author)?)).1,
            };
            entry.insert(self.judge(labelled, target)?);
        }
        Ok(())
    }

    fn judge(&self, labelled: &AccountLabels, target: Target) -> Result<SubjectLabels> {
        let read;
        let rows = match labelled {
            AccountLabels::Nothing => return Ok(SubjectLabels::default()),
            AccountLabels::Few(held) => held.get(&target).map(Vec::as_slice).unwrap_or_default(),
            AccountLabels::Many => {
                read = self.snapshot.labels(target)?;
                &read
            }
        };
        if rows.is_empty() {
            return Ok(SubjectLabels::default());
        }
        let uri = Arc::from(self.snapshot.target_text(target)?);
        let did = |id| self.snapshot.did(id);
        labels::judge(rows, &uri, &self.ctx.labelers, self.ctx.now, did)
    }

    /// Reads what [`Self::labels`] needs of an account.
    pub(super) fn touch_labels(&self, author: ActorId) -> Result<()> {
        if self.ctx.labelers.is_empty() { Ok(()) } else { self.account_labels(author).map(drop) }
    }

    fn account_labels(&self, author: ActorId) -> Result<AccountLabels> {
        let key = Key::new().actor(author);
        self.snapshot.view(&self.shared.account_labels, (Ks::Label, &key), || {
            let mut held = FxHashMap::default();
            let mut corrupt = None;
            let own = Target::Actor(author);
            let rows = self.snapshot.once(Ks::Label, &own.key(), LabelRow::decode_all)?;
            held.extend(rows.map(|rows| (own, rows)));
            for prefix in Target::prefixes_in(author) {
                self.snapshot.scan_prefix(Ks::Label, &prefix, &mut |key, value| {
                    let target = ByteReader::new(key).target();
                    match target.zip(LabelRow::decode_all(value)) {
                        Some((target, rows)) => _ = held.insert(target, rows),
                        None => corrupt = Some(key.to_vec()),
                    }
                    held.len() <= MAX_HELD && corrupt.is_none()
                })?;
            }
            if let Some(key) = corrupt {
                return Err(StoreError::corrupt(Ks::Label, &key));
            }
            let labelled = match held.len() {
                0 => AccountLabels::Nothing,
                n if n > MAX_HELD => AccountLabels::Many,
                _ => AccountLabels::Few(Arc::new(held)),
            };
            Ok((labelled, true))
        })
    }

    /// Whether a label takes `target` down, unless the caller may see it all the same.
    pub(super) fn label_hides(&self, state: &HydrationState, target: Target) -> bool {
        !self.ctx.include_takedowns && state.labels.get(&target).is_some_and(|l| l.takedown)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, seen_by};
    use super::*;
    use crate::schema::{PostId, Rkey};

    fn shown(f: &Fixture, by: ActorId, targets: &[Target]) -> Vec<usize> {
        let mut ctx = seen_by(None);
        ctx.labelers = [(by, true)].into_iter().collect();
        f.hydrate(&ctx, |h| {
            let mut state = h.state();
            h.labels(&mut state, targets.iter().copied()).unwrap();
            targets.iter().map(|target| state.labels[target].shown.len()).collect()
        })
    }

    #[test]
    fn labels_on_an_account_and_its_records_are_seen_as_they_come_however_many() {
        let f = Fixture::new();
        let (labeler, alice, bob) = (f.account("labeler"), f.account("alice"), f.account("bob"));
        let post = |n| Target::Post(PostId { author: alice, rkey: Rkey(n) });
        let profile = Target::Record(super::super::actor::self_id(
            alice,
            crate::schema::collections::PROFILE,
        ));
        let all = [Target::Actor(bob), Target::Actor(alice), profile, post(1), post(2)];
        assert_eq!(shown(&f, labeler, &all), [0; 5]);
        f.label(labeler, Target::Actor(alice), "a");
        f.label(labeler, post(2), "b");
        assert_eq!(shown(&f, labeler, &all), [0, 1, 0, 0, 1]);
        f.label(labeler, profile, "c");
        f.label(labeler, post(2), "d");
        assert_eq!(shown(&f, labeler, &all), [0, 1, 1, 0, 2]);
        for n in 10..10 + MAX_HELD as u64 {
            f.label(labeler, post(n), "e");
        }
        f.hydrate(&seen_by(None), |h| {
            assert!(matches!(h.account_labels(alice).unwrap(), AccountLabels::Many));
            assert!(matches!(h.account_labels(bob).unwrap(), AccountLabels::Nothing));
        });
        assert_eq!(shown(&f, labeler, &all), [0, 1, 1, 0, 2]);
        assert_eq!(shown(&f, labeler, &[post(9), post(10)]), [0, 1]);
    }

    #[test]
    fn a_snapshot_from_before_a_label_does_not_have_it() {
        let f = Fixture::new();
        let (labeler, alice) = (f.account("labeler"), f.account("alice"));
        let before = f.snapshot();
        f.label(labeler, Target::Actor(alice), "a");
        assert_eq!(shown(&f, labeler, &[Target::Actor(alice)]), [1]);
        let ctx = seen_by(None);
        let h = Hydrator { snapshot: &before, ctx: &ctx, shared: &f.shared };
        assert!(matches!(h.account_labels(alice).unwrap(), AccountLabels::Nothing));
    }
}
