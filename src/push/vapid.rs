//! The key by which push services know this server (VAPID, RFC 8292): P-256, kept as PKCS#8 in PEM.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

/// How long a token is good for; the RFC allows a day.
const LIFETIME_S: i64 = 12 * 60 * 60;

/// The text is no P-256 private key in PKCS#8 and PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a P-256 private key in PKCS#8 and PEM")]
pub struct NotAKey;

/// The key.
pub struct VapidKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    public: String,
}

impl VapidKey {
    /// A new key in the form that [`Self::from_pem`] reads. `None` if the system has no random numbers.
    #[must_use]
    pub fn generate_pem() -> Option<String> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).ok()?;
        let text = BASE64.encode(document.as_ref());
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        Some(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            lines.join("\n")
        ))
    }

    /// Reads a key, such as `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` writes it.
    ///
    /// # Errors
    /// Anything else.
    pub fn from_pem(pem: &str) -> Result<Self, NotAKey> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| NotAKey)?;
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.secret_pkcs8_der(), &random)
            .map_err(|_| NotAKey)?;
        let public = BASE64URL_NOPAD.encode(pair.public_key().as_ref());
        Ok(Self { pair, random, public })
    }

    /// The public key as `PushManager.subscribe` takes it for `applicationServerKey`: an uncompressed point in base64url.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The `authorization` header for a push service at `origin`. `contact` is a URL under which the operator is found;
    /// `now` in milliseconds. `None` if there are no random numbers.
    #[must_use]
    pub fn authorization(&self, origin: &str, contact: &str, now: i64) -> Option<String> {
        let mut claims = json!({ "aud": origin, "exp": now / 1000 + LIFETIME_S });
        // Services refuse other schemes.
        if let (true, Some(claims)) = (contact.starts_with("https:"), claims.as_object_mut()) {
            claims.insert("sub".to_owned(), contact.into());
        }
        let part = |value: serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let unsigned =
            format!("{}.{}", part(json!({ "typ": "JWT", "alg": "ES256" })), part(claims));
        let signature = self.pair.sign(&self.random, unsigned.as_bytes()).ok()?;
        let signature = BASE64URL_NOPAD.encode(signature.as_ref());
        Some(format!("vapid t={unsigned}.{signature}, k={}", self.public))
    }
}

impl std::fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("VapidKey").field(&self.public).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    #[test]
    fn tokens_are_signed_with_the_key_that_clients_see() {
        let pem = VapidKey::generate_pem().unwrap();
        let key = VapidKey::from_pem(&pem).unwrap();
        assert_eq!(VapidKey::from_pem(&pem).unwrap().public(), key.public());
        let point = BASE64URL_NOPAD.decode(key.public().as_bytes()).unwrap();
        assert_eq!((point.len(), point[0]), (65, 4));
        let header =
            key.authorization("https://p.example", "https://appview.example", 1_000_000).unwrap();
        let (token, public) = header.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        assert_eq!(public, key.public());
        let (unsigned, signature) = token.rsplit_once('.').unwrap();
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        let verifier = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point);
        verifier.verify(unsigned.as_bytes(), &signature).unwrap();
        let claims =
            BASE64URL_NOPAD.decode(unsigned.split_once('.').unwrap().1.as_bytes()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        let expect =
            json!({ "aud": "https://p.example", "exp": 44_200, "sub": "https://appview.example" });
        assert_eq!(claims, expect);
        let secret = pem.lines().nth(1).unwrap();
        assert!(!format!("{key:?}").contains(secret));
    }

    #[test]
    fn other_text_is_no_key() {
        let other = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for text in ["", "hello", other] {
            assert_eq!(VapidKey::from_pem(text).unwrap_err(), NotAKey, "{text}");
        }
    }
}
