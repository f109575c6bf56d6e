//! From events to batches of the store, one file for each kind of record.
