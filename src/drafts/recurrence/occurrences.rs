//! When a rule with its exceptions and revisions happens.

use std::collections::BTreeMap;

use jiff::civil::{self, Date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Map, Value};

use super::rule::{Exception, RecurrenceRule, Rule, Time};

/// Days by which the date in any zone, or at any time of that day, may differ from that of UTC.
const APART: i64 = 2;

/// One time that it happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// When.
    pub at: Timestamp,
    /// The date that stands for it, whatever it was moved to.
    pub date: Date,
    /// What is written instead of what always is.
    pub record: Option<Map<String, Value>>,
}

impl Occurrence {
    fn place(&self) -> Place {
        (self.at, self.date)
    }
}

/// Where an occurrence is among all.
type Place = (Timestamp, Date);

/// All occurrences of a rule.
#[derive(Debug, Clone)]
pub struct Occurrences {
    /// One after the other, the last without an end.
    spans: Vec<Span>,
    /// The last date that counts.
    last: Option<Date>,
    /// What dates with exceptions come to; nothing if they are cancelled.
    special: BTreeMap<Date, Option<Occurrence>>,
}

/// Dates on which one rule holds.
#[derive(Debug, Clone)]
struct Span {
    rule: Rule,
    clock: Option<Clock>,
    /// The first date, which is the anchor too.
    from: Date,
    /// The first date that is not.
    until: Option<Date>,
}

/// A time of day somewhere.
#[derive(Debug, Clone)]
struct Clock {
    time: civil::Time,
    zone: TimeZone,
}

impl Clock {
    /// A rule that was checked has one.
    fn of(time: &Time) -> Option<Self> {
        Some(Self { time: time.of_day()?, zone: time.zone()? })
    }

    fn at(&self, date: Date) -> Option<Timestamp> {
        // In a gap as much later as it is long, and of two the first.
        let zoned = date.to_datetime(self.time).to_zoned(self.zone.clone()).ok()?;
        Some(zoned.timestamp())
    }
}

impl Span {
    fn dates(&self, from: Date) -> impl Iterator<Item = Date> + use<'_> {
        let dates = self.rule.dates(self.from, self.rule.interval(), from);
        dates.take_while(|date| self.until.is_none_or(|until| *date < until))
    }

    fn at(&self, date: Date) -> Option<Timestamp> {
        match (&self.rule, &self.clock) {
            (Rule::Once { datetime }, _) => Some(*datetime),
            (_, Some(clock)) => clock.at(date),
            (_, None) => None,
        }
    }
}

impl Occurrences {
    /// Those of a rule that was made at an instant. The rule has been checked.
    #[must_use]
    pub fn of(rule: &RecurrenceRule, created: Timestamp) -> Self {
        let mut begins: Vec<_> =
            rule.revisions.iter().map(|other| (other.effective_from_date, &other.rule)).collect();
        begins.sort_unstable_by_key(|(from, _)| *from);
        begins.insert(0, (Date::MIN, &rule.rule));
        let ends: Vec<_> = begins.iter().skip(1).map(|(from, _)| *from).collect();
        let ends = ends.into_iter().map(Some).chain([None]);
        let mut spans: Vec<_> = begins
            .into_iter()
            .zip(ends)
            .map(|((from, rule), until)| {
                let clock = rule.time().and_then(Clock::of);
                Span { rule: rule.clone(), clock, from, until }
            })
            .collect();
        let anchor = rule.start_date.or_else(|| first_after(&spans, created));
        match anchor {
            Some(anchor) => spans.retain_mut(|span| {
                span.from = span.from.max(anchor);
                span.until.is_none_or(|until| span.from < until)
            }),
            None => spans.clear(),
        }
        let mut all = Self { spans, last: rule.end_date, special: BTreeMap::new() };
        if let Some(count) = rule.count {
            let nth = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(1);
            // With fewer dates than that, `endDate` or the calendar is what ends it.
            let date = all.dates(Date::MIN).nth(nth).map(|(date, _)| date);
            all.last = date.or(all.last);
        }
        all.special = all.exceptional(&rule.exceptions);
        all
    }

    /// All that are later than an instant, in order.
    pub fn all_after(&self, at: Timestamp) -> impl Iterator<Item = Occurrence> {
        let mut place = (at, Date::MAX);
        std::iter::from_fn(move || {
            let next = self.behind(place)?;
            place = next.place();
            Some(next)
        })
    }

    fn behind(&self, place: Place) -> Option<Occurrence> {
        let special = self.special.values().flatten().filter(|of| of.place() > place);
        let special = special.min_by_key(|of| of.place()).cloned();
        let regular = self.regular_behind(place);
        special.into_iter().chain(regular).min_by_key(Occurrence::place)
    }

    fn regular_behind(&self, place: Place) -> Option<Occurrence> {
        let mut best: Option<Place> = None;
        for (date, span) in self.dates(around(place.0, -APART)) {
            // A later date of another zone may still be an earlier instant.
            if best.is_some_and(|(at, _)| date > around(at, APART)) {
                break;
            }
            if self.special.contains_key(&date) {
                continue;
            }
            // Instants end a day before the calendar does.
            let Some(at) = span.at(date) else { break };
            if (at, date) > place && best.is_none_or(|best| (at, date) < best) {
                best = Some((at, date));
            }
        }
        best.map(|(at, date)| Occurrence { at, date, record: None })
    }

    /// All dates from one on.
    fn dates(&self, from: Date) -> impl Iterator<Item = (Date, &Span)> {
        let dates =
            self.spans.iter().flat_map(move |span| span.dates(from).map(move |date| (date, span)));
        dates.take_while(|(date, _)| self.last.is_none_or(|last| *date <= last))
    }

    /// What exceptions make of the dates that they are of.
    fn exceptional(&self, exceptions: &[Exception]) -> BTreeMap<Date, Option<Occurrence>> {
        let mut by_date: BTreeMap<Date, Vec<&Exception>> = BTreeMap::new();
        for exception in exceptions {
            by_date.entry(exception.date()).or_default().push(exception);
        }
        let mut special = BTreeMap::new();
        for (date, exceptions) in by_date {
            if let Some((_, span)) = self.dates(date).next().filter(|(next, _)| *next == date) {
                special.insert(date, excepted(date, span.at(date), &exceptions));
            }
        }
        special
    }
}

/// What all exceptions of a date make of it together: where it is moved to goes before another time of that day.
fn excepted(date: Date, at: Option<Timestamp>, exceptions: &[&Exception]) -> Option<Occurrence> {
    let (mut at, mut moved, mut record) = (at, None, None);
    for exception in exceptions {
        match exception {
            Exception::Cancel { .. } => return None,
            Exception::Move { new_datetime, .. } => moved = Some(*new_datetime),
            Exception::OverrideTime { time, .. } => {
                at = Clock::of(time).and_then(|clock| clock.at(date));
            }
            Exception::OverridePayload { record: other, .. } => record = Some(other.clone()),
        }
    }
    Some(Occurrence { at: moved.or(at)?, date, record })
}

/// The first date whose instant is later than one, as if every interval were one.
fn first_after(spans: &[Span], created: Timestamp) -> Option<Date> {
    let around = around(created, -APART);
    spans.iter().find_map(|span| {
        let from = span.from.max(around);
        let dates = span.rule.dates(from, 1, from);
        let mut dates = dates.take_while(|date| span.until.is_none_or(|until| *date < until));
        dates.find(|date| span.at(*date).is_some_and(|at| at > created))
    })
}

/// The date in UTC, and so many days.
fn around(at: Timestamp, days: i64) -> Date {
    at.to_zoned(TimeZone::UTC).date().saturating_add(days.days())
}
