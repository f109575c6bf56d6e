//! Why the server did not start, or ended by itself.

use std::net::SocketAddr;

use super::signing_key;
use super::supervisor::PartEnded;
use crate::changes::ChangesError;
use crate::ingest;
use crate::net::NetError;
use crate::store::StoreError;
use crate::xrpc;

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
    /// A part ended that nothing goes without.
    #[error(transparent)]
    Part(#[from] PartEnded),
    /// Backups cannot be made as the configuration says.
    #[error("{0}")]
    Backup(String),
    /// The writer thread panicked while something was taken in.
    #[error("the store's writer stopped")]
    WriterGone,
}
