//! Every record of a whole tree, in key order, with only the nodes of the current path in memory.

use super::node::{RawEntry, RawNode};
use super::{MstError, key_layer};
use crate::syntax::Cid;

/// An iterator over `(key, value)`; ends after the first error.
///
/// The whole tree is checked on the way: global key order, the layer of every key, each level one below the last, no
/// empty nodes. Order makes a cycle or a shared subtree impossible to walk twice; layers bound the path.
pub struct Walk<F> {
    block: F,
    path: Vec<Level>,
    root: Option<Cid>,
    last: Option<Box<[u8]>>,
    /// A subtree was entered and no key has come out of it yet.
    hollow: bool,
}

struct Level {
    layer: u32,
    /// Subtree to enter before the next entry.
    kid: Option<Cid>,
    entries: std::vec::IntoIter<RawEntry>,
}

impl<B: AsRef<[u8]>, F: FnMut(&Cid) -> Option<B>> Walk<F> {
    /// Walks the tree at `root`; `block` gives the bytes of a node, already compared with their CID.
    pub fn new(root: Cid, block: F) -> Walk<F> {
        Walk { block, path: Vec::new(), root: Some(root), last: None, hollow: false }
    }

    fn enter(&mut self, cid: &Cid, layer: Option<u32>) -> Result<(), MstError> {
        let block = (self.block)(cid).ok_or_else(|| MstError::MissingBlock(Box::new(*cid)))?;
        let node = RawNode::decode(block.as_ref())?;
        let layer = node.layer(layer)?;
        self.path.push(Level { layer, kid: node.left, entries: node.entries.into_iter() });
        Ok(())
    }

    fn step(&mut self) -> Result<Option<(String, Cid)>, MstError> {
        if let Some(root) = self.root.take() {
            self.enter(&root, None)?;
        }
        while let Some(level) = self.path.last_mut() {
            if let Some(cid) = level.kid.take() {
                let below = level.layer.checked_sub(1).ok_or(MstError::Layer)?;
                self.hollow = true;
                self.enter(&cid, Some(below))?;
                continue;
            }
            let layer = level.layer;
            let Some(entry) = level.entries.next() else {
                self.path.pop();
                if self.hollow {
                    return Err(MstError::Empty);
                }
                continue;
            };
            level.kid = entry.right;
            self.hollow = false;
            if self.last.as_ref().is_some_and(|last| *last >= entry.key) {
                return Err(MstError::Key);
            }
            if key_layer(&entry.key) != layer {
                return Err(MstError::Layer);
            }
            let key = String::from_utf8(entry.key.to_vec()).map_err(|_| MstError::Key)?;
            self.last = Some(entry.key);
            return Ok(Some((key, entry.value)));
        }
        Ok(None)
    }
}

impl<B: AsRef<[u8]>, F: FnMut(&Cid) -> Option<B>> Iterator for Walk<F> {
    type Item = Result<(String, Cid), MstError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.step() {
            Ok(item) => item.map(Ok),
            Err(error) => {
                self.path.clear();
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::mst::{empty_root, node};
    use crate::repo::testing::TestTree;
    use crate::syntax::cid;
    use std::collections::BTreeMap;

    fn records(n: u64) -> BTreeMap<String, Cid> {
        (0..n).map(|i| (format!("a.b.c/{i:05}"), cid::for_record(&i.to_be_bytes()))).collect()
    }

    fn walk(
        root: Cid,
        blocks: &std::collections::HashMap<Cid, Vec<u8>>,
    ) -> Result<Vec<(String, Cid)>, MstError> {
        Walk::new(root, |cid| blocks.get(cid)).collect()
    }

    #[test]
    fn gives_every_record_in_order() {
        for n in [0, 1, 2, 1000] {
            let records = records(n);
            let tree = TestTree::build(&records);
            assert_eq!(walk(tree.root, &tree.blocks), Ok(records.into_iter().collect()), "{n}");
        }
        let empty = TestTree::build(&BTreeMap::new());
        assert_eq!(empty.root, empty_root());
    }

    #[test]
    fn any_missing_block_is_noticed() {
        let tree = TestTree::build(&records(300));
        for dropped in tree.blocks.keys() {
            let result: Result<Vec<_>, _> =
                Walk::new(
                    tree.root,
                    |cid| if cid == dropped { None } else { tree.blocks.get(cid) },
                )
                .collect();
            assert_eq!(result, Err(MstError::MissingBlock(Box::new(*dropped))));
        }
    }

    #[test]
    fn malformed_trees_end_with_an_error() {
        let v = cid::for_record(b"v");
        let at = |layer: u32, n: usize| {
            let mut keys =
                (0..).map(|i| format!("a.b.c/{i:06}")).filter(|k| key_layer(k.as_bytes()) == layer);
            keys.nth(n).unwrap()
        };
        let (a, b, high) = (at(0, 0), at(0, 1), at(2, 0));
        let leaf = node::encode(None, [(a.as_bytes(), &v, None)].into_iter());
        let mut blocks = std::collections::HashMap::from([(v, leaf.clone())]);
        let mut root = |block: Vec<u8>| {
            let root = cid::for_record(&block);
            blocks.insert(root, block);
            walk(root, &blocks).err()
        };
        let leafs = |e: &[(&str, Option<&Cid>)], left: Option<&Cid>| {
            node::encode(
                left,
                e.iter().map(|(k, r)| (k.as_bytes(), &v, *r)).collect::<Vec<_>>().into_iter(),
            )
        };
        assert_eq!(root(leafs(&[(&a, None), (&b, None)], None)), None);
        assert_eq!(root(leafs(&[(&b, None), (&a, None)], None)), Some(MstError::Key), "order");
        assert_eq!(root(leafs(&[(&a, None), (&a, None)], None)), Some(MstError::Key), "twice");
        assert_eq!(root(leafs(&[("nokey", None)], None)), Some(MstError::Key), "no slash");
        assert_eq!(root(leafs(&[(&a, Some(&v))], None)), Some(MstError::Layer), "below layer 0");
        assert_eq!(
            root(leafs(&[(&high, None)], Some(&v))),
            Some(MstError::Layer),
            "child skips a layer"
        );
        assert_eq!(root(leafs(&[], Some(&v))), Some(MstError::Empty), "root without keys");
        let prefix = {
            // The second entry shares nothing though it could.
            let mut block = leafs(&[(&a, None)], None);
            block[3] = 0x82;
            let entry = block[4..block.len() - 3].to_vec();
            let tail = block.split_off(block.len() - 3);
            block.extend(entry);
            block.extend(tail);
            block
        };
        assert!(matches!(root(prefix), Some(MstError::Key | MstError::Decode(_))));
    }

    #[test]
    fn lying_sources_cannot_loop() {
        let v = cid::for_record(b"v");
        let key =
            (0..).map(|i| format!("a.b.c/{i}")).find(|k| key_layer(k.as_bytes()) == 4).unwrap();
        let node = node::encode(Some(&v), [(key.as_bytes(), &v, Some(&v))].into_iter());
        assert_eq!(Walk::new(v, |_| Some(&node)).last().unwrap(), Err(MstError::Layer));
    }
}
