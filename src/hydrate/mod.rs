//! From ids to the state that views need.
