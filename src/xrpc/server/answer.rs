//! An answer on its way: handed out in pieces, counted until the last of them is written.
//!
//! # Invariants
//! - What an answer takes is counted from when it is made until hyper has let go of its last piece, whether that is
//!   because it was sent or because the connection ended.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use hyper::body::{Body, Frame, SizeHint};

use super::connections::{Running, Way};
use crate::limits::Hold;
use crate::xrpc::message::Rest;
use crate::xrpc::outflow::Outflow;

/// Small enough that whoever reads at all has read one before it counts as stalled.
const PIECE: usize = 32 << 10;

/// What is on its way.
#[derive(Debug)]
pub(super) struct Answer {
    bytes: u64,
    way: Arc<Way>,
    outflow: Arc<Outflow>,
    running: Running,
    /// Its client's share.
    _hold: Option<Hold>,
}

impl Answer {
    /// Counts an answer that the outflow has let in.
    pub(super) fn new(
        bytes: u64,
        outflow: Arc<Outflow>,
        running: Running,
        hold: Option<Hold>,
    ) -> Arc<Self> {
        let way = running.0.sends(bytes);
        Arc::new(Self { bytes, way, outflow, running, _hold: hold })
    }

    fn moves(&self) {
        self.way.moves(self.running.0.now_ms());
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.running.0.has_read(self.bytes);
        self.outflow.leave(self.bytes);
    }
}

/// The body of a response, as hyper takes it.
pub(super) struct Outgoing {
    bytes: Bytes,
    /// Gone with its last piece.
    answer: Option<Arc<Answer>>,
    rest: Option<Rest>,
}

impl Outgoing {
    pub(super) fn new(bytes: Bytes, rest: Option<Rest>, answer: Arc<Answer>) -> Self {
        Self { bytes, answer: Some(answer), rest }
    }

    fn next_piece(&mut self) -> Piece {
        let bytes = self.bytes.split_to(self.bytes.len().min(PIECE));
        let answer = match self.bytes.is_empty() && self.rest.is_none() {
            true => self.answer.take(),
            false => self.answer.clone(),
        };
        if let Some(answer) = &answer {
            answer.moves();
        }
        Piece { bytes, answer }
    }
}

impl Body for Outgoing {
    type Data = Piece;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Piece>>>> {
        if !self.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.next_piece()))));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let next = rest.0.poll_next_unpin(cx);
        let answer = self.answer.clone();
        if let Some(answer) = &answer {
            answer.moves();
            answer.way.is_made(next.is_ready());
        }
        next.map(|next| next.map(|bytes| bytes.map(|bytes| Frame::data(Piece { bytes, answer }))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest {
            None => SizeHint::with_exact(self.bytes.len() as u64),
            Some(_) => SizeHint::default(),
        }
    }
}

/// Bytes that hyper writes.
pub(super) struct Piece {
    bytes: Bytes,
    answer: Option<Arc<Answer>>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, n: usize) {
        self.bytes.advance(n);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(answer) = &self.answer {
            answer.moves();
        }
    }
}
