//! Jetstream v1 messages (<https://github.com/bluesky-social/jetstream>): the firehose as JSON, without proofs.
//!
//! Only what the message itself allows is checked: that a record has the CID that is claimed for it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::room::Room;
use super::verify::is_valid;
use crate::event::{Body, Commit, HostingStatus, Op, Record};
use crate::repo::dag_cbor::{self, Ipld, JsonError, MAX_MEMORY};
use crate::syntax::{Did, Nsid, RecordKey, Tid, cid, datetime};

/// The envelope of a message.
pub(crate) struct Message {
    pub(crate) did: Did,
    /// Microseconds since the epoch; the cursor.
    pub(crate) time_us: i64,
    pub(crate) kind: Kind,
}

/// What a message is about. Commits are read later, see [`commit`].
pub(crate) enum Kind {
    Commit,
    Identity(Option<Told>),
    /// `None` for a status that says nothing about the account.
    Account(Option<HostingStatus>, Option<Told>),
    Other,
}

/// Where the firehose has an identity or account event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) seq: u64,
    /// Milliseconds since the epoch; 0 if unreadable.
    pub(crate) time_ms: i64,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    did: std::borrow::Cow<'a, str>,
    time_us: i64,
    kind: &'a str,
    #[serde(borrow)]
    account: Option<Account<'a>>,
    #[serde(borrow)]
    identity: Option<Identity<'a>>,
}

#[derive(Deserialize)]
struct Account<'a> {
    active: bool,
    status: Option<&'a str>,
    seq: Option<u64>,
    time: Option<&'a str>,
}

#[derive(Deserialize)]
struct Identity<'a> {
    seq: Option<u64>,
    time: Option<&'a str>,
}

fn told(seq: Option<u64>, time: Option<&str>) -> Option<Told> {
    let time_ms = time.and_then(datetime::parse_strict).unwrap_or(0);
    seq.map(|seq| Told { seq, time_ms })
}

#[derive(Deserialize)]
struct WithCommit<'a> {
    #[serde(borrow)]
    commit: CommitText<'a>,
}

#[derive(Deserialize)]
struct CommitText<'a> {
    rev: &'a str,
    operation: &'a str,
    collection: &'a str,
    rkey: &'a str,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
    cid: Option<&'a str>,
}

/// Reads the envelope; the error is the cause to count.
pub(crate) fn read(text: &[u8]) -> Result<Message, &'static str> {
    let envelope: Envelope<'_> = serde_json::from_slice(text).map_err(|_| "jetstream-json")?;
    let did = Did::parse(&envelope.did).map_err(|_| "jetstream-did")?;
    let kind = match (envelope.kind, envelope.account) {
        ("commit", _) => Kind::Commit,
        ("identity", _) => Kind::Identity(envelope.identity.and_then(|i| told(i.seq, i.time))),
        ("account", Some(account)) => {
            Kind::Account(status(&account), told(account.seq, account.time))
        }
        _ => Kind::Other,
    };
    Ok(Message { did, time_us: envelope.time_us, kind })
}

fn status(account: &Account<'_>) -> Option<HostingStatus> {
    match (account.active, account.status) {
        (true, _) => Some(HostingStatus::Active),
        (false, None | Some("deactivated")) => Some(HostingStatus::Deactivated),
        (false, Some("deleted")) => Some(HostingStatus::Deleted),
        (false, Some("takendown")) => Some(HostingStatus::Takendown),
        (false, Some("suspended")) => Some(HostingStatus::Suspended),
        (false, Some(_)) => None,
    }
}

/// Reads a commit message: one operation of it. Without room for its record it is a claim that something changed. The error is
/// the cause to count.
pub(crate) fn commit(text: &[u8], room: &mut Room) -> Result<Body, &'static str> {
    let WithCommit { commit } = serde_json::from_slice(text).map_err(|_| "jetstream-commit")?;
    let rev = Tid::parse(commit.rev).ok_or("jetstream-rev")?;
    let collection = Nsid::parse(commit.collection).map_err(|_| "op-path")?;
    let rkey = RecordKey::parse(commit.rkey).map_err(|_| "op-path")?;
    let record = match commit.operation {
        "create" | "update" => match record(&commit, room)? {
            Some(record) => Some(record),
            None => return Ok(Body::Sync { rev, data: Commit::UNTOLD }),
        },
        "delete" => None,
        _ => return Err("op-shape"),
    };
    let op =
        Op { collection: Arc::from(&*collection), rkey: Arc::from(&*rkey), record, created: false };
    Ok(Body::Commit(Commit { rev, data: None, prev_data: None, ops: vec![op] }))
}

/// `None` if there is no room for it.
fn record(commit: &CommitText<'_>, room: &mut Room) -> Result<Option<Record>, &'static str> {
    let (Some(record), Some(claimed)) = (commit.record, commit.cid) else {
        return Err("op-shape");
    };
    let Some(value) = value(record.get(), room)? else { return Ok(None) };
    let bytes = dag_cbor::encode(&value);
    if bytes.len() > dag_cbor::MAX_RECORD_LEN {
        return Err("record-too-large");
    }
    let cid = cid::for_record(&bytes);
    // Also what JSON cannot say, such as 1.0 beside 1, ends here rather than under a wrong CID.
    if cid::parse_strict(claimed) != Some(cid) {
        return Err("record-cid");
    }
    let valid = is_valid(commit.collection, commit.rkey, &value);
    Ok(Some(Record { cid: cid::digest(&cid).ok_or("record-cid")?, value, valid }))
}

/// What a text takes is known when it is read. Nearly every record takes what its message pays for; others are read again with
/// twice the room, as long as there is some.
fn value(text: &str, room: &mut Room) -> Result<Option<Ipld>, &'static str> {
    let (mut had, mut most) = (0, room.paid());
    while room.take(most - had) {
        match dag_cbor::parse_json_within(text, most) {
            Ok((value, taken)) => {
                room.keep(taken);
                return Ok(Some(value));
            }
            Err(JsonError::Invalid) => return Err("record-invalid"),
            Err(JsonError::TooLarge) if most >= MAX_MEMORY => return Err("record-too-large"),
            Err(JsonError::TooLarge) => (had, most) = (most, (most * 2).clamp(1, MAX_MEMORY)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::feed::nested;
    use super::*;
    use crate::threads::Budget;
    use serde_json::json;

    /// Of a message that pays for so much, beside what all have.
    fn commit_with(text: &[u8], paid: u32, all: u64) -> Result<Body, &'static str> {
        super::commit(text, &mut Room::new(&Budget::new(all), paid))
    }

    fn commit(text: &[u8]) -> Result<Commit, &'static str> {
        commit_with(text, 16 << 10, 1 << 20).map(|body| match body {
            Body::Commit(commit) => commit,
            other => panic!("{other:?}"),
        })
    }

    fn like() -> serde_json::Value {
        json!({
            "$type": "app.bsky.feed.like",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "subject": {
                "cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
                "uri": "at://did:web:b.example/app.bsky.feed.post/3kaaaaaaaaa2a"
            }
        })
    }

    fn message(record: &serde_json::Value, cid: &str) -> Vec<u8> {
        json!({
            "did": "did:web:a.example", "time_us": 1_725_911_162_329_308_i64, "kind": "commit",
            "commit": {
                "rev": "3l3qo2vutsw2b", "operation": "create", "collection": "app.bsky.feed.like",
                "rkey": "3l3qo2vuowo2b", "record": record, "cid": cid
            }
        })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn reads_a_commit_and_checks_its_cid() {
        let cid =
            cid::to_base32(&cid::for_record(&dag_cbor::encode(&dag_cbor::from_json(&like()))));
        let text = message(&like(), &cid);
        let envelope = read(&text).unwrap();
        assert_eq!(envelope.time_us, 1_725_911_162_329_308);
        assert!(matches!(envelope.kind, Kind::Commit));
        let commit_read = commit(&text).unwrap();
        assert!(commit_read.ops[0].record.as_ref().unwrap().valid);
        assert_eq!((commit_read.data, &*commit_read.ops[0].rkey), (None, "3l3qo2vuowo2b"));
        let other = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";
        assert_eq!(commit(&message(&like(), other)).unwrap_err(), "record-cid");
    }

    #[test]
    fn reads_the_other_kinds_and_refuses_garbage() {
        let account = |active: bool, status: &str| {
            let text = json!({"did": "did:web:a.example", "time_us": 5, "kind": "account",
                "account": {"active": active, "did": "did:web:a.example", "seq": 1, "status": status,
                    "time": "2024-09-05T06:11:04.870Z"}});
            match read(text.to_string().as_bytes()).unwrap().kind {
                Kind::Account(status, told) => {
                    assert_eq!(told, Some(Told { seq: 1, time_ms: 1_725_516_664_870 }));
                    status
                }
                _ => panic!(),
            }
        };
        assert_eq!(account(false, "deleted"), Some(HostingStatus::Deleted));
        assert_eq!(account(true, "x"), Some(HostingStatus::Active));
        assert_eq!(account(false, "throttled"), None);
        let identity =
            br#"{"did":"did:web:a.example","time_us":5,"kind":"identity","identity":{}}"#;
        assert!(matches!(read(identity).unwrap().kind, Kind::Identity(None)));
        let identity = br#"{"did":"did:web:a.example","time_us":5,"kind":"identity",
            "identity":{"did":"did:web:a.example","seq":7,"time":"yesterday"}}"#;
        let told = Some(Told { seq: 7, time_ms: 0 });
        assert!(matches!(read(identity).unwrap().kind, Kind::Identity(at) if at == told));
        assert_eq!(read(b"{").err(), Some("jetstream-json"));
        assert_eq!(
            read(br#"{"did":"x","time_us":5,"kind":"commit"}"#).err(),
            Some("jetstream-did")
        );
        assert_eq!(commit(identity).unwrap_err(), "jetstream-commit");
    }

    fn message_of(record: &serde_json::Value) -> Vec<u8> {
        let value = dag_cbor::from_json(record);
        message(record, &cid::to_base32(&cid::for_record(&dag_cbor::encode(&value))))
    }

    #[test]
    fn a_record_without_room_is_a_claim_and_one_that_is_too_large_is_dropped() {
        // A megabyte.
        let text = message_of(&json!(vec![json!({"": null}); 680]));
        let kept = Budget::new(4 << 20);
        let mut room = Room::new(&kept, 16 << 10);
        assert!(matches!(super::commit(&text, &mut room), Ok(Body::Commit(_))));
        assert!((1 << 19..1 << 21).contains(&kept.held()), "{}", kept.held());
        drop(room);
        assert_eq!(kept.held(), 0);
        let claim = commit_with(&text, 16 << 10, 1 << 19);
        let Ok(Body::Sync { rev, data }) = claim else { panic!("{claim:?}") };
        assert_eq!((Some(rev), data), (Tid::parse("3l3qo2vutsw2b"), Commit::UNTOLD));
        let large = message_of(&json!(vec![json!({"": null}); 30_000]));
        assert_eq!(commit_with(&large, 16 << 10, 64 << 20).unwrap_err(), "record-too-large");
        assert_eq!(
            commit_with(&text, 0, 64 << 20).map(|body| matches!(body, Body::Commit(_))),
            Ok(true)
        );
    }

    #[test]
    fn what_people_write_is_paid_for_by_its_message() {
        let strong = json!({"cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a",
            "uri": "at://did:plc:z72i7hdynmk6r22z27h6tvur/app.bsky.feed.post/3kaaaaaaaaa2a"});
        let post = |more: &[(&str, serde_json::Value)]| {
            let mut post = json!({"$type": "app.bsky.feed.post", "text": "x".repeat(200),
                "createdAt": "2026-01-01T00:00:00.000Z", "langs": ["en"]});
            for (key, value) in more {
                post[key] = value.clone();
            }
            post
        };
        let picture = json!({"alt": "", "aspectRatio": {"height": 1, "width": 1}, "image": {"$type": "blob",
            "mimeType": "image/jpeg", "ref": {"$link": "bafkreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"},
            "size": 100_000}});
        let pictures = json!({"$type": "app.bsky.embed.images", "images": [picture, picture, picture, picture]});
        let quote = json!({"$type": "app.bsky.embed.record", "record": strong});
        let reply = json!({"parent": strong, "root": strong});
        for record in [
            like(),
            post(&[]),
            post(&[("reply", reply.clone())]),
            post(&[("embed", pictures)]),
            post(&[("reply", reply), ("embed", quote)]),
        ] {
            let text = message_of(&record);
            let (none, paid) = (Budget::new(0), 2 * text.len() + nested(&text));
            let mut room = Room::new(&none, u32::try_from(paid).unwrap());
            let read = super::commit(&text, &mut room);
            assert!(matches!(read, Ok(Body::Commit(_))), "{record}");
            assert_eq!(none.held(), 0, "{record}");
        }
    }
}
