//! Messages of `com.atproto.sync.subscribeRepos` as they come off the wire.
//!
//! A frame is two CBOR items, a header and a body. Decoding shares the frame's memory for `blocks` and copies the few
//! short texts; it believes nothing, and leaves every check of content to `repo::verify`. Fields it does not know are
//! passed over, for the protocol grows; item-level CBOR rules and caps hold all the same.

use bytes::Bytes;

pub use crate::repo::message::{CommitFrame, OpAction, RepoOp, SyncFrame};

use crate::repo::cbor::{CborError, Reader};
use crate::syntax::{Did, Tid, datetime};

/// Largest frame that is looked at: 2 MB of blocks, 200 operations, and room.
pub const MAX_FRAME_LEN: usize = 5_000_000;
/// Operations that are kept; one more than `verify` allows, so that it can say so.
const MAX_OPS: usize = 201;
const MAX_TEXT: usize = 2048;

/// A decoded message.
#[derive(Debug, Clone)]
pub enum Frame {
    /// Changes of a repository.
    Commit(Box<CommitFrame>),
    /// A repository's state, out of sequence.
    Sync(SyncFrame),
    /// A DID document or handle may have changed.
    Identity(IdentityFrame),
    /// An account's hosting status.
    Account(AccountFrame),
    /// A notice about the stream, such as `OutdatedCursor`.
    Info {
        /// Name of the notice.
        name: String,
        /// Text for a reader, possibly empty.
        message: String,
    },
    /// The stream ends with an error, such as `FutureCursor` or `ConsumerTooSlow`.
    Error {
        /// Name of the error.
        error: String,
        /// Text for a reader, possibly empty.
        message: String,
    },
    /// A message of a later protocol.
    Unknown {
        /// Its position, if it has one.
        seq: Option<u64>,
    },
}

/// `#identity`.
#[derive(Debug, Clone)]
pub struct IdentityFrame {
    /// Position in the upstream's stream.
    pub seq: u64,
    /// The account.
    pub did: Did,
    /// When the host sent it, in milliseconds since the epoch; 0 if unreadable.
    pub time_ms: i64,
}

/// `#account`.
#[derive(Debug, Clone)]
pub struct AccountFrame {
    /// Position in the upstream's stream.
    pub seq: u64,
    /// The account.
    pub did: Did,
    /// Whether the host serves the repository.
    pub active: bool,
    /// Why not, as the host says it (`takendown`, `suspended`, `deleted`, `deactivated`, ...).
    pub status: Option<String>,
    /// When the host sent it, in milliseconds since the epoch; 0 if unreadable.
    pub time_ms: i64,
}

/// A frame that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad frame: {cause}")]
pub struct FrameError {
    /// The position the body gives, if that much can be read: the cursor may then pass the frame.
    pub seq: Option<u64>,
    /// What is wrong.
    #[source]
    pub cause: FrameCause,
}

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameCause {
    /// Above [`MAX_FRAME_LEN`].
    #[error("larger than {MAX_FRAME_LEN} bytes")]
    TooLarge,
    /// The header is not `{op, t}`.
    #[error("header is invalid")]
    Header,
    /// The body is not CBOR, or a field has the wrong type.
    #[error("body is invalid")]
    Body(#[source] CborError),
    /// A required field is missing.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// A field's text is not what its format says.
    #[error("field {0} is invalid")]
    Field(&'static str),
}

impl FrameCause {
    /// A short kebab-case name, for counters.
    pub fn cause(&self) -> &'static str {
        match self {
            FrameCause::TooLarge => "frame-too-large",
            FrameCause::Header => "frame-header",
            FrameCause::Body(CborError::TooDeep) => "frame-too-deep",
            FrameCause::Body(_) => "frame-cbor",
            FrameCause::Missing(_) => "frame-missing-field",
            FrameCause::Field(_) => "frame-bad-field",
        }
    }
}

impl From<CborError> for FrameCause {
    fn from(error: CborError) -> Self {
        FrameCause::Body(error)
    }
}

impl Frame {
    /// Decodes one binary websocket message.
    pub fn decode(data: Bytes) -> Result<Frame, FrameError> {
        let error = |seq, cause| FrameError { seq, cause };
        if data.len() > MAX_FRAME_LEN {
            return Err(error(None, FrameCause::TooLarge));
        }
        let (header, body) = split(&data).ok_or(error(None, FrameCause::Header))?;
        let fields = Fields { data: &data, reader: Reader::new(body) };
        let decoded = match header {
            Header::Error => fields.error(),
            Header::Message("#commit") => fields.commit(),
            Header::Message("#sync") => fields.sync(),
            Header::Message("#identity") => fields.identity(),
            Header::Message("#account") => fields.account(),
            Header::Message("#info") => fields.info(),
            Header::Message(_) | Header::Other => Ok(Frame::Unknown { seq: find_seq(body) }),
        };
        decoded.map_err(|cause| error(find_seq(body), cause))
    }

    /// Position in the upstream's stream; none for notices and errors.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Frame::Commit(frame) => Some(frame.seq),
            Frame::Sync(frame) => Some(frame.seq),
            Frame::Identity(frame) => Some(frame.seq),
            Frame::Account(frame) => Some(frame.seq),
            Frame::Unknown { seq } => *seq,
            Frame::Info { .. } | Frame::Error { .. } => None,
        }
    }
}

pub(super) enum Header<'a> {
    Message(&'a str),
    Error,
    /// An `op` of a later protocol.
    Other,
}

/// Splits a frame into its header and the bytes of its body.
pub(super) fn split(data: &[u8]) -> Option<(Header<'_>, &[u8])> {
    let mut reader = Reader::new(data);
    let (mut op, mut kind) = (None, None);
    for _ in 0..reader.map().ok()? {
        match reader.text().ok()? {
            "op" => op = Some(reader.head().ok()?),
            "t" => kind = Some(reader.text().ok()?),
            _ => reader.skip().ok()?,
        }
    }
    use crate::repo::cbor::Head;
    let header = match (op?, kind) {
        (Head::Uint(1), Some(kind)) => Header::Message(kind),
        (Head::Negative(0), _) => Header::Error,
        (Head::Uint(_) | Head::Negative(_), _) => Header::Other,
        _ => return None,
    };
    Some((header, reader.rest()))
}

/// The `seq` of a body, for as long as the body can be read.
pub(super) fn find_seq(body: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(body);
    for _ in 0..reader.map().ok()? {
        if reader.text().ok()? == "seq" {
            return reader.uint().ok();
        }
        reader.skip().ok()?;
    }
    None
}

type Decoded<T> = Result<T, FrameCause>;

struct Fields<'a> {
    data: &'a Bytes,
    reader: Reader<'a>,
}

impl<'a> Fields<'a> {
    /// Gives each field of the body to `read`, which returns whether it took the value.
    fn each(
        mut self,
        mut read: impl FnMut(&str, &mut Reader<'a>, &'a Bytes) -> Decoded<bool>,
    ) -> Decoded<()> {
        for _ in 0..self.reader.map()? {
            let key = self.reader.text()?;
            if !read(key, &mut self.reader, self.data)? {
                self.reader.skip()?;
            }
        }
        Ok(self.reader.end()?)
    }

    fn commit(self) -> Decoded<Frame> {
        let (mut seq, mut repo, mut commit, mut rev, mut blocks) = (None, None, None, None, None);
        let (mut since, mut prev_data, mut ops, mut too_big, mut time_ms) =
            (None, None, Vec::new(), false, 0);
        self.each(|key, reader, data| {
            match key {
                "seq" => seq = Some(reader.uint()?),
                "repo" => repo = Some(did(reader, "repo")?),
                "commit" => commit = Some(reader.link()?),
                "rev" => rev = Some(tid(reader, "rev")?),
                "since" => {
                    let text = reader.nullable(Reader::text)?;
                    since = text
                        .map(|text| Tid::parse(text).ok_or(FrameCause::Field("since")))
                        .transpose()?;
                }
                "blocks" => blocks = Some(data.slice_ref(reader.bytes()?)),
                "ops" => ops = read_ops(reader)?,
                "prevData" => prev_data = reader.nullable(Reader::link)?,
                "tooBig" => too_big = reader.bool()?,
                "time" => time_ms = time(reader)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Frame::Commit(Box::new(CommitFrame {
            seq: seq.ok_or(FrameCause::Missing("seq"))?,
            repo: repo.ok_or(FrameCause::Missing("repo"))?,
            commit: commit.ok_or(FrameCause::Missing("commit"))?,
            rev: rev.ok_or(FrameCause::Missing("rev"))?,
            blocks: blocks.ok_or(FrameCause::Missing("blocks"))?,
            since,
            prev_data,
            ops,
            too_big,
            time_ms,
        })))
    }

    fn sync(self) -> Decoded<Frame> {
        let (mut seq, mut repo, mut rev, mut blocks, mut time_ms) = (None, None, None, None, 0);
        self.each(|key, reader, data| {
            match key {
                "seq" => seq = Some(reader.uint()?),
                "did" => repo = Some(did(reader, "did")?),
                "rev" => rev = Some(tid(reader, "rev")?),
                "blocks" => blocks = Some(data.slice_ref(reader.bytes()?)),
                "time" => time_ms = time(reader)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Frame::Sync(SyncFrame {
            seq: seq.ok_or(FrameCause::Missing("seq"))?,
            did: repo.ok_or(FrameCause::Missing("did"))?,
            rev: rev.ok_or(FrameCause::Missing("rev"))?,
            blocks: blocks.ok_or(FrameCause::Missing("blocks"))?,
            time_ms,
        }))
    }

    fn identity(self) -> Decoded<Frame> {
        let (mut seq, mut account, mut time_ms) = (None, None, 0);
        self.each(|key, reader, _| {
            match key {
                "seq" => seq = Some(reader.uint()?),
                "did" => account = Some(did(reader, "did")?),
                "time" => time_ms = time(reader)?,
                // `handle` is a hint, and the document is asked in any case.
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Frame::Identity(IdentityFrame {
            seq: seq.ok_or(FrameCause::Missing("seq"))?,
            did: account.ok_or(FrameCause::Missing("did"))?,
            time_ms,
        }))
    }

    fn account(self) -> Decoded<Frame> {
        let (mut seq, mut account, mut active, mut status, mut time_ms) =
            (None, None, None, None, 0);
        self.each(|key, reader, _| {
            match key {
                "seq" => seq = Some(reader.uint()?),
                "did" => account = Some(did(reader, "did")?),
                "active" => active = Some(reader.bool()?),
                "status" => status = reader.nullable(Reader::text)?.map(short),
                "time" => time_ms = time(reader)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Frame::Account(AccountFrame {
            seq: seq.ok_or(FrameCause::Missing("seq"))?,
            did: account.ok_or(FrameCause::Missing("did"))?,
            active: active.ok_or(FrameCause::Missing("active"))?,
            status,
            time_ms,
        }))
    }

    fn info(self) -> Decoded<Frame> {
        let (name, message) = self.notice("name")?;
        Ok(Frame::Info { name: name.ok_or(FrameCause::Missing("name"))?, message })
    }

    fn error(self) -> Decoded<Frame> {
        let (error, message) = self.notice("error")?;
        Ok(Frame::Error { error: error.ok_or(FrameCause::Missing("error"))?, message })
    }

    pub(super) fn notice(self, name_key: &str) -> Decoded<(Option<String>, String)> {
        let (mut name, mut message) = (None, String::new());
        self.each(|key, reader, _| {
            if key == name_key {
                name = Some(short(reader.text()?));
            } else if key == "message" {
                message = reader.nullable(Reader::text)?.map(short).unwrap_or_default();
            } else {
                return Ok(false);
            }
            Ok(true)
        })?;
        Ok((name, message))
    }
}

/// A notice body: the text under `name_key`, and the message.
pub(super) fn notice(
    data: &Bytes,
    body: &[u8],
    name_key: &str,
) -> Decoded<(Option<String>, String)> {
    Fields { data, reader: Reader::new(body) }.notice(name_key)
}

fn did(reader: &mut Reader<'_>, field: &'static str) -> Decoded<Did> {
    Did::parse(reader.text()?).map_err(|_| FrameCause::Field(field))
}

fn tid(reader: &mut Reader<'_>, field: &'static str) -> Decoded<Tid> {
    Tid::parse(reader.text()?).ok_or(FrameCause::Field(field))
}

fn time(reader: &mut Reader<'_>) -> Decoded<i64> {
    Ok(datetime::parse_strict(reader.text()?).unwrap_or(0))
}

/// A copy of the start of a text that nothing but a log or a comparison reads.
fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

fn read_ops(reader: &mut Reader<'_>) -> Decoded<Vec<RepoOp>> {
    let count = reader.list()?;
    let mut ops = Vec::with_capacity(count.min(MAX_OPS));
    for _ in 0..count {
        if ops.len() >= MAX_OPS {
            reader.skip()?;
        } else {
            ops.push(read_op(reader)?);
        }
    }
    Ok(ops)
}

fn read_op(reader: &mut Reader<'_>) -> Decoded<RepoOp> {
    let (mut action, mut path, mut cid, mut prev) = (None, None, None, None);
    for _ in 0..reader.map()? {
        match reader.text()? {
            "action" => {
                action = Some(OpAction::parse(reader.text()?).ok_or(FrameCause::Field("action"))?)
            }
            "path" => path = Some(short(reader.text()?)),
            "cid" => cid = reader.nullable(Reader::link)?,
            "prev" => prev = reader.nullable(Reader::link)?,
            _ => reader.skip()?,
        }
    }
    Ok(RepoOp {
        action: action.ok_or(FrameCause::Missing("action"))?,
        path: path.ok_or(FrameCause::Missing("path"))?,
        cid,
        prev,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::dag_cbor::{encode, from_json};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const LINK: &str = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";

    fn frame(header: Value, body: Value) -> Bytes {
        [encode(&from_json(&header)), encode(&from_json(&body))].concat().into()
    }

    fn commit() -> Value {
        json!({
            "seq": 7, "rebase": false, "tooBig": false, "repo": "did:plc:abc", "commit": {"$link": LINK},
            "rev": "3jzfcijpj2z2a", "since": null, "blocks": {"$bytes": "AQID"}, "blobs": [],
            "time": "2024-01-01T00:00:00.000Z", "prevData": {"$link": LINK}, "new": {"a": [1, {"b": null}]},
            "ops": [
                {"action": "create", "path": "a.b.c/1", "cid": {"$link": LINK}},
                {"action": "delete", "path": "a.b.c/2", "cid": null, "prev": {"$link": LINK}, "x": 1},
            ],
        })
    }

    fn message(kind: &str, body: Value) -> Bytes {
        frame(json!({"op": 1, "t": kind}), body)
    }

    #[test]
    fn commits() {
        let Frame::Commit(frame) = Frame::decode(message("#commit", commit())).unwrap() else {
            panic!()
        };
        assert_eq!(
            (frame.seq, frame.repo.as_str(), &frame.blocks[..]),
            (7, "did:plc:abc", &[1, 2, 3][..])
        );
        assert_eq!(
            (frame.since, frame.prev_data.is_some(), frame.time_ms),
            (None, true, 1_704_067_200_000)
        );
        assert_eq!(frame.ops.len(), 2);
        assert_eq!(frame.ops[1].action, OpAction::Delete);
        assert!(
            frame.ops[0].prev.is_none()
                && frame.ops[1].cid.is_none()
                && frame.ops[1].prev.is_some()
        );
    }

    #[test]
    fn the_other_messages() {
        let decode = |kind, body| Frame::decode(message(kind, body)).unwrap();
        let sync = decode(
            "#sync",
            json!({
                "seq": 8, "did": "did:plc:abc", "rev": "3jzfcijpj2z2a", "blocks": {"$bytes": ""}, "time": "never",
            }),
        );
        assert!(
            matches!(&sync, Frame::Sync(f) if f.time_ms == 0 && f.did.as_str() == "did:plc:abc")
        );
        assert_eq!(sync.seq(), Some(8));
        for handle in [json!("alice.test"), json!("nope"), json!(null), json!(5)] {
            let identity = decode(
                "#identity",
                json!({"seq": 9, "did": "did:plc:abc", "time": "", "handle": handle}),
            );
            assert!(
                matches!(identity, Frame::Identity(f) if f.seq == 9 && f.did.as_str() == "did:plc:abc")
            );
        }
        let account = decode(
            "#account",
            json!({
                "seq": 10, "did": "did:plc:abc", "time": "", "active": false, "status": "deleted",
            }),
        );
        assert!(
            matches!(account, Frame::Account(f) if !f.active && f.status.as_deref() == Some("deleted"))
        );
        assert!(
            matches!(decode("#info", json!({"name": "OutdatedCursor"})), Frame::Info { name, .. } if name == "OutdatedCursor")
        );
        assert!(matches!(decode("#mystery", json!({"seq": 11})), Frame::Unknown { seq: Some(11) }));
        assert!(matches!(decode("#mystery", json!({"what": 11})), Frame::Unknown { seq: None }));
        let error = frame(json!({"op": -1}), json!({"error": "FutureCursor", "message": "m"}));
        assert!(
            matches!(Frame::decode(error).unwrap(), Frame::Error { error, message } if error == "FutureCursor" && message == "m")
        );
        assert!(matches!(
            Frame::decode(frame(json!({"op": 2}), json!({"seq": 3}))).unwrap(),
            Frame::Unknown { seq: Some(3) }
        ));
    }

    #[test]
    fn bad_bodies_keep_their_seq() {
        for (field, value) in [
            ("repo", json!("nobody")),
            ("rev", json!("now")),
            ("since", json!("then")),
            ("commit", json!("text")),
            ("blocks", json!("text")),
            ("ops", json!([{"action": "create"}])),
            ("ops", json!([{"action": "destroy", "path": "a/b"}])),
            ("ops", json!(5)),
            ("tooBig", json!("yes")),
            ("prevData", json!(1)),
        ] {
            let mut body = commit();
            body[field] = value;
            let error = Frame::decode(message("#commit", body)).unwrap_err();
            assert_eq!(error.seq, Some(7), "{field}: {error}");
        }
        for field in ["repo", "rev", "commit", "blocks"] {
            let mut body = commit();
            body.as_object_mut().unwrap().remove(field);
            let error = Frame::decode(message("#commit", body)).unwrap_err();
            assert_eq!(error, FrameError { seq: Some(7), cause: FrameCause::Missing(field) });
        }
        let trailing = [&message("#commit", commit())[..], &[0]].concat();
        let error = Frame::decode(trailing.into()).unwrap_err();
        assert_eq!((error.seq, error.cause.cause()), (Some(7), "frame-cbor"));
    }

    #[test]
    fn hostile_frames() {
        assert_eq!(Frame::decode(Bytes::new()).unwrap_err().cause, FrameCause::Header);
        assert_eq!(
            Frame::decode(vec![0; MAX_FRAME_LEN + 1].into()).unwrap_err().cause,
            FrameCause::TooLarge
        );
        let mut deep = encode(&from_json(&json!({"op": 1, "t": "#commit"})));
        deep.extend([0xa1, 0x61, b'x']);
        deep.extend(vec![0x81; 1_000_000]);
        deep.push(0x80);
        let error = Frame::decode(deep.into()).unwrap_err();
        assert_eq!(error.cause.cause(), "frame-too-deep");
        let mut body = commit();
        body["ops"] = Value::Array(vec![body["ops"][0].clone(); 5000]);
        let Frame::Commit(frame) = Frame::decode(message("#commit", body)).unwrap() else {
            panic!()
        };
        assert_eq!(frame.ops.len(), MAX_OPS);
        let whole = message("#commit", commit());
        for end in 0..whole.len() {
            assert!(Frame::decode(whole.slice(..end)).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, by: u8) {
            let _ = Frame::decode(bytes.into());
            let mut whole = message("#commit", commit()).to_vec();
            let at = at.index(whole.len());
            whole[at] ^= by;
            let _ = Frame::decode(whole.into());
        }
    }
}
