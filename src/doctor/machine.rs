//! What the machine gives: modes of files, the unit, how many files may be open.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{Finding, Patient};
use crate::ops::file_limit;

/// Where systemd looks for units, the first that has it wins.
pub(super) const UNIT_FOLDERS: [&str; 3] =
    ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const UNIT: &str = "aerie.service";
/// As this version wants it.
const OUR_UNIT: &str = include_str!("../../systemd/aerie.service");
/// Where the unit has the binary, and where a package puts it.
const BINARIES: [&str; 2] = ["/usr/local/bin/aerie", "/usr/bin/aerie"];
/// Files of tables, connections of clients and upstreams: with fewer, something is refused on a busy day.
const ENOUGH_FILES: u64 = 16_384;

pub(super) fn modes(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    let config = &patient.config;
    let mut found: Vec<Finding> = config
        .exposed()
        .into_iter()
        .map(|error| {
            let key = error.key.unwrap_or_default();
            Finding::failed(
                format!("{}: {key}: {}", error.place, error.message),
                "chmod it as said",
            )
        })
        .collect();
    let store = &config.store.path;
    if let Ok(folder) = std::fs::metadata(store)
        && folder.permissions().mode() & 0o077 != 0
    {
        let says = format!("others may look into the store's folder {}", store.display());
        found.push(Finding::warning(says, format!("chmod 700 {}", store.display())));
    }
    if found.is_empty() {
        found.push(Finding::ok("nobody else may read secrets, keys and the store"));
    }
    Box::pin(std::future::ready(found))
}

pub(super) fn unit(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    let files: Vec<PathBuf> = patient.units.iter().map(|folder| folder.join(UNIT)).collect();
    let read = files.iter().find_map(|file| Some((file, std::fs::read_to_string(file).ok()?)));
    let found = match read {
        None => Finding::skipped("there is no unit of systemd for aerie on this machine"),
        Some((file, installed)) => drift(file, &installed),
    };
    Box::pin(std::future::ready(vec![found]))
}

fn drift(file: &Path, installed: &str) -> Finding {
    let (have, want) = (settings(installed), settings(OUR_UNIT));
    let list = |of: &BTreeSet<String>, without: &BTreeSet<String>| {
        of.difference(without).cloned().collect::<Vec<_>>().join("; ")
    };
    let (lacks, has) = (list(&want, &have), list(&have, &want));
    if lacks.is_empty() && has.is_empty() {
        return Finding::ok(format!("{} is that of this version", file.display()));
    }
    let mut says = format!("{} is not that of this version:", file.display());
    for (what, lines) in [("lacks", lacks), ("has", has)] {
        if !lines.is_empty() {
            says.push_str(&format!(" {what} {lines}."));
        }
    }
    Finding::warning(
        says,
        "run scripts/install.sh of this version; put changes of your own into `systemctl edit aerie`",
    )
}

/// What a unit sets, wherever the binary is.
fn settings(unit: &str) -> BTreeSet<String> {
    let [local, packaged] = BINARIES;
    let lines = unit.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';', '[']));
    lines.map(|line| line.replace(packaged, local)).collect()
}

pub(super) fn files(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    let found = match patient.status().and_then(|status| status.get("files")) {
        Some(files) => {
            let open = files.get("open").and_then(Value::as_u64).unwrap_or(0);
            limit(files.get("most").and_then(Value::as_u64), Some(open))
        }
        // Whoever starts it may give it more.
        None => limit(file_limit(), None),
    };
    Box::pin(std::future::ready(vec![found]))
}

fn limit(most: Option<u64>, open: Option<u64>) -> Finding {
    let of = open.map_or_else(String::new, |open| format!("{open} files are open, "));
    let whose = if open.is_some() { "the server" } else { "a server started from this shell" };
    match most {
        None => Finding::ok(format!("{of}nothing limits how many {whose} may open")),
        Some(most) if most < ENOUGH_FILES => Finding::warning(
            format!("{of}{whose} may open {most}, which a busy day may exceed"),
            "LimitNOFILE=65536 in the unit, or `ulimit -n 65536` before it is started",
        ),
        Some(most) => Finding::ok(format!("{of}{whose} may open {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn a_unit_that_was_changed_is_told_from_one_that_was_moved_or_commented() {
        let of = |unit: &str| drift(Path::new("u"), unit);
        assert_eq!(of(OUR_UNIT).state, State::Ok);
        let packaged = OUR_UNIT.replace("/usr/local/bin/aerie", "/usr/bin/aerie") + "# a remark\n";
        assert_eq!(of(&packaged).state, State::Ok);
        let changed = OUR_UNIT.replace("PrivateTmp=yes\n", "").replace("UMask=0077", "UMask=0022");
        let found = of(&changed);
        assert_eq!(found.state, State::Warning);
        let says =
            "u is not that of this version: lacks PrivateTmp=yes; UMask=0077. has UMask=0022.";
        assert_eq!(found.says, says);
    }

    #[test]
    fn few_files_are_named() {
        assert_eq!(limit(Some(1024), Some(7)).state, State::Warning);
        assert_eq!(limit(Some(65_536), Some(7)).state, State::Ok);
        assert_eq!(limit(None, None).state, State::Ok);
    }
}
