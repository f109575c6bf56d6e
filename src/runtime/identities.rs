//! The PLC directory's operations: where they go in this process, and `aerie identity import` without a server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ServeError;
use super::wire::cached_identities;
use crate::config::Config;
use crate::identity::Identity;
use crate::identity::plc::{Outdated, PlcExport, PlcFileError, PlcStatus, PlcTable};
use crate::net::Dialer;
use crate::schema::migrations;
use crate::store::{Progress, Store, StoreError, Writer};
use crate::threads::Clock;

/// Between two looks at how it goes.
const LOOK: Duration = Duration::from_millis(500);

/// The way of operations into the store, which `identity` looks into from now on.
pub(super) fn export(
    config: &Config,
    store: &Store,
    writer: &Writer,
    identity: &Identity,
    outdated: Outdated,
) -> Result<PlcExport, StoreError> {
    let directory = &config.network.plc_url;
    let table = Arc::new(PlcTable::load(store.clone(), directory, Clock::system())?);
    identity.look_in(Arc::clone(&table));
    PlcExport::new(directory, writer.clone(), table, outdated)
}

/// Takes files of operations in that no server takes; tells how it goes now and then.
pub fn import(
    config: &Config,
    files: Vec<PathBuf>,
    partial: bool,
    mut told: impl FnMut(&PlcStatus),
    migrating: &mut dyn FnMut(&Progress),
) -> Result<Result<PlcStatus, PlcFileError>, ServeError> {
    let store = migrations::open(&config.store.path, config.store.memory_budget, migrating)?;
    let (writer, thread) = Writer::start(store.clone())?;
    let dialer = Dialer::new(config.network.allow_private_addresses)?;
    let entries = cached_identities(config.store.memory_budget);
    let identity = Identity::new(&config.network, &dialer, &config.server.public_url, entries);
    // Accounts to look at again are on a list in the store, for the next server.
    let export = export(config, &store, &writer, &identity, Box::new(|_| {}))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("import").build()?;
    let result = runtime.block_on(async {
        let work = export.import(files, partial, CancellationToken::new())?;
        tokio::pin!(work);
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                () = tokio::time::sleep(LOOK) => told(&export.status()),
            }
        };
        writer.stop().await;
        result.map(|_| export.status())
    });
    drop(export);
    match thread.join() {
        Ok(written) => written?,
        Err(_) => return Err(ServeError::WriterGone),
    }
    Ok(result)
}
