//! A raw HTTP/1.1 client: sends exactly the bytes it is told (hostile paths, Hosts, several Accept lines), reads as much as it
//! is told, and knows a broken body from a whole one.

use std::{fmt::Write as _, io, net::SocketAddr, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{
    image::{Content, sha256},
    stub::StubRegistry,
    through::{Proxy, host_of},
    within,
};

/// A request whose every byte the test chooses.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    tls: Option<(Arc<ClientConfig>, String)>,
    through: Option<(Proxy, String)>,
}

impl Request {
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
            tls: None,
            through: None,
        }
    }

    pub fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    pub fn head(target: impl Into<String>) -> Self {
        Self::new("HEAD", target)
    }

    /// A form, as `OAuth2` token requests are sent.
    pub fn form(target: impl Into<String>, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let mut request =
            Self::new("POST", target).header("Content-Type", "application/x-www-form-urlencoded");
        request.body = body.into_bytes();
        request
    }

    /// With this body, and its length.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        self
    }

    /// Adds a line; an earlier one of the same name stays.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn basic(self, user: &str, password: &str) -> Self {
        let value = basic(user, password);
        self.header("Authorization", value)
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    pub fn tls(mut self, trust: Arc<ClientConfig>, name: &str) -> Self {
        self.tls = Some((trust, name.to_owned()));
        self
    }

    /// Inside a tunnel to this place (`HOST:PORT`), whose address `send` is told is the proxy's. What the proxy says where it
    /// makes no tunnel is the answer.
    pub fn through(mut self, proxy: &Proxy, place: &str) -> Self {
        self.through = Some((proxy.clone(), place.to_owned()));
        self
    }

    /// Sends, and reads the whole answer.
    pub async fn send(self, to: SocketAddr) -> Response {
        let what = format!("the answer to {} {}", self.method, self.target);
        let mut open = self.open(to).await;
        let body = within(&what, open.rest()).await;
        open.into_response(body)
    }

    /// Sends, and reads the head only; the body is read as the test goes on, and dropping the answer hangs up.
    pub async fn open(self, to: SocketAddr) -> Open {
        let what = format!("the head of the answer to {} {}", self.method, self.target);
        within(&what, self.try_open(to))
            .await
            .unwrap_or_else(|error| panic!("no answer to {} {}: {error}", self.method, self.target))
    }

    /// As `open`, for tests in which the connection itself may be refused or closed; `ConnectionAborted` is one that was
    /// closed without a word.
    pub async fn try_open(&self, to: SocketAddr) -> io::Result<Open> {
        let tcp = TcpStream::connect(to).await?;
        tcp.set_nodelay(true)?;
        let mut stream: Box<dyn Stream> = Box::new(tcp);
        if let Some((trust, name)) = &self.tls {
            stream = Box::new(secured(trust, name, stream).await?);
        }
        if let Some((proxy, place)) = &self.through {
            stream = match proxy.ask_over(stream, place).await? {
                Ok(stream) => Box::new(secured(&proxy.trust(&[]), host_of(place), stream).await?),
                Err(refusal) => return Ok(*refusal),
            };
        }
        stream.write_all(&self.wire(to)).await?;
        stream.flush().await?;
        Open::read_head(stream, self.method == "HEAD").await
    }

    fn wire(&self, to: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.has("Host") {
            let to = match &self.through {
                Some((_, place)) => place.strip_suffix(":443").unwrap_or(place).to_owned(),
                None => to.to_string(),
            };
            let _ = write!(head, "Host: {to}\r\n");
        }
        if !self.body.is_empty() {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head += "Connection: close\r\n\r\n";
        let mut wire = head.into_bytes();
        wire.extend_from_slice(&self.body);
        wire
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
    }
}

/// `Basic <base64>`
pub fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
    )
}

/// A whole answer, or what came of it before it broke.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The body ended where its framing said it would. False: the client knows that it is broken.
    pub complete: bool,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The first error's code and message; fails unless this is well-formed OCI error JSON.
    #[track_caller]
    pub fn oci_error(&self) -> (String, String) {
        let json = self.json();
        let errors = json["errors"]
            .as_array()
            .unwrap_or_else(|| panic!("no errors array in {json}"));
        assert!(!errors.is_empty(), "an empty errors array in {json}");
        for error in errors {
            let code = error["code"]
                .as_str()
                .unwrap_or_else(|| panic!("no code in {json}"));
            assert!(
                code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
                "code {code:?} is not of the specification's form in {json}"
            );
            assert!(error["message"].is_string(), "no message in {json}");
        }
        let text = |key: &str| errors[0][key].as_str().unwrap().to_owned();
        (text("code"), text("message"))
    }

    /// The head as it would be searched for leaked secrets, and the body after it.
    pub fn everything(&self) -> String {
        format!("{} {:?}\n{}", self.status, self.headers, self.text())
    }
}

/// What tests say of an answer; a failure shows the answer and what the upstream saw.
impl Response {
    #[track_caller]
    pub fn assert_status(&self, allowed: &[u16], upstream: &StubRegistry) {
        let (got, all, story) = (self.status, self.everything(), upstream.story());
        assert!(allowed.contains(&got), "expected {allowed:?}, got {all}\n{story}");
    }

    /// Exactly these bytes, under their digest, whole.
    #[track_caller]
    pub fn assert_is(&self, content: &Content, upstream: &StubRegistry) {
        self.assert_status(&[200], upstream);
        let story = upstream.story();
        assert!(
            self.complete,
            "the body is broken after {} bytes\n{story}",
            self.body.len()
        );
        assert_eq!(
            sha256(&self.body),
            content.digest,
            "other bytes ({} of them): {}\n{story}",
            self.body.len(),
            self.everything().chars().take(2000).collect::<String>()
        );
        assert_eq!(
            self.header("docker-content-digest"),
            Some(&*content.digest),
            "{:?}",
            self.headers
        );
        let length = content.bytes.len().to_string();
        assert_eq!(
            self.header("content-length"),
            Some(&*length),
            "no progress bar: {:?}",
            self.headers
        );
    }

    /// An OCI error of this status and code, not to be stored by any cache, whose message names `who`.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, codes: &[&str], who: &str, upstream: &StubRegistry) {
        self.assert_status(&[status], upstream);
        let (code, message) = self.oci_error();
        assert!(
            codes.contains(&&*code),
            "expected a code of {codes:?}, got {}",
            self.everything()
        );
        assert!(
            message.contains(who),
            "the message does not name {who:?}: {message}"
        );
        let cache = self.header("cache-control").unwrap_or_default();
        assert!(
            cache.contains("no-store"),
            "an error that a cache may keep: {:?}",
            self.headers
        );
        let kind = self.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "an error of type {kind:?}");
    }
}

/// An answer whose body is still being read.
pub struct Open {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    pub status: u16,
    pub headers: HeaderMap,
    framing: Framing,
    complete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// This many bytes are still to come.
    Length(u64),
    Chunked,
    UntilClose,
}

impl Open {
    /// Reads `count` bytes of the body, fewer if it ends or breaks before.
    pub async fn read(&mut self, count: usize) -> Vec<u8> {
        assert_ne!(
            self.framing,
            Framing::Chunked,
            "partial reads of chunked bodies are not supported"
        );
        let mut bytes = Vec::new();
        while bytes.len() < count && !matches!(self.framing, Framing::Length(0)) {
            if self.buffer.is_empty() && !self.fill().await {
                break;
            }
            let take = self.buffer.len().min(count - bytes.len());
            bytes.extend_from_slice(&self.buffer[..take]);
            self.buffer.drain(..take);
            if let Framing::Length(left) = &mut self.framing {
                *left = left.saturating_sub(take as u64);
            }
        }
        bytes
    }

    /// Reads to the end, whole or broken; see `complete`.
    pub async fn rest(&mut self) -> Vec<u8> {
        match self.framing {
            Framing::Length(left) => {
                let bytes = self.read(usize::try_from(left).unwrap()).await;
                self.complete = bytes.len() as u64 == left;
                bytes
            }
            Framing::UntilClose => {
                while self.fill().await {}
                // Without framing nobody can tell a cut from an end; docxy must not answer so where it matters.
                self.complete = true;
                std::mem::take(&mut self.buffer)
            }
            Framing::Chunked => self.chunks().await,
        }
    }

    /// What follows the head, as it comes.
    pub fn into_stream(self) -> Box<dyn Stream> {
        assert!(self.buffer.is_empty(), "bytes came with the head");
        self.stream
    }

    pub fn into_response(self, body: Vec<u8>) -> Response {
        Response {
            status: self.status,
            headers: self.headers,
            body,
            complete: self.complete,
        }
    }

    /// Reads an answer's head.
    pub async fn read_head(stream: Box<dyn Stream>, head_only: bool) -> io::Result<Self> {
        let mut open = Self {
            stream,
            buffer: Vec::new(),
            status: 0,
            headers: HeaderMap::new(),
            framing: Framing::UntilClose,
            complete: false,
        };
        let end = loop {
            if let Some(end) = find(&open.buffer, b"\r\n\r\n") {
                break end;
            }
            open.buffer.reserve(64 * 1024);
            if open.stream.read_buf(&mut open.buffer).await? == 0 {
                let kind = if open.buffer.is_empty() {
                    io::ErrorKind::ConnectionAborted
                } else {
                    io::ErrorKind::UnexpectedEof
                };
                let said = String::from_utf8_lossy(&open.buffer);
                return Err(io::Error::new(kind, format!("closed after {said:?}")));
            }
        };
        let head: Vec<u8> = open.buffer.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|code| code.parse().ok());
        open.status = status.ok_or_else(|| io::Error::other(format!("no status line in {head:?}")))?;
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| io::Error::other(line.to_owned()))?;
            let name: HeaderName = name.parse().map_err(io::Error::other)?;
            open.headers.append(
                name,
                HeaderValue::from_str(value.trim()).map_err(io::Error::other)?,
            );
        }
        open.framing = open.framing(head_only);
        Ok(open)
    }

    fn framing(&self, head_only: bool) -> Framing {
        if head_only || matches!(self.status, 204 | 304) {
            return Framing::Length(0);
        }
        if self
            .headers
            .get("transfer-encoding")
            .is_some_and(|value| value == "chunked")
        {
            return Framing::Chunked;
        }
        let length = self
            .headers
            .get("content-length")
            .map(|value| value.to_str().unwrap().parse().unwrap());
        length.map_or(Framing::UntilClose, Framing::Length)
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.until(b"\r\n").await else {
                return body;
            };
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
            while self.buffer.len() < size + 2 {
                if !self.fill().await {
                    body.append(&mut self.buffer);
                    return body;
                }
            }
            body.extend(self.buffer.drain(..size));
            self.buffer.drain(..2);
            if size == 0 {
                self.complete = true;
                return body;
            }
        }
    }

    async fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, mark) {
                let line = self.buffer.drain(..at + mark.len()).collect();
                return Some(line);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// More bytes into the buffer; false when the other side closed or reset.
    async fn fill(&mut self) -> bool {
        self.buffer.reserve(64 * 1024);
        let before = self.buffer.len();
        self.stream.read_buf(&mut self.buffer).await.is_ok() && self.buffer.len() > before
    }
}

/// Bytes to and fro.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn secured<S: Stream>(trust: &Arc<ClientConfig>, name: &str, stream: S) -> io::Result<TlsStream<S>> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(trust));
    connector.connect(name, stream).await
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
