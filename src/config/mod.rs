//! The configuration: a file, the environment and built-in defaults, made into one typed [`Config`].
//!
//! Everything comes from one table (`options`): parsing, defaults, environment names, `config.example.toml`, the output
//! of `config show` and the errors of `config check`. The environment wins over the file, the file over the defaults. It
//! does not know what the options do, and reads no file but the configuration and those that it names.
//!
//! # Invariants
//! - Each option is in the table once, and every consumer walks the table.
//! - A [`Secret`] never appears in output, whatever formats it.
//! - All errors are found in one pass, not only the first.

mod entries;
mod example;
mod exposed;
mod load;
mod manual;
pub mod memory;
mod options;
mod parse;
mod sections;
mod settings;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::crypto::PublicKey;
use crate::syntax::{Did, SyntaxError};

pub use example::{example, written};
pub use load::{ConfigError, ConfigErrors, Sources, load};
pub use manual::manual;
pub use settings::{Origin, Setting};

/// All options with their values. Made by [`load`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What clients see.
    pub server: Server,
    /// Access to the admin endpoints.
    pub admin: Admin,
    /// The index on disk.
    pub store: Store,
    /// Where data comes from.
    pub network: Network,
    /// Labelers.
    pub labels: Labels,
    /// Moderation and verification.
    pub moderation: Moderation,
    /// Age assurance.
    pub age_assurance: AgeAssurance,
    /// Who may show a link as live.
    pub live_now: Vec<LiveNow>,
    /// How search keeps up.
    pub search: Search,
    /// What is suggested first.
    pub discovery: Discovery,
    /// Pages for people.
    pub pages: Pages,
    /// How much of the network is kept.
    pub scope: Scope,
    /// Images and videos.
    pub images: Images,
    /// Caps on one request.
    pub limits: Limits,
    /// Posts whose content is kept here.
    pub community: Community,
    /// Notifications to devices.
    pub push: Push,
    /// Copies.
    pub backup: Backup,
    /// Whom to tell when something needs the operator.
    pub alerts: Alerts,
    /// Logging.
    pub log: Log,
    settings: settings::Settings,
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Scheme, host and port, without a trailing slash.
    pub public_url: String,
    /// This service's DID.
    pub did: Did,
    /// Further accepted audiences.
    pub alternative_dids: Vec<Did>,
    /// Accounts that see `debug` fields.
    pub debug_dids: Vec<Did>,
    /// Whose session tokens are accepted.
    pub entryway_key: Option<PublicKey>,
    /// Hex of a secp256k1 private key; may not exist yet.
    pub signing_key_file: PathBuf,
    /// Where reverse proxies are.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[admin]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admin {
    /// From `password` or from the first line of `password_file`.
    pub password: Option<Secret>,
    password_file: Option<PathBuf>,
}

/// `[store]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Store {
    /// Folder of the index.
    pub path: PathBuf,
    /// Bytes for caches, buffers and queues.
    pub memory_budget: u64,
    /// Bytes of free disk under which ingest stops.
    pub reserve: u64,
    /// Bytes of the file that holds some of the disk; 0 for none.
    pub reserve_file: u64,
    /// Days until the disk is full from which on to warn; 0 for never.
    pub warn_days: u32,
}

/// `[network]`. URLs have no trailing slash.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// `ws` or `wss` URLs of relays and PDSes.
    pub upstreams: Vec<String>,
    /// `ws` or `wss` URLs of Jetstream servers: unverified.
    pub jetstream: Vec<String>,
    /// PLC directory.
    pub plc_url: String,
    /// Whether its export is followed.
    pub plc_export: bool,
    /// Whether commits are verified.
    pub verify: bool,
    /// Whether private addresses and plain http are allowed.
    pub allow_private_addresses: bool,
    /// Whether what a reader asks for and the index lacks is fetched.
    pub fetch_on_read: bool,
    /// Bytes of what was fetched so that are kept, about; 0 for no limit.
    pub on_read_budget: u64,
    /// Where handles of certain suffixes are looked up.
    pub handle_overrides: Vec<HandleOverride>,
}

/// One entry of `network.handle_overrides`.
#[derive(Clone, Debug, PartialEq)]
pub struct HandleOverride {
    /// Lower case, with its leading dot.
    pub suffix: String,
    /// Scheme, host and port that answer for it.
    pub url: String,
}

/// `[labels]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    /// Labelers to follow.
    pub labelers: Vec<Labeler>,
    /// DIDs that apply when a request names none.
    pub default: Vec<Did>,
}

/// One entry of `labels.labelers`.
#[derive(Clone, Debug, PartialEq)]
pub struct Labeler {
    /// The labeler's DID, of any method.
    pub did: Did,
    /// `http(s)` or `ws(s)`; otherwise from the DID document.
    pub url: Option<String>,
    /// Otherwise from the DID document.
    pub signing_key: Option<PublicKey>,
}

/// `[moderation]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moderation {
    /// DID whose tokens may call `com.atproto.admin.*`.
    pub service_did: Option<Did>,
    /// DIDs whose verifications count.
    pub trusted_verifiers: Vec<Did>,
    /// Tags of records, by AT-URI.
    pub record_tags: Vec<SubjectTags>,
    /// Tags of accounts, by DID.
    pub actor_tags: Vec<SubjectTags>,
    /// Tags of replies that are shown apart from their thread.
    pub thread_tags_hide: Vec<String>,
    /// Tags of replies that come after others.
    pub thread_tags_bump_down: Vec<String>,
    /// Tags of posts that are found by who names their author.
    pub search_tags_hide: Vec<String>,
    /// Tags of posts that nobody else finds.
    pub search_tags_hide_all: Vec<String>,
}

/// One entry of `moderation.record_tags` or `moderation.actor_tags`.
#[derive(Clone, Debug, PartialEq)]
pub struct SubjectTags {
    /// An AT-URI or a DID.
    pub subject: String,
    /// The tags.
    pub tags: Vec<String>,
}

/// `[age_assurance]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgeAssurance {
    /// The rules as JSON (`app.bsky.ageassurance.defs#config`): those of `rules_file`, or Bluesky's.
    pub rules: Vec<u8>,
    rules_file: Option<PathBuf>,
    /// DIDs whose age the operator vouches for.
    pub assured: Vec<Did>,
}

/// One entry of `config.live_now`.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveNow {
    /// The account.
    pub did: Did,
    /// The sites.
    pub domains: Vec<String>,
}

/// `[search]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Search {
    /// From a change until it can be searched.
    pub commit_interval: Duration,
}

/// `[discovery]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Discovery {
    /// Accounts.
    pub follows: Vec<Did>,
    /// AT-URIs of feed generators.
    pub feeds: Vec<String>,
    /// AT-URIs of starter packs.
    pub starter_packs: Vec<String>,
    /// Accounts and feeds under a word.
    pub tagged: Vec<Tagged>,
    /// AT-URI of the feed generator that stands in for Bluesky's Discover.
    pub whats_hot: Option<String>,
}

/// `[pages]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pages {
    /// They are served.
    pub enabled: bool,
}

/// One entry of `discovery.tagged`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tagged {
    /// The word.
    pub tag: String,
    /// A DID or the AT-URI of a feed generator.
    pub subject: String,
    /// Which of them.
    pub is_feed: bool,
}

/// `[scope]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// What is stored.
    pub mode: ScopeMode,
    /// Age in days from which records go that touch nobody who is kept.
    pub days: u32,
    /// Bytes that the store is to stay under; 0 for no limit. Only with [`ScopeMode::Window`] and [`ScopeMode::Circle`].
    pub disk_budget: u64,
    /// Accounts that are members without having called.
    pub members: Vec<Did>,
    /// Who becomes one by calling.
    pub join: Join,
    /// How many members there are at most, besides those whom the operator names.
    pub max_members: u32,
    /// Of whom one member follows, so many are fetched and kept.
    pub max_follows: u32,
}

/// `scope.join`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// Everybody with a good token.
    #[default]
    Anyone,
    /// Only those whom the operator names.
    Listed,
}

impl Join {
    /// Every one with its name.
    pub const ALL: [(Self, &'static str); 2] = [(Self::Anyone, "anyone"), (Self::Listed, "listed")];
}

/// `scope.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScopeMode {
    /// Everything.
    #[default]
    Whole,
    /// Everything for some days, and all of members and those they follow.
    Window,
    /// What touches members and those they follow.
    Circle,
}

impl ScopeMode {
    /// Every mode with its name.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Whole, "whole"), (Self::Window, "window"), (Self::Circle, "circle")];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(mode, _)| *mode == self).map_or("", |(_, name)| name)
    }

    /// The mode of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(mode, _)| *mode)
    }
}

/// `[images]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Images {
    /// Folder of images that were made.
    pub cache_path: PathBuf,
    /// Most bytes in it; 0 for none.
    pub cache_size: u64,
    /// What image URLs begin with, without a trailing slash.
    pub cdn_base: String,
    /// What video URLs begin with, without a trailing slash.
    pub video_base: String,
}

/// `[limits]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Levels above a post in `getPostThreadV2`.
    pub max_thread_parents: u32,
    /// Most reply levels below a post in threads.
    pub max_thread_depth: u32,
    /// Requests of an address or account in five minutes; 0 for no limit.
    pub requests: u32,
    /// Connections of an address; 0 for no limit.
    pub connections: u32,
    /// Changes of private state of an account in an hour; 0 for no limit.
    pub writes: u32,
    /// Most muted accounts of an account, and most muted threads.
    pub mutes: u32,
    /// Most muted lists of an account.
    pub list_mutes: u32,
    /// Most bookmarks of an account.
    pub bookmarks: u32,
    /// Most activity subscriptions of an account.
    pub subscriptions: u32,
    /// Most drafts of an account.
    pub drafts: u32,
}

/// `[community]`. There is one if `list` or `hook` says who belongs to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Community {
    /// AT-URI of a list (`app.bsky.graph.list`).
    pub list: Option<String>,
    /// URL that is asked about each account.
    pub hook: Option<String>,
    /// Most posts of an account.
    pub posts: u32,
}

/// `[push]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Push {
    /// Where notifications are posted to.
    pub endpoint: Option<String>,
    /// What those requests are signed with, from `secret` or from the first line of `secret_file`. Never missing where
    /// there is an endpoint.
    pub secret: Option<Secret>,
    secret_file: Option<PathBuf>,
    /// From the event to the push.
    pub delay: Duration,
    /// Most notifications that a device or the endpoint gets for one account in a minute.
    pub per_minute: u32,
    /// PEM of a P-256 private key; may not exist yet.
    pub vapid_key_file: PathBuf,
}

/// `[backup]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backup {
    /// A folder, or `s3://bucket/prefix`; none without backups.
    pub place: Option<String>,
    /// Between two of the whole store; zero for never.
    pub every: Duration,
    /// Between two of private state; zero for never.
    pub private: Duration,
    /// Of each kind that stay.
    pub keep: u32,
    /// Younger ones stay too.
    pub keep_for: Duration,
    /// Recipients of age.
    pub encrypt_to: Vec<String>,
    /// Has identities of age.
    pub identity_file: Option<PathBuf>,
    /// Bytes that are read in a second; 0 for no limit.
    pub rate: u64,
    /// URL of the service that has the bucket.
    pub endpoint: Option<String>,
    /// Of the bucket.
    pub region: String,
    /// Name of its key.
    pub access_key: Option<String>,
    /// From `secret_key` or from the first line of `secret_key_file`.
    pub secret_key: Option<Secret>,
    /// Where that is.
    pub secret_key_file: Option<PathBuf>,
}

/// `[alerts]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerts {
    /// Where events are posted to.
    pub webhook: Option<String>,
}

/// `[log]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// A level or a list of directives.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself. Compare it in constant time.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Config {
    /// Before any option is applied. Every field is set by the table's defaults or by `load`.
    fn blank() -> Result<Self, SyntaxError> {
        Ok(Self {
            server: Server {
                listen: SocketAddr::from(([0, 0, 0, 0], 0)),
                public_url: String::new(),
                did: Did::parse("did:web:localhost")?,
                alternative_dids: Vec::new(),
                debug_dids: Vec::new(),
                entryway_key: None,
                signing_key_file: PathBuf::new(),
                trusted_proxies: Vec::new(),
            },
            admin: Admin::default(),
            store: Store::default(),
            network: Network::default(),
            labels: Labels::default(),
            moderation: Moderation::default(),
            age_assurance: AgeAssurance::default(),
            live_now: Vec::new(),
            search: Search::default(),
            discovery: Discovery::default(),
            pages: Pages::default(),
            scope: Scope::default(),
            images: Images::default(),
            limits: Limits::default(),
            community: Community::default(),
            push: Push::default(),
            backup: Backup::default(),
            alerts: Alerts::default(),
            log: Log::default(),
            settings: settings::Settings::default(),
        })
    }

    /// Every option in the order of the table, with its value and where that came from; `None` is unset.
    pub fn settings(&self) -> impl Iterator<Item = (&'static str, Option<&Setting>)> {
        options::options().map(|opt| (opt.key, self.settings.get(opt.key)))
    }

    /// The options that differ from `old` and take effect only at the next start.
    pub fn requires_restart(&self, old: &Config) -> Vec<&'static str> {
        let mut changed: Vec<_> = options::options()
            .filter(|opt| !opt.reload)
            .filter(|opt| self.settings.value(opt.key) != old.settings.value(opt.key))
            .map(|opt| opt.key)
            .collect();
        // The file may have another password in it although its name is the same.
        if changed.iter().all(|key| !key.starts_with("admin.")) && self.admin != old.admin {
            changed.push("admin.password_file");
        }
        if changed.iter().all(|key| !key.starts_with("push.")) && self.push != old.push {
            changed.push("push.secret_file");
        }
        changed
    }

    /// The options that differ from `old` and that a reload takes over.
    pub fn reloadable(&self, old: &Config) -> Vec<&'static str> {
        let mut changed: Vec<_> = options::options()
            .filter(|opt| opt.reload)
            .filter(|opt| self.settings.value(opt.key) != old.settings.value(opt.key))
            .map(|opt| opt.key)
            .collect();
        // The file may have other rules in it although its name is the same.
        let rules = "age_assurance.rules_file";
        if !changed.contains(&rules) && self.age_assurance.rules != old.age_assurance.rules {
            changed.push(rules);
        }
        changed
    }
}

/// The keys whose changes a reload takes over.
pub fn reloaded_keys() -> impl Iterator<Item = &'static str> {
    options::options().filter(|opt| opt.reload).map(|opt| opt.key)
}

/// The valid name most like `given`.
fn nearest<'a>(given: &str, valid: impl IntoIterator<Item = &'a str>) -> &'a str {
    let score = |name: &str| strsim::normalized_damerau_levenshtein(given, name);
    valid.into_iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or_default()
}

#[cfg(test)]
mod tests;
