//! Builders for tests: a tree from a map, a CAR from blocks, a signed commit. Slow and obvious on purpose.

use std::collections::{BTreeMap, HashMap};

use super::cbor::{put_head, put_link, put_text};
use super::dag_cbor::{Ipld, encode};
use super::mst::key_layer;
use crate::crypto::PrivateKey;
use crate::syntax::{Cid, cid};

pub(crate) fn entry(key: &str, value: Ipld) -> (String, Ipld) {
    (key.to_owned(), value)
}

pub(crate) fn car<'a>(
    root: &Cid,
    blocks: impl IntoIterator<Item = (&'a Cid, &'a [u8])>,
) -> Vec<u8> {
    let mut header = Vec::new();
    put_head(&mut header, 5, 2);
    put_text(&mut header, "roots");
    put_head(&mut header, 4, 1);
    put_link(&mut header, root);
    put_text(&mut header, "version");
    put_head(&mut header, 0, 1);
    let mut out = Vec::new();
    let mut section = |parts: &[&[u8]]| {
        let mut len: usize = parts.iter().map(|p| p.len()).sum();
        while len > 0x7f {
            out.push(len as u8 | 0x80);
            len >>= 7;
        }
        out.push(len as u8);
        parts.iter().for_each(|p| out.extend(*p));
    };
    section(&[&header]);
    for (cid, block) in blocks {
        section(&[&cid.to_bytes(), block]);
    }
    out
}

pub(crate) fn commit(key: &PrivateKey, did: &str, rev: &str, data: &Cid) -> Vec<u8> {
    let mut map = BTreeMap::from([
        entry("did", Ipld::String(did.into())),
        entry("version", Ipld::Integer(3)),
        entry("data", Ipld::Link(*data)),
        entry("rev", Ipld::String(rev.into())),
        entry("prev", Ipld::Null),
    ]);
    let sig = key.sign(&encode(&Ipld::Map(map.clone())));
    map.insert("sig".into(), Ipld::Bytes(sig.to_vec()));
    encode(&Ipld::Map(map))
}

/// A whole tree built top down from its definition, unlike the code under test, which edits.
pub(crate) struct TestTree {
    pub(crate) root: Cid,
    pub(crate) blocks: HashMap<Cid, Vec<u8>>,
}

impl TestTree {
    pub(crate) fn build(records: &BTreeMap<String, Cid>) -> TestTree {
        let all: Vec<(&String, &Cid)> = records.iter().collect();
        let top = all.iter().map(|(k, _)| key_layer(k.as_bytes())).max().unwrap_or(0);
        let mut tree = TestTree { root: cid::for_record(b""), blocks: HashMap::new() };
        tree.root = tree.node(&all, top);
        tree
    }

    fn sub(&mut self, part: &[(&String, &Cid)], layer: u32) -> Ipld {
        if part.is_empty() { Ipld::Null } else { Ipld::Link(self.node(part, layer - 1)) }
    }

    fn node(&mut self, part: &[(&String, &Cid)], layer: u32) -> Cid {
        let own: Vec<usize> =
            (0..part.len()).filter(|i| key_layer(part[*i].0.as_bytes()) == layer).collect();
        let left = self.sub(&part[..own.first().copied().unwrap_or(part.len())], layer);
        let mut entries = Vec::new();
        let mut last = "";
        for (n, i) in own.iter().enumerate() {
            let (key, value) = part[*i];
            let end = own.get(n + 1).copied().unwrap_or(part.len());
            let shared = last.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
            entries.push(Ipld::Map(BTreeMap::from([
                entry("p", Ipld::Integer(shared as i128)),
                entry("k", Ipld::Bytes(key.as_bytes()[shared..].to_vec())),
                entry("v", Ipld::Link(*value)),
                entry("t", self.sub(&part[i + 1..end], layer)),
            ])));
            last = key;
        }
        let block =
            encode(&Ipld::Map(BTreeMap::from([entry("e", Ipld::List(entries)), entry("l", left)])));
        let cid = cid::for_record(&block);
        self.blocks.insert(cid, block);
        cid
    }
}
