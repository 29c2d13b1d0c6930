//! Many clients that want the same cold blob: what the upstream sees of it, and how long each of them waits.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::client::{self, Connection};
use super::crowd;
use super::field::{CACHES, Field, Party, rounds};
use super::figures::{mebibytes, milliseconds};
use super::line::Line;
use super::table::{Figures, Report, Row, Target};

/// Of the upstream's line, bytes a second.
const PACE: u32 = 50 << 20;
/// The second half of the clients comes within this time, the first half at once.
const LATE: Duration = Duration::from_secs(2);
/// With more clients docxy is measured alone. docker-registry fetches a blob once for each client that comes before it is
/// stored, and so does nginx for who has waited five seconds (`proxy_cache_lock_timeout`): 500 clients at 50 MiB/s
/// would be three quarters of an hour each.
pub const RIVALS: usize = 32;

pub fn run(bench: &Bench, report: &mut Report) -> Result<String> {
    let crowd = bench.plan.herd;
    let late: Vec<Duration> = (0..crowd)
        .map(|n| {
            let after = u32::try_from(n.saturating_sub(crowd / 2)).unwrap_or(u32::MAX);
            LATE * after / u32::try_from(crowd.div_ceil(2)).unwrap_or(1)
        })
        .collect();
    let paced = Line {
        total: Some(PACE),
        ..Line::default()
    };
    let paced = measure(bench, paced, &late)?;
    let unpaced = measure(bench, Line::default(), &vec![Duration::ZERO; crowd])?;
    let rows = [
        Row::new("50 MiB/s, GETs upstream", paced.gets, &[]),
        Row::new(
            "50 MiB/s, bytes upstream / size",
            paced.share,
            &[Target::Limit(1.0)],
        ),
        Row::new(
            "50 MiB/s, first byte in ms, p99",
            paced.first,
            &[Target::Limit(50.0)],
        ),
        Row::new(
            "50 MiB/s, last byte in s",
            paced.last,
            &[Target::Versus(Party::Nginx)],
        ),
        Row::new("loopback, GETs upstream", unpaced.gets, &[]),
        Row::new(
            "loopback, bytes upstream / size",
            unpaced.share,
            &[Target::Limit(1.0)],
        ),
        Row::new(
            "loopback, last byte in s",
            unpaced.last,
            &[Target::AtMost(1.0, Party::Nginx)],
        ),
    ];
    let remark = format!(
        "At 50 MiB/s half of the clients ask at once and the others within {} s, each on a connection of its own; times count \
         from each one's own request.",
        LATE.as_secs()
    );
    let title = format!(
        "{crowd} clients on one cold blob of {} MiB",
        bench.plan.blob >> 20
    );
    Ok(report.table(&title, &rows, &[remark]))
}

#[derive(Default)]
struct Seen {
    gets: Figures,
    /// Bytes from the upstream for each byte of the blob.
    share: Figures,
    /// Milliseconds, p99 over the clients of all rounds: one figure for each party.
    first: Figures,
    /// Seconds until the last client has its last byte, from its own request.
    last: Figures,
}

fn measure(bench: &Bench, line: Line, delays: &[Duration]) -> Result<Seen> {
    let field = Field::start(bench, line)?;
    let mut seen = Seen::default();
    let mut firsts: [Vec<Duration>; CACHES.len()] = Default::default();
    for (slot, party) in CACHES.into_iter().enumerate() {
        // Warms up what is made once in a process's life.
        field.warm(party, &bench.library.blob(4096)?)?;
        firsts[slot].reserve(delays.len() * bench.plan.rounds);
    }
    seen.last = rounds(bench.plan.rounds, &CACHES, |round, party| {
        let is_slow = party == Party::Distribution && round > 0 && line.total.is_some();
        if is_slow || (party != Party::Docxy && delays.len() > RIVALS) {
            return Ok(None);
        }
        let blob = bench.library.blob(bench.plan.blob)?;
        let before = field.origin.asked();
        let address = field.address(party);
        let pulls = if delays.len() > RIVALS {
            crowd::crowd(address, &blob.path, blob.size, delays)?
        } else {
            client::crowd(|| Connection::open(address), &blob.path, blob.size, delays)?
        };
        let asked = field.origin.asked() - before;
        field.settle(party)?;
        seen.gets.push(party, f64::from(u32::try_from(asked.blobs)?));
        seen.share
            .push(party, mebibytes(asked.bytes) / mebibytes(blob.size));
        if let Some(slot) = CACHES.iter().position(|other| *other == party) {
            firsts[slot].extend(pulls.iter().map(|pull| pull.first));
        }
        let last = pulls.iter().map(|pull| pull.whole).max();
        Ok(last.map(|last| last.as_secs_f64()))
    })?;
    for (party, mut firsts) in CACHES.into_iter().zip(firsts) {
        firsts.sort_unstable();
        let rank = (firsts.len() * 99).div_ceil(100);
        if let Some(first) = firsts.get(rank.saturating_sub(1)) {
            seen.first.push(party, milliseconds(*first));
        }
    }
    Ok(seen)
}
