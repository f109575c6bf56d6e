use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Instants that another library computed, see `tests/fixtures/recurrence.py`.
const INSTANTS: &str = include_str!("../../../tests/fixtures/recurrence.json");

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn rule(value: Value) -> RecurrenceRule {
    RecurrenceRule::of(value).unwrap()
}

fn nine() -> Value {
    json!({"type": "wall_time", "hour": 9, "minute": 0, "timezone": "UTC"})
}

fn cases() -> Vec<Value> {
    let file: Value = serde_json::from_str(INSTANTS).unwrap();
    file["cases"].as_array().unwrap().clone()
}

#[test]
fn what_another_library_computes_is_what_is_due() {
    let cases = cases();
    assert!(cases.len() >= 60);
    for case in cases {
        let created = at(case["created"].as_str().unwrap());
        let all = Occurrences::of(&rule(case["rule"].clone()), created);
        let mut due = all.all_after(at(case["after"].as_str().unwrap()));
        for wanted in case["due"].as_array().unwrap() {
            let next = due.next().map(|of| (of.at.to_string(), of.date.to_string()));
            let text = |key| wanted[key].as_str().unwrap().to_owned();
            assert_eq!(next, Some((text("at"), text("date"))), "{}", case["rule"]);
        }
        if case["ends"] == true {
            assert_eq!(due.next(), None, "{}", case["rule"]);
        }
    }
}

#[test]
fn a_record_of_a_date_comes_with_it_wherever_that_is_moved_to() {
    let of = rule(json!({
        "rule": {"type": "daily", "time": nine()},
        "exceptions": [
            {"type": "override_payload", "date": "2028-01-02", "record": {"text": "other"}},
            {"type": "move", "date": "2028-01-02", "newDatetime": "2028-01-03T09:00:00Z"},
        ]
    }));
    let all = Occurrences::of(&of, at("2028-01-01T00:00:00Z"));
    let due: Vec<_> = all.all_after(at("2028-01-01T10:00:00Z")).take(3).collect();
    // Two at one instant are two.
    let text = due.iter().map(|of| of.record.as_ref().map(|record| record["text"].clone()));
    assert_eq!(text.collect::<Vec<_>>(), [Some(json!("other")), None, None]);
    let dates: Vec<_> = due.iter().map(|of| of.date.to_string()).collect();
    assert_eq!(dates, ["2028-01-02", "2028-01-03", "2028-01-04"]);
    assert_eq!(due[0].at, due[1].at);
    // What is strictly later is later than both.
    assert_eq!(all.all_after(due[0].at).next().unwrap().date.to_string(), "2028-01-04");
}

#[test]
fn what_never_comes_ends_the_search() {
    for (of, created) in [
        (
            json!({"type": "yearly_nth_weekday", "month": 2, "nth": 5, "weekday": 2, "interval": 999, "time": nine()}),
            "2001-01-01T00:00:00Z",
        ),
        (json!({"type": "once", "datetime": "2020-01-01T00:00:00Z"}), "2028-01-01T00:00:00Z"),
        (json!({"type": "daily", "interval": 1000, "time": nine()}), "9999-12-29T00:00:00Z"),
    ] {
        let all = Occurrences::of(&rule(json!({"rule": of})), at(created));
        assert!(all.all_after(at(created)).take(50).count() < 50, "{of}");
    }
    let cancelled: Vec<_> = (1..=28)
        .map(|day| json!({"type": "cancel", "date": format!("2028-02-{day:02}")}))
        .collect();
    let of = rule(
        json!({"rule": {"type": "daily", "time": nine()}, "startDate": "2028-02-01", "endDate": "2028-02-28", "exceptions": cancelled}),
    );
    assert_eq!(
        Occurrences::of(&of, at("2028-01-01T00:00:00Z"))
            .all_after(at("2028-01-01T00:00:00Z"))
            .next(),
        None
    );
}

#[test]
fn what_is_no_rule_is_refused_with_the_reason() {
    let time = |hour: i32, zone: &str| json!({"type": "wall_time", "hour": hour, "minute": 0, "timezone": zone});
    let daily = || json!({"type": "daily", "time": nine()});
    let many = |n: usize| vec![json!({"type": "cancel", "date": "2028-01-01"}); n];
    for (bad, why) in [
        (json!([]), ""),
        (json!({}), "rule"),
        (json!({"rule": {"type": "hourly", "time": nine()}}), "hourly"),
        (json!({"rule": {"type": "daily"}}), "time"),
        (json!({"rule": {"type": "daily", "time": nine(), "interval": 0}}), "interval"),
        (json!({"rule": {"type": "daily", "time": nine(), "interval": 1001}}), "interval"),
        (json!({"rule": {"type": "daily", "time": nine(), "interval": 1.5}}), "1.5"),
        (json!({"rule": {"type": "daily", "time": nine(), "color": "red"}}), "color"),
        (json!({"rule": {"type": "daily", "time": time(24, "UTC")}}), "hour"),
        (json!({"rule": {"type": "daily", "time": time(9, "Mars/Olympus")}}), "Mars/Olympus"),
        (json!({"rule": {"type": "daily", "time": time(9, "")}}), "zone"),
        (
            json!({"rule": {"type": "daily", "time": {"type": "fixed_instant", "utcOffsetMinutes": 841, "hour": 1, "minute": 1}}}),
            "utcOffsetMinutes",
        ),
        (
            json!({"rule": {"type": "daily", "time": {"type": "fixed_instant", "utcOffsetMinutes": i32::MIN, "hour": 1, "minute": 1}}}),
            "utcOffsetMinutes",
        ),
        (json!({"rule": {"type": "weekly", "daysOfWeek": [], "time": nine()}}), "daysOfWeek"),
        (json!({"rule": {"type": "weekly", "daysOfWeek": [1, 1], "time": nine()}}), "daysOfWeek"),
        (json!({"rule": {"type": "weekly", "daysOfWeek": [7], "time": nine()}}), "day of the week"),
        (
            json!({"rule": {"type": "weekly", "daysOfWeek": [-1], "time": nine()}}),
            "day of the week",
        ),
        (
            json!({"rule": {"type": "monthly_on_day", "dayOfMonth": 32, "time": nine()}}),
            "dayOfMonth",
        ),
        (
            json!({"rule": {"type": "monthly_nth_weekday", "nth": 0, "weekday": 1, "time": nine()}}),
            "nth",
        ),
        (
            json!({"rule": {"type": "monthly_nth_weekday", "nth": 6, "weekday": 1, "time": nine()}}),
            "nth",
        ),
        (
            json!({"rule": {"type": "yearly_on_month_day", "month": 13, "dayOfMonth": 1, "time": nine()}}),
            "month",
        ),
        (json!({"rule": {"type": "once", "datetime": "tomorrow"}}), "tomorrow"),
        (json!({"rule": daily(), "count": 0}), "count"),
        (json!({"rule": daily(), "count": 10_001}), "count"),
        (json!({"rule": daily(), "startDate": "2028-02-30"}), "2028-02-30"),
        (json!({"rule": daily(), "startDate": "20280229"}), "20280229"),
        (json!({"rule": daily(), "exceptions": [{"type": "skip", "date": "2028-01-01"}]}), "skip"),
        (json!({"rule": daily(), "exceptions": many(1001)}), "exceptions"),
        (
            json!({"rule": daily(), "revisions": [{"effectiveFromDate": "2028-01-01", "rule": daily()}, {"effectiveFromDate": "2028-01-01", "rule": daily()}]}),
            "2028-01-01",
        ),
        (
            json!({"rule": daily(), "revisions": [{"effectiveFromDate": "2028-01-01", "rule": {"type": "daily", "interval": 0, "time": nine()}}]}),
            "interval",
        ),
    ] {
        let error = RecurrenceRule::of(bad.clone()).unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
    assert!(RecurrenceRule::of(json!({"rule": daily(), "exceptions": many(1000)})).is_ok());
}

/// The parts of a rule that are there for every type.
fn said(text: &str) -> Option<Value> {
    read(text, "America/Denver").map(|rule| serde_json::to_value(rule).unwrap())
}

#[test]
fn english_is_read() {
    let wall = |hour: i8, minute: i8, zone: &str| json!({"type": "wall_time", "hour": hour, "minute": minute, "timezone": zone});
    let here = |hour: i8| wall(hour, 0, "America/Denver");
    for (text, wanted) in [
        ("every day at 9am", json!({"rule": {"type": "daily", "time": here(9)}})),
        ("Daily at noon", json!({"rule": {"type": "daily", "time": here(12)}})),
        (
            "every 3 days at 8 am",
            json!({"rule": {"type": "daily", "interval": 3, "time": here(8)}}),
        ),
        (
            "every other day at 12am UTC",
            json!({"rule": {"type": "daily", "interval": 2, "time": wall(0, 0, "UTC")}}),
        ),
        (
            "each day at 18:30",
            json!({"rule": {"type": "daily", "time": wall(18, 30, "America/Denver")}}),
        ),
        ("every day", json!({"rule": {"type": "daily", "time": here(9)}})),
        ("every day at 5", json!({"rule": {"type": "daily", "time": here(5)}})),
        ("every Monday", json!({"rule": {"type": "weekly", "daysOfWeek": [1], "time": here(9)}})),
        (
            "every Monday and Friday at 9am ET",
            json!({"rule": {"type": "weekly", "daysOfWeek": [1, 5], "time": wall(9, 0, "America/New_York")}}),
        ),
        (
            "every Friday, Wednesday, and Monday at 8am",
            json!({"rule": {"type": "weekly", "daysOfWeek": [1, 3, 5], "time": here(8)}}),
        ),
        (
            "weekdays at 9am",
            json!({"rule": {"type": "weekly", "daysOfWeek": [1, 2, 3, 4, 5], "time": here(9)}}),
        ),
        (
            "every weekday at 8am EST",
            json!({"rule": {"type": "weekly", "daysOfWeek": [1, 2, 3, 4, 5], "time": wall(8, 0, "America/New_York")}}),
        ),
        (
            "weekends at noon",
            json!({"rule": {"type": "weekly", "daysOfWeek": [0, 6], "time": here(12)}}),
        ),
        (
            "every 2 weeks on Tuesday at 10am",
            json!({"rule": {"type": "weekly", "interval": 2, "daysOfWeek": [2], "time": here(10)}}),
        ),
        (
            "every other week on Monday",
            json!({"rule": {"type": "weekly", "interval": 2, "daysOfWeek": [1], "time": here(9)}}),
        ),
        (
            "every other Sunday",
            json!({"rule": {"type": "weekly", "interval": 2, "daysOfWeek": [0], "time": here(9)}}),
        ),
        (
            "every month on the 15th at 9am",
            json!({"rule": {"type": "monthly_on_day", "dayOfMonth": 15, "time": here(9)}}),
        ),
        (
            "1st of each month at noon",
            json!({"rule": {"type": "monthly_on_day", "dayOfMonth": 1, "time": here(12)}}),
        ),
        (
            "monthly on the 28th at 5pm",
            json!({"rule": {"type": "monthly_on_day", "dayOfMonth": 28, "time": here(17)}}),
        ),
        (
            "every 3 months on the 1st",
            json!({"rule": {"type": "monthly_on_day", "interval": 3, "dayOfMonth": 1, "time": here(9)}}),
        ),
        (
            "last day of the month",
            json!({"rule": {"type": "monthly_on_day", "dayOfMonth": 31, "time": here(9)}}),
        ),
        ("monthly", json!({"rule": {"type": "monthly_on_day", "dayOfMonth": 1, "time": here(9)}})),
        (
            "first Monday of each month",
            json!({"rule": {"type": "monthly_nth_weekday", "nth": 1, "weekday": 1, "time": here(9)}}),
        ),
        (
            "last Friday of every month at 5pm",
            json!({"rule": {"type": "monthly_nth_weekday", "nth": -1, "weekday": 5, "time": here(17)}}),
        ),
        (
            "3rd Wednesday of each month",
            json!({"rule": {"type": "monthly_nth_weekday", "nth": 3, "weekday": 3, "time": here(9)}}),
        ),
        (
            "second Tuesday of the month",
            json!({"rule": {"type": "monthly_nth_weekday", "nth": 2, "weekday": 2, "time": here(9)}}),
        ),
        (
            "every month on the last Sunday",
            json!({"rule": {"type": "monthly_nth_weekday", "nth": -1, "weekday": 0, "time": here(9)}}),
        ),
        (
            "last business day of each month at 5pm UTC",
            json!({"rule": {"type": "monthly_last_business_day", "time": wall(17, 0, "UTC")}}),
        ),
        (
            "last business day",
            json!({"rule": {"type": "monthly_last_business_day", "time": here(9)}}),
        ),
        (
            "last weekday of the month",
            json!({"rule": {"type": "monthly_last_business_day", "time": here(9)}}),
        ),
        (
            "last Friday of each quarter at 3pm",
            json!({"rule": {"type": "quarterly_last_weekday", "weekday": 5, "time": here(15)}}),
        ),
        (
            "quarterly last Thursday at 10am",
            json!({"rule": {"type": "quarterly_last_weekday", "weekday": 4, "time": here(10)}}),
        ),
        (
            "every year on January 1st at midnight",
            json!({"rule": {"type": "yearly_on_month_day", "month": 1, "dayOfMonth": 1, "time": here(0)}}),
        ),
        (
            "March 15th each year",
            json!({"rule": {"type": "yearly_on_month_day", "month": 3, "dayOfMonth": 15, "time": here(9)}}),
        ),
        (
            "annually on July 4th",
            json!({"rule": {"type": "yearly_on_month_day", "month": 7, "dayOfMonth": 4, "time": here(9)}}),
        ),
        (
            "last Friday of December every year",
            json!({"rule": {"type": "yearly_nth_weekday", "month": 12, "nth": -1, "weekday": 5, "time": here(9)}}),
        ),
        (
            "first Monday of March yearly",
            json!({"rule": {"type": "yearly_nth_weekday", "month": 3, "nth": 1, "weekday": 1, "time": here(9)}}),
        ),
        (
            "daily at 6pm Pacific time",
            json!({"rule": {"type": "daily", "time": wall(18, 0, "America/Los_Angeles")}}),
        ),
        (
            "every day at 9am europe/berlin",
            json!({"rule": {"type": "daily", "time": wall(9, 0, "Europe/Berlin")}}),
        ),
        (
            "every day at 9am UTC-5",
            json!({"rule": {"type": "daily", "time": {"type": "fixed_instant", "utcOffsetMinutes": -300, "hour": 9, "minute": 0}}}),
        ),
        (
            "every day at 9am (UTC+5:45)",
            json!({"rule": {"type": "daily", "time": {"type": "fixed_instant", "utcOffsetMinutes": 345, "hour": 9, "minute": 0}}}),
        ),
        (
            "every Monday at 9am for 10 times",
            json!({"rule": {"type": "weekly", "daysOfWeek": [1], "time": here(9)}, "count": 10}),
        ),
        (
            "every day at noon until 2026-12-31.",
            json!({"rule": {"type": "daily", "time": here(12)}, "endDate": "2026-12-31"}),
        ),
        (
            "every week on Friday at 5pm starting 2026-04-01",
            json!({"rule": {"type": "weekly", "daysOfWeek": [5], "time": here(17)}, "startDate": "2026-04-01"}),
        ),
        (
            "once on March 15, 2028 at 2:30pm (UTC)",
            json!({"rule": {"type": "once", "datetime": "2028-03-15T14:30:00Z"}}),
        ),
        (
            "once on 2028-03-15 at noon CET",
            json!({"rule": {"type": "once", "datetime": "2028-03-15T11:00:00Z"}}),
        ),
    ] {
        assert_eq!(said(text).as_ref(), Some(&wanted), "{text}");
    }
}

#[test]
fn what_is_not_understood_whole_is_not_understood() {
    for text in [
        "",
        "asdf qwerty blah",
        "at 9am",
        "every",
        "every day at 9am or so",
        "every day at 25",
        "every day at 9:61",
        "every day at 13pm",
        "every day at 0am",
        "every day at 9am at 10am",
        "every day ET CT",
        "every Mars/Olympus day",
        "every 0 days",
        "every 1001 days",
        "every -1 days",
        "every 99999999999999999999 days",
        "6th Monday of each month",
        "first Friday of each quarter",
        "every month on the 32nd",
        "every month on the 0th",
        "every month on the 2th",
        "every year",
        "every year on Smarch 1st",
        "every Monday Tuesday of",
        "every day until tomorrow",
        "every day for 0 times",
        "every day for many times",
        "every day at 9am (UTC+25)",
        "once on February 30, 2028",
        "once",
        "日曜日",
        "every\u{0}day",
    ] {
        assert_eq!(said(text), None, "{text}");
    }
    assert_eq!(said(&"every ".repeat(1000)), None);
    assert_eq!(read("every day", "nowhere"), None);
}

#[test]
fn english_is_written_as_it_is_read() {
    for (of, text) in [
        (json!({"type": "daily", "interval": 2, "time": nine()}), "every other day at 9am (UTC)"),
        (
            json!({"type": "daily", "time": {"type": "wall_time", "hour": 8, "minute": 5, "timezone": "America/Phoenix"}}),
            "every day at 8:05am (America/Phoenix)",
        ),
        (
            json!({"type": "daily", "time": {"type": "fixed_instant", "utcOffsetMinutes": -300, "hour": 12, "minute": 0}}),
            "every day at noon (UTC-5)",
        ),
        (
            json!({"type": "daily", "time": {"type": "fixed_instant", "utcOffsetMinutes": 0, "hour": 0, "minute": 0, "second": 7}}),
            "every day at 12:00:07am (UTC+0)",
        ),
        (
            json!({"type": "weekly", "daysOfWeek": [5, 1, 3], "time": nine()}),
            "every Monday, Wednesday and Friday at 9am (UTC)",
        ),
        (
            json!({"type": "weekly", "interval": 3, "daysOfWeek": [0, 6], "time": nine()}),
            "every 3 weeks on weekends at 9am (UTC)",
        ),
        (
            json!({"type": "weekly", "interval": 2, "daysOfWeek": [2], "time": nine()}),
            "every other week on Tuesday at 9am (UTC)",
        ),
        (
            json!({"type": "monthly_on_day", "dayOfMonth": 22, "time": nine()}),
            "every month on the 22nd at 9am (UTC)",
        ),
        (
            json!({"type": "monthly_nth_weekday", "nth": 3, "weekday": 3, "time": nine()}),
            "3rd Wednesday of every month at 9am (UTC)",
        ),
        (
            json!({"type": "monthly_last_business_day", "interval": 2, "time": nine()}),
            "last business day of every other month at 9am (UTC)",
        ),
        (
            json!({"type": "quarterly_last_weekday", "weekday": 5, "time": nine()}),
            "last Friday of every quarter at 9am (UTC)",
        ),
        (
            json!({"type": "yearly_on_month_day", "month": 1, "dayOfMonth": 1, "time": nine()}),
            "every year on January 1st at 9am (UTC)",
        ),
        (
            json!({"type": "yearly_nth_weekday", "month": 12, "nth": -1, "weekday": 5, "time": nine()}),
            "last Friday of December every year at 9am (UTC)",
        ),
        (
            json!({"type": "once", "datetime": "2028-02-29T00:00:00Z"}),
            "once on February 29, 2028 at midnight (UTC)",
        ),
    ] {
        assert_eq!(written(&rule(json!({"rule": of}))), text);
    }
    let of = json!({
        "rule": {"type": "daily", "time": nine()}, "startDate": "2028-01-01", "endDate": "2029-01-01", "count": 1,
        "exceptions": [{"type": "cancel", "date": "2028-01-02"}],
        "revisions": [{"effectiveFromDate": "2028-02-01", "rule": {"type": "weekly", "daysOfWeek": [4], "time": nine()}}]
    });
    let text = "every day at 9am (UTC), starting 2028-01-01, until 2029-01-01, for 1 occurrence, with 1 exception; from \
                2028-02-01 on every Thursday at 9am (UTC)";
    assert_eq!(written(&rule(of)), text);
}

#[test]
fn every_rule_of_the_cases_is_read_as_it_is_written() {
    for case in cases() {
        let mut of = rule(case["rule"].clone());
        (of.exceptions, of.revisions) = (Vec::new(), Vec::new());
        if let Rule::Weekly { days_of_week, .. } = &mut of.rule {
            days_of_week.sort_unstable();
        }
        let text = written(&of);
        assert_eq!(read(&text, "Africa/Nairobi"), Some(of), "{text}");
    }
}

fn any_time() -> impl Strategy<Value = Value> {
    let zones = prop::sample::select(vec![
        "UTC",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Casablanca",
    ]);
    let wall = (0..24, 0..60, zones).prop_map(|(hour, minute, zone)| json!({"type": "wall_time", "hour": hour, "minute": minute, "timezone": zone}));
    let fixed = (0..24, 0..60, -840..=840).prop_map(|(hour, minute, offset)| json!({"type": "fixed_instant", "hour": hour, "minute": minute, "utcOffsetMinutes": offset}));
    prop_oneof![wall, fixed]
}

fn any_rule() -> impl Strategy<Value = Value> {
    let nth = prop::sample::select(vec![-1, 1, 2, 3, 4, 5]);
    let numbers = (1..=1000, 1..=12, 1..=31, 0..=6, nth);
    (0..8, any_time(), numbers).prop_map(|(kind, time, (interval, month, day, weekday, nth))| match kind {
        0 => json!({"type": "daily", "interval": interval, "time": time}),
        1 => json!({"type": "weekly", "interval": interval, "daysOfWeek": [weekday, (weekday + 3) % 7], "time": time}),
        2 => json!({"type": "monthly_on_day", "interval": interval, "dayOfMonth": day, "time": time}),
        3 => json!({"type": "monthly_nth_weekday", "interval": interval, "nth": nth, "weekday": weekday, "time": time}),
        4 => json!({"type": "monthly_last_business_day", "interval": interval, "time": time}),
        5 => json!({"type": "quarterly_last_weekday", "interval": interval, "weekday": weekday, "time": time}),
        6 => json!({"type": "yearly_on_month_day", "interval": interval, "month": month, "dayOfMonth": day, "time": time}),
        _ => json!({"type": "yearly_nth_weekday", "interval": interval, "month": month, "nth": nth, "weekday": weekday, "time": time}),
    })
}

proptest! {
    /// Whatever the rule, what is due comes in order, each later than what was asked for, and the same from any place on.
    #[test]
    fn what_is_due_comes_in_order(of in any_rule(), created in 0_i64..4_000_000_000) {
        let created = Timestamp::from_second(created).unwrap();
        let all = Occurrences::of(&rule(json!({"rule": of})), created);
        let due: Vec<_> = all.all_after(created).take(20).collect();
        prop_assert!(due.iter().all(|of| of.at > created));
        for pair in due.windows(2) {
            prop_assert!((pair[0].at, pair[0].date) < (pair[1].at, pair[1].date));
            let later = all.all_after(pair[0].at).next();
            prop_assert_eq!(later.as_ref(), Some(&pair[1]));
        }
    }

    #[test]
    fn no_text_is_too_strange(text in "(every|each|last|first|on|of|the|month|week|day|9|at|am|[0-9]{1,3}|monday|and|until|2028-01-01|for|times|ET| |.){0,20}") {
        if let Some(rule) = read(&text, "UTC") {
            prop_assert!(rule.check().is_ok());
            prop_assert_eq!(read(&written(&rule), "UTC"), Some(rule));
        }
    }
}
