//! Sockets over a pipe: both ways, and each way in which one ends.

use std::net::IpAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::DuplexStream;
use tokio::sync::oneshot;

use super::*;
use crate::limits::{Limits, Proxies};
use crate::xrpc::testing::{Keys, context};

const DONE: Close = Close { code: 1000, reason: "" };

const BOUNDS: Bounds = Bounds { name: "/test", largest: 1000, waiting: 8000 };

/// The end of a socket, and its peer.
struct Pair {
    peer: WebSocketStream<DuplexStream>,
    ended: oneshot::Receiver<End>,
    stop: CancellationToken,
    ctx: Arc<AppCtx>,
}

async fn pair(talk: Talk) -> Pair {
    pair_within(Limits::new(Proxies::default(), &[]), TIMES, talk).await
}

async fn pair_within(limits: Limits, times: Times, talk: Talk) -> Pair {
    let (ours, theirs) = tokio::io::duplex(2048);
    let ctx = context(Arc::new(Keys::default()));
    let mut ctx = Arc::into_inner(ctx).unwrap();
    ctx.limiter = Arc::new(limits);
    let ctx = Arc::new(ctx);
    let stop = CancellationToken::new();
    let ground = Ground {
        ctx: Arc::clone(&ctx),
        client: Client::address(IpAddr::from([192, 0, 2, 1])),
        stop: stop.clone(),
        cut: CancellationToken::new(),
    };
    let (tell, ended) = oneshot::channel();
    tokio::spawn(async move {
        let end = pump(&ground, ours, (BOUNDS, times), talk).await;
        let _ = tell.send(end);
    });
    let peer = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
    Pair { peer, ended, stop, ctx }
}

impl Pair {
    /// The code and the reason that the peer is told.
    async fn told(&mut self) -> (u16, String) {
        loop {
            match self.peer.next().await.unwrap().unwrap() {
                WsMessage::Close(Some(frame)) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                WsMessage::Close(None) => panic!("no reason"),
                _ => {}
            }
        }
    }
}

/// Says everything back until it hears `bye`.
fn echo() -> Talk {
    Box::new(|mut socket| {
        Box::pin(async move {
            loop {
                let message = socket.next().await;
                if message == Message::Text("bye".into()) {
                    return DONE;
                }
                if socket.send(message).is_err() {
                    return DONE;
                }
            }
        })
    })
}

#[tokio::test]
async fn what_is_said_goes_both_ways_until_the_talk_is_over() {
    let mut pair = pair(echo()).await;
    for message in [WsMessage::text("a"), WsMessage::binary(vec![1_u8; 900])] {
        pair.peer.send(message.clone()).await.unwrap();
        assert_eq!(pair.peer.next().await.unwrap().unwrap(), message);
    }
    pair.peer.send(WsMessage::text("bye")).await.unwrap();
    assert_eq!(pair.told().await, (1000, String::new()));
    assert_eq!(pair.ended.await.unwrap(), End::Talk(DONE));
    assert_eq!(pair.ctx.sockets.bytes.held(), 0);
}

#[tokio::test]
async fn what_was_said_last_is_heard() {
    let talk: Talk = Box::new(|socket| {
        Box::pin(async move {
            for n in 0..20 {
                socket.send(Message::Binary(vec![n; 300].into())).unwrap();
            }
            Close::policy("enough")
        })
    });
    let mut pair = pair(talk).await;
    for n in 0..20_u8 {
        let heard = pair.peer.next().await.unwrap().unwrap();
        assert_eq!(heard, WsMessage::binary(vec![n; 300]));
    }
    assert_eq!(pair.told().await, (1008, "enough".to_owned()));
}

#[tokio::test]
async fn too_large_too_many_and_broken_are_told_so() {
    let mut large = pair(echo()).await;
    large.peer.send(WsMessage::text("x".repeat(1001))).await.unwrap();
    assert_eq!(large.told().await.0, 1009);
    assert_eq!(large.ended.await.unwrap(), End::TooLarge);

    let limits = Limits::new(Proxies::default(), &[(Limit::Messages, 3)]);
    let mut fast = pair_within(limits, TIMES, echo()).await;
    for n in 0..4 {
        // Pings count too.
        let message = if n % 2 == 0 { WsMessage::text("a") } else { WsMessage::Ping("b".into()) };
        fast.peer.send(message).await.unwrap();
    }
    assert_eq!(fast.told().await, (1008, "you send too much".to_owned()));
    assert_eq!(fast.ended.await.unwrap(), End::TooFast);
}

#[tokio::test]
async fn who_reads_too_slowly_is_closed_and_holds_nothing() {
    let (tell, filled) = oneshot::channel();
    let talk: Talk = Box::new(|socket| {
        Box::pin(async move {
            let mut said = 0;
            while socket.send(Message::Binary(vec![0; 500].into())).is_ok() {
                said += 1;
                tokio::task::yield_now().await;
            }
            let _ = tell.send(said);
            std::future::pending().await
        })
    });
    let mut pair = pair(talk).await;
    let said: usize = filled.await.unwrap();
    assert!(said < 30, "{said}: what may wait, and what the pipe holds");
    assert_eq!(pair.told().await, (1008, "you read too slowly".to_owned()));
    assert_eq!(pair.ended.await.unwrap(), End::TooSlow);
    assert_eq!(pair.ctx.sockets.bytes.held(), 0);
}

#[tokio::test]
async fn who_takes_nothing_at_all_is_left() {
    let talk: Talk = Box::new(|socket| {
        Box::pin(async move {
            socket.send(Message::Binary(vec![0; 5000].into())).unwrap();
            std::future::pending().await
        })
    });
    let times = Times { stall: Duration::from_millis(1), ..TIMES };
    let pair = pair_within(Limits::new(Proxies::default(), &[]), times, talk).await;
    assert_eq!(pair.ended.await.unwrap(), End::Stalled);
}

#[tokio::test]
async fn who_answers_pings_stays_and_who_does_not_goes() {
    let limits = || Limits::new(Proxies::default(), &[]);
    let often = Times { ping: Duration::from_millis(1), ..TIMES };
    let mut there = pair_within(limits(), often, echo()).await;
    for _ in 0..5 {
        assert!(there.peer.next().await.unwrap().unwrap().is_ping());
    }
    there.peer.send(WsMessage::text("bye")).await.unwrap();
    assert_eq!(there.told().await, (1000, String::new()));
    let impatient = Times { silent: Duration::from_millis(1), ..TIMES };
    let gone = pair_within(limits(), impatient, echo()).await;
    assert_eq!(gone.ended.await.unwrap(), End::Silent);
}

#[tokio::test]
async fn the_end_of_the_server_is_told() {
    let mut pair = pair(echo()).await;
    pair.stop.cancel();
    assert_eq!(pair.told().await, (1001, "the server stops; come again".to_owned()));
    assert_eq!(pair.ended.await.unwrap(), End::Stop);
}
