//! The end of the process, as clients see it (R7).

use std::time::Duration;

use docxy::listen::{self, Config};
use rustix::process::{Signal, getpid, kill_process};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::{Server, describe, get_http2, http2, read_to_end, read_until, scripted};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_pull_in_flight_finishes() {
    // A client in the middle of a layer when the operator upgrades: it gets its last byte, then the connection ends.
    let (service, mut requests) = scripted();
    let server = Server::plain(Config::default(), service);
    let mut stream = server.connect().await;
    stream.write_all(GET).await.unwrap();
    let pieces = requests.recv().await.unwrap();
    let (mut sender, connection) = http2(server.connect().await).await;
    let mut sender2 = sender.clone();
    let other = tokio::spawn(async move { get_http2(&mut sender2, "http://a/").await });
    let pieces2 = requests.recv().await.unwrap();

    server.start_draining();
    tokio::time::sleep(Duration::from_secs(20)).await;
    for pieces in [pieces, pieces2] {
        pieces.send("last words").unwrap();
    }
    let answer = read_to_end(&mut stream).await;
    assert!(answer.ends_with("last words\r\n0\r\n\r\n"), "{answer}");
    assert_eq!(other.await.unwrap(), (200, "last words".to_owned()));
    connection.await.unwrap().unwrap();
    assert!(
        sender.ready().await.is_err(),
        "no new request on a connection that goes away"
    );
    assert_eq!(server.stop().await.cut, 0);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_and_newcomers_do_not_delay_the_end() {
    // An operator who restarts docxy: with nothing in flight it ends at once, whoever is connected.
    let server = Server::plain(Config::default(), describe());
    let silent = server.connect().await;
    let mut kept = server.connect().await;
    kept.write_all(GET).await.unwrap();
    read_until(&mut kept, "listener=0\n").await;
    let (mut sender, _connection) = http2(server.connect().await).await;
    get_http2(&mut sender, "http://a/").await;

    let (address, start) = (server.address, Instant::now());
    let report = server.stop().await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!((report.accepted, report.cut), (3, 0));
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "nobody listens"
    );
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_is_cut_and_counted() {
    // An operator: the end comes after the configured time, and says what it cost; the client sees a broken body.
    let (service, mut requests) = scripted();
    let server = Server::plain(Config::default(), service);
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(GET).await.unwrap();
        let pieces = requests.recv().await.unwrap();
        pieces.send("half").unwrap();
        streams.push((stream, pieces));
    }
    let start = Instant::now();
    let report = server.stop().await;
    assert_eq!(start.elapsed().as_secs(), Config::default().drain.as_secs());
    assert_eq!(report.cut, 3);
    for (mut stream, _pieces) in streams {
        let answer = read_to_end(&mut stream).await;
        assert!(
            answer.ends_with("half\r\n"),
            "cut before the last chunk: {answer}"
        );
    }
}

#[tokio::test]
async fn the_first_signal_drains_and_the_second_ends() {
    // An operator at a terminal or systemd: one signal is a request, two are an order, and the exit code names it.
    let (trigger, drain) = listen::drain();
    let mut signals = Box::pin(listen::watch_signals(trigger, listen::Sockets::Own).unwrap());
    kill_process(getpid(), Signal::TERM).unwrap();
    tokio::select! {
        () = drain.started() => {}
        ended = &mut signals => panic!("ended at the first: {ended:?}"),
    }
    kill_process(getpid(), Signal::INT).unwrap();
    assert_eq!(signals.await, 130);
}
