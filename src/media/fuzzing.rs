//! What `tests/fuzz` needs of this folder.

use super::request::{OutputFormat, Preset};
use super::{MediaError, decode, render};

/// As a stranger's bytes become an image, with `most` bytes of memory. Gives what was planned to be taken.
///
/// # Errors
/// See [`MediaError`].
pub fn image(
    bytes: &[u8],
    preset: Preset,
    format: OutputFormat,
    most: u64,
) -> Result<u64, MediaError> {
    let plan = decode::plan(bytes, preset, format, most)?;
    render::render(bytes, preset, format, &plan).map(|_| plan.bytes)
}
