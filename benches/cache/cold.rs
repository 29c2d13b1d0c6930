//! A blob that nobody asked for before, pulled by one: how soon the first byte comes, how long it takes, and what the
//! upstream saw.

use std::time::Instant;

use anyhow::{Context, Result};
use docxy::oci::digest::{Algorithm, Hasher};

use super::Bench;
use super::client::Connection;
use super::field::{ALL, Field, Party, rounds};
use super::figures::{mebibytes, milliseconds};
use super::line::Line;
use super::server::Server;
use super::table::{Figures, Report, Row, Target};

/// Of the paced relay, bytes a second.
const PACE: u32 = 100 << 20;

pub fn run(bench: &Bench, report: &mut Report) -> Result<String> {
    let loopback = measure(bench, Line::default())?;
    let paced = measure(
        bench,
        Line {
            total: Some(PACE),
            ..Line::default()
        },
    )?;
    let hash = hashing(bench);
    let rows = [
        Row::new(
            "loopback, first byte in ms",
            loopback.first,
            &[Target::Adds(3.0, Party::Direct)],
        ),
        Row::new(
            "loopback, whole in s",
            loopback.whole.clone(),
            &[Target::AtMost(2.0, Party::Nginx)],
        ),
        Row::new("loopback, CPU-s", loopback.cpu, &[Target::Versus(Party::Nginx)]),
        Row::new("GETs upstream", loopback.gets, &[]),
        Row::new(
            "GETs upstream, `segments = 1`",
            loopback.single_gets,
            &[Target::Limit(1.0)],
        ),
        Row::new("loopback, whole in s, `segments = 1`", loopback.single_whole, &[]),
        Row::new(
            "100 MiB/s, first byte in ms",
            paced.first,
            &[Target::Adds(3.0, Party::Direct)],
        ),
        Row::new(
            "100 MiB/s, whole in s",
            paced.whole,
            &[Target::AtMost(1.05, Party::Direct)],
        ),
    ];
    let mut remarks = vec![format!(
        "Hashing as many bytes alone takes {hash:.2} s of one CPU here{}.",
        loopback
            .whole
            .median(Party::Docxy)
            .map_or_else(String::new, |whole| format!(
                ": {:.0} % of docxy's time over loopback",
                100.0 * hash / whole
            ))
    )];
    remarks.push(format!(
        "A round's fetch brought {} MiB from the upstream through docxy.",
        loopback.brought.median(Party::Docxy).unwrap_or_default()
    ));
    let title = format!("Cold blob of {} MiB, one client", bench.plan.blob >> 20);
    Ok(report.table(&title, &rows, &remarks))
}

#[derive(Default)]
struct Seen {
    /// Milliseconds.
    first: Figures,
    /// Seconds.
    whole: Figures,
    cpu: Figures,
    gets: Figures,
    /// MiB from the upstream.
    brought: Figures,
    single_gets: Figures,
    single_whole: Figures,
}

fn measure(bench: &Bench, line: Line) -> Result<Seen> {
    let field = Field::start(bench, line)?;
    let single = field.one_segment(bench)?;
    let mut seen = Seen::default();
    // The first request to a new process or folder costs more than it ever will again.
    let small = bench.library.blob(4096)?;
    for address in ALL
        .map(|party| field.address(party))
        .into_iter()
        .chain([single.address])
    {
        Connection::open(address)?.fetch(&small.path, small.size)?;
    }
    seen.first = rounds(bench.plan.rounds, &ALL, |_, party| {
        // All get the same bytes in a round, but each its own blob: nothing is in the way of a second one.
        let blob = bench.library.blob(bench.plan.blob)?;
        let before = field.origin.asked();
        let mut connection = Connection::open(field.address(party))?;
        let timing = if party == Party::Direct {
            connection.fetch(&blob.path, blob.size)?
        } else {
            let (cpu, timing) = field.cpu_of(party, || {
                let timing = connection.fetch(&blob.path, blob.size)?;
                field.settle(party)?;
                Ok(timing)
            })?;
            seen.cpu.push(party, cpu.as_secs_f64());
            timing
        };
        let asked = field.origin.asked() - before;
        seen.whole.push(party, timing.whole.as_secs_f64());
        seen.gets.push(party, f64::from(u32::try_from(asked.blobs)?));
        seen.brought.push(party, mebibytes(asked.bytes));
        if party == Party::Docxy && line.total.is_none() {
            one_segment(bench, &field, &single, &mut seen).context("segments = 1")?;
        }
        Ok(milliseconds(timing.first))
    })?;
    Ok(seen)
}

fn one_segment(bench: &Bench, field: &Field, single: &Server, seen: &mut Seen) -> Result<()> {
    let blob = bench.library.blob(bench.plan.blob)?;
    let before = field.origin.asked();
    let timing = Connection::open(single.address)?.fetch(&blob.path, blob.size)?;
    let asked = field.origin.asked() - before;
    seen.single_gets
        .push(Party::Docxy, f64::from(u32::try_from(asked.blobs)?));
    seen.single_whole.push(Party::Docxy, timing.whole.as_secs_f64());
    Ok(())
}

/// Seconds for the hash of a large blob, of bytes in memory.
fn hashing(bench: &Bench) -> f64 {
    let started = Instant::now();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for piece in bench.library.noise().chunks(256 << 10) {
        hasher.update(piece);
    }
    std::hint::black_box(hasher.finish());
    started.elapsed().as_secs_f64()
}
