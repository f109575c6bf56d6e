//! Reads the sources, weakest first, applies the table, and collects every error.

use std::fmt;
use std::path::{Path, PathBuf};

use super::options::{Opt, Shape, options};
use super::parse::{self, Fault};
use super::settings::{Origin, Setting};
use super::value::{Data, Value, line_of};
use super::{Config, Secret, nearest};
use crate::lexicon::catalog;

/// The rules that Bluesky's own AppView gives to clients.
const AGE_RULES: &[u8] = include_bytes!("age_rules.json");
/// The directory of the public network, and where its videos are.
const PUBLIC_DIRECTORY: &str = "https://plc.directory";
const BLUESKY_VIDEOS: &str = "https://video.bsky.app/watch";

/// What the configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file; without one, only defaults and the environment count.
    pub file: Option<PathBuf>,
    /// Environment variables; those that are not `AERIE_SECTION__KEY` are ignored.
    pub env: Vec<(String, String)>,
}

impl Sources {
    /// `file` and this process's environment.
    pub fn from_process(file: Option<PathBuf>) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self { file, env: env.collect() }
    }
}

/// One error: where, which key, what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// `file:line`, `file`, or the environment variable.
    pub place: String,
    /// The key; `None` when the file as a whole is unusable.
    pub key: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key}: {}", self.place, self.message),
            None => write!(f, "{}: {}", self.place, self.message),
        }
    }
}

/// All errors of a configuration, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Reads the sources into a [`Config`].
///
/// # Errors
/// Every unknown key, wrong type, invalid value and unreadable file, together.
pub fn load(sources: &Sources) -> Result<Config, ConfigErrors> {
    let blank = Config::blank().map_err(|cause| {
        let message = format!("defaults: {cause}");
        ConfigErrors(vec![ConfigError { place: "defaults".to_owned(), key: None, message }])
    })?;
    let mut loader = Loader { config: blank, errors: Vec::new() };
    loader.defaults();
    if let Some(path) = &sources.file {
        loader.file(path);
    }
    loader.env(&sources.env);
    loader.apply();
    if loader.errors.is_empty() {
        loader.derive();
    }
    if loader.errors.is_empty() { Ok(loader.config) } else { Err(ConfigErrors(loader.errors)) }
}

struct Loader {
    config: Config,
    errors: Vec<ConfigError>,
}

impl Loader {
    fn defaults(&mut self) {
        for opt in options() {
            if let Some(value) = opt.default.and_then(parse_toml) {
                self.insert(opt, value, Origin::Default);
            }
        }
    }

    fn insert(&mut self, opt: &Opt, value: Value, origin: Origin) {
        let setting = Setting { value, secret: opt.secret, origin };
        self.config.settings.insert(opt.key, setting);
    }

    fn error(&mut self, place: String, key: Option<String>, message: String) {
        self.errors.push(ConfigError { place, key, message });
    }

    fn file(&mut self, path: &Path) {
        let name = path.display().to_string();
        let source = match std::fs::read_to_string(path) {
            Ok(source) => source,
            Err(cause) => return self.error(name, None, format!("cannot be read: {cause}")),
        };
        let document = match toml_edit::Document::parse(source.as_str()) {
            Ok(document) => document,
            Err(cause) => {
                let line = cause.span().map_or(1, |span| line_of(&source, span.start));
                return self.error(format!("{name}:{line}"), None, one_line(cause.message()));
            }
        };
        for (section, item) in document.iter() {
            let Some(table) = item.as_table_like() else {
                let line = item.span().map_or(1, |span| line_of(&source, span.start));
                self.unknown(format!("{name}:{line}"), section, section);
                continue;
            };
            for (key, item) in table.iter() {
                let value = Value::from_item(item, &source);
                let line = value.line.unwrap_or(1);
                let full = format!("{section}.{key}");
                match options().find(|opt| opt.key == full) {
                    Some(opt) => self.insert(opt, value, Origin::File(path.to_owned(), line)),
                    None => self.unknown(format!("{name}:{line}"), &full, &full),
                }
            }
        }
    }

    /// An unknown key; `shown` is how the source wrote it.
    fn unknown(&mut self, place: String, full: &str, shown: &str) {
        let near = if full.contains('.') {
            nearest(full, options().map(|opt| opt.key))
        } else {
            // A key outside of any section most likely lost its section.
            let name = |opt: &Opt| opt.key.split_once('.').map_or("", |(_, name)| name);
            let name_near = nearest(full, options().map(name));
            options().find(|opt| name(opt) == name_near).map_or("", |opt| opt.key)
        };
        let message = format!("unknown key; did you mean `{near}`?");
        self.error(place, Some(shown.to_owned()), message);
    }

    fn env(&mut self, env: &[(String, String)]) {
        for (name, given) in env {
            let Some((section, key)) = name.strip_prefix("AERIE_").and_then(|n| n.split_once("__"))
            else {
                continue;
            };
            // Compose files and unit files cannot leave a variable out: empty is unset.
            if given.is_empty() {
                continue;
            }
            let full = format!("{section}.{key}").to_ascii_lowercase();
            match options().find(|opt| opt.key == full) {
                Some(opt) => {
                    self.insert(opt, env_value(opt.shape, given), Origin::Environment(name.clone()))
                }
                None => self.unknown(format!("env {name}"), &full, &full),
            }
        }
    }

    fn apply(&mut self) {
        for opt in options() {
            let Some(setting) = self.config.settings.get(opt.key).cloned() else {
                continue;
            };
            let Err(faults) = (opt.apply)(&mut self.config, &setting.value) else {
                continue;
            };
            for Fault { line, message } in faults {
                let place = match (&setting.origin, line) {
                    (Origin::File(path, _), Some(line)) => format!("{}:{line}", path.display()),
                    (origin, _) => origin.to_string(),
                };
                // Faults inside a list begin with their index, which belongs to the key.
                let (index, message) = match message.split_once(": ") {
                    Some((index, rest)) if index.starts_with('[') => {
                        (index.to_owned(), rest.to_owned())
                    }
                    _ => (String::new(), message),
                };
                self.error(place, Some(format!("{}{index}", opt.key)), message);
            }
        }
    }

    /// Images are ours unless the configuration says otherwise; so are videos where Bluesky has none.
    fn derive_images(&mut self) {
        if self.config.images.cache_path.as_os_str().is_empty() {
            let path = self.config.store.path.join("images");
            self.derived("images.cache_path", Value::text(path.to_string_lossy()), "store.path");
            self.config.images.cache_path = path;
        }
        let public_url = self.config.server.public_url.clone();
        if self.config.images.cdn_base.is_empty() {
            self.config.images.cdn_base = format!("{public_url}/img");
            let value = Value::text(&self.config.images.cdn_base);
            self.derived("images.cdn_base", value, "server.public_url");
        }
        if self.config.images.video_base.is_empty() {
            // Nobody else has the videos of the public network; another network has nothing of Bluesky's.
            let (base, from) = match self.config.network.plc_url == PUBLIC_DIRECTORY {
                true => (BLUESKY_VIDEOS.to_owned(), "network.plc_url"),
                false => (format!("{public_url}/vid"), "server.public_url"),
            };
            self.derived("images.video_base", Value::text(&base), from);
            self.config.images.video_base = base;
        }
    }

    /// Defaults that come from other options, and what is read from files that options name.
    fn derive(&mut self) {
        if self.config.settings.get("server.did").is_none() {
            let value = Value::text(web_did(&self.config.server.public_url));
            match parse::did(&value) {
                Ok(did) => self.config.server.did = did,
                Err(_) => {
                    let message = format!("{value} is not valid: set server.did");
                    let key = Some("server.did".to_owned());
                    return self.error("server.public_url".to_owned(), key, message);
                }
            }
            self.derived("server.did", value, "server.public_url");
        }
        if self.config.server.signing_key_file.as_os_str().is_empty() {
            let file = self.config.store.path.join("signing_key");
            self.derived(
                "server.signing_key_file",
                Value::text(file.to_string_lossy()),
                "store.path",
            );
            self.config.server.signing_key_file = file;
        }
        self.age_rules();
        self.derive_images();
        if self.config.push.vapid_key_file.as_os_str().is_empty() {
            let file = self.config.server.signing_key_file.with_file_name("vapid_key.pem");
            self.derived(
                "push.vapid_key_file",
                Value::text(file.to_string_lossy()),
                "server.signing_key_file",
            );
            self.config.push.vapid_key_file = file;
        }
        let admin = self.config.admin.clone();
        self.config.admin.password =
            self.secret("admin.password_file", admin.password, admin.password_file);
        let push = self.config.push.clone();
        self.config.push.secret = self.secret("push.secret_file", push.secret, push.secret_file);
        let backup = self.config.backup.clone();
        self.config.backup.secret_key =
            self.secret("backup.secret_key_file", backup.secret_key, backup.secret_key_file);
        let backup = &self.config.backup;
        let is_bucket = backup.place.as_ref().is_some_and(|place| place.starts_with("s3://"));
        if is_bucket && (backup.access_key.is_none() || backup.secret_key.is_none()) {
            let message =
                "a bucket needs backup.access_key, and backup.secret_key or secret_key_file";
            let key = "backup.where";
            self.error(self.origin(key), Some(key.to_owned()), message.to_owned());
        }
        if self.config.push.endpoint.is_some() && self.config.push.secret.is_none() {
            let message = "needs push.secret or push.secret_file too".to_owned();
            self.error(self.origin("push.endpoint"), Some("push.endpoint".to_owned()), message);
        }
        if self.config.scope.disk_budget > 0 && self.config.scope.mode == super::ScopeMode::Whole {
            let message = "needs scope.mode \"window\" or \"circle\": nothing is deleted otherwise";
            let key = "scope.disk_budget";
            self.error(self.origin(key), Some(key.to_owned()), message.to_owned());
        }
    }

    fn origin(&self, key: &'static str) -> String {
        self.config.settings.get(key).map(|s| s.origin.to_string()).unwrap_or_default()
    }

    /// A secret that is given itself, or in the first line of the file that `key` names.
    fn secret(
        &mut self,
        key: &'static str,
        itself: Option<Secret>,
        file: Option<PathBuf>,
    ) -> Option<Secret> {
        let Some(file) = file else { return itself };
        let fault = if itself.is_some() {
            let instead = key.trim_end_matches("_file");
            format!("set this or {instead}, not both")
        } else {
            match std::fs::read_to_string(&file) {
                Ok(text) => match text.lines().next().map(str::trim) {
                    Some(line) if !line.is_empty() => return Some(Secret::new(line.to_owned())),
                    _ => format!("{} has an empty first line", file.display()),
                },
                Err(cause) => format!("{}: {cause}", file.display()),
            }
        };
        self.error(self.origin(key), Some(key.to_owned()), fault);
        None
    }

    fn age_rules(&mut self) {
        let Some(file) = self.config.age_assurance.rules_file.clone() else {
            self.config.age_assurance.rules = AGE_RULES.to_vec();
            return;
        };
        match read_age_rules(&file) {
            Ok(rules) => self.config.age_assurance.rules = rules,
            Err(message) => {
                let origin = self.config.settings.get("age_assurance.rules_file");
                let origin = origin.map(|s| s.origin.to_string()).unwrap_or_default();
                let key = Some("age_assurance.rules_file".to_owned());
                self.error(origin, key, format!("{}: {message}", file.display()));
            }
        }
    }

    fn derived(&mut self, key: &'static str, value: Value, from: &'static str) {
        let setting = Setting { value, secret: false, origin: Origin::Derived(from) };
        self.config.settings.insert(key, setting);
    }
}

/// Reads rules of age assurance; clients get to see only what fits the lexicon.
fn read_age_rules(file: &Path) -> Result<Vec<u8>, String> {
    let text = std::fs::read(file).map_err(|cause| cause.to_string())?;
    let rules = serde_json::from_slice(&text).map_err(|cause| cause.to_string())?;
    let method = catalog().method("app.bsky.ageassurance.getConfig");
    if let Some(Err(invalid)) = method.map(|method| method.validate_output(&rules)) {
        return Err(invalid.to_string());
    }
    Ok(text)
}

/// A TOML value by itself.
fn parse_toml(source: &str) -> Option<Value> {
    let value = source.parse::<toml_edit::Value>().ok()?;
    let mut value = Value::from_toml(&value, source);
    value.line = None;
    Some(value)
}

/// Text of the environment as a value. What is not TOML stays text, and the option's parser says what it expected.
fn env_value(shape: Shape, given: &str) -> Value {
    match shape {
        Shape::Text => Value::text(given),
        Shape::List if !given.trim_start().starts_with('[') => Value {
            data: Data::List(given.split(',').map(|item| Value::text(item.trim())).collect()),
            line: None,
        },
        Shape::Plain | Shape::List | Shape::Rows => {
            parse_toml(given).unwrap_or_else(|| Value::text(given))
        }
    }
}

/// `did:web` of a URL's host; a port follows as `%3A`, see <https://atproto.com/specs/did>.
fn web_did(public_url: &str) -> String {
    let host = public_url.split_once("://").map_or(public_url, |(_, host)| host);
    format!("did:web:{}", host.to_ascii_lowercase().replace(':', "%3A"))
}

/// TOML's messages may have several lines; ours are one line each.
fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}
