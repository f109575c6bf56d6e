//! What an image is called in the cache.

use sha2::{Digest, Sha256};

use super::request::{ImageRequest, VERSION};
use crate::syntax::{Did, cid};

/// 32 bits of the account's hash, and 96 of the image's, so that nobody can make an image meet one of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ImageKey(pub(super) u128);

/// What the names of an account's images begin with. Few accounts share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner(u32);

impl Owner {
    pub(super) fn of(did: &Did) -> Self {
        let digest: [u8; 32] = Sha256::digest(did.as_bytes()).into();
        let [a, b, c, d, ..] = digest;
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    /// The folder that all of its images are in.
    pub(super) fn folder(self) -> String {
        format!("{:02x}", self.0 >> 24)
    }
}

impl ImageKey {
    /// The name of an image. The account is part of it: that one account has a blob says nothing about another.
    pub(super) fn of(request: &ImageRequest) -> Self {
        let mut hash = Sha256::new();
        hash.update(VERSION.to_be_bytes());
        for part in [
            request.preset.name(),
            request.format.name(),
            request.did.as_str(),
            &cid::to_base32(&request.cid),
        ] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let owner = u128::from(Owner::of(&request.did).0);
        Self(digest.iter().take(12).fold(owner, |n, byte| n << 8 | u128::from(*byte)))
    }

    /// Whether an account of this beginning has it.
    pub(super) fn is_of(self, owner: Owner) -> bool {
        self.0 >> 96 == u128::from(owner.0)
    }

    /// Folder and file name.
    pub(super) fn path(self) -> (String, String) {
        (format!("{:02x}", self.0 >> 120), format!("{:030x}", self.0 & (u128::MAX >> 8)))
    }

    /// The other way round; `None` for names that are not ours.
    pub(super) fn from_path(folder: &str, file: &str) -> Option<Self> {
        let hex = |text: &str, len: usize| {
            let lower = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            (text.len() == len && text.bytes().all(lower)).then_some(())?;
            u128::from_str_radix(text, 16).ok()
        };
        Some(Self(hex(folder, 2)? << 120 | hex(file, 30)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_another_image_has_another_name() {
        let images = [
            "/avatar/plain/did:plc:a/bafkreig77vqcdozl2wyk6z3cscaj5q5fggi53aoh64fewkdiri3cdauyn4@jpeg",
            "/banner/plain/did:plc:a/bafkreig77vqcdozl2wyk6z3cscaj5q5fggi53aoh64fewkdiri3cdauyn4@jpeg",
            "/avatar/plain/did:plc:a/bafkreig77vqcdozl2wyk6z3cscaj5q5fggi53aoh64fewkdiri3cdauyn4@webp",
            "/avatar/plain/did:plc:b/bafkreig77vqcdozl2wyk6z3cscaj5q5fggi53aoh64fewkdiri3cdauyn4@jpeg",
            "/avatar/plain/did:plc:a/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy@jpeg",
        ];
        let key = |path: &str| ImageKey::of(&ImageRequest::parse(path).unwrap());
        let names: std::collections::HashSet<ImageKey> = images.map(key).into();
        assert_eq!(names.len(), images.len());
        assert_eq!(key(images[0]), key(images[0]));
        for (image, whose) in images.iter().zip(["a", "a", "a", "b", "a"]) {
            let owner = |name: &str| Owner::of(&Did::parse(&format!("did:plc:{name}")).unwrap());
            assert!(key(image).is_of(owner(whose)) && !key(image).is_of(owner("c")), "{image}");
            assert_eq!(key(image).path().0, owner(whose).folder());
        }
    }

    #[test]
    fn names_of_files() {
        for key in [0, 1, 0xab << 120 | 7, u128::MAX] {
            let (folder, file) = ImageKey(key).path();
            assert_eq!(ImageKey::from_path(&folder, &file), Some(ImageKey(key)));
        }
        for (folder, file) in
            [("a", "0"), ("zz", &*"0".repeat(30)), ("00", "+".repeat(30).as_str())]
        {
            assert_eq!(ImageKey::from_path(folder, file), None);
        }
    }
}
