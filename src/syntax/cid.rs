//! Content identifiers. The protocol blesses one shape: CIDv1, sha2-256, codec dag-cbor or raw, base32 as text.

pub use ::cid::Cid;
use ::cid::multihash::Multihash;
use sha2::{Digest, Sha256};

/// Multicodec of DAG-CBOR: records, commits, tree nodes.
pub const DAG_CBOR: u64 = 0x71;
/// Multicodec of raw bytes: blobs.
pub const RAW: u64 = 0x55;
/// Multihash code of SHA2-256.
pub const SHA2_256: u64 = 0x12;
/// Length of a blessed CID in binary.
pub const BINARY_LEN: usize = 36;

const TEXT_LEN: usize = 59;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The CID of a DAG-CBOR block.
pub fn for_record(block: &[u8]) -> Cid {
    for_digest(DAG_CBOR, &Sha256::digest(block).into())
}

/// The CID of a blob.
pub fn for_raw(bytes: &[u8]) -> Cid {
    for_digest(RAW, &Sha256::digest(bytes).into())
}

/// The CIDv1 with this codec and SHA2-256 digest.
pub fn for_digest(codec: u64, digest: &[u8; 32]) -> Cid {
    // Wrapping fails only for digests above 64 bytes.
    let hash = Multihash::wrap(SHA2_256, digest).unwrap_or_default();
    Cid::new_v1(codec, hash)
}

/// The SHA2-256 digest of a blessed CID.
pub fn digest(cid: &Cid) -> Option<[u8; 32]> {
    let hash = cid.hash();
    (hash.code() == SHA2_256).then(|| hash.digest().try_into().ok()).flatten()
}

/// Reads the 36-byte binary form of a blessed CID; `None` for every other kind.
pub fn from_binary(bytes: &[u8]) -> Option<Cid> {
    let bytes: &[u8; BINARY_LEN] = bytes.try_into().ok()?;
    let [1, codec, 0x12, 0x20, digest @ ..] = bytes else { return None };
    let codec = u64::from(*codec);
    (codec == DAG_CBOR || codec == RAW).then(|| for_digest(codec, digest))
}

/// The 36-byte binary form of a blessed CID.
pub fn to_binary(cid: &Cid) -> Option<[u8; BINARY_LEN]> {
    let mut out = [0; BINARY_LEN];
    let codec = match cid.codec() {
        DAG_CBOR => 0x71,
        RAW => 0x55,
        _ => return None,
    };
    let (head, tail) = out.split_at_mut(4);
    head.copy_from_slice(&[1, codec, 0x12, 0x20]);
    tail.copy_from_slice(&digest(cid)?);
    Some(out)
}

/// Reads the base32 text of a blessed CID (`bafyrei...`, `bafkrei...`), and no other spelling.
pub fn parse_strict(text: &str) -> Option<Cid> {
    let text: &[u8; TEXT_LEN] = text.as_bytes().try_into().ok()?;
    let [b'b', digits @ ..] = text else { return None };
    let mut out = [0u8; BINARY_LEN];
    let mut slots = out.iter_mut();
    let (mut bits, mut held) = (0u32, 0u32);
    for c in digits {
        let digit = match c {
            b'a'..=b'z' => c - b'a',
            b'2'..=b'7' => c - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(digit);
        held += 5;
        if held >= 8 {
            held -= 8;
            *slots.next()? = (bits >> held) as u8;
            bits &= (1 << held) - 1;
        }
    }
    // Two padding bits remain; a second spelling of one CID must not pass.
    if bits != 0 {
        return None;
    }
    from_binary(&out)
}

/// The base32 text.
pub fn to_base32(cid: &Cid) -> String {
    let Some(bytes) = to_binary(cid) else { return cid.to_string() };
    let mut text = String::with_capacity(TEXT_LEN);
    text.push('b');
    let (mut bits, mut held) = (0u32, 0u32);
    let mut push = |index: u32| {
        if let Some(c) = ALPHABET.get((index & 31) as usize) {
            text.push(char::from(*c));
        }
    };
    for byte in bytes {
        bits = (bits << 8) | u32::from(byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            push(bits >> held);
        }
        bits &= (1 << held) - 1;
    }
    push(bits << (5 - held));
    text
}

/// Whether the text passes the lexicon's `cid` format: any CID in its own canonical spelling, blessed or not.
pub fn is_cid(text: &str) -> bool {
    parse_strict(text).is_some()
        || (text.len() <= 256
            && text.starts_with(['b', 'Q'])
            && Cid::try_from(text).is_ok_and(|cid| cid.to_string() == text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_binary_round_trip() {
        for text in [
            "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
            "bafkreig77vqcdozl2wyk6z3cscaj5q5fggi53aoh64fewkdiri3cdauyn4",
        ] {
            let cid = parse_strict(text).unwrap();
            assert_eq!(cid, Cid::try_from(text).unwrap());
            assert_eq!(to_base32(&cid), text);
            assert_eq!(to_binary(&cid).unwrap().to_vec(), cid.to_bytes());
            assert_eq!(from_binary(&cid.to_bytes()), Some(cid));
            assert!(is_cid(text));
        }
    }

    #[test]
    fn hashes_what_it_is_given() {
        assert_eq!(
            to_base32(&for_raw(b"")),
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        );
        assert_eq!(for_record(b"x").hash(), for_raw(b"x").hash());
        assert_ne!(for_record(b"x"), for_raw(b"x"));
    }

    #[test]
    fn refuses_other_shapes() {
        let good = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";
        let upper = good.to_uppercase();
        let padded = format!("{}b", &good[..58]);
        for text in [
            "",
            "b",
            &good[..58],
            &upper,
            &padded,
            "QmY7Yh4UquoXHLPFo2XbhXkhBvFoPwmQUSa92pxnxjQuPU",
        ] {
            assert_eq!(parse_strict(text), None, "{text}");
        }
        assert!(is_cid("QmY7Yh4UquoXHLPFo2XbhXkhBvFoPwmQUSa92pxnxjQuPU"));
        assert!(!is_cid(&upper));
        assert!(!is_cid("zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA"));
    }
}
