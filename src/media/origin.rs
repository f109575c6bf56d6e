//! Where blobs come from: the account's PDS, `com.atproto.sync.getBlob`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use quick_cache::sync::Cache;
use tokio::time::{Instant, timeout};
use url::{Url, form_urlencoded};

use super::error::MediaError;
use crate::identity::{Freshness, Identity};
use crate::limits::{Client, Hold, Limit, Limits};
use crate::net::{HostThrottle, HttpClient, NetError, StreamLimits, StreamResponse};
use crate::syntax::Did;
use crate::threads::{Budget, Clock, Held};

/// Lexicons allow images of 2 MB; other applications a little more. The reference takes 10 MB.
const IMAGE_LIMITS: StreamLimits = StreamLimits {
    max_bytes: 10 << 20,
    header_timeout: Duration::from_secs(15),
    idle_timeout: Duration::from_secs(5),
    timeout: Duration::from_secs(30),
    redirects: 0,
};
/// The largest blob of a lexicon is a video of 100 MB.
const BLOB_LIMITS: StreamLimits = StreamLimits {
    max_bytes: 100 << 20,
    header_timeout: Duration::from_secs(20),
    idle_timeout: Duration::from_secs(20),
    timeout: Duration::from_secs(600),
    redirects: 0,
};
/// Images asked for at one PDS at a time, and how long one waits for its turn.
const PER_HOST: usize = 8;
const TURN: Duration = Duration::from_secs(10);

/// How long a host that did not answer is asked for little.
const FAILING: Duration = Duration::from_secs(30);
/// Hosts remembered for that.
const REMEMBERED: usize = 1024;

/// Some PDSes keep their blobs elsewhere.
const REDIRECTS: usize = 3;

/// Taken before the first byte, if so many are announced: with most pictures this is all, so that they need not wait again.
const FIRST: u64 = 512 << 10;
/// Taken at a time for bytes that were not announced, or are more. Who announces much and sends little holds little.
const STEP: u64 = 128 << 10;
/// How long one that holds some waits for more.
const MORE: Duration = Duration::from_secs(5);

/// A blob in memory, and what it holds of it.
pub type BlobInMemory = (Bytes, Held);

/// Gives the bytes of blobs, unchecked.
pub trait BlobOrigin: Send + Sync {
    /// A whole blob that may be an image. Its bytes are taken from `memory` as they come, and not while a PDS thinks.
    fn image<'a>(
        &'a self,
        did: &'a Did,
        cid: &'a str,
        memory: &'a Budget,
    ) -> BoxFuture<'a, Result<BlobInMemory, MediaError>>;

    /// Any blob, piece by piece, and the place of its host; the status is 200.
    fn blob<'a>(
        &'a self,
        did: &'a Did,
        cid: &'a str,
    ) -> BoxFuture<'a, Result<(StreamResponse, Hold), MediaError>>;
}

/// PDSes on the network.
pub struct NetOrigin {
    identity: Identity,
    http: HttpClient,
    throttle: HostThrottle,
    limits: Arc<Limits>,
    /// Hosts that did not answer, and until when nothing is expected of them.
    failing: Cache<Client, Instant>,
}

impl NetOrigin {
    /// `identity` finds the PDS, `http` asks it; it must refuse private addresses.
    pub fn new(identity: Identity, http: HttpClient, limits: Arc<Limits>) -> Self {
        let throttle = HostThrottle::new(PER_HOST, Clock::system());
        Self { identity, http, throttle, limits, failing: Cache::new(REMEMBERED) }
    }

    /// A place among the pictures that a host is asked for; one that does not answer has few.
    fn enter(&self, host: Client) -> Result<Hold, MediaError> {
        let is_failing = self.failing.get(&host).is_some_and(|until| until > Instant::now());
        let limit = if is_failing { Limit::FailingFlights } else { Limit::HostFlights };
        Ok(self.limits.hold(limit, host, 1)?)
    }

    /// Takes note of whether a host answered.
    fn observe<T>(&self, host: Client, outcome: &Result<T, MediaError>) {
        if let Err(MediaError::Upstream(_)) = outcome {
            self.failing.insert(host, Instant::now() + FAILING);
        } else {
            self.failing.remove(&host);
        }
    }

    /// The URL of a blob, and its host.
    async fn locate(&self, did: &Did, cid: &str) -> Result<(String, String), MediaError> {
        let pds = match self.identity.held_pds(did).await {
            Some(pds) => pds,
            None => {
                let doc = self.identity.resolve_did(did, Freshness::Cached).await?;
                doc.pds().ok_or(MediaError::NoOrigin)?.to_owned()
            }
        };
        let host = Url::parse(&pds).ok().and_then(|url| url.host_str().map(str::to_owned));
        let host = host.ok_or(MediaError::NoOrigin)?;
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("did", did.as_str()), ("cid", cid)])
            .finish();
        let base = pds.trim_end_matches('/');
        Ok((format!("{base}/xrpc/com.atproto.sync.getBlob?{query}"), host))
    }

    async fn fetch(
        &self,
        did: &Did,
        cid: &str,
        memory: &Budget,
    ) -> Result<BlobInMemory, MediaError> {
        let (url, host) = self.locate(did, cid).await?;
        let counted = Client::host(&host);
        let _place = self.enter(counted)?;
        let outcome = self.fetch_from(url, &host, memory).await;
        self.observe(counted, &outcome);
        outcome
    }

    async fn fetch_from(
        &self,
        url: String,
        host: &str,
        memory: &Budget,
    ) -> Result<BlobInMemory, MediaError> {
        let turn = timeout(TURN, self.throttle.acquire(host)).await;
        let turn = turn.map_err(|_| NetError::Timeout("turn at the PDS"))?;
        let StreamResponse { status, headers, mut body } = self.get(url, &IMAGE_LIMITS).await?;
        turn.observe(status, &headers);
        judge(status, &headers)?;
        if is_image(&headers) == Some(false) {
            return Err(MediaError::NotAnImage);
        }
        whole(&headers, &mut body, memory, MORE).await
    }

    async fn stream(&self, did: &Did, cid: &str) -> Result<(StreamResponse, Hold), MediaError> {
        let (url, host) = self.locate(did, cid).await?;
        let place = self.limits.hold(Limit::HostBlobs, Client::host(&host), 1)?;
        let response = self.get(url, &BLOB_LIMITS).await?;
        judge(response.status, &response.headers)?;
        Ok((response, place))
    }

    /// GET that follows redirects; each hop is guarded like the first.
    async fn get(
        &self,
        mut url: String,
        limits: &StreamLimits,
    ) -> Result<StreamResponse, MediaError> {
        for _ in 0..=REDIRECTS {
            let response = self.http.get_stream(&url, &HeaderMap::new(), limits).await?;
            let Some(next) = redirect(&url, &response) else { return Ok(response) };
            url = next;
        }
        Err(NetError::Redirects.into())
    }
}

/// All of a body, as far as there is memory for it.
async fn whole(
    headers: &HeaderMap,
    body: &mut (impl Stream<Item = Result<Bytes, NetError>> + Unpin),
    memory: &Budget,
    patience: Duration,
) -> Result<BlobInMemory, MediaError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    let first: u64 = announced.unwrap_or(STEP).min(FIRST);
    let overloaded = |_| MediaError::Overloaded;
    let mut held = timeout(TURN, memory.take(first)).await.map_err(overloaded)?;
    let mut whole = Vec::with_capacity(usize::try_from(first).unwrap_or_default());
    while let Some(piece) = body.next().await.transpose()? {
        while held.bytes() < (whole.len() + piece.len()) as u64 {
            held.add(match memory.try_take(STEP) {
                Some(more) => more,
                // Others may wait like this for what is held here, so not for long.
                None => timeout(patience, memory.take(STEP)).await.map_err(overloaded)?,
            });
        }
        whole.extend_from_slice(&piece);
    }
    held.keep(whole.len() as u64);
    Ok((whole.into(), held))
}

fn redirect(from: &str, response: &StreamResponse) -> Option<String> {
    response.status.is_redirection().then_some(())?;
    let to = response.headers.get(LOCATION)?.to_str().ok()?;
    Some(Url::parse(from).ok()?.join(to).ok()?.into())
}

impl BlobOrigin for NetOrigin {
    fn image<'a>(
        &'a self,
        did: &'a Did,
        cid: &'a str,
        memory: &'a Budget,
    ) -> BoxFuture<'a, Result<BlobInMemory, MediaError>> {
        Box::pin(self.fetch(did, cid, memory))
    }

    fn blob<'a>(
        &'a self,
        did: &'a Did,
        cid: &'a str,
    ) -> BoxFuture<'a, Result<(StreamResponse, Hold), MediaError>> {
        Box::pin(self.stream(did, cid))
    }
}

/// What a PDS's status means. A PDS that is asked too often has not said that there is no blob.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), MediaError> {
    // No encoding was asked for, and the bytes could not be checked.
    let encoded = headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity");
    match status {
        StatusCode::OK if !encoded => Ok(()),
        StatusCode::OK => Err(NetError::Protocol("content-encoding".to_owned()).into()),
        StatusCode::TOO_MANY_REQUESTS => Err(NetError::Status(429).into()),
        status if status.is_client_error() => Err(MediaError::NotFound),
        status => Err(NetError::Status(status.as_u16()).into()),
    }
}

/// `None` if the type says nothing.
fn is_image(headers: &HeaderMap) -> Option<bool> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    (kind != "application/octet-stream" && kind != "*/*").then(|| kind.starts_with("image/"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config::Network;
    use crate::limits::Proxies;
    use crate::net::Dialer;

    #[tokio::test]
    async fn redirects_are_followed_a_few_times() {
        let url = crate::net::testing::serve(|request| {
            let path = request.uri().path();
            let answer = http::Response::builder();
            match path.trim_start_matches('/').parse::<u32>() {
                Ok(0) => answer.body(path.to_owned()),
                Ok(n) => {
                    answer.status(302).header(LOCATION, format!("/{}", n - 1)).body(String::new())
                }
                Err(_) => {
                    answer.status(302).header(LOCATION, "http://10.0.0.1/").body(String::new())
                }
            }
            .unwrap()
        })
        .await;
        let origin = |private| {
            let dialer = Dialer::new(private).unwrap();
            let network = Network::default();
            let identity = Identity::new(&network, &dialer, "http://test", 10);
            let limits = Arc::new(Limits::new(Proxies::default(), &[]));
            NetOrigin::new(identity, HttpClient::new(&dialer, "http://test"), limits)
        };
        for (hops, expect) in [(0, 200), (3, 200), (4, 0)] {
            let got = origin(true).get(format!("{url}/{hops}"), &IMAGE_LIMITS).await;
            assert_eq!(got.map_or(0, |response| response.status.as_u16()), expect, "{hops}");
        }
        // What is not public is not reached, whoever says so.
        assert!(origin(false).get(format!("{url}/0"), &IMAGE_LIMITS).await.is_err());
    }

    #[tokio::test]
    async fn a_blob_holds_what_it_has_and_waits_a_while_for_more() {
        let memory = Budget::new(1 << 20);
        let read = async |announced: Option<u64>, pieces: Vec<usize>| {
            let mut headers = HeaderMap::new();
            headers.extend(announced.map(|len| (CONTENT_LENGTH, HeaderValue::from(len))));
            let pieces = pieces.into_iter().map(|len| Ok(Bytes::from(vec![7; len])));
            let mut body = futures_util::stream::iter(pieces);
            whole(&headers, &mut body, &memory, Duration::ZERO).await
        };
        let (blob, held) = read(Some(900_000), vec![300_000; 3]).await.unwrap();
        assert_eq!((blob.len(), held.bytes()), (900_000, memory.held()));
        assert!(held.bytes() < 910_000);
        // Who announced much holds what is there: another has room beside it.
        let (_, other) = read(Some(50_000), vec![50_000]).await.unwrap();
        assert!(matches!(read(None, vec![10_000; 90]).await, Err(MediaError::Overloaded)));
        drop((held, other));
        assert_eq!(memory.held(), 0, "who gave up holds nothing");
        let (blob, held) = read(None, vec![10_000; 90]).await.unwrap();
        assert_eq!((blob.len(), held.bytes().div_ceil(4096)), (900_000, 220));
    }

    #[test]
    fn what_a_pds_answers() {
        let cases = [
            (200, &[][..], None),
            (200, &[(CONTENT_ENCODING, "identity")][..], None),
            (200, &[(CONTENT_ENCODING, "gzip")][..], Some("upstream")),
            (302, &[][..], Some("upstream")),
            (400, &[][..], Some("not-found")),
            (404, &[][..], Some("not-found")),
            (429, &[][..], Some("upstream")),
            (500, &[][..], Some("upstream")),
        ];
        for (status, headers, expect) in cases {
            let headers = headers.iter().map(|(k, v)| (k.clone(), HeaderValue::from_static(v)));
            let got = judge(StatusCode::from_u16(status).unwrap(), &headers.collect());
            assert_eq!(got.err().map(|error| error.cause()), expect, "{status}");
        }
        let types = [
            (None, None),
            (Some("application/octet-stream"), None),
            (Some("image/png"), Some(true)),
            (Some("video/mp4"), Some(false)),
            (Some("text/html"), Some(false)),
        ];
        for (kind, expect) in types {
            let headers = kind.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind)));
            assert_eq!(is_image(&headers.into_iter().collect()), expect, "{kind:?}");
        }
    }

    #[tokio::test]
    async fn a_host_that_does_not_answer_gets_few_places_until_it_does() {
        let dialer = Dialer::new(true).unwrap();
        let identity = Identity::new(&Network::default(), &dialer, "http://test", 10);
        let limits = Arc::new(Limits::new(Proxies::default(), &[]));
        let origin = NetOrigin::new(identity, HttpClient::new(&dialer, "http://test"), limits);
        let (dead, other) = (Client::host("dead.example"), Client::host("other.example"));
        let places = |host| {
            let all: Vec<_> = (0..100).map_while(|_| origin.enter(host).ok()).collect();
            all.len()
        };
        assert_eq!((places(dead), places(other)), (64, 64));
        origin.observe::<()>(dead, &Err(NetError::Timeout("test").into()));
        assert_eq!((places(dead), places(other)), (2, 64));
        // A host that says that there is no such blob has answered.
        origin.observe::<()>(dead, &Err(MediaError::NotFound));
        assert_eq!(places(dead), 64);
    }
}
