//! `aerie serve`: signals, and the order of start and stop.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

<<<<<<< HEAD
use super::accounts::IndexAccounts;
use super::identities;
use super::keys::FromDocuments;
use super::members::{self, CommunityFromHandlers};
use super::on_read::{Cache, FromPds};
use super::operator::RetentionRuns;
use super::sink::{Applied, ToWriter};
use super::sources::{Parts, Sources};
use super::status::StatusSources;
use super::{followers, purge, signing_key};
use crate::admin::{Commands, PrivateState, Socket};
use crate::changes::{ChangesError, Log};
=======
use super::ServeError;
use super::house::House;
use super::notify::Manager;
use super::supervisor::Supervisor;
>>>>>>> main
use crate::config::{self, Config};
use crate::telemetry::LogControl;

<<<<<<< HEAD
/// Why the server did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The operator's socket cannot be made.
    #[error("cannot make the operator's socket in {0}: {1}")]
    Socket(String, #[source] std::io::Error),
    /// The folder of images cannot be used.
    #[error("cannot use the image cache in {0}: {1}")]
    ImageCache(String, #[source] std::io::Error),
    /// The log of changes or somebody who follows it.
    #[error(transparent)]
    Changes(#[from] ChangesError),
    /// The signing key.
    #[error(transparent)]
    SigningKey(#[from] signing_key::SigningKeyError),
    /// Outgoing connections cannot be set up.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Sources of data did not start.
    #[error(transparent)]
    Ingest(#[from] ingest::StartError),
    /// The method table does not fit the lexicons.
    #[error(transparent)]
    Table(#[from] xrpc::TableError),
    /// Threads or signals cannot be had.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// The writer thread ended while the server ran.
    #[error("the store's writer stopped")]
    WriterGone,
}

/// Time that the sources have to end.
const SOURCES_STOP: Duration = Duration::from_secs(2);

/// How many accounts the caches hold for a memory budget.
pub(super) fn cache_entries(budget: u64) -> usize {
    usize::try_from(budget / 16_384).unwrap_or(100_000).clamp(4096, 500_000)
}

/// Runs until SIGTERM or SIGINT.
=======
/// Runs until SIGTERM or SIGINT, or until a part ends that nothing goes without.
>>>>>>> main
pub fn run(config: Config, sources: config::Sources, log: LogControl) -> Result<(), ServeError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("net").build()?;
    let result = runtime.block_on(serve(config, sources, log));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(
    config: Config,
    sources: config::Sources,
    log: LogControl,
) -> Result<(), ServeError> {
    // Before the first answer, so that nobody's SIGHUP ends us.
    let mut hangup = signal(SignalKind::hangup())?;
<<<<<<< HEAD
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    upkeep::make_way(&config);
    let key = signing_key::load_or_make(&config.server.signing_key_file)?;
    let vapid_key = Arc::new(signing_key::load_or_make_vapid(&config.push.vapid_key_file)?);
    let store = Store::open(&config.store.path, config.store.memory_budget)?;
    let (writer, writer_thread) = Writer::start(store.clone())?;
    writer.room().set_floor(store.headroom());
    let (index, Requests { resync, purge: purge_requests, push: push_requests }) =
        Index::new(&store)?;
    let delay = i64::try_from(config.push.delay.as_millis()).unwrap_or(i64::MAX);
    let index = index.scoped(&store, config.scope.mode, config.scope.days)?;
    let changes = Log::start(&store, &writer, followers::all()).await?;
    let index = index.pushing(config.push.endpoint.is_some(), delay);
    let index = Arc::new(index.logging(Arc::clone(&changes)));
    let dialer = Dialer::new(config.network.allow_private_addresses)?;
    let public_url = config.server.public_url.clone();
    let identity = Identity::new(
        &config.network,
        &dialer,
        &public_url,
        cache_entries(config.store.memory_budget),
    );
    let sources_slot: Arc<std::sync::OnceLock<std::sync::Weak<Sources>>> = Arc::default();
    let export = identities::export(&config, &store, &writer, &identity, {
        let slot = Arc::clone(&sources_slot);
        Box::new(move |did| {
            if let Some(sources) = slot.get().and_then(std::sync::Weak::upgrade) {
                sources.look_at(did);
            }
        })
    })?;
    let auth = Authenticator::new(
        auth_config(&config),
        Arc::new(FromDocuments(identity.clone())),
        Clock::system(),
    );

    let applied = Arc::new(Applied::default());
    let handlers = members::Handlers::default();
    let forget = {
        let slot = Arc::clone(&handlers);
        Arc::new(move |did: &crate::syntax::Did| {
            if let Some(ctx) = slot.get().and_then(std::sync::Weak::upgrade) {
                ctx.auth.forget(did);
            }
        })
    };
    let sink = Arc::new(ToWriter {
        writer: writer.clone(),
        index: Arc::clone(&index),
        applied: Arc::clone(&applied),
        forget,
    });
    let http = HttpClient::new(&dialer, &public_url);
    let feeds = Arc::new(NetFeedGenerators { identity: identity.clone(), http: http.clone() });
    let directory = Arc::new(Network { identity: identity.clone(), http: http.clone() });
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().max(2));
    let entries = cache_entries(config.store.memory_budget);
    let hydration = Arc::new(Shared::new(&store, entries, hydration_settings(&config))?);
    hydration.takedowns.log_to(&changes);
    let settings = media_settings(&config, threads);
    let cache_path = settings.cache_path.display().to_string();
    let origin = Arc::new(NetOrigin::new(identity.clone(), http.clone()));
    let media = Media::start(settings, store.clone(), hydration.takedowns.clone(), origin)
        .map_err(|e| ServeError::ImageCache(cache_path, e))?;
    let for_commands = identity.clone();
    let on_read =
        OnRead::new(identity.clone(), http.clone(), store.clone(), Arc::clone(&sink) as _);
    let sources = Arc::new(Sources::new(Parts {
        store: store.clone(),
        dialer: dialer.clone(),
        directory,
        identity,
        export,
        http: http.clone(),
        resync,
        sink,
        applied,
    }));
    let _ = sources_slot.set(Arc::downgrade(&sources));
    let on_read = config.network.fetch_on_read.then(|| {
        Arc::new(FromPds { on_read, sources: Arc::clone(&sources) }) as Arc<dyn xrpc::OnRead>
    });
    let default_labelers =
        Arc::new(ArcSwap::from_pointee(ParsedLabelers::defaults(config.labels.default.clone())));
    let community = community(&config, &dialer, &index);
    let push = Push::new(push::PushParts {
        store: store.clone(),
        writer: writer.clone(),
        hydration: Arc::clone(&hydration),
        labelers: labelers_of(&default_labelers),
        community: community
            .is_some()
            .then(|| Arc::new(CommunityFromHandlers(Arc::clone(&handlers))) as _),
        settings: push_settings(&config),
        key: Arc::clone(&vapid_key),
        transport: Arc::new(NetTransport {
            configured: HttpClient::new(&dialer.unguarded(), &public_url),
            guarded: http.clone(),
        }),
        clock: Clock::system(),
    });
    let stop = CancellationToken::new();
    let clock = Clock::system();
    let retention =
        Retention::new(store.clone(), writer.clone(), Arc::clone(&index), &config, clock, &stop)?;
    let accounts = Arc::new(IndexAccounts {
        index: Arc::clone(&index),
        store: store.clone(),
        writer: writer.clone(),
        clock: Clock::system(),
    });
    let disk = Arc::<DiskState>::default();
    let cache = Arc::new(Cache {
        store: store.clone(),
        writer: writer.clone(),
        index: Arc::clone(&index),
        budget: config.network.on_read_budget,
        clock: Clock::system(),
    });
    let board = Arc::new(StatusSources {
        started: Instant::now(),
        store: store.clone(),
        writer: writer.clone(),
        index: Arc::clone(&index),
        sources: Arc::clone(&sources),
        media: Arc::clone(&media),
        purging: index.purging(),
        reloads: AtomicU64::new(0),
        disk: Arc::clone(&disk),
        push: push.stats(),
        retention: Arc::clone(&retention),
        on_read: Arc::clone(&cache),
    });
    let status_board = Arc::clone(&board);
    let ctx = Arc::new(AppCtx {
        auth,
        media,
        store: store.clone(),
        writer: writer.clone(),
        hydration,
        reads: xrpc::read_threads(threads)?,
        members: Arc::clone(&accounts) as _,
        rights: Arc::clone(&accounts) as _,
        feeds,
        on_read,
        community,
        identity: ServerIdentity {
            did: config.server.did.clone(),
            public_url,
            signing_key: Some(key.public().to_multibase()),
            vapid_key: vapid_key.public().to_owned(),
            push_endpoint: config.push.endpoint.is_some(),
        },
        default_labelers,
        limits: ArcSwap::from_pointee(config.limits.clone()),
        client_config: ArcSwap::from_pointee(client_config(&config)),
        clock: Clock::system(),
        status: Box::new(move || status_board.read()),
        ready: {
            let disk = Arc::clone(&disk);
            Box::new(move || disk.ready())
        },
    });
    let _ = handlers.set(Arc::downgrade(&ctx));
    let app = Arc::new(App::new(Arc::clone(&ctx))?);

    let listen = config.server.listen;
    let listener = TcpListener::bind(listen).await.map_err(|e| ServeError::Listen(listen, e))?;
    let socket = Socket::bind(&config.store.path)
        .map_err(|e| ServeError::Socket(config.store.path.display().to_string(), e))?;
    let for_operator = HttpClient::new(&dialer.unguarded(), &config.server.public_url);
    let setup = DiskSetup {
        store: store.clone(),
        writer: writer.clone(),
        retention: Arc::clone(&retention),
        intake: Arc::clone(&sources) as _,
        alerts: Alerts::start(config.alerts.webhook.clone(), for_operator, stop.clone()),
        state: disk,
        clock: Clock::system(),
    };
    let mut watch = DiskWatch::new(setup, &config);
    members::expect_all(&accounts, &config.scope.members).await?;
    // Starts the sources, so that the first answer of the status knows of them.
    watch.look(&config).await?;
    let server = tokio::spawn(xrpc::serve(listener, app, ServerLimits::default(), stop.clone()));
    let private = PrivateState {
        store: store.clone(),
        writer: writer.clone(),
        accounts: Arc::clone(&accounts) as _,
        takedowns: ctx.hydration.takedowns.clone(),
    };
    let operators_status = Arc::clone(&board);
    let commands = Commands {
        store: store.clone(),
        identity: for_commands,
        intake: Arc::clone(&sources) as _,
        accounts: Arc::clone(&accounts) as _,
        retention: Arc::new(RetentionRuns(Arc::clone(&retention))),
        private,
        status: Box::new(move || operators_status.read()),
        relay: config.network.upstreams.first().cloned(),
        configured: config.scope.members.clone(),
        clock: Clock::system(),
    };
    tokio::spawn(socket.serve(commands.handler(), stop.clone()));
    tokio::spawn(members::join_all(accounts, config.scope.members.clone()));
    let retention_task = tokio::spawn(retention.run());
    let cache_task = tokio::spawn(cache.run(stop.clone()));
    let purge_task = tokio::spawn(purge::run(
        store.clone(),
        writer.clone(),
        Arc::clone(&index),
        Arc::clone(&ctx.media),
        purge_requests,
        stop.clone(),
    ));
    let push_task = tokio::spawn(push.run(push_requests, stop.clone()));
    let changes_task = tokio::spawn(followers::run(changes, writer.clone(), stop.clone()));
    tracing::info!(%listen, did = %config.server.did, store = %config.store.path.display(), "serving");

    let mut current = config;
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + LOOK_EVERY, LOOK_EVERY);
    let mut writer_thread = Some(writer_thread);
    let mut failed: Option<ServeError> = None;
=======
    let [mut terminate, mut interrupt]: [Signal; 2] =
        [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let manager = Manager::from_env();
    let house = House::build(&config, manager.clone()).await?;
    let mut supervisor = Supervisor::start(&house.parts, house.stop.clone());
    manager.ready();
    tracing::info!(
        listen = %config.server.listen, did = %config.server.did, store = %config.store.path.display(), "serving"
    );
>>>>>>> main
    let result = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = hangup.recv() => reload(&config, &sources, &log, &house),
            ended = supervisor.ended() => break Err(ended.into()),
        }
    };
    tracing::info!("stopping");
<<<<<<< HEAD
    stop.cancel();
    // Whatever a source still does is done again at the next start, so it does not get to hold the stop up.
    let ended = tokio::time::timeout(SOURCES_STOP, async {
        sources.stop().await;
        let _ = purge_task.await;
        let _ = push_task.await;
        let _ = retention_task.await;
        let _ = cache_task.await;
        let _ = changes_task.await;
    });
    if ended.await.is_err() {
        tracing::warn!("a source did not end in time");
    }
    let _ = server.await;
    writer.stop().await;
    let written = tokio::task::spawn_blocking(move || {
        writer_thread.take().map(std::thread::JoinHandle::join)
    })
    .await;
    match written {
        Ok(Some(Ok(Err(e)))) => Err(e.into()),
        _ => result,
    }
=======
    manager.stopping();
    let stopped = supervisor.stop().await;
    result.and(stopped.map_err(ServeError::from))
>>>>>>> main
}

fn reload(began_with: &Config, sources: &config::Sources, log: &LogControl, house: &House) {
    let new = match config::load(sources) {
        Ok(new) => new,
        Err(errors) => {
            tracing::error!(%errors, "reload: the configuration has errors, the old one stays in force");
            return;
        }
    };
    let waiting = new.requires_restart(began_with);
    if !waiting.is_empty() {
        tracing::warn!(keys = ?waiting, "reload: these take effect at the next start");
    }
    if let Err(error) = log.set_filter(&new.log.level) {
        tracing::warn!(%error, "reload: log.level");
    }
    house.reload(&new);
    house.board.reloads.fetch_add(1, Ordering::Relaxed);
    tracing::info!("configuration reloaded");
}
