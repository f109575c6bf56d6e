//! Public keys of both curves and the private key that signs for this service.

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE;
use multibase::Base;
use p256::elliptic_curve::sec1::ToSec1Point;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use secp256k1::ecdsa::{self, Signature};
use secp256k1::{Message, SecretKey};
use sha2::{Digest, Sha256};

const K256_PREFIX: [u8; 2] = [0xe7, 0x01];
const P256_PREFIX: [u8; 2] = [0x80, 0x24];
const COMPRESSED_LEN: usize = 33;
const SIGNATURE_LEN: usize = 64;
/// Keys are under 70 bytes; this bounds base58, whose decoding is quadratic.
const MAX_MULTIBASE_LEN: usize = 256;

/// Half the order of P-256: the largest s of a low-S signature.
const P256_HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

/// Why a key could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not `did:key:z...`, or an encoding that is unknown or damaged.
    #[error("key is not in a known encoding")]
    Encoding,
    /// A curve or a verification method type the protocol does not use.
    #[error("key type is not supported")]
    UnsupportedType,
    /// The bytes are no point of the curve, or no scalar.
    #[error("key bytes are not a valid key")]
    Invalid,
}

/// Reads the multibase encodings that the reference reads in a verification method, and no others.
fn decode_multibase(text: &str) -> Option<Vec<u8>> {
    use Base::*;
    if text.len() > MAX_MULTIBASE_LEN {
        return None;
    }
    let (base, bytes) = multibase::decode(text).ok()?;
    let known = matches!(
        base,
        Base58Btc
            | Base16Lower
            | Base16Upper
            | Base32Lower
            | Base32Upper
            | Base64
            | Base64Url
            | Base64UrlPad
    );
    known.then_some(bytes)
}

/// A key that can check signatures.
#[derive(Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// secp256k1, "ES256K".
    K256(secp256k1::PublicKey),
    /// NIST P-256, "ES256": the compressed and the uncompressed point.
    P256([u8; 33], [u8; 65]),
}

impl PublicKey {
    /// Reads `did:key:z...`.
    pub fn from_did_key(did: &str) -> Result<PublicKey, KeyError> {
        PublicKey::from_multibase(did.strip_prefix("did:key:").ok_or(KeyError::Encoding)?)
    }

    /// Reads a Multikey: `z`, base58, a two-byte curve prefix and the compressed point.
    pub fn from_multibase(text: &str) -> Result<PublicKey, KeyError> {
        if !text.starts_with('z') {
            return Err(KeyError::Encoding);
        }
        let bytes = decode_multibase(text).ok_or(KeyError::Encoding)?;
        let (prefix, point) = bytes.split_first_chunk::<2>().ok_or(KeyError::Encoding)?;
        match *prefix {
            K256_PREFIX | P256_PREFIX if point.len() != COMPRESSED_LEN => Err(KeyError::Invalid),
            K256_PREFIX => PublicKey::k256(point),
            P256_PREFIX => PublicKey::p256(point),
            _ => Err(KeyError::UnsupportedType),
        }
    }

    /// Reads `publicKeyMultibase` of a DID document's verification method by its `type`: `Multikey`, or one of the two
    /// legacy types, whose bytes have no curve prefix.
    pub fn from_verification_method(kind: &str, multibase: &str) -> Result<PublicKey, KeyError> {
        let raw = || decode_multibase(multibase).ok_or(KeyError::Encoding);
        match kind {
            "Multikey" => PublicKey::from_multibase(multibase),
            "EcdsaSecp256k1VerificationKey2019" => PublicKey::k256(&raw()?),
            "EcdsaSecp256r1VerificationKey2019" => PublicKey::p256(&raw()?),
            _ => Err(KeyError::UnsupportedType),
        }
    }

    /// Reads the hex of a secp256k1 point, compressed or not.
    pub fn from_k256_hex(hex: &str) -> Result<PublicKey, KeyError> {
        let point = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).map_err(|_| KeyError::Encoding)?;
        PublicKey::k256(&point)
    }

    fn k256(point: &[u8]) -> Result<PublicKey, KeyError> {
        secp256k1::PublicKey::from_slice(point).map(PublicKey::K256).map_err(|_| KeyError::Invalid)
    }

    fn p256(point: &[u8]) -> Result<PublicKey, KeyError> {
        let key = p256::PublicKey::from_sec1_bytes(point).map_err(|_| KeyError::Invalid)?;
        let compressed = key.to_sec1_point(true).as_bytes().try_into();
        let uncompressed = key.to_sec1_point(false).as_bytes().try_into();
        match (compressed, uncompressed) {
            (Ok(compressed), Ok(uncompressed)) => Ok(PublicKey::P256(compressed, uncompressed)),
            _ => Err(KeyError::Invalid),
        }
    }

    /// The `did:key:z...` form.
    pub fn to_did_key(&self) -> String {
        format!("did:key:{}", self.to_multibase())
    }

    /// The Multikey form.
    pub fn to_multibase(&self) -> String {
        let (prefix, point) = match self {
            PublicKey::K256(key) => (K256_PREFIX, key.serialize()),
            PublicKey::P256(point, _) => (P256_PREFIX, *point),
        };
        multibase::encode(Base::Base58Btc, [&prefix[..], &point].concat())
    }

    /// The JWT algorithm name of the curve.
    pub fn alg(&self) -> &'static str {
        match self {
            PublicKey::K256(_) => "ES256K",
            PublicKey::P256(..) => "ES256",
        }
    }

    /// Checks a compact low-S signature, as repositories and labels require.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            // libsecp256k1 itself refuses high S.
            PublicKey::K256(key) => Signature::from_compact(signature)
                .is_ok_and(|signature| verify_k256(key, message, &signature)),
            PublicKey::P256(_, point) => {
                let low =
                    signature.split_at_checked(32).is_some_and(|(_, s)| s <= &P256_HALF_ORDER[..]);
                low && UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
                    .is_ok()
            }
        }
    }

    /// Checks a signature with either s, compact or DER: what the reference allows for service tokens.
    pub fn verify_malleable(&self, message: &[u8], signature: &[u8]) -> bool {
        let compact = signature.len() == SIGNATURE_LEN;
        match self {
            PublicKey::K256(key) => {
                let parse = if compact { Signature::from_compact } else { Signature::from_der };
                parse(signature).is_ok_and(|mut signature| {
                    signature.normalize_s();
                    verify_k256(key, message, &signature)
                })
            }
            PublicKey::P256(_, point) => {
                let algorithm =
                    if compact { &ECDSA_P256_SHA256_FIXED } else { &ECDSA_P256_SHA256_ASN1 };
                UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
            }
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_did_key())
    }
}

fn verify_k256(key: &secp256k1::PublicKey, message: &[u8], signature: &Signature) -> bool {
    let digest = Message::from_digest(Sha256::digest(message).into());
    ecdsa::verify(signature, digest, key).is_ok()
}

/// A public key that is kept but not used yet: the first byte of its curve's prefix, then the compressed point. Reading
/// one does not look whether the point is on the curve, which costs ten times the rest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyBytes([u8; 34]);

impl KeyBytes {
    /// Reads `did:key:z...` of one of the two curves.
    pub fn from_did_key(did: &str) -> Result<Self, KeyError> {
        let text = did.strip_prefix("did:key:").filter(|text| text.starts_with('z'));
        let bytes = text.and_then(decode_multibase).ok_or(KeyError::Encoding)?;
        let (prefix, point) = bytes.split_first_chunk::<2>().ok_or(KeyError::Encoding)?;
        if ![K256_PREFIX, P256_PREFIX].contains(prefix) {
            return Err(KeyError::UnsupportedType);
        }
        let point: [u8; COMPRESSED_LEN] = point.try_into().map_err(|_| KeyError::Invalid)?;
        let [curve, _] = *prefix;
        let mut out = [curve; COMPRESSED_LEN + 1];
        let (_, rest) = out.split_at_mut(1);
        rest.copy_from_slice(&point);
        Ok(Self(out))
    }

    /// The key itself.
    pub fn to_key(self) -> Result<PublicKey, KeyError> {
        let [curve, point @ ..] = &self.0;
        match [K256_PREFIX, P256_PREFIX].map(|[first, _]| first == *curve) {
            [true, _] => PublicKey::k256(point),
            [_, true] => PublicKey::p256(point),
            _ => Err(KeyError::UnsupportedType),
        }
    }
}

impl From<[u8; 34]> for KeyBytes {
    fn from(bytes: [u8; 34]) -> Self {
        Self(bytes)
    }
}

impl From<KeyBytes> for [u8; 34] {
    fn from(key: KeyBytes) -> Self {
        key.0
    }
}

/// A secp256k1 key that signs for this service. Never shown by `Debug`.
pub struct PrivateKey(SecretKey);

impl PrivateKey {
    /// A fresh key from the system's randomness.
    pub fn generate() -> PrivateKey {
        loop {
            // All but about 2^-128 of the candidates are valid.
            if let Ok(key) = SecretKey::from_secret_bytes(rand::random()) {
                return PrivateKey(key);
            }
        }
    }

    /// Reads 64 hex digits, with white space around them allowed.
    pub fn from_hex(text: &str) -> Result<PrivateKey, KeyError> {
        let bytes =
            HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map_err(|_| KeyError::Encoding)?;
        let bytes = bytes.try_into().map_err(|_| KeyError::Encoding)?;
        SecretKey::from_secret_bytes(bytes).map(PrivateKey).map_err(|_| KeyError::Invalid)
    }

    /// The secret as 64 hex digits, for the key file only.
    pub fn to_hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0.to_secret_bytes())
    }

    /// Signs the SHA2-256 of the message: 64 bytes, low S, deterministic.
    #[cfg(any(test, feature = "testing"))]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let digest = Message::from_digest(Sha256::digest(message).into());
        ecdsa::sign(digest, &self.0).serialize_compact()
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey::K256(self.0.public_key())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64_NOPAD;

    struct Case {
        did: &'static str,
        message: &'static str,
        signature: &'static str,
        strict: bool,
        malleable: bool,
    }

    // The protocol's interoperability vectors: valid, high-S and DER for each curve.
    const CASES: &[Case] = &[
        Case {
            did: "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo",
            message: "oWVoZWxsb2V3b3JsZA",
            signature: "2vZNsG3UKvvO/CDlrdvyZRISOFylinBh0Jupc6KcWoJWExHptCfduPleDbG3rko3YZnn9Lw0IjpixVmexJDegg",
            strict: true,
            malleable: true,
        },
        Case {
            did: "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
            message: "oWVoZWxsb2V3b3JsZA",
            signature: "5WpdIuEUUfVUYaozsi8G0B3cWO09cgZbIIwg1t2YKdUn/FEznOndsz/qgiYb89zwxYCbB71f7yQK5Lr7NasfoA",
            strict: true,
            malleable: true,
        },
        Case {
            did: "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo",
            message: "oWVoZWxsb2V3b3JsZA",
            signature: "2vZNsG3UKvvO/CDlrdvyZRISOFylinBh0Jupc6KcWoKp7O4VS9giSAah8k5IUbXIW00SuOrjfEqQ9HEkN9JGzw",
            strict: false,
            malleable: true,
        },
        Case {
            did: "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
            message: "oWVoZWxsb2V3b3JsZA",
            signature: "5WpdIuEUUfVUYaozsi8G0B3cWO09cgZbIIwg1t2YKdXYA67MYxYiTMAVfdnkDCMN9S5B3vHosRe07aORmoshoQ",
            strict: false,
            malleable: true,
        },
    ];

    #[test]
    fn interop_signatures() {
        for case in CASES {
            let key = PublicKey::from_did_key(case.did).unwrap();
            assert_eq!(key.to_did_key(), case.did);
            let message = BASE64_NOPAD.decode(case.message.as_bytes()).unwrap();
            let signature = BASE64_NOPAD.decode(case.signature.as_bytes()).unwrap();
            assert_eq!(key.verify(&message, &signature), case.strict, "{}", case.signature);
            assert_eq!(
                key.verify_malleable(&message, &signature),
                case.malleable,
                "{}",
                case.signature
            );
            assert!(!key.verify(b"other", &signature));
            assert!(!key.verify_malleable(b"other", &signature));
        }
    }

    #[test]
    fn signs_what_it_verifies() {
        let key = PrivateKey::generate();
        let again = PrivateKey::from_hex(&format!("{}\n", key.to_hex())).unwrap();
        let signature = again.sign(b"message");
        let public = PublicKey::from_multibase(&key.public().to_multibase()).unwrap();
        assert_eq!(public.alg(), "ES256K");
        assert!(public.verify(b"message", &signature));
        assert!(!public.verify(b"message", &signature[..63]));
        assert!(!public.verify(b"message", &[]));
        let der = Signature::from_compact(&signature).unwrap().serialize_der();
        assert!(!public.verify(b"message", &der) && public.verify_malleable(b"message", &der));
        assert!(!format!("{key:?}").contains(&key.to_hex()));
    }

    #[test]
    fn legacy_methods() {
        use Base::*;
        for (did, kind) in [
            (CASES[0].did, "EcdsaSecp256r1VerificationKey2019"),
            (CASES[1].did, "EcdsaSecp256k1VerificationKey2019"),
        ] {
            let key = PublicKey::from_did_key(did).unwrap();
            let bytes = decode_multibase(&key.to_multibase()).unwrap();
            let raw = multibase::encode(Base58Btc, &bytes[2..]);
            assert_eq!(PublicKey::from_verification_method(kind, &raw), Ok(key.clone()));
            // The encodings that the reference reads, and some of the others that multibase has.
            for base in [Base16Lower, Base16Upper, Base32Lower, Base64, Base64Url, Base64UrlPad] {
                let text = multibase::encode(base, &bytes[2..]);
                let read = PublicKey::from_verification_method(kind, &text);
                assert_eq!(read, Ok(key.clone()), "{base:?}");
            }
            for base in [Base10, Base36Lower, Base32HexLower, Base256Emoji, Base64Pad, Identity] {
                let text = String::from_utf8_lossy(&bytes[2..]);
                let text = match base {
                    Identity => format!("\0{text}"),
                    _ => multibase::encode(base, &bytes[2..]),
                };
                let read = PublicKey::from_verification_method(kind, &text);
                assert_eq!(read, Err(KeyError::Encoding), "{base:?}");
            }
            assert_eq!(
                PublicKey::from_verification_method("Multikey", &key.to_multibase()),
                Ok(key)
            );
        }
    }

    #[test]
    fn kept_keys_come_back() {
        for case in CASES {
            let kept = KeyBytes::from_did_key(case.did).unwrap();
            let bytes: [u8; 34] = kept.into();
            assert_eq!(KeyBytes::from(bytes).to_key().unwrap().to_did_key(), case.did);
        }
        let ed25519 = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
        for bad in ["", "did:key:", "did:key:z", "did:key:zQ3sh", "zQ3shqwJEJyMBsBXCW", ed25519] {
            assert!(KeyBytes::from_did_key(bad).is_err(), "{bad}");
        }
        assert!(KeyBytes::from([0xe7; 34]).to_key().is_err(), "no point of the curve");
        assert!(KeyBytes::from([0; 34]).to_key().is_err());
    }

    #[test]
    fn refuses_bad_keys() {
        use KeyError::*;
        let long = format!("z{}", "1".repeat(100_000));
        let base58 = |prefix: [u8; 2], point: &[u8]| {
            multibase::encode(Base::Base58Btc, [&prefix[..], point].concat())
        };
        for (text, error) in [
            ("", Encoding),
            ("z", Encoding),
            ("zQ3sh0OIl", Encoding),
            ("mAAAA", Encoding),
            (&long, Encoding),
            ("z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK", UnsupportedType),
            (&base58(K256_PREFIX, &[2; 32]), Invalid),
            (&base58(K256_PREFIX, &[9; 33]), Invalid),
            (&base58(P256_PREFIX, &[9; 33]), Invalid),
        ] {
            assert_eq!(PublicKey::from_multibase(text), Err(error), "{text}");
        }
        assert_eq!(PublicKey::from_did_key("did:web:x"), Err(Encoding));
        assert_eq!(PublicKey::from_verification_method("Ed25519", "z1"), Err(UnsupportedType));
        assert!(PrivateKey::from_hex(&"0".repeat(64)).is_err());
        assert!(PrivateKey::from_hex("abc").is_err());
    }
}
