//! `aerie retention` and `aerie scope`: begins a run, or a count of what one would do.

use super::Commands;
use crate::admin::ports::Said;
use crate::admin::protocol::{Done, RetentionPlan};

impl Commands {
    pub(super) fn run_retention(&self) -> Said<Done> {
        self.retention.run().map(|()| Done {})
    }

    pub(super) fn plan_retention(&self, of: RetentionPlan) -> Said<Done> {
        self.retention.plan(of.mode, of.days, of.budget).map(|()| Done {})
    }
}
