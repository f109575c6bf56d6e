//! PNGs row by row: each square of pixels becomes one, so that a picture takes the memory of a smaller one.

use std::io::Cursor;

use png::{ColorType, Decoder, Transformations};

use super::error::MediaError;

/// Most pixels on the side of a square: sums of more do not fit.
pub(super) const MAX_SQUARE: u32 = 128;
/// Metadata and the like, which is not asked for, may take so much of a decoder's memory.
const LIMIT: usize = 1 << 20;

/// RGB or RGBA, its size, and which of the two.
pub(super) type Pixels = (Vec<u8>, (u32, u32), bool);

/// Whether its header says that it comes in seven passes, each over the whole picture.
pub(super) fn is_interlaced(bytes: &[u8]) -> bool {
    bytes.get(28) != Some(&0)
}

/// Bytes that [`decode`] takes: rows, sums and what comes out.
pub(super) fn bytes(width: u32, (columns, rows): (u32, u32)) -> u64 {
    let row = u64::from(width) * 8;
    let sums = u64::from(columns) * 16;
    4 * row + sums + u64::from(columns) * u64::from(rows) * 4 + LIMIT as u64
}

/// Decodes with every `side` x `side` pixels as one. What is left over at the right and below is less than one of them.
pub(super) fn decode(bytes: &[u8], side: u32) -> Result<Pixels, MediaError> {
    let damaged = |_| MediaError::Damaged;
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (width, height) = (reader.info().width, reader.info().height);
    let (columns, rows) = (width / side.max(1), height / side.max(1));
    if columns == 0 || rows == 0 || side > MAX_SQUARE {
        return Err(MediaError::Damaged);
    }
    let (grey, alpha) = match reader.output_color_type().0 {
        ColorType::Grayscale => (true, false),
        ColorType::GrayscaleAlpha => (true, true),
        ColorType::Rgb => (false, false),
        ColorType::Rgba => (false, true),
        ColorType::Indexed => return Err(MediaError::Damaged),
    };
    let samples = if grey { 1 } else { 3 } + usize::from(alpha);
    let mut sums = vec![[0_u32; 4]; columns as usize];
    let mut out = Vec::with_capacity(columns as usize * rows as usize * if alpha { 4 } else { 3 });
    for n in 1..=rows * side {
        let row = reader.next_row().map_err(damaged)?.ok_or(MediaError::Damaged)?;
        let squares = row.data().chunks(samples * side as usize);
        for (sum, square) in sums.iter_mut().zip(squares) {
            square.chunks_exact(samples).for_each(|pixel| add(sum, pixel));
        }
        if n % side == 0 {
            for sum in &mut sums {
                let (pixel, opacity) = mean(std::mem::take(sum), side, alpha);
                out.extend_from_slice(&pixel);
                out.extend(opacity);
            }
        }
    }
    Ok((out, (columns, rows), alpha))
}

/// Colours count as much as they are seen, so that what is behind nothing does not show at its edges.
fn add(sum: &mut [u32; 4], pixel: &[u8]) {
    let (r, g, b, a) = match *pixel {
        [grey] => (grey, grey, grey, None),
        [grey, a] => (grey, grey, grey, Some(a)),
        [r, g, b] => (r, g, b, None),
        [r, g, b, a] => (r, g, b, Some(a)),
        _ => return,
    };
    let weight = a.map_or(1, u32::from);
    let [red, green, blue, alpha] = sum;
    *red += u32::from(r) * weight;
    *green += u32::from(g) * weight;
    *blue += u32::from(b) * weight;
    *alpha += weight;
}

fn mean([r, g, b, weight]: [u32; 4], side: u32, alpha: bool) -> ([u8; 3], Option<u8>) {
    let of = |sum: u32| ((sum + weight / 2) / weight.max(1)).min(255) as u8;
    let opacity = ((weight + side * side / 2) / (side * side)).min(255) as u8;
    ([of(r), of(g), of(b)], alpha.then_some(opacity))
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};

    use super::super::testing::{encoded, halves};
    use super::*;

    #[test]
    fn squares_become_their_mean() {
        let (pixels, size, alpha) =
            decode(&encoded(&halves(40, 21).into(), ImageFormat::Png), 4).unwrap();
        assert_eq!((size, alpha, pixels.len()), ((10, 5), false, 150));
        assert_eq!((&pixels[..3], &pixels[27..30]), (&[255, 0, 0][..], &[0, 0, 255][..]));
        // Half of it is not there: its colour does not show in the mean.
        let image = RgbaImage::from_fn(256, 256, |x, _| {
            if x % 2 == 0 { Rgba([10, 200, 30, 255]) } else { Rgba([255, 0, 255, 0]) }
        });
        let clear = encoded(&DynamicImage::from(image), ImageFormat::Png);
        for side in [2, 128] {
            let (pixels, _, alpha) = decode(&clear, side).unwrap();
            assert!(alpha && pixels.chunks(4).all(|p| p == [10, 200, 30, 128]), "{side}");
        }
        let grey = DynamicImage::from(image::GrayImage::from_pixel(9, 9, image::Luma([77])));
        assert_eq!(decode(&encoded(&grey, ImageFormat::Png), 3).unwrap().0, [77; 27]);
        assert!(decode(&clear[..clear.len() / 2], 2).is_err());
        assert!(decode(&clear, 200).is_err() && decode(b"", 2).is_err());
    }

    #[test]
    fn the_largest_sums_fit() {
        let mut sum = [0; 4];
        (0..MAX_SQUARE * MAX_SQUARE).for_each(|_| add(&mut sum, &[255; 4]));
        assert_eq!(mean(sum, MAX_SQUARE, true), ([255; 3], Some(255)));
    }
}
