//! Taking operations back out of a partial tree (sync 1.1).
//!
//! Nodes are loaded when an operation reaches them and stay a CID otherwise; after the last operation only the touched
//! path is hashed again. A node keeps the layer of its keys, so an operation whose key sits at the wrong layer fails
//! rather than proving a malformed tree.

use std::cell::Cell;

use super::node::{self, RawNode};
use super::{MstError, key_layer};
use crate::syntax::{Cid, cid};

/// One operation, as the tree sees it: `cid` without `prev` is a create, both an update, `prev` alone a delete.
#[derive(Debug, Clone, Copy)]
pub struct MstOp<'a> {
    /// `collection/rkey`.
    pub key: &'a str,
    /// Value after the commit.
    pub cid: Option<Cid>,
    /// Value before the commit.
    pub prev: Option<Cid>,
}

/// The root before the commit: `root` with every operation undone, last first. Each operation must agree with the tree,
/// and `block` must give every node that undoing touches.
pub fn invert<B: AsRef<[u8]>>(
    root: &Cid,
    ops: &[MstOp<'_>],
    block: impl Fn(&Cid) -> Option<B>,
) -> Result<Cid, MstError> {
    let loader = Loader { block };
    let mut tree = loader.node(root, None)?;
    for op in ops.iter().rev() {
        let key = op.key.as_bytes();
        let layer = key_layer(key);
        tree = match (&op.cid, &op.prev) {
            (Some(new), Some(prev)) => {
                loader.replace(&mut tree, key, layer, new, prev)?;
                tree
            }
            (Some(new), None) => {
                loader.remove(&mut tree, key, layer, new)?;
                loader.trim(tree)?
            }
            (None, Some(prev)) => loader.insert_root(tree, key, layer, prev)?,
            (None, None) => return Err(MstError::Mismatch),
        };
    }
    Ok(tree.cid())
}

/// Whether the tree has `key` with this value, or, with `None`, whether it lacks the key.
pub fn contains<B: AsRef<[u8]>>(
    root: &Cid,
    key: &str,
    value: Option<&Cid>,
    block: impl Fn(&Cid) -> Option<B>,
) -> Result<bool, MstError> {
    Ok(find(root, key, block)?.as_ref() == value)
}

/// The value of `key`; `None` when the tree lacks it. Reads the nodes on the way to where it is or would be.
pub fn find<B: AsRef<[u8]>>(
    root: &Cid,
    key: &str,
    block: impl Fn(&Cid) -> Option<B>,
) -> Result<Option<Cid>, MstError> {
    let loader = Loader { block };
    let mut node = loader.node(root, None)?;
    loop {
        let i = match node.position(key.as_bytes()) {
            Ok(i) => return Ok(node.leaves.get(i).map(|leaf| leaf.value)),
            Err(i) => i,
        };
        let kid = std::mem::take(node.slot(i));
        match (kid, node.layer.checked_sub(1)) {
            (Kid::None, _) | (_, None) => return Ok(None),
            (kid, Some(below)) => node = loader.open(kid, below)?,
        }
    }
}

#[derive(Default)]
enum Kid {
    #[default]
    None,
    /// Known by its CID only.
    Stub(Cid),
    Node(Box<Node>),
}

struct Leaf {
    key: Box<[u8]>,
    value: Cid,
    right: Kid,
}

struct Node {
    layer: u32,
    left: Kid,
    leaves: Vec<Leaf>,
    /// The CID of an unchanged node.
    clean: Cell<Option<Cid>>,
}

impl Node {
    fn new(layer: u32, left: Kid, leaves: Vec<Leaf>) -> Box<Node> {
        Box::new(Node { layer, left, leaves, clean: Cell::new(None) })
    }

    fn position(&self, key: &[u8]) -> Result<usize, usize> {
        self.leaves.binary_search_by(|leaf| leaf.key.as_ref().cmp(key))
    }

    /// The subtree just before leaf `i`.
    fn slot(&mut self, i: usize) -> &mut Kid {
        match i.checked_sub(1).and_then(|i| self.leaves.get_mut(i)) {
            Some(leaf) => &mut leaf.right,
            None => &mut self.left,
        }
    }

    /// A changed node as a subtree; nothing if it holds nothing.
    fn into_kid(self: Box<Node>) -> Kid {
        if self.leaves.is_empty() && matches!(self.left, Kid::None) {
            Kid::None
        } else {
            Kid::Node(self)
        }
    }

    fn cid(&self) -> Cid {
        if let Some(cid) = self.clean.get() {
            return cid;
        }
        let left = self.left.cid();
        let rights: Vec<Option<Cid>> = self.leaves.iter().map(|leaf| leaf.right.cid()).collect();
        let entries = self
            .leaves
            .iter()
            .zip(&rights)
            .map(|(leaf, right)| (leaf.key.as_ref(), &leaf.value, right.as_ref()));
        let cid = cid::for_record(&node::encode(left.as_ref(), entries));
        self.clean.set(Some(cid));
        cid
    }
}

impl Kid {
    fn cid(&self) -> Option<Cid> {
        match self {
            Kid::None => None,
            Kid::Stub(cid) => Some(*cid),
            Kid::Node(node) => Some(node.cid()),
        }
    }
}

impl From<Option<Cid>> for Kid {
    fn from(cid: Option<Cid>) -> Kid {
        cid.map_or(Kid::None, Kid::Stub)
    }
}

struct Loader<F> {
    block: F,
}

impl<B: AsRef<[u8]>, F: Fn(&Cid) -> Option<B>> Loader<F> {
    fn node(&self, cid: &Cid, layer: Option<u32>) -> Result<Box<Node>, MstError> {
        let block = (self.block)(cid).ok_or_else(|| MstError::MissingBlock(Box::new(*cid)))?;
        let raw = RawNode::decode(block.as_ref())?;
        let layer = raw.layer(layer)?;
        let leaves = raw
            .entries
            .into_iter()
            .map(|entry| Leaf { key: entry.key, value: entry.value, right: entry.right.into() })
            .collect();
        let node = Node::new(layer, raw.left.into(), leaves);
        node.clean.set(Some(*cid));
        Ok(node)
    }

    /// The node of a subtree that is not `None`.
    fn open(&self, kid: Kid, layer: u32) -> Result<Box<Node>, MstError> {
        match kid {
            Kid::None => Err(MstError::Mismatch),
            Kid::Stub(cid) => self.node(&cid, Some(layer)),
            Kid::Node(node) => Ok(node),
        }
    }

    fn replace(
        &self,
        node: &mut Node,
        key: &[u8],
        layer: u32,
        from: &Cid,
        to: &Cid,
    ) -> Result<(), MstError> {
        match node.position(key) {
            Ok(i) => {
                let leaf = node.leaves.get_mut(i).filter(|leaf| leaf.value == *from);
                leaf.ok_or(MstError::Mismatch)?.value = *to;
                same_layer(node, layer)?;
            }
            Err(i) => {
                let below = below(node, layer)?;
                let mut kid = self.open(std::mem::take(node.slot(i)), below)?;
                self.replace(&mut kid, key, layer, from, to)?;
                *node.slot(i) = Kid::Node(kid);
            }
        }
        node.clean.set(None);
        Ok(())
    }

    fn remove(&self, node: &mut Node, key: &[u8], layer: u32, value: &Cid) -> Result<(), MstError> {
        match node.position(key) {
            Ok(i) => {
                same_layer(node, layer)?;
                let leaf = node.leaves.remove(i);
                if leaf.value != *value {
                    return Err(MstError::Mismatch);
                }
                let left = std::mem::take(node.slot(i));
                *node.slot(i) = self.merge(left, leaf.right, node.layer)?;
            }
            Err(i) => {
                let below = below(node, layer)?;
                let mut kid = self.open(std::mem::take(node.slot(i)), below)?;
                self.remove(&mut kid, key, layer, value)?;
                *node.slot(i) = kid.into_kid();
            }
        }
        node.clean.set(None);
        Ok(())
    }

    /// Joins two neighbouring subtrees below a node of layer `parent`.
    fn merge(&self, left: Kid, right: Kid, parent: u32) -> Result<Kid, MstError> {
        let (left, right) = match (left, right) {
            (Kid::None, kid) | (kid, Kid::None) => return Ok(kid),
            both => both,
        };
        let layer = parent.checked_sub(1).ok_or(MstError::Layer)?;
        let mut left = self.open(left, layer)?;
        let mut right = self.open(right, layer)?;
        let end = left.leaves.len();
        let inner = std::mem::take(left.slot(end));
        *left.slot(end) = self.merge(inner, std::mem::take(&mut right.left), layer)?;
        left.leaves.append(&mut right.leaves);
        left.clean.set(None);
        Ok(Kid::Node(left))
    }

    /// Drops roots without keys, which a removal can leave.
    fn trim(&self, mut root: Box<Node>) -> Result<Box<Node>, MstError> {
        while root.leaves.is_empty() {
            root = match std::mem::take(&mut root.left) {
                Kid::None => Node::new(0, Kid::None, Vec::new()),
                kid => {
                    let below = root.layer.checked_sub(1).ok_or(MstError::Layer)?;
                    self.open(kid, below)?
                }
            };
            if root.leaves.is_empty() && matches!(root.left, Kid::None) {
                break;
            }
        }
        Ok(root)
    }

    fn insert_root(
        &self,
        mut root: Box<Node>,
        key: &[u8],
        layer: u32,
        value: &Cid,
    ) -> Result<Box<Node>, MstError> {
        let empty = root.leaves.is_empty() && matches!(root.left, Kid::None);
        if empty {
            root = Node::new(layer, Kid::None, Vec::new());
        }
        if layer <= root.layer {
            self.insert(&mut root, key, layer, value)?;
            return Ok(root);
        }
        let from = root.layer;
        let (low, high) = self.split(Kid::Node(root), key, from)?;
        let leaf = Leaf { key: key.into(), value: *value, right: lift(high, from, layer) };
        Ok(Node::new(layer, lift(low, from, layer), vec![leaf]))
    }

    fn insert(&self, node: &mut Node, key: &[u8], layer: u32, value: &Cid) -> Result<(), MstError> {
        let i = match node.position(key) {
            Ok(_) => return Err(MstError::Mismatch),
            Err(i) => i,
        };
        if node.layer == layer {
            let (low, high) = match std::mem::take(node.slot(i)) {
                Kid::None => (Kid::None, Kid::None),
                kid => self.split(kid, key, layer.checked_sub(1).ok_or(MstError::Layer)?)?,
            };
            *node.slot(i) = low;
            node.leaves.insert(i, Leaf { key: key.into(), value: *value, right: high });
        } else {
            let below = below(node, layer)?;
            let mut kid = match std::mem::take(node.slot(i)) {
                Kid::None => Node::new(below, Kid::None, Vec::new()),
                kid => self.open(kid, below)?,
            };
            self.insert(&mut kid, key, layer, value)?;
            *node.slot(i) = Kid::Node(kid);
        }
        node.clean.set(None);
        Ok(())
    }

    /// The parts of a subtree below and above `key`, which it must not hold.
    fn split(&self, kid: Kid, key: &[u8], layer: u32) -> Result<(Kid, Kid), MstError> {
        let mut node = self.open(kid, layer)?;
        let i = match node.position(key) {
            Ok(_) => return Err(MstError::Mismatch),
            Err(i) => i,
        };
        let (low, high) = match std::mem::take(node.slot(i)) {
            Kid::None => (Kid::None, Kid::None),
            kid => self.split(kid, key, layer.checked_sub(1).ok_or(MstError::Layer)?)?,
        };
        let above = Node::new(layer, high, node.leaves.split_off(i));
        *node.slot(i) = low;
        node.clean.set(None);
        Ok((node.into_kid(), above.into_kid()))
    }
}

fn same_layer(node: &Node, layer: u32) -> Result<(), MstError> {
    if node.layer == layer { Ok(()) } else { Err(MstError::Layer) }
}

/// The layer of a node's children, which must be able to hold a key of `layer`.
fn below(node: &Node, layer: u32) -> Result<u32, MstError> {
    node.layer.checked_sub(1).filter(|below| *below >= layer).ok_or(MstError::Mismatch)
}

/// Wraps a subtree of layer `from` so that it fits under a node of layer `parent`.
fn lift(mut kid: Kid, from: u32, parent: u32) -> Kid {
    if matches!(kid, Kid::None) {
        return kid;
    }
    for layer in from + 1..parent {
        kid = Kid::Node(Node::new(layer, kid, Vec::new()));
    }
    kid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::testing::TestTree;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn value(n: u64) -> Cid {
        cid::for_record(&n.to_be_bytes())
    }

    /// Inverts from old to new state and returns the blocks that were asked for.
    fn check(old: &BTreeMap<String, Cid>, new: &BTreeMap<String, Cid>) -> Vec<Cid> {
        let (before, after) = (TestTree::build(old), TestTree::build(new));
        let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let ops: Vec<MstOp<'_>> = keys
            .into_iter()
            .map(|key| MstOp { key, cid: new.get(key).copied(), prev: old.get(key).copied() })
            .filter(|op| op.cid != op.prev)
            .collect();
        let asked = std::cell::RefCell::new(Vec::new());
        let root = invert(&after.root, &ops, |cid| {
            asked.borrow_mut().push(*cid);
            after.blocks.get(cid).cloned()
        });
        assert_eq!(root, Ok(before.root));
        for op in &ops {
            let get = |cid: &Cid| after.blocks.get(cid).cloned();
            assert_eq!(contains(&after.root, op.key, op.cid.as_ref(), get), Ok(true));
            let wrong = MstOp { cid: Some(value(u64::MAX)), ..*op };
            assert!(
                invert(&after.root, &[wrong], get).is_err(),
                "claims what the tree does not say"
            );
        }
        asked.into_inner()
    }

    #[test]
    fn interop_fixtures_invert_with_the_blocks_they_name() {
        let cases: serde_json::Value = serde_json::from_str(include_str!(
            "../../../tests/fixtures/commit-proof-fixtures.json"
        ))
        .unwrap();
        for case in cases.as_array().unwrap() {
            let leaf = Cid::try_from(case["leafValue"].as_str().unwrap()).unwrap();
            let list =
                |name: &str| -> Vec<String> { serde_json::from_value(case[name].clone()).unwrap() };
            let old: BTreeMap<String, Cid> = list("keys").into_iter().map(|k| (k, leaf)).collect();
            let mut new = old.clone();
            new.extend(list("adds").into_iter().map(|k| (k, leaf)));
            for key in list("dels") {
                new.remove(&key);
            }
            let comment = case["comment"].as_str().unwrap();
            let roots =
                (TestTree::build(&old).root.to_string(), TestTree::build(&new).root.to_string());
            assert_eq!(roots.0, case["rootBeforeCommit"].as_str().unwrap(), "{comment}");
            assert_eq!(roots.1, case["rootAfterCommit"].as_str().unwrap(), "{comment}");
            let proof = list("blocksInProof");
            for cid in check(&old, &new) {
                assert!(proof.contains(&cid.to_string()), "{comment}: needs {cid}");
            }
        }
    }

    #[test]
    fn a_missing_block_is_named() {
        let new: BTreeMap<String, Cid> =
            (0..200).map(|i| (format!("a.b.c/{i:04}"), value(i))).collect();
        let tree = TestTree::build(&new);
        let op = MstOp { key: "a.b.c/0007", cid: Some(value(7)), prev: None };
        let mut errors = 0;
        for dropped in tree.blocks.keys() {
            match invert(&tree.root, &[op], |cid| {
                (cid != dropped).then(|| tree.blocks[cid].clone())
            }) {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error, MstError::MissingBlock(Box::new(*dropped)));
                    errors += 1;
                }
            }
        }
        assert!(errors > 1);
    }

    #[test]
    fn wrong_layer_is_refused() {
        // A layer 0 key in a node of its own, then claimed as the child of nothing: a root one too high.
        let key =
            (0..).map(|i| format!("a.b.c/{i}")).find(|k| key_layer(k.as_bytes()) == 1).unwrap();
        let low =
            (0..).map(|i| format!("a.b.c/{i}")).find(|k| key_layer(k.as_bytes()) == 0).unwrap();
        let (mut keys, v) = (vec![key.as_bytes(), low.as_bytes()], value(1));
        keys.sort();
        let block = node::encode(None, keys.iter().map(|k| (*k, &v, None)));
        let root = cid::for_record(&block);
        for key in [&key, &low] {
            let op = MstOp { key, cid: Some(v), prev: None };
            let result = invert(&root, &[op], |_| Some(block.clone()));
            let first = keys[0] == key.as_bytes();
            assert!(first || result == Err(MstError::Layer), "{key}");
        }
    }

    #[test]
    fn self_reference_ends() {
        // A node cannot contain its own hash; a source that lies about blocks can still pretend it.
        let v = value(1);
        let key =
            (0..).map(|i| format!("a.b.c/{i}")).find(|k| key_layer(k.as_bytes()) == 3).unwrap();
        let block = node::encode(Some(&v), [(key.as_bytes(), &v, Some(&v))].into_iter());
        let op = MstOp { key: "a.b.c/zzz", cid: None, prev: Some(v) };
        assert!(invert(&v, &[op], |_| Some(block.clone())).is_err());
        let hollow = node::encode(Some(&v), std::iter::empty());
        assert_eq!(invert(&v, &[op], |_| Some(hollow.clone())), Err(MstError::Empty));
    }

    fn record_key() -> impl Strategy<Value = String> {
        (0u32..400).prop_map(|n| format!("com.example.x/{n:03}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn inverting_gives_the_tree_before(
            old in prop::collection::btree_map(record_key(), 0u64..4, 0..120),
            changes in prop::collection::btree_map(record_key(), prop::option::of(0u64..4), 0..20),
        ) {
            let old: BTreeMap<String, Cid> = old.into_iter().map(|(k, v)| (k, value(v))).collect();
            let mut new = old.clone();
            for (key, change) in changes {
                match change {
                    Some(n) => drop(new.insert(key, value(n))),
                    None => drop(new.remove(&key)),
                }
            }
            check(&old, &new);
        }

        #[test]
        fn garbage_nodes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let op = MstOp { key: "a/b", cid: None, prev: Some(value(1)) };
            let _ = invert(&value(0), &[op], |_| Some(bytes.clone()));
        }
    }
}
