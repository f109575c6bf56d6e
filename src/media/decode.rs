//! From a stranger's bytes to pixels, within bounds.
//!
//! # Invariants
//! - Dimensions, memory and the number of passes are judged by the header; what is over the caps is not decoded.
//! - A picture much larger than what is made of it is decoded smaller: a JPEG at a half, a quarter or an eighth, a PNG row
//!   by row. So what it takes depends little on what a stranger sends.
//! - Of an animation, the first frame. Colour profiles and all other metadata are dropped; EXIF orientation is obeyed.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, GenericImageView, ImageDecoder, ImageError, ImageFormat, ImageReader,
    Limits,
};

use super::error::MediaError;
use super::jpeg;
use super::request::{OutputFormat, Preset};
use super::rows;

/// Most pixels on a side.
const MAX_SIDE: u32 = 20_000;
/// Most pixels.
const MAX_PIXELS: u64 = 64 << 20;
/// Progressive JPEGs have about ten passes over all pixels; a thousand are an attack on the CPU.
const MAX_PASSES: usize = 40;
/// Most pixels looked at in all passes together.
const MAX_VISITS: u64 = 400_000_000;

/// Pixels, and how the picture is to be turned.
pub(super) struct Picture {
    /// RGB, or RGBA if there is transparency; 8 bits each.
    pub(super) pixels: Vec<u8>,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) alpha: bool,
    pub(super) orientation: Orientation,
}

/// What is done with a picture, by its header.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    format: ImageFormat,
    way: Way,
    orientation: Orientation,
    /// Size that it has when it is made smaller, before it is turned.
    pub(super) to: (u32, u32),
    /// Bytes that all of it takes at its worst, the encoder included.
    pub(super) bytes: u64,
}

/// How it is decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// At once and as it is.
    Whole,
    /// A JPEG, at so many eighths on a side.
    Eighths(u32),
    /// A PNG row by row, each square of so many pixels on a side as one.
    Squares(u32),
}

/// Looks at the header of a JPEG, PNG, WebP or GIF of which `preset` is to be made, with no more than `most` bytes.
pub(super) fn plan(
    bytes: &[u8],
    preset: Preset,
    output: OutputFormat,
    most: u64,
) -> Result<Plan, MediaError> {
    let format = image::guess_format(bytes).map_err(|_| MediaError::NotAnImage)?;
    let known = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif];
    if !known.contains(&format) {
        return Err(MediaError::NotAnImage);
    }
    let passes = if format == ImageFormat::Jpeg { jpeg::scans(bytes) } else { 1 };
    if passes > MAX_PASSES {
        return Err(MediaError::TooLarge);
    }
    let mut decoder = decoder(bytes, format, most)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let visits = pixels * passes as u64;
    if width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS || visits > MAX_VISITS {
        return Err(MediaError::TooLarge);
    }
    if width == 0 || height == 0 {
        return Err(MediaError::Damaged);
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let color = decoder.color_type();
    let to = turned(orientation, preset.target(turned(orientation, (width, height))));
    // How many times more there is on the side where that is less.
    let times = f64::min(
        f64::from(width) / f64::from(to.0.max(1)),
        f64::from(height) / f64::from(to.1.max(1)),
    );
    let channels = if color.has_alpha() { 4 } else { 3 };
    let encoding = encoding(to, channels, output);
    let total = |(decoding, size, way): Reduced| {
        let making = decoding.max(resizing(size, to, channels)).max(encoding);
        (bytes.len() as u64 + making, way)
    };
    let smaller = |times: f64| match format {
        ImageFormat::Jpeg => reduced_jpeg(bytes, times),
        ImageFormat::Png if !rows::is_interlaced(bytes) => reduced_png((width, height), times),
        _ => None,
    };
    let whole = whole((width, height), color, format, bytes);
    // A PNG keeps twice what is needed, so that the last step still has what makes it sharp; a JPEG is sharp at any of its
    // sizes. What does not fit so is decoded smaller still, even if a little of it is made up then.
    let preferred = smaller(if format == ImageFormat::Png { times / 2.0 } else { times });
    let ways = [
        preferred,
        Some((whole, (width, height), Way::Whole)),
        smaller(times),
        smaller(times.max(1.0) * 2.0),
    ];
    let fitting = ways.into_iter().flatten().map(total).find(|(bytes, _)| *bytes <= most);
    let (bytes, way) = fitting.ok_or(MediaError::TooLarge)?;
    Ok(Plan { format, way, orientation, to, bytes })
}

/// Decodes what was planned.
pub(super) fn decode(bytes: &[u8], plan: &Plan) -> Result<Picture, MediaError> {
    let orientation = plan.orientation;
    let picture =
        |(pixels, (width, height), alpha)| Picture { pixels, width, height, alpha, orientation };
    match plan.way {
        Way::Whole => {
            let decoder = decoder(bytes, plan.format, plan.bytes)?;
            let image = DynamicImage::from_decoder(decoder).map_err(refusal)?;
            let (size, alpha) = (image.dimensions(), image.color().has_alpha());
            let pixels =
                if alpha { image.into_rgba8().into_raw() } else { image.into_rgb8().into_raw() };
            Ok(picture((pixels, size, alpha)))
        }
        Way::Eighths(eighths) => jpeg::decode(bytes, eighths, plan.bytes)
            .map(|(pixels, size)| picture((pixels, size, false))),
        Way::Squares(side) => rows::decode(bytes, side).map(picture),
    }
}

fn decoder(bytes: &[u8], format: ImageFormat, most: u64) -> Result<impl ImageDecoder, MediaError> {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(most);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    reader.into_decoder().map_err(refusal)
}

/// Width and height as they are shown, of those in the file; and back.
fn turned(orientation: Orientation, (width, height): (u32, u32)) -> (u32, u32) {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    }
}

/// Bytes that decoding takes at its worst, how large the picture is then, and how it is done.
type Reduced = (u64, (u32, u32), Way);

fn reduced_jpeg(bytes: &[u8], times: f64) -> Option<Reduced> {
    let frame = jpeg::frame(bytes)?;
    let eighths = if times >= 8.0 {
        1
    } else if times >= 4.0 {
        2
    } else if times >= 2.0 {
        4
    } else {
        return None;
    };
    let size = frame.at(eighths);
    Some((frame.bytes(eighths), size, Way::Eighths(eighths)))
}

fn reduced_png((width, height): (u32, u32), times: f64) -> Option<Reduced> {
    let side = times.min(f64::from(rows::MAX_SQUARE)) as u32;
    let size = (width / side.max(1), height / side.max(1));
    (side > 1 && size.0 > 0 && size.1 > 0)
        .then(|| (rows::bytes(width, size), size, Way::Squares(side)))
}

/// Bytes that decoding takes at its worst.
fn whole(size: (u32, u32), color: ColorType, format: ImageFormat, bytes: &[u8]) -> u64 {
    let decoded = u64::from(color.bytes_per_pixel());
    let converted = match color {
        ColorType::Rgb8 | ColorType::Rgba8 => 0,
        color if color.has_alpha() => 4,
        _ => 3,
    };
    let beside = match format {
        ImageFormat::Jpeg if jpeg::keeps_coefficients(bytes) => 6,
        // Lossy, it is first in other colours; else it is all there twice.
        ImageFormat::WebP if bytes.get(12..16) == Some(b"VP8 ") => 2,
        ImageFormat::WebP => 4,
        // The numbers of its colours.
        ImageFormat::Gif => 1,
        _ => 0,
    };
    area(size) * (decoded + converted + beside)
}

/// Those that making it smaller takes: the picture, one made narrow, and what comes out.
fn resizing(from: (u32, u32), to: (u32, u32), channels: u64) -> u64 {
    let beside = if from == to { 0 } else { area((to.0, from.1)) + area(to) };
    (area(from) + beside) * channels
}

/// Those that writing it takes: a JPEG about a fifth of the pixels, WebP a copy of four bytes and one of three halves, and
/// what it tries.
fn encoding(to: (u32, u32), channels: u64, output: OutputFormat) -> u64 {
    area(to)
        * match output {
            OutputFormat::Jpeg => channels + 1,
            OutputFormat::Webp => channels + 7,
        }
}

fn area((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
}

fn refusal(error: ImageError) -> MediaError {
    match error {
        ImageError::Limits(_) => MediaError::TooLarge,
        _ => MediaError::Damaged,
    }
}
