//! Where the index lives, how much of the network is kept, pictures.

use super::{BASE, Example, Opt, Shape, set};
use crate::config::parse::{self, HTTP};
use crate::config::{Join, ScopeMode};

pub(super) const STORE: &[Opt] = &[
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
];

pub(super) const SCOPE: &[Opt] = &[
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
];

pub(super) const IMAGES: &[Opt] = &[
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
];
