//! What forwarding costs: docxy, nginx and docker-registry in front of the same upstream, in one run, in turn, so that
//! ratios hold although the machine's speed drifts. Prints medians and writes nothing.
//!
//!     cargo bench --bench forward            # 5 rounds, 256 MiB blobs: about two minutes
//!     cargo bench --bench forward -- --quick # 2 rounds, 64 MiB: does it run?
//!
//! Needs Debian's `nginx` and `docker-registry` (`ci/packages.txt`). Everything listens on loopback.

#![expect(clippy::print_stdout, reason = "a benchmark's output is its result")]

mod client;
mod files;
mod process;
mod rivals;

use std::time::Duration;

use anyhow::Result;

use files::Upstream;
use rivals::Rival;

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
    let docxy = rivals::docxy(folder.path(), &upstream)?;
    let nginx = rivals::nginx(folder.path(), &upstream)?;
    let registry = rivals::docker_registry(folder.path(), &upstream)?;
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

/// The time from a request to the first byte of its answer, one keep-alive connection, a 4 KiB blob.
fn first_byte(plan: &Plan, upstream: &Upstream, docxy: &Rival, nginx: &Rival) -> Result<()> {
    let mut direct = Vec::new();
    let mut through_docxy = Vec::new();
    let mut through_nginx = Vec::new();
    for _ in 0..plan.rounds {
        direct.push(client::first_byte_p50(
            upstream.address(),
            upstream.small(),
            plan.first_bytes,
        )?);
        through_docxy.push(client::first_byte_p50(
            docxy.address,
            upstream.small(),
            plan.first_bytes,
        )?);
        through_nginx.push(client::first_byte_p50(
            nginx.address,
            upstream.small(),
            plan.first_bytes,
        )?);
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

/// CPU-seconds (user and system, of the proxy's processes alone) for each GiB that reached a client.
fn cpu(plan: &Plan, upstream: &Upstream, docxy: &Rival, nginx: &Rival, registry: &Rival) -> Result<()> {
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

fn cost(rival: &Rival, path: &str, clients: usize, size: u64) -> Result<Cost> {
    let before = rival.cpu()?;
    let took = client::pull_at_once(rival.address, path, clients, size)?;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let gib = (size * clients as u64) as f64 / f64::from(1u32 << 30);
    Ok(Cost {
        cpu: rival.cpu()?.saturating_sub(before).as_secs_f64() / gib,
        rate: gib / took.as_secs_f64(),
    })
}

/// The most memory docxy ever had resident, after many clients pulled a large blob at once.
fn memory(plan: &Plan, upstream: &Upstream, docxy: &Rival) -> Result<()> {
    let before = docxy.peak_resident()?;
    client::pull_at_once(docxy.address, upstream.blob(0), plan.many, plan.blob)?;
    let after = docxy.peak_resident()?;
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

fn median<T: PartialOrd + Copy>(mut figures: Vec<T>) -> T {
    figures.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    figures[figures.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn added(through: Duration, direct: Duration) -> f64 {
    milliseconds(through) - milliseconds(direct)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1u32 << 20)
}
