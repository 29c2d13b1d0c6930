//! A server of a few lines that answers what a test scripts, byte for byte, and remembers what it was asked.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use docxy::config::values::{Credential, DnsServer, Secret};
use docxy::oci::{Endpoint, RegistryName};
use docxy::upstream::transport;
use docxy::upstream::transport::names::{self, Names};
use docxy::upstream::{Account, Ask, Config, CredentialSource, Method, Right, Timeouts, Upstream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use url::Url;

pub const TAGS: &str = "/v2/a/b/tags/list";

#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    /// Names in lower case
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

pub enum Step {
    Send(Vec<u8>),
    /// Holds the connection open and says no more.
    Hang,
    Close,
}

pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Vec<Step> {
    let mut head = format!("HTTP/1.1 {status} X\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length"))
    {
        let _ = write!(head, "Content-Length: {}\r\n", body.len());
    }
    vec![Step::Send(format!("{head}\r\n{body}").into_bytes())]
}

pub fn raw(bytes: &str) -> Vec<Step> {
    vec![Step::Send(bytes.as_bytes().to_vec())]
}

#[derive(Clone)]
pub struct Stub {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// The name of each TLS handshake, and whether a certificate was shown.
    handshakes: Arc<Mutex<Vec<(String, bool)>>>,
    https: bool,
}

impl Stub {
    pub async fn start(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::serve(script, None).await
    }

    pub async fn start_tls(
        tls: rustls::ServerConfig,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(script, Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn serve(
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let stub = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            handshakes: Arc::default(),
            https: tls.is_some(),
        };
        let (script, seen, handshakes) = (Arc::new(script), stub.seen.clone(), stub.handshakes.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, seen, tls) = (script.clone(), seen.clone(), tls.clone());
                let handshakes = handshakes.clone();
                tokio::spawn(async move {
                    match tls {
                        None => talk(stream, &*script, &seen).await,
                        Some(tls) => match tls.accept(stream).into_fallible().await {
                            Ok(stream) => {
                                let session = stream.get_ref().1;
                                let name = session.server_name().unwrap_or_default().to_owned();
                                let shown = session.peer_certificates().is_some();
                                handshakes.lock().unwrap().push((name, shown));
                                talk(stream, &*script, &seen).await
                            }
                            Err((_, mut stream)) => {
                                // Closing with the request unread would be a reset, before the client has read why.
                                let mut rest = [0; 1024];
                                while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
                                None
                            }
                        },
                    }
                });
            }
        });
        stub
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn url(&self, path: &str) -> String {
        self.url_at("127.0.0.1", path)
    }

    pub fn url_at(&self, host: &str, path: &str) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{host}:{}{path}", self.port())
    }

    /// The names that clients asked for in TLS.
    pub fn names(&self) -> Vec<String> {
        let handshakes = self.handshakes.lock().unwrap();
        handshakes.iter().map(|(name, _)| name.clone()).collect()
    }

    /// How many connections showed a client's certificate.
    pub fn shown(&self) -> usize {
        let handshakes = self.handshakes.lock().unwrap();
        handshakes.iter().filter(|(_, shown)| *shown).count()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    script: &(dyn Fn(&Seen) -> Vec<Step> + Send + Sync),
    seen: &Mutex<Vec<Seen>>,
) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let request = read_request(&mut stream, &mut buffer).await?;
        seen.lock().unwrap().push(request.clone());
        for step in script(&request) {
            match step {
                Step::Send(bytes) => stream.write_all(&bytes).await.ok()?,
                Step::Hang => std::future::pending().await,
                Step::Close => return None,
            }
        }
        stream.flush().await.ok()?;
    }
}

pub async fn read_request<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    while buffer.len() < end + length {
        stream.read_buf(buffer).await.ok()?;
    }
    let body = String::from_utf8_lossy(&buffer[end..end + length]).into_owned();
    buffer.drain(..end + length);
    Some(Seen {
        method,
        target,
        headers,
        body,
    })
}

/// An upstream in the making: everything private allowed, short limits, no proxy.
pub struct Setup {
    pub config: Config,
    pub transport: transport::Config,
}

pub const REGISTRY: &str = "registry.test";

impl Setup {
    pub fn at(url: &str) -> Self {
        let registry = RegistryName::parse(REGISTRY).unwrap();
        let timeouts = Timeouts {
            connect: Duration::from_secs(5),
            headers: Duration::from_secs(15),
            idle: Duration::from_mins(1),
        };
        Self {
            config: Config {
                name: registry.clone(),
                url: Url::parse(url).unwrap(),
                library_prefix: false,
                credentials: Vec::new(),
                realms: Vec::new(),
                shows_certificate: false,
                max_token_answer: 64 * 1024,
                timeouts,
                max_redirects: 10,
                segments: 4,
                segment_threshold: 16 * 1024 * 1024,
                max_connections: 16,
            },
            transport: transport::Config {
                registry,
                tls: super::tls::trusting(&[]),
                own_tls: Vec::new(),
                proxy: None,
                proxies: transport::Proxies::default(),
                names: asking(&[], super::tls::trusting(&[]), timeouts.connect, true),
                allow_private: true,
                static_hosts: ["evil.test", "cdn.test", "registry.test"]
                    .map(|name| (name.to_owned(), vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]))
                    .into(),
                ipv6: true,
                timeouts,
                max_idle_connections: 16,
                via: http::HeaderValue::from_static("1.1 docxy-test"),
                tracer: docxy::telemetry::Tracer::default(),
                meter: docxy::telemetry::Metrics::default().meter("r"),
            },
        }
    }

    /// Names are asked of these servers; none of them is known without.
    pub fn dns(mut self, servers: &[&str], trusted: rustls::ClientConfig) -> Self {
        let (connect, ipv6) = (self.transport.timeouts.connect, self.transport.ipv6);
        self.transport.names = asking(servers, trusted, connect, ipv6);
        self
    }

    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.config.timeouts = timeouts;
        self.transport.timeouts = timeouts;
        self
    }

    pub fn build(self) -> Upstream {
        Upstream::new(self.config, self.transport.build().unwrap())
    }
}

fn asking(servers: &[&str], tls: rustls::ClientConfig, connect: Duration, ipv6: bool) -> Names {
    let config = names::Config {
        servers: servers
            .iter()
            .map(|server| DnsServer::parse(server).unwrap())
            .collect(),
        hosts: [("dns.test".to_owned(), vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])].into(),
        ipv6,
        tls,
        connect,
    };
    config.build()
}

pub fn ask(method: Method, path: &str) -> Ask {
    Ask {
        method,
        endpoint: Endpoint::parse(path).unwrap(),
        query: None,
        headers: http::HeaderMap::new(),
    }
}

pub fn get(path: &str) -> Ask {
    ask(Method::Get, path)
}

pub const PASSWORD: &str = "CANARY-password";
pub const TOKEN: &str = "CANARY-token";

pub fn credential() -> Credential {
    Credential {
        username: "CANARY-user".to_owned(),
        password: Secret::new(PASSWORD.as_bytes().to_vec()),
    }
}

pub fn account(source: CredentialSource) -> Account {
    Account {
        name: "the account".to_owned(),
        key: "its key".to_owned(),
        source,
    }
}

pub fn basic() -> Right {
    Right::Basic {
        registry: RegistryName::parse(REGISTRY).unwrap(),
        credential: credential(),
    }
}

pub fn bearer() -> Right {
    Right::Bearer {
        registry: RegistryName::parse(REGISTRY).unwrap(),
        token: Secret::new(TOKEN.into()),
    }
}
