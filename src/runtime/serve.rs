//! `aerie serve`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

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
use crate::config::{self, Config};
use crate::hydrate::{HydrationSettings, Shared};
use crate::identity::Identity;
use crate::index::{Index, Requests};
use crate::ingest::directory::Network;
use crate::ingest::{self};
use crate::media::{self, Media, NetOrigin};
use crate::net::{Dialer, HttpClient, NetError};
use crate::private::members;
use crate::push::{self, NetTransport, Push};
use crate::store::{Store, StoreError, Writer, free_space};
use crate::sync::on_read::OnRead;
use crate::telemetry::LogControl;
use crate::threads::Clock;
use crate::upkeep::{
    self, Alerts, DiskSetup, DiskState, DiskWatch, Intake as _, LOOK_EVERY, Retention, Step,
};
use crate::xrpc::{
    self, AdminPassword, App, AppCtx, AuthConfig, Authenticator, ClientConfig, Community, LiveNow,
    MemberHook, NetFeedGenerators, NetMemberHook, ParsedLabelers, ServerIdentity, ServerLimits,
};

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
pub fn run(config: Config, sources: config::Sources, log: LogControl) -> Result<(), ServeError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("net").build()?;
    let result = runtime.block_on(serve(config, sources, log));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(
    config: Config,
    config_sources: config::Sources,
    log: LogControl,
) -> Result<(), ServeError> {
    // Before the first answer, so that nobody's SIGHUP ends us.
    let mut hangup = signal(SignalKind::hangup())?;
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
    let result = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = hangup.recv() => reload(&mut current, &config_sources, &log, &ctx, &sources, &board),
            _ = tick.tick() => {
                if let Some(ended) = writer_thread.take_if(|thread| thread.is_finished()) {
                    failed = Some(match ended.join() {
                        Ok(Err(error)) => error.into(),
                        _ => ServeError::WriterGone,
                    });
                }
                ctx.media.tend();
                if let Err(e) = watch.look(&current).await {
                    break Err(e.into());
                }
                // Without room it would only end again, and reads with it.
                if let Some(error) = failed.take_if(|_| !watch.is_short()) {
                    break Err(error);
                }
            }
        }
    };
    tracing::info!("stopping");
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
}

/// Who labels what is pushed: those that apply to clients that name none, as of now.
fn labelers_of(defaults: &Arc<ArcSwap<ParsedLabelers>>) -> push::LabelerSource {
    let defaults = Arc::clone(defaults);
    Box::new(move || defaults.load().labelers.iter().map(|l| l.did.clone()).collect())
}

fn push_settings(config: &Config) -> push::PushSettings {
    let secret = config.push.secret.as_ref().map(|s| s.expose().to_owned());
    push::PushSettings {
        endpoint: config.push.endpoint.clone().zip(secret),
        per_minute: config.push.per_minute,
        contact: config.server.public_url.clone(),
    }
}

fn hydration_settings(config: &Config) -> HydrationSettings {
    let trusted = config.moderation.trusted_verifiers.iter();
    HydrationSettings {
        trusted_verifiers: trusted.map(|did| Arc::from(did.as_str())).collect(),
        images: config.images.cdn_base.as_str().into(),
        videos: config.images.video_base.as_str().into(),
    }
}

/// Images, with a cache that is the first to give way: images can be made again.
fn media_settings(config: &Config, threads: usize) -> media::MediaSettings {
    media::MediaSettings {
        cache_path: config.images.cache_path.clone(),
        cache_size: config.images.cache_size,
        floor: Step::HoldBackfill.below(config.store.reserve),
        free: free_space,
        threads,
    }
}

/// Its hook is named in the configuration, so it may be on the operator's own network.
fn community(config: &Config, dialer: &Dialer, index: &Arc<Index>) -> Option<Arc<Community>> {
    let config::Community { list, hook, posts } = config.community.clone();
    if list.is_none() && hook.is_none() {
        return None;
    }
    let http = HttpClient::new(&dialer.unguarded(), &config.server.public_url);
    let hook = hook.map(|url| Arc::new(NetMemberHook { url, http }) as Arc<dyn MemberHook>);
    let most = usize::try_from(posts).unwrap_or(usize::MAX);
    Some(Arc::new(Community::new(list, hook, Arc::clone(index) as _, most)))
}

fn client_config(config: &Config) -> ClientConfig {
    let live_now = config.live_now.iter().cloned();
    ClientConfig {
        live_now: live_now.map(|row| LiveNow { did: row.did, domains: row.domains }).collect(),
        age_rules: config.age_assurance.rules.clone(),
        assured: config.age_assurance.assured.clone(),
    }
}

fn reload(
    current: &mut Config,
    config_sources: &config::Sources,
    log: &LogControl,
    ctx: &AppCtx,
    sources: &Sources,
    board: &StatusSources,
) {
    let new = match config::load(config_sources) {
        Ok(new) => new,
        Err(errors) => {
            tracing::error!(%errors, "reload: the configuration has errors, the old one stays in force");
            return;
        }
    };
    let waiting = new.requires_restart(current);
    if !waiting.is_empty() {
        tracing::warn!(keys = ?waiting, "reload: these take effect at the next start");
    }
    if let Err(error) = log.set_filter(&new.log.level) {
        tracing::warn!(%error, "reload: log.level");
    }
    ctx.default_labelers.store(Arc::new(ParsedLabelers::defaults(new.labels.default.clone())));
    ctx.client_config.store(Arc::new(client_config(&new)));
    current.labels = new.labels;
    current.moderation = new.moderation;
    current.images.cdn_base = new.images.cdn_base;
    current.images.video_base = new.images.video_base;
    ctx.hydration.reload(hydration_settings(current));
    ctx.limits.store(Arc::new(new.limits.clone()));
    current.limits = new.limits;
    if let Err(error) = sources.reload(current) {
        tracing::error!(%error, "reload: labelers");
    }
    board.reloads.fetch_add(1, Ordering::Relaxed);
    tracing::info!("configuration reloaded");
}

fn auth_config(config: &Config) -> AuthConfig {
    AuthConfig {
        own_did: config.server.did.clone(),
        alternative_dids: config.server.alternative_dids.clone(),
        mod_service: config.moderation.service_did.clone(),
        admin_passwords: config
            .admin
            .password
            .iter()
            .map(|p| AdminPassword::new(p.expose()))
            .collect(),
    }
}
