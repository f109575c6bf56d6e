//! `aerie search`: what somebody who searches gets and why, and the indexes made anew.

use std::ops::ControlFlow;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use serde_json::Value;
use url::form_urlencoded;

use super::format::{list, number, text, whole};
use super::progress::{self, Far};
use super::{CliError, answer, print};
use crate::admin::protocol::{SearchQuery, SearchRebuild, SearchStatus, Status};
use crate::config::Sources;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Search posts as a user of this server does
    ///
    /// Words are all looked for. "two words" stand side by side, -word excludes, OR and brackets group. from: to:
    /// (a handle, me, following), domain: url: lang: since: until: (a date or a time), has: (images, video, link, quote,
    /// alt), is: (reply, quote, post), in: (likes, bookmarks, library), alt: #tag @handle narrow it down.
    Query {
        /// What is looked for
        query: String,
        /// In which order
        #[arg(long, value_enum, default_value = "top")]
        sort: Sort,
        /// How many
        #[arg(long, default_value = "25", value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        /// As which account, by DID or handle: whom it blocks, follows and what it liked count [default: nobody]
        #[arg(long = "as", value_name = "ACCOUNT")]
        viewer: Option<String>,
        /// Say how the query was understood, and what puts each post where it is
        #[arg(long)]
        explain: bool,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the indexes anew from the store
    ///
    /// Needed only if they are wrong without being damaged: what is damaged or of another version is made anew by
    /// itself. Searches are answered from what is there until it is done.
    Rebuild {
        /// Return at once; `aerie search status` shows how far it is
        #[arg(long)]
        detach: bool,
    },
    /// Show what can be searched, and whether it is being made anew
    Status {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sort {
    /// The best first
    Top,
    /// The newest first
    Latest,
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), CliError> {
    match &args.action {
        Action::Query { query, sort, limit, viewer, explain, json } => {
            let sort = match sort {
                Sort::Top => "top",
                Sort::Latest => "latest",
            };
            let parameters = form_urlencoded::Serializer::new(String::new())
                .append_pair("q", query)
                .append_pair("sort", sort)
                .append_pair("limit", &limit.to_string())
                .finish();
            let found = answer(sources, SearchQuery { parameters, viewer: viewer.clone() })?;
            print(&found, *json, |found| posts(found, *explain))
        }
        Action::Rebuild { detach } => {
            answer(sources, SearchRebuild {})?;
            if *detach {
                return Ok(());
            }
            wait(sources)?;
            print(&answer(sources, SearchStatus {})?, false, |status| line(status) + "\n")
        }
        Action::Status { json } => {
            print(&answer(sources, SearchStatus {})?, *json, |status| line(status) + "\n")
        }
    }
}

/// Waits until the indexes are made.
fn wait(sources: &Sources) -> Result<(), CliError> {
    let all = answer(sources, Status {})?;
    let rows = all.get("store").and_then(|store| store.get("rows"));
    let posts = rows.map_or(0.0, |rows| number(rows, "post_1"));
    progress::wait(Duration::from_millis(200), || {
        let status = answer(sources, SearchStatus {})?;
        if status.get("building") != Some(&Value::Bool(true)) {
            return Ok(ControlFlow::Break(()));
        }
        let share = (posts > 0.0).then(|| number(&status, "built") / posts);
        let line = format!("{} of about {posts} posts read", whole(&status, "built"));
        Ok(ControlFlow::Continue(Far { share, line }))
    })
}

/// How search is, on one line.
pub(super) fn line(status: &Value) -> String {
    let state = text(status, "state");
    let mut line = format!(
        "search: {}, {} posts, {} accounts, {} segments",
        if state == "ready" { state.to_owned() } else { state.to_uppercase() },
        whole(status, "posts"),
        whole(status, "actors"),
        whole(status, "segments")
    );
    if status.get("building") == Some(&Value::Bool(true)) {
        line += &format!(", being made anew: {} posts read", whole(status, "built"));
    }
    if status.get("held") == Some(&Value::Bool(true)) {
        line += ", HELD: the disk is short of room";
    }
    line
}

fn posts(found: &Value, explain: bool) -> String {
    let mut lines = Vec::new();
    if explain {
        lines.push(format!("looked for: {}", text(found, "understood")));
        if found.get("respelled") == Some(&Value::Bool(true)) {
            lines.push(
                "nothing has all of it, so words were looked for that may be meant".to_owned(),
            );
        }
        lines.push(format!("{} posts looked at for this page", whole(found, "lookedAt")));
    }
    lines.push(format!("{} found", whole(found, "hitsTotal")));
    let why = list(found, "why");
    for (n, post) in list(found, "posts").iter().enumerate() {
        let author = post.get("author").unwrap_or(&Value::Null);
        let record = post.get("record").unwrap_or(&Value::Null);
        lines.push(String::new());
        lines.push(format!("{}  @{}  {}", n + 1, text(author, "handle"), text(post, "indexedAt")));
        lines.push(format!("   {}", text(post, "uri")));
        lines.extend(text(record, "text").lines().map(|line| format!("   {}", shown(line))));
        if let Some(why) = why.get(n).filter(|_| explain) {
            lines.push(format!("   {}", score(why, post)));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Text of a stranger for a terminal.
fn shown(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}

fn score(why: &Value, post: &Value) -> String {
    let [popularity, fading, quality] =
        ["popularity", "fading", "quality"].map(|key| number(why, key));
    format!(
        "score {:.2} = {popularity:.2} for {} likes, {} reposts, {} quotes, {} replies - {fading:.2} for its age \
         {quality:+.0} for how the words stand",
        popularity - fading + quality,
        whole(post, "likeCount"),
        whole(post, "repostCount"),
        whole(post, "quoteCount"),
        whole(post, "replyCount"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_says_what_is_found_and_why() {
        let found = json!({
            "understood": "cats -from:me", "respelled": true, "hitsTotal": 1, "lookedAt": 3,
            "why": [{"popularity": 2.0, "fading": 0.5, "quality": -2}],
            "posts": [{
                "uri": "at://a/app.bsky.feed.post/1", "indexedAt": "2026-01-01T00:00:00Z", "likeCount": 3,
                "repostCount": 0, "quoteCount": 0, "replyCount": 0,
                "author": {"handle": "a.example"}, "record": {"text": "cats\u{1b}[2J\nand dogs"}
            }]
        });
        let page = posts(&found, true);
        for part in [
            "looked for: cats -from:me\n",
            "words were looked for that may be meant\n",
            "3 posts looked at",
            "1 found\n",
            "1  @a.example  2026-01-01",
            "   cats[2J\n   and dogs\n",
            "score -0.50 = 2.00 for 3 likes",
            "- 0.50 for its age -2 for how",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let plain = posts(&found, false);
        assert!(!plain.contains("score") && !plain.contains("looked"), "{plain}");
    }

    #[test]
    fn a_line_says_what_is_wrong() {
        let status = json!({"state": "building", "building": true, "built": 7, "posts": 5, "actors": 2,
            "segments": 3, "held": true});
        let line = line(&status);
        assert!(line.contains("BUILDING, 5 posts, 2 accounts, 3 segments"), "{line}");
        assert!(line.contains("7 posts read, HELD"), "{line}");
    }
}
