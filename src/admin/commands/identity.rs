//! `aerie identity import`, beside a running server.

use super::{Commands, words};
use crate::admin::ports::Said;
use crate::admin::protocol::{Done, IdentityImport};

impl Commands {
    /// Begins to take files in; the status tells the rest.
    pub(super) fn import_identities(&self, of: IdentityImport) -> Said<Done> {
        let (export, stop) = self.intake.plc_export().ok_or_else(|| {
            "nothing is written while ingest is stopped: see `aerie status`".to_owned()
        })?;
        let work = export.import(of.files, of.partial, stop).map_err(words)?;
        tokio::spawn(async move {
            if let Err(error) = work.await {
                tracing::error!(%error, "operations of the PLC directory from a file");
            }
        });
        Ok(Done {})
    }
}
