//! The input of a procedure: from bytes to a JSON value that the lexicon accepts.

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Map, Value};

use super::error::XrpcError;
use super::message::Body;
use crate::lexicon::MethodSchema;

/// Cap on a body, before and after decompression.
pub(super) const MAX_BODY: usize = 100 * 1024;

/// Reads the input that a method's lexicon asks for; `None` where it asks for none.
pub(super) fn input(
    schema: &MethodSchema,
    headers: &HeaderMap,
    body: &Body,
) -> Result<Option<Value>, XrpcError> {
    if schema.input_encoding().is_none() {
        return match body {
            Body::Missing => Ok(None),
            Body::Bytes(bytes) if bytes.is_empty() => Ok(None),
            _ => Err(XrpcError::invalid_request(
                "A request body was provided when none was expected",
            )),
        };
    }
    let bytes = match body {
        Body::Bytes(bytes) => bytes,
        Body::TooLarge => return Err(XrpcError::too_large()),
        Body::Aborted => return Err(XrpcError::invalid_request("request aborted")),
        Body::Missing => {
            return Err(XrpcError::invalid_request(
                "A request body is expected but none was provided",
            ));
        }
    };
    check_type(headers)?;
    let bytes = decoded(headers, bytes)?;
    let value = if bytes.is_empty() {
        Value::Object(Map::new())
    } else {
        serde_json::from_slice(&bytes)
            .map_err(|error| XrpcError::invalid_request(format!("Invalid JSON: {error}")))?
    };
    schema
        .validate_input(&value)
        .map_err(|invalid| XrpcError::invalid_request(invalid.to_string()))?;
    Ok(Some(value))
}

fn check_type(headers: &HeaderMap) -> Result<(), XrpcError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Err(XrpcError::invalid_request(
            "Request encoding (Content-Type) required but not provided",
        ));
    };
    let value = value.to_str().unwrap_or_default();
    let mime = value.split(';').next().unwrap_or_default().trim();
    if mime.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let shown: String = mime.chars().take(100).collect();
    Err(XrpcError::invalid_request(format!("Wrong request encoding (Content-Type): {shown}")))
}

fn decoded(headers: &HeaderMap, bytes: &Bytes) -> Result<Bytes, XrpcError> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else {
        return Ok(bytes.clone());
    };
    match encoding.as_bytes() {
        b"identity" => Ok(bytes.clone()),
        b"gzip" => {
            let mut out = Vec::new();
            let limit = MAX_BODY as u64 + 1;
            GzDecoder::new(bytes.as_ref())
                .take(limit)
                .read_to_end(&mut out)
                .map_err(|_| XrpcError::invalid_request("request body is not valid gzip"))?;
            if out.len() > MAX_BODY {
                return Err(XrpcError::too_large());
            }
            Ok(out.into())
        }
        _ => Err(XrpcError::unsupported_encoding()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;

    use super::*;
    use crate::lexicon::catalog;

    fn gzip(bytes: &[u8]) -> Body {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        Body::Bytes(encoder.finish().unwrap().into())
    }

    #[test]
    fn compressed_bodies_are_capped_after_decompression() {
        let schema = catalog().method("app.bsky.graph.muteActor").unwrap();
        let bomb = vec![b' '; 50 * MAX_BODY];
        let cases = [
            (gzip(br#"{"actor":"did:plc:b"}"#), "gzip", None),
            (gzip(&bomb), "gzip", Some(413)),
            (Body::Bytes(Bytes::from_static(b"{}")), "gzip", Some(400)),
            (Body::Bytes(Bytes::from_static(b"{}")), "br", Some(415)),
        ];
        for (body, encoding, expect) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            let status = input(schema, &headers, &body).err().map(|error| error.status().as_u16());
            assert_eq!(status, expect);
        }
    }

    #[test]
    fn deep_input_is_refused() {
        let schema = catalog().method("app.bsky.graph.muteActor").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let deep = format!("{}{}", "[".repeat(40_000), "]".repeat(40_000));
        let error = input(schema, &headers, &Body::Bytes(deep.into())).unwrap_err();
        assert_eq!(error.status(), 400);
    }
}
