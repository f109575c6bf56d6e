//! The operator's password, and HTTP Basic credentials.

use std::fmt;

use data_encoding::BASE64;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The admin password, kept as a digest so that it can neither be printed nor compared in variable time.
#[derive(Clone)]
pub struct AdminPassword([u8; 32]);

impl AdminPassword {
    /// Takes the password as configured.
    pub fn new(password: &str) -> Self {
        Self(Sha256::digest(password.as_bytes()).into())
    }

    fn matches(&self, password: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(password.as_bytes()).into();
        self.0.ct_eq(&digest).into()
    }
}

impl fmt::Debug for AdminPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminPassword(..)")
    }
}

/// What an `Authorization` header says about the operator role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Not Basic, not readable, or without user or password: as if absent.
    Missing,
    Invalid,
    Admin,
}

/// HTTP Basic credentials (RFC 7617) that were sent.
pub(super) struct Given {
    user: String,
    password: String,
}

impl Given {
    /// As they were typed.
    pub(super) fn new(user: &str, password: &str) -> Self {
        Self { user: user.to_owned(), password: password.to_owned() }
    }

    /// Whose they are; the only user is `admin`.
    pub(super) fn role(&self, passwords: &[AdminPassword]) -> Role {
        // Every password is compared, so that the time does not tell which one was close.
        let known = passwords
            .iter()
            .fold(false, |known, candidate| candidate.matches(&self.password) | known);
        if self.user == "admin" && known { Role::Admin } else { Role::Invalid }
    }
}

/// Reads the credentials of a header, if it has any that can be read.
pub(super) fn given(authorization: Option<&str>) -> Option<Given> {
    let (user, password) = basic(authorization?)?;
    Some(Given { user, password })
}

fn basic(header: &str) -> Option<(String, String)> {
    let decoded = BASE64.decode(header.strip_prefix("Basic ")?.as_bytes()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    (!user.is_empty() && !password.is_empty()).then(|| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(authorization: Option<&str>, passwords: &[AdminPassword]) -> Role {
        given(authorization).map_or(Role::Missing, |given| given.role(passwords))
    }

    #[test]
    fn roles() {
        let passwords = [AdminPassword::new("first"), AdminPassword::new("se:cond")];
        let header = |text: &str| format!("Basic {}", BASE64.encode(text.as_bytes()));
        let cases = [
            (None, Role::Missing),
            (Some("Basic xyz".to_owned()), Role::Missing),
            (Some("Bearer abc".to_owned()), Role::Missing),
            (Some(header("admin")), Role::Missing),
            (Some(header("admin:")), Role::Missing),
            (Some(header("admin:nope")), Role::Invalid),
            (Some(header("root:first")), Role::Invalid),
            (Some(header("admin:first")), Role::Admin),
            (Some(header("admin:se:cond")), Role::Admin),
        ];
        for (authorization, expect) in cases {
            assert_eq!(role(authorization.as_deref(), &passwords), expect, "{authorization:?}");
        }
        assert_eq!(role(Some(&header("admin:first")), &[]), Role::Invalid);
        assert!(!format!("{:?}", passwords[0]).contains("first"));
    }
}
