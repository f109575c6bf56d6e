//! Labels from labelers, kept with their negations: one row for each subject.

use super::{DROPPED, EVENTS, Index};
use crate::event::label::Label;
use crate::store::rows::LabelRow;
use crate::store::{Ks, Reader, StoreError, Tx};

/// Labels kept on one subject.
const MAX_PER_SUBJECT: usize = 1000;

/// Applies labels of one labeler. A newer one replaces an older one of the same subject and value.
pub fn apply_labels(_index: &Index, tx: &mut Tx<'_>, labels: &[Label]) -> Result<(), StoreError> {
    for label in labels {
        let Some(target) = tx.intern_target(&label.uri)? else {
            DROPPED.inc("label-subject");
            continue;
        };
        let src = tx.intern_actor(&label.src)?;
        let mut rows = tx.labels(target)?;
        let new = LabelRow {
            src,
            val: label.val.clone(),
            cid: label.cid.clone().unwrap_or_default(),
            cts: label.cts.clone(),
            exp: label.exp.clone().unwrap_or_default(),
            neg: label.neg.unwrap_or(false),
            sig: label.sig.as_ref().map(|s| s.to_vec()).unwrap_or_default(),
        };
        let full = rows.len() >= MAX_PER_SUBJECT;
        match rows.iter_mut().find(|r| r.src == src && r.val == new.val && r.cid == new.cid) {
            Some(old) => *old = new,
            None if full => {
                DROPPED.inc("label-limit");
                continue;
            }
            None => rows.push(new),
        }
        tx.put(Ks::Label, &target.key(), &LabelRow::encode_all(&rows));
        tx.touch(target.actor());
        EVENTS.inc("label");
    }
    Ok(())
}
