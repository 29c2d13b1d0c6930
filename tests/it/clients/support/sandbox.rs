//! A private view of the machine for the programs under test.
//!
//! Each program runs in its own mount namespace, where a few names lead to loopback addresses and the public
//! registries lead nowhere, and in its own process namespace, so that killing one process ends everything it
//! started and undoes everything it mounted. Of the machine itself nothing is changed.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Pid;
use tempfile::TempDir;

use super::process;

/// The program that enters the namespaces and stays outside of them.
pub const ENTRANCE: &str = "unshare";
/// A name that leads to 127.0.0.1: the shared host of docxy, where a test needs a name.
pub const HUB_HOST: &str = "hub.test";
/// A name that leads to 127.0.0.1, for a virtual host of one registry.
pub const VIRTUAL_HOST: &str = "private.test";
/// A name that dockerd does not count as loopback, so that it insists on a valid certificate: 0.0.0.0 is "this
/// machine" for Linux, while dockerd takes 127.0.0.0/8 and `::1` for insecure registries.
pub const SECURE_HOST: &str = "secure.test";

/// Public names that a client may ask behind our back: they lead to a closed port.
const NOWHERE: [&str; 8] = [
    "registry-1.docker.io",
    "index.docker.io",
    "docker.io",
    "auth.docker.io",
    "ghcr.io",
    "quay.io",
    "registry.example.com",
    "localhost.localdomain",
];

/// Prepares the namespace and becomes the program: `$0` is the sandbox's folder, `$@` the program.
///
/// dockerd and podman write to a few places whatever they are told; they get empty ones that vanish with them.
const ENTER: &str = r#"
    set -e
    for place in /run /etc/docker /opt/containerd /var/lib/containers; do
        mkdir -p "$place"
        mount -t tmpfs tmpfs "$place"
    done
    mount --bind "$0/hosts" /etc/hosts
    if [ -e /etc/resolv.conf ]; then mount --bind "$0/resolv.conf" /etc/resolv.conf; fi
    exec "$@"
"#;

/// One test's home: a folder for everything the programs keep, and the names they know.
pub struct Sandbox {
    folder: TempDir,
    /// Whose network the programs see; the machine's without.
    network: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

impl Sandbox {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("docxy-clients-")
            .tempdir()
            .expect("a temporary folder");
        let mut hosts = format!("127.0.0.1 localhost {HUB_HOST} {VIRTUAL_HOST}\n0.0.0.0 {SECURE_HOST}\n");
        for name in NOWHERE {
            let _ = writeln!(hosts, "127.0.0.1 {name}");
        }
        fs::write(folder.path().join("hosts"), hosts).expect("hosts");
        fs::write(
            folder.path().join("resolv.conf"),
            "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        )
        .expect("resolv.conf");
        fs::create_dir(folder.path().join("home")).expect("home");
        Self {
            folder,
            network: None,
            environment: Vec::new(),
        }
    }

    /// The same, for programs that see the network of this process and no other.
    pub fn in_network_of(process: Pid) -> Self {
        let network = PathBuf::from(format!("/proc/{}/ns/net", process.as_raw_pid()));
        Self {
            network: Some(network),
            ..Self::new()
        }
    }

    /// The same, for programs that find this in their environment.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, for programs that have this proxy, and trust the authority in this PEM file alone.
    pub fn behind(self, proxy: SocketAddr, authority: &str) -> Self {
        let file = self.file("proxy-ca.crt", authority);
        let file = file.to_str().expect("a printable path");
        self.with("HTTPS_PROXY", &format!("http://{proxy}"))
            .with("SSL_CERT_FILE", file)
            .with("SSL_CERT_DIR", "/nonexistent")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file below this test's folder and says where it is.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a file in a folder")).expect("the file's folder");
        fs::write(&path, content).expect("the file");
        path
    }

    /// The same for a file that its owner alone may read.
    pub fn secret(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file's mode");
        path
    }

    /// A program that sees the names above, and dies with the thread that started it.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = match &self.network {
            None => process::mortal(ENTRANCE),
            Some(network) => {
                let mut command = process::mortal("nsenter");
                command.arg(format!("--net={}", network.display()));
                command.args(["--", ENTRANCE]);
                command
            }
        };
        command
            .args(["--mount", "--propagation", "private"])
            .args([
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "--",
                "sh",
                "-c",
                ENTER,
            ])
            .arg(self.path())
            .arg(program.as_ref())
            .env("HOME", self.path().join("home"))
            .env("XDG_RUNTIME_DIR", self.path().join("home"));
        for proxy in [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "http_proxy",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
        ] {
            command.env_remove(proxy);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
