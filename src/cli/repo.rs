//! `aerie repo`: single repositories, by DID or handle.

use std::io::BufRead as _;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::status::{list, text};
use super::{CliError, answer, confirm, print};
use crate::config::Sources;

/// Names of one request.
const CHUNK: usize = 500;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fetch repositories whole, unless they are complete
    ///
    /// They are queued and fetched in the background, politely; see `aerie backfill status`.
    Add {
        /// DIDs or handles
        #[arg(required_unless_present = "file", value_name = "DID|HANDLE")]
        repos: Vec<String>,
        /// Read further ones from a file, one a line; `-` is standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch repositories anew, complete or not, before anything else
    Resync {
        /// DIDs or handles
        #[arg(required = true, value_name = "DID|HANDLE")]
        repos: Vec<String>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch repositories no more
    ///
    /// They leave the queue, and a fetch that is under way ends. What is here stays, and what the stream brings is collected as
    /// of anybody; they are fetched again when somebody asks for them, a member follows them, or the stream has a gap.
    Remove {
        /// DIDs or handles
        #[arg(required = true, value_name = "DID|HANDLE")]
        repos: Vec<String>,
        /// Delete what is here of them too, as if they had never been seen
        ///
        /// Everything they wrote, with what is counted of it; what they set here for themselves (mutes, bookmarks, preferences)
        /// stays. Not for members and, in a scope, those they follow, of whom everything is kept. What they write afterwards
        /// comes in again: `aerie account opt-out` keeps it out.
        #[arg(long)]
        delete: bool,
        /// Delete without asking
        #[arg(long, requires = "delete")]
        yes: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Take repositories in from CAR files, whether the server runs or not
    ///
    /// They are checked as if a host had sent them: hashes, tree, and the signature against the key that the DID
    /// document names, which is read over the network. What is older than what is held is left out.
    Import(super::import::Args),
    /// Say in a sentence what is there of a repository, what is wrong, and what happens next
    Status {
        /// DID or handle
        #[arg(value_name = "DID|HANDLE")]
        repo: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    match &args.action {
        Action::Add { repos, file, json } => {
            let mut names = repos.clone();
            if let Some(file) = file {
                names.extend(read(file)?);
            }
            add(sources, "repo.add", &names, *json)
        }
        Action::Resync { repos, json } => add(sources, "repo.resync", repos, *json),
        Action::Remove { repos, delete, yes, json } => {
            if *delete {
                confirm(*yes, &format!("everything that is here of {} goes", repos.join(", ")))?;
            }
            remove(sources, repos, *delete, *json)
        }
        Action::Import(args) => super::import::run(args, sources),
        Action::Status { repo, json } => {
            let says = answer(sources, &json!({ "command": "repo.status", "repo": repo }))?;
            print(&says, *json, |says| format!("{}\n", text(says, "status")))
        }
    }
}

fn read(file: &PathBuf) -> Result<Vec<String>, CliError> {
    let failed = |e: std::io::Error| CliError::Failed(format!("{}: {e}", file.display()));
    let reader: Box<dyn std::io::BufRead> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::io::BufReader::new(std::fs::File::open(file).map_err(failed)?))
    };
    let mut names = Vec::new();
    for line in reader.lines() {
        let line = line.map_err(failed)?;
        let name = line.split(['#', ',', ' ', '\t']).next().unwrap_or_default().trim();
        if !name.is_empty() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn add(sources: &Sources, command: &str, names: &[String], as_json: bool) -> Result<(), CliError> {
    let mut total = [("added", 0), ("raised", 0), ("known", 0), ("gone", 0)];
    let mut unusable: Vec<Value> = Vec::new();
    for chunk in names.chunks(CHUNK) {
        let mut got = answer(sources, &json!({ "command": command, "repos": chunk }))?;
        for (key, n) in &mut total {
            *n += got.get(*key).and_then(Value::as_u64).unwrap_or(0);
        }
        if let Some(Value::Array(why)) = got.get_mut("unusable").map(Value::take) {
            unusable.extend(why);
        }
    }
    let [(_, added), (_, raised), (_, known), (_, gone)] = total;
    let all = json!({
        "added": added, "raised": raised, "known": known, "gone": gone, "unusable": unusable,
    });
    print(&all, as_json, |_| {
        let mut lines = vec![format!("{} queued, {known} were already\n", added + raised)];
        if gone > 0 {
            lines.push(format!(
                "not queued: {gone} that are deleted or opted out of being collected\n"
            ));
        }
        let unusable = unusable.iter().filter_map(Value::as_str);
        lines.extend(unusable.map(|why| format!("not queued: {why}\n")));
        lines.concat()
    })?;
    if !names.is_empty() && unusable.len() == names.len() {
        return Err(CliError::Failed("none of the names can be used".to_owned()));
    }
    Ok(())
}

fn remove(
    sources: &Sources,
    names: &[String],
    delete: bool,
    as_json: bool,
) -> Result<(), CliError> {
    let request = json!({ "command": "repo.remove", "repos": names, "delete": delete });
    let got = answer(sources, &request)?;
    print(&got, as_json, removed)?;
    let refused = list(&got, "unusable").len() + list(&got, "kept").len();
    if refused == names.len() {
        return Err(CliError::Failed("nothing was done".to_owned()));
    }
    Ok(())
}

fn removed(got: &Value) -> String {
    let n = |key: &str| got.get(key).and_then(Value::as_u64).unwrap_or(0);
    let mut out = format!("{} left the queue", n("removed"));
    if n("deleting") > 0 {
        out.push_str(&format!(", {} being deleted", n("deleting")));
    }
    out.push('\n');
    for did in list(got, "kept").iter().filter_map(Value::as_str) {
        out.push_str(&format!(
            "not deleted: all of {did} is kept, since it is a member or a member follows it; see `aerie member remove`\n"
        ));
    }
    for why in list(got, "unusable").iter().filter_map(Value::as_str) {
        out.push_str(&format!("not removed: {why}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_names_may_have_comments() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dids");
        std::fs::write(&file, "did:plc:a\n# none\n\n  \nb.example # b\ndid:plc:c,3\n").unwrap();
        assert_eq!(read(&file).unwrap(), ["did:plc:a", "b.example", "did:plc:c"]);
        let error = read(&dir.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none: "), "{error}");
    }
}
