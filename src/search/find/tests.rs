//! Searches over real indexes of a real store.
