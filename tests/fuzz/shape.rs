//! Inputs that say something else and are well written all the same: one value is another, is gone or is there many
//! times, and what holds the whole together (hashes, links, signatures) is made good again. Chance never gets that far.

use std::collections::BTreeMap;

use aerie::repo::dag_cbor::{self, Ipld, from_json, to_json};
use aerie::syntax::{Cid, cid};
use flate2::Crc;

use crate::corpus;
use crate::mutate::Numbers;

/// One value of these bytes is another.
pub(crate) fn cbor(bytes: &[u8], n: &mut Numbers) -> Vec<u8> {
    let Ok(mut value) = dag_cbor::decode(bytes) else { return bytes.to_vec() };
    change(&mut value, n);
    dag_cbor::encode(&value)
}

pub(crate) fn json(bytes: &[u8], n: &mut Numbers) -> Vec<u8> {
    let Ok(value) = serde_json::from_slice(bytes) else { return bytes.to_vec() };
    let mut value = from_json(&value);
    change(&mut value, n);
    to_json(&value).to_string().into_bytes()
}

/// JSON behind the number of a method.
pub(crate) fn input(bytes: &[u8], n: &mut Numbers) -> Vec<u8> {
    let Some((method, body)) = bytes.split_first() else { return Vec::new() };
    [&[*method], json(body, n).as_slice()].concat()
}

/// A block says something else.
pub(crate) fn car(bytes: &[u8], n: &mut Numbers) -> Vec<u8> {
    let mut parts = sections(bytes);
    change_block(&mut parts, n);
    joined(parts)
}

/// The header, the body or a block says something else.
pub(crate) fn frame(bytes: &[u8], n: &mut Numbers) -> Vec<u8> {
    let split = (1..bytes.len().min(100)).find(|at| dag_cbor::decode(&bytes[..*at]).is_ok());
    let (header, body) = bytes.split_at(split.unwrap_or(0));
    let body = dag_cbor::decode_within(body, 4 << 20);
    let (Ok(mut header), Ok(mut body)) = (dag_cbor::decode(header), body) else {
        return bytes.to_vec();
    };
    match (&mut body, n.below(8)) {
        (_, 0) => change(&mut header, n),
        (Ipld::Map(fields), 1..4) => {
            if let Some(Ipld::Bytes(blocks)) = fields.get_mut("blocks") {
                let mut parts = sections(blocks);
                let renamed = change_block(&mut parts, n);
                *blocks = joined(parts);
                renamed.iter().for_each(|names| rename(&mut body, names));
            }
        }
        _ => change(&mut body, n),
    }
    [dag_cbor::encode(&header), dag_cbor::encode(&body)].concat()
}

/// A picture claims another size or kind of pixels.
pub(crate) fn picture(bytes: &[u8], n: &mut Numbers) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut side = || *n.pick(&[1, 97, 300, 2000, 5000, 5000, 20_000, 65_535_u16]);
    let (width, height) = (side(), side());
    let frame = |marker| out.windows(2).position(|w| w == [0xff, marker]);
    if out.starts_with(b"\x89PNG") && out.len() > 29 {
        out[16..20].copy_from_slice(&u32::from(width).to_be_bytes());
        out[20..24].copy_from_slice(&u32::from(height).to_be_bytes());
        if n.below(3) == 0 {
            (out[24], out[25], out[28]) = (1 << n.below(5), n.below(7) as u8, n.below(2) as u8);
        }
    } else if out.starts_with(b"GIF") && out.len() > 10 {
        out[6..8].copy_from_slice(&width.to_le_bytes());
        out[8..10].copy_from_slice(&height.to_le_bytes());
    } else if let Some(at) = frame(0xc0).or(frame(0xc2)).filter(|at| at + 20 < bytes.len()) {
        out[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
        out[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
        if n.below(3) == 0 {
            out[at + 11] = n.next() as u8;
        }
        if n.below(3) == 0 {
            out[at + 1] = 0xc0 + n.below(3) as u8;
        }
    }
    checksums(out)
}

/// Chunks of a PNG with the checksums that they have now.
pub(crate) fn checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut at = 8;
    while bytes.starts_with(b"\x89PNG") {
        let Some(len) = bytes.get(at..at + 4).and_then(|len| len.try_into().ok()) else { break };
        let end = (at + 8).saturating_add(u32::from_be_bytes(len) as usize);
        let Some(chunk) = bytes.get(at + 4..end) else { break };
        let mut sum = Crc::new();
        sum.update(chunk);
        let Some(place) = bytes.get_mut(end..end + 4) else { break };
        place.copy_from_slice(&sum.sum().to_be_bytes());
        at = end + 4;
    }
    bytes
}

/// Bytes of a CAR that were changed anyhow, with its blocks named and its commit signed anew.
pub(crate) fn mended(bytes: Vec<u8>) -> Vec<u8> {
    let mut parts = sections(&bytes);
    make_good(&mut parts);
    joined(parts)
}

type Names = (Cid, Cid);

fn change_block(parts: &mut [Vec<u8>], n: &mut Numbers) -> Vec<Names> {
    let which = 1 + n.below(parts.len().saturating_sub(1));
    let Some(block) = parts.get_mut(which) else { return Vec::new() };
    if let Some((name, content)) = block.split_at_checked(36) {
        *block = [name, &cbor(content, n)].concat();
    }
    make_good(parts)
}

fn make_good(parts: &mut [Vec<u8>]) -> Vec<Names> {
    let mut renamed = rename_changed(parts);
    for part in parts.iter_mut().skip(1) {
        let Some((name, block)) = part.split_at_checked(36) else { continue };
        if let Ok(Ipld::Map(mut fields)) = dag_cbor::decode(block)
            && fields.remove("sig").is_some()
        {
            *part = [name, &corpus::signed(fields)].concat();
        }
    }
    renamed.extend(rename_changed(parts));
    renamed
}

/// Gives changed blocks the CIDs that they have now, wherever these are named.
fn rename_changed(parts: &mut [Vec<u8>]) -> Vec<Names> {
    let mut names = Vec::new();
    // A block that is named by another that is named by a third: trees of these are no higher.
    for _ in 0..8 {
        let before = names.len();
        for at in 1..parts.len() {
            let Some((old, block)) = parts[at].split_first_chunk::<36>() else { continue };
            let (old, new) = (*old, cid::for_record(block));
            if new.to_bytes() == old {
                continue;
            }
            for part in parts.iter_mut() {
                let places = part.windows(36).enumerate().filter(|(_, w)| *w == old);
                let places: Vec<usize> = places.map(|(at, _)| at).collect();
                for at in places {
                    part[at..at + 36].copy_from_slice(&new.to_bytes());
                }
            }
            names.extend(Cid::try_from(old.as_slice()).map(|old| (old, new)));
        }
        if names.len() == before {
            break;
        }
    }
    names
}

fn rename(value: &mut Ipld, (old, new): &Names) {
    match value {
        Ipld::Link(link) if link == old => *link = *new,
        Ipld::List(list) => list.iter_mut().for_each(|value| rename(value, &(*old, *new))),
        Ipld::Map(map) => map.values_mut().for_each(|value| rename(value, &(*old, *new))),
        _ => {}
    }
}

pub(crate) fn sections(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut parts) = (bytes, Vec::new());
    while let Some((len, after)) = varint(rest).filter(|(len, after)| *len <= after.len()) {
        let (section, after) = after.split_at(len);
        parts.push(section.to_vec());
        rest = after;
    }
    parts
}

fn joined(parts: Vec<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        let mut len = part.len();
        while len > 0x7f {
            out.push(len as u8 | 0x80);
            len >>= 7;
        }
        out.push(len as u8);
        out.extend(part);
    }
    out
}

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut len = 0;
    for (n, byte) in bytes.iter().enumerate().take(4) {
        len |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((len, &bytes[n + 1..]));
        }
    }
    None
}

fn count(value: &Ipld) -> usize {
    1 + match value {
        Ipld::List(list) => list.iter().map(count).sum(),
        Ipld::Map(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// The value of a number, counted from the outside in.
fn nth<'v>(value: &'v mut Ipld, left: &mut usize) -> Option<&'v mut Ipld> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Ipld::List(list) => list.iter_mut().find_map(|value| nth(value, left)),
        Ipld::Map(map) => map.values_mut().find_map(|value| nth(value, left)),
        _ => None,
    }
}

fn change(whole: &mut Ipld, n: &mut Numbers) {
    let (here, there) = (n.below(count(whole)), n.below(count(whole)));
    let other = nth(whole, &mut { there }).cloned().unwrap_or(Ipld::Null);
    let Some(value) = nth(whole, &mut { here }) else { return };
    if n.below(3) == 0 {
        *value = if n.below(3) == 0 { other } else { strange(n) };
        return;
    }
    match value {
        Ipld::Integer(i) => {
            *i = (*i + [1, -1, 1 << 32][n.below(3)]).clamp(-(1 << 63), (1 << 64) - 1)
        }
        Ipld::String(text) => {
            let at =
                text.char_indices().map(|(at, _)| at).nth(n.below(text.chars().count().max(1)));
            match n.below(4) {
                0 => text.truncate(at.unwrap_or(0)),
                1 => *text = text.repeat(1 << n.below(7)),
                2 => text.insert_str(
                    at.unwrap_or(0),
                    ["\0", "\u{10ffff}", "/", "%", " ", "-"][n.below(6)],
                ),
                _ => text.insert_str(at.unwrap_or(0), &at.unwrap_or(0).to_string()),
            }
        }
        Ipld::Bytes(bytes) => match n.below(3) {
            0 => bytes.truncate(n.below(bytes.len() + 1)),
            1 => bytes.extend_from_within(..n.below(bytes.len() + 1)),
            _ => {
                let at = n.below(bytes.len());
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << n.below(8));
            }
        },
        Ipld::List(list) => match n.below(4) {
            0 => drop(list.pop()),
            1 => list.reverse(),
            2 => list.push(other),
            _ => {
                *list = {
                    let most = (list.len() << n.below(7)).min(4000);
                    list.iter().cycle().take(most).cloned().collect()
                }
            }
        },
        Ipld::Map(map) => {
            let key = map.keys().nth(n.below(map.len().max(1))).cloned().unwrap_or_default();
            match n.below(3) {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert(key + "x", other)),
                _ => drop(map.insert(key, other)),
            }
        }
        value => *value = strange(n),
    }
}

fn strange(n: &mut Numbers) -> Ipld {
    let deep = |depth| (0..depth).fold(Ipld::Null, |value, _| Ipld::List(vec![value]));
    match n.below(12) {
        0 => Ipld::Null,
        1 => Ipld::Bool(n.below(2) == 0),
        2 => Ipld::Integer(
            [0, -1, 1 << 53, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63)][n.below(7)],
        ),
        3 => Ipld::Float(1.5),
        4 => Ipld::String(
            ["", "\0", "self", "../..", "at://", "did:plc:", "9999-12-31T23:59:59Z"][n.below(7)]
                .to_owned(),
        ),
        5 => Ipld::String("a".repeat(1 << n.below(15))),
        6 => Ipld::Bytes(vec![0; 1 << n.below(10)]),
        7 => Ipld::Link(cid::for_raw(b"")),
        8 => Ipld::Link(aerie::repo::mst::empty_root()),
        9 => Ipld::List(vec![Ipld::Map(BTreeMap::new()); n.below(300)]),
        10 => deep(n.below(100)),
        _ => Ipld::Map(BTreeMap::new()),
    }
}
