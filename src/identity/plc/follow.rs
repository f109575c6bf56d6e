//! Follows the directory's `/export` from the stored cursor, page by page, as fast as the directory likes.
//!
//! Newer directories number operations, and are asked for what comes after a number. Older ones are asked for what
//! comes after a time, and then operations of the same millisecond can lie on both sides of the end of a page, or
//! become visible a little late: such pages overlap, and what comes twice changes nothing.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::chain::Operation;
use super::line::{Lines, parse};
use super::{PlcExport, SECOND_MS, SETTLING_MS};
use crate::identity::did::host_of;
use crate::net::{HostThrottle, HttpClient, NetError, StreamLimits, pace};
use crate::schema::plc::{Batch, Cursor};
use crate::store::StoreError;
use crate::syntax::datetime::format_ms;
use crate::telemetry::counters::Counters;
use crate::threads::Backoff;

pub(super) static BAD: Counters = Counters::new("identity.bad-operation");
static FAILED: Counters = Counters::new("identity.export-failed");

/// Operations of a page; directories give no more.
const PAGE: usize = 1000;
const LIMITS: StreamLimits = StreamLimits {
    max_bytes: 32 << 20,
    header_timeout: Duration::from_secs(30),
    idle_timeout: Duration::from_secs(30),
    timeout: Duration::from_secs(300),
    redirects: 0,
};
/// How far pages by time overlap: what became visible late, what has the same time, and, where a whole page has one
/// time, not at all.
const OVERLAPS: [i64; 3] = [SECOND_MS, 1, 0];
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// How often an export that was read to its end is read again.
#[derive(Debug, Clone, Copy)]
pub(super) struct FollowTiming {
    /// After a page that was not full.
    pub(super) soon: Duration,
    /// After one without news.
    pub(super) idle: Duration,
    /// After failures in a row.
    pub(super) retry: Backoff,
}

pub(super) const TIMING: FollowTiming = FollowTiming {
    soon: Duration::from_secs(1),
    idle: Duration::from_secs(5),
    retry: Backoff::new(Duration::from_secs(1), 2, LONGEST_RETRY),
};

/// The directory.
#[derive(Clone)]
pub struct PlcSource {
    pub(in super::super) url: String,
    pub(in super::super) http: HttpClient,
    pub(in super::super) throttle: HostThrottle,
}

/// What the following of the directory does.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Follow {
    /// The export was read to its end.
    pub caught_up: bool,
    /// Operations read since start, those that were known included.
    pub operations: u64,
    /// Lines that could not be read, since start.
    pub bad: u64,
    /// Operations that were news and whose signature could not be proven, since start.
    pub unproven: u64,
    /// Why the last page could not be had, if it could not.
    pub error: Option<String>,
}

/// Why a page could not be had.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("no line of the export can be read")]
    Unreadable,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was read of a page.
#[derive(Default)]
struct ExportPage {
    ops: Vec<Operation>,
    last: Option<Cursor>,
    lines: usize,
    bad: u64,
}

/// What to do after a page.
enum Next {
    /// There is more.
    More(Option<Duration>),
    /// The end was reached; whether there was news.
    End(bool),
}

impl PlcExport {
    /// Runs until `stop`.
    pub async fn follow(self, source: PlcSource, stop: CancellationToken) {
        self.follow_at(source, stop, TIMING).await;
    }

    pub(super) async fn follow_at(
        self,
        source: PlcSource,
        stop: CancellationToken,
        timing: FollowTiming,
    ) {
        *self.0.following.lock() = Some(Follow::default());
        let (mut retries, mut overlap) = (timing.retry.retries(), 0);
        loop {
            let page = tokio::select! {
                () = stop.cancelled() => break,
                page = self.page(&source, &mut overlap) => page,
            };
            let wait = match page {
                Ok(next) => {
                    retries.worked();
                    self.follows(|f| {
                        f.error = None;
                        f.caught_up = matches!(next, Next::End(_));
                    });
                    match next {
                        Next::More(wait) => wait.unwrap_or_default(),
                        Next::End(true) => timing.soon,
                        Next::End(false) => timing.idle,
                    }
                }
                // The writer meets the same store, and stops the process.
                Err(PageError::Store(error))
                    if error.is_fatal() || matches!(error, StoreError::Closed) =>
                {
                    break;
                }
                Err(error) => {
                    FAILED.inc(match &error {
                        PageError::Net(error) => error.cause(),
                        PageError::Unreadable => "unreadable",
                        PageError::Store(error) => error.cause(),
                    });
                    tracing::warn!(%error, "PLC export");
                    self.follows(|f| f.error = Some(error.to_string()));
                    retries.failed()
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(wait) => {}
            }
        }
        *self.0.following.lock() = None;
    }

    fn follows(&self, change: impl FnOnce(&mut Follow)) {
        if let Some(follow) = &mut *self.0.following.lock() {
            change(follow);
        }
    }

    /// Reads the page behind the cursor and puts it in.
    async fn page(&self, source: &PlcSource, overlap: &mut usize) -> Result<Next, PageError> {
        let permit = source.throttle.acquire(host_of(&source.url)).await;
        let _turn = self.0.turn.lock().await;
        let (held, asked) = (self.0.progress.lock().cursor, self.0.table.clock.now_ms());
        let url = format!("{}/export?count={PAGE}&after={}", source.url, after(held, *overlap));
        let answer = source.http.get_stream(&url, &HeaderMap::new(), &LIMITS).await?;
        permit.observe(answer.status, &answer.headers);
        if answer.status != StatusCode::OK {
            return Err(NetError::Status(answer.status.as_u16()).into());
        }
        let pace = pace(&answer.headers, self.0.table.clock.since_epoch());
        let (mut page, mut lines, mut body) =
            (ExportPage::default(), Lines::default(), answer.body);
        while let Some(piece) = body.next().await {
            lines.feed(&piece?, |line, _| page.take(line));
        }
        lines.finish(|line, _| page.take(line));
        drop(permit);
        if page.lines > 0 && page.last.is_none() {
            return Err(PageError::Unreadable);
        }
        let is_news = |last: &Cursor| held.is_none_or(|held| last.is_after(held));
        let Some(last) = page.last.filter(is_news) else {
            if page.lines >= PAGE && *overlap + 1 < OVERLAPS.len() {
                *overlap += 1;
                return Ok(Next::More(pace));
            }
            *overlap = 0;
            self.enter(page, 0).await?;
            // That there was nothing is not worth a write.
            self.0.table.covers(asked - SETTLING_MS);
            return Ok(Next::End(false));
        };
        *overlap = 0;
        let full = page.lines >= PAGE;
        self.enter(page, last.time.min(asked - SETTLING_MS)).await?;
        Ok(if full { Next::More(pace) } else { Next::End(true) })
    }

    async fn enter(&self, page: ExportPage, covered: i64) -> Result<(), StoreError> {
        self.follows(|f| {
            f.operations += page.lines as u64;
            f.bad += page.bad;
        });
        if page.ops.is_empty() && page.last.is_none() {
            return Ok(());
        }
        let batch = Batch { cursor: page.last, covered, ..Batch::default() };
        let (_, unproven) = self.apply(page.ops, batch).await?;
        self.follows(|f| f.unproven += unproven);
        Ok(())
    }
}

impl ExportPage {
    fn take(&mut self, line: Option<&[u8]>) {
        if line.is_some_and(<[u8]>::is_empty) {
            return;
        }
        self.lines += 1;
        let cursor = match line.map(parse) {
            Some(Ok(line)) => {
                self.ops.extend(line.op);
                Some(line.cursor)
            }
            Some(Err(bad)) => {
                self.bad += 1;
                BAD.inc(bad.cause);
                bad.cursor
            }
            None => {
                self.bad += 1;
                BAD.inc("long");
                None
            }
        };
        self.last = cursor.or(self.last);
    }
}

/// What to ask for.
fn after(held: Option<Cursor>, overlap: usize) -> String {
    match held {
        // A directory that does not number operations takes it for a year.
        None => "0".to_owned(),
        Some(Cursor { seq: Some(seq), .. }) => seq.to_string(),
        Some(Cursor { seq: None, time }) => {
            format_ms(time.saturating_sub(OVERLAPS.get(overlap).copied().unwrap_or(0)))
        }
    }
}
