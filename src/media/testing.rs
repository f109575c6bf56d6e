//! What tests of images share: a PDS of closures' making, pictures of every kind, and a reader of what comes out.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Response};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::*;
use crate::limits::{Hold, Limits, Proxies};
use crate::moderation::Takedowns;
use crate::net::{Dialer, HttpClient, NetError, StreamLimits, StreamResponse};
use crate::store::Store;
use crate::syntax::{Did, cid};
use crate::threads::Budget;

/// A PDS: blobs by CID, whoever asks.
#[derive(Default)]
pub(crate) struct Blobs {
    pub(crate) held: Mutex<FxHashMap<String, Bytes>>,
    /// CIDs asked for.
    pub(crate) asked: Mutex<Vec<String>>,
    /// Set, nobody answers.
    pub(crate) down: Mutex<bool>,
}

impl Blobs {
    /// Takes a blob; its CID.
    pub(crate) fn add(&self, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let cid = cid::to_base32(&cid::for_raw(&bytes));
        self.held.lock().insert(cid.clone(), bytes);
        cid
    }

    fn give(&self, cid: &str) -> Result<Bytes, MediaError> {
        self.asked.lock().push(cid.to_owned());
        if *self.down.lock() {
            return Err(NetError::Timeout("test").into());
        }
        self.held.lock().get(cid).cloned().ok_or(MediaError::NotFound)
    }
}

impl BlobOrigin for Blobs {
    fn image<'a>(
        &'a self,
        _did: &'a Did,
        cid: &'a str,
        memory: &'a Budget,
    ) -> BoxFuture<'a, Result<BlobInMemory, MediaError>> {
        Box::pin(async move {
            let image = self.give(cid);
            // Others get to ask for the same meanwhile.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let image = image?;
            let held = memory.take(image.len() as u64).await;
            Ok((image, held))
        })
    }

    fn blob<'a>(
        &'a self,
        _did: &'a Did,
        cid: &'a str,
    ) -> BoxFuture<'a, Result<(StreamResponse, Hold), MediaError>> {
        Box::pin(async move {
            let bytes = self.give(cid)?;
            // The only source of a streamed answer is a real connection.
            let url = raw_server(bytes).await;
            let client = HttpClient::new(&Dialer::new(true).unwrap(), "http://test");
            let limits = StreamLimits {
                max_bytes: 1 << 30,
                header_timeout: Duration::from_secs(10),
                idle_timeout: Duration::from_secs(10),
                timeout: Duration::from_secs(20),
                redirects: 0,
            };
            Ok((client.get_stream(&url, &HeaderMap::new(), &limits).await?, Hold::nothing()))
        })
    }
}

/// Answers one request with these bytes as HTML.
async fn raw_server(bytes: Bytes) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(move |_| {
            let mut response = Response::new(http_body_util::Full::new(bytes.clone()));
            let kind = HeaderValue::from_static("text/html");
            response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            response.headers_mut().insert("set-cookie", HeaderValue::from_static("a=b"));
            async { Ok::<_, std::convert::Infallible>(response) }
        });
        let io = hyper_util::rt::TokioIo::new(stream);
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
    });
    url
}

/// Images over a store, with a cache of its own that stays until the process ends.
pub(crate) fn media(store: &Store, takedowns: Takedowns, origin: Arc<Blobs>) -> Arc<Media> {
    let cache_path = tempfile::tempdir().unwrap().keep();
    let settings = MediaSettings {
        cache_path,
        cache_size: 1 << 30,
        floor: 0,
        free: |_| u64::MAX,
        threads: 2,
        pictures: Budget::new(64 << 20),
        files: Budget::new(12 << 20),
    };
    let limits = Arc::new(Limits::new(Proxies::default(), &[]));
    Media::start(settings, store.clone(), takedowns, origin, limits).unwrap()
}

/// Red left of blue, in this format.
pub(crate) fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    encoded(&halves(width, height).into(), format)
}

pub(crate) fn halves(width: u32, height: u32) -> RgbImage {
    let colour = |x| if x < width / 2 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) };
    RgbImage::from_fn(width, height, |x, _| colour(x))
}

pub(crate) fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    if format == ImageFormat::Jpeg {
        let (w, h) = (image.width() as u16, image.height() as u16);
        let encoder = jpeg_encoder::Encoder::new(out.get_mut(), 95);
        encoder.encode(image.as_bytes(), w, h, jpeg_encoder::ColorType::Rgb).unwrap();
    } else {
        image.write_to(&mut out, format).unwrap();
    }
    out.into_inner()
}

/// What came out, decoded.
pub(crate) fn opened(bytes: &[u8]) -> DynamicImage {
    image::load_from_memory(bytes).unwrap()
}
