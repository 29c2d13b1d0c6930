//! One question with all its redirects, followed by hand: at each hop the headers are made afresh (features P5, threat S1).

use std::fmt;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, TRANSFER_ENCODING,
    USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use url::Url;

use super::body::Body;
use super::failure::Failure;
use super::outgoing::Outgoing;
use super::place::Origin;
use super::redacted::RedactedUrl;
use super::transport::{Call, Load, NamedBy, Trail, Transport, host_and_port};
use crate::oci::RegistryName;
use crate::telemetry::metrics::Hop;

/// What else of it goes up with a push.
const PUSHED_ON: [HeaderName; 2] = [CONTENT_TYPE, CONTENT_RANGE];

/// What of a client's header goes upstream; everything else is docxy's own.
const PASSED_ON: [HeaderName; 5] = [ACCEPT, RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE];

/// A redirect's or a challenge's body up to this size is read, so that its connection can be used again.
const WORTH_DRAINING: u64 = 16 * 1024;

/// A header value with the only origin that may see it.
#[derive(Clone, Debug)]
pub(super) struct Authorization {
    pub origin: Origin,
    pub value: HeaderValue,
}

/// A question with its URL made.
pub(super) struct Question<'a> {
    pub registry: &'a RegistryName,
    pub method: Method,
    pub url: Url,
    /// The registry named the URL in a `Location`, where an upload goes on: whoever knows it may go on with it.
    pub at_location: bool,
    /// The client's lines; the allow-list is applied here.
    pub headers: &'a HeaderMap,
    pub authorization: Option<&'a Authorization>,
    /// What a client pushes; goes out once.
    pub body: Option<&'a Outgoing>,
    pub max_redirects: u8,
}

impl Question<'_> {
    /// Something of its body is gone: it can't be asked again.
    pub fn is_spent(&self) -> bool {
        self.body.is_some_and(Outgoing::has_begun)
    }

    fn reads(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// Why a redirect with this status can't be followed.
    fn stays(&self, status: StatusCode) -> Option<&'static str> {
        if self.is_spent() {
            Some("it came when a part of the body was on its way, which docxy does not keep")
        } else if !self.reads() && !matches!(status.as_u16(), 307 | 308) {
            Some("a write is not followed with a status that would make it another method")
        } else {
            None
        }
    }
}

/// The last answer.
#[derive(Debug)]
pub(super) struct Landed {
    pub answer: Response<Body>,
    pub redirects: u8,
    /// It comes from the registry's own origin, and no other host was between.
    pub at_registry: bool,
    pub length_known: bool,
    /// Who answered: host, and port where the URL names one.
    pub host: String,
    /// What its `Location` names, though it is no redirect: where an upload goes on. Or why nobody goes there.
    pub onward: Option<Box<Result<Url, &'static str>>>,
    /// Where it was, when that is away from the registry: the same may be asked there again (`follow_from`).
    pub away: Option<Place>,
    /// As `Answer::unheard`.
    pub unheard: bool,
}

/// A URL away from the registry, at which its redirects once ended; mostly signed, and good for some minutes. Only
/// `follow` makes one, so that nothing else is ever asked without the registry's word.
#[derive(Clone)]
pub(super) struct Place {
    url: Url,
    redirects: u8,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = RedactedUrl {
            url: &self.url,
            from_redirect: true,
        };
        write!(f, "Place({url})")
    }
}

pub(super) async fn follow(transport: &Transport, question: &Question<'_>) -> Result<Landed, Failure> {
    walk(transport, question, question.url.clone(), true, 0).await
}

/// Asks at a place where the same question ended before, without the registry. It is away, so nobody's credential goes
/// there, whatever the question holds; its redirects count on from those that led to it.
pub(super) async fn follow_from(
    transport: &Transport,
    question: &Question<'_>,
    place: &Place,
) -> Result<Landed, Failure> {
    walk(transport, question, place.url.clone(), false, place.redirects).await
}

/// Asks at the question's own URL, which is away from the registry: nobody's credential goes there, whatever the question
/// holds.
pub(super) async fn follow_away(transport: &Transport, question: &Question<'_>) -> Result<Landed, Failure> {
    walk(transport, question, question.url.clone(), false, 0).await
}

async fn walk(
    transport: &Transport,
    question: &Question<'_>,
    mut url: Url,
    mut at_registry: bool,
    mut redirects: u8,
) -> Result<Landed, Failure> {
    let home = Origin::of(&question.url);
    loop {
        let host = host_and_port(&url);
        let call = Call {
            method: question.method.clone(),
            headers: headers(question, &url, at_registry),
            url,
            body: question.body.cloned().map_or(Load::Nothing, Load::Upload),
            named_by: if at_registry {
                NamedBy::Configuration
            } else {
                NamedBy::Redirect
            },
            hop: if at_registry { Hop::Registry } else { Hop::Storage },
            at_location: question.at_location || redirects > 0,
        };
        let answer = transport.exchange(&call, &question.url).await?;
        tracing::debug!(
            registry = %question.registry,
            url = %RedactedUrl { url: &call.url, from_redirect: call.at_location },
            status = answer.status().as_u16(),
            "asked"
        );
        if !is_redirect(answer.status()) {
            let away = (!at_registry).then(|| Place {
                url: call.url.clone(),
                redirects,
            });
            let onward = answer
                .headers()
                .contains_key(LOCATION)
                .then(|| Box::new(next(question, &call.url, answer.headers())));
            let landed = landed(transport, question, answer, host, redirects, away)?;
            return Ok(Landed { onward, ..landed });
        }
        if let Some(reason) = question.stays(answer.status()) {
            return Err(Failure::BadRedirect {
                registry: question.registry.clone(),
                host,
                reason,
            });
        }
        if redirects == question.max_redirects {
            return Err(Failure::TooManyRedirects {
                registry: question.registry.clone(),
                limit: question.max_redirects,
            });
        }
        redirects += 1;
        url = next(question, &call.url, answer.headers()).map_err(|reason| Failure::BadRedirect {
            registry: question.registry.clone(),
            host,
            reason,
        })?;
        // Once away, the registry is not trusted with anything on the word of another host, even if that one leads back.
        at_registry = at_registry && Origin::of(&url) == home;
        drain(answer.into_body());
    }
}

/// The header lines of every request that docxy makes.
pub(super) fn own_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("docxy/", env!("CARGO_PKG_VERSION"))),
    );
    // A digest is of the bytes as they are stored.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

/// An encoded body can't be what a digest names, and docxy never decodes (threat I9).
pub(super) fn identity_only(registry: &RegistryName, host: &str, headers: &HeaderMap) -> Result<(), Failure> {
    let encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.is_empty() && !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(Failure::BadAnswer {
            registry: registry.clone(),
            host: host.to_owned(),
            reason: "it has a Content-Encoding although identity was asked for".to_owned(),
        });
    }
    Ok(())
}

/// Reads a small rest in the background, so that the connection goes back to the pool.
pub(super) fn drain(body: impl http_body::Body<Data = bytes::Bytes, Error: Send> + Send + 'static) {
    use http_body_util::BodyExt;
    if body.is_end_stream() || body.size_hint().upper().is_none_or(|size| size > WORTH_DRAINING) {
        return;
    }
    tokio::spawn(tokio::time::timeout(
        std::time::Duration::from_secs(5),
        async move {
            let mut body = std::pin::pin!(body);
            while let Some(Ok(_)) = body.frame().await {}
        },
    ));
}

fn headers(question: &Question<'_>, url: &Url, at_registry: bool) -> HeaderMap {
    let mut headers = own_headers();
    for name in &PASSED_ON {
        for value in question.headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    if !question.reads() {
        for name in &PUSHED_ON {
            if let Some(value) = question.headers.get(name) {
                headers.insert(name, value.clone());
            }
        }
        if question.body.is_none() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    }
    if let Some(authorization) = question.authorization
        && at_registry
        && authorization.origin == Origin::of(url)
    {
        headers.insert(AUTHORIZATION, authorization.value.clone());
    }
    headers
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where the redirect leads (RFC 9110 section 10.2.2), or why it is not followed.
fn next(question: &Question<'_>, from: &Url, headers: &HeaderMap) -> Result<Url, &'static str> {
    let mut locations = headers.get_all(LOCATION).iter();
    let location = locations.next().ok_or("it has no Location")?;
    if locations.next().is_some() {
        return Err("it has more than one Location");
    }
    let location = location.to_str().map_err(|_| "its Location is not ASCII")?;
    let mut to = from.join(location).map_err(|_| "its Location is no URL")?;
    if !matches!(to.scheme(), "http" | "https") || to.host().is_none() {
        return Err("its Location is neither http nor https");
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err("its Location carries a user name");
    }
    if to.scheme() == "http" && question.url.scheme() == "https" {
        return Err("it leads from https to http");
    }
    to.set_fragment(None);
    Ok(to)
}

fn landed(
    transport: &Transport,
    question: &Question<'_>,
    answer: Response<reqwest::Body>,
    host: String,
    redirects: u8,
    away: Option<Place>,
) -> Result<Landed, Failure> {
    let status = answer.status();
    if away.is_some() {
        refused_by_storage(question, &host, status)?;
    }
    let length_known = question.method == Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || answer.headers().contains_key(CONTENT_LENGTH)
        || answer.headers().contains_key(TRANSFER_ENCODING);
    let (mut parts, body) = answer.into_parts();
    let trail = parts.extensions.remove::<Trail>();
    end_to_end(&mut parts.headers);
    let body = match identity_only(question.registry, &host, &parts.headers) {
        Ok(()) => Body::new(
            body,
            question.registry.clone(),
            host.clone(),
            transport.timeouts().idle,
        )
        .over(trail),
        Err(failure) if status.is_success() => return Err(failure),
        // The text of an error is not worth failing for; its status is.
        Err(_) => {
            parts.headers.remove(CONTENT_ENCODING);
            parts.headers.remove(CONTENT_LENGTH);
            Body::empty(question.registry.clone(), host.clone())
        }
    };
    Ok(Landed {
        answer: Response::from_parts(parts, body),
        redirects,
        at_registry: away.is_none(),
        length_known,
        host,
        onward: None,
        away,
        unheard: false,
    })
}

/// Takes out what was for this connection only: the fields that `Connection` names (RFC 9110 7.6.1), and a Content-Length
/// beside a Transfer-Encoding, which is what framed the body (RFC 9112 6.3).
fn end_to_end(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    if !headers.contains_key(CONNECTION) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// A storage's 401 or 403 says nothing about the client's rights: its URL was signed by the registry. Some sign only GET.
fn refused_by_storage(question: &Question<'_>, host: &str, status: StatusCode) -> Result<(), Failure> {
    let (registry, host) = (question.registry.clone(), host.to_owned());
    match (status.as_u16(), &question.method) {
        (400 | 401 | 403 | 405 | 501, &Method::HEAD) => Err(Failure::HeadRefused {
            registry,
            host,
            status,
        }),
        (400 | 401 | 403, _) => Err(Failure::StorageRefused {
            registry,
            host,
            status,
        }),
        _ => Ok(()),
    }
}
