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
