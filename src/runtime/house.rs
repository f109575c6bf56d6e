//! Makes every part, in the order in which they need each other, and says which channel leads where. No rule of the
//! protocol is here.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::accounts::{IndexAccounts, followed};
use super::backup::{self, BackedUp, backups};
use super::desk::{Desk, SamplesPart};
use super::discovery::DiscoveryPart;
use super::flags::Flags;
use super::followers::{self, FollowersPart};
use super::identities;
use super::keys::FromDocuments;
use super::members::{self, CommunityFromHandlers};
use super::memory::Memory;
use super::notify::Manager;
use super::on_read::{Cache, FromPds};
use super::operator::{MadeBackups, RetentionRuns};
use super::part::Part;
use super::parts::{
    AdminPart, AlertsPart, BackupPart, ClockPart, CountsPart, DiskPart, ExportsPart, MediaPart,
    MembersPart, OnReadPart, PushPart, READS, ReadsPart, RetentionPart, WriterPart, XrpcPart,
};
use super::purge::Purge;
use super::search::{HeldSearch, OperatorSearch, SearchSeq};
use super::sink::{Applied, ToWriter};
use super::sources::{self, IngestPart, LabelersPart, PlcPart, ResyncPart, Sources};
use super::status::StatusSources;
use super::supervisor::{Parts, PartsSlot};
use super::trends::TrendsPart;
use super::watchdog::{Signs, Watchdog};
use super::wire::{
    auth_config, cached_accounts, cached_identities, client_config, community, discovery,
    hydration_settings, labelers_of, limits, media_settings, push_settings, search, trends,
};
use super::{ServeError, signing_key};
use crate::admin::{self, Commands, Dashboard, PrivateState, Socket};
use crate::changes::Log;
use crate::config::{self, Config};
use crate::hydrate::Shared;
use crate::identity::Identity;
use crate::index::{Index, Requests};
use crate::ingest::directory::Network;
use crate::login::{Door, Login};
use crate::media::{Media, NetOrigin};
use crate::net::{Dialer, HttpClient};
use crate::ops::{METRICS_TYPE, Samples, metrics};
use crate::push::{self, NetTransport, Push};
use crate::store::{StoreError, Writer};
use crate::sync::on_read::OnRead;
use crate::telemetry::callers::Callers;
use crate::threads::Clock;
use crate::upkeep::{
    self, Alerts, ClockSetup, ClockState, ClockWatch, Counts, DiskSetup, DiskState, DiskWatch,
    Exports, Retention,
};
use crate::xrpc::{
    self, App, AppCtx, Authenticator, NetFeedGenerators, ParsedLabelers, Quotas, Reports,
    ServerIdentity, Sockets,
};

/// All parts, made and not yet started.
pub(super) struct House {
    pub(super) parts: Parts,
    /// Ends the parts that stop first.
    pub(super) stop: CancellationToken,
    pub(super) board: Arc<StatusSources>,
    /// Somebody wants the configuration read again.
    pub(super) reload_wanted: Arc<Notify>,
    desk: Desk,
    #[cfg(test)]
    ctx: Arc<AppCtx>,
}

/// Sockets at a time: a quarter of the connections that there may be.
const SOCKETS: usize = 1024;

/// What a reload takes over without a part.
const WITHOUT_A_PART: [&str; 1] = ["log.level"];

impl House {
    /// Lets every part take over what a reload may change.
    pub(super) fn reload(&self, new: &Config) {
        let forgotten = self.reload_and_compare(new);
        if !forgotten.is_empty() {
            tracing::error!(keys = ?forgotten, "reload: nobody takes these over before the next start");
        }
        if let Some(dashboard) = self.desk.0.get() {
            dashboard.reload(new);
        }
    }

    /// Keys that the option table says are taken over by a reload and that no part does.
    fn reload_and_compare(&self, new: &Config) -> Vec<&'static str> {
        let applied = self.parts.reload(new);
        let is_applied = |key: &&str| applied.contains(key) || WITHOUT_A_PART.contains(key);
        config::reloaded_keys().filter(|key| !is_applied(key)).collect()
    }

    /// Opens the store and makes the parts. The writer and the sources run then, the sources so that the first answer of
    /// the status knows of them.
    pub(super) async fn build(
        config: &Config,
        flags: &Flags,
        manager: Manager,
    ) -> Result<Self, ServeError> {
        // Before anything is made in its place, the keys included.
        flags.mark.check()?;
        upkeep::make_way(config);
        let key = signing_key::load_or_make(&config.server.signing_key_file)?;
        let vapid_key = Arc::new(signing_key::load_or_make_vapid(&config.push.vapid_key_file)?);
        let dialer = Dialer::new(config.network.allow_private_addresses)?;
        let public_url = config.server.public_url.clone();
        let for_operator =
            HttpClient::new(&dialer.unguarded(), &public_url).counted_for("operator");
        let repository = backup::repository(config, &for_operator)?;
        let (store, repository) = backup::open_store(config, repository).await?;
        flags.mark.leave();
        let (writer, writer_thread) = Writer::start(store.clone())?;
        writer.room().set_floor(store.headroom());
        let stop = CancellationToken::new();
        let view = Arc::<DiskState>::default();
        let backup_disk = Arc::clone(&view);
        let clock = Clock::system().watched();
        let believed = ClockState::new(clock.clone());
        let slot = PartsSlot::default();
        let signs = Arc::<Signs>::default();
        let mut parts: Vec<Arc<dyn Part>> = vec![Arc::new(WriterPart {
            writer: writer.clone(),
            thread: Mutex::new(Some(writer_thread)),
            disk: Arc::clone(&view),
            gone: Mutex::default(),
        })];

        let (index, requests) = Index::new(&store)?;
        let Requests { resync, purge, push: push_requests, questions } = requests;
        let delay = i64::try_from(config.push.delay.as_millis()).unwrap_or(i64::MAX);
        let index = index.scoped(&store, &config.scope)?;
        let trends = Arc::new(trends(config, &clock));
        trends.recall(&config.store.path);
        let search = Arc::new(search(config));
        let changes = Log::start(&store, &writer, followers::all(&trends, &search)).await?;
        let index = index.pushing(config.push.endpoint.is_some(), delay);
        let index = Arc::new(index.logging(Arc::clone(&changes)));
        let memory = Memory::new(config.store.memory_budget);
        let entries = cached_identities(config.store.memory_budget);
        let identity = Identity::new(&config.network, &dialer, &public_url, entries);
        identity.look_into(store.clone());
        let for_readers = identity.for_readers();
        let http = HttpClient::new(&dialer, &public_url);

        let sources_slot: Arc<OnceLock<Weak<Sources>>> = Arc::default();
        let export = identities::export(config, &store, &writer, &identity, {
            let slot = Arc::clone(&sources_slot);
            Box::new(move |did| {
                if let Some(sources) = slot.get().and_then(Weak::upgrade) {
                    sources.look_at(did);
                }
            })
        })?;
        let handlers = members::Handlers::default();
        let applied = Arc::new(Applied::default());
        let sink = Arc::new(ToWriter {
            writer: writer.clone(),
            index: Arc::clone(&index),
            applied: Arc::clone(&applied),
            forget: {
                let handlers = Arc::clone(&handlers);
                Arc::new(move |did| {
                    if let Some(ctx) = handlers.get().and_then(Weak::upgrade) {
                        ctx.auth.forget(did);
                    }
                })
            },
        });
        let fetch = OnRead::new(
            for_readers.clone(),
            http.counted_for("on_read"),
            store.clone(),
            Arc::clone(&sink) as _,
        );
        let directory = Network { identity: identity.clone(), http: http.counted_for("hosts") };
        let sources = Sources::new(sources::Parts {
            store: store.clone(),
            dialer: dialer.clone(),
            directory: Arc::new(directory),
            identity: identity.clone(),
            export,
            http: http.counted_for("repos"),
            resync,
            questions,
            sink,
            applied,
            config: config.clone(),
            clock: clock.clone(),
            memory: memory.clone(),
            stop: stop.clone(),
        });
        let _ = sources_slot.set(Arc::downgrade(&sources));

        let threads = std::thread::available_parallelism().map_or(2, |n| n.get().max(2));
        let accounts = cached_accounts(config.store.memory_budget);
        let hydration = Arc::new(Shared::new(&store, accounts, hydration_settings(config))?);
        hydration.takedowns.log_to(&changes);
        let settings = media_settings(config, threads, &memory);
        let cache_path = settings.cache_path.display().to_string();
        let limiter = Arc::new(limits(config));
        let origin =
            NetOrigin::new(for_readers.clone(), http.counted_for("pictures"), Arc::clone(&limiter));
        let takedowns = hydration.takedowns.clone();
        let (origin, limited) = (Arc::new(origin), Arc::clone(&limiter));
        let media = Media::start(settings, store.clone(), takedowns, origin, limited)
            .map_err(|e| ServeError::ImageCache(cache_path, e))?;
        let retention = Retention::new(
            store.clone(),
            writer.clone(),
            Arc::clone(&index),
            config,
            Arc::clone(&believed),
            &stop,
        )?;
        let cache = Arc::new(Cache {
            store: store.clone(),
            writer: writer.clone(),
            index: Arc::clone(&index),
            budget: config.network.on_read_budget,
            clock: clock.clone(),
        });
        let door = Door::load(&store.snapshot())?;
        let private = {
            let door = Arc::new(door.clone()) as _;
            followed(writer.clone(), &index, &hydration.takedowns, vec![door])
        };
        let login = Login::new(door, private.clone(), clock.clone());
        let (desk, callers) = (Desk::default(), Arc::<Callers>::default());
        let accounts = Arc::new(IndexAccounts {
            index: Arc::clone(&index),
            store: store.clone(),
            private: private.clone(),
            clock: clock.clone(),
            door: members::door(&config.scope),
        });
        let default_labelers = Arc::new(ArcSwap::from_pointee(ParsedLabelers::defaults(
            config.labels.default.clone(),
        )));
        let community = community(config, &dialer);
        let discovery = Arc::new(discovery(config, &clock));
        discovery.recall(&config.store.path);
        let surveys = DiscoveryPart {
            discovery: Arc::clone(&discovery),
            store: store.clone(),
            hydration: Arc::clone(&hydration),
            labelers: labelers_of(&default_labelers),
            clock: clock.clone(),
        };
        let of_trends = TrendsPart {
            trends: Arc::clone(&trends),
            store: store.clone(),
            hydration: Arc::clone(&hydration),
            labelers: labelers_of(&default_labelers),
            clock: clock.clone(),
        };
        let push = Push::new(push::PushParts {
            store: store.clone(),
            private: private.clone(),
            hydration: Arc::clone(&hydration),
            labelers: labelers_of(&default_labelers),
            community: community
                .is_some()
                .then(|| Arc::new(CommunityFromHandlers(Arc::clone(&handlers))) as _),
            settings: push_settings(config),
            key: Arc::clone(&vapid_key),
            transport: Arc::new(NetTransport {
                configured: for_operator.counted_for("push"),
                guarded: http.counted_for("push"),
            }),
            clock: clock.clone(),
        });

        let instance = format!("{:016x}", rand::random::<u64>());
        let board = Arc::new(StatusSources {
            started: Instant::now(),
            store: store.clone(),
            writer: writer.clone(),
            index: Arc::clone(&index),
            sources: Arc::clone(&sources),
            reloads: AtomicU64::new(0),
            reload: Mutex::default(),
            instance: instance.clone(),
            parts: slot.clone(),
            memory: memory.clone(),
            search: SearchSeq::new(Arc::clone(&search), Arc::clone(&changes)),
        });
        let on_read = config.network.fetch_on_read.then(|| {
            let on_read = FromPds { on_read: fetch, sources: Arc::clone(&sources) };
            Arc::new(on_read) as Arc<dyn xrpc::OnRead>
        });
        let looking = Arc::downgrade(&sources);
        let keys = Arc::new(FromDocuments {
            identity: identity.clone(),
            limits: Arc::clone(&limiter),
            look_at: Box::new(move |did| {
                if let Some(sources) = looking.upgrade() {
                    sources.look_at(did);
                }
            }),
        });
        let ctx = Arc::new(AppCtx {
            auth: Authenticator::new(
                auth_config(config),
                keys,
                clock.clone(),
                Arc::clone(&limiter),
            ),
            limiter,
            media: Arc::clone(&media),
            store: store.clone(),
            private: private.clone(),
            hydration,
            quotas: Quotas::default(),
            reads: xrpc::read_threads(threads)?,
            outflow: Arc::clone(&memory.answers),
            sockets: Sockets::new(SOCKETS, memory.sockets.clone()),
            login: login.clone(),
            dashboard: Arc::new(desk.clone()),
            callers: Arc::clone(&callers),
            members: Arc::clone(&accounts) as _,
            rights: Arc::clone(&accounts) as _,
            feeds: Arc::new(NetFeedGenerators {
                identity: for_readers,
                http: http.counted_for("feeds"),
            }),
            on_read,
            community,
            discovery,
            trends,
            search,
            identity: ServerIdentity {
                did: config.server.did.clone(),
                public_url,
                signing_key: Some(key.public().to_multibase()),
                vapid_key: vapid_key.public().to_owned(),
                push_endpoint: config.push.endpoint.is_some(),
                pages: config.pages.enabled,
                instance,
            },
            default_labelers,
            limits: ArcSwap::from_pointee(config.limits.clone()),
            client_config: ArcSwap::from_pointee(client_config(config)),
            clock: clock.clone(),
            status: {
                let board = Arc::clone(&board);
                Box::new(move || board.read())
            },
            reports: Reports {
                metrics: {
                    let board = Arc::clone(&board);
                    Box::new(move || (METRICS_TYPE, metrics(board.read())))
                },
                alive: {
                    let signs = Arc::clone(&signs);
                    Box::new(move || signs.alive(Instant::now()))
                },
                reads: {
                    let slot = slot.clone();
                    Box::new(move || slot.get().ready_of(&READS))
                },
            },
            ready: Box::new(move || slot.get().ready()),
        });
        let _ = handlers.set(Arc::downgrade(&ctx));
        let app = Arc::new(App::new(Arc::clone(&ctx))?);
        let listen = config.server.listen;
        let listener =
            TcpListener::bind(listen).await.map_err(|e| ServeError::Listen(listen, e))?;
        let socket = Socket::bind(&config.store.path)
            .map_err(|e| ServeError::Socket(config.store.path.display().to_string(), e))?;

        let alerts = Alerts::new(config.alerts.webhook.clone(), for_operator.clone());
        let watched = DiskSetup {
            store: store.clone(),
            writer: writer.clone(),
            retention: Arc::clone(&retention),
            intake: Arc::clone(&sources) as _,
            search: Arc::new(HeldSearch(Arc::clone(&ctx.search))),
            alerts: alerts.clone(),
            state: view,
            clock: clock.clone(),
        };
        let mut watch = DiskWatch::new(watched.clone(), config);
        let doubted = ClockSetup {
            store: store.clone(),
            writer: writer.clone(),
            intake: Arc::clone(&sources) as _,
            alerts: alerts.clone(),
            http: for_operator,
            state: Arc::clone(&believed),
            trusted: flags.trust_clock,
        };
        let mut doubt = ClockWatch::new(doubted.clone(), config)?;
        match members::expect_all(&accounts, &config.scope.members).await {
            // The sources wait for room too, and reads go on.
            Ok(()) | Err(StoreError::NoRoom) => {}
            Err(error) => return Err(error.into()),
        }
        doubt.begin().await;
        watch.look(config).await;
        sources.begin()?;

        let reload_wanted = Arc::<Notify>::default();
        let backups = backups(BackedUp {
            config,
            repository,
            store: &store,
            writer: &writer,
            disk: &backup_disk,
            clock: &clock,
            believed: &believed,
            alerts: &alerts,
        });
        let operators_status = Arc::clone(&board);
        let commands = Commands {
            store: store.clone(),
            identity,
            intake: Arc::clone(&sources) as _,
            accounts: Arc::clone(&accounts) as _,
            retention: Arc::new(RetentionRuns(Arc::clone(&retention))),
            backups: Arc::new(MadeBackups(Arc::clone(&backups))),
            search: Arc::new(OperatorSearch { search: Arc::clone(&ctx.search), handlers }),
            private: PrivateState {
                store: store.clone(),
                private,
                accounts: Arc::clone(&accounts) as _,
            },
            status: Box::new(move || operators_status.read()),
            relay: config.network.upstreams.first().cloned(),
            configured: config.scope.members.clone(),
            clock: clock.clone(),
            login,
            public_url: config.server.public_url.clone(),
            reload: {
                let wanted = Arc::clone(&reload_wanted);
                Box::new(move || wanted.notify_one())
            },
        };
        let commands = commands.handler();
        let samples = Arc::<Samples>::default();
        samples.recall(&config.store.path);
        let shown = admin::Sources {
            status: {
                let board = Arc::clone(&board);
                Box::new(move || board.read())
            },
            samples: Arc::clone(&samples),
            callers,
            clock: clock.clone(),
            url: config.server.public_url.clone(),
        };
        let _ = desk.0.set(Dashboard::new(shown, Arc::clone(&commands), config));
        let samples = SamplesPart {
            samples,
            sources: Arc::clone(&sources),
            store: store.clone(),
            clock: clock.clone(),
        };
        let backups = BackupPart(backups);
        let purge = Purge {
            store: store.clone(),
            writer: writer.clone(),
            index,
            media: Arc::clone(&media),
            requests: purge,
        };
        let reads = ReadsPart {
            store: store.clone(),
            own_did: config.server.did.clone(),
            fails: Mutex::default(),
        };
        let disk =
            DiskPart { first: Mutex::new(Some(watch)), setup: watched, config: config.clone() };
        let doubts =
            ClockPart { first: Mutex::new(Some(doubt)), setup: doubted, config: config.clone() };
        let exports = Arc::new(Exports::new(
            store.clone(),
            Arc::clone(&believed),
            alerts.clone(),
            config.server.did.as_str().to_owned(),
        ));
        let counts = Arc::new(Counts::new(
            store.clone(),
            Arc::clone(&retention),
            Arc::clone(&believed),
            alerts.clone(),
            config.server.did.as_str().to_owned(),
        ));
        let configured = config.scope.members.clone();
        let rest: [Arc<dyn Part>; 24] = [
            Arc::new(disk),
            Arc::new(doubts),
            Arc::new(ExportsPart(exports)),
            Arc::new(CountsPart(counts)),
            Arc::new(backups),
            Arc::new(reads),
            Arc::new(IngestPart(Arc::clone(&sources))),
            Arc::new(LabelersPart(Arc::clone(&sources))),
            Arc::new(ResyncPart(Arc::clone(&sources))),
            Arc::new(PlcPart(Arc::clone(&sources))),
            Arc::new(RetentionPart(retention)),
            Arc::new(OnReadPart(cache)),
            Arc::new(purge),
            Arc::new(PushPart { push, requests: push_requests }),
            Arc::new(MediaPart(media)),
            Arc::new(samples),
            Arc::new(surveys),
            Arc::new(of_trends),
            Arc::new(FollowersPart { log: changes, writer: writer.clone(), clock: believed }),
            Arc::new(MembersPart { members: accounts, configured }),
            Arc::new(AlertsPart(alerts)),
            Arc::new(XrpcPart {
                listener: Mutex::new(Some(listener)),
                app,
                ctx: Arc::clone(&ctx),
                sources: Arc::clone(&sources),
            }),
            Arc::new(AdminPart {
                socket: Mutex::new(Some(socket)),
                store: store.clone(),
                commands,
            }),
            Arc::new(Watchdog { signs, manager, writer, store, sources }),
        ];
        parts.extend(rest);
        let parts = Parts::new(parts);
        board.parts.fill(&parts);
        Ok(Self {
            parts,
            stop,
            board,
            reload_wanted,
            desk,
            #[cfg(test)]
            ctx,
        })
    }
}

#[cfg(test)]
#[path = "house_tests.rs"]
mod tests;
