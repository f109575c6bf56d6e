//! What is not a method of XRPC: one table of paths with their verbs, who may ask, how often, when they are there, and
//! what answers.
//!
//! A new page is a row here and a function beside `site` or `images`. A path that no row has, or whose row is switched
//! off, is 404; a verb that its row does not have is 405.

use std::sync::OnceLock;

use futures_util::future::BoxFuture;
use http::header::{ALLOW, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::app::App;
use super::context::AppCtx;
use super::encode::{self, Accept};
use super::error::XrpcError;
use super::handshake::{self, SocketRow};
use super::html;
use super::images::{self, Asked};
use super::message::{Request, Response};
use super::operator::{self, Desk};
use super::reply::Reply;
use super::site::{self, Site};
use crate::limits::{Limit, Standing};
use crate::pages;

/// The verbs of what is only read.
const READ: &[&str] = &["GET", "HEAD"];
/// Those of a socket.
const GET: &[&str] = &["GET"];
/// Those of what is changed, and of what is read first.
const POST: &[&str] = &["POST"];
const READ_OR_POST: &[&str] = &["GET", "HEAD", "POST"];

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Anyone,
    /// Whoever has the operator's password (HTTP Basic).
    Admin,
}

/// When a path is there at all.
#[derive(Clone, Copy)]
enum On {
    Always,
    If(fn(&Site) -> bool),
    /// There are pages for people, and one is asked for.
    AsPage,
}

/// What answers. It runs on an I/O thread: a page must not block, the others wait for threads of their own.
#[derive(Clone, Copy)]
enum Answers {
    Page(PageFn),
    /// Who asks matters to it.
    Asker(AskerFn),
    File(FileFn),
    /// A page for people.
    Html(&'static html::Page),
    /// A page or an action for operators.
    Desk(&'static Desk),
    /// A socket, which the server carries.
    Socket(&'static SocketRow),
}

/// A row. Of two with the same path the first that is there answers.
struct Path {
    /// As it is written; `{x}` is any one part that is not empty, and `*` at the end any rest that is not empty.
    path: &'static str,
    verbs: &'static [&'static str],
    who: Who,
    on: On,
    /// Which limit counts who asks; none for those who see to it that this server is well.
    limit: Option<Limit>,
    answers: Answers,
}

type PageFn = fn(&Site, &AppCtx) -> Result<Reply, XrpcError>;
type AskerFn = fn(&AppCtx, &Request) -> Result<Reply, XrpcError>;
type FileFn = for<'a> fn(&'a AppCtx, Asked<'a>) -> BoxFuture<'a, Response>;

impl Path {
    const fn page(path: &'static str, page: PageFn) -> Self {
        let (limit, answers) = (Some(Limit::Requests), Answers::Page(page));
        Self { path, verbs: READ, who: Who::Anyone, on: On::Always, limit, answers }
    }

    const fn asker(path: &'static str, page: AskerFn) -> Self {
        let (limit, answers) = (Some(Limit::Requests), Answers::Asker(page));
        Self { path, verbs: READ, who: Who::Anyone, on: On::Always, limit, answers }
    }

    const fn html(path: &'static str, page: &'static html::Page) -> Self {
        let (on, limit, answers) =
            (On::If(Site::has_pages), Some(Limit::Requests), Answers::Html(page));
        Self { path, verbs: READ, who: Who::Anyone, on, limit, answers }
    }

    const fn desk(path: &'static str, verbs: &'static [&'static str], desk: &'static Desk) -> Self {
        let (limit, answers) = (Some(Limit::Requests), Answers::Desk(desk));
        Self { path, verbs, who: Who::Anyone, on: On::Always, limit, answers }
    }

    const fn socket(path: &'static str, row: &'static SocketRow) -> Self {
        let (limit, answers) = (Some(Limit::Requests), Answers::Socket(row));
        Self { path, verbs: GET, who: Who::Anyone, on: On::Always, limit, answers }
    }

    const fn file(path: &'static str, file: FileFn) -> Self {
        let (limit, answers) = (Some(Limit::Pictures), Answers::File(file));
        Self { path, verbs: READ, who: Who::Anyone, on: On::Always, limit, answers }
    }
}

const PATHS: &[Path] = &[
    Path { on: On::AsPage, ..Path::html("/", &html::HOME) },
    Path::page("/", Site::docs),
    Path::page("/docs", Site::docs),
    Path { on: On::AsPage, ..Path::html("/search", &html::SEARCH) },
    Path::html("/trending", &html::TRENDING),
    Path::html("/hashtag/{tag}", &html::HASHTAG),
    Path::html("/profile/{actor}", &html::PROFILE),
    Path::html("/profile/{actor}/rss", &html::RSS),
    Path::html("/profile/{actor}/post/{rkey}", &html::POST),
    Path::html("/external/sitemap/users.xml.gz", &html::SITEMAP),
    Path::html("/external/sitemap/users/{date}/{file}", &html::SITEMAP_USERS),
    Path::page("/robots.txt", Site::robots),
    Path::page("/favicon.ico", Site::icon),
    Path { limit: None, ..Path::page("/livez", Site::live) },
    Path { limit: None, ..Path::page("/readyz", Site::ready) },
    Path::asker("/whoami", site::whoami),
    Path::page("/push/vapid-key", Site::vapid_key),
    Path { on: On::If(Site::has_document), ..Path::page("/.well-known/did.json", Site::document) },
    Path { who: Who::Admin, limit: None, ..Path::page("/admin/status", Site::status) },
    Path { who: Who::Admin, limit: None, ..Path::page("/metrics", Site::metrics) },
    Path::desk("/login", READ_OR_POST, &operator::SIGN_IN),
    Path::desk("/login/{key}", READ_OR_POST, &operator::LINK),
    Path::desk("/logout", POST, &operator::SIGN_OUT),
    Path::desk("/admin", READ, &operator::DASHBOARD),
    Path::desk("/admin/do/{action}", POST, &operator::ACT),
    Path::socket("/admin/live", &operator::LIVE),
    Path::file("/img/*", images::image),
    Path::file("/blob/{did}/{cid}", images::blob),
    // Named like a method, but no lexicon has it.
    Path { limit: None, ..Path::page("/xrpc/_health", Site::health) },
];

/// What the rows are called where calls are counted.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PATHS.iter().map(|row| row.path)
}

/// `None` when no row has the path, or it is a method's. Says in `name` which row it is.
pub(super) async fn answer(
    app: &App,
    request: &Request,
    name: &OnceLock<&'static str>,
) -> Option<Response> {
    let path = request.uri.path();
    let below_xrpc = path.strip_prefix("/xrpc/");
    // No method begins like this: methods need not look through the rows.
    if below_xrpc.is_some_and(|name| !name.starts_with('_')) {
        return None;
    }
    let is_there = |row: &&Path| match row.on {
        On::Always => true,
        On::If(is_on) => is_on(&app.site),
        On::AsPage => app.site.has_pages() && html::is_wanted(&request.headers),
    };
    let named = |row: &'static Path| Some((row, row.parts(path)?));
    let (row, parts) = PATHS.iter().filter_map(named).find(|(row, _)| is_there(row))?;
    name.get_or_init(|| row.path);
    if !row.verbs.contains(&request.method.as_str()) {
        return below_xrpc.is_none().then(|| wrong_verb(row.verbs));
    }
    let standing = match admit(app, row, request) {
        Ok(standing) => standing,
        Err(error) => {
            return Some(match row.answers {
                Answers::Html(_) => html::failure(&app.ctx, row.path, error),
                Answers::Desk(_) => operator::failure(site(app), row.path, error),
                _ => encode::failure(row.path, error),
            });
        }
    };
    let accept = Accept::of(&request.method, &request.headers);
    let response = match row.answers {
        Answers::Page(page) => encode::respond(row.path, page(&app.site, &app.ctx), &accept),
        Answers::Asker(page) => encode::respond(row.path, page(&app.ctx, request), &accept),
        Answers::File(file) => {
            let asked = Asked { parts: &parts, accept: &accept, client: request.client };
            file(&app.ctx, asked).await
        }
        Answers::Html(page) => html::answer(&app.ctx, page, &parts, request, accept).await,
        Answers::Desk(desk) => operator::answer(&app.ctx, desk, &parts, request, &accept).await,
        Answers::Socket(row) => match handshake::answer(&app.ctx, row, request) {
            Ok(response) => return Some(response),
            Err(error) => encode::failure(row.bounds.name, error),
        },
    };
    Some(response.with_standing(standing, app.ctx.clock.now_ms()))
}

fn site(app: &App) -> pages::Site<'_> {
    pages::Site { url: &app.ctx.identity.public_url }
}

/// The answer for a path that nothing has.
pub(super) fn not_found(app: &App, request: &Request) -> Response {
    match app.site.has_pages() && html::is_wanted(&request.headers) {
        true => html::not_found(&app.ctx),
        false => site::not_found(),
    }
}

fn admit(app: &App, row: &Path, request: &Request) -> Result<Option<Standing>, XrpcError> {
    let ctx = &app.ctx;
    if row.who == Who::Admin && !ctx.auth.is_admin(&request.headers, request.client)? {
        let challenge = HeaderValue::from_static("Basic realm=\"admin\"");
        return Err(XrpcError::auth_required("").with_header(WWW_AUTHENTICATE, challenge));
    }
    let Some(limit) = row.limit else { return Ok(None) };
    ctx.take(limit, request.client)
}

impl Path {
    /// What a path has in the places that vary, if it is one of this row.
    fn parts<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
        if self.path == path {
            return Some(Vec::new());
        }
        let (mut pattern, mut rest, mut parts) = (self.path, path, Vec::new());
        loop {
            if pattern == "*" {
                parts.push(rest);
                return (!rest.is_empty()).then_some(parts);
            }
            let (wanted, next) = first(pattern);
            let (given, more) = first(rest);
            match wanted.starts_with('{') {
                true if !given.is_empty() => parts.push(given),
                false if given == wanted => {}
                _ => return None,
            }
            match (next, more) {
                (None, None) => return Some(parts),
                (Some(next), Some(more)) => (pattern, rest) = (next, more),
                _ => return None,
            }
        }
    }
}

/// What comes before the first slash, and what after it.
fn first(path: &str) -> (&str, Option<&str>) {
    path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)))
}

/// Plain text, since such a path is not of the protocol.
fn wrong_verb(verbs: &[&str]) -> Response {
    let mut response = site::plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    if let Ok(allowed) = HeaderValue::try_from(verbs.join(", ")) {
        response.headers.insert(ALLOW, allowed);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of a row.
    fn example(row: &Path) -> String {
        let of = |part: &str| match part {
            "*" => "a/b".to_owned(),
            part => part.replace(['{', '}'], "x"),
        };
        row.path.split('/').map(of).collect::<Vec<_>>().join("/")
    }

    #[test]
    fn no_path_is_there_twice() {
        let as_page = |row: &Path| matches!(row.on, On::AsPage);
        for row in PATHS {
            let path = example(row);
            let found =
                PATHS.iter().filter(|r| r.parts(&path).is_some() && as_page(r) == as_page(row));
            let found: Vec<_> = found.map(|r| r.path).collect();
            assert_eq!(found, [row.path], "{path}");
        }
    }

    #[test]
    fn parts_of_a_path_are_what_varies() {
        let row = |path| PATHS.iter().find(|row| row.path == path).unwrap();
        let (image, blob) = (row("/img/*"), row("/blob/{did}/{cid}"));
        assert_eq!(image.parts("/img/avatar/plain/x/y"), Some(vec!["avatar/plain/x/y"]));
        assert_eq!(blob.parts("/blob/did:plc:a/b"), Some(vec!["did:plc:a", "b"]));
        for path in ["/img/", "/img", "/imgs/a", "/blob/", "/blob/a", "/blob/a/", "/blob//b"] {
            assert_eq!((image.parts(path), blob.parts(path)), (None, None), "{path}");
        }
        for path in ["/blob/a/b/", "/blob/a/b/c", "/Blob/a/b", "/blobé/a/b"] {
            assert_eq!(blob.parts(path), None, "{path}");
        }
        let (account, post) = (row("/profile/{actor}"), row("/profile/{actor}/post/{rkey}"));
        assert_eq!(account.parts("/profile/did:plc:a"), Some(vec!["did:plc:a"]));
        assert_eq!(post.parts("/profile/a.b/post/3k"), Some(vec!["a.b", "3k"]));
        for path in
            ["/profile/a/posts/3k", "/profile/a/post", "/profile/a/post/", "/profile//post/3k"]
        {
            assert_eq!((account.parts(path), post.parts(path)), (None, None), "{path}");
        }
        assert_eq!(row("/").parts("/robots.txt"), None);
    }
}
