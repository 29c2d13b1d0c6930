//! The line that makes people wait: so many bytes a second on each connection, so long a way, and now and then it breaks. A
//! relay of a few lines between real sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What a line is like.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Bytes a second towards the client, on each connection.
    pub speed: f64,
    pub one_way: Duration,
    /// A connection breaks after so many bytes towards the client, at most; each at a place of its own.
    pub breaks_within: Option<u64>,
}

/// Mostly water: 4 MiB/s a connection, 100 ms there and back.
pub const OCEAN: Line = Line {
    speed: 4.0 * 1024.0 * 1024.0,
    one_way: Duration::from_millis(50),
    breaks_within: None,
};

/// A relay, for as long as the test lasts.
pub struct Relay {
    pub address: SocketAddr,
    to: Arc<Mutex<SocketAddr>>,
    broken: Arc<Mutex<usize>>,
}

impl Relay {
    pub async fn to(to: SocketAddr, line: Line) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (to, broken) = (Arc::new(Mutex::new(to)), Arc::new(Mutex::new(0)));
        let relay = Self {
            address,
            to: Arc::clone(&to),
            broken: Arc::clone(&broken),
        };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (to, broken) = (*locked(&to), Arc::clone(&broken));
                tokio::spawn(async move {
                    // The handshake takes a round trip too.
                    tokio::time::sleep(line.one_way * 2).await;
                    let Ok(far) = TcpStream::connect(to).await else {
                        return;
                    };
                    let (near_in, near_out) = near.into_split();
                    let (far_in, far_out) = far.into_split();
                    let up = Line {
                        speed: f64::MAX,
                        breaks_within: None,
                        ..line
                    };
                    tokio::select! {
                        _ = carry(near_in, far_out, up) => {}
                        broke = carry(far_in, near_out, line) => *locked(&broken) += usize::from(broke),
                    }
                });
            }
        });
        Ok(relay)
    }

    /// Connections from now on lead there.
    pub fn lead_to(&self, to: SocketAddr) {
        *locked(&self.to) = to;
    }

    /// Connections that it broke.
    pub fn broken(&self) -> usize {
        *locked(&self.broken)
    }
}

/// Carries bytes at most so fast, and late, until either side ends or the line breaks (`true`). Little is on its way at a
/// time, as on a real line.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, line: Line) -> bool {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let mut left = line
        .breaks_within
        .map_or(u64::MAX, |most| rand::rng().random_range(1..=most));
    let sending = async move {
        let mut free = Instant::now();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            // A timer that was late is made up for; a line that was idle is not.
            if free.elapsed() > line.one_way {
                free = Instant::now();
            }
            free += Duration::from_secs_f64(f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / line.speed);
            tokio::time::sleep_until(free.into()).await;
            let bytes = (free + line.one_way, buffer[..count].to_vec());
            if sender.send(bytes).await.is_err() {
                return;
            }
        }
    };
    let arriving = async move {
        while let Some((when, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(when.into()).await;
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            if to.write_all(&bytes[..count]).await.is_err() {
                return false;
            }
            left -= count as u64;
            if left == 0 {
                return true;
            }
        }
        false
    };
    let (sending, arriving) = (std::pin::pin!(sending), std::pin::pin!(arriving));
    match futures_util::future::select(sending, arriving).await {
        // What was read is still on its way.
        futures_util::future::Either::Left(((), arriving)) => arriving.await,
        futures_util::future::Either::Right((broke, _)) => broke,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
