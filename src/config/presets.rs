//! The well-known registries (feature R3), merged under what a person wrote: an entry for one of them only changes the
//! keys it names. Realms listed here are those on another registrable domain or host than the registry's own.

use super::{
    origin::Origin,
    tree::{Entry, Node, Table, Value},
};
use crate::oci::RegistryName;

/// What docxy knows about a registry without being told.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    pub name: &'static str,
    pub url: &'static str,
    pub aliases: &'static [&'static str],
    pub realms: &'static [&'static str],
    /// One-component names get `library/`.
    pub library_prefix: bool,
}

/// Sorted by how often people ask for them; the order has no meaning.
pub const PRESETS: &[Preset] = &[
    Preset {
        aliases: &[
            "index.docker.io",
            "registry-1.docker.io",
            "registry.hub.docker.com",
        ],
        realms: &["auth.docker.io"],
        library_prefix: true,
        ..plain("docker.io", "https://registry-1.docker.io")
    },
    plain("ghcr.io", "https://ghcr.io"),
    plain("gcr.io", "https://gcr.io"),
    plain("k8s.gcr.io", "https://k8s.gcr.io"),
    plain("registry.k8s.io", "https://registry.k8s.io"),
    plain("quay.io", "https://quay.io"),
    plain("mcr.microsoft.com", "https://mcr.microsoft.com"),
    Preset {
        realms: &["docker-auth.elastic.co"],
        ..plain("docker.elastic.co", "https://docker.elastic.co")
    },
    plain("nvcr.io", "https://nvcr.io"),
    plain("public.ecr.aws", "https://public.ecr.aws"),
    Preset {
        realms: &["gitlab.com"],
        ..plain("registry.gitlab.com", "https://registry.gitlab.com")
    },
];

/// The presets as the lowest layer of the configuration.
pub(super) fn layer() -> Table {
    let mut registries = Table::new();
    for preset in PRESETS {
        let mut keys = Table::new();
        let mut put = |key: &str, value: Value| drop(keys.insert(key.to_owned(), entry(value)));
        put("urls", texts(&[preset.url]));
        if !preset.aliases.is_empty() {
            put("aliases", texts(preset.aliases));
        }
        if !preset.realms.is_empty() {
            put("realms", texts(preset.realms));
        }
        if preset.library_prefix {
            put("library_prefix", Value::Boolean(true));
        }
        registries.insert(preset.name.to_owned(), entry(Value::Table(keys)));
    }
    Table::from([("registries".to_owned(), entry(Value::Table(registries)))])
}

fn texts(texts: &[&str]) -> Value {
    Value::Array(
        texts
            .iter()
            .map(|&text| node(Value::String(text.to_owned())))
            .collect(),
    )
}

fn entry(value: Value) -> Entry {
    Entry {
        key_origin: Origin::Preset,
        node: node(value),
    }
}

fn node(value: Value) -> Node {
    Node {
        value,
        origin: Origin::Preset,
    }
}

const fn plain(name: &'static str, url: &'static str) -> Preset {
    Preset {
        name,
        url,
        aliases: &[],
        realms: &[],
        library_prefix: false,
    }
}

/// `docker.io`: what a reference without a registry means everywhere else too.
#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a constant that every test parses"
)]
pub fn default_registry() -> RegistryName {
    RegistryName::parse("docker.io").expect("docker.io is a registry name")
}
