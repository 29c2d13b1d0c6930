//! `docxy ca`: the authority that clients of the intercepting door trust. It works on the files, with docxy running or not:
//! a running one notices within a second.

mod show;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};

use super::output::{Form, write};
use super::owner::refuse_anothers_folder;
use super::to_stderr;
use crate::app::authority::{found, to_be_made};
use crate::config::Schema;
use crate::tls::Error;
use crate::tls::authority::{self, Config, Origin, Signers};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make it, if there is none yet; `serve` does the same where [intercept] is enabled
    Init,
    /// Say whose certificate it is, how long it counts, what it may sign for, and whether a next one waits
    Show {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the certificate that clients must trust, never the key; after `rotate`, both certificates
    Export {
        /// How; der has room for one certificate
        #[arg(long, value_enum, default_value_t = Encoding::Pem)]
        format: Encoding,
        /// Only that of the authority that waits
        #[arg(long)]
        next: bool,
        /// Write it there [default: to stdout]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make the next one; nothing is signed by it before `activate`
    Rotate,
    /// Let the next one sign from now on; clients must trust it by then
    Activate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Encoding {
    Pem,
    Der,
}

pub(super) fn run(schema: &Schema, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Init => init(&to_be_made(schema)?)?,
        Command::Show { json } => {
            let config = found(schema)?;
            let form = if *json { Form::Json } else { Form::Text };
            show::run(&config, &made(&config)?, form)?;
        }
        Command::Export { format, next, output } => {
            export(&made(&found(schema)?)?, *format, *next, output.as_deref())?;
        }
        Command::Rotate => {
            let config = found(schema)?;
            refuse(&config)?;
            config.origin.rotate(config.may())?;
            to_stderr(format_args!(
                "made the next authority, {}. Install it beside the old one on every client (docxy ca export, or /ca.crt), then \
                 run: docxy ca activate",
                next(&made(&config)?)?.about().fingerprint
            ));
        }
        Command::Activate => {
            let config = found(schema)?;
            refuse(&config)?;
            config.origin.activate()?;
            to_stderr(format_args!(
                "{} signs from now on; a docxy that runs takes it within a second. The one before is kept in {}",
                made(&config)?.in_use.about().fingerprint,
                config.origin.previous().display()
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn init(config: &Config) -> anyhow::Result<()> {
    refuse(config)?;
    let is_new = config.origin.make_first(config.may())?;
    let about = made(config)?.in_use.about();
    let path = config.origin.path();
    let path = path.display();
    let what = match &config.origin {
        Origin::Files(_) => format!("{path} is your own authority; nothing was made"),
        Origin::State(_) if is_new => format!("made the authority in {path}"),
        Origin::State(_) => format!("the authority in {path} was made before; nothing was changed"),
    };
    to_stderr(format_args!(
        "{what}\nSHA-256 fingerprint {}\nClients must trust its certificate: docxy ca export -o docxy-ca.crt",
        about.fingerprint
    ));
    Ok(())
}

fn export(signers: &Signers, format: Encoding, only_next: bool, output: Option<&Path>) -> anyhow::Result<()> {
    let one = if only_next {
        next(signers)?
    } else {
        &signers.in_use
    };
    let bytes = match format {
        Encoding::Pem if only_next => one.pem().into_bytes(),
        Encoding::Pem => signers.pem().into_bytes(),
        Encoding::Der => one.der(),
    };
    if format == Encoding::Der && !only_next && signers.next.is_some() {
        to_stderr(
            "this is the authority in use; the one that waits is given by --next, and both by --format pem",
        );
    }
    match output {
        Some(path) => fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display())),
        None => write(|out| out.write_all(&bytes)),
    }
}

fn made(config: &Config) -> anyhow::Result<Signers> {
    let signers = authority::signers(&config.origin)?;
    Ok(signers.ok_or_else(|| config.origin.none_made())?)
}

fn next(signers: &Signers) -> Result<&authority::Signer, Error> {
    signers.next.as_ref().ok_or(Error::NoneWaits)
}

fn refuse(config: &Config) -> anyhow::Result<()> {
    match &config.origin {
        Origin::State(_) => refuse_anothers_folder(&config.origin.path(), "ca"),
        Origin::Files(_) => Ok(()),
    }
}
