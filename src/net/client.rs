//! The HTTP client: capped requests and streamed bodies over pooled connections.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use http::header::{ACCEPT, CONTENT_LENGTH, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::{Dialer, NetError};
use crate::telemetry::counters::OTHER;
use crate::telemetry::links::Link;

/// Bytes of header kept in memory while reading a response.
const MAX_HEADER: usize = 64 << 10;
/// What HTTP requests count as among [`crate::telemetry::links`].
const FETCH: &str = "fetch";
/// Idle connections that are kept.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// For one host: as many as requests run there at a time, or the others begin with a new connection each.
    pub per_host: usize,
    /// For how long.
    pub time: Duration,
}

impl Default for Idle {
    /// For hosts that are asked now and then.
    fn default() -> Self {
        Self { per_host: 4, time: Duration::from_secs(60) }
    }
}

/// Caps of a request whose answer is taken whole.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of the body.
    pub max_bytes: usize,
    /// From the call to the last byte, redirects included.
    pub timeout: Duration,
    /// Redirects followed; with 0, a redirect is an answer like any other.
    pub redirects: u8,
    /// The `Accept` header.
    pub accept: Option<&'static str>,
}

impl Default for Limits {
    /// A small document: 256 KiB, 10 s, no redirects.
    fn default() -> Self {
        Self { max_bytes: 256 << 10, timeout: Duration::from_secs(10), redirects: 0, accept: None }
    }
}

/// Caps of a streamed answer.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Most bytes of the body.
    pub max_bytes: u64,
    /// Until the header is there.
    pub header_timeout: Duration,
    /// Between two pieces of the body.
    pub idle_timeout: Duration,
    /// From the call to the last byte.
    pub timeout: Duration,
    /// Redirects followed; with 0, a redirect is an answer like any other.
    pub redirects: u8,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The header.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Response {
    /// Itself when the status is 2xx.
    ///
    /// # Errors
    /// [`NetError::Status`] otherwise.
    pub fn success(self) -> Result<Self, NetError> {
        if self.status.is_success() {
            Ok(self)
        } else {
            Err(NetError::Status(self.status.as_u16()))
        }
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct StreamResponse {
    /// The status.
    pub status: StatusCode,
    /// The header.
    pub headers: HeaderMap,
    /// The body.
    pub body: BodyStream,
}

/// The pieces of a body; ends with an error when a cap is reached or the connection breaks.
pub struct BodyStream(Pin<Box<dyn Stream<Item = Result<Bytes, NetError>> + Send>>);

impl std::fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BodyStream")
    }
}

impl Stream for BodyStream {
    type Item = Result<Bytes, NetError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

type Pool = Client<HttpsConnector<Dialer>, Full<Bytes>>;

/// A pooled client. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    pool: Pool,
    /// HTTP/1 only: there, a `Host` header may differ from the URL; in HTTP/2 it cannot.
    http1: Pool,
    allow_plain: bool,
    user_agent: HeaderValue,
    link: Arc<Link>,
}

impl HttpClient {
    /// A client that connects through `dialer` and names itself with `public_url`.
    pub fn new(dialer: &Dialer, public_url: &str) -> Self {
        Self::keeping(Idle::default(), dialer, public_url)
    }

    /// The same with other connections kept.
    pub fn keeping(idle: Idle, dialer: &Dialer, public_url: &str) -> Self {
        let connector = || {
            let tls = rustls::ClientConfig::clone(dialer.tls());
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1()
        };
        let both = connector().enable_http2().wrap_connector(dialer.clone());
        let http1 = connector().wrap_connector(dialer.clone());
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(idle.time)
            .pool_max_idle_per_host(idle.per_host)
            .http1_max_buf_size(MAX_HEADER)
            .http2_max_header_list_size(MAX_HEADER as u32)
            .http2_adaptive_window(true);
        Self {
            pool: builder.build(both),
            http1: builder.build(http1),
            allow_plain: dialer.allows_private(),
            user_agent: user_agent(public_url),
            link: Link::of(FETCH, OTHER),
        }
    }

    /// The same client, with the same connections, whose bytes count as fetched for this.
    #[must_use]
    pub fn counted_for(&self, purpose: &'static str) -> Self {
        Self { link: Link::of(FETCH, purpose), ..self.clone() }
    }

    /// GET.
    ///
    /// # Errors
    /// When there is no answer within the limits; any status is an answer, see [`Response::success`].
    pub async fn get(&self, url: &str, limits: &Limits) -> Result<Response, NetError> {
        self.request(Method::GET, url, &HeaderMap::new(), Bytes::new(), limits).await
    }

    /// GET with further headers. A `Host` among them replaces the URL's. After a redirect to another origin none of
    /// them is sent.
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub async fn get_with(
        &self,
        url: &str,
        headers: &HeaderMap,
        limits: &Limits,
    ) -> Result<Response, NetError> {
        self.request(Method::GET, url, headers, Bytes::new(), limits).await
    }

    /// POST; a redirect is an answer like any other, whatever the limits say.
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub async fn post(
        &self,
        url: &str,
        headers: &HeaderMap,
        body: Bytes,
        limits: &Limits,
    ) -> Result<Response, NetError> {
        let limits = Limits { redirects: 0, ..*limits };
        self.request(Method::POST, url, headers, body, &limits).await
    }

    /// GET with a body read piece by piece. After a redirect to another origin none of `headers` is sent.
    ///
    /// # Errors
    /// When no header comes within the limits.
    pub async fn get_stream(
        &self,
        url: &str,
        headers: &HeaderMap,
        limits: &StreamLimits,
    ) -> Result<StreamResponse, NetError> {
        let deadline = Instant::now() + limits.timeout;
        let followed = self.follow(url, headers, limits.redirects);
        let response = timeout(limits.header_timeout, followed)
            .await
            .map_err(|_| NetError::Timeout("header"))??;
        in_pieces(response, limits, deadline)
    }

    /// Any request, its answer read piece by piece. A redirect is an answer like any other, whatever the limits say.
    ///
    /// # Errors
    /// As [`HttpClient::get_stream`].
    pub async fn exchange(
        &self,
        request: http::Request<Bytes>,
        limits: &StreamLimits,
    ) -> Result<StreamResponse, NetError> {
        let deadline = Instant::now() + limits.timeout;
        let (parts, body) = request.into_parts();
        let url = self.checked(&parts.uri.to_string())?;
        let sent = self.send(parts.method, &url, &parts.headers, None, body);
        let response = timeout(limits.header_timeout, sent)
            .await
            .map_err(|_| NetError::Timeout("header"))??;
        in_pieces(response, limits, deadline)
    }

    async fn follow(
        &self,
        url: &str,
        headers: &HeaderMap,
        redirects: u8,
    ) -> Result<http::Response<Counted>, NetError> {
        let mut url = self.checked(url)?;
        let origin = url.origin();
        let none = HeaderMap::new();
        for hops in 0.. {
            let headers = if url.origin() == origin { headers } else { &none };
            let response = self.send(Method::GET, &url, headers, None, Bytes::new()).await?;
            let Some(next) = redirect(&response).filter(|_| redirects > 0) else {
                return Ok(response);
            };
            if hops == redirects {
                break;
            }
            let next = url.join(next).map_err(|_| NetError::Url(next.to_owned()))?;
            url = self.checked(next.as_str())?;
        }
        Err(NetError::Redirects)
    }

    async fn request(
        &self,
        method: Method,
        url: &str,
        headers: &HeaderMap,
        body: Bytes,
        limits: &Limits,
    ) -> Result<Response, NetError> {
        let deadline = Instant::now() + limits.timeout;
        let mut url = self.checked(url)?;
        let origin = url.origin();
        let none = HeaderMap::new();
        let mut hops = 0;
        loop {
            let headers = if url.origin() == origin { headers } else { &none };
            let sent = self.send(method.clone(), &url, headers, limits.accept, body.clone());
            let response =
                timeout_at(deadline, sent).await.map_err(|_| NetError::Timeout("answer"))??;
            let Some(next) = redirect(&response).filter(|_| limits.redirects > 0) else {
                return collect(response, limits.max_bytes, deadline).await;
            };
            if hops == limits.redirects {
                return Err(NetError::Redirects);
            }
            hops += 1;
            let next = url.join(next).map_err(|_| NetError::Url(next.to_owned()))?;
            url = self.checked(next.as_str())?;
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
        accept: Option<&'static str>,
        body: Bytes,
    ) -> Result<http::Response<Counted>, NetError> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(url.as_str())
            .body(Full::new(body))
            .map_err(|_| NetError::Url(url.to_string()))?;
        let sent = request.headers_mut();
        sent.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        sent.insert(USER_AGENT, self.user_agent.clone());
        if let Some(accept) = accept {
            sent.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        let pool = if sent.contains_key(HOST) { &self.http1 } else { &self.pool };
        let (target, body) = (url.path().len(), request.body().size_hint().lower());
        self.link.sent(wire_size(request.headers()) + target as u64 + body);
        let response = pool.request(request).await.map_err(|cause| NetError::from_chain(&cause))?;
        self.link.received(wire_size(response.headers()));
        let link = Arc::clone(&self.link);
        Ok(response.map(|body| Counted { body, link }))
    }

    /// Whether plain http is allowed.
    #[must_use]
    pub fn allows_plain(&self) -> bool {
        self.allow_plain
    }

    /// Parses a URL; refuses plain text where it is not allowed, and credentials always.
    fn checked(&self, url: &str) -> Result<Url, NetError> {
        let mut url = Url::parse(url).map_err(|_| NetError::Url(url.to_owned()))?;
        url.set_fragment(None);
        match url.scheme() {
            _ if !url.username().is_empty() || url.password().is_some() => {
                Err(NetError::Url("a URL with credentials".to_owned()))
            }
            "https" => Ok(url),
            "http" if self.allow_plain => Ok(url),
            "http" => Err(NetError::Insecure(url.to_string())),
            _ => Err(NetError::Url(url.to_string())),
        }
    }
}

/// An answer whose body is read within the limits.
fn in_pieces(
    response: http::Response<Counted>,
    limits: &StreamLimits,
    deadline: Instant,
) -> Result<StreamResponse, NetError> {
    let (parts, body) = response.into_parts();
    if content_length(&parts.headers).is_some_and(|length| length > limits.max_bytes) {
        return Err(NetError::TooBig("body"));
    }
    let (idle, left) = (limits.idle_timeout, limits.max_bytes);
    let stream = try_unfold((body, left), move |(mut body, left)| async move {
        let until = deadline.min(Instant::now() + idle);
        Ok(match next_piece(&mut body, until).await? {
            Some(piece) => {
                let left = left.checked_sub(piece.len() as u64);
                let left = left.ok_or(NetError::TooBig("body"))?;
                Some((piece, (body, left)))
            }
            None => None,
        })
    });
    let body = BodyStream(Box::pin(stream));
    Ok(StreamResponse { status: parts.status, headers: parts.headers, body })
}

/// `aerie/VERSION (+URL)`, so that an operator who sees it in a log knows whom to ask.
pub(super) fn user_agent(public_url: &str) -> HeaderValue {
    let version = env!("CARGO_PKG_VERSION");
    HeaderValue::try_from(format!("aerie/{version} (+{public_url})"))
        .unwrap_or(HeaderValue::from_static("aerie"))
}

fn redirect(response: &http::Response<Counted>) -> Option<&str> {
    let status = response.status().as_u16();
    let location = || response.headers().get(LOCATION)?.to_str().ok();
    matches!(status, 301 | 302 | 303 | 307 | 308).then(location).flatten()
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(
    response: http::Response<Counted>,
    max_bytes: usize,
    deadline: Instant,
) -> Result<Response, NetError> {
    let (parts, mut body) = response.into_parts();
    let length = content_length(&parts.headers).unwrap_or(0);
    if length > max_bytes as u64 {
        return Err(NetError::TooBig("body"));
    }
    let mut whole = BytesMut::new();
    while let Some(piece) = next_piece(&mut body, deadline).await? {
        if whole.len() + piece.len() > max_bytes {
            return Err(NetError::TooBig("body"));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Response { status: parts.status, headers: parts.headers, body: whole.freeze() })
}

/// A body whose bytes are counted as they come.
struct Counted {
    body: Incoming,
    link: Arc<Link>,
}

/// What a header takes in the form of HTTP/1.1: each line has a colon, a space and an end.
#[must_use]
pub fn wire_size(headers: &HeaderMap) -> u64 {
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    lines.sum::<usize>() as u64
}

/// The next data of a body; trailers are dropped.
async fn next_piece(body: &mut Counted, until: Instant) -> Result<Option<Bytes>, NetError> {
    loop {
        let frame =
            timeout_at(until, body.body.frame()).await.map_err(|_| NetError::Timeout("body"))?;
        match frame {
            None => return Ok(None),
            Some(Err(cause)) => return Err(NetError::from_chain(&cause)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    body.link.received(data.len() as u64);
                    return Ok(Some(data));
                }
            }
        }
    }
}
