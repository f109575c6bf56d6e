//! From a stranger's bytes to pixels, within bounds.
//!
//! # Invariants
//! - Dimensions, memory and the number of passes are judged by the header; what is over the caps is not decoded.
//! - Pictures that need much memory are decoded one at a time.
//! - Of an animation, the first frame. Colour profiles and all other metadata are dropped; EXIF orientation is obeyed.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, GenericImageView, ImageDecoder, ImageError, ImageFormat, ImageReader,
    Limits,
};
use parking_lot::Mutex;

use super::error::MediaError;

/// Most pixels on a side.
const MAX_SIDE: u32 = 20_000;
/// Most bytes that decoding one picture may take: some 28 megapixels of a progressive JPEG, 64 of an RGBA PNG.
const MAX_MEMORY: u64 = 256 << 20;
/// From here on a picture waits until no other such picture is decoded.
const LARGE: u64 = 48 << 20;
/// Progressive JPEGs have about ten passes over all pixels; a thousand are an attack on the CPU.
const MAX_PASSES: usize = 40;
/// Most pixels looked at in all passes together.
const MAX_VISITS: u64 = 400_000_000;

static ONE_LARGE: Mutex<()> = Mutex::new(());

/// Pixels as they are in the file, and how the picture is to be turned.
pub(super) struct Picture {
    /// RGB, or RGBA if there is transparency; 8 bits each.
    pub(super) pixels: Vec<u8>,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) alpha: bool,
    pub(super) orientation: Orientation,
}

/// Decodes a JPEG, PNG, WebP or GIF.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture, MediaError> {
    let format = image::guess_format(bytes).map_err(|_| MediaError::NotAnImage)?;
    let known = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif];
    if !known.contains(&format) {
        return Err(MediaError::NotAnImage);
    }
    let passes = if format == ImageFormat::Jpeg { jpeg_scans(bytes) } else { 1 };
    if passes > MAX_PASSES {
        return Err(MediaError::TooLarge);
    }
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_MEMORY);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(refusal)?;
    let (width, height) = decoder.dimensions();
    let need = memory((width, height), decoder.color_type(), passes);
    let visits = u64::from(width) * u64::from(height) * passes as u64;
    if width > MAX_SIDE || height > MAX_SIDE || need > MAX_MEMORY || visits > MAX_VISITS {
        return Err(MediaError::TooLarge);
    }
    if width == 0 || height == 0 {
        return Err(MediaError::Damaged);
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let turn = (need > LARGE).then(|| ONE_LARGE.lock());
    let image = DynamicImage::from_decoder(decoder).map_err(refusal)?;
    let (width, height) = image.dimensions();
    let alpha = image.color().has_alpha();
    let pixels = if alpha { image.into_rgba8().into_raw() } else { image.into_rgb8().into_raw() };
    drop(turn);
    Ok(Picture { pixels, width, height, alpha, orientation })
}

/// Bytes that decoding takes at its worst.
fn memory((width, height): (u32, u32), color: ColorType, passes: usize) -> u64 {
    let decoded = u64::from(color.bytes_per_pixel());
    let converted = match color {
        ColorType::Rgb8 | ColorType::Rgba8 => 0,
        color if color.has_alpha() => 4,
        _ => 3,
    };
    // With several passes the coefficients of all pixels are kept.
    let coefficients = if passes > 1 { 6 } else { 0 };
    u64::from(width) * u64::from(height) * (decoded + converted + coefficients)
}

/// How many times a JPEG goes over its pixels: start-of-scan markers, which cannot occur in the data of a scan. Those
/// of an embedded preview count too; that is one more.
fn jpeg_scans(bytes: &[u8]) -> usize {
    bytes.windows(2).filter(|pair| *pair == [0xff, 0xda]).count()
}

fn refusal(error: ImageError) -> MediaError {
    match error {
        ImageError::Limits(_) => MediaError::TooLarge,
        _ => MediaError::Damaged,
    }
}
