//! A client that costs as little as possible: plain blocking sockets, a thread each, bytes thrown away in the kernel.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{RecvFlags, recv};

use super::process::pause;

/// The most that is thrown away at once.
const DISCARD: usize = 1 << 20;

/// As what a server on this machine is asked for.
pub const HERE: &str = "127.0.0.1";

/// What a registry's clients send with every request.
pub fn request(host: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: \
         application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json, */*\r\n\r\n"
    )
}

/// Bytes from a server, which may be thrown away unseen.
pub trait Stream: Read + Write {
    /// Reads like `read`, but nobody wants to see the bytes.
    fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer)
    }
}

impl Stream for TcpStream {
    fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // For TCP this flag drops the bytes without copying them (tcp(7)), so the proxy gets the memory bandwidth.
        let (_, discarded) = recv(&*self, buffer, RecvFlags::TRUNC)?;
        Ok(discarded)
    }
}

/// When an answer came, counted from its request.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// To the first byte of the body.
    pub first: Duration,
    /// To the last.
    pub whole: Duration,
}

/// One keep-alive connection.
pub struct Connection<S> {
    stream: S,
    host: &'static str,
    buffer: Vec<u8>,
}

impl Connection<TcpStream> {
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("{address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream, HERE))
    }
}

impl<S: Stream> Connection<S> {
    /// `host` is what the server is asked for as.
    pub fn over(stream: S, host: &'static str) -> Self {
        Self {
            stream,
            host,
            buffer: vec![0; DISCARD],
        }
    }

    /// Asks, and throws the body away. Anything but a whole 200 of `size` bytes is an error.
    pub fn fetch(&mut self, path: &str, size: u64) -> Result<Timing> {
        let asked = Instant::now();
        self.stream.write_all(request(self.host, path).as_bytes())?;
        let mut left = self.head(path, size)?;
        let mut first = (left < size || size == 0).then(|| asked.elapsed());
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(DISCARD).min(DISCARD);
            let read = self.stream.discard(&mut self.buffer[..most])? as u64;
            ensure!(read > 0, "{path}: the body ended {left} bytes early");
            first.get_or_insert_with(|| asked.elapsed());
            left -= read;
        }
        Ok(Timing {
            first: first.unwrap_or_default(),
            whole: asked.elapsed(),
        })
    }

    /// Reads the head; how many bytes of the body did not come with it.
    fn head(&mut self, path: &str, size: u64) -> Result<u64> {
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..16 << 10])?;
            ensure!(read > 0, "{path}: no whole head came");
            filled += read;
            if let Some(left) = left_after_head(&self.buffer[..filled], path, size)? {
                return Ok(left);
            }
        }
    }
}

/// How many bytes of the body are not among those that came so far; `None` while the head is not whole.
pub fn left_after_head(came: &[u8], path: &str, size: u64) -> Result<Option<u64>> {
    let Some(end) = came.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&came[..end]).to_ascii_lowercase();
    ensure!(
        text.starts_with("http/1.1 200"),
        "{path}: {}",
        text.lines().next().unwrap_or_default()
    );
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<u64>().ok());
    let Some(length) = length else {
        bail!("{path}: no Content-Length")
    };
    ensure!(length == size, "{path}: {length} bytes instead of {size}");
    Ok(Some(size - (came.len() - end - 4) as u64))
}

/// A client for each delay, which counts from one common start, each with a connection of its own that was opened before.
pub fn crowd<S: Stream>(
    open: impl Fn() -> Result<Connection<S>> + Sync,
    path: &str,
    size: u64,
    delays: &[Duration],
) -> Result<Vec<Timing>> {
    let barrier = Barrier::new(delays.len() + 1);
    std::thread::scope(|scope| {
        let pulls: Vec<_> = delays
            .iter()
            .map(|delay| {
                let (barrier, open) = (&barrier, &open);
                scope.spawn(move || -> Result<Timing> {
                    let opened = open();
                    barrier.wait();
                    if !delay.is_zero() {
                        pause(*delay);
                    }
                    opened?.fetch(path, size)
                })
            })
            .collect();
        barrier.wait();
        pulls
            .into_iter()
            .map(|pull| pull.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
            .collect()
    })
}
