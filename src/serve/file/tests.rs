use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http_body::Body;
use http_body_util::BodyExt;
use proptest::prelude::*;
use rustix::io::Errno;

use super::pool::{LARGEST, SMALLEST};
use super::*;

/// Says bytes are there as its script tells: `Ok(n)`: n more; the script's end: all of them.
struct Scripted {
    file: Arc<File>,
    length: u64,
    script: VecDeque<Step>,
    there: u64,
}

#[derive(Clone, Debug)]
enum Step {
    More(u64),
    Wait,
    End(Ending),
}

impl Scripted {
    fn new(blob: &[u8], script: impl IntoIterator<Item = Step>) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(blob).unwrap();
        Self {
            file: Arc::new(file),
            length: blob.len() as u64,
            script: script.into_iter().collect(),
            there: 0,
        }
    }
}

impl Source for Scripted {
    fn length(&self) -> u64 {
        self.length
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>, at: u64, end: u64) -> Poll<Result<u64, Ending>> {
        loop {
            if self.there > at {
                return Poll::Ready(Ok(self.there.min(end)));
            }
            match self.script.pop_front() {
                Some(Step::More(count)) => self.there += count,
                Some(Step::End(ending)) => return Poll::Ready(Err(ending)),
                Some(Step::Wait) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None => self.there = self.length,
            }
        }
    }

    fn file(&self) -> &Arc<File> {
        &self.file
    }
}

fn blob(length: usize) -> Vec<u8> {
    let words = (0_u32..).map(|word| word.wrapping_mul(0x9E37_79B1));
    words.flat_map(u32::to_le_bytes).take(length).collect()
}

async fn next<S: Source + Unpin>(body: &mut FileBody<S>) -> Option<Result<Bytes, BodyError>> {
    Some(body.frame().await?.map(|frame| frame.into_data().unwrap()))
}

/// A socket that takes 50,000 bytes at a time.
fn write(mut piece: Bytes, direct: Option<&Direct>, socket: &mut Vec<u8>) {
    while !piece.is_empty() {
        let count = match direct {
            Some(direct) if direct.stands_in(&piece) => direct.send(&piece, |file, at, count| {
                let mut some = vec![0; count.min(50_000)];
                std::os::unix::fs::FileExt::read_exact_at(file, &mut some, at)?;
                socket.extend_from_slice(&some);
                Ok(some.len())
            }),
            _ => {
                socket.extend_from_slice(&piece);
                Ok(piece.len())
            }
        };
        bytes::Buf::advance(&mut piece, count.unwrap());
    }
}

/// A kernel for whose page cache every other 32 KiB are missing, and which gives less than it is asked for.
fn patchy() -> System {
    System {
        now: |file, into, at| {
            let some = into.len().min(9000);
            match (at >> 15) & 1 {
                0 => rustix::io::pread(file, &mut into[..some], at),
                _ => Err(Errno::AGAIN),
            }
        },
        waiting: |file, into, at| {
            let some = into.len().min(5000);
            rustix::io::pread(file, &mut into[..some], at)
        },
        in_memory: |_| false,
    }
}

/// A filesystem that can't say what is cached.
fn dumb(in_memory: fn(&File) -> bool) -> System {
    System {
        now: |_, _, _| Err(Errno::OPNOTSUPP),
        in_memory,
        ..System::default()
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![(1..100_000_u64).prop_map(Step::More), Just(Step::Wait)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_body_is_the_range_that_was_asked_for(
        length in 0_usize..600_000,
        range in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        script in prop::collection::vec(step(), 0..20),
        system in prop::sample::select(vec![System::default(), patchy(), dumb(|_| false), dumb(|_| true)]),
        direct in prop::option::of(Just(())),
    ) {
        // Every client: the bytes of its range and no others, however they arrive and whatever the page cache holds.
        let bytes = blob(length);
        let (one, other) = (range.0.index(length + 1), range.1.index(length + 1));
        let (first, end) = (one.min(other), one.max(other));
        let source = Scripted::new(&bytes, script);
        let direct = direct.map(|()| Direct::default());
        let mut body = FileBody::over(system, source, first as u64, end as u64, &Pool::default())
            .with_direct(direct.clone());
        let got = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut got = Vec::new();
            loop {
                assert_eq!(body.size_hint().exact(), Some((end - first - got.len()) as u64));
                assert_eq!(body.is_end_stream(), got.len() == end - first);
                match next(&mut body).await {
                    Some(piece) => write(piece.unwrap(), direct.as_ref(), &mut got),
                    None => return got,
                }
            }
        });
        prop_assert!(got == bytes[first..end]);
    }
}

#[tokio::test]
async fn every_bad_end_is_an_error_at_the_byte_it_came_at() {
    // `pull` goes on from that byte; a client whose pull can't go on sees a broken body, never a short one.
    let bytes = blob(100_000);
    for ending in [
        Ending::LeaderCancelled,
        Ending::Denied,
        Ending::WrongDigest,
        Ending::WrongLength { said: 1, got: 2 },
        Ending::GaveUp { why: "no".into() },
        Ending::Shutdown,
    ] {
        let word = ending.as_str();
        let source = Scripted::new(&bytes, [Step::More(70_000), Step::Wait, Step::End(ending)]);
        let mut body = FileBody::new(source, 10_000, 100_000, &Pool::default());
        let mut got = Vec::new();
        let error = loop {
            match next(&mut body).await.unwrap() {
                Ok(piece) => got.extend_from_slice(&piece),
                Err(error) => break error,
            }
        };
        assert!(got == bytes[10_000..70_000]);
        assert_eq!(error.at, 70_000);
        assert!(matches!(&error.cause, Cause::Ended(ending) if ending.as_str() == word));
        assert!(!body.is_end_stream());
        let (_, at, end) = body.into_parts();
        assert_eq!((at, end), (70_000, 100_000));
    }
}

#[tokio::test]
async fn a_file_that_is_too_short_is_an_error() {
    // A client of a cache whose file was cut behind its back: a broken body, not an early end.
    for system in [System::default(), patchy(), dumb(|_| false), dumb(|_| true)] {
        let mut source = Scripted::new(&blob(50_000), []);
        source.length = 50_001;
        let mut body = FileBody::over(system, source, 0, 50_001, &Pool::default());
        let mut got = 0;
        let error = loop {
            match next(&mut body).await.unwrap() {
                Ok(piece) => got += piece.len(),
                Err(error) => break error,
            }
        };
        assert_eq!((got, error.at), (50_000, 50_000));
        assert!(matches!(error.cause, Cause::Short), "{error}");
    }
}

#[tokio::test]
async fn an_error_of_the_disk_breaks_the_body() {
    let system = System {
        now: |_, _, _| Err(Errno::IO),
        ..System::default()
    };
    let source = Scripted::new(&blob(10), []);
    let mut body = FileBody::over(system, source, 0, 10, &Pool::default());
    let error = next(&mut body).await.unwrap().unwrap_err();
    assert!(
        matches!(error.cause, Cause::Io(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_one_small_piece() {
    // An operator with 1,000 machines on bad lines: 16 KiB each, cold file or not, not a quarter of a megabyte.
    for system in [System::default(), patchy()] {
        let source = Scripted::new(&blob(300_000), []);
        let mut body = FileBody::over(system, source, 0, 300_000, &Pool::default());
        let mut got = 0;
        while let Some(piece) = next(&mut body).await {
            let piece = piece.unwrap();
            assert!(piece.len() <= SMALLEST);
            got += piece.len();
            tokio::time::sleep(Duration::from_millis(11)).await;
            assert!(
                body.is_end_stream() || body.frame().now_or_never().is_none(),
                "a second piece"
            );
            drop(piece);
        }
        assert_eq!(got, 300_000);
    }
}

#[tokio::test(start_paused = true)]
async fn pieces_grow_while_the_reader_keeps_pace_and_shrink_when_it_stops() {
    // A fast client costs few calls; one that stalls after that is a slow one.
    let source = Scripted::new(&blob(2_000_000), []);
    let mut body = FileBody::new(source, 0, 2_000_000, &Pool::default());
    let mut lengths = Vec::new();
    for _ in 0..6 {
        lengths.push(next(&mut body).await.unwrap().unwrap().len());
    }
    let slow = next(&mut body).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(11)).await;
    drop(slow);
    lengths.push(next(&mut body).await.unwrap().unwrap().len());
    assert_eq!(
        lengths,
        [
            SMALLEST,
            2 * SMALLEST,
            4 * SMALLEST,
            8 * SMALLEST,
            LARGEST,
            LARGEST,
            SMALLEST
        ]
    );
}

#[tokio::test]
async fn a_body_that_waits_for_its_reader_is_woken_when_the_piece_goes() {
    // Every client: no body sleeps on because the last piece left while nobody looked.
    let source = Scripted::new(&blob(20_000), []);
    let mut body = FileBody::new(source, 0, 20_000, &Pool::default());
    let piece = next(&mut body).await.unwrap().unwrap();
    let rest = tokio::spawn(async move { next(&mut body).await.unwrap().unwrap().len() });
    tokio::task::yield_now().await;
    assert!(!rest.is_finished());
    drop(piece);
    assert_eq!(rest.await.unwrap(), 20_000 - SMALLEST);
}

#[tokio::test]
async fn zeros_that_stand_for_a_file_never_pass_for_it() {
    // A client, should anything between the body and its socket ever read the pieces: an error after the first of them.
    let source = Scripted::new(&blob(3_000_000), []);
    let direct = Direct::default();
    let mut body = FileBody::new(source, 0, 3_000_000, &Pool::default()).with_direct(Some(direct.clone()));
    let piece = next(&mut body).await.unwrap().unwrap();
    assert!(direct.stands_in(&piece));
    drop(piece);
    let error = next(&mut body).await.unwrap().unwrap_err();
    assert!(matches!(error.cause, Cause::Astray), "{error}");
}
