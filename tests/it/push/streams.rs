//! Bodies on their way: passed on as they come, never kept, as fast as the slower side.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

use super::{
    recorder::{Reading, Recorder, Script, begun},
    uploads::{begin, with},
};
use crate::support::{app::TestApp, client::Request, image::sha256, within};

const MIB: usize = 1024 * 1024;

/// Begins uploads, and does this with what comes then.
async fn registry(then: impl Fn() -> Script + Send + Sync + 'static) -> Recorder {
    Recorder::start(move |head| match head.method.as_str() {
        "POST" => begun("/upload"),
        _ => then(),
    })
    .await
}

async fn docxy(stub: &Recorder, more: &str) -> TestApp {
    TestApp::builder()
        .config(&stub.table("r.test", ""))
        .config(more)
        .start()
        .await
}

/// A request whose body the test writes by hand.
pub async fn open(to: SocketAddr, method: &str, target: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {to}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The head of the answer, and what came of the body with it.
pub async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    within("an answer", async {
        let mut piece = [0; 4096];
        while !text.windows(4).any(|end| end == b"\r\n\r\n") {
            let length = stream.read(&mut piece).await.unwrap_or(0);
            if length == 0 {
                break;
            }
            text.extend_from_slice(&piece[..length]);
        }
    })
    .await;
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_length_is_kept_and_chunks_stay_chunks() {
    // Registries check what they were told; object stores need the length before the first byte.
    let stub = registry(|| begun("/upload")).await;
    let app = docxy(&stub, "").await;
    let at = begin(app.addr(), "r.test/team/app", "").await;
    let told = Request::new("PATCH", &*at)
        .header("Content-Type", "application/octet-stream")
        .header("Content-Range", "0-4")
        .header("X-Canary", "not for the registry")
        .header("Cookie", "not for the registry")
        .body("12345")
        .send(app.addr())
        .await;
    assert_eq!(told.status, 202, "{}", told.everything());
    let mut stream = open(app.addr(), "PATCH", &at, "Transfer-Encoding: chunked\r\n").await;
    stream
        .write_all(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        .await
        .unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 202"));

    let seen = stub.seen();
    let methods: Vec<_> = seen.iter().map(|one| one.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "PATCH"]);
    let (by_length, by_chunks) = (&seen[1], &seen[2]);
    assert_eq!((&*by_length.body, by_length.whole), (&b"12345"[..], true));
    assert_eq!(by_length.header("content-length"), Some("5"));
    assert_eq!(by_length.header("transfer-encoding"), None);
    assert_eq!(by_length.header("content-range"), Some("0-4"));
    assert_eq!(by_length.header("content-type"), Some("application/octet-stream"));
    assert_eq!(
        (by_length.header("x-canary"), by_length.header("cookie")),
        (None, None)
    );
    assert_eq!((&*by_chunks.body, by_chunks.whole), (&b"abcde"[..], true));
    assert_eq!(by_chunks.header("content-length"), None);
    assert_eq!(by_chunks.header("transfer-encoding"), Some("chunked"));
    // What has no body says so.
    assert_eq!(seen[0].header("content-length"), Some("0"));
    let line = app.accessed("method", "PATCH").await;
    assert_eq!(line["received"], 5, "{line}");
    assert_eq!(line["kind"], "upload");
    assert_eq!(line["outcome"], "bypass");
}

#[tokio::test]
async fn a_slow_registry_slows_its_client_and_fills_nothing() {
    // Back-pressure: a registry that reads nothing for a while must not make docxy take a layer into memory.
    let (gate, closed) = watch::channel(false);
    let stub = registry(move || Script::status(201).reading(Reading::After(closed.clone()))).await;
    let app = docxy(&stub, "").await;
    let at = begin(app.addr(), "r.test/team/app", "").await;
    let length = 64 * MIB;
    let before = resident(&app);
    let target = with(&at, &format!("digest={}", sha256(b"")));
    let headers = format!("Content-Length: {length}\r\n");
    let mut stream = open(app.addr(), "PUT", &target, &headers).await;
    let piece = vec![7; 64 * 1024];
    let mut sent = 0;
    // Until nothing is taken any more: what lies in sockets, some megabytes, is all that can be written.
    loop {
        let written = stream.write(&piece[..piece.len().min(length - sent)]);
        match tokio::time::timeout(std::time::Duration::from_secs(1), written).await {
            Ok(written) => sent += written.unwrap(),
            Err(_) => break,
        }
        assert!(sent < 32 * MIB, "{sent} bytes were taken that nobody has read");
    }
    let grown = resident(&app).saturating_sub(before);
    assert!(grown < 4 * MIB, "docxy grew by {grown} bytes");
    assert_eq!(stub.received(), 0);
    gate.send(true).unwrap();
    while sent < length {
        sent += stream
            .write(&piece[..piece.len().min(length - sent)])
            .await
            .unwrap();
    }
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 201"));
    assert_eq!(stub.received(), length);
    let grown = resident(&app).saturating_sub(before);
    println!("64 MiB with a stop: docxy grew by {} KiB", grown / 1024);
    assert!(grown < 8 * MIB, "docxy grew by {grown} bytes");
}

#[tokio::test]
async fn an_early_no_is_told_at_once() {
    // Ten gigabytes need not be sent to learn that they are too many, or that one may not.
    for (status, code) in [
        (413, "SIZE_INVALID"),
        (403, "DENIED"),
        (401, "UNAUTHORIZED"),
        (500, "UNAVAILABLE"),
    ] {
        let stub = registry(move || Script::status(status).reading(Reading::Not)).await;
        let app = docxy(&stub, "").await;
        let at = begin(app.addr(), "r.test/team/app", "").await;
        let headers = format!("Content-Length: {}\r\n", 1024 * MIB);
        let mut stream = open(app.addr(), "PATCH", &at, &headers).await;
        stream.write_all(&[0; 100]).await.unwrap();
        let told = answer(&mut stream).await;
        let expected = if status == 500 { 502 } else { status };
        assert!(
            told.starts_with(&format!("HTTP/1.1 {expected}")),
            "{status}: {told}"
        );
        let mut rest = told;
        within("the connection to end", stream.read_to_string(&mut rest))
            .await
            .ok();
        assert!(rest.contains(code), "{status}: {rest}");
        assert!(stub.received() <= 100);
        stub.until_closed().await;
    }
}

#[tokio::test]
async fn an_early_no_reaches_a_client_that_only_writes() {
    // Most clients read the answer when they have sent everything, or when nothing more is taken.
    let stub = registry(|| Script::status(413).reading(Reading::Lingering)).await;
    let app = docxy(&stub, "").await;
    let mut read = 0;
    for _ in 0..20 {
        let at = begin(app.addr(), "r.test/team/app", "").await;
        let mut stream = open(
            app.addr(),
            "PATCH",
            &at,
            &format!("Content-Length: {}\r\n", 8 * MIB),
        )
        .await;
        let written = within(
            "the body to be sent, or refused",
            stream.write_all(&vec![0; 8 * MIB]),
        )
        .await;
        let told = answer(&mut stream).await;
        if told.starts_with("HTTP/1.1 413") {
            read += 1;
        } else {
            // The connection was reset under a client that was still writing, which destroys what it has not read.
            assert!(told.is_empty() && written.is_err(), "{told}");
        }
    }
    println!("an early 413 was read by {read} of 20 clients that wrote 8 MiB first");
    assert!(read >= 15, "only {read} of 20 read the reason");
}

#[tokio::test]
async fn a_piece_in_the_wrong_place_is_told_where_the_right_one_is() {
    // The registry's range and handle come with its 416, so that the client goes on instead of beginning again.
    let stub = registry(|| {
        Script::status(416)
            .header("Location", "/upload?_state=2")
            .header("Range", "0-99")
            .header("OCI-Chunk-Min-Length", "1000")
    })
    .await;
    let app = docxy(&stub, "").await;
    let at = begin(app.addr(), "r.test/team/app", "").await;
    let wrong = Request::new("PATCH", &*at)
        .header("Content-Range", "200-204")
        .body("12345")
        .send(app.addr())
        .await;
    assert_eq!(wrong.status, 416, "{}", wrong.everything());
    assert_eq!(wrong.oci_error().0, "RANGE_INVALID");
    assert_eq!(wrong.header("range"), Some("0-99"));
    assert_eq!(wrong.header("oci-chunk-min-length"), Some("1000"));
    let next = super::uploads::location(&wrong);
    Request::new("PATCH", next).body("12345").send(app.addr()).await;
    assert_eq!(stub.seen()[2].target, "/upload?_state=2");
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_told_to_go_on_when_the_registry_is_there() {
    // curl and some libraries send nothing before: a refusal then costs no body at all.
    let stub = registry(|| Script::status(201)).await;
    let app = docxy(&stub, "").await;
    let at = begin(app.addr(), "r.test/team/app", "").await;
    let target = with(&at, &format!("digest={}", sha256(b"12345")));
    let mut stream = open(
        app.addr(),
        "PUT",
        &target,
        "Content-Length: 5\r\nExpect: 100-continue\r\n",
    )
    .await;
    let told = answer(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 100"), "{told}");
    stream.write_all(b"12345").await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 201"));
    assert_eq!(stub.seen()[1].body, b"12345");
    assert_eq!(stub.seen()[1].header("expect"), None);

    let foreign = "/v2/r.test/team/app/blobs/uploads/nonsense";
    let mut stream = open(
        app.addr(),
        "PUT",
        foreign,
        "Content-Length: 5\r\nExpect: 100-continue\r\n",
    )
    .await;
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_client_that_falls_silent_is_let_go() {
    // Slowloris by another name: an upload that never goes on holds a connection here and one at the registry.
    let stub = registry(|| Script::status(201)).await;
    let app = docxy(&stub, "[timeouts]\nidle = \"1s\"\n").await;
    let at = begin(app.addr(), "r.test/team/app", "").await;
    let mut stream = open(app.addr(), "PATCH", &at, "Content-Length: 5\r\n").await;
    stream.write_all(b"12").await.unwrap();
    let told = answer(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
    stub.until("the upload to break", |seen| seen.len() == 2 && !seen[1].whole)
        .await;
    stub.until_closed().await;
    assert_eq!(stub.received(), 2);
}

#[tokio::test]
async fn a_registry_that_takes_all_and_says_nothing_ends_in_504() {
    // The client learns whom to ask; and the registry had its time to hash ten gigabytes.
    let stub = registry(|| Script::status(201).reading(Reading::Forever)).await;
    let app = docxy(&stub, "[timeouts]\nidle = \"1s\"\nheaders = \"1s\"\n").await;
    let at = begin(app.addr(), "r.test/team/app", "").await;
    let begun = tokio::time::Instant::now();
    let late = Request::new("PATCH", &*at).body("12345").send(app.addr()).await;
    assert_eq!(late.status, 504, "{}", late.everything());
    assert!(begun.elapsed() >= std::time::Duration::from_secs(5));
    assert!(
        late.oci_error().1.contains("r.test had the whole body"),
        "{}",
        late.everything()
    );
}

/// Bytes of memory that docxy holds now.
pub fn resident(app: &TestApp) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", app.pid().as_raw_pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// The most that it ever held.
pub fn peak(app: &TestApp) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", app.pid().as_raw_pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
