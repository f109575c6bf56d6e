//! What can be called: every method of `app.bsky.*` and what else is served, from the method table and the lexicons. Shown
//! at `/docs`, at `/` to who asks for no page, and by `aerie xrpc list`.

use std::fmt::Write as _;

use serde::Serialize;

use super::method::METHODS;
use crate::lexicon::{MethodKind, MethodSchema, ParamSchema, catalog};

/// A method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedMethod {
    /// Its NSID.
    pub nsid: &'static str,
    /// `query` (GET) or `procedure` (POST).
    pub kind: &'static str,
    /// Who may call it; none if nobody may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<&'static str>,
    /// Parameters of a query.
    pub params: Vec<Param>,
    /// Why it answers 501 `MethodNotImplemented`; none if it is served.
    #[serde(rename = "notServed", skip_serializing_if = "Option::is_none")]
    pub not_served: Option<&'static str>,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// `string`, `integer`, `boolean` or `string[]`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether the call fails without it.
    pub required: bool,
    /// What holds when it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

impl Param {
    fn of(schema: &ParamSchema) -> Self {
        Self {
            name: schema.name(),
            kind: schema.type_name(),
            required: schema.required(),
            default: schema.default_value(),
        }
    }
}

impl ListedMethod {
    fn of(schema: &MethodSchema, community: bool) -> Option<Self> {
        let kind = match schema.kind() {
            MethodKind::Query => "query",
            MethodKind::Procedure => "procedure",
            MethodKind::Subscription => return None,
        };
        let nsid = schema.nsid();
        let row = METHODS.iter().find(|row| row.nsid == nsid);
        if row.is_none() && !nsid.starts_with("app.bsky.") {
            return None;
        }
        let not_served = match row {
            Some(_) => unconfigured(nsid, community),
            None => Some(elsewhere(nsid)),
        };
        let params = schema.params().iter().map(Param::of).collect();
        Some(Self { nsid, kind, auth: row.map(|row| row.auth.label()), params, not_served })
    }

    /// The parameters in short: `actor*` is required, `limit=50` has a default, `uris[]` may be given several times.
    #[must_use]
    pub fn params_text(&self) -> String {
        let one = |param: &Param| {
            let many = if param.kind == "string[]" { "[]" } else { "" };
            let required = if param.required { "*" } else { "" };
            let default = param.default.as_ref().map(|value| format!("={value}"));
            format!("{}{many}{required}{}", param.name, default.unwrap_or_default())
        };
        self.params.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// Rows of the table that answer 501 all the same, as the reference does without a vendor's service.
fn unconfigured(nsid: &str, community: bool) -> Option<&'static str> {
    match nsid {
        _ if nsid.starts_with("community.blacksky.") => {
            (!community).then_some("needs [community] in the configuration")
        }
        "app.bsky.ageassurance.begin" | "app.bsky.unspecced.initAgeAssurance" => {
            Some("needs a vendor")
        }
        _ if nsid.starts_with("app.bsky.contact.") => Some("needs a vendor"),
        _ => None,
    }
}

fn elsewhere(nsid: &str) -> &'static str {
    match nsid {
        "app.bsky.actor.getPreferences" | "app.bsky.actor.putPreferences" => "asked of the PDS",
        "app.bsky.feed.describeFeedGenerator" | "app.bsky.feed.sendInteractions" => {
            "asked of feed generators"
        }
        "app.bsky.feed.getFeedSkeleton" => "asked of feed generators",
        _ if nsid.starts_with("app.bsky.video.") => "asked of a video service",
        _ if nsid.ends_with("Skeleton") => "internal to Bluesky",
        _ => "not yet",
    }
}

/// All of them by NSID; `community` says whether the configuration has one.
#[must_use]
pub fn list(community: bool) -> Vec<ListedMethod> {
    let listed = |schema| ListedMethod::of(schema, community);
    let mut methods: Vec<ListedMethod> = catalog().methods().filter_map(listed).collect();
    methods.sort_unstable_by_key(|method| method.nsid);
    methods
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>aerie</title>
<style>
body { font: 16px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color-scheme: light dark }
table { border-collapse: collapse } td, th { text-align: left; vertical-align: top; padding: .15em 1em .15em 0 }
</style>
<h1>aerie</h1>
<p>An <a href=\"https://atproto.com\">AT Protocol</a> AppView. Clients reach it through their PDS; these are its methods under
<code>/xrpc/</code>. A parameter with * is required, one with [] may be given several times.</p>
";

/// The page of them. Nothing in it comes from outside.
pub(super) fn page(community: bool) -> String {
    let (served, others): (Vec<_>, Vec<_>) =
        list(community).into_iter().partition(|method| method.not_served.is_none());
    let mut out = String::from(HEAD);
    out.push_str("<table>\n<tr><th>Method<th>HTTP<th>Auth<th>Parameters\n");
    for method in &served {
        let verb = if method.kind == "query" { "GET" } else { "POST" };
        let (auth, params) = (method.auth.unwrap_or_default(), method.params_text());
        // Writing to a string does not fail.
        let _ =
            writeln!(out, "<tr><td><code>{}</code><td>{verb}<td>{auth}<td>{params}", method.nsid);
    }
    out.push_str("</table>\n<h2>Not served</h2>\n<p>These answer 501.</p>\n<table>\n");
    for method in &others {
        let why = method.not_served.unwrap_or_default();
        let _ = writeln!(out, "<tr><td><code>{}</code><td>{why}", method.nsid);
    }
    out.push_str("</table>\n</html>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_and_every_method_of_bluesky_is_listed() {
        let (list, page) = (list(false), page(false));
        let find = |nsid: &str| list.iter().find(|method| method.nsid == nsid);
        for row in METHODS {
            assert_eq!(find(row.nsid).unwrap().auth, Some(row.auth.label()), "{}", row.nsid);
        }
        for schema in catalog().methods() {
            let listed = find(schema.nsid()).is_some();
            let expected = schema.nsid().starts_with("app.bsky.");
            assert!(listed || !expected, "{}", schema.nsid());
        }
        for method in &list {
            assert!(page.contains(&format!("<code>{}</code>", method.nsid)));
        }
        assert!(list.is_sorted_by_key(|method| method.nsid));
        let of = |nsid| {
            let method = find(nsid).unwrap();
            (method.kind, method.not_served, method.params_text())
        };
        let likes = "uri*, cid, limit=50, cursor".to_owned();
        assert_eq!(of("app.bsky.feed.getLikes"), ("query", None, likes));
        assert_eq!(of("app.bsky.graph.muteActor"), ("procedure", None, String::new()));
        assert_eq!(of("app.bsky.feed.getPosts").2, "uris[]*");
        assert_eq!(of("app.bsky.actor.putPreferences").1, Some("asked of the PDS"));
        assert_eq!(of("app.bsky.contact.getMatches").1, Some("needs a vendor"));
        assert!(find("com.atproto.server.createSession").is_none());
        let submit = "community.blacksky.feed.submitPost";
        assert!(of(submit).1.is_some());
        let configured = super::list(true);
        assert!(configured.iter().any(|m| m.nsid == submit && m.not_served.is_none()));
    }
}
