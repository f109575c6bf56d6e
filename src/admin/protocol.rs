//! What the command line can ask a running server, and what it gets: each command once, with its fields and its answer,
//! for both ends. A new command is a row in the table below, its struct, and an arm in [`super::commands`].
//!
//! On the wire a request is `{"command": NAME, ...fields}`. Fields that the server does not know are refused, since an
//! older server would otherwise do something else than what was asked.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::ScopeMode;
use crate::private::portable::{self, Row};
use crate::private::{Lets, Role, takeout};

/// Something that a running server can be asked.
pub trait Operation: Into<Request> {
    /// Its name on the wire.
    const NAME: &'static str;
    /// What comes back.
    type Answer: Serialize + DeserializeOwned;
}

/// The table: name on the wire, fields, answer.
macro_rules! operations {
    ($($name:literal $operation:ident -> $answer:ty;)*) => {
        /// Any of them, as the server reads it.
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(tag = "command")]
        pub enum Request {
            $(
                #[doc = concat!("`", $name, "`")]
                #[serde(rename = $name)]
                $operation($operation),
            )*
        }

        $(
            impl From<$operation> for Request {
                fn from(operation: $operation) -> Self {
                    Self::$operation(operation)
                }
            }

            impl Operation for $operation {
                const NAME: &'static str = $name;
                type Answer = $answer;
            }
        )*

        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),*];
    };
}

operations! {
    "status" Status -> Value;
    "repo.add" RepoAdd -> ReposAdded;
    "repo.resync" RepoResync -> ReposAdded;
    "repo.remove" RepoRemove -> ReposRemoved;
    "repo.status" RepoStatus -> RepoStatusSaid;
    "repo.import" RepoImport -> RepoImported;
    "backfill.start" BackfillStart -> BackfillStarted;
    "backfill.stop" BackfillStop -> BackfillStopped;
    "backfill.pause" BackfillPause -> Done;
    "backfill.resume" BackfillResume -> Done;
    "identity.import" IdentityImport -> Done;
    "member.add" MemberAdd -> MemberAdded;
    "member.remove" MemberRemove -> MemberRemoved;
    "member.list" MemberList -> Members;
    "account.status" AccountStatus -> AccountState;
    "account.opt-out" AccountOptOut -> AccountState;
    "account.opt-in" AccountOptIn -> AccountState;
    "account.opt-outs" AccountOptOuts -> OptOuts;
    "account.delete" AccountDelete -> AccountState;
    "account.export" AccountExport -> takeout::Page;
    "retention.run" RetentionRun -> Done;
    "retention.plan" RetentionPlan -> Done;
    "retention.status" RetentionStatus -> Value;
    "search.rebuild" SearchRebuild -> Done;
    "search.status" SearchStatus -> Value;
    "search.query" SearchQuery -> Value;
    "backup.create" BackupCreate -> BackupBegun;
    "backup.status" BackupState -> Value;
    "private.export" PrivateExport -> portable::Page;
    "private.import" PrivateImport -> PrivateImported;
    "ingest.pause" IngestPause -> Done;
    "ingest.resume" IngestResume -> Done;
    "ingest.reconnect" IngestReconnect -> Done;
    "config.reload" ConfigReload -> Done;
    "admin.login" AdminLogin -> LoginLink;
    "session.list" SessionList -> Sessions;
    "session.revoke" SessionRevoke -> SessionsRevoked;
}

/// There is nothing more to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// Makes the indexes of search anew; those that are there are served until then.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRebuild {}

/// How search is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchStatus {}

/// Begins a backup.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupCreate {
    /// Of private state alone.
    pub private: bool,
}

/// A backup that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupBegun {
    /// Its number: the status says when it has ended.
    pub run: u64,
}

/// How backups are.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupState {}

/// Searches posts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// Parameters of `app.bsky.feed.searchPosts`, as in its URL.
    pub parameters: String,
    /// As which account, by DID or handle; as nobody without.
    pub viewer: Option<String>,
}

/// The whole status document, as `GET /admin/status` has it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {}

/// Fetches repos whole, unless they are complete.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepoAdd {
    /// DIDs or handles.
    pub repos: Vec<String>,
}

/// Fetches repos anew, before anything else.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepoResync {
    /// DIDs or handles.
    pub repos: Vec<String>,
}

/// What became of named repos.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReposAdded {
    /// Queued.
    pub added: usize,
    /// Queued before, and more urgent or earlier now.
    pub raised: usize,
    /// Queued before.
    pub known: usize,
    /// Deleted or opted out: there is nothing to be fetched.
    pub gone: usize,
    /// Why names cannot be used.
    pub unusable: Vec<String>,
}

/// Fetches repos no more.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepoRemove {
    /// DIDs or handles.
    pub repos: Vec<String>,
    /// Deletes what is here of them too.
    pub delete: bool,
}

/// What became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReposRemoved {
    /// Out of the queue.
    pub removed: usize,
    /// Being deleted.
    pub deleting: usize,
    /// DIDs of which nothing was done, since all of them is kept.
    pub kept: Vec<String>,
    /// Why names cannot be used.
    pub unusable: Vec<String>,
}

/// What is the matter with a repo.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepoStatus {
    /// DID or handle.
    pub repo: String,
}

/// That, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoStatusSaid {
    /// Of which account.
    pub did: String,
    /// The sentence.
    pub status: String,
}

/// Takes a repo in from a CAR file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepoImport {
    /// From the root, as the server stands in another folder.
    pub path: PathBuf,
}

/// What was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoImported {
    /// Whose repo it is.
    pub did: String,
    /// Records looked at; none if all of it was here.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// Whose repos a backfill fetches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RepoList {
    /// All of a PDS.
    Pds {
        /// URL.
        url: String,
    },
    /// All of every host that a relay knows, or all with records of a collection.
    Relay {
        /// URL.
        url: String,
        /// NSID.
        collection: Option<String>,
    },
    /// All that the first configured upstream knows. With braces, since serde lets a variant without them take any field.
    Network {},
}

/// Reads a list and fetches what it names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillStart {
    /// Which one.
    pub list: RepoList,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillStarted {
    /// `false` if it is being read already.
    pub begun: bool,
    /// Where from.
    pub url: String,
}

/// Reads lists no further and fetches no more of what they named.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillStop {
    /// Which one; without, every list and what was asked for by name.
    pub list: Option<RepoList>,
}

/// What is fetched no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillStopped {
    /// Lists that were meant, those that had been read to their end included.
    pub lists: usize,
    /// Repos out of the queue.
    pub repos: usize,
}

/// Lets nothing but resyncs begin.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillPause {}

/// Lets everything begin again.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillResume {}

/// Begins to take operations of the PLC directory in from files; the status tells the rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityImport {
    /// From the root, as the server stands in another folder.
    pub files: Vec<PathBuf>,
    /// They do not begin with the directory's first operation.
    pub partial: bool,
}

/// Makes an account a member.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberAdd {
    /// DID or handle.
    pub member: String,
}

/// Who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAdded {
    /// Its DID.
    pub did: String,
}

/// Makes an account a member no more.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberRemove {
    /// DID or handle.
    pub member: String,
}

/// Who it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRemoved {
    /// Its DID.
    pub did: String,
    /// `scope.members` names it, so it is a member again after the next start.
    pub configured: bool,
}

/// Lists the members.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberList {}

/// The list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// In the order of their account numbers.
    pub members: Vec<Member>,
}

/// A member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its DID.
    pub did: String,
    /// Its handle, if it was verified.
    pub handle: Option<String>,
    /// Milliseconds since the epoch.
    pub since: Option<i64>,
    /// How many accounts it follows.
    pub follows: u64,
    /// `scope.members` names it.
    pub configured: bool,
}

/// Whether an account opted out, and whether something of it is being deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountStatus {
    /// DID or handle.
    pub account: String,
}

/// Collects nothing of an account any more, and deletes what was.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountOptOut {
    /// DID or handle.
    pub account: String,
}

/// Collects an account again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountOptIn {
    /// DID or handle.
    pub account: String,
}

/// What an account asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountState {
    /// Its DID.
    pub did: String,
    /// Since when nothing of it is collected, milliseconds since the epoch.
    pub opted_out_at: Option<i64>,
    /// Something of it is being deleted.
    pub deleting: bool,
}

/// Lists the accounts that opted out.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountOptOuts {}

/// The list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OptOuts {
    /// In the order of their account numbers.
    pub opt_outs: Vec<AccountState>,
}

/// Deletes everything that is held of an account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountDelete {
    /// DID or handle.
    pub account: String,
    /// Collects nothing of it afterwards either.
    pub opt_out: bool,
}

/// A page of everything that is held of an account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountExport {
    /// DID or handle.
    pub account: String,
    /// Of the page before.
    pub next: Option<String>,
}

/// Takes away what is old and touches nobody who is kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRun {}

/// Counts what would go, and changes nothing. What is not given is as configured.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionPlan {
    /// The scope.
    pub mode: Option<ScopeMode>,
    /// Its days.
    pub days: Option<u32>,
    /// Bytes that the store is to stay under.
    pub budget: Option<u64>,
}

/// What is kept, how far a run is, and what the last one did.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionStatus {}

/// A page of private state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateExport {
    /// Of the page before.
    pub next: Option<String>,
}

/// Puts private state in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateImport {
    /// What to put in.
    pub rows: Vec<Row>,
}

/// What became of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateImported {
    /// They were not there, or older.
    pub written: u64,
    /// There was one already.
    pub kept: u64,
    /// They are of accounts that are deleted.
    pub deleted: u64,
}

impl PrivateImported {
    /// Adds what became of other rows.
    pub fn add(&mut self, other: Self) {
        self.written += other.written;
        self.kept += other.kept;
        self.deleted += other.deleted;
    }
}

/// Takes nothing new in until it is resumed or the server starts again.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestPause {}

/// Goes on where it was paused.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestResume {}

/// Ends the connection to an upstream and makes another.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestReconnect {
    /// As in the configuration.
    pub url: String,
}

/// Reads the configuration again, as SIGHUP does; the log says what came of it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigReload {}

/// Makes a link that signs whoever follows it in, once.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminLogin {
    /// With which role.
    pub role: Role,
}

/// The link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginLink {
    /// Where it leads.
    pub url: String,
    /// How long it may be followed.
    pub seconds: u64,
}

/// Lists who is signed in, and links that were not followed yet.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionList {}

/// They, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// Sessions and links.
    pub sessions: Vec<SessionListed>,
}

/// A session or a link. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionListed {
    /// What it is revoked by.
    pub id: String,
    /// Which of the two.
    pub kind: Lets,
    /// With which role.
    pub role: Role,
    /// How the log calls who was let in.
    pub name: String,
    /// Since when it is there.
    pub at: i64,
    /// When it was last used, to within some minutes.
    pub seen: i64,
    /// When it ends at the latest.
    pub until: i64,
}

/// Signs somebody out, or takes a link back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRevoke {
    /// Which one; without, all.
    pub id: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsRevoked {
    /// How many.
    pub revoked: usize,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wire(request: impl Into<Request>) -> Value {
        serde_json::to_value(request.into()).unwrap()
    }

    #[test]
    fn a_request_is_its_name_and_its_fields() {
        let delete = AccountDelete { account: "a.example".to_owned(), opt_out: true };
        let expected =
            json!({ "command": "account.delete", "account": "a.example", "optOut": true });
        assert_eq!(wire(delete), expected);
        let list = RepoList::Relay { url: "https://r".to_owned(), collection: None };
        let expected = json!({
            "command": "backfill.start",
            "list": { "of": "relay", "url": "https://r", "collection": null },
        });
        assert_eq!(wire(BackfillStart { list }), expected);
        let plan = RetentionPlan { mode: Some(ScopeMode::Circle), ..RetentionPlan::default() };
        let read = serde_json::from_value::<Request>(wire(plan)).unwrap();
        assert!(matches!(read, Request::RetentionPlan(p) if p.mode == Some(ScopeMode::Circle)));
        assert_eq!(wire(Status {}), json!({ "command": "status" }));
    }

    #[test]
    fn no_two_commands_have_one_name() {
        let mut names = NAMES.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NAMES.len());
    }

    #[test]
    fn no_command_takes_a_field_that_it_does_not_know() {
        let refuses = |request: Value| {
            let error = serde_json::from_value::<Request>(request).err();
            error.is_some_and(|error| error.to_string().contains("unknown field `tea`"))
        };
        let take = |name: &&str| !refuses(json!({ "tea": 1, "command": name }));
        let takes: Vec<_> = NAMES.iter().copied().filter(take).collect();
        assert_eq!(takes, [""; 0]);
        for of in ["pds", "relay", "network"] {
            let list = json!({ "tea": 1, "of": of });
            assert!(refuses(json!({ "command": "backfill.start", "list": list })), "{of}");
        }
        let network = BackfillStart { list: RepoList::Network {} };
        let expected = json!({ "command": "backfill.start", "list": { "of": "network" } });
        assert_eq!(wire(network), expected);
    }

    #[test]
    fn what_is_not_known_is_refused_by_its_name() {
        for (request, why) in [
            (json!({ "command": "tea.make" }), "unknown variant `tea.make`"),
            (json!({ "command": "status", "of": "tea" }), "unknown field `of`"),
            (
                json!({ "command": "repo.remove", "repos": [], "delete": false, "only": "x" }),
                "unknown field `only`",
            ),
            (json!({ "command": "repo.remove", "repos": [] }), "missing field `delete`"),
            (
                json!({ "command": "backfill.start", "list": { "of": "moon" } }),
                "unknown variant `moon`",
            ),
            (json!({}), "missing field `command`"),
        ] {
            let error = serde_json::from_value::<Request>(request).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
