//! Which of the labels on a subject apply to an answer (<https://atproto.com/specs/label>).
//!
//! Only labels of the labelers that the request accepts count. A negation takes its label back and stays as a
//! row; an expired label is as good as absent. `!takedown` and `!suspend` remove content, `needs-review` hides it and
//! `impersonation` invalidates verification, each only from a labeler accepted with `redact`.

use std::sync::Arc;

use serde::Serialize;
use smallvec::SmallVec;

use crate::schema::ActorId;
use crate::schema::rows::LabelRow;
use crate::store::StoreError;
use crate::syntax::datetime;

/// The labelers of a request, and whether each may redact.
#[derive(Debug, Clone, Default)]
pub struct Labelers(SmallVec<[(ActorId, bool); 4]>);

impl Labelers {
    /// No labeler accepted: nothing is labeled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a labeler is accepted, and if so whether it may redact.
    #[must_use]
    pub fn redacts(&self, labeler: ActorId) -> Option<bool> {
        self.0.iter().find(|(id, _)| *id == labeler).map(|(_, redact)| *redact)
    }
}

impl FromIterator<(ActorId, bool)> for Labelers {
    fn from_iter<I: IntoIterator<Item = (ActorId, bool)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// A label as clients see it (`com.atproto.label.defs#label`), without its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownLabel {
    /// The labeler, or the author for a self label.
    pub src: Arc<str>,
    /// The subject: a DID or an AT-URI.
    pub uri: Arc<str>,
    /// The version of the record that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    /// The value.
    pub val: String,
    /// When it was made.
    pub cts: String,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<String>,
}

/// What the labels on one subject amount to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectLabels {
    /// Removed by `!takedown` or `!suspend`.
    pub takedown: bool,
    /// Hidden from all but the author and their followers.
    pub needs_review: bool,
    /// The account pretends to be somebody else.
    pub impersonation: bool,
    /// What clients get to see.
    pub shown: Vec<ShownLabel>,
}

/// Works out what `rows`, the labels on `uri`, amount to at `now` (milliseconds since the epoch).
pub fn judge(
    rows: &[LabelRow],
    uri: &Arc<str>,
    labelers: &Labelers,
    now: i64,
    mut did: impl FnMut(ActorId) -> Result<Arc<str>, StoreError>,
) -> Result<SubjectLabels, StoreError> {
    let mut out = SubjectLabels::default();
    for row in rows {
        let Some(redact) = labelers.redacts(row.src) else { continue };
        if row.neg || is_expired(row, now) {
            continue;
        }
        match row.val.as_str() {
            "!takedown" | "!suspend" => out.takedown |= redact,
            "impersonation" => out.impersonation |= redact,
            // Clients have no logic for it, so it is acted on here and not shown.
            "needs-review" if redact => {
                out.needs_review = true;
                continue;
            }
            _ => {}
        }
        let label = ShownLabel {
            src: did(row.src)?,
            uri: Arc::clone(uri),
            cid: (!row.cid.is_empty()).then(|| row.cid.clone()),
            val: row.val.clone(),
            cts: row.cts.clone(),
            exp: (!row.exp.is_empty()).then(|| row.exp.clone()),
        };
        match out.shown.iter_mut().find(|l| l.src == label.src && l.val == label.val) {
            Some(same) => *same = label,
            None => out.shown.push(label),
        }
    }
    Ok(out)
}

fn is_expired(row: &LabelRow, now: i64) -> bool {
    !row.exp.is_empty() && datetime::parse_strict(&row.exp).is_none_or(|exp| exp <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn row(src: u32, val: &str) -> LabelRow {
        LabelRow {
            src: ActorId(src),
            val: val.into(),
            cid: String::new(),
            cts: "2023-01-01T00:00:00.000Z".into(),
            exp: String::new(),
            neg: false,
            sig: vec![1],
        }
    }

    /// Labeler 1 redacts, labeler 2 only labels, labeler 3 is not accepted.
    fn judged(rows: &[LabelRow]) -> (String, Vec<String>) {
        let labelers = [(ActorId(1), true), (ActorId(2), false)].into_iter().collect();
        let uri = Arc::from("did:plc:x");
        let did = |a: ActorId| Ok(Arc::from(format!("did:plc:{}", a.0)));
        let out = judge(rows, &uri, &labelers, NOW, did).unwrap();
        let flags = [(out.takedown, 't'), (out.needs_review, 'r'), (out.impersonation, 'i')];
        let flags = flags.iter().filter(|(on, _)| *on).map(|(_, c)| *c).collect();
        (flags, out.shown.iter().map(|l| format!("{}:{}", l.src, l.val)).collect())
    }

    #[test]
    fn only_redacting_labelers_act() {
        for (src, val, flags, shown) in [
            (1, "spam", "", 1),
            (3, "spam", "", 0),
            (1, "!takedown", "t", 1),
            (2, "!takedown", "", 1),
            (3, "!takedown", "", 0),
            (1, "!suspend", "t", 1),
            (1, "!hide", "", 1),
            (1, "needs-review", "r", 0),
            (2, "needs-review", "", 1),
            (1, "impersonation", "i", 1),
            (2, "impersonation", "", 1),
        ] {
            let (f, s) = judged(&[row(src, val)]);
            assert_eq!((f.as_str(), s.len()), (flags, shown), "{val} of {src}");
        }
    }

    #[test]
    fn negated_and_expired_labels_are_absent() {
        let neg = LabelRow { neg: true, ..row(1, "!takedown") };
        assert_eq!(judged(&[neg]), (String::new(), vec![]));
        for (exp, applies) in [
            ("2023-11-14T22:13:19.999Z", false),
            ("2023-11-14T22:13:20.000Z", false),
            ("2023-11-14T22:13:20.001Z", true),
            ("whenever", false),
        ] {
            let l = LabelRow { exp: exp.into(), ..row(1, "!takedown") };
            assert_eq!(judged(&[l]).0 == "t", applies, "{exp}");
        }
    }

    #[test]
    fn one_label_for_each_source_and_value() {
        let (_, shown) = judged(&[row(1, "a"), row(2, "a"), row(1, "a"), row(1, "b")]);
        assert_eq!(shown, ["did:plc:1:a", "did:plc:2:a", "did:plc:1:b"]);
    }
}
