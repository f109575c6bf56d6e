//! What is sent: the notification in words and as references. The shapes are described in the README.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::hydrate::notification::NotifState;
use crate::hydrate::{NotifRow, Reason, Target};
use crate::private::registrations::Registration;
use crate::syntax::datetime::Time;
use crate::view::actor::profile_basic;

/// Most characters of a post that are sent along.
const SNIPPET: usize = 200;
/// Most characters of a display name; longer ones were not made by the app.
const NAME: usize = 64;

/// A notification to be pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PushMessage {
    /// The same for each delivery of the same notification.
    pub(super) id: String,
    recipient: String,
    reason: &'static str,
    author: Author,
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    title: String,
    body: String,
    created_at: Time,
    /// Only who belongs to the community may get it.
    #[serde(skip)]
    pub(super) of_community: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Author {
    did: String,
    handle: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
}

/// The references in a notification, as text.
pub(super) struct Texts {
    pub(super) recipient: String,
    pub(super) uri: String,
    pub(super) subject: Option<String>,
}

impl PushMessage {
    /// Words for a notification whose author, record and subject are in `state`; `None` if the author is not.
    pub(super) fn new(state: &NotifState, row: &NotifRow, texts: Texts) -> Option<Self> {
        let author = profile_basic(&state.posts.base, row.author)?;
        let author = Author {
            did: author.did.to_string(),
            handle: author.handle.to_string(),
            display_name: author
                .display_name
                .filter(|n| !n.trim().is_empty())
                .map(|n| cut(&n, NAME)),
        };
        let text = about(row).and_then(|post| post_text(state, post)).filter(|t| !t.is_empty());
        let name = author.display_name.as_deref().unwrap_or(&author.handle);
        Some(Self {
            id: id(&texts, row.reason),
            title: format!("{name} {}", deed(row)),
            body: text.clone().unwrap_or_default(),
            recipient: texts.recipient,
            reason: row.reason.name(),
            author,
            uri: texts.uri,
            subject: texts.subject,
            text,
            created_at: Time(row.sort),
            of_community: row.is_of_community(),
        })
    }

    /// The body for the operator's endpoint, which serves the `registrations`.
    pub(super) fn to_endpoint(&self, registrations: &[Registration]) -> Vec<u8> {
        #[derive(Serialize)]
        struct EndpointBody<'a> {
            #[serde(flatten)]
            message: &'a PushMessage,
            registrations: Vec<Device<'a>>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Device<'a> {
            platform: &'static str,
            app_id: &'a str,
            token: &'a str,
            age_restricted: bool,
        }
        let registrations = registrations.iter().map(|r| Device {
            platform: r.platform.name(),
            app_id: &r.app_id,
            token: &r.token,
            age_restricted: r.age_restricted,
        });
        let registrations = registrations.collect();
        json(&EndpointBody { message: self, registrations })
    }

    /// The body for a device, at most `limit` bytes: what can be spared is left out. `None` if even that is too long.
    pub(super) fn to_device(&self, limit: usize) -> Option<Vec<u8>> {
        let bare = Self { text: None, body: String::new(), subject: None, ..self.clone() };
        [self, &Self { text: None, ..self.clone() }, &bare]
            .into_iter()
            .map(json)
            .find(|body| body.len() <= limit)
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    // Strings and lists of strings only: this cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Made from what the notification is, not from how it is kept.
fn id(texts: &Texts, reason: Reason) -> String {
    let digest = Sha256::new()
        .chain_update(format!("{} {} {}", texts.recipient, reason.name(), texts.uri))
        .finalize();
    data_encoding::HEXLOWER.encode(digest.get(..16).unwrap_or_default())
}

/// The post whose text tells most.
fn about(row: &NotifRow) -> Option<Target> {
    match row.reason {
        Reason::Mention | Reason::Reply | Reason::Quote | Reason::SubscribedPost => {
            Some(Target::of(row.record()))
        }
        _ => row.subject,
    }
}

fn post_text(state: &NotifState, target: Target) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct TextField {
        text: String,
    }
    let Target::Post(id) = target else { return None };
    let record: TextField = serde_json::from_str(state.posts.post(id)?.record.json.get()).ok()?;
    Some(cut(record.text.trim(), SNIPPET))
}

fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default().trim_end()),
        None => text.to_owned(),
    }
}

fn deed(row: &NotifRow) -> &'static str {
    let post = matches!(row.subject, Some(Target::Post(_)));
    match row.reason {
        Reason::Like if post => "liked your post",
        Reason::Like => "liked what you published",
        Reason::Repost => "reposted your post",
        Reason::Follow => "followed you",
        Reason::Mention => "mentioned you",
        Reason::Reply => "replied to you",
        Reason::Quote => "quoted your post",
        Reason::StarterpackJoined => "joined with your starter pack",
        Reason::Verified => "verified you",
        Reason::Unverified => "took back their verification of you",
        Reason::LikeViaRepost => "liked a post that you reposted",
        Reason::RepostViaRepost => "reposted a post that you reposted",
        Reason::SubscribedPost => "posted",
    }
}
