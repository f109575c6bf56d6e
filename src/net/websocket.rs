//! WebSocket client with the same checks as HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use http::header::USER_AGENT;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message as WsMessage};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_with_config};
use url::Url;

use super::client::user_agent;
use super::metered::Metered;
use super::{Dialer, NetError};
use crate::telemetry::links::Link;

/// For the upgrade after the connection stands.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// Of what a peer did not read yet. All that is ever said to it are pings and the answers to its own, so one that leaves
/// so much of them is dead, or wants them to pile up.
const MAX_UNREAD: usize = 256 << 10;
/// Header and mask of what is sent.
const OVERHEAD: usize = 6;
/// Pings and pongs that a peer may send within [`CONTROL_WINDOW`]; no honest one sends as many in a day.
const MAX_CONTROL: u32 = 1000;
const CONTROL_WINDOW: Duration = Duration::from_secs(1);

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
pub struct WsStream {
    socket: WebSocketStream<Metered<MaybeTlsStream<TcpStream>>>,
    /// Pings and pongs since `since`.
    control: u32,
    since: Instant,
    /// Bytes said since the last time that all of them went out.
    unread: usize,
}

impl std::fmt::Debug for WsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WsStream")
    }
}

impl WsStream {
    /// Connects to a `ws` or `wss` URL. What goes over the connection, without what TLS adds, counts as `link`'s. A message above `max_message` bytes ends the stream with an error.
    ///
    /// # Errors
    /// [`NetError::Status`] when the server answers the upgrade with another status.
    pub async fn connect(
        dialer: &Dialer,
        url: &str,
        public_url: &str,
        max_message: usize,
        link: Arc<Link>,
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
            .max_frame_size(Some(max_message))
            .max_write_buffer_size(MAX_UNREAD);
        let stream = Metered::new(stream, max_message, link);
        let upgrade = client_async_with_config(request, stream, Some(config));
        match timeout(UPGRADE_TIMEOUT, upgrade).await {
            Ok(Ok((socket, _))) => {
                Ok(Self { socket, control: 0, since: Instant::now(), unread: 0 })
            }
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
            return Ok(match self.socket.next().await {
                None => Message::Closed(None, String::new()),
                Some(Ok(WsMessage::Binary(bytes))) => {
                    self.socket.get_mut().pay(bytes.len());
                    Message::Binary(bytes)
                }
                Some(Ok(WsMessage::Text(text))) => {
                    self.socket.get_mut().pay(text.len());
                    Message::Text(text.into())
                }
                Some(Ok(WsMessage::Ping(content))) => {
                    self.control()?;
                    self.said(content.len())?;
                    Message::Alive
                }
                Some(Ok(WsMessage::Pong(_))) => {
                    self.control()?;
                    Message::Alive
                }
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

    /// Asks the peer for a sign of life, which comes as [`Message::Alive`]. Does not wait for one that reads nothing.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn ping(&mut self) -> Result<(), NetError> {
        if let Some(sent) = self.socket.send(WsMessage::Ping(Bytes::new())).now_or_never() {
            sent.map_err(net_error)?;
        }
        self.said(0)
    }

    /// Counts a ping or a pong of the peer. What it sends beside them does not matter: they cost the same.
    fn control(&mut self) -> Result<(), NetError> {
        // A few of their bytes are bytes without a message too, and they have their own limit.
        self.socket.get_mut().pay(0);
        self.control += 1;
        if self.control <= MAX_CONTROL {
            return Ok(());
        }
        let now = Instant::now();
        if now.duration_since(self.since) < CONTROL_WINDOW {
            return Err(NetError::Misbehaves("sends more than 1,000 pings and pongs a second"));
        }
        (self.control, self.since) = (1, now);
        Ok(())
    }

    /// Counts what was said to the peer, until it is read.
    fn said(&mut self, content: usize) -> Result<(), NetError> {
        self.unread += content + OVERHEAD;
        match self.socket.flush().now_or_never() {
            Some(flushed) => {
                flushed.map_err(net_error)?;
                self.unread = 0;
            }
            None if self.unread > MAX_UNREAD => {
                return Err(NetError::Misbehaves("does not read what is sent to it"));
            }
            None => {}
        }
        Ok(())
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// When the connection is broken.
    #[cfg(test)]
    pub async fn send_text(&mut self, text: &str) -> Result<(), NetError> {
        self.socket.send(WsMessage::text(text)).await.map_err(net_error)
    }

    /// Says goodbye; does not wait for the peer's.
    ///
    /// # Errors
    /// When the connection is broken.
    #[cfg(test)]
    pub async fn close(&mut self) -> Result<(), NetError> {
        self.socket.close(None).await.map_err(net_error)
    }
}

fn net_error(error: WsError) -> NetError {
    match error {
        WsError::Capacity(_) => NetError::TooBig("message"),
        WsError::Http(response) => NetError::Status(response.status().as_u16()),
        WsError::Url(cause) => NetError::Url(cause.to_string()),
        WsError::Tls(cause) => NetError::Tls(cause.to_string()),
        WsError::Io(cause) => NetError::from_chain(&cause),
        other => NetError::Protocol(other.to_string()),
    }
}
