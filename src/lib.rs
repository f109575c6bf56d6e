//! aerie: an AT Protocol AppView in one process.
//!
//! ```text
//! upstream (relay, PDS, labeler)            client (app, bot, browser)        operator (shell)
//!    | websocket, bytes                        | HTTP                            | Unix socket
//!  ingest  read -> decode, verify -> order   xrpc  paths, limits, auth, params  admin  commands
//!    | Event                                   | skeleton (ids) ----- store       |
//!  index   Event -> rows, counts, notices    hydrate (ids -> records, counts,    private, work
//!    | one atomic batch with its cursor        |          viewer state, labels)
//!  store   one writer thread, snapshots      view  (pure: state -> JSON)
//!    | after the commit, by cursor             v
//!  changes -> followers                      response
//! ```
//!
//! `sync` (a repo that is fetched, a file, a record fetched on read) makes the same [`event::Event`] and gives it to the
//! same [`index`]: there is one way to change what came from the network. Nothing that reads depends on anything that
//! ingests; they meet in [`store`]. [`runtime`] makes all of it, part by part, and sees to it that none ends unseen.
//!
//! # Where is what
//!
//! A folder uses only those above it in the table of `tests/layers.rs`; each says in its own page what it does not know.
//!
//! | to see | look into |
//! |---|---|
//! | where a like goes, from the frame to `likeCount` | [`index`], "Where a like goes" |
//! | what starts when, and what happens when it ends | `runtime/house`, `runtime/parts` |
//! | every key of the configuration | `config/options` |
//! | every method, with its auth and handler | `xrpc/api` |
//! | every path that is no method, sockets among them | `xrpc/paths` |
//! | who is signed in to the dashboard; what it shows; its paths | [`login`]; `admin/dashboard`; `xrpc/operator` |
//! | what a page for people shows, and how it looks | `xrpc/html`; [`pages`] |
//! | how a text becomes terms of the index; what the indexes hold and are asked | [`search`] |
//! | how much of what a client may have | `limits/table` |
//! | when something that recurs is due | [`drafts::recurrence`] |
//! | every command of the operator | `admin/protocol`; in the shell `cli` |
//! | every keyspace | `store/keyspace`; every table in it: `schema/tables` |
//! | every kind of private state | `private/kinds` |
//! | what is to be done and must not be forgotten | [`work`] |
//! | who follows what was committed | [`changes`] |
//! | what is checked in a store at rest | `index/check` |
//! | what opens a damaged store again | `store/salvage`, `cli/db/repair`, [`work::refetch`] |
//! | what is looked at to say what is the matter with an installation | [`doctor`] |
//! | what a backup is, how it is made and put back | [`backup`], `store/pin` |
//! | whether the clock is believed | `upkeep/clock`, `ingest/ahead` |
//!
//! | to add | touch |
//! |---|---|
//! | a limit by address or account | its row in `limits/table`, and where it is taken |
//! | a method | its handler in `xrpc/api` and its line in the table there |
//! | a record type with effects | its number in `schema/collections`; insert, delete and check in `index/records`, `index/check`; `records_tests` fails until all three agree; its view |
//! | a follower of the log | its folder with a [`changes::Follower`], and its line in `runtime/house` |
//! | a kind of private state | its file in [`private`] and its line in `private/kinds` |
//! | a key of the configuration | its row in `config/options`, its field in [`config`], where it is used |
//! | a check of an installation | its row in [`doctor`]'s table |
//! | a socket | its `SocketRow` and its line in `xrpc/paths` |
//! | a section of the dashboard | its line in `admin/dashboard/sections` |
//! | a part | its `Part` with its rule, and its line in `runtime/house` |
//!
//! # Words that are ours
//!
//! | word | what it stands for |
//! |---|---|
//! | actor | an account, by the number that its DID has here ([`schema::ActorId`]) |
//! | agg | the counters of a target, absolute numbers in one row |
//! | batch | what the writer commits at once: many jobs, their cursors, all or nothing |
//! | before | what is known of a record before it is put, so that it need not be looked for: nothing is held there, or nothing newer |
//! | circle | the scope that keeps what touches members and those they follow |
//! | change | a row of the log of changes: who, what, when; not the record itself |
//! | claim | a handle that a document names, or a DID that a handle names, before the other side was asked |
//! | durable | answered only when it is on disk |
//! | edge, reverse edge | a record that says "this account, that subject", by who made it; by whom it is about |
//! | epoch | the number of commits, twice: odd while one is under way |
//! | fan | who likes, reposts or follows a target; of the popular also kept in order of time |
//! | follower | what reads the log of changes by a cursor of its own (not an account that follows) |
//! | gap | a commit that does not follow on what is held; the repo is marked and fetched |
//! | gate (thread, post) | a record that says who may reply or quote |
//! | group | rows that a cache keeps as a whole, by the beginning of their keys |
//! | hydration | from ids to everything that a view shows |
//! | kept | in the scope: stored, and not taken away by retention |
//! | ladder | the steps from a disk with room to one that is full |
//! | lane | a thread that verifies; all frames of a DID go through the same |
//! | member | an account whose notifications and private state are kept here |
//! | on read | fetched because somebody wants to see it; a cache with a budget |
//! | outbox | what is to be sent to somebody outside, written in the batch of its cause |
//! | part | something that goes on for as long as the process does, with a name and a rule for its end |
//! | pin | the files of the store as of one instant, which stay for as long as somebody copies them |
//! | purge | taking away, step by step, what is held of an account |
//! | resync | fetching a whole repo and comparing it with what is held |
//! | rev, data | the number of a commit; the hash of the tree after it |
//! | room | what the disk must have free for the store to end what it began |
//! | skeleton | ids in the order in which an answer shows them |
//! | slot | the place of a frame in the order of arrival, until all before it are settled |
//! | sort | `createdAt`, but not later than when it came: the order of lists |
//! | target | what an edge, a label or a counter is about: an account, a post, another record |
//! | touch | saying that what caches made of an account is stale after this batch |
//! | vacated | said of the place of a deleted reply in which the author went on with a thread |
//! | watermark | the time before which no work is due: scans begin there, behind the tombstones |
//! | window | the scope that keeps some days of everything |

// Only `cli` is for anybody outside: the binary is all that this crate is for. The programs in `tests/` also use the
// parts behind it, so the feature `testing` shows them. Without it the compiler sees every user of every item and names
// the ones that have none; with it all of them count as used. So `scripts/test` looks at both variants: this one must
// be free of dead code, and the lints and the documentation are those of the other.
#![cfg_attr(
    not(feature = "testing"),
    allow(
        unreachable_pub,
        unused_imports,
        unfulfilled_lint_expectations,
        reason = "`pub` inside a folder is what it is for, and its types go with it; all of that is checked with `testing`"
    )
)]

cfg_if::cfg_if! {
    if #[cfg(feature = "testing")] {
        pub mod admin;
        pub mod backup;
        pub mod changes;
        pub mod cli;
        pub mod config;
        pub mod crypto;
        pub mod discovery;
        pub mod drafts;
        pub mod doctor;
        pub mod event;
        pub mod hydrate;
        pub mod identity;
        pub mod index;
        pub mod ingest;
        pub mod lexicon;
        pub mod limits;
        pub mod login;
        pub mod media;
        pub mod moderation;
        pub mod net;
        pub mod ops;
        pub mod pages;
        pub mod private;
        pub mod push;
        pub mod repo;
        pub mod runtime;
        pub mod schema;
        pub mod search;
        pub mod store;
        pub mod sync;
        pub mod syntax;
        pub mod telemetry;
        pub mod threads;
        pub mod upkeep;
        pub mod view;
        pub mod work;
        pub mod xrpc;
    } else {
        mod admin;
        mod backup;
        mod changes;
        pub mod cli;
        mod config;
        mod crypto;
        mod discovery;
        mod drafts;
        mod doctor;
        mod event;
        mod hydrate;
        mod identity;
        mod index;
        mod ingest;
        mod lexicon;
        mod limits;
        mod login;
        mod media;
        mod moderation;
        mod net;
        mod ops;
        mod pages;
        mod private;
        mod push;
        mod repo;
        mod runtime;
        mod schema;
        mod search;
        mod store;
        mod sync;
        mod syntax;
        mod telemetry;
        mod threads;
        mod upkeep;
        mod view;
        mod work;
        mod xrpc;
    }
}
