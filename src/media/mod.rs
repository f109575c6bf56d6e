//! Images in the sizes that clients show, and blobs as they are: fetched from the account's PDS, resized, kept on disk.
//!
//! ```text
//! path -> request -> gate (takedowns, account status) -> disk cache -> answer
//!                                                           | miss
//!                        PDS (getBlob) -> CID check -> decode -> resize -> encode -> disk cache -> answer
//! ```
//!
//! Does not know HTTP servers, views, or which blobs a record names: like the reference, it serves whatever blob an
//! account's PDS has. `xrpc` makes the routes of it.
//!
//! # Codecs
//! Everything that reads a stranger's bytes is safe Rust (`image` with zune-jpeg, png, image-webp, gif; jpeg-decoder for
//! JPEGs that are made much smaller, because it alone decodes at a reduced scale). Encoders only
//! see our own pixels: jpeg-encoder for JPEG, and for WebP libwebp, because there is no other encoder with lossy
//! compression under a free licence (image-webp writes lossless WebP, many times larger). Sizes and fit are the
//! reference's, which also gives WebP where a path names no format. Its quality of 100 is not taken over: for
//! photographs that is several times the bytes for no visible gain.
//!
//! # Invariants
//! - Bytes that do not hash to the CID of the path are never shown.
//! - What a picture may cost is decided from its header, before a pixel is decoded (see `decode`), and is taken from the
//!   share of all pictures until its image is made; so are the bytes that a PDS sends.
//! - Takedowns and account status are looked at in each request, also when the image is in the cache.
//! - Of an account that was deleted here or opted out nothing stays in the cache: file names begin with the account, and
//!   what was under way when it went is not kept. Those who are only hidden keep theirs; they may come back.
//! - The same image is fetched and made once at a time, however many ask.
//! - Decoding, resizing and files run on this folder's own threads, of low priority where they take long, so that
//!   neither the I/O threads nor the threads that read the store wait for them.

mod blob;
mod cache;
mod decode;
mod error;
#[cfg(feature = "testing")]
pub mod fuzzing;
mod gate;
mod jpeg;
mod key;
mod origin;
mod render;
mod request;
mod rows;
mod service;

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;

pub use blob::{Blob, Pieces};
pub use error::MediaError;
pub use origin::{BlobInMemory, BlobOrigin, NetOrigin};
pub use request::{BadPath, ImageRequest, OutputFormat, Preset, parse_blob};
pub use service::{ImagesStatus, Media, MediaSettings, RenderedImage};
