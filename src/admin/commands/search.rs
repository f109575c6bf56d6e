//! `aerie search`: makes the indexes anew, and shows what somebody who searches gets.

use std::sync::Arc;

use serde_json::Value;

use super::{Commands, words};
use crate::admin::ports::Said;
use crate::admin::protocol::{Done, SearchQuery};

impl Commands {
    pub(super) fn rebuild_search(&self) -> Said<Done> {
        self.search.rebuild();
        Ok(Done {})
    }

    pub(super) async fn search(&self, of: SearchQuery) -> Said<Value> {
        let viewer = match &of.viewer {
            Some(name) => Some(self.did(name).await?),
            None => None,
        };
        let search = Arc::clone(&self.search);
        let found = move || search.explained(&of.parameters, viewer);
        tokio::task::spawn_blocking(found).await.map_err(words)?
    }
}
