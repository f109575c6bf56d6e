//! Where the answers go: the configuration, the password, the keys, and who may read them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use super::Args;
use super::answers::Answers;
use crate::cli::{CliError, confirmed};
use crate::config::{self, Config, ScopeMode, Sources, load};
use crate::private::lines::WholeFile;
use crate::runtime;
use crate::syntax::Did;

const SYSTEM: &str = "/etc/aerie";
const SYSTEM_DATA: &str = "/var/lib/aerie/data";
/// Part of the machine's memory that the store may have, within these bounds.
const MEMORY_PART: u64 = 4;
const MEMORY: std::ops::RangeInclusive<u64> = 256_000_000..=2_000_000_000;

pub(super) struct Place {
    dir: PathBuf,
    pub(super) config: PathBuf,
    pub(super) password: PathBuf,
    pub(super) data: PathBuf,
    /// Where the configuration that was there is.
    pub(super) kept: Option<PathBuf>,
    /// It is for the service of this machine.
    pub(super) is_system: bool,
    /// The group of the server's user, if there is one and it can be given.
    group: Option<u32>,
}

impl Place {
    /// Where things go; `named` is the file that `--config` names.
    pub(super) fn of(args: &Args, named: Option<&Path>) -> Self {
        let root = rustix::process::geteuid().is_root();
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let here = |path: &str| whole(Path::new(path));
        let named = named.map(whole);
        let beside = || named.as_deref().and_then(Path::parent).map(Path::to_owned);
        let dir = match args.dir.as_deref().map(whole).or_else(beside) {
            Some(dir) => dir,
            None => {
                if root {
                    SYSTEM.into()
                } else {
                    here(".")
                }
            }
        };
        let data = match &args.data {
            Some(data) => whole(data),
            None => {
                if root {
                    SYSTEM_DATA.into()
                } else {
                    here("data")
                }
            }
        };
        let config = named.unwrap_or_else(|| dir.join("config.toml"));
        let password = dir.join("admin_password");
        let kept = config.exists().then(|| free_name(&config));
        let group = root.then(|| group_of(&args.user)).flatten();
        Self { is_system: dir == Path::new(SYSTEM), config, password, data, kept, dir, group }
    }

    /// Whether the answers may take the place of a configuration that is there.
    pub(super) fn may_write(&self, args: &Args) -> Result<bool, CliError> {
        let Some(kept) = &self.kept else { return Ok(false) };
        let (file, kept) = (self.config.display(), kept.display());
        let what = format!("{file} is there already and would be replaced (it is kept as {kept})");
        if args.replace {
            return Ok(true);
        }
        use std::io::IsTerminal as _;
        let stdin = std::io::stdin();
        let asks = !args.yes && stdin.is_terminal();
        if !asks {
            return Err(CliError::Failed(format!(
                "{what}. Nothing was done: with --replace it is done without asking; `aerie config check` says whether it is valid"
            )));
        }
        confirmed(false, &what, Some(stdin.lock())).map(|()| true)
    }

    /// Writes everything; the configuration last, so that what is there is whole.
    pub(super) fn write(&self, answers: &Answers, replaces: bool) -> Result<Config, CliError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |cause: std::io::Error| CliError::Failed(format!("{path}: {cause}"))
        };
        if !self.dir.exists() {
            fs::create_dir_all(&self.dir).map_err(failed(&self.dir))?;
            self.give(&self.dir, 0o750).map_err(failed(&self.dir))?;
        }
        // A password that somebody knows already stays.
        match &answers.password {
            Some(password) => {
                self.secret(&self.password, password).map_err(failed(&self.password))?
            }
            None if self.password.exists() => {}
            None => {
                let made = data_encoding::HEXLOWER.encode(&rand::random::<[u8; 24]>());
                self.secret(&self.password, &made).map_err(failed(&self.password))?;
            }
        }
        let written = config::written(&self.given(answers));
        let trial = self.config.with_extension("toml.new");
        let _ = fs::remove_file(&trial);
        self.whole(&trial, &written).map_err(failed(&trial))?;
        let config = load(&Sources { file: Some(trial.clone()), env: Vec::new() });
        let config = config.inspect_err(|_| drop(fs::remove_file(&trial)))?;
        runtime::make_keys(&config).map_err(|error| CliError::Failed(error.to_string()))?;
        for key in [&config.server.signing_key_file, &config.push.vapid_key_file] {
            self.give(key, 0o640).map_err(failed(key))?;
        }
        if let Some(kept) = self.kept.as_ref().filter(|_| replaces) {
            fs::hard_link(&self.config, kept).map_err(failed(kept))?;
        }
        fs::rename(&trial, &self.config).map_err(failed(&self.config))?;
        Ok(config)
    }

    /// The keys that the answers set; those without a value stay out of the file.
    fn given(&self, answers: &Answers) -> Vec<(&'static str, Option<String>)> {
        let text = |text: &str| Some(format!("{text:?}"));
        let path = |path: &Path| text(&path.to_string_lossy());
        let members: Vec<String> =
            answers.members.iter().map(|did: &Did| format!("\"{did}\"")).collect();
        let budget = answers.disk_budget.as_deref().filter(|_| answers.mode != ScopeMode::Whole);
        vec![
            ("server.listen", text(&answers.listen)),
            ("server.public_url", text(&answers.public_url)),
            ("server.signing_key_file", path(&self.dir.join("signing_key"))),
            ("admin.password_file", path(&self.password)),
            ("store.path", path(&self.data)),
            ("store.memory_budget", Some(format!("\"{}MB\"", memory() / 1_000_000))),
            ("scope.mode", text(answers.mode.name())),
            ("scope.days", Some(answers.days.to_string())),
            ("scope.disk_budget", budget.and_then(text)),
            ("scope.members", (!members.is_empty()).then(|| format!("[{}]", members.join(", ")))),
            ("scope.join", answers.listed.then(|| "\"listed\"".to_owned())),
        ]
    }

    fn secret(&self, path: &Path, secret: &str) -> std::io::Result<()> {
        self.whole(path, &format!("{secret}\n"))
    }

    /// A file that is there whole or not at all, and that the server may read.
    fn whole(&self, path: &Path, text: &str) -> std::io::Result<()> {
        let mut file = WholeFile::begin(path)?;
        file.out().write_all(text.as_bytes())?;
        file.end()?;
        self.give(path, 0o640)
    }

    /// Lets the server's group have it, where there is one; else it is for its owner alone.
    fn give(&self, path: &Path, mode: u32) -> std::io::Result<()> {
        let mode = match self.group {
            Some(group) => {
                chown(path, None, Some(group))?;
                mode
            }
            None => mode & 0o700,
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }
}

/// The first name beside a file that is not taken.
fn free_name(file: &Path) -> PathBuf {
    let name = |n: u32| file.with_extension(format!("toml.old{n}"));
    (1..).map(name).find(|name| !name.exists()).unwrap_or_else(|| name(0))
}

/// The group of a user of this machine.
fn group_of(user: &str) -> Option<u32> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(user))?;
    line.split(':').nth(3)?.parse().ok()
}

/// Memory for the store: a part of what the machine has.
fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|kb| kb.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let part = total.map_or(512_000_000, |kib| kib * 1024 / MEMORY_PART);
    part.clamp(*MEMORY.start(), *MEMORY.end()) / 1_000_000 * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::setup::answers::Answers;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn setup(dir: &Path, more: &[&str]) -> Result<Config, CliError> {
        let (etc, data) = (dir.join("etc"), dir.join("data"));
        let args = ["setup", "--yes", "--user", "nobody-of-this-name", "--dir"].into_iter();
        let args = args.chain([etc.to_str().unwrap(), "--data", data.to_str().unwrap()]);
        let args = Line::parse_from(args.chain(more.iter().copied())).args;
        let place = Place::of(&args, None);
        let replaces = place.may_write(&args)?;
        place.write(&Answers::gather(&args, &place.data)?, replaces)
    }

    fn modes(dir: &Path) -> Vec<(String, u32)> {
        let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
        let mut all: Vec<_> = entries
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, entry.metadata().unwrap().permissions().mode() & 0o777)
            })
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_configuration_is_written_once_and_the_one_before_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        let config =
            setup(dir.path(), &["--public-url", "a.example", "--member", "did:plc:abc"]).unwrap();
        assert_eq!(config.server.did, "did:web:a.example");
        assert_eq!(config.scope.mode, ScopeMode::Window);
        assert_eq!(config.scope.members.len(), 1);
        assert!(config.exposed().is_empty());
        let names = ["admin_password", "config.toml", "signing_key", "vapid_key.pem"];
        assert_eq!(modes(&etc), names.map(|name| (name.to_owned(), 0o600)));
        assert!(!dir.path().join("data").exists(), "the server makes its store");
        let secret = |name: &str| fs::read_to_string(etc.join(name)).unwrap();
        let (password, key) = (secret("admin_password"), secret("signing_key"));
        assert_eq!(password.trim().len(), 48);

        // Again: nothing is lost, and nothing changes unless it is wanted.
        let error = setup(dir.path(), &["--public-url", "b.example"]).unwrap_err().to_string();
        assert!(error.contains("--replace"), "{error}");
        assert!(secret("config.toml").contains("https://a.example"));
        let config =
            setup(dir.path(), &["--public-url", "b.example", "--mode", "whole", "--replace"])
                .unwrap();
        assert_eq!((config.scope.mode, config.scope.disk_budget), (ScopeMode::Whole, 0));
        assert!(secret("config.toml").contains("https://b.example"));
        assert!(secret("config.toml.old1").contains("https://a.example"));
        assert_eq!((secret("admin_password"), secret("signing_key")), (password, key));
    }

    #[test]
    fn a_file_that_is_named_is_the_one_that_is_written() {
        let of = |more: &[&str], named: Option<&str>| {
            let line = Line::parse_from(["setup"].iter().chain(more));
            let place = Place::of(&line.args, named.map(Path::new));
            [place.config, place.password].map(|path| path.to_str().unwrap().to_owned())
        };
        let [config, password] = of(&[], Some("/srv/a/other.toml"));
        assert_eq!([&*config, &*password], ["/srv/a/other.toml", "/srv/a/admin_password"]);
        let [config, password] = of(&["--dir", "/srv/b"], Some("/srv/a/other.toml"));
        assert_eq!([&*config, &*password], ["/srv/a/other.toml", "/srv/b/admin_password"]);
        let [config, _] = of(&["--dir", "/srv/b"], None);
        assert_eq!(config, "/srv/b/config.toml");
    }

    #[test]
    fn the_group_of_a_user_is_found() {
        assert_eq!(group_of("root"), Some(0));
        assert_eq!(group_of("nobody-of-this-name"), None);
        assert!(MEMORY.contains(&memory()));
    }
}
