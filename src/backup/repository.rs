//! All backups of a place, and what it takes to make and read them.

use std::time::Duration;

use serde::Serialize;

use super::BackupError;
use super::bucket::{Bucket, Waits};
use super::crypt::{Identities, Recipients};
use super::folder::Folder;
use super::id::{Id, Kind, UNDER};
use super::manifest::Manifest;
use super::place::{Found, Place};
use crate::config;
use crate::net::HttpClient;

/// A place with its keys.
pub struct Repository {
    pub(super) place: Box<dyn Place>,
    pub(super) recipients: Option<Recipients>,
    pub(super) identities: Option<Identities>,
    /// Bytes that are read in a second, at most.
    pub(super) rate: u64,
}

/// A backup as it is listed.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Its name.
    pub id: Id,
    /// Of what it is.
    pub kind: Kind,
    /// What it has; none if that cannot be read.
    pub has: Option<Has>,
    /// Why not.
    pub error: Option<String>,
}

/// What a backup has.
#[derive(Debug, Clone, Serialize)]
pub struct Has {
    /// When it was made, milliseconds since the epoch.
    pub made: i64,
    /// Files of it.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// By which version.
    pub aerie: String,
    /// The format of the store.
    pub format: u32,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

impl Repository {
    /// The place that the configuration names. A bucket is asked through `http`, on the runtime of `handle`.
    ///
    /// # Errors
    /// No place is named, or a key is none.
    pub fn open(
        config: &config::Backup,
        http: HttpClient,
        handle: tokio::runtime::Handle,
    ) -> Result<Self, BackupError> {
        let place: Box<dyn Place> = match &config.place {
            None => {
                let why =
                    "there is no place for backups: set backup.where to a folder or an s3:// URL";
                return Err(BackupError::Key(why.to_owned()));
            }
            Some(place) => match place.strip_prefix("s3://") {
                Some(bucket) => {
                    Box::new(Bucket::new(bucket, config, http, handle, Waits::default())?)
                }
                None => Box::new(Folder::new(place.into())),
            },
        };
        let recipients = match config.encrypt_to.as_slice() {
            [] => None,
            texts => Some(Recipients::parse(texts)?),
        };
        let identities = config.identity_file.as_deref().map(Identities::read).transpose()?;
        Ok(Self { place, recipients, identities, rate: config.rate })
    }

    /// With these identities instead of those of the configuration.
    #[must_use]
    pub fn with_identities(self, identities: Option<Identities>) -> Self {
        Self { identities: identities.or(self.identities), ..self }
    }

    /// As the operator named it.
    #[must_use]
    pub fn name(&self) -> String {
        self.place.name()
    }

    /// The error of the place.
    pub(super) fn failed<'a>(
        &'a self,
        what: &'a str,
    ) -> impl Fn(std::io::Error) -> BackupError + use<'a> {
        move |cause| BackupError::Place { place: self.name(), what: what.to_owned(), cause }
    }

    /// Every backup, the oldest first.
    ///
    /// # Errors
    /// The place cannot be listed.
    pub fn ids(&self) -> Result<Vec<Id>, BackupError> {
        let found = self.place.list(UNDER).map_err(self.failed("list backups"))?;
        let mut ids: Vec<Id> = found.iter().filter_map(|found| Id::of_key(&found.key)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// What a backup has.
    ///
    /// # Errors
    /// Its manifest is not there, not whole, or of another version.
    pub fn manifest(&self, id: &Id) -> Result<Manifest, BackupError> {
        let key = id.key();
        let bytes = self.place.get(&key).map_err(self.failed(&key))?;
        Manifest::decode(id, bytes)
    }

    /// Every backup with what it has, the oldest first.
    ///
    /// # Errors
    /// The place cannot be listed.
    pub fn list(&self) -> Result<Vec<Listed>, BackupError> {
        let list = |id: Id| {
            let kind = id.kind();
            match self.manifest(&id) {
                Ok(manifest) => {
                    let (files, bytes) = (manifest.files.len(), manifest.bytes());
                    let super::manifest::Head { made, aerie, format, encrypted, .. } =
                        manifest.head;
                    let encrypted = encrypted.is_some();
                    let has = Has { made, files, bytes, aerie, format, encrypted };
                    Listed { id, kind, has: Some(has), error: None }
                }
                Err(error) => Listed { id, kind, has: None, error: Some(error.to_string()) },
            }
        };
        Ok(self.ids()?.into_iter().map(list).collect())
    }

    /// The backup of that name, or the newest of a kind.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, wanted: Option<&str>, kind: Kind) -> Result<Id, BackupError> {
        let mut newest_first = self.ids()?.into_iter().rev();
        let found = match wanted {
            Some(wanted) => newest_first.find(|id| id.as_str() == wanted),
            None => newest_first.find(|id| id.kind() == kind),
        };
        let wanted = wanted.map_or_else(|| format!("of kind {}", kind.name()), str::to_owned);
        found.ok_or_else(|| BackupError::Unknown { place: self.name(), wanted })
    }

    /// Lengths of all objects by their names.
    pub(super) fn objects(&self) -> Result<std::collections::HashMap<String, u64>, BackupError> {
        let found = self.place.list("objects").map_err(self.failed("list objects"))?;
        Ok(found.into_iter().map(|Found { key, len }| (key, len)).collect())
    }

    /// Whether a backup is under way. A mark that was not renewed for a while is of one that was killed, and goes.
    pub(super) fn is_busy(&self, now: i64) -> Result<bool, BackupError> {
        let mut busy = false;
        for Found { key, .. } in self.place.list(PENDING).map_err(self.failed("list pending"))? {
            let mut text = String::new();
            let read = self.place.get(&key).and_then(|mark| {
                std::io::Read::read_to_string(&mut std::io::Read::take(mark, 64), &mut text)
            });
            match read {
                // Gone meanwhile.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                read => read.map_err(self.failed(&key))?,
            };
            let at: i64 = text.trim().parse().unwrap_or(0);
            if (now - at).unsigned_abs() < DEAD_AFTER.as_millis() as u64 {
                busy = true;
            } else {
                self.place.remove(&key).map_err(self.failed(&key))?;
            }
        }
        Ok(busy)
    }
}

/// Where marks of backups under way are.
pub(super) const PENDING: &str = "pending";
/// A backup whose mark is so old was killed; and how often a mark is renewed.
const DEAD_AFTER: Duration = Duration::from_secs(900);
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(60);
