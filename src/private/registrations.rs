//! Where an account wants its notifications pushed to (`app.bsky.notification.registerPush`), rows of the `private`
//! keyspace.
//!
//! | tag | key | value |
//! |---|---|---|
//! | `g` | viewer, [`RegistrationId`] | when, flags, platform, app, token |
//!
//! A token is opaque to all but the push service of its platform, with two exceptions that this server can deliver to
//! by itself: the URL of a UnifiedPush endpoint, and a WebPush subscription as JSON (see [`WebPush`]).
//!
//! # Invariants
//! - An account has at most [`MAX_PER_ACCOUNT`] of them; a further one takes the place of the oldest.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};

use super::change::{Change, Plan};
use super::effects::Effects;
use super::kinds::{Export, Goes, Kept, Row, RowKey, Table};
use super::names::{Time, owned};
use crate::schema::bytes::{ByteReader, push_blob, push_zigzag};
use crate::schema::{ActorId, Edit, Key, Rows};
use crate::store::{Ks, Reader, StoreError, Tx};

const TAG: u8 = b'g';

/// Most registrations of one account: a notification makes a job for each.
pub const MAX_PER_ACCOUNT: usize = 16;

/// Most bytes of a token. Those of Apple and Google have under 300, WebPush subscriptions under 1,000.
pub const MAX_TOKEN: usize = 4096;

/// The first 16 bytes of the SHA-256 of platform, app and token.
pub type RegistrationId = [u8; 16];

/// `platform` of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Platform {
    /// `ios`
    Ios = 1,
    /// `android`
    Android = 2,
    /// `web`
    Web = 3,
}

impl Platform {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Ios, "ios"), (Self::Android, "android"), (Self::Web, "web")];

    /// The name in the lexicon.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(p, _)| *p == self).map_or("", |(_, n)| n)
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(p, _)| *p)
    }

    fn from_u8(v: u8) -> Option<Self> {
        Self::ALL.iter().find(|(p, _)| *p as u8 == v).map(|(p, _)| *p)
    }
}

/// One app on one device of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// When it was made, milliseconds.
    pub at: i64,
    /// The platform.
    pub platform: Platform,
    /// The app, as it names itself.
    pub app_id: String,
    /// What the push service of the platform knows the device by.
    pub token: String,
    /// The app said that its user is a minor.
    pub age_restricted: bool,
}

impl Registration {
    /// What the registration is known by: the same token for the same app is the same registration.
    #[must_use]
    pub fn id(&self) -> RegistrationId {
        use sha2::{Digest, Sha256};
        let digest = Sha256::new()
            .chain_update([self.platform as u8])
            .chain_update((self.app_id.len() as u64).to_be_bytes())
            .chain_update(&self.app_id)
            .chain_update(&self.token)
            .finalize();
        let mut id = RegistrationId::default();
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        id
    }

    /// Where this server delivers to by itself, if it can.
    #[must_use]
    pub fn web_push(&self) -> Option<WebPush> {
        WebPush::parse(&self.token)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.token.len() + self.app_id.len() + 16);
        push_zigzag(&mut out, self.at);
        out.push(u8::from(self.age_restricted));
        out.push(self.platform as u8);
        push_blob(&mut out, self.app_id.as_bytes());
        push_blob(&mut out, self.token.as_bytes());
        out
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let mut r = ByteReader::new(b);
        Some(Self {
            at: r.zigzag()?,
            age_restricted: r.u8()? & 1 != 0,
            platform: Platform::from_u8(r.u8()?)?,
            app_id: r.str()?.to_owned(),
            token: r.str()?.to_owned(),
        })
    }
}

/// A push service on the web (RFC 8030) that takes messages for one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebPush {
    /// Its URL, with `http` or `https`.
    pub endpoint: String,
    /// What to encrypt for; UnifiedPush endpoints without keys get plain text.
    pub keys: Option<WebPushKeys>,
}

/// The keys of a subscription (RFC 8291).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebPushKeys {
    /// The subscriber's P-256 public key, an uncompressed point.
    pub p256dh: [u8; 65],
    /// The authentication secret.
    pub auth: [u8; 16],
}

#[derive(Deserialize)]
struct Subscription<'a> {
    #[serde(borrow)]
    endpoint: std::borrow::Cow<'a, str>,
    keys: Option<SubscriptionKeys<'a>>,
}

#[derive(Deserialize)]
struct SubscriptionKeys<'a> {
    #[serde(borrow)]
    p256dh: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    auth: std::borrow::Cow<'a, str>,
}

impl WebPush {
    /// Reads a token: a URL, or a subscription as `PushSubscription.toJSON()` gives it. `None` for any other token.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        if !token.starts_with('{') {
            return Some(Self { endpoint: endpoint(token)?, keys: None });
        }
        let found: Subscription<'_> = serde_json::from_str(token).ok()?;
        let keys = match found.keys {
            Some(keys) => Some(WebPushKeys {
                p256dh: bytes(&keys.p256dh).filter(|point: &[u8; 65]| point.starts_with(&[4]))?,
                auth: bytes(&keys.auth)?,
            }),
            None => None,
        };
        Some(Self { endpoint: endpoint(&found.endpoint)?, keys })
    }

    /// Scheme, host and port: the audience of a VAPID token, and what requests are held together by.
    #[must_use]
    pub fn origin(&self) -> String {
        url::Url::parse(&self.endpoint)
            .map_or_else(|_| String::new(), |u| u.origin().ascii_serialization())
    }
}

fn endpoint(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let usable = matches!(url.scheme(), "https" | "http")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none();
    usable.then(|| url.to_string())
}

/// Base64url; browsers leave the padding out, some libraries do not.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes()).ok()?.try_into().ok()
}

fn prefix(viewer: ActorId) -> Key {
    Key::tag(TAG).actor(viewer)
}

fn key(viewer: ActorId, id: &RegistrationId) -> Key {
    prefix(viewer).bytes(id)
}

/// One registration.
pub fn get<R: Reader + ?Sized>(
    r: &R,
    viewer: ActorId,
    id: &RegistrationId,
) -> Result<Option<Registration>, StoreError> {
    r.row(Ks::Private, &key(viewer, id), Registration::decode)
}

/// All registrations of an account.
pub fn all<R: Reader + ?Sized>(r: &R, viewer: ActorId) -> Result<Vec<Registration>, StoreError> {
    let mut out = Vec::new();
    r.scan_prefix(Ks::Private, &prefix(viewer), &mut |_, v| {
        out.extend(Registration::decode(v));
        true
    })?;
    Ok(out)
}

/// Adds a registration, or renews it. With one too many the oldest goes.
pub fn register<R: Reader>(r: &R, viewer: &str, new: &Registration) -> Plan {
    let id = new.id();
    let mut held = r.actor_id(viewer)?.map_or(Ok(Vec::new()), |actor| all(r, actor))?;
    held.retain(|r| r.id() != id);
    held.sort_by_key(|r| r.at);
    let over = (held.len() + 1).saturating_sub(MAX_PER_ACCOUNT);
    let mut changes: Vec<_> =
        held.iter().take(over).map(|old| unregister(viewer, &old.id())).collect();
    changes.push(Change::Put(Row::Push(Device::of(viewer.to_owned(), new.clone()))));
    Ok((changes, ()))
}

/// Takes a registration away.
#[must_use]
pub fn unregister(viewer: &str, id: &RegistrationId) -> Change {
    let (viewer, id) = (viewer.to_owned(), HEXLOWER.encode(id));
    Change::Gone(RowKey::Push(DeviceKey { viewer, id }))
}

pub(super) fn write(tx: &mut Tx<'_>, viewer: ActorId, new: &Registration) {
    tx.put(Ks::Private, &key(viewer, &new.id()), &new.encode());
}

/// Whose registration a row is.
fn row(k: &[u8], v: &[u8]) -> Option<(ActorId, Registration)> {
    let mut r = ByteReader::new(k);
    let (tag, viewer, _) = (r.u8()?, r.actor()?, r.array::<16>()?);
    (tag == TAG && r.is_empty()).then_some((viewer, Registration::decode(v)?))
}

/// A registration, in names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "members are those of a registration")]
pub struct Device {
    pub viewer: String,
    pub platform: String,
    pub app_id: String,
    pub token: String,
    pub age_restricted: bool,
    pub at: Time,
}

impl Device {
    fn of(viewer: String, held: Registration) -> Self {
        let Registration { at, platform, app_id, token, age_restricted } = held;
        let (platform, at) = (platform.name().to_owned(), Time(at));
        Self { viewer, platform, app_id, token, age_restricted, at }
    }

    fn registration(&self) -> Option<Registration> {
        Some(Registration {
            at: self.at.0,
            platform: Platform::parse(&self.platform)?,
            app_id: self.app_id.clone(),
            token: self.token.clone(),
            age_restricted: self.age_restricted,
        })
    }
}

/// What a registration is known by: its [`RegistrationId`] in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "members are what the kind says")]
pub struct DeviceKey {
    pub viewer: String,
    pub id: String,
}

owned!(viewer: Device);

impl Kept for Device {
    type Key = DeviceKey;
    const TABLES: &'static [Table] = &[Table {
        tag: TAG,
        goes: Goes::WithAccount,
        export: Export::Rows,
        whole: |k, v| row(k, v).is_some(),
    }];

    fn check(&self) -> Result<(), String> {
        if Platform::parse(&self.platform).is_none() {
            Err(format!("platform {:?} is not known", self.platform))
        } else if self.token.len() > MAX_TOKEN {
            Err("token is too long".to_owned())
        } else {
            Ok(())
        }
    }

    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError> {
        let Some((viewer, held)) = row(k, v) else { return Ok(None) };
        Ok(Some(Self::of(r.did(viewer)?.to_string(), held)))
    }

    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
        let Some(new) = self.registration() else { return Ok(Vec::new()) };
        if let Some(viewer) = r.actor_id(&self.viewer)?
            && get(r, viewer, &new.id())?.is_some()
        {
            return Ok(Vec::new());
        }
        register(r, &self.viewer, &new).map(|(changes, ())| changes)
    }

    fn write(&self, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let viewer = tx.intern_actor(&self.viewer)?;
        if let Some(new) = self.registration() {
            write(tx, viewer, &new);
        }
        Ok(())
    }

    fn remove(of: &DeviceKey, _: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let id = HEXLOWER.decode(of.id.as_bytes()).ok().and_then(|id| id.try_into().ok());
        if let (Some(viewer), Some(id)) = (tx.actor_id(&of.viewer)?, id) {
            tx.del(Ks::Private, &key(viewer, &id));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::testing::{Bench, DID, OTHER};

    fn registration(token: &str, at: i64) -> Registration {
        Registration {
            at,
            platform: Platform::Web,
            app_id: "app.example".into(),
            token: token.into(),
            age_restricted: at % 2 == 1,
        }
    }

    #[tokio::test]
    async fn registrations_are_renewed_bounded_and_go_with_the_account() {
        let b = Bench::new();
        for (who, token, at) in [(OTHER, "t", 1), (DID, "a", 1), (DID, "b", 2), (DID, "a", 3)] {
            b.change(move |r| register(r, who, &registration(token, at))).await;
        }
        let (me, other) = (b.actor(DID), b.actor(OTHER));
        let tokens = || -> Vec<String> {
            let mut held = all(&b.snapshot(), me).unwrap();
            held.sort_by_key(|r| r.at);
            held.into_iter().map(|r| r.token).collect()
        };
        assert_eq!(tokens(), ["b", "a"]);
        let a = registration("a", 3);
        assert_eq!(get(&b.snapshot(), me, &a.id()).unwrap(), Some(a.clone()));
        for n in 0..15 {
            b.change(move |r| register(r, DID, &registration(&n.to_string(), 10 + n))).await;
        }
        assert_eq!((tokens().len(), tokens()[0].as_str()), (MAX_PER_ACCOUNT, "a"));
        b.change(move |_| Ok((vec![unregister(DID, &a.id())], ()))).await;
        assert_eq!(tokens()[0], "0");
        b.forget(DID, 100).await;
        assert_eq!(tokens(), Vec::<String>::new());
        assert_eq!(all(&b.snapshot(), other).unwrap().len(), 1);
    }

    #[test]
    fn tokens_that_can_be_delivered_to() {
        let point = BASE64URL_NOPAD.encode(&[4; 65]);
        let odd = BASE64URL_NOPAD.encode(&[3; 65]);
        let auth = BASE64URL_NOPAD.encode(&[7; 16]);
        let with = |endpoint: &str, p256dh: &str, auth: &str| {
            format!(
                r#"{{"endpoint":"{endpoint}","expirationTime":null,"keys":{{"p256dh":"{p256dh}","auth":"{auth}"}}}}"#
            )
        };
        let keys = Some(WebPushKeys { p256dh: [4; 65], auth: [7; 16] });
        let found = |endpoint: &str, keys: Option<WebPushKeys>| {
            Some(WebPush { endpoint: endpoint.into(), keys })
        };
        for (token, expect) in [
            ("https://up.example/a?b=c".to_owned(), found("https://up.example/a?b=c", None)),
            (
                with("https://push.example/x", &point, &auth),
                found("https://push.example/x", keys.clone()),
            ),
            (
                with("https://push.example/x", &point, &format!("{auth}==")),
                found("https://push.example/x", keys),
            ),
            (r#"{"endpoint":"https://up.example/"}"#.into(), found("https://up.example/", None)),
            (with("https://push.example/x", &odd, &auth), None),
            (with("https://push.example/x", &point, "AA"), None),
            (with("ftp://push.example/x", &point, &auth), None),
            (with("https://u:p@push.example/x", &point, &auth), None),
            ("{".into(), None),
            ("740f4707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad".into(), None),
            ("ExponentPushToken[abc]".into(), None),
            ("fcm:APA91bHun4".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(WebPush::parse(&token), expect, "{token}");
        }
        let origin = |url: &str| WebPush::parse(url).unwrap().origin();
        assert_eq!(origin("https://a.example:443/x"), "https://a.example");
        assert_eq!(origin("https://a.example:8443/x"), "https://a.example:8443");
    }
}
