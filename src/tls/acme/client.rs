//! Requests to the authority, by docxy's own roads: its proxies, its DNS, and the roots that `ca_file` adds.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::tls::authority::Seconds;
use crate::upstream::transport::{OpenError, Opener};

/// One request and its answer; an authority signs nothing while we wait.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// A chain is a few kilobytes.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// Seconds; whoever wants to be left alone for longer is asked again after that.
const LONGEST_PAUSE: i64 = 24 * 60 * 60;

const NAME: &str = concat!("docxy/", env!("CARGO_PKG_VERSION"), " instant-acme");

/// Each request has a connection of its own: an order needs a dozen, in two months.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    opener: Opener,
    tls: TlsConnector,
    /// The operator named it, so it may be in a private network; where its answers lead to may not.
    home: String,
    turned: Mutex<Option<Turned>>,
}

/// The authority answered that it wants to hear nothing for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turned {
    status: StatusCode,
    pub until: Option<Seconds>,
}

impl Turned {
    pub fn is_a_limit(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }
}

/// Why there is no answer that ACME has a meaning for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("its address {0:?} is none that docxy can ask")]
    Address(String),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("its answer broke off, or is longer than {LARGEST_ANSWER} bytes: {0}")]
    Body(String),
    #[error("it did not answer within {TIME_LIMIT:?}")]
    Slow,
    #[error("it answers {0}, without a word of ACME")]
    Status(StatusCode),
}

impl Client {
    /// `tls` without ALPN.
    pub fn new(opener: Opener, mut tls: ClientConfig, directory: &Url) -> Self {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(Arc::new(Inner {
            opener,
            tls: TlsConnector::from(Arc::new(tls)),
            home: directory.host_str().unwrap_or_default().to_owned(),
            turned: Mutex::default(),
        }))
    }

    /// The last answer of 429 or 503, if there was one since this was asked last.
    pub fn turned(&self) -> Option<Turned> {
        self.0
            .turned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let answer = tokio::time::timeout(TIME_LIMIT, inner.ask(request));
            let answer = answer.await.unwrap_or(Err(Error::Slow));
            answer
                .map(|answer| answer.map(Full::new).into())
                .map_err(|error| instant_acme::Error::Other(Box::new(error)))
        })
    }
}

impl Inner {
    async fn ask(&self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, Error> {
        let url = Url::parse(&request.uri().to_string());
        let not_askable = || Error::Address(request.uri().to_string());
        let url = url.map_err(|_| not_askable())?;
        let host = match url.host() {
            Some(Host::Domain(name)) if url.scheme() == "https" => name.to_owned(),
            Some(Host::Ipv4(address)) if url.scheme() == "https" => address.to_string(),
            Some(Host::Ipv6(address)) if url.scheme() == "https" => address.to_string(),
            _ => return Err(not_askable()),
        };
        let port = url.port_or_known_default().unwrap_or(443);
        let is_home = url.host_str() == Some(self.home.as_str());
        let name = ServerName::try_from(host.clone()).map_err(|_| not_askable())?;
        let request = in_origin_form(request, &url).ok_or_else(|| Error::Address(url.to_string()))?;
        let stream = self.opener.open(&host, port, is_home).await?;
        let stream = self.tls.connect(name, stream).await.map_err(Error::Tls)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let asking = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await;
            let body = body.map_err(|error| Error::Body(error.to_string()))?.to_bytes();
            Ok::<_, Error>(Response::from_parts(head, body))
        };
        // The answer is whole before the connection's own end matters.
        let answer = tokio::select! {
            biased;
            answer = asking => answer?,
            Err(error) = connection => return Err(error.into()),
        };
        let mut answer = answer;
        self.note(&answer);
        bound_retry_after(&mut answer);
        let speaks_acme = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.as_bytes();
            kind.starts_with(b"application/") && kind.windows(4).any(|part| part == b"json")
        });
        if (answer.status().is_client_error() || answer.status().is_server_error()) && !speaks_acme {
            return Err(Error::Status(answer.status()));
        }
        Ok(answer)
    }

    fn note(&self, answer: &Response<Bytes>) {
        let status = answer.status();
        if !matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            return;
        }
        let said = answer.headers().get(RETRY_AFTER);
        let turned = Turned {
            status,
            until: said.and_then(|said| retry_after(said, Seconds::now())),
        };
        *self.turned.lock().unwrap_or_else(PoisonError::into_inner) = Some(turned);
    }
}

/// As HTTP/1.1 wants it (RFC 9112, 3.2.1 and 3.2).
fn in_origin_form(
    mut request: Request<BodyWrapper<Bytes>>,
    url: &Url,
) -> Option<Request<BodyWrapper<Bytes>>> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let path: Uri = path.parse().ok()?;
    let host = url.host_str()?;
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    *request.uri_mut() = path;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(&host).ok()?);
    headers.insert(USER_AGENT, HeaderValue::from_static(NAME));
    Some(request)
}

/// The library adds what it reads there to the time of day, and panics where that has no sum.
fn bound_retry_after(answer: &mut Response<Bytes>) {
    let Some(said) = answer.headers_mut().remove(RETRY_AFTER) else {
        return;
    };
    let now = Seconds::now();
    if let Some(until) = retry_after(&said, now) {
        let pause = until.0.saturating_sub(now.0).clamp(0, LONGEST_PAUSE);
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(pause));
    }
}

/// RFC 9110, 10.2.3: seconds, or a date.
fn retry_after(value: &HeaderValue, now: Seconds) -> Option<Seconds> {
    let text = value.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        return Some(now.plus(text.parse().unwrap_or(i64::MAX)));
    }
    let date: SystemTime = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok().map(Seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after_are_understood() {
        // A limit that is not understood is hit again.
        let of = |text| retry_after(&HeaderValue::from_static(text), Seconds(1000));
        assert_eq!(of("120"), Some(Seconds(1120)));
        assert_eq!(of("Thu, 01 Jan 1970 01:00:00 GMT"), Some(Seconds(3600)));
        assert_eq!(of("soon"), None);
        assert_eq!(of("-5"), None);
    }

    #[test]
    fn a_pause_that_no_clock_can_hold_is_a_day() {
        // An authority that is broken or hostile must not end docxy's worker, and with it all renewals to come.
        for (said, heard) in [
            ("18446744073709551615", Some("86400")),
            ("99999999999999999999999999", Some("86400")),
            ("9223372036854775807", Some("86400")),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some("86400")),
            ("Thu, 01 Jan 1970 01:00:00 GMT", Some("0")),
            ("7", Some("7")),
            ("-1", None),
            ("soon", None),
        ] {
            let mut answer = Response::new(Bytes::new());
            answer
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static(said));
            bound_retry_after(&mut answer);
            let left = answer.headers().get(RETRY_AFTER);
            assert_eq!(left.map(|left| left.to_str().unwrap()), heard, "{said}");
        }
    }
}
