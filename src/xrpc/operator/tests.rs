//! Signing in and out, and what is refused of those who are not, or whose pages are not ours.

use http::header::{HOST, ORIGIN};
use http::{HeaderName, Method as Verb};

use super::*;
use crate::private::Role;
use crate::xrpc::App;
use crate::xrpc::testing::{Keys, context, request};

const OURS: &str = "https://appview.example";

struct Browser {
    app: App,
    cookie: Option<String>,
}

impl Browser {
    fn new() -> Self {
        Self { app: App::new(context(Arc::new(Keys::default()))).unwrap(), cookie: None }
    }

    async fn send(
        &mut self,
        verb: Verb,
        path: &str,
        body: &str,
        headers: &[(HeaderName, &str)],
    ) -> Response {
        let mut request = request(verb, path);
        if !body.is_empty() {
            request.body = Body::Bytes(body.to_owned().into());
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers.insert(CONTENT_TYPE, kind);
        }
        for (name, value) in headers {
            request.headers.insert(name, HeaderValue::try_from(*value).unwrap());
        }
        if let Some(cookie) = &self.cookie {
            request.headers.insert(http::header::COOKIE, HeaderValue::try_from(cookie).unwrap());
        }
        let response = self.app.handle(request).await;
        if let Some(set) = response.headers.get(SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        response
    }

    async fn get(&mut self, path: &str) -> Response {
        self.send(Verb::GET, path, "", &[]).await
    }

    async fn post(&mut self, path: &str, body: &str) -> Response {
        self.send(Verb::POST, path, body, &[(ORIGIN, OURS)]).await
    }

    async fn signed_in(role: Role) -> Self {
        let mut this = Self::new();
        let link = this.app.ctx.login.link(role).await.unwrap();
        let path = format!("/login/{}", link.text());
        assert_eq!(this.get(&path).await.status, 200);
        assert_eq!(this.post(&path, "").await.status, 303);
        this
    }

    /// What forms of this session carry.
    async fn token(&mut self) -> String {
        text(&self.get("/admin").await).split(' ').next_back().unwrap().to_owned()
    }
}

fn text(response: &Response) -> String {
    String::from_utf8(response.body.to_vec()).unwrap()
}

fn to(response: &Response) -> (u16, &str) {
    let to = response.headers.get(LOCATION).map(|to| to.to_str().unwrap());
    (response.status.as_u16(), to.unwrap_or_default())
}

#[tokio::test]
async fn a_link_signs_in_by_its_button_and_once() {
    let mut browser = Browser::new();
    assert_eq!(to(&browser.get("/admin").await), (303, "/login"));
    let link = browser.app.ctx.login.link(Role::Viewer).await.unwrap();
    let path = format!("/login/{}", link.text());
    for _ in 0..2 {
        let shown = browser.get(&path).await;
        assert!(text(&shown).contains("<strong>viewer</strong>"), "looking uses nothing up");
    }
    assert_eq!(to(&browser.post(&path, "").await), (303, "/admin"));
    assert!(text(&browser.get("/admin").await).starts_with(&format!("link {} viewer", link.id())));
    assert_eq!(to(&browser.get("/login").await), (303, "/admin"));
    let mut other = Browser { app: browser.app, cookie: None };
    assert_eq!(other.post(&path, "").await.status, 410);
    assert_eq!(other.get("/login/short").await.status, 410);
    assert_eq!(to(&other.get("/admin").await), (303, "/login"));
}

#[tokio::test]
async fn a_password_signs_in_and_guessing_ends() {
    let mut browser = Browser::new();
    assert!(text(&browser.get("/login").await).contains("type=\"password\""));
    for _ in 0..10 {
        let wrong = browser.post("/login", "user=admin&password=nope").await;
        assert_eq!((wrong.status.as_u16(), wrong.headers.contains_key(SET_COOKIE)), (401, false));
    }
    let refused = browser.post("/login", "user=admin&password=admin-pass").await;
    assert_eq!(refused.status, 429, "a right one is not told from a wrong one");
    let mut browser = Browser::new();
    let done = browser.post("/login", "user=admin&password=admin-pass").await;
    assert_eq!(to(&done), (303, "/admin"));
    assert!(text(&browser.get("/admin").await).starts_with("password admin "));
}

#[tokio::test]
async fn a_session_that_was_brought_along_is_not_taken_over() {
    let mut browser = Browser::signed_in(Role::Admin).await;
    let before = browser.cookie.clone().unwrap();
    browser.post("/login", "user=admin&password=admin-pass").await;
    let after = browser.cookie.clone().unwrap();
    assert_ne!(before, after);
    browser.cookie = Some(before);
    assert_eq!(to(&browser.get("/admin").await), (303, "/login"), "the one from before has ended");
    let planted = format!("__Host-aerie={}", "A".repeat(43));
    browser.cookie = Some(planted.clone());
    browser.post("/login", "user=admin&password=admin-pass").await;
    assert_ne!(browser.cookie, Some(planted.clone()));
    browser.cookie = Some(planted);
    assert_eq!(to(&browser.get("/admin").await), (303, "/login"));
}

#[tokio::test]
async fn what_changes_something_needs_our_origin_the_token_and_the_role() {
    let mut admin = Browser::signed_in(Role::Admin).await;
    let token = admin.token().await;
    let good = format!("token={token}&repo=a.example");
    let done = admin.post("/admin/do/good", &good).await;
    assert_eq!(done.status, 200);
    assert!(text(&done).contains("did [&quot;repo=a.example&quot;]"), "{}", text(&done));
    assert_eq!(admin.post("/admin/do/bad", &good).await.status, 400);
    assert_eq!(admin.post("/admin/do/none", &good).await.status, 404);
    for headers in [
        &[][..],
        &[(ORIGIN, "https://evil.example")],
        &[(ORIGIN, "null")],
        &[(ORIGIN, "https://evil.example"), (HOST, "appview.example")],
        &[(ORIGIN, OURS), (HeaderName::from_static("sec-fetch-site"), "cross-site")],
    ] {
        for path in ["/admin/do/good", "/logout", "/login"] {
            let refused = admin.send(Verb::POST, path, &good, headers).await;
            assert_eq!(refused.status, 403, "{path} {headers:?}");
        }
    }
    let other = Browser::signed_in(Role::Admin).await.token().await;
    for token in ["", "token=", "token=x", &format!("token={other}")] {
        assert_eq!(admin.post("/admin/do/good", token).await.status, 403, "{token}");
        assert_eq!(admin.post("/logout", token).await.status, 403, "{token}");
    }
    assert_eq!(admin.get("/admin/do/good").await.status, 405);
    let mut viewer = Browser::signed_in(Role::Viewer).await;
    let token = viewer.token().await;
    assert_eq!(viewer.post("/admin/do/good", &format!("token={token}")).await.status, 403);
    assert_eq!(to(&Browser::new().post("/admin/do/good", &good).await), (303, "/login"));
    assert_eq!(to(&admin.post("/logout", &good).await), (303, "/login"));
    assert_eq!(to(&admin.get("/admin").await), (303, "/login"));
}

#[tokio::test]
async fn no_page_is_kept_framed_or_given_to_others() {
    let mut browser = Browser::signed_in(Role::Admin).await;
    for path in ["/admin", "/login/x", "/logout", "/admin/do/good"] {
        let response = match path {
            "/logout" | "/admin/do/good" => browser.post(path, "").await,
            _ => browser.get(path).await,
        };
        let header =
            |name: &HeaderName| response.headers.get(name).map_or("", |v| v.to_str().unwrap());
        assert_eq!(header(&CACHE_CONTROL), "no-store", "{path}");
        assert_eq!(header(&ACCESS_CONTROL_ALLOW_ORIGIN), "", "{path}");
        let policy = header(&CONTENT_SECURITY_POLICY);
        assert!(
            policy.contains("frame-ancestors 'none'") && policy.starts_with("default-src 'none'")
        );
    }
}

#[tokio::test]
async fn a_socket_is_for_who_is_signed_in_and_for_pages_of_ours() {
    use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
    let shake = |origin: Option<&'static str>| {
        let mut headers = vec![
            (CONNECTION, "Upgrade"),
            (UPGRADE, "websocket"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        headers.extend(origin.map(|origin| (ORIGIN, origin)));
        headers
    };
    let mut admin = Browser::signed_in(Role::Viewer).await;
    let opened = admin.send(Verb::GET, "/admin/live", "", &shake(Some(OURS))).await;
    assert_eq!(opened.status, 101);
    assert!(opened.upgrade.is_some());
    for origin in [None, Some("https://evil.example"), Some("null")] {
        let refused = admin.send(Verb::GET, "/admin/live", "", &shake(origin)).await;
        assert_eq!(
            (refused.status.as_u16(), refused.upgrade.is_some()),
            (403, false),
            "{origin:?}"
        );
    }
    assert_eq!(admin.send(Verb::GET, "/admin/live", "", &[(ORIGIN, OURS)]).await.status, 426);
    assert_eq!(
        Browser::new().send(Verb::GET, "/admin/live", "", &shake(Some(OURS))).await.status,
        401
    );
}
