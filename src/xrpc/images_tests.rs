//! Paths, statuses and headers of images and blobs, through the app and over a socket.

use std::sync::Arc;

use bytes::Bytes;
use http::Method as Verb;
use http::header::{CONTENT_LENGTH, IF_NONE_MATCH};
use image::ImageFormat;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::media::testing::{Blobs, opened, picture};
use crate::syntax::cid;
use crate::xrpc::testing::{Keys, context, json_of, request};
use crate::xrpc::{App, ServerLimits, serve};

const DID: &str = "did:plc:owner";

fn app(blobs: &Arc<Blobs>) -> Arc<App> {
    let mut ctx = context(Arc::new(Keys::default()));
    let inner = Arc::get_mut(&mut ctx).unwrap();
    let takedowns = inner.hydration.takedowns.clone();
    inner.media = crate::media::testing::media(&inner.store, takedowns, Arc::clone(blobs));
    Arc::new(App::new(ctx).unwrap())
}

fn text<'a>(response: &'a Response, name: &HeaderName) -> &'a str {
    response.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn an_image_and_its_validator() {
    let blobs = Arc::new(Blobs::default());
    let app = app(&blobs);
    let cid = blobs.add(picture(20, 10, ImageFormat::Png));
    let cases = [
        ("", "image/webp", "miss"),
        ("@webp", "image/webp", "hit"),
        ("@jpeg", "image/jpeg", "miss"),
    ];
    for (suffix, mime, cache) in cases {
        let path = format!("/img/feed_fullsize/plain/{DID}/{cid}{suffix}");
        let response = app.handle(request(Verb::GET, &path)).await;
        assert_eq!(response.status, 200);
        assert_eq!(text(&response, &CONTENT_TYPE), mime);
        assert_eq!(text(&response, &X_CACHE), cache);
        assert_eq!(text(&response, &CACHE_CONTROL), "public, max-age=31536000");
        assert_eq!(text(&response, &http::header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
        assert_eq!(opened(&response.body).width(), 20);
        let mut again = request(Verb::GET, &path);
        again.headers.insert(IF_NONE_MATCH, response.headers.get(ETAG).unwrap().clone());
        let again = app.handle(again).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
        let head = app.handle(request(Verb::HEAD, &path)).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert_eq!(text(&head, &CONTENT_LENGTH), response.body.len().to_string());
    }
}

#[tokio::test]
async fn what_there_is_not() {
    let blobs = Arc::new(Blobs::default());
    let app = app(&blobs);
    let cid = blobs.add("not an image");
    let other = cid::to_base32(&cid::for_raw(b"other"));
    let cases = [
        (format!("/img/huge/plain/{DID}/{cid}"), 400, "Invalid path: bad preset"),
        (format!("/img/avatar/{DID}/{cid}"), 400, "Invalid path"),
        (format!("/img/avatar/plain/{DID}/{cid}@png"), 400, "Invalid path: bad format"),
        (format!("/img/avatar/plain/alice.test/{cid}"), 400, "Invalid did"),
        (format!("/img/avatar/plain/{DID}/x"), 400, "Invalid cid"),
        (format!("/img/avatar/plain/{DID}/{cid}"), 400, "Not an image"),
        (format!("/img/avatar/plain/{DID}/{other}"), 404, "Blob not found"),
        (format!("/blob/{DID}/{other}"), 404, "Blob not found"),
        (format!("/blob/{DID}/x"), 400, "Invalid cid"),
        (format!("/blob/alice.test/{cid}"), 400, "Invalid did"),
    ];
    for (path, status, message) in cases {
        let response = app.handle(request(Verb::GET, &path)).await;
        assert_eq!(response.status.as_u16(), status, "{path}");
        assert_eq!(json_of(&response)["message"], message, "{path}");
        assert!(!response.headers.contains_key(CACHE_CONTROL), "{path}");
    }
    for path in ["/img", "/img/", "/blob/", "/blob/x", &format!("/blob/{DID}/{cid}/")] {
        assert_eq!(app.handle(request(Verb::GET, path)).await.status, 404, "{path}");
    }
    let path = format!("/blob/{DID}/{cid}");
    assert_eq!(app.handle(request(Verb::POST, &path)).await.status, 405);
    *blobs.down.lock() = true;
    assert_eq!(app.handle(request(Verb::GET, &path)).await.status, 502);
}

#[tokio::test]
async fn a_blob_cannot_act_as_a_page() {
    let blobs = Arc::new(Blobs::default());
    let app = app(&blobs);
    let cid = blobs.add("<script>alert(1)</script>");
    let response = app.handle(request(Verb::GET, &format!("/blob/{DID}/{cid}"))).await;
    assert_eq!((response.status.as_u16(), &response.body[..8]), (200, &b"<script>"[..]));
    let disposition = format!("attachment; filename=\"{cid}\"");
    for (name, value) in [
        (CONTENT_TYPE, "text/html"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (CONTENT_DISPOSITION, &disposition),
        (http::header::SET_COOKIE, ""),
    ] {
        assert_eq!(text(&response, &name), value, "{name}");
    }
    let head = app.handle(request(Verb::HEAD, &format!("/blob/{DID}/{cid}"))).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

/// Everything that comes over a connection until it ends.
async fn transfer(app: Arc<App>, path: &str) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, app, ServerLimits::default(), stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    // A broken transfer may end in a reset.
    let _ = stream.read_to_end(&mut all).await;
    stop.cancel();
    server.await.unwrap().unwrap();
    all
}

#[tokio::test]
async fn a_large_blob_is_checked_while_it_streams() {
    let blobs = Arc::new(Blobs::default());
    let app = app(&blobs);
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n >> 3) as u8).collect();
    let cid = blobs.add(large.clone());
    let path = format!("/blob/{DID}/{cid}");
    let all = transfer(Arc::clone(&app), &path).await;
    assert!(all.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&all[..200]));
    // The last chunk is the sign of a whole body.
    assert!(all.len() > large.len() && all.ends_with(b"0\r\n\r\n"));
    let mut wrong = large.clone();
    *wrong.last_mut().unwrap() ^= 1;
    blobs.held.lock().insert(cid.clone(), Bytes::from(wrong));
    let all = transfer(Arc::clone(&app), &path).await;
    assert!(all.starts_with(b"HTTP/1.1 200") && !all.ends_with(b"0\r\n\r\n"));
    // A small one is not even begun.
    let small = blobs.add("small");
    blobs.held.lock().insert(small.clone(), Bytes::from_static(b"wrong"));
    let all = transfer(app, &format!("/blob/{DID}/{small}")).await;
    assert!(all.starts_with(b"HTTP/1.1 404"));
}
