//! The option table: every key, once. Parsing, defaults, the environment, the example file, `config show` and
//! `config check` are all made from it.

mod backup;
mod moderation;
mod network;
mod operation;
mod search;
mod server;
mod store;

use super::Config;
use super::parse::Parsed;
use super::value::Value;

/// How a value is read from the environment, which has only text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// Taken as it is.
    Text,
    /// `true`, `false` or a number, as in TOML.
    Plain,
    /// A TOML list, or elements separated by commas.
    List,
    /// A TOML list of inline tables.
    Rows,
}

/// One option.
pub(crate) struct Opt {
    /// `section.name`.
    pub(crate) key: &'static str,
    pub(crate) shape: Shape,
    /// The default in TOML; `None` when the option is unset by default.
    pub(crate) default: Option<&'static str>,
    /// What the example file shows: `On` is active, `Off` commented out; without a value, the default.
    pub(crate) example: Example,
    /// Whether SIGHUP applies a change.
    pub(crate) reload: bool,
    /// Whether the value is never shown.
    pub(crate) secret: bool,
    pub(crate) doc: &'static str,
    pub(crate) apply: fn(&mut Config, &Value) -> Parsed<()>,
}

/// How the example file shows an option.
#[derive(Clone, Copy)]
pub(crate) enum Example {
    On,
    OnWith(&'static str),
    Off,
    OffWith(&'static str),
    /// Within its comment: for the few who know that they need it.
    Within(&'static str),
}

/// An option that is neither secret nor reloaded, commented out in the example; rows of the table vary this.
const BASE: Opt = Opt {
    key: "",
    shape: Shape::Text,
    default: None,
    example: Example::Off,
    reload: false,
    secret: false,
    doc: "",
    apply: |_, _| Ok(()),
};

/// The table: what each section of the example file has, in its order.
const TABLE: &[&[Opt]] = &[
    server::SERVER,
    server::ADMIN,
    store::STORE,
    network::NETWORK,
    network::LABELS,
    moderation::MODERATION,
    moderation::AGE_ASSURANCE,
    moderation::CONFIG,
    search::SEARCH,
    search::DISCOVERY,
    server::PAGES,
    store::SCOPE,
    store::IMAGES,
    server::LIMITS,
    moderation::COMMUNITY,
    operation::PUSH,
    backup::BACKUP,
    operation::ALERTS,
    operation::LOG,
];

/// Every option, in the order of the table.
pub(crate) fn options() -> impl Iterator<Item = &'static Opt> {
    TABLE.iter().copied().flatten()
}

fn set<T>(slot: &mut T, parsed: Parsed<T>) -> Parsed<()> {
    *slot = parsed?;
    Ok(())
}
