//! What reads lack, brought by sync: the link from the server's handlers to the network.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::sync::on_read::{self, Want};
use crate::xrpc::{Missing, OnRead};

/// Fetches from PDSes.
pub(super) struct FromPds(pub(super) on_read::OnRead);

impl OnRead for FromPds {
    fn bring(&self, missing: Vec<Missing>, within: Duration) -> BoxFuture<'_, bool> {
        let wants = missing.into_iter().map(|missing| match missing {
            Missing::Account(id) => Want::Account(id),
            Missing::Record { repo, collection, rkey, parents } => {
                Want::Record { repo, collection, rkey, parents }
            }
        });
        Box::pin(self.0.bring(wants.collect(), within))
    }
}
