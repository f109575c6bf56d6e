//! When backups are made, and what is said of them.

use std::sync::atomic::AtomicBool;

use super::super::folder::Folder;
use super::*;
use crate::private::{Kind as PrivateKind, testing};
use crate::schema::Edit as _;
use crate::store::Tx;

const NOW: i64 = 1_750_000_000_000;
const HOUR: i64 = 3_600_000;

struct World {
    dir: tempfile::TempDir,
    schedule: Arc<Schedule>,
    clock: Clock,
    writer: Writer,
    told: Arc<Mutex<Vec<String>>>,
    short: Arc<AtomicBool>,
}

impl World {
    /// A whole one every day, private state every hour.
    fn new(dir: tempfile::TempDir) -> Self {
        let store = Store::open(&dir.path().join("store"), 64 << 20).unwrap();
        let (writer, _thread) = Writer::start(store.clone()).unwrap();
        let clock = Clock::stopped_at(NOW);
        let (told, short) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (hears, sees) = (Arc::clone(&told), Arc::clone(&short));
        let server = Server {
            store,
            writer: writer.clone(),
            clock: clock.clone(),
            believed: Box::new(|| true),
            is_short: Box::new(move || sees.load(Ordering::SeqCst)),
            keys: Vec::new(),
            tell: Box::new(move |_, message| hears.lock().push(message.to_owned())),
        };
        let place = dir.path().join("backups");
        let settings = config::Backup {
            place: Some(place.display().to_string()),
            every: Duration::from_secs(86_400),
            private: Duration::from_secs(3600),
            keep: 2,
            ..config::Backup::default()
        };
        let folder = Box::new(Folder::new(place));
        let repository = Repository { place: folder, recipients: None, identities: None, rate: 0 };
        let schedule = Schedule::new(server, Some(repository), settings);
        Self { dir, schedule, clock, writer, told, short }
    }

    /// Looks until nothing is due or under way.
    async fn look(&self) {
        loop {
            let schedule = Arc::clone(&self.schedule);
            let before = schedule.state.lock().runs;
            tokio::task::spawn_blocking(move || schedule.look()).await.unwrap();
            while self.schedule.is_running() {
                tokio::task::yield_now().await;
            }
            if self.schedule.state.lock().runs == before {
                return;
            }
        }
    }

    async fn save(&self) {
        let seen = |tx: &mut Tx<'_>| {
            let viewer = tx.intern_actor("did:plc:a")?;
            testing::put(tx, PrivateKind::Seen, viewer, None, NOW)
        };
        self.writer.durable(seen).await.unwrap();
    }

    fn made(&self) -> Vec<&'static str> {
        let repository = self.schedule.repository.as_ref().unwrap();
        let mut made: Vec<_> =
            repository.ids().unwrap().iter().map(|id| id.kind().name()).collect();
        made.sort_unstable();
        made
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_has_its_time_and_what_did_not_change_is_left_out() {
    let w = World::new(tempfile::tempdir().unwrap());
    w.look().await;
    assert_eq!(w.made(), ["whole"], "there is no private state");
    w.save().await;
    w.look().await;
    assert_eq!(w.made(), ["private", "whole"]);
    for hours in 1..5 {
        w.clock.set(NOW + hours * HOUR);
        w.look().await;
    }
    assert_eq!(w.made(), ["private", "whole"], "nothing was saved");
    w.save().await;
    w.look().await;
    assert_eq!(w.made(), ["private", "private", "whole"]);
    let status = w.schedule.status();
    assert_eq!((status.private.age_s, status.whole.age_s), (Some(0), Some(4 * 3600)));
    assert_eq!(status.whole.next, Some(NOW + 24 * HOUR));
    assert!(status.running.is_none() && status.whole.last.unwrap().brought > Some(0));
    // Old ones go by themselves.
    for days in 1..4 {
        w.clock.set(NOW + days * 24 * HOUR);
        w.look().await;
    }
    assert_eq!(w.made().iter().filter(|kind| **kind == "whole").count(), 2);
    assert_eq!(*w.told.lock(), Vec::<String>::new());
    // A new process finds what there is.
    let World { dir, schedule, writer, .. } = w;
    let last = schedule.status().private.last.unwrap().id;
    writer.stop().await;
    drop((schedule, writer));
    let again = World::new(dir);
    again.clock.set(NOW + 3 * 24 * HOUR);
    again.look().await;
    assert_eq!(again.schedule.state.lock().runs, 0, "nothing is due");
    assert_eq!(again.schedule.status().private.last.unwrap().id, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_once_and_tried_again_and_so_is_age() {
    let w = World::new(tempfile::tempdir().unwrap());
    let backups = w.dir.path().join("backups");
    w.look().await;
    std::fs::rename(&backups, w.dir.path().join("away")).unwrap();
    std::fs::write(&backups, "a file").unwrap();
    w.clock.set(NOW + 25 * HOUR);
    w.look().await;
    w.look().await;
    assert_eq!(w.schedule.state.lock().runs, 3, "it is not tried again at once");
    let error = w.schedule.status().whole.error.unwrap();
    assert!(error.contains("backups"), "{error}");
    w.clock.set(NOW + 26 * HOUR);
    w.look().await;
    assert_eq!(w.told.lock().len(), 1, "{:?}", w.told.lock());
    w.clock.set(NOW + 49 * HOUR);
    w.look().await;
    w.look().await;
    let told = w.told.lock().clone();
    assert!(told.len() == 2 && told[1].contains("49 hours old"), "{told:?}");
    std::fs::remove_file(&backups).unwrap();
    w.clock.set(NOW + 50 * HOUR);
    w.look().await;
    let status = w.schedule.status();
    assert!(status.whole.error.is_none() && status.whole.age_s == Some(0), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_nearly_full_gets_no_backups() {
    let w = World::new(tempfile::tempdir().unwrap());
    w.short.store(true, Ordering::SeqCst);
    w.look().await;
    assert_eq!((w.made().len(), w.schedule.status().held.is_some()), (0, true));
    assert!(w.schedule.begin(Kind::Whole).unwrap_err().contains("nearly full"));
    w.short.store(false, Ordering::SeqCst);
    w.look().await;
    assert_eq!(w.made(), ["whole"]);
    // One that is under way ends.
    w.schedule.begin(Kind::Whole).unwrap();
    assert!(w.schedule.begin(Kind::Private).unwrap_err().contains("under way"));
}
