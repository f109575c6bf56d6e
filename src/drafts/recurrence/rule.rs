//! Rules in the JSON form that clients write, and what makes one of them a bad one.

use jiff::Timestamp;
use jiff::civil::{self, Date, Weekday};
use jiff::tz::TimeZone;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// Most units of time between two occurrences.
const MOST_INTERVAL: u32 = 1_000;
/// Most occurrences of a rule that says how many it has.
const MOST_COUNT: u32 = 10_000;
/// Most exceptions, and revisions.
const MOST_EXCEPTIONS: usize = 1_000;
const MOST_REVISIONS: usize = 100;
/// Minutes between UTC and the furthest local time that there is.
const MOST_OFFSET: i32 = 14 * 60;

/// A rule with all that changes it (ALF, `RecurrenceRule`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecurrenceRule {
    /// What recurs.
    pub rule: Rule,
    /// The first date that counts.
    #[serde(default, with = "day", skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Date>,
    /// The last date that counts.
    #[serde(default, with = "day", skip_serializing_if = "Option::is_none")]
    pub end_date: Option<Date>,
    /// How many dates count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Dates on which something is different.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
    /// Rules that hold from a date on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Revision>,
}

/// What recurs. Days of the week are counted from Sunday, 0; `nth` is 1 to 5, or -1 for the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
#[expect(missing_docs, reason = "the names of ALF's rules and of their fields")]
pub enum Rule {
    Once {
        #[serde(deserialize_with = "instant")]
        datetime: Timestamp,
    },
    Daily {
        #[serde(default = "one", skip_serializing_if = "is_one")]
        interval: u32,
        time: Time,
    },
    Weekly {
        #[serde(default = "one", skip_serializing_if = "is_one")]
        interval: u32,
        days_of_week: Vec<i8>,
        time: Time,
    },
    MonthlyOnDay {
        #[serde(default = "one", skip_serializing_if = "is_one")]
        interval: u32,
        day_of_month: i8,
        time: Time,
    },
    MonthlyNthWeekday {
        #[serde(default = "one", skip_serializing_if = "is_one")]
        interval: u32,
        nth: i8,
        weekday: i8,
        time: Time,
    },
    MonthlyLastBusinessDay {
        #[serde(default = "one", skip_serializing_if = "is_one")]
        interval: u32,
        time: Time,
    },
    QuarterlyLastWeekday {
        #[serde(default = "one", skip_serializing_if = "is_one")]
        interval: u32,
        weekday: i8,
        time: Time,
    },
    YearlyOnMonthDay {
        #[serde(default = "one", skip_serializing_if = "is_one")]
        interval: u32,
        month: i8,
        day_of_month: i8,
        time: Time,
    },
    YearlyNthWeekday {
        #[serde(default = "one", skip_serializing_if = "is_one")]
        interval: u32,
        month: i8,
        nth: i8,
        weekday: i8,
        time: Time,
    },
}

/// When on a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Time {
    /// By the clocks of a zone, whatever its offset is that day.
    WallTime {
        /// 0 to 23.
        hour: i8,
        /// 0 to 59.
        minute: i8,
        /// 0 to 59.
        #[serde(default, skip_serializing_if = "is_zero")]
        second: i8,
        /// Its IANA name.
        timezone: String,
    },
    /// At an offset from UTC, all year; dates are those at that offset.
    FixedInstant {
        /// East of Greenwich more than 0.
        utc_offset_minutes: i32,
        /// 0 to 23.
        hour: i8,
        /// 0 to 59.
        minute: i8,
        /// 0 to 59.
        #[serde(default, skip_serializing_if = "is_zero")]
        second: i8,
    },
}

/// What is different on a date.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
#[expect(missing_docs, reason = "the names of ALF's exceptions and of their fields")]
pub enum Exception {
    Cancel {
        #[serde(with = "day::one")]
        date: Date,
    },
    Move {
        #[serde(with = "day::one")]
        date: Date,
        #[serde(deserialize_with = "instant")]
        new_datetime: Timestamp,
    },
    OverrideTime {
        #[serde(with = "day::one")]
        date: Date,
        time: Time,
    },
    OverridePayload {
        #[serde(with = "day::one")]
        date: Date,
        record: Map<String, Value>,
    },
}

/// Another rule from a date on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revision {
    /// The client's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The first date on which it holds.
    #[serde(with = "day::one")]
    pub effective_from_date: Date,
    /// What recurs then.
    pub rule: Rule,
}

/// Why a rule is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// It has not the form of one.
    #[error("recurrenceRule: {0}")]
    Form(String),
    /// A number is out of its range.
    #[error("recurrenceRule: {0} must be {1}")]
    Range(&'static str, &'static str),
    /// There is no such zone.
    #[error(
        "recurrenceRule: unknown time zone {0:?}; use its IANA name, for example \"Europe/Berlin\""
    )]
    Zone(String),
    /// Two revisions begin on one day.
    #[error("recurrenceRule: two revisions begin on {0}")]
    TwoRevisions(Date),
}

impl RecurrenceRule {
    /// The rule of its JSON form.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(value: Value) -> Result<Self, BadRule> {
        let rule: Self =
            serde_json::from_value(value).map_err(|error| BadRule::Form(error.to_string()))?;
        rule.check()?;
        Ok(rule)
    }

    /// Whether everything is in its range.
    ///
    /// # Errors
    /// The first thing that is not.
    pub fn check(&self) -> Result<(), BadRule> {
        self.rule.check()?;
        if self.count.is_some_and(|count| !(1..=MOST_COUNT).contains(&count)) {
            return Err(BadRule::Range("count", "1 to 10000"));
        }
        if self.exceptions.len() > MOST_EXCEPTIONS {
            return Err(BadRule::Range("exceptions", "at most 1000"));
        }
        if self.revisions.len() > MOST_REVISIONS {
            return Err(BadRule::Range("revisions", "at most 100"));
        }
        for exception in &self.exceptions {
            if let Exception::OverrideTime { time, .. } = exception {
                time.check()?;
            }
        }
        let mut begin = std::collections::BTreeSet::new();
        for revision in &self.revisions {
            revision.rule.check()?;
            if !begin.insert(revision.effective_from_date) {
                return Err(BadRule::TwoRevisions(revision.effective_from_date));
            }
        }
        Ok(())
    }
}

impl Rule {
    /// Units of time from one occurrence to the next.
    #[must_use]
    pub fn interval(&self) -> u32 {
        match self {
            Self::Once { .. } => 1,
            Self::Daily { interval, .. }
            | Self::Weekly { interval, .. }
            | Self::MonthlyOnDay { interval, .. }
            | Self::MonthlyNthWeekday { interval, .. }
            | Self::MonthlyLastBusinessDay { interval, .. }
            | Self::QuarterlyLastWeekday { interval, .. }
            | Self::YearlyOnMonthDay { interval, .. }
            | Self::YearlyNthWeekday { interval, .. } => *interval,
        }
    }

    /// When on a day; none of what happens once.
    #[must_use]
    pub fn time(&self) -> Option<&Time> {
        match self {
            Self::Once { .. } => None,
            Self::Daily { time, .. }
            | Self::Weekly { time, .. }
            | Self::MonthlyOnDay { time, .. }
            | Self::MonthlyNthWeekday { time, .. }
            | Self::MonthlyLastBusinessDay { time, .. }
            | Self::QuarterlyLastWeekday { time, .. }
            | Self::YearlyOnMonthDay { time, .. }
            | Self::YearlyNthWeekday { time, .. } => Some(time),
        }
    }

    fn check(&self) -> Result<(), BadRule> {
        if !(1..=MOST_INTERVAL).contains(&self.interval()) {
            return Err(BadRule::Range("interval", "1 to 1000"));
        }
        match self {
            Self::Weekly { days_of_week: days, .. } => {
                let twice =
                    days.iter().enumerate().any(|(n, day)| days.iter().take(n).any(|d| d == day));
                if days.is_empty() || twice {
                    return Err(BadRule::Range("daysOfWeek", "one or more days, each once"));
                }
                days.iter().try_for_each(|day| weekday_in_range(*day))?;
            }
            Self::MonthlyOnDay { day_of_month, .. } => day_in_range(*day_of_month)?,
            Self::YearlyOnMonthDay { month, day_of_month, .. } => {
                month_in_range(*month)?;
                day_in_range(*day_of_month)?;
            }
            Self::MonthlyNthWeekday { nth, weekday, .. } => {
                nth_in_range(*nth)?;
                weekday_in_range(*weekday)?;
            }
            Self::YearlyNthWeekday { month, nth, weekday, .. } => {
                month_in_range(*month)?;
                nth_in_range(*nth)?;
                weekday_in_range(*weekday)?;
            }
            Self::QuarterlyLastWeekday { weekday, .. } => weekday_in_range(*weekday)?,
            Self::Once { .. } | Self::Daily { .. } | Self::MonthlyLastBusinessDay { .. } => {}
        }
        self.time().map_or(Ok(()), Time::check)
    }
}

impl Time {
    /// Hour, minute and second.
    #[must_use]
    pub fn of_day(&self) -> Option<civil::Time> {
        let (Self::WallTime { hour, minute, second, .. }
        | Self::FixedInstant { hour, minute, second, .. }) = self;
        civil::Time::new(*hour, *minute, *second, 0).ok()
    }

    /// The zone; of an offset one that has it all year.
    #[must_use]
    pub fn zone(&self) -> Option<TimeZone> {
        match self {
            Self::WallTime { timezone, .. } => TimeZone::get(timezone).ok(),
            Self::FixedInstant { utc_offset_minutes, .. } => {
                let offset = jiff::tz::Offset::from_seconds(utc_offset_minutes.checked_mul(60)?);
                offset.ok().map(TimeZone::fixed)
            }
        }
    }

    fn check(&self) -> Result<(), BadRule> {
        if self.of_day().is_none() {
            return Err(BadRule::Range("time", "hour 0 to 23, minute and second 0 to 59"));
        }
        match self {
            Self::WallTime { timezone, .. } if self.zone().is_none() => {
                Err(BadRule::Zone(timezone.chars().take(64).collect()))
            }
            Self::FixedInstant { utc_offset_minutes: minutes, .. }
                if !(-MOST_OFFSET..=MOST_OFFSET).contains(minutes) =>
            {
                Err(BadRule::Range("utcOffsetMinutes", "-840 to 840"))
            }
            _ => Ok(()),
        }
    }
}

impl Exception {
    /// Of which date.
    #[must_use]
    pub fn date(&self) -> Date {
        let (Self::Cancel { date }
        | Self::Move { date, .. }
        | Self::OverrideTime { date, .. }
        | Self::OverridePayload { date, .. }) = self;
        *date
    }
}

fn weekday_in_range(day: i8) -> Result<(), BadRule> {
    let known = Weekday::from_sunday_zero_offset(day);
    known.map(|_| ()).map_err(|_| BadRule::Range("a day of the week", "0 (Sunday) to 6"))
}

fn day_in_range(day: i8) -> Result<(), BadRule> {
    if (1..=31).contains(&day) { Ok(()) } else { Err(BadRule::Range("dayOfMonth", "1 to 31")) }
}

fn month_in_range(month: i8) -> Result<(), BadRule> {
    if (1..=12).contains(&month) { Ok(()) } else { Err(BadRule::Range("month", "1 to 12")) }
}

fn nth_in_range(nth: i8) -> Result<(), BadRule> {
    if nth == -1 || (1..=5).contains(&nth) {
        Ok(())
    } else {
        Err(BadRule::Range("nth", "1 to 5, or -1 for the last"))
    }
}

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_one(interval: &u32) -> bool {
    *interval == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(second: &i8) -> bool {
    *second == 0
}

fn instant<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    let no_instant = || {
        let shown: String = text.chars().take(64).collect();
        D::Error::custom(format_args!("{shown:?} is no instant like \"2028-02-29T12:00:00Z\""))
    };
    text.parse().map_err(|_| no_instant())
}

/// Dates as `2028-02-29` and in no other form.
mod day {
    use jiff::civil::Date;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(date: &Option<Date>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&date.unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Date>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| day_of(&text)).transpose()
    }

    pub(super) fn day_of<E: de::Error>(text: &str) -> Result<Date, E> {
        let has_form = text.len() == 10 && text.bytes().filter(|byte| *byte == b'-').count() == 2;
        let date = has_form.then(|| text.parse().ok()).flatten();
        date.ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            E::custom(format_args!("{shown:?} is no date like \"2028-02-29\""))
        })
    }

    /// One that is there.
    pub(super) mod one {
        use super::{Date, Deserialize, Deserializer, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            date: &Date,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            to.collect_str(date)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Date, D::Error> {
            super::day_of(&String::deserialize(from)?)
        }
    }
}
