//! Whom an operator means: a DID, or what a handle stands for now.

use super::Commands;
use crate::admin::ports::Said;
use crate::identity::Freshness;
use crate::syntax::{Did, Handle};

impl Commands {
    pub(super) async fn did(&self, name: &str) -> Said<Did> {
        if let Ok(did) = Did::parse(name) {
            return Ok(did);
        }
        let handle = Handle::parse(name.trim_start_matches('@'))
            .map_err(|_| format!("{name:?} is neither a DID nor a handle"))?;
        match self.identity.resolve_handle(&handle, Freshness::Fresh).await {
            Ok(Some(did)) => Ok(did),
            Ok(None) => Err(format!("the handle {name} belongs to nobody")),
            Err(error) => Err(format!("the handle {name}: {error}")),
        }
    }

    /// Those that can be used, and why the others cannot.
    pub(super) async fn dids(&self, names: &[String]) -> (Vec<Did>, Vec<String>) {
        let (mut dids, mut unusable) = (Vec::new(), Vec::new());
        for name in names {
            match self.did(name).await {
                Ok(did) => dids.push(did),
                Err(why) => unusable.push(why),
            }
        }
        (dids, unusable)
    }
}
