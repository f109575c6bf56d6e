//! The table of private kinds: for each the form of its row in names, and what tables it lies in. A further kind is a file
//! that implements [`Kept`] and a line in `kinds!`.

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::effects::Effects;
use super::names::{About, Of, Owned};
use super::{
    access, bookmarks, community, drafts, members, mutes, names, opt_outs, preferences, priority,
    registrations, seen, subscriptions, takedowns,
};
use crate::schema::{ActorId, Key};
use crate::store::{Ks, Reader, StoreError, Tx};

/// When the rows of a table go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    /// With what the account set for itself. Their keys begin with the account.
    WithAccount,
    /// With what the account published. Their keys begin with the account.
    WithPosts,
    /// With the row that they follow from.
    WithRow,
    /// Not by themselves: they hold whatever becomes of the account.
    Never,
}

/// What of a table leaves the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Export {
    /// Every row.
    Rows,
    /// Nothing: its rows follow from those of another table.
    Nothing,
}

/// One table of the keyspace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// What its keys begin with.
    pub(super) tag: u8,
    pub(super) goes: Goes,
    pub(super) export: Export,
    /// Whether a row decodes.
    pub(super) whole: fn(&[u8], &[u8]) -> bool,
}

/// A kind of private row, as it leaves a store.
pub(super) trait Kept: Owned + Sized + Clone {
    /// What one of its rows is known by.
    type Key;
    /// Where it lies: first the table whose rows leave the store.
    const TABLES: &'static [Table];

    /// Whether it can be put into a store; the error says what of it cannot.
    fn check(&self) -> Result<(), String>;

    /// A row of the first table; `None` if it does not decode.
    fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Self>, StoreError>;

    /// What an import of it changes: nothing if what is held stays.
    fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError>;

    /// Writes it, in place of any other under its key.
    fn write(&self, effects: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError>;

    /// Removes what is under a key.
    fn remove(key: &Self::Key, effects: &dyn Effects, tx: &mut Tx<'_>) -> Result<(), StoreError>;

    /// Removes up to `most` rows of an account and says how many.
    fn forget(tx: &mut Tx<'_>, viewer: ActorId, most: usize) -> Result<usize, StoreError> {
        forget_tables(Self::TABLES, tx, viewer, most)
    }
}

/// Removes up to `most` rows of an account from the tables that go with it, and says how many.
pub(super) fn forget_tables(
    tables: &[Table],
    tx: &mut Tx<'_>,
    viewer: ActorId,
    most: usize,
) -> Result<usize, StoreError> {
    let mut gone = 0;
    for table in tables.iter().filter(|table| table.goes == Goes::WithAccount) {
        if gone == most {
            break;
        }
        let mut keys = Vec::new();
        tx.scan_prefix(Ks::Private, &Key::tag(table.tag).actor(viewer), &mut |k, _| {
            keys.push(k.to_vec());
            gone + keys.len() < most
        })?;
        gone += keys.len();
        keys.iter().for_each(|key| tx.del(Ks::Private, key));
    }
    Ok(gone)
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident($row:ty, $key:ty)),* $(,)?) => {
        /// A private row.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum Row {
            $($(#[$doc])* $name($row)),*
        }

        /// What a private row is known by.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum RowKey {
            $($(#[$doc])* $name($key)),*
        }

        impl Row {
            /// Whose row it is, unless it holds whatever becomes of the account.
            #[must_use]
            pub fn owner(&self) -> Option<&str> {
                match self { $(Self::$name(row) => row.owner()),* }
            }

            /// Whether the row can be put into a store; the error says what of it cannot.
            pub fn check(&self) -> Result<(), String> {
                self.owner().map_or(Ok(()), |owner| names::did("viewer", owner))?;
                match self { $(Self::$name(row) => row.check()),* }
            }

            /// When it goes.
            pub(super) fn goes(&self) -> Goes {
                let tables = match self { $(Self::$name(_) => <$row as Kept>::TABLES),* };
                tables.first().map_or(Goes::Never, |table| table.goes)
            }

            pub(super) fn incoming<R: Reader>(&self, r: &R) -> Result<Vec<Change>, StoreError> {
                match self { $(Self::$name(row) => row.incoming(r)),* }
            }

            pub(super) fn write(
                &self,
                effects: &dyn Effects,
                tx: &mut Tx<'_>,
            ) -> Result<(), StoreError> {
                match self { $(Self::$name(row) => row.write(effects, tx)),* }
            }
        }

        impl RowKey {
            pub(super) fn remove(
                &self,
                effects: &dyn Effects,
                tx: &mut Tx<'_>,
            ) -> Result<(), StoreError> {
                match self { $(Self::$name(key) => <$row as Kept>::remove(key, effects, tx)),* }
            }
        }

        const TABLES: &[&[Table]] = &[$(<$row as Kept>::TABLES),*];

        fn read_row<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Option<Row>, StoreError> {
            let tag = k.first().copied();
            $(
                if <$row as Kept>::TABLES.first().map(|table| table.tag) == tag {
                    return Ok(<$row as Kept>::read(r, k, v)?.map(Row::$name));
                }
            )*
            Ok(None)
        }

        /// Removes up to `most` rows of an account and says how many more might have been removed.
        pub(super) fn forget(
            tx: &mut Tx<'_>,
            viewer: ActorId,
            most: usize,
        ) -> Result<usize, StoreError> {
            let mut left = most;
            $(left = left.saturating_sub(<$row as Kept>::forget(tx, viewer, left)?);)*
            Ok(left)
        }
    };
}

kinds! {
    /// An account that the viewer muted, all of it or some.
    Mute(mutes::MutedAccount, About),
    /// A list whose members the viewer muted.
    ListMute(mutes::MutedList, mutes::MutedListKey),
    /// A thread that the viewer muted, by its root.
    ThreadMute(mutes::MutedThread, mutes::MutedThreadKey),
    /// An account whose activity the viewer is told of.
    Subscription(subscriptions::Subscribed, About),
    /// Up to when the viewer saw notifications.
    Seen(seen::Seen, Of),
    /// An account whose notifications are kept.
    Member(members::Member, Of),
    /// Only accounts that the viewer follows notify.
    Priority(priority::Priority, Of),
    /// Notification preferences (`app.bsky.notification.defs#preferences`).
    Preferences(preferences::Preferences, Of),
    /// A post that the viewer bookmarked.
    Bookmark(bookmarks::Bookmarked, bookmarks::BookmarkKey),
    /// A draft (`app.bsky.draft.defs#draft`).
    Draft(drafts::Drafted, drafts::DraftKey),
    /// A device of the viewer's that gets notifications.
    Push(registrations::Device, registrations::DeviceKey),
    /// A community post as it was submitted (`community.blacksky.feed.submitPost`), without its record key.
    CommunityPost(community::Submitted, community::SubmittedKey),
    /// An account or record that the operator or the moderation service took down.
    Takedown(takedowns::TakenDown, takedowns::TakenDownKey),
    /// An account that wants nothing of its own collected.
    OptOut(opt_outs::OptOut, opt_outs::OptOutKey),
    /// A blob that the operator or the moderation service took down.
    BlobTakedown(takedowns::BlobTakenDown, takedowns::BlobTakenDownKey),
    /// A session of a browser, or a link that opens one.
    Access(access::Access, access::AccessKey),
}

fn tables() -> impl Iterator<Item = &'static Table> {
    TABLES.iter().copied().flatten()
}

fn table(key: &[u8]) -> Option<&'static Table> {
    let tag = key.first()?;
    tables().find(|table| table.tag == *tag)
}

/// What a row of the keyspace is to whoever exports it.
pub(super) enum Exported {
    /// This.
    Row(Row),
    /// It follows from another row.
    Follows,
    /// It does not decode, or no kind has it.
    Damaged,
}

/// Reads a row of the keyspace.
pub(super) fn read<R: Reader>(r: &R, k: &[u8], v: &[u8]) -> Result<Exported, StoreError> {
    let Some(table) = table(k).filter(|table| (table.whole)(k, v)) else {
        return Ok(Exported::Damaged);
    };
    match table.export {
        Export::Nothing => Ok(Exported::Follows),
        Export::Rows => Ok(read_row(r, k, v)?.map_or(Exported::Damaged, Exported::Row)),
    }
}

/// Tags of the tables that an account is given when it asks for what is held of it.
pub(super) fn tags_taken_out() -> impl Iterator<Item = u8> {
    let own = |goes| matches!(goes, Goes::WithAccount | Goes::WithPosts);
    let out = tables().filter(move |table| own(table.goes) && table.export == Export::Rows);
    out.map(|table| table.tag)
}

/// Tags of the tables whose keys go on with the account that they go with; not those of what it published.
#[cfg(test)]
pub(crate) fn tags_of_account() -> Vec<u8> {
    let own = tables().filter(|table| table.goes == Goes::WithAccount);
    own.map(|table| table.tag).collect()
}

/// Whether a row of this keyspace is whole; rows of a kind that is not known are.
pub(crate) fn decodes(key: &[u8], value: &[u8]) -> bool {
    match table(key) {
        Some(table) => (table.whole)(key, value),
        None => !key.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tables_have_a_tag_and_each_kind_exports_its_first() {
        let mut tags: Vec<u8> = tables().map(|table| table.tag).collect();
        let all = tags.len();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), all);
        for kind in TABLES {
            let exported: Vec<bool> = kind.iter().map(|t| t.export == Export::Rows).collect();
            assert!(exported[0] && exported[1..].iter().all(|more| !more), "{kind:?}");
        }
    }
}
