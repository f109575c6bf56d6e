//! Each kind of token and password, with generated keys and a stopped clock.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

use super::*;
use crate::crypto::PrivateKey;
use crate::xrpc::testing::{self, ALICE, Keys, MOD, NOW, OWN, TokenSpec, basic, did, headers};

const NSID: &str = "app.bsky.feed.getTimeline";

fn wanted(auth: Auth, tokens: TokenRule, nsid: &'static str) -> Wanted {
    Wanted { auth, tokens, nsid }
}

fn client() -> Client {
    Client::address("192.0.2.1".parse().unwrap())
}

struct Bench {
    auth: Authenticator,
    keys: Arc<Keys>,
    alice: PrivateKey,
    moderator: PrivateKey,
    labeler: PrivateKey,
}

fn bench() -> Bench {
    let keys = Arc::new(Keys::default());
    let (alice, moderator, labeler) =
        (PrivateKey::generate(), PrivateKey::generate(), PrivateKey::generate());
    keys.set(&format!("{ALICE}#atproto"), &alice.public());
    keys.set(&format!("{MOD}#atproto"), &moderator.public());
    keys.set(&format!("{MOD}#atproto_label"), &labeler.public());
    Bench {
        auth: testing::authenticator(Arc::clone(&keys), testing::limits()),
        keys,
        alice,
        moderator,
        labeler,
    }
}

impl Bench {
    async fn with(
        &self,
        auth: Auth,
        rule: TokenRule,
        header: &str,
    ) -> Result<Credentials, XrpcError> {
        self.auth.authenticate(wanted(auth, rule, NSID), &headers(header), client()).await
    }

    async fn token(&self, token: &str) -> Result<Credentials, XrpcError> {
        self.with(Auth::Required, TokenRule::Own, &format!("Bearer {token}")).await
    }

    async fn error(&self, token: &str) -> String {
        let error = self.token(token).await.unwrap_err();
        assert_eq!(error.status(), 401);
        error.name().to_owned()
    }
}

fn alice() -> Credentials {
    Credentials::Viewer { did: did(ALICE), mod_service: false }
}

fn spec() -> TokenSpec {
    TokenSpec::new(NSID)
}

#[tokio::test]
async fn good_tokens() {
    let bench = bench();
    let specs = [
        spec(),
        spec().claim("aud", json!("did:web:old.example")),
        spec().claim("aud", json!(format!("{OWN}#bsky_appview"))),
        spec().claim("exp", json!(NOW)),
        spec().claim("exp", json!(NOW as f64 + 0.5)),
        spec().head("typ", json!("other")),
    ];
    for spec in specs {
        // The second time comes from the cache.
        for _ in 0..2 {
            assert_eq!(
                bench.token(&spec.sign(&bench.alice)).await.unwrap(),
                alice(),
                "{}",
                spec.payload
            );
        }
    }
}

#[tokio::test]
async fn each_defect_has_its_name() {
    let bench = bench();
    let cases = [
        (spec().claim("exp", json!(NOW - 1)), "JwtExpired"),
        (spec().claim("aud", json!("did:web:other.example")), "BadJwtAudience"),
        (spec().claim("aud", json!(format!("{OWN}#other"))), "BadJwtAudience"),
        (spec().claim("lxm", json!("app.bsky.feed.getLikes")), "BadJwtLexiconMethod"),
        (spec().claim("lxm", json!("chat.bsky.convo.getLog")), "BadJwtLexiconMethod"),
        (spec().claim("lxm", json!(null)), "BadJwtLexiconMethod"),
        (spec().without("lxm"), "BadJwtLexiconMethod"),
        (spec().claim("iss", json!("alice.test")), "BadJwtIss"),
        (spec().claim("iss", json!("did:plc:nobody")), "AuthenticationRequired"),
        (spec().claim("iss", json!(format!("{ALICE}#atproto_labeler"))), "AuthenticationRequired"),
        (spec().claim("iss", json!(MOD)), "BadJwtSignature"),
        (spec().head("typ", json!("at+jwt")), "InvalidToken"),
        (spec().head("typ", json!("refresh+jwt")), "BadJwtType"),
        (spec().head("typ", json!("dpop+jwt")), "BadJwtType"),
        (spec().head("alg", json!("ES256")), "BadJwtSignature"),
        (spec().head("alg", json!("none")), "BadJwtSignature"),
        (spec().without("aud"), "BadJwt"),
        (spec().without("exp"), "BadJwt"),
    ];
    for (spec, expect) in cases {
        let token = spec.sign(&bench.alice);
        assert_eq!(bench.error(&token).await, expect, "{} {}", spec.header, spec.payload);
    }
    for garbage in ["garbage", "a.b", "!!.!!.!!", "..", "a.b.c.d"] {
        assert_eq!(bench.error(garbage).await, "BadJwt", "{garbage}");
    }
    let good = spec().sign(&bench.alice);
    let broken =
        format!("{}.{}", spec().unsigned(), data_encoding::BASE64URL_NOPAD.encode(&[7; 64]));
    assert_eq!(bench.error(&broken).await, "BadJwtSignature");
    assert_eq!(bench.error(&format!("{}.", spec().unsigned())).await, "BadJwtSignature");
    assert!(bench.token(&good).await.is_ok());
}

#[tokio::test]
async fn a_directory_that_is_down_is_not_the_callers_fault() {
    let bench = bench();
    let token = spec().claim("iss", json!("did:plc:down")).sign(&bench.alice);
    assert_eq!(bench.token(&token).await.unwrap_err().status(), 502);
}

#[tokio::test]
async fn who_has_to_wait_is_told_how_long() {
    let bench = bench();
    let token = spec().claim("iss", json!("did:plc:busy")).sign(&bench.alice);
    let error = bench.token(&token).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.name()), (503, "NotEnoughResources"));
    assert_eq!(error.header(&http::header::RETRY_AFTER).unwrap(), "5");
}

#[tokio::test]
async fn nobody_is_asked_for_a_key_that_is_here_or_would_be_of_no_use() {
    let bench = bench();
    let stranger = PrivateKey::generate();
    bench.keys.set_elsewhere("did:plc:new#atproto", &stranger.public());
    let of = |name: &str, value: serde_json::Value| {
        spec().claim("iss", json!("did:plc:new")).claim(name, value).sign(&stranger)
    };
    let useless = [
        (of("aud", json!("did:web:other.example")), "BadJwtAudience"),
        (of("lxm", json!("app.bsky.feed.getLikes")), "BadJwtLexiconMethod"),
        (of("exp", json!(NOW - 1)), "JwtExpired"),
        (of("exp", json!(NOW + 90_000)), "BadJwt"),
    ];
    for (token, expect) in useless {
        assert_eq!(bench.error(&token).await, expect);
    }
    assert!(bench.token(&spec().sign(&bench.alice)).await.is_ok());
    assert_eq!(*bench.keys.lookups.lock(), 0);
    assert!(bench.token(&of("jti", json!("2"))).await.is_ok());
    assert_eq!(*bench.keys.lookups.lock(), 1);
    assert!(bench.keys.in_vain.lock().is_empty());
    // What proves nothing was asked for once, in vain, on the account of who sent it.
    let forged = spec().claim("iss", json!("did:plc:new")).sign(&bench.alice);
    assert_eq!(bench.error(&forged).await, "BadJwtSignature");
    assert_eq!(
        (*bench.keys.lookups.lock(), bench.keys.in_vain.lock().clone()),
        (2, vec![client()])
    );
    // And what proves something, in its favour.
    assert_eq!(*bench.keys.proved.lock(), [client(), client()]);
}

#[tokio::test]
async fn an_old_key_that_fits_is_looked_at_again_and_keeps_nobody_waiting() {
    let bench = bench();
    bench.keys.age(&format!("{ALICE}#atproto"));
    assert_eq!(bench.error(&spec().sign(&bench.moderator)).await, "BadJwtSignature");
    assert!(bench.keys.renewed.lock().is_empty());
    let before = *bench.keys.lookups.lock();
    assert!(bench.token(&spec().sign(&bench.alice)).await.is_ok());
    assert_eq!(*bench.keys.renewed.lock(), [did(ALICE)]);
    assert_eq!(*bench.keys.lookups.lock(), before);
}

#[tokio::test]
async fn no_token_lives_for_ever() {
    let bench = bench();
    let (hour, month) = (3600, 30 * 86_400);
    let of = |issued: Option<serde_json::Value>, expires: serde_json::Value| {
        let spec = spec().claim("exp", expires);
        issued.into_iter().fold(spec, |spec, issued| spec.claim("iat", issued)).sign(&bench.alice)
    };
    let good = [
        of(None, json!(NOW + hour)),
        of(None, json!(NOW + hour + 300)),
        of(Some(json!(NOW)), json!(NOW + hour)),
        of(Some(json!("now")), json!(NOW + 60)),
        // Our clock is behind, or its.
        of(Some(json!(NOW + month - hour)), json!(NOW + month)),
        of(Some(json!(NOW - hour)), json!(NOW + 60)),
    ];
    for token in good {
        assert_eq!(bench.token(&token).await.unwrap(), alice(), "{token}");
    }
    let bad = [
        of(None, json!(NOW + hour + 301)),
        of(None, json!(1e308)),
        of(Some(json!(NOW)), json!(NOW + hour + 301)),
        of(Some(json!(NOW - 86_400)), json!(NOW + 60)),
        of(Some(json!(NOW + month)), json!(NOW + month + 60)),
        of(Some(json!(1e308)), json!(1e308)),
        of(Some(json!("now")), json!(NOW + 2 * hour)),
    ];
    for token in bad {
        assert_eq!(bench.error(&token).await, "BadJwt", "{token}");
    }
}

#[tokio::test]
async fn a_rotated_key_is_found_and_forgetting_drops_the_old_one() {
    let bench = bench();
    let old = spec().sign(&bench.alice);
    assert!(bench.token(&old).await.is_ok());
    let next = PrivateKey::generate();
    let id = format!("{ALICE}#atproto");
    bench.keys.rotate(&id, &next.public());
    assert!(bench.token(&spec().claim("jti", json!("2")).sign(&next)).await.is_ok());
    assert_eq!(*bench.keys.fresh_lookups.lock(), 1);
    // Still cached until the identity is known to have changed.
    assert!(bench.token(&old).await.is_ok());
    bench.keys.set(&id, &next.public());
    bench.auth.forget(&did(ALICE));
    assert_eq!(bench.error(&old).await, "BadJwtSignature");
}

#[tokio::test]
async fn bad_signatures_cannot_flood_the_directory() {
    let bench = bench();
    for n in 0..50 {
        let token = spec().claim("jti", json!(n)).sign(&bench.moderator);
        assert_eq!(bench.error(&token).await, "BadJwtSignature");
    }
    assert_eq!(*bench.keys.fresh_lookups.lock(), 10);
}

#[tokio::test]
async fn rules_of_other_methods() {
    let bench = bench();
    let chat = format!(
        "Bearer {}",
        spec().claim("lxm", json!("chat.bsky.convo.getLog")).sign(&bench.alice)
    );
    assert_eq!(bench.with(Auth::Optional, TokenRule::OrChat, &chat).await.unwrap(), alice());
    let feed = spec()
        .claim("lxm", json!("app.bsky.feed.getFeedSkeleton"))
        .claim("aud", json!("did:web:feeds.example"));
    let feed = format!("Bearer {}", feed.sign(&bench.alice));
    assert_eq!(bench.with(Auth::Optional, TokenRule::FeedGenerator, &feed).await.unwrap(), alice());
    let own = format!("Bearer {}", spec().sign(&bench.alice));
    let error = bench.with(Auth::Optional, TokenRule::FeedGenerator, &own).await.unwrap_err();
    assert_eq!(error.name(), "BadJwtLexiconMethod");
    // Not even the cache makes a token fit another method.
    assert_eq!(bench.with(Auth::Optional, TokenRule::Own, &own).await.unwrap(), alice());
    let elsewhere = bench
        .auth
        .authenticate(
            wanted(Auth::Optional, TokenRule::Own, "app.bsky.feed.getLikes"),
            &headers(&own),
            client(),
        )
        .await;
    assert_eq!(elsewhere.unwrap_err().name(), "BadJwtLexiconMethod");
}

#[tokio::test]
async fn labelers_sign_with_their_own_key_and_may_omit_the_method() {
    let bench = bench();
    let issuer = json!(format!("{MOD}#atproto_labeler"));
    let token = |spec: TokenSpec| {
        format!("Bearer {}", spec.claim("iss", issuer.clone()).sign(&bench.labeler))
    };
    let expect = Credentials::Service { did: did(MOD), mod_service: true };
    for spec in [spec(), spec().without("lxm")] {
        assert_eq!(bench.with(Auth::Optional, TokenRule::Own, &token(spec)).await.unwrap(), expect);
    }
    let wrong = token(spec().claim("lxm", json!("a.b.c")));
    let error = bench.with(Auth::Optional, TokenRule::Own, &wrong).await.unwrap_err();
    assert_eq!(error.name(), "BadJwtLexiconMethod");
    let error = bench.with(Auth::Required, TokenRule::Own, &token(spec())).await.unwrap_err();
    assert_eq!(error.name(), "BadJwtIss");
}

#[tokio::test]
async fn admin_methods() {
    let bench = bench();
    let rule = Auth::AdminOrModService;
    let moderator = spec().claim("iss", json!(MOD));
    let good = [
        (basic("admin:admin-pass"), Credentials::Admin),
        (
            format!("Bearer {}", moderator.sign(&bench.moderator)),
            Credentials::ModService { did: did(MOD) },
        ),
    ];
    for (header, expect) in good {
        assert_eq!(bench.with(rule, TokenRule::Own, &header).await.unwrap(), expect);
    }
    let alternative = spec().claim("iss", json!(MOD)).claim("aud", json!("did:web:old.example"));
    let bad = [
        (basic("admin:nope"), "AuthenticationRequired"),
        ("Digest abc".to_owned(), "AuthenticationRequired"),
        (format!("Bearer {}", spec().sign(&bench.alice)), "UntrustedIss"),
        (format!("Bearer {}", alternative.sign(&bench.moderator)), "BadJwtAudience"),
        ("Bearer garbage".to_owned(), "BadJwt"),
    ];
    for (header, expect) in bad {
        let error = bench.with(rule, TokenRule::Own, &header).await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.name()), (401, expect), "{header}");
    }
}

#[tokio::test]
async fn other_schemes_are_anonymous_and_basic_is_not() {
    let bench = bench();
    for header in ["Digest abc", "bearer abc", "Bearer"] {
        for auth in [Auth::Optional, Auth::OptionalOrAdmin] {
            assert_eq!(
                bench.with(auth, TokenRule::Own, header).await.unwrap(),
                Credentials::None,
                "{header}"
            );
        }
        let error = bench.with(Auth::Required, TokenRule::Own, header).await.unwrap_err();
        assert_eq!(error.name(), "AuthMissing");
    }
    let error = bench.with(Auth::Optional, TokenRule::Own, "Basic xyz").await.unwrap_err();
    assert_eq!(error.name(), "AuthenticationRequired");
    let or_admin =
        async |header: String| bench.with(Auth::OptionalOrAdmin, TokenRule::Own, &header).await;
    assert_eq!(or_admin("Basic xyz".to_owned()).await.unwrap(), Credentials::None);
    assert_eq!(or_admin(basic("admin:admin-pass")).await.unwrap(), Credentials::Admin);
    assert_eq!(or_admin(basic("admin:nope")).await.unwrap_err().status(), 401);
    assert_eq!(or_admin("Bearer garbage".to_owned()).await.unwrap_err().name(), "BadJwt");
}

#[tokio::test]
async fn the_operator_may_look_through_an_accounts_eyes() {
    let bench = bench();
    let as_alice = |credentials: &str, viewer: &'static str| {
        let mut headers = headers(&basic(credentials));
        headers.insert(AS_DID, http::HeaderValue::from_static(viewer));
        headers
    };
    let ask = async |headers: HeaderMap| {
        let wanted = wanted(Auth::Required, TokenRule::Own, NSID);
        bench.auth.authenticate(wanted, &headers, client()).await
    };
    assert_eq!(ask(as_alice("admin:admin-pass", ALICE)).await.unwrap(), alice());
    assert_eq!(ask(as_alice("admin:nope", ALICE)).await.unwrap_err().status(), 401);
    assert_eq!(ask(as_alice("admin:admin-pass", "alice.test")).await.unwrap_err().status(), 401);
    assert_eq!(ask(headers(&basic("admin:admin-pass"))).await.unwrap_err().status(), 401);
}

#[tokio::test]
async fn p256_keys_and_only_their_algorithm() {
    let bench = bench();
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
    let pair = pair.unwrap();
    let point: [u8; 65] = pair.public_key().as_ref().try_into().unwrap();
    let mut compressed = [0; 33];
    compressed[0] = 2 + (point[64] & 1);
    compressed[1..].copy_from_slice(&point[1..33]);
    bench.keys.set(&format!("{ALICE}#atproto"), &PublicKey::P256(compressed, point));
    let sign = |spec: TokenSpec| {
        let unsigned = spec.unsigned();
        let signature = pair.sign(&random, unsigned.as_bytes()).unwrap();
        format!("{unsigned}.{}", data_encoding::BASE64URL_NOPAD.encode(signature.as_ref()))
    };
    assert_eq!(bench.token(&sign(spec().head("alg", json!("ES256")))).await.unwrap(), alice());
    assert_eq!(bench.error(&sign(spec())).await, "BadJwtSignature");
}

#[tokio::test]
async fn a_moderation_service_that_was_dismissed_is_one_no_more_and_its_successor_is() {
    let b = bench();
    let of = |iss: &str, key: &PrivateKey| {
        format!("Bearer {}", spec().claim("iss", json!(iss)).sign(key))
    };
    let (old, new) = (of(MOD, &b.moderator), of(ALICE, &b.alice));
    let moderates =
        async |header: &str| b.with(Auth::AdminOrModService, TokenRule::Own, header).await.is_ok();
    assert!(moderates(&old).await && !moderates(&new).await);
    b.auth.trust(Some(did(ALICE)));
    // Its token was seen before and is good; what it may do is asked each time.
    assert!(!moderates(&old).await && moderates(&new).await);
    b.auth.trust(None);
    assert!(!moderates(&old).await && !moderates(&new).await);
}

#[tokio::test]
async fn sessions_of_an_entryway() {
    let (entryway, other) = (PrivateKey::generate(), PrivateKey::generate());
    let auth = |key: Option<PublicKey>| {
        testing::authenticator_with(Arc::new(Keys::default()), testing::limits(), key)
    };
    let (with, without) = (auth(Some(entryway.public())), auth(None));
    let session = || TokenSpec {
        header: json!({ "typ": "at+jwt", "alg": "ES256K" }),
        payload: json!({
            "sub": ALICE, "aud": "did:web:morel.us-east.host.bsky.network", "exp": NOW + 7200,
            "scope": "com.atproto.access",
        }),
    };
    let ask = async |auth: &Authenticator, rule, token: &str| {
        let headers = headers(&format!("Bearer {token}"));
        let answer =
            auth.authenticate(wanted(Auth::Required, rule, NSID), &headers, client()).await;
        answer.map_err(|error| format!("{} {}", error.name(), error.message()))
    };
    let good = session().sign(&entryway);
    assert_eq!(ask(&with, TokenRule::Own, &good).await, Ok(alice()));
    let malformed = Err("InvalidToken Malformed token".to_owned());
    assert_eq!(ask(&without, TokenRule::Own, &good).await, malformed);
    assert_eq!(ask(&with, TokenRule::FeedGenerator, &good).await, malformed);
    for (spec, expect) in [
        (session().claim("scope", json!("com.atproto.refresh")), "InvalidToken Bad token scope"),
        (session().without("scope"), "InvalidToken Bad token scope"),
        (session().claim("aud", json!("did:web:my.pds.example")), "InvalidToken Bad token aud"),
        (session().claim("exp", json!(NOW)), "ExpiredToken Token has expired"),
        (session().without("exp"), "InvalidToken Token could not be verified"),
        (session().claim("sub", json!("alice.test")), "InvalidToken Malformed token"),
        (session().claim("cnf", json!({})), "InvalidToken Malformed token: DPoP not supported"),
        (session().head("alg", json!("none")), "InvalidToken Token could not be verified"),
    ] {
        let got = ask(&with, TokenRule::Own, &spec.sign(&entryway)).await;
        assert_eq!(got, Err(expect.to_owned()));
    }
    let forged = ask(&with, TokenRule::Own, &session().sign(&other)).await;
    assert_eq!(forged, Err("InvalidToken Token could not be verified".to_owned()));
    let cut = good.rsplit_once('.').unwrap().0;
    assert_eq!(ask(&with, TokenRule::Own, cut).await, malformed);
}
