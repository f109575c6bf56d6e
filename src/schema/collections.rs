//! The fixed numbers of collections that the index knows by name. Append only: the numbers are on disk.

/// An interned collection NSID; numbers below [`FIRST_DYNAMIC`] are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollId(pub u32);

macro_rules! collections {
    ($($name:ident = $num:literal, $nsid:literal;)*) => {
        $(#[doc = concat!("`", $nsid, "`")] pub const $name: CollId = CollId($num);)*
        /// Number and NSID of each fixed collection.
        pub(super) const FIXED: &[(CollId, &str)] = &[$((CollId($num), $nsid),)*];
    };
}

collections! {
    POST = 1, "app.bsky.feed.post";
    LIKE = 2, "app.bsky.feed.like";
    REPOST = 3, "app.bsky.feed.repost";
    FOLLOW = 4, "app.bsky.graph.follow";
    BLOCK = 5, "app.bsky.graph.block";
    LIST = 6, "app.bsky.graph.list";
    LISTITEM = 7, "app.bsky.graph.listitem";
    LISTBLOCK = 8, "app.bsky.graph.listblock";
    PROFILE = 9, "app.bsky.actor.profile";
    THREADGATE = 10, "app.bsky.feed.threadgate";
    POSTGATE = 11, "app.bsky.feed.postgate";
    GENERATOR = 12, "app.bsky.feed.generator";
    STARTERPACK = 13, "app.bsky.graph.starterpack";
    LABELER = 14, "app.bsky.labeler.service";
    STATUS = 15, "app.bsky.actor.status";
    VERIFICATION = 16, "app.bsky.graph.verification";
    CHAT_DECLARATION = 17, "chat.bsky.actor.declaration";
    NOTIFICATION_DECLARATION = 18, "app.bsky.notification.declaration";
    GERM_DECLARATION = 19, "com.germnetwork.declaration";
    SITE_DOCUMENT = 20, "site.standard.document";
    SITE_PUBLICATION = 21, "site.standard.publication";
    CONTENT_VISIBILITY = 22, "app.bsky.actor.contentVisibilityDeclaration";
    LIST_OPT_OUT = 23, "app.bsky.graph.referencelistoptout";
    COMMUNITY_POST = 24, "community.blacksky.feed.post";
    COMMUNITY_THREADGATE = 25, "community.blacksky.feed.threadgate";
    COMMUNITY_POSTGATE = 26, "community.blacksky.feed.postgate";
    COMMUNITY_LIKE = 27, "community.blacksky.feed.like";
    COMMUNITY_REPOST = 28, "community.blacksky.feed.repost";
}

/// Collections without a fixed number get theirs from the string table, from here on.
pub const FIRST_DYNAMIC: u32 = 1024;

/// The fixed number of a collection.
#[must_use]
pub fn fixed(nsid: &str) -> Option<CollId> {
    FIXED.iter().find(|(_, n)| *n == nsid).map(|(c, _)| *c)
}

/// The NSID of a fixed number.
#[must_use]
pub fn fixed_name(coll: CollId) -> Option<&'static str> {
    FIXED.iter().find(|(c, _)| *c == coll).map(|(_, n)| *n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_below_the_dynamic_ones() {
        for (i, (c, n)) in FIXED.iter().enumerate() {
            assert!(c.0 > 0 && c.0 < FIRST_DYNAMIC);
            assert!(FIXED[i + 1..].iter().all(|(d, m)| d != c && m != n), "{n}");
            assert_eq!(fixed(n), Some(*c));
            assert_eq!(fixed_name(*c), Some(*n));
        }
    }
}
