//! Timestamp identifiers: 13 characters of sortable base 32 that hold 53 bits of microseconds and 10 of clock id.

use std::fmt;

/// Length of every TID in characters.
pub const LEN: usize = 13;

const ALPHABET: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
const BAD: u8 = 0xff;
const DECODE: [u8; 256] = decode_table();

#[allow(clippy::indexing_slicing, reason = "const table; an overrun does not compile")]
const fn decode_table() -> [u8; 256] {
    let mut table = [BAD; 256];
    let mut i = 0;
    while i < 32 {
        table[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    table
}

/// A TID with its top bit clear, so it equals its text in both directions and sorts as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tid(u64);

impl Tid {
    /// Reads the canonical text form; `None` for anything that would not format back to the same text.
    pub fn parse(text: &str) -> Option<Tid> {
        let value = decode(text.as_bytes())?;
        Tid::from_u64(value)
    }

    /// The 63-bit value: microseconds since the epoch, then ten bits of clock id.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// `None` if the top bit is set.
    pub fn from_u64(value: u64) -> Option<Tid> {
        (value >> 63 == 0).then_some(Tid(value))
    }

    /// Builds a TID; only 53 bits of `us` and 10 bits of `clock_id` are kept.
    pub fn from_micros(us: u64, clock_id: u16) -> Tid {
        Tid(((us << 10) | u64::from(clock_id & 0x3ff)) & (u64::MAX >> 1))
    }

    /// Microseconds since the epoch.
    pub fn micros(self) -> u64 {
        self.0 >> 10
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'2'; LEN];
        let mut rest = self.0;
        for slot in text.iter_mut().rev() {
            if let Some(c) = ALPHABET.get((rest & 31) as usize) {
                *slot = *c;
            }
            rest >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// Whether the text has TID syntax. Wider than [`Tid::parse`]: the reference also accepts a set top bit.
pub fn is_tid(text: &str) -> bool {
    decode(text.as_bytes()).is_some()
}

fn decode(text: &[u8]) -> Option<u64> {
    let text: &[u8; LEN] = text.try_into().ok()?;
    let mut value = 0u64;
    for c in text {
        let digit = *DECODE.get(usize::from(*c))?;
        // 13 digits are 65 bits; the first may use four of its five.
        if digit == BAD || value >> 59 != 0 {
            return None;
        }
        value = (value << 5) | u64::from(digit);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_vectors() {
        for text in
            ["3jzfcijpj2z2a", "7777777777777", "3zzzzzzzzzzzz", "2222222222222", "jzzzzzzzzzzzz"]
        {
            assert!(is_tid(text), "{text}");
        }
        for text in [
            "3jzfcijpj2z21",
            "0000000000000",
            "3jzfcijpj2z2aa",
            "3jzfcijpj2z2",
            "3jzf-cij-pj2z-2a",
            "zzzzzzzzzzzzz",
            "kjzfcijpj2z2a",
            "3JZFCIJPJ2Z2A",
            "",
        ] {
            assert!(!is_tid(text), "{text}");
            assert_eq!(Tid::parse(text), None);
        }
        assert_eq!(Tid::parse("jzzzzzzzzzzzz"), None, "top bit set");
        assert_eq!(Tid::parse("bzzzzzzzzzzzz").unwrap().as_u64(), u64::MAX >> 1);
    }

    #[test]
    fn known_time() {
        let tid = Tid::from_micros(1_704_067_200_000_000, 5);
        assert_eq!(tid.micros(), 1_704_067_200_000_000);
        assert_eq!(Tid::parse(&tid.to_string()), Some(tid));
        assert_eq!(Tid::parse("3jzfcijpj2z2a").unwrap().micros(), 1_688_137_381_887_007);
    }

    proptest::proptest! {
        #[test]
        fn text_and_value_agree(a in 0u64..1 << 63, b in 0u64..1 << 63) {
            let (x, y) = (Tid::from_u64(a).unwrap(), Tid::from_u64(b).unwrap());
            assert_eq!(Tid::parse(&x.to_string()), Some(x));
            assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
        }
    }
}
