//! What a scope takes of the disk, as far as that can be said beforehand, and whether disk and scope fit together.

use super::gb;
use crate::config::{Config, ScopeMode};
use crate::store::DiskSpace;

/// What a day of the public network takes in the store and the search index: 450 events a second, 69 to 79 bytes each with
/// what follows from them, and 85 bytes for each of the 4 million posts among them, as `scripts/bench` measures.
const NETWORK_A_DAY: u64 = 3_500_000_000;
/// What the accounts and everything that does not grow with time take of the first day.
const AT_FIRST: u64 = 500_000_000;

/// What is to be expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Appetite {
    /// Bytes a day while it grows.
    pub a_day: u64,
    /// Bytes of the store and the pictures at which it stops to grow; none if nothing stops it.
    pub settles_at: Option<u64>,
    /// Days until it has grown so far, or until nothing is free but the reserve: what comes first.
    pub days: f64,
    /// Whether the disk is full before it settles.
    pub fills_the_disk: bool,
}

/// What a configuration takes on a disk that has so much room; `used` is what the store has of it already. Nothing can be
/// said of a network that is not the public one.
#[must_use]
pub fn appetite(config: &Config, disk: DiskSpace, used: u64) -> Option<Appetite> {
    if config.network.upstreams.is_empty() && config.network.jetstream.is_empty() {
        return None;
    }
    let scope = &config.scope;
    let window = AT_FIRST + NETWORK_A_DAY * u64::from(scope.days);
    let budget = Some(scope.disk_budget).filter(|budget| *budget > 0);
    let store = match scope.mode {
        ScopeMode::Whole => None,
        ScopeMode::Window => Some(budget.map_or(window, |budget| budget.min(window))),
        // It grows with members and whom they follow, which nobody knows beforehand.
        ScopeMode::Circle => return None,
    };
    let settles_at = store.map(|store| store + config.images.cache_size);
    let room = disk.free.saturating_sub(config.store.reserve);
    let to_go = settles_at.map(|size| size.saturating_sub(used));
    let fills_the_disk = to_go.is_none_or(|to_go| to_go > room);
    let days = to_go.unwrap_or(u64::MAX).min(room) as f64 / NETWORK_A_DAY as f64;
    Some(Appetite { a_day: NETWORK_A_DAY, settles_at, days, fills_the_disk })
}

impl std::fmt::Display for Appetite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "about {} a day of the public network", gb(self.a_day))?;
        let days = match self.days {
            less if less < 1.5 => "a day".to_owned(),
            days => format!("{days:.0} days"),
        };
        match (self.settles_at, self.fills_the_disk) {
            (_, true) => write!(f, "; the disk is full in about {days}"),
            (Some(size), false) => {
                write!(f, ", until it takes {} in about {days}; it stays at that", gb(size))
            }
            (None, false) => Ok(()),
        }
    }
}

/// Why disk and scope do not fit together, if they do not, and what would.
#[must_use]
pub(super) fn unfit(config: &Config, disk: DiskSpace, used: u64) -> Option<(String, String)> {
    let Appetite { fills_the_disk, .. } = appetite(config, disk, used)?;
    let budget = config.scope.disk_budget;
    // A compaction needs as much free space again as the largest part of the store.
    let safe = disk.free.saturating_add(used).saturating_sub(config.store.reserve) / 2;
    let fix = format!(
        "set scope.mode = \"window\" and scope.disk_budget = \"{}GB\" or less; `aerie scope plan` says what goes",
        safe / 1_000_000_000
    );
    if config.scope.mode == ScopeMode::Window && budget > 0 && fills_the_disk {
        let says = format!("scope.disk_budget ({}) is more than the disk has room for", gb(budget));
        return Some((says, fix));
    }
    fills_the_disk.then(|| ("the disk will not hold what scope.mode keeps".to_owned(), fix))
}
