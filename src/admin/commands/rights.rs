//! `aerie account`: what people may ask for, done by the operator.

use super::{Commands, words};
use crate::admin::ports::{Afterwards, Said};
use crate::admin::protocol::{AccountDelete, AccountExport, AccountState, OptOuts};
use crate::private::{self, Standing, takeout};
use crate::schema::Rows as _;
use crate::store::{Snapshot, StoreError};
use crate::syntax::Did;

impl Commands {
    pub(super) async fn account(&self, name: &str) -> Said<AccountState> {
        let did = self.did(name).await?;
        self.state(did).await
    }

    pub(super) async fn opt_out(&self, name: &str) -> Said<AccountState> {
        let did = self.did(name).await?;
        self.accounts.opt_out(did.as_str(), self.clock.now_ms()).await.map_err(words)?;
        self.state(did).await
    }

    pub(super) async fn opt_in(&self, name: &str) -> Said<AccountState> {
        let did = self.did(name).await?;
        if !self.accounts.opt_in(did.as_str()).await.map_err(words)? {
            return Err(format!(
                "what was held of {did} is still being deleted: `aerie account status {did}` says when it is done"
            ));
        }
        self.state(did).await
    }

    pub(super) async fn opt_outs(&self) -> Said<OptOuts> {
        self.read(|store| {
            let s = store.snapshot();
            let mut opt_outs = Vec::new();
            for (actor, _) in private::opt_outs(&s)? {
                opt_outs.push(state(&s, &s.did(actor)?)?);
            }
            Ok(OptOuts { opt_outs })
        })
        .await
    }

    pub(super) async fn delete(&self, of: &AccountDelete) -> Said<AccountState> {
        let did = self.did(&of.account).await?;
        let afterwards = if of.opt_out { Afterwards::OptedOut } else { Afterwards::Collected };
        self.accounts.erase(did.as_str(), afterwards).await.map_err(words)?;
        self.state(did).await
    }

    pub(super) async fn export(&self, of: AccountExport) -> Said<takeout::Page> {
        let did = self.did(&of.account).await?;
        let now = self.clock.now_ms();
        self.read(move |store| {
            takeout::page(&store.snapshot(), did.as_str(), now, of.next.as_deref())
        })
        .await
    }

    async fn state(&self, did: Did) -> Said<AccountState> {
        self.read(move |store| state(&store.snapshot(), did.as_str())).await
    }
}

fn state(s: &Snapshot, did: &str) -> Result<AccountState, StoreError> {
    let Standing { opted_out, deleting } = private::standing(s, did)?;
    Ok(AccountState { did: did.to_owned(), opted_out_at: opted_out, deleting })
}
