//! Pages for people: the views of this server as HTML that needs no script, and the RSS feed of an account.
//!
//! ```text
//! xrpc/html (path, limits, the functions behind the methods) -> views and their state -> here -> text
//! ```
//!
//! Pure, as `view` is. What a page shows is decided before, by the same functions that answer methods; who reads it is a
//! viewer without a login. What is left to decide here is how labels are heeded, since clients do that themselves:
//! `labels`. Does not know HTTP, the store, or the time.
//!
//! # Invariants
//! - Every text that comes from outside is escaped: nothing but the style sheet is written as it is (`tests`).
//! - No page runs or loads anything but its own style and pictures of this server's picture host
//!   ([`content_security_policy`]); those of operators run one script of ours besides ([`operator`]).
//! - A link that leads away has a scheme of the web, and says that this server does not vouch for it.

mod byline;
mod embed;
mod frame;
mod labels;
mod links;
pub mod operator;
mod post;
mod profile;
mod rss;
mod search;
mod sitemap;
mod text;
mod thread;
mod trends;

#[cfg(test)]
mod tests;

pub use frame::{Site, content_security_policy, failure};
pub use profile::{ProfilePage, Tab};
pub use rss::rss;
pub use search::SearchPage;
pub use sitemap::{Sitemap, sitemap_index};
pub use thread::thread;
pub use trends::{Now, TrendRow, home, trending};
