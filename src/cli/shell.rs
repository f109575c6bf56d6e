//! `aerie completions` and `aerie man`: what a shell and man(1) know of the commands and of the configuration, made from
//! the tables that parse both.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::shells;
use clap_mangen::Man;

use super::{Cli, CliError};
use crate::config;

/// The page of the configuration.
const CONFIGURATION: &str = "aerie.toml.5";

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// To load it: source <(aerie completions bash), or a file in /usr/share/bash-completion/completions
    Bash,
    /// As the file _aerie in a folder of $fpath
    Zsh,
    /// As the file aerie.fish in ~/.config/fish/completions
    Fish,
}

#[derive(Debug, clap::Args)]
pub(super) struct Pages {
    /// Folder to write every page into, one for each command and aerie.toml(5) [default: print aerie(1)]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &Completions) -> Result<(), CliError> {
    Ok(std::io::stdout().write_all(&script(args.shell))?)
}

fn script(shell: Shell) -> Vec<u8> {
    let (mut command, mut out) = (Cli::command(), Vec::new());
    match shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut command, "aerie", &mut out),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut command, "aerie", &mut out),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut command, "aerie", &mut out),
    }
    out
}

pub(super) fn pages(args: &Pages) -> Result<(), CliError> {
    match &args.dir {
        Some(dir) => {
            write(dir).map_err(|cause| CliError::Failed(format!("{}: {cause}", dir.display())))
        }
        None => {
            let mut page = Vec::new();
            Man::new(Cli::command()).render(&mut page)?;
            Ok(std::io::stdout().write_all(&page)?)
        }
    }
}

fn write(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)?;
    std::fs::write(dir.join(CONFIGURATION), config::manual())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_completed_and_has_its_page() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let scripts = [Shell::Bash, Shell::Zsh, Shell::Fish].map(script);
        let scripts = scripts.map(|script| String::from_utf8(script).unwrap());
        let command = Cli::command();
        for part in command.get_subcommands() {
            let name = part.get_name();
            assert!(scripts.iter().all(|script| script.contains(name)), "{name}");
            let page = std::fs::read_to_string(dir.path().join(format!("aerie-{name}.1"))).unwrap();
            assert!(page.contains(".TH"), "{name}: {page}");
            for action in part.get_subcommands().filter(|action| action.get_name() != "help") {
                let page = format!("aerie-{name}-{}.1", action.get_name());
                assert!(dir.path().join(&page).exists(), "{page}");
            }
        }
        assert!(dir.path().join("aerie.1").exists());
    }

    #[test]
    fn the_page_of_the_configuration_has_every_key() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let page = std::fs::read_to_string(dir.path().join(CONFIGURATION)).unwrap();
        let config = config::load(&config::Sources::default()).unwrap();
        for (key, _) in config.settings() {
            // A hyphen is escaped, and so would be a dot at the begin of a line.
            assert!(page.contains(&format!("\\fB{key}\\fR")), "{key}");
        }
        assert!(page.contains("AERIE_NETWORK__PLC_URL"), "{page}");
    }
}
