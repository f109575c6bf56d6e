//! `aerie db compact`.

use std::path::Path;

use serde_json::json;

use super::super::format::bytes;
use super::super::{CliError, print};
use crate::store::{Store, free_space};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    args: &Args,
    path: &Path,
    open: impl Fn() -> Result<Store, CliError>,
) -> Result<(), CliError> {
    let store = open()?;
    let before = size(&store)?;
    let (keyspaces, _) = store.files()?;
    let largest = keyspaces.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let free = free_space(path);
    if free < largest {
        let [largest, free] = [largest, free].map(|n| bytes(n as f64));
        return Err(CliError::Failed(format!(
            "the largest keyspace has {largest}, and is written anew before the old one goes: {free} are free. Make room first; \
             nothing was changed"
        )));
    }
    store.compact(|ks| eprintln!("compacting {}", ks.name()))?;
    // The engine deletes the tables of before when it is opened again.
    drop(store);
    let after = size(&open()?)?;
    print(&json!({ "before": before, "after": after }), args.json, |_| {
        format!("{} before, {} after\n", bytes(before as f64), bytes(after as f64))
    })
}

/// Bytes of tables and journals.
fn size(store: &Store) -> Result<u64, CliError> {
    let (keyspaces, journals) = store.files()?;
    Ok(journals + keyspaces.iter().map(|(_, bytes)| bytes).sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Edit as _;
    use crate::store::{Tx, Writer};

    #[test]
    fn what_was_shadowed_is_gone_and_the_rest_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Ok(Store::open(dir.path(), 64 << 20)?);
        let store = open().unwrap();
        let (writer, thread) = Writer::start(store.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for _ in 0..5 {
            let put = |tx: &mut Tx<'_>| {
                (0..500)
                    .try_for_each(|n| tx.intern_actor(&format!("did:web:a{n}.example")).map(drop))
            };
            runtime.block_on(writer.durable(put)).unwrap();
            store.flush_all().unwrap();
        }
        runtime.block_on(writer.stop());
        drop((writer, store));
        thread.join().unwrap().unwrap();
        run(&Args::default(), dir.path(), open).unwrap();
        let store = open().unwrap();
        let held =
            crate::schema::Rows::actor_id(&store.snapshot(), "did:web:a499.example").unwrap();
        assert!(held.is_some());
        drop(store);
        let error = run(&Args::default(), dir.path(), || Err(CliError::Differs)).unwrap_err();
        assert!(matches!(error, CliError::Differs));
    }
}
