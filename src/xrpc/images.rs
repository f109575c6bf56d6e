//! `/img/{preset}/plain/{did}/{cid}` and `/blob/{did}/{cid}`: images in the sizes of views, and blobs as they are.
//!
//! Knows paths, headers and statuses; what is shown and how it is made is `media`'s. Handlers only wait: all work is
//! done on media's threads.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EXPIRES, HeaderName, LAST_MODIFIED, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::context::AppCtx;
use super::encode::{self, Accept};
use super::error::XrpcError;
use super::message::{Response, Rest};
use super::site::not_found;
use crate::limits::Client;
use crate::media::{Blob, ImageRequest, MediaError, parse_blob};
use crate::syntax::cid;

/// The bytes that a CID names never change, nor does what is made of them until the URL does.
const A_YEAR: HeaderValue = HeaderValue::from_static("public, max-age=31536000");
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// What a PDS may say about a blob.
const PASSED_ON: [HeaderName; 7] =
    [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CACHE_CONTROL, LAST_MODIFIED, EXPIRES, VARY];

/// What was asked for, and by whom.
pub(super) struct Asked<'a> {
    /// What the path has in the places that vary.
    pub(super) parts: &'a [&'a str],
    pub(super) accept: &'a Accept,
    pub(super) client: Client,
}

/// `/img/*`
pub(super) fn image<'a>(ctx: &'a AppCtx, asked: Asked<'a>) -> BoxFuture<'a, Response> {
    Box::pin(async move {
        let path = asked.parts.first().copied().unwrap_or_default();
        let result = resized(ctx, path, &asked).await;
        result.unwrap_or_else(|error| encode::failure("/img", error))
    })
}

/// `/blob/{did}/{cid}`
pub(super) fn blob<'a>(ctx: &'a AppCtx, asked: Asked<'a>) -> BoxFuture<'a, Response> {
    Box::pin(async move {
        let [did, cid] = asked.parts else { return not_found() };
        let result = original(ctx, did, cid, &asked).await;
        result.unwrap_or_else(|error| encode::failure("/blob", error))
    })
}

async fn resized(ctx: &AppCtx, path: &str, asked: &Asked<'_>) -> Result<Response, XrpcError> {
    let failure = |error| failure(ctx, error);
    let wanted = ImageRequest::parse(&format!("/{path}")).map_err(bad_path)?;
    let etag = HeaderValue::try_from(wanted.etag()).map_err(XrpcError::internal)?;
    let mut headers = encode::base_headers();
    headers.insert(CACHE_CONTROL, A_YEAR);
    let unchanged = asked.accept.has(&etag);
    headers.insert(ETAG, etag);
    if unchanged {
        ctx.media.check(&wanted).await.map_err(failure)?;
        return Ok(not_modified(headers));
    }
    let image = ctx.media.image(&wanted, asked.client).await.map_err(failure)?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(wanted.format.mime()));
    // Whoever uploaded it has made us decode it, but we wrote it: it is what its type says.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let cache = if image.cached { "hit" } else { "miss" };
    headers.insert(X_CACHE, HeaderValue::from_static(cache));
    Ok(Response::whole(StatusCode::OK, headers, image.bytes))
}

async fn original(
    ctx: &AppCtx,
    did: &str,
    cid: &str,
    asked: &Asked<'_>,
) -> Result<Response, XrpcError> {
    let failure = |error| failure(ctx, error);
    let (did, cid) = parse_blob(did, cid).map_err(bad_path)?;
    let name = cid::to_base32(&cid);
    let etag = HeaderValue::try_from(format!("\"{name}\"")).map_err(XrpcError::internal)?;
    let Blob { headers: said, first, rest } =
        ctx.media.blob(&did, &cid, asked.client).await.map_err(failure)?;
    let mut headers = encode::base_headers();
    headers.insert(CACHE_CONTROL, A_YEAR);
    for name in PASSED_ON {
        if let Some(value) = said.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let unchanged = asked.accept.has(&etag);
    headers.insert(ETAG, etag);
    // A stranger's bytes on our origin: they must not run as a page of it.
    headers
        .insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_XSS_PROTECTION, HeaderValue::from_static("0"));
    let disposition = format!("attachment; filename=\"{name}\"");
    headers.insert(
        CONTENT_DISPOSITION,
        HeaderValue::try_from(disposition).map_err(XrpcError::internal)?,
    );
    if unchanged {
        return Ok(not_modified(headers));
    }
    let rest =
        rest.map(|rest| Rest(rest.map(|piece| piece.map_err(std::io::Error::other)).boxed()));
    Ok(Response { rest, ..Response::whole(StatusCode::OK, headers, first) })
}

fn not_modified(mut headers: HeaderMap) -> Response {
    headers.remove(CONTENT_TYPE);
    Response::whole(StatusCode::NOT_MODIFIED, headers, bytes::Bytes::new())
}

fn bad_path(error: crate::media::BadPath) -> XrpcError {
    XrpcError::bad_path(error.to_string())
}

fn failure(ctx: &AppCtx, error: MediaError) -> XrpcError {
    let message = error.to_string();
    match error {
        MediaError::NotFound | MediaError::WrongBytes | MediaError::NoOrigin => {
            XrpcError::not_found(message)
        }
        MediaError::NotAnImage | MediaError::TooLarge | MediaError::Damaged => {
            XrpcError::bad_path(message)
        }
        MediaError::Upstream(cause) => XrpcError::upstream(message).with_cause(cause),
        MediaError::Limited(refused) => ctx.limited(refused),
        MediaError::Overloaded => XrpcError::overloaded(),
        error @ (MediaError::Store(_) | MediaError::Worker(_)) => XrpcError::internal(error),
    }
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;
