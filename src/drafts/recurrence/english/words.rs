//! The words of a rule in English, taken one after the other, and the parts of it that may stand anywhere: the time, the
//! zone, where it begins and ends.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::drafts::recurrence::rule::Time;

/// Short names of zones; the first of each zone is what it is called.
const ZONES: &[(&str, &str)] = &[
    ("ET", "America/New_York"),
    ("EST", "America/New_York"),
    ("EDT", "America/New_York"),
    ("Eastern", "America/New_York"),
    ("CT", "America/Chicago"),
    ("CST", "America/Chicago"),
    ("CDT", "America/Chicago"),
    ("Central", "America/Chicago"),
    ("MT", "America/Denver"),
    ("MST", "America/Denver"),
    ("MDT", "America/Denver"),
    ("Mountain", "America/Denver"),
    ("PT", "America/Los_Angeles"),
    ("PST", "America/Los_Angeles"),
    ("PDT", "America/Los_Angeles"),
    ("Pacific", "America/Los_Angeles"),
    ("UTC", "UTC"),
    ("GMT", "UTC"),
    ("London", "Europe/London"),
    ("BST", "Europe/London"),
    ("Paris", "Europe/Paris"),
    ("CET", "Europe/Paris"),
    ("CEST", "Europe/Paris"),
    ("JST", "Asia/Tokyo"),
    ("Tokyo", "Asia/Tokyo"),
    ("Sydney", "Australia/Sydney"),
    ("AEST", "Australia/Sydney"),
    ("AEDT", "Australia/Sydney"),
];
const DAYS: [&[&str]; 7] = [
    &["sunday", "sun"],
    &["monday", "mon"],
    &["tuesday", "tue", "tues"],
    &["wednesday", "wed"],
    &["thursday", "thu", "thur", "thurs"],
    &["friday", "fri"],
    &["saturday", "sat"],
];
const MONTHS: [&[&str]; 12] = [
    &["january", "jan"],
    &["february", "feb"],
    &["march", "mar"],
    &["april", "apr"],
    &["may"],
    &["june", "jun"],
    &["july", "jul"],
    &["august", "aug"],
    &["september", "sep", "sept"],
    &["october", "oct"],
    &["november", "nov"],
    &["december", "dec"],
];
const NTH: [(&str, i8); 6] =
    [("first", 1), ("second", 2), ("third", 3), ("fourth", 4), ("fifth", 5), ("last", -1)];

/// What a zone is called.
pub(super) fn zone_name(zone: &str) -> &str {
    ZONES.iter().find(|(_, known)| *known == zone).map_or(zone, |(name, _)| name)
}

/// `1st`, `22nd`, `11th`.
pub(super) fn ordinal(number: i8) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// What may stand anywhere.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) start: Option<Date>,
    pub(super) end: Option<Date>,
    pub(super) count: Option<u32>,
    of_day: Option<[i8; 3]>,
    zone: Option<Zone>,
}

#[derive(Debug)]
enum Zone {
    Named(String),
    Minutes(i32),
}

impl Parts {
    /// The time, in a zone if none is named.
    pub(super) fn time(&self, zone: &str) -> Time {
        let [hour, minute, second] = self.of_day.unwrap_or([9, 0, 0]);
        match &self.zone {
            Some(Zone::Minutes(minutes)) => {
                Time::FixedInstant { utc_offset_minutes: *minutes, hour, minute, second }
            }
            named => {
                let timezone = match named {
                    Some(Zone::Named(name)) => name.clone(),
                    _ => zone.to_owned(),
                };
                Time::WallTime { hour, minute, second, timezone }
            }
        }
    }
}

/// Words in lower case, the next one first.
#[derive(Debug, Clone)]
pub(super) struct Words {
    /// As they are taken, from the end.
    left: Vec<String>,
}

impl Words {
    pub(super) fn of(text: &str) -> Self {
        let separates = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')');
        let words = text.split(separates).map(|word| word.trim_end_matches(['.', '!', '?']));
        let words = words.filter(|word| !word.is_empty()).map(str::to_owned);
        Self { left: words.rev().collect() }
    }

    /// Takes out what may stand anywhere; none if something stands there twice.
    pub(super) fn take_parts(&mut self) -> Option<Parts> {
        let (mut parts, mut rest) = (Parts::default(), Vec::new());
        while let Some(word) = self.left.last() {
            let lower = word.to_ascii_lowercase();
            let mut ahead = self.clone();
            let fresh = match ahead.part(&lower) {
                Some(Part::Start(date)) => parts.start.replace(date).is_none(),
                Some(Part::End(date)) => parts.end.replace(date).is_none(),
                Some(Part::Count(count)) => parts.count.replace(count).is_none(),
                Some(Part::OfDay(time)) => parts.of_day.replace(time).is_none(),
                Some(Part::Zone(zone)) => parts.zone.replace(zone).is_none(),
                None => {
                    ahead = self.clone();
                    ahead.left.pop();
                    rest.push(lower);
                    true
                }
            };
            fresh.then_some(())?;
            *self = ahead;
        }
        rest.reverse();
        self.left = rest;
        Some(parts)
    }

    /// The part that begins with a word, which is the next one.
    fn part(&mut self, word: &str) -> Option<Part> {
        let before = self.clone();
        self.left.pop();
        match word {
            "starting" | "beginning" | "from" => {
                self.is("on");
                return self.date().map(Part::Start);
            }
            "until" | "through" | "thru" | "ending" | "end" | "ends" => {
                self.is("on");
                return self.date().map(Part::End);
            }
            "for" => return self.count().map(Part::Count),
            "at" => return self.of_day(true).map(Part::OfDay),
            _ => {}
        }
        *self = before;
        let mut ahead = self.clone();
        if let Some(count) = ahead.count() {
            *self = ahead;
            return Some(Part::Count(count));
        }
        let mut ahead = self.clone();
        if let Some(time) = ahead.of_day(false) {
            *self = ahead;
            return Some(Part::OfDay(time));
        }
        self.zone().map(Part::Zone)
    }

    /// `10 times`
    fn count(&mut self) -> Option<u32> {
        let number = self.number()?;
        let unit = self.left.pop()?.to_ascii_lowercase();
        let unit = unit.strip_suffix('s').unwrap_or(&unit);
        matches!(unit, "time" | "occurrence" | "repetition").then_some(number)
    }

    /// `9am`, `9 am`, `8:30`, `17:00:15`, `noon`; a number alone only where a time has to be.
    fn of_day(&mut self, expected: bool) -> Option<[i8; 3]> {
        let word = self.left.pop()?.to_ascii_lowercase();
        match word.as_str() {
            "noon" => return Some([12, 0, 0]),
            "midnight" => return Some([0, 0, 0]),
            _ => {}
        }
        let half = |word: &str| match word {
            "am" => Some(0),
            "pm" => Some(12),
            _ => None,
        };
        let split = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
        let (digits, ending) = word.split_at_checked(split)?;
        let mut later = half(ending);
        if !ending.is_empty() && later.is_none() {
            return None;
        }
        if later.is_none() {
            let next = self.left.last().map(|word| word.to_ascii_lowercase());
            later = next.as_deref().and_then(half);
            if later.is_some() {
                self.left.pop();
            }
        }
        if later.is_none() && !expected && !digits.contains(':') {
            return None;
        }
        let mut numbers = digits.split(':').map(|part| {
            let is_short = (1..=2).contains(&part.len());
            is_short.then(|| part.parse::<i8>().ok()).flatten()
        });
        let hour = numbers.next()??;
        let minute = numbers.next().unwrap_or(Some(0))?;
        let second = numbers.next().unwrap_or(Some(0))?;
        let hour = match later {
            None => hour,
            Some(later) if (1..=12).contains(&hour) => hour % 12 + later,
            Some(_) => return None,
        };
        numbers.next().is_none().then_some([hour, minute, second])
    }

    /// `ET`, `eastern time`, `Europe/Berlin`, `UTC-5`, `UTC+5:30`.
    fn zone(&mut self) -> Option<Zone> {
        let word = self.left.pop()?;
        if let Some((_, zone)) = ZONES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&word)) {
            self.is("time");
            return Some(Zone::Named((*zone).to_owned()));
        }
        if word.contains('/') {
            let zone = TimeZone::get(&word).ok()?;
            return zone.iana_name().map(|name| Zone::Named(name.to_owned()));
        }
        let lower = word.to_ascii_lowercase();
        let offset = lower.strip_prefix("utc").or_else(|| lower.strip_prefix("gmt"))?;
        let sign = match offset.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        let (hours, minutes) = offset.get(1..)?.split_once(':').unwrap_or((offset.get(1..)?, "0"));
        let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
        (minutes < 60).then(|| Zone::Minutes(sign * (i32::from(hours) * 60 + i32::from(minutes))))
    }

    /// Takes the next word, if it is this one.
    pub(super) fn is(&mut self, word: &str) -> bool {
        let is_it = self.left.last().is_some_and(|next| next.eq_ignore_ascii_case(word));
        if is_it {
            self.left.pop();
        }
        is_it
    }

    /// Takes the next words, if they are these.
    pub(super) fn are(&mut self, words: &[&str]) -> bool {
        let mut ahead = self.clone();
        let all = words.iter().all(|word| ahead.is(word));
        if all {
            *self = ahead;
        }
        all
    }

    /// Whether nothing is left.
    pub(super) fn end(&self) -> bool {
        self.left.is_empty()
    }

    /// `every`, `each`, `every other`, `every 3`.
    pub(super) fn interval(&mut self) -> Option<u32> {
        if !self.is("every") && !self.is("each") {
            return None;
        }
        if self.is("other") {
            return Some(2);
        }
        let mut ahead = self.clone();
        let number = ahead.number().or_else(|| ahead.ordinal().and_then(|n| u32::try_from(n).ok()));
        if number.is_some() {
            *self = ahead;
        }
        Some(number.unwrap_or(1))
    }

    /// The same of a unit, which has an `s` if there are many.
    pub(super) fn every(&mut self, unit: &str) -> Option<u32> {
        let mut ahead = self.clone();
        let interval = ahead.interval()?;
        let next = ahead.left.pop()?;
        let is_it = next == unit || next.strip_suffix('s') == Some(unit);
        if is_it {
            *self = ahead;
        }
        is_it.then_some(interval)
    }

    /// `Monday, Wednesday and Friday`, `weekdays`.
    pub(super) fn days(&mut self) -> Option<Vec<i8>> {
        for (name, days) in [("weekday", &super::WEEKDAYS[..]), ("weekend", &super::WEEKEND[..])] {
            if self.is(name) || self.is(&format!("{name}s")) {
                return Some(days.to_vec());
            }
        }
        let mut days = vec![self.weekday()?];
        loop {
            let mut ahead = self.clone();
            ahead.is("and");
            let Some(day) = ahead.weekday() else { break };
            *self = ahead;
            days.push(day);
        }
        days.sort_unstable();
        days.dedup();
        Some(days)
    }

    /// `last Friday`, `3rd Wednesday`
    pub(super) fn nth_weekday(&mut self) -> Option<(i8, i8)> {
        let nth = match NTH.iter().find(|(name, _)| self.is(name)) {
            Some((_, nth)) => *nth,
            None => self.ordinal()?,
        };
        Some((nth, self.weekday()?))
    }

    /// A day of the week, of which there may be many: `Mondays`.
    fn weekday(&mut self) -> Option<i8> {
        let next = self.left.last()?;
        let one = next.strip_suffix('s').unwrap_or(next);
        let day =
            DAYS.iter().position(|names| names.contains(&next.as_str()) || names.contains(&one))?;
        self.left.pop();
        i8::try_from(day).ok()
    }

    pub(super) fn month(&mut self) -> Option<i8> {
        let next = self.left.last()?.to_ascii_lowercase();
        let month = MONTHS.iter().position(|names| names.contains(&next.as_str()))?;
        self.left.pop();
        i8::try_from(month + 1).ok()
    }

    /// `15th`, or `15` alone.
    pub(super) fn ordinal(&mut self) -> Option<i8> {
        let next = self.left.last()?.to_ascii_lowercase();
        let digits = next.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: i8 = digits.parse().ok()?;
        let ending = next.get(digits.len()..)?;
        let is_one = ending.is_empty() || next == ordinal(number);
        self.left.pop().filter(|_| is_one && number > 0).map(|_| number)
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        let number = self.left.last()?.parse().ok()?;
        self.left.pop();
        Some(number)
    }

    /// `2028-02-29`
    pub(super) fn date(&mut self) -> Option<Date> {
        let next = self.left.last()?;
        let date = (next.len() == 10).then(|| next.parse().ok()).flatten()?;
        self.left.pop();
        Some(date)
    }
}

enum Part {
    Start(Date),
    End(Date),
    Count(u32),
    OfDay([i8; 3]),
    Zone(Zone),
}
