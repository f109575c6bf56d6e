//! A bucket of an S3-compatible service as a place. Requests go through the server's own client.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{
    HttpClient as Client, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, ObjectStore as _, ObjectStoreExt as _, PutPayload, RetryConfig,
    WriteMultipart,
};
use tokio::runtime::Handle;

use super::BackupError;
use super::place::{Found, Place};
use crate::config;
use crate::net::{HttpClient, NetError, StreamLimits};

/// Bytes of a part of an object; one that has no more is put at once. At most two parts are in memory.
const PART: usize = 8 << 20;
/// Pieces of an answer that wait to be read.
const PIECES: usize = 4;
/// Objects that are listed at most.
const MAX_LISTED: usize = 8_000_000;

/// How long it is waited for a bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// For an answer to a part, and between two pieces of one.
    pub(super) idle: Duration,
    /// Tries after the first one.
    pub(super) retries: usize,
    /// Within that time.
    pub(super) retry_within: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), retries: 4, retry_within: Duration::from_secs(180) }
    }
}

/// Objects of a bucket, below a prefix.
pub(super) struct Bucket {
    store: AmazonS3,
    prefix: String,
    name: String,
    handle: Handle,
}

impl Bucket {
    /// `of` is the name of the bucket, and a prefix behind a slash.
    pub(super) fn new(
        of: &str,
        config: &config::Backup,
        http: HttpClient,
        handle: Handle,
        waits: Waits,
    ) -> Result<Self, BackupError> {
        let (bucket, prefix) = of.split_once('/').unwrap_or((of, ""));
        let retry = RetryConfig {
            max_retries: waits.retries,
            retry_timeout: waits.retry_within,
            ..RetryConfig::default()
        };
        let connector = Connector(Arc::new(Service { http, idle: waits.idle }));
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&config.region)
            .with_retry(retry)
            .with_allow_http(true)
            // Not all services have it.
            .with_disable_bulk_delete(true)
            .with_http_connector(connector);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let (Some(access), Some(secret)) = (&config.access_key, &config.secret_key) else {
            let why = "a bucket needs backup.access_key and backup.secret_key, or their files";
            return Err(BackupError::Key(why.to_owned()));
        };
        builder = builder.with_access_key_id(access).with_secret_access_key(secret.expose());
        let name = format!("s3://{of}");
        let store = builder.build().map_err(|e| BackupError::Key(format!("{name}: {e}")))?;
        Ok(Self { store, prefix: prefix.trim_matches('/').to_owned(), name, handle })
    }

    fn path(&self, key: &str) -> Path {
        match self.prefix.as_str() {
            "" => Path::from(key),
            prefix => Path::from(format!("{prefix}/{key}")),
        }
    }

    async fn put_parts(
        &self,
        path: &Path,
        first: Bytes,
        body: &mut (dyn Read + Send),
    ) -> io::Result<u64> {
        let upload = self.store.put_multipart(path).await.map_err(failed)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut len = first.len() as u64;
        writer.put(first);
        let filled = async {
            loop {
                let piece = part(body)?;
                if piece.is_empty() {
                    return Ok(());
                }
                len += piece.len() as u64;
                writer.wait_for_capacity(1).await.map_err(failed)?;
                writer.put(piece);
            }
        };
        match filled.await {
            Ok(()) => writer.finish().await.map_err(failed)?,
            Err(error) => {
                let _ = writer.abort().await;
                return Err(error);
            }
        };
        Ok(len)
    }
}

/// The next part of a body; empty at its end.
fn part(body: &mut dyn Read) -> io::Result<Bytes> {
    let mut part = Vec::new();
    body.take(PART as u64).read_to_end(&mut part)?;
    Ok(part.into())
}

impl Place for Bucket {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn put(&self, key: &str, body: &mut (dyn Read + Send)) -> io::Result<u64> {
        let path = self.path(key);
        let first = part(body)?;
        let len = first.len();
        if len == PART {
            return self.handle.block_on(self.put_parts(&path, first, body));
        }
        let put = self.store.put(&path, PutPayload::from_bytes(first));
        self.handle.block_on(put).map_err(failed)?;
        Ok(len as u64)
    }

    fn get(&self, key: &str) -> io::Result<Box<dyn Read + Send>> {
        let path = self.path(key);
        let got = self.handle.block_on(self.store.get(&path)).map_err(failed)?;
        let (pieces, handle) = (got.into_stream(), self.handle.clone());
        Ok(Box::new(Pieces { pieces, handle, piece: Bytes::new() }))
    }

    fn list(&self, under: &str) -> io::Result<Vec<Found>> {
        let under = self.path(under);
        let cut = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        self.handle.block_on(async {
            let (mut found, mut all) = (Vec::new(), self.store.list(Some(&under)));
            while let Some(one) = all.next().await {
                let one = one.map_err(failed)?;
                let key = one.location.as_ref().get(cut..).unwrap_or_default().to_owned();
                found.push(Found { key, len: one.size });
                if found.len() > MAX_LISTED {
                    return Err(io::Error::other("there are too many objects"));
                }
            }
            Ok(found)
        })
    }

    fn remove(&self, key: &str) -> io::Result<()> {
        let path = self.path(key);
        match self.handle.block_on(self.store.delete(&path)) {
            Err(Error::NotFound { .. }) => Ok(()),
            removed => removed.map_err(failed),
        }
    }

    /// Parts of an object that was not put to its end are not seen; a rule of the bucket lets them expire.
    fn tidy(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A body that is read piece by piece.
struct Pieces {
    pieces: BoxStream<'static, object_store::Result<Bytes>>,
    handle: Handle,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.handle.block_on(self.pieces.next()) {
                None => return Ok(0),
                Some(piece) => self.piece = piece.map_err(failed)?,
            }
        }
        let n = out.len().min(self.piece.len());
        let piece = self.piece.split_to(n);
        if let Some(out) = out.get_mut(..n) {
            out.copy_from_slice(&piece);
        }
        Ok(n)
    }
}

/// Says what the bucket said, once.
fn failed(error: Error) -> io::Error {
    let kind = match &error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        _ => io::ErrorKind::Other,
    };
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = inner.source();
    }
    io::Error::new(kind, words)
}

#[derive(Debug)]
struct Connector(Arc<Service>);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<Client> {
        Ok(Client::new(Shared(Arc::clone(&self.0))))
    }
}

struct Service {
    http: HttpClient,
    idle: Duration,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Service")
    }
}

#[derive(Debug)]
struct Shared(Arc<Service>);

#[async_trait::async_trait]
impl HttpService for Shared {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let limits = StreamLimits {
            max_bytes: u64::MAX,
            header_timeout: self.0.idle,
            idle_timeout: self.0.idle,
            timeout: Duration::from_secs(3600),
            redirects: 0,
        };
        let asked = http::Request::from_parts(parts, body);
        let answer = self.0.http.exchange(asked, &limits).await.map_err(unanswered)?;
        // An answer has to be read from any thread, and this one can only be read from one.
        let (put, pieces) = flume::bounded(PIECES);
        let mut body = answer.body;
        tokio::spawn(async move {
            while let Some(piece) = body.next().await {
                if put.send_async(piece.map_err(unanswered)).await.is_err() {
                    return;
                }
            }
        });
        let pieces = pieces.into_stream().map(|piece| piece.map(Frame::data));
        let mut response = HttpResponse::new(HttpResponseBody::new(StreamBody::new(pieces)));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

fn unanswered(error: NetError) -> HttpError {
    let kind = match &error {
        NetError::Timeout(_) => HttpErrorKind::Timeout,
        NetError::Dns(_) | NetError::Connect(_) | NetError::Tls(_) => HttpErrorKind::Connect,
        NetError::Protocol(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
