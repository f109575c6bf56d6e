//! The entries of options that are lists of inline tables.

use super::parse::{self, Parsed, Row};
use super::value::Value;
use super::{HandleOverride, Labeler, LiveNow, SubjectTags, Tagged};

pub(super) const FEED: &str = "app.bsky.feed.generator";

pub(super) fn handle_override(value: &Value) -> Parsed<HandleOverride> {
    let mut row = Row::new(value)?;
    let suffix = row.required("suffix", parse::handle_suffix);
    let url = row.required("url", parse::origin);
    row.end(suffix.zip(url).map(|(suffix, url)| HandleOverride { suffix, url }))
}

pub(super) fn labeler(value: &Value) -> Parsed<Labeler> {
    let mut row = Row::new(value)?;
    let did = row.required("did", parse::did);
    let url = row.optional("url", |v| parse::url(v, &["https", "http", "wss", "ws"]));
    let signing_key = row.optional("signing_key", parse::did_key);
    row.end(did.map(|did| Labeler { did, url, signing_key }))
}

pub(super) fn tagged(value: &Value) -> Parsed<Tagged> {
    let mut row = Row::new(value)?;
    let tag = row.required("tag", parse::text);
    let is_feed = row.required("type", |v| parse::one_of(v, &["actor", "feed"])) == Some("feed");
    let subject = row.required("subject", |v| match is_feed {
        true => parse::record_uri(v, FEED),
        false => parse::did(v).map(|did| did.as_str().to_owned()),
    });
    row.end(tag.zip(subject).map(|(tag, subject)| Tagged { tag, subject, is_feed }))
}

pub(super) fn live_now(value: &Value) -> Parsed<LiveNow> {
    let mut row = Row::new(value)?;
    let did = row.required("did", parse::did);
    let domains = row.required("domains", |v| parse::list(v, parse::text));
    row.end(did.zip(domains).map(|(did, domains)| LiveNow { did, domains }))
}

pub(super) fn tags_of_record(value: &Value) -> Parsed<SubjectTags> {
    tags_of(value, "uri", parse::any_record_uri)
}

pub(super) fn tags_of_account(value: &Value) -> Parsed<SubjectTags> {
    tags_of(value, "did", |v| parse::did(v).map(|did| did.as_str().to_owned()))
}

fn tags_of(
    value: &Value,
    name: &'static str,
    subject: fn(&Value) -> Parsed<String>,
) -> Parsed<SubjectTags> {
    let mut row = Row::new(value)?;
    let subject = row.required(name, subject);
    let tags = row.required("tags", |v| parse::list(v, parse::text));
    row.end(subject.zip(tags).map(|(subject, tags)| SubjectTags { subject, tags }))
}
