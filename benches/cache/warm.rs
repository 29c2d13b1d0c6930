//! A blob that is in the cache, pulled by many at once: what each GiB costs.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Bench;
use super::client::{Connection, Timing, crowd};
use super::field::{CACHES, Field, Party, rounds};
use super::figures::{gibibytes, mebibytes};
use super::library::Blob;
use super::line::Line;
use super::process::own_cpu;
use super::table::{Figures, Report, Row, Target};

pub fn run(bench: &Bench, report: &mut Report) -> Result<String> {
    let plan = &bench.plan;
    let field = Field::start(bench, Line::default())?;
    let blob = bench.library.blob(plan.blob)?;
    for party in CACHES {
        field.warm(party, &blob)?;
    }
    let asked = field.origin.asked();
    let plain = pulls(bench, &field, &CACHES, &blob, |party, delays| {
        let address = field.address(party);
        crowd(|| Connection::open(address), &blob.path, blob.size, delays)
    })?;
    let encrypted = pulls(
        bench,
        &field,
        &[Party::Docxy, Party::Nginx],
        &blob,
        |party, delays| {
            let address = field.tls_address(party).context("no TLS")?;
            crowd(|| bench.tls.open(address), &blob.path, blob.size, delays)
        },
    )?;
    let asked = field.origin.asked() - asked;
    let rows = [
        Row::new(
            "HTTP, CPU-s / GiB",
            plain.cpu,
            &[
                Target::AtMost(1.25, Party::Nginx),
                Target::AtMost(0.7, Party::Distribution),
            ],
        ),
        Row::new("HTTP, MiB/s", plain.rate, &[Target::Versus(Party::Nginx)]),
        Row::new("HTTP, CPU-s / GiB of the clients", plain.clients, &[]),
        Row::new(
            "TLS 1.3, CPU-s / GiB",
            encrypted.cpu,
            &[Target::AtMost(0.75, Party::Nginx)],
        ),
        Row::new("TLS 1.3, MiB/s", encrypted.rate, &[Target::Versus(Party::Nginx)]),
        Row::new("TLS 1.3, CPU-s / GiB of the clients", encrypted.clients, &[]),
    ];
    let remark = format!(
        "TLS_AES_128_GCM_SHA256, what Go's clients ask for first. Meanwhile the upstream was asked for {} blobs and {} other things.",
        asked.blobs, asked.others
    );
    let title = format!("Warm blob of {} MiB, {} clients", blob.size >> 20, plan.clients);
    Ok(report.table(&title, &rows, &[remark]))
}

#[derive(Default)]
struct Seen {
    /// CPU-seconds for each GiB.
    cpu: Figures,
    /// MiB/s.
    rate: Figures,
    /// CPU-seconds for each GiB that this process needed to take it.
    clients: Figures,
}

fn pulls(
    bench: &Bench,
    field: &Field,
    parties: &[Party],
    blob: &Blob,
    pull: impl Fn(Party, &[Duration]) -> Result<Vec<Timing>>,
) -> Result<Seen> {
    let delays = vec![Duration::ZERO; bench.plan.clients];
    let bytes = blob.size * delays.len() as u64;
    let mut seen = Seen::default();
    seen.cpu = rounds(bench.plan.rounds, parties, |_, party| {
        let before = own_cpu(std::process::id())?;
        let (cpu, pulls) = field.cpu_of(party, || pull(party, &delays))?;
        let own = own_cpu(std::process::id())?.saturating_sub(before);
        let took = pulls.iter().map(|pull| pull.whole).max().unwrap_or_default();
        seen.rate.push(party, mebibytes(bytes) / took.as_secs_f64());
        seen.clients.push(party, own.as_secs_f64() / gibibytes(bytes));
        Ok(cpu.as_secs_f64() / gibibytes(bytes))
    })?;
    Ok(seen)
}
