//! Tags that the operator puts on records and accounts, and what they do to what carries them.
//!
//! Unlike labels they are this server's alone, and they change where something is shown, not how: nobody sees them but those
//! to whom answers are explained (`server.debug_dids`).

use rustc_hash::FxHashMap;

use crate::config::Moderation;

const PROFILE: &str = "/app.bsky.actor.profile/self";

/// What is done to what carries tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TagRules {
    /// A reply is shown apart from its thread, and gives no notification, to who does not follow its author.
    pub hide_in_threads: bool,
    /// A reply comes after others.
    pub bump_down: bool,
    /// A post is found among the newest only, and only by who names its author.
    pub hide_in_search: bool,
    /// A post is found by its author alone.
    pub hide_in_all_search: bool,
}

impl TagRules {
    fn of(names: &[String], config: &Moderation) -> Self {
        let any = |those: &[String]| names.iter().any(|name| those.contains(name));
        Self {
            hide_in_threads: any(&config.thread_tags_hide),
            bump_down: any(&config.thread_tags_bump_down),
            hide_in_search: any(&config.search_tags_hide),
            hide_in_all_search: any(&config.search_tags_hide_all),
        }
    }

    /// What either of two says.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            hide_in_threads: self.hide_in_threads || other.hide_in_threads,
            bump_down: self.bump_down || other.bump_down,
            hide_in_search: self.hide_in_search || other.hide_in_search,
            hide_in_all_search: self.hide_in_all_search || other.hide_in_all_search,
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Tagged {
    names: Vec<String>,
    rules: TagRules,
}

/// All that is tagged.
#[derive(Debug, Clone, Default)]
pub struct Tags {
    records: FxHashMap<String, Tagged>,
    accounts: FxHashMap<String, Tagged>,
}

impl Tags {
    /// As the configuration has it.
    #[must_use]
    pub fn new(config: &Moderation) -> Self {
        let mut this = Self::default();
        for row in &config.actor_tags {
            let tagged = this.accounts.entry(row.subject.clone()).or_default();
            tagged.names.extend(row.tags.iter().cloned());
            tagged.rules = tagged.rules.and(TagRules::of(&row.tags, config));
        }
        for row in &config.record_tags {
            let rules = TagRules::of(&row.tags, config);
            let tagged = this.records.entry(row.subject.clone()).or_default();
            tagged.names.extend(row.tags.iter().cloned());
            tagged.rules = tagged.rules.and(rules);
            // A tag of a profile is one of the account.
            let owner = row.subject.strip_prefix("at://").and_then(|uri| uri.strip_suffix(PROFILE));
            if let Some(did) = owner {
                let account = this.accounts.entry(did.to_owned()).or_default();
                account.rules = account.rules.and(rules);
            }
        }
        this
    }

    /// What the tags of a record amount to.
    #[must_use]
    pub fn of_record(&self, uri: &str) -> TagRules {
        self.records.get(uri).map(|tagged| tagged.rules).unwrap_or_default()
    }

    /// What those of an account and of its profile do.
    #[must_use]
    pub fn of_account(&self, did: &str) -> TagRules {
        self.accounts.get(did).map(|tagged| tagged.rules).unwrap_or_default()
    }

    /// The tags of a record.
    #[must_use]
    pub fn names_of_record(&self, uri: &str) -> &[String] {
        self.records.get(uri).map(|tagged| tagged.names.as_slice()).unwrap_or_default()
    }

    /// The tags of an account, and those of its profile.
    #[must_use]
    pub fn names_of_account(&self, did: &str) -> (&[String], &[String]) {
        let own = self.accounts.get(did).map(|tagged| tagged.names.as_slice()).unwrap_or_default();
        // Nearly nobody has any.
        match self.accounts.contains_key(did) {
            true => (own, self.names_of_record(&format!("at://{did}{PROFILE}"))),
            false => (own, &[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SubjectTags;

    #[test]
    fn tags_do_what_is_said_of_them() {
        let row = |subject: &str, tags: &[&str]| SubjectTags {
            subject: subject.to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        };
        let (post, profile) =
            ("at://did:plc:a/app.bsky.feed.post/3k", "at://did:plc:b/app.bsky.actor.profile/self");
        let mut config = Moderation {
            record_tags: vec![
                row(post, &["rude", "old"]),
                row(post, &["new"]),
                row(profile, &["bot"]),
            ],
            actor_tags: vec![row("did:plc:a", &["loud"])],
            thread_tags_hide: vec!["rude".into()],
            search_tags_hide_all: vec!["bot".into()],
            ..Moderation::default()
        };
        let tags = Tags::new(&config);
        assert_eq!(tags.of_record(post), TagRules { hide_in_threads: true, ..TagRules::default() });
        assert_eq!(tags.names_of_record(post), ["rude", "old", "new"]);
        assert_eq!(tags.of_account("did:plc:a"), TagRules::default(), "a tag that does nothing");
        assert_eq!(tags.names_of_account("did:plc:a").0, ["loud"]);
        let bot = TagRules { hide_in_all_search: true, ..TagRules::default() };
        assert_eq!((tags.of_account("did:plc:b"), tags.of_record(profile)), (bot, bot));
        assert_eq!(tags.names_of_account("did:plc:b"), (&[][..], &["bot".to_owned()][..]));
        assert_eq!(tags.of_account("did:plc:c"), TagRules::default());

        config.thread_tags_bump_down = vec!["new".into()];
        config.search_tags_hide = vec!["loud".into()];
        let tags = Tags::new(&config);
        assert!(tags.of_record(post).bump_down && tags.of_record(post).hide_in_threads);
        assert!(tags.of_account("did:plc:a").hide_in_search);
        let both = tags.of_account("did:plc:a").and(tags.of_account("did:plc:b"));
        assert!(both.hide_in_search && both.hide_in_all_search);
    }
}
