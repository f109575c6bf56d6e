//! JPEGs that are decoded smaller than they are. `image` reads them only whole.
//!
//! The decoder's feature `rayon` is what bounds its memory: without it, rows wait for a thread in a queue without an end.

use std::io::Cursor;

use jpeg_decoder::{Decoder, PixelFormat};

use super::error::MediaError;

/// What the header says, as far as it decides what decoding takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    width: u16,
    height: u16,
    /// All coefficients are kept until the last pass.
    progressive: bool,
    /// One or three.
    components: u64,
    /// Samples of all components in a hundred pixels.
    samples: u64,
}

/// How many times a JPEG goes over its pixels: start-of-scan markers, which cannot occur in the data of a scan. Those
/// of an embedded preview count too; that is one more.
pub(super) fn scans(bytes: &[u8]) -> usize {
    bytes.windows(2).filter(|pair| *pair == [0xff, 0xda]).count()
}

/// Whether the coefficients of all pixels are kept until the last pass: there are several, or could be, even if it is the only
/// one that came.
pub(super) fn keeps_coefficients(bytes: &[u8]) -> bool {
    scans(bytes) > 1 || bytes.windows(2).any(|pair| *pair == [0xff, 0xc2])
}

/// The frame of a grey or coloured picture of eight bits; others are left to be decoded whole.
pub(super) fn frame(bytes: &[u8]) -> Option<Frame> {
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let [0xff, marker, after @ ..] = rest else { return None };
        // Any number of these may come before a marker.
        if *marker == 0xff {
            rest = rest.get(1..)?;
            continue;
        }
        let len = usize::from(u16::from_be_bytes(*after.first_chunk()?));
        let segment = after.get(2..len)?;
        match marker {
            0xc0..=0xc2 => return parse(segment, *marker == 0xc2),
            // A scan before a frame, or a kind that nobody writes.
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xd0..=0xda | 0x00 => return None,
            _ => rest = after.get(len..)?,
        }
    }
}

fn parse(segment: &[u8], progressive: bool) -> Option<Frame> {
    let [8, h0, h1, w0, w1, count, components @ ..] = segment else { return None };
    let (height, width) = (u16::from_be_bytes([*h0, *h1]), u16::from_be_bytes([*w0, *w1]));
    if !matches!(count, 1 | 3) || components.len() != usize::from(*count) * 3 {
        return None;
    }
    let factors = components.chunks_exact(3).filter_map(|c| c.get(1));
    let factors: Vec<(u64, u64)> =
        factors.map(|f| (u64::from(f >> 4), u64::from(f & 0xf))).collect();
    let widest = factors.iter().map(|f| f.0).max().filter(|most| (1..=4).contains(most))?;
    let highest = factors.iter().map(|f| f.1).max().filter(|most| (1..=4).contains(most))?;
    let samples = factors.iter().map(|(h, v)| (100 * h * v).div_ceil(widest * highest)).sum();
    Some(Frame { width, height, progressive, components: u64::from(*count), samples })
}

impl Frame {
    /// Its size at so many eighths.
    pub(super) fn at(self, eighths: u32) -> (u32, u32) {
        let scaled = |len: u16| (u32::from(len) * eighths).div_ceil(8);
        (scaled(self.width), scaled(self.height))
    }

    /// Bytes that decoding takes at so many eighths: coefficients of a progressive one, and once more those of its lightness
    /// if it is cut; samples and pixels, and grey ones as colours.
    pub(super) fn bytes(self, eighths: u32) -> u64 {
        let area = |(w, h): (u32, u32)| {
            u64::from(w.next_multiple_of(32)) * u64::from(h.next_multiple_of(32))
        };
        let coefficients =
            if self.progressive { area(self.at(8)) * 2 * (self.samples + 100) / 100 } else { 0 };
        let pixels =
            area(self.at(eighths)) * (self.samples + 300 + 100 * (self.components % 3)) / 100;
        coefficients + pixels
    }
}

/// Decodes at so many eighths on a side: RGB, and its size. With `most` bytes of pixels.
pub(super) fn decode(
    bytes: &[u8],
    eighths: u32,
    most: u64,
) -> Result<(Vec<u8>, (u32, u32)), MediaError> {
    let (width, height) = frame(bytes).ok_or(MediaError::Damaged)?.at(eighths);
    let side = |n: u32| u16::try_from(n).map_err(|_| MediaError::TooLarge);
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_max_decoding_buffer_size(usize::try_from(most).unwrap_or(usize::MAX));
    let damaged = |_| MediaError::Damaged;
    let (width, height) = decoder.scale(side(width)?, side(height)?).map_err(damaged)?;
    let pixels = decoder.decode().map_err(damaged)?;
    let pixels = match decoder.info().map(|info| info.pixel_format) {
        Some(PixelFormat::RGB24) => pixels,
        Some(PixelFormat::L8) => pixels.into_iter().flat_map(|grey| [grey; 3]).collect(),
        _ => return Err(MediaError::Damaged),
    };
    let size = (u32::from(width), u32::from(height));
    if pixels.len() as u64 != u64::from(width) * u64::from(height) * 3 {
        return Err(MediaError::Damaged);
    }
    Ok((pixels, size))
}

#[cfg(test)]
mod tests {
    use image::ImageFormat;

    use super::super::testing::picture;
    use super::*;

    #[test]
    fn the_frame_says_what_decoding_takes() {
        let bytes = picture(80, 48, ImageFormat::Jpeg);
        let frame = frame(&bytes).unwrap();
        assert_eq!((frame.width, frame.height, frame.progressive), (80, 48, false));
        assert_eq!((frame.at(8), frame.at(4), frame.at(1)), ((80, 48), (40, 24), (10, 6)));
        let sof = |factors: [u8; 3]| {
            let mut segment = vec![8, 0x0f, 0xa0, 0x17, 0x70, 3];
            factors.into_iter().enumerate().for_each(|(n, f)| segment.extend([n as u8, f, 0]));
            parse(&segment, true).map(|frame| frame.samples)
        };
        assert_eq!(sof([0x22, 0x11, 0x11]), Some(150));
        assert_eq!(sof([0x11, 0x11, 0x11]), Some(300));
        assert_eq!(sof([0x21, 0x11, 0x11]), Some(200));
        assert_eq!((sof([0, 0, 0]), sof([0xff, 0x11, 0x11])), (None, None));
        for cut in 0..bytes.len() {
            let _ = super::frame(&bytes[..cut]);
        }
    }
}
