//! `aerie serve`: signals, and the order of start and stop.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServeError;
use super::flags::Flags;
use super::house::House;
use super::notify::Manager;
use super::supervisor::Supervisor;
use crate::config::{self, Config};
use crate::ops::Reload;
use crate::telemetry::LogControl;
use crate::threads::fault;

/// Runs until SIGTERM or SIGINT, or until a part ends that nothing goes without.
pub fn run(
    config: Config,
    flags: Flags,
    sources: config::Sources,
    log: LogControl,
) -> Result<(), ServeError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("net").build()?;
    let result = runtime.block_on(serve(config, flags, sources, log));
    runtime.shutdown_timeout(Duration::from_millis(300));
    result
}

async fn serve(
    config: Config,
    flags: Flags,
    sources: config::Sources,
    log: LogControl,
) -> Result<(), ServeError> {
    // Before the first answer, so that nobody's SIGHUP ends us.
    let mut hangup = signal(SignalKind::hangup())?;
    let manager = Manager::from_env();
    let house = House::build(&config, &flags, manager.clone()).await?;
    // Not before: opening and migrating read no signals, and may be ended at any point.
    let [mut terminate, mut interrupt]: [Signal; 2] =
        [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let mut in_force = config.clone();
    let mut supervisor = Supervisor::start(&house.parts, house.stop.clone());
    manager.ready();
    fault::serving();
    tracing::info!(
        listen = %config.server.listen, did = %config.server.did, store = %config.store.path.display(), "serving"
    );
    let result = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = hangup.recv() => reload(&config, &mut in_force, &sources, &log, &house),
            () = house.reload_wanted.notified() => {
                reload(&config, &mut in_force, &sources, &log, &house);
            }
            ended = supervisor.ended() => break Err(ended.into()),
        }
    };
    tracing::info!("stopping");
    manager.stopping();
    let stopped = supervisor.stop().await;
    result.and(stopped.map_err(ServeError::from))
}

/// Reads the configuration again, and says in the log and in the status what came of it.
fn reload(
    began_with: &Config,
    in_force: &mut Config,
    sources: &config::Sources,
    log: &LogControl,
    house: &House,
) {
    let new = match config::load(sources) {
        Ok(new) => new,
        Err(errors) => {
            tracing::error!(%errors, "reload: the configuration has errors, the old one stays in force");
            house.board.reloaded(Reload { error: Some(errors.to_string()), ..Reload::default() });
            return;
        }
    };
    let (applied, waiting) = (new.reloadable(in_force), new.requires_restart(began_with));
    if let Err(error) = log.set_filter(&new.log.level) {
        tracing::warn!(%error, "reload: log.level");
    }
    house.reload(&new);
    match applied.as_slice() {
        [] => tracing::info!("reload: nothing that a reload takes over has changed"),
        applied => tracing::info!(keys = %applied.join(", "), "reload: these are in force now"),
    }
    if !waiting.is_empty() {
        tracing::warn!(keys = %waiting.join(", "), "reload: these take effect at the next start");
    }
    *in_force = new;
    house.board.reloads.fetch_add(1, Ordering::Relaxed);
    house.board.reloaded(Reload { applied, waiting, error: None });
}
