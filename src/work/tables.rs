//! The tables of durable work, and the registry of all tables: this is the lowest folder that sees every owner but
//! `private` and `changes`, which tell their own rows apart.

use super::{clock, due, handles, on_read, purge, pushes, recheck, repo_queue, retention};
use crate::schema::tables::{self, For, Kind, Part, Registry, Table, table};
use crate::store::Ks;

use Part::{Actor, Byte, Long, Number, Post, Record, Rest};

const OTHER: For = For::All(Kind::Other);

/// All tables.
#[must_use]
pub fn registry() -> Registry {
    Registry::new(&[tables::TABLES, tables::EDGES, TABLES])
}

fn queued(key: &[u8], value: &[u8]) -> bool {
    repo_queue::decodes(key, value).unwrap_or(false)
}

fn fetched(key: &[u8], value: &[u8]) -> bool {
    on_read::decodes(key, value).unwrap_or(false)
}

fn asked(key: &[u8], value: &[u8]) -> bool {
    recheck::decodes(key, value).unwrap_or(false)
}

fn empty(_: &[u8], value: &[u8]) -> bool {
    value.is_empty()
}

fn any(_: &[u8], _: &[u8]) -> bool {
    true
}

static TABLES: &[Table] = &[
    table!("purges", "work", Meta b"p", &[Actor], |k, v| purge::decodes(k, v) == Some(true), OTHER),
    table!("identities to ask for", "work", Meta b"i", &[Actor], asked, OTHER),
    table!("statuses to ask for", "work", Meta b"c", &[Actor], asked, OTHER),
    table!("retention", "work", Meta b"k", &[Rest], |k, _| retention::decodes(k) == Some(true), OTHER),
    table!("time", "work", Meta b"t", &[Rest], clock::decodes, OTHER),
    table!("repos to fetch, of early versions", "work", Meta b"r", &[Actor], any, OTHER),
    table!("notifications to push", "work", Jobs b"p", &[Long, Rest], pushes::decodes, OTHER),
    table!("handles to look up", "work", Jobs b"h", &[Long, Actor], handles::decodes, OTHER),
    table!("watermarks", "work", Jobs b"w", &[Byte], due::watermark_decodes, OTHER),
    table!("replies to judge again", "work", Jobs b"D", &[Actor, Post], empty, OTHER),
    table!("fetched records", "work", Jobs b"F", &[Record], fetched, OTHER),
    table!("fetched records by time", "work", Jobs b"f", &[Long, Record], fetched, OTHER),
    table!("sum of fetched records", "work", Jobs b"T", &[], fetched, OTHER),
    table!("order of repos to fetch", "work", Jobs b"J", &[Byte, Long, Actor], queued, OTHER),
    table!("repos to fetch", "work", Jobs b"K", &[Actor], queued, OTHER),
    table!("repos that sleep", "work", Jobs b"Z", &[Actor], queued, OTHER),
    table!("lists of repos", "work", Jobs b"S", &[Number], queued, OTHER),
    table!("controls of fetching", "work", Jobs b"B", &[Byte], queued, OTHER),
    // The registry of `private` knows which kind a row is of, and whether it decodes.
    table!("private rows", "private", Private b"", &[Rest], any, OTHER),
    // So does `changes`.
    table!("changes", "changes", Events b"", &[Long], any, For::All(Kind::Change)),
    table!("followers of the log", "changes", Meta b"v", &[Rest], any, OTHER),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_row_has_two_tables_and_no_keyspace_is_without() {
        let all: Vec<_> = registry().tables().collect();
        let names: BTreeSet<_> = all.iter().map(|t| t.name).collect();
        assert_eq!(names.len(), all.len());
        for (n, a) in all.iter().enumerate() {
            for b in all.iter().skip(n + 1).filter(|b| b.ks == a.ks) {
                let apart = !a.tag.starts_with(b.tag) && !b.tag.starts_with(a.tag);
                assert!(apart, "{} and {}", a.name, b.name);
            }
        }
        let held: BTreeSet<_> = all.iter().map(|t| t.ks).collect();
        assert_eq!(held, Ks::ALL.iter().copied().collect());
    }

    #[test]
    fn a_row_is_whole_in_the_shape_of_its_key_only() {
        let registry = registry();
        let purge = registry.of(Ks::Meta, b"p1234").unwrap();
        assert_eq!(purge.name, "purges");
        assert!(purge.is_whole(b"p1234", &[1]) && !purge.is_whole(b"p1234", &[9]));
        assert!(!purge.is_whole(b"p123", &[1]) && !purge.is_whole(b"p12345", &[1]));
        assert!(registry.of(Ks::Meta, b"?").is_none() && registry.of(Ks::Meta, b"").is_none());
    }
}
