//! The sections of the configuration file.

/// The sections in the order of the example file, each with its headline.
pub(crate) const SECTIONS: &[(&str, &str)] = &[
    ("server", "What clients see."),
    ("admin", "Who may look inside."),
    ("store", "Where the index lives and what it may use."),
    ("network", "Where the data comes from."),
    ("labels", "Which labelers are followed."),
    ("moderation", "Whom this server trusts to moderate and to verify."),
    ("age_assurance", "What clients are told about the age of users."),
    ("config", "What clients are told about themselves (app.bsky.unspecced.getConfig)."),
    (
        "search",
        "Posts, accounts, starter packs and feeds are searched in an index of its own, in the folder search of store.path.",
    ),
    (
        "discovery",
        "What is suggested first, before what is found by whom people follow and what they like.",
    ),
    ("pages", "Pages for people, under the paths of bsky.app."),
    ("scope", "How much of the network is kept."),
    ("images", "Pictures and videos in posts and profiles."),
    ("limits", "How much one request, address or account may ask for."),
    (
        "community",
        "Posts whose content is kept on this server, for members only. Off unless list or hook is set.",
    ),
    ("push", "Notifications to devices."),
    ("backup", "Copies of the store, and of private state alone."),
    ("alerts", "Whom to tell when the server needs its operator."),
    ("log", "What is written to standard error."),
];
