//! What is shown to who did not ask for it: accounts, feeds and starter packs that may interest a viewer.
//!
//! ```text
//! store -> survey (now and then, all that is popular) -> communities, cold start
//!   |                                                        |
//!   +---- suggest (a viewer's follows, two steps) ---+       v
//!                                                    +-> lists that are kept -> pages -> xrpc
//! operator's lists, which come first ----------------+
//! ```
//!
//! Everything here is counted from what is public in the store: whom people follow, what they like, what they say of
//! themselves. There is no random number in it: the same store gives the same order.
//!
//! Does not know: HTTP, the shape of answers. Whether somebody may be shown to a viewer is asked of `hydrate`, once when a
//! list is made and again with each page of it.
//!
//! # Invariants
//! - Nothing that a request causes reads more than a fixed number of rows, however many follow or are followed.
//! - Nobody is suggested who is followed already, blocked either way, muted, hidden, labelled spam, or asked not to be
//!   (`app.bsky.actor.contentVisibilityDeclaration`).

mod about;
mod communities;
mod fit;
mod ground;
mod independent;
mod kept;
mod records;
mod saved;
mod suggest;
mod survey;
#[cfg(test)]
mod tests;
mod top;
pub mod trends;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustc_hash::FxHashSet;

use crate::hydrate::{ActorId, HydrateCtx, Hydrator, RecordId, Result, collections as c};
use crate::schema::{CollId, Rows as _};
use kept::Lists;
use suggest::Suggester;
use survey::{Ended, Survey, Surveyor};

pub use crate::config::{Discovery as Settings, Tagged};
pub use fit::{fit, fit_authors, is_marked};
pub use ground::Ground;
pub use kept::{Cursor, List};
pub use records::fit_records;
pub use saved::replace;

/// Bytes that lists take at most of what is given to all of this, and at most which part of it.
const LISTS: (u64, u64) = (2 << 20, 4);
/// Accounts that are about a topic, starter packs and lists of which that is said, and members of each.
const ABOUT: usize = 200;
const RECORDS_ABOUT: usize = 8;
const MEMBERS: usize = 50;
/// Topics that count of those that a client names.
const TOPICS: usize = 8;
/// Communities that have something under their word.
const TAGGED: usize = 10;
/// The survey's file in the folder of the store.
const FILE: &str = "survey.json";

/// What a client says of whom it asks for.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// What all of them should be about.
    pub category: Option<String>,
    /// What the viewer is interested in.
    pub topics: Vec<String>,
    /// Languages that the viewer reads, as primary subtags.
    pub languages: Vec<String>,
}

/// All lists that are kept, and what they are made of besides the store.
pub struct Discovery {
    settings: ArcSwap<Settings>,
    /// How often the settings were replaced: lists are made of them.
    version: AtomicU64,
    accounts: Lists<ActorId>,
    records: Lists<RecordId>,
    survey: ArcSwap<Survey>,
    /// Accounts that a survey looks at closely.
    surveyed: usize,
}

impl Discovery {
    /// Takes so many bytes at most, from this time on.
    #[must_use]
    pub fn new(settings: Settings, bytes: u64, now_us: u64) -> Self {
        let lists = LISTS.0.min(bytes / LISTS.1);
        let surveyed = bytes.saturating_sub(lists) / survey::ACCOUNT_BYTES;
        Self {
            settings: ArcSwap::from_pointee(settings),
            version: AtomicU64::default(),
            accounts: Lists::new(lists / 2, now_us),
            records: Lists::new(lists / 2, now_us),
            survey: ArcSwap::default(),
            surveyed: usize::try_from(surveyed).unwrap_or(usize::MAX),
        }
    }

    /// Replaces what the operator wants to be shown first.
    pub fn reload(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the last survey of the store in a folder, if there was one.
    pub fn recall(&self, folder: &Path) {
        if let Some(survey) = saved::load(&file(folder)) {
            self.survey.store(Arc::new(survey));
        }
    }

    /// Looks through a store and remembers what was found; `false` if it was told to stop. Blocks, with rests, for as long as it
    /// takes.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn look(&self, ground: &Ground<'_>) -> Result<bool> {
        let survey = match (Surveyor { ground, accounts: self.surveyed }).look() {
            Ok(survey) => survey,
            Err(Ended::Stopped) => return Ok(false),
            Err(Ended::Store(error)) => return Err(error),
        };
        if let Err(error) = saved::save(&survey, &file(ground.store.path())) {
            tracing::warn!(%error, "the survey of what is popular cannot be saved: after a restart it is made again");
        }
        self.survey.store(Arc::new(survey));
        Ok(true)
    }

    /// Accounts for the viewer. With a cursor the list that it is in, unless that is kept no more.
    pub fn accounts(
        &self,
        h: &Hydrator<'_>,
        wish: &Wish,
        cursor: Option<Cursor>,
    ) -> Result<Option<Arc<List<ActorId>>>> {
        let survey = self.survey.load_full();
        let wish = Known::of(wish, &survey);
        let viewer = h.ctx.viewer.map_or_else(|| "all".to_owned(), |id| id.0.to_string());
        let key = format!("{viewer} {wish}");
        if let Some(cursor) = cursor {
            return Ok(self.accounts.of_cursor(&key, cursor, h.ctx.now));
        }
        let made_of = self.made_of(h)?;
        let plain = plain(h);
        let h = h.ctx.viewer.map_or(Hydrator { ctx: &plain, ..*h }, |_| *h);
        let make = || {
            if let Some(category) = &wish.category {
                return about(&h, &survey, category);
            }
            let mut out = Vec::new();
            for did in &self.settings.load().follows {
                out.extend(h.snapshot.actor_id(did.as_str())?);
            }
            out.extend(self.own(&h)?);
            let mut of_topics = Vec::new();
            for topic in &wish.topics {
                of_topics.push(seeds(&h, &survey, topic)?);
            }
            out.extend(suggest::in_turn(&of_topics));
            out.extend(wish.cold(&survey));
            Ok(suggest::distinct(out))
        };
        self.accounts.current(&key, made_of, h.ctx.now, make).map(Some)
    }

    /// Accounts like one. Not for this viewer in particular: what is held of it is given to others too.
    pub fn accounts_like(&self, h: &Hydrator<'_>, actor: ActorId) -> Result<Arc<List<ActorId>>> {
        let key = format!("like {}", actor.0);
        let ctx = plain(h);
        let make = || Suggester(Hydrator { ctx: &ctx, ..*h }).like(actor);
        self.accounts.current(&key, 0, h.ctx.now, make)
    }

    /// Feeds or starter packs for the viewer. With a cursor the list that it is in, unless that is kept no more.
    pub fn records(
        &self,
        h: &Hydrator<'_>,
        which: Records,
        cursor: Option<Cursor>,
    ) -> Result<Option<Arc<List<RecordId>>>> {
        // Those by likes are the same for all.
        let viewer = h.ctx.viewer.filter(|_| matches!(which, Records::Feeds | Records::Packs));
        let viewer_key = viewer.map_or_else(|| "all".to_owned(), |id| id.0.to_string());
        let survey = self.survey.load_full();
        let key = format!("{viewer_key} {which:?}");
        if let Some(cursor) = cursor {
            return Ok(self.records.of_cursor(&key, cursor, h.ctx.now));
        }
        let made_of = match viewer {
            Some(_) => self.made_of(h)?,
            None => self.version.load(Ordering::Relaxed),
        };
        let plain = plain(h);
        let h = viewer.map_or(Hydrator { ctx: &plain, ..*h }, |_| *h);
        let make = || {
            let settings = self.settings.load();
            let follows = viewer.map_or(Ok(Vec::new()), |viewer| Suggester(h).known(viewer))?;
            Ok(suggest::distinct(match which {
                Records::Feeds => {
                    let mut out = named(&h, &settings.feeds, c::GENERATOR)?;
                    out.extend(records::feeds(&h, &survey.feeds, &follows)?);
                    out
                }
                Records::PopularFeeds => {
                    let mut out = named(&h, &settings.feeds, c::GENERATOR)?;
                    out.extend(records::most_liked(&h, &survey.feeds)?);
                    out
                }
                Records::Packs => {
                    let mut out = named(&h, &settings.starter_packs, c::STARTERPACK)?;
                    let mut near = follows;
                    near.extend(self.own(&h)?);
                    out.extend(records::packs(&h, &survey.packs, &near)?);
                    out
                }
            }))
        };
        self.records.current(&key, made_of, h.ctx.now, make).map(Some)
    }

    /// Accounts and feeds under words: those of the operator, then of the largest communities.
    pub fn tagged(&self, h: &Hydrator<'_>) -> Result<Vec<Tagged>> {
        let mut out = self.settings.load().tagged.clone();
        let (survey, mut state) = (self.survey.load_full(), h.state());
        let named = survey.communities.iter().filter_map(|c| Some((c, c.word.as_ref()?)));
        for (community, word) in named.take(TAGGED) {
            let of = |subject, is_feed| Tagged { tag: word.clone(), subject, is_feed };
            for &feed in fit_records(h, &mut state, community.feed.as_slice())?.iter().take(1) {
                out.push(of(h.snapshot.uri(feed)?, true));
            }
            let best = community.best.get(..TAGGED).unwrap_or(&community.best);
            for &account in fit(h, &mut state, best)?.iter().take(1) {
                out.push(of(h.snapshot.did(account)?.as_ref().to_owned(), false));
            }
        }
        Ok(out)
    }

    /// Whom those follow whom the viewer follows; nobody for who follows nobody.
    fn own(&self, h: &Hydrator<'_>) -> Result<Vec<ActorId>> {
        let Some(viewer) = h.ctx.viewer else { return Ok(Vec::new()) };
        let (key, stance) = (format!("own of {}", viewer.0), h.stance(viewer)?);
        let make = || Suggester(*h).for_viewer(viewer);
        Ok(self.accounts.current(&key, stance, h.ctx.now, make)?.items.to_vec())
    }

    fn made_of(&self, h: &Hydrator<'_>) -> Result<u64> {
        let stance = h.ctx.viewer.map_or(Ok(0), |viewer| h.stance(viewer))?;
        Ok(stance.wrapping_add(self.version.load(Ordering::Relaxed)))
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// So much of a text as is looked for.
fn short(text: &str) -> String {
    text.chars().take(64).flat_map(char::to_lowercase).collect()
}

/// The part of a wish that makes a difference here, so that no more lists are made than differ.
struct Known {
    category: Option<String>,
    topics: Vec<String>,
    languages: Vec<String>,
}

impl Known {
    fn of(wish: &Wish, survey: &Survey) -> Self {
        let speaks = |language: &&String| survey.cold.iter().any(|(_, other)| other == *language);
        let topics = wish.topics.iter().take(TOPICS).map(|topic| short(topic));
        Self {
            // Of what nobody is about there is one list, which is empty.
            category: wish.category.as_ref().map(|category| {
                Some(short(category))
                    .filter(|text: &String| survey.about.knows(text))
                    .unwrap_or_default()
            }),
            topics: topics.filter(|topic: &String| survey.about.knows(topic)).collect(),
            languages: wish.languages.iter().filter(speaks).take(4).cloned().collect(),
        }
    }

    /// Accounts for who follows nobody, those who post in the viewer's languages first.
    fn cold(&self, survey: &Survey) -> Vec<ActorId> {
        let mut cold: Vec<_> = survey.cold.iter().collect();
        // Stable.
        cold.sort_by_key(|(_, language)| {
            let place = self.languages.iter().position(|known| known == language);
            place.unwrap_or(usize::MAX)
        });
        cold.into_iter().map(|(id, _)| *id).collect()
    }
}

impl std::fmt::Display for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.category, self.topics, self.languages)
    }
}

/// Accounts whose profiles, starter packs or lists are about something.
fn seeds(h: &Hydrator<'_>, survey: &Survey, text: &str) -> Result<Vec<ActorId>> {
    let mut out = vec![survey.about.accounts(text)];
    for id in survey.about.records(text).into_iter().take(RECORDS_ABOUT) {
        let list = match id.coll {
            c::LIST => Some(id),
            _ => records::list_of(h, id)?,
        };
        if let Some(list) = list {
            let members = h.list_items(list, None, MEMBERS)?.items;
            out.push(members.into_iter().map(|item| item.member).collect());
        }
    }
    let mut out = suggest::distinct(suggest::in_turn(&out));
    out.truncate(ABOUT);
    Ok(out)
}

/// Those who are about something, then whom they follow.
fn about(h: &Hydrator<'_>, survey: &Survey, text: &str) -> Result<Vec<ActorId>> {
    let mut out = seeds(h, survey, text)?;
    let never: FxHashSet<ActorId> = out.iter().copied().chain(h.ctx.viewer).collect();
    out.extend(Suggester(*h).from(&out, out.clone(), &never)?);
    Ok(out)
}

/// Feeds and starter packs that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// Feeds for the viewer.
    Feeds,
    /// Feeds by likes.
    PopularFeeds,
    /// Starter packs for the viewer.
    Packs,
}

/// The records that the operator names, as far as the store knows of them.
fn named(h: &Hydrator<'_>, uris: &[String], coll: CollId) -> Result<Vec<RecordId>> {
    let mut out = Vec::new();
    for uri in uris {
        out.extend(h.record_at(uri, coll)?);
    }
    Ok(out)
}

/// Who asks for what is then given to others too: nobody.
fn plain(h: &Hydrator<'_>) -> HydrateCtx {
    HydrateCtx { now: h.ctx.now, ..HydrateCtx::default() }
}
