//! The list of parts: what each is called and what its end means; and the parts that are no more than a loop around what
//! another folder does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::accounts::IndexAccounts;
use super::members::join_all;
use super::on_read::Cache;
use super::part::{AtEnd, Part, PartError, Rule, Stops, Without};
use super::sources::Sources;
use super::wire;
use crate::admin::{Handler, Socket};
use crate::backup::Schedule;
use crate::config::Config;
use crate::limits::Shed;
use crate::media::{Media, MediaError};
use crate::ops::PushStatus;
use crate::push::Push;
use crate::schema::Rows as _;
use crate::store::{Store, StoreError, Writer};
use crate::syntax::Did;
use crate::upkeep::{
    Alerts, CLOCK_EVERY, COUNT_EVERY, ClockSetup, ClockWatch, Counts, DiskSetup, DiskState,
    DiskWatch, Exports, LOOK_EVERY, Retention,
};
use crate::work::purge;
use crate::xrpc::{self, App, AppCtx, ParsedLabelers, ServerLimits};

/// Time that a part has to stop unless it says otherwise.
const PATIENCE: Duration = Duration::from_secs(2);

const fn restart(name: &'static str) -> Rule {
    let (at_end, without, stops) = (AtEnd::Restart, Without::Ready, Stops::First);
    Rule { name, at_end, without, patience: PATIENCE, stops }
}

/// Without it nothing is written, and what the engine holds in memory is known to nobody else: only a new process can
/// tell what is on disk. It writes until all others have stopped, then makes the next start quick.
pub(super) static WRITER: Rule = Rule {
    at_end: AtEnd::Fatal,
    without: Without::NotReady,
    patience: Duration::from_secs(60),
    stops: Stops::Last,
    ..restart("writer")
};
/// Without it nobody gets an answer, and whoever looks after the process has to hear of that. Its own deadline for
/// requests under way is four seconds.
pub(super) static XRPC: Rule = Rule {
    at_end: AtEnd::Fatal,
    without: Without::NotReady,
    patience: Duration::from_millis(4500),
    ..restart("xrpc")
};
/// Without them readiness would say what was once.
pub(super) static READS: Rule = Rule { without: Without::NotReady, ..restart("reads") };
pub(super) static DISK: Rule = Rule { without: Without::NotReady, ..restart("disk") };
pub(super) static CLOCK: Rule = Rule { without: Without::NotReady, ..restart("clock") };
pub(super) static ADMIN: Rule = restart("admin");
pub(super) static RETENTION: Rule = restart("retention");
pub(super) static PURGE: Rule = restart("purge");
pub(super) static ON_READ: Rule = restart("on_read");
pub(super) static PUSH: Rule = restart("push");
pub(super) static MEDIA: Rule = restart("media");
pub(super) static MEMBERS: Rule = restart("members");
pub(super) static EXPORTS: Rule = restart("exports");
pub(super) static COUNTS: Rule = restart("counts");
/// It ends what it brings to a bucket.
pub(super) static BACKUP: Rule = Rule { patience: Duration::from_secs(10), ..restart("backup") };
pub(super) static ALERTS: Rule = restart("alerts");
pub(super) static WATCHDOG: Rule = restart("watchdog");

/// How often the image cache and the disk it is on are looked at.
const TEND_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether a backup has ended that was told to.
const ENDS_EVERY: Duration = Duration::from_millis(20);
/// How often it is tried whether the store can be read.
const READ_EVERY: Duration = Duration::from_secs(2);

/// How often it is looked whether too many wait for answers, and for how many looks backfill waits then.
const EASE_EVERY: Duration = Duration::from_secs(1);
const EASE_FOR: u32 = 10;

type Running = BoxFuture<'static, Result<(), PartError>>;

/// The thread that writes.
pub(super) struct WriterPart {
    pub(super) writer: Writer,
    pub(super) thread: Mutex<Option<std::thread::JoinHandle<Result<(), StoreError>>>>,
    pub(super) disk: Arc<DiskState>,
    /// Why it ended.
    pub(super) gone: Mutex<Option<String>>,
}

impl Part for WriterPart {
    fn rule(&self) -> &'static Rule {
        &WRITER
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            let Some(thread) = self.thread.lock().take() else {
                return Err(PartError::new("it cannot be started twice"));
            };
            let mut ended = tokio::task::spawn_blocking(move || crate::threads::joined(thread));
            let end = tokio::select! {
                end = &mut ended => end,
                () = stop.cancelled() => {
                    self.writer.stop().await;
                    ended.await
                }
            };
            let why = match end {
                Ok(Ok(Ok(()))) if stop.is_cancelled() => return Ok(()),
                Ok(Ok(Ok(()))) => "it ended by itself".to_owned(),
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(Err(panic)) => panic,
                Err(error) => error.to_string(),
            };
            *self.gone.lock() = Some(why.clone());
            // Without room a new process could not open the store, and reads would go with this one.
            while self.disk.is_short() && !stop.is_cancelled() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(LOOK_EVERY) => {}
                }
            }
            Err(PartError(why))
        })
    }

    fn ready(&self) -> Result<(), String> {
        let gone = self.gone.lock();
        gone.as_ref().map_or(Ok(()), |why| Err(format!("nothing is written any more: {why}")))
    }
}

/// The HTTP server.
pub(super) struct XrpcPart {
    pub(super) listener: Mutex<Option<TcpListener>>,
    pub(super) app: Arc<App>,
    pub(super) ctx: Arc<AppCtx>,
    pub(super) sources: Arc<Sources>,
}

impl XrpcPart {
    /// Lets backfill wait while too many wait for answers, and some time longer.
    async fn ease(&self) {
        let mut left = 0;
        loop {
            sleep(EASE_EVERY).await;
            let too_many = Shed::with_waiting(self.ctx.reads.lines()) >= Shed::Backfill;
            let before = left;
            left = if too_many { EASE_FOR } else { u32::saturating_sub(left, 1) };
            if (before > 0) != (left > 0) {
                self.sources.ease(left > 0);
            }
        }
    }
}

impl Part for XrpcPart {
    fn rule(&self) -> &'static Rule {
        &XRPC
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            let Some(listener) = self.listener.lock().take() else {
                return Err(PartError::new("it cannot be started twice"));
            };
            let app = Arc::clone(&self.app);
            tokio::select! {
                served = xrpc::serve(listener, app, ServerLimits::default(), stop) => {
                    served.map_err(PartError::new)
                }
                () = self.ease() => Ok(()),
            }
        })
    }

    /// How many requests wait for a read thread.
    fn status(&self) -> Value {
        json!(self.ctx.reads.waiting())
    }

    fn reload(&self, new: &Config) -> Vec<&'static str> {
        let ctx = &self.ctx;
        ctx.default_labelers.store(Arc::new(ParsedLabelers::defaults(new.labels.default.clone())));
        ctx.client_config.store(Arc::new(wire::client_config(new)));
        ctx.hydration.reload(wire::hydration_settings(new));
        ctx.discovery.reload(new.discovery.clone());
        ctx.limits.store(Arc::new(new.limits.clone()));
        ctx.auth.trust(new.moderation.service_did.clone());
        vec![
            "labels.default",
            "age_assurance.rules_file",
            "age_assurance.assured",
            "config.live_now",
            "discovery.follows",
            "discovery.feeds",
            "discovery.starter_packs",
            "discovery.tagged",
            "discovery.whats_hot",
            "moderation.trusted_verifiers",
            "moderation.record_tags",
            "moderation.actor_tags",
            "moderation.thread_tags_hide",
            "moderation.thread_tags_bump_down",
            "moderation.search_tags_hide",
            "moderation.search_tags_hide_all",
            "server.debug_dids",
            "images.cdn_base",
            "images.video_base",
            "limits.max_thread_parents",
            "limits.max_thread_depth",
            "limits.mutes",
            "limits.list_mutes",
            "limits.bookmarks",
            "limits.subscriptions",
            "limits.drafts",
            "moderation.service_did",
        ]
    }
}

/// Tries now and then whether the store can be read, and hears of readers that could not.
pub(super) struct ReadsPart {
    pub(super) store: Store,
    pub(super) own_did: Did,
    /// Why reads fail, if they do.
    pub(super) fails: Mutex<Option<String>>,
}

impl ReadsPart {
    pub(super) fn look(&self, failed: Option<StoreError>, reported: u64) {
        *self.fails.lock() = match failed {
            Some(error) => Some(error.to_string()),
            None if reported > 0 => Some(format!("{reported} times lately: see the log")),
            None => None,
        };
    }

    fn read(store: &Store, did: &Did, turn: u64) -> Result<(), StoreError> {
        store.probe(turn)?;
        let snapshot = store.snapshot();
        purge::purges(&snapshot)?;
        if let Some(actor) = snapshot.actor_id(did)? {
            snapshot.actor(actor)?;
        }
        Ok(())
    }
}

impl Part for ReadsPart {
    fn rule(&self) -> &'static Rule {
        &READS
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            let mut before = xrpc::failed_reads();
            for turn in 0.. {
                let (store, did) = (self.store.clone(), self.own_did.clone());
                let read = tokio::task::spawn_blocking(move || Self::read(&store, &did, turn));
                let failed = read.await.map_err(PartError::new)?.err();
                let now = xrpc::failed_reads();
                self.look(failed, now.saturating_sub(before));
                before = now;
                if stop.run_until_cancelled(sleep(READ_EVERY)).await.is_none() {
                    return Ok(());
                }
            }
            Ok(())
        })
    }

    fn ready(&self) -> Result<(), String> {
        let fails = self.fails.lock();
        fails.as_ref().map_or(Ok(()), |why| Err(format!("reads fail: {why}")))
    }
}

/// The operator's socket.
pub(super) struct AdminPart {
    /// Bound at the start, so that an error ends that.
    pub(super) socket: Mutex<Option<Socket>>,
    pub(super) store: Store,
    pub(super) commands: Arc<Handler>,
}

impl Part for AdminPart {
    fn rule(&self) -> &'static Rule {
        &ADMIN
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            let first = self.socket.lock().take();
            let socket = match first {
                Some(socket) => socket,
                None => Socket::bind(self.store.path()).map_err(PartError::new)?,
            };
            socket.serve(Arc::clone(&self.commands), stop).await;
            Ok(())
        })
    }
}

/// Watches the disk.
pub(super) struct DiskPart {
    /// That looked already, before the server began.
    pub(super) first: Mutex<Option<DiskWatch>>,
    pub(super) setup: DiskSetup,
    pub(super) config: Config,
}

impl Part for DiskPart {
    fn rule(&self) -> &'static Rule {
        &DISK
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            let first = self.first.lock().take();
            let mut watch =
                first.unwrap_or_else(|| DiskWatch::new(self.setup.clone(), &self.config));
            while stop.run_until_cancelled(sleep(LOOK_EVERY)).await.is_some() {
                watch.look(&self.config).await;
            }
            Ok(())
        })
    }

    fn status(&self) -> Value {
        serde_json::to_value(self.setup.state.get()).unwrap_or_default()
    }

    fn ready(&self) -> Result<(), String> {
        self.setup.state.ready()
    }
}

/// Doubts the clock.
pub(super) struct ClockPart {
    /// That looked already, before anything was taken in.
    pub(super) first: Mutex<Option<ClockWatch>>,
    pub(super) setup: ClockSetup,
    pub(super) config: Config,
}

impl Part for ClockPart {
    fn rule(&self) -> &'static Rule {
        &CLOCK
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            let first = self.first.lock().take();
            let mut watch = match first {
                Some(watch) => watch,
                None => {
                    ClockWatch::new(self.setup.clone(), &self.config).map_err(PartError::new)?
                }
            };
            while stop.run_until_cancelled(sleep(CLOCK_EVERY)).await.is_some() {
                watch.look();
            }
            Ok(())
        })
    }

    fn status(&self) -> Value {
        serde_json::to_value(self.setup.state.get()).unwrap_or_default()
    }

    fn ready(&self) -> Result<(), String> {
        self.setup.state.ready()
    }
}

/// Takes away what the scope does not keep.
pub(super) struct RetentionPart(pub(super) Arc<Retention>);

impl Part for RetentionPart {
    fn rule(&self) -> &'static Rule {
        &RETENTION
    }

    fn run(self: Arc<Self>, _stop: CancellationToken) -> Running {
        Box::pin(async move {
            // It was given what ends it when it was made.
            self.0.run().await;
            Ok(())
        })
    }

    fn status(&self) -> Value {
        self.0.status()
    }
}

/// Keeps what was fetched on read under its budget.
pub(super) struct OnReadPart(pub(super) Arc<Cache>);

impl Part for OnReadPart {
    fn rule(&self) -> &'static Rule {
        &ON_READ
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            Arc::clone(&self.0).run(stop).await;
            Ok(())
        })
    }

    fn status(&self) -> Value {
        self.0.status()
    }
}

/// Carries notifications out.
pub(super) struct PushPart {
    pub(super) push: Push,
    pub(super) requests: flume::Receiver<()>,
}

impl Part for PushPart {
    fn rule(&self) -> &'static Rule {
        &PUSH
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            let sender = self.push.anew();
            sender.run(self.requests.clone(), stop).await.map_err(PartError::new)
        })
    }

    fn status(&self) -> Value {
        use std::sync::atomic::Ordering::Relaxed;
        let stats = self.push.stats();
        let (waiting, running) = (stats.waiting.load(Relaxed), stats.running.load(Relaxed));
        serde_json::to_value(PushStatus { waiting, running }).unwrap_or_default()
    }
}

/// Tends the cache of images.
pub(super) struct MediaPart(pub(super) Arc<Media>);

impl Part for MediaPart {
    fn rule(&self) -> &'static Rule {
        &MEDIA
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            let mut tick = interval(TEND_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.run_until_cancelled(tick.tick()).await.is_some() {
                match self.0.tend().await {
                    // Threads that have too much to do do this another time.
                    Ok(()) | Err(MediaError::Overloaded) => {}
                    Err(error) => return Err(PartError::new(error)),
                }
            }
            Ok(())
        })
    }

    fn status(&self) -> Value {
        serde_json::to_value(self.0.status()).unwrap_or_default()
    }
}

/// Makes the accounts of the configuration members.
pub(super) struct MembersPart {
    pub(super) members: Arc<IndexAccounts>,
    pub(super) configured: Vec<Did>,
}

impl Part for MembersPart {
    fn rule(&self) -> &'static Rule {
        &MEMBERS
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            let join = join_all(&self.members, &self.configured);
            match stop.run_until_cancelled(join).await {
                Some(Ok(())) => stop.cancelled().await,
                Some(Err(error)) => return Err(PartError::new(error)),
                None => {}
            }
            Ok(())
        })
    }
}

/// Exports private state day by day.
pub(super) struct ExportsPart(pub(super) Arc<Exports>);

impl Part for ExportsPart {
    fn rule(&self) -> &'static Rule {
        &EXPORTS
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            let mut wait = self.0.look().await;
            while stop.run_until_cancelled(sleep(wait)).await.is_some() {
                wait = self.0.look().await;
            }
            Ok(())
        })
    }

    fn status(&self) -> Value {
        serde_json::to_value(self.0.status()).unwrap_or_default()
    }
}

/// Notices what is missing.
pub(super) struct CountsPart(pub(super) Arc<Counts>);

impl Part for CountsPart {
    fn rule(&self) -> &'static Rule {
        &COUNTS
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            let mut tick = interval(COUNT_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.run_until_cancelled(tick.tick()).await.is_some() {
                let counts = Arc::clone(&self.0);
                let looked = tokio::task::spawn_blocking(move || counts.look());
                looked.await.map_err(PartError::new)?;
            }
            Ok(())
        })
    }

    fn status(&self) -> Value {
        serde_json::to_value(self.0.status()).unwrap_or_default()
    }
}

/// Makes backups by the clock.
pub(super) struct BackupPart(pub(super) Arc<Schedule>);

impl Part for BackupPart {
    fn rule(&self) -> &'static Rule {
        &BACKUP
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            loop {
                let schedule = Arc::clone(&self.0);
                let looked = tokio::task::spawn_blocking(move || schedule.look()).await;
                let wait = looked.map_err(PartError::new)?;
                if stop.run_until_cancelled(sleep(wait)).await.is_none() {
                    break;
                }
            }
            self.0.stop();
            while self.0.is_running() {
                sleep(ENDS_EVERY).await;
            }
            Ok(())
        })
    }

    fn status(&self) -> Value {
        serde_json::to_value(self.0.status()).unwrap_or_default()
    }
}

/// Tells the operator's webhook.
pub(super) struct AlertsPart(pub(super) Alerts);

impl Part for AlertsPart {
    fn rule(&self) -> &'static Rule {
        &ALERTS
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> Running {
        Box::pin(async move {
            self.0.run(stop).await;
            Ok(())
        })
    }
}
