//! What stays resident: with nothing to do, and while very many read very slowly from the cache.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Bench;
use super::client::{HERE, request};
use super::field::{CACHES, Field, Party, rounds};
use super::figures::mebibytes;
use super::line::Line;
use super::process::pause;
use super::table::{Figures, Report, Row, Target};

/// What a slow reader takes each second, bytes.
const SLOWLY: usize = 10_000;
/// Its receive buffer, so that it is the server that has to wait.
const RECEIVE: u32 = 16 << 10;
const RESIDENT: &str = "VmRSS";

pub fn run(bench: &Bench, report: &mut Report) -> Result<String> {
    let plan = &bench.plan;
    let mut idle = Figures::default();
    let mut served = Figures::default();
    let slow = rounds_with_new_processes(bench, |field, party| {
        field.settle(party)?;
        idle.push(party, mebibytes(field.memory(party, RESIDENT)?));
        if party == Party::Distribution {
            // 200 readers took 967 MiB of it, and it did not outlive a thousand.
            return Ok(None);
        }
        let blob = bench.library.blob(plan.blob)?;
        field.warm(party, &blob)?;
        let served_now = Arc::new(AtomicUsize::new(0));
        let mut readers = JoinSet::new();
        for reader in 0..plan.readers {
            let reading = read_slowly(field.address(party), blob.path.clone(), served_now.clone());
            let come = Duration::from_millis(reader as u64 % 1000);
            let reader = async move {
                sleep(come).await;
                reading.await
            };
            readers.spawn_on(reader, bench.runtime.handle());
        }
        let until = Instant::now() + plan.watch;
        let mut most = 0;
        while Instant::now() < until {
            pause(Duration::from_millis(200));
            most = most.max(field.memory(party, RESIDENT)?);
        }
        while let Some(ended) = readers.try_join_next() {
            ended??;
        }
        served.push(party, f64::from(u32::try_from(served_now.load(Relaxed))?));
        Ok(Some(mebibytes(most)))
    })?;
    let rows = [
        Row::new("idle, MiB", idle, &[Target::Limit(20.0)]),
        Row::new(
            format!("{} slow readers, most MiB seen", plan.readers),
            slow,
            &[Target::Limit(64.0)],
        ),
        Row::new(
            "readers that got bytes",
            served,
            &[Target::AtLeast(1.0, Party::Nginx)],
        ),
    ];
    let remark = format!(
        "VmRSS, for nginx the sum over its master and 2 workers. Each reader takes {SLOWLY} bytes a second of one warm blob of {} \
         MiB; watched for {} s.",
        plan.blob >> 20,
        plan.watch.as_secs()
    );
    Ok(report.table("Resident memory", &rows, &[remark]))
}

fn rounds_with_new_processes(
    bench: &Bench,
    mut measure: impl FnMut(&Field, Party) -> Result<Option<f64>>,
) -> Result<Figures> {
    let mut field = None;
    rounds(bench.plan.rounds, &CACHES, |round, party| {
        if field.as_ref().is_none_or(|(of, _)| *of != round) {
            field = None;
            field = Some((round, Field::start(bench, Line::default())?));
        }
        field
            .as_ref()
            .map_or(Ok(None), |(_, field)| measure(field, party))
    })
}

/// Reads for ever; counts itself once it has a first part of the body.
async fn read_slowly(address: SocketAddr, path: String, served: Arc<AtomicUsize>) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE)?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(request(HERE, &path).as_bytes()).await?;
    let mut piece = vec![0; SLOWLY];
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pieces = 0;
    loop {
        second.tick().await;
        stream.read_exact(&mut piece).await?;
        ensure!(
            pieces > 0 || piece.starts_with(b"HTTP/1.1 200"),
            "a slow reader was refused"
        );
        pieces += 1;
        if pieces == 2 {
            served.fetch_add(1, Relaxed);
        }
    }
}
