//! A network that lives for a year: who does what is drawn by lot, the same each time.
//!
//! Those whom members follow from the first day on, and these members, answer, like, repost and quote only what is two
//! days old at most, with all that is above it and in it, or what one of them wrote: then everything of it is held at
//! that time in a window, and has to stay. All others take up what they like, however old.

use std::collections::BTreeMap;
use std::sync::Arc;

use aerie::event::{Body, Commit, Event, HostingStatus, IdentityState, Op, Record};
use aerie::repo::{dag_cbor, mst};
use aerie::syntax::{Did, Tid, cid, datetime};
use ipld_core::ipld::Ipld;
use parking_lot::Mutex;

pub(crate) const DAY: i64 = 86_400_000;
/// 2024-01-01
pub(crate) const BEGIN: i64 = 1_704_067_200_000;

pub(crate) const POST: &str = "app.bsky.feed.post";
const LIKE: &str = "app.bsky.feed.like";
const REPOST: &str = "app.bsky.feed.repost";
const FOLLOW: &str = "app.bsky.graph.follow";
const BLOCK: &str = "app.bsky.graph.block";
const GATE: &str = "app.bsky.feed.threadgate";
const POSTGATE: &str = "app.bsky.feed.postgate";
const PROFILE: &str = "app.bsky.actor.profile";
const LIST: &str = "app.bsky.graph.list";
const NOTE: &str = "com.example.note";

/// A repo as its PDS has it.
pub(crate) struct Repo {
    pub(crate) rev: Tid,
    pub(crate) data: [u8; 32],
    pub(crate) records: BTreeMap<(Arc<str>, Arc<str>), Record>,
}

/// All repos.
pub(crate) type Pds = Arc<Mutex<BTreeMap<Did, Repo>>>;

/// What happens.
#[derive(Clone)]
pub(crate) enum Step {
    Event(Event),
    /// A member looks at a post, and takes it up next.
    Read(String),
    Join(Did),
    Bookmark(Did, String),
}

/// When an account is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// From the first day to the last.
    Founder,
    /// Later, or not all the time.
    Late,
    Stranger,
}

pub(crate) struct Account {
    pub(crate) did: Did,
    pub(crate) role: Role,
    gone: bool,
    follows: BTreeMap<usize, String>,
}

struct Post {
    author: usize,
    rkey: String,
    uri: String,
    /// The time of the oldest post that it is shown with; none for what founders wrote.
    oldest: i64,
    root: Option<usize>,
    replies: u32,
    live: bool,
}

/// Numbers that look random and are not.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

pub(crate) struct Network {
    pub(crate) accounts: Vec<Account>,
    pub(crate) pds: Pds,
    posts: Vec<Post>,
    /// Likes and reposts, to be taken back.
    edges: Vec<(usize, &'static str, String)>,
    dice: Dice,
    now: i64,
    /// Strangers block each other and say who may answer, which a circle does not hear of.
    feuds: bool,
}

/// Members, of whom the last joins in May; then whom they follow.
pub(crate) const MEMBERS: usize = 3;
const FOUNDERS: usize = 8;
const LATE: usize = 5;
const STRANGERS: usize = 60;
const PER_DAY: usize = 32;

fn map<const N: usize>(fields: [(&str, Ipld); N]) -> Ipld {
    Ipld::Map(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

fn text(s: impl Into<String>) -> Ipld {
    Ipld::String(s.into())
}

fn strong(uri: &str) -> Ipld {
    map([("uri", text(uri)), ("cid", text(cid::for_record(uri.as_bytes()).to_string()))])
}

impl Network {
    pub(crate) fn new(seed: u64, feuds: bool) -> Self {
        let names = (0..MEMBERS).map(|n| format!("m{n}"));
        let names = names.chain((MEMBERS..FOUNDERS + 1).map(|n| format!("f{n}")));
        let names = names.chain((0..LATE).map(|n| format!("l{n}")));
        let names = names.chain((0..STRANGERS).map(|n| format!("s{n}")));
        let account = |(n, name): (usize, String)| Account {
            did: Did::parse(&format!("did:web:{name}.example")).unwrap(),
            role: match n {
                2 => Role::Late,
                _ if n <= FOUNDERS => Role::Founder,
                _ if n <= FOUNDERS + LATE => Role::Late,
                _ => Role::Stranger,
            },
            gone: false,
            follows: BTreeMap::new(),
        };
        let accounts: Vec<_> = names.enumerate().map(account).collect();
        let dice = Dice(seed);
        let (posts, edges, pds) = (Vec::new(), Vec::new(), Pds::default());
        Self { accounts, pds, posts, edges, dice, now: BEGIN, feuds }
    }

    /// The first steps: everybody is there, members join and follow whom they follow all year.
    pub(crate) fn found(&mut self, each: &mut impl FnMut(Step)) {
        for n in 0..self.accounts.len() {
            self.now += 1000;
            let did = self.accounts[n].did.clone();
            let handle = Some(did.as_str().trim_start_matches("did:web:").to_owned());
            let state = IdentityState { handle, key: None, pds: None };
            each(Step::Event(self.event(n, Body::Identity(state))));
            self.profile(n, each);
        }
        for member in 0..2 {
            each(Step::Join(self.accounts[member].did.clone()));
            for whom in (0..2).chain(MEMBERS..=FOUNDERS).filter(|whom| *whom != member) {
                // One follows them all, the other half of them.
                if member == 0 || whom % 2 == 0 {
                    self.follow(member, whom, each);
                }
            }
        }
        self.follow(0, FOUNDERS + LATE, each);
    }

    /// A day.
    pub(crate) fn live(&mut self, day: i64, each: &mut impl FnMut(Step)) {
        let late = |n| FOUNDERS + 1 + n;
        let begin = BEGIN + day * DAY;
        let last = late(LATE - 1);
        for n in 0..PER_DAY {
            self.now = begin + i64::try_from(n + 1).unwrap() * (DAY / 100);
            self.something(each);
        }
        self.now += 1000;
        match day {
            60 => self.follow(0, late(0), each),
            100 => self.unfollow(0, last, each),
            130 => {
                for whom in [0, 4, late(1), late(2)] {
                    self.follow(2, whom, each);
                }
                each(Step::Join(self.accounts[2].did.clone()));
            }
            200 => self.follow(0, last, each),
            240 => self.follow(1, late(3), each),
            // Two strangers leave for good.
            90 | 270 => self.leave(self.accounts.len() - usize::try_from(day / 90).unwrap(), each),
            _ => {}
        }
    }

    fn something(&mut self, each: &mut impl FnMut(Step)) {
        let who = match self.dice.roll(16) {
            0 => self.dice.roll(FOUNDERS + LATE + 1),
            _ => FOUNDERS + LATE + 1 + self.dice.roll(STRANGERS),
        };
        if self.accounts[who].gone {
            return;
        }
        match self.dice.roll(100) {
            0..22 => self.post(who, None, None, each),
            22..48 => {
                let parent = self.pick(who, each);
                self.post(who, parent, None, each);
            }
            48..55 => {
                let quoted = self.pick(who, each);
                self.post(who, None, quoted, each);
            }
            55..74 => self.refer(who, LIKE, each),
            74..82 => self.refer(who, REPOST, each),
            82..86 => {
                let whom = self.dice.roll(self.accounts.len());
                // Whom members follow is decided elsewhere.
                if who >= MEMBERS && whom != who {
                    self.follow(who, whom, each);
                }
            }
            86..92 => self.take_back(each),
            92..94 => self.gate(who, each),
            94..96 => self.profile(who, each),
            96 => self.block(who, each),
            97 => {
                let name = self.prose(20);
                let v = [("name", name), ("purpose", text("app.bsky.graph.defs#curatelist"))];
                self.create(who, LIST, None, map(v), each);
            }
            98 => {
                let body = self.prose(500);
                self.create(who, NOTE, None, map([("body", body)]), each);
            }
            _ if who < 2 => {
                if let Some(post) = self.pick(who, each) {
                    let uri = self.posts[post].uri.clone();
                    each(Step::Bookmark(self.accounts[who].did.clone(), uri));
                }
            }
            _ => {}
        }
    }

    /// A post to take up; who is a member has seen it before.
    fn pick(&mut self, who: usize, each: &mut impl FnMut(Step)) -> Option<usize> {
        let founder = self.accounts[who].role == Role::Founder;
        let since = self.now - 2 * DAY;
        for _ in 0..40 {
            // The newest most of the time, and of the few rather than of the many.
            let len = self.posts.len();
            let among = if self.dice.roll(5) == 0 { len } else { len.min(300) };
            if among == 0 {
                return None;
            }
            let n = len - 1 - self.dice.roll(among);
            let post = &self.posts[n];
            let kept = self.accounts[post.author].role != Role::Stranger;
            if !post.live || founder && post.oldest < since || !kept && self.dice.roll(4) == 0 {
                continue;
            }
            if who < MEMBERS {
                each(Step::Read(self.posts[n].uri.clone()));
            }
            return Some(n);
        }
        None
    }

    fn post(
        &mut self,
        who: usize,
        parent: Option<usize>,
        quoted: Option<usize>,
        each: &mut impl FnMut(Step),
    ) {
        let len = 200 + self.dice.roll(2000);
        let mut fields = vec![("text", self.prose(len))];
        let root = parent.map(|p| self.posts[p].root.unwrap_or(p));
        if let (Some(parent), Some(root)) = (parent, root) {
            let of = |n: usize| strong(&self.posts[n].uri);
            fields.push(("reply", map([("root", of(root)), ("parent", of(parent))])));
            self.posts[parent].replies += 1;
        }
        if let Some(quoted) = quoted {
            let record = strong(&self.posts[quoted].uri);
            let embed = map([("$type", text("app.bsky.embed.record")), ("record", record)]);
            fields.push(("embed", embed));
        }
        if parent.is_none() && quoted.is_none() && self.dice.roll(6) == 0 {
            let whom = self.dice.roll(self.accounts.len());
            let did = text(self.accounts[whom].did.as_str());
            let mention = map([("$type", text("app.bsky.richtext.facet#mention")), ("did", did)]);
            let at = map([("byteStart", Ipld::Integer(0)), ("byteEnd", Ipld::Integer(5))]);
            let facet = map([("index", at), ("features", Ipld::List(vec![mention]))]);
            fields.push(("facets", Ipld::List(vec![facet])));
        }
        let value = Ipld::Map(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
        let rkey = self.create(who, POST, None, value, each);
        let uri = self.uri(who, POST, &rkey);
        let shown = [parent, root, quoted].into_iter().flatten().map(|n| self.posts[n].oldest);
        let oldest = match self.accounts[who].role {
            Role::Founder => i64::MAX,
            _ => shown.min().unwrap_or(i64::MAX).min(self.now),
        };
        self.posts.push(Post { author: who, rkey, uri, oldest, root, replies: 0, live: true });
    }

    fn refer(&mut self, who: usize, kind: &'static str, each: &mut impl FnMut(Step)) {
        let Some(post) = self.pick(who, each) else { return };
        let subject = strong(&self.posts[post].uri);
        let rkey = self.create(who, kind, None, map([("subject", subject)]), each);
        self.edges.push((who, kind, rkey));
    }

    /// Somebody deletes something. A post between others stays: what is above a gap may go with age, see `linked`.
    fn take_back(&mut self, each: &mut impl FnMut(Step)) {
        if self.dice.roll(3) > 0 && !self.edges.is_empty() {
            let n = self.dice.roll(self.edges.len());
            let (who, kind, rkey) = self.edges.swap_remove(n);
            return self.delete(who, kind, &rkey, each);
        }
        if self.posts.is_empty() {
            return;
        }
        let n = self.posts.len() - 1 - self.dice.roll(self.posts.len().min(500));
        let post = &mut self.posts[n];
        if post.live && (post.replies == 0 || post.root.is_none()) {
            post.live = false;
            let (who, rkey) = (post.author, post.rkey.clone());
            self.delete(who, POST, &rkey, each);
        }
    }

    fn gate(&mut self, who: usize, each: &mut impl FnMut(Step)) {
        if self.accounts[who].role == Role::Stranger && !self.feuds {
            return;
        }
        let own = self.posts.iter().rposition(|p| p.author == who && p.live && p.root.is_none());
        let Some(post) = own else { return };
        let (uri, rkey) = (text(self.posts[post].uri.clone()), self.posts[post].rkey.clone());
        let value = match self.dice.roll(2) {
            0 => return drop(self.create(who, POSTGATE, Some(rkey), map([("post", uri)]), each)),
            _ => map([("post", uri), ("allow", Ipld::List(Vec::new()))]),
        };
        self.create(who, GATE, Some(rkey), value, each);
    }

    fn profile(&mut self, who: usize, each: &mut impl FnMut(Step)) {
        let v = [("displayName", self.prose(12)), ("description", self.prose(100))];
        self.create(who, PROFILE, Some("self".to_owned()), map(v), each);
    }

    /// A block of a stranger: those whom members follow block none of each other, or pages would be empty.
    fn block(&mut self, who: usize, each: &mut impl FnMut(Step)) {
        let whom = FOUNDERS + LATE + 1 + self.dice.roll(STRANGERS);
        if whom == who || self.accounts[who].role == Role::Stranger && !self.feuds {
            return;
        }
        let subject = text(self.accounts[whom].did.as_str());
        self.create(who, BLOCK, None, map([("subject", subject)]), each);
    }

    fn follow(&mut self, who: usize, whom: usize, each: &mut impl FnMut(Step)) {
        if self.accounts[who].follows.contains_key(&whom) {
            return;
        }
        self.now += 1000;
        let subject = text(self.accounts[whom].did.as_str());
        let rkey = self.create(who, FOLLOW, None, map([("subject", subject)]), each);
        if who >= MEMBERS {
            self.edges.push((who, FOLLOW, rkey.clone()));
        }
        self.accounts[who].follows.insert(whom, rkey);
    }

    fn unfollow(&mut self, who: usize, whom: usize, each: &mut impl FnMut(Step)) {
        if let Some(rkey) = self.accounts[who].follows.remove(&whom) {
            self.delete(who, FOLLOW, &rkey, each);
        }
    }

    fn leave(&mut self, who: usize, each: &mut impl FnMut(Step)) {
        let did = self.accounts[who].did.clone();
        self.accounts[who].gone = true;
        self.posts.iter_mut().filter(|p| p.author == who).for_each(|p| p.live = false);
        self.edges.retain(|(owner, ..)| *owner != who);
        self.pds.lock().remove(&did);
        each(Step::Event(self.event(who, Body::Account(HostingStatus::Deleted))));
    }

    /// Text that does not compress.
    fn prose(&mut self, len: usize) -> Ipld {
        let letter = |n: usize| char::from(b'!' + u8::try_from(n % 90).unwrap());
        text((0..len).map(|_| letter(self.dice.roll(1 << 20))).collect::<String>())
    }

    fn uri(&self, who: usize, coll: &str, rkey: &str) -> String {
        format!("at://{}/{coll}/{rkey}", self.accounts[who].did)
    }

    fn event(&self, who: usize, body: Body) -> Event {
        Event::found_here(self.accounts[who].did.clone(), self.now, body)
    }

    fn create(
        &mut self,
        who: usize,
        coll: &str,
        rkey: Option<String>,
        mut value: Ipld,
        each: &mut impl FnMut(Step),
    ) -> String {
        let micros = u64::try_from(self.now).unwrap() * 1000;
        let rkey = rkey.unwrap_or_else(|| Tid::from_micros(micros, 1).to_string());
        if let Ipld::Map(fields) = &mut value {
            fields.insert("$type".into(), text(coll));
            fields.insert("createdAt".into(), text(datetime::format_ms(self.now)));
        }
        let bytes = dag_cbor::encode(&value);
        let cid = cid::digest(&cid::for_record(&bytes)).unwrap();
        self.commit(who, coll, &rkey, Some(Record { cid, value, valid: true }), each);
        rkey
    }

    fn delete(&mut self, who: usize, coll: &str, rkey: &str, each: &mut impl FnMut(Step)) {
        if !self.accounts[who].gone {
            self.commit(who, coll, rkey, None, each);
        }
    }

    fn commit(
        &mut self,
        who: usize,
        coll: &str,
        rkey: &str,
        record: Option<Record>,
        each: &mut impl FnMut(Step),
    ) {
        self.now += 1;
        let rev = Tid::from_micros(u64::try_from(self.now).unwrap() * 1000, 1);
        let (coll, rkey): (Arc<str>, Arc<str>) = (coll.into(), rkey.into());
        let mut pds = self.pds.lock();
        let repo = pds.entry(self.accounts[who].did.clone()).or_insert_with(|| Repo {
            rev,
            data: tree(&BTreeMap::new()),
            records: BTreeMap::new(),
        });
        repo.rev = rev;
        let id = (Arc::clone(&coll), Arc::clone(&rkey));
        let created = match &record {
            Some(record) => repo.records.insert(id, record.clone()).is_none(),
            None => repo.records.remove(&id).is_none(),
        };
        let data = tree(&repo.records);
        let prev_data = Some(std::mem::replace(&mut repo.data, data));
        drop(pds);
        let ops = vec![Op { collection: coll, rkey, record, created }];
        let commit = Commit { rev, data: Some(data), prev_data, ops };
        each(Step::Event(self.event(who, Body::Commit(commit))));
    }

    /// Posts of founders that are there, the newest first.
    pub(crate) fn founders_posts(&self) -> impl Iterator<Item = &str> {
        let of = |p: &&Post| p.live && self.accounts[p.author].role == Role::Founder;
        self.posts.iter().rev().filter(of).map(|p| p.uri.as_str())
    }
}

/// The digest of the root of the tree of these records.
fn tree(records: &BTreeMap<(Arc<str>, Arc<str>), Record>) -> [u8; 32] {
    let leaf = |((coll, rkey), record): (&(Arc<str>, Arc<str>), &Record)| {
        (format!("{coll}/{rkey}"), cid::for_digest(cid::DAG_CBOR, &record.cid))
    };
    let mut leaves: Vec<_> = records.iter().map(leaf).collect();
    leaves.sort_unstable();
    cid::digest(&mst::root(leaves.iter().map(|(path, cid)| (path.as_bytes(), cid)))).unwrap()
}
