//! Where the bytes of one blob come from: the registry, or the storage that it sent us to, which is remembered for all
//! connections of a download, so that the registry is not asked again for each.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::answer::{Content, Span, check_digest};
use super::lane::Asking;
use super::stream::{Past, Stream};
use crate::oci::{Digest, Endpoint, Scope};
use crate::upstream::failure::Failure;
use crate::upstream::fetch::{self, Landed, Place, Question};
use crate::upstream::retry::{Trouble, Verdict, retry_after};
use crate::upstream::transport::host_and_port;
use crate::upstream::{Right, Site, place};

/// Remembered places that refuse are replaced so often within one question; then it is trouble like any other.
const REDIRECTS_RENEWED: usize = 3;

/// Gives parts of one blob. A trait so that the way connections share a blob can be tried without a network.
pub(super) trait Source: Send + Sync {
    /// `length` is what is known of the blob; `past` is for an answer that begins again from byte 0.
    fn ask(self: Arc<Self>, span: Span, length: Option<u64>, past: Past) -> Asking;

    /// A body from this place (`Stream::place`) ended at `at`, and again and again.
    fn short(&self, place: usize, at: u64, length: Option<u64>) -> Failure;

    /// A body from this place broke: what to do about it.
    fn broke(&self, _place: usize, trouble: &Trouble) -> Verdict {
        trouble.verdict()
    }

    /// It brought so many bytes.
    fn gave(&self, _place: usize, _bytes: usize) {}

    /// Of several places, those that brought bytes, and how many.
    fn givers(&self) -> Vec<(Site, u64)> {
        Vec::new()
    }
}

pub(super) struct AtSite {
    site: Site,
    right: Right,
    /// As clients know it.
    blob: Endpoint,
    digest: Digest,
    url: Url,
    scopes: Vec<Scope>,
    road: Mutex<Road>,
    /// One asks the registry for the way; the others wait for what it finds.
    finding: tokio::sync::Mutex<()>,
}

/// What is known of the way to the bytes.
#[derive(Clone, Debug)]
enum Road {
    Unknown,
    /// The registry has them itself, or sends us around on its own origin.
    Registry,
    Away(Arc<Place>),
}

impl AtSite {
    pub fn new(site: &Site, right: &Right, blob: Endpoint, digest: Digest) -> Result<Self, Failure> {
        let base = place::base(&site.config);
        let endpoint = place::endpoint(&site.config, &blob)?;
        Ok(Self {
            url: place::url(base, &endpoint, None),
            scopes: place::scopes(base, &endpoint),
            site: site.clone(),
            right: right.clone(),
            blob,
            digest,
            road: Mutex::new(Road::Unknown),
            finding: tokio::sync::Mutex::default(),
        })
    }

    pub fn site(&self) -> &Site {
        &self.site
    }

    pub fn right(&self) -> &Right {
        &self.right
    }

    pub fn blob(&self) -> &Endpoint {
        &self.blob
    }

    /// It did not answer within this time; everyone else is to know, too.
    pub fn late(&self, limit: Duration) -> Failure {
        let failure = self.site.timed_out(limit);
        self.site.health.note(&Err::<(), _>(failure.clone()));
        failure
    }

    /// The registry's own answer, or that of the place it sends us to, which is remembered if it has the bytes. The flag:
    /// as `Answer::anonymous`.
    pub async fn ask_registry(&self, headers: &HeaderMap) -> Result<(Landed, bool), Failure> {
        let site = &self.site;
        let outcome = site
            .auth
            .ask(&self.question(headers), &self.right, &self.scopes)
            .await;
        site.health.note(&outcome);
        let (landed, anonymous) = outcome?;
        let status = landed.answer.status();
        if landed.at_registry && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(Failure::denied(site.config.name.clone(), status));
        }
        if has_bytes(status) {
            *self.road() = match &landed.away {
                Some(place) => Road::Away(Arc::new(place.clone())),
                None => Road::Registry,
            };
        }
        Ok((landed, anonymous))
    }

    /// `Err` says why the body is of no use; see `Content::of`.
    pub fn content(&self, span: Span, length: Option<u64>, landed: &Landed) -> Result<Content, Failure> {
        let headers = landed.answer.headers();
        check_digest(&self.digest, headers)
            .and_then(|()| Content::of(span, length, landed.answer.status(), headers))
            .map_err(|reason| Failure::BadAnswer {
                registry: self.site.config.name.clone(),
                host: landed.host.clone(),
                reason,
            })
    }

    async fn answer(&self, headers: &HeaderMap) -> Result<Landed, Failure> {
        for _ in 0..REDIRECTS_RENEWED {
            let road = self.road().clone();
            match road {
                Road::Away(place) => {
                    let question = self.question(headers);
                    match fetch::follow_from(&self.site.transport, &question, &place).await {
                        Ok(landed) if has_bytes(landed.answer.status()) => return Ok(landed),
                        Ok(landed) if is_overload(landed.answer.status()) => {
                            self.forget(&place);
                            return Ok(landed);
                        }
                        // Mostly the signature has expired; or the storage has moved, or can't be reached.
                        Ok(_) | Err(_) => self.forget(&place),
                    }
                }
                Road::Registry => break,
                Road::Unknown => {
                    let _finder = self.finding.lock().await;
                    if matches!(*self.road(), Road::Unknown) {
                        return self.ask_registry(headers).await.map(|(landed, _)| landed);
                    }
                }
            }
        }
        self.ask_registry(headers).await.map(|(landed, _)| landed)
    }

    /// Unless somebody has found another one since.
    fn forget(&self, refused: &Arc<Place>) {
        let mut road = self.road();
        if matches!(&*road, Road::Away(place) if Arc::ptr_eq(place, refused)) {
            *road = Road::Unknown;
        }
    }

    fn question<'a>(&'a self, headers: &'a HeaderMap) -> Question<'a> {
        Question {
            registry: &self.site.config.name,
            method: Method::GET,
            url: self.url.clone(),
            at_location: false,
            headers,
            authorization: None,
            body: None,
            max_redirects: self.site.config.max_redirects,
        }
    }

    fn road(&self) -> std::sync::MutexGuard<'_, Road> {
        self.road.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for AtSite {
    fn ask(self: Arc<Self>, span: Span, length: Option<u64>, past: Past) -> Asking {
        async move {
            let landed = self.answer(&span.headers()).await?;
            let status = landed.answer.status();
            self.site.standing.note(status, landed.answer.headers());
            if !has_bytes(status) {
                return Err(Trouble::Refused {
                    registry: self.site.config.name.clone(),
                    host: landed.host,
                    status,
                    retry_after: retry_after(landed.answer.headers(), SystemTime::now()),
                });
            }
            let content = self.content(span, length, &landed)?;
            Ok(stream(content, span, landed, &past))
        }
        .boxed()
    }

    fn short(&self, _place: usize, at: u64, length: Option<u64>) -> Failure {
        Failure::Broken {
            registry: self.site.config.name.clone(),
            host: host_and_port(&self.url),
            received: at,
            expected: length,
        }
    }
}

pub(super) fn stream(content: Content, span: Span, landed: Landed, past: &Past) -> Stream {
    let known = landed.length_known;
    let mut body = landed.answer.into_body();
    match content {
        Content::Part { end, .. } => {
            if !known {
                body.expect_length(end - span.first);
            }
            Stream::new(body, span.first, Some(end))
        }
        Content::Whole { length } => {
            if let Some(length) = length {
                body.expect_length(length);
            }
            Stream::skipping(body, span.first, length, past)
        }
    }
}

pub(super) fn has_bytes(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT)
}

/// Asking elsewhere at once would make it worse.
fn is_overload(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}
