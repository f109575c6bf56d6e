//! Operators and what their values mean.

use super::ast::{Account, Leaf, Node, Plain, RecordRef, Shelf, words};
use crate::search::analysis::{Analyzer, tag_term};
use crate::search::document::Flag;
use crate::search::language;
use crate::search::url_form::{self, UrlForm};
use crate::syntax::{AtUriRef, datetime, is_language};

/// What stands before a colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    From,
    Mention,
    Domain,
    Url,
    Lang,
    Since,
    Until,
    After,
    Has,
    Is,
    In,
    Alt,
    Replies,
    Media,
}

/// What each is called; in any case.
const NAMES: [(&str, Operator); 20] = [
    ("from", Operator::From),
    ("author", Operator::From),
    ("by", Operator::From),
    ("to", Operator::Mention),
    ("mentions", Operator::Mention),
    ("domain", Operator::Domain),
    ("site", Operator::Domain),
    ("url", Operator::Url),
    ("lang", Operator::Lang),
    ("language", Operator::Lang),
    ("since", Operator::Since),
    ("after", Operator::After),
    ("until", Operator::Until),
    ("before", Operator::Until),
    ("has", Operator::Has),
    ("filter", Operator::Has),
    ("is", Operator::Is),
    ("in", Operator::In),
    ("alt", Operator::Alt),
    ("replies", Operator::Replies),
];

/// Ends of words that belong to the sentence and not to what is looked for.
const PUNCTUATION: [char; 12] = ['.', ',', ';', ':', '!', '?', '\'', '’', '‘', '。', '、', '…'];

/// The collection that addresses of the app are about.
const POST: &str = "app.bsky.feed.post";

const DAY: i64 = 86_400_000;

impl Operator {
    pub(super) fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("media") {
            return Some(Self::Media);
        }
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, of)| *of)
    }

    /// The condition that it is with this value; `None` if that cannot be read.
    pub(super) fn with(self, value: &str, analyzer: &mut Analyzer) -> Option<Node<Leaf>> {
        // What joins emoji is invisible in a name.
        let visible = value.replace('\u{200d}', "");
        let lower = visible.to_lowercase();
        Some(match self {
            Self::From => leaf(Leaf::From(author(&visible)?)),
            Self::Mention => leaf(Leaf::Mention(mentioned(&visible)?)),
            Self::Domain => plain(Plain::Domain(domain(&visible)?)),
            Self::Url => leaf(url(&visible)?),
            Self::Lang => plain(Plain::Lang(lang(&visible)?)),
            Self::Since => plain(Plain::Since(Span::parse(&visible)?.begin)),
            Self::After => plain(Plain::Since(Span::parse(&visible)?.end)),
            Self::Until => plain(Plain::Until(Span::parse(&visible)?.begin)),
            Self::Has => flag(match lower.as_str() {
                "media" => Flag::Media,
                "image" | "images" => Flag::Image,
                "video" => Flag::Video,
                "link" | "links" => Flag::Link,
                "quote" => Flag::Quote,
                "alt" => Flag::Alt,
                _ => return None,
            }),
            Self::Is => match lower.as_str() {
                "reply" => flag(Flag::Reply),
                "quote" => flag(Flag::Quote),
                "post" => flag(Flag::Reply).negated(),
                _ => return None,
            },
            Self::In => leaf(Leaf::In(match lower.as_str() {
                "likes" => Shelf::Likes,
                "bookmarks" => Shelf::Bookmarks,
                "library" => Shelf::Library,
                _ => return None,
            })),
            Self::Alt => plain(Plain::Alt(words(analyzer, value)?)),
            Self::Replies => match lower.as_str() {
                "only" => flag(Flag::Reply),
                "none" => flag(Flag::Reply).negated(),
                _ => return None,
            },
            Self::Media => match lower.as_str() {
                "true" => flag(Flag::Media),
                "false" => flag(Flag::Media).negated(),
                _ => return None,
            },
        })
    }
}

fn leaf(leaf: Leaf) -> Node<Leaf> {
    Node::Leaf(leaf)
}

pub(super) fn plain(plain: Plain) -> Node<Leaf> {
    leaf(Leaf::Plain(plain))
}

pub(super) fn flag(flag: Flag) -> Node<Leaf> {
    plain(Plain::Flag(flag))
}

/// Without what ends a sentence.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_end_matches(PUNCTUATION)
}

/// An account, with or without its sign, also at the end of a sentence.
fn account(value: &str) -> Option<Account> {
    let value = value.trim();
    let name = value.strip_prefix('@').unwrap_or(value);
    Account::parse(name).or_else(|| Account::parse(trimmed(name)))
}

fn mentioned(value: &str) -> Option<Account> {
    if value.trim().eq_ignore_ascii_case("me") { Some(Account::Me) } else { account(value) }
}

fn author(value: &str) -> Option<Account> {
    if value.trim().eq_ignore_ascii_case("following") {
        Some(Account::Following)
    } else {
        mentioned(value)
    }
}

/// `@handle` by itself.
pub(super) fn mention(word: &str) -> Option<Account> {
    account(&word.strip_prefix('@')?.replace('\u{200d}', ""))
}

/// A DID by itself.
pub(super) fn did(word: &str) -> Option<Account> {
    if word.starts_with("did:") { account(word) } else { None }
}

/// A tag without its sign; empty if nothing is left of it.
pub(super) fn tag(text: &str, quoted: bool) -> String {
    let text = if quoted { text } else { trimmed(text) };
    tag_term(text.trim_start_matches(|c: char| c == '#' || c.is_whitespace()))
}

/// A host of more than one label, or an address.
pub(super) fn domain(value: &str) -> Option<String> {
    let host = url_form::domain(value)?;
    let of_host = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    (host.contains(['.', ':']) && host.bytes().all(of_host)).then_some(host)
}

pub(super) fn lang(value: &str) -> Option<String> {
    let tag = value.trim().to_ascii_lowercase().replace('_', "-");
    if !is_language(&tag) {
        return None;
    }
    Some(if tag.contains('-') { tag } else { language::primary(&tag).to_owned() })
}

/// A page of the web, or a record that posts embed.
pub(super) fn url(value: &str) -> Option<Leaf> {
    if value.starts_with("at://") {
        return record(value).map(Leaf::Embeds);
    }
    let form = UrlForm::parse(value)?;
    // It is written between quotes.
    (!form.as_str().contains('"')).then_some(Leaf::Plain(Plain::Url(form)))
}

/// The record of an address of its own, with a key.
pub(super) fn record(uri: &str) -> Option<RecordRef> {
    let uri = AtUriRef::parse(uri)?;
    Some(RecordRef {
        account: Account::parse(uri.authority)?,
        collection: uri.collection?.to_owned(),
        rkey: uri.rkey?.to_owned(),
    })
}

/// The post that an address of the app is about.
pub(super) fn post_at(form: &UrlForm) -> Option<RecordRef> {
    let path = form.as_str().strip_prefix("bsky.app/profile/")?;
    let (account, rkey) = path.split_once("/post/")?;
    let rkey = rkey.split(['?', '/']).next().unwrap_or_default();
    crate::syntax::is_rkey(rkey).then_some(())?;
    Some(RecordRef {
        account: Account::parse(account)?,
        collection: POST.to_owned(),
        rkey: rkey.to_owned(),
    })
}

/// What a date stands for: from, and up to but not at; milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) begin: i64,
    pub(super) end: i64,
}

impl Span {
    /// `YYYY`, `YYYY-MM`, `YYYY-MM-DD`, all in UTC, or a time: RFC 3339, also without zone or seconds.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = trimmed(text.trim()).to_ascii_uppercase();
        let at = |text: &str| datetime::parse_strict(text);
        let begin_of = |date: &str| at(&format!("{date}T00:00:00Z"));
        let number = |from: usize, to: usize| -> Option<i32> {
            let part = text.get(from..to)?;
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let span = match text.len() {
            4 => {
                let year = number(0, 4)?;
                let begin = begin_of(&format!("{year:04}-01-01"))?;
                Self { begin, end: begin_of(&format!("{:04}-01-01", year + 1)).unwrap_or(i64::MAX) }
            }
            7 => {
                let (year, month) = (number(0, 4)?, number(5, 7)?);
                let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                let begin = begin_of(&format!("{text}-01"))?;
                let end = begin_of(&format!("{:04}-{:02}-01", next.0, next.1));
                Self { begin, end: end.unwrap_or(i64::MAX) }
            }
            10 => {
                let begin = begin_of(&text)?;
                Self { begin, end: begin + DAY }
            }
            _ => {
                let begin = at(&text)
                    .or_else(|| at(&format!("{text}Z")))
                    .or_else(|| at(&format!("{text}:00Z")))?;
                Self { begin, end: begin + 1 }
            }
        };
        // Later than that no time can be written.
        Some(Self { begin: span.begin, end: span.end.min(datetime::MAX_MS) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_spans() {
        let day = |text: &str| {
            Span::parse(text)
                .map(|span| (datetime::format_ms(span.begin), datetime::format_ms(span.end)))
        };
        for (text, begin, end) in [
            ("2026", "2026-01-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
            ("2026-12", "2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
            ("2026-02", "2026-02-01T00:00:00.000Z", "2026-03-01T00:00:00.000Z"),
            ("2026-02-28", "2026-02-28T00:00:00.000Z", "2026-03-01T00:00:00.000Z"),
            ("2026-02-28,", "2026-02-28T00:00:00.000Z", "2026-03-01T00:00:00.000Z"),
            ("2026-02-28T10:30", "2026-02-28T10:30:00.000Z", "2026-02-28T10:30:00.001Z"),
            ("2026-02-28t10:30:05z", "2026-02-28T10:30:05.000Z", "2026-02-28T10:30:05.001Z"),
            ("2026-02-28T10:30:05+01:00", "2026-02-28T09:30:05.000Z", "2026-02-28T09:30:05.001Z"),
            ("9999", "9999-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(day(text), Some((begin.into(), end.into())), "{text}");
        }
        for text in [
            "",
            "soon",
            "26",
            "2026-13",
            "2026-00",
            "2026-1-1",
            "20 6",
            "2026-02-3x",
            "+026",
            "٢٠٢٦",
        ] {
            assert_eq!(day(text), None, "{text}");
        }
    }
}
