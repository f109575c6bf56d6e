//! `/login`, `/login/{key}` and `/logout`
//!
//! A link is followed by a button: what looks at links that it is shown, as messengers and mail scanners do, uses none up.

use http::StatusCode;

use super::{Asked, Desk, Made, onward, page};
use crate::limits::Limit;
use crate::login::Secret;
use crate::pages::operator;
use crate::private::Role;
use crate::telemetry::recent::OPERATOR;
use crate::xrpc::{Reply, XrpcError};

/// `/login`
pub(in crate::xrpc) const SIGN_IN: Desk =
    Desk { name: "/login", make: |asked| -> Made<'_> { Box::pin(sign_in(asked)) } };
/// `/login/{key}`
pub(in crate::xrpc) const LINK: Desk =
    Desk { name: "/login/{key}", make: |asked| -> Made<'_> { Box::pin(link(asked)) } };
/// `/logout`
pub(in crate::xrpc) const SIGN_OUT: Desk =
    Desk { name: "/logout", make: |asked| -> Made<'_> { Box::pin(sign_out(asked)) } };

async fn sign_in(asked: &Asked<'_>) -> Result<Reply, XrpcError> {
    let ctx = asked.ctx;
    let form = |wrong| page(operator::sign_in(asked.site(), ctx.auth.has_password(), wrong));
    if !asked.is_post() {
        return Ok(match asked.visitor().await? {
            Some(_) => onward("/admin", None),
            None => form(false),
        });
    }
    let (user, password) = (asked.field("user"), asked.field("password"));
    if !ctx.auth.is_password(user, password, asked.request.client)? {
        return Ok(form(true).with_status(StatusCode::UNAUTHORIZED));
    }
    let secret = ctx.login.enter(Role::Admin, "password").await?;
    entered(asked, &secret, "password").await
}

async fn link(asked: &Asked<'_>) -> Result<Reply, XrpcError> {
    let (ctx, client) = (asked.ctx, asked.request.client);
    ctx.limiter.look(Limit::Logins, client).map_err(|refused| ctx.limited(refused))?;
    let link = Secret::parse(asked.part());
    if let Some(link) = &link
        && let Some(role) = ctx.login.is_link(link)
    {
        if !asked.is_post() {
            return Ok(page(operator::follow(asked.site(), role.name())));
        }
        if let Some(secret) = ctx.login.follow(link).await? {
            return entered(asked, &secret, "link").await;
        }
    }
    ctx.take(Limit::Logins, client)?;
    let message =
        "This link was used, or is older than ten minutes: `aerie admin login` makes another.";
    Err(XrpcError::passed_on(StatusCode::GONE.as_u16(), "LinkUsed", message))
}

/// Somebody is in. Whatever session the browser had before is over.
async fn entered(asked: &Asked<'_>, secret: &Secret, by: &str) -> Result<Reply, XrpcError> {
    let cookie = asked.cookie();
    if let Some(before) = cookie.read(&asked.request.headers) {
        asked.ctx.login.leave(&before).await?;
    }
    let (session, client) = (secret.id(), asked.request.client);
    tracing::info!(target: OPERATOR, by, session, %client, "signed in");
    Ok(onward("/admin", cookie.keep(secret)))
}

async fn sign_out(asked: &Asked<'_>) -> Result<Reply, XrpcError> {
    let cookie = asked.cookie();
    let secret = cookie.read(&asked.request.headers);
    if let Some(secret) = secret
        && let Some(visitor) = asked.ctx.login.visitor(&secret)
    {
        asked.is_form_of(&visitor)?;
        asked.ctx.login.leave(&secret).await?;
        tracing::info!(target: OPERATOR, who = visitor.name, session = secret.id(), "signed out");
    }
    Ok(onward("/login", cookie.forget()))
}
