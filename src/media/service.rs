//! One image for many who ask: the gate, the cache, one flight to the PDS at a time, failures remembered for a while.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use rustc_hash::FxHashMap;
use serde::Serialize;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::blob::{self, Blob, Slot};
use super::cache::DiskCache;
use super::decode;
use super::error::MediaError;
use super::gate::BlobGate;
use super::key::{ImageKey, Owner};
use super::origin::BlobOrigin;
use super::render::render;
use super::request::ImageRequest;
use crate::limits::{Client, Elapsed, Limit, Limits};
use crate::moderation::Takedowns;
use crate::store::Store;
use crate::syntax::Did;
use crate::syntax::cid::{self, Cid};
use crate::telemetry::counters::Counters;
use crate::threads::{Budget, Pool, Priority, Threads};

static ANSWERS: Counters = Counters::new("images.answers");
static FAILURES: Counters = Counters::new("images.failures");

/// Images that are fetched or made; further ones are refused.
pub(super) const FLIGHTS: usize = 512;
/// From then on a flight gives way when there are too many.
const LONG: Duration = Duration::from_secs(3);
/// Of these, how many have their blob and are looked at, wait for memory or are made.
const MADE: usize = 32;
/// Blobs that pass through.
const BLOBS: usize = 64;
/// Threads that look into the store and the cache, and requests that wait for them.
const READERS: usize = 4;
const READ_QUEUE: usize = 1024;
/// Failures remembered.
const REMEMBERED: usize = 8192;

/// What [`Media::start`] needs to know.
#[derive(Debug, Clone)]
pub struct MediaSettings {
    /// Folder of the cache.
    pub cache_path: PathBuf,
    /// Most bytes in it; with 0 there is none.
    pub cache_size: u64,
    /// Free bytes on its disk that it leaves alone.
    pub floor: u64,
    /// Free bytes where a path is.
    pub free: fn(&Path) -> u64,
    /// Threads that resize.
    pub threads: usize,
    /// For pictures that are decoded and made smaller.
    pub pictures: Budget,
    /// For their files, as they come.
    pub files: Budget,
}

/// An image.
#[derive(Debug, Clone)]
pub struct RenderedImage {
    /// In the format asked for.
    pub bytes: Bytes,
    /// Whether it was in the cache.
    pub cached: bool,
}

/// Figures for the operator, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ImagesStatus {
    /// Images asked for.
    pub requests: u64,
    /// Of these, answered from the cache.
    pub hits: u64,
    /// Images made.
    pub resized: u64,
    /// Images under way.
    pub running: usize,
    /// Bytes of the cache on disk.
    pub cache_bytes: u64,
    /// Files of the cache.
    pub cache_files: usize,
}

type RenderResult = Result<Bytes, MediaError>;
type Landing = Shared<BoxFuture<'static, RenderResult>>;

/// An image that is being fetched and made.
struct Flight {
    landing: Landing,
    began: Duration,
    /// It gives way to another.
    gone: CancellationToken,
}

/// Images and blobs.
pub struct Media {
    gate: BlobGate,
    cache: Option<DiskCache>,
    origin: Arc<dyn BlobOrigin>,
    limits: Arc<Limits>,
    time: Elapsed,
    readers: Pool,
    resizers: Pool,
    made: Arc<Semaphore>,
    pictures: Budget,
    files: Budget,
    blobs: Arc<Semaphore>,
    flights: Mutex<FxHashMap<ImageKey, Flight>>,
    failures: Cache<ImageKey, (Instant, MediaError)>,
    requests: AtomicU64,
    hits: AtomicU64,
    resized: AtomicU64,
}

impl Media {
    /// Starts the threads, and looks the cache through in the background.
    ///
    /// # Errors
    /// The cache's folder cannot be used, or the system refuses a thread.
    pub fn start(
        settings: MediaSettings,
        store: Store,
        takedowns: Takedowns,
        origin: Arc<dyn BlobOrigin>,
        limits: Arc<Limits>,
    ) -> io::Result<Arc<Self>> {
        Self::with_time(settings, store, takedowns, origin, limits, Elapsed::since_now())
    }

    /// The same with a time that a test moves.
    pub(super) fn with_time(
        settings: MediaSettings,
        store: Store,
        takedowns: Takedowns,
        origin: Arc<dyn BlobOrigin>,
        limits: Arc<Limits>,
        time: Elapsed,
    ) -> io::Result<Arc<Self>> {
        let MediaSettings { cache_path, cache_size, floor, free, threads, pictures, files } =
            settings;
        let cache = (cache_size > 0)
            .then(|| DiskCache::open(cache_path, cache_size, floor, free))
            .transpose()?;
        let this = Arc::new(Self {
            gate: BlobGate { store, takedowns },
            cache,
            origin,
            limits,
            time,
            readers: pool("image-read", READERS, READ_QUEUE, Priority::Normal)?,
            resizers: pool("image", threads, MADE, Priority::Yielding)?,
            made: Arc::new(Semaphore::new(MADE)),
            pictures,
            files,
            blobs: Arc::new(Semaphore::new(BLOBS)),
            flights: Mutex::default(),
            failures: Cache::new(REMEMBERED),
            requests: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            resized: AtomicU64::new(0),
        });
        this.in_background(DiskCache::scan);
        Ok(this)
    }

    /// Whether an image may be shown: for those who have it already.
    ///
    /// # Errors
    /// [`MediaError::NotFound`] if not.
    pub async fn check(self: &Arc<Self>, request: &ImageRequest) -> Result<(), MediaError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let checked = self.is_shown(&request.did, &request.cid).await;
        ANSWERS.inc(checked.as_ref().map_or_else(MediaError::cause, |()| "unchanged"));
        checked
    }

    /// An image, from the cache or made now.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn image(
        self: &Arc<Self>,
        request: &ImageRequest,
        client: Client,
    ) -> Result<RenderedImage, MediaError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let image = self.find(request, client).await;
        ANSWERS.inc(match &image {
            Ok(image) if image.cached => "hit",
            Ok(_) => "made",
            Err(error) => error.cause(),
        });
        image
    }

    async fn find(
        self: &Arc<Self>,
        request: &ImageRequest,
        client: Client,
    ) -> Result<RenderedImage, MediaError> {
        let key = ImageKey::of(request);
        let (this, wanted) = (Arc::clone(self), request.clone());
        let cached = self.readers.run(move || this.look(&wanted, key)).await??;
        if let Some(image) = cached {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(RenderedImage { bytes: image.into(), cached: true });
        }
        if let Some(failure) = self.remembered(key) {
            return Err(failure);
        }
        let flight = self.flight(key, request, client)?;
        Ok(RenderedImage { bytes: flight.await?, cached: false })
    }

    /// Gate and cache in one hop to another thread.
    fn look(&self, request: &ImageRequest, key: ImageKey) -> Result<Option<Vec<u8>>, MediaError> {
        self.gate.check(&request.did, &cid::to_base32(&request.cid))?;
        Ok(self.cache.as_ref().and_then(|cache| cache.get(key)))
    }

    async fn is_shown(self: &Arc<Self>, did: &Did, cid: &Cid) -> Result<(), MediaError> {
        let (gate, did, cid) = (self.gate.clone(), did.clone(), cid::to_base32(cid));
        self.readers.run(move || gate.check(&did, &cid)).await?
    }

    /// Joins the flight of an image, or begins it. It goes on when whoever asked hangs up: the next will ask again.
    fn flight(
        self: &Arc<Self>,
        key: ImageKey,
        request: &ImageRequest,
        client: Client,
    ) -> Result<Landing, MediaError> {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&key) {
            return Ok(flight.landing.clone());
        }
        let hold = self.limits.hold(Limit::Flights, client, 1)?;
        if flights.len() >= FLIGHTS {
            give_way(&mut flights, self.time.get())?;
        }
        let (done, landed) = oneshot::channel();
        let landed = landed.map(|outcome: Result<RenderResult, _>| {
            outcome.unwrap_or_else(|_| Err(MediaError::Worker("stopped".into())))
        });
        let (landing, gone) = (landed.boxed().shared(), CancellationToken::new());
        let (began, landed) = (self.time.get(), landing.clone());
        flights.insert(key, Flight { landing, began, gone: gone.clone() });
        let (this, request) = (Arc::clone(self), request.clone());
        tokio::spawn(async move {
            let _hold = hold;
            let made = gone.run_until_cancelled(this.make(key, request)).await;
            // Who gave way is out of the list, and another may be in its place.
            let is_listed = made.is_some();
            let outcome = made.unwrap_or(Err(MediaError::Overloaded));
            if let Err(error) = &outcome {
                FAILURES.inc(error.cause());
                if let Some(time) = memory_of(error) {
                    this.failures.insert(key, (Instant::now() + time, error.clone()));
                }
            }
            if is_listed {
                this.flights.lock().remove(&key);
            }
            // Everybody may have hung up.
            let _ = done.send(outcome);
        });
        Ok(landed)
    }

    async fn make(self: &Arc<Self>, key: ImageKey, request: ImageRequest) -> RenderResult {
        let cid = cid::to_base32(&request.cid);
        let (blob, held) = self.origin.image(&request.did, &cid, &self.files).await?;
        let slot = Arc::clone(&self.made).acquire_owned().await;
        let slot = slot.map_err(|_| MediaError::Overloaded)?;
        let ImageRequest { preset, format, .. } = request;
        let (looked_at, wanted, most) = (blob.clone(), request.cid, self.pictures.limit());
        let plan = self.resizers.run(move || {
            if cid::digest(&cid::for_raw(&looked_at)) != cid::digest(&wanted) {
                return Err(MediaError::WrongBytes);
            }
            decode::plan(&looked_at, preset, format, most)
        });
        let plan = plan.await??;
        let memory = self.pictures.take(plan.bytes).await;
        let this = Arc::clone(self);
        let made = self.resizers.run(move || {
            let _until_it_is_made = (slot, held, memory);
            let image = render(&blob, preset, format, &plan)?;
            this.resized.fetch_add(1, Ordering::Relaxed);
            if let Some(cache) = &this.cache
                && let Err(error) = cache.put(key, &image)
            {
                FAILURES.inc("cache-write");
                tracing::warn!(%error, "cannot write to the image cache");
            }
            // Its account may have gone meanwhile, and what was here of it with it.
            if let Some(cache) = &this.cache
                && this.gate.check(&request.did, &cid).is_err()
            {
                cache.remove(key);
            }
            Ok(Bytes::from(image))
        });
        made.await?
    }

    fn remembered(&self, key: ImageKey) -> Option<MediaError> {
        let (until, error) = self.failures.get(&key)?;
        if until > Instant::now() {
            return Some(error);
        }
        self.failures.remove(&key);
        None
    }

    /// A blob as it is.
    ///
    /// # Errors
    /// See [`MediaError`]; after the beginning, its stream fails.
    pub async fn blob(
        self: &Arc<Self>,
        did: &Did,
        cid: &Cid,
        client: Client,
    ) -> Result<Blob, MediaError> {
        let hold = self.limits.hold(Limit::Blobs, client, 1)?;
        let slot = Arc::clone(&self.blobs).try_acquire_owned();
        let slot = slot.map_err(|_| MediaError::Overloaded)?;
        self.is_shown(did, cid).await?;
        let (response, of_host) = self.origin.blob(did, &cid::to_base32(cid)).await?;
        blob::open(response, cid, Slot { _all: slot, _holds: [hold, of_host] }).await
    }

    /// Takes what is here of an account away. It has to be hidden already: what is being made now is not kept then.
    pub async fn forget(self: &Arc<Self>, did: &Did) {
        let (this, owner) = (Arc::clone(self), Owner::of(did));
        let work = move || {
            if let Some(cache) = &this.cache {
                cache.remove_all_of(owner);
            }
        };
        // A panic in it was reported by the hook.
        let _ = tokio::task::spawn_blocking(work).await;
    }

    /// Makes room if the disk is about to be full. To be called every few seconds.
    ///
    /// # Errors
    /// [`MediaError::Overloaded`] if no thread is free, [`MediaError::Worker`] if it panicked.
    pub async fn tend(self: &Arc<Self>) -> Result<(), MediaError> {
        let this = Arc::clone(self);
        let work = move || {
            if let Some(cache) = &this.cache {
                cache.tend();
            }
        };
        Ok(self.readers.run(work).await?)
    }

    fn in_background(self: &Arc<Self>, work: fn(&DiskCache)) {
        let this = Arc::clone(self);
        self.readers.try_spawn(move || {
            if let Some(cache) = &this.cache {
                work(cache);
            }
        });
    }

    /// How it goes.
    pub fn status(&self) -> ImagesStatus {
        let (cache_bytes, cache_files) = self.cache.as_ref().map_or((0, 0), DiskCache::size);
        ImagesStatus {
            requests: self.requests.load(Ordering::Relaxed),
            hits: self.hits.load(Ordering::Relaxed),
            resized: self.resized.load(Ordering::Relaxed),
            running: self.flights.lock().len(),
            cache_bytes,
            cache_files,
        }
    }
}

/// Makes room for a flight: the one goes that has been under way for longest, if that is long. It is those whose host
/// does not answer that are.
fn give_way(flights: &mut FxHashMap<ImageKey, Flight>, now: Duration) -> Result<(), MediaError> {
    let oldest = flights.iter().min_by_key(|(_, flight)| flight.began);
    let oldest =
        oldest.filter(|(_, flight)| now.saturating_sub(flight.began) >= LONG).map(|(key, _)| *key);
    let flight = oldest.and_then(|key| flights.remove(&key)).ok_or(MediaError::Overloaded)?;
    flight.gone.cancel();
    Ok(())
}

fn pool(name: &'static str, count: usize, queue: usize, priority: Priority) -> io::Result<Pool> {
    Pool::start(Threads { name, count, queue, patience: None, stack: None, priority })
}

/// How long a failure is given again without asking: what depends on the blob alone does not change.
fn memory_of(error: &MediaError) -> Option<Duration> {
    match error {
        MediaError::NotAnImage | MediaError::TooLarge | MediaError::Damaged => {
            Some(Duration::from_secs(600))
        }
        MediaError::NotFound | MediaError::WrongBytes | MediaError::NoOrigin => {
            Some(Duration::from_secs(30))
        }
        MediaError::Upstream(_) | MediaError::Worker(_) => Some(Duration::from_secs(10)),
        MediaError::Limited(_) | MediaError::Overloaded | MediaError::Store(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::media;
    use super::*;
    use crate::store::StoreError;

    #[tokio::test]
    async fn a_failure_is_given_again_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let takedowns = Takedowns::load(&store.snapshot()).unwrap();
        let media = media(&store, takedowns, Arc::default());
        let (past, later) = (Instant::now(), Instant::now() + Duration::from_secs(3600));
        media.failures.insert(ImageKey(1), (past, MediaError::NotFound));
        media.failures.insert(ImageKey(2), (later, MediaError::NotFound));
        assert!(media.remembered(ImageKey(1)).is_none() && media.remembered(ImageKey(2)).is_some());
        // What says nothing about the blob is not remembered.
        for error in [MediaError::Overloaded, MediaError::Store(Arc::new(StoreError::Closed))] {
            assert_eq!(memory_of(&error), None, "{error}");
        }
        for error in [MediaError::NotFound, MediaError::TooLarge, MediaError::Worker("x".into())] {
            assert!(memory_of(&error).is_some(), "{error}");
        }
    }
}
