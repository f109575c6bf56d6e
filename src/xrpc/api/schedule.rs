//! `alt.aerie.draft.*`: when what recurs would be published.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::drafts::recurrence::{self, Occurrences, RecurrenceRule};
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

/// Occurrences that are shown where nobody says how many.
const SHOWN: u64 = 5;
/// The most.
const MOST_SHOWN: u64 = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Preview {
    recurrence_rule: RecurrenceRule,
    text: String,
    occurrences: Vec<Occurrence>,
}

#[derive(Serialize)]
struct Occurrence {
    at: String,
    date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Map<String, Value>>,
}

/// `alt.aerie.draft.previewSchedule`: a rule, as JSON or in English, in both forms, and when it is due next.
pub(crate) fn preview_schedule(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let input = call.input.as_ref().unwrap_or(&Value::Null);
    let text = |key| input.get(key).and_then(Value::as_str);
    let rule = match (input.get("recurrenceRule"), text("text")) {
        (Some(rule), None) => RecurrenceRule::of(rule.clone())
            .map_err(|error| XrpcError::invalid_request(error.to_string()))?,
        (None, Some(said)) => understood(said, text("timezone").unwrap_or("UTC"))?,
        _ => {
            return Err(XrpcError::invalid_request("Give either recurrenceRule or text"));
        }
    };
    let now = Timestamp::from_millisecond(app.clock.now_ms()).map_err(XrpcError::internal)?;
    let instant = |key| {
        let bad = |_| XrpcError::invalid_request(format!("{key} must be an instant"));
        text(key).map(|text| text.parse::<Timestamp>().map_err(bad)).transpose()
    };
    let created = instant("createdAt")?.unwrap_or(now);
    let after = instant("after")?.unwrap_or(created);
    let limit = input.get("limit").and_then(Value::as_u64).unwrap_or(SHOWN).min(MOST_SHOWN);
    let due = Occurrences::of(&rule, created);
    let occurrences = due.all_after(after).take(usize::try_from(limit).unwrap_or(0));
    let occurrences = occurrences.map(|of| Occurrence {
        at: of.at.to_string(),
        date: of.date.to_string(),
        record: of.record,
    });
    let occurrences = occurrences.collect();
    Reply::json(&Preview { text: recurrence::written(&rule), recurrence_rule: rule, occurrences })
}

fn understood(text: &str, zone: &str) -> Result<RecurrenceRule, XrpcError> {
    recurrence::read(text, zone).ok_or_else(|| {
        XrpcError::invalid_request(
            "text is not understood; write for example \"every Monday and Friday at 9am ET\", with an IANA name as timezone",
        )
    })
}
