//! What forwarding costs: docxy, nginx and docker-registry in front of the same upstream, in one run, in turn, so that
//! ratios hold although the machine's speed drifts. Prints medians and writes nothing.
//!
//!     cargo bench --bench forward            # 5 rounds, 256 MiB blobs: about two minutes
//!     cargo bench --bench forward -- --quick # 2 rounds, 64 MiB: does it run?
//!
//! Needs Debian's `nginx` and `docker-registry` (`ci/packages.txt`). Everything listens on loopback.

#![expect(clippy::print_stdout, reason = "a benchmark's output is its result")]

mod files;

#[path = "../support/client.rs"]
mod client;
#[path = "../support/figures.rs"]
mod figures;
#[path = "../support/noise.rs"]
mod noise;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/server.rs"]
mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use client::Connection;
use figures::{gibibytes, mebibytes, median, milliseconds};
use files::{SMALL, Upstream};
use server::Server;

/// What a run measures, sizes in bytes.
struct Plan {
    rounds: usize,
    blob: u64,
    clients: usize,
    many: usize,
    first_bytes: usize,
}

fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let plan = if quick {
        Plan {
            rounds: 2,
            blob: 64 << 20,
            clients: 4,
            many: 16,
            first_bytes: 200,
        }
    } else {
        Plan {
            rounds: 5,
            blob: 256 << 20,
            clients: 8,
            many: 16,
            first_bytes: 2000,
        }
    };
    let folder = tempfile::tempdir()?;
    let upstream = Upstream::start(folder.path(), plan.blob, plan.rounds)?;
    let docxy = server::docxy(
        folder.path(),
        "docxy",
        upstream.address(),
        "[cache]\nmode = \"off\"\n",
    )?;
    let nginx = forwarding_nginx(folder.path(), upstream.address())?;
    let registry = server::docker_registry(folder.path(), upstream.address())?;
    println!(
        "{} rounds, blobs of {} MiB, HTTP on loopback, access logs on; upstream: nginx with sendfile",
        plan.rounds,
        plan.blob >> 20
    );
    first_byte(&plan, &upstream, &docxy, &nginx)?;
    cpu(&plan, &upstream, &docxy, &nginx, &registry)?;
    memory(&plan, &upstream, &docxy)?;
    Ok(())
}

/// nginx with its best settings for forwarding.
fn forwarding_nginx(folder: &Path, origin: SocketAddr) -> Result<Server> {
    server::nginx(folder, "nginx", 2, |address| {
        format!(
            "access_log {log};
             upstream origin {{ server {origin}; keepalive 64; }}
             server {{
               listen {address};
               location / {{
                 proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";
                 proxy_buffering off; proxy_buffer_size 256k; proxy_busy_buffers_size 512k; proxy_buffers 8 256k;
               }}
             }}",
            log = folder.join("nginx-access.log").display(),
        )
    })
}

/// The time from a request to the first byte of its answer, one keep-alive connection, a 4 KiB blob.
fn first_byte(plan: &Plan, upstream: &Upstream, docxy: &Server, nginx: &Server) -> Result<()> {
    let mut direct = Vec::new();
    let mut through_docxy = Vec::new();
    let mut through_nginx = Vec::new();
    for _ in 0..plan.rounds {
        for (address, times) in [
            (upstream.address(), &mut direct),
            (docxy.address, &mut through_docxy),
            (nginx.address, &mut through_nginx),
        ] {
            times.push(first_byte_p50(address, upstream.small(), plan.first_bytes)?);
        }
    }
    let (direct, ours, theirs) = (median(direct), median(through_docxy), median(through_nginx));
    println!(
        "\nfirst byte, p50 of {} requests (median of {} rounds)",
        plan.first_bytes, plan.rounds
    );
    println!("  direct          {:8.3} ms", milliseconds(direct));
    println!(
        "  through docxy   {:8.3} ms   adds {:.3} ms",
        milliseconds(ours),
        added(ours, direct)
    );
    println!(
        "  through nginx   {:8.3} ms   adds {:.3} ms",
        milliseconds(theirs),
        added(theirs, direct)
    );
    Ok(())
}

fn first_byte_p50(address: SocketAddr, path: &str, requests: usize) -> Result<Duration> {
    let mut connection = Connection::open(address)?;
    let times = (0..requests).map(|_| Ok(connection.fetch(path, SMALL)?.first));
    Ok(median(times.collect::<Result<_>>()?))
}

/// CPU-seconds (user and system, of the proxy's processes alone) for each GiB that reached a client.
fn cpu(plan: &Plan, upstream: &Upstream, docxy: &Server, nginx: &Server, registry: &Server) -> Result<()> {
    let mut figures: [Vec<Cost>; 3] = Default::default();
    for round in 0..plan.rounds {
        let blob = upstream.blob(round);
        figures[0].push(cost(docxy, blob, plan.clients, plan.blob)?);
        figures[1].push(cost(nginx, blob, plan.clients, plan.blob)?);
        // A registry fetches a blob once and keeps it, so only one client per blob makes it forward.
        figures[2].push(cost(registry, blob, 1, plan.blob)?);
    }
    println!(
        "\nforwarding {} MiB to {} clients at once",
        plan.blob >> 20,
        plan.clients
    );
    println!("  {:34} {:>12} {:>10}", "", "CPU-s / GiB", "GiB / s");
    let costs: Vec<(f64, f64)> = figures
        .into_iter()
        .map(|all| {
            (
                median(all.iter().map(|c| c.cpu).collect()),
                median(all.iter().map(|c| c.rate).collect()),
            )
        })
        .collect();
    for (name, (cpu, rate)) in [
        "docxy",
        "nginx (proxy_buffering off)",
        "docker-registry (cold, 1 client)",
    ]
    .iter()
    .zip(&costs)
    {
        println!("  {name:34} {cpu:12.3} {rate:10.2}");
    }
    println!(
        "  docxy / nginx CPU {:.2}, docxy / docker-registry CPU {:.2}",
        costs[0].0 / costs[1].0,
        costs[0].0 / costs[2].0
    );
    Ok(())
}

struct Cost {
    cpu: f64,
    rate: f64,
}

fn cost(server: &Server, path: &str, clients: usize, size: u64) -> Result<Cost> {
    let before = server.cpu()?;
    let took = pull_at_once(server.address, path, clients, size)?;
    let gib = gibibytes(size * clients as u64);
    Ok(Cost {
        cpu: server.cpu()?.saturating_sub(before).as_secs_f64() / gib,
        rate: gib / took.as_secs_f64(),
    })
}

fn pull_at_once(address: SocketAddr, path: &str, clients: usize, size: u64) -> Result<Duration> {
    let delays = vec![Duration::ZERO; clients];
    let pulls = client::crowd(|| Connection::open(address), path, size, &delays)?;
    Ok(pulls.iter().map(|pull| pull.whole).max().unwrap_or_default())
}

/// The most memory docxy ever had resident, after many clients pulled a large blob at once.
fn memory(plan: &Plan, upstream: &Upstream, docxy: &Server) -> Result<()> {
    let before = docxy.memory("VmHWM")?;
    pull_at_once(docxy.address, upstream.blob(0), plan.many, plan.blob)?;
    let after = docxy.memory("VmHWM")?;
    println!("\nresident memory of docxy, peak (VmHWM)");
    println!("  before          {:6.1} MiB", mebibytes(before));
    println!(
        "  {} clients of {} MiB {:6.1} MiB",
        plan.many,
        plan.blob >> 20,
        mebibytes(after)
    );
    Ok(())
}

fn added(through: Duration, direct: Duration) -> f64 {
    milliseconds(through) - milliseconds(direct)
}
