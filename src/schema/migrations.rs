//! How rows of older formats become those of this one, and the one way to open a store that may have them.
//!
//! A step reads the rows of the format before it with code of its own, since what the rest of `schema` reads is always the
//! newest format; so it stays here as it is for as long as anybody may have such a store. How a step is taken, stopped and
//! gone on with is `store::migrate`'s matter.

use std::path::Path;

use super::bytes::{ByteReader, push_varint};
use crate::store::{Ks, Migrated, Progress, Rewrite, Step, Store, StoreError};

/// The way to each format from the one before it.
const STEPS: &[Step] = &[Step {
    from: 2,
    rewrites: &[Rewrite { ks: Ks::Actor, name: "kinds of records of accounts", row: kinds }],
}];

/// Opens a store (see [`Store::open`]), bringing one of an older format to this one. `told` hears how far that is, often.
pub fn open(
    path: &Path,
    memory_budget: u64,
    told: &mut dyn FnMut(&Progress),
) -> Result<Store, StoreError> {
    Store::open_with(path, memory_budget, STEPS, told)
}

/// 2 to 3: the last byte of an account's row, a bit for each of eight kinds that it may have records of, becomes a number
/// with a bit for each kind that it has none of. Rows that were written before there was such a byte get it.
fn kinds(key: &[u8], value: &[u8]) -> Migrated {
    if key.first() != Some(&b'a') {
        return Migrated::Same;
    }
    let mut r = ByteReader::new(value);
    let read = r.u8().and(r.zigzag()).and(r.zigzag()).and(r.blob());
    let may_have = match (read, r.rest()) {
        (Some(_), []) => u8::MAX,
        (Some(_), [bits]) => *bits,
        _ => return Migrated::Damaged,
    };
    let mut new = value.get(..value.len() - r.rest().len()).unwrap_or_default().to_vec();
    push_varint(&mut new, u64::from(!may_have));
    Migrated::Changed(new)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::schema::bytes::{push_blob, push_zigzag};
    use crate::schema::rows::{ActorRow, actor_key};
    use crate::schema::{ActorId, CollId, Rows, collections as c};
    use crate::store::{FORMAT, Writer};

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

    #[test]
    fn every_format_from_the_first_saved_one_on_leads_to_this_one() {
        let from: Vec<u32> = STEPS.iter().map(|step| step.from).collect();
        assert_eq!(from, (2..FORMAT).collect::<Vec<_>>());
    }

    #[test]
    fn an_account_may_have_after_the_step_what_it_might_before() {
        let key = actor_key(ActorId(7));
        for bits in 0..=u8::MAX {
            let Migrated::Changed(new) = kinds(&key, &old_row(9, "a.example", Some(bits))) else {
                panic!("{bits}");
            };
            let row = ActorRow::decode(&new).unwrap();
            assert_eq!((row.indexed, row.handle.as_deref()), (9, Some("a.example")));
            let may = EIGHT.map(|coll| row.kinds.may_have(coll));
            assert_eq!(may, [0, 1, 2, 3, 4, 5, 6, 7].map(|bit| bits & 1 << bit != 0), "{bits}");
            assert_eq!(row.encode(), new);
        }
        let Migrated::Changed(new) = kinds(&key, &old_row(9, "", None)) else { panic!() };
        assert!(EIGHT.iter().all(|coll| ActorRow::decode(&new).unwrap().kinds.may_have(*coll)));
        assert_eq!(kinds(b"hname", &[1, 2, 3]), Migrated::Same);
        let long = [old_row(9, "", Some(1)), vec![2]].concat();
        for damaged in [&[][..], &[0, 1, 2, 200], &long] {
            assert_eq!(kinds(&key, damaged), Migrated::Damaged);
        }
    }

    /// Where the child of the next test finds its store, and how many accounts the test has.
    const FOLDER: &str = "AERIE_TEST_MIGRATION";
    const ACCOUNTS: &str = "AERIE_TEST_MIGRATION_ACCOUNTS";

    #[test]
    #[ignore = "the child of the next test"]
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

    /// Two million accounts were measured by hand, with `AERIE_TEST_MIGRATION_ACCOUNTS`.
    #[test]
    fn a_migration_that_is_killed_goes_on_where_it_was_and_says_so() {
        let accounts: u32 = std::env::var(ACCOUNTS).map_or(200_000, |n| n.parse().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), BUDGET).unwrap();
        let (writer, thread) = Writer::start_bulk(store.clone()).unwrap();
        let row = |id: u32| old_row(i64::from(id), "", Some(id.to_be_bytes()[3]));
        for begin in (1..=accounts).step_by(10_000) {
            let fill = move |tx: &mut crate::store::Tx<'_>| {
                for id in begin..(begin + 10_000).min(accounts + 1) {
                    tx.put(Ks::Actor, &actor_key(ActorId(id)), &row(id));
                }
                Ok(())
            };
            writer.submit_blocking(fill).unwrap();
        }
        let older = |tx: &mut crate::store::Tx<'_>| {
            tx.put(Ks::Meta, b"format", &2u32.to_be_bytes());
            Ok(())
        };
        writer.submit_blocking(older).unwrap();
        drop(writer);
        thread.join().unwrap().unwrap();
        drop(store);
        std::fs::remove_file(dir.path().join("format")).unwrap();

        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "schema::migrations::tests::child_that_migrates"])
            .args(["--ignored", "--nocapture"])
            .env(FOLDER, dir.path())
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
        let reached = reached.unwrap();

        let mut told = Vec::new();
        let begun = std::time::Instant::now();
        let store = open(dir.path(), BUDGET, &mut |p| told.push(*p)).unwrap();
        println!("{} after {:?}", told.last().unwrap(), begun.elapsed());
        let (first, last) = (told[0], told[told.len() - 1]);
        assert!(first.done >= reached && first.done < u64::from(accounts), "{first}");
        assert_eq!((last.done, last.damaged), (u64::from(accounts), 0));
        assert!(told.windows(2).all(|w| w[0].done <= w[1].done) && told.len() > 3);
        let line = last.to_string();
        assert!(line.starts_with("store: format 2 becomes 3: kinds"), "{line}");
        let s = store.snapshot();
        for id in 1..=accounts {
            let row = s.actor(ActorId(id)).unwrap().unwrap();
            let bits = id.to_be_bytes()[3];
            assert_eq!(row.indexed, i64::from(id));
            let may = EIGHT.map(|coll| row.kinds.may_have(coll));
            assert_eq!(may, [0, 1, 2, 3, 4, 5, 6, 7].map(|bit| bits & 1 << bit != 0), "{id}");
        }
    }
}
