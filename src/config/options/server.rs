//! What clients see, who may look inside, and how much anybody may ask for.

use super::{BASE, Example, Opt, Shape, set};
use crate::config::Secret;
use crate::config::parse;

pub(super) const SERVER: &[Opt] = &[
    Opt {
        key: "server.listen",
        default: Some("\"127.0.0.1:2584\""),
        example: Example::On,
        doc: "Address and port to listen on. Put a reverse proxy with TLS in front of it.",
        apply: |c, v| set(&mut c.server.listen, parse::address(v)),
        ..BASE
    },
    Opt {
        key: "server.public_url",
        default: Some("\"http://localhost:2584\""),
        example: Example::OnWith("\"https://appview.example\""),
        doc: "The URL under which clients reach this server: scheme, host and port. Image URLs begin with it.",
        apply: |c, v| set(&mut c.server.public_url, parse::origin(v)),
        ..BASE
    },
    Opt {
        key: "server.did",
        example: Example::OffWith("\"did:web:appview.example\""),
        doc: "This service's DID, the audience of every token. Default: did:web of public_url's host.",
        apply: |c, v| set(&mut c.server.did, parse::did(v)),
        ..BASE
    },
    Opt {
        key: "server.alternative_dids",
        shape: Shape::List,
        default: Some("[]"),
        doc: "Further DIDs accepted as a token's audience, for example of an earlier name.",
        apply: |c, v| set(&mut c.server.alternative_dids, parse::list(v, parse::did)),
        ..BASE
    },
    Opt {
        key: "server.signing_key_file",
        example: Example::OffWith("\"/var/lib/aerie/signing_key\""),
        doc: "File with this service's secp256k1 private key in hex. Made at the first start, readable by its owner \
              only. Default: `signing_key` in store.path.",
        apply: |c, v| set(&mut c.server.signing_key_file, parse::text(v).map(Into::into)),
        ..BASE
    },
    Opt {
        key: "server.debug_dids",
        shape: Shape::List,
        default: Some("[]"),
        reload: true,
        doc: "Accounts that are shown, in the `debug` field of posts and profiles, the tags of moderation.record_tags and \
              actor_tags.",
        apply: |c, v| set(&mut c.server.debug_dids, parse::list(v, parse::did)),
        ..BASE
    },
    Opt {
        key: "server.entryway_key",
        example: Example::Within(
            "\"0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\"",
        ),
        doc: "The public secp256k1 key (hex) of a PDS entryway whose session tokens are accepted too, for hosts \
              under bsky.network. Clients then need no PDS in between.",
        apply: |c, v| set(&mut c.server.entryway_key, parse::hex_key(v).map(Some)),
        ..BASE
    },
    Opt {
        key: "server.trusted_proxies",
        shape: Shape::List,
        default: Some("[\"127.0.0.0/8\", \"::1\"]"),
        example: Example::OffWith("[\"127.0.0.0/8\", \"::1\", \"10.0.0.5\"]"),
        doc: "Addresses and networks of reverse proxies. Limits by address count whom one of them names in \
              X-Forwarded-For or Forwarded, read from the right; of anybody else these are not believed. One that names \
              nobody asks for itself and is not limited, so have it send the header.",
        apply: |c, v| set(&mut c.server.trusted_proxies, parse::list(v, parse::network)),
        ..BASE
    },
];

pub(super) const ADMIN: &[Opt] = &[
    Opt {
        key: "admin.password",
        example: Example::OffWith("\"...\""),
        secret: true,
        doc: "Password of the user `admin` (HTTP Basic). Without one, the admin endpoints answer nobody.",
        apply: |c, v| set(&mut c.admin.password, parse::text(v).map(|p| Some(Secret::new(p)))),
        ..BASE
    },
    Opt {
        key: "admin.password_file",
        example: Example::OffWith("\"/etc/aerie/admin_password\""),
        doc: "File whose first line is the password, instead of admin.password.",
        apply: |c, v| set(&mut c.admin.password_file, parse::text(v).map(|p| Some(p.into()))),
        ..BASE
    },
];

pub(super) const PAGES: &[Opt] = &[Opt {
    key: "pages.enabled",
    shape: Shape::Plain,
    default: Some("true"),
    doc: "Show profiles, posts, tags, trends and search to browsers: what readers without an account may see.",
    apply: |c, v| set(&mut c.pages.enabled, parse::boolean(v)),
    ..BASE
}];

pub(super) const LIMITS: &[Opt] = &[
    Opt {
        key: "limits.max_thread_parents",
        shape: Shape::Plain,
        default: Some("50"),
        reload: true,
        doc: "Levels shown above a post by getPostThreadV2, which has no parameter for it.",
        apply: |c, v| set(&mut c.limits.max_thread_parents, parse::integer(v, 0, 1000)),
        ..BASE
    },
    Opt {
        key: "limits.max_thread_depth",
        shape: Shape::Plain,
        default: Some("1000"),
        reload: true,
        doc: "Most levels of replies shown below a post, whatever depth a request for a thread asks for.",
        apply: |c, v| set(&mut c.limits.max_thread_depth, parse::integer(v, 1, 1000)),
        ..BASE
    },
    Opt {
        key: "limits.requests",
        shape: Shape::Plain,
        default: Some("3000"),
        doc: "Most requests in five minutes of one address, or of one account where one is signed in; of pictures four \
              times as many. More are answered with 429 `RateLimitExceeded`. IPv6 counts by /64. 0 for no limit.",
        apply: |c, v| set(&mut c.limits.requests, parse::integer(v, 0, 250_000_000)),
        ..BASE
    },
    Opt {
        key: "limits.connections",
        shape: Shape::Plain,
        default: Some("64"),
        doc: "Most connections of one address at a time, those of server.trusted_proxies excepted. 0 for no limit.",
        apply: |c, v| set(&mut c.limits.connections, parse::integer(v, 0, 100_000)),
        ..BASE
    },
    Opt {
        key: "limits.writes",
        shape: Shape::Plain,
        default: Some("1500"),
        doc: "Most changes of private state (mutes, bookmarks, drafts, settings) of one account in an hour. 0 for no limit.",
        apply: |c, v| set(&mut c.limits.writes, parse::integer(v, 0, 10_000_000)),
        ..BASE
    },
    Opt {
        key: "limits.mutes",
        shape: Shape::Plain,
        default: Some("20000"),
        reload: true,
        doc: "Most accounts, and as many threads, that an account may mute.",
        apply: |c, v| set(&mut c.limits.mutes, parse::integer(v, 0, 1_000_000)),
        ..BASE
    },
    Opt {
        key: "limits.list_mutes",
        shape: Shape::Plain,
        default: Some("1000"),
        reload: true,
        doc: "Most lists that an account may mute. The oldest thousand have an effect.",
        apply: |c, v| set(&mut c.limits.list_mutes, parse::integer(v, 0, 1_000_000)),
        ..BASE
    },
    Opt {
        key: "limits.bookmarks",
        shape: Shape::Plain,
        default: Some("20000"),
        reload: true,
        doc: "Most bookmarks that an account may keep.",
        apply: |c, v| set(&mut c.limits.bookmarks, parse::integer(v, 0, 1_000_000)),
        ..BASE
    },
    Opt {
        key: "limits.subscriptions",
        shape: Shape::Plain,
        default: Some("2000"),
        reload: true,
        doc: "Most accounts whose activity an account may subscribe to.",
        apply: |c, v| set(&mut c.limits.subscriptions, parse::integer(v, 0, 1_000_000)),
        ..BASE
    },
    Opt {
        key: "limits.drafts",
        shape: Shape::Plain,
        default: Some("500"),
        reload: true,
        doc: "Most drafts that an account may keep.",
        apply: |c, v| set(&mut c.limits.drafts, parse::integer(v, 0, 100_000)),
        ..BASE
    },
];
