//! Holds the source tree to its layering: who may use whom, who may name an engine, what every file carries.
//!
//! The rule of the table: a folder uses only lower ranks. The parsing is lexical on purpose: it sees
//! code that `cfg` leaves out of this build as well, and needs no compiler internals.
//! Items under `#[cfg(test)]` are not held to it, since tests build their fixtures from anywhere.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test: a panic is its failure")]
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
    (1, "telemetry", Uses::Ranks(&[0])),
    (1, "net", Uses::Ranks(&[0])),
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
    (6, "view", Uses::RanksAnd(&[0], &["hydrate", "moderation"])),
    (7, "xrpc", Uses::Ranks(&[0, 1, 2, 3, 5, 6])),
    (7, "push", Uses::Ranks(&[0, 1, 2, 3, 5, 6])),
    (7, "ops", Uses::Ranks(&[0, 1, 2, 3, 5, 6])),
    (8, "admin", Uses::RanksAnd(&[0, 1], &["ops", "store"])),
    (9, "runtime", Uses::All),
    (9, "cli", Uses::All),
    (9, "main", Uses::All),
];

/// Crates that stay behind one folder, so that they can be replaced there.
const ENGINES: &[(&str, &str)] = &[("fjall", "store")];

/// Folders that are pure functions over what they are given, and the names that would show otherwise.
const PURE: &[&str] = &["syntax", "crypto", "lexicon", "repo", "event", "view"];
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
        if let Some(name) = item.trim().strip_prefix("mod ").and_then(|m| m.strip_suffix(';')) {
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
    fn knows_test_modules_in_other_files() {
        let (code, external) = without_tests("#[cfg(test)]\nmod tests;\npub mod real;");
        assert_eq!((external, code.trim()), (vec!["tests".to_owned()], "pub mod real;"));
    }

    #[test]
    fn the_table_refuses_what_it_should() {
        let may = |from, to| allowed(row(from).expect("row"), row(to).expect("row"));
        assert!(may("repo", "syntax") && may("repo", "crypto") && may("cli", "xrpc"));
        assert!(may("view", "hydrate") && may("admin", "ops") && may("xrpc", "view"));
        assert!(!may("syntax", "repo") && !may("view", "store") && !may("index", "sync"));
        assert!(!may("hydrate", "index") && !may("xrpc", "ingest") && !may("admin", "xrpc"));
    }
}
