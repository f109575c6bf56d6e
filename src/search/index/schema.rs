//! The fields of the indexes, and how a document's terms come into them.
//!
//! Posts, those of `top`, and things (lists, starter packs, feed generators) have the same fields, so that one plan asks
//! any of them. Nothing is stored, there are no positions, no frequencies and no norms: a term says which documents have
//! it, and the columns say which record a document is.

use tantivy::schema::{
    Field, IndexRecordOption, NumericOptions, Schema, SchemaBuilder, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer, TokenizerManager};
use tantivy::{IndexSettings, IndexSortByField, Order};

/// The version of these fields. An index that has others is made again.
pub(super) const SCHEMA: u32 = 2;

/// Between the terms of a value: no term has it.
pub(super) const SEPARATOR: char = '\0';

/// What the fields' terms are split by.
const TOKENIZER: &str = "terms";

/// Fields of records that have terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TextField {
    /// Words of the body; of a thing, of its name.
    Text,
    /// Words of alternative texts and cards; of a thing, of its description.
    More,
    /// Tags, folded.
    Tag,
    /// Hosts of links and each of their parents.
    Domain,
    /// Languages, whole and primary.
    Lang,
    /// What it has or is; of a thing, what kind of one.
    Flag,
}

impl TextField {
    /// All, in the order of the schema.
    pub const ALL: [Self; 6] =
        [Self::Text, Self::More, Self::Tag, Self::Domain, Self::Lang, Self::Flag];

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::More => "more",
            Self::Tag => "tag",
            Self::Domain => "domain",
            Self::Lang => "lang",
            Self::Flag => "flag",
        }
    }
}

/// Fields of records that have numbers for terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NumberField {
    /// Whose it is.
    Author,
    /// The hash of a URL's form.
    Url,
    /// An account that it mentions.
    Mention,
    /// In `top`: how many interactions it has, by powers of two.
    Tier,
}

/// Fields of records.
#[derive(Debug, Clone)]
pub struct RecordFields {
    text: [Field; TextField::ALL.len()],
    author: Field,
    url: Field,
    mention: Field,
    tier: Field,
    pub(super) coll: Field,
    pub(super) ts: Field,
    pub(super) key: Field,
}

/// The column of a record's time, by which it is sorted: the newest first.
pub(super) const TS: &str = "ts";
/// The column of a record's key, less its time.
pub(super) const KEY: &str = "key";
/// The column of a record's collection.
pub(super) const COLL: &str = "coll";
/// The column of whose a document is, in all indexes.
pub(super) const AUTHOR: &str = "author";
/// The column of a popular post's tier; only `top` has it.
pub(super) const TIER: &str = "tier";
/// The column of an account's followers when it was written, about, by which accounts are sorted: the most first.
pub(super) const FOLLOWERS: &str = "followers";

impl RecordFields {
    /// The schema, and its fields.
    #[must_use]
    pub fn schema() -> (Schema, Self) {
        let mut b = Schema::builder();
        let fields = Self {
            text: TextField::ALL.map(|field| b.add_text_field(field.name(), terms())),
            author: b.add_u64_field(AUTHOR, NumericOptions::default().set_indexed().set_fast()),
            url: b.add_u64_field("url", NumericOptions::default().set_indexed()),
            mention: b.add_u64_field("mention", NumericOptions::default().set_indexed()),
            tier: b.add_u64_field(TIER, NumericOptions::default().set_indexed().set_fast()),
            coll: column(&mut b, COLL),
            ts: b.add_i64_field(TS, NumericOptions::default().set_fast()),
            key: b.add_i64_field(KEY, NumericOptions::default().set_fast()),
        };
        (b.build(), fields)
    }

    /// A field of terms.
    #[must_use]
    pub fn text(&self, field: TextField) -> Field {
        let [text, more, tag, domain, lang, flag] = self.text;
        match field {
            TextField::Text => text,
            TextField::More => more,
            TextField::Tag => tag,
            TextField::Domain => domain,
            TextField::Lang => lang,
            TextField::Flag => flag,
        }
    }

    /// A field of numbers.
    #[must_use]
    pub fn number(&self, field: NumberField) -> Field {
        match field {
            NumberField::Author => self.author,
            NumberField::Url => self.url,
            NumberField::Mention => self.mention,
            NumberField::Tier => self.tier,
        }
    }
}

/// How long the beginnings of names are that are terms by themselves. Of longer ones the names that begin so are few; of these
/// they may be a tenth of all, and one list of accounts is read in place of thousands.
pub const BEGINNINGS: usize = 5;

/// Fields of accounts.
#[derive(Debug, Clone)]
pub struct ActorFields {
    /// Labels of the handle and words of the display name, and the latter joined.
    pub name: Field,
    /// What each of those begins with: one to [`BEGINNINGS`] characters.
    pub pre: Field,
    /// The handle, whole.
    pub handle: Field,
    /// Words of the description.
    pub bio: Field,
    /// Which account.
    pub author: Field,
    pub(super) followers: Field,
}

impl ActorFields {
    /// The schema, and its fields.
    #[must_use]
    pub fn schema() -> (Schema, Self) {
        let mut b = Schema::builder();
        let fields = Self {
            name: b.add_text_field("name", terms()),
            pre: b.add_text_field("pre", terms()),
            handle: b.add_text_field("handle", terms()),
            bio: b.add_text_field("bio", terms()),
            author: b.add_u64_field(AUTHOR, NumericOptions::default().set_indexed().set_fast()),
            followers: b.add_i64_field(FOLLOWERS, NumericOptions::default().set_fast()),
        };
        (b.build(), fields)
    }
}

fn column(b: &mut SchemaBuilder, name: &str) -> Field {
    b.add_u64_field(name, NumericOptions::default().set_fast())
}

fn terms() -> TextOptions {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic);
    TextOptions::default().set_indexing_options(indexing)
}

/// Settings of an index that is sorted by a column, the largest first.
#[must_use]
pub(super) fn sorted_by(column: &str) -> IndexSettings {
    IndexSettings {
        sort_by_field: Some(IndexSortByField { field: column.to_owned(), order: Order::Desc }),
        docstore_compress_dedicated_thread: false,
        ..IndexSettings::default()
    }
}

/// What splits values into the terms that `analysis` made.
#[must_use]
pub(super) fn tokenizers() -> TokenizerManager {
    // Numbers are split by one of the engine's own.
    let manager = TokenizerManager::default();
    manager.register(TOKENIZER, TextAnalyzer::from(Terms::default()));
    manager
}

#[derive(Clone, Default)]
struct Terms(Token);

struct TermsOf<'a> {
    rest: &'a str,
    token: &'a mut Token,
}

impl Tokenizer for Terms {
    type TokenStream<'a> = TermsOf<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> TermsOf<'a> {
        self.0.reset();
        TermsOf { rest: text, token: &mut self.0 }
    }
}

impl TokenStream for TermsOf<'_> {
    fn advance(&mut self) -> bool {
        while !self.rest.is_empty() {
            let (term, rest) = self.rest.split_once(SEPARATOR).unwrap_or((self.rest, ""));
            self.rest = rest;
            if !term.is_empty() {
                // It begins before the first.
                self.token.position = self.token.position.wrapping_add(1);
                self.token.text.clear();
                self.token.text.push_str(term);
                return true;
            }
        }
        false
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_what_stands_between_separators() {
        let mut terms = Terms::default();
        let mut stream = terms.token_stream("a b\0\0c\0");
        let mut found = Vec::new();
        while stream.advance() {
            found.push(stream.token().text.clone());
        }
        assert_eq!(found, ["a b", "c"]);
    }
}
