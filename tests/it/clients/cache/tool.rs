//! One face for all the programs: pull an image of Docker Hub through the door that this program uses, and forget it again.

use std::net::SocketAddr;

use super::super::support::{
    containerd::Containerd,
    dockerd::{Dockerd, Setup},
    generation::Generation,
    image::Index,
    podman::Podman,
    process::Finished,
    sandbox::Sandbox,
    skopeo::Skopeo,
    token_server::{PASSWORD, USER},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// By `registry-mirrors`.
    Dockerd(Generation),
    /// By hosts.toml and `?ns=`.
    Ctr(Generation),
    /// By a mirror with a path.
    Podman,
    /// By docxy's address, with the registry's name or, as Docker Hub's images are called in short, with none.
    Skopeo,
}

/// A program that is ready to pull.
pub struct Client<'a> {
    pub tool: Tool,
    /// None: the programs have a proxy, and registries their own names.
    door: Option<SocketAddr>,
    program: Program<'a>,
}

enum Program<'a> {
    Dockerd(Dockerd),
    Ctr(Containerd<'a>),
    Podman(Podman<'a>),
    Skopeo(Skopeo<'a>),
}

/// With whose password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    Nobody,
    /// The one account of these tests.
    Own,
    /// Its name with another password.
    Wrong,
}

impl Tool {
    pub const ALL: [Self; 6] = [
        Self::Dockerd(Generation::Debian12),
        Self::Dockerd(Generation::Sid),
        Self::Ctr(Generation::Debian12),
        Self::Ctr(Generation::Sid),
        Self::Podman,
        Self::Skopeo,
    ];

    /// In a name of a repository.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dockerd(Generation::Debian12) => "docker-20",
            Self::Dockerd(Generation::Sid) => "docker-28",
            Self::Ctr(Generation::Debian12) => "ctr-1",
            Self::Ctr(Generation::Sid) => "ctr-2",
            Self::Podman => "podman",
            Self::Skopeo => "skopeo",
        }
    }
}

impl<'a> Client<'a> {
    /// Dockerd and containerd have one place each in a sandbox: their generations need one of their own.
    pub async fn start(tool: Tool, sandbox: &'a Sandbox, door: SocketAddr) -> Self {
        let program = match tool {
            Tool::Dockerd(generation) => {
                let setup = Setup {
                    mirror: Some(format!("http://{door}")),
                    ..Setup::default()
                };
                Program::Dockerd(Dockerd::start(sandbox, generation, setup).await)
            }
            Tool::Ctr(generation) => {
                let containerd = Containerd::start(sandbox, generation).await;
                containerd.hosts("docker.io", &format!("http://{door}"), "");
                Program::Ctr(containerd)
            }
            Tool::Podman => {
                let mirrors = format!(
                    "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\
                     [[registry.mirror]]\nlocation = \"{door}/docker.io\"\ninsecure = true\n"
                );
                Program::Podman(Podman::new(sandbox, &mirrors))
            }
            Tool::Skopeo => Program::Skopeo(Skopeo::new(sandbox)),
        };
        let door = Some(door);
        Self { tool, door, program }
    }

    /// As it comes out of its package, in a sandbox with a proxy; names begin with the registry's.
    pub async fn behind_proxy(tool: Tool, sandbox: &'a Sandbox) -> Self {
        let program = match tool {
            Tool::Dockerd(generation) => {
                Program::Dockerd(Dockerd::start(sandbox, generation, Setup::default()).await)
            }
            Tool::Ctr(generation) => Program::Ctr(Containerd::start(sandbox, generation).await),
            Tool::Podman => Program::Podman(Podman::new(sandbox, "")),
            Tool::Skopeo => Program::Skopeo(Skopeo::new(sandbox)),
        };
        Self {
            tool,
            door: None,
            program,
        }
    }

    /// `name` is Docker Hub's, in full: `library/app`.
    pub async fn pull(&self, name: &str, tag: &str) -> Finished {
        self.pull_as(Login::Nobody, name, tag).await
    }

    /// dockerd is signed in by other means, if at all.
    pub async fn pull_as(&self, login: Login, name: &str, tag: &str) -> Finished {
        let reference = self.reference(name, tag);
        let (user, secret) = match login {
            Login::Nobody => (None, ""),
            Login::Own => (Some(USER), PASSWORD),
            Login::Wrong => (Some(USER), "wrong"),
        };
        let login = user.map(|user| format!("{user}:{secret}"));
        let options = |option| login.as_deref().map_or(Vec::new(), |login| vec![option, login]);
        match &self.program {
            Program::Dockerd(docker) => docker.docker(&["pull", &reference]).await,
            Program::Ctr(containerd) => {
                let mut options = options("--user");
                // Else it also fetches manifests and configurations of the platforms that nobody runs here.
                if self.tool == Tool::Ctr(Generation::Sid) {
                    options.push("--skip-metadata");
                }
                containerd.pull(&options, &reference).await
            }
            Program::Podman(podman) => podman.pull(&options("--creds"), &reference).await,
            Program::Skopeo(skopeo) => {
                let mut options = options("--src-creds");
                if self.door.is_some() {
                    options.push("--src-tls-verify=false");
                }
                skopeo.try_copy(&options, &reference).await
            }
        }
    }

    /// Asserts that the image arrived, every byte of it.
    pub async fn assert_holds(&self, name: &str, tag: &str, index: &Index) {
        let (reference, named) = (self.reference(name, tag), &index.manifest);
        match &self.program {
            Program::Dockerd(docker) => docker.assert_holds(&reference, named, index.native()).await,
            Program::Ctr(containerd) => containerd.assert_holds(&reference, named, index.native()).await,
            Program::Podman(podman) => podman.assert_holds(&reference, named, index.native()).await,
            // Of one platform it keeps that platform's manifest.
            Program::Skopeo(skopeo) => {
                let image = index.native();
                let copied = skopeo.copied();
                copied.assert_holds(&image.manifest, std::slice::from_ref(image));
            }
        }
    }

    /// A pull that must succeed and bring what was published.
    pub async fn gets(&self, name: &str, tag: &str, index: &Index) {
        drop(self.pull(name, tag).await.succeeded());
        self.assert_holds(name, tag, index).await;
    }

    /// Removes the image, so that the next pull needs every byte again.
    pub async fn forget(&self, name: &str, tag: &str) {
        let reference = self.reference(name, tag);
        let removed = match &self.program {
            Program::Dockerd(docker) => docker.docker(&["image", "rm", &reference]).await,
            Program::Ctr(containerd) => containerd.remove(&reference).await,
            Program::Podman(podman) => podman.podman(&["image", "rm", &reference]).await,
            // Each copy begins with an empty folder.
            Program::Skopeo(_) => return,
        };
        drop(removed.succeeded());
    }

    fn reference(&self, name: &str, tag: &str) -> String {
        let Some(door) = self.door else {
            return format!("{name}:{tag}");
        };
        let short = name.strip_prefix("library/").unwrap_or(name);
        match self.tool {
            Tool::Dockerd(_) => format!("{short}:{tag}"),
            Tool::Ctr(_) | Tool::Podman => format!("docker.io/{name}:{tag}"),
            // Without `library/` both ways.
            Tool::Skopeo if tag == "oci" && !short.contains('/') => format!("{door}/{short}:{tag}"),
            Tool::Skopeo => format!("{door}/docker.io/{short}:{tag}"),
        }
    }
}
