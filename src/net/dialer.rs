//! Opens TCP and TLS connections to hosts that strangers name.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{NetError, is_public};
use crate::threads::Clock;

/// For the name, the connection and the TLS handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For one address, so that a dead one leaves time for the next.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(4);
/// Addresses tried of one host.
const MAX_ADDRESSES: usize = 4;

/// Resolves names, checks addresses, connects. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    inner: Arc<Inner>,
    allow_private: bool,
}

struct Inner {
    resolver: TokioResolver,
    tls: Arc<rustls::ClientConfig>,
    roots: Arc<rustls::RootCertStore>,
}

impl Dialer {
    /// With the system's name servers and the Mozilla root certificates. Needs a tokio runtime. With `allow_private`,
    /// every address and plain text are allowed.
    ///
    /// # Errors
    /// When the resolver or TLS cannot be set up at all.
    pub fn new(allow_private: bool) -> Result<Self, NetError> {
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self::with_roots(allow_private, roots)
    }

    /// As [`Dialer::new`], trusting `roots` instead of Mozilla's.
    pub(super) fn with_roots(
        allow_private: bool,
        roots: rustls::RootCertStore,
    ) -> Result<Self, NetError> {
        // A machine without a resolv.conf can still use addresses and its hosts file.
        let builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
            let none = ResolverConfig::default();
            TokioResolver::builder_with_config(none, TokioRuntimeProvider::default())
        });
        let resolver = builder.build().map_err(|cause| NetError::Dns(cause.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(roots);
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|cause| NetError::Tls(cause.to_string()))?
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        Ok(Self { inner: Arc::new(Inner { resolver, tls: Arc::new(tls), roots }), allow_private })
    }

    /// As [`Dialer::new`], trusting the certificates of a PEM file besides Mozilla's.
    ///
    /// # Errors
    /// The file has no certificate, or as [`Dialer::new`].
    pub fn trusting(allow_private: bool, pem: &[u8]) -> Result<Self, NetError> {
        let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let given: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(pem).flatten().collect();
        if roots.add_parsable_certificates(given).0 == 0 {
            return Err(NetError::Tls("there is no certificate in the file".to_owned()));
        }
        Self::with_roots(allow_private, roots)
    }

    /// How many days from now the certificate of a host is good for, up to `most`.
    ///
    /// # Errors
    /// No connection, or a certificate that is not good now.
    pub async fn certificate_days(
        &self,
        host: &str,
        port: u16,
        most: u32,
    ) -> Result<u32, NetError> {
        let name = ServerName::try_from(unbracketed(host).to_owned());
        let name = name.map_err(|_| NetError::Url(host.to_owned()))?;
        let stream = self.tls_stream(host, port).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let Some((own, others)) = chain.split_first() else {
            return Err(NetError::Tls("the host has no certificate".to_owned()));
        };
        let broken = |cause: rustls::server::VerifierBuilderError| NetError::Tls(cause.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::clone(&self.inner.roots);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, provider).build().map_err(broken)?;
        let now = Clock::system().since_epoch();
        let good = |days: &u32| {
            let then = UnixTime::since_unix_epoch(now + Duration::from_secs(86_400) * *days);
            verifier.verify_server_cert(own, others, &name, &[], then).is_ok()
        };
        Ok((1..=most).take_while(good).last().unwrap_or(0))
    }

    /// The addresses of a host, whatever they are.
    ///
    /// # Errors
    /// The name has none, or nobody could be asked.
    pub async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, NetError> {
        let any = self.unguarded();
        let lookup = any.addresses(host);
        timeout(CONNECT_TIMEOUT, lookup).await.unwrap_or(Err(NetError::Timeout("DNS")))
    }

    /// The same without the guard: for URLs that the operator configured, never for those that strangers name.
    pub fn unguarded(&self) -> Self {
        Self { allow_private: true, ..self.clone() }
    }

    /// Whether private addresses and plain text are allowed.
    pub fn allows_private(&self) -> bool {
        self.allow_private
    }

    /// TLS settings without ALPN.
    pub(super) fn tls(&self) -> &Arc<rustls::ClientConfig> {
        &self.inner.tls
    }

    /// Connects to a checked address of `host`, which is a name or an address.
    pub(super) async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, NetError> {
        let connect = async {
            let addresses = self.addresses(host).await?;
            let mut last = NetError::Connect(format!("{host} has no address"));
            for ip in addresses.into_iter().take(MAX_ADDRESSES) {
                let address = SocketAddr::new(ip, port);
                last = match timeout(ADDRESS_TIMEOUT, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => {
                        let _ = stream.set_nodelay(true); // only a matter of latency
                        return Ok(stream);
                    }
                    Ok(Err(cause)) => NetError::Connect(format!("{address}: {cause}")),
                    Err(_) => NetError::Timeout("connect"),
                };
            }
            Err(last)
        };
        timeout(CONNECT_TIMEOUT, connect).await.unwrap_or(Err(NetError::Timeout("connect")))
    }

    /// As [`Dialer::tcp`], with TLS and without ALPN.
    pub(super) async fn tls_stream(
        &self,
        host: &str,
        port: u16,
    ) -> Result<TlsStream<TcpStream>, NetError> {
        let name = ServerName::try_from(unbracketed(host).to_owned());
        let name = name.map_err(|_| NetError::Url(host.to_owned()))?;
        let tcp = self.tcp(host, port).await?;
        let handshake = TlsConnector::from(Arc::clone(&self.inner.tls)).connect(name, tcp);
        match timeout(CONNECT_TIMEOUT, handshake).await {
            Ok(stream) => stream.map_err(|cause| NetError::Tls(cause.to_string())),
            Err(_) => Err(NetError::Timeout("TLS handshake")),
        }
    }

    /// The allowed addresses of `host`, IPv4 first: a host without IPv6 is more common than one without IPv4.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, NetError> {
        let host = unbracketed(host);
        let mut found: Vec<IpAddr> = match host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => {
                let lookup = self.inner.resolver.lookup_ip(absolute(host)).await;
                lookup.map_err(|cause| NetError::Dns(cause.to_string()))?.iter().collect()
            }
        };
        let refused = found.iter().copied().find(|ip| !is_public(*ip));
        if !self.allow_private {
            found.retain(|ip| is_public(*ip));
        }
        match refused {
            Some(ip) if found.is_empty() => return Err(NetError::RefusedAddress(ip)),
            _ => found.sort_by_key(IpAddr::is_ipv6),
        }
        Ok(found)
    }

    /// The TXT records of `name`, each with its parts joined; empty when there is none.
    ///
    /// # Errors
    /// [`NetError::Dns`] when the question could not be answered, [`NetError::Timeout`].
    pub async fn txt(&self, name: &str) -> Result<Vec<String>, NetError> {
        let lookup = self.inner.resolver.txt_lookup(absolute(name));
        match timeout(CONNECT_TIMEOUT, lookup).await {
            Ok(Ok(answer)) => {
                let texts = answer.answers().iter().filter_map(|record| match &record.data {
                    RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into()),
                    _ => None,
                });
                Ok(texts.collect())
            }
            Ok(Err(cause)) if cause.is_no_records_found() || cause.is_nx_domain() => Ok(Vec::new()),
            Ok(Err(cause)) => Err(NetError::Dns(cause.to_string())),
            Err(_) => Err(NetError::Timeout("DNS")),
        }
    }
}

/// With a final dot, a name is not tried inside the search domains of the machine. Names without any dot are: a
/// container finds its neighbours that way.
fn absolute(name: &str) -> String {
    if name.contains('.') && !name.ends_with('.') { format!("{name}.") } else { name.to_owned() }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
}

/// The connector of the HTTP client.
impl tower_service::Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = NetError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NetError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NetError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let Some(host) = uri.host() else {
                return Err(NetError::Url(uri.to_string()));
            };
            let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
            let stream = dialer.tcp(host, uri.port_u16().unwrap_or(default)).await?;
            Ok(TokioIo::new(stream))
        })
    }
}
