//! Sign in, out, and whom it lets in when.

use std::sync::Arc;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::private::testing::Bench;

const START: i64 = 1_700_000_000_000;

fn login(b: &Bench) -> (Login, Clock) {
    let clock = Clock::stopped_at(START);
    let door = Door::load(&b.snapshot()).unwrap();
    let private = Private::new(b.writer.clone(), Arc::new(door.clone()));
    (Login::new(door, private, clock.clone()), clock)
}

#[tokio::test]
async fn a_link_signs_in_once_and_for_minutes() {
    let b = Bench::new();
    let (login, clock) = login(&b);
    let link = login.link(Role::Admin).await.unwrap();
    assert!(login.visitor(&link).is_none(), "a link is no session");
    assert_eq!(login.is_link(&link), Some(Role::Admin));
    let session = login.follow(&link).await.unwrap().unwrap();
    assert!(login.follow(&link).await.unwrap().is_none(), "used up");
    let visitor = login.visitor(&session).unwrap();
    assert_eq!((visitor.role, visitor.name), (Role::Admin, format!("link {}", link.id())));
    assert_ne!(session.text(), link.text());
    let late = login.link(Role::Admin).await.unwrap();
    clock.set(START + ms(LINK));
    assert!(login.follow(&late).await.unwrap().is_none(), "too late");
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_in_any_case() {
    let b = Bench::new();
    let (login, clock) = login(&b);
    let used = login.enter(Role::Admin, "password").await.unwrap();
    let left = login.enter(Role::Viewer, "password").await.unwrap();
    let hours = |n: i64| START + n * 3_600_000;
    for n in 1..=16 {
        clock.set(hours(n * 10));
        let visitor = login.visitor(&used).unwrap();
        login.used(&visitor).await.unwrap();
    }
    assert!(login.visitor(&left).is_none());
    assert_eq!(login.list().len(), 1);
    clock.set(hours(7 * 24));
    assert!(login.visitor(&used).is_none(), "however much it is used");
    let again = Door::load(&b.snapshot()).unwrap();
    assert_eq!(again.all().len(), 2, "they lie there until the next is made");
}

#[tokio::test]
async fn who_is_revoked_or_leaves_is_told_and_nobody_else() {
    let b = Bench::new();
    let (login, _) = login(&b);
    let [one, other, third] = [
        login.enter(Role::Admin, "a"),
        login.enter(Role::Admin, "b"),
        login.enter(Role::Admin, "c"),
    ];
    let (one, other, third) = (one.await.unwrap(), other.await.unwrap(), third.await.unwrap());
    let visitors = [&one, &other, &third].map(|secret| login.visitor(secret).unwrap());
    assert_eq!(login.revoke(Which::Id(&one.id())).await.unwrap(), 1);
    login.leave(&other).await.unwrap();
    let ended = visitors.each_ref().map(|visitor| visitor.ended.is_cancelled());
    assert_eq!(ended, [true, true, false]);
    assert!(!login.is_in(&visitors[0]) && login.is_in(&visitors[2]));
    assert_eq!(login.revoke(Which::Id("")).await.unwrap(), 0);
    let link = login.link(Role::Viewer).await.unwrap();
    login.leave(&link).await.unwrap();
    assert!(login.is_link(&link).is_some(), "whoever has a link cannot end it as a session");
    assert_eq!(login.revoke(Which::All).await.unwrap(), 2);
    assert!(login.list().is_empty() && visitors[2].ended.is_cancelled());
}

#[tokio::test]
async fn sessions_outlive_a_restart_and_secrets_are_not_in_the_store() {
    let b = Bench::new();
    let (first, _) = login(&b);
    let session = first.enter(Role::Admin, "password").await.unwrap();
    let (second, _) = login(&b);
    assert!(second.visitor(&session).is_some());
    let lines = b.lines();
    assert!(lines.len() == 1 && !lines[0].contains(&session.text()), "{lines:?}");
    assert!(!format!("{session:?}").contains(&session.text()));
}

#[tokio::test]
async fn a_secret_that_was_not_made_here_lets_nobody_in() {
    let b = Bench::new();
    let (login, _) = login(&b);
    let brought = Secret::random();
    assert!(login.visitor(&brought).is_none() && login.follow(&brought).await.unwrap().is_none());
    let given = login.enter(Role::Admin, "password").await.unwrap();
    assert_ne!(given.text(), brought.text());
    assert!(login.visitor(&brought).is_none());
}

#[test]
fn cookies_are_for_this_host_alone() {
    let (secure, plain) = (Cookie::of("https://a.example"), Cookie::of("http://127.0.0.1:1"));
    let secret = Secret::random();
    let kept = secure.keep(&secret).unwrap();
    assert!(kept.is_sensitive());
    let text = kept.to_str().unwrap();
    let value = secret.text();
    assert_eq!(
        text,
        format!("__Host-aerie={value}; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure")
    );
    assert!(!plain.keep(&secret).unwrap().to_str().unwrap().contains("Secure"));
    assert!(
        secure.forget().unwrap().to_str().unwrap().starts_with("__Host-aerie=; Path=/; Max-Age=0;")
    );
    let sent = |cookie: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::try_from(cookie).unwrap());
        headers
    };
    let read = |cookie: Cookie, text: &str| cookie.read(&sent(text)).map(|s| s.text());
    let both = format!("a=b; __Host-aerie=x; __Host-aerie={value};c=d");
    assert_eq!(read(secure, &both), Some(value.clone()));
    assert_eq!(read(plain, &both), None);
    assert_eq!(read(secure, &format!("aerie={value}")), None, "one that plain HTTP could set");
}
