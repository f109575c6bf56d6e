//! aerie.toml(5), made from the table.

use roff::{Inline, Roff, bold, italic, roman};

use super::options::{Opt, Shape, options};
use super::sections::SECTIONS;

/// The page of the configuration for man(1), as troff.
#[must_use]
pub fn manual() -> String {
    let mut page = Roff::new();
    let version = concat!("aerie ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["aerie.toml", "5", "", version, "Configuration of aerie"]);
    section(&mut page, "NAME", "aerie.toml - the configuration of aerie, an AT Protocol AppView");
    section(
        &mut page,
        "DESCRIPTION",
        "aerie reads the file that --config or AERIE_CONFIG names, else ./config.toml, else /etc/aerie/config.toml, as \
         TOML: the keys below stand in sections. Each key has a default and can also be set in the environment, which \
         wins. `aerie config check` finds what is wrong, `aerie config show` prints what is in force and where each value \
         came from, `aerie config example` a file to begin with. Keys marked [reload] take effect on SIGHUP, the others at \
         the next start.",
    );
    for (name, headline) in SECTIONS {
        section(&mut page, &format!("[{name}]"), headline);
        let own = |opt: &&Opt| opt.key.split_once('.').is_some_and(|(of, _)| of == *name);
        options().filter(own).for_each(|opt| option(&mut page, opt));
    }
    page.render()
}

fn section(page: &mut Roff, title: &str, text: &str) {
    page.control("SH", [title]);
    page.text([roman(text)]);
}

fn option(page: &mut Roff, opt: &Opt) {
    let variable = format!("AERIE_{}", opt.key.to_ascii_uppercase().replace('.', "__"));
    let shape = match opt.shape {
        Shape::Text => "text",
        Shape::Plain => "number, true or false",
        Shape::List => "list",
        Shape::Rows => "list of tables",
    };
    page.control("TP", []);
    page.text([bold(opt.key)]);
    page.text([roman(opt.doc)]);
    page.control("br", []);
    let mut facts: Vec<Inline> = vec![italic(shape), roman(", ")];
    match opt.default {
        Some(default) => facts.extend([roman("default "), roman(default)]),
        None => facts.push(roman("not set by default")),
    }
    facts.extend([roman(", "), roman(variable)]);
    if opt.reload {
        facts.push(roman(", [reload]"));
    }
    page.text(facts);
}
