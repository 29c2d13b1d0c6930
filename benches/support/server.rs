//! The programs that are measured, each with its access log on.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::process::{self, Process, free_address};

pub struct Server {
    pub address: SocketAddr,
    process: Process,
}

impl Server {
    pub fn cpu(&self) -> Result<Duration> {
        process::cpu(self.process.id())
    }

    /// See [`process::memory`].
    pub fn memory(&self, field: &str) -> Result<u64> {
        process::memory(self.process.id(), field)
    }

    fn start(name: &str, folder: &Path, address: SocketAddr, command: &mut Command) -> Result<Self> {
        let process = Process::start(command, &folder.join(format!("{name}.log")), address)?;
        Ok(Self { address, process })
    }
}

/// docxy in front of `origin` as if that were Docker Hub; `sections` follow in its configuration. Files carry `name`.
pub fn docxy(folder: &Path, name: &str, origin: SocketAddr, sections: &str) -> Result<Server> {
    let registry = format!(
        "[registries.\"docker.io\"]\nurls = [\"http://{origin}\"]\nallow_private_addresses = true\n{sections}"
    );
    docxy_of(folder, name, &registry)
}

/// docxy with these sections, on an address of its own.
pub fn docxy_of(folder: &Path, name: &str, sections: &str) -> Result<Server> {
    let address = free_address()?;
    let configuration = format!(
        "listen = [\"{address}\"]\nstate_path = \"{}\"\n{sections}",
        folder.join(format!("{name}-state")).display(),
    );
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, configuration)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_docxy"));
    Server::start(name, folder, address, command.arg("--config").arg(&file))
}

/// nginx with these workers and the `http` block that `http` writes for its address.
pub fn nginx(
    folder: &Path,
    name: &str,
    workers: usize,
    http: impl FnOnce(SocketAddr) -> String,
) -> Result<Server> {
    let address = free_address()?;
    let configuration = format!(
        "daemon off; worker_processes {workers}; worker_rlimit_nofile 16384; pid {pid}; error_log stderr;
         events {{ worker_connections 8192; }}
         http {{ keepalive_requests 100000000; {http} }}",
        pid = folder.join(format!("{name}.pid")).display(),
        http = http(address),
    );
    let file = folder.join(format!("{name}.conf"));
    fs::write(&file, configuration)?;
    Server::start(name, folder, address, Command::new("nginx").arg("-c").arg(&file))
}

/// Debian's docker-registry as a pull-through cache of `origin`.
pub fn docker_registry(folder: &Path, origin: SocketAddr) -> Result<Server> {
    let address = free_address()?;
    let configuration = format!(
        "version: 0.1\nlog: {{ accesslog: {{ disabled: false }}, level: error }}\n\
         storage: {{ filesystem: {{ rootdirectory: {root} }} }}\n\
         http: {{ addr: \"{address}\" }}\nproxy: {{ remoteurl: \"http://{origin}\" }}\n",
        root = folder.join("registry").display(),
    );
    let file = folder.join("registry.yml");
    fs::write(&file, configuration)?;
    let mut command = Command::new("docker-registry");
    Server::start(
        "docker-registry",
        folder,
        address,
        command.arg("serve").arg(&file),
    )
}
