//! A DNS server of the test's own, over UDP, TCP, TLS and HTTPS: says what it is told to say, and writes down what it was
//! asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

pub const A: u16 = 1;
pub const AAAA: u16 = 28;

/// What it does with questions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Manner {
    #[default]
    Answers,
    Silent,
    /// Every answer is SERVFAIL.
    Fails,
    /// The answers for this name are SERVFAIL.
    FailsFor(&'static str),
    /// Questions for AAAA are never answered.
    SilentForIpv6,
    /// UDP answers are empty and say that they are truncated.
    Truncates,
}

#[derive(Clone)]
pub struct DnsServer {
    address: SocketAddr,
    zone: Arc<Zone>,
}

#[derive(Default)]
struct Zone {
    names: BTreeMap<String, Vec<IpAddr>>,
    manner: Manner,
    ttl: u32,
    asked: Mutex<Vec<(String, u16)>>,
}

impl DnsServer {
    /// Plain DNS.
    pub async fn plain(names: &[(&str, &str)], manner: Manner, ttl: u32) -> Self {
        let zone = Zone::of(names, manner, ttl);
        // A port that is free for both.
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let this = Self {
            address: tcp.local_addr().unwrap(),
            zone,
        };
        let zone = this.zone.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                if let Some(answer) = zone.answer(&buffer[..length], true) {
                    let _ = udp.send_to(&answer, from).await;
                }
            }
        });
        let zone = this.zone.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = tcp.accept().await {
                tokio::spawn(framed(stream, zone.clone()));
            }
        });
        this
    }

    /// DNS over TLS.
    pub async fn over_tls(names: &[(&str, &str)], tls: Arc<ServerConfig>) -> Self {
        let (this, listener) = Self::listening(names).await;
        let (zone, tls) = (this.zone.clone(), TlsAcceptor::from(tls));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (zone, tls) = (zone.clone(), tls.clone());
                tokio::spawn(async move { framed(tls.accept(stream).await.ok()?, zone).await });
            }
        });
        this
    }

    /// DNS over HTTPS, at /dns-query.
    pub async fn over_https(names: &[(&str, &str)], tls: &ServerConfig) -> Self {
        let (this, listener) = Self::listening(names).await;
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let (zone, tls) = (this.zone.clone(), TlsAcceptor::from(Arc::new(tls)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (zone, tls) = (zone.clone(), tls.clone());
                tokio::spawn(async move {
                    let stream = tls.accept(stream).await.ok()?;
                    let service = service_fn(move |request| https(request, zone.clone()));
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok()
                });
            }
        });
        this
    }

    async fn listening(names: &[(&str, &str)]) -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            address: listener.local_addr().unwrap(),
            zone: Zone::of(names, Manner::Answers, 60),
        };
        (this, listener)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How often a name was asked for, with this type.
    pub fn asked(&self, name: &str, kind: u16) -> usize {
        let asked = self.zone.asked.lock().unwrap();
        asked
            .iter()
            .filter(|one| **one == (name.to_owned(), kind))
            .count()
    }

    /// All questions of this type.
    pub fn asked_at_all(&self, kind: u16) -> usize {
        self.zone
            .asked
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, own)| *own == kind)
            .count()
    }
}

impl Zone {
    /// A name may stand there more than once.
    fn of(names: &[(&str, &str)], manner: Manner, ttl: u32) -> Arc<Self> {
        let mut zone = Self {
            manner,
            ttl,
            ..Self::default()
        };
        for (name, address) in names {
            let addresses = zone.names.entry((*name).to_owned()).or_default();
            addresses.push(address.parse().unwrap());
        }
        Arc::new(zone)
    }

    fn answer(&self, question: &[u8], udp: bool) -> Option<Vec<u8>> {
        const NXDOMAIN: u8 = 3;
        const SERVFAIL: u8 = 2;
        let (name, end) = name(question)?;
        let kind = u16::from_be_bytes([question[end], question[end + 1]]);
        self.asked.lock().unwrap().push((name.clone(), kind));
        let truncated = udp && self.manner == Manner::Truncates;
        let found = self.names.get(&name);
        let code = match (self.manner, found) {
            (Manner::Silent, _) => return None,
            (Manner::SilentForIpv6, _) if kind == AAAA => return None,
            (Manner::Fails, _) => SERVFAIL,
            (Manner::FailsFor(broken), _) if name == broken => SERVFAIL,
            (_, None) => NXDOMAIN,
            (_, Some(_)) => 0,
        };
        let records: Vec<Vec<u8>> = found
            .into_iter()
            .flatten()
            .filter_map(|address| match (address, kind) {
                (IpAddr::V4(v4), A) => Some(v4.octets().to_vec()),
                (IpAddr::V6(v6), AAAA) => Some(v6.octets().to_vec()),
                _ => None,
            })
            .filter(|_| code == 0 && !truncated)
            .collect();
        let mut answer = question[..2].to_vec();
        answer.extend([0x81 | if truncated { 2 } else { 0 }, 0x80 | code]);
        answer.extend(1u16.to_be_bytes());
        answer.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(&question[12..end + 4]);
        for record in records {
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend(1u16.to_be_bytes());
            answer.extend(self.ttl.to_be_bytes());
            answer.extend(u16::try_from(record.len()).ok()?.to_be_bytes());
            answer.extend(record);
        }
        Some(answer)
    }
}

/// The name asked for, in lower case, and where its type begins.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = question.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
}

/// Questions and answers with their length in front (RFC 1035 section 4.2.2).
async fn framed<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, zone: Arc<Zone>) -> Option<()> {
    loop {
        let mut question = vec![0; stream.read_u16().await.ok()?.into()];
        stream.read_exact(&mut question).await.ok()?;
        let Some(answer) = zone.answer(&question, false) else {
            continue;
        };
        let length = u16::try_from(answer.len()).ok()?;
        stream
            .write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())
            .await
            .ok()?;
        stream.flush().await.ok()?;
    }
}

async fn https(
    request: http::Request<hyper::body::Incoming>,
    zone: Arc<Zone>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let right = request.uri().path() == "/dns-query" && request.method() == http::Method::POST;
    let question = request
        .into_body()
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let answer = question.ok().and_then(|question| zone.answer(&question, false));
    let answer = match answer.filter(|_| right) {
        Some(answer) => http::Response::builder()
            .header("content-type", "application/dns-message")
            .header("content-length", answer.len())
            .body(Full::from(answer)),
        None => http::Response::builder().status(404).body(Full::default()),
    };
    Ok(answer.unwrap())
}
