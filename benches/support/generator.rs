//! Many keep-alive connections that ask for the same small thing again and again: one thread, a prepared request, no more
//! parsing than the end of the answer needs.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{HERE, request};

/// More than any answer here has, head and body.
const LARGEST: usize = 64 << 10;

pub struct Load {
    pub requests: u32,
    pub took: Duration,
    /// What this generator itself cost.
    pub own_cpu: Duration,
}

/// Asks on so many connections for so long; every answer must be a 200 of `size` bytes.
pub fn load(
    address: SocketAddr,
    path: &str,
    size: usize,
    connections: usize,
    time: Duration,
) -> Result<Load> {
    let request: Arc<[u8]> = request(HERE, path).into_bytes().into();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let before = own_cpu()?;
    let started = Instant::now();
    let requests = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            clients.spawn(ask(stream, request.clone(), size, started + time));
        }
        let mut requests = 0;
        while let Some(client) = clients.join_next().await {
            requests += client??;
        }
        Ok::<_, anyhow::Error>(requests)
    })?;
    Ok(Load {
        requests,
        took: started.elapsed(),
        own_cpu: own_cpu()?.saturating_sub(before),
    })
}

async fn ask(mut stream: TcpStream, request: Arc<[u8]>, size: usize, until: Instant) -> Result<u32> {
    let mut buffer = vec![0; LARGEST];
    let mut requests = 0;
    while Instant::now() < until {
        stream.write_all(&request).await?;
        let mut filled = 0;
        let mut whole = None;
        while whole.is_none_or(|whole| filled < whole) {
            let read = stream.read(&mut buffer[filled..]).await?;
            ensure!(read > 0, "the connection was closed after {requests} answers");
            filled += read;
            if whole.is_none() {
                whole = head_end(&buffer[..filled], size)?.map(|head| head + size);
            }
        }
        requests += 1;
    }
    Ok(requests)
}

/// Where the head ends, if it is there.
fn head_end(answer: &[u8], size: usize) -> Result<Option<usize>> {
    const NAME: &[u8] = b"content-length: ";
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    if !answer.starts_with(b"HTTP/1.1 200") {
        bail!("{}", String::from_utf8_lossy(&answer[..end]));
    }
    let length = answer[..end]
        .split(|byte| *byte == b'\n')
        .find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))
        .context("no Content-Length")?;
    let length: usize = std::str::from_utf8(&length[NAME.len()..])?.trim().parse()?;
    ensure!(length == size, "{length} bytes instead of {size}");
    Ok(Some(end + 4))
}

/// CPU time of this thread.
fn own_cpu() -> Result<Duration> {
    // Its first field is the time on a CPU in nanoseconds (the kernel's scheduler/sched-stats).
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}
