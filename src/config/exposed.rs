//! Files with secrets that others may read.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError, Origin};

/// Read by everybody. A group may be the server's own.
const OTHERS: u32 = 0o004;

impl Config {
    /// One error for each secret that everybody on this machine may read.
    #[must_use]
    pub fn exposed(&self) -> Vec<ConfigError> {
        let in_file = self.settings().filter_map(|(key, setting)| {
            let setting = setting.filter(|setting| setting.secret)?;
            match &setting.origin {
                Origin::File(path, line) => Some((key, path.clone(), format!(":{line}"))),
                Origin::Default | Origin::Derived(_) | Origin::Environment(_) => None,
            }
        });
        let of_its_own = [
            ("admin.password_file", self.admin.password_file.clone()),
            ("push.secret_file", self.push.secret_file.clone()),
            ("server.signing_key_file", Some(self.server.signing_key_file.clone())),
            ("push.vapid_key_file", Some(self.push.vapid_key_file.clone())),
        ];
        let of_its_own = of_its_own.into_iter();
        let of_its_own = of_its_own.filter_map(|(key, path)| Some((key, path?, String::new())));
        in_file
            .chain(of_its_own)
            .filter_map(|(key, path, line): (&str, PathBuf, String)| {
                let mode = mode(&path).filter(|mode| mode & OTHERS != 0)?;
                let file = path.display();
                Some(ConfigError {
                    place: format!("{file}{line}"),
                    key: Some(key.to_owned()),
                    message: format!(
                        "a secret in a file that everybody may read (mode {mode:o}): `chmod 640 {file}`, with the group \
                         of the server's user, or 600 if it is its own"
                    ),
                })
            })
            .collect()
    }
}

fn mode(path: &Path) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn a_secret_that_everybody_may_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (file, secret) = (dir.path().join("config.toml"), dir.path().join("push_secret"));
        fs::write(&secret, "hunter2").unwrap();
        let text = format!(
            "[server]\npublic_url = \"https://a.example\"\n[admin]\npassword = \"hunter2\"\n\
             [push]\nsecret_file = {secret:?}\n"
        );
        fs::write(&file, text).unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (of_file, of_secret, want) in [
            (0o600, 0o600, &[][..]),
            (0o640, 0o440, &[]),
            (0o644, 0o600, &["admin.password"]),
            (0o600, 0o604, &["push.secret_file"]),
            (0o666, 0o666, &["admin.password", "push.secret_file"]),
        ] {
            set(&file, of_file);
            set(&secret, of_secret);
            let config = load(&Sources { file: Some(file.clone()), env: vec![] }).unwrap();
            let exposed = config.exposed();
            let keys: Vec<_> = exposed.iter().filter_map(|e| e.key.as_deref()).collect();
            assert_eq!(keys, want, "{of_file:o} {of_secret:o}");
            let words: Vec<_> = exposed.iter().map(ToString::to_string).collect();
            assert!(
                words.iter().all(|w| w.contains("chmod") && !w.contains("hunter2")),
                "{words:?}"
            );
        }
        // So are the files of a password and of the server's own keys.
        let [password, key] = ["admin_password", "signing_key"].map(|name| dir.path().join(name));
        for path in [&password, &key] {
            fs::write(path, "hunter2").unwrap();
            set(path, 0o644);
        }
        let text = format!(
            "[server]\npublic_url = \"https://a.example\"\nsigning_key_file = {key:?}\n[admin]\npassword_file = {password:?}\n"
        );
        fs::write(&file, text).unwrap();
        let config = load(&Sources { file: Some(file.clone()), env: vec![] }).unwrap();
        let exposed = config.exposed();
        let keys: Vec<_> = exposed.iter().filter_map(|e| e.key.as_deref()).collect();
        assert_eq!(keys, ["admin.password_file", "server.signing_key_file"]);
        // Whoever has no secret in it may show it to everybody.
        fs::write(&file, "[server]\npublic_url = \"https://a.example\"\n").unwrap();
        let config = load(&Sources { file: Some(file), env: vec![] }).unwrap();
        assert_eq!(config.exposed(), []);
    }
}
