//! CAR files into a store that no server has open: the same checks and the same rules as for repos from hosts.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

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
use crate::sync::{self, FileError, FileRepo};

/// Files read at a time, so that the writer never waits for one.
const AT_A_TIME: usize = 12;

/// Takes repos in from files and tells of each; ends when everything is on disk. DID documents that no import of the PLC
/// directory brought are read over the network that `config` names; handles are left to the next server.
pub fn import(
    config: &Config,
    files: Vec<PathBuf>,
    told: impl FnMut(PathBuf, Result<FileRepo, FileError>) + Send,
) -> Result<(), ServeError> {
    let store = Store::open(&config.store.path, config.store.memory_budget)?;
    let (writer, thread) = Writer::start_bulk(store.clone())?;
    // What has to be done elsewhere is in the store, for the next server.
    let (index, _requests): (Index, Requests) = Index::new(&store)?;
    let index = index.scoped(&store, config.scope.mode, config.scope.days)?;
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
    let setup = sync::Setup {
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
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("import").build()?;
    let (files, told) = (Mutex::new(files.into_iter()), Mutex::new(told));
    let next = || files.lock().next();
    let tell = |path, result| (*told.lock())(path, result);
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| sync::import_files(&setup, runtime.handle(), next, tell));
        }
    });
    runtime.block_on(writer.stop());
    match thread.join() {
        Ok(result) => Ok(result?),
        Err(_) => Err(ServeError::WriterGone),
    }
}
