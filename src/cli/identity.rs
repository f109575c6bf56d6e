//! `aerie identity`: what is known of DIDs in bulk, from the PLC directory's export and from files of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;

use super::format::{bytes, number, text};
use super::progress::Meter;
use super::{CliError, answer, configuration, migrating, print, span};
use crate::admin::AskError;
use crate::admin::protocol::{IdentityImport, Status};
use crate::config::Sources;
use crate::identity::plc::PlcStatus;
use crate::runtime;

const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take operations of the PLC directory in from files, whether the server runs or not
    ///
    /// Files are lines of the directory's /export, packed with gzip or not; several are read as if they were one, in
    /// the order given. The newest operation of a DID wins, so it can be run again and with older files. When it is
    /// interrupted, the same command goes on there. With network.plc_export the directory is followed from the end
    /// of the files, if they begin where it was read to, or are the first thing that comes.
    Import {
        /// Files of JSON lines
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// They do not begin with the directory's first operation: follow from where it was read to
        #[arg(long)]
        partial: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show how far the directory's operations were read, and how many DIDs they are about
    Status {
        /// Print it as one JSON object
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    match &args.action {
        Action::Import { files, partial, json } => import(sources, files, *partial, *json),
        Action::Status { json } => print(&status(sources)?, *json, page),
    }
}

fn status(sources: &Sources) -> Result<Value, CliError> {
    let mut status = answer(sources, Status {})?;
    Ok(status.get_mut("plc").map(Value::take).unwrap_or_default())
}

fn import(
    sources: &Sources,
    files: &[PathBuf],
    partial: bool,
    as_json: bool,
) -> Result<(), CliError> {
    // The server stands in another folder.
    let absolute = |path: &PathBuf| {
        path.canonicalize().map_err(|e| CliError::Failed(format!("{}: {e}", path.display())))
    };
    let files = files.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
    let mut meter = Meter::new();
    let mut told = |status: &Value| {
        let Some(file) = status.get("file") else { return };
        let share = number(file, "bytes") / number(file, "size").max(1.0);
        meter.at(Some(share), || file_line(file).unwrap_or_default());
    };
    let done = match answer(sources, IdentityImport { files: files.clone(), partial }) {
        Ok(_) => loop {
            std::thread::sleep(LOOK);
            let status = status(sources)?;
            let file = status.get("file");
            if file.and_then(|f| f.get("running")) != Some(&Value::Bool(true)) {
                break status;
            }
            told(&status);
        },
        Err(CliError::Ask(AskError::NotRunning(_))) => {
            let value = |status: &PlcStatus| serde_json::to_value(status).unwrap_or_default();
            let config = configuration(sources)?;
            let done = runtime::import_identities(
                &config,
                files,
                partial,
                |now| told(&value(now)),
                &mut migrating(),
            )?;
            value(&done.map_err(|error| CliError::Failed(error.to_string()))?)
        }
        Err(error) => return Err(error),
    };
    if let Some(error) = done.get("file").and_then(|f| f.get("error")).and_then(Value::as_str) {
        return Err(CliError::Failed(error.to_owned()));
    }
    print(&done, as_json, page)
}

/// Both, for people.
fn page(status: &Value) -> String {
    let file = status.get("file").and_then(file_line);
    std::iter::once(line(status)).chain(file).map(|line| line + "\n").collect()
}

fn whole(v: &Value, key: &str) -> u64 {
    v.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// How far operations were read.
pub(super) fn line(s: &Value) -> String {
    let mut out = format!(
        "PLC operations: {} DIDs, {} of them given up, {} hosts",
        whole(s, "dids"),
        whole(s, "tombstones"),
        whole(s, "hosts")
    );
    match s.get("last").and_then(Value::as_str) {
        Some(last) => out.push_str(&format!("; read up to {last}")),
        None => out.push_str("; the directory's export was not read"),
    }
    if let Some(seq) = s.get("seq").and_then(Value::as_u64) {
        out.push_str(&format!(", seq {seq}"));
    }
    let Some(following) = s.get("following").filter(|f| f.is_object()) else {
        out.push_str("; not followed");
        return out;
    };
    let age = s.get("age_s").and_then(Value::as_u64);
    match (following.get("caught_up"), age) {
        (Some(Value::Bool(true)), Some(age)) => out.push_str(&format!("; {} old", span(age))),
        (_, Some(age)) => out.push_str(&format!("; catching up, {} behind", span(age))),
        _ => out.push_str("; begins"),
    }
    if let Some(error) = following.get("error").and_then(Value::as_str) {
        out.push_str(&format!("; FAILS: {error}"));
    }
    out
}

/// How far a file is, or was.
fn file_line(f: &Value) -> Option<String> {
    let lines = f.get("lines")?.as_u64()?;
    let (resumed, seconds) = (whole(f, "resumed"), number(f, "seconds").max(0.001));
    let rate = (lines.saturating_sub(resumed)) as f64 / seconds;
    let (read, size) = (number(f, "bytes"), number(f, "size"));
    let mut out = format!(
        "{}: {lines} operations, {} of them news, {} bad lines; {} of {}, {rate:.0} operations/s",
        text(f, "file"),
        whole(f, "changed"),
        whole(f, "bad"),
        bytes(read),
        bytes(size),
    );
    let unproven = whole(f, "unproven");
    if unproven > 0 {
        let why = "not proven by their signatures: the directory is asked for these accounts";
        out.push_str(&format!("; {unproven} {why}"));
    }
    if resumed > 0 {
        out.push_str(&format!("; {resumed} were done by an earlier run"));
    }
    if f.get("running") == Some(&Value::Bool(true)) && read > 0.0 && resumed == 0 {
        let left = (size - read).max(0.0) * seconds / read;
        out.push_str(&format!("; about {} left", span(left as u64)));
    }
    match f.get("followed_from").and_then(Value::as_bool) {
        Some(true) => out.push_str("; network.plc_export goes on from its end"),
        Some(false) => out.push_str("; network.plc_export goes on from where it was"),
        None => {}
    }
    if let Some(error) = f.get("error").and_then(Value::as_str) {
        out.push_str(&format!("; ENDED: {error}"));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_say_how_it_goes() {
        let status = json!({
            "dids": 7, "tombstones": 1, "hosts": 3, "seq": 99, "last": "2026-01-01T00:00:00.000Z", "age_s": 4,
            "following": { "caught_up": true, "error": null },
            "file": { "file": "/x/plc.jsonl", "lines": 500, "changed": 400, "bad": 2, "unproven": 3, "bytes": 1500, "size": 3000,
                "seconds": 10.0, "running": true, "resumed": 0, "followed_from": null, "error": null },
        });
        let all = format!("{} {}", line(&status), file_line(&status["file"]).unwrap());
        for part in [
            "7 DIDs, 1 of them given up, 3 hosts",
            "read up to 2026-01-01T00:00:00.000Z, seq 99; 4 s old",
            "/x/plc.jsonl: 500 operations, 400 of them news, 2 bad lines; 1.5 kB of 3.0 kB, 50 operations/s",
            "about 10 s left",
            "3 not proven by their signatures",
        ] {
            assert!(all.contains(part), "{part} in {all}");
        }
        let failing =
            json!({ "following": { "caught_up": false, "error": "status 500" }, "age_s": 7200 });
        assert!(line(&failing).ends_with("catching up, 2 h behind; FAILS: status 500"));
        assert!(line(&json!({})).ends_with("; not followed"));
    }
}
