//! Stored jobs into the window: those that are due, in order, and those that were named.

use super::Setup;
use super::state::{Census, Need};
use crate::schema::{ActorId, Rows};
use crate::store::{Snapshot, StoreError};
use crate::syntax::Did;
use crate::work::repo_queue as jobs;
use crate::work::repo_queue::{self, JobRow, Position, Priority, SourceRow};

/// How far behind the last place a scan begins again: a job's due time is that of its making, not of its commit.
const OVERLAP_MS: i64 = 60_000;

/// Where each priority was read to. Finished jobs leave tombstones, so reading never begins at the head again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scan([Option<Position>; Priority::ALL.len()]);

/// What was read.
pub(crate) struct Loaded {
    pub(crate) jobs: Vec<(ActorId, Did, JobRow, Need)>,
    pub(crate) scan: Scan,
    /// There is more to read.
    pub(crate) more: bool,
}

/// Reads up to so many jobs of each priority in `room`, and the named ones.
pub(crate) fn load(
    s: &Snapshot,
    mut scan: Scan,
    room: &[(Priority, usize)],
    named: &[ActorId],
    now: i64,
) -> Result<Loaded, StoreError> {
    let mut actors: Vec<ActorId> = named.to_vec();
    let mut more = false;
    for (priority, limit) in room {
        let Some(place) = scan.0.get_mut(*priority as usize) else { continue };
        let found = jobs::due(s, *priority, *place, now, *limit)?;
        actors.extend(found.iter().map(|(_, actor)| actor));
        *place = match found.last() {
            Some(last) if found.len() >= *limit => {
                more = true;
                Some(*last)
            }
            // Resyncs are due since ever and few.
            _ if *priority == Priority::Resync => None,
            last => {
                let at = last.or(place.as_ref()).map(|(at, _)| at.saturating_sub(OVERLAP_MS));
                at.map(|at| (at, ActorId(0)))
            }
        };
    }
    let mut found = Vec::with_capacity(actors.len());
    for actor in actors {
        let Some(job) = jobs::get(s, actor)?.filter(|job| job.due <= now) else { continue };
        let Ok(did) = Did::parse(&s.did(actor)?) else { continue };
        let need = need(s, actor, &job)?;
        found.push((actor, did, job, need));
    }
    Ok(Loaded { jobs: found, scan, more })
}

fn need(s: &Snapshot, actor: ActorId, job: &JobRow) -> Result<Need, StoreError> {
    if s.actor(actor)?.is_some_and(|a| a.status.is_gone()) {
        return Ok(Need::Nothing);
    }
    let Some(row) = s.repo(actor)? else { return Ok(Need::Fetch) };
    Ok(if job.force || !row.is_complete() || job.rev > row.rev {
        Need::Fetch
    } else if job.priority == Priority::Asked {
        Need::Look
    } else {
        Need::Nothing
    })
}

/// Counts what is stored.
pub(crate) fn census(
    s: &Snapshot,
    now: i64,
) -> Result<(Census, Vec<(u32, SourceRow)>), StoreError> {
    let mut census = Census::default();
    jobs::each(s, None, |_, job| {
        if job.due <= now {
            *census.waiting.entry(job.priority.name()).or_default() += 1;
        } else if let Some(n) = census.parked.get_mut(&job.cause) {
            *n += 1;
        } else if census.parked.len() < 64 {
            census.parked.insert(job.cause.clone(), 1);
        }
        if job.source != 0 && job.tries == 0 && job.cause.is_empty() {
            *census.by_source.entry(job.source).or_default() += 1;
        }
        true
    })?;
    Ok((census, jobs::sources(s)?))
}

/// Turns the list of an early version into jobs, and lets none wait for a time that a wrong clock gave it.
pub(crate) async fn take_over(setup: &Setup) -> Result<(), StoreError> {
    let now = setup.clock.now_ms();
    while setup.writer.visible(move |tx| jobs::bring_back(tx, now)).await? > 0 {}
    let store = setup.store.clone();
    let old = tokio::task::spawn_blocking(move || repo_queue::resyncs(&store.snapshot())).await;
    let old = old.map_err(|_| StoreError::Closed)??;
    if old.is_empty() {
        return Ok(());
    }
    setup
        .writer
        .durable(move |tx| {
            for actor in old {
                jobs::add(tx, actor, &JobRow::new(Priority::Resync, 0))?;
                repo_queue::remove_resync(tx, actor);
            }
            Ok(())
        })
        .await
}
