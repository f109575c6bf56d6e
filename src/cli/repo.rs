//! `aerie repo`: single repositories, by DID or handle.

use std::io::BufRead as _;
use std::path::PathBuf;

use clap::Subcommand;

use super::{CliError, answer, confirm, print};
use crate::admin::protocol::{
    Operation, RepoAdd, RepoRemove, RepoResync, RepoStatus, ReposAdded, ReposRemoved,
};
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
            add(sources, &names, *json, |repos| RepoAdd { repos })
        }
        Action::Resync { repos, json } => add(sources, repos, *json, |repos| RepoResync { repos }),
        Action::Remove { repos, delete, yes, json } => {
            if *delete {
                confirm(*yes, &format!("everything that is here of {} goes", repos.join(", ")))?;
            }
            remove(sources, repos, *delete, *json)
        }
        Action::Import(args) => super::import::run(args, sources),
        Action::Status { repo, json } => {
            let says = answer(sources, RepoStatus { repo: repo.clone() })?;
            print(&says, *json, |says| format!("{}\n", says.status))
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

fn add<O: Operation<Answer = ReposAdded>>(
    sources: &Sources,
    names: &[String],
    as_json: bool,
    request: impl Fn(Vec<String>) -> O,
) -> Result<(), CliError> {
    let mut all = ReposAdded::default();
    for chunk in names.chunks(CHUNK) {
        let got = answer(sources, request(chunk.to_vec()))?;
        all.added += got.added;
        all.raised += got.raised;
        all.known += got.known;
        all.gone += got.gone;
        all.unusable.extend(got.unusable);
    }
    print(&all, as_json, added)?;
    if !names.is_empty() && all.unusable.len() == names.len() {
        return Err(CliError::Failed("none of the names can be used".to_owned()));
    }
    Ok(())
}

fn added(all: &ReposAdded) -> String {
    let ReposAdded { added, raised, known, gone, unusable } = all;
    let mut out = format!("{} queued, {known} were already\n", added + raised);
    if *gone > 0 {
        let gone = format!("{gone} that are deleted or opted out of being collected");
        out.push_str(&format!("not queued: {gone}\n"));
    }
    for why in unusable {
        out.push_str(&format!("not queued: {why}\n"));
    }
    out
}

fn remove(
    sources: &Sources,
    names: &[String],
    delete: bool,
    as_json: bool,
) -> Result<(), CliError> {
    let got = answer(sources, RepoRemove { repos: names.to_vec(), delete })?;
    print(&got, as_json, removed)?;
    if got.unusable.len() + got.kept.len() == names.len() {
        return Err(CliError::Failed("nothing was done".to_owned()));
    }
    Ok(())
}

fn removed(got: &ReposRemoved) -> String {
    let mut out = format!("{} left the queue", got.removed);
    if got.deleting > 0 {
        out.push_str(&format!(", {} being deleted", got.deleting));
    }
    out.push('\n');
    for did in &got.kept {
        out.push_str(&format!(
            "not deleted: all of {did} is kept, since it is a member or a member follows it; see `aerie member remove`\n"
        ));
    }
    for why in &got.unusable {
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
