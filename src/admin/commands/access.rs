//! `aerie admin login` and `aerie session`: who may sign in to the dashboard, and who is.

use super::{Commands, words};
use crate::admin::ports::Said;
use crate::admin::protocol::{LoginLink, SessionListed, SessionRevoke, Sessions, SessionsRevoked};
use crate::login::{LINK, Listed, Which};
use crate::private::Role;
use crate::telemetry::recent::OPERATOR;

impl Commands {
    pub(super) async fn login_link(&self, role: Role) -> Said<LoginLink> {
        let secret = self.login.link(role).await.map_err(words)?;
        tracing::info!(target: OPERATOR, link = secret.id(), role = role.name(), "a link to sign in with was made");
        let url = format!("{}/login/{}", self.public_url, secret.text());
        Ok(LoginLink { url, seconds: LINK.as_secs() })
    }

    pub(super) fn sessions(&self) -> Said<Sessions> {
        let listed = |one: Listed| SessionListed {
            id: one.id,
            kind: one.lets,
            role: one.role,
            name: one.name,
            at: one.at,
            seen: one.seen,
            until: one.until,
        };
        Ok(Sessions { sessions: self.login.list().into_iter().map(listed).collect() })
    }

    pub(super) async fn revoke(&self, of: &SessionRevoke) -> Said<SessionsRevoked> {
        let which = of.id.as_deref().map_or(Which::All, Which::Id);
        let revoked = self.login.revoke(which).await.map_err(words)?;
        match (&of.id, revoked) {
            (Some(id), 0) => Err(format!("there is no session {id}: see `aerie session list`")),
            _ => {
                tracing::info!(target: OPERATOR, revoked, "sessions revoked");
                Ok(SessionsRevoked { revoked })
            }
        }
    }
}
