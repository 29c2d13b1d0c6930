//! How connections share a blob, on a line whose time is virtual: speeds and pauses are exact, and nothing waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::StatusCode;
use proptest::prelude::*;
use tokio::time::Instant;

use super::answer::Span;
use super::begin::Start;
use super::lane::Asking;
use super::segments::Rules;
use super::source::Source;
use super::stream::{Past, Stream};
use super::{Counters, Download, Piece, Slots};
use crate::oci::RegistryName;
use crate::oci::digest::{Algorithm, Hasher};
use crate::upstream::body::Body;
use crate::upstream::failure::Failure;
use crate::upstream::retry::Trouble;

const MIB: u64 = 1024 * 1024;

/// One answer goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The body breaks after so many bytes.
    Cut(u64),
    Status(u16),
    Closed,
    Denied,
    /// 200 and everything from byte 0.
    Whole,
}

/// A storage behind a line: each connection has its speed, each question costs a round trip.
struct Line {
    blob: Bytes,
    round_trip: Duration,
    /// Bytes a second of one connection, and of all together.
    each: u64,
    all: u64,
    chunk: usize,
    /// For the questions in their order, beginning with the second; then there are none.
    faults: Mutex<VecDeque<Option<Fault>>>,
    /// For every question but the first.
    always: Option<Fault>,
    asked: Mutex<Vec<Span>>,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Line {
    fn new(length: u64) -> Self {
        // A prime period, so that bytes of a wrong place are noticed.
        let byte = |n: u32| u8::try_from((n * 31 + n / 256) % 251).unwrap();
        let pattern: Vec<u8> = (0..65_521).map(byte).collect();
        let mut blob = pattern.repeat(usize::try_from(length).unwrap() / pattern.len() + 1);
        blob.truncate(usize::try_from(length).unwrap());
        Self {
            blob: blob.into(),
            round_trip: Duration::from_millis(100),
            each: 4 * MIB,
            all: u64::MAX,
            chunk: 64 * 1024,
            faults: Mutex::default(),
            always: None,
            asked: Mutex::default(),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }
    }

    fn length(&self) -> u64 {
        self.blob.len() as u64
    }

    fn body(self: &Arc<Self>, range: std::ops::Range<u64>, cut: Option<u64>) -> Body {
        let flowing = Flowing::on(self);
        let end = cut.map_or(range.end, |cut| range.end.min(range.start + cut));
        let chunks = stream::unfold((flowing, range.start), move |(flowing, at)| async move {
            if at == end {
                return cut.map(|_| (Err(std::io::Error::other("cut")), (flowing, at)));
            }
            let line = &flowing.0;
            let next = end.min(at + line.chunk as u64);
            let open = line.open.load(Ordering::SeqCst) as u64;
            let speed = line.each.min(line.all / open);
            #[expect(clippy::cast_precision_loss, reason = "small")]
            tokio::time::sleep(Duration::from_secs_f64((next - at) as f64 / speed as f64)).await;
            let bytes = flowing
                .0
                .blob
                .slice(usize::try_from(at).unwrap()..usize::try_from(next).unwrap());
            Some((Ok(bytes), (flowing, next)))
        });
        Body::new(
            reqwest::Body::wrap_stream(chunks),
            RegistryName::parse("r.test").unwrap(),
            "cdn.test".to_owned(),
            Duration::from_mins(1),
        )
    }

    fn answer(self: &Arc<Self>, span: Span, past: &Past, fault: Option<Fault>) -> Result<Stream, Trouble> {
        let registry = RegistryName::parse("r.test").unwrap();
        let end = span.end.unwrap_or(self.length());
        match fault {
            None => Ok(Stream::new(
                self.body(span.first..end, None),
                span.first,
                Some(end),
            )),
            Some(Fault::Cut(after)) => {
                let body = self.body(span.first..end, Some(after));
                Ok(Stream::new(body, span.first, Some(end)))
            }
            Some(Fault::Whole) => {
                let length = self.length();
                Ok(Stream::skipping(
                    self.body(0..length, None),
                    span.first,
                    Some(length),
                    past,
                ))
            }
            Some(Fault::Status(status)) => Err(Trouble::Refused {
                registry,
                host: "cdn.test".to_owned(),
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: None,
            }),
            Some(Fault::Closed) => Err(Trouble::Failed(Failure::Unreachable {
                registry,
                host: "cdn.test".to_owned(),
                cause: crate::upstream::failure::Cause::Closed,
            })),
            Some(Fault::Denied) => Err(Trouble::Failed(Failure::denied(
                registry,
                StatusCode::UNAUTHORIZED,
            ))),
        }
    }
}

/// A connection in use; counted.
struct Flowing(Arc<Line>);

impl Flowing {
    fn on(line: &Arc<Line>) -> Self {
        let open = line.open.fetch_add(1, Ordering::SeqCst) + 1;
        line.most.fetch_max(open, Ordering::SeqCst);
        Self(line.clone())
    }
}

impl Drop for Flowing {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source for Line {
    fn ask(self: Arc<Self>, span: Span, _length: Option<u64>, past: Past) -> Asking {
        async move {
            self.asked.lock().unwrap().push(span);
            tokio::time::sleep(self.round_trip).await;
            let scripted = self.faults.lock().unwrap().pop_front().flatten();
            self.answer(span, &past, scripted.or(self.always))
        }
        .boxed()
    }

    fn short(&self, _place: usize, at: u64, length: Option<u64>) -> Failure {
        Failure::Broken {
            registry: RegistryName::parse("r.test").unwrap(),
            host: "cdn.test".to_owned(),
            received: at,
            expected: length,
        }
    }
}

/// The first question is asked, and answered after its round trip, with a cut or without.
async fn begin(line: &Arc<Line>, from: u64, rules: Rules, slots: &Slots, cut: Option<u64>) -> Download {
    let slot = slots.first().await.unwrap();
    tokio::time::sleep(line.round_trip).await;
    let mut kept = Hasher::new(Algorithm::Sha256);
    kept.update(&line.blob[..usize::try_from(from).unwrap()]);
    let start = Start {
        source: line.clone(),
        rules,
        slots: slots.clone(),
        slot: Some(slot),
        past: Past {
            from,
            kept: kept.finish(),
            reached: from,
            sum: 0,
        },
        length: Some(line.length()),
        begun_by: crate::upstream::Role::Authority,
        anonymous: true,
        counters: Counters::default(),
        latency: line.round_trip,
    };
    start.with(Stream::new(
        line.body(from..line.length(), cut),
        from,
        Some(line.length()),
    ))
}

fn rules(segments: usize) -> Rules {
    Rules {
        segments,
        threshold: 16 * MIB,
        piece: 8 * MIB,
    }
}

/// Puts pieces in their places, and looks that none comes twice and none too far ahead.
struct Reader {
    from: u64,
    bytes: Vec<u8>,
    there: Vec<bool>,
    ahead: u64,
}

impl Reader {
    fn new(line: &Line, from: u64) -> Self {
        let length = line.blob.len();
        Self {
            from,
            bytes: vec![0; length],
            there: vec![false; length],
            ahead: 0,
        }
    }

    fn put(&mut self, piece: &Piece, reached: u64) {
        let at = usize::try_from(piece.at).unwrap();
        let place = at..at + piece.bytes.len();
        assert!(!piece.bytes.is_empty() && piece.at >= self.from);
        assert!(
            self.there[place.clone()].iter().all(|there| !there),
            "twice: {place:?}"
        );
        self.there[place.clone()].fill(true);
        self.bytes[place.clone()].copy_from_slice(&piece.bytes);
        self.ahead = self.ahead.max((place.end as u64).saturating_sub(reached));
    }

    async fn read(&mut self, download: &mut Download) -> Option<Failure> {
        while let Some(next) = download.next().await {
            match next {
                Ok(piece) => self.put(&piece, download.reached()),
                Err(failure) => return Some(failure),
            }
        }
        None
    }

    fn is(&self, line: &Line) -> bool {
        let from = usize::try_from(self.from).unwrap();
        self.there[from..].iter().all(|there| *there) && self.bytes[from..] == line.blob[from..]
    }
}

/// Fetches everything: how long it took, and what it cost.
async fn fetch(line: &Arc<Line>, rules: Rules) -> (Duration, Counters) {
    let start = Instant::now();
    let mut download = begin(line, 0, rules, &Slots::new(16), None).await;
    let mut reader = Reader::new(line, 0);
    let failure = reader.read(&mut download).await;
    assert_eq!(failure, None);
    assert!(reader.is(line));
    assert!(reader.ahead <= rules.segments as u64 * rules.piece + rules.piece / 8);
    assert_eq!(line.open.load(Ordering::SeqCst), 0, "nothing stays open");
    (start.elapsed(), download.counters())
}

#[tokio::test(start_paused = true)]
async fn four_connections_are_nearly_four_times_as_fast() {
    // Storages limit each connection, and a long road does: a layer of 64 MiB at 4 MiB/s and 100 ms is why people wait.
    let (one, _) = fetch(&Arc::new(Line::new(64 * MIB)), rules(1)).await;
    for (mib, gain) in [(64, 3.5), (72, 3.4), (100, 3.4)] {
        let line = Arc::new(Line::new(mib * MIB));
        let (four, counters) = fetch(&line, rules(4)).await;
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let ratio = one.as_secs_f64() / 64.0 * mib as f64 / four.as_secs_f64();
        println!("{mib} MiB: {four:?}, {ratio:.2} x faster, {counters:?}");
        assert!(
            ratio >= gain,
            "{mib} MiB: only {ratio:.2} times, {:?}",
            line.asked
        );
        assert_eq!((counters.segments, line.most.load(Ordering::SeqCst)), (4, 4));
    }
}

#[tokio::test(start_paused = true)]
async fn one_question_is_enough_for_small_and_for_fast_blobs() {
    // Registries count requests; where nothing is to be gained, none is to be made.
    let small = Arc::new(Line::new(16 * MIB - 1));
    fetch(&small, rules(4)).await;
    let fast = Line {
        each: 100 * MIB,
        ..Line::new(64 * MIB)
    };
    let fast = Arc::new(fast);
    fetch(&fast, rules(4)).await;
    let off = Arc::new(Line::new(64 * MIB));
    fetch(&off, rules(1)).await;
    for line in [small, fast, off] {
        assert_eq!(line.asked.lock().unwrap().len(), 0, "besides the first");
    }
}

#[tokio::test(start_paused = true)]
async fn connections_that_bring_nothing_are_given_up() {
    // On a thin line that all connections share, three more only push others aside.
    let line = Line {
        all: 4 * MIB,
        ..Line::new(128 * MIB)
    };
    let line = Arc::new(line);
    let mut download = begin(&line, 0, rules(4), &Slots::new(16), None).await;
    while download.reached() < 40 * MIB {
        download.next().await.unwrap().unwrap();
    }
    assert_eq!(line.most.load(Ordering::SeqCst), 4, "it was tried");
    for _ in 0..100 {
        download.next().await.unwrap().unwrap();
        assert_eq!(line.open.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_wants_one_connection_gets_one() {
    // 429 and 503 to a second connection must not end a pull that goes well over the first; nor must a 200 to a Range.
    for fault in [
        Fault::Status(429),
        Fault::Status(503),
        Fault::Whole,
        Fault::Status(404),
        Fault::Status(416),
    ] {
        let line = Line {
            always: Some(fault),
            ..Line::new(48 * MIB)
        };
        let line = Arc::new(line);
        let (took, counters) = fetch(&line, rules(4)).await;
        assert_eq!(
            line.asked.lock().unwrap().len(),
            3,
            "{fault:?}: the further ones, once each"
        );
        assert!(took < Duration::from_millis(12_500), "{fault:?}: {took:?}");
        assert!(counters.received <= 48 * MIB, "{fault:?}: {counters:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn further_connections_yield_to_a_new_blob() {
    // One large layer must not keep nine small ones waiting: at most a piece each until its connections are given back.
    let slots = Slots::new(4);
    let (large, small) = (Arc::new(Line::new(200 * MIB)), Arc::new(Line::new(MIB)));
    let mut first = begin(&large, 0, rules(4), &slots, None).await;
    while large.open.load(Ordering::SeqCst) < 4 {
        first.next().await.unwrap().unwrap();
    }
    let asked = Instant::now();
    let mut reader = Reader::new(&large, 0);
    let others = async {
        let one = async {
            let mut download = begin(&small, 0, rules(4), &slots, None).await;
            let waited = asked.elapsed();
            assert!(large.open.load(Ordering::SeqCst) + small.open.load(Ordering::SeqCst) <= 4);
            assert_eq!(Reader::new(&small, 0).read(&mut download).await, None);
            waited
        };
        let two = async {
            let mut download = begin(&small, 0, rules(4), &slots, None).await;
            assert_eq!(Reader::new(&small, 0).read(&mut download).await, None);
        };
        tokio::join!(one, two).0
    };
    let reading = async {
        while let Some(piece) = first.next().await {
            let open = large.open.load(Ordering::SeqCst) + small.open.load(Ordering::SeqCst);
            assert!(open <= 4, "{open} connections");
            reader.ahead += piece.unwrap().bytes.len() as u64;
        }
    };
    let (waited, ()) = tokio::join!(others, reading);
    assert!(waited < Duration::from_millis(2200), "{waited:?}");
    assert_eq!(first.reached(), 200 * MIB);
}

#[tokio::test(start_paused = true)]
async fn two_hundred_cuts_only_cost_time() {
    // A line that breaks every second must bring a large layer in the end (R1), with no byte asked twice.
    let line = Line {
        each: 100 * MIB,
        ..Line::new(64 * MIB)
    };
    *line.faults.lock().unwrap() = (0..200).map(|n| Some(Fault::Cut(70_000 + n * 997))).collect();
    let line = Arc::new(line);
    let mut download = begin(&line, 0, rules(1), &Slots::new(16), Some(1)).await;
    let mut reader = Reader::new(&line, 0);
    assert_eq!(reader.read(&mut download).await, None);
    assert!(reader.is(&line));
    let counters = download.counters();
    assert_eq!((counters.resumes, counters.retries), (201, 0));
    assert_eq!(counters.received, line.length());
    let mut at = 1;
    for (n, span) in (0..).zip(line.asked.lock().unwrap().iter()) {
        assert_eq!(*span, Span { first: at, end: None }, "question {n}");
        at += 70_000 + n * 997;
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_ends_it_at_once_and_says_where() {
    // Another client's right may do: it goes on from there, and nobody waits for twelve tries.
    let line = Line::new(MIB);
    line.faults.lock().unwrap().push_back(Some(Fault::Denied));
    let line = Arc::new(line);
    let mut download = begin(&line, 100, rules(4), &Slots::new(16), Some(1000)).await;
    let failure = Reader::new(&line, 100).read(&mut download).await;
    assert!(matches!(failure, Some(Failure::Denied { .. })), "{failure:?}");
    assert_eq!((download.reached(), line.asked.lock().unwrap().len()), (1100, 1));
    assert!(download.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_outage_has_an_end() {
    // Those who wait must hear of it before they give up themselves, which is after five minutes.
    let line = Line {
        always: Some(Fault::Closed),
        ..Line::new(MIB)
    };
    let line = Arc::new(line);
    let mut download = begin(&line, 0, rules(4), &Slots::new(16), Some(1000)).await;
    let start = Instant::now();
    let failure = Reader::new(&line, 0).read(&mut download).await;
    assert!(
        matches!(failure, Some(Failure::Unreachable { .. })),
        "{failure:?}"
    );
    let took = start.elapsed();
    assert!((50..=240).contains(&took.as_secs()), "{took:?}");
    assert_eq!(line.asked.lock().unwrap().len(), 12);
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        4 => (0..40_000u64).prop_map(|after| Some(Fault::Cut(after))),
        2 => Just(None),
        1 => Just(Some(Fault::Whole)),
        1 => prop_oneof![Just(503u16), Just(500), Just(429)].prop_map(|status| Some(Fault::Status(status))),
        1 => Just(Some(Fault::Closed)),
    ]
}

proptest! {
    #[test]
    fn every_byte_comes_exactly_once(
        length in 1..600_000u64,
        from in 0..600_000u64,
        chunk in prop_oneof![1..64usize, 1000..100_000usize],
        segments in 1..6usize,
        piece in 10_000..90_000u64,
        each in prop_oneof![Just(200_000u64), Just(1_000_000), Just(1 << 30)],
        first in prop::option::of(0..100_000u64),
        faults in prop::collection::vec(fault(), 0..30),
        connections in 1..6usize,
    ) {
        // Whatever chunks, cuts, refusals and restarts come: the pieces cover the rest of the blob once, and it is the blob.
        let from = from % length;
        let line = Line { chunk, each, round_trip: Duration::from_millis(20), ..Line::new(length) };
        *line.faults.lock().unwrap() = faults.into();
        let line = Arc::new(line);
        let rules = Rules { segments, threshold: 2 * piece, piece };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut download = begin(&line, from, rules, &Slots::new(connections), first).await;
            let mut reader = Reader::new(&line, from);
            let failure = reader.read(&mut download).await;
            assert_eq!(failure, None, "{:?}", line.asked);
            assert!(reader.is(&line), "{:?}", line.asked);
            assert_eq!(download.reached(), length);
            assert!(reader.ahead <= segments as u64 * piece + piece / 8, "{} ahead", reader.ahead);
            assert!(line.most.load(Ordering::SeqCst) <= segments.min(connections));
            assert_eq!(line.open.load(Ordering::SeqCst), 0);
        });
    }
}
