//! A store whose changes are followed by the indexes of search.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Search, Seen, Settings};
use crate::changes::catch_up::{Step, rest, step};
use crate::changes::{Follower, Log};
use crate::event::{Body, IdentityState, Op};
use crate::index::Index;
use crate::index::testing::*;
use crate::schema::{ActorId, PostId};
use crate::search::eval::{Ask, Newest, Next, Plan, Span};
use crate::search::index::TextField;

/// The store, the log, and the indexes in a folder.
pub(crate) struct Found {
    pub(crate) world: World,
    pub(crate) log: Arc<Log>,
    pub(crate) search: Arc<Search>,
    pub(crate) home: tempfile::TempDir,
}

pub(crate) const SETTINGS: Settings =
    Settings { commit_interval: Duration::ZERO, batch: 100, bytes: 64 << 20 };

/// A post with these words, written at second `n`.
pub(crate) fn say(n: u64, words: &str) -> Op {
    let fields = [("$type", text(POST)), ("text", text(words)), ("createdAt", text(at(n)))];
    op(POST, n, map(fields))
}

/// A profile with a name and a description.
pub(crate) fn profile(name: &str, bio: &str) -> Op {
    let fields = [
        ("$type", text("app.bsky.actor.profile")),
        ("displayName", text(name)),
        ("description", text(bio)),
    ];
    let mut op = op("app.bsky.actor.profile", 1, map(fields));
    op.rkey = "self".into();
    op
}

impl Found {
    /// An account with a handle, and a name and a description if it has one.
    pub(crate) async fn person(&mut self, who: &str, handle: &str, name: &str, bio: &str) {
        let handle = Some(handle.to_owned());
        let identity = IdentityState { handle, key: None, pds: None };
        self.world.event(who, Body::Identity(identity)).await;
        if !name.is_empty() {
            self.world.commit(who, [profile(name, bio)]).await;
        }
    }

    pub(crate) async fn new() -> Self {
        Self::with(SETTINGS).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let mut world = World::new();
        let home = tempfile::tempdir().unwrap();
        let search = Arc::new(Search::new(home.path(), settings));
        let follower = Arc::clone(&search) as Arc<dyn Follower>;
        let log = Log::start(&world.store, &world.writer, vec![follower]).await.unwrap();
        world.index = Arc::new(Index::new(&world.store).unwrap().0.logging(Arc::clone(&log)));
        Self { world, log, search, home }
    }

    /// The process ends without a word, and starts again.
    pub(crate) async fn crash(&mut self, settings: Settings) {
        // The engine's lock goes with the process, here with what holds it.
        let old =
            std::mem::replace(&mut self.search, Arc::new(Search::new(&PathBuf::new(), settings)));
        let gone = Arc::clone(&self.search) as Arc<dyn Follower>;
        self.log = Log::start(&self.world.store, &self.world.writer, vec![gone]).await.unwrap();
        self.world.index =
            Arc::new(Index::new(&self.world.store).unwrap().0.logging(Arc::clone(&self.log)));
        assert_eq!(Arc::strong_count(&old), 1);
        drop(old);
        self.search = Arc::new(Search::new(self.home.path(), settings));
        let follower = Arc::clone(&self.search) as Arc<dyn Follower>;
        self.log = Log::start(&self.world.store, &self.world.writer, vec![follower]).await.unwrap();
        self.world.index =
            Arc::new(Index::new(&self.world.store).unwrap().0.logging(Arc::clone(&self.log)));
    }

    /// Follows to the tip.
    pub(crate) fn catch_up(&self) {
        while step(&self.log, &*self.search).unwrap() == Step::Moved {}
        rest(&self.log, &*self.search).unwrap();
    }

    /// Does something to every file that says which documents have a term.
    pub(crate) fn damage(&self, generation: u64, how: impl Fn(&Path)) {
        let posts = self.home.path().join(generation.to_string()).join("posts");
        let mut damaged = 0;
        for file in std::fs::read_dir(&posts).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|ext| ext == "idx") {
                how(&file);
                damaged += 1;
            }
        }
        assert!(damaged > 0);
    }

    /// A byte is another.
    pub(crate) fn flip(file: &Path) {
        let mut bytes = std::fs::read(file).unwrap();
        bytes[3] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }

    pub(crate) fn seen(&self) -> Seen {
        self.search.seen().unwrap()
    }

    /// Which posts have a word, the newest first, by the seconds at which they were written.
    pub(crate) fn with_word(&self, word: &str) -> Vec<u64> {
        newest(&self.seen(), &Plan::Term(TextField::Text, word.to_owned()))
            .into_iter()
            .map(second)
            .collect()
    }
}

pub(crate) fn second(post: PostId) -> u64 {
    u64::try_from(post.rkey.millis() - 1_700_000_000_000).unwrap() / 1000
}

pub(crate) fn ask(plan: &Plan) -> Ask<'_> {
    let deadline = Instant::now() + Duration::from_secs(600);
    Ask { plan, span: Span::default(), hidden: &nobody, deadline }
}

fn nobody(_: ActorId) -> bool {
    false
}

/// All that a plan wants of the posts.
pub(crate) fn newest(seen: &Seen, plan: &Plan) -> Vec<PostId> {
    let mut newest = Newest::new(&seen.posts, &seen.records, ask(plan), None);
    let mut out = Vec::new();
    while let Next::Found(candidate) = newest.advance().unwrap() {
        out.push(candidate.at.post);
    }
    out
}
