//! What is used of a DID document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::IdentityError;
use crate::crypto::{KeyBytes, PublicKey};
use crate::schema::plc::PlcDocument;
use crate::syntax::{Did, Handle};

/// Keys and services read of one document; no real one comes near.
const MAX_ITEMS: usize = 32;

/// The type of the `#atproto_pds` service.
pub(super) const PDS_TYPE: &str = "AtprotoPersonalDataServer";

/// A DID document, reduced and checked. Fragments are without `#`.
#[derive(Clone, Debug, PartialEq)]
pub struct DidDoc {
    /// The DID itself.
    pub did: Did,
    /// The first `at://` alias, if it is a handle. Not verified.
    pub handle: Option<Handle>,
    keys: Vec<(Box<str>, PublicKey)>,
    services: Vec<Service>,
}

#[derive(Clone, Debug, PartialEq)]
struct Service {
    fragment: Box<str>,
    kind: Box<str>,
    endpoint: Box<str>,
}

impl DidDoc {
    /// Reads a document and checks that it is of `did`. Keys of unknown kinds and endpoints that are no http(s) URL
    /// are left out.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`].
    pub fn parse(did: &Did, json: &[u8]) -> Result<Self, IdentityError> {
        let raw: RawDoc = serde_json::from_slice(json)
            .map_err(|_| IdentityError::Malformed("not a DID document"))?;
        if raw.id != did.as_str() {
            return Err(IdentityError::Malformed("of another DID"));
        }
        let alias = raw.also_known_as.iter().find_map(|alias| alias.strip_prefix("at://"));
        let keys = raw.verification_method.iter().take(MAX_ITEMS).filter_map(|method| {
            let fragment = fragment(did, &method.id)?;
            let multibase = method.public_key_multibase.as_deref()?;
            let key = PublicKey::from_verification_method(&method.kind, multibase).ok()?;
            Some((fragment.into(), key))
        });
        let services = raw.service.iter().take(MAX_ITEMS).filter_map(|service| {
            let endpoint = service.endpoint.as_str().filter(|url| is_endpoint(url))?;
            Some(Service {
                fragment: fragment(did, &service.id)?.into(),
                kind: service.kind.as_str().into(),
                endpoint: endpoint.trim_end_matches('/').into(),
            })
        });
        Ok(Self {
            did: did.clone(),
            handle: alias.and_then(|alias| Handle::parse(alias).ok()),
            keys: keys.collect(),
            services: services.collect(),
        })
    }

    /// The document that the directory would give for what is kept of it, which was checked like one.
    pub(super) fn of_plc(did: &Did, kept: &PlcDocument) -> Self {
        let more: FurtherEntries = serde_json::from_slice(&kept.more).unwrap_or_default();
        let own = kept.key.and_then(|key| KeyBytes::from(key).to_key().ok());
        let others = more.keys.iter().filter_map(|(fragment, key)| {
            Some((fragment.as_str().into(), PublicKey::from_did_key(key).ok()?))
        });
        let own = own.map(|key| ("atproto".into(), key));
        let service = |fragment: &str, kind: &str, endpoint: &str| Service {
            fragment: fragment.into(),
            kind: kind.into(),
            endpoint: endpoint.trim_end_matches('/').into(),
        };
        let pds = kept.pds.iter().map(|pds| service("atproto_pds", PDS_TYPE, pds));
        let others_at = more.services.iter().filter(|(_, (_, endpoint))| is_endpoint(endpoint));
        let others_at =
            others_at.map(|(fragment, (kind, endpoint))| service(fragment, kind, endpoint));
        Self {
            did: did.clone(),
            handle: kept.handle.as_deref().and_then(|handle| Handle::parse(handle).ok()),
            keys: own.into_iter().chain(others.take(MAX_ITEMS)).collect(),
            services: pds.chain(others_at.take(MAX_ITEMS)).collect(),
        }
    }

    /// The key with this fragment, such as `atproto` or `atproto_label`.
    pub fn key(&self, fragment: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|(name, _)| **name == *fragment).map(|(_, key)| key)
    }

    /// The key that signs commits, `#atproto`.
    pub fn signing_key(&self) -> Option<&PublicKey> {
        self.key("atproto")
    }

    /// The URL, without a trailing slash, of the service with this fragment and type.
    pub fn service(&self, fragment: &str, kind: &str) -> Option<&str> {
        let service = self.services.iter().find(|service| *service.fragment == *fragment)?;
        (*service.kind == *kind).then_some(&*service.endpoint)
    }

    /// The account's PDS, `#atproto_pds`.
    pub fn pds(&self) -> Option<&str> {
        self.service("atproto_pds", PDS_TYPE)
    }

    /// The labeler, `#atproto_labeler`.
    pub fn labeler(&self) -> Option<&str> {
        self.service("atproto_labeler", "AtprotoLabeler")
    }

    /// The feed generator, `#bsky_fg`.
    pub fn feed_generator(&self) -> Option<&str> {
        self.service("bsky_fg", "BskyFeedGenerator")
    }
}

/// Identifiers are `#name` or the DID with `#name`; others are of someone else.
fn fragment<'a>(did: &Did, id: &'a str) -> Option<&'a str> {
    id.strip_prefix(did.as_str()).unwrap_or(id).strip_prefix('#')
}

pub(super) fn is_endpoint(url: &str) -> bool {
    let http = url.starts_with("https://") || url.starts_with("http://");
    http && url::Url::parse(url).is_ok()
}

/// Keys and services of a document beside `#atproto` and `#atproto_pds`, as they are kept with what the directory says.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct FurtherEntries {
    /// By fragment, as did:key.
    #[serde(default, rename = "k", skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) keys: BTreeMap<String, String>,
    /// By fragment, type and endpoint.
    #[serde(default, rename = "s", skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) services: BTreeMap<String, (String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDoc {
    id: String,
    #[serde(default)]
    also_known_as: Vec<String>,
    #[serde(default)]
    verification_method: Vec<RawMethod>,
    #[serde(default)]
    service: Vec<RawService>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMethod {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    public_key_multibase: Option<String>,
}

#[derive(Deserialize)]
struct RawService {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    /// A string, or an object that nothing here uses.
    #[serde(rename = "serviceEndpoint")]
    endpoint: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;
    use serde_json::json;

    fn parse(doc: &serde_json::Value) -> Result<DidDoc, IdentityError> {
        DidDoc::parse(&Did::parse("did:plc:abc").unwrap(), doc.to_string().as_bytes())
    }

    #[test]
    fn a_full_document() {
        let key = PrivateKey::generate().public();
        let doc = parse(&json!({
            "@context": ["https://www.w3.org/ns/did/v1"],
            "id": "did:plc:abc",
            "alsoKnownAs": ["https://x.example", "at://Alice.test", "at://second.test"],
            "verificationMethod": [
                { "id": "did:plc:abc#atproto", "type": "Multikey", "controller": "did:plc:abc",
                  "publicKeyMultibase": key.to_multibase() },
                { "id": "#atproto_label", "type": "Multikey", "controller": "did:plc:abc",
                  "publicKeyMultibase": key.to_multibase() },
                { "id": "did:plc:abcd#other", "type": "Multikey", "publicKeyMultibase": key.to_multibase() },
                { "id": "#jwk", "type": "JsonWebKey2020", "publicKeyJwk": {} },
                { "id": "#bad", "type": "Multikey", "publicKeyMultibase": "zzz" },
            ],
            "service": [
                { "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example/" },
                { "id": "did:plc:abc#bsky_fg", "type": "Other", "serviceEndpoint": "https://feed.example" },
                { "id": "#atproto_labeler", "type": "AtprotoLabeler", "serviceEndpoint": "ftp://labels.example" },
                { "id": "#object", "type": "Other", "serviceEndpoint": { "uri": "https://x" } },
            ],
        }))
        .unwrap();
        assert_eq!(doc.handle, Handle::parse("alice.test").ok());
        assert_eq!(doc.signing_key(), Some(&key));
        assert_eq!(doc.key("atproto_label"), Some(&key));
        assert_eq!([doc.key("other"), doc.key("jwk"), doc.key("bad")], [None; 3]);
        assert_eq!(doc.pds(), Some("https://pds.example"));
        assert_eq!(doc.feed_generator(), None, "the type differs");
        assert_eq!(doc.labeler(), None, "not http");
    }

    #[test]
    fn sparse_and_bad_documents() {
        let bare =
            parse(&json!({ "id": "did:plc:abc", "alsoKnownAs": ["at://not a handle"] })).unwrap();
        assert_eq!((bare.handle.as_ref(), bare.signing_key(), bare.pds()), (None, None, None));
        for bad in [
            json!({}),
            json!([]),
            json!("x"),
            json!({ "id": "did:plc:other" }),
            json!({ "id": 1 }),
            json!({ "id": "did:plc:abc", "service": "x" }),
        ] {
            assert!(matches!(parse(&bad), Err(IdentityError::Malformed(_))), "{bad}");
        }
    }
}
