//! From pixels to the bytes of a size and format. CPU-bound: for the resize threads only.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage, RgbaImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::decode::{self, Picture};
use super::error::MediaError;
use super::request::{Fit, OutputFormat, Preset};

const JPEG_QUALITY: u8 = 85;
const WEBP_QUALITY: f32 = 80.0;
/// Effort of the WebP encoder, 0 to 6. At 2 it is twice as fast as at its default of 4 for some percent more bytes.
const WEBP_METHOD: i32 = 2;

/// Decodes `bytes` and makes them into an image of this size and format.
pub(super) fn render(
    bytes: &[u8],
    preset: Preset,
    format: OutputFormat,
) -> Result<Vec<u8>, MediaError> {
    let picture = decode::decode(bytes)?;
    let sized = resize(picture, preset)?;
    match format {
        OutputFormat::Jpeg => jpeg(sized),
        OutputFormat::Webp => webp(&sized),
    }
}

/// Resizes first and turns then, because then there are fewer pixels to turn.
fn resize(picture: Picture, preset: Preset) -> Result<DynamicImage, MediaError> {
    let Picture { pixels, width, height, alpha, orientation } = picture;
    let sideways = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let swap = |(a, b): (u32, u32)| if sideways { (b, a) } else { (a, b) };
    let (to_width, to_height) = swap(target(swap((width, height)), preset));
    let kind = if alpha { PixelType::U8x4 } else { PixelType::U8x3 };
    let resized = if (to_width, to_height) == (width, height) {
        pixels
    } else {
        let source =
            ImageRef::new(width, height, &pixels, kind).map_err(|_| MediaError::Damaged)?;
        let mut into = Image::new(to_width, to_height, kind);
        // Of a picture to be filled, the middle; one to be fitted has these proportions already.
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
            .fit_into_destination((preset.fit() == Fit::Cover).then_some((0.5, 0.5)));
        Resizer::new().resize(&source, &mut into, &options).map_err(|_| MediaError::Damaged)?;
        into.into_vec()
    };
    let image = if alpha {
        RgbaImage::from_raw(to_width, to_height, resized).map(DynamicImage::from)
    } else {
        RgbImage::from_raw(to_width, to_height, resized).map(DynamicImage::from)
    };
    let mut image = image.ok_or(MediaError::Damaged)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// The size that a picture of this size (as it is shown) gets.
fn target((width, height): (u32, u32), preset: Preset) -> (u32, u32) {
    let (max_width, max_height) = preset.size();
    match preset.fit() {
        Fit::Cover => (max_width, max_height),
        Fit::Inside => {
            let scale = (f64::from(max_width) / f64::from(width))
                .min(f64::from(max_height) / f64::from(height));
            let scaled = |n: u32, max| ((f64::from(n) * scale).round() as u32).clamp(1, max);
            (scaled(width, max_width), scaled(height, max_height))
        }
    }
}

/// JPEG has no transparency: what is behind becomes black, as in the reference.
fn jpeg(image: DynamicImage) -> Result<Vec<u8>, MediaError> {
    let image = match image {
        DynamicImage::ImageRgba8(mut image) => {
            for pixel in image.pixels_mut() {
                let [r, g, b, a] = pixel.0;
                let over = |c: u8| (u16::from(c) * u16::from(a) / 255) as u8;
                pixel.0 = [over(r), over(g), over(b), 255];
            }
            DynamicImage::ImageRgba8(image)
        }
        image => image,
    };
    let kind = if image.color().has_alpha() { ColorType::Rgba } else { ColorType::Rgb };
    let side = |n: u32| u16::try_from(n).map_err(|_| MediaError::TooLarge);
    let (width, height) = (side(image.width())?, side(image.height())?);
    let mut out = Vec::with_capacity(image.as_bytes().len() / 10);
    let mut encoder = Encoder::new(&mut out, JPEG_QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode(image.as_bytes(), width, height, kind).map_err(|_| MediaError::Damaged)?;
    Ok(out)
}

fn webp(image: &DynamicImage) -> Result<Vec<u8>, MediaError> {
    let (width, height) = (image.width(), image.height());
    let encoder = match image {
        DynamicImage::ImageRgba8(image) => webp::Encoder::from_rgba(image, width, height),
        image => webp::Encoder::from_rgb(image.as_bytes(), width, height),
    };
    let mut config = webp::WebPConfig::new().map_err(|()| MediaError::Damaged)?;
    config.quality = WEBP_QUALITY;
    config.method = WEBP_METHOD;
    let out = encoder.encode_advanced(&config).map_err(|_| MediaError::Damaged)?;
    Ok(out.to_vec())
}
