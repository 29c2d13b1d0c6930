use super::*;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::super::idle::Idle;
use super::super::rewind::Rewind;
use super::super::wire::Wire;

const KEEP_ALIVE: Duration = Duration::from_secs(75);

struct Relayed {
    idle: Arc<Idle>,
    client: TcpStream,
    server: TcpStream,
    ended: JoinHandle<Result<(), Ended>>,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let far = listener.accept().await.unwrap().0;
    for end in [&near, &far] {
        end.set_nodelay(true).unwrap();
    }
    (near, far)
}

impl Relayed {
    async fn start() -> Self {
        let idle = Arc::new(Idle::default());
        let activity = Activity::new(&idle);
        let (client, line) = pair().await;
        let (to, server) = pair().await;
        let line: Line = Box::new(Rewind::new(Bytes::new(), Wire::Socket(line)));
        let ended =
            tokio::spawn(async move { relay(line, to, Box::new(|_| {}), &activity, KEEP_ALIVE).await });
        let relayed = Self {
            idle,
            client,
            server,
            ended,
        };
        tokio::task::yield_now().await;
        relayed
    }

    /// How long until it could be asked to make room.
    async fn rested(&self) -> Duration {
        let begun = Instant::now();
        let _waiting = self.idle.wait();
        self.idle.arrival().await;
        begun.elapsed()
    }

    async fn up(&mut self) {
        self.client.write_all(b"up").await.unwrap();
        self.server.read_exact(&mut [0; 2]).await.unwrap();
    }

    async fn down(&mut self) {
        self.server.write_all(b"down").await.unwrap();
        self.client.read_exact(&mut [0; 4]).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_relay_makes_room_and_a_busy_one_does_not() {
    // An operator at the connection limit: silent tunnels must not lock newcomers out, nor newcomers cut what moves.
    let mut relayed = Relayed::start().await;
    assert_eq!(relayed.idle.shed(9), 0, "it has only begun");
    assert!(relayed.rested().await >= KEEP_ALIVE);
    relayed.up().await;
    assert_eq!(relayed.idle.shed(9), 0, "bytes went up");
    let rested = relayed.rested().await;
    assert!(rested >= KEEP_ALIVE && rested < SILENT, "{rested:?}");
    relayed.down().await;
    assert_eq!(relayed.idle.shed(9), 0, "bytes came down");
    relayed.rested().await;
    assert_eq!(relayed.idle.shed(9), 1);
    let ended = relayed.ended.await.unwrap();
    assert!(matches!(ended, Err(Ended::Shed)), "{ended:?}");
    assert_eq!(relayed.server.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_stays_silent_ends() {
    // An operator with room to spare: a tunnel whose ends have gone does not stay for ever.
    let mut relayed = Relayed::start().await;
    relayed.rested().await;
    relayed.up().await;
    let moved = Instant::now();
    let ended = relayed.ended.await.unwrap();
    assert!(matches!(ended, Err(Ended::SilentTunnel)), "{ended:?}");
    assert!(moved.elapsed() >= SILENT && moved.elapsed() < SILENT + KEEP_ALIVE);
}
