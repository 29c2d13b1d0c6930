//! A blob: from the store, from a download that runs already, or from one that this request begins. Every client, the
//! first one too, reads the file; a download is nobody's own.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::alone::{Alone, Rest};
use super::cached::{Cached, is_public_to_all};
use super::checked::digest_header;
use super::rights::{Claim, Kind, Standing};
use super::stream::Stream;
use super::{Error, FIELDS, Missing, Outcome, Pull, Pulled, Wanted, respond};
use crate::cache::{Ending, Follower, Leader, Linked, Opened, Presence, Reader, Source};
use crate::oci::range::RangeHeader;
use crate::oci::{ContentRange, Digest};
use crate::serve::conditions;
use crate::serve::headers::DOCKER_CONTENT_DIGEST;
use crate::telemetry::traces;
use crate::upstream::Method;

/// How often the ground may shift under one request (a blob evicted, a download lost) before it is told to come again.
const MOST_TURNS: usize = 16;

/// What the client may do about a blob.
enum Admitted {
    /// Read it, wherever its bytes come from.
    Reads(Linked),
    /// Ask the upstream for it: nobody has it here, and the upstream's answer decides.
    Leads,
    /// The same past the store: what is or comes here is another registry's, and this one has yet to show that it has it.
    Alone,
}

/// A blob that can be read, and how it was come by.
pub(super) enum Got {
    Blob(Reader, Outcome),
    /// It can't go through the store: the disk fails, there is no room, the upstream tells no length.
    Alone,
    /// Nothing came of it; another turn may.
    Nothing,
}

/// How a blob comes to its client.
pub(super) enum Way {
    /// From memory.
    Short(Bytes),
    File(Reader, Outcome),
    /// Past the store.
    Alone,
}

impl Pull {
    pub(super) async fn cached_blob(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        wanted: Wanted<'_>,
        digest: &Digest,
    ) -> Result<Pulled, Error> {
        let claim = self.claim(cached, wanted)?;
        if wanted.method == Method::Head {
            return Box::pin(self.head_of_blob(cached, wanted, &claim, digest)).await;
        }
        match self.find(cached, &claim, digest).await? {
            Way::Short(bytes) => self.short_answer(cached, wanted, &claim, digest, &bytes),
            Way::File(reader, outcome) => self.blob_answer(cached, wanted, claim, digest, reader, outcome),
            Way::Alone => Box::pin(self.blob_alone(cached, wanted, claim, digest)).await,
        }
    }

    /// The way by which this client gets the blob.
    pub(super) async fn find(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        digest: &Digest,
    ) -> Result<Way, Error> {
        for _ in 0..MOST_TURNS {
            let step = traces::span("lookup");
            let admitted = step.within(self.admitted(cached, claim, digest)).await?;
            let got = match admitted {
                Admitted::Reads(linked) => {
                    let short = cached.store.short(&linked).await;
                    drop(step);
                    if let Some(bytes) = short {
                        return Ok(Way::Short(bytes));
                    }
                    Box::pin(self.open(cached, claim, &linked)).await?
                }
                Admitted::Leads => match Box::pin(cached.store.lead(digest, &claim.name.registry)).await {
                    Some(leader) => Box::pin(self.lead(cached, claim, leader)).await?,
                    None => Got::Nothing,
                },
                Admitted::Alone => Got::Alone,
            };
            match got {
                Got::Blob(reader, outcome) => return Ok(Way::File(reader, outcome)),
                Got::Alone => return Ok(Way::Alone),
                Got::Nothing => {}
            }
        }
        Err(Error::Unsettled {
            registry: claim.name.registry.clone(),
        })
    }

    /// Opens what a client may read: stored, arriving, or to be fetched now.
    pub(super) async fn open(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        linked: &Linked,
    ) -> Result<Got, Error> {
        match cached.store.open_linked(linked, &claim.name.registry).await {
            Opened::Hit(reader) => Ok(Got::Blob(reader, Outcome::Hit)),
            Opened::Follow(follower) => {
                let fill = {
                    let mut over = pin!(follower.headers());
                    tokio::select! {
                        biased;
                        fill = cached.fills.awaited(linked.digest()) => fill,
                        _ = &mut over => return Ok(Got::Nothing),
                    }
                };
                if !fill.is_from(self.upstream(&claim.name.registry)?) {
                    return Ok(Got::Alone);
                }
                fill.join(claim);
                let _step = fill.joined();
                match follow(&follower, Outcome::Joined).await {
                    Got::Nothing => fill.refusal_of(claim).map_or(Ok(Got::Nothing), Err),
                    got => Ok(got),
                }
            }
            Opened::Lead(leader) => self.lead(cached, claim, leader).await,
        }
    }

    /// Straight from the upstream to this client, through no file, and hashed on the way.
    async fn blob_alone(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        wanted: Wanted<'_>,
        claim: Claim,
        digest: &Digest,
    ) -> Result<Pulled, Error> {
        if cached.config.offline {
            return Err(offline(&claim, Missing::Blob));
        }
        let download = self.download_alone(cached, &claim, digest).await?;
        let Some(length) = download.length() else {
            let mut headers = headers(digest);
            headers.insert(header::CONTENT_TYPE, OCTETS);
            let rest = Rest::whole(&claim, digest, None, 0..u64::MAX);
            let body = Body::from_stream(Alone::over(cached, download, rest));
            let response = respond(StatusCode::OK, headers, body);
            return Ok(self.answer_by_digest(cached, wanted, &claim, response, Outcome::Miss));
        };
        let response = respond_with(wanted, digest, length, |part| {
            let rest = Rest::whole(&claim, digest, Some(length), part.clone());
            let alone = Alone::over(cached, download, rest);
            Body::new(Stream::alone(self, cached, &claim, digest, alone, part, length))
        })?;
        Ok(self.answer_by_digest(cached, wanted, &claim, response, Outcome::Miss))
    }

    /// Begins the download and waits for the upstream's answer.
    async fn lead(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        leader: Leader,
    ) -> Result<Got, Error> {
        if cached.config.offline {
            leader.end(Ending::LeaderCancelled);
            return Err(offline(claim, Missing::Blob));
        }
        if cached.fills.are_full() {
            leader.end(Ending::LeaderCancelled);
            return Ok(Got::Alone);
        }
        if leader.ending().is_some() {
            // The disk can't even be begun on.
            return Ok(Got::Alone);
        }
        let follower = leader.follower();
        let fill = self.fill(cached, leader, claim.clone())?;
        match fill.verdict().await {
            // Another's right, in another repository, is no answer to this client.
            Some(Ok(())) if fill.has_granted(claim) => Ok(follow(&follower, Outcome::Miss).await),
            Some(Err(error)) => Err(error),
            Some(Ok(())) | None => Ok(Got::Nothing),
        }
    }

    /// Is this client to read this blob? Asks the upstream for no more than that takes (threats S4, S5).
    async fn admitted(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        digest: &Digest,
    ) -> Result<Admitted, Error> {
        match cached.standing_and_link(claim, digest) {
            (Standing::Entitled, Some(linked)) => Ok(Admitted::Reads(linked)),
            (_, linked) => Box::pin(self.admitted_if_proved(cached, claim, digest, linked)).await,
        }
    }

    /// As above, for a client whose right, or a repository whose link, the upstream has yet to confirm.
    async fn admitted_if_proved(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        digest: &Digest,
        linked: Option<Linked>,
    ) -> Result<Admitted, Error> {
        if cached.store.presence(digest) == Presence::Absent {
            return Ok(Admitted::Leads);
        }
        if let Some(linked) = self.admitted_by_fill(cached, claim, digest).await? {
            return Ok(Admitted::Reads(linked));
        }
        match self.admit(cached, claim, Kind::Blob, digest, linked).await? {
            Some(linked) => Ok(Admitted::Reads(linked)),
            None => Ok(Admitted::Alone),
        }
    }

    /// What this very client, or one like it, has just asked for: the answer is on its way.
    async fn admitted_by_fill(
        &self,
        cached: &Cached,
        claim: &Claim,
        digest: &Digest,
    ) -> Result<Option<Linked>, Error> {
        if cached.fills.running(digest).is_none()
            && let Some(arriving) = cached.store.arriving(digest)
        {
            // It is so new that nobody has said yet for whom it is.
            let _ = arriving.headers().await;
        }
        if let Some(fill) = cached.fills.running(digest) {
            if !fill.was_begun_with(claim) {
                return Ok(None);
            }
            let step = fill.joined();
            let verdict = fill.verdict().await;
            drop(step);
            if let Some(verdict) = verdict {
                verdict?;
            }
            // What the upstream gave to everyone before it closed the repository is not everyone's any more.
            if let Some(asked) = fill.granted_at(claim)
                && !cached.is_shut_since(&claim.name, asked)
            {
                return Ok(cached.store.linked(&claim.name, digest));
            }
        }
        Ok(match cached.standing(claim) {
            Standing::Entitled => cached.store.linked(&claim.name, digest),
            Standing::Lapsed | Standing::Unproved => None,
        })
    }

    /// HEAD of what is stored needs no upstream beyond the right to it; of anything else it is the upstream's business.
    async fn head_of_blob(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        wanted: Wanted<'_>,
        claim: &Claim,
        digest: &Digest,
    ) -> Result<Pulled, Error> {
        let stored = match cached.store.presence(digest) {
            Presence::Stored { size } => match self.admitted(cached, claim, digest).await? {
                Admitted::Reads(_) => Some(size),
                Admitted::Leads | Admitted::Alone => None,
            },
            Presence::Arriving | Presence::Absent => None,
        };
        match stored {
            None if cached.config.offline => Err(offline(claim, Missing::Blob)),
            None => self.forward_blob(wanted, digest).await,
            Some(size) => {
                let response = respond_with(wanted, digest, size, |_| Body::empty())?;
                Ok(self.answer_by_digest(cached, wanted, claim, response, Outcome::Hit))
            }
        }
    }

    fn blob_answer(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        wanted: Wanted<'_>,
        claim: Claim,
        digest: &Digest,
        reader: Reader,
        outcome: Outcome,
    ) -> Result<Pulled, Error> {
        let length = reader.length();
        if length == 0 && !digest.matches(b"") {
            // There is no last byte to hold back.
            return Err(Error::EmptyBlob {
                registry: claim.name.registry,
            });
        }
        let response = respond_with(wanted, digest, length, |part| {
            if part.start == 0 && outcome == Outcome::Hit {
                cached.store.count_pull(digest);
            }
            let direct = wanted.wishes.direct.clone();
            Body::new(Stream::new(self, cached, &claim, digest, reader, part, direct))
        })?;
        Ok(self.answer_by_digest(cached, wanted, &claim, response, outcome))
    }

    /// Of a configuration, say: head and body leave in one write, and no file is opened.
    fn short_answer(
        &self,
        cached: &Cached,
        wanted: Wanted<'_>,
        claim: &Claim,
        digest: &Digest,
        bytes: &Bytes,
    ) -> Result<Pulled, Error> {
        let response = respond_with(wanted, digest, bytes.len() as u64, |part| {
            if part.start == 0 {
                cached.store.count_pull(digest);
            }
            let part = usize::try_from(part.start)
                .ok()
                .zip(usize::try_from(part.end).ok());
            Body::from(part.map_or_else(Bytes::new, |(first, end)| bytes.slice(first..end)))
        })?;
        Ok(self.answer_by_digest(cached, wanted, claim, response, Outcome::Hit))
    }

    /// An answer by digest, whose bytes are or will be in the store.
    fn answer_by_digest(
        &self,
        cached: &Cached,
        wanted: Wanted<'_>,
        claim: &Claim,
        mut response: http::Response<Body>,
        outcome: Outcome,
    ) -> Pulled {
        let openness = cached.store.openness(&claim.name);
        if let Some(warning) = cached.warning(claim, openness) {
            response.headers_mut().insert(header::WARNING, warning);
        }
        Pulled {
            cache: self.cache_policy(is_public_to_all(wanted, openness), true),
            response,
            outcome,
            upstream_status: None,
        }
    }
}

async fn follow(follower: &Follower, outcome: Outcome) -> Got {
    match follower.reader().await {
        Ok(reader) => Got::Blob(reader, outcome),
        Err(Ending::NoLength | Ending::Detached { .. }) => Got::Alone,
        Err(_) => Got::Nothing,
    }
}

/// docxy was told to ask nobody.
pub(super) fn offline(claim: &Claim, what: Missing) -> Error {
    Error::Offline {
        registry: claim.name.registry.clone(),
        what,
    }
}

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Answers with what is asked for of a blob of this length; `body` makes the body of that part, where the client has not
/// got it already.
fn respond_with(
    wanted: Wanted<'_>,
    digest: &Digest,
    length: u64,
    body: impl FnOnce(Range<u64>) -> Body,
) -> Result<http::Response<Body>, Error> {
    let etag = conditions::etag(digest);
    if conditions::has_it(&wanted.wishes.conditions, &etag) {
        return Ok(respond(StatusCode::NOT_MODIFIED, headers(digest), Body::empty()));
    }
    let mut headers = headers(digest);
    headers.insert(header::CONTENT_TYPE, OCTETS);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let (status, part) = match &wanted.wishes.range {
        Some(RangeHeader::One(range)) if conditions::range_holds(&wanted.wishes.conditions, &etag) => {
            let (first, last) = range.within(length).ok_or_else(|| Error::RangeNotSatisfiable {
                registry: wanted.registry().clone(),
                length: Some(length),
            })?;
            let content_range = ContentRange::Part {
                first,
                last,
                length: Some(length),
            };
            headers.insert(header::CONTENT_RANGE, content_range.header());
            (StatusCode::PARTIAL_CONTENT, first..last + 1)
        }
        _ => (StatusCode::OK, 0..length),
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
    Ok(respond(status, headers, body(part)))
}

fn headers(digest: &Digest) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(FIELDS);
    headers.insert(header::ETAG, conditions::etag(digest));
    headers.insert(DOCKER_CONTENT_DIGEST, digest_header(digest));
    headers
}
