//! The line that makes people wait: 4 MiB/s a connection, 100 ms there and back. A relay of a few lines, real sockets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use docxy::oci::digest::{Algorithm, Hasher};
use docxy::oci::{Digest, Repository};
use docxy::upstream::{Errand, Right};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::stub::Setup;
use crate::support::image::Image;
use crate::support::stub::StubRegistry;

const ONE_WAY: Duration = Duration::from_millis(50);
const SPEED: f64 = 4.0 * 1024.0 * 1024.0;

async fn relay(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                // The handshake takes a round trip too.
                tokio::time::sleep(ONE_WAY * 2).await;
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = TcpStream::connect(to).await.unwrap().into_split();
                tokio::join!(carry(near_in, far_out, f64::MAX), carry(far_in, near_out, SPEED));
            });
        }
    });
    address
}

/// Carries bytes at most so fast, and late. Little is on its way at a time, as on a real line.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, speed: f64) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let sending = async move {
        let mut free = Instant::now();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            // A timer that was late is made up for; a line that was idle is not.
            if free.elapsed() > ONE_WAY {
                free = Instant::now();
            }
            free += Duration::from_secs_f64(f64::from(u32::try_from(count).unwrap()) / speed);
            tokio::time::sleep_until(free.into()).await;
            if sender
                .send((free + ONE_WAY, buffer[..count].to_vec()))
                .await
                .is_err()
            {
                return;
            }
        }
    };
    let arriving = async move {
        while let Some((when, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(when.into()).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(sending, arriving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "twenty seconds; `make soak`"]
async fn soak_four_connections_are_three_and_a_half_times_as_fast() {
    // The layer of 64 MiB that takes sixteen seconds today.
    let image = Image::layers(1).layer_size(64 * 1024 * 1024).build();
    let blob = image.layer_blobs()[0].clone();
    let registry = StubRegistry::builder().image("a/b", "1", image).start().await;
    let address = relay(registry.addr()).await;
    let mut took = Vec::new();
    for segments in [1, 4] {
        let mut setup = Setup::at(&format!("http://{address}"));
        setup.config.segments = segments;
        let upstream = setup.build();
        let errand = Errand {
            repository: Repository::parse("a/b").unwrap(),
            digest: Digest::parse(&blob.digest).unwrap(),
            from: 0,
            known: Hasher::new(Algorithm::Sha256),
            length: None,
            order: docxy::upstream::Order::Any,
            sources: docxy::upstream::Sources::Authority,
        };
        let start = Instant::now();
        let mut download = upstream.download(errand, &Right::Anonymous).await.unwrap();
        let mut bytes = vec![0; blob.bytes.len()];
        while let Some(piece) = download.next().await {
            let piece = piece.unwrap();
            let at = usize::try_from(piece.at).unwrap();
            bytes[at..at + piece.bytes.len()].copy_from_slice(&piece.bytes);
        }
        took.push(start.elapsed().as_secs_f64());
        println!(
            "{segments} connection(s): {:.2} s, {:?}",
            took.last().unwrap(),
            download.counters()
        );
        assert!(bytes == blob.bytes);
    }

    println!("{:.2} x", took[0] / took[1]);
    assert!(took[0] / took[1] >= 3.5, "{took:?}");
}
