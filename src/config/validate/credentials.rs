//! docxy's own accounts at a registry: which fields go together.

use std::collections::BTreeSet;

use super::{Findings, registries::At};
use crate::config::{
    origin::Origin,
    schema::{AuthMode, CredentialEntry, PasswordVariable, Registry},
    values::Secret,
};

/// More accounts than this at one registry look like an attempt to get around its limits, and cost a bit each for every
/// repository that is remembered.
const MOST: usize = 32;

/// Of a registry, or of one of its mirrors.
pub(super) fn check(at: At<'_>, registry: &Registry, findings: &mut Findings<'_>) {
    let own = registry.own_entry();
    let section = match at {
        At::Section(section) | At::Entry(section, _) => section,
    };
    let listed = format!("{section}.credentials");
    let mut said = Said {
        place: Place::Keys(at),
        findings,
    };
    if registry.auth == AuthMode::Passthrough {
        let unused = own
            .sources()
            .first()
            .copied()
            .or(own.username.as_ref().map(|_| "username"))
            .or((!registry.credentials.is_empty()).then_some("credentials"));
        if let Some(key) = unused {
            let fix = format!("add auth = \"configured\" {}, or take the key out", said.here());
            let what = "is never used while auth is \"passthrough\": clients sign in themselves";
            said.problem(key, what, &fix);
        }
        return;
    }
    if registry.credentials.is_empty() && own.sources().is_empty() {
        match at {
            At::Entry(..) => {
                let fix = format!("add password_file (or password_env) {}", said.here());
                said.problem("username", "there is a user, but no password", &fix);
            }
            At::Section(_) => {
                let fix = format!(
                    "add username and password_file (or password_env, or exec, or credentials = [...]) {}",
                    said.here()
                );
                said.problem("auth", "\"configured\" needs a credential", &fix);
            }
        }
        return;
    }
    // `credentials` alone needs no username beside it.
    if own != CredentialEntry::default() {
        entry(&own, &mut said);
    }
    for (index, listed_entry) in registry.credentials.iter().enumerate() {
        said.place = Place::Account(&listed, index);
        entry(listed_entry, &mut said);
    }
    let findings = said.findings;
    names(&listed, registry, findings);
    if registry.credentials.len() > MOST {
        findings.problem(
            &listed,
            format!("{} accounts, at most {MOST} are used", registry.credentials.len()),
            "take some out",
        );
    }
}

fn names(key: &str, registry: &Registry, findings: &mut Findings<'_>) {
    let mut seen = BTreeSet::new();
    for (index, entry) in registry.credentials.iter().enumerate() {
        let Some(name) = &entry.name else { continue };
        let mut said = Said {
            place: Place::Account(key, index),
            findings: &mut *findings,
        };
        if name.is_empty() || name.len() > 64 || name.contains(char::is_control) {
            said.problem(
                "name",
                "the name is not one of 1 to 64 characters",
                "write a word or two",
            );
        } else if !seen.insert(name) {
            said.problem(
                "name",
                &format!("another entry is called {name:?} too"),
                "give each a name of its own, or none",
            );
        }
    }
}

fn entry(entry: &CredentialEntry, said: &mut Said<'_, '_, '_>) {
    let sources = entry.sources();
    match sources[..] {
        [_, second, ..] => {
            let what = format!("the password is given more than once: {}", sources.join(", "));
            said.problem(second, &what, "keep one of them");
            return;
        }
        [] => {
            said.problem(
                "username",
                "there is a user, but no password",
                "add password_file (or password_env, exec, helper or docker_config)",
            );
            return;
        }
        ["exec"] if entry.username.is_some() => {
            said.problem(
                "username",
                "the exec helper names the user",
                "take username out, or use password_file",
            );
        }
        [source @ ("helper" | "docker_config")] if entry.username.is_some() => {
            said.problem(
                "username",
                &format!("{source} names the user"),
                "take username out, or use password_file",
            );
        }
        [source @ ("password" | "password_file" | "password_env")] if entry.username.is_none() => {
            let fix = format!("add username = \"...\" {}", said.here());
            said.problem(source, "there is a password, but no user", &fix);
        }
        _ => {}
    }
    let source = sources.first().copied();
    if entry.lifetime.is_some() && !matches!(source, Some("exec" | "helper")) {
        said.problem("lifetime", "lifetime is for exec and helper", "take it out");
    }
    if entry.lifetime.is_some_and(|lifetime| lifetime.is_zero()) {
        said.problem(
            "lifetime",
            "a lifetime of 0 is none",
            "write a time such as \"12h\"",
        );
    }
    if entry.server.is_some() && !matches!(source, Some("helper" | "docker_config")) {
        said.problem("server", "server is for helper and docker_config", "take it out");
    }
    if entry.exec.first().is_some_and(String::is_empty) {
        said.problem(
            "exec",
            "the program has no name",
            "write [\"/path/to/helper\", \"argument\"]",
        );
    }
    if let Some(name) = &entry.helper
        && !is_helper(name)
    {
        let fix =
            "write the part behind docker-credential-, as in \"ecr-login\"; the program must be in PATH";
        said.problem("helper", &format!("{name:?} is not the name of a helper"), fix);
    }
    if let Some(variable) = &entry.password_env {
        password_env(variable, said);
    }
    if entry.password.is_some() && !said.is_from_environment() {
        said.warn(
            "password",
            "the password stands in the configuration itself",
            "put it into a file with mode 0600 and name that by password_file",
        );
    }
}

fn password_env(variable: &PasswordVariable, said: &mut Said<'_, '_, '_>) {
    match variable.value.as_ref().map(Secret::expose) {
        None => {
            // Someone may have put the password itself here.
            let looks_like_one = !variable.name.bytes().any(|b| b.is_ascii_lowercase());
            let name = if looks_like_one {
                &variable.name
            } else {
                "of this name"
            };
            said.problem(
                "password_env",
                &format!("the environment has no variable {name}"),
                "set it for docxy's process, or use password_file",
            );
        }
        // The environment was read as text: what was none would be another password.
        Some(value) if value.contains(char::REPLACEMENT_CHARACTER) => said.problem(
            "password_env",
            "the variable is not UTF-8 text",
            "put the password into a file, which may hold any bytes, and use password_file",
        ),
        Some(_) => {}
    }
}

/// As docker finds its helpers: a part of a program's name, no path.
fn is_helper(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Where what is found stands.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// Keys of the registry's section, or of a mirror's table.
    Keys(At<'a>),
    /// Of this list, counted from 0.
    Account(&'a str, usize),
}

struct Said<'a, 'f, 'o> {
    place: Place<'a>,
    findings: &'f mut Findings<'o>,
}

impl Said<'_, '_, '_> {
    /// For "add ...".
    fn here(&self) -> String {
        match self.place {
            Place::Keys(at) => at.here(),
            Place::Account(_, index) => format!("to entry {}", index + 1),
        }
    }

    fn problem(&mut self, field: &str, what: &str, fix: &str) {
        match self.place {
            Place::Keys(at) => at.problem(field, what, fix, self.findings),
            Place::Account(key, index) => self.findings.problem_of_entry(key, index, what, fix),
        }
    }

    fn warn(&mut self, field: &str, what: &str, fix: &str) {
        match self.place {
            Place::Keys(at) => at.warn(field, what, fix, self.findings),
            Place::Account(key, index) => self.findings.warn_of_entry(key, index, what, fix),
        }
    }

    /// Not written into any file.
    fn is_from_environment(&self) -> bool {
        match self.place {
            Place::Keys(_) => false,
            Place::Account(key, index) => {
                matches!(self.findings.origins.of_item(key, index), Origin::Environment(_))
            }
        }
    }
}
