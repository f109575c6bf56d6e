//! What is counted of each answer: how long it took, what failed, and how many bytes came and went.
//!
//! Methods and paths are counted by the names of their tables; what has no name there counts as one thing.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use rustc_hash::FxHashMap;

use super::message::{Response, Rest};
use crate::telemetry::calls::Calls;

/// Preflights, and what is not there.
const NAMELESS: &str = "none";

/// The counts, by name.
pub(super) struct Measures {
    named: FxHashMap<&'static str, Arc<Calls>>,
    nameless: Arc<Calls>,
}

impl Measures {
    /// For what has these names.
    pub(super) fn new(names: impl Iterator<Item = &'static str>) -> Self {
        let named = names.map(|name| (name, Calls::of(name))).collect();
        Self { named, nameless: Calls::of(NAMELESS) }
    }

    /// Counts an answer to a request that began then and had so many bytes. What is still to be made of the answer is
    /// counted as it goes out.
    pub(super) fn answered(
        &self,
        name: Option<&&'static str>,
        (begun, received): (Instant, u64),
        mut response: Response,
    ) -> Response {
        let calls = name.and_then(|name| self.named.get(name)).unwrap_or(&self.nameless);
        calls.answered(begun.elapsed(), received, response.error);
        calls.sent(response.wire_size());
        response.rest = response.rest.map(|rest| {
            let calls = Arc::clone(calls);
            let counted = rest.0.inspect(move |piece| {
                if let Ok(bytes) = piece {
                    calls.sent(bytes.len() as u64);
                }
            });
            Rest(counted.boxed())
        });
        response
    }
}
