//! What recurs, as clients ask when it is due. What rules mean is tested where it is computed.

use serde_json::json;

use super::testing::Server;
use crate::hydrate::testing::Fixture;

const PREVIEW: &str = "alt.aerie.draft.previewSchedule";

#[test]
fn a_rule_in_english_and_as_json_is_due_at_the_same_times() {
    let f = Fixture::new();
    let me = f.account("me");
    let server = Server::new(f);
    // It is 2023-11-14T22:13:20Z, a Tuesday.
    let said = json!({ "text": "every Friday at 9am", "timezone": "Europe/Berlin" });
    let said = server.post(PREVIEW, said, me).unwrap();
    assert_eq!(said["text"], "every Friday at 9am (Europe/Berlin)");
    let first = json!({ "at": "2023-11-17T08:00:00Z", "date": "2023-11-17" });
    assert_eq!(
        (said["occurrences"].as_array().unwrap().len(), &said["occurrences"][0]),
        (5, &first)
    );

    let mut rule = said["recurrenceRule"].clone();
    let same = server.post(PREVIEW, json!({ "recurrenceRule": rule }), me).unwrap();
    assert_eq!(same, said);
    rule["exceptions"] = json!([
        { "type": "override_payload", "date": "2023-11-24", "record": { "text": "thanks" } }
    ]);
    let asked = json!({
        "recurrenceRule": rule, "createdAt": "2023-11-01T00:00:00Z", "after": "2023-11-20T00:00:00Z", "limit": 1
    });
    let one = json!([{ "at": "2023-11-24T08:00:00Z", "date": "2023-11-24", "record": { "text": "thanks" } }]);
    assert_eq!(server.post(PREVIEW, asked, me).unwrap()["occurrences"], one);
}

#[test]
fn what_is_no_rule_is_said_to_be_none() {
    let f = Fixture::new();
    let me = f.account("me");
    let server = Server::new(f);
    let daily = json!({ "rule": { "type": "daily", "time": { "type": "wall_time", "hour": 9, "minute": 0, "timezone": "UTC" } } });
    for (input, why) in [
        (json!({}), "either"),
        (json!({ "text": "every day", "recurrenceRule": daily }), "either"),
        (json!({ "text": "now and then" }), "not understood"),
        (json!({ "text": "every day", "timezone": "Mars/Olympus" }), "not understood"),
        (json!({ "recurrenceRule": { "rule": { "type": "hourly" } } }), "hourly"),
    ] {
        let error = server.post(PREVIEW, input.clone(), me).unwrap_err();
        assert_eq!((error.status().as_u16(), error.name()), (400, "InvalidRequest"), "{input}");
        assert!(error.message().contains(why), "{input}: {}", error.message());
    }
}
