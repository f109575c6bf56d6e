//! `aerie upgrade`: what this version would do to the store that is there.

use serde_json::json;

use super::format::bytes;
use super::{CliError, configuration, print, span};
use crate::config::Sources;
use crate::schema::migrations;
use crate::store::{Plan, Store};

/// Rows that a step goes through in a second on a small server, for a guess.
const ROWS_PER_SECOND: u64 = 100_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Say what this version would do to the store, and change nothing; the server, of whatever version, may run
    ///
    /// Exit code 1 if it would not open it.
    #[arg(long, required = true)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    let config = configuration(sources)?;
    let path = &config.store.path;
    if !Store::exists(path) {
        return Err(CliError::Failed(format!("there is no store in {}", path.display())));
    }
    let plan = migrations::plan(path)?;
    let seconds = plan.rows / ROWS_PER_SECOND;
    // What is changed is written beside what was, until both are merged.
    let needed = plan.read;
    let said = json!({
        "store": path, "format": plan.found, "reads": plan.reads, "opens": plan.opens, "changes": plan.changes,
        "bytes": plan.bytes, "rows": plan.rows, "seconds": seconds, "disk_needed": needed, "disk_free": plan.free,
        "backup": config.backup.place,
    });
    let place = config.backup.place.as_deref();
    print(&said, args.json, |_| words(&plan, seconds, needed, place))?;
    match plan.opens {
        true => Ok(()),
        false => Err(CliError::Failed("this version does not open this store".to_owned())),
    }
}

fn words(plan: &Plan, seconds: u64, needed: u64, place: Option<&str>) -> String {
    let Plan { found, reads, changes, opens, bytes: size, free, rows, .. } = plan;
    let found = found.map_or("an unknown format".to_owned(), |found| format!("format {found}"));
    let mut out = format!("the store has {found} and {}; this version ", bytes(*size as f64));
    out += &format!("({}) has format {reads}\n", env!("CARGO_PKG_VERSION"));
    if !opens {
        return out
            + "it would refuse it and change nothing: use a version that has its format, or restore a backup\n";
    }
    if changes.is_empty() {
        return out + "nothing would be changed: stop the server, replace the binary, start it\n";
    }
    out += &format!("it would bring it to its own at the first start: {}\n", changes.join(", "));
    let (need, free) = (bytes(needed as f64), bytes(*free as f64));
    out += &format!("about {rows} rows, {}, up to {need} more disk ({free} free)\n", span(seconds));
    out += &match place {
        Some(place) => format!("before that it would be backed up to {place}\n"),
        None => {
            "before that, private state would be exported; set backup.where for a whole backup\n"
                .to_owned()
        }
    };
    out + "an older version does not open it afterwards: the way back is the backup\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_a_sentence() {
        let plan = Plan {
            found: Some(3),
            reads: 4,
            changes: vec!["posts", "records"],
            opens: true,
            bytes: 5000,
            read: 2000,
            rows: 700,
            free: 9000,
        };
        let said = words(&plan, 7, 2000, Some("/b"));
        for part in [
            "has format 3 and 5.0 kB",
            "posts, records",
            "700 rows, 7 s, up to 2.0 kB",
            "backed up to /b",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(words(&plan, 7, 0, None).contains("set backup.where"));
        let refused = words(&Plan { opens: false, found: Some(9), ..plan.clone() }, 0, 0, None);
        assert!(refused.contains("would refuse it"), "{refused}");
        let same = words(&Plan { changes: Vec::new(), ..plan }, 0, 0, None);
        assert!(same.contains("nothing would be changed"), "{same}");
    }
}
