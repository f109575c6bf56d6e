//! The binary as an operator meets it: what it prints and how it exits.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test: a panic is its failure")]
use std::process::Command;

#[test]
fn a_configuration_error_exits_78_and_names_file_line_key_and_the_nearest_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let text = "[network]\nplcurl = \"https://plc.example\"\n\n[server]\nlisten = \"nowhere\"\n";
    std::fs::write(&file, text).unwrap();
    for args in [&["config", "check"][..], &["serve"], &["status"], &["db", "stats"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aerie"));
        let output = command
            .args(args)
            .arg("--config")
            .arg(&file)
            .env("AERIE_STORE__PATHH", "x")
            .output()
            .expect("the binary runs");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{args:?}: {said}");
        let file = file.display();
        for part in [
            format!("{file}:2: network.plcurl: unknown key; did you mean `network.plc_url`?"),
            format!("{file}:5: server.listen: "),
            "env AERIE_STORE__PATHH: store.pathh: unknown key; did you mean `store.path`?"
                .to_owned(),
        ] {
            assert!(said.contains(&part), "{args:?}: {part} in {said}");
        }
    }
    // Nothing was begun.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

fn aerie(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_aerie"))
        .args(args)
        .env_remove("AERIE_CONFIG")
        .output()
        .expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_setup_writes_is_a_configuration_that_doctor_finds_nothing_wrong_with() {
    let dir = tempfile::tempdir().unwrap();
    let (etc, data) = (dir.path().join("etc"), dir.path().join("data"));
    let (etc, data) = (etc.to_str().unwrap(), data.to_str().unwrap());
    let setup = |more: &[&str]| {
        let args = ["setup", "--yes", "--dir", etc, "--data", data, "--proxy", "nginx"];
        aerie(&[&args[..], more].concat())
    };
    let (code, _, why) = setup(&[]);
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("--public-url") && !dir.path().join("etc").exists(), "{why}");
    let (code, said, why) = setup(&["--public-url", "appview.example", "--member", "did:plc:abc"]);
    assert_eq!(code, Some(0), "{said}{why}");
    for part in [
        "server_name appview.example;",
        "PDS_BSKY_APP_VIEW_URL=https://appview.example",
        "PDS_BSKY_APP_VIEW_DID=did:web:appview.example",
        "a day of the public network",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let (code, _, why) = setup(&["--public-url", "other.example"]);
    assert_eq!(code, Some(1), "{why}");

    let config = format!("{etc}/config.toml");
    let (code, said, why) = aerie(&["config", "check", "--config", &config]);
    assert_eq!(code, Some(0), "{said}{why}");
    assert!(said.contains(": ok\n") && said.contains("scope: "), "{said}");
    let (code, said, why) = aerie(&["doctor", "--offline", "--json", "--config", &config]);
    assert_eq!(code, Some(0), "{said}{why}");
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found["ok"], true);
    let state = |check: &str| {
        let found = found["findings"].as_array().unwrap().iter().find(|f| f["check"] == check);
        found.unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state("configuration"), "ok");
    assert_eq!((state("server"), state("proxy")), ("warning".to_owned(), "skipped".to_owned()));
}

#[test]
fn doctor_names_what_is_wrong_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let config = file.to_str().unwrap();
    std::fs::write(&file, "[server]\nlisten = \"nowhere\"\n").unwrap();
    let (code, said, _) = aerie(&["doctor", "--offline", "--config", config]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("FAIL configuration") && said.contains("server.listen"), "{said}");

    // A password that everybody may read, and nobody who answers.
    let text = "[server]\npublic_url = \"https://127.0.0.1:9\"\n[admin]\npassword = \"x\"\n[network]\n\
                upstreams = [\"ws://127.0.0.1:9\"]\nplc_url = \"http://127.0.0.1:9\"\n[labels]\nlabelers = []\n";
    let text = format!("{text}[store]\npath = {:?}\n", dir.path().join("data"));
    std::fs::write(&file, text).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said, why) = aerie(&["doctor", "--config", config]);
    assert_eq!(code, Some(1), "{said}{why}");
    for failed in ["FAIL modes", "FAIL upstreams", "FAIL directory", "FAIL tls", "FAIL did"] {
        assert!(said.contains(failed), "{failed} in {said}");
    }
    assert!(
        said.lines().filter(|line| line.contains("FAIL")).count()
            < said.lines().filter(|l| l.contains("-> ")).count() + 1
    );
}
