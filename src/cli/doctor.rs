//! `aerie doctor`: what is the matter with this installation.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{CliError, print};
use crate::config::{Config, Sources, load};
use crate::doctor::{Finding, Patient, State, examine, reachable};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ask nobody but the running server: no names, no upstreams, no other clock
    #[arg(long)]
    offline: bool,
    /// Trust the certificates of this PEM file too, for a proxy with an authority of its own
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print {"ok": ..., "findings": [{"check", "state", "says", "fix"}]}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    let found = match load(sources) {
        Err(errors) => errors.0.iter().map(|error| unusable(&error.to_string())).collect(),
        Ok(config) => {
            let first = usable(sources);
            let found = look(config, args.ca.as_deref(), |patient| async move {
                examine(&patient, !args.offline).await
            })?;
            std::iter::once(first).chain(found).collect::<Vec<_>>()
        }
    };
    let failed = found.iter().filter(|finding| finding.state == State::Failed).count();
    let all = json!({ "ok": failed == 0, "findings": found });
    print(&all, args.json, |_| page(&found))?;
    match failed {
        0 => Ok(()),
        n => Err(CliError::Failed(format!("{n} of {} findings need you", found.len()))),
    }
}

/// What the server needs of others, and whether the name leads here: for `aerie config check --online`.
pub(super) fn online(config: &Config) -> Result<Vec<Finding>, CliError> {
    look(config.clone(), None, |patient| async move { reachable(&patient).await })
}

fn look<F: Future<Output = Vec<Finding>>>(
    config: Config,
    ca: Option<&Path>,
    examine: impl FnOnce(Patient) -> F,
) -> Result<Vec<Finding>, CliError> {
    let pem = ca.map(|file| {
        let failed = |cause| CliError::Failed(format!("{}: {cause}", file.display()));
        std::fs::read(file).map_err(failed)
    });
    let pem = pem.transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let patient = Patient::admit(config, pem.as_deref()).await;
        let patient = patient.map_err(|error| CliError::Failed(error.to_string()))?;
        Ok(examine(patient).await)
    })
}

fn usable(sources: &Sources) -> Finding {
    let says = match &sources.file {
        Some(file) => format!("{} is valid", file.display()),
        None => "there is no file: defaults and the environment are in force".to_owned(),
    };
    Finding { check: "configuration", state: State::Ok, says, fix: None }
}

fn unusable(error: &str) -> Finding {
    let fix = Some("correct it; `aerie config example` explains every key".to_owned());
    Finding { check: "configuration", state: State::Failed, says: error.to_owned(), fix }
}

/// One line a finding, and one for what to do about it.
pub(super) fn page(found: &[Finding]) -> String {
    let width = found.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let line = |finding: &Finding| {
        let state = match finding.state {
            State::Ok => "ok  ",
            State::Skipped => "-   ",
            State::Warning => "WARN",
            State::Failed => "FAIL",
        };
        let (check, says) = (finding.check, &finding.says);
        let fix = finding.fix.as_ref().map(|fix| format!("     {:width$}  -> {fix}\n", ""));
        format!("{state} {check:width$}  {says}\n{}", fix.unwrap_or_default())
    };
    found.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_is_a_line_and_what_to_do_is_below_it() {
        let well = Finding { check: "a", state: State::Ok, says: "good".to_owned(), fix: None };
        let fix = Some("mend it".to_owned());
        let ill = Finding { check: "long", state: State::Failed, says: "bad".to_owned(), fix };
        let found = [well, ill];
        assert_eq!(page(&found), "ok   a     good\nFAIL long  bad\n           -> mend it\n");
        let json = json!(found);
        assert_eq!(json[0], json!({"check": "a", "state": "ok", "says": "good"}));
        assert_eq!(json[1]["fix"], "mend it");
    }
}
