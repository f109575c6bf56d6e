//! The sitemap: who is on which page of it, and what is asked wrongly.

use std::io::Read;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};

use super::tests::{Browser, header, wants_no_strangers};
use super::*;
use crate::hydrate::Target;
use crate::hydrate::testing::{Fixture, NOW};
use crate::schema::Edit as _;
use crate::schema::days::{self, Day};
use crate::schema::rows::AccountStatus;

const INDEX: &str = "/external/sitemap/users.xml.gz";
/// [`NOW`] and the day after.
const TODAY: &str = "2023-11-14";
const TOMORROW: &str = "2023-11-15";

fn unpacked(response: &Response) -> String {
    let mut xml = String::new();
    flate2::read::GzDecoder::new(&*response.body).read_to_string(&mut xml).unwrap();
    xml
}

fn file(b: &Browser, path: &str) -> String {
    let response = b.get(path);
    assert_eq!(response.status, 200, "{path}");
    assert_eq!(header(&response, &CONTENT_TYPE), "application/gzip", "{path}");
    assert_eq!(header(&response, &CONTENT_ENCODING), "gzip", "{path}");
    unpacked(&response)
}

fn page(date: &str, number: u32) -> String {
    format!("/external/sitemap/users/{date}/{number}.xml.gz")
}

fn locations(xml: &str) -> Vec<&str> {
    let ends = xml.split("<loc>").skip(1);
    ends.map(|rest| rest.split_once("</loc>").unwrap().0).collect()
}

fn begin(f: &Fixture, day: Day) {
    f.write(move |tx| days::begin(tx, day));
}

#[test]
fn profiles_that_strangers_may_see_are_on_the_page_of_their_day() {
    let f = Fixture::new();
    begin(&f, Day::of(NOW));
    f.account("a");
    wants_no_strangers(&f, "shy");
    let [gone, hidden, nameless] = ["gone", "hidden", "nameless"].map(|name| f.account(name));
    f.update(gone, |row| row.status = AccountStatus::Deactivated);
    f.update(nameless, |row| row.handle = None);
    f.take_down(Target::Actor(hidden));
    begin(&f, Day(Day::of(NOW).0 + 1));
    f.account("b");
    let b = Browser::new(f);
    let at = |path: &str| format!("https://appview.example{path}");
    let (first, second) = (page(TODAY, 1), page(TOMORROW, 1));
    let index = file(&b, INDEX);
    assert!(
        index.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<sitemapindex "),
        "{index}"
    );
    assert_eq!(locations(&index), [at(&first), at(&second)]);
    let xml = file(&b, &first);
    assert!(xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<urlset "), "{xml}");
    assert_eq!(locations(&xml), [at("/profile/a.test")]);
    assert_eq!(locations(&file(&b, &second)), [at("/profile/b.test")]);
}

#[test]
fn a_day_has_pages_of_a_bounded_size() {
    let f = Fixture::new();
    begin(&f, Day::of(NOW));
    f.write(|tx| (0..999).try_for_each(|n| tx.intern_actor(&format!("did:plc:n{n}")).map(drop)));
    // Number 1,000, the last of the second page, and the first of the third.
    f.account("y");
    f.account("z");
    let b = Browser::new(f);
    assert_eq!(locations(&file(&b, INDEX)).len(), 3);
    let on = |number| -> Vec<String> {
        let xml = file(&b, &page(TODAY, number));
        locations(&xml).iter().map(|loc| loc.rsplit('/').next().unwrap().to_owned()).collect()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!([on(1), on(2), on(3)], [none, vec!["y.test".to_owned()], vec!["z.test".to_owned()]]);
    assert_eq!(b.get(&page(TODAY, 4)).status, 404);
    assert_eq!(b.get(&page(TODAY, u32::MAX)).status, 404);
}

#[test]
fn what_is_asked_wrongly_is_refused_and_what_is_not_there_is_not_found() {
    let f = Fixture::new();
    begin(&f, Day::of(NOW));
    f.account("a");
    let b = Browser::new(f);
    let status = |path: &str| b.get(&format!("/external/sitemap/users/{path}")).status.as_u16();
    for path in [
        "invalid-date/1.xml.gz",
        "2023-11/1.xml.gz",
        "2023-13-01/1.xml.gz",
        "2023-02-30/1.xml.gz",
        "+023-11-14/1.xml.gz",
        "1969-01-01/1.xml.gz",
        "2023-11-14/0.xml.gz",
        "2023-11-14/abc.xml.gz",
        "2023-11-14/-1.xml.gz",
        "2023-11-14/4294967296.xml.gz",
        "2023-11-14/.xml.gz",
        "%FF/1.xml.gz",
    ] {
        assert_eq!(status(path), 400, "{path}");
    }
    for path in
        ["2023-11-13/1.xml.gz", "2023-11-15/1.xml.gz", "9999-01-01/1.xml.gz", "2023-11-14/1"]
    {
        assert_eq!(status(path), 404, "{path}");
    }
}

#[test]
fn the_file_is_the_same_whatever_a_client_takes() {
    let f = Fixture::new();
    begin(&f, Day::of(NOW));
    // Names that do not repeat one another, so that the file is of a size at which answers are compressed.
    for n in 0_u64..120 {
        f.account(&format!("a{:x}", xxhash_rust::xxh3::xxh3_128(&n.to_be_bytes())));
    }
    let b = Browser::new(f);
    for path in [INDEX, &page(TODAY, 1)] {
        let plain = b.send(http::Method::GET, path, &[]);
        for coding in ["zstd", "gzip", "identity"] {
            let other = b.send(http::Method::GET, path, &[(ACCEPT_ENCODING, coding)]);
            assert_eq!(other.body, plain.body, "{path} {coding}");
            assert_eq!(header(&other, &CONTENT_ENCODING), "gzip", "{path} {coding}");
        }
        let varies = plain.headers.get_all(VARY).iter().any(|value| value == "Accept-Encoding");
        assert!(!varies, "{path}");
        let etag = header(&plain, &ETAG).to_owned();
        let again = b.send(http::Method::GET, path, &[(IF_NONE_MATCH, &etag)]);
        assert_eq!(again.status, 304, "{path}");
        assert_eq!(b.send(http::Method::POST, path, &[]).status, 405, "{path}");
    }
}

#[test]
fn a_store_that_heard_of_nobody_has_an_empty_index() {
    let b = Browser::new(Fixture::new());
    assert!(locations(&file(&b, INDEX)).is_empty());
}
