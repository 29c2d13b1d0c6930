//! docxy as a client's `HTTPS_PROXY`: CONNECT over a raw socket, and TLS inside with what `/ca.crt` says is to be trusted.

use std::{fmt::Write as _, io, net::SocketAddr, sync::Arc};

use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    app::TestApp,
    client::{Open, Request, Response, Stream, basic},
    within,
};

/// A proxy, and how a client signs in to it.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    roots: Arc<RootCertStore>,
    lines: Vec<(String, String)>,
}

/// Where the authority is in the state folder.
const KEPT: &str = "ca/current.key";

/// A tunnel in which nothing was said yet.
pub type Tunnel = Box<dyn Stream>;
/// TLS in it.
pub type Inside = TlsStream<Tunnel>;

impl Proxy {
    /// This docxy, and the authority it offers.
    pub async fn of(app: &TestApp) -> Self {
        Self::at(app.addr()).await
    }

    /// By this one of its listeners.
    pub async fn at(address: SocketAddr) -> Self {
        let answer = Request::get("/ca.crt").send(address).await;
        assert_eq!(answer.status, 200, "{}", answer.everything());
        Self::trusted(address, &answer.body)
    }

    /// This docxy, whose authority was copied from its folder: where nothing may be asked for.
    pub fn known(app: &TestApp) -> Self {
        let file = app.dir().join("state").join(KEPT);
        Self::trusted(app.addr(), &std::fs::read(file).unwrap())
    }

    fn trusted(address: SocketAddr, pem: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.unwrap()).unwrap();
        }
        Self {
            address,
            roots: Arc::new(roots),
            lines: Vec::new(),
        }
    }

    /// Signs in to it with a password.
    pub fn user(self, name: &str, password: &str) -> Self {
        self.authorization(&basic(name, password))
    }

    /// Signs in to it with this in `Proxy-Authorization`.
    pub fn authorization(self, value: &str) -> Self {
        self.line("Proxy-Authorization", value)
    }

    /// Sends this line with each CONNECT; a `Host` stands in the place of the right one.
    pub fn line(mut self, name: &str, value: &str) -> Self {
        self.lines.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What clients use inside, which speak these protocols.
    pub fn trust(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|&name| name.into()).collect();
        Arc::new(config)
    }

    /// A client's CONNECT.
    pub fn request(&self, place: &str) -> String {
        let mut lines = String::new();
        if !self.lines.iter().any(|(name, _)| name == "Host") {
            let _ = write!(lines, "Host: {place}\r\n");
        }
        for (name, value) in &self.lines {
            let _ = write!(lines, "{name}: {value}\r\n");
        }
        format!("CONNECT {place} HTTP/1.1\r\n{lines}\r\n")
    }

    /// Asks over this connection for a tunnel, or for the refusal.
    pub async fn ask_over(
        &self,
        mut stream: Box<dyn Stream>,
        place: &str,
    ) -> io::Result<Result<Tunnel, Box<Open>>> {
        stream.write_all(self.request(place).as_bytes()).await?;
        let open = Open::read_head(stream, false).await?;
        Ok(match open.status {
            200 => Ok(open.into_stream()),
            _ => Err(Box::new(open)),
        })
    }

    /// A tunnel, or the whole refusal.
    pub async fn connect(&self, place: &str) -> Result<Tunnel, Response> {
        let what = format!("the answer to CONNECT {place}");
        let asked = async {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            self.ask_over(Box::new(stream), place).await
        };
        match within(&what, asked).await {
            Ok(Ok(tunnel)) => Ok(tunnel),
            Ok(Err(mut refusal)) => {
                let body = within(&what, refusal.rest()).await;
                Err(refusal.into_response(body))
            }
            Err(error) => panic!("no answer to CONNECT {place}: {error}"),
        }
    }

    /// A tunnel that must be granted.
    pub async fn tunnel(&self, place: &str) -> Tunnel {
        match self.connect(place).await {
            Ok(tunnel) => tunnel,
            Err(refusal) => panic!("no tunnel to {place}: {}", refusal.everything()),
        }
    }

    /// The refusal of a tunnel that must not be granted.
    pub async fn refused(&self, place: &str) -> Response {
        match self.connect(place).await {
            Ok(_) => panic!("a tunnel to {place}"),
            Err(refusal) => refusal,
        }
    }

    /// TLS in a tunnel, which offers these protocols.
    pub async fn inside(&self, place: &str, protocols: &[&str]) -> Inside {
        secured(self.tunnel(place).await, &self.trust(protocols), host_of(place)).await
    }

    /// A connection of HTTP/1.1 in a tunnel.
    pub async fn http1(&self, place: &str) -> Http {
        Http::one(self.inside(place, &["http/1.1"]).await).await
    }

    /// The same of HTTP/2.
    pub async fn http2(&self, place: &str) -> Http {
        Http::two(self.inside(place, &["h2", "http/1.1"]).await).await
    }
}

/// A connection for many requests, one after the other, or with HTTP/2 at once.
pub enum Http {
    One(http1::SendRequest<Empty<bytes::Bytes>>),
    Two(http2::SendRequest<Empty<bytes::Bytes>>),
}

impl Http {
    pub async fn one(stream: Inside) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self::One(sender)
    }

    pub async fn two(stream: Inside) -> Self {
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self::Two(sender)
    }

    /// One request; with HTTP/2 the target is a whole URL, with HTTP/1.1 the lines have a `Host`.
    pub async fn send(&mut self, request: http::request::Builder) -> hyper::Result<Response> {
        let request = request.body(Empty::new()).unwrap();
        let answer = match self {
            Self::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Two(sender) => sender.send_request(request).await?,
        };
        let (head, body) = answer.into_parts();
        Ok(Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await?.to_bytes().to_vec(),
            complete: true,
        })
    }

    /// GET of a path at a host.
    pub async fn get(&mut self, host: &str, path: &str) -> Response {
        let request = match self {
            Self::One(_) => http::Request::get(path).header("host", host),
            Self::Two(_) => http::Request::get(format!("https://{host}{path}")),
        };
        within(path, self.send(request)).await.unwrap()
    }
}

/// The handshake inside, for this name.
pub async fn secured(tunnel: Tunnel, config: &Arc<ClientConfig>, name: &str) -> Inside {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name, tunnel);
    within("the handshake inside", handshake).await.unwrap()
}

/// The host of `HOST:PORT`, without brackets.
pub fn host_of(place: &str) -> &str {
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
