//! Mirrors: the client is told for each registry to ask docxy first.

use serde_json::{Value as Json, json};
use url::Url;

use super::{Base, Chosen, Recipe, quoted};
use crate::config::{Schema, schema::Registry};
use crate::oci::RegistryName;

/// dockerd mirrors Docker Hub and nothing else; everything else goes by path prefix.
pub(super) fn docker(schema: &Schema, base: &Base, registries: &Chosen<'_>) -> Recipe {
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

/// docker 29 keeps images in containerd's store and reads the same files as containerd.
pub(super) fn docker_hosts(base: &Base, registries: &Chosen<'_>) -> Recipe {
    Recipe {
        notes: vec![
            "For docker 29 and later, with its containerd image store (docker info says driver-type: io.containerd...)."
                .to_owned(),
            "One file a registry: each goes where the comment above it says. No restart is needed.".to_owned(),
            "docker asks docxy first, naming the registry in ?ns=, and falls back to the registry itself.".to_owned(),
        ],
        text: hosts_files("/etc/docker/certs.d", base, registries),
    }
}

/// One hosts.toml a registry. containerd adds `?ns=` itself and goes to the registry when docxy does not answer.
pub(super) fn containerd(base: &Base, registries: &Chosen<'_>) -> Recipe {
    Recipe {
        notes: vec![
            "One file a registry: each goes where the comment above it says. No restart is needed.".to_owned(),
            "Once, in /etc/containerd/config.toml: config_path = \"/etc/containerd/certs.d\" under".to_owned(),
            "  [plugins.\"io.containerd.cri.v1.images\".registry] (containerd 2), or under".to_owned(),
            "  [plugins.\"io.containerd.grpc.v1.cri\".registry] (containerd 1), then restart containerd.".to_owned(),
            "containerd asks docxy first, naming the registry in ?ns=, and falls back to the registry itself."
                .to_owned(),
        ],
        text: hosts_files(CERTS_D, base, registries),
    }
}

pub(super) fn nerdctl(base: &Base, registries: &Chosen<'_>) -> Recipe {
    Recipe {
        notes: vec![
            "One file a registry: each goes where the comment above it says (rootless: ~/.config/containerd/certs.d)."
                .to_owned(),
            "nerdctl reads them itself, without containerd's config.toml; another folder: nerdctl --hosts-dir FOLDER"
                .to_owned(),
        ],
        text: hosts_files(CERTS_D, base, registries),
    }
}

/// The kubelet has no mirrors of its own: it asks its runtime.
pub(super) fn kubernetes(base: &Base, registries: &Chosen<'_>) -> Recipe {
    let of_containerd = containerd(base, registries);
    let own = [
        "The kubelet pulls through the node's runtime, so this goes on every node. Nodes with containerd: as follows;",
        "with CRI-O: docxy client-config crio; K3s and RKE2: docxy client-config k3s.",
        "The names in your manifests stay; imagePullSecrets are for the registry and go through docxy with each pull.",
    ];
    Recipe {
        notes: own
            .into_iter()
            .map(str::to_owned)
            .chain(of_containerd.notes)
            .collect(),
        text: of_containerd.text,
    }
}

/// The cluster's file. Its nodes are containers, whose files come from this machine.
pub(super) fn kind(base: &Base, registries: &Chosen<'_>) -> Recipe {
    let mut notes = vec![
        "Write this to kind.yaml, then: kind create cluster --config kind.yaml".to_owned(),
        "The folder ./certs.d gets one file a registry; make it before the cluster:".to_owned(),
    ];
    notes.extend(registries.iter().map(|(name, _)| {
        format!(
            "  mkdir -p certs.d/{name} && printf '[host.\"{base}\"]\\n  capabilities = [\"pull\", \"resolve\"]\\n' > certs.d/{name}/hosts.toml"
        )
    }));
    notes.push(not_loopback("a node of kind"));
    Recipe {
        notes,
        text: "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\ncontainerdConfigPatches:\n  - |-\n    \
               [plugins.\"io.containerd.grpc.v1.cri\".registry]\n      config_path = \"/etc/containerd/certs.d\"\nnodes:\n  \
               - role: control-plane\n    extraMounts:\n      - hostPath: ./certs.d\n        containerPath: \
               /etc/containerd/certs.d\n        readOnly: true\n"
            .to_owned(),
    }
}

/// minikube has a flag for Docker Hub; other registries are named in the path.
pub(super) fn minikube(base: &Base, registries: &Chosen<'_>) -> Recipe {
    let insecure = if base.is_plain() {
        format!(" --insecure-registry={}", base.authority())
    } else {
        String::new()
    };
    let mut notes = vec![not_loopback("the machine of minikube")];
    notes.extend(by_prefix(base, registries, "in your manifests"));
    Recipe {
        notes,
        text: format!("minikube start --registry-mirror={base}{insecure}\n"),
    }
}

/// crane knows no mirrors.
pub(super) fn crane(base: &Base, registries: &Chosen<'_>) -> Recipe {
    let mut notes = vec![
        "crane (and ko, cosign, kaniko) know no mirrors: name images with docxy in front, or use --proxy"
            .to_owned(),
    ];
    if base.is_plain() {
        notes.push("say crane --insecure: docxy answers here over plain HTTP".to_owned());
    }
    notes.extend(by_prefix(base, registries, "crane pull"));
    Recipe {
        notes,
        text: String::new(),
    }
}

fn by_prefix(base: &Base, registries: &Chosen<'_>, how: &str) -> Vec<String> {
    let line = |(name, registry): &(&RegistryName, &Registry)| match prefix_of(name, registry) {
        Some(prefix) => format!("{name}: {how} {}/{prefix}/OWNER/IMAGE:TAG", base.authority()),
        None => needs_alias(name),
    };
    registries.iter().map(line).collect()
}

fn not_loopback(whose: &str) -> String {
    format!("127.0.0.1 inside {whose} is that one itself: give docxy a public_url it can reach.")
}

/// Where containerd is told to look.
const CERTS_D: &str = "/etc/containerd/certs.d";

fn hosts_files(folder: &str, base: &Base, registries: &Chosen<'_>) -> String {
    let files = registries.iter().map(|(name, _)| {
        format!(
            "# {folder}/{name}/hosts.toml\n[host.{}]\n  capabilities = [\"pull\", \"resolve\"]\n",
            quoted(base)
        )
    });
    files.collect::<Vec<_>>().join("\n")
}

/// A mirror by path prefix for each registry: podman sends no `ns`.
pub(super) fn podman(base: &Base, registries: &Chosen<'_>) -> Recipe {
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
pub(super) fn k3s(base: &Base, registries: &Chosen<'_>) -> Recipe {
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
pub(super) fn buildkit(base: &Base, registries: &Chosen<'_>) -> Recipe {
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
