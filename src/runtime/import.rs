//! CAR files into a store that no server has open: the same checks and the same rules as for repos from hosts.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::backfill;
use super::identities;
use super::serve::{ServeError, cache_entries};
use super::sink::{Applied, ToWriter};
use super::sources::{FromIndex, RESYNC_MEMORY, spill_floor};
use crate::config::Config;
use crate::identity::Identity;
use crate::index::{Index, Requests};
use crate::net::{Dialer, HttpClient};
use crate::store::{Store, Writer};
use crate::sync::{self, FileError, FileRepo, import_file};

/// Files read at a time: most are small and wait for the writer.
const AT_A_TIME: usize = 12;

/// Takes repos in from files and tells of each; ends when everything is on disk. DID documents are read over the
/// network that `config` names.
pub fn import(
    config: &Config,
    files: Vec<PathBuf>,
    mut told: impl FnMut(PathBuf, Result<FileRepo, FileError>),
) -> Result<(), ServeError> {
    let store = Store::open(&config.store.path, config.store.memory_budget)?;
    let (writer, thread) = Writer::start(store.clone())?;
    // What has to be done elsewhere is in the store, for the next server.
    let (index, _requests): (Index, Requests) = Index::new(&store)?;
    let dialer = Dialer::new(config.network.allow_private_addresses)?;
    let entries = cache_entries(config.store.memory_budget);
    let public_url = &config.server.public_url;
    let sink = Arc::new(ToWriter {
        writer: writer.clone(),
        index: Arc::new(index),
        applied: Arc::new(Applied::default()),
        forget: Arc::new(|_| {}),
    });
    let identity = Identity::new(&config.network, &dialer, public_url, entries);
    identities::export(config, &store, &writer, &identity, Box::new(|_| {}))?;
    let setup = Arc::new(sync::Setup {
        identity,
        http: HttpClient::new(&dialer, public_url),
        store: store.clone(),
        writer: writer.clone(),
        follow_up: Arc::new(backfill::FromIndex(store.clone())),
        held: Arc::new(FromIndex(store.clone())),
        sink,
        spill: store.path().to_owned(),
        spill_floor: spill_floor(config, &store),
        memory: RESYNC_MEMORY,
        concurrency: AT_A_TIME,
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("import").build()?;
    runtime.block_on(async {
        let mut imports = stream::iter(files)
            .map(|path| {
                let setup = Arc::clone(&setup);
                async move {
                    let result = import_file(&setup, &path).await;
                    (path, result)
                }
            })
            .buffer_unordered(AT_A_TIME);
        while let Some((path, result)) = imports.next().await {
            told(path, result);
        }
        writer.stop().await;
    });
    match thread.join() {
        Ok(result) => Ok(result?),
        Err(_) => Err(ServeError::WriterGone),
    }
}
