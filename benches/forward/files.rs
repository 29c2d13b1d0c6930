//! The upstream: nginx serving blobs as files, under the paths of the distribution API.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use docxy::oci::digest::{Algorithm, Hasher};

use super::process::{Process, free_address, wait_for};

pub struct Upstream {
    address: SocketAddr,
    blobs: Vec<String>,
    small: String,
    _nginx: Process,
}

impl Upstream {
    /// `count` blobs of `size` bytes and one of 4 KiB, with right digests.
    pub fn start(folder: &Path, size: u64, count: usize) -> Result<Self> {
        let root = folder.join("blobs");
        fs::create_dir_all(&root)?;
        let blobs = (0..count)
            .map(|n| blob(&root, size, n as u64 + 1))
            .collect::<Result<_>>()?;
        let small = blob(&root, 4096, 0)?;
        let address = free_address()?;
        let configuration = format!(
            "daemon off; worker_processes 1; pid {pid}; error_log stderr;
             events {{ worker_connections 1024; }}
             http {{
               sendfile on; tcp_nopush on; access_log off; default_type application/octet-stream;
               keepalive_requests 1000000;
               server {{
                 listen {address};
                 location = /v2/ {{ return 200 '{{}}'; }}
                 location ~ ^/v2/bench/app/blobs/(sha256:[0-9a-f]+)$ {{
                   add_header Docker-Content-Digest $1;
                   alias {root}/$1;
                 }}
               }}
             }}",
            pid = folder.join("upstream.pid").display(),
            root = root.display(),
        );
        let file = folder.join("upstream.conf");
        fs::write(&file, configuration)?;
        let nginx = Process::start(
            Command::new("nginx").arg("-c").arg(&file),
            &folder.join("upstream.log"),
        )?;
        wait_for(address, "nginx (upstream)")?;
        Ok(Self {
            address,
            blobs,
            small,
            _nginx: nginx,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
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
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut piece = vec![0u8; 1 << 16];
    let mut left = size;
    while left > 0 {
        for word in piece.chunks_exact_mut(8) {
            // xorshift64: fast, and different for every seed.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let take = usize::try_from(left.min(piece.len() as u64))?;
        file.write_all(&piece[..take])?;
        hasher.update(&piece[..take]);
        left -= take as u64;
    }
    let digest = hasher.finish();
    fs::rename(&temporary, root.join(digest.to_string()))?;
    Ok(format!("/v2/bench/app/blobs/{digest}"))
}
