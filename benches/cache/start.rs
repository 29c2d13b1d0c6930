//! What a start costs: from the program's start until it gives a blob out of a cache of a hundred thousand, and what stays
//! resident while nobody asks.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use docxy::oci::digest::{Algorithm, Digest};

use super::Bench;
use super::client::Connection;
use super::field::Party;
use super::figures::mebibytes;
use super::process::{Process, free_address, memory, pause};
use super::table::{Figures, Report, Row, Target};

const BLOBS: usize = 100_000;
/// Over how many of a registry's repositories they are spread.
const REPOSITORIES: usize = 1_000;
/// What the promise is about: a start that nobody notices.
const READY: f64 = 2.0;
const RESIDENT: f64 = 20.0;
/// After this long a process without requests has nothing left to do.
const SETTLED: Duration = Duration::from_secs(3);

pub fn run(bench: &Bench, report: &mut Report) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let full = folder.path().join("full");
    let wanted = fill(&full)?;
    let quota = folder.path().join("quota.toml");
    fs::write(&quota, "registries.\"docker.io\".cache_quota = \"10 GiB\"\n")?;
    let quota = quota.display().to_string();
    let (mut ready, mut full_idle, mut idle) = (Figures::default(), Figures::default(), Figures::default());
    for round in 0..bench.plan.rounds {
        let began = Instant::now();
        let (docxy, mut connection) = start(&full, &["--config", &quota])?;
        connection.fetch(&wanted, LENGTH)?;
        ready.push(Party::Docxy, began.elapsed().as_secs_f64());
        full_idle.push(Party::Docxy, resident(&docxy)?);
        drop(docxy);
        let (docxy, _) = start(&folder.path().join(format!("empty-{round}")), &[])?;
        idle.push(Party::Docxy, resident(&docxy)?);
    }
    let rows = [
        Row::new(
            format!("{BLOBS} blobs: seconds to the first of them"),
            ready,
            &[Target::Limit(READY)],
        ),
        Row::new("idle, nothing configured, MiB", idle, &[Target::Limit(RESIDENT)]),
        Row::new(format!("idle with {BLOBS} blobs, MiB"), full_idle, &[]),
    ];
    let remark = format!(
        "VmRSS {} s after the start. With the blobs the registry has a `cache_quota`, so each link is looked at for that too.",
        SETTLED.as_secs()
    );
    Ok(report.table("Starting", &rows, &[remark]))
}

/// Bytes of each blob: their number, as many digits.
const LENGTH: u64 = 8;

/// A cache as docxy leaves it behind. Returns where the last blob is asked for.
fn fill(folder: &Path) -> Result<String> {
    let cache = folder.join("cache");
    let blobs = cache.join("blobs/sha256");
    for first in 0..=255_u8 {
        fs::create_dir_all(blobs.join(format!("{first:02x}")))?;
    }
    let now = SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
    let mut last = String::new();
    for number in 0..BLOBS {
        let repository = number % REPOSITORIES;
        let records = cache.join(format!("repositories/docker.io/bench~app{repository}"));
        if number < REPOSITORIES {
            fs::create_dir_all(records.join("links"))?;
            fs::write(records.join("public"), format!("{now}\n"))?;
        }
        let content = format!("{number:08}");
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
        let hex = digest.hex();
        fs::write(blobs.join(&hex[..2]).join(hex), content)?;
        fs::write(records.join("links").join(format!("sha256-{hex}")), "")?;
        last = format!("/v2/bench/app{repository}/blobs/{digest}");
    }
    Ok(last)
}

fn start(folder: &Path, options: &[&str]) -> Result<(Process, Connection<std::net::TcpStream>)> {
    fs::create_dir_all(folder)?;
    let address = free_address()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_docxy"));
    command
        .args(options)
        .args(["--listen", &address.to_string()])
        .env("DOCXY__STATE_PATH", folder.join("state"))
        .env("DOCXY__CACHE__PATH", folder.join("cache"))
        .env("DOCXY__ADMIN__LISTEN", "127.0.0.1:0");
    let docxy = Process::start(&mut command, &folder.join("log"), address)?;
    Ok((docxy, Connection::open(address)?))
}

fn resident(docxy: &Process) -> Result<f64> {
    pause(SETTLED);
    Ok(mebibytes(memory(docxy.id(), "VmRSS")?))
}
