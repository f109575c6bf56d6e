//! Message encryption for web push: RFC 8291 over the `aes128gcm` coding of RFC 8188, one record.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};

use crate::private::registrations::WebPushKeys;

/// Push services take messages of at least 4096 bytes (RFC 8030 section 7.2); this is what is left of that.
pub(super) const MAX_PLAINTEXT: usize = 4096 - 16 - 4 - 1 - 65 - 1 - 16;

const RECORD_SIZE: u32 = 4096;

/// Encrypts a message for a subscription. Fails if its public key is no point of the curve.
pub(super) fn encrypt(keys: &WebPushKeys, plaintext: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let random = SystemRandom::new();
    let own = EphemeralPrivateKey::generate(&ECDH_P256, &random)?;
    let own_public = own.compute_public_key()?;
    let mut salt = [0; 16];
    random.fill(&mut salt)?;
    let theirs = UnparsedPublicKey::new(&ECDH_P256, keys.p256dh);
    agree_ephemeral(own, &theirs, |secret| {
        seal(secret, keys, own_public.as_ref(), &salt, plaintext)
    })?
}

/// What is left once the two keys agreed on a secret.
fn seal(
    secret: &[u8],
    keys: &WebPushKeys,
    own_public: &[u8],
    salt: &[u8; 16],
    plaintext: &[u8],
) -> Result<Vec<u8>, Unspecified> {
    let info = [b"WebPush: info\0".as_slice(), &keys.p256dh, own_public];
    let input: [u8; 32] = derive(&keys.auth, secret, &info)?;
    let key: [u8; 16] = derive(salt, &input, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce: [u8; 12] = derive(salt, &input, &[b"Content-Encoding: nonce\0"])?;
    let mut out = Vec::with_capacity(plaintext.len() + 128);
    out.extend_from_slice(salt);
    out.extend_from_slice(&RECORD_SIZE.to_be_bytes());
    out.push(u8::try_from(own_public.len()).map_err(|_| Unspecified)?);
    out.extend_from_slice(own_public);
    // The delimiter of the last record.
    let mut record = [plaintext, &[2]].concat();
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record)?;
    out.extend_from_slice(&record);
    Ok(out)
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(
    salt: &[u8],
    input: &[u8],
    info: &[&[u8]],
) -> Result<[u8; N], Unspecified> {
    let mut out = [0; N];
    Salt::new(HKDF_SHA256, salt).extract(input).expand(info, Length(N))?.fill(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64URL_NOPAD;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        BASE64URL_NOPAD.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    /// RFC 8291 appendix A.
    #[test]
    fn the_example_of_the_rfc() {
        let keys = WebPushKeys {
            p256dh: bytes(
                "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            ),
            auth: bytes("BTBZMqHH6r4Tts7J_aSIgg"),
        };
        let own: [u8; 65] = bytes(
            "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
        );
        let secret: [u8; 32] = bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs");
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw");
        let text = b"When I grow up, I want to be a watermelon";
        let sealed = seal(&secret, &keys, &own, &salt, text).unwrap();
        let expect = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS\
                      6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(BASE64URL_NOPAD.encode(&sealed), expect);
    }

    #[test]
    fn the_longest_message_fits_and_a_bad_key_is_refused() {
        let keys = WebPushKeys {
            p256dh: bytes(
                "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            ),
            auth: [1; 16],
        };
        let long = vec![b'x'; MAX_PLAINTEXT];
        let (one, two) = (encrypt(&keys, &long).unwrap(), encrypt(&keys, &long).unwrap());
        assert_eq!(one.len(), 4096 - 1 + 1);
        assert_ne!(one, two);
        assert!(encrypt(&WebPushKeys { p256dh: [4; 65], auth: [1; 16] }, b"x").is_err());
    }
}
