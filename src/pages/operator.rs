//! What operators see in the browser: the frame of their pages, the forms to sign in, and what says how something went.
//! What the dashboard shows is made by `admin`.

use std::sync::LazyLock;

use data_encoding::BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::frame::{STYLE, Site};

/// Both are written as they are, so they must hold neither `</style` nor `</script`.
static SHEET: LazyLock<String> =
    LazyLock::new(|| format!("{STYLE}{}", include_str!("operator.css")));
const SCRIPT: &str = include_str!("operator.js");

/// What a page is allowed (CSP Level 3): its style and its script by their hashes, its own socket and forms.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", BASE64.encode(&Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src {}; script-src {}; img-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
        hash(&SHEET),
        hash(SCRIPT)
    )
});

/// What a page of operators is allowed.
#[must_use]
pub fn content_security_policy() -> &'static str {
    &POLICY
}

/// Who looks at a page.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// How the log calls them.
    pub name: &'a str,
    /// Their role.
    pub role: &'a str,
    /// What forms of theirs carry.
    pub token: &'a str,
}

/// A page; `live` if the script is to keep it current.
#[must_use]
pub fn frame(
    site: Site<'_>,
    title: &str,
    reader: Option<Reader<'_>>,
    live: bool,
    content: &Markup,
) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " – " (site.name()) }
                link rel="icon" href="/favicon.ico" type="image/svg+xml";
                style { (PreEscaped(&*SHEET)) }
            }
            body.operator {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    nav aria-label="Site" {
                        a.home href="/" { (site.name()) }
                        a href="/admin" { "Dashboard" }
                    }
                    @if let Some(reader) = reader {
                        form.leave action="/logout" method="post" {
                            (token(reader))
                            span.reader { (reader.name) " (" (reader.role) ")" }
                            button type="submit" { "Sign out" }
                        }
                    }
                }
                main #content { (content) }
                @if live { script { (PreEscaped(SCRIPT)) } }
            }
        }
    }
    .into_string()
}

/// What makes a form this reader's.
#[must_use]
pub fn token(reader: Reader<'_>) -> Markup {
    html! { input type="hidden" name="token" value=(reader.token); }
}

/// The form to sign in; `wrong` if what was typed was.
#[must_use]
pub fn sign_in(site: Site<'_>, with_password: bool, wrong: bool) -> String {
    let content = html! {
        section.door {
            h1 { "Sign in" }
            @if wrong { p.wrong role="alert" { "The name or the password is wrong." } }
            @if with_password {
                form action="/login" method="post" {
                    label for="user" { "Name" }
                    input #user name="user" value="admin" autocomplete="username" required maxlength="100";
                    label for="password" { "Password" }
                    input #password name="password" type="password" autocomplete="current-password" required
                        maxlength="1000" autofocus;
                    button type="submit" { "Sign in" }
                }
            }
            p {
                @if with_password { "Or with a link: run " } @else { "Run " }
                code { "aerie admin login" }
                " where this server runs, and follow what it prints."
            }
        }
    };
    frame(site, "Sign in", None, false, &content)
}

/// What a link leads to: whoever follows it is signed in by the button.
#[must_use]
pub fn follow(site: Site<'_>, role: &str) -> String {
    let content = html! {
        section.door {
            h1 { "Sign in" }
            p { "This link signs you in to " (site.name()) " as " strong { (role) } ". It works once." }
            form method="post" { button type="submit" autofocus { "Sign in" } }
        }
    };
    frame(site, "Sign in", None, false, &content)
}

/// What came of an action.
#[must_use]
pub fn done(site: Site<'_>, text: &str, well: bool) -> String {
    let headline = if well { "Done" } else { "That was not done" };
    let content = html! {
        section.door {
            h1 { (headline) }
            p role="status" { (text) }
            p { a href="/admin" { "Back to the dashboard" } }
        }
    };
    frame(site, headline, None, false, &content)
}

/// A page that says why there is no other: for the status `status`.
#[must_use]
pub fn failure(site: Site<'_>, status: u16, message: &str) -> String {
    let headline = match status {
        401 | 403 => "Not for you",
        404 => "Not found",
        410 => "This link works no more",
        429 => "Too many attempts",
        503 => "Too busy",
        _ => "Something went wrong",
    };
    let content = html! {
        section.door {
            h1 { (headline) }
            p { (message) }
            p { a href="/admin" { "To the dashboard" } }
        }
    };
    frame(site, headline, None, false, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_it_is_ends_nothing() {
        assert!(!SHEET.contains("</") && !SCRIPT.contains("</"));
    }

    #[test]
    fn what_comes_from_outside_is_escaped_and_what_runs_is_named() {
        let site = Site { url: "https://a.example" };
        let reader = Reader { name: "<b>", role: "admin", token: "\"t\"" };
        let page = frame(site, "<i>", Some(reader), true, &html! { p { "<u>" } });
        for raw in ["<b>", "<i>", "<u>", "value=\"\"t"] {
            assert!(!page.contains(raw), "{raw}");
        }
        assert_eq!(page.matches("<script>").count(), 1);
        assert!(
            !failure(site, 404, "<s>").contains("<s>") && !done(site, "<s>", true).contains("<s>")
        );
        assert!(!sign_in(site, false, false).contains("<input"), "there is no password");
        assert!(!content_security_policy().contains("unsafe"));
    }
}
