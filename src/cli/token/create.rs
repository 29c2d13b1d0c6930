//! `docxy token create`

use anyhow::{Context as _, bail};
use clap::Args;

use super::place::Place;
use crate::access::issued::{Scope, Wanted};
use crate::cli::life::Life;
use crate::cli::output::{Form, write_json, write_text};
use crate::cli::{naming, to_stderr};
use crate::config::Schema;
use crate::config::values::Pattern;
use crate::oci::{RegistryName, Repository};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// By which it is known in the log, in rules (as token:NAME, where it has no user), and to `revoke`
    #[arg(long)]
    name: String,
    /// Give it the rights of this user, with whom it ends [default: a user of its own, token:NAME]
    #[arg(long)]
    user: Option<String>,
    /// Only for these repositories, as in 'docker.io/library/*' or 'ghcr.io/**'; may be given more than once [default:
    /// whatever the rules allow]
    #[arg(long = "scope", value_name = "REGISTRY/PATTERN")]
    scopes: Vec<String>,
    /// Let it push too, to registries with push.enabled, and delete there
    #[arg(long)]
    push: bool,
    /// When it ends by itself, as in 12h, 90d, or never
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = Life::parse)]
    expires: Life,
}

pub(super) fn run(schema: &Schema, wanted: &Arguments, form: Form) -> anyhow::Result<()> {
    let scopes = wanted.scopes.iter().map(|text| scope(schema, text));
    let created = Place::find(schema)?.create(Wanted {
        name: wanted.name.clone(),
        user: wanted.user.clone(),
        scopes: scopes.collect::<Result<_, _>>()?,
        push: wanted.push,
        life: wanted.expires.seconds(),
    })?;
    match form {
        Form::Json => write_json(&created)?,
        Form::Text => {
            let about = &created.about;
            to_stderr(format_args!(
                "access token {} (id {}), {}. This is the only time it is shown. Sign in with it as the password, under any \
                 user name: docker login HOST -u {}",
                about.name,
                about.id,
                wanted.expires,
                about.user.as_ref().unwrap_or(&about.name),
            ));
            // Alone on stdout, for scripts.
            write_text(&format!("{}\n", created.token))?;
        }
    }
    Ok(())
}

/// As people name registries and images, with the registry's own names for them.
fn scope(schema: &Schema, text: &str) -> anyhow::Result<Scope> {
    let scope = Scope::parse(text).context("--scope")?;
    let Some(typed) = scope.registry().literal() else {
        return Ok(scope);
    };
    let name = RegistryName::parse(typed).with_context(|| format!("--scope {text:?}"))?;
    let Some((own, settings)) = naming::registry(schema, &name) else {
        bail!(
            "--scope {text:?}: {name} is not configured here; add [registries.\"{name}\"] to docxy.toml, or name another"
        );
    };
    let repository = match scope.repository().literal().map(Repository::parse) {
        Some(Ok(repository)) => Pattern::parse(naming::repository(settings, &repository)?.as_str())?,
        _ => scope.repository().clone(),
    };
    Ok(Scope::new(Pattern::parse(own.as_str())?, repository))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn scopes_are_written_as_the_registry_names_things() {
        // A scope that no pull ever matches looks like a token that does not work.
        let sources = Sources {
            config: None,
            default_file: None,
            environment: std::collections::BTreeMap::new(),
            flags: crate::config::load::Flags::default(),
        };
        let schema = load(&sources).expect("the presets").schema;
        let read = |text| {
            scope(&schema, text)
                .map(|scope| scope.to_string())
                .map_err(|error| format!("{error:#}"))
        };
        for (text, meant) in [
            ("docker.io/redis", "docker.io/library/redis"),
            ("index.docker.io/library/*", "docker.io/library/*"),
            ("docker.io/*", "docker.io/*"),
            ("ghcr.io/**", "ghcr.io/**"),
            ("*/team/app", "*/team/app"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(meant), "{text}");
        }
        for (text, said) in [
            ("redis", "docker.io/library/*"),
            ("registry.example.com/x", "is not configured here"),
            ("ghcr.io/[", "glob"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
