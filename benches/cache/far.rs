//! A registry far away: connections that are slow each, and round trips that take long.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Bench;
use super::client::Connection;
use super::field::{ALL, Field, Party, rounds};
use super::figures::mebibytes;
use super::library::Image;
use super::line::Line;
use super::table::{Figures, Report, Row, Target};

const ROUND_TRIP: Duration = Duration::from_millis(100);
/// Of one connection, bytes a second.
const EACH: u32 = 4 << 20;
/// Layers that one pull fetches at a time, as dockerd does.
const AT_A_TIME: usize = 3;
const LAYER: u64 = 256 << 10;

pub fn run(bench: &Bench, report: &mut Report) -> Result<String> {
    let rows = [
        Row::new(
            format!(
                "blob of {} MiB, 4 MiB/s a connection: MiB/s",
                bench.plan.far >> 20
            ),
            slow_connections(bench)?,
            &[Target::AtLeast(3.5, Party::Direct)],
        ),
        Row::new(
            format!("image of {} layers of {} KiB: s", bench.plan.layers, LAYER >> 10),
            small_layers(bench)?,
            &[Target::AtMost(1.0, Party::Direct)],
        ),
    ];
    let remark = format!(
        "Each answer comes a round trip late, the first on a connection two. The image is fetched as dockerd does: tag, manifest, \
         config, layers {AT_A_TIME} at a time on kept connections, which are new in each round."
    );
    let title = format!("Far upstream, cold, round trip {} ms", ROUND_TRIP.as_millis());
    Ok(report.table(&title, &rows, &[remark]))
}

fn slow_connections(bench: &Bench) -> Result<Figures> {
    let line = Line {
        each: Some(EACH),
        round_trip: ROUND_TRIP,
        ..Line::default()
    };
    let field = Field::start(bench, line)?;
    rounds(bench.plan.rounds, &ALL, |_, party| {
        let blob = bench.library.blob(bench.plan.far)?;
        let timing = Connection::open(field.address(party))?.fetch(&blob.path, blob.size)?;
        Ok(mebibytes(blob.size) / timing.whole.as_secs_f64())
    })
}

fn small_layers(bench: &Bench) -> Result<Figures> {
    let line = Line {
        round_trip: ROUND_TRIP,
        ..Line::default()
    };
    let field = Field::start(bench, line)?;
    rounds(bench.plan.rounds, &ALL, |_, party| {
        let image = bench.library.image(bench.plan.layers, LAYER)?;
        Ok(pull(&field, party, &image)?.as_secs_f64())
    })
}

fn pull(field: &Field, party: Party, image: &Image) -> Result<Duration> {
    let address = field.address(party);
    let started = Instant::now();
    let mut connection = Connection::open(address)?;
    for blob in [&image.by_tag, &image.by_digest, &image.config] {
        connection.fetch(&blob.path, blob.size)?;
    }
    let next = AtomicUsize::new(0);
    let mut connections = vec![connection];
    for _ in 1..AT_A_TIME {
        connections.push(Connection::open(address)?);
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                let next = &next;
                scope.spawn(move || -> Result<()> {
                    while let Some(layer) = image.layers.get(next.fetch_add(1, Relaxed)) {
                        connection.fetch(&layer.path, layer.size)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    Ok(started.elapsed())
}
