//! Labels of the subjects at hand.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::state::State;
use super::{Hydrator, Result};
use crate::moderation::{SubjectLabels, labels};
use crate::store::{Reader, Target};

impl Hydrator<'_> {
    /// Adds the labels on `targets`.
    pub fn labels(
        &self,
        state: &mut State,
        targets: impl IntoIterator<Item = Target>,
    ) -> Result<()> {
        if self.ctx.labelers.is_empty() {
            return Ok(());
        }
        for target in targets {
            if let Entry::Vacant(entry) = state.labels.entry(target) {
                entry.insert(self.judge(target)?);
            }
        }
        Ok(())
    }

    fn judge(&self, target: Target) -> Result<SubjectLabels> {
        let rows = self.snapshot.labels(target)?;
        if rows.is_empty() {
            return Ok(SubjectLabels::default());
        }
        let uri = Arc::from(self.snapshot.target_text(target)?);
        let did = |id| self.snapshot.did(id);
        labels::judge(&rows, &uri, &self.ctx.labelers, self.ctx.now, did)
    }

    /// Whether a label takes `target` down, unless the caller may see it all the same.
    pub(super) fn label_hides(&self, state: &State, target: Target) -> bool {
        !self.ctx.include_takedowns && state.labels.get(&target).is_some_and(|l| l.takedown)
    }
}
