//! Status and health of the running process.
