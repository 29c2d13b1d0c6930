//! Small answers from the cache: how many a second, how soon one comes, and what each costs.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::client::Connection;
use super::field::{CACHES, Field, Party, rounds};
use super::figures::{median, milliseconds};
use super::generator::load;
use super::library::Blob;
use super::line::Line;
use super::table::{Figures, Report, Row, Target};

/// Keep-alive connections that ask without a pause.
const CONNECTIONS: usize = 64;

pub fn run(bench: &Bench, report: &mut Report) -> Result<String> {
    let field = Field::start(bench, Line::default())?;
    let image = bench.library.image(10, 64 << 10)?;
    let mut rows = Vec::new();
    let mut remarks = Vec::new();
    for (what, blob) in [
        ("manifest by digest", &image.by_digest),
        ("manifest by tag", &image.by_tag),
        ("config of 4 KiB", &image.config),
    ] {
        for party in CACHES {
            field.warm(party, blob)?;
        }
        let asked = field.origin.asked();
        let seen = measure(bench, &field, blob)?;
        let asked = field.origin.asked() - asked;
        let promised = [
            Target::AtLeast(0.9, Party::Nginx),
            Target::AtLeast(20.0, Party::Distribution),
        ];
        rows.extend([
            Row::new(format!("{what}, requests/s"), seen.rate, &promised),
            Row::new(
                format!("{what}, CPU µs a request"),
                seen.cpu,
                &[Target::Versus(Party::Nginx)],
            ),
            Row::new(
                format!("{what}, p50 in ms, 1 connection"),
                seen.latency,
                &[Target::Limit(0.2)],
            ),
        ]);
        let own: Vec<String> = CACHES
            .iter()
            .filter_map(|party| {
                let (cpu, share) = (seen.own_cpu.median(*party)?, seen.own_share.median(*party)?);
                Some(format!(
                    "{cpu:.1} µs ({share:.0} % of a CPU) with {}",
                    party.name()
                ))
            })
            .collect();
        remarks.push(format!(
            "{what}: the generator's own CPU was {} a request; the upstream was asked {} times.",
            own.join(", "),
            asked.blobs + asked.others
        ));
    }
    let title = format!("Small answers, {CONNECTIONS} connections");
    Ok(report.table(&title, &rows, &remarks))
}

#[derive(Default)]
struct Seen {
    /// Requests a second.
    rate: Figures,
    /// Microseconds of the party's CPU for each.
    cpu: Figures,
    /// Milliseconds until the last byte.
    latency: Figures,
    /// Microseconds of the generator's CPU for each request.
    own_cpu: Figures,
    /// Percent of its time that the generator was on a CPU: near 100 it is what limits.
    own_share: Figures,
}

fn measure(bench: &Bench, field: &Field, blob: &Blob) -> Result<Seen> {
    let plan = &bench.plan;
    let size = usize::try_from(blob.size)?;
    let mut seen = Seen::default();
    seen.rate = rounds(plan.rounds, &CACHES, |_, party| {
        let address = field.address(party);
        let (cpu, load) = field.cpu_of(party, || load(address, &blob.path, size, CONNECTIONS, plan.load))?;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(load.requests);
        seen.cpu.push(party, each(cpu));
        seen.own_cpu.push(party, each(load.own_cpu));
        let took = load.took.as_secs_f64();
        seen.own_share
            .push(party, 100.0 * load.own_cpu.as_secs_f64() / took);
        Ok(f64::from(load.requests) / took)
    })?;
    seen.latency = rounds(plan.rounds, &CACHES, |_, party| {
        let mut connection = Connection::open(field.address(party))?;
        let times = (0..plan.single).map(|_| Ok(connection.fetch(&blob.path, blob.size)?.whole));
        Ok(milliseconds(median(times.collect::<Result<_>>()?)))
    })?;
    Ok(seen)
}
