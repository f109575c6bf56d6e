//! Lists of repos and hosts, a page at a time, and what a page becomes: jobs and a cursor, in one batch.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;

use super::fetch::FetchError;
use super::{LISTED, Setup};
use crate::net::{Limits, NetError, Response};
use crate::schema::{ActorId, Edit, Rows};
use crate::store::{StoreError, Tx};
use crate::syntax::{Did, Tid};
use crate::work::repo_queue as jobs;
use crate::work::repo_queue::{Added, JobRow, Priority, SourceKind, SourceRow, SourceState};

/// Entries asked for at a time.
const PAGE: usize = 500;
/// Entries looked at in a page.
const MAX_ITEMS: usize = 5000;
const MAX_CURSOR: usize = 2000;
/// Pages in a row of nothing but repeats before a list is taken for endless.
const MAX_IDLE_PAGES: u64 = 200;
/// More than all accounts of the network.
const MAX_LISTED: u64 = 500_000_000;
/// From so many repos on, a list of which nine of ten fail is given up.
const SUSPECT: u64 = 5000;
/// Hosts taken from one relay.
const MAX_HOSTS: u64 = 100_000;
const LIMITS: Limits = Limits {
    max_bytes: 8 << 20,
    timeout: Duration::from_secs(60),
    redirects: 3,
    accept: Some("application/json"),
};

#[derive(Deserialize)]
struct ReposPage {
    cursor: Option<String>,
    repos: Vec<RepoItem>,
}

#[derive(Deserialize)]
struct RepoItem {
    #[serde(default)]
    did: String,
    #[serde(default)]
    rev: String,
    active: Option<bool>,
}

#[derive(Deserialize)]
struct HostsPage {
    cursor: Option<String>,
    hosts: Vec<HostItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HostItem {
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    account_count: u64,
    #[serde(default)]
    status: String,
}

/// What became of a page.
pub(crate) struct Applied {
    /// Repos that are to be fetched now.
    pub(crate) new: Vec<ActorId>,
    /// The list after it.
    pub(crate) row: SourceRow,
}

/// Reads the next page of a list. `told` gets every answer's status and header.
pub(crate) async fn next_page(
    setup: &Arc<Setup>,
    id: u32,
    row: &SourceRow,
    told: impl Fn(&Response),
) -> Result<Applied, FetchError> {
    let answer = setup.http.get_with(&url(row), &HeaderMap::new(), &LIMITS).await?;
    told(&answer);
    let unsupported = matches!(answer.status.as_u16(), 400 | 404 | 405 | 501);
    if row.kind == SourceKind::Hosts && row.cursor.is_empty() && unsupported {
        // A relay that does not tell its hosts, or a PDS: its own list has to do.
        let own = SourceRow { kind: SourceKind::Repos, ..row.clone() };
        return apply(setup, id, own, |_, _, _| Ok(Vec::new())).await;
    }
    let body = answer.success()?.body;
    let malformed = |_| FetchError::List("the answer is not the list that was asked for");
    if row.kind == SourceKind::Hosts {
        let page: HostsPage = serde_json::from_slice(&body).map_err(malformed)?;
        let plain = setup.http.allows_plain();
        let mut row = row.clone();
        advance(&mut row, page.cursor, page.hosts.len())?;
        apply(setup, id, row, move |tx, _, row| hosts(tx, row, &page.hosts, plain)).await
    } else {
        let page: ReposPage = serde_json::from_slice(&body).map_err(malformed)?;
        let mut row = row.clone();
        advance(&mut row, page.cursor, page.repos.len())?;
        let now = setup.clock.now_ms();
        apply(setup, id, row, move |tx, id, row| repos(tx, id, row, &page.repos, now)).await
    }
}

fn url(row: &SourceRow) -> String {
    let (method, collection) = match row.kind {
        SourceKind::Repos => ("listRepos", String::new()),
        SourceKind::Hosts => ("listHosts", String::new()),
        SourceKind::Collection => {
            ("listReposByCollection", format!("&collection={}", row.collection))
        }
    };
    let base = format!("{}/xrpc/com.atproto.sync.{method}?limit={PAGE}{collection}", row.url);
    if row.cursor.is_empty() {
        return base;
    }
    let mut cursor = url::form_urlencoded::Serializer::new(String::new());
    format!("{base}&{}", cursor.append_pair("cursor", &row.cursor).finish())
}

/// Moves the cursor, or sees that this was the end.
fn advance(row: &mut SourceRow, cursor: Option<String>, items: usize) -> Result<(), FetchError> {
    match cursor.filter(|cursor| !cursor.is_empty()) {
        Some(cursor) if cursor.len() > MAX_CURSOR => {
            Err(FetchError::List("the list's cursor is too long"))
        }
        Some(cursor) if cursor == row.cursor => {
            Err(FetchError::List("the list's cursor does not move"))
        }
        Some(cursor) if items > 0 => {
            row.cursor = cursor;
            Ok(())
        }
        _ => {
            row.cursor.clear();
            row.state = SourceState::Read;
            Ok(())
        }
    }
}

async fn apply(
    setup: &Arc<Setup>,
    id: u32,
    mut row: SourceRow,
    take: impl FnOnce(&mut Tx<'_>, u32, &mut SourceRow) -> Result<Vec<ActorId>, StoreError>
    + Send
    + 'static,
) -> Result<Applied, FetchError> {
    let applied = setup.writer.visible(move |tx| {
        if let Some(stored) = jobs::source(tx, id)? {
            // Stopped meanwhile, perhaps begun again since.
            if stored.state != SourceState::Reading || stored.started != row.started {
                return Ok(Applied { new: Vec::new(), row: stored });
            }
            // What was fetched meanwhile is counted in the stored row.
            (row.done, row.failed) = (stored.done, stored.failed);
        }
        let new = take(tx, id, &mut row)?;
        judge(&mut row);
        jobs::put_source(tx, id, &row);
        Ok(Applied { new, row })
    });
    applied.await.map_err(|_| FetchError::Closed(super::SinkClosed))
}

/// Writes down that a list is not read on.
pub(crate) async fn give_up(setup: &Setup, id: u32, row: SourceRow) {
    let write = move |tx: &mut Tx<'_>| {
        jobs::put_source(tx, id, &row);
        Ok(())
    };
    // An error means that everything ends.
    let _ = setup.writer.submit(write).await;
}

/// Gives a list up that has no end or is not worth it.
fn judge(row: &mut SourceRow) {
    let error = if row.idle_pages > MAX_IDLE_PAGES || row.listed > MAX_LISTED {
        "it repeats itself without an end"
    } else if row.failed > SUSPECT && row.failed / 9 > row.done {
        "nine of ten repos that it names cannot be fetched"
    } else {
        return;
    };
    row.state = SourceState::Failed;
    error.clone_into(&mut row.error);
}

fn repos(
    tx: &mut Tx<'_>,
    id: u32,
    row: &mut SourceRow,
    items: &[RepoItem],
    now: i64,
) -> Result<Vec<ActorId>, StoreError> {
    let (mut new, before) = (Vec::new(), row.bad);
    for item in items.iter().take(MAX_ITEMS) {
        row.listed += 1;
        let Ok(did) = Did::parse(&item.did) else {
            row.bad += 1;
            LISTED.inc("bad-did");
            continue;
        };
        let rev = Tid::parse(&item.rev).map_or(0, Tid::as_u64);
        let actor = tx.intern_actor(&did)?;
        let needed = is_needed(tx, actor, rev)?;
        if item.active == Some(false) && !lives(tx, actor)? {
            row.inactive += 1;
            LISTED.inc("inactive");
            if needed {
                jobs::sleep(tx, actor, id)?;
            }
            continue;
        }
        if !needed {
            row.known += 1;
            LISTED.inc("known");
            continue;
        }
        let job = JobRow { rev, source: id, ..JobRow::new(Priority::Listed, now) };
        if jobs::add(tx, actor, &job)? == Added::New {
            LISTED.inc("new");
            new.push(actor);
        } else {
            row.bad += 1;
            LISTED.inc("repeated");
        }
    }
    let repeats = row.bad.saturating_sub(before);
    row.idle_pages = if repeats as usize == items.len() { row.idle_pages + 1 } else { 0 };
    Ok(new)
}

/// Whether a repo that a list names at `rev` (0: unknown) has to be looked at.
fn is_needed(tx: &Tx<'_>, actor: ActorId, rev: u64) -> Result<bool, StoreError> {
    let held = tx.repo(actor)?;
    let current = held.is_some_and(|row| row.is_complete() && (rev == 0 || rev <= row.rev));
    Ok(!current && tx.actor(actor)?.is_none_or(|a| !a.status.is_gone()))
}

/// Whether the account was seen alive, whatever the list says: it may have moved to another host, or come back since the
/// list was made. A list alone says nothing for good, so it hides no account.
fn lives(tx: &Tx<'_>, actor: ActorId) -> Result<bool, StoreError> {
    Ok(tx.actor(actor)?.is_some_and(|row| row.is_active()))
}

fn hosts(
    tx: &mut Tx<'_>,
    row: &mut SourceRow,
    items: &[HostItem],
    plain: bool,
) -> Result<Vec<ActorId>, StoreError> {
    let before = row.bad;
    let mut all = jobs::sources(tx)?;
    for item in items.iter().take(MAX_ITEMS) {
        row.listed += 1;
        let Some(url) = host_url(&item.hostname, plain) else {
            row.bad += 1;
            LISTED.inc("bad-host");
            continue;
        };
        if row.listed > MAX_HOSTS || matches!(item.status.as_str(), "offline" | "banned") {
            row.inactive += 1;
            continue;
        }
        let mut new = SourceRow::new(SourceKind::Repos, &url, "", row.started);
        new.expected = item.account_count;
        match jobs::start_source(tx, &mut all, &new).1 {
            true => row.done += 1,
            false => row.known += 1,
        }
    }
    let repeats = row.bad.saturating_sub(before);
    row.idle_pages = if repeats as usize == items.len() { row.idle_pages + 1 } else { 0 };
    Ok(Vec::new())
}

/// `https` of a plain host name. A local network names its hosts with ports, and without TLS.
fn host_url(hostname: &str, plain: bool) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
    if hostname.is_empty() || hostname.len() > 253 || !hostname.bytes().all(allowed) {
        return None;
    }
    let local = hostname.starts_with("localhost") || hostname.starts_with("127.");
    let scheme = if plain && local { "http" } else { "https" };
    let url = url::Url::parse(&format!("{scheme}://{hostname}")).ok()?;
    url.host_str().map(|_| url.as_str().trim_end_matches('/').to_owned())
}

/// The base of a URL that an operator gave: scheme, host and port.
pub(crate) fn base_url(text: &str) -> Result<String, NetError> {
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let bad = || NetError::Url(text.clone());
    let swapped = match text.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        _ => text.clone(),
    };
    let url = url::Url::parse(&swapped).map_err(|_| bad())?;
    let http = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    if !http || !url.username().is_empty() {
        return Err(bad());
    }
    Ok(url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (given, want) in [
            ("https://pds.example/", Some("https://pds.example")),
            ("pds.example", Some("https://pds.example")),
            ("ws://127.0.0.1:2590/xrpc/x?y", Some("http://127.0.0.1:2590")),
            ("wss://relay.example", Some("https://relay.example")),
            ("ftp://x.example", None),
            ("https://u:p@x.example", None),
        ] {
            assert_eq!(base_url(given).ok().as_deref(), want, "{given}");
        }
        for (given, plain, want) in [
            ("pds.example", false, Some("https://pds.example")),
            ("localhost:2583", true, Some("http://localhost:2583")),
            ("localhost:2583", false, Some("https://localhost:2583")),
            ("a/b", false, None),
            ("a@b", false, None),
            ("", false, None),
            ("x:99999", false, None),
        ] {
            assert_eq!(host_url(given, plain).as_deref(), want, "{given}");
        }
    }

    #[test]
    fn a_list_ends_or_moves_on() {
        let start = || SourceRow {
            cursor: "a".into(),
            ..SourceRow::new(SourceKind::Repos, "https://a", "", 1)
        };
        for (cursor, items, want) in [
            (Some("b"), 1, Ok(("b", SourceState::Reading))),
            (Some("b"), 0, Ok(("", SourceState::Read))),
            (Some(""), 3, Ok(("", SourceState::Read))),
            (None, 3, Ok(("", SourceState::Read))),
            (Some("a"), 3, Err(())),
        ] {
            let mut row = start();
            let got = advance(&mut row, cursor.map(str::to_owned), items).map_err(drop);
            assert_eq!(got.map(|()| (row.cursor.as_str(), row.state)), want, "{cursor:?} {items}");
        }
        assert!(advance(&mut start(), Some("x".repeat(MAX_CURSOR + 1)), 1).is_err());
        let mut row = SourceRow { cursor: "a&b=c".into(), ..start() };
        assert!(url(&row).ends_with("listRepos?limit=500&cursor=a%26b%3Dc"));
        (row.failed, row.done) = (6000, 10);
        judge(&mut row);
        assert_eq!(row.state, SourceState::Failed);
    }
}
