//! The first answer: nothing has been sent to a client yet, so it fails fast, and says why.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::answer::{Content, Span, content_length};
use super::ground::{Covered, Ground};
use super::lane::Lane;
use super::meter::Meter;
use super::segments::{Rules, Spread};
use super::slots::{Slot, Slots};
use super::source::{self, AtRegistry, Source};
use super::stream::{Past, Stream};
use super::{Counters, Download, Errand, Order, Refusal};
use crate::oci::Endpoint;
use crate::upstream::failure::{Cause, Failure, Phase};
use crate::upstream::fetch::Landed;
use crate::upstream::health::Health;
use crate::upstream::transport::host_and_port;
use crate::upstream::{Ask, Method, Right, Site, place};

pub(super) async fn begin(site: &Site, errand: Errand, right: &Right) -> Result<Download, Refusal> {
    let limit = patience(site);
    let asked = Instant::now();
    let too_late = || -> Result<Download, Failure> {
        Err(Failure::Timeout {
            registry: site.config.name.clone(),
            host: host_and_port(place::base(&site.config)),
            phase: Phase::Headers,
            limit,
        })
    };
    let Some(slot) = slot(site, asked + limit).await else {
        return Ok(too_late()?);
    };
    // Who waited for others that flow has lost nothing yet; who waited for others that got no answer has.
    let since = match site.health() {
        Health::Well => Instant::now(),
        Health::Suspect => asked,
    };
    let answer = first(site, errand, right, slot);
    if let Ok(outcome) = tokio::time::timeout_at(since + limit, answer).await {
        return outcome;
    }
    let failure = too_late();
    site.health.note(&failure);
    Ok(failure?)
}

/// For redirects, token and HEAD together. A little less than one connection and one answer may take, so that under the
/// default limits a client hears of it within 20 s (R1).
fn patience(site: &Site) -> Duration {
    let timeouts = site.config.timeouts;
    timeouts.headers + timeouts.connect / 2
}

/// Waits for a connection: as long as it takes while the others get answers, else until `deadline`.
async fn slot(site: &Site, deadline: Instant) -> Option<Slot> {
    let mut slot = std::pin::pin!(site.slots.first());
    let mut until = deadline;
    loop {
        if let Ok(slot) = tokio::time::timeout_at(until, &mut slot).await {
            return slot;
        }
        if site.health() == Health::Suspect {
            return None;
        }
        until = Instant::now() + Duration::from_secs(1);
    }
}

async fn first(site: &Site, errand: Errand, right: &Right, slot: Slot) -> Result<Download, Refusal> {
    let mut rules = Rules::of(&site.config);
    if errand.order == Order::Kept {
        rules.segments = 1;
    }
    let blob = Endpoint::Blob(errand.repository, errand.digest.clone());
    let source = Arc::new(AtRegistry::new(site, right, &blob, errand.digest)?);
    let mut counters = Counters {
        segments: 1,
        ..Counters::default()
    };
    let wanted = Span {
        first: errand.from,
        end: None,
    };
    let mut span = wanted;
    let asked = Instant::now();
    let (mut landed, mut anonymous) = ask(&source, span, &mut counters).await?;
    if landed.answer.status() == StatusCode::RANGE_NOT_SATISFIABLE && span != Span::ALL {
        // Nothing is there behind what we have, or so it says: the whole blob tells.
        span = Span::ALL;
        (landed, anonymous) = ask(&source, span, &mut counters).await?;
    }
    if !source::has_bytes(landed.answer.status()) {
        return Err(Refusal::Answered(landed.into_answer(anonymous)));
    }
    let latency = asked.elapsed();
    let content = source.content(span, errand.length, &landed)?;
    let length = match content {
        Content::Whole { length } | Content::Part { length, .. } => length,
    };
    let length = match length {
        Some(length) => Some(length),
        None => length_by_head(site, &blob, right).await,
    };
    if length.is_some_and(|length| length < errand.from) {
        return Err(Refusal::Failed(landed.answer.body().differs(errand.from)));
    }
    let content = match content {
        Content::Whole { .. } => Content::Whole { length },
        part @ Content::Part { .. } => part,
    };
    let past = Past {
        from: errand.from,
        kept: errand.known.finish(),
        reached: errand.from,
        sum: 0,
    };
    let stream = source::stream(content, wanted, landed, &past);
    let start = Start {
        source,
        rules,
        slots: site.slots.clone(),
        // Who takes the bytes in order is one client, at its own pace: a few slow ones must not keep everyone else's
        // blobs waiting. They are as many as clients may connect.
        slot: (errand.order == Order::Any).then_some(slot),
        past,
        length,
        anonymous,
        counters,
        latency,
    };
    Ok(start.with(stream))
}

/// Everything that a download begins with, but for its first body.
pub(super) struct Start {
    pub source: Arc<dyn Source>,
    pub rules: Rules,
    pub slots: Slots,
    pub slot: Option<Slot>,
    pub past: Past,
    pub length: Option<u64>,
    pub anonymous: bool,
    pub counters: Counters,
    /// How long the first answer took.
    pub latency: Duration,
}

impl Start {
    pub fn with(self, stream: Stream) -> Download {
        let from = self.past.from;
        let mut ground = Ground::new(from..self.length.unwrap_or(u64::MAX));
        let large = self.rules.segments > 1
            && self
                .length
                .is_some_and(|length| length - from >= self.rules.threshold.max(self.rules.piece));
        let size = if large { self.rules.piece } else { u64::MAX };
        let first = ground.take(size, u64::MAX).map(|own| Lane::flowing(own, stream));
        Download {
            source: self.source,
            rules: self.rules,
            slots: self.slots,
            held: self.slot.into_iter().collect(),
            from,
            kept: self.past.kept,
            length: self.length,
            anonymous: self.anonymous,
            ground,
            covered: Covered::from(from),
            lanes: first.into_iter().collect(),
            turn: 0,
            spread: Spread::Watching,
            meter: if large {
                Meter::new(Instant::now(), self.latency)
            } else {
                Meter::decided()
            },
            alarm: None,
            counters: self.counters,
            over: false,
        }
    }
}

/// A connection that broke before an answer is worth one more try: it may have been the last of an old server. Everything
/// else is better told at once.
async fn ask(source: &AtRegistry, span: Span, counters: &mut Counters) -> Result<(Landed, bool), Failure> {
    let headers = span.headers();
    counters.requests += 1;
    match source.ask_registry(&headers).await {
        Err(Failure::Unreachable {
            cause: Cause::Closed, ..
        }) => {
            counters.requests += 1;
            counters.retries += 1;
            source.ask_registry(&headers).await
        }
        outcome => outcome,
    }
}

/// Some send bodies without a length, but know it.
async fn length_by_head(site: &Site, blob: &Endpoint, right: &Right) -> Option<u64> {
    let ask = Ask {
        method: Method::Head,
        endpoint: blob.clone(),
        query: None,
        headers: HeaderMap::new(),
    };
    let head = site.send(&ask, right).await.ok()?;
    content_length(&head.headers).filter(|_| head.status == StatusCode::OK)
}
