//! Behind a load balancer that names its clients.

use docxy::listen::Config;

use super::{Server, describe};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n";
const V2_FAMILY_TCP4: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x30\x39\x01\xbb";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn trusting(network: &str) -> Server {
    let config = Config {
        trusted_proxies: vec![network.parse().unwrap()],
        ..Config::default()
    };
    Server::start(config, describe(), true, None)
}

#[tokio::test(start_paused = true)]
async fn a_trusted_proxys_word_is_taken() {
    // An operator behind HAProxy: the client's address is in the log, and the balancer's health checks (LOCAL) work.
    let server = trusting("127.0.0.0/8");
    for (header, peer) in [
        (V1, "peer=192.0.2.7:12345 "),
        (V2_FAMILY_TCP4, "peer=192.0.2.7:12345 "),
    ] {
        let answer = server.exchange(&[header, GET].concat()).await;
        assert!(answer.contains(peer), "{answer}");
    }
    let answer = server.exchange(&[V2_LOCAL, GET].concat()).await;
    assert!(answer.contains("peer=127.0.0.1:"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn the_header_is_required_where_it_is_switched_on() {
    // An operator: whoever reaches the port past the balancer gets nothing.
    let server = trusting("127.0.0.0/8");
    for bytes in [
        GET,
        b"PROXY TCP4 nonsense\r\n",
        b"PROXY TCP4 192.0",
        &V2_LOCAL[..14],
    ] {
        assert_eq!(server.exchange(bytes).await, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_strangers_word_is_not_taken() {
    // Everyone: a client cannot give itself another address (S8), neither here nor where the protocol is off.
    let strict = trusting("10.0.0.0/8");
    assert_eq!(strict.exchange(&[V1, GET].concat()).await, "");
    let off = Server::plain(Config::default(), describe());
    let answer = off.exchange(&[V1, GET].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}
