//! Labels and takedowns: which label acts, and how.
