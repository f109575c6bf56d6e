//! What lets the process run for months unattended: the disk that fills, the clock that is wrong, the space that is held in reserve, the records
//! that have to go, and the word to the operator about it.
//!
//! Decides and acts; knows no socket that listens and no command. What brings new data in is given as [`Intake`].

mod alerts;
mod clock;
mod counts;
mod disk;
mod exports;
mod ladder;
mod ports;
mod reserve;
mod retention;
mod trend;

pub use alerts::Alerts;
pub use clock::{
    CLOCK_EVERY, ClockSetup, ClockState, ClockStatus, ClockVerdict, ClockWatch, http_date,
    time_servers,
};
pub use counts::{COUNT_EVERY, Counts, CountsStatus, Fallen};
pub use disk::{DiskSetup, DiskState, DiskStatus, DiskWatch, LOOK_EVERY, make_way, stop_below};
pub use exports::{ExportStatus, Exports, exports};
pub use ladder::Step;
pub use ports::{Derived, Intake};
pub use retention::{Retention, RetentionReport};
