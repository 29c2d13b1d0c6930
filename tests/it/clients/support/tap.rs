//! A listener in front of a registry that keeps every byte clients send, to count secrets in them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

pub struct Tap {
    pub address: SocketAddr,
    sent: Arc<Mutex<Vec<u8>>>,
    accepting: AbortHandle,
}

impl Tap {
    /// Listens and passes everything on to `registry`.
    pub async fn open(registry: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket");
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&sent);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, registry, Arc::clone(&kept)));
            }
        })
        .abort_handle();
        Self {
            address,
            sent,
            accepting,
        }
    }

    /// How often a password was sent here, in clear or as Basic credentials of `user`.
    pub fn secrets(&self, user: &str, password: &str) -> usize {
        let sent = self.sent.lock().expect("no writer panics");
        [password.to_owned(), STANDARD.encode(format!("{user}:{password}"))]
            .iter()
            .map(|secret| {
                sent.windows(secret.len())
                    .filter(|window| *window == secret.as_bytes())
                    .count()
            })
            .sum()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Bytes are kept before the registry sees them: whatever it answered, the request is already here.
async fn pass_on(client: TcpStream, registry: SocketAddr, kept: Arc<Mutex<Vec<u8>>>) {
    let Ok(upstream) = TcpStream::connect(registry).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_registry, mut to_registry) = upstream.into_split();
    let up = async {
        let mut piece = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut piece).await {
            kept.lock()
                .expect("no writer panics")
                .extend_from_slice(&piece[..length]);
            if to_registry.write_all(&piece[..length]).await.is_err() {
                break;
            }
        }
        drop(to_registry.shutdown().await);
    };
    let down = async {
        drop(tokio::io::copy(&mut from_registry, &mut to_client).await);
        drop(to_client.shutdown().await);
    };
    tokio::join!(up, down);
}
