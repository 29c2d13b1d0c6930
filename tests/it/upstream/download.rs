//! Downloads over real sockets: what the registry and its storage see when lines break, links expire and ranges are ignored.

use std::time::{Duration, Instant};

use docxy::oci::digest::{Algorithm, Hasher};
use docxy::oci::{Digest, Repository};
use docxy::upstream::{Download, Errand, Failure, Health, Piece, Refusal, Right, Timeouts, Upstream};

use super::stub::{Setup, Step, Stub, bearer, raw};
use crate::support::image::{Content, Image};
use crate::support::stub::{Cdn, Dead, Door, Ending, Fault, Gate, On, Quirk, StubRegistry};

const MIB: usize = 1024 * 1024;

/// The only layer of an image in a registry, of a little more than `size` bytes.
fn layer(size: usize) -> (Image, Content) {
    let image = Image::layers(1).layer_size(size).build();
    let layer = image.layer_blobs()[0].clone();
    (image, layer)
}

fn errand(blob: &Content, from: usize, length: Option<u64>) -> Errand {
    let mut known = Hasher::new(Algorithm::Sha256);
    known.update(&blob.bytes[..from]);
    Errand {
        repository: Repository::parse("a/b").unwrap(),
        digest: Digest::parse(&blob.digest).unwrap(),
        from: from as u64,
        known,
        length,
        order: docxy::upstream::Order::Any,
        sources: docxy::upstream::Sources::Authority,
    }
}

async fn begin(upstream: &Upstream, blob: &Content) -> Download {
    upstream
        .download(errand(blob, 0, None), &Right::Anonymous)
        .await
        .unwrap()
}

/// Takes what is left and puts it in its place.
async fn rest(download: &mut Download, bytes: &mut Vec<u8>) -> Option<Failure> {
    while let Some(next) = download.next().await {
        match next {
            Ok(piece) => put(bytes, &piece),
            Err(failure) => return Some(failure),
        }
    }
    None
}

fn put(bytes: &mut Vec<u8>, piece: &Piece) {
    let at = usize::try_from(piece.at).unwrap();
    let end = at + piece.bytes.len();
    bytes.resize(bytes.len().max(end), 0);
    bytes[at..end].copy_from_slice(&piece.bytes);
}

async fn whole(mut download: Download, blob: &Content) -> Download {
    let mut bytes = Vec::new();
    assert_eq!(rest(&mut download, &mut bytes).await, None);
    assert!(bytes == blob.bytes, "{} other bytes", bytes.len());
    assert_eq!(download.length(), Some(blob.bytes.len() as u64));
    download
}

/// Small pieces, so that a blob of some megabytes is shared.
fn eager(url: &str) -> Setup {
    let mut setup = Setup::at(url);
    setup.config.segment_threshold = 512 * 1024;
    setup
}

fn ranges(registry: &StubRegistry, door: Door) -> Vec<String> {
    let of = |seen: &crate::support::stub::Seen| seen.header("range").unwrap_or("whole").to_owned();
    registry.at(door).iter().map(of).collect()
}

#[tokio::test]
async fn a_small_blob_is_one_plain_get() {
    // Registries count and limit requests: nothing that is not needed is asked.
    let (image, blob) = layer(100_000);
    let registry = StubRegistry::builder().image("a/b", "1", image).start().await;
    let upstream = Setup::at(&registry.url()).build();
    let download = whole(begin(&upstream, &blob).await, &blob).await;
    assert!(download.anonymous());
    assert_eq!(
        ranges(&registry, Door::Registry),
        ["whole"],
        "{}",
        registry.story()
    );
    let seen = &registry.requests()[0];
    assert_eq!(
        (seen.header("accept-encoding"), seen.header("if-range")),
        (Some("identity"), None)
    );
    let counters = download.counters();
    assert_eq!(
        (counters.requests, counters.segments, counters.resumes),
        (1, 1, 0)
    );
    assert_eq!(counters.received, blob.bytes.len() as u64);
}

#[tokio::test]
async fn a_body_that_breaks_goes_on_from_the_byte_reached() {
    // A broken line only makes a pull slower: no byte is asked twice, none is lost (R1).
    let (image, blob) = layer(2 * MIB);
    let registry = StubRegistry::builder().image("a/b", "1", image).start().await;
    let cuts: Vec<usize> = (0..20).map(|_| rand::random_range(1..100_000)).collect();
    for (n, cut) in (1..).zip(&cuts) {
        registry.fault(On::get("*").nth(n), Fault::CutAt(*cut));
    }
    let upstream = Setup::at(&registry.url()).build();
    let download = whole(begin(&upstream, &blob).await, &blob).await;
    let mut at = 0;
    let mut expected = vec!["whole".to_owned()];
    for cut in &cuts {
        at += cut;
        expected.push(format!("bytes={at}-"));
    }
    assert_eq!(ranges(&registry, Door::Registry), expected);
    let counters = download.counters();
    assert_eq!(
        (counters.resumes, counters.received),
        (20, blob.bytes.len() as u64)
    );
    println!(
        "20 cuts of {} bytes: received {}",
        blob.bytes.len(),
        counters.received
    );
}

#[tokio::test]
async fn what_is_there_already_is_not_fetched_again() {
    // The rest of a download that was broken off yesterday.
    let (image, blob) = layer(300_000);
    let registry = StubRegistry::builder().image("a/b", "1", image).start().await;
    let upstream = Setup::at(&registry.url()).build();
    let length = blob.bytes.len();
    let ask = errand(&blob, 200_000, Some(length as u64));
    let mut download = upstream.download(ask, &Right::Anonymous).await.unwrap();
    let mut bytes = blob.bytes[..200_000].to_vec();
    assert_eq!(rest(&mut download, &mut bytes).await, None);
    assert!(bytes == blob.bytes);
    assert_eq!(download.counters().received, (length - 200_000) as u64);
    assert_eq!(ranges(&registry, Door::Registry), ["bytes=200000-"]);

    // All of it is there: 416, and the whole blob's header tells that nothing is missing.
    registry.forget();
    let mut download = upstream
        .download(errand(&blob, length, None), &Right::Anonymous)
        .await
        .unwrap();
    assert_eq!(download.length(), Some(length as u64));
    assert!(download.next().await.is_none());
    assert_eq!(
        ranges(&registry, Door::Registry),
        [format!("bytes={length}-"), "whole".to_owned()]
    );
    assert_eq!(download.counters().received, 0);
}

#[tokio::test]
async fn an_upstream_that_ignores_ranges_is_skipped_and_compared() {
    // Some answer 200 to a Range: the rest must be taken from it, and only if it is still the same blob.
    let (image, blob) = layer(400_000);
    let registry = StubRegistry::builder()
        .image("a/b", "1", image)
        .quirk(Quirk::IgnoreRange)
        .start()
        .await;
    registry.fault(On::get("*").nth(2), Fault::CutAt(150_000));
    let upstream = Setup::at(&registry.url()).build();
    registry.fault(On::get("*").nth(1), Fault::CutAt(100_000));
    let download = whole(begin(&upstream, &blob).await, &blob).await;
    assert_eq!(
        ranges(&registry, Door::Registry),
        ["whole", "bytes=100000-", "bytes=150000-"]
    );
    assert_eq!(
        download.counters().received,
        (100_000 + 150_000 + blob.bytes.len()) as u64
    );

    // What the cache kept of an earlier download is of another blob.
    let mut wrong = errand(&blob, 50_000, None);
    wrong.known = Hasher::new(Algorithm::Sha256);
    let mut download = upstream.download(wrong, &Right::Anonymous).await.unwrap();
    let failure = rest(&mut download, &mut Vec::new()).await;
    assert!(
        matches!(failure, Some(Failure::OtherBytes { within: 50_000, .. })),
        "{failure:?}"
    );

    // What came a moment ago is of another blob.
    registry.clear_faults();
    registry.fault(On::get("*").nth(1), Fault::CutAt(100_000));
    registry.fault(On::get("*").nth(2), Fault::WrongByteAt(70_000));
    let mut download = begin(&upstream, &blob).await;
    let failure = rest(&mut download, &mut Vec::new()).await;
    assert!(
        matches!(failure, Some(Failure::OtherBytes { within: 100_000, .. })),
        "{failure:?}"
    );
    assert_eq!(download.reached(), 100_000);
}

#[tokio::test]
async fn bytes_of_another_place_are_refused() {
    // A part that is not the part asked for would make a wrong layer.
    let (image, blob) = layer(10_000);
    let length = blob.bytes.len();
    let registry = StubRegistry::builder().image("a/b", "1", image).start().await;
    let upstream = Setup::at(&registry.url()).build();
    let wrong = |range: String| Fault::Answer {
        status: 206,
        headers: vec![("content-range", range)],
        body: "x".repeat(length - 5000),
    };
    for range in [
        format!("bytes 4999-{}/{length}", length - 2),
        format!("bytes 5000-{}/{}", length - 1, length + 1),
        format!("bytes 5000-{}/{length}", length - 2),
        "nonsense".to_owned(),
    ] {
        registry.clear_faults();
        registry.fault(On::get("*"), wrong(range.clone()));
        let ask = errand(&blob, 5000, Some(length as u64));
        let refusal = upstream.download(ask, &Right::Anonymous).await.unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Failed(Failure::BadAnswer { .. })),
            "{range}: {refusal:?}"
        );
        registry.clear_faults();
        registry.forget();
        registry.fault(On::get("*").nth(1), Fault::CutAt(5000));
        registry.fault(On::get("*").nth(2), wrong(range.clone()));
        let mut download = begin(&upstream, &blob).await;
        let failure = rest(&mut download, &mut Vec::new()).await;
        // In its middle another server may answer right: nothing of the wrong part was used.
        assert!(failure.is_none(), "{range}: {failure:?}");
        assert_eq!(download.reached(), length as u64);
        assert_eq!(registry.gets("*/blobs/*").len(), 3, "{}", registry.story());
    }
    registry.clear_faults();
    registry.fault(
        On::get("*"),
        Fault::Answer {
            status: 200,
            headers: vec![("docker-content-digest", format!("sha256:{}", "0".repeat(64)))],
            body: "other".to_owned(),
        },
    );
    let refusal = upstream
        .download(errand(&blob, 0, None), &Right::Anonymous)
        .await
        .unwrap_err();
    assert!(
        matches!(&refusal, Refusal::Failed(Failure::BadAnswer { .. })),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn an_expired_link_is_renewed_once_for_all_connections() {
    // Links live for minutes, layers take longer: the registry is asked for one new link, not by each connection, and no
    // storage ever sees a credential.
    let (image, blob) = layer(6 * MIB);
    let registry = StubRegistry::builder()
        .image("a/b", "1", image)
        .cdn(Cdn::on("127.0.0.2"))
        .start()
        .await;
    registry.fault(On::cdn("*"), Fault::Pace(1024 * 1024));
    let upstream = eager(&registry.url()).build();
    let mut download = upstream
        .download(errand(&blob, 0, None), &bearer())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    while download.reached() < MIB as u64 || download.counters().segments < 4 {
        put(&mut bytes, &download.next().await.unwrap().unwrap());
    }
    registry.advance(Duration::from_secs(61));
    // A fault answers instead of the storage: from here on its signatures count.
    registry.clear_faults();
    assert_eq!(rest(&mut download, &mut bytes).await, None);
    assert!(bytes == blob.bytes);
    let at_registry = registry.at(Door::Registry);
    assert_eq!(
        at_registry.len(),
        2,
        "the first link and the fresh one: {}",
        registry.story()
    );
    let at_storage = registry.at(Door::Cdn);
    assert!(
        at_storage.iter().any(|seen| seen.status == Some(403)),
        "{}",
        registry.story()
    );
    assert!(at_storage.iter().all(|seen| seen.authorization().is_none()));
    assert!(at_registry.iter().all(|seen| seen.authorization().is_some()));
    assert!(
        at_storage.len() >= 8,
        "the others went there directly: {}",
        registry.story()
    );
    println!(
        "{} requests to the storage, 2 to the registry: {:?}",
        at_storage.len(),
        download.counters()
    );
}

#[tokio::test]
async fn a_denial_in_the_middle_is_told_with_the_byte_reached() {
    // Another client's right may be good: whoever drives the download goes on from there with it.
    let (image, blob) = layer(100_000);
    let registry = StubRegistry::builder().image("a/b", "1", image).start().await;
    for status in [401, 403] {
        registry.clear_faults();
        registry.forget();
        registry.fault(On::get("*").nth(1), Fault::CutAt(30_000));
        registry.fault(On::get("*").nth(2), Fault::Status(status));
        let upstream = Setup::at(&registry.url()).build();
        let mut download = upstream
            .download(errand(&blob, 0, None), &bearer())
            .await
            .unwrap();
        assert!(!download.anonymous());
        let failure = rest(&mut download, &mut Vec::new()).await;
        assert!(matches!(failure, Some(Failure::Denied { .. })), "{failure:?}");
        assert_eq!((download.reached(), registry.requests().len()), (30_000, 2));
    }
}

#[tokio::test]
async fn before_the_first_byte_every_answer_is_the_callers() {
    // 404 and 429 have meanings for the client, with their headers; a broken connection is tried once more, quickly.
    let (image, blob) = layer(10_000);
    let registry = StubRegistry::builder().image("a/b", "1", image).start().await;
    let upstream = Setup::at(&registry.url()).build();
    for status in [404, 429, 500, 503] {
        registry.clear_faults();
        registry.forget();
        let headers = vec![("retry-after", "77".to_owned())];
        let body = String::new();
        registry.fault(
            On::get("*"),
            Fault::Answer {
                status,
                headers,
                body,
            },
        );
        let refusal = upstream
            .download(errand(&blob, 0, None), &Right::Anonymous)
            .await
            .unwrap_err();
        let Refusal::Answered(answer) = refusal else {
            panic!("{refusal:?}");
        };
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["retry-after"]),
            (status, &"77".parse().unwrap())
        );
        assert_eq!(registry.requests().len(), 1, "not tried again");
    }
    registry.clear_faults();
    registry.forget();
    registry.fault(On::get("*").nth(1), Fault::Close);
    let upstream = Setup::at(&registry.url()).build();
    let download = whole(begin(&upstream, &blob).await, &blob).await;
    assert_eq!((registry.requests().len(), download.counters().retries), (2, 1));
    registry.forget();
    registry.fault(On::get("*"), Fault::Close);
    let upstream = Setup::at(&registry.url()).build();
    let refusal = upstream
        .download(errand(&blob, 0, None), &Right::Anonymous)
        .await
        .unwrap_err();
    assert!(
        matches!(&refusal, Refusal::Failed(Failure::Unreachable { .. })),
        "{refusal:?}"
    );
    // It was well until now, so it may be being restarted: a few more questions in four seconds, and no more.
    let asked = registry.requests().len();
    assert!((4..=10).contains(&asked), "{asked}");
}

#[tokio::test]
async fn nobody_waits_long_for_a_black_hole() {
    // A miss must fail while its client still listens (R1), also when others wait for the same connection.
    let hole = Dead::black_hole().await;
    let timeouts = Timeouts {
        connect: Duration::from_millis(400),
        headers: Duration::from_millis(600),
        idle: Duration::from_mins(1),
    };
    let (image, blob) = layer(10_000);
    let silent = StubRegistry::builder().image("a/b", "1", image).start().await;
    silent.fault(On::path("*"), Fault::Head(Gate::closed()));
    for url in [hole.url(), silent.url()] {
        let mut setup = Setup::at(&url).timeouts(timeouts);
        setup.config.max_connections = 1;
        let upstream = setup.build();
        let start = Instant::now();
        let ask = || async {
            let refusal = upstream
                .download(errand(&blob, 0, None), &Right::Anonymous)
                .await
                .unwrap_err();
            assert!(
                matches!(&refusal, Refusal::Failed(Failure::Timeout { .. })),
                "{refusal:?}"
            );
        };
        tokio::join!(ask(), ask(), ask(), ask());
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        assert_eq!(upstream.health(), Health::Suspect);
    }
}

#[tokio::test]
async fn a_storage_that_wants_one_connection_gets_one() {
    // 429 to a further connection must not cost the pull that goes well.
    let (image, blob) = layer(3 * MIB);
    for status in [429, 503] {
        let registry = StubRegistry::builder()
            .image("a/b", "1", image.clone())
            .start()
            .await;
        registry.fault(On::get("*").nth(1), Fault::Pace(4 * 1024 * 1024));
        registry.fault(On::get("*").after(1), Fault::Status(status));
        let upstream = eager(&registry.url()).build();
        let download = whole(begin(&upstream, &blob).await, &blob).await;
        let refused = registry
            .requests()
            .iter()
            .filter(|seen| seen.status == Some(status))
            .count();
        assert!((1..=3).contains(&refused), "{}", registry.story());
        assert_eq!(
            (download.counters().resumes, registry.requests().len()),
            (0, 1 + refused)
        );
    }
}

#[tokio::test]
async fn a_registry_that_says_when_to_come_back_is_not_asked_before() {
    // 429 and 503 in the middle of a blob: an earlier question would only prolong it, and a later one costs the client time.
    let (image, blob) = layer(100_000);
    for status in [429, 503] {
        let registry = StubRegistry::builder()
            .image("a/b", "1", image.clone())
            .start()
            .await;
        registry.fault(On::get("*").nth(1), Fault::CutAt(30_000));
        let later = Fault::Answer {
            status,
            headers: vec![("retry-after", "1".to_owned())],
            body: String::new(),
        };
        registry.fault(On::get("*").nth(2), later);
        let upstream = Setup::at(&registry.url()).build();
        let start = Instant::now();
        whole(begin(&upstream, &blob).await, &blob).await;
        let took = start.elapsed();
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(3)).contains(&took),
            "{status}: {took:?}"
        );
        assert_eq!(registry.requests().len(), 3, "{}", registry.story());
    }
}

#[tokio::test]
async fn dropping_a_download_hangs_up() {
    // Nobody wants it any more: it must not go on filling the line.
    let (image, blob) = layer(6 * MIB);
    let registry = StubRegistry::builder().image("a/b", "1", image).start().await;
    registry.fault(On::get("*"), Fault::Pace(1024 * 1024));
    let upstream = eager(&registry.url()).build();
    let mut download = begin(&upstream, &blob).await;
    while download.counters().segments < 4 {
        download.next().await.unwrap().unwrap();
    }
    drop(download);
    let left = |seen: &[crate::support::stub::Seen]| seen.iter().all(|seen| seen.ending != Ending::Open);
    registry.until("all connections to end", left).await;
    assert!(
        registry.requests().iter().any(|seen| seen.ending == Ending::Left),
        "{}",
        registry.story()
    );
}

#[tokio::test]
async fn a_length_that_only_head_tells() {
    // A chunked blob needs a length before its header can go to a client.
    let told = Stub::start(|seen| match seen.method.as_str() {
        "HEAD" => raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        _ => raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    })
    .await;
    let blob = Content::new("x/y", "hello");
    whole(begin(&Setup::at(&told.url("")).build(), &blob).await, &blob).await;
    assert_eq!(told.seen().len(), 2);
    let untold = Stub::start(|seen| {
        if seen.method == "HEAD" {
            return raw("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
        }
        let mut steps = raw("HTTP/1.1 200 OK\r\n\r\nhello");
        steps.push(Step::Close);
        steps
    })
    .await;
    let download = begin(&Setup::at(&untold.url("")).build(), &blob).await;
    assert_eq!(download.length(), None, "the caller decides");
}
