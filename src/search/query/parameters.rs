//! The parameters of the methods that search posts, each of them and the query one condition.

use xxhash_rust::xxh3::xxh3_64;

use super::ast::{Account, Author, Query, Record};
use super::error::QueryError;
use super::parser::parse;
use super::values::{self, When};
use crate::search::analysis::tag_term;
use crate::search::document::Flag;
use crate::search::url_form;

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The query and the parameters.
    pub query: Query<Account>,
    /// Stands for both: cursors of other requests are refused by it.
    pub fingerprint: u64,
    /// Only what is new is asked for: posts of 30 days.
    pub recent_only: bool,
}

/// Parameters of `app.bsky.feed.searchPosts`.
#[derive(Debug, Default, Clone)]
#[expect(missing_docs, reason = "the names of the lexicon")]
pub struct SearchPosts<'a> {
    pub q: &'a str,
    pub since: Option<&'a str>,
    pub until: Option<&'a str>,
    pub mentions: Option<&'a str>,
    pub author: Option<&'a str>,
    pub lang: Option<&'a str>,
    pub domain: Option<&'a str>,
    pub url: Option<&'a str>,
    pub tag: Vec<&'a str>,
}

/// Parameters of `app.bsky.feed.searchPostsV2`. Flags that are false are as if they were not there.
#[derive(Debug, Default, Clone)]
#[expect(missing_docs, reason = "the names of the lexicon")]
#[expect(clippy::struct_excessive_bools, reason = "the lexicon has them")]
pub struct SearchPostsV2<'a> {
    pub query: &'a str,
    pub authors: Vec<&'a str>,
    pub mentions: Vec<&'a str>,
    pub domains: Vec<&'a str>,
    pub urls: Vec<&'a str>,
    pub embedded_at_uris: Vec<&'a str>,
    pub hashtags: Vec<&'a str>,
    pub exclude_authors: Vec<&'a str>,
    pub exclude_mentions: Vec<&'a str>,
    pub exclude_domains: Vec<&'a str>,
    pub exclude_urls: Vec<&'a str>,
    pub exclude_embedded_at_uris: Vec<&'a str>,
    pub exclude_hashtags: Vec<&'a str>,
    pub since: Option<&'a str>,
    pub until: Option<&'a str>,
    pub all_time: bool,
    pub languages: Vec<&'a str>,
    pub exclude_languages: Vec<&'a str>,
    pub has_media: bool,
    pub has_video: bool,
    pub reply_parent_uri: Option<&'a str>,
    pub thread_root_uri: Option<&'a str>,
    pub exclude_replies: bool,
    pub replies_only: bool,
    pub following: bool,
}

type Asked = Query<Account>;

impl SearchPosts<'_> {
    /// What is asked for. A time that cannot be read is as if it were not there, as in the reference.
    pub fn request(&self) -> Result<Request, QueryError> {
        let mut filters = Vec::new();
        filters.extend(each(self.author, author)?);
        filters.extend(each(self.mentions, mention)?);
        filters.extend(each(self.lang, language)?);
        filters.extend(each(self.domain, domain)?);
        filters.extend(each(self.url, link)?);
        filters.extend(each(self.tag.iter().copied(), tag)?);
        let when = |text: Option<&str>| text.and_then(When::parse).map(|when| when.start);
        filters.extend(when(self.since).map(Query::Since));
        filters.extend(when(self.until).map(Query::Until));
        Ok(request(parse(self.q)?, filters, false))
    }
}

impl SearchPostsV2<'_> {
    /// What is asked for.
    pub fn request(&self) -> Result<Request, QueryError> {
        if self.exclude_replies && self.replies_only {
            return Err(QueryError::Invalid("excludeReplies and repliesOnly exclude each other"));
        }
        let mut filters = Vec::new();
        for (wanted, unwanted, read) in [
            (&self.authors, &self.exclude_authors, author as Read),
            (&self.mentions, &self.exclude_mentions, mention),
            (&self.domains, &self.exclude_domains, domain),
            (&self.urls, &self.exclude_urls, link),
            (&self.embedded_at_uris, &self.exclude_embedded_at_uris, quote),
            (&self.hashtags, &self.exclude_hashtags, tag),
            (&self.languages, &self.exclude_languages, language),
        ] {
            if !wanted.is_empty() {
                filters.push(Query::any(each(wanted.iter().copied(), read)?));
            }
            let unwanted = each(unwanted.iter().copied(), read)?;
            filters.extend(unwanted.into_iter().map(Query::negated));
        }
        let record = |uri: Option<&str>| uri.map(record).transpose();
        filters.extend(record(self.reply_parent_uri)?.map(Query::Parent));
        filters.extend(record(self.thread_root_uri)?.map(Query::Root));
        filters.extend(time(self.since)?.map(Query::Since));
        filters.extend(time(self.until)?.map(Query::Until));
        for (is, filter) in [
            (self.has_media, Query::Has(Flag::Media)),
            (self.has_video, Query::Has(Flag::Video)),
            (self.replies_only, Query::Has(Flag::Reply)),
            (self.exclude_replies, Query::Has(Flag::Reply).negated()),
            (self.following, Query::From(vec![Author::Following])),
        ] {
            filters.extend(is.then_some(filter));
        }
        if self.query.trim().is_empty() && filters.is_empty() {
            return Err(QueryError::BadQuery("query or a filter is required"));
        }
        let query = parse(self.query)?;
        let anytime = self.all_time
            || self.since.is_some()
            || self.reply_parent_uri.is_some()
            || self.thread_root_uri.is_some()
            || !self.embedded_at_uris.is_empty()
            || says_since(&query);
        Ok(request(query, filters, !anytime))
    }
}

/// Whether the query itself says from when on, or asks for quotes.
fn says_since(query: &Asked) -> bool {
    match query {
        Query::Since(_) => true,
        Query::Links(links) => links.iter().any(|link| link.post.is_some()),
        Query::And(parts) | Query::Or(parts) => parts.iter().any(says_since),
        _ => false,
    }
}

fn request(query: Asked, filters: Vec<Asked>, recent_only: bool) -> Request {
    let mut text = query.to_string();
    for filter in &filters {
        text.push('\n');
        text.push_str(&filter.to_string());
    }
    let query = query.both(Query::every(filters));
    Request { query, fingerprint: xxh3_64(text.as_bytes()), recent_only }
}

type Read = fn(&str) -> Result<Asked, QueryError>;

fn each<'a>(
    values: impl IntoIterator<Item = &'a str>,
    read: Read,
) -> Result<Vec<Asked>, QueryError> {
    values.into_iter().map(read).collect()
}

fn account(name: &str) -> Result<Account, QueryError> {
    values::account(name).ok_or(QueryError::Invalid("account must be a handle or a DID"))
}

fn author(name: &str) -> Result<Asked, QueryError> {
    Ok(Query::From(vec![Author::One(account(name)?)]))
}

fn mention(name: &str) -> Result<Asked, QueryError> {
    Ok(Query::Mentions(account(name)?))
}

fn language(tag: &str) -> Result<Asked, QueryError> {
    let lang = values::lang(tag).ok_or(QueryError::Invalid("language must be a BCP 47 tag"))?;
    Ok(Query::Langs(vec![lang]))
}

/// A host that is none is that of no link.
fn domain(host: &str) -> Result<Asked, QueryError> {
    Ok(url_form::domain(host).map_or(Query::Nothing, |host| Query::Domains(vec![host])))
}

fn link(url: &str) -> Result<Asked, QueryError> {
    Ok(values::link(url).map_or(Query::Nothing, |link| Query::Links(vec![link])))
}

fn tag(tag: &str) -> Result<Asked, QueryError> {
    let tag = tag_term(tag);
    Ok(if tag.is_empty() { Query::Nothing } else { Query::Tag(tag) })
}

fn quote(uri: &str) -> Result<Asked, QueryError> {
    Ok(Query::Quotes(record(uri)?))
}

fn record(uri: &str) -> Result<Record<Account>, QueryError> {
    values::record(uri).ok_or(QueryError::Invalid("uri must be the at-uri of a record"))
}

fn time(text: Option<&str>) -> Result<Option<i64>, QueryError> {
    text.map(|text| {
        let when = When::parse(text).ok_or(QueryError::BadQuery("since or until is no date"))?;
        Ok(when.start)
    })
    .transpose()
}
