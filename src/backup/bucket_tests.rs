//! A small service that speaks S3, and the ways in which one may fail.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use super::super::repository::Repository;
use super::super::{Kind, Progress};
use super::*;
use crate::net::Dialer;
use crate::store::{Store, Writer};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Good,
    /// Says that it is not allowed.
    Refuses,
    /// Takes requests and never answers.
    Stalls,
    /// Says that it has what it does not keep.
    Forgets,
    /// Keeps half of it.
    Cuts,
    /// Is overloaded, so many times.
    Busy(u32),
}

/// The bucket `b`.
struct Fake {
    mood: Mutex<Mood>,
    held: Mutex<BTreeMap<String, Bytes>>,
    parts: Mutex<BTreeMap<u32, Bytes>>,
    asked: AtomicU32,
}

impl Fake {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let status = |status: StatusCode, text: &str| {
            let mut answer = Response::new(Full::new(Bytes::from(text.to_owned())));
            *answer.status_mut() = status;
            answer
        };
        if !is_signed(&head, &body) {
            return status(
                StatusCode::FORBIDDEN,
                "<Error><Code>SignatureDoesNotMatch</Code></Error>",
            );
        }
        let mood = *self.mood.lock();
        match mood {
            Mood::Refuses => {
                return status(StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>");
            }
            Mood::Stalls => std::future::pending().await,
            Mood::Busy(n) if n > 0 => {
                *self.mood.lock() = Mood::Busy(n - 1);
                return status(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "<Error><Code>SlowDown</Code></Error>",
                );
            }
            _ => {}
        }
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        let key = head.uri.path().strip_prefix("/b/").unwrap_or_default().to_owned();
        let mut held = self.held.lock();
        let keep = |held: &mut BTreeMap<String, Bytes>, bytes: Bytes| match mood {
            Mood::Forgets => {}
            Mood::Cuts => drop(held.insert(key.clone(), bytes.slice(..bytes.len() / 2))),
            _ => drop(held.insert(key.clone(), bytes)),
        };
        let mut answer = status(StatusCode::OK, "");
        match head.method {
            Method::PUT if query.contains_key("partNumber") => {
                self.parts.lock().insert(query["partNumber"].parse().unwrap(), body);
            }
            Method::PUT => keep(&mut held, body),
            Method::POST if query.contains_key("uploads") => {
                self.parts.lock().clear();
                answer = status(
                    StatusCode::OK,
                    "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>1</UploadId>\
                     </InitiateMultipartUploadResult>",
                );
            }
            Method::POST => {
                let parts = self.parts.lock();
                let parts: Vec<&[u8]> = parts.values().map(AsRef::as_ref).collect();
                keep(&mut held, parts.concat().into());
                answer = status(
                    StatusCode::OK,
                    "<CompleteMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><ETag>\"e\"</ETag>\
                     </CompleteMultipartUploadResult>",
                );
            }
            Method::GET if key.is_empty() => {
                answer = status(StatusCode::OK, &listing(&held, &query));
            }
            Method::GET => match held.get(&key) {
                Some(bytes) => *answer.body_mut() = Full::new(bytes.clone()),
                None => {
                    return status(StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>");
                }
            },
            Method::DELETE => drop(held.remove(&key)),
            _ => return status(StatusCode::METHOD_NOT_ALLOWED, ""),
        }
        let headers = answer.headers_mut();
        headers.insert("etag", http::HeaderValue::from_static("\"e\""));
        headers.insert(
            "last-modified",
            http::HeaderValue::from_static("Thu, 01 Jan 2026 00:00:00 GMT"),
        );
        answer
    }
}

/// Whether a request is signed with the key, as Signature Version 4 has it.
fn is_signed(head: &http::request::Parts, body: &[u8]) -> bool {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let sha256 = |bytes: &[u8]| hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    let hmac = |key: &[u8], text: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        ring::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let header = |name: &str| head.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    let Some(given) = header("authorization") else { return false };
    let field = |name: &str| {
        let (_, rest) = given.split_once(&format!("{name}=")).unwrap();
        rest.split(',').next().unwrap().to_owned()
    };
    let (scope, names) = (field("Credential"), field("SignedHeaders"));
    let Some(scope) = scope.strip_prefix("name/") else { return false };
    let query = head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let valued = |pair: &str| pair.to_owned() + if pair.contains('=') { "" } else { "=" };
    let mut query: Vec<String> = query.map(valued).collect();
    query.sort_unstable();
    let headers: String =
        names.split(';').map(|name| format!("{name}:{}\n", header(name).unwrap().trim())).collect();
    let of_body = header("x-amz-content-sha256").unwrap();
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{names}\n{of_body}",
        head.method,
        head.uri.path(),
        query.join("&")
    );
    let date = header("x-amz-date").unwrap();
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let first = b"AWS4key".to_vec();
    let key = scope.split('/').fold(first, |key, part| hmac(&key, part));
    let whole = of_body == sha256(body) || of_body == "UNSIGNED-PAYLOAD";
    whole
        && names.split(';').any(|name| name == "host")
        && field("Signature") == hex(&hmac(&key, &text))
}

/// Two at a time.
fn listing(held: &BTreeMap<String, Bytes>, query: &BTreeMap<String, String>) -> String {
    let prefix = query.get("prefix").map(String::as_str).unwrap_or_default();
    let after = query.get("continuation-token").cloned().unwrap_or_default();
    let all = held.iter().filter(|(key, _)| key.starts_with(prefix) && **key > after);
    let found: Vec<_> = all.take(3).collect();
    let more = found.len() > 2;
    let entries: String = found
        .iter()
        .take(2)
        .map(|(key, bytes)| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"e\"</ETag>\
                 <Size>{}</Size></Contents>",
                bytes.len()
            )
        })
        .collect();
    let next = found.get(1).filter(|_| more).map_or(String::new(), |(key, _)| {
        format!("<NextContinuationToken>{key}</NextContinuationToken>")
    });
    format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>{next}{entries}</ListBucketResult>")
}

async fn serve() -> (Arc<Fake>, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let fake = Arc::new(Fake {
        mood: Mutex::new(Mood::Good),
        held: Mutex::default(),
        parts: Mutex::default(),
        asked: AtomicU32::new(0),
    });
    let of = Arc::clone(&fake);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let of = Arc::clone(&of);
            let service = service_fn(move |request| {
                let of = Arc::clone(&of);
                async move { Ok::<_, Infallible>(of.answer(request).await) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (fake, url)
}

fn bucket(url: &str) -> Bucket {
    with_key(url, "key", Waits::default())
}

/// For a bucket that never answers; one that does may take longer on a busy machine, so it is not waited for so briefly.
const BRIEF: Waits =
    Waits { idle: Duration::from_millis(300), retries: 1, retry_within: Duration::from_secs(20) };

fn with_key(url: &str, key: &str, waits: Waits) -> Bucket {
    let config = config::Backup {
        endpoint: Some(url.to_owned()),
        region: "us-east-1".to_owned(),
        access_key: Some("name".to_owned()),
        secret_key: Some(config::Secret::new(key.to_owned())),
        ..config::Backup::default()
    };
    let dialer = Dialer::new(false).unwrap().unguarded();
    let http = HttpClient::new(&dialer, "https://a.example");
    Bucket::new("b/of/mine", &config, http, Handle::current(), waits).unwrap()
}

fn repository(url: &str, waits: Waits) -> Repository {
    Repository {
        place: Box::new(with_key(url, "key", waits)),
        recipients: None,
        identities: None,
        rate: 0,
    }
}

/// On a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_any_length_go_there_and_back() {
    let (fake, url) = serve().await;
    let bucket = bucket(&url);
    blocking(move || {
        let lens = [0, 1, PART - 1, PART, PART + 1, 2 * PART + 7];
        for (n, len) in lens.into_iter().enumerate() {
            let bytes: Vec<u8> = (0..len).map(|i| (i / 251) as u8).collect();
            let key = format!("objects/{n}");
            assert_eq!(bucket.put(&key, &mut bytes.as_slice()).unwrap(), len as u64, "{len}");
            let mut back = Vec::new();
            bucket.get(&key).unwrap().read_to_end(&mut back).unwrap();
            assert!(back == bytes, "{len}");
        }
        let listed = bucket.list("objects").unwrap();
        assert_eq!(listed.iter().map(|f| f.len as usize).collect::<Vec<_>>(), lens);
        assert_eq!(listed[2].key, "objects/2");
        assert!(bucket.list("object").unwrap().is_empty());
        bucket.remove("objects/2").unwrap();
        bucket.remove("objects/2").unwrap();
        assert_eq!(bucket.list("objects").unwrap().len(), 5);
        let error = bucket.get("objects/2").map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    })
    .await;
    assert!(fake.held.lock().keys().all(|key| key.starts_with("of/mine/objects/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_refused_and_never_said() {
    let (fake, url) = serve().await;
    let wrong = with_key(&url, "a-secret", Waits::default());
    let error = blocking(move || wrong.put("a", &mut b"b".as_slice()).unwrap_err()).await;
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    let words = error.to_string();
    assert!(words.contains("SignatureDoesNotMatch") && !words.contains("a-secret"), "{words}");
    assert!(fake.held.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_refuses_stalls_or_lies_has_no_backup_that_counts() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 64 << 20).unwrap();
    let (writer, _thread) = Writer::start(store.clone()).unwrap();
    writer
        .durable(|tx| crate::schema::Edit::intern_actor(tx, "did:web:a.example").map(drop))
        .await
        .unwrap();
    let (fake, url) = serve().await;
    for (mood, says) in [
        (Mood::Refuses, "AccessDenied"),
        (Mood::Stalls, "timed out"),
        (Mood::Forgets, "it said that it had this"),
        (Mood::Cuts, "it said that it had this"),
        (Mood::Busy(2), ""),
        (Mood::Good, ""),
    ] {
        *fake.mood.lock() = mood;
        let waits = if mood == Mood::Stalls { BRIEF } else { Waits::default() };
        let (repository, store) = (repository(&url, waits), store.clone());
        let made = blocking(move || {
            let pin = store.pin().unwrap();
            repository.whole(&pin, &[], 1_750_000_000_000, &Progress::default())
        })
        .await;
        match made {
            Err(error) => {
                let error = error.to_string();
                assert!(!says.is_empty() && error.contains(says), "{mood:?}: {error}");
                assert!(error.contains("s3://b/of/mine"), "{error}");
                assert!(!error.contains("key\""), "{error}");
                assert!(!fake.held.lock().keys().any(|key| key.contains("/backups/")), "{mood:?}");
            }
            Ok(_) => assert!(says.is_empty(), "{mood:?}"),
        }
        // What a lie left is no part of the next one.
        if mood == Mood::Cuts {
            fake.held.lock().clear();
        }
    }
    *fake.mood.lock() = Mood::Good;
    let of = repository(&url, Waits::default());
    blocking(move || {
        let id = of.find(None, Kind::Whole).unwrap();
        assert!(of.verify(&id, &Progress::default()).unwrap().damaged.is_empty());
    })
    .await;
}
