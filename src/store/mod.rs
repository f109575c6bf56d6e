//! The embedded store: keyspaces, codecs, the single writer, snapshots.
