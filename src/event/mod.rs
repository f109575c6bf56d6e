//! Firehose frames as they arrive, and the one event type that changes the index.
