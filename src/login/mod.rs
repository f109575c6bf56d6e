//! Who of the operators is signed in, in a browser: one-time links and sessions.
//!
//! ```text
//! xrpc/operator (cookie, form) -> Login -> private (rows by hash)
//!                                   ^ Door, which follows those rows in memory
//! ```
//!
//! A secret is 256 random bits; only its hash is kept. Knows neither HTTP but for the form of a cookie, nor passwords, nor
//! what somebody with a role may do.
//!
//! # Invariants
//! - A secret that lets somebody in was made here: none that comes from outside is ever taken over, so nobody can be given
//!   the session of another (`tests`).
//! - What was revoked, used up or has ended lets nobody in from the commit on that says so, and whoever holds its
//!   [`Visitor::ended`] is told.

mod cookie;
mod door;
mod secret;

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use cookie::Cookie;
pub use door::Door;
pub use secret::Secret;

use crate::private::{Access, Hash, Lets, Private, Role, Time, access};
use crate::store::StoreError;
use crate::threads::Clock;

/// How long a link may be followed.
pub const LINK: Duration = Duration::from_secs(10 * 60);
/// How long a session lasts, and how long without being used.
pub const SESSION: Duration = Duration::from_secs(7 * 86_400);
/// A session that was not used for so long has ended.
pub const IDLE: Duration = Duration::from_secs(12 * 3600);
/// How exactly it is known when a session was last used.
const SEEN_EVERY: Duration = Duration::from_secs(5 * 60);

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// What they may do.
    pub role: Role,
    /// How the log calls them.
    pub name: String,
    /// What every form has to send back, so that no other page can send one.
    pub token: String,
    /// Their session has ended.
    pub ended: CancellationToken,
    hash: Hash,
}

/// A session or a link, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The beginning of its hash.
    pub id: String,
    /// What it does.
    pub lets: Lets,
    /// With which role.
    pub role: Role,
    /// How the log calls who was let in.
    pub name: String,
    /// Since when it is there, milliseconds.
    pub at: i64,
    /// When it was last used, to within some minutes.
    pub seen: i64,
    /// When it ends at the latest.
    pub until: i64,
}

/// Which sessions and links are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// All.
    All,
    /// The one whose hash begins so.
    Id(&'a str),
}

/// Signs operators in and out.
#[derive(Clone)]
pub struct Login {
    door: Door,
    private: Private,
    clock: Clock,
}

impl Login {
    /// `door` is among the effects of `private`.
    #[must_use]
    pub fn new(door: Door, private: Private, clock: Clock) -> Self {
        Self { door, private, clock }
    }

    fn new_access(&self, secret: &Secret, lets: Lets, role: Role, name: &str) -> Access {
        let now = self.clock.now_ms();
        let lasts = match lets {
            Lets::Session => SESSION,
            Lets::Link => LINK,
        };
        let until = Time(now.saturating_add(ms(lasts)));
        let (at, seen, name) = (Time(now), Time(now), name.to_owned());
        Access { hash: secret.hash(), lets, role, name, at, seen, until }
    }

    /// A link that signs whoever follows it in with this role, once.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn link(&self, role: Role) -> Result<Secret, StoreError> {
        let secret = Secret::random();
        let id = secret.id();
        let link = self.new_access(&secret, Lets::Link, role, &format!("link {id}"));
        let now = self.clock.now_ms();
        self.private.change(move |r| access::open(r, link, now)).await?;
        Ok(secret)
    }

    /// Whether a link may be followed, and with which role.
    #[must_use]
    pub fn is_link(&self, link: &Secret) -> Option<Role> {
        let held = self.door.get(&link.hash())?;
        let open = held.access.lets == Lets::Link && held.access.until.0 > self.clock.now_ms();
        open.then_some(held.access.role)
    }

    /// Follows a link: a session, if it was one and nobody did before.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn follow(&self, link: &Secret) -> Result<Option<Secret>, StoreError> {
        if self.is_link(link).is_none() {
            return Ok(None);
        }
        let secret = Secret::random();
        let session = self.new_access(&secret, Lets::Session, Role::Viewer, "");
        let (link, now) = (link.hash(), self.clock.now_ms());
        let done = self.private.change(move |r| access::redeem(r, &link, session, now)).await?;
        Ok(done.then_some(secret))
    }

    /// A session of somebody who has shown otherwise who they are.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn enter(&self, role: Role, name: &str) -> Result<Secret, StoreError> {
        let secret = Secret::random();
        let session = self.new_access(&secret, Lets::Session, role, name);
        let now = self.clock.now_ms();
        self.private.change(move |r| access::open(r, session, now)).await?;
        Ok(secret)
    }

    /// Who has this secret of a session, if it still is one.
    #[must_use]
    pub fn visitor(&self, secret: &Secret) -> Option<Visitor> {
        let hash = secret.hash();
        let held = self.door.get(&hash)?;
        let Access { lets: Lets::Session, role, name, .. } = held.access else { return None };
        let ended = held.ended;
        self.is_open(&hash).then(|| Visitor { role, name, token: secret.token(), ended, hash })
    }

    fn is_open(&self, hash: &Hash) -> bool {
        let now = self.clock.now_ms();
        self.door.get(hash).is_some_and(|held| {
            let Access { until, seen, .. } = held.access;
            until.0 > now && now.saturating_sub(seen.0) < ms(IDLE)
        })
    }

    /// Whether somebody who was signed in still is.
    #[must_use]
    pub fn is_in(&self, visitor: &Visitor) -> bool {
        self.is_open(&visitor.hash)
    }

    /// Notes that a session is used.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn used(&self, visitor: &Visitor) -> Result<(), StoreError> {
        let (hash, now) = (visitor.hash, self.clock.now_ms());
        let seen = self.door.get(&hash).map(|held| held.access.seen.0);
        match seen {
            Some(seen) if now.saturating_sub(seen) >= ms(SEEN_EVERY) => {
                self.private.change(move |r| access::see(r, &hash, now)).await
            }
            _ => Ok(()),
        }
    }

    /// Ends the session of this secret, if it is one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn leave(&self, secret: &Secret) -> Result<(), StoreError> {
        let hash = secret.hash();
        if self.door.get(&hash).is_none_or(|held| held.access.lets != Lets::Session) {
            return Ok(());
        }
        self.private.change(move |r| access::close(r, &[hash])).await.map(drop)
    }

    /// What lets somebody in now, the newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let open = self.door.all().into_iter().filter(|one| match one.lets {
            Lets::Session => self.is_open(&one.hash),
            Lets::Link => one.until.0 > self.clock.now_ms(),
        });
        let listed = open.map(|one| Listed {
            id: secret::id(&one.hash),
            lets: one.lets,
            role: one.role,
            name: one.name,
            at: one.at.0,
            seen: one.seen.0,
            until: one.until.0,
        });
        let mut listed: Vec<Listed> = listed.collect();
        listed.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.id.cmp(&b.id)));
        listed
    }

    /// Ends sessions and links; how many.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn revoke(&self, which: Which<'_>) -> Result<usize, StoreError> {
        let all = self.door.all().into_iter().map(|one| one.hash);
        let meant: Vec<Hash> = match which {
            Which::All => all.collect(),
            Which::Id(id) => all.filter(|hash| secret::id(hash) == id).collect(),
        };
        self.private.change(move |r| access::close(r, &meant)).await
    }
}
