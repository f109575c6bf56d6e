//! `config.example.toml`, made from the table.

use std::fmt::Write;

use super::options::{Example, Opt, options};
use super::sections::SECTIONS;

/// Width at which comments wrap.
const WIDTH: usize = 100;

/// The text of `config.example.toml`: the keys most people set are active, the others commented out with their
/// defaults.
pub fn example() -> String {
    let mut out = String::from(
        "# Configuration of aerie. Written by `aerie config example`; `aerie config check` tests a copy of it.\n\
         # Each key can also be set in the environment: network.plc_url is AERIE_NETWORK__PLC_URL.\n\
         # Keys that are commented out show their default, or an example where there is none.\n\
         # Those marked [reload] take effect on SIGHUP, the others at the next start.\n\n",
    );
    for (section, headline) in SECTIONS {
        // Writing to a String cannot fail.
        let _ = write!(out, "# {headline}\n[{section}]\n");
        for opt in options() {
            if let Some((_, name)) = opt.key.split_once('.').filter(|(s, _)| s == section) {
                render(&mut out, opt, name);
            }
        }
    }
    out.truncate(out.trim_end().len() + 1);
    out
}

fn render(out: &mut String, opt: &Opt, name: &str) {
    let mark = if opt.reload { " [reload]" } else { "" };
    wrap(out, &format!("{}{mark}", opt.doc));
    let (hash, value) = match opt.example {
        Example::On => ("", opt.default),
        Example::OnWith(value) => ("", Some(value)),
        Example::Off => ("#", opt.default),
        Example::OffWith(value) => ("#", Some(value)),
        Example::Within(value) => ("#     ", Some(value)),
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
