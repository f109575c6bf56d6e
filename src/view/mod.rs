//! From state to response bodies. Pure functions.
