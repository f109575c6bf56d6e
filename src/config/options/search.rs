//! What is found, and what is suggested.

use super::{BASE, Example, Opt, Shape, set};
use crate::config::entries::{FEED, tagged};
use crate::config::parse;

const PACK: &str = "app.bsky.graph.starterpack";

pub(super) const SEARCH: &[Opt] = &[Opt {
    key: "search.commit_interval",
    default: Some("\"5s\""),
    doc: "What was written can be searched after about this time. Less makes more work of it.",
    apply: |c, v| set(&mut c.search.commit_interval, parse::duration(v, 300)),
    ..BASE
}];

pub(super) const DISCOVERY: &[Opt] = &[
    Opt {
        key: "discovery.follows",
        shape: Shape::List,
        default: Some("[]"),
        example: Example::OffWith("[\"did:plc:ar7c4by46qjdydhdevvrndac\"]"),
        reload: true,
        doc: "Accounts that are suggested to everybody who does not follow them yet.",
        apply: |c, v| set(&mut c.discovery.follows, parse::list(v, parse::did)),
        ..BASE
    },
    Opt {
        key: "discovery.feeds",
        shape: Shape::List,
        default: Some("[]"),
        example: Example::OffWith("[\"at://did:plc:abc/app.bsky.feed.generator/cats\"]"),
        reload: true,
        doc: "Feeds that are suggested to everybody.",
        apply: |c, v| set(&mut c.discovery.feeds, parse::list(v, |u| parse::record_uri(u, FEED))),
        ..BASE
    },
    Opt {
        key: "discovery.starter_packs",
        shape: Shape::List,
        default: Some("[]"),
        example: Example::OffWith("[\"at://did:plc:abc/app.bsky.graph.starterpack/3kabc\"]"),
        reload: true,
        doc: "Starter packs that are suggested to everybody, at sign-up too.",
        apply: |c, v| {
            set(&mut c.discovery.starter_packs, parse::list(v, |u| parse::record_uri(u, PACK)))
        },
        ..BASE
    },
    Opt {
        key: "discovery.tagged",
        shape: Shape::Rows,
        default: Some("[]"),
        example: Example::OffWith(
            "[{ tag = \"Cats\", subject = \"at://did:plc:abc/app.bsky.feed.generator/cats\", type = \"feed\" }]",
        ),
        reload: true,
        doc: "Accounts (type = \"actor\", subject = a DID) and feeds under a word (app.bsky.unspecced.getTaggedSuggestions).",
        apply: |c, v| set(&mut c.discovery.tagged, parse::list(v, tagged)),
        ..BASE
    },
    Opt {
        key: "discovery.whats_hot",
        example: Example::OffWith("\"at://did:plc:abc/app.bsky.feed.generator/popular\""),
        reload: true,
        doc: "The feed that the app shows behind the end of Following, where it asks for Bluesky's Discover whatever \
              the network. For networks that do not have that; this server then answers with another's record in its \
              place.",
        apply: |c, v| set(&mut c.discovery.whats_hot, parse::record_uri(v, FEED).map(Some)),
        ..BASE
    },
];
