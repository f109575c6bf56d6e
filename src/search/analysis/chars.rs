//! What each character is to the analysis, and what it is folded to: one table of all of Unicode, made once.
//!
//! Two lookups a character are what it costs; finding the script and the category each time would cost ten times that.
//! Pages of the table that are equal are kept once, and what a character is folded to is kept as a distance, so that all
//! pages of Han and Hangul are the same one.

use std::collections::HashMap;
use std::sync::LazyLock;

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use icu_properties::props::{ExtendedPictographic, GeneralCategory, GeneralCategoryGroup, Script};
use icu_properties::{CodePointMapData, CodePointMapDataBorrowed, CodePointSetData};

/// What a character is to the analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Ends whatever it follows.
    Break,
    /// As if it were not there.
    Skip,
    /// A mark that folding drops.
    DroppedMark,
    /// Part of a word: letters, digits, marks, `_`.
    Word,
    /// A mark of a script with words: it may also stand on a unit.
    Mark,
    /// One of a run without spaces.
    Unit,
    /// A mark on such a one.
    UnitMark,
    /// Splits a word and may join it.
    Apostrophe,
    /// Begins an emoji.
    Emoji,
    /// Half of a flag.
    Regional,
    /// A letter of the name of a flag, after an emoji.
    EmojiTag,
    /// Joins emoji.
    Joiner,
}

const CLASSES: [Class; 12] = [
    Class::Break,
    Class::Skip,
    Class::DroppedMark,
    Class::Word,
    Class::Mark,
    Class::Unit,
    Class::UnitMark,
    Class::Apostrophe,
    Class::Emoji,
    Class::Regional,
    Class::EmojiTag,
    Class::Joiner,
];

/// What a character is folded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folded {
    One(char),
    Many(&'static str),
}

/// Characters that become two.
const EXPANSIONS: [(char, &str); 4] = [('ß', "ss"), ('œ', "oe"), ('æ', "ae"), ('þ', "th")];

const PAGE: usize = 256;
const PAGES: usize = 0x11_0000 / PAGE;
const DISTANCE: u32 = 0xff_ffff;
/// In place of a distance: the number of an expansion above it. No character is that far from another.
const EXPANDED: u32 = 0x7f_ff00;

struct Table {
    index: Vec<u16>,
    /// The class in the top byte, the distance below it.
    entries: Vec<u32>,
}

static TABLE: LazyLock<Table> = LazyLock::new(make);

/// What a character is, and what it is folded to.
pub(super) fn look(c: char) -> (Class, Folded) {
    let table = &*TABLE;
    let code = c as usize;
    let page = table.index.get(code / PAGE).map_or(0, |page| usize::from(*page));
    let entry = table.entries.get(page * PAGE + code % PAGE).copied().unwrap_or(0);
    let class = CLASSES.get((entry >> 24) as usize).copied().unwrap_or(Class::Break);
    let distance = entry & DISTANCE;
    if distance & EXPANDED == EXPANDED && distance >> 23 == 0 {
        let many = EXPANSIONS.get((distance & 0xff) as usize).map_or("", |(_, to)| *to);
        return (class, Folded::Many(many));
    }
    let to = (c as u32).wrapping_add(distance) & DISTANCE;
    (class, Folded::One(char::from_u32(to).unwrap_or(c)))
}

fn make() -> Table {
    let rules = Rules::new();
    let (mut index, mut entries) = (Vec::with_capacity(PAGES), Vec::new());
    let mut known: HashMap<Vec<u32>, u16> = HashMap::new();
    for page in 0..PAGES {
        let first = (page * PAGE) as u32;
        let made: Vec<u32> = (first..first + PAGE as u32).map(|code| rules.entry(code)).collect();
        let next = known.len() as u16;
        let number = *known.entry(made).or_insert_with_key(|made| {
            entries.extend_from_slice(made);
            next
        });
        index.push(number);
    }
    Table { index, entries }
}

struct Rules {
    script: CodePointMapDataBorrowed<'static, Script>,
    category: CodePointMapDataBorrowed<'static, GeneralCategory>,
    pictographic: icu_properties::CodePointSetDataBorrowed<'static>,
    composed: ComposingNormalizerBorrowed<'static>,
    decomposed: DecomposingNormalizerBorrowed<'static>,
}

impl Rules {
    fn new() -> Self {
        Self {
            script: CodePointMapData::<Script>::new(),
            category: CodePointMapData::<GeneralCategory>::new(),
            pictographic: CodePointSetData::new::<ExtendedPictographic>(),
            composed: ComposingNormalizerBorrowed::new_nfkc(),
            decomposed: DecomposingNormalizerBorrowed::new_nfd(),
        }
    }

    fn entry(&self, code: u32) -> u32 {
        let Some(c) = char::from_u32(code) else { return 0 };
        let class = self.class(c);
        let at = CLASSES.iter().position(|known| *known == class).unwrap_or(0) as u32;
        let (distance, lower) = match class {
            Class::Word | Class::Mark | Class::Unit | Class::UnitMark => {
                let lower = c.to_lowercase().next().unwrap_or(c);
                let to = self.folded(lower);
                ((to as u32).wrapping_sub(code) & DISTANCE, lower)
            }
            _ => (0, c),
        };
        let expansion = EXPANSIONS.iter().position(|(from, _)| *from == lower);
        let distance = expansion.map_or(distance, |number| EXPANDED | number as u32);
        at << 24 | distance
    }

    fn class(&self, c: char) -> Class {
        let script = self.script.get(c);
        let category = self.category.get(c);
        let (mark, letter) = (
            GeneralCategoryGroup::Mark.contains(category),
            GeneralCategoryGroup::Letter.contains(category)
                || GeneralCategoryGroup::Number.contains(category),
        );
        let spaceless = matches!(
            script,
            Script::Han
                | Script::Hiragana
                | Script::Katakana
                | Script::Hangul
                | Script::Thai
                | Script::Lao
                | Script::Khmer
                | Script::Myanmar
        );
        match c {
            '\'' | '’' | '‘' | '\u{2bc}' => Class::Apostrophe,
            '\u{200d}' => Class::Joiner,
            '\u{1f1e6}'..='\u{1f1ff}' => Class::Regional,
            // Skin tones, wherever they are.
            '\u{1f3fb}'..='\u{1f3ff}' | '\u{640}' => Class::Skip,
            '\u{e0020}'..='\u{e007f}' => Class::EmojiTag,
            '_' => Class::Word,
            // The mark of a long vowel is of no script.
            'ー' | '〆' => Class::Unit,
            _ if category == GeneralCategory::Format => Class::Skip,
            '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' | '\u{180b}'..='\u{180d}' => {
                Class::Skip
            }
            // Of those that NFKC makes letters of, the letters are found.
            _ if self.pictographic.contains(c)
                && self.composed.is_normalized(c.encode_utf8(&mut [0; 4])) =>
            {
                Class::Emoji
            }
            _ if mark && drops_marks(script) => Class::DroppedMark,
            _ if mark && spaceless => Class::UnitMark,
            _ if mark => Class::Mark,
            _ if letter && spaceless && category != GeneralCategory::DecimalNumber => Class::Unit,
            _ if letter => Class::Word,
            _ => Class::Break,
        }
    }

    /// What a lower-case letter or a digit is folded to.
    fn folded(&self, c: char) -> char {
        if self.category.get(c) == GeneralCategory::DecimalNumber {
            return self.digit(c);
        }
        match c {
            'ø' => return 'o',
            'đ' | 'ð' => return 'd',
            'ł' => return 'l',
            'ı' => return 'i',
            'ς' => return 'σ',
            'آ' | 'أ' | 'إ' | 'ٱ' => return 'ا',
            'ى' => return 'ي',
            'ة' => return 'ه',
            _ => {}
        }
        if matches!(self.script.get(c), Script::Latin | Script::Greek | Script::Cyrillic) {
            return self.decomposed.normalize_iter(std::iter::once(c)).next().unwrap_or(c);
        }
        c
    }

    /// Decimal digits stand in tens, but not all tens begin at a multiple of ten or sixteen.
    fn digit(&self, c: char) -> char {
        let is_digit = |code: u32| {
            char::from_u32(code)
                .is_some_and(|c| self.category.get(c) == GeneralCategory::DecimalNumber)
        };
        let code = c as u32;
        let before = (1..=code).take_while(|back| is_digit(code - back)).count() as u32;
        // The mathematical digits are five tens in a row, and NFKC makes ASCII of them before they come here.
        char::from_digit(before % 10, 10).unwrap_or(c)
    }
}

/// Scripts whose marks folding drops; marks of no script of their own are written with those.
fn drops_marks(script: Script) -> bool {
    matches!(
        script,
        Script::Inherited
            | Script::Common
            | Script::Latin
            | Script::Greek
            | Script::Cyrillic
            | Script::Arabic
    )
}
