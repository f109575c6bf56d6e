//! The multibase encodings that a verification method may use.
use data_encoding::{
    BASE32_NOPAD, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE,
    HEXUPPER_PERMISSIVE,
};

/// Keys are under 70 bytes; this bounds base58, whose decoding is quadratic.
const MAX_LEN: usize = 256;

pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_LEN {
        return None;
    }
    let mut chars = text.chars();
    let base = chars.next()?;
    let rest = chars.as_str();
    match base {
        'z' => bs58::decode(rest).into_vec().ok(),
        'f' => HEXLOWER_PERMISSIVE.decode(rest.as_bytes()).ok(),
        'F' => HEXUPPER_PERMISSIVE.decode(rest.as_bytes()).ok(),
        'b' | 'B' => BASE32_NOPAD.decode(rest.to_ascii_uppercase().as_bytes()).ok(),
        'm' => BASE64_NOPAD.decode(rest.as_bytes()).ok(),
        'u' => BASE64URL_NOPAD.decode(rest.as_bytes()).ok(),
        'U' => BASE64URL.decode(rest.as_bytes()).ok(),
        _ => None,
    }
}

pub(super) fn encode_base58(bytes: &[u8]) -> String {
    format!("z{}", bs58::encode(bytes).into_string())
}
