//! A follower that mirrors which records are held in which version, from changes alone, and what the store says of that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::catch_up::{Step, step};
use super::follower::Cause;
use super::{Change, Entry, Follower, Log, Position, What};
use crate::index::repo_contents::held_records;
use crate::schema::rebuild::edge_record;
use crate::schema::rows::{AccountStatus, EdgeKind};
use crate::schema::{ActorId, RecordId, Rows};
use crate::store::{Reader, Snapshot, Store};

pub(crate) type Records = BTreeMap<RecordId, [u8; 4]>;

#[derive(Default)]
struct State {
    records: Records,
    position: Position,
    begun: u64,
}

/// The mirror. With a file it is there again after a crash, whole and with its position.
pub(crate) struct Mirror {
    name: &'static str,
    file: Option<PathBuf>,
    wants: fn(&Change) -> bool,
    state: Mutex<State>,
    seen: Mutex<Vec<Entry>>,
    pub(crate) accounts: Mutex<BTreeMap<ActorId, AccountStatus>>,
}

impl Mirror {
    pub(crate) fn new() -> Arc<Self> {
        Self::wanting("mirror", |_| true)
    }

    pub(crate) fn wanting(name: &'static str, wants: fn(&Change) -> bool) -> Arc<Self> {
        Arc::new(Self {
            name,
            file: None,
            wants,
            state: Mutex::default(),
            seen: Mutex::default(),
            accounts: Mutex::default(),
        })
    }

    pub(crate) fn in_file(file: PathBuf) -> Arc<Self> {
        let state = std::fs::read(&file).map(|bytes| State::decode(&bytes)).unwrap_or_default();
        Arc::new(Self {
            name: "mirror",
            file: Some(file),
            wants: |_| true,
            state: Mutex::new(state),
            seen: Mutex::default(),
            accounts: Mutex::default(),
        })
    }

    pub(crate) fn records(&self) -> Records {
        self.state.lock().records.clone()
    }

    /// How often it started from nothing.
    pub(crate) fn begun(&self) -> u64 {
        self.state.lock().begun
    }

    /// What it was told since this was last asked.
    pub(crate) fn seen(&self) -> Vec<Change> {
        std::mem::take(&mut *self.seen.lock()).into_iter().map(|entry| entry.change).collect()
    }

    pub(crate) fn at(&self) -> Position {
        self.state.lock().position.clone()
    }

    /// Reads on as far as there is anything.
    pub(crate) fn catch_up(&self, log: &Log) {
        while step(log, self).unwrap() == Step::Moved {}
    }
}

impl State {
    fn encode(&self) -> Vec<u8> {
        let mut out = self.begun.to_be_bytes().to_vec();
        for (id, cid) in &self.records {
            out.extend_from_slice(&id.to_bytes());
            out.extend_from_slice(cid);
        }
        let position = self.position.to_bytes();
        out.extend_from_slice(&position);
        out.push(u8::try_from(position.len()).unwrap());
        out
    }

    fn decode(bytes: &[u8]) -> Self {
        let (len, rest) = bytes.split_last().unwrap();
        let (rest, position) = rest.split_at(rest.len() - usize::from(*len));
        let (begun, rows) = rest.split_at(8);
        let rows = rows.chunks_exact(20);
        Self {
            records: rows
                .map(|row| {
                    (RecordId::from_bytes(&row[..16]).unwrap(), row[16..].try_into().unwrap())
                })
                .collect(),
            position: Position::from_bytes(position),
            begun: u64::from_be_bytes(begun.try_into().unwrap()),
        }
    }
}

impl Follower for Mirror {
    fn name(&self) -> &'static str {
        self.name
    }

    fn want(&self, change: &Change) -> bool {
        (self.wants)(change)
    }

    fn position(&self) -> Result<Position, Cause> {
        Ok(self.at())
    }

    fn begin(&self, _: &Snapshot, then: &Position) -> Result<(), Cause> {
        let mut state = self.state.lock();
        *state = State { begun: state.begun + 1, position: then.clone(), ..State::default() };
        self.seen.lock().clear();
        self.accounts.lock().clear();
        Ok(())
    }

    fn apply(&self, changes: &[Entry], _: &Snapshot, then: &Position) -> Result<(), Cause> {
        let mut state = self.state.lock();
        for entry in changes {
            let id = entry.change.record();
            match entry.change.what {
                What::Put { cid, .. } => drop(state.records.insert(id.unwrap(), cid)),
                What::Delete { .. } => drop(state.records.remove(&id.unwrap())),
                What::Account { status, .. } => {
                    self.accounts.lock().insert(entry.change.actor, status);
                }
                _ => {}
            }
        }
        self.seen.lock().extend_from_slice(changes);
        state.position = then.clone();
        if let Some(file) = &self.file {
            let part = file.with_extension("part");
            std::fs::write(&part, state.encode())?;
            std::fs::rename(&part, file)?;
        }
        Ok(())
    }
}

/// Every record that the store holds, with the beginning of its digest, without a look at the log.
pub(crate) fn held(store: &Store) -> Records {
    let s = store.snapshot();
    let mut out = Records::new();
    for actor in (1..).map(ActorId).take_while(|actor| s.did(*actor).is_ok()) {
        for record in held_records(&s, actor).unwrap() {
            let coll = s.coll_id(&record.collection).unwrap().unwrap();
            let rkey = s.rkey(&record.rkey).unwrap().unwrap();
            let digest = record.cid.unwrap_or_else(|| {
                let kind = EdgeKind::compact(coll).unwrap();
                let edge = s.edge(kind, actor, rkey).unwrap().unwrap();
                edge_record(&s, kind, actor, rkey, &edge).unwrap().unwrap().1
            });
            out.insert(RecordId { actor, coll, rkey }, *digest.first_chunk().unwrap());
        }
    }
    out
}

/// Rows of the log.
pub(crate) fn rows(store: &Store) -> usize {
    let mut n = 0;
    store
        .snapshot()
        .scan(crate::store::Ks::Events, &[], None, false, &mut |_, _| {
            n += 1;
            true
        })
        .unwrap();
    n
}
