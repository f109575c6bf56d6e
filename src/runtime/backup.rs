//! Backups of the running server: what makes them, wired; and the one that is made before the store becomes one of this version.

use std::sync::Arc;

use serde_json::json;

use super::ServeError;
use crate::backup::{Progress, Repository, Schedule, Server};
use crate::config::Config;
use crate::net::HttpClient;
use crate::private::lines::export;
use crate::schema::migrations;
use crate::store::{FORMAT, Store, StoreError, Writer};
use crate::syntax::datetime::format_ms;
use crate::threads::Clock;
use crate::upkeep::{Alerts, ClockState, DiskState, Step};

/// What backups are made of.
pub(super) struct BackedUp<'a> {
    pub(super) config: &'a Config,
    pub(super) repository: Option<Repository>,
    pub(super) store: &'a Store,
    pub(super) writer: &'a Writer,
    pub(super) disk: &'a Arc<DiskState>,
    pub(super) clock: &'a Clock,
    pub(super) believed: &'a Arc<ClockState>,
    pub(super) alerts: &'a Alerts,
}

/// The place that the configuration names, if it names one.
pub(super) fn repository(
    config: &Config,
    http: &HttpClient,
) -> Result<Option<Repository>, ServeError> {
    if config.backup.place.is_none() {
        return Ok(None);
    }
    let handle = tokio::runtime::Handle::current();
    let repository = Repository::open(&config.backup, http.clone(), handle);
    repository.map(Some).map_err(|e| ServeError::Backup(e.to_string()))
}

/// The schedule.
pub(super) fn backups(of: BackedUp<'_>) -> Arc<Schedule> {
    let (believed, disk, alerts) =
        (Arc::clone(of.believed), Arc::clone(of.disk), of.alerts.clone());
    let (told_at, service) = (of.clock.clone(), of.config.server.did.as_str().to_owned());
    let server = Server {
        store: of.store.clone(),
        writer: of.writer.clone(),
        clock: of.clock.clone(),
        believed: Box::new(move || believed.may_delete().is_ok()),
        is_short: Box::new(move || disk.get().step >= Step::HoldBackfill),
        keys: keys(of.config),
        tell: Box::new(move |kind, message| {
            alerts.tell(&json!({
                "event": "backup",
                "service": service,
                "at": format_ms(told_at.now_ms()),
                "kind": kind.name(),
                "message": message,
            }));
        }),
    };
    Schedule::new(server, of.repository, of.config.backup.clone())
}

/// The server's own keys, as backups name them.
pub fn keys(config: &Config) -> Vec<(&'static str, std::path::PathBuf)> {
    vec![
        ("signing_key", config.server.signing_key_file.clone()),
        ("vapid_key.pem", config.push.vapid_key_file.clone()),
    ]
}

/// Opens the store. One of an older format is backed up first: whole, where there is a place for that, and else its
/// private state into the store's folder.
pub(super) async fn open_store(
    config: &Config,
    repository: Option<Repository>,
) -> Result<(Store, Option<Repository>), ServeError> {
    let config = config.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let (path, budget) = (&config.store.path, config.store.memory_budget);
        let mut failed = None;
        let mut before = |store: &Store, from: u32| {
            let done = before_migration(&config, repository.as_ref(), store, from);
            done.map_err(|error| {
                failed = Some(error);
                StoreError::Closed
            })
        };
        // The log says how it goes if that takes long.
        let store = migrations::open_after(path, budget, &mut before, &mut |_| {});
        match (store, failed) {
            (_, Some(error)) => Err(ServeError::Backup(format!(
                "the store has to be brought to format {FORMAT}, and no backup can be made of it before: {error}. \
                 Nothing was changed: mend what is wrong, or set backup.where to another place, or leave it out, and start again"
            ))),
            (store, None) => Ok((store?, repository)),
        }
    });
    opened.await.map_err(|panic| ServeError::Backup(panic.to_string()))?
}

fn before_migration(
    config: &Config,
    repository: Option<&Repository>,
    store: &Store,
    from: u32,
) -> Result<(), String> {
    let now = Clock::system().now_ms();
    let Some(repository) = repository else {
        let folder = store.path().join("exports");
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let file = folder.join(format!("private-before-format-{FORMAT}.jsonl"));
        let written = export(&store.snapshot(), &file, now).map_err(|e| e.to_string())?;
        tracing::warn!(
            rows = written.rows, file = %file.display(),
            "store: it has format {from}: before it becomes {FORMAT}, private state is exported (with backup.where it would be a whole backup)"
        );
        return Ok(());
    };
    tracing::warn!(
        "store: it has format {from}: before it becomes {FORMAT}, it is backed up to {}",
        repository.name()
    );
    let pin = store.pin().map_err(|e| e.to_string())?;
    let made = repository.whole(&pin, &keys(config), now, &Progress::default());
    let made = made.map_err(|e| e.to_string())?;
    tracing::warn!(
        "store: the backup is {}: with `aerie backup restore` of the version before, the server can be as it was",
        made.id
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::backup::restore_whole;
    use crate::config;
    use crate::net::Dialer;

    /// A store of format 3, and a configuration with this place for backups.
    fn older(dir: &Path, place: &str) -> Config {
        let data = dir.join("data");
        std::fs::create_dir(&data).unwrap();
        let saved = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-v3.tar.gz");
        let out = Command::new("tar").arg("-xzf").arg(saved).arg("-C").arg(&data).status();
        assert!(out.unwrap().success());
        let file = dir.join("config.toml");
        let text = format!("[store]\npath = {data:?}\nmemory_budget = \"64MB\"\n{place}");
        std::fs::write(&file, text).unwrap();
        config::load(&config::Sources { file: Some(file), env: Vec::new() }).unwrap()
    }

    fn made(config: &Config) -> Option<Repository> {
        let http = HttpClient::new(&Dialer::new(false).unwrap(), "https://a.example");
        repository(config, &http).unwrap()
    }

    #[tokio::test]
    async fn a_store_is_backed_up_before_it_becomes_one_of_this_version() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("backups");
        let config = older(dir.path(), &format!("[backup]\nwhere = {place:?}\n"));
        let (store, repository) = open_store(&config, made(&config)).await.unwrap();
        drop(store);
        let repository = repository.unwrap();
        let ids = repository.ids().unwrap();
        assert_eq!(ids.len(), 1);
        let (to, mut before) = (dir.path().join("back"), None);
        let mut open = |path: &Path| {
            before = std::fs::read_to_string(path.join("format")).ok();
            Ok(migrations::open(path, 64 << 20, &mut |_| {}).map(drop)?)
        };
        let done = Progress::default();
        restore_whole(&repository, &ids[0], &to, &|_| None, &mut open, &done).unwrap();
        assert_eq!(before.as_deref(), Some("3\n"), "it is what it was");
        // Once it is of this version, nothing is to be done before.
        drop(open_store(&config, Some(repository)).await.unwrap());
        assert_eq!(made(&config).unwrap().ids().unwrap(), ids);
    }

    #[tokio::test]
    async fn without_a_place_private_state_is_exported_and_without_a_backup_nothing_changes() {
        let dir = tempfile::tempdir().unwrap();
        let config = older(dir.path(), "");
        drop(open_store(&config, made(&config)).await.unwrap());
        let file = dir.path().join(format!("data/exports/private-before-format-{FORMAT}.jsonl"));
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.lines().count() > 2 && text.contains("\"end\""), "{text}");
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("backups");
        std::fs::write(&place, "a file").unwrap();
        let config = older(dir.path(), &format!("[backup]\nwhere = {place:?}\n"));
        let error = open_store(&config, made(&config)).await.err().unwrap().to_string();
        assert!(error.contains("Nothing was changed") && error.contains("backups"), "{error}");
        let format = std::fs::read_to_string(dir.path().join("data/format")).unwrap();
        assert_eq!(format, "3\n");
    }
}
