//! Inputs made from valid ones, by numbers: the same number gives the same input.

/// A generator of numbers (splitmix64): small, and the same everywhere.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// No input is longer.
pub(crate) const MAX: usize = 1 << 20;

/// Bytes that decoders branch on: CBOR heads and lengths, varints, JSON and text that is no text, ends of numbers.
const TOKENS: &[&[u8]] = &[
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\x9f",
    b"\xbf",
    b"\xf6",
    b"\xf5",
    b"\xfb\x7f\xf0\0\0\0\0\0\0",
    b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x5a\xff\xff\xff\xff",
    b"\x9a\xff\xff\xff\xff",
    b"\xba\xff\xff\xff\xff",
    b"\x7b\0\0\0\0\0\x0f\xff\xff",
    b"\xd8\x2a\x58\x25\0\x01\x71\x12\x20",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\0",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b":",
    b",",
    b"null",
    b"-0",
    b"1e999",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"0.1",
    b"$type",
    b"$link",
    b"$bytes",
    b"did:plc:",
    b"did:web:",
    b"at://",
    b"%",
    b"%00",
    b"%2e%2e%2f",
    b"..",
    b"/",
    b"::",
    b";",
    b"=",
    b"&",
    b"\xc3\x28",
    b"\xe2\x82\xac",
    b"\xf0\x9f\x98\x80",
    b"\xed\xa0\x80",
    b"9999-12-31T23:59:59Z",
    b"0000-01-01T00:00:00Z",
    b"2026-02-30T25:61:61.999999999+23:59",
    b"self",
    b"3kaaaaaaaaa2a",
    b"\xff\xd8",
    b"\xff\xda",
    b"\xff\xc4",
    b"IDAT",
    b"IHDR",
];

/// Repeated, these nest or list.
const REPEATED: &[&[u8]] = &[
    b"\x81",
    b"\xa1\x61a",
    b"[",
    b"{\"a\":",
    b"\x80",
    b"\0",
    b"a.",
    b"/a",
    b"a=b&",
    b"\"",
    b"0",
    b"\xff",
];

/// The input of a number.
pub(crate) fn input(corpus: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut n = Numbers::new(number);
    let mut bytes = n.pick(corpus).clone();
    match n.below(64) {
        0 => bytes = (0..n.below(600)).map(|_| n.next() as u8).collect(),
        1 => {
            let part = *n.pick(REPEATED);
            let times = 1 << n.below(17);
            let at = n.below(bytes.len() + 1);
            bytes.splice(at..at, part.repeat(times).into_iter().take(MAX / 4));
        }
        _ => {}
    }
    for _ in 0..=n.below(6) {
        change(&mut bytes, corpus, &mut n);
    }
    bytes.truncate(MAX);
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], n: &mut Numbers) {
    let (at, len) = (n.below(bytes.len() + 1), bytes.len());
    let reach = 1 << n.below(9);
    let to = (at + 1 + n.below(reach)).min(len);
    match n.below(10) {
        0 if at < len => bytes[at] ^= 1 << n.below(8),
        1 if at < len => bytes[at] = n.next() as u8,
        2 if at < len => bytes[at] = bytes[at].wrapping_add(if n.below(2) == 0 { 1 } else { 255 }),
        3 => drop(bytes.drain(at.min(to)..to)),
        4 => {
            let part = bytes[at.min(to)..to].to_vec();
            bytes.splice(at..at, part);
        }
        5 => {
            let other = n.pick(corpus);
            let from = n.below(other.len() + 1);
            let end = (from + n.below(200)).min(other.len());
            bytes.splice(at..at, other[from..end].iter().copied());
        }
        6 => drop(bytes.splice(at..at, n.pick(TOKENS).iter().copied())),
        7 => {
            let token = *n.pick(TOKENS);
            let end = (at + token.len()).min(len);
            bytes.splice(at..end, token.iter().copied());
        }
        8 if n.below(8) == 0 => bytes.truncate(at),
        _ if at < len => {
            let width = (1 << n.below(4)).min(len - at);
            let number = [0, 1, n.next(), u64::MAX, 1 << 31, len as u64][n.below(6)].to_be_bytes();
            bytes[at..at + width].copy_from_slice(&number[8 - width..]);
        }
        _ => {}
    }
}
