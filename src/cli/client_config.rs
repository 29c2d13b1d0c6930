//! `docxy client-config`: ready-to-paste files for each client. Files go to stdout, advice around them to stderr, so
//! that a redirected stdout is a file that works.

mod mirrors;
mod proxy;

use std::{fmt, net::IpAddr};

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::Value as Json;
use url::Url;

use self::proxy::Proxy;

use super::{to_stderr, to_stdout};
use crate::config::{Schema, schema::Registry};
use crate::oci::RegistryName;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    client: Client,
    /// Make docxy the client's proxy (`HTTPS_PROXY`) instead of a mirror, so that no image name changes; for this docxy must intercept
    /// ([intercept] in docs/configuration.md)
    #[arg(long)]
    proxy: bool,
    /// Only for these registries [default: all that are enabled]
    #[arg(long, value_name = "NAME", num_args = 1.., conflicts_with = "proxy")]
    registry: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Client {
    /// daemon.json
    Docker,
    /// hosts.toml for docker 29 and later, which mirrors every registry
    DockerHosts,
    /// hosts.toml
    Containerd,
    Nerdctl,
    /// registries.conf
    Podman,
    Buildah,
    Skopeo,
    Crio,
    Crane,
    /// registries.yaml
    #[value(name = "k3s")]
    K3s,
    Rke2,
    /// buildkitd.toml
    Buildkit,
    /// What is to be done on the nodes
    Kubernetes,
    /// A cluster of kind
    Kind,
    Minikube,
    /// A script that makes docxy the proxy (`HTTPS_PROXY`) of docker and containerd below systemd, also at GET /setup/systemd
    Systemd,
}

pub(super) fn run(schema: &Schema, arguments: &Arguments) -> anyhow::Result<()> {
    let recipe = if arguments.proxy || arguments.client == Client::Systemd {
        proxy::recipe(&Proxy::of(schema)?, arguments.client)
    } else {
        by_mirror(schema, arguments.client, &arguments.registry)?
    };
    for note in recipe.notes {
        to_stderr(format_args!("# {note}"));
    }
    if !recipe.text.is_empty() {
        to_stdout(recipe.text.trim_end());
    }
    Ok(())
}

fn by_mirror(schema: &Schema, client: Client, wanted: &[String]) -> anyhow::Result<Recipe> {
    let base = Base::of(schema);
    let registries = choose(schema, wanted)?;
    Ok(match client {
        Client::Docker => mirrors::docker(schema, &base, &registries),
        Client::DockerHosts => mirrors::docker_hosts(&base, &registries),
        Client::Containerd => mirrors::containerd(&base, &registries),
        Client::Nerdctl => mirrors::nerdctl(&base, &registries),
        Client::Podman | Client::Buildah | Client::Skopeo | Client::Crio => {
            mirrors::podman(&base, &registries)
        }
        Client::Crane => mirrors::crane(&base, &registries),
        Client::K3s | Client::Rke2 => mirrors::k3s(&base, &registries),
        Client::Buildkit => mirrors::buildkit(&base, &registries),
        Client::Kubernetes => mirrors::kubernetes(&base, &registries),
        Client::Kind => mirrors::kind(&base, &registries),
        Client::Minikube => mirrors::minikube(&base, &registries),
        Client::Systemd => proxy::recipe(&Proxy::of(schema)?, client),
    })
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

/// JSON's strings are TOML's and YAML's too.
fn quoted(text: impl fmt::Display) -> String {
    Json::from(text.to_string()).to_string()
}
