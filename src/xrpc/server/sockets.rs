//! Carries open sockets: frames in and out, pings, and an end for whoever is silent, too slow, too fast or too large.
//!
//! # Invariants
//! - A socket ends when its talk does, when its peer does, when the peer is not heard of or takes nothing for too long ([`Times`]),
//!   and when the server stops; whoever can still hear is told why in a close frame.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message as WsMessage};
use tokio_util::sync::CancellationToken;

use super::super::context::AppCtx;
use super::super::socket::{Bounds, Close, Message, Outbox, Socket, Talk, Upgrade, weight};
use super::connections::STALL;
use crate::limits::{Client, Limit};
use crate::telemetry::counters::Counters;

static ENDED: Counters = Counters::new("sockets.ended");

/// How patient a socket is.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// How often the peer is asked whether it is there.
    ping: Duration,
    /// One of which nothing was heard for so long is gone.
    silent: Duration,
    /// One that takes nothing for so long is, too.
    stall: Duration,
}

const TIMES: Times =
    Times { ping: Duration::from_secs(20), silent: Duration::from_secs(50), stall: STALL };

/// How long a client may take to open what it was granted, and to take a close frame and give one back.
const OPENING: Duration = Duration::from_secs(5);
const CLOSING: Duration = Duration::from_secs(1);
/// What is read and written at a time.
const BUFFER: usize = 4 << 10;
/// Of answers to pings that a peer does not read.
const UNREAD: usize = 64 << 10;

/// Why a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its talk was over.
    Talk(Close),
    /// The peer said goodbye, or its connection broke.
    Peer,
    /// The peer breaks the protocol.
    Broken,
    Silent,
    Stalled,
    TooSlow,
    TooLarge,
    TooFast,
    /// The server stops.
    Stop,
}

impl End {
    fn cause(self) -> &'static str {
        match self {
            Self::Talk(_) => "done",
            Self::Peer => "peer",
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::TooSlow => "too-slow",
            Self::TooLarge => "too-large",
            Self::TooFast => "too-fast",
            Self::Stop => "stop",
        }
    }

    /// What the peer is told; nothing if it is not there.
    fn close(self) -> Option<Close> {
        let close = |code, reason| Some(Close { code, reason });
        match self {
            Self::Talk(close) => Some(close),
            Self::Peer | Self::Silent | Self::Stalled => None,
            Self::Broken => close(1002, "this breaks the protocol"),
            Self::TooSlow => Some(Close::policy("you read too slowly")),
            Self::TooLarge => close(1009, "this message is too large"),
            Self::TooFast => Some(Close::policy("you send too much")),
            Self::Stop => close(1001, "the server stops; come again"),
        }
    }
}

/// What every socket of the server has in common.
pub(super) struct Ground {
    pub(super) ctx: Arc<AppCtx>,
    pub(super) client: Client,
    /// The server stops.
    pub(super) stop: CancellationToken,
    /// It must be gone now.
    pub(super) cut: CancellationToken,
}

/// Carries a socket from the granted handshake to its end.
pub(super) async fn carry(ground: Ground, request: OnUpgrade, upgrade: Upgrade) {
    let Upgrade { bounds, talk, held } = upgrade;
    // The client may have gone meanwhile.
    let Ok(Ok(upgraded)) = timeout(OPENING, request).await else { return };
    let end = ground
        .cut
        .run_until_cancelled(pump(&ground, TokioIo::new(upgraded), (bounds, TIMES), talk))
        .await;
    if let Some(end) = end {
        ENDED.inc(end.cause());
        tracing::debug!(socket = bounds.name, client = %ground.client, end = end.cause(), "socket ended");
    }
    drop(held);
}

async fn pump<S: AsyncRead + AsyncWrite + Unpin>(
    ground: &Ground,
    stream: S,
    (bounds, times): (Bounds, Times),
    talk: Talk,
) -> End {
    let config = WebSocketConfig::default()
        .max_message_size(Some(bounds.largest))
        .max_frame_size(Some(bounds.largest))
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(usize::try_from(bounds.waiting).unwrap_or(usize::MAX).max(UNREAD));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let (mut sink, mut stream) = socket.split();
    let out = Outbox::new(bounds.waiting, ground.ctx.sockets.bytes.clone());
    let (socket, inbox) = Socket::new(out.clone());

    let reading = async {
        loop {
            let message = match timeout(times.silent, stream.next()).await {
                Err(_) => return End::Silent,
                Ok(None) => return End::Peer,
                Ok(Some(Err(error))) => return end_of(&error),
                Ok(Some(Ok(message))) => message,
            };
            // Answers to our pings are no more than those.
            if !message.is_pong()
                && ground.ctx.limiter.take(Limit::Messages, ground.client).is_err()
            {
                return End::TooFast;
            }
            let message = match message {
                WsMessage::Text(text) => Message::Text(text),
                WsMessage::Binary(bytes) => Message::Binary(bytes),
                WsMessage::Close(_) => return End::Peer,
                WsMessage::Ping(_) | WsMessage::Pong(_) | WsMessage::Frame(_) => continue,
            };
            // Until it is taken nothing more is read, which the peer feels. Once the talk is over nobody takes it.
            if inbox.send(message).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let writing = async {
        let mut ping = Instant::now() + times.ping;
        loop {
            let message = tokio::select! {
                next = out.next() => match next {
                    Ok(message) => message,
                    Err(_) => return End::TooSlow,
                },
                () = sleep_until(ping) => {
                    ping = Instant::now() + times.ping;
                    match timeout(times.stall, sink.send(WsMessage::Ping(Default::default()))).await {
                        Err(_) => return End::Stalled,
                        Ok(Err(error)) => return end_of(&error),
                        Ok(Ok(())) => continue,
                    }
                }
            };
            let bytes = weight(&message);
            let message = match message {
                Message::Text(text) => WsMessage::Text(text),
                Message::Binary(bytes) => WsMessage::Binary(bytes),
            };
            let sent = tokio::select! {
                sent = timeout(times.stall, sink.send(message)) => sent,
                () = out.too_slow() => return End::TooSlow,
            };
            match sent {
                Err(_) => return End::Stalled,
                Ok(Err(error)) => return end_of(&error),
                Ok(Ok(())) => out.sent(bytes),
            }
        }
    };
    let talking = async {
        let close = talk(socket).await;
        // What it said last is to be heard.
        out.emptied().await;
        End::Talk(close)
    };
    let end = tokio::select! {
        end = reading => end,
        end = writing => end,
        end = talking => end,
        () = ground.stop.cancelled() => End::Stop,
    };
    if let Some(Close { code, reason }) = end.close() {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        // The peer's close frame, or whatever else, is its answer.
        let _ = timeout(CLOSING, async {
            if sink.send(WsMessage::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = stream.next().await {}
            }
        })
        .await;
    }
    end
}

fn end_of(error: &WsError) -> End {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => End::TooLarge,
        WsError::WriteBufferFull(_) => End::Stalled,
        WsError::Protocol(_) | WsError::Utf8(_) | WsError::Capacity(_) => End::Broken,
        _ => End::Peer,
    }
}

#[cfg(test)]
#[path = "sockets_tests.rs"]
mod tests;
