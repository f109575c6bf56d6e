//! Columns of numbers, packed: as many bits for each as most of them need, and the few that need more beside.
//!
//! Numbers of one column are of one kind, so most need about the same number of bits, but one that is far off would make
//! all of them wide. The width is the one that gives the fewest bytes with those that do not fit counted in.

use crate::schema::bytes::{ByteReader, push_varint};

/// Bits of the widest column; what is wider stands beside.
const WIDEST: u32 = 56;

/// Appends the numbers. The reader has to know how many they are.
pub(super) fn push(out: &mut Vec<u8>, values: &[u64]) {
    let width = width(values);
    out.push(u8::try_from(width).unwrap_or_default());
    let (mut bits, mut held) = (0u64, 0u32);
    for value in values {
        bits |= (value & mask(width)) << held;
        held += width;
        while held >= 8 {
            out.push(bits.to_le_bytes()[0]);
            bits >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(bits.to_le_bytes()[0]);
    }
    let beside = values.iter().enumerate().filter(|(_, v)| *v >> width > 0);
    push_varint(out, beside.clone().count() as u64);
    let mut last = 0;
    for (n, value) in beside {
        push_varint(out, (n - last) as u64);
        push_varint(out, value >> width);
        last = n;
    }
}

/// Reads `count` numbers.
pub(super) fn read(r: &mut ByteReader<'_>, count: usize) -> Option<Vec<u64>> {
    let width = u32::from(r.u8()?);
    if width > WIDEST {
        return None;
    }
    let packed = r.take((count * width as usize).div_ceil(8))?;
    let mut values = Vec::with_capacity(count);
    let (mut bits, mut held) = (0u64, 0u32);
    let mut packed = packed.iter();
    for _ in 0..count {
        while held < width {
            bits |= u64::from(*packed.next()?) << held;
            held += 8;
        }
        values.push(bits & mask(width));
        bits >>= width;
        held -= width;
    }
    let mut at = 0usize;
    for _ in 0..r.varint()? {
        at = at.checked_add(usize::try_from(r.varint()?).ok()?)?;
        let high = r.varint()?;
        if high.leading_zeros() < width {
            return None;
        }
        *values.get_mut(at)? |= high << width;
    }
    Some(values)
}

fn mask(width: u32) -> u64 {
    (1u64 << width).wrapping_sub(1)
}

fn width(values: &[u64]) -> u32 {
    let mut of_length = [0usize; 65];
    for value in values {
        let length = (u64::BITS - value.leading_zeros()) as usize;
        if let Some(n) = of_length.get_mut(length) {
            *n += 1;
        }
    }
    let cost = |width: u32| {
        let beside = of_length.iter().zip(0u32..).skip(width as usize + 1);
        let beside: usize =
            beside.map(|(n, length)| n * (2 + (length - width).div_ceil(7) as usize)).sum();
        (values.len() * width as usize).div_ceil(8) + beside
    };
    (0..=WIDEST).min_by_key(|width| cost(*width)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(values: &[u64]) -> usize {
        let mut out = Vec::new();
        push(&mut out, values);
        let mut r = ByteReader::new(&out);
        assert_eq!(read(&mut r, values.len()).as_deref(), Some(values));
        assert!(r.is_empty());
        // Cut anywhere, it is none.
        for cut in 0..out.len() {
            assert!(read(&mut ByteReader::new(&out[..cut]), values.len()).is_none(), "{cut}");
        }
        out.len()
    }

    #[test]
    fn numbers_of_any_size_come_back() {
        assert_eq!(round(&[]), 2);
        assert_eq!(round(&[0; 512]), 2);
        round(&[u64::MAX; 9]);
        round(&[0, u64::MAX, 1, 1 << 63, (1 << 56) - 1, 1 << 56]);
        for shift in 0..64 {
            round(
                &(0..70_u64)
                    .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64) >> shift)
                    .collect::<Vec<_>>(),
            );
        }
    }

    #[test]
    fn one_that_is_far_off_does_not_make_all_of_them_wide() {
        let mut values: Vec<u64> = (0..512).map(|n| n % 32).collect();
        let narrow = round(&values);
        values[300] = u64::MAX;
        assert!(round(&values) <= narrow + 14, "{narrow}");
    }

    #[test]
    fn a_width_that_there_is_not_is_refused() {
        assert_eq!(read(&mut ByteReader::new(&[57, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 1), None);
        // Bits beyond 64.
        assert_eq!(
            read(
                &mut ByteReader::new(&[
                    8, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1
                ]),
                1
            ),
            None
        );
    }
}
