//! What a reload can't change: sockets, folders, and what is made once in a process (docs/operation.md lists it).

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
    new.tls.acme = started.tls.acme.clone();
    new.intercept.enabled = started.intercept.enabled;
    new.intercept.listen.clone_from(&started.intercept.listen);
    new.intercept.main_port = started.intercept.main_port;
    new.admin = started.admin.clone();
    new.otlp = started.otlp.clone();
    new.log.format = started.log.format;
    new.limits.max_connections = started.limits.max_connections;
    let rules = std::mem::take(&mut new.cache.tags);
    let (offline, patience) = (new.cache.offline, new.cache.revalidate_timeout);
    new.cache = started.cache.clone();
    new.cache.tags = rules;
    new.cache.offline = offline;
    new.cache.revalidate_timeout = patience;
    new.compat.clone_from(&started.compat);
    secret
}
