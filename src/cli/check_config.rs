//! `docxy check-config`: what is in effect, and whether `serve` would start with it.

use anyhow::{Context as _, bail};

use super::{configuration_text, to_stderr, to_stdout};
use crate::access::Addresses;
use crate::app;
use crate::config::{Loaded, show, validate};

/// The configuration goes to stdout, warnings to stderr. Files that it names are looked at.
pub(super) fn run(loaded: &Loaded, json: bool) -> anyhow::Result<()> {
    if json {
        to_stdout(format_args!("{:#}", show::as_json(loaded)));
    } else {
        let file = match &loaded.file {
            Some(path) => format!("# read from {}", path.display()),
            None => "# no file was read".to_owned(),
        };
        to_stdout(format_args!(
            "{file}; of registries only what differs from the defaults is shown (--json shows all)\n"
        ));
        to_stdout(show::as_toml(loaded).trim_end());
    }
    let of_files = validate::files(loaded);
    for warning in loaded.warnings.iter().chain(of_files.iter().flatten()) {
        to_stderr(format_args!("warning: {warning}"));
    }
    if let Err(problems) = of_files {
        bail!(configuration_text(&problems));
    }
    Addresses::load(app::addresses(&loaded.schema)).context("lists of addresses of [access]")?;
    for warning in app::authority::check(&loaded.schema)? {
        to_stderr(format_args!("warning: {warning}"));
    }
    Ok(())
}
