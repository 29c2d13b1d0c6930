//! What `[parent]` means for the registries: those without an address of their own are asked at the parent, and shown what
//! is for it. One with `urls` of its own gets nothing of the parent's: its password must not go elsewhere (threat S1).

use url::Url;

use super::{
    origin::{Origin, Origins, Problems, join_key},
    schema::{AuthMode, Clients, Parent, Registry, Schema},
};
use crate::oci::RegistryName;

pub(super) const URL: &str = "parent.url";

/// What a registry that is asked at the parent can't have of its own.
const SIGN_IN: [&str; 7] = [
    "auth",
    "username",
    "password",
    "password_file",
    "password_env",
    "exec",
    "credentials",
];

/// Gives the registries their place at the parent, if there is one.
pub(super) fn adopt(schema: &mut Schema, origins: &mut Origins, problems: &mut Problems) {
    let Some(url) = schema.parent.url.clone() else {
        return;
    };
    for (name, registry) in &mut schema.registries {
        let mut one = One {
            section: join_key("registries", name.as_str()),
            registry,
            origins,
        };
        if one.is_written("urls") {
            continue;
        }
        if let Some(key) = SIGN_IN.into_iter().find(|key| one.is_written(key)) {
            let key = format!("{}.{key}", one.section);
            let what =
                format!("{name} is asked at the parent, which is shown what [parent] names and nothing else");
            let fix = format!("take it out, or ask {name} itself: urls = [\"https://{name}\"]");
            problems.push(one.origins.of(&key), &key, what, fix);
            continue;
        }
        one.place(&url, name);
        one.sign_in(&schema.parent, schema.access.clients);
    }
}

struct One<'a> {
    section: String,
    registry: &'a mut Registry,
    origins: &'a mut Origins,
}

impl One<'_> {
    fn place(&mut self, parent: &Url, name: &RegistryName) {
        let mut url = parent.clone();
        let path = format!("{}/{name}", parent.path().trim_end_matches('/'));
        url.set_path(&path);
        self.registry.urls = vec![url.into()];
        self.note("urls", URL);
        // The token services of the registry itself are the parent's business.
        if !self.is_written("realms") {
            self.registry.realms.clear();
        }
    }

    /// Where the parent wants no password, it gives the same to everyone, or to whoever shows docxy's certificate: whoever may
    /// come here may have it.
    /// `clients`: who may come where a registry does not say.
    fn sign_in(&mut self, parent: &Parent, clients: Option<Clients>) {
        let registry = &mut *self.registry;
        registry.allow_private_addresses |= parent.allow_private_addresses;
        registry.ca_file = registry.ca_file.take().or_else(|| parent.ca_file.clone());
        if registry.client_cert.is_none() && registry.client_key.is_none() {
            registry.client_cert.clone_from(&parent.client_cert);
            registry.client_key.clone_from(&parent.client_key);
        }
        if let Some(file) = &parent.password_file {
            registry.auth = AuthMode::Configured;
            registry.username = Some(parent.username.clone());
            registry.password_file = Some(file.clone());
            for (key, of) in [
                ("auth", "parent.password_file"),
                ("username", "parent.username"),
                ("password_file", "parent.password_file"),
            ] {
                self.note(key, of);
            }
        } else if registry.clients.is_none() && clients.is_none() {
            registry.clients = Some(Clients::Open);
            self.note("clients", URL);
        }
    }

    /// Did a person write this key?
    fn is_written(&self, key: &str) -> bool {
        let origin = self.origins.of(&format!("{}.{key}", self.section));
        !matches!(origin, Origin::Default | Origin::Preset)
    }

    /// The registry's key has its value from that of the parent's.
    fn note(&mut self, key: &str, of: &str) {
        let origin = self.origins.of(of).clone();
        self.origins.record(format!("{}.{key}", self.section), origin);
    }
}
