//! A registry that serves a [`Library`] over a [`Line`] and counts what it was asked for.

use std::net::SocketAddr;
use std::ops::Sub;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, JoinSet};

use super::library::{Item, Library};
use super::line::{Line, Pacer};

/// Bytes that are sent at once: on a paced line, and else.
const PACED: u32 = 16 << 10;
const UNPACED: u32 = 512 << 10;
/// More than any client's request header.
const LONGEST_HEAD: usize = 64 << 10;

pub struct Origin {
    pub address: SocketAddr,
    counters: Arc<Counters>,
    accepting: AbortHandle,
}

/// What was asked for since the start, or, as a difference, between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// GETs of blobs, with a Range or without.
    pub blobs: u64,
    /// Bytes of blobs that were handed to the kernel.
    pub bytes: u64,
    /// Everything else.
    pub others: u64,
}

impl Sub for Asked {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            blobs: self.blobs - before.blobs,
            bytes: self.bytes - before.bytes,
            others: self.others - before.others,
        }
    }
}

#[derive(Default)]
struct Counters {
    blobs: AtomicU64,
    bytes: AtomicU64,
    others: AtomicU64,
}

impl Origin {
    /// Serves on the runtime's threads until dropped.
    pub fn start(runtime: &Runtime, library: Arc<Library>, line: Line) -> Result<Self> {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let counters = Arc::new(Counters::default());
        let server = Server {
            library,
            line,
            total: line.total.map(Pacer::new),
            counters: counters.clone(),
        };
        let accepting = runtime.spawn(accept(listener, Arc::new(server))).abort_handle();
        Ok(Self {
            address,
            counters,
            accepting,
        })
    }

    pub fn asked(&self) -> Asked {
        Asked {
            blobs: self.counters.blobs.load(Relaxed),
            bytes: self.counters.bytes.load(Relaxed),
            others: self.counters.others.load(Relaxed),
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Server {
    library: Arc<Library>,
    line: Line,
    total: Option<Pacer>,
    counters: Arc<Counters>,
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    // Ends with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let server = server.clone();
        // A client that hangs up is no business of the upstream's.
        connections.spawn(async move { serve(&server, stream).await.ok() });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(server: &Server, mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let each = server.line.each.map(Pacer::new);
    let pacers = [each.as_ref(), server.total.as_ref()];
    let mut buffer = BytesMut::with_capacity(16 << 10);
    let mut trips = 2;
    while let Some(request) = next_request(&mut stream, &mut buffer).await? {
        tokio::time::sleep(server.line.round_trip * trips).await;
        trips = 1;
        answer(server, &pacers, &mut stream, &request).await?;
    }
    Ok(())
}

struct Request {
    method: Method,
    path: String,
    /// First byte and, maybe, last byte.
    range: Option<(u64, Option<u64>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Head,
}

async fn next_request(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<Option<Request>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.advance(end + 4);
            return parse(&head).map(Some);
        }
        ensure!(buffer.len() < LONGEST_HEAD, "no end of the head");
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse(head: &str) -> Result<Request> {
    let mut lines = head.lines();
    let mut words = lines.next().context("no request line")?.split(' ');
    let method = match words.next() {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        other => anyhow::bail!("method {other:?}"),
    };
    let target = words.next().context("no target")?;
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let range = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let span = value.trim().strip_prefix("bytes=")?;
        let (first, last) = span.split_once('-')?;
        (name.eq_ignore_ascii_case("range")).then_some((first.parse().ok()?, last.parse().ok()))
    });
    Ok(Request { method, path, range })
}

async fn answer(
    server: &Server,
    pacers: &[Option<&Pacer>; 2],
    stream: &mut TcpStream,
    request: &Request,
) -> Result<()> {
    let Some(item) = server.library.find(&request.path) else {
        server.counters.others.fetch_add(1, Relaxed);
        let (status, body) = if request.path.trim_end_matches('/') == "/v2" {
            ("200 OK", "{}")
        } else {
            ("404 Not Found", "{\"errors\":[{\"code\":\"BLOB_UNKNOWN\"}]}")
        };
        let body = if request.method == Method::Get { body } else { "" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Docker-Distribution-Api-Version: registry/2.0\r\n\r\n{body}",
            body.len()
        );
        return Ok(stream.write_all(head.as_bytes()).await?);
    };
    let blob = request.method == Method::Get && request.path.contains("/blobs/");
    if blob {
        server.counters.blobs.fetch_add(1, Relaxed);
    } else {
        server.counters.others.fetch_add(1, Relaxed);
    }
    let length = item.len();
    let span = match request.range {
        Some((first, last)) if first < length => {
            Some(first..last.map_or(length, |last| length.min(last.saturating_add(1))))
        }
        Some(_) => {
            let head = format!(
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nContent-Range: bytes */{length}\r\n\r\n"
            );
            return Ok(stream.write_all(head.as_bytes()).await?);
        }
        None => None,
    };
    stream.write_all(head(&item, span.as_ref()).as_bytes()).await?;
    if request.method == Method::Head {
        return Ok(());
    }
    let paced = pacers.iter().any(Option::is_some);
    let most = if paced { PACED } else { UNPACED };
    let span = span.unwrap_or(0..length);
    let mut at = span.start;
    while at < span.end {
        let mut piece = item.piece(at, most as usize);
        piece.truncate(usize::try_from(span.end - at).unwrap_or(usize::MAX));
        let bytes = u32::try_from(piece.len())?;
        for pacer in pacers.iter().flatten() {
            pacer.carry(bytes).await;
        }
        stream.write_all(&piece).await?;
        if blob {
            server.counters.bytes.fetch_add(u64::from(bytes), Relaxed);
        }
        at += u64::from(bytes);
    }
    Ok(())
}

fn head(item: &Item, span: Option<&std::ops::Range<u64>>) -> String {
    let length = item.len();
    let (status, sent, range) = match span {
        None => ("200 OK", length, String::new()),
        Some(span) => (
            "206 Partial Content",
            span.end - span.start,
            format!(
                "Content-Range: bytes {}-{}/{length}\r\n",
                span.start,
                span.end - 1
            ),
        ),
    };
    let (digest, media_type) = (&item.digest, item.media_type);
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {sent}\r\n{range}Accept-Ranges: bytes\r\n\
         Docker-Content-Digest: {digest}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\r\n"
    )
}
