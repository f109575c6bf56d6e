//! From pixels to the bytes of a size and format. CPU-bound: for the resize threads only.

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, MulDiv, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, RgbImage, RgbaImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::decode::{self, Picture, Plan};
use super::error::MediaError;
use super::request::{Fit, OutputFormat, Preset};

const JPEG_QUALITY: u8 = 85;
const WEBP_QUALITY: f32 = 80.0;
/// Effort of the WebP encoder, 0 to 6. At 2 it is twice as fast as at its default of 4 for some percent more bytes.
const WEBP_METHOD: i32 = 2;

/// Makes `bytes` into an image of the size that was planned, in this format.
pub(super) fn render(
    bytes: &[u8],
    preset: Preset,
    format: OutputFormat,
    plan: &Plan,
) -> Result<Vec<u8>, MediaError> {
    let sized = resize(decode::decode(bytes, plan)?, preset, plan.to)?;
    match format {
        OutputFormat::Jpeg => jpeg(sized),
        OutputFormat::Webp => webp(&sized),
    }
}

/// Resizes first and turns then, because then there are fewer pixels to turn.
fn resize(
    picture: Picture,
    preset: Preset,
    (to_width, to_height): (u32, u32),
) -> Result<DynamicImage, MediaError> {
    let Picture { pixels, width, height, alpha, orientation } = picture;
    let kind = if alpha { PixelType::U8x4 } else { PixelType::U8x3 };
    let resized = if (to_width, to_height) == (width, height) {
        pixels
    } else {
        let damaged = |_| MediaError::Damaged;
        let mut source = Image::from_vec_u8(width, height, pixels, kind).map_err(damaged)?;
        let mut into = Image::new(to_width, to_height, kind);
        // Colours count as much as they are seen. Multiplied here and not by the resizer, which would make a copy.
        let transparency = MulDiv::new();
        if alpha {
            transparency.multiply_alpha_inplace(&mut source).map_err(|_| MediaError::Damaged)?;
        }
        // Of a picture to be filled, the middle; one to be fitted has these proportions already.
        let options = ResizeOptions::new()
            .use_alpha(false)
            .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
            .fit_into_destination((preset.fit() == Fit::Cover).then_some((0.5, 0.5)));
        Resizer::new().resize(&source, &mut into, &options).map_err(|_| MediaError::Damaged)?;
        if alpha {
            transparency.divide_alpha_inplace(&mut into).map_err(|_| MediaError::Damaged)?;
        }
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
