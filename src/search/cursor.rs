//! Where a page of posts ended, so that the next one goes on there, however many posts came meanwhile.
//!
//! # Invariants
//! - A cursor is taken by the search that gave it and by no other: it holds a number that stands for all of it.

use data_encoding::BASE64URL_NOPAD;

use crate::schema::{ActorId, PostId, Rkey};

/// The form of cursors; those of another are refused.
const VERSION: u8 = 1;

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cursor {
    /// Of the newest first: the time and the post that were last.
    Latest {
        /// In milliseconds.
        ts: i64,
        /// The post.
        post: PostId,
    },
    /// Of the best first: the time that all scores are of, and the last score and post.
    Top {
        /// In milliseconds.
        now: i64,
        /// Not NaN.
        score: f64,
        /// The post.
        post: PostId,
    },
}

/// A cursor that this search did not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Malformed cursor")]
pub struct Malformed;

impl Cursor {
    /// Its text, for the search that this number stands for.
    #[must_use]
    pub fn write(&self, search: u64) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(search.to_be_bytes());
        let post = match self {
            Self::Latest { ts, post } => {
                bytes.push(0);
                bytes.extend(ts.to_be_bytes());
                post
            }
            Self::Top { now, score, post } => {
                bytes.push(1);
                bytes.extend(now.to_be_bytes());
                bytes.extend(score.to_be_bytes());
                post
            }
        };
        bytes.extend(post.to_bytes());
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// The cursor of a text.
    pub fn read(text: &str, search: u64) -> Result<Self, Malformed> {
        // The longer of the two has 38 bytes.
        if text.len() > 64 {
            return Err(Malformed);
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| Malformed)?;
        Self::of(&bytes, search).ok_or(Malformed)
    }

    fn of(bytes: &[u8], search: u64) -> Option<Self> {
        let mut rest = bytes;
        let (version, of) = (take::<1>(&mut rest)?, take::<8>(&mut rest)?);
        if version != [VERSION] || of != search.to_be_bytes() {
            return None;
        }
        let kind = take::<1>(&mut rest)?;
        let time = i64::from_be_bytes(take(&mut rest)?);
        let score = match kind {
            [0] => None,
            [1] => Some(f64::from_be_bytes(take(&mut rest)?)).filter(|score| !score.is_nan()),
            _ => return None,
        };
        if kind == [1] && score.is_none() {
            return None;
        }
        let author = ActorId(u32::from_be_bytes(take(&mut rest)?));
        let post = PostId { author, rkey: Rkey(u64::from_be_bytes(take(&mut rest)?)) };
        let cursor = match score {
            None => Self::Latest { ts: time, post },
            Some(score) => Self::Top { now: time, score, post },
        };
        rest.is_empty().then_some(cursor)
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POST: PostId = PostId { author: ActorId(7), rkey: Rkey(9) };

    #[test]
    fn the_search_that_gave_a_cursor_takes_it_and_no_other() {
        for cursor in [
            Cursor::Latest { ts: 1_767_225_600_000, post: POST },
            Cursor::Latest { ts: i64::MIN, post: POST },
            Cursor::Top { now: 1_767_225_600_000, score: -3.25, post: POST },
        ] {
            let text = cursor.write(5);
            assert_eq!(Cursor::read(&text, 5), Ok(cursor));
            assert_eq!(Cursor::read(&text, 6), Err(Malformed));
            // Shorter, longer, of another version, of another alphabet.
            assert_eq!(Cursor::read(&text[..text.len() - 4], 5), Err(Malformed));
            assert_eq!(Cursor::read(&format!("{text}AAAA"), 5), Err(Malformed));
            assert_eq!(Cursor::read(&format!("B{}", &text[1..]), 5), Err(Malformed));
            assert_eq!(Cursor::read(&format!("{text}="), 5), Err(Malformed));
        }
        let nan = Cursor::Top { now: 0, score: f64::NAN, post: POST };
        assert_eq!(Cursor::read(&nan.write(5), 5), Err(Malformed));
        for text in ["", "25", "1767225600000__bafy", "日本", &"A".repeat(10_000)] {
            assert_eq!(Cursor::read(text, 5), Err(Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_written_so(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
            let begin = [&[VERSION][..], &5u64.to_be_bytes(), &[bytes.first().copied().unwrap_or(0) & 1], &bytes].concat();
            for bytes in [bytes, begin] {
                let text = BASE64URL_NOPAD.encode(&bytes);
                if let Ok(cursor) = Cursor::read(&text, 5) {
                    prop_assert_eq!(cursor.write(5), text);
                }
            }
        }
    }
}
