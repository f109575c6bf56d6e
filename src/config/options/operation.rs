//! Whom and what this server tells: devices, its operator, the log.

use super::{BASE, Example, Opt, Shape, set};
use crate::config::parse::{self, HTTP};
use crate::config::{LogFormat, Secret};

pub(super) const PUSH: &[Opt] = &[
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
];

pub(super) const ALERTS: &[Opt] = &[Opt {
    key: "alerts.webhook",
    example: Example::OffWith("\"https://alerts.example/hook\""),
    doc: "HTTPS URL to which events that need you are posted as JSON, each with \"event\", \"service\", \"at\" and \
              \"message\": steps of the disk ladder (\"disk\"), failed or old backups (\"backup\"), and others.",
    apply: |c, v| set(&mut c.alerts.webhook, parse::url(v, HTTP).map(Some)),
    ..BASE
}];

pub(super) const LOG: &[Opt] = &[
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
