//! What a post is about: its tags, its links, and pairs of longer words that stand next to each other. In scripts that put
//! no spaces between words a run of Han or of katakana is one.

use ipld_core::ipld::Ipld;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use url::Url;

use super::super::words;
use crate::hydrate::ActorId;
use crate::repo::fields;

/// Topics of a post that count, of each kind.
const TAGS: usize = 8;
const LINKS: usize = 2;
const PHRASES: usize = 24;
/// Letters of a word that counts, and syllables of Hangul.
const LETTERS: usize = 4;
const SYLLABLES: usize = 2;
/// Runs of Han and of katakana that count.
const HAN: std::ops::RangeInclusive<usize> = 3..=8;
const KATAKANA: std::ops::RangeInclusive<usize> = 4..=16;
/// Letters of a text that says enough to be compared with others.
const COMPARED: usize = 60;
/// Bytes of a tag, a word and a link.
const LONGEST_TAG: usize = 128;
const LONGEST_WORD: usize = 64;
const LONGEST_LINK: usize = 400;
const LONGEST_TITLE: usize = 80;
/// Parameters of links that say where somebody came from.
const TRACKING: [&str; 6] = ["fbclid", "gclid", "igshid", "si", "ref_src", "mc_cid"];

/// Of topics with the same authors the one whose kind comes first is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Kind {
    Tag,
    Phrase,
    Link,
}

/// A topic as one post has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) key: u64,
    pub(super) kind: Kind,
    /// The same for all who mean it.
    pub(super) text: String,
    /// As it is written here.
    pub(super) spelling: String,
}

/// A primary language subtag, filled up with zeros; all zeros if it is not known.
pub(super) type Language = [u8; 3];

/// What counts of a post.
#[derive(Debug, Clone)]
pub(super) struct Post {
    pub(super) author: ActorId,
    /// When, milliseconds.
    pub(super) at: i64,
    pub(super) language: Language,
    /// Like that of texts like it; 0 where there is too little of it.
    pub(super) likeness: u64,
    pub(super) topics: Vec<Topic>,
}

impl Post {
    /// Reads a post; `None` if it is about nothing, or warns of itself.
    pub(super) fn read(author: ActorId, at: i64, value: &Ipld) -> Option<Self> {
        if !fields::self_labels(value).is_empty() {
            return None;
        }
        let text = fields::text(value, "text").unwrap_or_default();
        let mut topics = Vec::new();
        tags(value, &mut topics);
        links(value, &mut topics);
        phrases(text, &mut topics);
        let mut seen = FxHashSet::default();
        topics.retain(|topic| seen.insert(topic.key));
        let post = Self { author, at, language: language(value), likeness: likeness(text), topics };
        (!post.topics.is_empty()).then_some(post)
    }
}

fn topic(kind: Kind, text: String, spelling: String) -> Topic {
    let key = words::key(&text).wrapping_add(kind as u64);
    Topic { key, kind, text, spelling }
}

fn language(value: &Ipld) -> Language {
    let primary = words::language(value).unwrap_or_default();
    let mut out = [0; 3];
    if (2..=3).contains(&primary.len()) && primary.bytes().all(|b| b.is_ascii_lowercase()) {
        out.iter_mut().zip(primary.bytes()).for_each(|(place, letter)| *place = letter);
    }
    out
}

fn tags(value: &Ipld, topics: &mut Vec<Topic>) {
    let written = fields::features(value)
        .filter(|feature| fields::kind(feature) == "app.bsky.richtext.facet#tag")
        .filter_map(|feature| fields::text(feature, "tag"));
    let beside = fields::list(value, "tags").iter().filter_map(|tag| match tag {
        Ipld::String(tag) => Some(tag.as_str()),
        _ => None,
    });
    let mut seen = FxHashSet::default();
    for tag in written.chain(beside) {
        let tag = tag.trim_start_matches(['#', '＃']).trim();
        let text = tag.to_lowercase();
        let counts = tag.len() <= LONGEST_TAG
            && tag.chars().any(char::is_alphabetic)
            && !tag.contains(|c: char| c.is_whitespace() || c.is_control());
        if counts && seen.len() < TAGS && seen.insert(text.clone()) {
            topics.push(topic(Kind::Tag, text, tag.to_owned()));
        }
    }
}

fn links(value: &Ipld, topics: &mut Vec<Topic>) {
    let embed = fields::field(value, "embed");
    let card = embed.and_then(|embed| {
        let of = fields::field(embed, "media").unwrap_or(embed);
        fields::field(of, "external")
    });
    let of_card = card.into_iter().filter_map(|card| {
        let title = fields::text(card, "title").map(str::trim).filter(|title| !title.is_empty());
        Some((fields::text(card, "uri")?, title))
    });
    let in_text = fields::features(value)
        .filter(|feature| fields::kind(feature) == "app.bsky.richtext.facet#link")
        .filter_map(|feature| Some((fields::text(feature, "uri")?, None)));
    let mut seen = FxHashSet::default();
    for (uri, title) in of_card.chain(in_text) {
        let Some(text) = link(uri) else { continue };
        if seen.len() < LINKS && seen.insert(text.clone()) {
            let title = title.unwrap_or(&text).chars().take(LONGEST_TITLE).collect();
            topics.push(topic(Kind::Link, text, title));
        }
    }
}

/// A link without what does not change where it leads to; none if it leads to a moving picture.
fn link(uri: &str) -> Option<String> {
    if uri.len() > LONGEST_LINK {
        return None;
    }
    let url = Url::parse(uri).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let path = url.path().trim_end_matches('/');
    if path.ends_with(".gif") {
        return None;
    }
    let host = url.host_str()?;
    let mut out = format!("{}{path}", host.strip_prefix("www.").unwrap_or(host));
    let mut query: Vec<_> = url.query_pairs().collect();
    query.retain(|(name, _)| !name.starts_with("utm_") && !TRACKING.contains(&&**name));
    query.sort();
    if !query.is_empty() {
        let query =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        out.push('?');
        out.push_str(&query);
    }
    Some(out)
}

/// How a letter stands in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Han,
    Katakana,
    /// Others without spaces between words, whose words are not told apart here.
    Spaceless,
    Hangul,
    Spaced,
}

fn script(c: char) -> Script {
    match c {
        '々' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}' => {
            Script::Han
        }
        '\u{30a1}'..='\u{30fa}' | 'ー' => Script::Katakana,
        '\u{ac00}'..='\u{d7af}' => Script::Hangul,
        '\u{e00}'..='\u{eff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' => Script::Spaceless,
        _ => Script::Spaced,
    }
}

/// A word between spaces.
struct Word<'a> {
    /// Without what stands around it; empty if it is no word but a link, a name or a tag.
    core: &'a str,
    /// Whether it belongs to the words before and behind it.
    joins: (bool, bool),
}

impl<'a> Word<'a> {
    fn of(token: &'a str) -> Self {
        let core = token.trim_matches(|c| !words::is_part(c));
        let before = !token.starts_with(core);
        let behind = !token.ends_with(core);
        let within = |c: char| words::is_part(c) || matches!(c, '\'' | '’' | '-');
        let named = token.trim_start_matches(['(', '"', '“', '.']).starts_with(['@', '#', '＃']);
        let core = if named || !core.chars().all(within) { "" } else { core };
        Self { core, joins: (!before, !behind) }
    }

    /// Whether it says something by itself.
    fn is_long(&self) -> bool {
        let (mut letters, mut syllables) = (0, 0);
        for c in self.core.chars().filter(|c| c.is_alphabetic()) {
            match script(c) {
                Script::Spaced => letters += 1,
                Script::Hangul => syllables += 1,
                _ => return false,
            }
        }
        (letters >= LETTERS || syllables >= SYLLABLES) && self.core.len() <= LONGEST_WORD
    }
}

fn phrases(text: &str, topics: &mut Vec<Topic>) {
    let most = topics.len() + PHRASES;
    let mut before: Option<&str> = None;
    for token in text.split_whitespace() {
        let word = Word::of(token);
        let long = word.is_long();
        if let Some(first) = before.filter(|_| long && word.joins.0)
            && topics.len() < most
        {
            let spelling = format!("{first} {}", word.core);
            topics.push(topic(Kind::Phrase, spelling.to_lowercase().replace('’', "'"), spelling));
        }
        before = (long && word.joins.1).then_some(word.core);
    }
    let mut run = String::new();
    let mut of: Option<Script> = None;
    for c in text.chars().chain([' ']) {
        let now = Some(script(c)).filter(|s| matches!(s, Script::Han | Script::Katakana));
        if now != of {
            let length = run.chars().count();
            let counts = match of {
                Some(Script::Han) => HAN.contains(&length),
                Some(_) => KATAKANA.contains(&length),
                None => false,
            };
            if counts && topics.len() < most {
                topics.push(topic(Kind::Phrase, run.clone(), run.clone()));
            }
            run.clear();
            of = now;
        }
        if now.is_some() {
            run.push(c);
        }
    }
}

/// A number whose bits are mostly those of texts with mostly the same words. Links, names, tags and numbers do not count,
/// since they are what differs in what is sent to many.
fn likeness(text: &str) -> u64 {
    let (mut votes, mut letters) = ([0_i32; 64], 0);
    for token in text.split_whitespace() {
        let core = Word::of(token).core;
        letters += core.chars().filter(|c| c.is_alphabetic()).count();
        words::each_word(core, &mut |word| {
            if word.chars().any(char::is_alphabetic) {
                let key = words::key(word);
                for (bit, vote) in votes.iter_mut().enumerate() {
                    *vote += if key >> bit & 1 == 1 { 1 } else { -1 };
                }
            }
        });
    }
    if letters < COMPARED {
        return 0;
    }
    let bits = votes.iter().enumerate().filter(|(_, vote)| **vote > 0);
    bits.fold(0, |sum, (bit, _)| sum | 1 << bit).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::dag_cbor::from_json;
    use serde_json::json;

    fn found(value: serde_json::Value) -> Vec<String> {
        let post = Post::read(ActorId(1), 5, &from_json(&value));
        post.map_or(Vec::new(), |post| {
            post.topics.iter().map(|t| format!("{:?} {}", t.kind, t.text)).collect()
        })
    }

    #[test]
    fn words_that_stand_together() {
        for (text, expect) in [
            ("", &[][..]),
            ("The Supreme Court said", &["supreme court", "court said"]),
            ("supreme. Court (again) \"Supreme Court\"", &["supreme court"]),
            ("It is what it is", &[]),
            ("Jack O’Neill’s speech", &["jack o'neill's", "o'neill's speech"]),
            ("@some.body said something #Some tag here", &["said something"]),
            ("read https://example.com/some/thing about this", &["about this"]),
            ("year 2026 2027 that", &[]),
            ("한국 축구 대표팀", &["한국 축구", "축구 대표팀"]),
            ("今日は参議院選挙の日 ワールドカップ 京都", &["参議院選挙", "ワールドカップ"]),
            ("good morning good morning", &["good morning", "morning good"]),
        ] {
            let expect: Vec<_> = expect.iter().map(|text| format!("Phrase {text}")).collect();
            assert_eq!(found(json!({ "text": text })), expect, "{text}");
        }
        let long: Vec<String> = (0..200).map(|n| format!("word{n}")).collect();
        assert_eq!(found(json!({ "text": long.join(" ") })).len(), PHRASES);
    }

    #[test]
    fn tags_of_both_kinds_and_links_as_they_lead_to_the_same() {
        let feature = |kind: &str, key: &str, text: &str| {
            json!({ "index": {}, "features": [
                { "$type": format!("app.bsky.richtext.facet#{kind}"), key: text }] })
        };
        let external = json!({ "uri": "https://www.news.example/a/?utm_source=x&id=5&fbclid=y#z",
            "title": " Something happened " });
        let value = json!({
            "text": "hi", "tags": ["Cats", "dogs", "a b", "123", "x".repeat(200)],
            "facets": [feature("tag", "tag", "CATS"), feature("link", "uri", "http://news.example/a?id=5"),
                feature("link", "uri", "https://x.example/cat.gif"), feature("link", "uri", "ftp://x.example/")],
            "embed": { "$type": "app.bsky.embed.recordWithMedia", "media": { "external": external } },
        });
        assert_eq!(found(value.clone()), ["Tag cats", "Tag dogs", "Link news.example/a?id=5"]);
        let post = Post::read(ActorId(1), 5, &from_json(&value)).unwrap();
        assert_eq!(
            (&*post.topics[0].spelling, &*post.topics[2].spelling),
            ("CATS", "Something happened")
        );
    }

    #[test]
    fn what_warns_of_itself_is_about_nothing_and_the_first_language_counts() {
        let labels =
            json!({ "$type": "com.atproto.label.defs#selfLabels", "values": [{ "val": "porn" }] });
        assert_eq!(found(json!({ "text": "x", "tags": ["a"], "labels": labels })), [""; 0]);
        for (langs, expect) in
            [(json!(["pt-BR", "en"]), *b"pt\0"), (json!(["x1"]), [0; 3]), (json!([]), [0; 3])]
        {
            let value = json!({ "text": "x", "tags": ["a"], "langs": langs });
            assert_eq!(Post::read(ActorId(1), 5, &from_json(&value)).unwrap().language, expect);
        }
    }

    #[test]
    fn texts_with_the_same_words_are_alike() {
        let one =
            "Everybody should go and see this wonderful new place where all of them sell coins";
        let far = |a: &str, b: &str| (likeness(a) ^ likeness(b)).count_ones();
        assert_eq!(far(one, &format!("@you.example {one} 77 #tag https://a.example/9")), 0);
        let other = "I went for a long walk along the river this morning and met nobody at all, which was fine";
        assert!(far(one, other) > 12);
        assert_eq!(likeness("too short to say"), 0);
    }
}
