//! Schemas of calls: parameters, input and output.

use std::sync::Arc;

use serde_json::Value;

use super::invalid::{Invalid, Problem};
use super::params::{ParamSchema, Params, Reading, parse};
use super::schema::{DefId, Defs};
use super::validate::validate;

/// Methods whose reference implementation also reads `key[]=` and `key[0]=` as `key=`, for old clients.
const LOOSE: [&str; 5] = [
    "app.bsky.actor.getProfiles",
    "app.bsky.feed.getFeedGenerators",
    "app.bsky.feed.getPostThread",
    "app.bsky.feed.getPosts",
    "app.bsky.feed.getTimeline",
];

/// Methods whose required text may be empty: a search for nothing in particular finds all, within its filters.
const EMPTY: [&str; 1] = ["app.bsky.feed.searchPosts"];

/// How a method is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// HTTP GET.
    Query,
    /// HTTP POST.
    Procedure,
    /// WebSocket.
    Subscription,
}

/// What the compiler knows of a method.
pub(crate) struct MethodParts {
    pub(crate) nsid: &'static str,
    pub(crate) kind: MethodKind,
    pub(crate) params: Box<[ParamSchema]>,
    pub(crate) input: Option<Body>,
    pub(crate) output: Option<Body>,
}

/// Encoding and, for JSON, schema of a body.
#[derive(Clone, Copy)]
pub(crate) struct Body {
    pub(crate) encoding: Option<&'static str>,
    pub(crate) def: Option<DefId>,
}

/// The schema of one method.
pub struct MethodSchema {
    parts: MethodParts,
    defs: Arc<Defs>,
}

impl MethodSchema {
    pub(crate) fn new(parts: MethodParts, defs: Arc<Defs>) -> Self {
        Self { parts, defs }
    }

    /// The NSID.
    pub fn nsid(&self) -> &'static str {
        self.parts.nsid
    }

    /// How it is called.
    pub fn kind(&self) -> MethodKind {
        self.parts.kind
    }

    /// The parameters, in the order of the lexicon.
    pub fn params(&self) -> &[ParamSchema] {
        &self.parts.params
    }

    /// MIME type of the input; none if the method takes no body.
    pub fn input_encoding(&self) -> Option<&'static str> {
        self.parts.input.and_then(|body| body.encoding)
    }

    /// MIME type of the output; none if the method answers no body.
    #[cfg(test)]
    pub fn output_encoding(&self) -> Option<&'static str> {
        self.parts.output.and_then(|body| body.encoding)
    }

    /// Reads a query string (what follows `?`, not decoded): types, defaults, required ones, ranges and formats.
    /// Unknown parameters and empty values are ignored; a single-valued parameter given twice is an error.
    ///
    /// The error is for the caller, in the words of the reference implementation.
    pub fn parse_params(&self, query: Option<&str>) -> Result<Params, Invalid> {
        let nsid = &self.parts.nsid;
        let reading = Reading { loose: LOOSE.contains(nsid), empty: EMPTY.contains(nsid) };
        parse(&self.parts.params, query.unwrap_or_default(), reading).map_err(|problem| Invalid {
            path: String::new(),
            reason: format!("Invalid {} params: {}", self.parts.nsid, problem.into_reason()),
        })
    }

    /// Checks a JSON input. Anything is valid if the lexicon gives no schema.
    pub fn validate_input(&self, input: &Value) -> Result<(), Invalid> {
        self.check(self.parts.input, input)
    }

    /// Checks a JSON output, or a message of a subscription. Anything is valid if the lexicon gives no schema.
    pub fn validate_output(&self, output: &Value) -> Result<(), Invalid> {
        self.check(self.parts.output, output)
    }

    fn check(&self, body: Option<Body>, value: &Value) -> Result<(), Invalid> {
        let Some(def) = body.and_then(|body| body.def) else { return Ok(()) };
        validate(&self.defs, def, value).map_err(|problem| Problem::into_invalid(*problem))
    }
}
