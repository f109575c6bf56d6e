//! The option table: every key, once. Parsing, defaults, the environment, the example file, `config show` and
//! `config check` are all made from it.

use super::entries::{
    FEED, handle_override, labeler, live_now, tagged, tags_of_account, tags_of_record,
};
use super::parse::{self, HTTP, Parsed, WEBSOCKET};
use super::value::Value;
use super::{Config, Join, LogFormat, ScopeMode, Secret};

const PACK: &str = "app.bsky.graph.starterpack";

/// How a value is read from the environment, which has only text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// Taken as it is.
    Text,
    /// `true`, `false` or a number, as in TOML.
    Plain,
    /// A TOML list, or elements separated by commas.
    List,
    /// A TOML list of inline tables.
    Rows,
}

/// One option.
pub(crate) struct Opt {
    /// `section.name`.
    pub(crate) key: &'static str,
    pub(crate) shape: Shape,
    /// The default in TOML; `None` when the option is unset by default.
    pub(crate) default: Option<&'static str>,
    /// What the example file shows: `On` is active, `Off` commented out; without a value, the default.
    pub(crate) example: Example,
    /// Whether SIGHUP applies a change.
    pub(crate) reload: bool,
    /// Whether the value is never shown.
    pub(crate) secret: bool,
    pub(crate) doc: &'static str,
    pub(crate) apply: fn(&mut Config, &Value) -> Parsed<()>,
}

/// How the example file shows an option.
#[derive(Clone, Copy)]
pub(crate) enum Example {
    On,
    OnWith(&'static str),
    Off,
    OffWith(&'static str),
    /// Within its comment: for the few who know that they need it.
    Within(&'static str),
}

/// An option that is neither secret nor reloaded, commented out in the example; rows of the table vary this.
const BASE: Opt = Opt {
    key: "",
    shape: Shape::Text,
    default: None,
    example: Example::Off,
    reload: false,
    secret: false,
    doc: "",
    apply: |_, _| Ok(()),
};

/// The table.
pub(crate) const OPTIONS: &[Opt] = &[
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
    Opt {
        key: "store.path",
        default: Some("\"data\""),
        example: Example::On,
        doc: "Folder of the index. A relative path starts from the working directory.",
        apply: |c, v| set(&mut c.store.path, parse::text(v).map(Into::into)),
        ..BASE
    },
    Opt {
        key: "store.memory_budget",
        default: Some("\"512MB\""),
        example: Example::On,
        doc: "Memory for caches, write buffers, queues, and what is held for strangers: fetched repos, pictures, answers. `aerie status` \
              shows how it is divided. With less than 256MB the least that pictures and fetches need is more than their part.",
        apply: |c, v| set(&mut c.store.memory_budget, parse::bytes(v, 64_000_000)),
        ..BASE
    },
    Opt {
        key: "store.reserve",
        default: Some("\"2GB\""),
        example: Example::On,
        doc: "When the disk has less free space than this, ingest stops and reads go on; at twice this backfill pauses, at \
              one and a half times this retention runs, if scope.mode lets anything go. Never less than what the store \
              needs to end what it began: 300 MB with a memory_budget of 512MB, and up to 800 MB more for a large index.",
        apply: |c, v| set(&mut c.store.reserve, parse::bytes(v, 0)),
        ..BASE
    },
    Opt {
        key: "store.reserve_file",
        default: Some("\"256MB\""),
        doc: "Size of a file in store.path that holds some of the disk. It is made when less than five times store.reserve is \
              free, given up when ingest has stopped and space is still short, and made again afterwards. 0 for none; a \
              twentieth of the disk at most.",
        apply: |c, v| set(&mut c.store.reserve_file, parse::bytes(v, 0)),
        ..BASE
    },
    Opt {
        key: "store.warn_days",
        shape: Shape::Plain,
        default: Some("14"),
        doc: "Warn when ingest would stop within so many days at the rate of the last two. 0 for never.",
        apply: |c, v| set(&mut c.store.warn_days, parse::integer(v, 0, 3650)),
        ..BASE
    },
    Opt {
        key: "network.upstreams",
        shape: Shape::List,
        default: Some("[\"wss://bsky.network\"]"),
        example: Example::On,
        doc: "Firehoses to follow (com.atproto.sync.subscribeRepos), relays or single PDSes. Several are merged: \
              each commit counts once.",
        apply: |c, v| set(&mut c.network.upstreams, parse::list(v, |u| parse::url(u, WEBSOCKET))),
        ..BASE
    },
    Opt {
        key: "network.jetstream",
        shape: Shape::List,
        default: Some("[]"),
        example: Example::OffWith("[\"wss://jetstream1.us-east.bsky.network\"]"),
        doc: "Jetstream servers, for a tenth of the bandwidth. Nothing from them can be verified: you trust the \
              server. Set upstreams = [] to use these alone.",
        apply: |c, v| set(&mut c.network.jetstream, parse::list(v, |u| parse::url(u, WEBSOCKET))),
        ..BASE
    },
    Opt {
        key: "network.plc_url",
        default: Some("\"https://plc.directory\""),
        doc: "PLC directory or a mirror of it. Asked for every DID but did:web, and believed: whoever serves it says \
              which key an account has. Operations that come in bulk are checked by their signatures.",
        apply: |c, v| set(&mut c.network.plc_url, parse::url(v, HTTP)),
        ..BASE
    },
    Opt {
        key: "network.plc_export",
        shape: Shape::Plain,
        default: Some("false"),
        doc: "Follow the directory's export, so that nobody is asked for DIDs one by one. For servers that index the \
              whole network: it reads every operation of every DID, a thousand a request, and keeps some 90 bytes \
              a DID. `aerie identity import` takes most of that from a file first.",
        apply: |c, v| set(&mut c.network.plc_export, parse::boolean(v)),
        ..BASE
    },
    Opt {
        key: "network.verify",
        shape: Shape::Plain,
        default: Some("true"),
        doc: "Check signatures and proofs of every commit. Turn off only for an upstream you own.",
        apply: |c, v| set(&mut c.network.verify, parse::boolean(v)),
        ..BASE
    },
    Opt {
        key: "network.allow_private_addresses",
        shape: Shape::Plain,
        default: Some("false"),
        doc: "Allow connections to private addresses and plain http also where a stranger names the host, as in a DID \
              document. Only for tests. URLs in this file may be private in any case.",
        apply: |c, v| set(&mut c.network.allow_private_addresses, parse::boolean(v)),
        ..BASE
    },
    Opt {
        key: "network.fetch_on_read",
        shape: Shape::Plain,
        default: Some("true"),
        doc: "Fetch profiles, posts, the posts above them and single records that somebody asks for and the index lacks \
              from their PDS, checked like everything else. An answer waits 300 ms for them at most.",
        apply: |c, v| set(&mut c.network.fetch_on_read, parse::boolean(v)),
        ..BASE
    },
    Opt {
        key: "network.on_read_budget",
        default: Some("\"200MB\""),
        doc: "Most that records fetched so may take, about; beyond it those that were fetched first go, unless a member or \
              whom one follows has to do with them, or the stream brought them too. 0 for no limit.",
        apply: |c, v| set(&mut c.network.on_read_budget, parse::bytes(v, 0)),
        ..BASE
    },
    Opt {
        key: "network.handle_overrides",
        shape: Shape::Rows,
        default: Some("[]"),
        example: Example::OffWith("[{ suffix = \".test\", url = \"http://localhost:2583\" }]"),
        doc: "Handles that end in `suffix` are looked up at `url` (/.well-known/atproto-did with the handle as Host) \
              instead of through DNS.",
        apply: |c, v| set(&mut c.network.handle_overrides, parse::list(v, handle_override)),
        ..BASE
    },
    Opt {
        key: "labels.labelers",
        shape: Shape::Rows,
        default: Some("[]"),
        example: Example::OnWith("[{ did = \"did:plc:ar7c4by46qjdydhdevvrndac\" }]"),
        reload: true,
        doc: "Labelers whose labels are kept. `url` and `signing_key` default to the labeler's DID document. The one \
              in the example is Bluesky's.",
        apply: |c, v| set(&mut c.labels.labelers, parse::list(v, labeler)),
        ..BASE
    },
    Opt {
        key: "labels.default",
        shape: Shape::List,
        default: Some("[]"),
        example: Example::OnWith("[\"did:plc:ar7c4by46qjdydhdevvrndac\"]"),
        reload: true,
        doc: "Labelers that apply, with redaction, to a request that names none.",
        apply: |c, v| set(&mut c.labels.default, parse::list(v, parse::did)),
        ..BASE
    },
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
    Opt {
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
    },
    Opt {
        key: "search.commit_interval",
        default: Some("\"5s\""),
        doc: "What was written can be searched after about this time. Less makes more work of it.",
        apply: |c, v| set(&mut c.search.commit_interval, parse::duration(v, 300)),
        ..BASE
    },
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
    Opt {
        key: "pages.enabled",
        shape: Shape::Plain,
        default: Some("true"),
        doc: "Show profiles, posts, tags, trends and search to browsers: what readers without an account may see.",
        apply: |c, v| set(&mut c.pages.enabled, parse::boolean(v)),
        ..BASE
    },
    Opt {
        key: "scope.mode",
        default: Some("\"whole\""),
        example: Example::OnWith("\"window\""),
        doc: "\"whole\" keeps everything. \"window\" keeps everything for some days, and all of members, those they \
              follow and what touches them. \"circle\" stores only these. Without this key nothing is ever deleted. \
              `aerie scope plan --mode window` says beforehand what a change deletes.",
        apply: |c, v| {
            let name = parse::one_of(v, &ScopeMode::ALL.map(|(_, name)| name));
            set(&mut c.scope.mode, name.map(|name| ScopeMode::of(name).unwrap_or_default()))
        },
        ..BASE
    },
    Opt {
        key: "scope.days",
        shape: Shape::Plain,
        default: Some("30"),
        example: Example::On,
        doc: "Age from which posts, likes, reposts and follows go that touch nobody who is kept. A \"circle\" does not \
              store them at all; there it is for what was stored before.",
        apply: |c, v| set(&mut c.scope.days, parse::integer(v, 1, 36_500)),
        ..BASE
    },
    Opt {
        key: "scope.disk_budget",
        example: Example::OnWith("\"20GB\""),
        doc: "Space that the store is to stay under: above it, such records go before their days are over, the oldest and \
              least liked first, but none of the last day. Not with \"whole\". Default: no limit.",
        apply: |c, v| set(&mut c.scope.disk_budget, parse::bytes(v, 1_000_000)),
        ..BASE
    },
    Opt {
        key: "scope.members",
        shape: Shape::List,
        default: Some("[]"),
        example: Example::OffWith("[\"did:plc:z72i7hdynmk6r22z27h6tvur\"]"),
        doc: "Accounts that are members from the start on. `aerie member` lists, adds and removes them.",
        apply: |c, v| set(&mut c.scope.members, parse::list(v, parse::did)),
        ..BASE
    },
    Opt {
        key: "scope.join",
        default: Some("\"anyone\""),
        doc: "Who else becomes a member. \"anyone\": whoever calls with a valid token and wants something kept: \
              notifications, mutes, bookmarks, drafts, settings. \"listed\": nobody; others read as signed in, and what \
              would be kept for them is refused (403 NotAMember).",
        apply: |c, v| {
            let name = parse::one_of(v, &Join::ALL.map(|(_, name)| name))?;
            let join = Join::ALL.iter().find(|(_, known)| *known == name);
            c.scope.join = join.map(|(join, _)| *join).unwrap_or_default();
            Ok(())
        },
        ..BASE
    },
    Opt {
        key: "scope.max_members",
        shape: Shape::Plain,
        default: Some("10000"),
        doc: "From so many members on nobody joins by calling, only whom you name. A member costs its notifications, its \
              own repo and, as far as scope.mode and scope.max_follows say, those of the accounts it follows.",
        apply: |c, v| set(&mut c.scope.max_members, parse::integer(v, 0, 10_000_000)),
        ..BASE
    },
    Opt {
        key: "scope.max_follows",
        shape: Shape::Plain,
        default: Some("5000"),
        doc: "Of the accounts that one member follows, fetch the history of so many, the last followed first, and keep \
              all of so many where scope.mode is not \"whole\".",
        apply: |c, v| set(&mut c.scope.max_follows, parse::integer(v, 0, 2_000_000)),
        ..BASE
    },
    Opt {
        key: "images.cache_path",
        example: Example::OffWith("\"/var/cache/aerie\""),
        doc: "Folder for images in the sizes that clients show. May be deleted at any time. Default: `images` in \
              store.path.",
        apply: |c, v| set(&mut c.images.cache_path, parse::text(v).map(Into::into)),
        ..BASE
    },
    Opt {
        key: "images.cache_size",
        default: Some("\"2GB\""),
        doc: "Most that this folder may take on disk; 0 for no cache. When the disk has less free space than twice \
              store.reserve, the cache shrinks first.",
        apply: |c, v| set(&mut c.images.cache_size, parse::bytes(v, 0)),
        ..BASE
    },
    Opt {
        key: "images.cdn_base",
        example: Example::OffWith("\"https://cdn.bsky.app/img\""),
        reload: true,
        doc: "What image URLs in answers begin with: an image service, or a CDN in front of this server's /img, which \
              is there in any case. Default: `/img` at server.public_url.",
        apply: |c, v| set(&mut c.images.cdn_base, parse::url(v, HTTP)),
        ..BASE
    },
    Opt {
        key: "images.video_base",
        example: Example::OffWith("\"https://video.bsky.app/watch\""),
        reload: true,
        doc: "What video URLs in answers begin with; `/{did}/{cid}/playlist.m3u8` and `thumbnail.jpg` follow. This \
              server has no videos. Default: Bluesky's service, which has those of the public network; `/vid` at \
              server.public_url if network.plc_url is another directory.",
        apply: |c, v| set(&mut c.images.video_base, parse::url(v, HTTP)),
        ..BASE
    },
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
    Opt {
        key: "push.endpoint",
        example: Example::OffWith("\"https://push.example/hook\""),
        doc: "HTTPS endpoint to which every notification of every member is posted, signed; it forwards them to Apple, \
              Google or wherever. See the README for the shape. WebPush and UnifiedPush need none.",
        apply: |c, v| set(&mut c.push.endpoint, parse::url(v, HTTP).map(Some)),
        ..BASE
    },
    Opt {
        key: "push.secret",
        example: Example::OffWith("\"...\""),
        secret: true,
        doc: "What requests to the endpoint are signed with (HMAC-SHA256). Needed with push.endpoint.",
        apply: |c, v| set(&mut c.push.secret, parse::text(v).map(|p| Some(Secret::new(p)))),
        ..BASE
    },
    Opt {
        key: "push.secret_file",
        example: Example::OffWith("\"/etc/aerie/push_secret\""),
        doc: "File whose first line is the secret, instead of push.secret.",
        apply: |c, v| set(&mut c.push.secret_file, parse::text(v).map(|p| Some(p.into()))),
        ..BASE
    },
    Opt {
        key: "push.delay",
        default: Some("\"21s\""),
        doc: "How long a notification waits before it is pushed, so that a like that is taken back at once is not.",
        apply: |c, v| set(&mut c.push.delay, parse::duration(v, 3600)),
        ..BASE
    },
    Opt {
        key: "push.per_minute",
        shape: Shape::Plain,
        default: Some("60"),
        doc: "Most notifications that each device of an account, and the endpoint for it, gets in a minute.",
        apply: |c, v| set(&mut c.push.per_minute, parse::integer(v, 1, 100_000)),
        ..BASE
    },
    Opt {
        key: "push.vapid_key_file",
        example: Example::OffWith("\"/var/lib/aerie/vapid_key.pem\""),
        doc: "File with the P-256 private key (PEM) that WebPush services know this server by. Made at the first start, \
              readable by its owner only. Default: `vapid_key.pem` beside server.signing_key_file.",
        apply: |c, v| set(&mut c.push.vapid_key_file, parse::text(v).map(Into::into)),
        ..BASE
    },
    Opt {
        key: "alerts.webhook",
        example: Example::OffWith("\"https://alerts.example/hook\""),
        doc: "HTTPS URL to which events that need you are posted as JSON, each step of the disk ladder so far: {\"event\": \
              \"disk\", \"service\", \"at\", \"step\", \"was\", \"message\", \"free\", \"days_left\"}.",
        apply: |c, v| set(&mut c.alerts.webhook, parse::url(v, HTTP).map(Some)),
        ..BASE
    },
    Opt {
        key: "log.level",
        default: Some("\"info\""),
        example: Example::On,
        reload: true,
        doc: "error, warn, info, debug or trace, also by module: \"info,aerie::ingest=debug\". RUST_LOG wins.",
        apply: |c, v| set(&mut c.log.level, parse::log_filter(v)),
        ..BASE
    },
    Opt {
        key: "log.format",
        default: Some("\"text\""),
        doc: "\"text\" or \"json\" (one object a line).",
        apply: |c, v| {
            let format = parse::one_of(v, &["text", "json"]);
            set(
                &mut c.log.format,
                format.map(|f| if f == "json" { LogFormat::Json } else { LogFormat::Text }),
            )
        },
        ..BASE
    },
];

fn set<T>(slot: &mut T, parsed: Parsed<T>) -> Parsed<()> {
    *slot = parsed?;
    Ok(())
}
