//! A survey as a file beside the store, so that a server that has just started has something to suggest at once. What the
//! words are about is not in it: that is found anew soon.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::about::About;
use super::survey::{Community, Survey};
use crate::hydrate::{ActorId, RecordId, Rkey};
use crate::schema::CollId;

/// Another one for each form.
const FORM: u32 = 1;
/// Bytes of a file that is read.
const MOST: u64 = 4 << 20;

type Record = (u32, u32, u64);

#[derive(Serialize, Deserialize)]
struct SavedCommunity {
    size: usize,
    best: Vec<u32>,
    word: Option<String>,
    feed: Option<Record>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    form: u32,
    made_at: i64,
    communities: Vec<SavedCommunity>,
    cold: Vec<(u32, String)>,
    feeds: Vec<Record>,
    packs: Vec<Record>,
}

fn numbers(id: &RecordId) -> Record {
    (id.actor.0, id.coll.0, id.rkey.0)
}

fn record(&(actor, coll, rkey): &Record) -> RecordId {
    RecordId { actor: ActorId(actor), coll: CollId(coll), rkey: Rkey(rkey) }
}

/// Writes a survey, whole or not at all.
pub(super) fn save(survey: &Survey, file: &Path) -> io::Result<()> {
    let of_community = |c: &Community| SavedCommunity {
        size: c.size,
        best: c.best.iter().map(|id| id.0).collect(),
        word: c.word.clone(),
        feed: c.feed.as_ref().map(numbers),
    };
    let saved = Saved {
        form: FORM,
        made_at: survey.made_at,
        communities: survey.communities.iter().map(of_community).collect(),
        cold: survey.cold.iter().map(|(id, language)| (id.0, language.clone())).collect(),
        feeds: survey.feeds.iter().map(numbers).collect(),
        packs: survey.packs.iter().map(numbers).collect(),
    };
    replace(file, &serde_json::to_vec(&saved)?)
}

/// Writes a file under another name first, so that a crash leaves the old one or the new one.
pub fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = file.with_extension("part");
    fs::write(&part, bytes)?;
    fs::rename(&part, file)
}

/// The survey in a file; none if it is not there, damaged or of another form.
pub(super) fn load(file: &Path) -> Option<Survey> {
    if fs::metadata(file).ok()?.len() > MOST {
        return None;
    }
    let saved: Saved = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    if saved.form != FORM {
        return None;
    }
    let communities = saved.communities.into_iter().map(|c| Community {
        size: c.size,
        best: c.best.into_iter().map(ActorId).collect(),
        word: c.word,
        feed: c.feed.as_ref().map(record),
    });
    Some(Survey {
        made_at: saved.made_at,
        communities: communities.collect(),
        cold: saved.cold.into_iter().map(|(id, language)| (ActorId(id), language)).collect(),
        feeds: saved.feeds.iter().map(record).collect(),
        packs: saved.packs.iter().map(record).collect(),
        about: About::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_comes_back_and_anything_else_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("survey.json");
        let feed = RecordId { actor: ActorId(3), coll: CollId(12), rkey: Rkey(u64::MAX) };
        let community = Community {
            size: 7,
            best: vec![ActorId(1), ActorId(u32::MAX)],
            word: Some("cats".to_owned()),
            feed: Some(feed),
        };
        let survey = Survey {
            made_at: 5,
            communities: vec![community.clone()],
            cold: vec![(ActorId(9), "en".to_owned())],
            feeds: vec![feed],
            ..Survey::default()
        };
        save(&survey, &file).unwrap();
        let found = load(&file).unwrap();
        assert_eq!((found.made_at, found.communities), (5, vec![community]));
        assert_eq!((found.cold, found.feeds, found.packs), (survey.cold, vec![feed], vec![]));
        let whole = fs::read(&file).unwrap();
        for bad in [&whole[..whole.len() - 1], b"", b"{}", b"\xff"] {
            fs::write(&file, bad).unwrap();
            assert!(load(&file).is_none());
        }
        assert!(load(&dir.path().join("none")).is_none());
    }
}
