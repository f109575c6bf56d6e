//! `aerie db repair`.

use std::path::{Path, PathBuf};

use super::super::{CliError, confirm, open_store, private};
use super::Scan;
use crate::config::Config;
use crate::index::check::{Options, Report, check};
use crate::private::lines::export;
use crate::schema::{ActorId, names};
use crate::store::{Lost, Salvaged, Store, StoreError, Writer, salvage, set_aside};
use crate::syntax::datetime::format_ms;
use crate::threads::Clock;
use crate::upkeep::exports;
use crate::work::refetch::{self, Back};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Begin with a new store, whatever is the matter with this one, and take only private state over
    ///
    /// The old one is moved aside, within the store's folder. Everything else is fetched from the network again.
    #[arg(long)]
    anew: bool,
    /// Do not ask before a new store is begun
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args, config: &Config) -> Result<(), CliError> {
    let (path, memory) = (&config.store.path, config.store.memory_budget);
    if args.anew {
        confirm(args.yes, "All but private state is set aside and fetched from the network again")?;
    }
    let salvaged = match salvage(path, memory, &mut |what| println!("{what}")) {
        Ok(salvaged) => salvaged,
        Err(error @ StoreError::Nameless(_)) => {
            println!("{error}");
            return anew(path, memory, None);
        }
        Err(error) => return Err(error.into()),
    };
    tell(&salvaged);
    let store = match open_store(path, memory) {
        Ok(store) => store,
        Err(error @ StoreError::Locked(_)) => return Err(error.into()),
        Err(error) => {
            println!("what is left of it does not open: {error}");
            return anew(path, memory, None);
        }
    };
    if args.anew {
        return anew(path, memory, Some(store));
    }
    let backs: Vec<Back> = salvaged.lost.iter().map(refetch::back).collect();
    if let Mended::Nameless(store) = mend(store, &backs)? {
        println!(
            "what was lost of names cannot be told from the rest: a new store takes its place"
        );
        return anew(path, memory, Some(store));
    }
    if backs.contains(&Back::Private) {
        match newest(path)? {
            Some(file) => restore(path, memory, &file)?,
            None => println!("there is no export of private state: what was lost of it is lost"),
        }
    }
    println!("the store opens: start the server");
    Ok(())
}

fn tell(salvaged: &Salvaged) {
    if salvaged.damaged.is_empty() {
        println!("no file is damaged");
    }
    for damage in &salvaged.damaged {
        println!("damaged: {damage}");
    }
    for file in &salvaged.mended {
        println!(
            "mended: {}: a row that it held may be lost or wrong; `aerie db check --full` names it",
            file.display()
        );
    }
    for lost in &salvaged.lost {
        println!("lost: {}", words(lost));
    }
    if let Some(aside) = &salvaged.aside {
        println!("what was damaged is in {}: remove it when all is well", aside.display());
    }
}

fn words(lost: &Lost) -> String {
    let key = |key: &Option<Vec<u8>>, otherwise: &str| match key {
        Some(key) => data_encoding::HEXLOWER.encode(key.get(..24).unwrap_or(key)),
        None => otherwise.to_owned(),
    };
    let (before, after) = &lost.between;
    let back = match refetch::back(lost) {
        Back::Repos(..) => "these repos are fetched again",
        Back::Labels => "labels are read again from the beginning",
        Back::Itself => "it follows from other rows, or fills up again",
        Back::Nothing => {
            "it does not come back, unless a new store is begun: `aerie db repair --anew`"
        }
        Back::Private => "it comes from the last export",
        Back::Names => "each name has a second row",
        Back::Cursors => "streams are read again from their oldest event",
    };
    format!(
        "rows of {} between {} and {}, from {}: {back}",
        lost.ks.name(),
        key(before, "the first"),
        key(after, "the last"),
        lost.file.display()
    )
}

/// What became of it.
pub(super) enum Mended {
    Well,
    /// Numbers have lost their names.
    Nameless(Store),
}

/// Writes anew what follows from other rows, and wants back what the network gives back.
pub(super) fn mend(store: Store, backs: &[Back]) -> Result<Mended, CliError> {
    let (writer, thread) = Writer::start(store.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let named = runtime.block_on(async {
        let mut from = Some(Vec::new()).filter(|_| backs.contains(&Back::Names));
        while let Some(at) = from {
            from = writer.durable(move |tx| names::mend_twins(tx, &at)).await?;
        }
        let mended = writer.durable(|tx| {
            names::mend_sequences(tx)?;
            names::last_actor(tx)
        });
        mended.await
    });
    let last = named?;
    let mut written = 0;
    let mut report = Report::default();
    // What one run writes may be what the next one counts.
    for _ in 0..RUNS {
        let mut meter = Scan::new(&store);
        let options = Options { full: false, repair: Some(&writer) };
        report = check(&store, &options, &mut |p| meter.at(p.ks.name(), p.rows))?;
        written += report.repaired;
        runtime.block_on(writer.durable(|_| Ok(())))?;
        if report.repaired == 0 {
            break;
        }
    }
    println!("{written} counters and rows that follow from others are written anew");
    let nameless = report.findings.contains_key("number-without-name");
    let wanted = match (nameless, last) {
        (false, Some(_)) => runtime.block_on(want(&writer, backs))?,
        _ => 0,
    };
    runtime.block_on(writer.stop());
    drop(writer);
    match thread.join() {
        Ok(result) => result?,
        Err(_) => return Err(CliError::Failed("the store's writer panicked".to_owned())),
    }
    if nameless {
        return Ok(Mended::Nameless(store));
    }
    if wanted > 0 {
        println!("{wanted} repos are fetched again once the server runs");
    }
    let left: u64 = report.findings.values().map(|finding| finding.count).sum();
    if left > 0 {
        println!("{left} differences are left, which `aerie db check` names");
    }
    Ok(Mended::Well)
}

/// Runs of the check at most.
const RUNS: usize = 5;

/// Lets the network give back what it can; how many repos that are.
async fn want(writer: &Writer, backs: &[Back]) -> Result<u64, StoreError> {
    let (mut wanted, now) = (0, Clock::system().now_ms());
    for back in backs {
        match *back {
            Back::Labels => writer.durable(refetch::labels_anew).await?,
            Back::Repos(first, last) => {
                let mut from: Option<ActorId> = Some(first);
                while let Some(at) = from {
                    let step = writer.durable(move |tx| refetch::want(tx, at, last, now));
                    let count;
                    (from, count) = step.await?;
                    wanted += count;
                }
            }
            Back::Itself | Back::Nothing | Back::Private | Back::Names | Back::Cursors => {}
        }
    }
    Ok(wanted)
}

/// A new store with the private state of the old one, as far as that can be read, and of the last export.
fn anew(path: &Path, memory: u64, old: Option<Store>) -> Result<(), CliError> {
    let last = newest(path)?;
    let read = old.as_ref().and_then(|store| read_private(path, store));
    drop(old);
    let aside = set_aside(path)?;
    println!("the old store is in {}: remove it when all is well", aside.display());
    for file in read.iter().chain(&last) {
        restore(path, memory, file)?;
    }
    if read.is_none() && last.is_none() {
        println!("there is no private state to take over");
        drop(open_store(path, memory)?);
    }
    println!("the store is new: start the server");
    Ok(())
}

/// Exports what can be read of private state.
fn read_private(path: &Path, store: &Store) -> Option<PathBuf> {
    let now = Clock::system().now_ms();
    let date = format_ms(now);
    let folder = path.join("exports");
    let file = folder.join(format!("private-{}-read.jsonl", date.get(..19).unwrap_or(&date)));
    let made = std::fs::create_dir_all(&folder).map_err(|e| e.to_string());
    match made.and_then(|()| export(&store.snapshot(), &file, now).map_err(|e| e.to_string())) {
        Ok(written) => {
            println!("{} rows of private state could be read", written.rows);
            (written.rows > 0).then_some(file)
        }
        Err(error) => {
            println!("private state cannot be read: {error}");
            None
        }
    }
}

fn newest(path: &Path) -> Result<Option<PathBuf>, CliError> {
    let all = exports(path).map_err(|e| StoreError::Folder(path.to_owned(), e))?;
    Ok(all.into_iter().next_back())
}

/// Puts an export in; what is there already stays.
fn restore(path: &Path, memory: u64, file: &Path) -> Result<(), CliError> {
    println!("private state is taken from {}", file.display());
    private::restore(file, path, memory)
}
