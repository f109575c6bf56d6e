//! Drafts of records that are published later. So far: when something that recurs happens, see [`recurrence`].

pub mod recurrence;
