//! How rows of older formats become those of this one, and the one way to open a store that may have them.
//!
//! A step reads the rows of the format before it with code of its own, since what the rest of `schema` reads is always the
//! newest format; so it stays here as it is for as long as anybody may have such a store. How a step is taken, stopped and
//! gone on with is `store::migrate`'s matter.

use std::path::Path;

use super::Rows as _;
use super::bytes::{ByteReader, push_varint};
use crate::store::{Ks, Migrated, Plan, Progress, Rewrite, Snapshot, Step, Store, StoreError};

/// The way to each format from the one before it.
const STEPS: &[Step] = &[
    Step {
        from: 2,
        rewrites: &[Rewrite { ks: Ks::Actor, name: "kinds of records of accounts", row: kinds }],
    },
    Step {
        from: 3,
        rewrites: &[
            Rewrite { ks: Ks::Post, name: "CIDs of posts", row: post },
            Rewrite { ks: Ks::Record, name: "CIDs of records", row: record },
        ],
    },
];

/// Opens a store (see [`Store::open`]), bringing one of an older format to this one. `told` hears how far that is, often.
pub fn open(
    path: &Path,
    memory_budget: u64,
    told: &mut dyn FnMut(&Progress),
) -> Result<Store, StoreError> {
    Store::open_with(path, memory_budget, STEPS, told)
}

/// The same; of a store that has an older format `before` is told first, with the format. If it fails, nothing is changed.
pub fn open_after(
    path: &Path,
    memory_budget: u64,
    before: &mut dyn FnMut(&Store, u32) -> Result<(), StoreError>,
    told: &mut dyn FnMut(&Progress),
) -> Result<Store, StoreError> {
    Store::open_after(path, memory_budget, STEPS, before, told)
}

/// What [`open`] would change of a store.
pub fn plan(path: &Path) -> Result<Plan, StoreError> {
    crate::store::plan(path, STEPS)
}

/// 2 to 3: the last byte of an account's row, a bit for each of eight kinds that it may have records of, becomes a number
/// with a bit for each kind that it has none of. Rows that were written before there was such a byte get it.
fn kinds(_: &Snapshot, key: &[u8], value: &[u8]) -> Result<Migrated, StoreError> {
    if key.first() != Some(&b'a') {
        return Ok(Migrated::Same);
    }
    let mut r = ByteReader::new(value);
    let read = r.u8().and(r.zigzag()).and(r.zigzag()).and(r.blob());
    let may_have = match (read, r.rest()) {
        (Some(_), []) => u8::MAX,
        (Some(_), [bits]) => *bits,
        _ => return Ok(Migrated::Damaged),
    };
    let mut new = value.get(..value.len() - r.rest().len()).unwrap_or_default().to_vec();
    push_varint(&mut new, u64::from(!may_have));
    Ok(Migrated::Changed(new))
}

/// 3 to 4: two bytes of flags, then the CID that every post had. It goes if the packed record behind the number gives it,
/// else the highest flag says that it is there.
fn post(names: &Snapshot, _: &[u8], value: &[u8]) -> Result<Migrated, StoreError> {
    let mut r = ByteReader::new(value);
    let (Some([high, low]), Some(cid)) = (r.array::<2>(), r.array::<32>()) else {
        return Ok(Migrated::Damaged);
    };
    let behind = r.rest();
    if high & 1 << 7 != 0 || r.zigzag().is_none() {
        return Ok(Migrated::Damaged);
    }
    let mut new = Vec::with_capacity(value.len());
    if gives(names, r.rest(), cid)? {
        new.extend([high, low]);
    } else {
        new.extend([high | 1 << 7, low]);
        new.extend(cid);
    }
    new.extend_from_slice(behind);
    Ok(Migrated::Changed(new))
}

/// 3 to 4: the CID that every record had, then a byte that is 1 in a valid one, and two numbers. The byte comes first, and
/// 2 in it says that there is a CID.
fn record(names: &Snapshot, _: &[u8], value: &[u8]) -> Result<Migrated, StoreError> {
    let mut r = ByteReader::new(value);
    let (Some(cid), Some(valid)) = (r.array::<32>(), r.u8()) else {
        return Ok(Migrated::Damaged);
    };
    let behind = r.rest();
    if r.zigzag().and(r.zigzag()).is_none() {
        return Ok(Migrated::Damaged);
    }
    let valid = u8::from(valid != 0);
    let mut new = Vec::with_capacity(value.len());
    if gives(names, r.rest(), cid)? {
        new.push(valid);
    } else {
        new.push(valid | 1 << 1);
        new.extend(cid);
    }
    new.extend_from_slice(behind);
    Ok(Migrated::Changed(new))
}

/// Whether a packed record gives its CID. One with a name that is lost does not.
fn gives(names: &Snapshot, packed: &[u8], cid: [u8; 32]) -> Result<bool, StoreError> {
    match names.packed_digest(packed) {
        Ok(digest) => Ok(digest == Some(cid)),
        Err(StoreError::Corrupt(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use ipld_core::ipld::Ipld;

    use super::*;
    use crate::repo::dag_cbor;
    use crate::schema::bytes::{push_blob, push_zigzag};
    use crate::schema::rows::{ActorRow, PostRow, RecordRow, actor_key};
    use crate::schema::{ActorId, CollId, Edit, PostId, RecordId, Rkey, collections as c};
    use crate::store::{FORMAT, Tx, Writer};
    use crate::syntax::cid;

    const BUDGET: u64 = 64 << 20;
    /// What had a bit in format 2, in the order of the bits.
    const EIGHT: [CollId; 8] = [
        c::PROFILE,
        c::STATUS,
        c::LABELER,
        c::CHAT_DECLARATION,
        c::NOTIFICATION_DECLARATION,
        c::GERM_DECLARATION,
        c::BLOCK,
        c::LISTBLOCK,
    ];

    fn old_row(indexed: i64, handle: &str, kinds: Option<u8>) -> Vec<u8> {
        let mut out = vec![0];
        push_zigzag(&mut out, indexed);
        push_zigzag(&mut out, 5);
        push_blob(&mut out, handle.as_bytes());
        out.extend(kinds);
        out
    }

    /// A post as format 3 had it.
    fn old_post(flags: u16, cid: [u8; 32], sort_delta: i64, packed: &[u8]) -> Vec<u8> {
        let mut out = flags.to_be_bytes().to_vec();
        out.extend(cid);
        push_zigzag(&mut out, sort_delta);
        out.extend_from_slice(packed);
        out
    }

    /// A record as format 3 had it.
    fn old_record(cid: [u8; 32], valid: bool, times: [i64; 2], packed: &[u8]) -> Vec<u8> {
        let mut out = cid.to_vec();
        out.push(u8::from(valid));
        push_zigzag(&mut out, times[0]);
        push_zigzag(&mut out, times[0] - times[1]);
        out.extend_from_slice(packed);
        out
    }

    /// A value that names somebody, and the digest of its CID.
    fn value(n: u32) -> (Ipld, [u8; 32]) {
        let text = |text: &str| Ipld::String(text.to_owned());
        let map = [
            ("$type", text("app.bsky.feed.post")),
            ("text", text(&format!("number {n}"))),
            ("createdAt", text("2026-01-01T00:00:00.000Z")),
            ("about", text(&format!("did:web:{}.example", n % 100))),
        ];
        let value = Ipld::Map(map.map(|(key, value)| (key.to_owned(), value)).into());
        let digest = cid::digest(&cid::for_record(&dag_cbor::encode(&value))).unwrap();
        (value, digest)
    }

    fn post_id(n: u32) -> PostId {
        PostId { author: ActorId(1 + n % 7), rkey: Rkey(u64::from(n) << 10) }
    }

    fn record_id(n: u32) -> RecordId {
        RecordId { coll: c::LIST, ..post_id(n).record() }
    }

    /// A store of an older format with these rows.
    fn older(format: u32, fill: impl FnOnce(&mut dyn FnMut(Job))) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), BUDGET).unwrap();
        let (writer, thread) = Writer::start_bulk(store.clone()).unwrap();
        fill(&mut |job| writer.submit_blocking(job).unwrap());
        let last = move |tx: &mut Tx<'_>| {
            tx.put(Ks::Meta, b"format", &format.to_be_bytes());
            Ok(())
        };
        writer.submit_blocking(last).unwrap();
        drop(writer);
        thread.join().unwrap().unwrap();
        drop(store);
        std::fs::remove_file(dir.path().join("format")).unwrap();
        dir
    }

    type Job = Box<dyn FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send>;

    #[test]
    fn every_format_from_the_first_saved_one_on_leads_to_this_one() {
        let from: Vec<u32> = STEPS.iter().map(|step| step.from).collect();
        assert_eq!(from, (2..FORMAT).collect::<Vec<_>>());
    }

    #[test]
    fn an_account_may_have_after_the_step_what_it_might_before() {
        let dir = tempfile::tempdir().unwrap();
        let s = Store::open(dir.path(), BUDGET).unwrap().snapshot();
        let key = actor_key(ActorId(7));
        for bits in 0..=u8::MAX {
            let Migrated::Changed(new) =
                kinds(&s, &key, &old_row(9, "a.example", Some(bits))).unwrap()
            else {
                panic!("{bits}");
            };
            let row = ActorRow::decode(&new).unwrap();
            assert_eq!((row.indexed, row.handle.as_deref()), (9, Some("a.example")));
            let may = EIGHT.map(|coll| row.kinds.may_have(coll));
            assert_eq!(may, [0, 1, 2, 3, 4, 5, 6, 7].map(|bit| bits & 1 << bit != 0), "{bits}");
            assert_eq!(row.encode(), new);
        }
        let Migrated::Changed(new) = kinds(&s, &key, &old_row(9, "", None)).unwrap() else {
            panic!()
        };
        assert!(EIGHT.iter().all(|coll| ActorRow::decode(&new).unwrap().kinds.may_have(*coll)));
        assert_eq!(kinds(&s, b"hname", &[1, 2, 3]).unwrap(), Migrated::Same);
        let long = [old_row(9, "", Some(1)), vec![2]].concat();
        for damaged in [&[][..], &[0, 1, 2, 200], &long] {
            assert_eq!(kinds(&s, &key, damaged).unwrap(), Migrated::Damaged);
        }
    }

    #[test]
    fn a_cid_goes_where_the_record_gives_it_and_stays_where_it_does_not() {
        let (value, digest) = value(1);
        let (mine, other) = (value.clone(), [7; 32]);
        let rows = move |tx: &mut Tx<'_>| -> Result<(), StoreError> {
            let packed = tx.pack(&mine)?;
            // Somebody whom no name is known of.
            let nobody = [&[16][..], &[0xff, 0x7f]].concat();
            for (n, (cid, packed)) in
                [(digest, &packed), (other, &packed), (other, &nobody)].into_iter().enumerate()
            {
                let n = u32::try_from(n).unwrap();
                let post = old_post(0x1801, cid, -9, packed);
                tx.put(Ks::Post, &post_id(n).to_bytes(), &post);
                let record = old_record(cid, n == 1, [1000, 900], packed);
                tx.put(Ks::Record, &record_id(n).to_bytes(), &record);
            }
            tx.put(Ks::Post, &post_id(9).to_bytes(), &[0]);
            tx.put(Ks::Record, &record_id(9).to_bytes(), &[0]);
            Ok(())
        };
        let dir = older(3, |put| put(Box::new(rows)));
        let mut damaged = 0;
        let store = open(dir.path(), BUDGET, &mut |p| damaged += p.damaged).unwrap();
        // Told once for the chunk, and once at the end.
        assert_eq!(damaged, 4);
        let s = store.snapshot();
        for (n, cid) in [(0, None), (1, Some(other)), (2, Some(other))] {
            let post = s.post(post_id(n)).unwrap().unwrap();
            assert_eq!((post.flags, post.cid, post.sort_delta), (0x1801, cid, -9), "{n}");
            let record = s.record(record_id(n)).unwrap().unwrap();
            let expect = (cid, n == 1, 1000, 900);
            assert_eq!((record.cid, record.valid, record.indexed, record.sort), expect, "{n}");
            assert_eq!(post.packed, record.packed);
        }
        let RecordRow { cid, packed, .. } = s.record(record_id(0)).unwrap().unwrap();
        assert_eq!(s.digest(cid, &packed).unwrap(), digest);
        assert_eq!(s.unpack(&packed).unwrap(), value);
        let PostRow { cid, packed, .. } = s.post(post_id(1)).unwrap().unwrap();
        assert_eq!(s.digest(cid, &packed).unwrap(), other);
        assert!(s.post(post_id(9)).is_err() && s.record(record_id(9)).is_err());
    }

    /// Where the child of the tests below finds its store, and how many accounts the first of them has.
    const FOLDER: &str = "AERIE_TEST_MIGRATION";
    const ACCOUNTS: &str = "AERIE_TEST_MIGRATION_ACCOUNTS";

    #[test]
    #[ignore = "the child of the next tests"]
    fn child_that_migrates() {
        let folder = std::env::var_os(FOLDER).unwrap();
        let told = &mut |p: &Progress| {
            println!("progress {} {}", p.done, p.of);
            // Wherever the parent kills it, it is not through.
            if p.done > p.of / 4 * 3 {
                loop {
                    std::thread::park();
                }
            }
        };
        open(Path::new(&folder), BUDGET, told).unwrap();
    }

    /// Begins a migration and kills it; says how far it was.
    fn killed(folder: &Path) -> u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "schema::migrations::tests::child_that_migrates"])
            .args(["--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let reached = lines.find_map(|line| {
            let numbers = line.split_once("progress ")?.1;
            let (done, of) = numbers.split_once(' ')?;
            let (done, of): (u64, u64) = (done.parse().ok()?, of.parse().ok()?);
            (done > of / 3).then_some(done)
        });
        // SIGKILL, while it works on.
        child.kill().unwrap();
        child.wait().unwrap();
        reached.unwrap()
    }

    /// Goes on with a migration that was killed, which was in the first part of its step then.
    fn gone_on(folder: &Path, reached: u64, rows: u32, name: &str) -> Store {
        let mut told = Vec::new();
        let begun = std::time::Instant::now();
        let store = open(folder, BUDGET, &mut |p| told.push(*p)).unwrap();
        println!("{} after {:?}", told.last().unwrap(), begun.elapsed());
        let told: Vec<_> = told.into_iter().filter(|p| p.to_string().contains(name)).collect();
        let (first, last) = (told[0], told[told.len() - 1]);
        assert!(first.done >= reached && first.done < u64::from(rows), "{first}");
        assert_eq!((last.done, last.damaged), (u64::from(rows), 0));
        assert!(told.windows(2).all(|w| w[0].done <= w[1].done) && told.len() > 3);
        store
    }

    /// Two million accounts were measured by hand, with `AERIE_TEST_MIGRATION_ACCOUNTS`.
    #[test]
    fn a_migration_that_is_killed_goes_on_where_it_was_and_says_so() {
        let accounts: u32 = std::env::var(ACCOUNTS).map_or(200_000, |n| n.parse().unwrap());
        let row = |id: u32| old_row(i64::from(id), "", Some(id.to_be_bytes()[3]));
        let dir = older(2, |put| {
            for begin in (1..=accounts).step_by(10_000) {
                put(Box::new(move |tx| {
                    for id in begin..(begin + 10_000).min(accounts + 1) {
                        tx.put(Ks::Actor, &actor_key(ActorId(id)), &row(id));
                    }
                    Ok(())
                }));
            }
        });
        let reached = killed(dir.path());
        let store = gone_on(dir.path(), reached, accounts, "store: format 2 becomes 3: kinds");
        let s = store.snapshot();
        for id in 1..=accounts {
            let row = s.actor(ActorId(id)).unwrap().unwrap();
            let bits = id.to_be_bytes()[3];
            assert_eq!(row.indexed, i64::from(id));
            let may = EIGHT.map(|coll| row.kinds.may_have(coll));
            assert_eq!(may, [0, 1, 2, 3, 4, 5, 6, 7].map(|bit| bits & 1 << bit != 0), "{id}");
        }
    }

    #[test]
    fn records_of_a_migration_that_is_killed_have_the_cid_that_they_had() {
        let posts: u32 = 100_000;
        let dir = older(3, |put| {
            for begin in (0..posts).step_by(10_000) {
                put(Box::new(move |tx| {
                    for n in begin..begin + 10_000 {
                        let (value, digest) = value(n);
                        let packed = tx.pack(&value)?;
                        // Some come from where nobody holds them to their CID.
                        let cid = if n % 9 == 0 { [9; 32] } else { digest };
                        tx.put(Ks::Post, &post_id(n).to_bytes(), &old_post(1, cid, 0, &packed));
                    }
                    Ok(())
                }));
            }
        });
        let reached = killed(dir.path());
        let store = gone_on(dir.path(), reached, posts, "store: format 3 becomes 4: CIDs of posts");
        let s = store.snapshot();
        for n in (0..posts).step_by(7) {
            let row = s.post(post_id(n)).unwrap().unwrap();
            assert_eq!(row.cid, (n % 9 == 0).then_some([9; 32]), "{n}");
            let expect = if n % 9 == 0 { [9; 32] } else { value(n).1 };
            assert_eq!(s.digest(row.cid, &row.packed).unwrap(), expect, "{n}");
        }
    }
}
