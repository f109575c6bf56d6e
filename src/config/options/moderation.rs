//! Whom this server trusts, and what it tells clients of its rules.

use super::{BASE, Example, Opt, Shape, set};
use crate::config::entries::{live_now, tags_of_account, tags_of_record};
use crate::config::parse::{self, HTTP};

pub(super) const MODERATION: &[Opt] = &[
    Opt {
        key: "moderation.service_did",
        example: Example::OffWith("\"did:plc:ar7c4by46qjdydhdevvrndac\""),
        reload: true,
        doc: "The moderation service whose tokens may take content down (com.atproto.admin.*).",
        apply: |c, v| set(&mut c.moderation.service_did, parse::did(v).map(Some)),
        ..BASE
    },
    Opt {
        key: "moderation.trusted_verifiers",
        shape: Shape::List,
        default: Some("[]"),
        example: Example::OffWith("[\"did:plc:z72i7hdynmk6r22z27h6tvur\"]"),
        reload: true,
        doc: "Accounts whose verifications of other accounts are shown.",
        apply: |c, v| set(&mut c.moderation.trusted_verifiers, parse::list(v, parse::did)),
        ..BASE
    },
    Opt {
        key: "moderation.record_tags",
        shape: Shape::Rows,
        default: Some("[]"),
        example: Example::OffWith(
            "[{ uri = \"at://did:plc:abc/app.bsky.feed.post/3kabc\", tags = [\"spam\"] }]",
        ),
        reload: true,
        doc: "Tags of records. Nobody sees them; what they do is said by the four keys below.",
        apply: |c, v| set(&mut c.moderation.record_tags, parse::list(v, tags_of_record)),
        ..BASE
    },
    Opt {
        key: "moderation.actor_tags",
        shape: Shape::Rows,
        default: Some("[]"),
        example: Example::OffWith("[{ did = \"did:plc:abc\", tags = [\"spam\"] }]"),
        reload: true,
        doc: "Tags of accounts: in search they count for all of an account's posts.",
        apply: |c, v| set(&mut c.moderation.actor_tags, parse::list(v, tags_of_account)),
        ..BASE
    },
    Opt {
        key: "moderation.thread_tags_hide",
        shape: Shape::List,
        default: Some("[]"),
        reload: true,
        doc: "Replies with one of these tags are shown apart from their thread and give no notification, unless the \
              reader follows their author.",
        apply: |c, v| set(&mut c.moderation.thread_tags_hide, parse::list(v, parse::text)),
        ..BASE
    },
    Opt {
        key: "moderation.thread_tags_bump_down",
        shape: Shape::List,
        default: Some("[]"),
        reload: true,
        doc: "Replies with one of these tags come after the others.",
        apply: |c, v| set(&mut c.moderation.thread_tags_bump_down, parse::list(v, parse::text)),
        ..BASE
    },
    Opt {
        key: "moderation.search_tags_hide",
        shape: Shape::List,
        default: Some("[]"),
        reload: true,
        doc: "Posts with one of these tags are found among the newest only, and only by those who name their author.",
        apply: |c, v| set(&mut c.moderation.search_tags_hide, parse::list(v, parse::text)),
        ..BASE
    },
    Opt {
        key: "moderation.search_tags_hide_all",
        shape: Shape::List,
        default: Some("[]"),
        reload: true,
        doc: "Posts with one of these tags are found by their author alone.",
        apply: |c, v| set(&mut c.moderation.search_tags_hide_all, parse::list(v, parse::text)),
        ..BASE
    },
];

pub(super) const AGE_ASSURANCE: &[Opt] = &[
    Opt {
        key: "age_assurance.rules_file",
        example: Example::OffWith("\"/etc/aerie/age_rules.json\""),
        reload: true,
        doc: "Rules of age assurance by region, which clients apply: JSON as app.bsky.ageassurance.getConfig answers \
              it. Without a file those of Bluesky.",
        apply: |c, v| set(&mut c.age_assurance.rules_file, parse::text(v).map(|p| Some(p.into()))),
        ..BASE
    },
    Opt {
        key: "age_assurance.assured",
        shape: Shape::List,
        default: Some("[]"),
        reload: true,
        doc: "Accounts whose owners you know to be adults. Of all others nothing is known: no vendor is asked.",
        apply: |c, v| set(&mut c.age_assurance.assured, parse::list(v, parse::did)),
        ..BASE
    },
];

pub(super) const CONFIG: &[Opt] = &[Opt {
    key: "config.live_now",
    shape: Shape::Rows,
    default: Some("[]"),
    example: Example::OffWith(
        "[{ did = \"did:plc:ar7c4by46qjdydhdevvrndac\", domains = [\"stream.example\"] }]",
    ),
    reload: true,
    doc: "Accounts that may show a link to these sites as live.",
    apply: |c, v| set(&mut c.live_now, parse::list(v, live_now)),
    ..BASE
}];

pub(super) const COMMUNITY: &[Opt] = &[
    Opt {
        key: "community.list",
        example: Example::OffWith("\"at://did:plc:abc/app.bsky.graph.list/3kabc\""),
        doc: "List whose members belong to the community.",
        apply: |c, v| {
            set(&mut c.community.list, parse::record_uri(v, "app.bsky.graph.list").map(Some))
        },
        ..BASE
    },
    Opt {
        key: "community.hook",
        example: Example::OffWith("\"https://members.example/check\""),
        doc: "URL that says who belongs to the community: it gets GET ?did=..., answers {\"member\": true} or false with \
              status 200, and is asked again after a minute. Without an answer within 3 s nobody does.",
        apply: |c, v| set(&mut c.community.hook, parse::url(v, HTTP).map(Some)),
        ..BASE
    },
    Opt {
        key: "community.posts",
        shape: Shape::Plain,
        default: Some("5000"),
        doc: "Most community posts that an account may keep.",
        apply: |c, v| set(&mut c.community.posts, parse::integer(v, 1, 100_000)),
        ..BASE
    },
];
