//! From a path to a row of the method table, with the lexicon's schema beside it.

use rustc_hash::FxHashMap;

use super::method::{METHODS, Method};
use crate::lexicon::{MethodKind, MethodSchema, catalog};

/// A table that does not fit the lexicons: a mistake in the program, found when it starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A row's NSID is in no lexicon.
    #[error("{0} is not in the lexicons")]
    Unknown(&'static str),
    /// A row's NSID is a subscription or a type.
    #[error("{0} is neither a query nor a procedure")]
    NotCallable(&'static str),
    /// Two rows have the same NSID.
    #[error("{0} is in the method table twice")]
    Twice(&'static str),
}

/// A row and its schema.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) method: &'static Method,
    pub(super) schema: &'static MethodSchema,
}

/// The method table by NSID.
pub struct Router {
    routes: FxHashMap<&'static str, Route>,
}

impl Router {
    /// The router of [`METHODS`].
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn new() -> Result<Self, TableError> {
        Self::of(METHODS)
    }

    pub(super) fn of(methods: &'static [Method]) -> Result<Self, TableError> {
        let mut routes = FxHashMap::default();
        for method in methods {
            let nsid = method.nsid;
            let schema = catalog().method(nsid).ok_or(TableError::Unknown(nsid))?;
            if schema.kind() == MethodKind::Subscription {
                return Err(TableError::NotCallable(nsid));
            }
            if routes.insert(nsid, Route { method, schema }).is_some() {
                return Err(TableError::Twice(nsid));
            }
        }
        Ok(Self { routes })
    }

    /// The NSIDs of all.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.routes.keys().copied()
    }

    pub(super) fn find(&self, nsid: &str) -> Option<Route> {
        self.routes.get(nsid).copied()
    }
}

/// The HTTP method that a lexicon method is called with.
pub(super) fn expected_verb(schema: &MethodSchema) -> &'static str {
    match schema.kind() {
        MethodKind::Procedure => "POST",
        MethodKind::Query | MethodKind::Subscription => "GET",
    }
}

/// The NSID of `/xrpc/{nsid}`, with or without a trailing slash.
///
/// As loose as the reference: anything that may be a domain name is looked up, so that `/xrpc/hello` is a method
/// that does not exist and `/xrpc/` a bad path.
pub(super) fn nsid(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/xrpc/")?;
    let nsid = rest.strip_suffix('/').unwrap_or(rest);
    let well_formed = nsid
        .split(['.', '-'])
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    (well_formed && nsid.len() >= 2).then_some(nsid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_callable_method_of_the_lexicons() {
        let router = Router::new().unwrap();
        assert_eq!(router.routes.len(), METHODS.len());
    }

    #[test]
    fn paths() {
        let cases = [
            ("/xrpc/app.bsky.feed.getPosts", Some("app.bsky.feed.getPosts")),
            ("/xrpc/app.bsky.feed.getPosts/", Some("app.bsky.feed.getPosts")),
            ("/xrpc/hello", Some("hello")),
            ("/xrpc/", None),
            ("/xrpc/a", None),
            ("/xrpc/a..b", None),
            ("/xrpc/.a.b", None),
            ("/xrpc/a.b-", None),
            ("/xrpc/a.b/c", None),
            ("/xrpc/a.b//", None),
            ("/xrpc/a%2eb", None),
            ("/other", None),
        ];
        for (path, expect) in cases {
            assert_eq!(nsid(path), expect, "{path}");
        }
    }
}
