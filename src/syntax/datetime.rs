//! Datetimes: the lexicon's strict format, the lenient reading of old records, and the one form that is written.
//!
//! Instants are milliseconds since the Unix epoch (`i64`). The rules are the reference's, which leans on ECMAScript's
//! `Date`: a 30 February counts on into March, fractions beyond milliseconds are cut off.
//!
//! # Invariants
//! - `format_ms` of anything in years 0 to 9999 is a text that `parse_strict` reads back to the same instant.

/// 0000-01-01T00:00:00.000Z.
pub const MIN_MS: i64 = -62_167_219_200_000;
/// 9999-12-31T23:59:59.999Z.
pub const MAX_MS: i64 = 253_402_300_799_999;

const DAY_MS: i64 = 86_400_000;
const MAX_LEN: usize = 64;

/// Whether the text passes the lexicon's `datetime` format.
pub fn is_datetime(text: &str) -> bool {
    parse_strict(text).is_some()
}

/// Reads the lexicon's `datetime` format (RFC 3339 with `T`, seconds and a zone; not `-00:00`), as milliseconds since
/// the epoch; `None` outside years 0 to 9999.
pub fn parse_strict(text: &str) -> Option<i64> {
    if let Some(ms) = parse_canonical(text.as_bytes()) {
        return Some(ms);
    }
    if text.len() > MAX_LEN || text.ends_with("-00:00") {
        return None;
    }
    let mut scan = Scan(text.as_bytes());
    let date = scan.date()?;
    scan.expect(b'T')?;
    let (hour, minute) = (scan.two(0..=23)?, {
        scan.expect(b':')?;
        scan.two(0..=59)?
    });
    scan.expect(b':')?;
    let second = scan.two(0..=59)?;
    let millis = scan.fraction()?;
    let zone = scan.zone(true)?;
    scan.end()?;
    in_range(date + clock(hour, minute, second) + millis - zone)
}

/// `2024-01-01T00:00:00.000Z`, the form nearly every record has.
fn parse_canonical(text: &[u8]) -> Option<i64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let [
        y1,
        y2,
        y3,
        y4,
        b'-',
        o1,
        o2,
        b'-',
        d1,
        d2,
        b'T',
        h1,
        h2,
        b':',
        m1,
        m2,
        b':',
        s1,
        s2,
        b'.',
        f1,
        f2,
        f3,
        b'Z',
    ] = text
    else {
        return None;
    };
    let year = digits(&[*y1, *y2, *y3, *y4])?;
    let (month, day) = (digits(&[*o1, *o2])?, digits(&[*d1, *d2])?);
    let (hour, minute, second) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, digits(&[*s1, *s2])?);
    let valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    valid.then_some(())?;
    Some(days(year, month, day) * DAY_MS + clock(hour, minute, second) + digits(&[*f1, *f2, *f3])?)
}

/// The instant that the reference's `normalizeDatetimeAlways` writes: that of whatever date can be read, without a zone
/// taken as UTC, and the epoch for everything else.
pub fn normalize_ms(text: &str) -> i64 {
    parse_strict(text).or_else(|| parse_lenient(text)).unwrap_or(0)
}

/// `2024-01-01T00:00:00.000Z`. Instants outside years 0 to 9999 are clamped to them.
pub fn format_ms(ms: i64) -> String {
    Time(ms).text(str::to_owned)
}

/// An instant that is written as [`format_ms`] does, without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub i64);

impl Time {
    /// Calls `f` with the text.
    fn text<T>(self, f: impl FnOnce(&str) -> T) -> T {
        f(std::str::from_utf8(&digits_of(self.0)).unwrap_or_default())
    }
}

impl serde::Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.text(|text| to.serialize_str(text))
    }
}

fn digits_of(ms: i64) -> [u8; 24] {
    let ms = ms.clamp(MIN_MS, MAX_MS);
    let (day, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(day);
    let mut out = *b"0000-00-00T00:00:00.000Z";
    let fields = [
        (year, 0..4),
        (month, 5..7),
        (day, 8..10),
        (rest / 3_600_000, 11..13),
        (rest / 60_000 % 60, 14..16),
        (rest / 1000 % 60, 17..19),
        (rest % 1000, 20..23),
    ];
    for (mut value, place) in fields {
        for digit in out.get_mut(place).unwrap_or_default().iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    out
}

/// ISO forms that ECMAScript reads though the lexicon does not, then RFC 2822.
fn parse_lenient(text: &str) -> Option<i64> {
    if text.len() > MAX_LEN {
        return None;
    }
    let text = text.trim();
    iso(text.as_bytes()).or_else(|| rfc2822(text)).and_then(in_range)
}

fn iso(text: &[u8]) -> Option<i64> {
    let mut scan = Scan(text);
    let year = scan.number(4)?;
    let (mut month, mut day) = (1, 1);
    if scan.expect(b'-').is_some() {
        month = scan.two(1..=12)?;
        if scan.expect(b'-').is_some() {
            day = scan.two(1..=31)?;
        }
    }
    let date = days(year, month, day) * DAY_MS;
    if scan.expect(b'T').or_else(|| scan.expect(b't')).or_else(|| scan.expect(b' ')).is_none() {
        let zone = scan.zone(false)?;
        scan.end()?;
        return Some(date - zone);
    }
    let hour = scan.two(0..=24)?;
    scan.expect(b':')?;
    let minute = scan.two(0..=59)?;
    let (mut second, mut millis) = (0, 0);
    if scan.expect(b':').is_some() {
        second = scan.two(0..=59)?;
        millis = scan.fraction()?;
    }
    if hour == 24 && (minute, second, millis) != (0, 0, 0) {
        return None;
    }
    let zone = scan.zone(false)?;
    scan.end()?;
    Some(date + clock(hour, minute, second) + millis - zone)
}

fn rfc2822(text: &str) -> Option<i64> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    Some(parser.parse_timestamp(text).ok()?.as_millisecond())
}

fn in_range(ms: i64) -> Option<i64> {
    (MIN_MS..=MAX_MS).contains(&ms).then_some(ms)
}

fn clock(hour: i64, minute: i64, second: i64) -> i64 {
    ((hour * 60 + minute) * 60 + second) * 1000
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar; `day` may run past the end of the month.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years are counted from March, so that the leap day comes last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    fn number(&mut self, len: usize) -> Option<i64> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        digits(head)
    }

    fn two(&mut self, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        self.number(2).filter(|n| range.contains(n))
    }

    /// `YYYY-MM-DD`, in milliseconds.
    fn date(&mut self) -> Option<i64> {
        let year = self.number(4)?;
        self.expect(b'-')?;
        let month = self.two(1..=12)?;
        self.expect(b'-')?;
        Some(days(year, month, self.two(1..=31)?) * DAY_MS)
    }

    /// An optional fraction of at least one digit, cut to milliseconds.
    fn fraction(&mut self) -> Option<i64> {
        if self.expect(b'.').is_none() {
            return Some(0);
        }
        let len = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let (head, tail) = self.0.split_at_checked(len).filter(|(head, _)| !head.is_empty())?;
        self.0 = tail;
        Some(head.iter().chain(b"00").take(3).fold(0, |sum, b| sum * 10 + i64::from(b - b'0')))
    }

    /// The zone in milliseconds east of UTC. Leniently it may be absent, lower-case, or without its colon.
    fn zone(&mut self, strict: bool) -> Option<i64> {
        let (first, tail) = match self.0.split_first() {
            None => return (!strict).then_some(0),
            Some(split) => split,
        };
        self.0 = tail;
        let sign = match first {
            b'Z' => return Some(0),
            b'z' if !strict => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hour = self.two(0..=23)?;
        if self.expect(b':').is_none() && strict {
            return None;
        }
        Some(sign * clock(hour, self.two(0..=59)?, 0))
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_vectors() {
        for (text, normal) in [
            ("1985-04-12T23:20:50.123Z", "1985-04-12T23:20:50.123Z"),
            ("1985-04-12T23:20:50.123456Z", "1985-04-12T23:20:50.123Z"),
            ("1985-04-12T23:20:50.120Z", "1985-04-12T23:20:50.120Z"),
            ("1985-04-12T23:20:50.1235678912345Z", "1985-04-12T23:20:50.123Z"),
            ("1985-04-12T23:20:50.1Z", "1985-04-12T23:20:50.100Z"),
            ("1985-04-12T23:20:50Z", "1985-04-12T23:20:50.000Z"),
            ("1985-04-12T23:20:50.123+00:00", "1985-04-12T23:20:50.123Z"),
            ("1985-04-12T23:20:50.123-07:00", "1985-04-13T06:20:50.123Z"),
            ("1985-04-12T23:20:50.123+01:45", "1985-04-12T21:35:50.123Z"),
            ("2024-02-30T00:00:00Z", "2024-03-01T00:00:00.000Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(parse_strict(text).map(format_ms).as_deref(), Some(normal), "{text}");
        }
        for text in [
            "",
            "1985-04-12",
            "1985-04-12T23:20:50.123",
            "1985-04-12T23:20Z",
            "1985-04-12T23:20:50.Z",
            "1985-04-12T23:20:50.123-00:00",
            "1985-04-12 23:20:50Z",
            "1985-04-12t23:20:50Z",
            "1985-04-12T23:20:50z",
            "01985-04-12T23:20:50Z",
            "985-04-12T23:20:50Z",
            "1985-4-12T23:20:50Z",
            "1985-13-12T23:20:50.123Z",
            "1985-04-00T23:20:50.123Z",
            "1985-04-32T23:20:50.123Z",
            "1985-04-12T24:00:00.000Z",
            "1985-04-12T23:60:50.123Z",
            "1985-04-12T23:20:60.123Z",
            "1985-04-12T23:20:50.123+0100",
            "1985-04-12T23:20:50.123+24:00",
            "-1985-04-12T23:20:50.123Z",
            "0000-01-01T00:00:00+01:00",
            "9999-12-31T23:59:00-00:01",
            "1985-04-12T23:20:50.123ZZ",
            " 1985-04-12T23:20:50.123Z",
            "1985-04-12T23:20:50.1234567890123456789012345678901234567890123456Z",
        ] {
            assert_eq!(parse_strict(text), None, "{text}");
        }
    }

    // Outputs of ECMAScript's Date, through the reference's normalizeDatetimeAlways.
    #[test]
    fn lenient_vectors() {
        for (text, normal) in [
            ("2024-01-01", "2024-01-01T00:00:00.000Z"),
            ("2024-01-01Z", "2024-01-01T00:00:00.000Z"),
            ("2024-01", "2024-01-01T00:00:00.000Z"),
            ("2024", "2024-01-01T00:00:00.000Z"),
            ("2024-01-01T10:00", "2024-01-01T10:00:00.000Z"),
            ("2024-01-01T10:00:00.123456789", "2024-01-01T10:00:00.123Z"),
            ("2024-01-01 10:00:00", "2024-01-01T10:00:00.000Z"),
            ("2024-01-01T24:00:00Z", "2024-01-02T00:00:00.000Z"),
            ("2024-01-01T10:00:00+0100", "2024-01-01T09:00:00.000Z"),
            ("2024-01-01T10:00:00-00:00", "2024-01-01T10:00:00.000Z"),
            ("2024-01-01t10:00:00z", "2024-01-01T10:00:00.000Z"),
            ("Tue, 17 Mar 2026 16:38:44 GMT", "2026-03-17T16:38:44.000Z"),
            ("2024-01-01T00:00:60Z", "1970-01-01T00:00:00.000Z"),
            ("0000-01-01T00:00:00+01:00", "1970-01-01T00:00:00.000Z"),
            ("1700000000", "1970-01-01T00:00:00.000Z"),
            ("blah", "1970-01-01T00:00:00.000Z"),
            ("", "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(format_ms(normalize_ms(text)), normal, "{text}");
        }
    }

    #[test]
    fn formatting_clamps() {
        assert_eq!(format_ms(i64::MIN), "0000-01-01T00:00:00.000Z");
        assert_eq!(format_ms(i64::MAX), "9999-12-31T23:59:59.999Z");
    }

    proptest::proptest! {
        #[test]
        fn round_trips_and_agrees_with_jiff(ms in MIN_MS..=MAX_MS) {
            let text = format_ms(ms);
            assert_eq!(parse_strict(&text), Some(ms));
            if let Ok(stamp) = jiff::Timestamp::from_millisecond(ms) {
                assert_eq!(format!("{stamp:.3}"), text);
            }
        }
    }
}
