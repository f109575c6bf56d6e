//! The root of a whole tree, from what is in it.

use super::{key_layer, node};
use crate::syntax::{Cid, cid};

/// A key, its value and its layer.
type Leaf<'a> = (&'a [u8], &'a Cid, u32);

/// The root of the tree of these keys, each of which is there once, in the order of their bytes.
pub fn root<'a>(records: impl Iterator<Item = (&'a [u8], &'a Cid)>) -> Cid {
    let leaves: Vec<Leaf<'a>> = records.map(|(key, cid)| (key, cid, key_layer(key))).collect();
    let top = leaves.iter().map(|(_, _, layer)| *layer).max().unwrap_or(0);
    node_of(&leaves, top)
}

fn node_of(leaves: &[Leaf<'_>], layer: u32) -> Cid {
    // What lies before the first key of this layer, then each of those keys with what lies behind it.
    let mut parts = leaves.chunk_by(|_, (_, _, next)| *next != layer).peekable();
    let first = parts.peek().and_then(|part| part.first());
    let left = match first {
        Some((_, _, own)) if *own != layer => below(parts.next().unwrap_or_default(), layer),
        _ => None,
    };
    let entries: Vec<_> = parts
        .filter_map(|part| part.split_first())
        .map(|((key, value, _), behind)| (*key, *value, below(behind, layer)))
        .collect();
    let entries = entries.iter().map(|(key, value, right)| (*key, *value, right.as_ref()));
    cid::for_record(&node::encode(left.as_ref(), entries))
}

fn below(leaves: &[Leaf<'_>], layer: u32) -> Option<Cid> {
    // Only the lowest layer has nothing below it, and there all keys are of its own.
    let next = layer.checked_sub(1)?;
    (!leaves.is_empty()).then(|| node_of(leaves, next))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::repo::testing::TestTree;

    proptest! {
        #[test]
        fn it_is_that_of_the_tree_by_its_definition(
            keys in prop::collection::btree_set("[a-c]{1,2}\\.[a-z]{1,3}/[2-7a-z]{1,6}", 0..200)
        ) {
            let records: BTreeMap<String, Cid> =
                keys.into_iter().map(|key| (key.clone(), cid::for_record(key.as_bytes()))).collect();
            let found = root(records.iter().map(|(key, cid)| (key.as_bytes(), cid)));
            prop_assert_eq!(found, TestTree::build(&records).root);
        }
    }
}
