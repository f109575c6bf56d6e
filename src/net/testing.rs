//! Servers in this process for tests: HTTP through a closure, raw bytes, TLS with a certificate of `localhost`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Answers each request with what `answer` gives; returns the URL of the server.
pub(crate) async fn serve<B: Into<Bytes>>(
    answer: impl Fn(&Request<Incoming>) -> Response<B> + Send + Sync + 'static,
) -> String {
    serve_counting(answer).await.0
}

/// The same, with the number of its connections.
pub(crate) async fn serve_counting<B: Into<Bytes>>(
    answer: impl Fn(&Request<Incoming>) -> Response<B> + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let connections = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&connections);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = Arc::clone(&answer);
            let service = service_fn(move |request| {
                let response = answer(&request).map(|body| Full::new(body.into()));
                async { Ok::<_, std::convert::Infallible>(response) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (url, connections)
}

/// Reads the start of a request, then writes `head` once and `rest` for ever (or, when empty, goes silent).
pub(crate) async fn serve_raw(head: &'static [u8], rest: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(head).await;
                while !rest.is_empty() && stream.write_all(rest).await.is_ok() {}
                std::future::pending::<()>().await;
            });
        }
    });
    address
}

/// Self-signed for `localhost`, P-256, valid for a hundred years; trusted by nobody but [`tls_roots`].
const CERTIFICATE: &[u8] = include_bytes!("testdata/localhost.cert.der");
const KEY: &[u8] = include_bytes!("testdata/localhost.key.der");

/// Roots that trust [`serve_tls`].
pub(crate) fn tls_roots() -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CERTIFICATE.into()).unwrap();
    roots
}

/// Accepts TLS connections with these ALPN protocols and gives each to `handle`; returns the port.
pub(crate) async fn serve_tls<F>(
    alpn: &[&str],
    handle: impl Fn(TlsStream<TcpStream>) -> F + Send + 'static,
) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(KEY).into();
    let mut config = builder.with_single_cert(vec![CERTIFICATE.into()], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(handle(stream));
            }
        }
    });
    port
}
