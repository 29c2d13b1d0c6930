//! Who is measured: the upstream itself, docxy, nginx and docker-registry, all in front of one upstream.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::Bench;
use super::client::Connection;
use super::herd::RIVALS;
use super::library::Blob;
use super::line::Line;
use super::origin::Origin;
use super::process::{free_address, pause};
use super::server::{self, Server};
use super::table::Figures;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    Direct,
    Docxy,
    Nginx,
    Distribution,
}

/// The three that cache.
pub const CACHES: [Party; 3] = [Party::Docxy, Party::Nginx, Party::Distribution];
pub const ALL: [Party; 4] = [Party::Direct, Party::Docxy, Party::Nginx, Party::Distribution];

impl Party {
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Docxy => "docxy",
            Self::Nginx => "nginx",
            Self::Distribution => "distribution",
        }
    }
}

/// They take turns, and another begins in each round.
pub fn in_turn(parties: &[Party], round: usize) -> impl Iterator<Item = Party> {
    let count = parties.len();
    parties.iter().copied().cycle().skip(round % count).take(count)
}

/// Processes with empty caches. The order of the fields is the order of their end; the folder goes last.
pub struct Field {
    docxy: Server,
    nginx: Server,
    distribution: Server,
    encrypted: Encrypted,
    pub origin: Origin,
    folder: TempDir,
}

/// Where docxy and nginx listen for TLS.
struct Encrypted {
    docxy: SocketAddr,
    nginx: SocketAddr,
}

impl Field {
    pub fn start(bench: &Bench, line: Line) -> Result<Self> {
        let origin = Origin::start(&bench.runtime, bench.library.clone(), line)?;
        let folder = tempfile::tempdir()?;
        let encrypted = Encrypted {
            docxy: free_address()?,
            nginx: free_address()?,
        };
        let (certificate, key) = bench.tls.write(folder.path())?;
        // Hundreds of clients leave the upstream too little of this machine to seem fast, and docxy would help it.
        let network = if bench.plan.herd > RIVALS {
            "[network]\nsegments = 1\n"
        } else {
            ""
        };
        let sections = format!(
            "{}{network}[tls]\nlisten = [\"{}\"]\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]\nredirect_http = false\n",
            docxy_cache(bench, &folder.path().join("docxy-cache")),
            encrypted.docxy,
            certificate.display(),
            key.display(),
        );
        let listen = format!(
            "listen {} ssl; ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3;",
            encrypted.nginx,
            certificate.display(),
            key.display()
        );
        Ok(Self {
            docxy: server::docxy(folder.path(), "docxy", origin.address, &sections)?,
            nginx: caching_nginx(folder.path(), origin.address, &listen)?,
            distribution: server::docker_registry(folder.path(), origin.address)?,
            encrypted,
            origin,
            folder,
        })
    }

    /// One docxy more, with a cache of its own, that fetches each blob over one connection.
    pub fn one_segment(&self, bench: &Bench) -> Result<Server> {
        let cache = docxy_cache(bench, &self.folder.path().join("single-cache"));
        let sections = match bench.plan.mode.as_str() {
            "off" => cache,
            _ => cache + "[network]\nsegments = 1\n",
        };
        server::docxy(self.folder.path(), "single", self.origin.address, &sections)
    }

    pub fn address(&self, party: Party) -> SocketAddr {
        self.server(party)
            .map_or(self.origin.address, |server| server.address)
    }

    /// Where a party listens for TLS, if it does.
    pub fn tls_address(&self, party: Party) -> Option<SocketAddr> {
        match party {
            Party::Docxy => Some(self.encrypted.docxy),
            Party::Nginx => Some(self.encrypted.nginx),
            Party::Direct | Party::Distribution => None,
        }
    }

    /// CPU time of the party's processes while `work` went on, and what it returned.
    pub fn cpu_of<T>(&self, party: Party, work: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
        let server = self
            .server(party)
            .context("the upstream has no process of its own")?;
        let before = server.cpu()?;
        let done = work()?;
        Ok((server.cpu()?.saturating_sub(before), done))
    }

    /// See [`super::process::memory`].
    pub fn memory(&self, party: Party, field: &str) -> Result<u64> {
        let server = self
            .server(party)
            .context("the upstream has no process of its own")?;
        server.memory(field)
    }

    /// Pulls something through a party until it is cached and all work on it has ended.
    pub fn warm(&self, party: Party, blob: &Blob) -> Result<()> {
        Connection::open(self.address(party))?.fetch(&blob.path, blob.size)?;
        self.settle(party)
    }

    /// Waits until a party uses no CPU any more.
    pub fn settle(&self, party: Party) -> Result<()> {
        const QUIET: Duration = Duration::from_millis(300);
        let until = Instant::now() + Duration::from_secs(20);
        let rest = || {
            pause(QUIET);
            Ok(())
        };
        while self.cpu_of(party, rest)?.0 > Duration::ZERO {
            ensure!(Instant::now() < until, "{} does not come to rest", party.name());
        }
        Ok(())
    }

    fn server(&self, party: Party) -> Option<&Server> {
        match party {
            Party::Direct => None,
            Party::Docxy => Some(&self.docxy),
            Party::Nginx => Some(&self.nginx),
            Party::Distribution => Some(&self.distribution),
        }
    }
}

/// What `measure` gives for each party in each round, where it gives anything.
pub fn rounds<F: Into<Option<f64>>>(
    rounds: usize,
    parties: &[Party],
    mut measure: impl FnMut(usize, Party) -> Result<F>,
) -> Result<Figures> {
    let mut figures = Figures::default();
    for round in 0..rounds {
        for party in in_turn(parties, round) {
            let figure = measure(round, party).with_context(|| party.name())?;
            if let Some(figure) = figure.into() {
                figures.push(party, figure);
            }
        }
    }
    Ok(figures)
}

/// The sections of docxy's configuration that are about its cache.
fn docxy_cache(bench: &Bench, path: &Path) -> String {
    let mode = &bench.plan.mode;
    let tags = match mode.as_str() {
        "off" => "",
        _ => "[[cache.tags]]\nfresh = \"1h\"\n",
    };
    format!(
        "[cache]\nmode = \"{mode}\"\npath = \"{}\"\n{tags}",
        path.display()
    )
}

/// nginx as it caches best: every 200 for an hour under its URL, one fetch at a time for each, and buffers that make
/// fetching cheap. `aio` stays off, as in Debian. Its lock would let followers through to the upstream after 5 s.
fn caching_nginx(folder: &Path, origin: SocketAddr, listen_tls: &str) -> Result<Server> {
    let path: PathBuf = folder.join("nginx-cache");
    fs::create_dir(&path)?;
    server::nginx(folder, "nginx", 2, |address| {
        format!(
            "sendfile on; tcp_nopush on; access_log {log};
             proxy_cache_path {path} levels=1:2 keys_zone=bench:10m max_size=32g inactive=1d use_temp_path=off;
             upstream origin {{ server {origin}; keepalive 64; }}
             server {{
               listen {address}; {listen_tls}
               location / {{
                 proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";
                 proxy_cache bench; proxy_cache_key $request_uri; proxy_cache_valid 200 1h;
                 proxy_cache_lock on; proxy_cache_lock_timeout 1h; proxy_cache_lock_age 1h;
                 proxy_buffer_size 256k; proxy_busy_buffers_size 512k; proxy_buffers 8 256k;
               }}
             }}",
            log = folder.join("nginx-access.log").display(),
            path = path.display(),
        )
    })
}
