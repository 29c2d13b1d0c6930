//! Many clients on one thread. Hundreds of threads would be hundreds of claims to the processors that the server needs, and
//! what each of them waited for would be its own turn.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use super::client::{HERE, Timing, left_after_head, request};

/// The most that is thrown away at once.
const DISCARD: usize = 1 << 20;

/// As `client::crowd`: a client for each delay, which counts from one common start, on connections that were opened before.
pub fn crowd(address: SocketAddr, path: &str, size: u64, delays: &[Duration]) -> Result<Vec<Timing>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let all = Arc::new(Barrier::new(delays.len()));
        let pulls: Vec<_> = delays
            .iter()
            .map(|delay| {
                let (all, path, delay) = (Arc::clone(&all), path.to_owned(), *delay);
                tokio::spawn(async move {
                    let opened = TcpStream::connect(address).await;
                    all.wait().await;
                    tokio::time::sleep(delay).await;
                    fetch(opened?, &path, size).await
                })
            })
            .collect();
        let mut timings = Vec::with_capacity(pulls.len());
        for pull in pulls {
            timings.push(pull.await??);
        }
        Ok(timings)
    })
}

async fn fetch(mut stream: TcpStream, path: &str, size: u64) -> Result<Timing> {
    stream.set_nodelay(true)?;
    let asked = Instant::now();
    stream.write_all(request(HERE, path).as_bytes()).await?;
    let mut head = Vec::with_capacity(16 << 10);
    let mut left = loop {
        ensure!(
            stream.read_buf(&mut head).await? > 0,
            "{path}: no whole head came"
        );
        if let Some(left) = left_after_head(&head, path, size)? {
            break left;
        }
    };
    let mut unseen = vec![0; DISCARD];
    let mut first = (left < size).then(|| asked.elapsed());
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(DISCARD).min(DISCARD);
        stream.readable().await?;
        let discarded = stream.try_io(Interest::READABLE, || {
            // For TCP this flag drops the bytes without copying them (tcp(7)): the buffer's pages are never touched.
            let (_, bytes) = recv(&stream, &mut unseen[..most], RecvFlags::TRUNC)?;
            Ok(bytes)
        });
        match discarded {
            Ok(0) => anyhow::bail!("{path}: the body ended {left} bytes early"),
            Ok(bytes) => {
                first.get_or_insert_with(|| asked.elapsed());
                left -= bytes as u64;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Timing {
        first: first.unwrap_or_default(),
        whole: asked.elapsed(),
    })
}
