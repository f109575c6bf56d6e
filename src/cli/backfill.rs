//! `aerie backfill`: whole hosts, collections, the network; progress of everything that is fetched.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::time::Duration;

use clap::{ArgGroup, Subcommand};
use serde_json::Value;

use super::format::{bytes, counts, list, number, text};
use super::progress::{self, Far};
use super::{CliError, answer, print, span};
use crate::admin::protocol::{
    BackfillPause, BackfillResume, BackfillStart, BackfillStop, BackfillStopped, Done, RepoList,
    Status,
};
use crate::config::Sources;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fetch what was written before the stream was followed
    ///
    /// Lists are read a page at a time, and every repository is fetched from the host that its DID document names;
    /// those that are complete are passed over. A restart goes on where it was.
    Start(Start),
    /// Fetch no further what was begun by command
    ///
    /// The lists are read no further and the repositories that they named leave the queue; what is here stays, and what is being
    /// fetched at the moment comes in still. `start` begins a list again from its beginning.
    Stop(Stop),
    /// Let nothing begin but resyncs of broken repositories; holds over a restart
    Pause,
    /// Go on
    Resume,
    /// Show what waits, what is under way, what failed, how fast it goes and how long it takes
    Status {
        /// Print it as one JSON object
        #[arg(long)]
        json: bool,
        /// Print a line every few seconds until nothing waits
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
}

#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("of").required(true).args(["pds", "relay", "network"])))]
struct Start {
    /// Every repository of a PDS
    #[arg(long, value_name = "URL")]
    pds: Option<String>,
    /// Every repository of every host that a relay knows
    #[arg(long, value_name = "URL")]
    relay: Option<String>,
    /// Of the relay's repositories, only those with records of this collection
    #[arg(long, value_name = "NSID", requires = "relay", conflicts_with_all = ["pds", "network"])]
    collection: Option<String>,
    /// The whole network, as the first of network.upstreams knows it
    #[arg(long)]
    network: bool,
    /// Print progress until nothing waits
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("what").required(true).args(["pds", "relay", "network", "all"])))]
struct Stop {
    /// The list of a PDS
    #[arg(long, value_name = "URL")]
    pds: Option<String>,
    /// The hosts of a relay, and the lists of these
    #[arg(long, value_name = "URL")]
    relay: Option<String>,
    /// Of the relay, only the list by this collection
    #[arg(long, value_name = "NSID", requires = "relay", conflicts_with_all = ["pds", "network", "all"])]
    collection: Option<String>,
    /// The whole network, as `start --network` began it
    #[arg(long)]
    network: bool,
    /// Every list, and what `repo add` asked for; members, whom they follow and broken repositories are fetched all the same
    #[arg(long)]
    all: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    match &args.action {
        Action::Start(start) => begin(start, sources),
        Action::Stop(what) => stop(what, sources),
        Action::Pause => tell(answer(sources, BackfillPause {}), "paused: only resyncs begin now"),
        Action::Resume => tell(answer(sources, BackfillResume {}), "it goes on"),
        Action::Status { watch: true, .. } => watch(sources),
        Action::Status { json, .. } => print(&status(sources)?, *json, page),
    }
}

/// The list that arguments mean; none if they mean all of them.
fn list_of(
    pds: &Option<String>,
    relay: &Option<String>,
    collection: &Option<String>,
) -> Option<RepoList> {
    match (pds, relay) {
        (Some(url), _) => Some(RepoList::Pds { url: url.clone() }),
        (_, Some(url)) => {
            Some(RepoList::Relay { url: url.clone(), collection: collection.clone() })
        }
        _ => None,
    }
}

fn stop(what: &Stop, sources: &Sources) -> Result<(), CliError> {
    let network = (!what.all).then_some(RepoList::Network {});
    let list = list_of(&what.pds, &what.relay, &what.collection).or(network);
    print(&answer(sources, BackfillStop { list })?, what.json, |got| {
        let BackfillStopped { lists, repos } = got;
        format!("{lists} lists are read no further, {repos} repositories left the queue\n")
    })
}

fn begin(start: &Start, sources: &Sources) -> Result<(), CliError> {
    let list = list_of(&start.pds, &start.relay, &start.collection);
    let list = list.unwrap_or(RepoList::Network {});
    let got = answer(sources, BackfillStart { list })?;
    let says = if got.begun { "begun" } else { "being read already" };
    writeln!(std::io::stdout(), "{}: {says}", got.url)?;
    if start.wait { watch(sources) } else { Ok(()) }
}

fn tell(done: Result<Done, CliError>, said: &str) -> Result<(), CliError> {
    done?;
    Ok(writeln!(std::io::stdout(), "{said}")?)
}

fn status(sources: &Sources) -> Result<Value, CliError> {
    let mut status = answer(sources, Status {})?;
    Ok(status.get_mut("resync").map(Value::take).unwrap_or_default())
}

/// Progress until nothing waits.
fn watch(sources: &Sources) -> Result<(), CliError> {
    let mut quiet = 0;
    progress::wait(Duration::from_secs(1), || {
        let status = status(sources)?;
        // Without a status nothing is fetched at the moment, and what is queued waits.
        let waits = !status.is_object()
            || number(&status, "queued") > 0.0
            || status.get("running").and_then(Value::as_object).is_some_and(|r| !r.is_empty());
        // A page may be between being read and being counted.
        quiet = if waits { 0 } else { quiet + 1 };
        Ok(match quiet {
            3.. => ControlFlow::Break(()),
            _ => ControlFlow::Continue(Far { share: None, line: line(&status) }),
        })
    })?;
    print(&status(sources)?, false, page)
}

fn whole(v: &Value, key: &str) -> u64 {
    v.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// Rate and time left in one line.
pub(super) fn line(s: &Value) -> String {
    let none = Value::Null;
    let rate = s.get("rate").unwrap_or(&none);
    let running = s.get("running").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    let mut out = format!(
        "{} repos done ({} unchanged), {} under way, {} to go, {} parked; {:.1} repos/s, {:.0} records/s, {}/s",
        whole(s, "done") + whole(s, "unchanged"),
        whole(s, "unchanged"),
        running,
        whole(s, "repos_left"),
        whole(s, "parked"),
        number(rate, "repos_per_s"),
        number(rate, "records_per_s"),
        bytes(number(rate, "bytes_per_s")),
    );
    if let Some(left) = s.get("left_s").and_then(Value::as_u64) {
        let at_least = if whole(s, "reading") > 0 { "at least " } else { "about " };
        out.push_str(&format!(", {at_least}{} left", span(left)));
    }
    if s.get("paused") == Some(&Value::Bool(true)) {
        out.push_str(", PAUSED");
    }
    if let Some(why) = s.get("held_back").and_then(Value::as_str) {
        out.push_str(&format!(", held back: {why}"));
    }
    out
}

/// Everything for people.
fn page(s: &Value) -> String {
    let mut lines = vec![line(s)];
    lines.extend(counts("waiting", s.get("waiting")));
    lines.extend(counts("parked", s.get("parked_by_cause")));
    lines.extend(counts("failed tries since start", s.get("failed")));
    for l in list(s, "sources") {
        let mut line = format!(
            "list {} of {}{}: {}, {} listed, {} known, {} inactive, {} bad, {} done, {} failed",
            text(l, "kind"),
            text(l, "url"),
            match text(l, "collection") {
                "" => String::new(),
                collection => format!(" ({collection})"),
            },
            text(l, "state"),
            whole(l, "listed"),
            whole(l, "known"),
            whole(l, "inactive"),
            whole(l, "bad"),
            whole(l, "done"),
            whole(l, "failed"),
        );
        if let Some(error) = l.get("error").and_then(Value::as_str).filter(|e| !e.is_empty()) {
            line.push_str(&format!("; {error}"));
        }
        lines.push(line);
    }
    for h in list(s, "hosts") {
        lines.push(format!(
            "host {} is left alone for {}, {} failures in a row: {}",
            text(h, "host"),
            span(whole(h, "for_s")),
            whole(h, "failures"),
            text(h, "error"),
        ));
    }
    if let Some(Value::Object(running)) = s.get("running") {
        lines.extend(
            running.iter().map(|(did, what)| {
                format!("fetching {did}: {}", what.as_str().unwrap_or_default())
            }),
        );
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_says_how_it_goes() {
        let status = json!({
            "done": 7, "unchanged": 3, "repos_left": 90, "parked": 2, "queued": 89, "reading": 1, "left_s": 300,
            "paused": true, "held_back": null, "running": {"did:plc:a": "https://pds: 3 MB read, 9 records in"},
            "rate": {"repos_per_s": 0.3, "records_per_s": 1500.4, "bytes_per_s": 2_000_000.0},
            "waiting": {"listed": 80}, "parked_by_cause": {"bad-signature": 2}, "failed": {"bad-signature": 4},
            "sources": [{"kind": "repos", "url": "https://pds", "collection": "", "state": "reading", "listed": 100,
                "known": 10, "error": "too many redirects"}],
            "hosts": [{"host": "https://dead", "for_s": 40, "failures": 4, "error": "connect: refused"}],
        });
        let page = page(&status);
        for part in [
            "10 repos done (3 unchanged), 1 under way, 90 to go, 2 parked",
            "0.3 repos/s, 1500 records/s, 2.0 MB/s",
            "at least 5 min left",
            "PAUSED",
            "waiting: listed 80",
            "parked: bad-signature 2",
            "list repos of https://pds: reading, 100 listed, 10 known",
            "too many redirects",
            "https://dead is left alone for 40 s, 4 failures in a row: connect: refused",
            "fetching did:plc:a: https://pds: 3 MB read",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
