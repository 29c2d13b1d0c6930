//! The upstream: nginx serving blobs as files, under the paths of the distribution API.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use docxy::oci::digest::{Algorithm, Hasher};

use super::noise::Noise;
use super::server::{self, Server};

/// Bytes of the small blob.
pub const SMALL: u64 = 4096;

pub struct Upstream {
    nginx: Server,
    blobs: Vec<String>,
    small: String,
}

impl Upstream {
    /// `count` blobs of `size` bytes and one of 4 KiB, with right digests.
    pub fn start(folder: &Path, size: u64, count: usize) -> Result<Self> {
        let root = folder.join("blobs");
        fs::create_dir_all(&root)?;
        let blobs = (0..count)
            .map(|n| blob(&root, size, n as u64 + 1))
            .collect::<Result<_>>()?;
        let small = blob(&root, SMALL, 0)?;
        let nginx = server::nginx(folder, "upstream", 1, |address| {
            format!(
                "sendfile on; tcp_nopush on; access_log off; default_type application/octet-stream;
                 server {{
                   listen {address};
                   location = /v2/ {{ return 200 '{{}}'; }}
                   location ~ ^/v2/bench/app/blobs/(sha256:[0-9a-f]+)$ {{
                     add_header Docker-Content-Digest $1;
                     alias {root}/$1;
                   }}
                 }}",
                root = root.display(),
            )
        })?;
        Ok(Self { nginx, blobs, small })
    }

    pub fn address(&self) -> SocketAddr {
        self.nginx.address
    }

    /// Path of a large blob.
    pub fn blob(&self, n: usize) -> &str {
        &self.blobs[n % self.blobs.len()]
    }

    /// Path of the small one.
    pub fn small(&self) -> &str {
        &self.small
    }
}

/// Writes a blob of bytes that do not compress, and returns its path in the API.
fn blob(root: &Path, size: u64, seed: u64) -> Result<String> {
    let temporary = root.join("new");
    let mut file = fs::File::create(&temporary)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut noise = Noise::new(seed);
    let mut piece = vec![0u8; 1 << 16];
    let mut left = size;
    while left > 0 {
        noise.fill(&mut piece);
        let take = usize::try_from(left.min(piece.len() as u64))?;
        file.write_all(&piece[..take])?;
        hasher.update(&piece[..take]);
        left -= take as u64;
    }
    let digest = hasher.finish();
    fs::rename(&temporary, root.join(digest.to_string()))?;
    Ok(format!("/v2/bench/app/blobs/{digest}"))
}
