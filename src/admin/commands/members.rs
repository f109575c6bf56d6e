//! `aerie member`: whose notifications are kept, and around whom the scope is drawn.

use super::{Commands, words};
use crate::admin::ports::Said;
use crate::admin::protocol::{Member, MemberAdded, MemberRemoved, Members};
use crate::private;
use crate::schema::rows::Counter;
use crate::schema::{Rows as _, Target};
use crate::store::{Store, StoreError};
use crate::syntax::Did;

impl Commands {
    pub(super) async fn add_member(&self, name: &str) -> Said<MemberAdded> {
        let did = self.did(name).await?;
        self.accounts.join(did.as_str(), self.clock.now_ms()).await.map_err(words)?;
        Ok(MemberAdded { did: did.as_str().to_owned() })
    }

    pub(super) async fn remove_member(&self, name: &str) -> Said<MemberRemoved> {
        let did = self.did(name).await?;
        if !self.accounts.leave(did.as_str()).await.map_err(words)? {
            return Err(format!("{did} is no member"));
        }
        let configured = self.configured.contains(&did);
        Ok(MemberRemoved { did: did.as_str().to_owned(), configured })
    }

    pub(super) async fn members(&self) -> Said<Members> {
        let configured = self.configured.clone();
        self.read(move |store| list(store, &configured)).await
    }
}

fn list(store: &Store, configured: &[Did]) -> Result<Members, StoreError> {
    let s = store.snapshot();
    let mut members = Vec::new();
    for actor in private::members(&s)? {
        let did = s.did(actor)?;
        members.push(Member {
            configured: configured.iter().any(|c| c.as_str() == &*did),
            did: (*did).to_owned(),
            handle: s.actor(actor)?.and_then(|row| row.handle),
            since: private::get(&s, private::Kind::Member, actor, None)?,
            follows: s.agg(Target::Actor(actor))?.get(Counter::Follows),
        });
    }
    Ok(Members { members })
}
