//! Doubts the clock of this machine, and lets wait what a wrong one would spoil: ingest, which refuses commits from the
//! future, and everything that takes away what is old.
//!
//! Who else tells the time: the `Date` of the servers that the configuration names, the frames of the upstreams, and what
//! was believed before, plus the time that passed since by a clock that nobody sets. One that agrees with the clock is
//! enough to believe it, since two that are wrong in the same way are rare; what nobody confirms and only the past speaks
//! against is unsure: nothing is taken away, and in a window of days nothing taken in, since by a clock that is ahead all of
//! it is too old.
//!
//! What waits goes on by itself as soon as the clock is right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::alerts::Alerts;
use super::ports::Intake;
use crate::config::{Config, ScopeMode};
use crate::ingest::span;
use crate::net::{HttpClient, StreamLimits};
use crate::store::{Store, StoreError, Writer};
use crate::syntax::datetime::format_ms;
use crate::threads::{Clock, Standing, leap};
use crate::work::clock::{self, Believed};
use crate::work::retention;

/// How often the clock is looked at.
pub const CLOCK_EVERY: Duration = Duration::from_secs(1);
/// How far two clocks that are right may be apart.
const AGREE_MS: i64 = 5 * 60_000;
/// How far apart they may be for what is from the future, by this one, to be wrong without asking: with less of a margin
/// it could be this one that is at the edge of being wrong.
const CONFIRM_MS: i64 = 4 * 60_000;
/// How far the clock may be ahead of all that is known before it is doubted: that much is not read for a day at times.
const AHEAD_MS: i64 = 24 * 3_600_000;
/// How often servers are asked for the time; how often while it is doubted.
const ASK_EVERY: Duration = Duration::from_secs(600);
const ASK_IN_DOUBT: Duration = Duration::from_secs(30);
/// How long the start waits for their answers if it has a reason to.
const FIRST_ANSWERS: Duration = Duration::from_secs(3);
/// How long a voice counts.
const VOICE: Duration = Duration::from_secs(1500);
/// How often the time is remembered in the store.
const SAVE_EVERY: Duration = Duration::from_secs(60);
const LIMITS: StreamLimits = StreamLimits {
    max_bytes: 1 << 20,
    header_timeout: Duration::from_secs(5),
    idle_timeout: Duration::from_secs(1),
    timeout: Duration::from_secs(5),
    redirects: 0,
};

/// What is thought of the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockVerdict {
    /// It is believed.
    #[default]
    Good,
    /// It is ahead of all that is known, and nobody tells the time.
    Unsure,
    /// It is behind.
    Behind,
    /// It is ahead.
    Ahead,
}

impl ClockVerdict {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unsure => "unsure",
            Self::Behind => "behind",
            Self::Ahead => "ahead",
        }
    }
}

/// What is thought of the clock, why, and what to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClockStatus {
    /// The verdict.
    pub state: ClockVerdict,
    /// By how many milliseconds it is wrong, as far as that is known.
    pub by_ms: i64,
    /// Since when, by this clock.
    pub since: i64,
    /// Somebody else says the same.
    pub confirmed: bool,
    /// What that means and what to do, in a sentence.
    pub advice: String,
}

/// What was thought of the clock at the last look, for those who need to know whether to believe it.
pub struct ClockState {
    clock: Clock,
    status: Mutex<ClockStatus>,
}

impl ClockState {
    /// Of this clock, which nobody has looked at yet.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, status: Mutex::default() })
    }

    /// As of the last look.
    #[must_use]
    pub fn get(&self) -> ClockStatus {
        self.status.lock().clone()
    }

    /// What it shows.
    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Lets it be doubted.
    #[cfg(test)]
    pub(super) fn doubt_for_tests(&self) {
        self.status.lock().state = ClockVerdict::Ahead;
    }

    /// Why the clock is not believed, if it is not.
    ///
    /// # Errors
    /// The reason, for the operator.
    pub fn ready(&self) -> Result<(), String> {
        let status = self.get();
        if status.state == ClockVerdict::Good { Ok(()) } else { Err(status.advice) }
    }

    /// What time it is, for whoever takes away what is old.
    ///
    /// # Errors
    /// Why nothing may be taken away.
    pub fn may_delete(&self) -> Result<i64, String> {
        self.ready()?;
        let now = self.now_ms();
        match self.clock.standing(now) {
            Standing::Doubted => Err("the clock of this machine has just leapt".to_owned()),
            Standing::Confirmed | Standing::Unopposed => Ok(now),
        }
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Somebody who told the time.
#[derive(Debug, Clone, Copy)]
struct Voice {
    time: i64,
    at: Instant,
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// A server, of now.
    Date,
    /// An upstream by its frames: it may be catching up.
    Frames,
}

impl Voice {
    fn now(&self, now: Instant) -> i64 {
        self.time.saturating_add(ms(now.saturating_duration_since(self.at)))
    }
}

/// What speaks for the clock and against it: times, all as of now.
#[derive(Debug, Default)]
struct Evidence {
    dates: Vec<(String, i64)>,
    frames: Vec<(String, i64)>,
    /// What was believed before, and whether others did.
    past: Option<(i64, bool)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Judged {
    verdict: ClockVerdict,
    by: i64,
    who: String,
    confirmed: bool,
    /// It went on by more than the time that passed since it was believed, as far as anybody knows.
    leapt: bool,
}

impl Evidence {
    /// Whether a server says the same, within what leaves no doubt.
    fn confirms(&self, clock: i64) -> bool {
        self.dates.iter().any(|(_, time)| time.abs_diff(clock) <= CONFIRM_MS.unsigned_abs())
    }

    fn judge(&self, clock: i64) -> Judged {
        use ClockVerdict::{Ahead, Behind, Good, Unsure};
        let agrees = |time: i64| time.abs_diff(clock) <= AGREE_MS.unsigned_abs();
        let leapt = self.past.is_some_and(|(past, _)| clock.saturating_sub(past) > AHEAD_MS);
        let judged = |verdict, by: i64, who: &str, confirmed| Judged {
            verdict,
            by,
            who: who.to_owned(),
            confirmed,
            leapt,
        };
        if self.dates.iter().any(|(_, time)| agrees(*time)) {
            return judged(Good, 0, "", true);
        }
        if let Some((who, time)) = middle(&self.dates) {
            let by = clock.saturating_sub(time);
            return judged(if by < 0 { Behind } else { Ahead }, by, who, false);
        }
        if self.frames.iter().any(|(_, time)| agrees(*time)) {
            return judged(Good, 0, "", true);
        }
        let newest = self.frames.iter().max_by_key(|(_, time)| *time);
        if let Some((who, time)) = newest.filter(|(_, time)| *time > clock) {
            return judged(Behind, clock.saturating_sub(*time), who, false);
        }
        let before = "what it showed before";
        match self.past {
            Some((past, true)) if past > clock.saturating_add(AGREE_MS) => {
                return judged(Behind, clock.saturating_sub(past), before, false);
            }
            _ => {}
        }
        let past = self.past.filter(|(_, confirmed)| *confirmed || newest.is_none());
        let known = newest.map(|(who, time)| (who.as_str(), *time));
        let known = known.into_iter().chain(past.map(|(time, _)| (before, time)));
        match known.max_by_key(|(_, time)| *time) {
            Some((who, time)) if clock.saturating_sub(time) > AHEAD_MS => {
                judged(Unsure, clock.saturating_sub(time), who, false)
            }
            _ => judged(Good, 0, "", false),
        }
    }
}

fn middle(voices: &[(String, i64)]) -> Option<(&str, i64)> {
    let mut sorted: Vec<_> = voices.iter().map(|(who, time)| (who.as_str(), *time)).collect();
    sorted.sort_unstable_by_key(|(_, time)| *time);
    sorted.get(sorted.len() / 2).copied()
}

impl Judged {
    fn good(confirmed: bool) -> Self {
        Self { verdict: ClockVerdict::Good, by: 0, who: String::new(), confirmed, leapt: false }
    }

    /// Whether nothing may be taken in: a commit would be refused, or, where records are kept for some days only, be left
    /// out as too old.
    fn stops_ingest(&self, by_age: bool) -> bool {
        match self.verdict {
            ClockVerdict::Good => false,
            ClockVerdict::Unsure => by_age && self.leapt,
            ClockVerdict::Behind | ClockVerdict::Ahead => true,
        }
    }

    fn advice(&self, by_age: bool) -> String {
        const TRUST: &str = "If it is right, start with `aerie serve --trust-clock`";
        let (by, who) = (span(self.by.saturating_abs()), &self.who);
        let waits = |direction| {
            format!(
                "the clock of this machine is {by} {direction} {who}: set it. Ingest and retention wait, reads go on, \
                 nothing is lost, and both resume by themselves. {TRUST}"
            )
        };
        match self.verdict {
            ClockVerdict::Good if self.confirmed => "others say the same".to_owned(),
            ClockVerdict::Good => "nothing speaks against it".to_owned(),
            ClockVerdict::Unsure => format!(
                "the clock of this machine is {by} ahead of {who}: it is wrong, or this server was off or is behind for \
                 as long. {} until somebody confirms the time. {TRUST}",
                if self.stops_ingest(by_age) {
                    "Ingest and retention wait"
                } else {
                    "Retention waits"
                }
            ),
            ClockVerdict::Behind => waits("behind"),
            ClockVerdict::Ahead => waits("ahead of"),
        }
    }
}

/// What the watch works with.
#[derive(Clone)]
pub struct ClockSetup {
    /// Remembers the time.
    pub store: Store,
    /// The same.
    pub writer: Writer,
    /// Waits while the clock is wrong, and has voices.
    pub intake: Arc<dyn Intake>,
    /// Tells the operator.
    pub alerts: Alerts,
    /// Asks servers for the time; unguarded, as the operator named them.
    pub http: HttpClient,
    /// What is doubted, and where the result is shown.
    pub state: Arc<ClockState>,
    /// The operator says that it is right.
    pub trusted: bool,
}

/// Looks at the clock again and again.
pub struct ClockWatch {
    setup: ClockSetup,
    service: String,
    /// Whether what is taken in must not be older than some days.
    by_age: bool,
    /// Who is asked for the time.
    servers: Vec<String>,
    past: Option<(Instant, Believed)>,
    voices: BTreeMap<String, Voice>,
    answers: JoinSet<(String, Option<i64>)>,
    looked: Option<(Instant, i64)>,
    asked: Option<Instant>,
    saved: Option<Instant>,
    /// What the operator knows.
    told: ClockVerdict,
}

impl ClockWatch {
    /// Has looked at nothing yet but at what the store remembers.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn new(setup: ClockSetup, config: &Config) -> Result<Self, StoreError> {
        let snapshot = setup.store.snapshot();
        let mut past = clock::believed(&snapshot)?;
        if past.is_none() {
            // A store of an earlier version remembers its last run of retention.
            let report = retention::report(&snapshot)?;
            let report: Option<serde_json::Value> =
                report.and_then(|json| serde_json::from_slice(&json).ok());
            let ended = report.and_then(|report| report.get("ended")?.as_i64());
            past = ended.map(|ms| Believed { ms, confirmed: false });
        }
        Ok(Self {
            service: config.server.did.as_str().to_owned(),
            by_age: config.scope.mode == ScopeMode::Window,
            servers: time_servers(config),
            past: past.map(|past| (Instant::now(), past)),
            voices: BTreeMap::new(),
            answers: JoinSet::new(),
            looked: None,
            asked: None,
            saved: None,
            told: setup.state.get().state,
            setup,
        })
    }

    /// The look before anything is taken in: unless the clock fits what is known of the past, others are asked first.
    pub async fn begin(&mut self) {
        let (now, clock) = (Instant::now(), self.setup.state.now_ms());
        let past = self.past.map(|(_, past)| past.ms);
        let fits = past.is_some_and(|past| {
            past.saturating_sub(AGREE_MS) <= clock && clock.saturating_sub(past) <= AHEAD_MS
        });
        if !fits && !self.setup.trusted {
            self.ask(now);
            let answers = async {
                while let Some(answer) = self.answers.join_next().await {
                    let Ok((who, Some(time))) = answer else { continue };
                    let voice = Voice { time, at: Instant::now(), of: Of::Date };
                    self.voices.insert(who, voice);
                }
            };
            let _ = tokio::time::timeout(FIRST_ANSWERS, answers).await;
        }
        self.look();
    }

    /// Looks at the clock and acts.
    pub fn look(&mut self) {
        let (now, clock) = (Instant::now(), self.setup.state.now_ms());
        let leapt = self.looked.and_then(|(at, then)| {
            leap(now.saturating_duration_since(at), clock.saturating_sub(then))
        });
        self.looked = Some((now, clock));
        if let Some(by) = leapt {
            let (by, way) = (span(by.abs()), if by < 0 { "back" } else { "ahead" });
            tracing::warn!("the clock of this machine leapt {by} {way}");
            // A machine that slept leaps too, and what was heard before is then as wrong as it seems.
            self.voices.clear();
            self.asked = None;
        }
        self.listen(now, clock);
        let was = self.setup.state.get();
        let in_doubt = was.state != ClockVerdict::Good;
        let every = if in_doubt { ASK_IN_DOUBT } else { ASK_EVERY };
        if self.asked.is_none_or(|at| now.saturating_duration_since(at) >= every) {
            self.ask(now);
        }
        let evidence = self.evidence(now);
        let judged = match self.setup.trusted {
            true => Judged::good(true),
            false => evidence.judge(clock),
        };
        let standing = match judged.verdict {
            ClockVerdict::Good if self.setup.trusted || evidence.confirms(clock) => {
                Standing::Confirmed
            }
            ClockVerdict::Good => Standing::Unopposed,
            ClockVerdict::Unsure | ClockVerdict::Behind | ClockVerdict::Ahead => Standing::Doubted,
        };
        self.setup.state.clock.judge(clock, standing);
        let waits = judged.stops_ingest(self.by_age);
        let advice = judged.advice(self.by_age);
        self.setup.intake.wait_for_clock(waits.then(|| advice.clone()));
        let new = judged.verdict != was.state || was.since == 0;
        let status = ClockStatus {
            state: judged.verdict,
            by_ms: judged.by,
            since: if new { clock } else { was.since },
            confirmed: judged.confirmed,
            advice,
        };
        *self.setup.state.status.lock() = status.clone();
        // Whoever was asked may still say that it is right.
        let soon = judged.verdict == ClockVerdict::Unsure && !self.answers.is_empty();
        if judged.verdict != self.told && !soon {
            let was = std::mem::replace(&mut self.told, judged.verdict);
            self.tell(was, &status);
        }
        if judged.verdict == ClockVerdict::Good {
            self.believe(now, clock, judged.confirmed, leapt.is_some());
        }
    }

    /// Takes in who spoke since the last look, and forgets who has not for long.
    fn listen(&mut self, now: Instant, clock: i64) {
        while let Some(answer) = self.answers.try_join_next() {
            let Ok((who, Some(time))) = answer else { continue };
            self.voices.insert(who, Voice { time, at: now, of: Of::Date });
        }
        for upstream in self.setup.intake.times() {
            let behind = upstream.behind.map(|by| clock.saturating_add(by));
            let Some(time) = behind.or(upstream.by_frames) else { continue };
            self.voices.insert(upstream.url, Voice { time, at: now, of: Of::Frames });
        }
        self.voices.retain(|_, voice| now.saturating_duration_since(voice.at) < VOICE);
    }

    fn evidence(&self, now: Instant) -> Evidence {
        let of = |of| {
            let voices = self.voices.iter().filter(move |(_, voice)| voice.of == of);
            voices.map(|(who, voice)| (who.clone(), voice.now(now))).collect()
        };
        let past = self.past.map(|(at, past)| {
            let passed = ms(now.saturating_duration_since(at));
            (past.ms.saturating_add(passed), past.confirmed)
        });
        Evidence { dates: of(Of::Date), frames: of(Of::Frames), past }
    }

    /// The clock is what counts from now on.
    fn believe(&mut self, now: Instant, clock: i64, confirmed: bool, leapt: bool) {
        // What others said once holds for as long as the clock only goes on.
        let before = self.past.is_some_and(|(at, past)| {
            let passed = now.saturating_duration_since(at);
            past.confirmed && leap(passed, clock.saturating_sub(past.ms)).is_none()
        });
        let confirmed = confirmed || (before && !leapt);
        let was = self.past.map(|(_, past)| past.confirmed);
        let time = Believed { ms: clock, confirmed };
        self.past = Some((now, time));
        let due = self.saved.is_none_or(|at| now.saturating_duration_since(at) >= SAVE_EVERY);
        if due || was != Some(confirmed) {
            self.saved = Some(now);
            let writer = self.setup.writer.clone();
            // A writer that is busy keeps nobody from looking. Without room, or at the end of the process, the next start
            // knows an earlier one.
            tokio::spawn(async move {
                let save = writer.visible(move |tx| {
                    clock::set_believed(tx, time);
                    Ok(())
                });
                drop(save.await);
            });
        }
    }

    fn ask(&mut self, now: Instant) {
        self.asked = Some(now);
        for url in &self.servers {
            let (http, url) = (self.setup.http.clone(), url.clone());
            self.answers.spawn(async move {
                let answer = http.get_stream(&url, &HeaderMap::new(), &LIMITS).await;
                let time = answer.ok().and_then(|answer| http_date(&answer.headers));
                (url, time)
            });
        }
    }

    fn tell(&self, was: ClockVerdict, status: &ClockStatus) {
        let advice = status.advice.as_str();
        match status.state {
            ClockVerdict::Good => tracing::info!("the clock is believed again: {advice}"),
            ClockVerdict::Unsure => tracing::warn!("{advice}"),
            ClockVerdict::Behind | ClockVerdict::Ahead => tracing::error!("{advice}"),
        }
        self.setup.alerts.tell(&json!({
            "event": "clock",
            "service": self.service,
            "at": format_ms(status.since),
            "state": status.state.name(),
            "was": was.name(),
            "by_s": status.by_ms / 1000,
            "message": advice,
        }));
    }
}

/// What a server says that the time is, in milliseconds.
#[must_use]
pub fn http_date(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(http::header::DATE)?.to_str().ok()?;
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(ms(since))
}

/// Pages of the servers that the configuration names, the smallest that each has; their `Date` tells the time.
#[must_use]
pub fn time_servers(config: &Config) -> Vec<String> {
    let network = &config.network;
    let http = |url: &String, path: &str| {
        let url = url.replacen("ws", "http", 1);
        let (scheme, rest) = url.split_once("://")?;
        let host = rest.split('/').next()?;
        Some(format!("{scheme}://{host}{path}"))
    };
    let plc = Some(format!("{}/_health", network.plc_url.trim_end_matches('/')));
    let upstreams = network.upstreams.iter().map(|url| http(url, "/xrpc/_health"));
    let jetstreams = network.jetstream.iter().map(|url| http(url, "/"));
    std::iter::once(plc).chain(upstreams).chain(jetstreams).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClockVerdict::{Ahead, Behind, Good, Unsure};

    const NOW: i64 = 1_750_000_000_000;
    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const YEARS: i64 = 3650 * DAY;

    #[test]
    fn one_who_agrees_is_enough_and_the_past_alone_decides_nothing_but_that_time_goes_on() {
        let evidence = |dates: &[i64], frames: &[i64], past: Option<(i64, bool)>| {
            let named = |times: &[i64]| {
                times.iter().map(|by| ("it".to_owned(), NOW + by)).collect::<Vec<_>>()
            };
            let past = past.map(|(by, confirmed)| (NOW + by, confirmed));
            Evidence { dates: named(dates), frames: named(frames), past }
        };
        for (name, evidence, verdict, by, confirmed) in [
            ("nothing is known", evidence(&[], &[], None), Good, 0, false),
            ("all agree", evidence(&[1000], &[-2000], Some((0, true))), Good, 0, true),
            ("one agrees", evidence(&[YEARS, 0, DAY], &[YEARS], Some((DAY, true))), Good, 0, true),
            ("a server is ahead", evidence(&[7 * DAY], &[], None), Behind, -7 * DAY, false),
            ("a server is behind", evidence(&[-YEARS], &[-YEARS], None), Ahead, YEARS, false),
            ("most servers", evidence(&[-DAY, -YEARS, -YEARS], &[], None), Ahead, YEARS, false),
            ("an upstream is ahead", evidence(&[], &[HOUR], None), Behind, -HOUR, false),
            ("another is not", evidence(&[], &[HOUR, -1000], None), Good, 0, true),
            ("one that catches up", evidence(&[], &[-3 * HOUR], Some((0, true))), Good, 0, false),
            ("one of a year ago", evidence(&[], &[-365 * DAY], Some((0, true))), Good, 0, false),
            ("the same at first", evidence(&[], &[-365 * DAY], None), Unsure, 365 * DAY, false),
            ("an empty past", evidence(&[], &[-YEARS], Some((0, false))), Unsure, YEARS, false),
            ("it went back", evidence(&[], &[], Some((HOUR, true))), Behind, -HOUR, false),
            ("a little", evidence(&[], &[], Some((60_000, true))), Good, 0, false),
            ("it was wrong before", evidence(&[], &[], Some((YEARS, false))), Good, 0, false),
            ("it leapt", evidence(&[], &[], Some((-YEARS, true))), Unsure, YEARS, false),
            ("for a night", evidence(&[], &[], Some((-8 * HOUR, true))), Good, 0, false),
            ("it leapt unseen", evidence(&[], &[], Some((-YEARS, false))), Unsure, YEARS, false),
            ("it was off", evidence(&[0], &[-30 * DAY], Some((-30 * DAY, true))), Good, 0, true),
        ] {
            let judged = evidence.judge(NOW);
            assert_eq!(
                (judged.verdict, judged.by, judged.confirmed),
                (verdict, by, confirmed),
                "{name}"
            );
            let words = judged.advice(true);
            assert_eq!(words.contains("--trust-clock"), verdict != Good, "{name}: {words}");
            assert_eq!(words.contains("Ingest"), judged.stops_ingest(true), "{name}: {words}");
            assert!(judged.stops_ingest(true) || !judged.stops_ingest(false), "{name}");
        }
    }

    #[test]
    fn who_is_asked_for_the_time() {
        let mut config = crate::config::load(&crate::config::Sources::default()).unwrap();
        config.network.plc_url = "https://plc.example/".to_owned();
        config.network.upstreams = vec!["wss://relay.example/xrpc/x".to_owned()];
        config.network.jetstream = vec!["ws://127.0.0.1:9".to_owned()];
        let want = [
            "https://plc.example/_health",
            "https://relay.example/xrpc/_health",
            "http://127.0.0.1:9/",
        ];
        assert_eq!(time_servers(&config), want);
        let header =
            |date: &str| HeaderMap::from_iter([(http::header::DATE, date.parse().unwrap())]);
        assert_eq!(http_date(&header("Sun, 15 Jun 2025 15:06:40 GMT")), Some(NOW));
        assert_eq!(http_date(&header("now")).or_else(|| http_date(&HeaderMap::new())), None);
    }

    #[test]
    fn nothing_is_deleted_by_a_clock_that_is_doubted_or_leapt_since_the_last_look() {
        let clock = Clock::stopped_at(NOW).watched();
        let state = ClockState::new(clock.clone());
        assert_eq!(state.may_delete(), Ok(NOW), "nobody doubts it");
        clock.judge(NOW, Standing::Confirmed);
        for (by, may) in [(0, true), (30_000, true), (YEARS, false), (-HOUR, false)] {
            clock.set(NOW + by);
            assert_eq!(state.may_delete().is_ok(), may, "{by}");
        }
        clock.set(NOW);
        state.status.lock().state = Unsure;
        assert!(state.may_delete().is_err() && state.ready().is_err());
    }
}
