//! One thing from its PDS into the index.

use std::time::Duration;

use bytes::Bytes;
use ipld_core::ipld::Ipld;

use super::ledger::Task;
use super::{OnRead, Outcome, Want};
use crate::crypto::PublicKey;
use crate::event::{Body, Event, HostingStatus, IdentityState, Op};
use crate::identity::{Freshness, IdentityError};
use crate::net::{Limits, NetError};
use crate::repo::VerifyError;
use crate::repo::proof::{MAX_PROOF_LEN, verify_proof};
use crate::schema::{RecordId, Rows, collections as c, rebuild};
use crate::store::StoreError;
use crate::sync::fetch::{FetchError, home_in, refusal};
use crate::sync::import::put;
use crate::syntax::{AtUriRef, Did, Handle, Tid, cid, is_nsid, is_rkey};

const LIMITS: Limits = Limits {
    max_bytes: MAX_PROOF_LEN,
    timeout: Duration::from_secs(10),
    redirects: 2,
    accept: Some("application/vnd.ipld.car"),
};
/// Levels above a post that are fetched for one question.
const MAX_PARENTS: usize = 50;
const POST: &str = "app.bsky.feed.post";
const PROFILE: &str = "app.bsky.actor.profile";

/// What the store has of an account or a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// As much as there is, or more is not wanted.
    Enough,
    /// Something may be missing.
    Lacking,
}

type Failure = Outcome;

/// Does it, and begins what goes with it.
pub(super) async fn run(on_read: &OnRead, want: &Want) -> (Outcome, Vec<Task>) {
    let mut others = Vec::new();
    let result = match want {
        Want::Account(id) => account(on_read, id, &mut others).await,
        Want::Record { repo, collection, rkey, parents } => {
            record(on_read, repo, (collection, rkey), *parents, &mut others).await
        }
    };
    (result.unwrap_or_else(|failure| failure), others)
}

async fn account(on_read: &OnRead, id: &str, others: &mut Vec<Task>) -> Result<Outcome, Failure> {
    let did = resolve(on_read, id).await?;
    if *did != *id {
        // By its DID it may be under way already.
        others.extend(on_read.begin(Want::Account(did.as_str().to_owned())));
        return Ok(Outcome::NotNeeded);
    }
    if held(on_read, &did, None).await? == Held::Enough {
        return Ok(Outcome::NotNeeded);
    }
    let doc = on_read.0.identity.resolve_did(&did, Freshness::Cached).await.map_err(unknown)?;
    let handle = on_read.0.identity.verify_handle(&did, Freshness::Cached);
    let profile = prove(on_read, &did, PROFILE, "self");
    let (handle, profile) = tokio::join!(handle, profile);
    let mut bodies = Vec::new();
    if let Ok(handle) = handle {
        // Without an answer of the name servers the account is seen, and its handle is looked up with the others.
        bodies.push(Body::Introduced(IdentityState {
            handle: handle.map(|handle| handle.as_str().to_owned()),
            key: doc.signing_key().map(PublicKey::to_did_key),
            pds: doc.pds().map(str::to_owned),
        }));
    }
    match profile {
        Ok((rev, op)) => bodies.push(Body::Found { rev, ops: op.into_iter().collect() }),
        Err(Problem::NotHosted(status)) => bodies.push(Body::Account(status)),
        Err(Problem::Other(failure)) => return Err(failure),
    }
    apply(on_read, &did, bodies).await
}

async fn record(
    on_read: &OnRead,
    repo: &str,
    (collection, rkey): (&str, &str),
    parents: usize,
    others: &mut Vec<Task>,
) -> Result<Outcome, Failure> {
    if !is_nsid(collection) || !is_rkey(rkey) {
        return Ok(Outcome::Absent("bad-name"));
    }
    let did = resolve(on_read, repo).await?;
    // A record without its author's account is not shown.
    if held(on_read, &did, None).await? == Held::Lacking {
        others.extend(on_read.begin(Want::Account(did.as_str().to_owned())));
    }
    if held(on_read, &did, Some((collection, rkey))).await? == Held::Enough {
        return Ok(Outcome::NotNeeded);
    }
    let (rev, op) = match prove(on_read, &did, collection, rkey).await {
        Ok(proven) => proven,
        // The account's own task says so to the index.
        Err(Problem::NotHosted(_)) => return Err(Outcome::Absent("not-hosted")),
        Err(Problem::Other(failure)) => return Err(failure),
    };
    let Some(op) = op else { return Ok(Outcome::Absent("absent")) };
    let above = if collection == POST && parents > 0 { above(&op, parents) } else { Vec::new() };
    let outcome = apply(on_read, &did, vec![Body::Found { rev, ops: vec![op] }]).await?;
    others.extend(above.into_iter().filter_map(|want| on_read.begin(want)));
    Ok(outcome)
}

/// The parent of a post, and at the end of what is fetched the root.
fn above(op: &Op, parents: usize) -> Vec<Want> {
    let uri = |name: &str| {
        let Ipld::Map(post) = &op.record.as_ref()?.value else { return None };
        let Ipld::Map(reply) = post.get("reply")? else { return None };
        let Ipld::Map(reference) = reply.get(name)? else { return None };
        match reference.get("uri")? {
            Ipld::String(uri) => AtUriRef::parse(uri),
            _ => None,
        }
    };
    let want = |uri: AtUriRef<'_>, parents| {
        Some(Want::Record {
            repo: uri.authority.to_owned(),
            collection: uri.collection.filter(|coll| *coll == POST)?.to_owned(),
            rkey: uri.rkey?.to_owned(),
            parents,
        })
    };
    let parents = parents.min(MAX_PARENTS) - 1;
    let parent = uri("parent").and_then(|uri| want(uri, parents));
    let root = uri("root").and_then(|uri| want(uri, 0));
    parent.into_iter().chain(root).collect()
}

async fn resolve(on_read: &OnRead, id: &str) -> Result<Did, Failure> {
    if let Ok(did) = Did::parse(id) {
        return Ok(did);
    }
    let handle = Handle::parse(id).map_err(|_| Outcome::Absent("bad-name"))?;
    match on_read.0.identity.resolve_handle(&handle, Freshness::Cached).await {
        Ok(Some(did)) => Ok(did),
        Ok(None) => Err(Outcome::Absent("no-handle")),
        Err(error) => Err(Outcome::Failed(error.cause())),
    }
}

/// Whether the store lacks the account, or of it the profile; or the record.
async fn held(on_read: &OnRead, did: &Did, record: Option<(&str, &str)>) -> Result<Held, Failure> {
    let (store, did) = (on_read.0.store.clone(), did.clone());
    let record = record.map(|(coll, rkey)| (coll.to_owned(), rkey.to_owned()));
    let look = move || -> Result<Held, StoreError> {
        let s = store.snapshot();
        let Some(actor) = s.actor_id(&did)? else { return Ok(Held::Lacking) };
        let account = s.actor(actor)?;
        if account.as_ref().is_some_and(|row| !row.is_active())
            || s.repo(actor)?.is_some_and(|row| row.is_complete())
        {
            return Ok(Held::Enough);
        }
        let (coll, rkey) = match &record {
            Some((coll, rkey)) => (s.coll_id(coll)?, s.rkey(rkey)?),
            None if account.is_none_or(|row| row.handle_checked == 0) => return Ok(Held::Lacking),
            None => (Some(c::PROFILE), Some(crate::schema::Rkey::SELF)),
        };
        let (Some(coll), Some(rkey)) = (coll, rkey) else { return Ok(Held::Lacking) };
        let found = rebuild::is_held(&s, RecordId { actor, coll, rkey })?;
        Ok(if found { Held::Enough } else { Held::Lacking })
    };
    let looked = tokio::task::spawn_blocking(look).await;
    looked.ok().and_then(Result::ok).ok_or(Outcome::Failed("store"))
}

/// Why there is no proof.
enum Problem {
    /// The host says that it does not serve the account.
    NotHosted(HostingStatus),
    Other(Failure),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

fn unknown(error: IdentityError) -> Failure {
    let cause = error.cause();
    if error.is_transient() { Outcome::Failed(cause) } else { Outcome::Absent(cause) }
}

/// What is at a path, and at which rev; nothing is `None`.
async fn prove(
    on_read: &OnRead,
    did: &Did,
    collection: &str,
    rkey: &str,
) -> Result<(Tid, Option<Op>), Problem> {
    let mut freshness = Freshness::Cached;
    loop {
        let doc = on_read.0.identity.resolve_did(did, freshness).await.map_err(unknown)?;
        let home = home_in(&doc).map_err(|error| Outcome::Absent(error.cause()))?;
        let body = ask(on_read, &home.pds, did, collection, rkey).await?;
        let (did, path) = (did.clone(), format!("{collection}/{rkey}"));
        let now_us = on_read.0.clock.now_us();
        let check = move || check(body, &did, &path, &home.key, now_us);
        let checked = tokio::task::spawn_blocking(check).await;
        match checked.map_err(|_| Outcome::Failed("panic"))? {
            // Its document may have been renewed since we read it.
            Err(VerifyError::Signature) if freshness == Freshness::Cached => {
                freshness = Freshness::Fresh;
            }
            Err(error) => return Err(Outcome::Refused(error.cause()).into()),
            Ok((rev, record)) => return Ok((rev, record)),
        }
    }
}

fn check(
    body: Bytes,
    did: &Did,
    path: &str,
    key: &PublicKey,
    now_us: u64,
) -> Result<(Tid, Option<Op>), VerifyError> {
    let proven = verify_proof(body, did, path, key, now_us)?;
    // What is no record by its encoding is none.
    let op = proven.record.and_then(|(cid, bytes)| put(path, cid::digest(&cid)?, &bytes, false));
    Ok((proven.rev, op))
}

async fn ask(
    on_read: &OnRead,
    pds: &str,
    did: &Did,
    collection: &str,
    rkey: &str,
) -> Result<Bytes, Problem> {
    let inner = &on_read.0;
    if inner.ledger.is_quiet(pds) {
        return Err(Outcome::Failed("host-quiet").into());
    }
    let did = did.replace('%', "%25");
    let url = format!(
        "{pds}/xrpc/com.atproto.sync.getRecord?did={did}&collection={collection}&rkey={rkey}"
    );
    // The host first: those who wait for a slow one take nobody's place.
    let permit = inner.throttle.acquire(pds).await;
    // The semaphore is never closed.
    let slot = inner.slots.acquire().await;
    let answer = inner.http.get(&url, &LIMITS).await;
    drop(slot);
    let answer = answer.map_err(|error| {
        if error.is_transient() {
            inner.ledger.quiet(pds);
            Outcome::Failed(error.cause())
        } else {
            Outcome::Refused(error.cause())
        }
    })?;
    permit.observe(answer.status, &answer.headers);
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    Err(match refusal(answer.status, &answer.body) {
        FetchError::Refused(_, Some(status)) => Problem::NotHosted(status),
        error @ FetchError::Refused(..) => Outcome::Absent(error.cause()).into(),
        error => {
            let status = answer.status.as_u16();
            if NetError::Status(status).is_transient() {
                inner.ledger.quiet(pds);
            }
            Outcome::Failed(error.cause()).into()
        }
    })
}

async fn apply(on_read: &OnRead, did: &Did, bodies: Vec<Body>) -> Result<Outcome, Failure> {
    let time = on_read.0.clock.now_ms();
    let event = |body| Event::found_here(did.clone(), time, body);
    let events = bodies.into_iter().map(event).collect();
    let applied = on_read.0.sink.apply_parts(did.clone(), events).await;
    applied.map(|()| Outcome::Arrived).map_err(|_| Outcome::Failed("stopped"))
}
