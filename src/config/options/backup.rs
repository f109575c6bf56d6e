//! Where backups go, how often, and who can read them.

use super::{BASE, Example, Opt, Shape, set};
use crate::config::Secret;
use crate::config::parse::{self, HTTP};

/// A year.
const LONGEST: u64 = 366 * 86_400;

pub(super) const BACKUP: &[Opt] = &[
    Opt {
        key: "backup.where",
        example: Example::OffWith("\"/var/backups/aerie\""),
        doc: "Folder for backups, or a bucket: \"s3://bucket/prefix\". One place for each server. On another disk, or better \
              another machine. Default: none, and no backups but the daily export of private state in store.path.",
        apply: |c, v| set(&mut c.backup.place, parse::text(v).map(Some)),
        ..BASE
    },
    Opt {
        key: "backup.every",
        default: Some("\"24h\""),
        doc: "How often the whole store is backed up; \"0s\" for never. Only tables that are new since the last one are brought.",
        apply: |c, v| set(&mut c.backup.every, parse::duration(v, LONGEST)),
        ..BASE
    },
    Opt {
        key: "backup.private",
        default: Some("\"24h\""),
        doc: "How often private state alone is backed up, down to \"5m\"; left out if nothing was saved since. \"0s\" for never.",
        apply: |c, v| {
            let every = parse::duration(v, LONGEST)?;
            let least = std::time::Duration::from_secs(300);
            if !every.is_zero() && every < least {
                return parse::fault(v, format!("{v} is less than 5m"));
            }
            c.backup.private = every;
            Ok(())
        },
        ..BASE
    },
    Opt {
        key: "backup.keep",
        shape: Shape::Plain,
        default: Some("7"),
        doc: "Backups of each kind that are kept at least, the newest; the last good one is never removed.",
        apply: |c, v| set(&mut c.backup.keep, parse::integer(v, 1, 100_000)),
        ..BASE
    },
    Opt {
        key: "backup.keep_for",
        default: Some("\"72h\""),
        doc: "None that is younger is removed either.",
        apply: |c, v| set(&mut c.backup.keep_for, parse::duration(v, 10 * LONGEST)),
        ..BASE
    },
    Opt {
        key: "backup.encrypt_to",
        shape: Shape::List,
        default: Some("[]"),
        example: Example::OffWith(
            "[\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]",
        ),
        doc: "Recipients of age (https://age-encryption.org) to whom backups are encrypted. The server's own keys are only \
              in backups that are. Keep the identity elsewhere: without it they cannot be restored.",
        apply: |c, v| set(&mut c.backup.encrypt_to, parse::list(v, parse::text)),
        ..BASE
    },
    Opt {
        key: "backup.identity_file",
        example: Example::OffWith("\"/etc/aerie/backup_identity\""),
        doc: "File with the age identity, for `aerie backup verify` and `restore`. The server itself needs none.",
        apply: |c, v| set(&mut c.backup.identity_file, parse::text(v).map(|p| Some(p.into()))),
        ..BASE
    },
    Opt {
        key: "backup.rate",
        default: Some("\"50MB\""),
        doc: "Bytes that a backup reads in a second, so that ingest and readers have the rest of the disk; 0 for no limit.",
        apply: |c, v| set(&mut c.backup.rate, parse::bytes(v, 0)),
        ..BASE
    },
    Opt {
        key: "backup.endpoint",
        example: Example::OffWith("\"https://s3.example.com\""),
        doc: "URL of the service that has the bucket. Default: Amazon's, for backup.region.",
        apply: |c, v| set(&mut c.backup.endpoint, parse::url(v, HTTP).map(Some)),
        ..BASE
    },
    Opt {
        key: "backup.region",
        default: Some("\"us-east-1\""),
        doc: "Region of the bucket; many services take any.",
        apply: |c, v| set(&mut c.backup.region, parse::text(v)),
        ..BASE
    },
    Opt {
        key: "backup.access_key",
        example: Example::OffWith("\"...\""),
        doc: "Name of the key to the bucket.",
        apply: |c, v| set(&mut c.backup.access_key, parse::text(v).map(Some)),
        ..BASE
    },
    Opt {
        key: "backup.secret_key",
        example: Example::OffWith("\"...\""),
        secret: true,
        doc: "The key itself.",
        apply: |c, v| set(&mut c.backup.secret_key, parse::text(v).map(|p| Some(Secret::new(p)))),
        ..BASE
    },
    Opt {
        key: "backup.secret_key_file",
        example: Example::OffWith("\"/etc/aerie/backup_secret\""),
        doc: "File whose first line is the key, instead of backup.secret_key.",
        apply: |c, v| set(&mut c.backup.secret_key_file, parse::text(v).map(|p| Some(p.into()))),
        ..BASE
    },
];
