//! What an answer means, and when to try again.

use std::time::Duration;

use crate::net::{NetError, Response, retry_after};
use crate::threads::Backoff;

/// Tries of one job, the first included.
const TRIES: u8 = 10;
/// After so long, a notification is of no use to anybody.
pub(super) const GIVE_UP_MS: i64 = 24 * 60 * 60 * 1000;
/// Ten tries take a day.
const RETRY: Backoff =
    Backoff::new(Duration::from_millis(8_750), 3, Duration::from_secs(24 * 3600)).with_jitter(0.2);

/// What became of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeliveryOutcome {
    /// The other side has it.
    Delivered,
    /// The subscription ended.
    Gone,
    /// It will never be taken.
    Refused(&'static str),
    /// It was not sent, as it is not for the recipient.
    Withheld(&'static str),
    /// Perhaps later; with the pause that the other side asked for, milliseconds.
    Failed(&'static str, Option<i64>),
}

/// Reads the answer of a push service (RFC 8030), or of the operator's endpoint: that one may be set up wrongly for an
/// hour, so most refusals of it are not final.
pub(super) fn outcome(
    answer: &Result<Response, NetError>,
    endpoint: bool,
    now: i64,
) -> DeliveryOutcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(e) if e.is_transient() || (endpoint && !matches!(e, NetError::TooBig(_))) => {
            return DeliveryOutcome::Failed(e.cause(), None);
        }
        Err(e) => return DeliveryOutcome::Refused(e.cause()),
    };
    let since_epoch = Duration::from_millis(u64::try_from(now).unwrap_or(0));
    let pause = retry_after(&answer.headers, since_epoch)
        .map(|pause| i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
    match answer.status.as_u16() {
        200..=299 => DeliveryOutcome::Delivered,
        404 | 410 if !endpoint => DeliveryOutcome::Gone,
        408 | 429 => DeliveryOutcome::Failed("throttled", pause),
        500..=599 => DeliveryOutcome::Failed("server-error", pause),
        400 | 413 | 422 => DeliveryOutcome::Refused("refused"),
        _ if endpoint => DeliveryOutcome::Failed("status", pause),
        _ => DeliveryOutcome::Refused("status"),
    }
}

/// When to try again after `tries` tries of a job that was due first at `born`; `None` to give up. `random` is
/// between 0 and 1.
pub(super) fn next(tries: u8, born: i64, now: i64, pause: Option<i64>, random: f64) -> Option<i64> {
    if tries >= TRIES {
        return None;
    }
    let wait = RETRY.wait_with(u32::from(tries), random).as_millis();
    let wait = i64::try_from(wait).unwrap_or(i64::MAX);
    let due = now.saturating_add(wait.max(pause.unwrap_or(0)));
    (due.saturating_sub(born) <= GIVE_UP_MS).then_some(due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, StatusCode};

    #[test]
    fn answers() {
        use DeliveryOutcome::{Delivered, Failed, Gone, Refused};
        let answer = |status: u16, retry: &str| {
            let mut headers = HeaderMap::new();
            if !retry.is_empty() {
                headers.insert("retry-after", retry.parse().unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            Ok(Response { status, headers, body: bytes::Bytes::new() })
        };
        let table = [
            (answer(200, ""), Delivered, Delivered),
            (answer(201, "5"), Delivered, Delivered),
            (answer(302, ""), Refused("status"), Failed("status", None)),
            (answer(400, ""), Refused("refused"), Refused("refused")),
            (answer(401, ""), Refused("status"), Failed("status", None)),
            (answer(404, ""), Gone, Failed("status", None)),
            (answer(410, ""), Gone, Failed("status", None)),
            (answer(413, ""), Refused("refused"), Refused("refused")),
            (answer(429, "7"), Failed("throttled", Some(7000)), Failed("throttled", Some(7000))),
            (answer(500, ""), Failed("server-error", None), Failed("server-error", None)),
            (
                answer(503, "Thu, 01 Jan 1970 00:01:00 GMT"),
                Failed("server-error", Some(59_000)),
                Failed("server-error", Some(59_000)),
            ),
            (Err(NetError::Timeout("answer")), Failed("timeout", None), Failed("timeout", None)),
            (Err(NetError::Insecure("x".into())), Refused("insecure"), Failed("insecure", None)),
            (
                Err(NetError::RefusedAddress([10, 0, 0, 1].into())),
                Refused("refused-address"),
                Failed("refused-address", None),
            ),
            (Err(NetError::TooBig("body")), Refused("too-big"), Refused("too-big")),
        ];
        for (answer, web, endpoint) in table {
            assert_eq!(outcome(&answer, false, 1000), web, "{answer:?}");
            assert_eq!(outcome(&answer, true, 1000), endpoint, "{answer:?}");
        }
    }

    #[test]
    fn ten_tries_take_a_day() {
        for random in [0.0, 0.5, 1.0] {
            let (mut now, mut tries, mut pauses) = (0, 1, Vec::new());
            while let Some(due) = next(tries, 0, now, None, random) {
                pauses.push(due - now);
                now = due;
                tries += 1;
            }
            assert_eq!((tries, pauses.len()), (10, 9), "{random}");
            assert!((18..=24).contains(&(now / 3_600_000)), "{now}");
            assert!(pauses.windows(2).all(|p| p[1] > 2 * p[0]), "{pauses:?}");
        }
        assert_eq!(next(1, 0, 100, None, 0.0), Some(8_850));
        assert_eq!(next(1, 0, 100, Some(60_000), 1.0), Some(60_100));
        assert_eq!(next(1, 0, 100, Some(GIVE_UP_MS), 1.0), None);
        assert_eq!(next(10, 0, 100, None, 0.0), None);
        assert_eq!(next(9, 0, GIVE_UP_MS - 1, None, 0.0), None);
        // Whatever the clock says.
        assert_eq!(next(10, i64::MAX / 2, 0, None, 0.0), None);
    }
}
