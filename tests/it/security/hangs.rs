//! Clients and registries that keep docxy waiting (R6, R1).

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{app::TestApp, single::Single, within};

#[tokio::test]
async fn a_form_that_never_comes_does_not_hold_its_connection() {
    // A few thousand such connections would be all that docxy has; none of them is idle, so none makes room (R6).
    let one = Single::start(
        crate::support::stub::StubRegistry::builder(),
        "[limits]\nheader_timeout = \"1s\"",
    )
    .await;
    let heads = [
        "POST /auth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n",
        "POST /auth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\ngrant_type=pass",
        "POST /auth/token/docker.io HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ngrant\r\n",
    ];
    for head in heads {
        let mut stream = TcpStream::connect(one.app.addr()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let begun = Instant::now();
        let mut answer = Vec::new();
        within("an answer to half a form", stream.read_to_end(&mut answer))
            .await
            .unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn endless_interim_answers_end_at_the_header_limit() {
    // A registry that says 103 for ever must not hold a request, nor fill the memory.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4];
                let mut writable = stream.read_exact(&mut head).await.is_ok();
                while writable {
                    let hint = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
                    writable = stream.write_all(hint).await.is_ok();
                    tokio::task::yield_now().await;
                }
            });
        }
    });
    let app = TestApp::builder()
        .config(&format!(
            "[timeouts]\nheaders = \"1s\"\n[registries.\"docker.io\"]\nurls = [\"http://{address}\"]\nallow_private_addresses = true"
        ))
        .start()
        .await;
    let answer = within(
        "the header limit",
        crate::support::puller::Puller::of(&app).ask("/v2/library/redis/manifests/7"),
    )
    .await;
    assert!([502, 504].contains(&answer.status), "{}", answer.everything());
}
