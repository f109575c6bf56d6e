//! The server itself: whether it runs and is well, its version, its daily exports, what it holds.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{Finding, Patient, Server};
use crate::threads::Clock;
use crate::upkeep::exports;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A daily export is older only if one was left out.
const EXPORT_AGE: Duration = Duration::from_secs(36 * 3600);
/// A server that has been up for so long has written one.
const FIRST_EXPORT_S: u64 = 3600;

pub(super) fn server(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    let found = match &patient.server {
        Server::Stopped => vec![Finding::warning(
            format!("no server is running on {}", patient.config.store.path.display()),
            "systemctl start aerie, or `aerie serve`; why it ended is in `journalctl -u aerie`",
        )],
        Server::Silent(why) => {
            vec![Finding::failed(
                format!("the server gives no answer: {why}"),
                "run this as the server's user (sudo -u aerie aerie doctor); if it is that, systemctl restart aerie",
            )]
        }
        Server::Running(status) => standing(status),
    };
    Box::pin(std::future::ready(found))
}

fn text<'a>(of: &'a Value, key: &str) -> Option<&'a str> {
    of.get(key).and_then(Value::as_str)
}

fn standing(status: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    let parts = status.get("parts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for part in parts.iter().filter(|part| text(part, "state") != Some("running")) {
        let [name, state] = ["name", "state"].map(|key| text(part, key).unwrap_or("?"));
        let error = text(part, "last_error").unwrap_or("no reason given");
        found.push(Finding::failed(
            format!("the part {name} is {state}: {error}"),
            "`journalctl -u aerie` has the whole of it; systemctl restart aerie",
        ));
    }
    if let Some(ingest) = text(status, "ingest").filter(|ingest| *ingest != "running") {
        let fix = "what it names has to go; ingest goes on by itself";
        found.push(Finding::failed(format!("ingest is {ingest}"), fix));
    }
    let reload = status.get("reload").unwrap_or(&Value::Null);
    if let Some(error) = text(reload, "error") {
        let says = format!("the last reload failed: {error}");
        found.push(Finding::failed(says, "mend it, `aerie config check`, systemctl reload aerie"));
    }
    let waiting = reload.get("waiting").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if !waiting.is_empty() {
        let keys: Vec<&str> = waiting.iter().filter_map(Value::as_str).collect();
        let says = format!("in the configuration and not in force: {}", keys.join(", "));
        found.push(Finding::warning(says, "systemctl restart aerie"));
    }
    if found.is_empty() {
        let up = status.get("uptime_s").and_then(Value::as_u64).unwrap_or(0);
        found.push(Finding::ok(format!(
            "it runs, for {} min, and so do all {} parts",
            up / 60,
            parts.len()
        )));
    }
    found
}

pub(super) fn version(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    let running = patient.status().and_then(|status| text(status, "version"));
    let found = match running {
        Some(running) if running != VERSION => Finding::warning(
            format!("aerie {running} is running and this is aerie {VERSION}"),
            "systemctl restart aerie, so that the installed one runs",
        ),
        Some(_) => Finding::ok(format!("aerie {VERSION}, as the server that is running")),
        None => Finding::ok(format!("aerie {VERSION}")),
    };
    Box::pin(std::future::ready(vec![found]))
}

pub(super) fn export(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    let store = &patient.config.store.path;
    let newest = exports(store).map(|files| files.last().cloned());
    let age = |file: &std::path::PathBuf| {
        let changed = std::fs::metadata(file).ok()?.modified().ok()?;
        Clock::system().file_time().duration_since(changed).ok()
    };
    let error = patient.status().and_then(|status| text(status.get("exports")?, "error"));
    let up = patient.status().and_then(|status| status.get("uptime_s")?.as_u64()).unwrap_or(0);
    let fix = "`aerie private export --out FILE` writes one now; the log says why the daily one is missing";
    let found = match (error, newest) {
        (Some(error), _) => {
            Finding::failed(format!("the daily export of private state fails: {error}"), fix)
        }
        (None, Err(cause)) => {
            Finding::skipped(format!("{}: {cause}; run this as the server's user", store.display()))
        }
        (None, Ok(Some(file))) => {
            let age = age(&file).unwrap_or_default();
            let says =
                format!("the last one is {} h old: {}", age.as_secs() / 3600, file.display());
            if age > EXPORT_AGE { Finding::failed(says, fix) } else { Finding::ok(says) }
        }
        (None, Ok(None)) if up > FIRST_EXPORT_S => {
            Finding::failed("private state was never exported", fix)
        }
        (None, Ok(None)) => Finding::ok("none yet: the server writes one a day"),
    };
    Box::pin(std::future::ready(vec![found]))
}

pub(super) fn counts(patient: &Patient) -> BoxFuture<'_, Vec<Finding>> {
    let fallen =
        patient.status().and_then(|status| status.get("counts")?.get("fallen")?.as_array());
    let found = match (patient.status(), fallen.map(Vec::as_slice)) {
        (None, _) => vec![Finding::skipped("the server does not run")],
        (Some(_), None | Some([])) => {
            vec![Finding::ok("nothing that is counted halved within a day without a reason")]
        }
        (Some(_), Some(fallen)) => fallen.iter().map(lost).collect(),
    };
    Box::pin(std::future::ready(found))
}

fn lost(of: &Value) -> Finding {
    let n = |key| of.get(key).and_then(Value::as_u64).unwrap_or(0);
    let what = text(of, "what").unwrap_or("?");
    Finding::failed(
        format!("{what}: {} within a day from {}, and nothing took them away", n("now"), n("was")),
        "stop the server and run `aerie db check`; the daily exports and your backups are from before",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::State;

    #[test]
    fn what_is_wrong_with_a_running_server_is_named() {
        let well = json!({"ingest": "running", "uptime_s": 600, "parts": [{"name": "a", "state": "running"}],
            "reload": {"applied": [], "waiting": [], "error": null}});
        let found = standing(&well);
        assert_eq!((found.len(), found[0].state), (1, State::Ok));
        let ill = json!({"ingest": "stopped: the disk is full", "uptime_s": 600,
            "parts": [{"name": "a", "state": "running"}, {"name": "b", "state": "ended", "last_error": "panic: x"}],
            "reload": {"waiting": ["server.listen"], "error": "config.toml:3: ?"}});
        let says: Vec<_> =
            standing(&ill).into_iter().map(|found| (found.state, found.says)).collect();
        let want = [
            (State::Failed, "the part b is ended: panic: x"),
            (State::Failed, "ingest is stopped: the disk is full"),
            (State::Failed, "the last reload failed: config.toml:3: ?"),
            (State::Warning, "in the configuration and not in force: server.listen"),
        ];
        assert_eq!(says, want.map(|(state, says)| (state, says.to_owned())));
    }

    #[test]
    fn what_fell_is_said_with_both_numbers() {
        let found = lost(&json!({"what": "posts", "was": 1000, "now": 400}));
        assert!(found.says.starts_with("posts: 400 within a day from 1000"), "{}", found.says);
    }
}
