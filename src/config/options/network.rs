//! Where the data comes from.

use super::{BASE, Example, Opt, Shape, set};
use crate::config::entries::{handle_override, labeler};
use crate::config::parse::{self, HTTP, WEBSOCKET};

pub(super) const NETWORK: &[Opt] = &[
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
];

pub(super) const LABELS: &[Opt] = &[
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
];
