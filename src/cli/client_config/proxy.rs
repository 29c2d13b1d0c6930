//! docxy as the client's `HTTPS_PROXY`: images keep their names, and the client trusts docxy's authority.

use anyhow::bail;

use super::{Client, Recipe, quoted};
use crate::app::{self, authority};
use crate::config::Schema;
use crate::server::setup::Door;
use crate::tls::authority::signers;

/// What all of the recipes say.
pub(super) struct Proxy {
    door: Door,
    /// Where the certificate is fetched.
    certificate: String,
}

impl Proxy {
    /// # Errors
    /// docxy is nobody's proxy, or has no authority yet; the message says what to do.
    pub fn of(schema: &Schema) -> anyhow::Result<Self> {
        let certificates = if schema.intercept.enabled {
            signers(&authority::found(schema)?.origin)?.map(|signers| signers.pem())
        } else {
            None
        };
        let config = app::setup(schema, &[]);
        let door = match Door::new(
            config,
            schema.public_url.as_ref(),
            &certificates.unwrap_or_default(),
        ) {
            Ok(door) => door,
            Err(why) => bail!(why),
        };
        Ok(Self {
            certificate: format!("{}/ca.crt", door.public_url()),
            door,
        })
    }

    fn address(&self) -> String {
        if self.door.signs_in() {
            return self.door.proxy().replacen("://", "://NAME:PASSWORD@", 1);
        }
        self.door.proxy()
    }

    fn no_proxy(&self) -> String {
        format!("localhost,127.0.0.0/8,::1,{}", self.door.bare_host())
    }

    /// In the order in which everybody writes them.
    fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("HTTP_PROXY", self.address()),
            ("HTTPS_PROXY", self.address()),
            ("NO_PROXY", self.no_proxy()),
        ]
    }

    /// A drop-in of systemd's.
    fn drop_in(&self) -> String {
        let lines = self.variables().map(|(name, value)| {
            // A percent sign is systemd's own.
            format!(
                "Environment={}\n",
                quoted(format!("{name}={value}").replace('%', "%%"))
            )
        });
        format!("[Service]\n{}", lines.concat())
    }

    /// Lines of a shell, or of a file of variables.
    fn lines(&self, prefix: &str) -> String {
        let lines = self
            .variables()
            .map(|(name, value)| format!("{prefix}{name}={value}\n"));
        lines.concat()
    }

    fn trust(&self) -> String {
        format!(
            "The client must trust docxy's authority: {} ({}), in the system's store, then restart it",
            self.certificate,
            self.door.fingerprints().join(", ")
        )
    }
}

pub(super) fn recipe(proxy: &Proxy, client: Client) -> Recipe {
    let drop_in = |service: &str| {
        let mut notes = vec![
            format!("Write this to /etc/systemd/system/{service}.service.d/http-proxy.conf, then run:"),
            format!("  systemctl daemon-reload && systemctl restart {service}"),
            proxy.trust(),
        ];
        if proxy.door.signs_in() {
            notes.push("systemctl shows Environment= to every user of the machine: keep the lines with PASSWORD, without".to_owned());
            notes.push("Environment= and quotes, in a file for root alone (0600), and name that with EnvironmentFile=".to_owned());
        }
        Recipe {
            notes,
            text: proxy.drop_in(),
        }
    };
    let exported = |notes: &[&str]| Recipe {
        notes: notes
            .iter()
            .map(|&note| note.to_owned())
            .chain([proxy.trust()])
            .collect(),
        text: proxy.lines("export "),
    };
    match client {
        Client::Systemd => Recipe {
            notes: vec![
                "Run this as root on every machine; --dry-run says what it would do, --undo takes it back:".to_owned(),
                format!("  curl -fsSLo setup.sh {}/setup/systemd && sudo sh setup.sh", proxy.door.public_url()),
            ],
            text: proxy.door.systemd(),
        },
        Client::Docker | Client::DockerHosts => drop_in("docker"),
        Client::Containerd | Client::Kubernetes => drop_in("containerd"),
        Client::Crio => drop_in("crio"),
        Client::Buildkit => {
            let mut recipe = drop_in("buildkit");
            let flags = proxy.variables().map(|(name, value)| {
                // Commas divide the options of that flag.
                format!(" --driver-opt '\"env.{name}={value}\"'")
            });
            recipe
                .notes
                .push(format!("With buildx: docker buildx create --use{}", flags.concat()));
            recipe
        }
        Client::Podman | Client::Buildah => Recipe {
            notes: vec![
                "Write this to /etc/containers/containers.conf.d/docxy.conf (rootless: ~/.config/containers/...)".to_owned(),
                proxy.trust(),
            ],
            text: {
                let items = proxy.variables().map(|(name, value)| format!("  {},\n", quoted(format!("{name}={value}"))));
                format!("[engine]\nenv = [\n{}]\n", items.concat())
            },
        },
        Client::K3s | Client::Rke2 => Recipe {
            notes: vec![
                "Write this to /etc/systemd/system/k3s.service.env (agents: k3s-agent.service.env; RKE2:".to_owned(),
                "/etc/default/rke2-server, /etc/default/rke2-agent) on every node, then restart k3s.".to_owned(),
                proxy.trust(),
            ],
            text: proxy.lines("CONTAINERD_"),
        },
        Client::Skopeo => exported(&["For skopeo, in the shell that runs it"]),
        Client::Nerdctl => exported(&["For nerdctl, which pulls by itself, in the shell that runs it"]),
        Client::Crane => exported(&[
            "For crane (and ko, cosign), in the shell that runs it. Instead of the system's store:",
            "  export SSL_CERT_FILE=/path/to/ca.crt",
        ]),
        Client::Kind => exported(&[
            "For kind, in the shell that runs `kind create cluster`: it hands these to its nodes. On each node then:",
            "  docker exec NODE sh -c 'curl -fsSLko /usr/local/share/ca-certificates/docxy.crt CERTIFICATE &&",
            "    update-ca-certificates && systemctl restart containerd'",
        ]),
        Client::Minikube => Recipe {
            notes: vec![
                "Put docxy's certificate into ~/.minikube/certs first, as docxy.pem, and say --embed-certs".to_owned(),
                proxy.trust(),
            ],
            text: {
                let flags = proxy
                    .variables()
                    .map(|(name, value)| format!(" --docker-env {name}={value}"));
                format!("minikube start --embed-certs{}\n", flags.concat())
            },
        },
    }
}
