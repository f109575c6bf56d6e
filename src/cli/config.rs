//! `aerie config`: what the configuration is, whether it is valid, and what it could be.

use std::io::Write;

use clap::Subcommand;
use serde_json::{Map, json};

use super::setup::proxy::Proxy;
use super::{CliError, answer, configuration};
use crate::admin::protocol::ConfigReload;
use crate::config::{self, Config, Sources};
use crate::doctor;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check the configuration and exit; prints every error
    ///
    /// Each error is one line: file and line (or environment variable), key, what is wrong, and for an
    /// unknown key the nearest valid one. A secret in a file that everybody may read is one too. Exit code 78 when
    /// there is any. What the scope takes of the disk is said, and whether that fits; it is no error.
    Check {
        /// Ask the public name, upstreams, directory and labelers too; exit code 1 when one of them fails
        #[arg(long)]
        online: bool,
    },
    /// Print every option in force and where its value comes from
    ///
    /// Prints TOML with the origin of each value as a comment: `default`, `file:line`, or the
    /// environment variable. Secrets are printed as "***".
    Show {
        /// Print one JSON object: {"section.key": {"value": ..., "origin": "..."}}
        #[arg(long)]
        json: bool,
    },
    /// Have the running server read the configuration again; its log says what came of it
    Reload,
    /// Print a configuration file with every key and its explanation
    ///
    /// To start with: aerie config example > config.toml
    Example,
    /// Print the lines of a reverse proxy in front of the server
    Proxy {
        /// Which one
        #[arg(value_enum)]
        proxy: Proxy,
    },
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match args.action {
        Action::Check { online } => {
            let exposed = configuration(sources)?.exposed();
            if !exposed.is_empty() {
                return Err(config::ConfigErrors(exposed).into());
            }
            match &sources.file {
                Some(file) => writeln!(out, "{}: ok", file.display())?,
                None => writeln!(out, "no configuration file: defaults and environment are ok")?,
            }
            let config = configuration(sources)?;
            writeln!(out, "{}", doctor::fits(&config))?;
            if online {
                let found = super::doctor::online(&config)?;
                out.write_all(super::doctor::page(&found).as_bytes())?;
                if found.iter().any(|finding| finding.state == doctor::State::Failed) {
                    return Err(CliError::Failed("not everything can be reached".to_owned()));
                }
            }
        }
        Action::Show { json: true } => writeln!(out, "{:#}", show_json(&configuration(sources)?))?,
        Action::Show { json: false } => out.write_all(show(&configuration(sources)?).as_bytes())?,
        Action::Proxy { proxy } => {
            out.write_all(proxy.lines(&configuration(sources)?).as_bytes())?;
        }
        Action::Reload => {
            answer(sources, ConfigReload {})?;
            writeln!(out, "the configuration is being read again: the log says what came of it")?;
        }
        Action::Example => out.write_all(config::example().as_bytes())?,
    }
    Ok(())
}

/// TOML with origins as comments, in aligned columns within a section.
fn show(config: &Config) -> String {
    let rows: Vec<(&str, &str, String, String)> = config
        .settings()
        .filter_map(|(key, setting)| {
            let (section, name) = key.split_once('.')?;
            Some(match setting {
                Some(set) => (section, "", format!("{name} = {set}"), set.origin.to_string()),
                None => (section, "# ", name.to_owned(), "not set".to_owned()),
            })
        })
        .collect();
    let width =
        rows.iter().map(|(_, hash, text, _)| hash.len() + text.len()).filter(|w| *w <= 60).max();
    let width = width.unwrap_or(0);
    let mut out = String::new();
    let mut current = "";
    for (section, hash, text, origin) in &rows {
        if *section != current {
            let gap = if current.is_empty() { "" } else { "\n" };
            out += &format!("{gap}[{section}]\n");
            current = section;
        }
        let line = format!("{hash}{text}");
        out += &format!("{line:width$}  # {origin}\n");
    }
    out
}

fn show_json(config: &Config) -> serde_json::Value {
    let entry = |(key, setting): (&str, Option<&config::Setting>)| {
        let value = match setting {
            Some(set) => json!({ "value": set.to_json(), "origin": set.origin.to_string() }),
            None => json!({ "value": null, "origin": "not set" }),
        };
        (key.to_owned(), value)
    };
    config.settings().map(entry).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_show_prints_is_a_valid_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        let env = vec![("AERIE_ADMIN__PASSWORD".to_owned(), "hunter2".to_owned())];
        let shown = show(&config::load(&Sources { file: None, env }).unwrap());
        assert!(shown.contains("AERIE_ADMIN__PASSWORD") && !shown.contains("hunter2"), "{shown}");
        std::fs::write(&file, &shown).unwrap();
        let sources = Sources { file: Some(file), env: vec![] };
        let again = config::load(&sources).unwrap();
        assert_eq!(again.network, config::load(&Sources::default()).unwrap().network);
    }

    #[test]
    fn json_has_every_key() {
        let config = config::load(&Sources::default()).unwrap();
        let json = show_json(&config);
        assert_eq!(json["server.listen"]["value"], "127.0.0.1:2584");
        assert_eq!(json["server.listen"]["origin"], "default");
        assert_eq!(json["moderation.service_did"]["value"], serde_json::Value::Null);
    }
}
