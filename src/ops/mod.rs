//! Status and health of the running process: what is measured, and its shape for the operator.
//!
//! [`Samples`] keeps a day of what upstreams brought, for the chart of the dashboard.
//!
//! Knows the store and the machine; what the upstreams say is put in by `runtime`, which alone may know ingest.

pub mod format;
mod host;
mod metrics;
mod samples;
mod status;

pub use host::{Memory, MemoryShare, OpenFiles, file_limit, memory};
pub use metrics::{METRICS_TYPE, metrics};
pub use samples::{MINUTES, Minute, Samples};
pub use status::{
    CallStatus, PartState, PartStatus, PushStatus, Reload, Status, StoreStatus, TimeStatus,
};
