//! An outbound proxy for HTTP requests, CONNECT and SOCKS5 on one port. Whatever name it is told is on loopback; it writes
//! down where it was asked to go, wants a password or not, and dies on command.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// How long it lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    Long,
    /// It is gone, with all connections and its socket, when so many bytes have come from upstream.
    DiesAfter(u64),
    /// Each connection is cut after so many bytes from upstream.
    CutsEach(u64),
    /// It accepts connections, and says nothing.
    Mute,
    /// It answers CONNECT with this status, and SOCKS with "general failure".
    Refuses(u16),
}

pub struct Outbound {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    life: Life,
    /// Where everything leads, if not to the port that was asked for.
    end: Option<SocketAddr>,
    login: Option<(String, String)>,
    log: Mutex<Vec<String>>,
    connections: AtomicU64,
    down: AtomicU64,
    dead: CancellationToken,
}

impl Outbound {
    pub async fn start() -> Self {
        Self::living(Life::Long).await
    }

    pub async fn living(life: Life) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), life, None).await
    }

    /// Only for who signs in.
    pub async fn for_user(user: &str, password: &str) -> Self {
        let login = Some((user.to_owned(), password.to_owned()));
        Self::at("127.0.0.1:0".parse().unwrap(), Life::Long, login).await
    }

    /// Whatever it is asked for, that is where it goes.
    pub async fn leading_to(end: SocketAddr) -> Self {
        Self::listening("127.0.0.1:0".parse().unwrap(), Life::Long, None, Some(end)).await
    }

    pub async fn at(address: SocketAddr, life: Life, login: Option<(String, String)>) -> Self {
        Self::listening(address, life, login, None).await
    }

    async fn listening(
        address: SocketAddr,
        life: Life,
        login: Option<(String, String)>,
        end: Option<SocketAddr>,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            inner: Arc::new(Inner {
                life,
                end,
                login,
                log: Mutex::default(),
                connections: AtomicU64::new(0),
                down: AtomicU64::new(0),
                dead: CancellationToken::new(),
            }),
        };
        let inner = relay.inner.clone();
        tokio::spawn(async move {
            let accepting = async {
                while let Ok((client, _)) = listener.accept().await {
                    inner.connections.fetch_add(1, Ordering::SeqCst);
                    let inner = inner.clone();
                    tokio::spawn(async move {
                        tokio::select! {
                            () = inner.dead.cancelled() => None,
                            served = inner.serve(client) => served,
                        }
                    });
                }
            };
            tokio::select! {
                () = inner.dead.cancelled() => {}
                () = accepting => {}
            }
        });
        relay
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `scheme://127.0.0.1:PORT`; `userinfo` is empty or ends with an @.
    pub fn url(&self, scheme: &str, userinfo: &str) -> String {
        format!("{scheme}://{userinfo}{}", self.address)
    }

    /// Where it was asked to go, `http HOST:PORT`, `connect HOST:PORT` or `socks HOST:PORT`, each time.
    pub fn asked(&self) -> Vec<String> {
        self.inner.log.lock().unwrap().clone()
    }

    pub fn connections(&self) -> u64 {
        self.inner.connections.load(Ordering::SeqCst)
    }

    pub fn is_dead(&self) -> bool {
        self.inner.dead.is_cancelled()
    }

    /// Bytes that came from upstream through it.
    pub fn carried(&self) -> u64 {
        self.inner.down.load(Ordering::SeqCst)
    }

    /// Waits until its socket is closed.
    pub async fn kill(&self) {
        self.inner.dead.cancel();
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.inner.dead.cancel();
    }
}

impl Inner {
    async fn serve(&self, client: TcpStream) -> Option<()> {
        if self.life == Life::Mute {
            let _held = client;
            return std::future::pending().await;
        }
        let mut first = [0; 1];
        client.peek(&mut first).await.ok()?;
        if first[0] == 5 {
            self.socks(client).await
        } else {
            self.http(client).await
        }
    }

    fn note(&self, kind: &str, target: &str) {
        self.log.lock().unwrap().push(format!("{kind} {target}"));
    }

    async fn http(&self, mut client: TcpStream) -> Option<()> {
        let head = head(&mut client).await?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
        let signed = fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"))
            .map(|(_, value)| *value);
        let wanted = self
            .login
            .as_ref()
            .map(|(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        if wanted.as_deref() != signed && wanted.is_some() {
            let refusal = "HTTP/1.1 407 Sign In\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
            client.write_all(refusal.as_bytes()).await.ok()?;
            return None;
        }
        if method == "CONNECT" {
            self.note("connect", target);
            let upstream = match self.life {
                Life::Refuses(status) => Err(status),
                _ => self.dial(target).await.ok_or(502),
            };
            let upstream = match upstream {
                Ok(upstream) => upstream,
                Err(status) => {
                    let refusal = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
                    client.write_all(refusal.as_bytes()).await.ok()?;
                    return None;
                }
            };
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
            return self.carry(client, upstream).await;
        }
        let (_, rest) = target.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/')?);
        self.note("http", authority);
        let mut upstream = self.dial(authority).await?;
        let mut forwarded = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        for (name, value) in fields {
            if !name.eq_ignore_ascii_case("proxy-authorization") {
                let _ = write!(forwarded, "{name}: {value}\r\n");
            }
        }
        upstream
            .write_all(format!("{forwarded}\r\n").as_bytes())
            .await
            .ok()?;
        self.carry(client, upstream).await
    }

    /// RFC 1928 and RFC 1929.
    async fn socks(&self, mut client: TcpStream) -> Option<()> {
        let mut two = [0; 2];
        client.read_exact(&mut two).await.ok()?;
        let mut methods = vec![0; two[1].into()];
        client.read_exact(&mut methods).await.ok()?;
        match &self.login {
            Some((user, password)) if methods.contains(&2) => {
                client.write_all(&[5, 2]).await.ok()?;
                client.read_u8().await.ok()?;
                let mut said = Vec::new();
                for _ in 0..2 {
                    let mut part = vec![0; client.read_u8().await.ok()?.into()];
                    client.read_exact(&mut part).await.ok()?;
                    said.push(part);
                }
                let right = said[0] == user.as_bytes() && said[1] == password.as_bytes();
                client.write_all(&[1, u8::from(!right)]).await.ok()?;
                right.then_some(())?;
            }
            Some(_) => {
                client.write_all(&[5, 0xff]).await.ok()?;
                return None;
            }
            None => client.write_all(&[5, 0]).await.ok()?,
        }
        let mut request = [0; 4];
        client.read_exact(&mut request).await.ok()?;
        let length = match request[3] {
            1 => 4,
            3 => client.read_u8().await.ok()?.into(),
            _ => 16,
        };
        let mut host = vec![0; length];
        client.read_exact(&mut host).await.ok()?;
        let port = client.read_u16().await.ok()?;
        let host = match host.len() {
            4 if request[3] == 1 => format!("{}.{}.{}.{}", host[0], host[1], host[2], host[3]),
            _ => String::from_utf8_lossy(&host).into_owned(),
        };
        let target = format!("{host}:{port}");
        self.note("socks", &target);
        let upstream = match self.life {
            Life::Refuses(_) => None,
            _ => self.dial(&target).await,
        };
        let reply = u8::from(upstream.is_none());
        client.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
        self.carry(client, upstream?).await
    }

    /// Every name is here.
    async fn dial(&self, target: &str) -> Option<TcpStream> {
        let literal = self.end.or_else(|| target.parse().ok());
        let port = || {
            target
                .rsplit_once(':')
                .map_or(Some(80), |(_, port)| port.parse().ok())
        };
        let end = match literal {
            Some(end) => end,
            None => SocketAddr::from(([127, 0, 0, 1], port()?)),
        };
        TcpStream::connect(end).await.ok()
    }

    async fn carry(&self, mut client: TcpStream, mut upstream: TcpStream) -> Option<()> {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_upstream, mut to_upstream) = upstream.split();
        let up = async {
            let _ = tokio::io::copy(&mut from_client, &mut to_upstream).await;
            let _ = to_upstream.shutdown().await;
            // The client may be silent while the answer flows.
            std::future::pending::<()>().await;
        };
        let down = async {
            let mut buffer = vec![0; 16 * 1024];
            let mut of_this = 0;
            loop {
                let read = from_upstream.read(&mut buffer).await.unwrap_or(0);
                if read == 0 || to_client.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
                of_this += read as u64;
                let all = self.down.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
                match self.life {
                    Life::DiesAfter(bytes) if all >= bytes => self.dead.cancel(),
                    Life::CutsEach(bytes) if of_this >= bytes => return,
                    _ => {}
                }
            }
        };
        tokio::select! {
            () = up => {}
            () = down => {}
        }
        Some(())
    }
}

async fn head(client: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(client.read_u8().await.ok()?);
    }
    String::from_utf8(bytes).ok()
}
