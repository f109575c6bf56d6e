//! Labels from labelers, kept with their negations: one row for each subject.

use super::{DROPPED, EVENTS, alone};
use crate::event::label::Label;
use crate::schema::rows::LabelRow;
use crate::schema::{Edit, Rows};
use crate::store::{StoreError, Tx};
use crate::syntax::datetime::normalize_ms;

/// Labels kept on one subject.
const MAX_PER_SUBJECT: usize = 1000;

fn made(row: &LabelRow) -> i64 {
    normalize_ms(&row.cts)
}

/// Applies labels of one labeler. A newer one replaces an older one of the same subject and value. One that cannot be
/// applied is taken back, counted and passed over, so that it does not take the others of its batch with it.
pub fn apply_labels(tx: &mut Tx<'_>, labels: &[Label]) -> Result<(), StoreError> {
    for label in labels {
        alone(tx, &label.uri, |tx| apply(tx, label))?;
    }
    Ok(())
}

fn apply(tx: &mut Tx<'_>, label: &Label) -> Result<(), StoreError> {
    let Some(target) = tx.intern_target(&label.uri)? else {
        DROPPED.inc("label-subject");
        return Ok(());
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
        // It may come late: what counts is when it was made.
        Some(old) if made(&new) < made(old) => {
            EVENTS.inc("label-late");
            return Ok(());
        }
        Some(old) => *old = new,
        None if full => {
            DROPPED.inc("label-limit");
            return Ok(());
        }
        None => rows.push(new),
    }
    tx.put_labels(target, &rows);
    tx.touch(target.actor());
    EVENTS.inc("label");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, at, did};
    use super::*;
    use crate::schema::Target;

    #[test]
    fn a_negation_holds_though_its_label_comes_later() {
        let w = World::new();
        let label = |made: u64, neg: Option<bool>| Label {
            ver: Some(1),
            src: did("labeler"),
            uri: did("alice").to_string(),
            cid: None,
            val: "spam".to_owned(),
            neg,
            cts: at(made),
            exp: None,
            sig: None,
        };
        let apply = |labels: Vec<Label>| {
            let job = w.writer.durable(move |tx| {
                apply_labels(tx, &labels)?;
                let alice = tx.intern_actor(did("alice").as_str())?;
                let rows = tx.labels(Target::Actor(alice))?;
                Ok(rows.iter().map(|row| row.neg).collect::<Vec<_>>())
            });
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(job).unwrap()
        };
        assert_eq!(apply(vec![label(2, Some(true))]), [true]);
        assert_eq!(apply(vec![label(1, None)]), [true]);
        // Of the same time, the later one in the stream counts.
        assert_eq!(apply(vec![label(2, None)]), [false]);
        assert_eq!(apply(vec![label(3, Some(true)), label(4, None)]), [false]);
    }
}
