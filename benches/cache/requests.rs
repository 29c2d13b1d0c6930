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
        let seen = measure(bench, &field, blob)?;
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
        let limits: Vec<String> = CACHES
            .iter()
            .filter_map(|party| {
                Some(format!(
                    "{} {:.1} µs, {:.0} %, {:.1}",
                    party.name(),
                    seen.own_cpu.median(*party)?,
                    seen.own_share.median(*party)?,
                    seen.asked.median(*party)?
                ))
            })
            .collect();
        remarks.push(format!(
            "{what}: the generator's own CPU for a request, its share of one CPU, requests upstream for each 1000: {}.",
            limits.join("; ")
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
    /// Requests upstream for each thousand.
    asked: Figures,
}

fn measure(bench: &Bench, field: &Field, blob: &Blob) -> Result<Seen> {
    let plan = &bench.plan;
    let size = usize::try_from(blob.size)?;
    let mut seen = Seen::default();
    seen.rate = rounds(plan.rounds, &CACHES, |_, party| {
        let address = field.address(party);
        let before = field.origin.asked();
        let (cpu, load) = field.cpu_of(party, || load(address, &blob.path, size, CONNECTIONS, plan.load))?;
        let asked = field.origin.asked() - before;
        let asked = u32::try_from(asked.blobs + asked.others)?;
        seen.asked
            .push(party, 1e3 * f64::from(asked) / f64::from(load.requests));
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
