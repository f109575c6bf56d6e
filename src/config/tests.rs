//! Table-driven tests of loading, errors, the example file and reloads.

use super::options::{Example, Shape, options};
use super::sections::SECTIONS;
use super::*;

/// Loads `toml` (none when empty) with `env`; errors lose the folder of the temporary file.
fn try_load(toml: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, toml).unwrap();
    let sources = Sources {
        file: Some(file),
        env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    };
    let prefix = format!("{}/", dir.path().display());
    load(&sources).map_err(|errors| errors.to_string().replace(&prefix, ""))
}

#[test]
fn a_written_file_has_what_was_given_and_not_what_was_left_out() {
    let given = [
        ("server.public_url", Some("\"https://a.example\"".to_owned())),
        ("scope.disk_budget", None),
        ("scope.mode", None),
        ("scope.join", Some("\"listed\"".to_owned())),
    ];
    let text = written(&given);
    let config = try_load(&text, &[]).unwrap();
    assert_eq!(config.server.public_url, "https://a.example");
    assert_eq!((config.scope.disk_budget, config.scope.mode), (0, ScopeMode::Whole));
    assert_eq!(config.scope.join, Join::Listed);
    assert_eq!(
        text.lines().count(),
        example().lines().count(),
        "every key is explained all the same"
    );
}

#[test]
fn defaults_alone_are_valid() {
    let config = load(&Sources::default()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:2584");
    assert_eq!(config.server.did, "did:web:localhost%3A2584");
    assert_eq!(config.server.signing_key_file, PathBuf::from("data/signing_key"));
    assert_eq!(config.store.memory_budget, 512_000_000);
    assert_eq!(config.network.upstreams, ["wss://bsky.network"]);
    assert!(config.network.verify && !config.network.allow_private_addresses);
    assert_eq!(config.limits.max_thread_parents, 50);
    assert_eq!(config.admin.password, None);
}

#[test]
fn every_name_other_tools_write_is_accepted() {
    let config = try_load(
        r#"
[server]
listen = "127.0.0.1:3000"
public_url = "https://appview.example/"
did = "did:web:appview.example"
signing_key_file = "key"
[admin]
password = "hunter2"
[store]
path = "elsewhere"
memory_budget = "128MiB"
[network]
upstreams = ["ws://localhost:2583", "wss://relay.example"]
plc_url = "http://localhost:2582/"
verify = false
allow_private_addresses = true
handle_overrides = [{ suffix = ".test", url = "http://localhost:2583" }]
[labels]
default = ["did:plc:a"]
[[labels.labelers]]
did = "did:plc:a"
url = "http://localhost:1"
signing_key = "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"
[moderation]
service_did = "did:plc:m"
trusted_verifiers = ["did:plc:v"]
[scope]
mode = "whole"
[limits]
max_thread_parents = 10
"#,
        &[],
    )
    .unwrap();
    assert_eq!(config.server.public_url, "https://appview.example");
    assert_eq!(config.network.plc_url, "http://localhost:2582");
    assert_eq!(config.network.handle_overrides[0].suffix, ".test");
    assert!(config.labels.labelers[0].signing_key.is_some());
    assert_eq!(config.admin.password.unwrap().expose(), "hunter2");
    assert_eq!(config.store.memory_budget, 128 << 20);
}

#[test]
fn errors_name_place_key_and_remedy() {
    let table = [
        (
            "[network]\nplcurl = \"x\"",
            "config.toml:2: network.plcurl: unknown key; did you mean `network.plc_url`?",
        ),
        (
            "[sever]\nlisten = \"x\"",
            "config.toml:2: sever.listen: unknown key; did you mean `server.listen`?",
        ),
        ("listen = \"x\"", "config.toml:1: listen: unknown key; did you mean `server.listen`?"),
        (
            "[server]\nlisten = 2584",
            "config.toml:2: server.listen: expected a string, found an integer",
        ),
        (
            "\n[network]\nverify = \"no\"",
            "config.toml:3: network.verify: expected true or false, found a string",
        ),
        (
            "[limits]\nmax_thread_parents = 1001",
            "config.toml:2: limits.max_thread_parents: 1001 is not between 0 and 1000",
        ),
        (
            "[store]\nmemory_budget = \"lots\"",
            "config.toml:2: store.memory_budget: \"lots\" is not a size such as \"512MB\" or \"2GiB\"",
        ),
        (
            "[scope]\nmode = \"wide\"",
            "config.toml:2: scope.mode: \"wide\" is not one of whole, window, circle",
        ),
        (
            "[network]\nupstreams = [\n  \"wss://a.example\",\n  \"https://b.example\"]",
            "config.toml:4: network.upstreams[1]: \"https://b.example\" is not a URL such as \"wss://host.example\"",
        ),
        (
            "[[labels.labelers]]\ndid = \"did:plc:a\"\nsigningkey = \"x\"",
            "config.toml:3: labels.labelers[0]: unknown key `signingkey`; did you mean `signing_key`?",
        ),
        (
            "[[labels.labelers]]\nurl = \"https://a.example\"",
            "config.toml:1: labels.labelers[0]: `did` is missing",
        ),
    ];
    for (toml, expect) in table {
        assert_eq!(try_load(toml, &[]).unwrap_err(), expect, "{toml}");
    }
}

#[test]
fn all_errors_are_reported() {
    let errors = try_load(
        "[server]\nlisten = 1\nlisen = 2\n[limits]\nmax_thread_depth = -1",
        &[("AERIE_NO__SUCH", "1")],
    );
    assert_eq!(errors.unwrap_err().lines().count(), 4);
    let broken = try_load("[server]\nlisten = ", &[]).unwrap_err();
    assert!(broken.starts_with("config.toml:2: "), "{broken}");
}

#[test]
fn a_missing_file_is_an_error() {
    let sources = Sources { file: Some("/nonexistent/config.toml".into()), env: vec![] };
    let errors = load(&sources).unwrap_err().to_string();
    assert!(errors.starts_with("/nonexistent/config.toml: cannot be read"), "{errors}");
}

#[test]
fn environment_wins_in_every_shape() {
    let config = try_load(
        "[server]\nlisten = \"127.0.0.1:1\"\n[network]\nverify = true",
        &[
            ("AERIE_SERVER__LISTEN", "127.0.0.1:2"),
            ("AERIE_NETWORK__VERIFY", "false"),
            ("AERIE_NETWORK__UPSTREAMS", "ws://a.example, ws://b.example"),
            ("AERIE_LABELS__DEFAULT", "[\"did:plc:a\"]"),
            ("AERIE_LABELS__LABELERS", "[{ did = \"did:plc:a\" }]"),
            ("AERIE_LIMITS__MAX_THREAD_PARENTS", "7"),
            ("AERIE_STORE__PATH", ""),
            ("AERIE_CONFIG", "ignored"),
        ],
    )
    .unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert!(!config.network.verify);
    assert_eq!(config.network.upstreams.len(), 2);
    assert_eq!(config.labels.labelers.len(), 1);
    assert_eq!(config.limits.max_thread_parents, 7);
    assert_eq!(config.store.path, PathBuf::from("data"));
    let error = try_load("", &[("AERIE_NETWORK__VERIFY", "maybe")]).unwrap_err();
    assert_eq!(
        error,
        "env AERIE_NETWORK__VERIFY: network.verify: expected true or false, found a string"
    );
}

#[test]
fn secrets_are_never_shown() {
    let config = try_load("[admin]\npassword = \"hunter2\"", &[]).unwrap();
    let shown: String = config.settings().map(|(key, s)| format!("{key} {s:?}")).collect();
    let json: String =
        config.settings().filter_map(|(_, s)| Some(s?.to_json().to_string())).collect();
    for text in [format!("{config:?}"), shown, json] {
        assert!(text.contains("***") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn password_file_is_read_and_excludes_password() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "hunter2\nrest\n").unwrap();
    let env = ("AERIE_ADMIN__PASSWORD_FILE", file.to_str().unwrap());
    let first = try_load("", &[env]).unwrap();
    assert_eq!(first.admin.password.as_ref().unwrap().expose(), "hunter2");
    assert!(try_load("", &[env, ("AERIE_ADMIN__PASSWORD", "x")]).is_err());
    std::fs::write(&file, "other").unwrap();
    let second = try_load("", &[env]).unwrap();
    assert_eq!(second.requires_restart(&first), ["admin.password_file"]);
    std::fs::write(&file, "\n").unwrap();
    assert!(try_load("", &[env]).is_err());
}

#[test]
fn origins_are_kept() {
    let config = try_load("[store]\npath = \"x\"", &[("AERIE_LOG__LEVEL", "debug")]).unwrap();
    let origin = |key| config.settings.get(key).unwrap().origin.clone();
    assert!(matches!(origin("store.path"), Origin::File(_, 2)));
    assert_eq!(origin("log.level"), Origin::Environment("AERIE_LOG__LEVEL".into()));
    assert_eq!(origin("network.verify"), Origin::Default);
    assert_eq!(origin("server.did"), Origin::Derived("server.public_url"));
}

#[test]
fn only_what_cannot_reload_requires_a_restart() {
    let old = try_load("[limits]\nmax_thread_parents = 5", &[]).unwrap();
    let moved =
        try_load("\n\n[limits]\nmax_thread_parents = 6\n[labels]\ndefault = [\"did:plc:a\"]", &[])
            .unwrap();
    assert!(moved.requires_restart(&old).is_empty());
    let other = try_load("[store]\npath = \"x\"", &[]).unwrap();
    let waiting =
        ["server.signing_key_file", "store.path", "images.cache_path", "push.vapid_key_file"];
    assert_eq!(other.requires_restart(&old), waiting);
    let cdn = try_load("[images]\ncdn_base = \"https://cdn.example/img/\"", &[]).unwrap();
    assert!(cdn.requires_restart(&old).is_empty());
    assert_eq!(cdn.images.cdn_base, "https://cdn.example/img");
    assert_eq!(cdn.images.video_base, "https://video.bsky.app/watch");
    let closed = try_load("[network]\nplc_url = \"http://localhost:2582\"", &[]).unwrap();
    assert_eq!(closed.images.video_base, "http://localhost:2584/vid");
}

#[test]
fn the_table_is_consistent() {
    let blank = Config::blank().unwrap();
    for (i, opt) in options().enumerate() {
        let (section, _) = opt.key.split_once('.').unwrap();
        assert!(SECTIONS.iter().any(|(s, _)| *s == section), "{}", opt.key);
        assert!(!opt.doc.is_empty(), "{}", opt.key);
        assert!(options().take(i).all(|o| o.key != opt.key), "{} twice", opt.key);
        let shown = match opt.example {
            Example::OnWith(v) | Example::OffWith(v) | Example::Within(v) => Some(v),
            Example::On | Example::Off => opt.default,
        };
        assert!(shown.is_some(), "{} has neither default nor example", opt.key);
        for value in [opt.default, shown].into_iter().flatten() {
            let toml: toml_edit::Value = value.parse().unwrap();
            assert_eq!(
                toml.is_array(),
                matches!(opt.shape, Shape::List | Shape::Rows),
                "{}",
                opt.key
            );
            assert_eq!(toml.is_str(), opt.shape == Shape::Text, "{}", opt.key);
            let parsed = value::Value::from_toml(&toml, value);
            let mut config = blank.clone();
            if !value.contains("...") {
                (opt.apply)(&mut config, &parsed).unwrap();
            }
        }
    }
}

#[test]
fn the_example_file_is_current_and_valid() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");
    if std::env::var_os("UPDATE_EXAMPLE").is_some() {
        std::fs::write(path, example()).unwrap();
    }
    let on_disk = std::fs::read_to_string(path).unwrap();
    assert!(on_disk == example(), "run: aerie config example > config.example.toml");
    let active = |l: &&str| l.contains(" = ") && !l.starts_with('#');
    assert!(on_disk.lines().filter(active).count() <= 20);
    try_load(&on_disk, &[]).unwrap();
    // Every key is there, and valid when it is uncommented; files that are read with it do not exist here.
    let aside = [" ", "password", "secret_file", "secret_key_file", "rules_file"];
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(key) if !aside.iter().any(|a| key.starts_with(a)) => format!(
            "{key}
"
        ),
        _ => format!("{line}\n"),
    };
    let all: String = on_disk.lines().map(uncommented).collect();
    for opt in options() {
        let name = opt.key.split_once('.').unwrap().1;
        assert!(on_disk.contains(&format!("{name} = ")), "{}", opt.key);
    }
    try_load(&all, &[]).unwrap();
}

#[test]
fn rules_of_age_assurance_come_from_a_file_that_fits_the_lexicon() {
    let built_in = load(&Sources::default()).unwrap().age_assurance.rules;
    let method = crate::lexicon::catalog().method("app.bsky.ageassurance.getConfig").unwrap();
    let rules = serde_json::from_slice(&built_in).unwrap();
    method.validate_output(&rules).unwrap();
    assert!(rules["regions"].as_array().unwrap().len() > 5);

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.json");
    let name = file.to_str().unwrap();
    let env = [("AERIE_AGE_ASSURANCE__RULES_FILE", name)];
    std::fs::write(&file, r#"{"regions": []}"#).unwrap();
    assert_eq!(try_load("", &env).unwrap().age_assurance.rules, br#"{"regions": []}"#);
    for bad in [r#"{"regions": 7}"#, "nonsense"] {
        std::fs::write(&file, bad).unwrap();
        let error = try_load("", &env).unwrap_err();
        assert!(error.contains("age_assurance.rules_file"), "{error}");
    }
}

#[test]
fn who_may_be_live() {
    let toml = r#"[config]
live_now = [{ did = "did:plc:a", domains = ["a.example", "b.example"] }]"#;
    let [row] = try_load(toml, &[]).unwrap().live_now.try_into().unwrap();
    assert_eq!((row.did.as_str(), row.domains.len()), ("did:plc:a", 2));
    let error = try_load("[config]\nlive_now = [{ did = \"did:plc:a\" }]", &[]).unwrap_err();
    assert!(error.contains("domains"), "{error}");
}

#[test]
fn tags_and_what_they_do() {
    let post = "at://did:plc:a/app.bsky.feed.post/3k";
    let toml = format!(
        r#"[moderation]
record_tags = [{{ uri = "{post}", tags = ["a", "b"] }}]
actor_tags = [{{ did = "did:plc:a", tags = ["c"] }}]
thread_tags_hide = ["a"]
thread_tags_bump_down = ["b"]
search_tags_hide = ["c"]
search_tags_hide_all = ["d"]"#
    );
    let moderation = try_load(&toml, &[]).unwrap().moderation;
    assert_eq!(moderation.record_tags[0].subject, post);
    assert_eq!(moderation.record_tags[0].tags, ["a", "b"]);
    assert_eq!(moderation.actor_tags[0].subject, "did:plc:a");
    assert_eq!(
        (&moderation.thread_tags_hide[..], moderation.search_tags_hide.len()),
        (&["a".to_owned()][..], 1)
    );
    assert_eq!(
        (moderation.thread_tags_bump_down.len(), moderation.search_tags_hide_all.len()),
        (1, 1)
    );
    for bad in [
        "record_tags = [{ uri = \"at://did:plc:a\", tags = [] }]",
        "record_tags = [{ uri = \"at://a.test/app.bsky.feed.post/3k\", tags = [] }]",
        "record_tags = [{ did = \"did:plc:a\", tags = [] }]",
        "actor_tags = [{ did = \"a.test\", tags = [] }]",
        "actor_tags = [{ did = \"did:plc:a\" }]",
    ] {
        let key = bad.split(' ').next().unwrap();
        let error = try_load(&format!("[moderation]\n{bad}"), &[]).unwrap_err();
        assert!(error.contains(key), "{bad}: {error}");
    }
}

#[test]
fn the_key_of_an_entryway() {
    let key = crate::crypto::PrivateKey::generate().public();
    let (_, multikey) = multibase::decode(key.to_multibase()).unwrap();
    let hex = data_encoding::HEXLOWER.encode(&multikey[2..]);
    let load = |hex: &str| try_load(&format!("[server]\nentryway_key = \"{hex}\""), &[]);
    assert_eq!(load(&hex).unwrap().server.entryway_key, Some(key));
    for bad in ["00", "zz", &hex[2..]] {
        assert!(load(bad).unwrap_err().contains("entryway_key"), "{bad}");
    }
}

#[test]
fn what_is_suggested_first() {
    let feed = "at://did:plc:a/app.bsky.feed.generator/cats";
    let toml = format!(
        r#"[discovery]
follows = ["did:plc:a"]
feeds = ["{feed}"]
starter_packs = ["at://did:plc:a/app.bsky.graph.starterpack/3k"]
tagged = [{{ tag = "Cats", subject = "{feed}", type = "feed" }}, {{ tag = "A", subject = "did:plc:a", type = "actor" }}]"#
    );
    let discovery = try_load(&toml, &[]).unwrap().discovery;
    assert_eq!(discovery.whats_hot, None, "off by default");
    let hot = try_load(&format!("[discovery]\nwhats_hot = \"{feed}\""), &[]).unwrap();
    assert_eq!(hot.discovery.whats_hot.as_deref(), Some(feed));
    assert_eq!((discovery.feeds, discovery.starter_packs.len()), (vec![feed.to_owned()], 1));
    let [cats, a] = discovery.tagged.try_into().unwrap();
    assert_eq!((cats.tag.as_str(), cats.subject.as_str(), cats.is_feed), ("Cats", feed, true));
    assert_eq!((a.subject.as_str(), a.is_feed), ("did:plc:a", false));
    for bad in [
        "feeds = [\"at://did:plc:a/app.bsky.graph.list/x\"]",
        "starter_packs = [\"did:plc:a\"]",
        "whats_hot = \"https://feeds.example\"",
        "tagged = [{ tag = \"a\", subject = \"did:plc:a\", type = \"feed\" }]",
        "tagged = [{ tag = \"a\", subject = \"did:plc:a\", type = \"list\" }]",
        "tagged = [{ subject = \"did:plc:a\", type = \"actor\" }]",
    ] {
        let key = bad.split(' ').next().unwrap();
        let error = try_load(&format!("[discovery]\n{bad}"), &[]).unwrap_err();
        assert!(error.contains(key), "{bad}: {error}");
    }
}

#[test]
fn an_endpoint_for_push_needs_a_secret() {
    let endpoint = ("AERIE_PUSH__ENDPOINT", "https://push.example/hook");
    assert!(try_load("", &[endpoint]).unwrap_err().contains("push.endpoint: needs push.secret"));
    let config = try_load("[push]\nsecret = \"hunter2\"\ndelay = \"250ms\"", &[endpoint]).unwrap();
    assert_eq!(config.push.secret.as_ref().map(Secret::expose), Some("hunter2"));
    assert_eq!(config.push.delay, Duration::from_millis(250));
    assert!(!format!("{config:?}").contains("hunter2"));
    let own = try_load("[server]\nsigning_key_file = \"/k/key\"", &[]).unwrap();
    assert_eq!(own.push.vapid_key_file, std::path::Path::new("/k/vapid_key.pem"));
    for bad in ["21", "1 day", "2h", "-1s", ""] {
        assert!(try_load("", &[("AERIE_PUSH__DELAY", bad)]).is_err() != bad.is_empty(), "{bad}");
    }
}

#[test]
fn a_bucket_needs_a_key_and_private_state_some_minutes() {
    let bucket = ("AERIE_BACKUP__WHERE", "s3://bucket/prefix");
    let name = ("AERIE_BACKUP__ACCESS_KEY", "name");
    let error = try_load("", &[bucket, name]).unwrap_err();
    assert!(error.contains("backup.where: a bucket needs"), "{error}");
    let key = ("AERIE_BACKUP__SECRET_KEY", "hunter2");
    let config = try_load("[backup]\nkeep = 3", &[bucket, name, key]).unwrap();
    assert!(config.backup.keep == 3 && !format!("{config:?}").contains("hunter2"));
    assert!(try_load("", &[("AERIE_BACKUP__WHERE", "/var/backups")]).is_ok());
    for (private, is_fine) in [("5m", true), ("0s", true), ("4m", false), ("1s", false)] {
        let given = [("AERIE_BACKUP__PRIVATE", private)];
        assert_eq!(try_load("", &given).is_ok(), is_fine, "{private}");
    }
}
