//! The three time limits, each where it belongs (R1).

use std::time::{Duration, Instant};

use docxy::upstream::failure::{Cause, Phase};
use docxy::upstream::{Failure, Right, Timeouts};
use http_body_util::BodyExt;
use tokio::net::TcpListener;

use super::stub::{Setup, Step, Stub, TAGS, get, raw};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(250);

fn limits(connect: Duration, headers: Duration, idle: Duration) -> Timeouts {
    Timeouts {
        connect,
        headers,
        idle,
    }
}

async fn outcome(setup: Setup) -> (Failure, Duration) {
    let before = Instant::now();
    let failure = setup
        .build()
        .send(&get(TAGS), &Right::Anonymous)
        .await
        .unwrap_err();
    (failure, before.elapsed())
}

fn assert_phase(failure: &Failure, expected: Phase) {
    assert!(
        matches!(failure, Failure::Timeout { phase, .. } if *phase == expected),
        "{failure:?}"
    );
    assert!(failure.timed_out());
    assert!(failure.to_string().contains("registry.test"), "{failure}");
}

#[tokio::test]
async fn a_black_hole_ends_at_the_connect_limit() {
    // A client must not hang on an upstream that swallows packets.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // A full accept queue drops every further SYN.
    let fill: Vec<_> = (0..4)
        .map(|_| {
            let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address.into());
            filler
        })
        .collect();
    let setup = Setup::at(&format!("http://{address}")).timeouts(limits(SHORT, LONG, LONG));
    let (failure, took) = outcome(setup).await;
    assert_phase(&failure, Phase::Connect);
    assert!(took < LONG / 2, "{took:?}");
    drop(fill);
}

#[tokio::test]
async fn a_silent_tls_server_ends_at_the_connect_limit() {
    // The limit covers the handshake: a port that accepts and says nothing is as dead as one that does not accept.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (failure, _) = outcome(Setup::at(&url).timeouts(limits(SHORT, LONG, LONG))).await;
    assert_phase(&failure, Phase::Connect);
}

#[tokio::test]
async fn a_server_that_never_answers_ends_at_the_header_limit() {
    // The limit for the answer counts from the connection, not added to the limit for connecting.
    let stub = Stub::start(|_| vec![Step::Hang]).await;
    let (failure, took) = outcome(Setup::at(&stub.url("")).timeouts(limits(LONG, SHORT, LONG))).await;
    assert_phase(&failure, Phase::Headers);
    assert!(took >= SHORT && took < LONG / 2, "{took:?}");
}

#[tokio::test]
async fn half_a_header_ends_at_the_header_limit() {
    // A server that trickles its header must not hold a client for ever.
    let stub = Stub::start(|_| {
        let mut steps = raw("HTTP/1.1 200 OK\r\nContent-Le");
        steps.push(Step::Hang);
        steps
    })
    .await;
    let (failure, _) = outcome(Setup::at(&stub.url("")).timeouts(limits(LONG, SHORT, LONG))).await;
    assert_phase(&failure, Phase::Headers);
}

#[tokio::test]
async fn a_body_that_stalls_ends_at_the_idle_limit() {
    // A pull that hangs in the middle must end as broken, so that the client resumes.
    let stub = Stub::start(|_| {
        let mut steps = raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        steps.push(Step::Hang);
        steps
    })
    .await;
    let upstream = Setup::at(&stub.url(""))
        .timeouts(limits(LONG, LONG, SHORT))
        .build();
    let mut answer = upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap();
    let first = answer.body.frame().await.unwrap().unwrap();
    assert_eq!(first.data_ref().unwrap().as_ref(), b"half");
    let failure = answer.body.frame().await.unwrap().unwrap_err();
    assert_phase(&failure, Phase::Idle);
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    // A wrong port is the commonest mistake: the message must say that the connection was refused, and by whom.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (failure, _) = outcome(Setup::at(&format!("http://{address}"))).await;
    assert!(
        matches!(
            &failure,
            Failure::Unreachable {
                cause: Cause::Refused,
                ..
            }
        ),
        "{failure:?}"
    );
    assert!(failure.to_string().contains(&address.to_string()), "{failure}");
}

#[tokio::test]
async fn a_connection_that_closes_without_an_answer() {
    // A crash of the upstream is its fault, not a timeout and not the client's.
    let stub = Stub::start(|_| vec![Step::Close]).await;
    let (failure, _) = outcome(Setup::at(&stub.url(""))).await;
    assert!(
        matches!(
            &failure,
            Failure::Unreachable {
                cause: Cause::Closed,
                ..
            }
        ),
        "{failure:?}"
    );
    assert_eq!(stub.seen().len(), 1, "a fresh connection is not tried twice");
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_not_a_failure() {
    // Servers close idle connections at any moment; the next pull must not fail for it.
    let closing = Stub::start({
        let asked = std::sync::atomic::AtomicUsize::new(0);
        move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            // the second request meets a server that closes instead of answering
            1 => vec![Step::Close],
            _ => super::stub::answer(200, &[], "ok"),
        }
    })
    .await;
    let upstream = Setup::at(&closing.url("")).build();
    for _ in 0..2 {
        let answer = upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap();
        assert_eq!(answer.body.collect().await.unwrap().to_bytes(), "ok");
    }
    assert_eq!(closing.seen().len(), 3);
}

#[tokio::test]
async fn ipv6_that_leads_nowhere_falls_back_to_ipv4() {
    // On a host with half an IPv6, pulls must work as if there were none.
    let stub = Stub::start(|_| super::stub::answer(200, &[], "ok")).await;
    let mut setup = Setup::at(&stub.url_at("both.test", ""));
    setup.transport.static_hosts.insert(
        "both.test".to_owned(),
        vec!["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()],
    );
    let answer = setup.build().send(&get(TAGS), &Right::Anonymous).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_name_without_address_is_a_matter_of_dns() {
    // The message for a mistyped host must name the host and DNS.
    let (failure, _) = outcome(Setup::at("http://no-such-host.invalid")).await;
    assert!(
        matches!(
            &failure,
            Failure::Unreachable {
                cause: Cause::Dns(_),
                ..
            }
        ),
        "{failure:?}"
    );
    assert!(failure.to_string().contains("no-such-host.invalid"), "{failure}");
}
