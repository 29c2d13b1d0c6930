//! A client that costs as little as possible: plain sockets, a thread each, bytes thrown away.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Median time to the first byte of the answer, on one connection.
pub fn first_byte_p50(address: SocketAddr, path: &str, requests: usize) -> Result<Duration> {
    let mut connection = Connection::open(address)?;
    let mut times = Vec::with_capacity(requests);
    for _ in 0..requests {
        let asked = Instant::now();
        let (first, length) = connection.ask(path, asked)?;
        connection.discard(length)?;
        times.push(first);
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// So many clients pull the same path at the same moment; the time until the last has all its bytes.
pub fn pull_at_once(address: SocketAddr, path: &str, clients: usize, size: u64) -> Result<Duration> {
    let barrier = Barrier::new(clients + 1);
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..clients)
            .map(|_| {
                let barrier = &barrier;
                scope.spawn(move || -> Result<()> {
                    let opened = Connection::open(address);
                    barrier.wait();
                    let mut connection = opened?;
                    let (_, length) = connection.ask(path, Instant::now())?;
                    ensure!(
                        length == size,
                        "{address}{path}: {length} bytes instead of {size}"
                    );
                    connection.discard(length)
                })
            })
            .collect();
        barrier.wait();
        let started = Instant::now();
        for pull in pulls {
            pull.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok(started.elapsed())
    })
}

struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// Body bytes that came with the head.
    ahead: u64,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(address).with_context(|| format!("{address}"))?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            buffer: vec![0; 256 * 1024],
            ahead: 0,
        })
    }

    /// Sends a GET and reads its head; the time to the first byte and the length of the body.
    fn ask(&mut self, path: &str, asked: Instant) -> Result<(Duration, u64)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        self.socket.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        let mut first = None;
        loop {
            let read = self.socket.read(&mut self.buffer)?;
            ensure!(
                read > 0,
                "{path}: the connection was closed before the head was over"
            );
            first.get_or_insert_with(|| asked.elapsed());
            head.extend_from_slice(&self.buffer[..read]);
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                self.ahead = (head.len() - end - 4) as u64;
                let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
                ensure!(
                    text.starts_with("http/1.1 200"),
                    "{path}: {}",
                    text.lines().next().unwrap_or_default()
                );
                let length = text
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
                let Some(length) = length else {
                    bail!("{path}: no Content-Length")
                };
                return Ok((first.unwrap_or_default(), length));
            }
        }
    }

    fn discard(&mut self, length: u64) -> Result<()> {
        let mut left = length - self.ahead;
        while left > 0 {
            let read = self.socket.read(&mut self.buffer)? as u64;
            ensure!(read > 0, "the body ended {left} bytes early");
            left -= read;
        }
        Ok(())
    }
}
