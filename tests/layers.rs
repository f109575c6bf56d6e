//! Holds the source tree to its layering: who may use whom, who may name an engine, what every file carries.
//!
//! The rule of the table: a folder uses only lower ranks. The parsing is lexical on purpose: it sees
//! code that `cfg` leaves out of this build as well, and needs no compiler internals.
//! Items under `#[cfg(test)]` are not held to it, since tests build their fixtures from anywhere.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test: a panic is its failure")]
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What a folder may use besides itself.
enum Uses {
    /// The entries above it in the table, of any rank: for ranks that form a chain.
    Above,
    /// Everything of these ranks.
    Ranks(&'static [u8]),
    /// Everything of these ranks, and these folders.
    RanksAnd(&'static [u8], &'static [&'static str]),
    /// The whole crate: for what ties it together.
    All,
}

/// Rank, folder, and what it may use; in pipeline order.
const TABLE: &[(u8, &str, Uses)] = &[
    (0, "syntax", Uses::Above),
    (0, "crypto", Uses::Above),
    (0, "lexicon", Uses::Above),
    (0, "repo", Uses::Above),
    (0, "event", Uses::Above),
    (1, "config", Uses::Ranks(&[0])),
    (1, "threads", Uses::Ranks(&[0])),
    (1, "telemetry", Uses::RanksAnd(&[0], &["threads"])),
    (1, "limits", Uses::RanksAnd(&[0], &["telemetry", "threads"])),
    (1, "net", Uses::RanksAnd(&[0], &["telemetry", "threads"])),
    (2, "store", Uses::Above),
    (2, "schema", Uses::Above),
    (2, "work", Uses::Above),
    (3, "identity", Uses::Above),
    (3, "changes", Uses::Above),
    (3, "private", Uses::Above),
    (3, "moderation", Uses::Above),
    (4, "ingest", Uses::Ranks(&[0, 1, 2, 3])),
    (4, "sync", Uses::Ranks(&[0, 1, 2, 3])),
    (4, "index", Uses::Ranks(&[0, 1, 2, 3])),
    (5, "hydrate", Uses::Ranks(&[0, 1, 2, 3])),
    (5, "media", Uses::Ranks(&[0, 1, 2, 3])),
    (5, "search", Uses::Ranks(&[0, 1, 2, 3])),
    (5, "drafts", Uses::Ranks(&[0, 1, 2, 3])),
    (5, "login", Uses::Ranks(&[0, 1, 2, 3])),
    (6, "view", Uses::RanksAnd(&[0], &["hydrate", "moderation"])),
    (6, "pages", Uses::RanksAnd(&[0], &["hydrate", "moderation", "view"])),
    (6, "discovery", Uses::RanksAnd(&[0, 1, 2, 3], &["hydrate"])),
    (7, "xrpc", Uses::Ranks(&[0, 1, 2, 3, 5, 6])),
    (7, "push", Uses::Ranks(&[0, 1, 2, 3, 5, 6])),
    (7, "backup", Uses::Ranks(&[0, 1, 2, 3])),
    (7, "ops", Uses::Ranks(&[0, 1, 2, 3, 5, 6])),
    (8, "upkeep", Uses::RanksAnd(&[0, 1, 2, 3, 4, 5], &["ops"])),
    (8, "admin", Uses::RanksAnd(&[0, 1, 2, 3, 5, 6], &["ops"])),
    (9, "doctor", Uses::Ranks(&[0, 1, 2, 3, 4, 5, 6, 7, 8])),
    (9, "runtime", Uses::All),
    (9, "cli", Uses::All),
    (9, "main", Uses::All),
];

/// Crates that stay behind one folder, so that they can be replaced there.
const ENGINES: &[(&str, &str)] = &[
    ("fjall", "store"),
    ("lsm_tree", "store"),
    ("sfa", "store"),
    ("tantivy", "search"),
    ("object_store", "backup"),
    ("age", "backup"),
];

/// Names that only those say who know what bytes a row has.
const ROW_NAMES: &[&str] = &["Ks", "ByteReader"];
/// Whose matter that is.
const ROW_FOLDERS: &[&str] = &["store", "schema", "private", "work", "changes"];
/// Files elsewhere that say one of them still. A file leaves this list with its last such name; none joins it.
const ROW_EXCEPTIONS: &[&str] = &[
    "hydrate/actor.rs",
    "hydrate/block_set.rs",
    "hydrate/edges.rs",
    "hydrate/feed.rs",
    "hydrate/follow_sets.rs",
    "hydrate/graph.rs",
    "hydrate/known_followers.rs",
    "hydrate/label_query.rs",
    "hydrate/labels.rs",
    "hydrate/list_membership.rs",
    "hydrate/notification.rs",
    "hydrate/opt_outs.rs",
    "hydrate/own_edges.rs",
    "hydrate/post.rs",
    "hydrate/prefetch.rs",
    "hydrate/reverse_edges.rs",
    "hydrate/sorted_pages.rs",
    "hydrate/starter_pack.rs",
    "hydrate/timeline.rs",
    "index/account.rs",
    "index/check/edges.rs",
    "index/check/lists.rs",
    "index/check/mod.rs",
    "index/check/private.rs",
    "index/check/records.rs",
    "index/check/report.rs",
    "index/check/small.rs",
    "index/check/trees.rs",
    "index/context.rs",
    "index/kept.rs",
    "index/members.rs",
    "index/mod.rs",
    "index/notify.rs",
    "index/posts.rs",
    "index/records.rs",
    "index/relevance.rs",
    "index/repo_contents.rs",
    "index/resync.rs",
    "index/retention.rs",
    "index/reverse_edges.rs",
    "index/rights.rs",
    "index/scope.rs",
    "upkeep/retention.rs",
];

/// How older formats become this one: whoever opened a store without it would refuse these.
const OPENERS: &[(&str, &str)] = &[("Store::open", "store"), ("Store::open_with", "schema")];

/// Folders that are pure functions over what they are given, and the names that would show otherwise.
const PURE: &[&str] = &["syntax", "crypto", "lexicon", "repo", "event", "view", "pages"];
const IMPURE: &[&str] = &[
    "tokio::",
    "std::net",
    "std::fs",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
];

/// The wall clock, which one folder reads for all, so that a test can set it everywhere.
const WALL_CLOCK: &[&str] = &["SystemTime::now", "Timestamp::now", "Zoned::now"];
const CLOCK_HOME: &str = "threads";

const MAX_LINES: usize = 800;

/// One source file: where it is, its text, and its code without comments, literals and test items.
struct Source {
    path: String,
    module: Vec<String>,
    text: String,
    code: String,
}

impl Source {
    fn folder(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let mut out = Vec::new();
    let mut test_modules = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).expect("below src").to_owned();
        let module = module_path(&relative);
        let text = fs::read_to_string(&file).expect("readable source");
        let (code, declared) = without_tests(&without_literals(&text));
        test_modules.extend(declared.into_iter().map(|name| {
            let mut path = module.clone();
            path.push(name);
            path
        }));
        out.push(Source { path: relative.display().to_string(), module, text, code });
    }
    out.retain(|s| !test_modules.iter().any(|t| s.module.starts_with(t)));
    assert!(out.len() > 10, "found only {} source files", out.len());
    out
}

fn collect(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// `store/batch.rs` is `[store, batch]`, `store/mod.rs` is `[store]`, `lib.rs` is the root.
fn module_path(relative: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        relative.iter().map(|p| p.to_string_lossy().trim_end_matches(".rs").to_owned()).collect();
    if parts.last().is_some_and(|p| p == "mod" || p == "lib") {
        parts.pop();
    }
    parts
}

/// Blanks out comments, strings and character literals; newlines stay.
fn without_literals(text: &str) -> String {
    let c: Vec<char> = text.chars().collect();
    let at = |i: usize| c.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < c.len() {
        let end = if at(i) == '/' && at(i + 1) == '/' {
            (i..c.len()).find(|&j| at(j) == '\n').unwrap_or(c.len())
        } else if at(i) == '/' && at(i + 1) == '*' {
            block_comment_end(&c, i)
        } else if let Some(end) = raw_string_end(&c, i) {
            end
        } else if at(i) == '"' {
            quoted_end(&c, i, '"')
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            quoted_end(&c, i, '\'')
        } else {
            out.push(at(i));
            i += 1;
            continue;
        };
        out.extend(c[i..end].iter().map(|&x| if x == '\n' { '\n' } else { ' ' }));
        i = end;
    }
    out
}

fn block_comment_end(c: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0, start);
    while i + 1 < c.len() {
        match (c[i], c[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') if depth == 1 => return i + 2,
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    c.len()
}

fn raw_string_end(c: &[char], start: usize) -> Option<usize> {
    let word_before = start > 0 && (c[start - 1].is_alphanumeric() || c[start - 1] == '_');
    let r = match c[start] {
        'r' if !word_before => start,
        'b' if !word_before && c.get(start + 1) == Some(&'r') => start + 1,
        _ => return None,
    };
    let hashes = c[r + 1..].iter().take_while(|&&x| x == '#').count();
    if c.get(r + 1 + hashes) != Some(&'"') {
        return None;
    }
    let body = r + 2 + hashes;
    let closes = |&i: &usize| {
        c[i] == '"' && c[i + 1..].iter().take(hashes).filter(|&&x| x == '#').count() == hashes
    };
    Some((body..c.len()).find(closes).map_or(c.len(), |i| i + 1 + hashes))
}

fn quoted_end(c: &[char], start: usize, quote: char) -> usize {
    let mut i = start + 1;
    while i < c.len() && c[i] != quote {
        i += if c[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(c.len())
}

/// Blanks out every item under `#[cfg(test)]`; also returns the names of test modules kept in other files.
fn without_tests(code: &str) -> (String, Vec<String>) {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    let mut external = Vec::new();
    let mut from = 0;
    while let Some(found) = out[from..].find(ATTRIBUTE) {
        let start = from + found;
        let end = item_end(&out, start + ATTRIBUTE.len());
        let item = &out[start + ATTRIBUTE.len()..end];
        let module = item.trim().strip_suffix(';').and_then(|item| item.rsplit_once("mod "));
        if let Some((visibility, name)) = module
            && (visibility.is_empty() || visibility.starts_with("pub"))
        {
            external.push(name.trim().to_owned());
        }
        let blank: String =
            out[start..end].chars().map(|x| if x == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
        from = start;
    }
    (out, external)
}

/// The end of the item that starts at `from`: its `;`, or the `}` that closes its first `{`.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (i, x) in code[from..].char_indices() {
        match x {
            ';' | ',' if depth == 0 => return from + i + 1,
            '{' | '(' | '[' => depth += 1,
            '}' if depth <= 1 => return from + i + 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    code.len()
}

/// The top-level modules that a file names, with the line: through `crate::`, `crate::{..}` and `super::`.
fn used_modules(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let mut out = Vec::new();
    for (at, rest) in after_each(code, "crate::") {
        out.extend(first_segments(rest).into_iter().map(|name| (line_of(code, at), name)));
    }
    let to_root = "super::".repeat(source.module.len());
    if !to_root.is_empty() {
        for (at, rest) in after_each(code, &to_root) {
            let names =
                first_segments(rest).into_iter().filter(|n| TABLE.iter().any(|r| r.1 == *n));
            out.extend(names.map(|name| (line_of(code, at), name)));
        }
    }
    out
}

fn after_each<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    code.match_indices(needle)
        .filter(|&(at, _)| {
            !code[..at].ends_with(|x: char| x.is_alphanumeric() || x == '_' || x == ':')
        })
        .map(move |(at, _)| (at, &code[at + needle.len()..]))
}

/// `store::Batch` gives `store`; `{net, store::{A, B}}` gives both; `MACRO` and `*` give themselves.
fn first_segments(path: &str) -> Vec<String> {
    let ident = |s: &str| -> String {
        s.trim_start().chars().take_while(|x| x.is_alphanumeric() || *x == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![ident(path)] };
    let (mut depth, mut start, mut out) = (0_usize, 0, Vec::new());
    for (i, x) in group.char_indices() {
        match x {
            '{' => depth += 1,
            '}' if depth == 0 => {
                out.push(ident(&group[start..i]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                out.push(ident(&group[start..i]));
                start = i + 1;
            }
            _ => {}
        }
    }
    out.retain(|name| !name.is_empty());
    out
}

/// Where a name stands by itself.
fn word(code: &str, name: &str) -> Option<usize> {
    let part = |x: char| x.is_alphanumeric() || x == '_';
    let whole =
        |at: usize| !code[..at].ends_with(part) && !code[at + name.len()..].starts_with(part);
    code.match_indices(name).map(|(at, _)| at).find(|at| whole(*at))
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

fn row(folder: &str) -> Option<usize> {
    TABLE.iter().position(|r| r.1 == folder)
}

fn allowed(from: usize, to: usize) -> bool {
    let (to_rank, to_name, _) = &TABLE[to];
    from == to
        || match &TABLE[from].2 {
            Uses::Above => to < from,
            Uses::Ranks(ranks) => ranks.contains(to_rank),
            Uses::RanksAnd(ranks, folders) => ranks.contains(to_rank) || folders.contains(to_name),
            Uses::All => true,
        }
}

fn report(what: &str, mut bad: Vec<String>) {
    bad.sort();
    bad.dedup();
    assert!(bad.is_empty(), "{what}:\n  {}", bad.join("\n  "));
}

#[test]
fn every_folder_uses_only_lower_ranks() {
    let mut bad = Vec::new();
    for source in sources().iter().filter(|s| s.folder() != "lib") {
        let Some(from) = row(source.folder()) else {
            bad.push(format!("src/{}: `{}` is not in the table", source.path, source.folder()));
            continue;
        };
        for (line, name) in used_modules(source) {
            match row(&name) {
                Some(to) if allowed(from, to) => {}
                Some(_) => bad.push(format!(
                    "src/{}:{line}: `{}` may not use `{name}`",
                    source.path,
                    source.folder()
                )),
                None => bad.push(format!(
                    "src/{}:{line}: `crate::{name}` is no folder of the table",
                    source.path
                )),
            }
        }
    }
    report("dependency rule", bad);
}

#[test]
fn engines_are_named_in_one_folder_only() {
    let mut bad = Vec::new();
    for source in sources() {
        for (engine, _) in ENGINES.iter().filter(|(_, home)| source.folder() != *home) {
            let path = format!("{engine}::");
            bad.extend(after_each(&source.code, &path).map(|(at, _)| {
                format!("src/{}:{}: {path}", source.path, line_of(&source.code, at))
            }));
        }
    }
    report("engine outside its folder", bad);
}

#[test]
fn nobody_else_names_keyspaces_or_reads_bytes_of_rows() {
    let mut bad = Vec::new();
    for source in sources().iter().filter(|s| !ROW_FOLDERS.contains(&s.folder())) {
        let named =
            ROW_NAMES.iter().find_map(|name| word(&source.code, name).map(|at| (*name, at)));
        match (named, ROW_EXCEPTIONS.contains(&source.path.as_str())) {
            (Some((name, at)), false) => {
                bad.push(format!("src/{}:{}: {name}", source.path, line_of(&source.code, at)));
            }
            (None, true) => bad.push(format!("src/{}: take it off the list", source.path)),
            _ => {}
        }
    }
    let paths: Vec<_> = sources().into_iter().map(|s| s.path).collect();
    let absent = ROW_EXCEPTIONS.iter().filter(|path| paths.iter().all(|p| p != *path));
    bad.extend(absent.map(|path| format!("src/{path}: it is no more; take it off the list")));
    report("bytes of rows outside of their folders", bad);
}

#[test]
fn stores_are_opened_with_their_migrations() {
    let mut bad = Vec::new();
    for source in sources().iter().filter(|s| !s.path.ends_with("_tests.rs")) {
        for (name, _home) in OPENERS.iter().filter(|(_, home)| source.folder() != *home) {
            let call = format!("{name}(");
            bad.extend(after_each(&source.code, &call).map(|(at, _)| {
                format!("src/{}:{}: {name}", source.path, line_of(&source.code, at))
            }));
        }
    }
    report("use `schema::migrations::open`", bad);
}

#[test]
fn pure_folders_have_no_io_and_no_clock() {
    let mut bad = Vec::new();
    for source in sources().iter().filter(|s| PURE.contains(&s.folder())) {
        for name in IMPURE {
            bad.extend(source.code.match_indices(name).map(|(at, _)| {
                format!("src/{}:{}: {name}", source.path, line_of(&source.code, at))
            }));
        }
    }
    report("I/O, runtime or clock in a pure folder", bad);
}

/// What may change private state: a change that was planned, a community post whose stub went, the rows of an account
/// that is deleted. Everything else in the folder that writes is visible there only.
const PRIVATE_WRITERS: &[(&str, &str)] = &[
    ("private/apply.rs", "within"),
    ("private/apply.rs", "apply"),
    ("private/apply.rs", "withdraw"),
    ("private/apply.rs", "forget"),
    ("private/portable.rs", "import"),
];

/// Who may name the keyspace of private state besides its folder: the engine, and those that count and check its rows.
const PRIVATE_READERS: &[&str] =
    &["schema/stats.rs", "index/check/private.rs", "index/check/small.rs", "work/refetch.rs"];

#[test]
fn private_state_is_changed_by_apply_only() {
    let mut bad = Vec::new();
    for source in sources().iter().filter(|s| s.folder() != "store") {
        if source.folder() == "private" {
            bad.extend(writers(&source.code).into_iter().filter_map(|(line, name)| {
                let known = PRIVATE_WRITERS.contains(&(source.path.as_str(), name.as_str()));
                (!known).then(|| format!("src/{}:{line}: `{name}` can be called", source.path))
            }));
            continue;
        }
        let reader = PRIVATE_READERS.contains(&source.path.as_str());
        for (at, _) in source.code.match_indices("Ks::Private") {
            let call = source.code[..at].trim_end();
            if !reader || [".put(", ".del(", ".update("].iter().any(|write| call.ends_with(write)) {
                bad.push(format!("src/{}:{}", source.path, line_of(&source.code, at)));
            }
        }
    }
    report("private state outside `private::apply`", bad);
}

/// Functions that others may call and that take a batch to change, with their lines.
fn writers(code: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for visible in ["pub fn ", "pub async fn ", "pub(crate) fn ", "pub(crate) async fn "] {
        for (at, _) in code.match_indices(visible) {
            let rest = &code[at + visible.len()..];
            let signature = &rest[..rest.find(['{', ';']).unwrap_or(rest.len())];
            if signature.contains("&mut Tx") {
                let name = signature.chars().take_while(|x| x.is_alphanumeric() || *x == '_');
                out.push((line_of(code, at), name.collect()));
            }
        }
    }
    out
}

#[test]
fn one_folder_reads_the_wall_clock() {
    let mut bad = Vec::new();
    for source in sources().iter().filter(|s| s.folder() != CLOCK_HOME) {
        for name in WALL_CLOCK {
            bad.extend(source.code.match_indices(name).map(|(at, _)| {
                format!("src/{}:{}: {name}", source.path, line_of(&source.code, at))
            }));
        }
    }
    report("the wall clock outside its folder: take a `threads::Clock`", bad);
}

#[test]
fn every_file_says_what_it_is() {
    let bad =
        sources().iter().filter(|s| !s.text.starts_with("//!")).map(|s| s.path.clone()).collect();
    report("files without a leading //!", bad);
}

#[test]
fn files_stay_readable() {
    let bad = sources()
        .iter()
        .filter(|s| s.text.lines().count() > MAX_LINES)
        .map(|s| format!("src/{}: {} lines", s.path, s.text.lines().count()))
        .collect();
    report("files over the limit", bad);
}

/// Files of one folder that use one another in a circle, so that none of them can be understood, tested or moved alone.
/// The list only shrinks: a new knot is untied before it lands, and one that came apart is taken out.
///
/// A subfolder counts as one file of its folder. What `mod.rs` defines itself may be used by all, what it re-exports
/// counts as a use of the file that it comes from.
const KNOTS: &[(&str, &[&str])] = &[
    ("index", &["gates", "notify", "posts", "records", "subscribed"]),
    ("ingest", &["feed", "status"]),
    // A change holds a row of any kind, and each kind's plans give changes.
    (
        "private",
        &[
            "access",
            "bookmarks",
            "change",
            "community",
            "drafts",
            "effects",
            "kinds",
            "members",
            "mutes",
            "opt_outs",
            "preferences",
            "priority",
            "registrations",
            "seen",
            "subscriptions",
            "takedowns",
            "timed",
        ],
    ),
    ("store", &["bulk", "cache", "db", "migrate", "read", "tx"]),
    ("view", &["actor", "feedgen", "graph"]),
    ("view", &["embed", "post"]),
    ("xrpc", &["app", "dispatch", "paths"]),
];

/// Every path below `crate::`, `self::` and `super::` that a file names, from the root of the crate.
fn used_paths(source: &Source) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    for (_, rest) in after_each(&source.code, "crate::") {
        out.extend(use_tree(rest));
    }
    for (_, rest) in after_each(&source.code, "self::") {
        out.extend(use_tree(rest).into_iter().map(|path| [&source.module[..], &path].concat()));
    }
    for (_, mut rest) in after_each(&source.code, "super::") {
        let mut home = &source.module[..source.module.len().saturating_sub(1)];
        while let Some(further) = rest.strip_prefix("super::") {
            (home, rest) = (&home[..home.len().saturating_sub(1)], further);
        }
        out.extend(use_tree(rest).into_iter().map(|path| [home, &path].concat()));
    }
    out
}

/// `a::{b::C, d as e}` gives `a b C` and `a d e`.
fn use_tree(text: &str) -> Vec<Vec<String>> {
    tree_at(text, &mut 0)
}

fn tree_at(text: &str, at: &mut usize) -> Vec<Vec<String>> {
    let skip_space = |at: &mut usize| {
        *at += text[*at..].len() - text[*at..].trim_start().len();
    };
    if text[*at..].starts_with('{') {
        *at += 1;
        let mut out = Vec::new();
        loop {
            skip_space(at);
            match text[*at..].chars().next() {
                None => return out,
                Some('}') => {
                    *at += 1;
                    return out;
                }
                Some(',') => *at += 1,
                Some(_) => {
                    let before = *at;
                    out.extend(tree_at(text, at));
                    if *at == before {
                        return out;
                    }
                }
            }
        }
    }
    let word = |at: &mut usize| -> String {
        let end = text[*at..].find(|x: char| !(x.is_alphanumeric() || x == '_' || x == '*'));
        let word = &text[*at..end.map_or(text.len(), |end| *at + end)];
        *at += word.len();
        word.to_owned()
    };
    let first = word(at);
    if first.is_empty() {
        return Vec::new();
    }
    if text[*at..].starts_with("::") {
        *at += 2;
        let below = tree_at(text, at);
        let with_first = |path: Vec<String>| [vec![first.clone()], path].concat();
        return match below.is_empty() {
            true => vec![vec![first]],
            false => below.into_iter().map(with_first).collect(),
        };
    }
    if text[*at..].starts_with(" as ") {
        *at += 4;
        return vec![vec![first, word(at)]];
    }
    vec![vec![first]]
}

/// Which files of each folder use which others.
type FileUses = BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>>;

fn uses_within_folders(sources: &[Source]) -> FileUses {
    let mut files: BTreeMap<&[String], BTreeSet<&String>> = BTreeMap::new();
    for source in sources {
        for depth in 1..source.module.len() {
            files.entry(&source.module[..depth]).or_default().insert(&source.module[depth]);
        }
    }
    // What `mod.rs` re-exports, by folder and name.
    let mut reexported: BTreeMap<(&[String], String), String> = BTreeMap::new();
    for source in sources {
        let Some(children) = files.get(&source.module[..]) else { continue };
        for (_, rest) in after_each(&source.code, "use ") {
            for path in use_tree(rest.strip_prefix("self::").unwrap_or(rest)) {
                if let [file, .., name] = &path[..]
                    && children.contains(file)
                {
                    reexported.insert((&source.module, name.clone()), file.clone());
                }
            }
        }
    }
    let mut out = FileUses::new();
    for source in sources {
        for path in used_paths(source) {
            for depth in 1..source.module.len().min(path.len()) {
                let (folder, file) = (&source.module[..depth], &source.module[depth]);
                if path[..depth] != *folder {
                    break;
                }
                let name = &path[depth];
                let used = match files[folder].contains(name) {
                    true => Some(name),
                    false => reexported.get(&(folder, name.clone())),
                };
                if let Some(used) = used.filter(|used| *used != file) {
                    let of = out.entry(folder.to_vec()).or_default();
                    of.entry(file.clone()).or_default().insert(used.clone());
                }
            }
        }
    }
    out
}

/// The circles of a graph: the largest sets in which each reaches each other.
fn circles(uses: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reachable = |from: &String| -> BTreeSet<String> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(at) = open.pop() {
            for next in uses.get(at).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let from: BTreeMap<&String, BTreeSet<String>> =
        uses.keys().map(|file| (file, reachable(file))).collect();
    let mut out: Vec<Vec<String>> = Vec::new();
    for (file, reached) in &from {
        if !reached.contains(*file) || out.iter().any(|circle| circle.contains(*file)) {
            continue;
        }
        let back = |other: &&String| from.get(other).is_some_and(|there| there.contains(*file));
        out.push(reached.iter().filter(back).cloned().collect());
    }
    out
}

#[test]
fn files_of_a_folder_do_not_use_one_another_in_a_circle() {
    let mut found = BTreeSet::new();
    for (folder, uses) in uses_within_folders(&sources()) {
        found.extend(circles(&uses).into_iter().map(|files| (folder.join("/"), files)));
    }
    let owned = |files: &[&str]| files.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>();
    let known: BTreeSet<_> =
        KNOTS.iter().map(|(folder, files)| ((*folder).to_owned(), owned(files))).collect();
    let new = found.difference(&known).map(|(f, files)| format!("new: (\"{f}\", &{files:?}),"));
    let gone =
        known.difference(&found).map(|(f, files)| format!("no longer: (\"{f}\", &{files:?}),"));
    report(
        "circles of files (a smaller one replaces its line in KNOTS)",
        new.chain(gone).collect(),
    );
}

/// The checks above are only as good as the reader below them.
mod reader {
    use super::*;

    fn source(module: &[&str], text: &str) -> Source {
        let (code, _) = without_tests(&without_literals(text));
        Source {
            path: String::new(),
            module: module.iter().map(|m| (*m).to_owned()).collect(),
            text: text.to_owned(),
            code,
        }
    }

    #[test]
    fn finds_the_modules_a_file_uses() {
        let cases: &[(&[&str], &str, &[&str])] = &[
            (&["a"], "use crate::store::Batch;", &["store"]),
            (&["a"], "use crate::{net, store::{A, B}, syntax::Did};", &["net", "store", "syntax"]),
            (&["a", "b"], "fn f() { crate::xrpc::serve(); }", &["xrpc"]),
            (&["a"], "pub(crate) fn f() {} // crate::xrpc", &[]),
            (&["a"], "/* crate::xrpc /* nested */ crate::net */", &[]),
            (&["a"], "const S: &str = \"crate::xrpc\"; const R: &str = r#\"crate::\"net\"#;", &[]),
            (&["a"], "const C: char = '\"'; use crate::net; const D: char = '\\'';", &["net"]),
            (&["a"], "fn f<'a>(x: &'a str) -> crate::event::E<'a> { todo() }", &["event"]),
            (
                &["a"],
                "#[cfg(test)]\nmod tests { use crate::xrpc; fn f() { {} } }\nuse crate::net;",
                &["net"],
            ),
            (&["a"], "#[cfg(test)]\nuse crate::xrpc::{A, B};\nuse crate::net;", &["net"]),
            (&["a"], "use super::store;", &["store"]),
            (&["a", "b"], "use super::store; use super::super::view;", &["view"]),
            (&["a"], "use mycrate::store; use other::crate_::x;", &[]),
        ];
        for (module, text, want) in cases {
            let got: Vec<String> =
                used_modules(&source(module, text)).into_iter().map(|u| u.1).collect();
            assert_eq!(got, *want, "{text}");
        }
    }

    #[test]
    fn finds_circles_through_groups_and_re_exports() {
        let uses = uses_within_folders(&[
            source(&["a"], "mod b; mod c; pub use b::{B, Other as O}; pub use d::D; pub struct A;"),
            source(&["a", "b"], "use super::{c::{self, C}, A};"),
            source(&["a", "c"], "use crate::a::O; use super::A;"),
            source(&["a", "d"], "use super::A; fn f() { super::c::f(); }"),
            source(&["a", "e", "x"], "use super::super::{D, e::y::Y}; use crate::z::b;"),
            source(&["a", "e", "y"], "fn f(x: super::x::X) {}"),
        ]);
        let of = |folder: &[&str], file: &str| -> Vec<&str> {
            let folder: Vec<String> = folder.iter().map(|f| (*f).to_owned()).collect();
            let uses = uses.get(&folder).and_then(|uses| uses.get(file));
            uses.into_iter().flatten().map(String::as_str).collect()
        };
        assert_eq!((of(&["a"], "b"), of(&["a"], "c")), (vec!["c"], vec!["b"]));
        assert_eq!((of(&["a"], "d"), of(&["a"], "e")), (vec!["c"], vec!["d"]));
        assert_eq!((of(&["a", "e"], "x"), of(&["a", "e"], "y")), (vec!["y"], vec!["x"]));
        let folder = |path: &[&str]| path.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>();
        assert_eq!(circles(&uses[&folder(&["a"])]), [folder(&["b", "c"])]);
        assert_eq!(circles(&uses[&folder(&["a", "e"])]), [folder(&["x", "y"])]);
    }

    #[test]
    fn knows_test_modules_in_other_files() {
        let (code, external) = without_tests("#[cfg(test)]\nmod tests;\npub mod real;");
        assert_eq!((external, code.trim()), (vec!["tests".to_owned()], "pub mod real;"));
        let (_, external) = without_tests("#[cfg(test)]\npub(in crate::a) mod testing;\nmod real;");
        assert_eq!(external, ["testing"]);
    }

    #[test]
    fn finds_what_can_be_called_to_write() {
        let code = "pub fn a(r: &R, x: u8) {}\npub(crate) fn b(\n    tx: &mut Tx<'_>,\n) {}\npub(super) fn c(tx: &mut Tx<'_>) {}";
        assert_eq!(writers(code), [(2, "b".to_owned())]);
    }

    #[test]
    fn finds_whole_words_only() {
        assert_eq!(word("use a::{Ks, B};", "Ks"), Some(8));
        assert_eq!(word("fn f(Ksx: xKs, Ks_: u8)", "Ks"), None);
    }

    #[test]
    fn the_table_refuses_what_it_should() {
        let may = |from, to| allowed(row(from).expect("row"), row(to).expect("row"));
        assert!(may("repo", "syntax") && may("repo", "crypto") && may("cli", "xrpc"));
        assert!(may("view", "hydrate") && may("admin", "ops") && may("xrpc", "view"));
        assert!(!may("syntax", "repo") && !may("view", "store") && !may("index", "sync"));
        assert!(!may("hydrate", "index") && !may("xrpc", "ingest") && !may("admin", "xrpc"));
        assert!(!may("admin", "sync") && !may("upkeep", "admin") && !may("upkeep", "xrpc"));
    }
}
