//! `aerie ingest` and `aerie config reload`: what comes in from upstreams, and the configuration of the running server.

use super::Commands;
use crate::admin::ports::Said;
use crate::admin::protocol::Done;

impl Commands {
    pub(super) fn pause(&self, paused: bool) -> Said<Done> {
        self.intake.pause(paused);
        tracing::info!(paused, "the operator paused ingest, or let it go on");
        Ok(Done {})
    }

    pub(super) fn reconnect(&self, url: &str) -> Said<Done> {
        match self.intake.reconnect(url) {
            true => Ok(Done {}),
            false => Err(format!(
                "{url:?} is no upstream that is followed now: `aerie status` names them"
            )),
        }
    }

    pub(super) fn reload(&self) -> Said<Done> {
        (self.reload)();
        Ok(Done {})
    }
}
