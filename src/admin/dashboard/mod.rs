//! The dashboard: one page that shows what the server does, and the actions on it. Who may see it is `xrpc`'s matter.
//!
//! ```text
//! status document, samples, log, callers -> sections -> page, or what of it has changed
//! form -> act -> Commands (as from the shell)
//! ```
//!
//! # Invariants
//! - What every viewer sees is made once for all who ask within [`FRESH`].
//! - An action is one of the shell's commands: nothing can be done here alone.

mod chart;
mod sections;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use maud::{Markup, html};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::protocol::Request;
use super::socket::Handler;
use crate::config::Config;
use crate::login::Visitor;
use crate::ops::Samples;
use crate::ops::format::{list, text, whole};
use crate::pages::Site;
use crate::pages::operator::{self, Reader, token};
use crate::private::Role;
use crate::telemetry::callers::Callers;
use crate::telemetry::recent;
use crate::threads::Clock;
use sections::{Facts, SECTIONS, Section};

/// What was made so recently is still good.
const FRESH: Duration = Duration::from_millis(1900);
/// Members that are listed.
const MOST_MEMBERS: usize = 200;

/// The parts of the page that change, by their places.
pub type Places = Vec<(&'static str, String)>;

/// A key of the configuration: its name, its value (none that is secret), and where that comes from.
type Setting = (&'static str, String, String);

/// What the dashboard is made of.
pub struct Sources {
    /// The status document; must not block for long.
    pub status: Box<dyn Fn() -> Value + Send + Sync>,
    /// A day of minutes.
    pub samples: Arc<Samples>,
    /// Different callers.
    pub callers: Arc<Callers>,
    /// The time.
    pub clock: Clock,
    /// Where this server is.
    pub url: String,
}

/// The dashboard.
pub struct Dashboard {
    sources: Arc<Sources>,
    /// Carries actions out.
    commands: Arc<Handler>,
    settings: ArcSwap<Vec<Setting>>,
    made: Mutex<Option<(Instant, Made)>>,
}

/// What was made of a look at everything.
#[derive(Clone, Default)]
struct Made {
    places: Arc<Places>,
    /// URLs of the upstreams.
    upstreams: Arc<Vec<String>>,
}

impl Dashboard {
    /// Over these sources, with actions that `commands` carries out.
    #[must_use]
    pub fn new(sources: Sources, commands: Arc<Handler>, config: &Config) -> Self {
        let settings = ArcSwap::from_pointee(settings(config));
        Self { sources: Arc::new(sources), commands, settings, made: Mutex::default() }
    }

    /// The configuration was read again.
    pub fn reload(&self, config: &Config) {
        self.settings.store(Arc::new(settings(config)));
    }

    /// The parts of the page that change.
    pub async fn now(&self) -> Arc<Places> {
        self.made().await.places
    }

    async fn made(&self) -> Made {
        let mut made = self.made.lock().await;
        if let Some((at, made)) = &*made
            && at.elapsed() < FRESH
        {
            return made.clone();
        }
        let sources = Arc::clone(&self.sources);
        let new = tokio::task::spawn_blocking(move || sources.look()).await.unwrap_or_default();
        *made = Some((Instant::now(), new.clone()));
        new
    }

    /// The whole page.
    pub async fn page(&self, visitor: &Visitor) -> String {
        let Made { places, upstreams } = self.made().await;
        let members = self.ask(&json!({ "command": "member.list" })).await;
        let (name, role) = (visitor.name.as_str(), visitor.role.name());
        let reader = Reader { name, role, token: &visitor.token };
        let content = html! {
            div.state { h1 { "Dashboard" } p #live role="status" { "As of when this page was opened" } }
            @if visitor.role >= Role::Admin { (actions(reader, &upstreams)) }
            div.desk {
                @for section in SECTIONS {
                    @let html = places.iter().find(|(place, _)| *place == section.place);
                    section .wide[section.wide] {
                        h2 { (section.title) }
                        div id=(section.place) {
                            @if let Some((_, html)) = html { (maud::PreEscaped(html)) }
                        }
                    }
                }
                section { h2 { "Members" } (list_of_members(&members)) }
                section.wide { h2 { "Configuration" } (configuration(&self.settings.load())) }
            }
        };
        let site = Site { url: &self.sources.url };
        operator::frame(site, "Dashboard", Some(reader), true, &content)
    }

    async fn ask(&self, request: &Value) -> Result<Value, String> {
        let request: Request =
            serde_json::from_value(request.clone()).map_err(|error| error.to_string())?;
        (self.commands)(request).await
    }

    /// Carries an action out and says what came of it, in a sentence; `None` if there is none of this name.
    pub async fn act(
        &self,
        action: &str,
        form: &[(String, String)],
    ) -> Option<Result<String, String>> {
        let field = |name: &str| {
            let found = form.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.trim()).unwrap_or_default()
        };
        let (request, done) = match action {
            "reconnect" => (
                json!({ "command": "ingest.reconnect", "url": field("upstream") }),
                format!("Connecting to {} anew.", field("upstream")),
            ),
            "pause" => (
                json!({ "command": "ingest.pause" }),
                "Nothing new is taken in until you resume it or the server starts again. Reads go on.".to_owned(),
            ),
            "resume" => (json!({ "command": "ingest.resume" }), "What is new is taken in again.".to_owned()),
            "resync" => (
                json!({ "command": "repo.resync", "repos": [field("repo")] }),
                format!("The repo of {} is fetched anew, before any other.", field("repo")),
            ),
            "retention-plan" => (
                json!({ "command": "retention.plan", "mode": null, "days": null, "budget": null }),
                "What retention would take away is being counted: see \"Search and scope\".".to_owned(),
            ),
            "reload" => (
                json!({ "command": "config.reload" }),
                "The configuration is being read again: the log says what came of it.".to_owned(),
            ),
            _ => return None,
        };
        let answer = self.ask(&request).await;
        // What is seen next is of after it.
        *self.made.lock().await = None;
        Some(answer.and_then(|answer| said(&answer).map_or(Ok(done), Err)))
    }
}

/// Why nothing came of a command that was carried out.
fn said(answer: &Value) -> Option<String> {
    let unusable = answer.get("unusable")?.as_array()?;
    let why: Vec<&str> = unusable.iter().filter_map(Value::as_str).collect();
    if !why.is_empty() {
        return Some(why.join("; "));
    }
    let gone = answer.get("gone").and_then(Value::as_u64).unwrap_or(0) > 0;
    gone.then(|| "This account is deleted or opted out: there is nothing to be fetched.".to_owned())
}

impl Sources {
    fn look(&self) -> Made {
        let (status, callers) = ((self.status)(), self.callers.day());
        let (events, lines) = (recent::events(), recent::lines());
        let facts = Facts {
            status: &status,
            samples: &self.samples,
            callers: &callers,
            events: &events,
            lines: &lines,
            now_ms: self.clock.now_ms(),
        };
        let made = |section: &Section| (section.place, (section.make)(&facts).into_string());
        let upstreams = list(&status, "upstreams").iter().map(|u| text(u, "url").to_owned());
        Made {
            places: Arc::new(SECTIONS.iter().map(made).collect()),
            upstreams: Arc::new(upstreams.collect()),
        }
    }
}

/// The forms: each has the token of its reader.
fn actions(reader: Reader<'_>, upstreams: &[String]) -> Markup {
    let button = |action: &str, label: &str, text: &str| {
        html! {
            form action=(format!("/admin/do/{action}")) method="post" {
                (token(reader))
                label for=(action) { (label) }
                button id=(action) type="submit" { (text) }
            }
        }
    };
    html! {
        details.act open {
            summary { "Actions" }
            div.actions {
                @if !upstreams.is_empty() {
                    form action="/admin/do/reconnect" method="post" {
                        (token(reader))
                        label for="upstream" { "End a connection and make another" }
                        select #upstream name="upstream" {
                            @for url in upstreams { option { (url) } }
                        }
                        button type="submit" { "Reconnect" }
                    }
                }
                form action="/admin/do/resync" method="post" {
                    (token(reader))
                    label for="repo" { "Fetch the repo of an account anew" }
                    input #repo name="repo" required maxlength="2048" placeholder="DID or handle" autocomplete="off";
                    button type="submit" { "Resync" }
                }
                (button("pause", "Take nothing new in; reads go on", "Pause ingest"))
                (button("resume", "Go on where it was paused", "Resume ingest"))
                (button("retention-plan", "Count what retention would take away", "Retention dry run"))
                (button("reload", "Read the configuration again", "Reload"))
            }
        }
    }
}

fn list_of_members(members: &Result<Value, String>) -> Markup {
    let members = match members {
        Ok(members) => list(members, "members"),
        Err(error) => return html! { p.warn { (error) } },
    };
    html! {
        @if members.is_empty() { p.none { "None yet: who calls with a valid token becomes one, if the configuration lets them." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Members" {
                table {
                    caption.unseen { "Members" }
                    thead { tr { th scope="col" { "account" } th.n scope="col" { "follows" } } }
                    tbody {
                        @for member in members.iter().take(MOST_MEMBERS) {
                            tr {
                                th scope="row" {
                                    (text(member, "handle")) " "
                                    code { (text(member, "did")) }
                                }
                                td.n { (whole(member, "follows")) }
                            }
                        }
                    }
                }
            }
            @if members.len() > MOST_MEMBERS { p { "And " (members.len() - MOST_MEMBERS) " more." } }
        }
    }
}

/// Every key with its value, none of which is secret.
fn settings(config: &Config) -> Vec<Setting> {
    let setting = |(key, setting): (&'static str, Option<&crate::config::Setting>)| match setting {
        Some(set) => (key, set.to_json().to_string(), set.origin.to_string()),
        None => (key, "not set".to_owned(), String::new()),
    };
    config.settings().map(setting).collect()
}

fn configuration(settings: &[Setting]) -> Markup {
    html! {
        p { "As it was last read. What takes effect only at the next start is named in the log when it is reloaded." }
        div.scroll tabindex="0" role="region" aria-label="Configuration" {
            table {
                caption.unseen { "Configuration" }
                thead { tr { th scope="col" { "key" } th scope="col" { "value" } th scope="col" { "from" } } }
                tbody {
                    @for (key, value, origin) in settings {
                        tr { th scope="row" { (key) } td { code { (value) } } td { (origin) } }
                    }
                }
            }
        }
    }
}
