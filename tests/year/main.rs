//! A year of a network, day by day, with retention every day: a store with a scope stays under its budget, and members
//! see the same of themselves and of those whom they follow as where nothing was ever taken away.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test: a panic is its failure"
)]

mod network;
mod pages;
mod view;

use std::sync::Arc;

use aerie::config::ScopeMode;
use aerie::store::{Ks, Reader};
use network::{BEGIN, DAY, Network, Role};
use pages::{Pages, Plain, Whose, difference};
use tokio::runtime::Runtime;
use view::{Reading, View};

const DAYS: u32 = 60;
/// In bytes, of which the journal takes 12 MB and 3 MB in the end: a window would be larger, a circle is not.
const WINDOW: u64 = 15 << 20;
const CIRCLE: u64 = 5 << 20;

/// A store that keeps everything, one with the scope, and one that has to stay under a budget besides.
struct Year {
    network: Network,
    views: Vec<Arc<View>>,
    budget: u64,
    runtime: Runtime,
}

impl Year {
    fn new(seed: u64, mode: ScopeMode, budget: u64) -> Self {
        let network = Network::new(seed, mode != ScopeMode::Circle);
        let view = |mode, budget| Arc::new(View::new(&network.pds, mode, DAYS, budget));
        let views = vec![view(ScopeMode::Whole, 0), view(mode, 0), view(mode, budget)];
        Self { network, views, budget, runtime: Runtime::new().unwrap() }
    }

    /// All of it; every quarter the stores start anew and are looked through.
    fn run(&mut self) {
        for day in -1..365 {
            let Self { network, views, runtime, .. } = self;
            let mut take = |step: network::Step| {
                runtime.block_on(async {
                    for view in views.iter() {
                        view.take(step.clone()).await;
                    }
                });
            };
            if day < 0 {
                network.found(&mut take);
            } else {
                network.live(day, &mut take);
            }
            self.end_of(day);
        }
    }

    fn end_of(&mut self, day: i64) {
        let now = BEGIN + (day + 1) * DAY;
        let Self { views, runtime, budget, .. } = self;
        for (n, view) in views.iter().enumerate() {
            runtime.block_on(view.catch_up(now));
            // The one without a budget once a week will do.
            if n == 0 || n == 1 && day % 7 > 0 || day < 0 {
                continue;
            }
            let report = runtime.block_on(view.retain(now));
            if n == 2 {
                // Less than a megabyte is not worth a compaction.
                let most = *budget + (1 << 20);
                assert!(!report.over_budget && view.used() < most, "day {day}: {report:?}");
            }
        }
        if day % 91 == 90 || day < 0 {
            // A journal is as large as what is in it only after a restart.
            let old = std::mem::take(views);
            for view in old {
                let view = Arc::into_inner(view).expect("nobody reads");
                let view = runtime.block_on(view.restart());
                view.check("the store");
                views.push(Arc::new(view));
            }
        }
    }

    /// Members' pages are the same in all stores.
    fn compare(&self, whose: Whose, fetching: bool) {
        let Self { network, views, runtime, .. } = self;
        let founders = network.accounts.iter().filter(|a| a.role == Role::Founder);
        let plain = Plain {
            founders: founders.map(|a| a.did.to_string()).collect(),
            circle: views[1].mode == ScopeMode::Circle,
        };
        let read = |view: &Arc<View>| {
            let reading = Reading::new(view, fetching && view.mode != ScopeMode::Whole);
            let read = || runtime.block_on(pages::read(network, &reading, &plain, whose));
            // What the first answer lacked is there the next time.
            if fetching && view.mode != ScopeMode::Whole {
                drop(read());
            }
            read()
        };
        let right: Pages = read(&views[0]);
        let entries: usize =
            right.iter().filter_map(|(_, page)| page.as_array()).map(Vec::len).sum();
        assert!(entries > 300, "{entries} in {} pages are too few to tell", right.len());
        for (view, name) in views[1..].iter().zip(["scope", "budget"]) {
            let got = read(view);
            let pairs = right.iter().zip(&got);
            let wrong: Vec<_> = pairs
                .filter_map(|((page, right), (_, got))| difference(page, right, got))
                .collect();
            assert!(
                wrong.is_empty() && got.len() == right.len(),
                "{name}: {} of {} pages differ:\n{}",
                wrong.len(),
                right.len(),
                wrong[..wrong.len().min(20)].join("\n")
            );
        }
    }

    fn posts_held(&self) -> Vec<u64> {
        let count = |view: &Arc<View>| {
            let mut posts = 0;
            let each = &mut |_: &[u8], _: &[u8]| {
                posts += 1;
                true
            };
            view.store.snapshot().scan(Ks::Post, &[], None, false, each).unwrap();
            posts
        };
        self.views.iter().map(count).collect()
    }
}

#[test]
fn a_window_stays_under_its_budget_and_members_see_everything() {
    let mut year = Year::new(1, ScopeMode::Window, WINDOW);
    year.run();
    year.compare(Whose { founders: true, late: false }, false);
    // What somebody who is followed later did before, and took up of others, comes when it is read.
    year.compare(Whose { founders: false, late: true }, true);
    let [whole, scoped, tight] = year.posts_held()[..] else { panic!() };
    assert!(whole > 2 * scoped && scoped > tight, "{whole} {scoped} {tight}");
}

#[test]
fn a_circle_stays_under_its_budget_and_members_see_everything() {
    let mut year = Year::new(2, ScopeMode::Circle, CIRCLE);
    year.run();
    year.compare(Whose { founders: true, late: true }, true);
    let [whole, scoped, _] = year.posts_held()[..] else { panic!() };
    assert!(whole > 4 * scoped && year.views[0].used() > 2 * CIRCLE, "{whole} {scoped}");
}
