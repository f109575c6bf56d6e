//! Searches as the methods of the protocol are given them: the text and all parameters, as one tree.

use super::ast::{Account, Leaf, Node, Plain, RecordRef};
use super::operators::{self, flag, plain};
use super::{QueryError, parse};
use crate::lexicon::Params;
use crate::search::document::Flag;
use crate::syntax::datetime;

/// In which order posts come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sort {
    /// The newest first.
    Latest,
    /// The best first.
    Top,
}

/// All that a search is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// What a post has to be.
    pub query: Node<Leaf>,
    /// In which order they come.
    pub sort: Sort,
    /// Only the last [`RECENT_MS`], since nothing says otherwise.
    pub only_recent: bool,
    /// Whose word boundaries count.
    pub language: Option<String>,
}

/// 30 days.
pub const RECENT_MS: i64 = 30 * 86_400_000;

impl Search {
    /// The parameters of `app.bsky.feed.searchPosts`.
    pub fn posts(params: &Params) -> Result<Self, QueryError> {
        let mut all = Conditions::of(params.str("q"))?;
        all.any(params.str("author"), from);
        all.any(params.str("mentions"), mention);
        all.any(params.str("lang"), lang);
        all.any(params.str("domain"), domain);
        all.any(params.str("url"), url);
        for one in params.strs("tag") {
            all.any([one], tag);
        }
        // What cannot be read is left out, as by the reference.
        all.since(params.str("since").and_then(instant));
        all.until(params.str("until").and_then(instant));
        let sort = if params.str("sort") == Some("top") { Sort::Top } else { Sort::Latest };
        Ok(Self { query: Node::and(all.0), sort, only_recent: false, language: None })
    }

    /// The parameters of `app.bsky.feed.searchPostsV2`.
    pub fn posts_v2(params: &Params) -> Result<Self, QueryError> {
        let is_true = |name| params.bool(name) == Some(true);
        let text = params.str("query").filter(|text| !text.trim().is_empty());
        let mut all = Conditions::of(text)?;
        for (name, without, condition) in FIELDS {
            all.any(params.strs(name), condition);
            all.none(params.strs(without), condition);
        }
        let record = |name: &'static str| match params.str(name) {
            None => Ok(None),
            Some(uri) => operators::record(uri)
                .map(Some)
                .ok_or(QueryError::BadParameter("replyParentUri and threadRootUri are of posts")),
        };
        let (parent, thread) = (record("replyParentUri")?, record("threadRootUri")?);
        let time = |name: &'static str| match params.str(name) {
            None => Ok(None),
            Some(text) => instant(text).map(Some).ok_or(QueryError::BadTime(name)),
        };
        let (since, until) = (time("since")?, time("until")?);
        if is_true("repliesOnly") && is_true("excludeReplies") {
            return Err(QueryError::BadParameter(
                "repliesOnly and excludeReplies exclude each other",
            ));
        }
        all.record(parent, Leaf::Parent);
        all.record(thread, Leaf::Thread);
        all.since(since);
        all.until(until);
        all.when(is_true("hasMedia"), flag(Flag::Media));
        all.when(is_true("hasVideo"), flag(Flag::Video));
        all.when(is_true("repliesOnly"), flag(Flag::Reply));
        all.when(is_true("excludeReplies"), flag(Flag::Reply).negated());
        all.when(is_true("following"), Node::Leaf(Leaf::From(Account::Following)));
        if text.is_none() && all.0.is_empty() {
            return Err(QueryError::Nothing);
        }
        let query = Node::and(all.0);
        let sort = if params.str("sort") == Some("recent") { Sort::Latest } else { Sort::Top };
        Ok(Self {
            only_recent: !is_true("allTime") && !query.any(is_of_any_time),
            query,
            sort,
            language: params.str("queryLanguage").map(str::to_owned),
        })
    }

    /// A number that stands for it: pages of one search are not continued by another.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let Self { query, sort, only_recent, language } = self;
        let language = language.as_deref().unwrap_or_default();
        let all = format!("{query}\n{sort:?} {only_recent} {language}");
        xxhash_rust::xxh3::xxh3_64(all.as_bytes())
    }
}

type Condition = fn(&str) -> Option<Node<Leaf>>;

/// Lists of values any of which will do, and of those that none may be.
const FIELDS: [(&str, &str, Condition); 7] = [
    ("authors", "excludeAuthors", from),
    ("mentions", "excludeMentions", mention),
    ("domains", "excludeDomains", domain),
    ("urls", "excludeUrls", url),
    ("embeddedAtUris", "excludeEmbeddedAtUris", embeds),
    ("hashtags", "excludeHashtags", tag),
    ("languages", "excludeLanguages", lang),
];

/// Who says so does not mean the last days only: a time, a thread, a quoted record, what they kept themselves.
fn is_of_any_time(leaf: &Leaf) -> bool {
    matches!(
        leaf,
        Leaf::Plain(Plain::Since(_) | Plain::Until(_))
            | Leaf::Embeds(_)
            | Leaf::Parent(_)
            | Leaf::Thread(_)
            | Leaf::In(_)
    )
}

struct Conditions(Vec<Node<Leaf>>);

impl Conditions {
    fn of(text: Option<&str>) -> Result<Self, QueryError> {
        let query = parse(text.unwrap_or_default())?;
        Ok(Self(if query.is_all() { Vec::new() } else { vec![query] }))
    }

    /// One of the values, if there are any; those that nothing can be are nothing.
    fn any<T: AsRef<str>>(&mut self, values: impl IntoIterator<Item = T>, condition: Condition) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            self.0.push(Node::or(values.filter_map(|value| condition(value.as_ref())).collect()));
        }
    }

    fn none<T: AsRef<str>>(&mut self, values: impl IntoIterator<Item = T>, condition: Condition) {
        let conditions = values.into_iter().filter_map(|value| condition(value.as_ref()));
        self.0.extend(conditions.map(Node::negated));
    }

    fn record(&mut self, record: Option<RecordRef>, leaf: fn(RecordRef) -> Leaf) {
        self.0.extend(record.map(|record| Node::Leaf(leaf(record))));
    }

    fn since(&mut self, ms: Option<i64>) {
        self.0.extend(ms.map(|ms| plain(Plain::Since(ms))));
    }

    fn until(&mut self, ms: Option<i64>) {
        self.0.extend(ms.map(|ms| plain(Plain::Until(ms))));
    }

    fn when(&mut self, is_so: bool, node: Node<Leaf>) {
        self.0.extend(is_so.then_some(node));
    }
}

fn from(value: &str) -> Option<Node<Leaf>> {
    Account::parse(value).map(|account| Node::Leaf(Leaf::From(account)))
}

fn mention(value: &str) -> Option<Node<Leaf>> {
    Account::parse(value).map(|account| Node::Leaf(Leaf::Mention(account)))
}

fn domain(value: &str) -> Option<Node<Leaf>> {
    operators::domain(value).map(|host| plain(Plain::Domain(host)))
}

fn url(value: &str) -> Option<Node<Leaf>> {
    operators::url(value).map(Node::Leaf)
}

fn embeds(value: &str) -> Option<Node<Leaf>> {
    operators::record(value).map(|record| Node::Leaf(Leaf::Embeds(record)))
}

fn tag(value: &str) -> Option<Node<Leaf>> {
    let tag = operators::tag(value, true);
    (!tag.is_empty()).then(|| plain(Plain::Tag(tag)))
}

fn lang(value: &str) -> Option<Node<Leaf>> {
    operators::lang(value).map(|tag| plain(Plain::Lang(tag)))
}

/// A date as in a query, or whatever else the reference reads.
fn instant(text: &str) -> Option<i64> {
    let date = operators::Span::parse(text).map(|span| span.begin);
    date.or_else(|| Some(datetime::normalize_ms(text)).filter(|ms| *ms != 0))
}
