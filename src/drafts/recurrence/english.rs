//! Rules in English, both ways: "last Friday of every month at 5pm (ET)". Times without a zone are of one that is given,
//! and without a time 9:00 is meant. A text that is not understood whole is not understood.

mod words;

use std::fmt::Write as _;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::rule::{RecurrenceRule, Rule, Time};
use words::{Words, ordinal, zone_name};

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [i8; 5] = [1, 2, 3, 4, 5];
const WEEKEND: [i8; 2] = [0, 6];
/// A text that is longer says more than a rule.
const MOST_TEXT: usize = 300;

/// The rule that a text means; times in it that name no zone are of `zone`, which is an IANA name. None if any part of it
/// is not understood.
#[must_use]
pub fn read(text: &str, zone: &str) -> Option<RecurrenceRule> {
    if text.len() > MOST_TEXT {
        return None;
    }
    let mut words = Words::of(text);
    let parts = words.take_parts()?;
    let time = parts.time(zone);
    let rule = match once(&words, &parts, zone) {
        Some(rule) => rule,
        None => recurring(&words, &time)?,
    };
    let rule = RecurrenceRule {
        rule,
        start_date: parts.start,
        end_date: parts.end,
        count: parts.count,
        exceptions: Vec::new(),
        revisions: Vec::new(),
    };
    rule.check().ok().map(|()| rule)
}

/// `once on March 15, 2028`, and a date in digits.
fn once(words: &Words, parts: &words::Parts, zone: &str) -> Option<Rule> {
    let mut words = words.clone();
    words.is("once").then_some(())?;
    words.is("on");
    let date = match words.date() {
        Some(date) => date,
        None => {
            let month = words.month()?;
            let day = words.ordinal()?;
            let year = words.number()?;
            Date::new(i16::try_from(year).ok()?, month, day).ok()?
        }
    };
    words.end().then_some(())?;
    let time = parts.time(zone);
    let at = DateTime::from_parts(date, time.of_day()?).to_zoned(time.zone()?).ok()?;
    Some(Rule::Once { datetime: at.timestamp() })
}

/// Each of these reads a whole text or nothing.
fn recurring(words: &Words, time: &Time) -> Option<Rule> {
    let forms: [fn(&mut Words, Time) -> Option<Rule>; 8] = [
        daily,
        monthly_last_business_day,
        quarterly,
        yearly_nth_weekday,
        yearly_on_month_day,
        monthly_nth_weekday,
        monthly_on_day,
        weekly,
    ];
    forms.into_iter().find_map(|form| {
        let mut words = words.clone();
        form(&mut words, time.clone()).filter(|_| words.end())
    })
}

fn daily(words: &mut Words, time: Time) -> Option<Rule> {
    let interval = if words.is("daily") { 1 } else { words.every("day")? };
    Some(Rule::Daily { interval, time })
}

fn weekly(words: &mut Words, time: Time) -> Option<Rule> {
    let mut whole = words.clone();
    let interval = if whole.is("weekly") { Some(1) } else { whole.every("week") };
    if let Some(interval) = interval {
        *words = whole;
        words.is("on");
        // As ALF has it: a week without a day is a Monday.
        let days_of_week = words.days().unwrap_or_else(|| vec![1]);
        return Some(Rule::Weekly { interval, days_of_week, time });
    }
    let interval = words.interval().unwrap_or(1);
    Some(Rule::Weekly { interval, days_of_week: words.days()?, time })
}

/// `every 2 months`, `monthly`, `of each month`, `of the month`.
fn of_month(words: &mut Words) -> Option<u32> {
    words.is("of");
    if words.is("monthly") || words.are(&["the", "month"]) { Some(1) } else { words.every("month") }
}

fn of_year(words: &mut Words) -> Option<u32> {
    if words.is("yearly") || words.is("annually") { Some(1) } else { words.every("year") }
}

/// Both orders: what and then of which month or year, or `on` and `the` between them. Either part may be missing where `b`
/// says so.
fn either<A, B>(
    words: &mut Words,
    what: impl Fn(&mut Words) -> Option<A>,
    of: impl Fn(&mut Words) -> Option<B>,
) -> Option<(A, B)> {
    let mut first = words.clone();
    if let Some(a) = what(&mut first)
        && let Some(b) = of(&mut first)
    {
        *words = first;
        return Some((a, b));
    }
    let b = of(words)?;
    words.is("on");
    words.is("the");
    Some((what(words)?, b))
}

fn monthly_on_day(words: &mut Words, time: Time) -> Option<Rule> {
    let day = |words: &mut Words| {
        words.is("on");
        words.is("the");
        // A month that is shorter has its last day then.
        if words.are(&["last", "day"]) { Some(31) } else { words.ordinal() }
    };
    let mut bare = words.clone();
    if let Some(interval) = of_month(&mut bare)
        && bare.end()
    {
        *words = bare;
        return Some(Rule::MonthlyOnDay { interval, day_of_month: 1, time });
    }
    let (day_of_month, interval) = either(words, day, of_month)?;
    Some(Rule::MonthlyOnDay { interval, day_of_month, time })
}

fn monthly_nth_weekday(words: &mut Words, time: Time) -> Option<Rule> {
    let ((nth, weekday), interval) = either(words, Words::nth_weekday, of_month)?;
    Some(Rule::MonthlyNthWeekday { interval, nth, weekday, time })
}

fn monthly_last_business_day(words: &mut Words, time: Time) -> Option<Rule> {
    let what = |words: &mut Words| {
        words.is("on");
        words.is("the");
        let is_it = words.are(&["last", "business", "day"]) || words.are(&["last", "weekday"]);
        is_it.then_some(())
    };
    let mut bare = words.clone();
    if bare.are(&["last", "business", "day"]) && bare.end() {
        *words = bare;
        return Some(Rule::MonthlyLastBusinessDay { interval: 1, time });
    }
    let ((), interval) = either(words, what, of_month)?;
    Some(Rule::MonthlyLastBusinessDay { interval, time })
}

fn quarterly(words: &mut Words, time: Time) -> Option<Rule> {
    let of = |words: &mut Words| {
        words.is("of");
        if words.is("quarterly") || words.are(&["the", "quarter"]) {
            Some(1)
        } else {
            words.every("quarter")
        }
    };
    let last = |words: &mut Words| words.nth_weekday().filter(|(nth, _)| *nth == -1);
    let ((_, weekday), interval) = either(words, last, of)?;
    Some(Rule::QuarterlyLastWeekday { interval, weekday, time })
}

fn yearly_on_month_day(words: &mut Words, time: Time) -> Option<Rule> {
    let day = |words: &mut Words| {
        words.is("on");
        let month = words.month()?;
        Some((month, words.ordinal().unwrap_or(1)))
    };
    let ((month, day_of_month), interval) = either(words, day, of_year)?;
    Some(Rule::YearlyOnMonthDay { interval, month, day_of_month, time })
}

fn yearly_nth_weekday(words: &mut Words, time: Time) -> Option<Rule> {
    let day = |words: &mut Words| {
        let day = words.nth_weekday()?;
        words.is("of").then_some((day, words.month()?))
    };
    let (((nth, weekday), month), interval) = either(words, day, of_year)?;
    Some(Rule::YearlyNthWeekday { interval, month, nth, weekday, time })
}

/// A rule in English.
#[must_use]
pub fn written(rule: &RecurrenceRule) -> String {
    let mut text = core(&rule.rule);
    // Writing to a string does not fail.
    if let Some(date) = rule.start_date {
        _ = write!(text, ", starting {date}");
    }
    if let Some(date) = rule.end_date {
        _ = write!(text, ", until {date}");
    }
    if let Some(count) = rule.count {
        _ = write!(text, ", for {count} {}", plural(count, "occurrence"));
    }
    let exceptions = u32::try_from(rule.exceptions.len()).unwrap_or(u32::MAX);
    if exceptions > 0 {
        _ = write!(text, ", with {exceptions} {}", plural(exceptions, "exception"));
    }
    for revision in &rule.revisions {
        _ = write!(text, "; from {} on {}", revision.effective_from_date, core(&revision.rule));
    }
    text
}

fn core(rule: &Rule) -> String {
    let interval = rule.interval();
    let what = match rule {
        Rule::Once { datetime } => {
            let at = datetime.to_zoned(TimeZone::UTC);
            let month = month(at.month());
            let time = clock(at.hour(), at.minute(), at.second());
            return format!("once on {month} {}, {} at {time} (UTC)", at.day(), at.year());
        }
        Rule::Daily { .. } => every(interval, "day"),
        Rule::Weekly { days_of_week, .. } => week(interval, days_of_week),
        Rule::MonthlyOnDay { day_of_month, .. } => {
            format!("{} on the {}", every(interval, "month"), ordinal(*day_of_month))
        }
        Rule::MonthlyNthWeekday { nth, weekday, .. } => {
            format!("{} of {}", nth_day(*nth, *weekday), every(interval, "month"))
        }
        Rule::MonthlyLastBusinessDay { .. } => {
            format!("last business day of {}", every(interval, "month"))
        }
        Rule::QuarterlyLastWeekday { weekday, .. } => {
            format!("{} of {}", nth_day(-1, *weekday), every(interval, "quarter"))
        }
        Rule::YearlyOnMonthDay { month: number, day_of_month, .. } => {
            let every = every(interval, "year");
            format!("{every} on {} {}", month(*number), ordinal(*day_of_month))
        }
        Rule::YearlyNthWeekday { month: number, nth, weekday, .. } => {
            let every = every(interval, "year");
            format!("{} of {} {every}", nth_day(*nth, *weekday), month(*number))
        }
    };
    match rule.time() {
        Some(time) => format!("{what} at {}", time_of(time)),
        None => what,
    }
}

fn every(interval: u32, unit: &str) -> String {
    match interval {
        1 => format!("every {unit}"),
        2 => format!("every other {unit}"),
        _ => format!("every {interval} {unit}s"),
    }
}

fn week(interval: u32, days: &[i8]) -> String {
    let mut days = days.to_vec();
    days.sort_unstable();
    let named = match days.as_slice() {
        days if days == WEEKDAYS => Some("weekday"),
        days if days == WEEKEND => Some("weekend"),
        _ => None,
    };
    let list = match named {
        Some(name) if interval == 1 => name.to_owned(),
        Some(name) => format!("{name}s"),
        None => listed(&days),
    };
    if interval == 1 {
        format!("every {list}")
    } else {
        format!("{} on {list}", every(interval, "week"))
    }
}

fn listed(days: &[i8]) -> String {
    let names: Vec<_> = days.iter().map(|day| weekday(*day)).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn nth_day(nth: i8, day: i8) -> String {
    let nth = if nth == -1 { "last".to_owned() } else { ordinal(nth) };
    format!("{nth} {}", weekday(day))
}

fn weekday(day: i8) -> &'static str {
    usize::try_from(day).ok().and_then(|day| DAYS.get(day)).copied().unwrap_or_default()
}

fn month(month: i8) -> &'static str {
    let at = usize::try_from(month - 1).ok();
    at.and_then(|at| MONTHS.get(at)).copied().unwrap_or_default()
}

fn time_of(time: &Time) -> String {
    let (Time::WallTime { hour, minute, second, .. }
    | Time::FixedInstant { hour, minute, second, .. }) = time;
    let clock = clock(*hour, *minute, *second);
    match time {
        Time::WallTime { timezone, .. } => format!("{clock} ({})", zone_name(timezone)),
        Time::FixedInstant { utc_offset_minutes: 0, .. } => format!("{clock} (UTC+0)"),
        Time::FixedInstant { utc_offset_minutes: offset, .. } => {
            let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
            let sign = if *offset < 0 { '-' } else { '+' };
            let minutes = if minutes == 0 { String::new() } else { format!(":{minutes:02}") };
            format!("{clock} (UTC{sign}{hours}{minutes})")
        }
    }
}

fn clock(hour: i8, minute: i8, second: i8) -> String {
    match (hour, minute, second) {
        (12, 0, 0) => return "noon".to_owned(),
        (0, 0, 0) => return "midnight".to_owned(),
        _ => {}
    }
    let half = if hour >= 12 { "pm" } else { "am" };
    let hour = if hour % 12 == 0 { 12 } else { hour % 12 };
    match (minute, second) {
        (0, 0) => format!("{hour}{half}"),
        (_, 0) => format!("{hour}:{minute:02}{half}"),
        _ => format!("{hour}:{minute:02}:{second:02}{half}"),
    }
}

fn plural(number: u32, unit: &str) -> String {
    if number == 1 { unit.to_owned() } else { format!("{unit}s") }
}
