//! Repositories fetched whole: resync and comparison with what is held.
