//! `docxy admin`: who may use the admin API, and what it is. By the docxy that runs where one answers on its socket, else in
//! the file of admin tokens.

mod place;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};

use self::place::Place;
use super::life::Life;
use super::output::{Form, write_json, write_text};
use super::table::{Align, age, ago, ends_in, table};
use super::to_stderr;
use crate::admin;
use crate::admin::api::admins::{AdminToken, WantedAdminToken};
use crate::config::Schema;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make, list and revoke the tokens that open the admin API
    Token(TokenArguments),
    /// Print the description of the admin API, as `OpenAPI` 3.1
    Openapi,
}

#[derive(Args, Debug)]
struct TokenArguments {
    #[command(subcommand)]
    command: TokenCommand,
    /// Answer in JSON
    #[arg(long, global = true, display_order = 100)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make one, and show it this once
    Create {
        /// By which it is known in the log, and to `revoke`
        #[arg(long)]
        name: String,
        /// When it ends by itself, as in 12h, 90d, or never
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = Life::parse)]
        expires: Life,
    },
    /// List them: until when they are, and when they were last used
    List,
    /// End one at once, with the browsers that are signed in by it
    Revoke {
        /// As `list` shows it
        #[arg(value_name = "ID|NAME")]
        which: String,
    },
}

pub(super) fn run(schema: &Schema, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Token(wanted) => token(schema, wanted)?,
        Command::Openapi => write_json(&admin::description())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn token(schema: &Schema, arguments: &TokenArguments) -> anyhow::Result<()> {
    let form = if arguments.json { Form::Json } else { Form::Text };
    match (&arguments.command, form) {
        (TokenCommand::Create { name, expires }, form) => {
            let created = Place::find(schema)?.create(WantedAdminToken {
                name: name.clone(),
                life: expires.seconds(),
            })?;
            if form == Form::Json {
                return write_json(&created);
            }
            to_stderr(format_args!(
                "admin token {} (id {}), {expires}. This is the only time it is shown. Send it as: Authorization: Bearer TOKEN",
                created.about.name, created.about.id,
            ));
            // Alone on stdout, for scripts.
            write_text(&format!("{}\n", created.token))
        }
        (TokenCommand::List, form) => {
            let tokens = Place::find(schema)?.list()?;
            match form {
                Form::Json => write_json(&tokens),
                Form::Text if tokens.is_empty() => {
                    to_stderr("there are no admin tokens");
                    Ok(())
                }
                Form::Text => {
                    let now = SystemTime::now()
                        .duration_since(UNIX_EPOCH)
                        .map_or(0, |since| since.as_secs());
                    write_text(&text(&tokens, now))
                }
            }
        }
        (TokenCommand::Revoke { which }, form) => {
            let revoked = Place::find(schema)?.revoke(which)?;
            if form == Form::Json {
                return write_json(&revoked);
            }
            to_stderr(format_args!("revoked {} (id {})", revoked.name, revoked.id));
            Ok(())
        }
    }
}

fn text(tokens: &[AdminToken], now: u64) -> String {
    let rows: Vec<_> = tokens
        .iter()
        .map(|token| {
            [
                token.id.clone(),
                token.name.clone(),
                age(now.saturating_sub(token.created_at.0)),
                ends_in(token.expires_at.map(|time| time.0), now),
                ago(token.last_used_at.map(|time| time.0), now),
            ]
        })
        .collect();
    let columns = [
        ("ID", Align::Left),
        ("NAME", Align::Left),
        ("MADE", Align::Right),
        ("ENDS IN", Align::Right),
        ("USED", Align::Right),
    ];
    table(columns, &rows)
}
