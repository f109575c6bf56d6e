//! Images end to end without a network: pictures of every kind in, sizes and colours out; hostile ones; the service.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use image::codecs::gif::{GifEncoder, Repeat};
use image::{DynamicImage, Frame, GrayImage, ImageFormat, Rgba, RgbaImage};
use jpeg_encoder::{ColorType, Encoder};

use super::service::FLIGHTS;
use super::testing::*;
use super::*;
use crate::limits::{Client, Elapsed, Hold, Limits, Proxies};
use crate::moderation::Takedowns;
use crate::net::StreamResponse;
use crate::private::{self, Takedown};
use crate::schema::Edit;
use crate::schema::rows::{self, AccountStatus};
use crate::store::{Ks, Store, Tx, Writer};
use crate::syntax::{Did, cid};
use crate::threads::Budget;

/// With as much memory as a small server has for pictures.
const MEMORY: u64 = 80 << 20;

fn render(bytes: &[u8], preset: Preset, format: OutputFormat) -> Result<Vec<u8>, MediaError> {
    let plan = decode::plan(bytes, preset, format, MEMORY)?;
    render::render(bytes, preset, format, &plan)
}

const OWNER: &str = "did:plc:owner";

/// About these colours: encoders lose a little.
fn is_like(image: &DynamicImage, (x, y): (u32, u32), wanted: [u8; 3]) {
    let pixel = image.to_rgb8().get_pixel(x, y).0;
    let near = pixel.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 30);
    assert!(near, "{pixel:?} is not {wanted:?}");
}

const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];

#[test]
fn sizes_of_the_presets() {
    use Preset::*;
    let cases = [
        (Avatar, (40, 20), (1000, 1000)),
        (Avatar, (120, 160), (1000, 1000)),
        (AvatarThumbnail, (300, 200), (128, 128)),
        (Banner, (90, 90), (3000, 1000)),
        (FeedFullsize, (40, 20), (40, 20)),
        (FeedFullsize, (4000, 1000), (2000, 500)),
        (FeedThumbnail, (1200, 900), (1000, 750)),
        (FeedThumbnail, (600, 800), (600, 800)),
        (FeedThumbnail, (1000, 500), (1000, 500)),
        (FeedThumbnail, (1, 4000), (1, 1000)),
    ];
    let formats =
        [(OutputFormat::Jpeg, ImageFormat::Jpeg), (OutputFormat::Webp, ImageFormat::WebP)];
    for ((preset, (w, h), expect), (format, kind)) in cases.into_iter().zip(formats.iter().cycle())
    {
        let source = picture(w, h, ImageFormat::Png);
        let out = render(&source, preset, *format).unwrap();
        assert_eq!(image::guess_format(&out).unwrap(), *kind);
        let image = opened(&out);
        assert_eq!((image.width(), image.height()), expect, "{preset:?} of {w} x {h}");
        if w > 1 {
            is_like(&image, (2, image.height() / 2), RED);
            is_like(&image, (image.width() - 3, image.height() / 2), BLUE);
        }
    }
}

#[test]
fn covering_cuts_both_sides_alike() {
    let mut wide = halves(300, 100);
    for (x, _, pixel) in wide.enumerate_pixels_mut() {
        if !(90..210).contains(&x) {
            pixel.0 = [0, 255, 0];
        }
    }
    let out = render(&encoded(&wide.into(), ImageFormat::Png), Preset::Avatar, OutputFormat::Jpeg);
    let image = opened(&out.unwrap());
    is_like(&image, (20, 500), RED);
    is_like(&image, (980, 500), BLUE);
}

#[test]
fn every_kind_of_input() {
    let gray = DynamicImage::from(GrayImage::from_pixel(50, 50, image::Luma([200])));
    let deep = DynamicImage::from(halves(50, 50)).to_rgb16();
    let inputs = [
        picture(50, 50, ImageFormat::Jpeg),
        picture(50, 50, ImageFormat::Png),
        picture(50, 50, ImageFormat::Gif),
        picture(50, 50, ImageFormat::WebP),
        encoded(&gray, ImageFormat::Png),
        encoded(&deep.into(), ImageFormat::Png),
    ];
    for (n, input) in inputs.iter().enumerate() {
        let image = opened(&render(input, Preset::FeedThumbnail, OutputFormat::Webp).unwrap());
        assert_eq!((image.width(), image.height()), (50, 50), "{n}");
        is_like(&image, (5, 5), if n == 4 { [200; 3] } else { RED });
    }
    for other in
        [&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..], b"", b"BM123", b"\0\0\0\x20ftypavif"]
    {
        let refused = render(other, Preset::Avatar, OutputFormat::Webp);
        assert!(matches!(refused, Err(MediaError::NotAnImage)), "{other:?}");
    }
}

#[test]
fn cmyk() {
    // Full magenta and yellow; Adobe's files have it inverted, as has this encoder.
    let pixels: Vec<u8> = [0, 255, 255, 0].repeat(64 * 64);
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, 95).encode(&pixels, 64, 64, ColorType::Cmyk).unwrap();
    let image = opened(&render(&bytes, Preset::AvatarThumbnail, OutputFormat::Jpeg).unwrap());
    assert_eq!((image.width(), image.height()), (128, 128));
    is_like(&image, (64, 64), RED);
}

#[test]
fn exif_orientation_is_obeyed_and_metadata_dropped() {
    let exif = |orientation: u8| {
        let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0";
        [&tiff[..], &[orientation, 0, 0, 0, 0, 0, 0, 0]].concat()
    };
    // Where red is: left, right, top, bottom.
    let cases = [(1, (5, 50)), (3, (95, 50)), (6, (50, 5)), (8, (50, 95)), (5, (50, 5))];
    for (orientation, (x, y)) in cases {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 95);
        encoder.add_exif_metadata(&exif(orientation)).unwrap();
        encoder.add_icc_profile(b"a secret profile").unwrap();
        let image = halves(200, 100);
        encoder.encode(image.as_raw(), 200, 100, ColorType::Rgb).unwrap();
        for format in [OutputFormat::Jpeg, OutputFormat::Webp] {
            let out = render(&bytes, Preset::FeedThumbnail, format).unwrap();
            for secret in [&b"secret"[..], b"Exif", b"EXIF", b"ICC"] {
                assert!(!out.windows(secret.len()).any(|window| window == secret));
            }
            let image = opened(&out);
            let sideways = orientation >= 5;
            let expect = if sideways { (100, 200) } else { (200, 100) };
            assert_eq!((image.width(), image.height()), expect, "{orientation}");
            is_like(&image, (x * image.width() / 100, y * image.height() / 100), RED);
        }
    }
}

#[test]
fn of_an_animation_the_first_frame() {
    let mut bytes = Vec::new();
    {
        let mut encoder = GifEncoder::new(&mut bytes);
        encoder.set_repeat(Repeat::Infinite).unwrap();
        for colour in [[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]] {
            let frame = Frame::new(RgbaImage::from_pixel(30, 30, Rgba(colour)));
            encoder.encode_frame(frame).unwrap();
        }
    }
    is_like(&opened(&render(&bytes, Preset::Avatar, OutputFormat::Webp).unwrap()), (500, 500), RED);
}

#[test]
fn transparency_stays_in_webp_and_is_black_in_jpeg() {
    let clear = RgbaImage::from_pixel(50, 50, Rgba([255, 255, 255, 0]));
    let bytes = encoded(&clear.into(), ImageFormat::Png);
    let webp = opened(&render(&bytes, Preset::Avatar, OutputFormat::Webp).unwrap()).to_rgba8();
    assert_eq!(webp.get_pixel(500, 500).0[3], 0);
    let jpeg = opened(&render(&bytes, Preset::Avatar, OutputFormat::Jpeg).unwrap());
    is_like(&jpeg, (500, 500), [0; 3]);
}

/// A PNG whose header says one thing and whose data is next to nothing.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = picture(1, 1, ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    bytes
}

/// A JPEG with other dimensions in its header.
fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
    claiming(picture(16, 16, ImageFormat::Jpeg), 0xc0, width, height)
}

/// The same with other dimensions behind the marker that begins its frame.
fn claiming(mut bytes: Vec<u8>, frame: u8, width: u16, height: u16) -> Vec<u8> {
    let at = bytes.windows(2).position(|w| w == [0xff, frame]).unwrap();
    bytes[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    bytes[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

fn gif_of(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = picture(16, 16, ImageFormat::Gif);
    bytes[6..8].copy_from_slice(&width.to_le_bytes());
    bytes[8..10].copy_from_slice(&height.to_le_bytes());
    bytes
}

fn progressive(width: u16, height: u16, scans: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 50);
    encoder.set_progressive_scans(scans);
    let image = halves(width.into(), height.into());
    encoder.encode(image.as_raw(), width, height, ColorType::Rgb).unwrap();
    bytes
}

#[test]
fn bombs_are_refused_by_their_header() {
    let bombs = [
        png_of(100_000, 100_000),
        png_of(20_001, 1),
        png_of(19_000, 19_000),
        jpeg_of(65_535, 65_535),
        jpeg_of(19_000, 19_000),
        gif_of(65_535, 65_535),
        gif_of(15_000, 15_000),
    ];
    for (n, bomb) in bombs.iter().enumerate() {
        let refused = render(bomb, Preset::Avatar, OutputFormat::Webp);
        assert!(matches!(refused, Err(MediaError::TooLarge)), "{n}: {refused:?}");
    }
    // Scans that cost nothing to write and a pass over all pixels to read.
    let good = progressive(64, 64, 6);
    assert!(render(&good, Preset::AvatarThumbnail, OutputFormat::Webp).is_ok());
    let at = good.windows(2).rposition(|w| w == [0xff, 0xda]).unwrap();
    let scan = &good[at..good.len() - 2];
    let many = [&good[..at], &scan.repeat(100), &[0xff, 0xd9]].concat();
    let refused = render(&many, Preset::AvatarThumbnail, OutputFormat::Webp);
    assert!(matches!(refused, Err(MediaError::TooLarge)));
    // The memory of several passes, and few passes over many pixels; each is within the other limits.
    let passes = [&good[..at], &scan.repeat(30), &[0xff, 0xd9]].concat();
    for bomb in [claiming(good, 0xc2, 7200, 5000), claiming(passes, 0xc2, 4000, 3200)] {
        let refused = render(&bomb, Preset::AvatarThumbnail, OutputFormat::Webp);
        assert!(matches!(refused, Err(MediaError::TooLarge)));
    }
}

#[test]
fn what_is_much_larger_than_its_image_is_decoded_smaller_and_looks_the_same() {
    let kinds = [ImageFormat::Jpeg, ImageFormat::Png];
    for (kind, preset, (w, h)) in kinds.iter().flat_map(|kind| {
        let presets =
            [(Preset::AvatarThumbnail, (600, 900)), (Preset::FeedThumbnail, (4400, 3000))];
        presets.map(|(preset, size)| (*kind, preset, size))
    }) {
        let source = picture(w, h, kind);
        let plan = decode::plan(&source, preset, OutputFormat::Webp, MEMORY).unwrap();
        let decoded = decode::decode(&source, &plan).unwrap();
        assert!(decoded.width < w && decoded.width >= plan.to.0, "{kind:?} {}", decoded.width);
        assert!(decoded.height >= plan.to.1);
        let image = opened(&render(&source, preset, OutputFormat::Webp).unwrap());
        assert_eq!((image.width(), image.height()), plan.to);
        is_like(&image, (2, plan.to.1 / 2), RED);
        is_like(&image, (plan.to.0 - 3, plan.to.1 / 2), BLUE);
    }
    let grey = GrayImage::from_pixel(900, 900, image::Luma([99]));
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, 90).encode(grey.as_raw(), 900, 900, ColorType::Luma).unwrap();
    let image = opened(&render(&jpeg, Preset::AvatarThumbnail, OutputFormat::Jpeg).unwrap());
    is_like(&image, (64, 64), [99; 3]);
    let many = progressive(900, 900, 8);
    is_like(
        &opened(&render(&many, Preset::AvatarThumbnail, OutputFormat::Jpeg).unwrap()),
        (5, 64),
        RED,
    );
}

/// What a picture of these takes, by its header, or that it takes too much.
#[test]
fn what_a_picture_takes_is_within_the_share_or_it_is_refused() {
    let cost = |bytes: &[u8], preset| {
        decode::plan(bytes, preset, OutputFormat::Webp, MEMORY).map(|plan| plan.bytes >> 20)
    };
    let progressive_of = |height| claiming(progressive(64, 64, 6), 0xc2, 4000, height);
    let costs = [
        cost(&png_of(8000, 8000), Preset::FeedThumbnail),
        cost(&png_of(8000, 8000), Preset::AvatarThumbnail),
        cost(&jpeg_of(8000, 8000), Preset::FeedThumbnail),
        cost(&jpeg_of(4000, 3000), Preset::FeedFullsize),
        cost(&progressive_of(3000), Preset::FeedThumbnail),
        cost(&progressive_of(3000), Preset::FeedFullsize),
    ];
    assert_eq!(costs.map(Result::unwrap), [20, 1, 9, 28, 60, 70]);
    // Decoded whole it takes the same if its other passes did not come.
    let mut whole = claiming(progressive(64, 64, 6), 0xc2, 1500, 1500);
    let all = cost(&whole, Preset::FeedThumbnail).unwrap();
    while jpeg::scans(&whole) > 1 {
        whole.truncate(whole.windows(2).rposition(|w| w == [0xff, 0xda]).unwrap());
    }
    assert_eq!(cost(&whole, Preset::FeedThumbnail).unwrap(), all);
    for preset in [Preset::FeedThumbnail, Preset::AvatarThumbnail] {
        assert!(matches!(cost(&progressive_of(6000), preset), Err(MediaError::TooLarge)));
        assert!(matches!(cost(&gif_of(8000, 8000), preset), Err(MediaError::TooLarge)));
    }
}

#[test]
fn cut_and_garbled_files_neither_panic_nor_grow() {
    let kinds = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP];
    let mut inputs: Vec<_> = kinds.iter().map(|kind| picture(60, 40, *kind)).collect();
    inputs.push(progressive(60, 40, 5));
    for input in inputs {
        for cut in 0..input.len().min(400) {
            let _ = render(&input[..cut], Preset::AvatarThumbnail, OutputFormat::Jpeg);
        }
        let mut seed = 1_u32;
        for _ in 0..400 {
            let mut garbled = input.clone();
            for _ in 0..3 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (seed >> 8) as usize % garbled.len();
                garbled[at] = seed as u8;
            }
            let _ = render(&garbled, Preset::AvatarThumbnail, OutputFormat::Jpeg);
        }
    }
    let png = picture(60, 40, ImageFormat::Png);
    let cut = render(&png[..png.len() / 2], Preset::Avatar, OutputFormat::Webp);
    assert!(matches!(cut, Err(MediaError::Damaged)));
}

struct CodecFixture {
    media: Arc<Media>,
    blobs: Arc<Blobs>,
    store: Store,
    writer: Writer,
    takedowns: Takedowns,
}

fn fixture() -> CodecFixture {
    let dir = tempfile::tempdir().unwrap().keep();
    let store = Store::open(&dir, 64 << 20).unwrap();
    let (writer, _thread) = Writer::start(store.clone()).unwrap();
    let takedowns = Takedowns::load(&store.snapshot()).unwrap();
    let blobs = Arc::new(Blobs::default());
    let media = media(&store, takedowns.clone(), Arc::clone(&blobs));
    CodecFixture { media, blobs, store, writer, takedowns }
}

fn asked(cid: &str) -> ImageRequest {
    ImageRequest::parse(&format!("/avatar_thumbnail/plain/{OWNER}/{cid}")).unwrap()
}

#[tokio::test]
async fn an_image_is_made_once_however_many_ask() {
    let f = fixture();
    let cid = f.blobs.add(picture(50, 50, ImageFormat::Png));
    let request = asked(&cid);
    let all =
        futures_util::future::join_all((0..50).map(|_| f.media.image(&request, Client::Own))).await;
    let first = all[0].as_ref().unwrap();
    assert!(all.iter().all(|image| image.as_ref().unwrap().bytes == first.bytes));
    let again = f.media.image(&request, Client::Own).await.unwrap();
    assert_eq!((again.cached, &again.bytes), (true, &first.bytes));
    assert_eq!(f.blobs.asked.lock().len(), 1);
    let status = f.media.status();
    assert_eq!((status.requests, status.resized, status.running), (51, 1, 0));
    assert_eq!((status.cache_files, status.cache_bytes), (1, 4096));
    // Another account has to have the blob itself.
    let other = ImageRequest { did: Did::parse("did:plc:other").unwrap(), ..request };
    assert!(!f.media.image(&other, Client::Own).await.unwrap().cached);
    assert_eq!(f.blobs.asked.lock().len(), 2);
}

#[tokio::test]
async fn what_the_pds_gives_must_be_what_was_asked_for() {
    let f = fixture();
    let cid = f.blobs.add(picture(50, 50, ImageFormat::Png));
    f.blobs.held.lock().insert(cid.clone(), picture(60, 60, ImageFormat::Png).into());
    for _ in 0..3 {
        assert!(matches!(
            f.media.image(&asked(&cid), Client::Own).await,
            Err(MediaError::WrongBytes)
        ));
    }
    assert_eq!(f.blobs.asked.lock().len(), 1, "the failure is remembered");
    assert_eq!(f.media.status().cache_files, 0);
    let text = f.blobs.add("no image at all");
    assert!(matches!(f.media.image(&asked(&text), Client::Own).await, Err(MediaError::NotAnImage)));
    *f.blobs.down.lock() = true;
    let unheard = f.blobs.add(picture(70, 70, ImageFormat::Png));
    assert!(matches!(
        f.media.image(&asked(&unheard), Client::Own).await,
        Err(MediaError::Upstream(_))
    ));
}

#[tokio::test]
async fn takedowns_hide_what_is_cached() {
    let f = fixture();
    let cid = f.blobs.add(picture(50, 50, ImageFormat::Png));
    let request = asked(&cid);
    let down = || Some(Takedown { at: 1, reference: "r".to_owned() });
    f.media.image(&request, Client::Own).await.unwrap();
    let shown = async || {
        let image = f.media.image(&request, Client::Own).await;
        let check = f.media.check(&request).await;
        let blob = f.media.blob(&request.did, &request.cid, Client::Own).await;
        assert_eq!((image.is_ok(), check.is_ok()), (blob.is_ok(), blob.is_ok()));
        image.is_ok()
    };
    let set_blob = async |takedown: Option<Takedown>| {
        let cid = cid.clone();
        let work = move |tx: &mut Tx<'_>| {
            let owner = tx.intern_actor(OWNER)?;
            private::testing::set_blob_takedown(tx, owner, &cid, takedown.as_ref());
            Ok(())
        };
        f.writer.durable(work).await.unwrap();
    };
    let set_status = async |status: AccountStatus, tombstoned: bool| {
        let work = move |tx: &mut Tx<'_>| {
            let id = tx.intern_actor(OWNER)?;
            let row = rows::ActorRow { status, tombstoned, ..Default::default() };
            tx.put(Ks::Actor, &rows::actor_key(id), &row.encode());
            Ok(())
        };
        f.writer.durable(work).await.unwrap();
    };
    assert!(shown().await);
    set_blob(down()).await;
    assert!(!shown().await);
    set_blob(None).await;
    assert!(shown().await);
    f.takedowns.set(&f.writer, OWNER.to_owned(), down()).await.unwrap();
    assert!(!shown().await);
    f.takedowns.set(&f.writer, OWNER.to_owned(), None).await.unwrap();
    for (status, tombstoned, expect) in [
        (AccountStatus::Deactivated, false, false),
        (AccountStatus::OptedOut, false, false),
        (AccountStatus::Takendown, false, false),
        (AccountStatus::Deleted, false, false),
        (AccountStatus::Active, true, false),
        (AccountStatus::Active, false, true),
    ] {
        set_status(status, tombstoned).await;
        assert_eq!(shown().await, expect, "{status:?}");
    }
    assert_eq!(f.media.status().resized, 1);
    drop(f.store);
}

#[tokio::test]
async fn an_account_that_goes_takes_its_images_along() {
    let f = fixture();
    let cids = [50, 60].map(|n| f.blobs.add(picture(n, n, ImageFormat::Png)));
    let other =
        ImageRequest::parse(&format!("/avatar/plain/did:plc:other/{}@jpeg", cids[0])).unwrap();
    f.media.image(&other, Client::Own).await.unwrap();
    for cid in &cids {
        f.media.image(&asked(cid), Client::Own).await.unwrap();
    }
    assert_eq!(f.media.status().cache_files, 3);
    // One is under way when the account goes: it comes too late for the cache.
    let late = asked(&f.blobs.add(picture(70, 70, ImageFormat::Png)));
    let media = Arc::clone(&f.media);
    let flight = tokio::spawn(async move { media.image(&late, Client::Own).await });
    while f.media.status().running == 0 {
        tokio::task::yield_now().await;
    }
    let gone = move |tx: &mut Tx<'_>| {
        let id = tx.intern_actor(OWNER)?;
        let row = rows::ActorRow { status: AccountStatus::OptedOut, ..Default::default() };
        tx.put(Ks::Actor, &rows::actor_key(id), &row.encode());
        Ok(())
    };
    f.writer.durable(gone).await.unwrap();
    f.media.forget(&Did::parse(OWNER).unwrap()).await;
    flight.await.unwrap().unwrap();
    assert_eq!(f.media.status().cache_files, 1);
    assert!(f.media.image(&other, Client::Own).await.unwrap().cached);
    assert!(matches!(
        f.media.image(&asked(&cids[1]), Client::Own).await,
        Err(MediaError::NotFound)
    ));
}

/// A PDS that says nothing.
struct Silent;

impl BlobOrigin for Silent {
    fn image<'a>(
        &'a self,
        _: &'a Did,
        _: &'a str,
        _: &'a Budget,
    ) -> BoxFuture<'a, Result<BlobInMemory, MediaError>> {
        Box::pin(std::future::pending())
    }

    fn blob<'a>(
        &'a self,
        _: &'a Did,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(StreamResponse, Hold), MediaError>> {
        Box::pin(std::future::pending())
    }
}

/// Images that nobody gets, asked for by these.
struct Waiting {
    media: Arc<Media>,
    time: Elapsed,
    _dir: tempfile::TempDir,
}

impl Waiting {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 64 << 20).unwrap();
        let takedowns = Takedowns::load(&store.snapshot()).unwrap();
        let cache_path = dir.path().join("images");
        let settings = MediaSettings {
            cache_path,
            cache_size: 0,
            floor: 0,
            free: |_| 0,
            threads: 1,
            pictures: Budget::new(MEMORY),
            files: Budget::new(MEMORY),
        };
        let limits = Arc::new(Limits::new(Proxies::default(), &[]));
        let time = Elapsed::stopped();
        let (origin, stopped) = (Arc::new(Silent), time.clone());
        let media = Media::with_time(settings, store, takedowns, origin, limits, stopped).unwrap();
        Self { media, time, _dir: dir }
    }

    fn ask(
        &self,
        n: usize,
        client: Client,
    ) -> BoxFuture<'static, Result<RenderedImage, MediaError>> {
        let media = Arc::clone(&self.media);
        let cid = cid::to_base32(&cid::for_raw(&n.to_be_bytes()));
        let request = ImageRequest::parse(&format!("/avatar/plain/{OWNER}/{cid}")).unwrap();
        Box::pin(async move { media.image(&request, client).await })
    }
}

#[tokio::test]
async fn however_many_are_asked_for_only_so_many_are_under_way() {
    let waiting = Waiting::new();
    let all = (0..=FLIGHTS).map(|n| waiting.ask(n, Client::Own)).collect::<Vec<_>>();
    let (answer, _, others) = futures_util::future::select_all(all).await;
    assert!(matches!(answer, Err(MediaError::Overloaded)));
    assert_eq!((waiting.media.status().running, others.len()), (FLIGHTS, FLIGHTS));
}

#[tokio::test]
async fn no_address_has_all_images_that_are_under_way() {
    let waiting = Waiting::new();
    let [one, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|ip| Client::address(ip.into()));
    let mut all: Vec<_> = (0..65).map(|n| waiting.ask(n, one)).collect();
    let (answer, at, rest) = futures_util::future::select_all(all.split_off(0)).await;
    assert!(matches!(answer, Err(MediaError::Limited(_))), "{at}");
    assert_eq!((waiting.media.status().running, rest.len()), (64, 64));
    // What another waits for already costs nothing, and he has his own places.
    let mut joined = waiting.ask(rest.len() - 1, other);
    let mut own = waiting.ask(1000, other);
    let both = futures_util::future::select(&mut joined, &mut own);
    assert!(both.now_or_never().is_none());
}

#[tokio::test]
async fn what_waits_for_a_host_that_does_not_answer_gives_way() {
    let waiting = Waiting::new();
    let running = || waiting.media.status().running;
    let begin = |n| tokio::spawn(waiting.ask(n, Client::Own));
    let first = begin(0);
    while running() < 1 {
        tokio::task::yield_now().await;
    }
    waiting.time.advance(std::time::Duration::from_secs(1));
    let others: Vec<_> = (1..FLIGHTS).map(begin).collect();
    while running() < FLIGHTS {
        tokio::task::yield_now().await;
    }
    // All of them are new, or nearly.
    assert!(matches!(begin(FLIGHTS).await.unwrap(), Err(MediaError::Overloaded)));
    waiting.time.advance(std::time::Duration::from_secs(2));
    let late = begin(FLIGHTS + 1);
    assert!(matches!(first.await.unwrap(), Err(MediaError::Overloaded)));
    assert!(running() <= FLIGHTS && !late.is_finished());
    assert!(others.iter().all(|other| !other.is_finished()));
}
