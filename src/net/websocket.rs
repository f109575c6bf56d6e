//! WebSocket client with the same checks as HTTP.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::USER_AGENT;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message as WsMessage};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_with_config};
use url::Url;

use super::client::user_agent;
use super::{Dialer, NetError};

/// For the upgrade after the connection stands.
const UPGRADE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// What a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A binary message.
    Binary(Bytes),
    /// A text message, valid UTF-8.
    Text(Bytes),
    /// A ping or a pong: the peer is alive. Pings are answered by themselves.
    Alive,
    /// The peer said goodbye, with a code and a reason; the stream is over.
    Closed(Option<u16>, String),
}

/// An open WebSocket.
pub struct WsStream(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl std::fmt::Debug for WsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WsStream")
    }
}

impl WsStream {
    /// Connects to a `ws` or `wss` URL. A message above `max_message` bytes ends the stream with an error.
    ///
    /// # Errors
    /// [`NetError::Status`] when the server answers the upgrade with another status.
    pub async fn connect(
        dialer: &Dialer,
        url: &str,
        public_url: &str,
        max_message: usize,
    ) -> Result<Self, NetError> {
        let parsed = Url::parse(url).map_err(|_| NetError::Url(url.to_owned()))?;
        let host = parsed.host_str().ok_or_else(|| NetError::Url(url.to_owned()))?;
        let stream = match parsed.scheme() {
            "wss" => {
                let port = parsed.port().unwrap_or(443);
                MaybeTlsStream::Rustls(dialer.tls_stream(host, port).await?)
            }
            "ws" if dialer.allows_private() => {
                MaybeTlsStream::Plain(dialer.tcp(host, parsed.port().unwrap_or(80)).await?)
            }
            "ws" => return Err(NetError::Insecure(url.to_owned())),
            _ => return Err(NetError::Url(url.to_owned())),
        };
        let mut request = parsed.as_str().into_client_request().map_err(net_error)?;
        request.headers_mut().insert(USER_AGENT, user_agent(public_url));
        let config = WebSocketConfig::default()
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_message));
        let upgrade = client_async_with_config(request, stream, Some(config));
        match timeout(UPGRADE_TIMEOUT, upgrade).await {
            Ok(Ok((socket, _))) => Ok(Self(socket)),
            Ok(Err(cause)) => Err(net_error(cause)),
            Err(_) => Err(NetError::Timeout("upgrade")),
        }
    }

    /// The next message. Safe to cancel: nothing is lost.
    ///
    /// # Errors
    /// When the connection breaks or the peer breaks a rule; the stream is then over.
    pub async fn next(&mut self) -> Result<Message, NetError> {
        loop {
            return Ok(match self.0.next().await {
                None => Message::Closed(None, String::new()),
                Some(Ok(WsMessage::Binary(bytes))) => Message::Binary(bytes),
                Some(Ok(WsMessage::Text(text))) => Message::Text(text.into()),
                Some(Ok(WsMessage::Ping(_) | WsMessage::Pong(_))) => Message::Alive,
                Some(Ok(WsMessage::Close(None))) => Message::Closed(None, String::new()),
                Some(Ok(WsMessage::Close(Some(frame)))) => {
                    Message::Closed(Some(frame.code.into()), frame.reason.as_str().to_owned())
                }
                // Raw frames are never given by a read.
                Some(Ok(WsMessage::Frame(_))) => continue,
                Some(Err(WsError::ConnectionClosed | WsError::AlreadyClosed)) => {
                    Message::Closed(None, String::new())
                }
                Some(Err(cause)) => return Err(net_error(cause)),
            });
        }
    }

    /// Asks the peer for a sign of life, which comes as [`Message::Alive`].
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn ping(&mut self) -> Result<(), NetError> {
        self.0.send(WsMessage::Ping(Bytes::new())).await.map_err(net_error)
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// When the connection is broken.
    #[cfg(test)]
    pub async fn send_text(&mut self, text: &str) -> Result<(), NetError> {
        self.0.send(WsMessage::text(text)).await.map_err(net_error)
    }

    /// Says goodbye; does not wait for the peer's.
    ///
    /// # Errors
    /// When the connection is broken.
    #[cfg(test)]
    pub async fn close(&mut self) -> Result<(), NetError> {
        self.0.close(None).await.map_err(net_error)
    }
}

fn net_error(error: WsError) -> NetError {
    match error {
        WsError::Capacity(_) => NetError::TooBig("message"),
        WsError::Http(response) => NetError::Status(response.status().as_u16()),
        WsError::Url(cause) => NetError::Url(cause.to_string()),
        WsError::Tls(cause) => NetError::Tls(cause.to_string()),
        other => NetError::Protocol(other.to_string()),
    }
}
