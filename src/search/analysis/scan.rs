//! Reads a text once, from its first character to its last, and says which words, units and emoji it has.

use std::ops::Range;

use icu_normalizer::ComposingNormalizerBorrowed;

use super::chars::{Class, Folded, look};
use super::{MAX_TERM, MAX_TEXT};

/// Before these, after an apostrophe, the joined form is a term as well.
const JOINING: [&str; 7] = ["s", "t", "re", "ve", "ll", "d", "m"];

/// Articles of Arabic, alone or after و.
const ARTICLES: [&str; 5] = ["ال", "بال", "كال", "فال", "لل"];

/// What encloses a digit that is a key.
const KEYCAP: char = '\u{20e3}';

/// Who is told what a text has. Places are bytes of the text after NFKC.
pub(super) trait Sink {
    /// A word.
    fn word(&mut self, term: &str, at: Range<usize>);
    /// The last two words as one.
    fn joined(&mut self, term: &str);
    /// A unit of a run without spaces, and with the one that it follows.
    fn unit(&mut self, unit: &str, pair: Option<&str>, at: Range<usize>);
    /// Such a run ends.
    fn run_end(&mut self, last: &str);
    /// An emoji.
    fn emoji(&mut self, term: &str, at: Range<usize>);
}

/// Whether marks and other differences of spelling are folded away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Folded,
    AsTyped,
}

/// What is being read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Word,
    Run,
}

#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// The text after NFKC, if that changed it.
    normal: String,
    now: State,
}

#[derive(Debug, Default)]
struct State {
    as_typed: bool,
    open: Open,
    /// Where the word or the unit begins.
    start: usize,
    word: String,
    /// The word before an apostrophe, and where the apostrophe ends.
    before: String,
    joins_at: Option<usize>,
    run: String,
    /// Where in `run` the unit before the last begins, and the last.
    previous: Option<usize>,
    last: usize,
    emoji: String,
}

impl Scanner {
    pub(super) fn scan(&mut self, text: &str, sink: &mut impl Sink) {
        self.scan_as(text, Spelling::Folded, sink);
    }

    pub(super) fn scan_as(&mut self, text: &str, spelling: Spelling, sink: &mut impl Sink) {
        let text = cut(text, MAX_TEXT);
        let text = normalized(text, &mut self.normal);
        self.now.as_typed = spelling == Spelling::AsTyped;
        self.now.text(text, sink);
    }
}

/// The beginning of a text, at most so many bytes.
pub(super) fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

/// The text after NFKC, in `buffer` if that is another.
pub(super) fn normalized<'a>(text: &'a str, buffer: &'a mut String) -> &'a str {
    if text.is_ascii() {
        return text;
    }
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let (head, tail) = nfkc.split_normalized(text);
    if tail.is_empty() {
        return text;
    }
    buffer.clear();
    buffer.push_str(head);
    // Writing to a string does not fail.
    _ = nfkc.normalize_to(tail, buffer);
    buffer
}

impl State {
    fn text(&mut self, text: &str, sink: &mut impl Sink) {
        (self.open, self.joins_at) = (Open::Nothing, None);
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if byte.is_ascii() {
                at = self.ascii(text, at, *byte, sink);
            } else {
                let rest = text.get(at..).unwrap_or_default();
                let Some(c) = rest.chars().next() else { break };
                at = self.other(rest, at, c, sink);
            }
        }
        self.close(text.len(), sink);
    }

    /// Reads what begins with an ASCII character; says where it ends.
    fn ascii(&mut self, text: &str, at: usize, byte: u8, sink: &mut impl Sink) -> usize {
        if !byte.is_ascii_alphabetic()
            && let Some(end) = self.keycap(text, at, byte, sink)
        {
            return end;
        }
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            self.open_word(at, sink);
            self.word.push(byte.to_ascii_lowercase() as char);
        } else {
            self.close(at, sink);
            if byte == b'\'' {
                self.apostrophe(at, at + 1);
            }
        }
        at + 1
    }

    /// `1️⃣` and the like.
    fn keycap(&mut self, text: &str, at: usize, byte: u8, sink: &mut impl Sink) -> Option<usize> {
        if !matches!(byte, b'0'..=b'9' | b'#' | b'*') || text.as_bytes().get(at + 1)?.is_ascii() {
            return None;
        }
        let rest = text.get(at + 1..)?;
        let selector = rest.strip_prefix('\u{fe0f}');
        let end = text.len() - selector.unwrap_or(rest).strip_prefix(KEYCAP)?.len();
        self.close(at, sink);
        self.emoji.clear();
        self.emoji.push(char::from(byte));
        self.emoji.push(KEYCAP);
        sink.emoji(&self.emoji, at..end);
        Some(end)
    }

    /// Reads what begins with any other character.
    fn other(&mut self, rest: &str, at: usize, c: char, sink: &mut impl Sink) -> usize {
        let end = at + c.len_utf8();
        let (class, folded) = look(c);
        match class {
            Class::Break => self.close(at, sink),
            Class::Skip | Class::Joiner | Class::EmojiTag => {}
            Class::DroppedMark if !self.as_typed => {}
            Class::DroppedMark => {
                if self.open == Open::Word {
                    self.word.push(c);
                }
            }
            Class::Word => {
                self.open_word(at, sink);
                self.push(c, folded);
            }
            Class::Mark | Class::UnitMark if self.open == Open::Run => self.push_mark(c),
            Class::Mark => {
                self.open_word(at, sink);
                self.push(c, folded);
            }
            Class::Unit | Class::UnitMark => {
                if self.open == Open::Run {
                    self.end_unit(at, sink);
                } else {
                    self.close(at, sink);
                    self.run.clear();
                    (self.open, self.previous, self.last) = (Open::Run, None, 0);
                }
                self.start = at;
                self.run.push(c);
            }
            Class::Apostrophe => {
                self.close(at, sink);
                self.apostrophe(at, end);
            }
            Class::Emoji | Class::Regional => {
                self.close(at, sink);
                let end = at + self.take_emoji(rest, class);
                sink.emoji(&self.emoji, at..end);
                return end;
            }
        }
        end
    }

    fn push(&mut self, c: char, folded: Folded) {
        match folded {
            // Dots of the Turkish i are no marks: which letter a capital is of depends on the language.
            _ if self.as_typed && matches!(c, 'ı' | 'İ') => self.word.push('i'),
            _ if self.as_typed => self.word.extend(c.to_lowercase()),
            Folded::One(to) => self.word.push(to),
            Folded::Many(to) => self.word.push_str(to),
        }
    }

    /// A mark on a unit; a tower of them is cut off.
    fn push_mark(&mut self, c: char) {
        if self.run.len() - self.last + c.len_utf8() <= MAX_TERM / 2 {
            self.run.push(c);
        }
    }

    /// Puts an emoji into the buffer; says how long it is in the text.
    fn take_emoji(&mut self, rest: &str, class: Class) -> usize {
        self.emoji.clear();
        let mut chars = rest.char_indices().peekable();
        self.emoji.extend(chars.next().map(|(_, c)| c));
        let mut end = chars.peek().map_or(rest.len(), |(at, _)| *at);
        let mut flag = class == Class::Regional;
        let mut joins = false;
        for (at, c) in chars {
            match look(c).0 {
                Class::Regional if flag => flag = false,
                // Selectors and skin tones.
                Class::Skip => {
                    end = at + c.len_utf8();
                    continue;
                }
                Class::Joiner => {
                    joins = true;
                    continue;
                }
                Class::Emoji if joins => self.emoji.push('\u{200d}'),
                Class::EmojiTag => {}
                _ => break,
            }
            joins = false;
            end = at + c.len_utf8();
            if self.emoji.len() + c.len_utf8() <= MAX_TERM {
                self.emoji.push(c);
            }
        }
        self.emoji.truncate(cut(&self.emoji, MAX_TERM).len());
        end
    }

    fn open_word(&mut self, at: usize, sink: &mut impl Sink) {
        if self.open != Open::Word {
            self.close(at, sink);
            self.word.clear();
            (self.open, self.start) = (Open::Word, at);
        }
    }

    fn apostrophe(&mut self, at: usize, end: usize) {
        // Only directly after a word that was not joined itself.
        self.joins_at = (self.joins_at == Some(at)).then_some(end);
    }

    /// Ends what is open.
    fn close(&mut self, at: usize, sink: &mut impl Sink) {
        match self.open {
            Open::Nothing => {}
            Open::Word => self.end_word(at, sink),
            Open::Run => {
                self.end_unit(at, sink);
                sink.run_end(self.run.get(self.previous.unwrap_or(0)..).unwrap_or_default());
            }
        }
        self.open = Open::Nothing;
    }

    fn end_word(&mut self, at: usize, sink: &mut impl Sink) {
        if !self.as_typed {
            let kept = without_article(&self.word).len();
            self.word.drain(..self.word.len() - kept);
        }
        self.word.truncate(cut(&self.word, MAX_TERM).len());
        sink.word(&self.word, self.start..at);
        let joins = self.joins_at == Some(self.start) && JOINING.contains(&self.word.as_str());
        // One that would be cut is no other than the word before.
        if joins && self.before.len() + self.word.len() <= MAX_TERM {
            self.before.push_str(&self.word);
            sink.joined(&self.before);
            self.joins_at = None;
        } else {
            std::mem::swap(&mut self.word, &mut self.before);
            self.joins_at = Some(at);
        }
    }

    fn end_unit(&mut self, at: usize, sink: &mut impl Sink) {
        let part = |from| self.run.get(from..).unwrap_or_default();
        let unit = part(self.last);
        sink.unit(unit, self.previous.map(part), self.start..at);
        (self.previous, self.last) = (Some(self.last), self.run.len());
    }
}

/// An Arabic word without its article, if three letters remain.
fn without_article(word: &str) -> &str {
    // All that an article begins with begin with these bytes in UTF-8.
    if !matches!(word.as_bytes().first(), Some(0xd8 | 0xd9)) {
        return word;
    }
    let rest = word.strip_prefix('و').unwrap_or(word);
    for from in [word, rest] {
        let article = ARTICLES.iter().find(|article| from.starts_with(**article));
        let stripped = article.and_then(|article| from.get(article.len()..));
        if let Some(stripped) = stripped.filter(|stripped| stripped.chars().nth(2).is_some()) {
            return stripped;
        }
    }
    word
}
