//! What a reload can't change: sockets, folders, and what is made once in a process (docs/operation.md lists it).

use crate::config::origin::join_key;
use crate::config::schema::Schema;

/// Puts what the process was started with in the place of what is written now. Names the keys that differ and show it to
/// nobody, because they are secret.
pub fn keep(started: &Schema, new: &mut Schema) -> Vec<String> {
    let mut secret = Vec::new();
    if started.otlp.headers != new.otlp.headers {
        secret.push("otlp.headers".to_owned());
    }
    new.listen.clone_from(&started.listen);
    new.metrics_listen.clone_from(&started.metrics_listen);
    new.metrics_aliases = started.metrics_aliases;
    new.state_path.clone_from(&started.state_path);
    new.tls.listen.clone_from(&started.tls.listen);
    new.tls.min_version = started.tls.min_version;
    new.tls.client_ca_file.clone_from(&started.tls.client_ca_file);
    new.intercept.enabled = started.intercept.enabled;
    new.intercept.listen.clone_from(&started.intercept.listen);
    new.intercept.main_port = started.intercept.main_port;
    new.admin = started.admin.clone();
    new.otlp = started.otlp.clone();
    new.log.format = started.log.format;
    new.limits.max_connections = started.limits.max_connections;
    new.cache.mode = started.cache.mode;
    new.cache.path.clone_from(&started.cache.path);
    new.compat.clone_from(&started.compat);
    secret
}

/// What decides who reaches docxy at all, and how.
const DOORS: [&str; 7] = [
    "listen",
    "tls.listen",
    "tls.min_version",
    "tls.client_ca_file",
    "intercept.enabled",
    "intercept.listen",
    "intercept.main_port",
];

/// Rules that were written for other doors must not stand behind these: whoever closes one and takes the rules behind it away
/// would open all to those who still come in.
///
/// # Errors
/// Nothing may be taken; the text says what to do.
pub fn refuse_doors(needs_restart: &[String]) -> Result<(), String> {
    let doors: Vec<&str> = DOORS
        .into_iter()
        .filter(|door| needs_restart.iter().any(|key| key == door))
        .collect();
    if doors.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}: counts only in a new process, and what else is written may be meant for that: nothing was taken; hand over to a new \
         process (SIGUSR2), or restart",
        doors.join(", ")
    ))
}

/// Sections where something changed that nobody is shown: no key of them shows another value.
pub fn secret(old: &Schema, new: &Schema, shown: &[String]) -> Vec<String> {
    let is_quiet = |section: &str| !shown.iter().any(|key| key.starts_with(&format!("{section}.")));
    let mut sections = Vec::new();
    if old.network != new.network && is_quiet("network") {
        sections.push("network".to_owned());
    }
    for (name, registry) in &new.registries {
        let section = join_key("registries", name.as_str());
        let before = old.registries.get(name);
        if before.is_some_and(|before| before != registry) && is_quiet(&section) {
            sections.push(section);
        }
    }
    sections
}
