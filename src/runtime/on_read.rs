//! What reads lack, brought by sync: the link from the server's handlers to the network.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::sources::Sources;
use crate::sync::on_read::{self, Want};
use crate::xrpc::{Missing, OnRead};

/// Fetches from PDSes.
pub(super) struct FromPds {
    pub(super) on_read: on_read::OnRead,
    /// While these stand still because the disk is full, nothing is fetched either.
    pub(super) sources: Arc<Sources>,
}

impl OnRead for FromPds {
    fn bring(&self, missing: Vec<Missing>, within: Duration) -> BoxFuture<'_, bool> {
        if !self.sources.is_running() {
            return Box::pin(async { false });
        }
        let wants = missing.into_iter().map(|missing| match missing {
            Missing::Account(id) => Want::Account(id),
            Missing::Record { repo, collection, rkey, parents } => {
                Want::Record { repo, collection, rkey, parents }
            }
        });
        Box::pin(self.on_read.bring(wants.collect(), within))
    }
}
