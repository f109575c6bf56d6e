//! A connection that counts what it reads against what was said in it.
//!
//! A WebSocket library joins the pieces of a message and gives nothing before the last one, so a peer that sends empty
//! pieces for ever keeps a core busy without anybody above noticing. Here it is noticed: bytes have to be paid for with
//! messages.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::NetError;
use crate::telemetry::links::Link;

/// Bytes beyond the largest message that may come before one is whole: headers of pieces, and what is read ahead.
const SLACK: usize = 1 << 20;
/// What any message pays for beside its content: its header, and the control frames before it.
const PER_MESSAGE: usize = 256;

/// The stream, and the bytes that no message has paid for.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    link: Arc<Link>,
    unpaid: usize,
    most: usize,
}

impl<S> Metered<S> {
    /// For messages of up to `max_message` bytes.
    pub(super) fn new(stream: S, max_message: usize, link: Arc<Link>) -> Self {
        Self { stream, link, unpaid: 0, most: max_message.saturating_add(SLACK) }
    }

    /// A message came, with this much in it. It pays twice: honest peers that send in pieces never come near the end.
    pub(super) fn pay(&mut self, content: usize) {
        self.unpaid = self.unpaid.saturating_sub(content.saturating_mul(2) + PER_MESSAGE);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unpaid > self.most {
            let error = NetError::Misbehaves("sends pieces of messages without an end");
            return Poll::Ready(Err(error.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let came = buf.filled().len().saturating_sub(before);
        self.link.received(came as u64);
        self.unpaid = self.unpaid.saturating_add(came);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = written {
            self.link.sent(bytes as u64);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
