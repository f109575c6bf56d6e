//! `/admin`, its actions and its socket

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use serde_json::{Map, Value};
use tokio::time::{MissedTickBehavior, interval};
use xxhash_rust::xxh3::xxh3_64;

use super::{Asked, Desk, Made, forbidden, onward, page, visitor};
use crate::login::Visitor;
use crate::pages::operator;
use crate::private::Role;
use crate::telemetry::recent::OPERATOR;
use crate::xrpc::handshake::{SocketRow, is_own_origin};
use crate::xrpc::message::Request;
use crate::xrpc::socket::{Bounds, Close, Message, Socket, Talk};
use crate::xrpc::{AppCtx, Reply, XrpcError};

/// `/admin`
pub(in crate::xrpc) const DASHBOARD: Desk =
    Desk { name: "/admin", make: |asked| -> Made<'_> { Box::pin(dashboard(asked)) } };
/// `/admin/do/{action}`
pub(in crate::xrpc) const ACT: Desk =
    Desk { name: "/admin/do", make: |asked| -> Made<'_> { Box::pin(act(asked)) } };
/// `/admin/live`: what has changed on the page, every two seconds.
pub(in crate::xrpc) static LIVE: SocketRow =
    SocketRow { bounds: Bounds { name: "/admin/live", largest: 1024, waiting: 512 << 10 }, open };

const EVERY: Duration = Duration::from_secs(2);
const SIGNED_OUT: Close = Close::policy("you are signed out");

async fn dashboard(asked: &Asked<'_>) -> Result<Reply, XrpcError> {
    Ok(match asked.visitor().await? {
        Some(visitor) => page(asked.ctx.dashboard.page(&visitor).await),
        None => onward("/login", None),
    })
}

async fn act(asked: &Asked<'_>) -> Result<Reply, XrpcError> {
    let Some(visitor) = asked.visitor().await? else { return Ok(onward("/login", None)) };
    asked.is_form_of(&visitor)?;
    if visitor.role < Role::Admin {
        return Err(forbidden("You may look at everything here, but change nothing."));
    }
    let (action, who) = (asked.part(), visitor.name.as_str());
    let done = asked.ctx.dashboard.act(action, &asked.form).await;
    let done = done.ok_or_else(|| XrpcError::not_found("There is no such action."))?;
    let (text, well) = match done {
        Ok(text) => (text, true),
        Err(text) => (text, false),
    };
    tracing::info!(target: OPERATOR, who, action, well, "{text}");
    let status = if well { http::StatusCode::OK } else { http::StatusCode::BAD_REQUEST };
    Ok(page(operator::done(asked.site(), &text, well)).with_status(status))
}

fn open(ctx: &Arc<AppCtx>, request: &Request) -> Result<Talk, XrpcError> {
    if !is_own_origin(&request.headers, &ctx.identity.public_url) {
        return Err(forbidden("This was not opened by a page of this server."));
    }
    let visitor = visitor(ctx, request).ok_or_else(|| XrpcError::auth_required(""))?;
    let ctx = Arc::clone(ctx);
    Ok(Box::new(move |socket| Box::pin(async move { show(&ctx, &visitor, socket).await })))
}

/// Says what has changed, as long as whoever looks is signed in.
async fn show(ctx: &AppCtx, visitor: &Visitor, mut socket: Socket) -> Close {
    let mut shown: FxHashMap<&'static str, u64> = FxHashMap::default();
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = visitor.ended.cancelled() => return SIGNED_OUT,
            // Nothing can be asked here.
            _ = socket.next() => continue,
            _ = tick.tick() => {}
        }
        if !ctx.login.is_in(visitor) {
            return SIGNED_OUT;
        }
        let now = ctx.dashboard.now().await;
        let mut changed = Map::new();
        for (place, html) in now.iter() {
            let hash = xxh3_64(html.as_bytes());
            if shown.insert(place, hash) != Some(hash) {
                changed.insert((*place).to_owned(), Value::String(html.clone()));
            }
        }
        let text = Value::Object(changed).to_string();
        if socket.send(Message::Text(text.into())).is_err() {
            return Close::policy("you read too slowly");
        }
    }
}
