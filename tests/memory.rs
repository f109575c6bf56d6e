//! What strangers' bytes take of memory, counted by the allocator: no more than was set aside for them.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: a panic is its failure"
)]

use std::io::Cursor;

use aerie::media::{OutputFormat, Preset, fuzzing::image};
use aerie::repo::mst;
use aerie::sync::fuzzing::repo;
use aerie::syntax::cid;
use bytes::Bytes;
use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};
use parking_lot::Mutex;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a small server has for pictures.
const SHARE: u64 = 64 << 20;

/// Only one test counts at a time.
static COUNTING: Mutex<()> = Mutex::new(());

/// What `work` takes at its most beyond what is there before.
fn taken<T>(work: impl FnOnce() -> T) -> (T, u64) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let done = work();
    (done, MEMORY.peak_usage().saturating_sub(before) as u64)
}

fn section(parts: &[&[u8]]) -> Bytes {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let length = if len < 128 { vec![len as u8] } else { vec![len as u8 | 0x80, (len >> 7) as u8] };
    assert!(len < 128 * 128);
    [length, parts.concat()].concat().into()
}

/// A host sends a good commit and then hundreds of thousands of blocks that nothing names: they are read to the end, and the table of them
/// goes to disk.
#[test]
fn millions_of_blocks_take_what_every_repo_has() {
    const BLOCKS: u32 = 400_000;
    let _alone = COUNTING.lock();
    let dir = tempfile::tempdir().unwrap();
    let link =
        |cid: &aerie::syntax::Cid| [b"\xd8\x2a\x58\x25\0".as_slice(), &cid.to_bytes()].concat();
    let node = b"\xa2\x61e\x80\x61l\xf6";
    assert_eq!(cid::for_record(node), mst::empty_root());
    let commit = [
        b"\xa6\x63did\x6bdid:plc:abc\x63rev\x6d3mbd353s7s223\x63sig\x58\x40".as_slice(),
        &[7; 64],
        b"\x64data",
        &link(&mst::empty_root()),
        b"\x64prev\xf6\x67version\x03",
    ]
    .concat();
    let root = cid::for_record(&commit);
    let header = [b"\xa2\x65roots\x81".as_slice(), &link(&root), b"\x67version\x01"].concat();
    let first = [
        section(&[&header]),
        section(&[&root.to_bytes(), &commit]),
        section(&[&mst::empty_root().to_bytes(), node]),
    ];
    let junk = (0..BLOCKS).map(|n| {
        let block = [n.to_be_bytes(); 5].concat();
        section(&[&cid::for_record(&block).to_bytes(), &block])
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let work = || runtime.block_on(repo(first.into_iter().chain(junk), dir.path()));
    let (records, most) = taken(work);
    assert_eq!(records, Some(0), "the repo is good, whatever else was sent");
    assert!(most < 3 << 20, "{most} bytes");
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn jpeg(picture: &RgbImage, scans: Option<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut out, 60);
    scans.into_iter().for_each(|scans| encoder.set_progressive_scans(scans));
    let (width, height) = (picture.width() as u16, picture.height() as u16);
    encoder.encode(picture.as_raw(), width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    out
}

/// The encoder of WebP takes its memory elsewhere, so JPEGs are made here.
#[test]
fn a_picture_takes_what_was_planned() {
    let _alone = COUNTING.lock();
    for (width, height) in [(900, 700), (4000, 3000)] {
        let pixels = |channels| {
            let samples: Vec<u8> = (0..1_000_003).map(|n: u32| (n ^ (n >> 9)) as u8).collect();
            samples.into_iter().cycle().take(width as usize * height as usize * channels).collect()
        };
        let opaque = RgbImage::from_raw(width, height, pixels(3)).unwrap();
        let clear = RgbaImage::from_raw(width, height, pixels(4)).unwrap();
        let files = [
            ("jpeg", jpeg(&opaque, None)),
            ("progressive", jpeg(&opaque, Some(5))),
            ("png", encoded(&opaque.clone().into(), ImageFormat::Png)),
            ("clear png", encoded(&clear.into(), ImageFormat::Png)),
            ("webp", encoded(&opaque.clone().into(), ImageFormat::WebP)),
            ("gif", encoded(&opaque.into(), ImageFormat::Gif)),
        ];
        for (name, file) in files {
            for preset in [Preset::AvatarThumbnail, Preset::FeedThumbnail] {
                let (planned, most) = taken(|| image(&file, preset, OutputFormat::Jpeg, SHARE));
                let planned = match planned {
                    // Of these nothing smaller can be decoded.
                    Err(_) if width > 900 && matches!(name, "webp" | "gif") => continue,
                    planned => planned.expect("a good picture that fits"),
                };
                assert!(
                    most <= planned + (2 << 20),
                    "{name} {width} {}: {most} of {planned}",
                    preset.name()
                );
            }
        }
    }
}
