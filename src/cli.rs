//! The command line: arguments in, exit code out.

mod admin;
mod ca;
mod cache;
mod check_config;
mod client_config;
mod config;
mod explain;
mod healthcheck;
mod life;
mod naming;
mod output;
mod owner;
mod reload;
mod running;
mod table;
mod token;
mod trace;
mod upstreams;
pub mod welcome;

use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::bail;
use clap::{Args, Parser, Subcommand};

use crate::{
    app,
    config::{
        Problems, Sources,
        load::{Flags, Loaded},
        validate,
    },
};

/// Start or configuration failed; the message says why. 2 (usage) is clap's.
const FAILED: u8 = 1;

const AFTER_HELP: &str = "\
Every key of the configuration can also be set by the environment: DOCXY__SECTION__KEY, as in
DOCXY__LOG__LEVEL=debug. Flags win over the environment, the environment over the file.

Exit codes:
  0  success; for `serve`, after an orderly stop
  1  the start failed, the configuration has mistakes, `healthcheck` found no healthy docxy,
     or `cache` found something wrong, or nothing to remove
  2  the command line itself is wrong
  130, 143  `serve` was told twice, by SIGINT or SIGTERM, and did not wait for transfers in flight";

/// One proxy in front of every container registry.
///
/// Without a command it serves; without a configuration it listens on 127.0.0.1:5000 and knows docker.io, ghcr.io,
/// quay.io and the other well-known registries.
#[derive(Debug, Parser)]
#[command(name = "docxy", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args, Debug)]
struct Common {
    #[arg(
        long,
        global = true,
        display_order = 101,
        value_name = "FILE",
        help = "Configuration file [default: $DOCXY_CONFIG, else /etc/docxy/docxy.toml if there is one]"
    )]
    config: Option<PathBuf>,
    /// Listen here for plain HTTP; may be given more than once
    #[arg(long, global = true, display_order = 102, value_name = "ADDRESS:PORT")]
    listen: Vec<String>,
    /// The address under which clients reach docxy
    #[arg(long, global = true, display_order = 103, value_name = "URL")]
    public_url: Option<String>,
    /// How much to log: error, warn, info, debug, trace, or a filter such as docxy=debug,info
    #[arg(long, global = true, display_order = 104, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Set any key, as in --set 'registries."ghcr.io".enabled=false'; may be given more than once
    #[arg(long, global = true, display_order = 105, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT (this is the default)
    Serve(Serving),
    /// Check the configuration and print what is in effect, with the origin of each value
    CheckConfig {
        /// Print all keys, or the explanation, as JSON
        #[arg(long)]
        json: bool,
        /// Say which registry and which rule about tags this image falls under, and what the rule means
        #[arg(long, value_name = "IMAGE")]
        explain: Option<String>,
    },
    /// Say who may pull an image and why, and what the docxy that runs knows about it
    Explain(explain::Arguments),
    /// Ask the docxy that runs with this configuration whether it is alive
    Healthcheck,
    /// See, check and clear what is stored, with docxy running or not
    Cache(Box<cache::Arguments>),
    /// Make, list and revoke access tokens, for robots and for people who sign in at docxy
    Token(token::Arguments),
    /// Tell the docxy that runs to read its configuration again; exit code 1 when it has mistakes and was not taken
    Reload(reload::Arguments),
    /// Say who may use the admin API, and what it is
    Admin(admin::Arguments),
    /// Make, show and exchange the authority that clients of the intercepting door trust
    Ca(ca::Arguments),
    /// Show how docxy stands with its registries: which credentials work, what is left of their limits, for how long
    Upstreams(upstreams::Arguments),
    /// Make a configuration file of another tool's
    Config(config::Arguments),
    /// Record what clients ask and what docxy asks for them, for a while, as a HAR file (see docs/debugging.md)
    Trace(trace::Arguments),
    /// Print the files that send a client through docxy
    ClientConfig(client_config::Arguments),
}

#[derive(Args, Debug, Default)]
struct Serving {
    /// Record all requests and answers of both sides in this file (HAR), secrets hidden, 64 MiB at most; there must be none
    /// of this name
    #[arg(long, value_name = "FILE")]
    trace_http: Option<PathBuf>,
}

/// Runs docxy with these arguments, the first of which is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to do when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(FAILED));
        }
    };
    if let Some(Command::Config(wanted)) = &arguments.command {
        return match config::run(wanted) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(format!("{error:#}")),
        };
    }
    let sources = sources(arguments.common);
    let mut loaded = match crate::config::load(&sources) {
        Ok(loaded) => loaded,
        Err(problems) if matches!(arguments.command, Some(Command::Reload(_))) => {
            return fail(format_args!(
                "nothing was reloaded, a docxy that runs goes on as before: {}",
                configuration_text(&problems)
            ));
        }
        Err(problems) => return fail(configuration_text(&problems)),
    };
    let done = match arguments.command.unwrap_or_default() {
        Command::Serve(serving) => serve(&mut loaded, sources, serving),
        Command::CheckConfig { json, explain: None } => {
            check_config::run(&loaded, json).map(|()| ExitCode::SUCCESS)
        }
        Command::CheckConfig {
            json,
            explain: Some(image),
        } => {
            let form = if json {
                explain::Form::Json
            } else {
                explain::Form::Text
            };
            explain::of_tag(&loaded, &image, form).map(|()| ExitCode::SUCCESS)
        }
        Command::Explain(wanted) => explain::run(&loaded, wanted).map(|()| ExitCode::SUCCESS),
        Command::Cache(wanted) => cache::run(&loaded.schema, &wanted),
        Command::Token(wanted) => token::run(&loaded.schema, &wanted),
        Command::Reload(wanted) => reload::run(&loaded.schema, &wanted).map(|()| ExitCode::SUCCESS),
        Command::Admin(wanted) => admin::run(&loaded.schema, &wanted),
        Command::Ca(wanted) => ca::run(&loaded.schema, &wanted),
        // Answered above, without a configuration.
        Command::Config(_) => Ok(ExitCode::SUCCESS),
        Command::Trace(wanted) => trace::run(&loaded.schema, wanted).map(|()| ExitCode::SUCCESS),
        Command::Upstreams(wanted) => upstreams::run(&loaded, &wanted).map(|()| ExitCode::SUCCESS),
        Command::Healthcheck => healthcheck::run(&loaded.schema).map(|()| ExitCode::SUCCESS),
        Command::ClientConfig(wanted) => {
            client_config::run(&loaded.schema, &wanted).map(|()| ExitCode::SUCCESS)
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => fail(format!("{error:#}")),
    }
}

impl Default for Command {
    fn default() -> Self {
        Self::Serve(Serving::default())
    }
}

fn sources(common: Common) -> Sources {
    let flags = Flags {
        listen: common.listen,
        public_url: common.public_url,
        log_level: common.log_level,
        set: common.set,
    };
    Sources::of_process(common.config, flags)
}

/// A file that can't be read is found before anything listens.
fn serve(loaded: &mut Loaded, sources: Sources, serving: Serving) -> anyhow::Result<ExitCode> {
    match validate::files(loaded) {
        Ok(warnings) => loaded.warnings.extend(warnings),
        Err(problems) => bail!(configuration_text(&problems)),
    }
    let loaded = &*loaded;
    let again = Box::new(move || crate::config::load(&sources));
    app::run(loaded, serving.trace_http, again, || {
        if loaded.file.is_none() {
            to_stderr(welcome::text(&loaded.schema));
        }
    })
}

fn configuration_text(problems: &Problems) -> String {
    match problems.len() {
        1 => format!("the configuration has a mistake:\n\n{problems}"),
        count => format!("the configuration has {count} mistakes:\n\n{problems}"),
    }
}

fn fail(message: impl Display) -> ExitCode {
    to_stderr(format_args!("docxy: {message}"));
    ExitCode::from(FAILED)
}

/// A closed terminal is no reason to panic, as `println!` would.
fn to_stdout(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

fn to_stderr(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
