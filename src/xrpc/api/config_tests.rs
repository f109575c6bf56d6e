//! Age assurance, contacts and what clients are told about themselves.

use serde_json::json;

use super::testing::Server;
use crate::hydrate::testing::Fixture;
use crate::syntax::Did;
use crate::xrpc::{ClientConfig, LiveNow};

#[test]
fn the_operator_vouches_for_some_accounts() {
    let s = Server::new(Fixture::new());
    let (alice, bob) = (s.fixture.account("alice"), s.fixture.account("bob"));
    s.configure(ClientConfig {
        assured: vec![Did::parse("did:plc:alice").unwrap()],
        age_rules: br#"{"regions":[{"countryCode":"GB","minAccessAge":13,"rules":[]}]}"#.to_vec(),
        ..ClientConfig::default()
    });
    for (viewer, status, access) in [(alice, "assured", "full"), (bob, "unknown", "unknown")] {
        let state = s.get("app.bsky.ageassurance.getState", "countryCode=US", Some(viewer));
        assert_eq!(
            state.unwrap(),
            json!({
                "state": { "status": status, "access": access },
                "metadata": { "accountCreatedAt": "2023-01-01T00:00:00.000Z" },
            })
        );
        let old = s.get("app.bsky.unspecced.getAgeAssuranceState", "", Some(viewer)).unwrap();
        assert_eq!(old, json!({ "status": status }));
    }
    let rules = s.get("app.bsky.ageassurance.getConfig", "", None).unwrap();
    assert_eq!(rules["regions"][0]["minAccessAge"], 13);
}

#[test]
fn what_takes_a_vendor_is_not_implemented() {
    let s = Server::new(Fixture::new());
    let alice = s.fixture.account("alice");
    let email = json!({ "email": "a@b.example", "language": "en", "countryCode": "GB" });
    for nsid in ["app.bsky.ageassurance.begin", "app.bsky.unspecced.initAgeAssurance"] {
        let error = s.post(nsid, email.clone(), alice).unwrap_err();
        assert_eq!((error.status().as_u16(), error.name()), (501, "MethodNotImplemented"));
        assert!(error.message().contains("age assurance"));
    }
    let error = s.get("app.bsky.contact.getMatches", "", Some(alice)).unwrap_err();
    assert_eq!((error.status().as_u16(), error.name()), (501, "MethodNotImplemented"));
    assert!(error.message().contains("contact imports"));
}

#[test]
fn who_may_show_a_link_as_live() {
    let s = Server::new(Fixture::new());
    let config = || s.get("app.bsky.unspecced.getConfig", "", None).unwrap();
    assert_eq!(config(), json!({ "topicsEnabled": true }));
    let row = LiveNow {
        did: Did::parse("did:plc:alice").unwrap(),
        domains: vec!["stream.example".to_owned()],
    };
    s.configure(ClientConfig { live_now: vec![row], ..ClientConfig::default() });
    assert_eq!(
        config(),
        json!({ "topicsEnabled": true, "liveNow": [{ "did": "did:plc:alice", "domains": ["stream.example"] }] })
    );
    let suggested = s.get("app.bsky.unspecced.getTaggedSuggestions", "", None).unwrap();
    assert_eq!(suggested, json!({ "suggestions": [] }));
}
