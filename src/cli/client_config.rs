//! `docxy client-config`: ready-to-paste files for each client. Files go to stdout, advice around them to stderr, so
//! that a redirected stdout is a file that works.

use std::{fmt, net::IpAddr};

use anyhow::bail;
use clap::ValueEnum;
use serde_json::{Value as Json, json};
use url::Url;

use super::{to_stderr, to_stdout};
use crate::config::{Schema, schema::Registry};
use crate::oci::RegistryName;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Client {
    Docker,
    Containerd,
    Podman,
    #[value(name = "k3s")]
    K3s,
    Buildkit,
}

pub(super) fn run(schema: &Schema, client: Client, wanted: &[String]) -> anyhow::Result<()> {
    let base = Base::of(schema);
    let registries = choose(schema, wanted)?;
    let recipe = match client {
        Client::Docker => docker(schema, &base, &registries),
        Client::Containerd => containerd(&base, &registries),
        Client::Podman => podman(&base, &registries),
        Client::K3s => k3s(&base, &registries),
        Client::Buildkit => buildkit(&base, &registries),
    };
    for note in recipe.notes {
        to_stderr(format_args!("# {note}"));
    }
    if !recipe.text.is_empty() {
        to_stdout(recipe.text.trim_end());
    }
    Ok(())
}

/// Where clients reach docxy: the public URL, else the first plain listener.
pub(super) struct Base(Url);

impl Base {
    pub fn of(schema: &Schema) -> Self {
        let of_listener = || {
            let address = schema.listen.first().or(schema.tls.listen.first())?.address;
            let scheme = if schema.listen.is_empty() { "https" } else { "http" };
            let host = match address.ip() {
                ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            };
            Url::parse(&format!("{scheme}://{host}:{}", address.port())).ok()
        };
        let url = schema.public_url.clone().or_else(of_listener);
        Self(url.unwrap_or_else(fallback))
    }

    /// Host and port, as image references and mirror lists write it.
    pub fn authority(&self) -> &str {
        let text = self.0.as_str();
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        rest.trim_end_matches('/')
    }

    fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.authority())
    }
}

#[expect(clippy::expect_used, reason = "a constant that a test parses")]
fn fallback() -> Url {
    Url::parse("http://127.0.0.1:5000").expect("the default listener is an address")
}

/// What a client asks docxy for, and how the file says it.
struct Recipe {
    notes: Vec<String>,
    text: String,
}

type Chosen<'a> = [(&'a RegistryName, &'a Registry)];

/// The registries that were named, by name or alias; all enabled ones if none was.
fn choose<'a>(
    schema: &'a Schema,
    wanted: &[String],
) -> anyhow::Result<Vec<(&'a RegistryName, &'a Registry)>> {
    if wanted.is_empty() {
        return Ok(schema.enabled_registries().collect());
    }
    let find = |text: &String| {
        let name = text.to_ascii_lowercase();
        let mut enabled = schema.enabled_registries();
        enabled.find(|(known, registry)| {
            known.as_str() == name || registry.aliases.iter().any(|alias| alias.as_str() == name)
        })
    };
    let mut chosen = Vec::new();
    for text in wanted {
        match find(text) {
            Some(found) => chosen.push(found),
            None => bail!("{text} is not configured or not enabled: add a section [registries.\"{text}\"]"),
        }
    }
    Ok(chosen)
}

/// dockerd mirrors Docker Hub and nothing else; everything else goes by path prefix.
fn docker(schema: &Schema, base: &Base, registries: &Chosen<'_>) -> Recipe {
    let mut notes = Vec::new();
    let mut daemon = serde_json::Map::new();
    let hub = registries.iter().any(|(name, _)| name.as_str() == "docker.io");
    if hub && schema.default_registry.as_str() == "docker.io" {
        daemon.insert("registry-mirrors".to_owned(), json!([base.to_string()]));
        notes.push("Docker Hub goes through docxy as it is: docker pull redis".to_owned());
    } else if hub {
        notes.push(format!(
            "registry-mirrors always means docker.io, but here default_registry is {}: only prefixes work",
            schema.default_registry
        ));
    }
    if base.is_plain() && !is_loopback(&base.0) {
        daemon.insert("insecure-registries".to_owned(), json!([base.authority()]));
    }
    for (name, registry) in registries {
        if name.as_str() == "docker.io" && !daemon.is_empty() {
            continue;
        }
        notes.push(match prefix_of(name, registry) {
            Some(prefix) => format!(
                "{name}: docker pull {}/{prefix}/OWNER/IMAGE:TAG",
                base.authority()
            ),
            None => needs_alias(name),
        });
    }
    if daemon.is_empty() {
        return Recipe {
            notes,
            text: String::new(),
        };
    }
    notes.insert(
        0,
        "Merge this into /etc/docker/daemon.json, then run: systemctl reload docker".to_owned(),
    );
    notes.insert(1, "(Docker Desktop: Settings, Docker Engine)".to_owned());
    Recipe {
        notes,
        text: format!("{:#}", Json::Object(daemon)),
    }
}

/// One hosts.toml a registry. containerd adds `?ns=` itself and goes to the registry when docxy does not answer.
fn containerd(base: &Base, registries: &Chosen<'_>) -> Recipe {
    let files = registries.iter().map(|(name, _)| {
        format!(
            "# /etc/containerd/certs.d/{name}/hosts.toml\n\
             [host.{}]\n  capabilities = [\"pull\", \"resolve\"]\n",
            quoted(base)
        )
    });
    Recipe {
        notes: vec![
            "One file a registry: each goes where the comment above it says. No restart is needed.".to_owned(),
            "Once, in /etc/containerd/config.toml: config_path = \"/etc/containerd/certs.d\" under".to_owned(),
            "  [plugins.\"io.containerd.cri.v1.images\".registry] (containerd 2), or under".to_owned(),
            "  [plugins.\"io.containerd.grpc.v1.cri\".registry] (containerd 1), then restart containerd.".to_owned(),
            "containerd asks docxy first, naming the registry in ?ns=, and falls back to the registry itself."
                .to_owned(),
        ],
        text: files.collect::<Vec<_>>().join("\n"),
    }
}

/// A mirror by path prefix for each registry: podman sends no `ns`.
fn podman(base: &Base, registries: &Chosen<'_>) -> Recipe {
    let mut notes = vec![
        "Write this to /etc/containers/registries.conf.d/docxy.conf (also read by skopeo, buildah, CRI-O)"
            .to_owned(),
    ];
    let mut files = Vec::new();
    for (name, registry) in registries {
        let Some(prefix) = prefix_of(name, registry) else {
            notes.push(needs_alias(name));
            continue;
        };
        let insecure = if base.is_plain() { "insecure = true\n" } else { "" };
        files.push(format!(
            "[[registry]]\nprefix = {name}\nlocation = {name}\n\n\
             [[registry.mirror]]\nlocation = {mirror}\n{insecure}",
            name = quoted(name),
            mirror = quoted(format_args!("{}/{prefix}", base.authority())),
        ));
    }
    Recipe {
        notes,
        text: files.join("\n"),
    }
}

/// k3s writes containerd's hosts.toml from this, so `?ns=` names the registry.
fn k3s(base: &Base, registries: &Chosen<'_>) -> Recipe {
    let entries = registries
        .iter()
        .map(|(name, _)| format!("  {}:\n    endpoint:\n      - {}\n", quoted(name), quoted(base)));
    Recipe {
        notes: vec![
            "Write this to /etc/rancher/k3s/registries.yaml (RKE2: /etc/rancher/rke2/registries.yaml) on every node,"
                .to_owned(),
            "then restart k3s. The node falls back to the registry itself.".to_owned(),
        ],
        text: format!("mirrors:\n{}", entries.collect::<Vec<_>>().concat()),
    }
}

/// Mirrors are hosts with an optional path; the scheme is set apart.
fn buildkit(base: &Base, registries: &Chosen<'_>) -> Recipe {
    let mut files: Vec<String> = registries
        .iter()
        .map(|(name, registry)| {
            let mirror = match prefix_of(name, registry) {
                Some(prefix) => format!("{}/{prefix}", base.authority()),
                // BuildKit names the registry in ?ns= too.
                None => base.authority().to_owned(),
            };
            format!("[registry.{}]\n  mirrors = [{}]\n", quoted(name), quoted(mirror))
        })
        .collect();
    if base.is_plain() {
        files.push(format!(
            "[registry.{}]\n  http = true\n",
            quoted(base.authority())
        ));
    }
    Recipe {
        notes: vec![
            "Merge this into /etc/buildkit/buildkitd.toml (rootless: ~/.config/buildkit/buildkitd.toml),"
                .to_owned(),
            "or name the file: docker buildx create --use --buildkitd-config FILE".to_owned(),
            "127.0.0.1 inside a buildx container is that container: give docxy a public_url it can reach."
                .to_owned(),
        ],
        text: files.join("\n"),
    }
}

/// What stands in a path for this registry. A name with a port can't: a colon in a path is a bad name.
fn prefix_of<'a>(name: &'a RegistryName, registry: &'a Registry) -> Option<&'a str> {
    std::iter::once(name)
        .chain(&registry.aliases)
        .map(RegistryName::as_str)
        .find(|name| is_path_name(name))
}

fn is_path_name(name: &str) -> bool {
    !name.contains([':', '['])
}

fn needs_alias(name: &RegistryName) -> String {
    format!(
        "{name} has a port, which no path can hold: add aliases = [\"SHORT\"] under [registries.\"{name}\"]"
    )
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// JSON's strings are TOML's and YAML's too.
fn quoted(text: impl fmt::Display) -> String {
    Json::from(text.to_string()).to_string()
}
