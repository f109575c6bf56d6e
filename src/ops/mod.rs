//! Status and health of the running process: what is measured, and its shape for the operator.
//!
//! Knows the store and the machine; what the upstreams say is put in by `runtime`, which alone may know ingest.

mod host;
mod ladder;
mod status;
mod trend;

pub use host::{Memory, memory};
pub use ladder::{Space, Step};
pub use status::{Disk, PartState, PartStatus, PushStatus, Status, StoreStatus};
pub use trend::Trend;
