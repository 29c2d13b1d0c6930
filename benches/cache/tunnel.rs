//! docxy as a proxy: a warm blob through a tunnel that it answers itself, against its own TLS door; and a tunnel that it
//! passes on untouched, against a relay that does nothing else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::net::TcpListener;

use super::Bench;
use super::client::{Connection, HERE, Timing, crowd};
use super::field::{Party, rounds};
use super::figures::{gibibytes, mebibytes};
use super::library::Blob;
use super::line::Line;
use super::origin::Origin;
use super::process::free_address;
use super::server::{self, Server};
use super::table::{Figures, Report, Row, Target};
use super::tls::shake_hands;

/// Under which docxy has the upstream.
const REGISTRY: &str = "docker.io";

/// The measured, and what it is held against.
const PAIR: [Party; 2] = [Party::Docxy, Party::Direct];

pub fn run(bench: &Bench, report: &mut Report) -> Result<String> {
    let origin = Origin::start(&bench.runtime, bench.library.clone(), Line::default())?;
    let folder = tempfile::tempdir()?;
    let (certificate, key) = bench.tls.write(folder.path())?;
    let encrypted = free_address()?;
    let sections = format!(
        "[cache]\npath = \"{}\"\n[tls]\nlisten = [\"{encrypted}\"]\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]\n\
         redirect_http = false\n[intercept]\nenabled = true\npassthrough = [\"{}\"]\n",
        folder.path().join("cache").display(),
        certificate.display(),
        key.display(),
        origin.address
    );
    let docxy = server::docxy(folder.path(), "docxy", origin.address, &sections)?;
    let trust = bench.tls.trusting(&authority(docxy.address)?)?;
    let blob = bench.library.blob(bench.plan.blob)?;
    Connection::open(docxy.address)?.fetch(&blob.path, blob.size)?;
    let inside = || -> Result<_> {
        let socket = tunnel(docxy.address, &format!("{REGISTRY}:443"))?;
        shake_hands(socket, &trust, REGISTRY)
    };
    let warm = pulls(bench, &docxy, &blob, |party, delays| match party {
        Party::Docxy => crowd(inside, &blob.path, blob.size, delays),
        _ => crowd(|| bench.tls.open(encrypted), &blob.path, blob.size, delays),
    })?;
    let relay = plain_relay(bench, origin.address)?;
    let to = origin.address.to_string();
    let passed = pulls(bench, &docxy, &blob, |party, delays| match party {
        Party::Docxy => crowd(
            || Ok(Connection::over(tunnel(docxy.address, &to)?, HERE)),
            &blob.path,
            blob.size,
            delays,
        ),
        _ => crowd(|| Connection::open(relay), &blob.path, blob.size, delays),
    })?;
    let mut handshakes = Figures::default();
    for _ in 0..bench.plan.rounds * 20 {
        let asked = Instant::now();
        drop(inside()?);
        handshakes.push(Party::Docxy, asked.elapsed().as_secs_f64() * 1000.0);
        let asked = Instant::now();
        drop(bench.tls.open(encrypted)?);
        handshakes.push(Party::Direct, asked.elapsed().as_secs_f64() * 1000.0);
    }
    let rows = [
        Row::new(
            "warm, answered: CPU-s / GiB",
            warm.cpu,
            &[Target::AtMost(1.1, Party::Direct)],
        ),
        Row::new(
            "warm, answered: MiB/s",
            warm.rate,
            &[Target::Versus(Party::Direct)],
        ),
        Row::new(
            "passed on untouched: MiB/s",
            passed.rate,
            &[Target::AtLeast(0.8, Party::Direct)],
        ),
        Row::new(
            "CONNECT and TLS handshake: ms",
            handshakes,
            &[Target::Versus(Party::Direct)],
        ),
    ];
    let remark = "Direct is docxy's own TLS door for what it answers, with a handshake on a connection of its own; for what it \
                  passes on, a relay of this process on two threads that copies 64 KiB at a time.";
    let title = format!(
        "As a proxy: blob of {} MiB, {} clients",
        blob.size >> 20,
        bench.plan.clients
    );
    Ok(report.table(&title, &rows, &[remark.to_owned()]))
}

/// What clients of the proxy are told to trust.
fn authority(address: SocketAddr) -> Result<Vec<u8>> {
    let mut socket = TcpStream::connect(address)?;
    socket.write_all(b"GET /ca.crt HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.0 200"), "docxy gives no /ca.crt");
    Ok(answer)
}

/// A socket that docxy has turned into a tunnel.
fn tunnel(proxy: SocketAddr, to: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(proxy)?;
    socket.set_nodelay(true)?;
    socket.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes())?;
    let mut head = Vec::new();
    // A byte at a time: what follows is the tunnel's.
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).context("CONNECT was not answered")?;
        head.push(byte[0]);
    }
    ensure!(
        head.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    Ok(socket)
}

/// Passes on what comes, and does nothing else.
fn plain_relay(bench: &Bench, to: SocketAddr) -> Result<SocketAddr> {
    const BUFFER: usize = 64 * 1024;
    let listener = bench.runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    bench.runtime.spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(to).await?;
                near.set_nodelay(true)?;
                far.set_nodelay(true)?;
                tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER, BUFFER).await
            });
        }
    });
    Ok(address)
}

#[derive(Default)]
struct Seen {
    /// CPU-seconds of docxy for each GiB.
    cpu: Figures,
    /// MiB/s.
    rate: Figures,
}

fn pulls(
    bench: &Bench,
    docxy: &Server,
    blob: &Blob,
    pull: impl Fn(Party, &[Duration]) -> Result<Vec<Timing>>,
) -> Result<Seen> {
    let delays = vec![Duration::ZERO; bench.plan.clients];
    let bytes = blob.size * delays.len() as u64;
    let mut seen = Seen::default();
    seen.cpu = rounds(bench.plan.rounds, &PAIR, |_, party| {
        let before = docxy.cpu()?;
        let pulls = pull(party, &delays)?;
        let cpu = docxy.cpu()?.saturating_sub(before);
        let took = pulls.iter().map(|pull| pull.whole).max().unwrap_or_default();
        seen.rate.push(party, mebibytes(bytes) / took.as_secs_f64());
        Ok(cpu.as_secs_f64() / gibibytes(bytes))
    })?;
    Ok(seen)
}
