//! `config.example.toml`, made from the table.

use std::fmt::Write;

use super::options::{Example, Opt, options};
use super::sections::SECTIONS;

/// Width at which comments wrap.
const WIDTH: usize = 100;

/// The text of `config.example.toml`: the keys most people set are active, the others commented out with their
/// defaults.
pub fn example() -> String {
    written_by("aerie config example", &[])
}

/// The same with these values, in TOML, in place of those that it shows. A key without a value is commented out.
pub fn written(given: &[(&str, Option<String>)]) -> String {
    written_by("aerie setup", given)
}

fn written_by(whom: &str, given: &[(&str, Option<String>)]) -> String {
    let mut out = format!(
        "# Configuration of aerie. Written by `{whom}`; `aerie config check` tests a copy of it.\n\
         # Each key can also be set in the environment: network.plc_url is AERIE_NETWORK__PLC_URL.\n\
         # Keys that are commented out show their default, or an example where there is none.\n\
         # Those marked [reload] take effect on SIGHUP, the others at the next start.\n\n",
    );
    for (section, headline) in SECTIONS {
        // Writing to a String cannot fail.
        let _ = write!(out, "# {headline}\n[{section}]\n");
        for opt in options() {
            if let Some((_, name)) = opt.key.split_once('.').filter(|(s, _)| s == section) {
                let given = given.iter().find(|(key, _)| *key == opt.key);
                render(&mut out, opt, name, given.map(|(_, value)| value.as_deref()));
            }
        }
    }
    out.truncate(out.trim_end().len() + 1);
    out
}

fn render(out: &mut String, opt: &Opt, name: &str, given: Option<Option<&str>>) {
    let mark = if opt.reload { " [reload]" } else { "" };
    wrap(out, &format!("{}{mark}", opt.doc));
    let (hash, value) = match (given, opt.example) {
        (Some(Some(value)), _) => ("", Some(value)),
        (Some(None), Example::On | Example::Off) => ("#", opt.default),
        (Some(None), Example::OnWith(value)) => ("#", Some(value)),
        (None, Example::On) => ("", opt.default),
        (None, Example::OnWith(value)) => ("", Some(value)),
        (None, Example::Off) => ("#", opt.default),
        (_, Example::OffWith(value)) => ("#", Some(value)),
        (_, Example::Within(value)) => ("#     ", Some(value)),
    };
    let _ = writeln!(out, "{hash}{name} = {}\n", value.unwrap_or("\"\""));
}

fn wrap(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}
