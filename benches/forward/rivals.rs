//! The three proxies, each with its access log on and its best settings for forwarding.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::files::Upstream;
use super::process::{self, Process, free_address, wait_for};

pub struct Rival {
    pub address: SocketAddr,
    process: Process,
}

impl Rival {
    pub fn cpu(&self) -> Result<Duration> {
        process::cpu(self.process.id())
    }

    pub fn peak_resident(&self) -> Result<u64> {
        process::peak_resident(self.process.id())
    }
}

pub fn docxy(folder: &Path, upstream: &Upstream) -> Result<Rival> {
    let address = free_address()?;
    let state = folder.join("state");
    let configuration = format!(
        "listen = [\"{address}\"]\nstate_path = \"{}\"\n\
         [registries.\"docker.io\"]\nurls = [\"http://{}\"]\nallow_private_addresses = true\n",
        state.display(),
        upstream.address()
    );
    let file = folder.join("docxy.toml");
    fs::write(&file, configuration)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_docxy"));
    let process = Process::start(command.arg("--config").arg(&file), &folder.join("docxy.log"))?;
    wait_for(address, "docxy")?;
    Ok(Rival { address, process })
}

pub fn nginx(folder: &Path, upstream: &Upstream) -> Result<Rival> {
    let address = free_address()?;
    let configuration = format!(
        "daemon off; worker_processes 2; pid {pid}; error_log stderr;
         events {{ worker_connections 1024; }}
         http {{
           access_log {log}; keepalive_requests 1000000;
           upstream origin {{ server {origin}; keepalive 64; }}
           server {{
             listen {address};
             location / {{
               proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";
               proxy_buffering off; proxy_buffer_size 256k; proxy_busy_buffers_size 512k; proxy_buffers 8 256k;
             }}
           }}
         }}",
        pid = folder.join("nginx.pid").display(),
        log = folder.join("nginx-access.log").display(),
        origin = upstream.address(),
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let process = Process::start(
        Command::new("nginx").arg("-c").arg(&file),
        &folder.join("nginx.log"),
    )?;
    wait_for(address, "nginx (proxy)")?;
    Ok(Rival { address, process })
}

pub fn docker_registry(folder: &Path, upstream: &Upstream) -> Result<Rival> {
    let address = free_address()?;
    let configuration = format!(
        "version: 0.1\nlog: {{ accesslog: {{ disabled: false }}, level: error }}\n\
         storage: {{ filesystem: {{ rootdirectory: {root} }} }}\n\
         http: {{ addr: \"{address}\" }}\nproxy: {{ remoteurl: \"http://{origin}\" }}\n",
        root = folder.join("registry").display(),
        origin = upstream.address(),
    );
    let file = folder.join("registry.yml");
    fs::write(&file, configuration)?;
    let mut command = Command::new("docker-registry");
    let process = Process::start(command.arg("serve").arg(&file), &folder.join("registry.log"))?;
    wait_for(address, "docker-registry")?;
    Ok(Rival { address, process })
}
