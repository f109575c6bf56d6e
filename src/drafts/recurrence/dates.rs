//! The dates of a rule: of every so many days, weeks, months, quarters or years those that it names.

use jiff::ToSpan as _;
use jiff::civil::{Date, Weekday, date};
use jiff::tz::TimeZone;
use smallvec::{SmallVec, smallvec};

use super::rule::Rule;

/// A Sunday, from which days and weeks are counted.
const FIRST: Date = date(1969, 12, 28);
const DAY: i64 = 86_400;

/// The dates of one period, the earliest first.
type Few = SmallVec<[Date; 7]>;

impl Rule {
    /// Its dates from one on, every `interval` of its periods, that of the anchor first; none before the anchor. It ends
    /// with the calendar.
    pub(super) fn dates(
        &self,
        anchor: Date,
        interval: u32,
        from: Date,
    ) -> impl Iterator<Item = Date> + use<'_> {
        let from = from.max(anchor);
        let (first, interval) = (self.period(anchor), i64::from(interval.max(1)));
        let passed = (self.period(from) - first).div_euclid(interval) * interval;
        let periods = (first + passed..).step_by(usize::try_from(interval).unwrap_or(1));
        let dates = periods.map_while(|period| self.dates_in(period)).flatten();
        dates.skip_while(move |date| *date < from)
    }

    /// The number of the period that a date is in.
    fn period(&self, date: Date) -> i64 {
        let day = date.duration_since(FIRST).as_secs().div_euclid(DAY);
        let (year, month) = (i64::from(date.year()), i64::from(date.month() - 1));
        match self {
            Self::Once { .. } => 0,
            Self::Daily { .. } => day,
            Self::Weekly { .. } => day.div_euclid(7),
            Self::MonthlyOnDay { .. }
            | Self::MonthlyNthWeekday { .. }
            | Self::MonthlyLastBusinessDay { .. } => year * 12 + month,
            Self::QuarterlyLastWeekday { .. } => year * 4 + month / 3,
            Self::YearlyOnMonthDay { .. } | Self::YearlyNthWeekday { .. } => year,
        }
    }

    /// Its dates in a period; none of one that the calendar does not have.
    fn dates_in(&self, period: i64) -> Option<Few> {
        let day = |number: i64| FIRST.checked_add(number.days()).ok();
        Some(match self {
            Self::Once { datetime } if period == 0 => {
                smallvec![datetime.to_zoned(TimeZone::UTC).date()]
            }
            Self::Once { .. } => return None,
            Self::Daily { .. } => smallvec![day(period)?],
            Self::Weekly { days_of_week, .. } => {
                let mut days = Few::new();
                for weekday in days_of_week {
                    days.push(day(period * 7 + i64::from(*weekday))?);
                }
                days.sort_unstable();
                days
            }
            Self::MonthlyOnDay { day_of_month, .. } => {
                smallvec![clamped(month(period, 12)?, *day_of_month)]
            }
            Self::MonthlyNthWeekday { nth, weekday, .. } => {
                nth_weekday(month(period, 12)?, *nth, *weekday).into_iter().collect()
            }
            Self::MonthlyLastBusinessDay { .. } => {
                smallvec![last_business_day(month(period, 12)?)]
            }
            Self::QuarterlyLastWeekday { weekday, .. } => {
                let last_month = month(period, 4)?.checked_add(2.months()).ok()?;
                nth_weekday(last_month, -1, *weekday).into_iter().collect()
            }
            Self::YearlyOnMonthDay { month, day_of_month, .. } => {
                smallvec![clamped(month_of(period, *month)?, *day_of_month)]
            }
            Self::YearlyNthWeekday { month, nth, weekday, .. } => {
                nth_weekday(month_of(period, *month)?, *nth, *weekday).into_iter().collect()
            }
        })
    }
}

/// The first day of a period, of which a year has so many.
fn month(period: i64, of_a_year: i64) -> Option<Date> {
    let month = period.rem_euclid(of_a_year) * (12 / of_a_year) + 1;
    month_of(period.div_euclid(of_a_year), i8::try_from(month).ok()?)
}

fn month_of(year: i64, month: i8) -> Option<Date> {
    Date::new(i16::try_from(year).ok()?, month, 1).ok()
}

fn clamped(month: Date, day: i8) -> Date {
    month.with().day(day.min(month.days_in_month())).build().unwrap_or(month)
}

fn nth_weekday(month: Date, nth: i8, weekday: i8) -> Option<Date> {
    let weekday = Weekday::from_sunday_zero_offset(weekday).ok()?;
    month.nth_weekday_of_month(nth, weekday).ok()
}

fn last_business_day(month: Date) -> Date {
    let last = month.last_of_month();
    let back = match last.weekday() {
        Weekday::Saturday => 1,
        Weekday::Sunday => 2,
        _ => 0,
    };
    last.saturating_sub(back.days())
}
