//! A blob that is in the cache, pulled by many at once: what each GiB costs.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Bench;
use super::client::{Connection, Timing, crowd};
use super::field::{CACHES, Field, Party, rounds};
use super::figures::{gibibytes, mebibytes};
use super::library::Blob;
use super::line::Line;
use super::table::{Figures, Report, Row, Target};

pub fn run(bench: &Bench, report: &mut Report) -> Result<String> {
    let plan = &bench.plan;
    let field = Field::start(bench, Line::default())?;
    let blob = bench.library.blob(plan.blob)?;
    for party in CACHES {
        field.warm(party, &blob)?;
    }
    let asked = field.origin.asked();
    let (cpu, rate) = pulls(bench, &field, &CACHES, &blob, |party, delays| {
        let address = field.address(party);
        crowd(|| Connection::open(address), &blob.path, blob.size, delays)
    })?;
    let (tls_cpu, tls_rate) = pulls(
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
            cpu,
            &[
                Target::AtMost(1.25, Party::Nginx),
                Target::AtMost(0.7, Party::Distribution),
            ],
        ),
        Row::new("HTTP, MiB/s", rate, &[Target::Versus(Party::Nginx)]),
        Row::new(
            "TLS 1.3, CPU-s / GiB",
            tls_cpu,
            &[Target::AtMost(0.75, Party::Nginx)],
        ),
        Row::new("TLS 1.3, MiB/s", tls_rate, &[Target::Versus(Party::Nginx)]),
    ];
    let remark = format!(
        "TLS_AES_128_GCM_SHA256, what Go's clients ask for first. Meanwhile the upstream was asked for {} blobs and {} other things.",
        asked.blobs, asked.others
    );
    let title = format!("Warm blob of {} MiB, {} clients", blob.size >> 20, plan.clients);
    Ok(report.table(&title, &rows, &[remark]))
}

/// CPU-seconds for each GiB, and MiB/s.
fn pulls(
    bench: &Bench,
    field: &Field,
    parties: &[Party],
    blob: &Blob,
    pull: impl Fn(Party, &[Duration]) -> Result<Vec<Timing>>,
) -> Result<(Figures, Figures)> {
    let delays = vec![Duration::ZERO; bench.plan.clients];
    let bytes = blob.size * delays.len() as u64;
    let mut rates = Figures::default();
    let cpu = rounds(bench.plan.rounds, parties, |_, party| {
        let (cpu, pulls) = field.cpu_of(party, || pull(party, &delays))?;
        let took = pulls.iter().map(|pull| pull.whole).max().unwrap_or_default();
        rates.push(party, mebibytes(bytes) / took.as_secs_f64());
        Ok(cpu.as_secs_f64() / gibibytes(bytes))
    })?;
    Ok((cpu, rates))
}
