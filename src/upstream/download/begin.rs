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
use super::several::{self, Several};
use super::slots::{Slot, Slots};
use super::source::{self, AtSite, Source};
use super::stream::{Past, Stream};
use super::{Counters, Download, Errand, Order, Refusal};
use crate::oci::Endpoint;
use crate::upstream::failure::{Cause, Failure, is_verdict};
use crate::upstream::fetch::Landed;
use crate::upstream::health::Health;
use crate::upstream::places::{HAND_OVER, Place};
use crate::upstream::site::{Role, Site};
use crate::upstream::{Ask, Method, Right, Sources, Upstream, mirror, standing};

/// How long a place that may be being restarted is asked again: a little longer than a process needs, and short beside what
/// clients wait for a head (30 s).
const RESTART: Duration = Duration::from_secs(4);

/// Before the second try; each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// One place after the other, until one has it or the registry itself says no.
pub(in crate::upstream) async fn begin(
    upstream: &Upstream,
    errand: Errand,
    right: &Right,
) -> Result<Download, Refusal> {
    let until = Instant::now() + patience(&upstream.authority);
    let sources = sources(upstream, &errand, right)?;
    let order = in_turn(&sources);
    let mut tried = Tried::default();
    for (number, source) in order.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let turn = if number + 1 == order.len() {
            Turn::Last(left)
        } else {
            Turn::Early(left.min(HAND_OVER))
        };
        match at(&sources, source, errand.clone(), turn).await {
            Ok(download) => return Ok(download),
            Err(refusal) if source.site().role() == Role::Authority && refusal.is_verdict() => {
                return Err(refusal);
            }
            Err(refusal) => tried.note(source.site(), refusal),
        }
    }
    Err(tried.refusal(upstream))
}

/// The places, as the operator wants them.
fn sources(upstream: &Upstream, errand: &Errand, right: &Right) -> Result<Vec<Arc<AtSite>>, Failure> {
    let source = |place: Place<'_>| {
        let (repository, right) = match (place, &errand.sources) {
            (Place::Mirror(_), Sources::Anyone(public)) => (&public.name().repository, &mirror::OWN_RIGHT),
            _ => (&errand.repository, right),
        };
        let blob = Endpoint::Blob(repository.clone(), errand.digest.clone());
        let digest = errand.digest.clone();
        AtSite::new(upstream.site_of(place), right, blob, digest).map(Arc::new)
    };
    upstream
        .preferred(&errand.sources)
        .into_iter()
        .map(source)
        .collect()
}

/// Those that are well before the others.
fn in_turn(sources: &[Arc<AtSite>]) -> Vec<&Arc<AtSite>> {
    let mut order: Vec<_> = sources
        .iter()
        .map(|source| (source.site().turn(), source))
        .filter(|(turn, _)| *turn != standing::Turn::Never)
        .collect();
    order.sort_by_key(|(turn, _)| *turn);
    order.into_iter().map(|(_, source)| source).collect()
}

/// How long one place may take.
#[derive(Clone, Copy)]
enum Turn {
    /// Then another is asked.
    Early(Duration),
    /// There is no other.
    Last(Duration),
}

/// What those said who did not have it.
#[derive(Default)]
struct Tried {
    own: Option<Refusal>,
    mirrors: Vec<Failure>,
}

impl Tried {
    fn note(&mut self, site: &Site, refusal: Refusal) {
        if site.role() == Role::Authority {
            self.own = Some(refusal);
            return;
        }
        let failure = match refusal {
            Refusal::Answered(answer) => mirror::refused(site, answer.status),
            Refusal::Failed(failure) => mirror::told(site, failure),
            Refusal::Everywhere { .. } => return,
        };
        tracing::debug!(registry = %site.config.name, %failure, "a mirror has no answer");
        self.mirrors.push(failure);
    }

    fn refusal(self, upstream: &Upstream) -> Refusal {
        let own = self.own.unwrap_or_else(|| {
            Refusal::Failed(Failure::NotAskable {
                registry: upstream.name().clone(),
                reason: "it has no place".to_owned(),
            })
        });
        if self.mirrors.is_empty() {
            return own;
        }
        Refusal::Everywhere {
            own: Box::new(own),
            mirrors: self.mirrors,
        }
    }
}

impl Refusal {
    /// See [`Failure::is_verdict`].
    fn is_verdict(&self) -> bool {
        match self {
            Self::Failed(failure) => failure.is_verdict(),
            Self::Answered(answer) => is_verdict(answer.status),
            Self::Everywhere { .. } => false,
        }
    }
}

async fn at(
    all: &[Arc<AtSite>],
    source: &Arc<AtSite>,
    errand: Errand,
    turn: Turn,
) -> Result<Download, Refusal> {
    let site = source.site();
    let (Turn::Early(limit) | Turn::Last(limit)) = turn;
    let asked = Instant::now();
    let Some(slot) = slot(site, asked + limit, turn).await else {
        return Err(site.timed_out(limit).into());
    };
    // Who waited for others that flow has lost nothing yet; who waited for others that got no answer has.
    let since = match site.health() {
        Health::Well => Instant::now(),
        Health::Suspect => asked,
    };
    let answer = first(all, source, errand, slot, turn);
    match tokio::time::timeout_at(since + limit, answer).await {
        Ok(outcome) => outcome,
        Err(_) => Err(source.late(limit).into()),
    }
}

/// For redirects, token and HEAD together. A little less than one connection and one answer may take, so that under the
/// default limits a client hears of it within 20 s (R1).
fn patience(site: &Site) -> Duration {
    let timeouts = site.config.timeouts;
    timeouts.headers + timeouts.connect / 2
}

/// Waits for a connection: as long as it takes while the others get answers, else until `deadline`; that long, too, where
/// another place may have one.
async fn slot(site: &Site, deadline: Instant, turn: Turn) -> Option<Slot> {
    let mut slot = std::pin::pin!(site.slots.first());
    let mut until = deadline;
    loop {
        if let Ok(slot) = tokio::time::timeout_at(until, &mut slot).await {
            return slot;
        }
        if site.health() == Health::Suspect || matches!(turn, Turn::Early(_)) {
            return None;
        }
        until = Instant::now() + Duration::from_secs(1);
    }
}

async fn first(
    all: &[Arc<AtSite>],
    source: &Arc<AtSite>,
    errand: Errand,
    slot: Slot,
    turn: Turn,
) -> Result<Download, Refusal> {
    let site = source.site();
    let mut rules = Rules::of(&site.config);
    if errand.order == Order::Kept {
        rules.segments = 1;
    }
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
    let (mut landed, mut anonymous) = ask(source, span, &mut counters, turn).await?;
    if landed.answer.status() == StatusCode::RANGE_NOT_SATISFIABLE && span != Span::ALL {
        // Nothing is there behind what we have, or so it says: the whole blob tells.
        span = Span::ALL;
        (landed, anonymous) = ask(source, span, &mut counters, turn).await?;
    }
    site.standing
        .note(landed.answer.status(), landed.answer.headers());
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
        None => length_by_head(source).await,
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
    let place = all.iter().position(|other| Arc::ptr_eq(other, source));
    let (source, stream): (Arc<dyn Source>, _) = match place {
        Some(place) if all.len() > 1 => (
            Arc::new(Several::new(all)),
            stream.of_several(place, several::STALLED),
        ),
        _ => (source.clone(), stream),
    };
    let start = Start {
        source,
        rules,
        slots: site.slots.clone(),
        // Who takes the bytes in order is one client, at its own pace: a few slow ones must not keep everyone else's
        // blobs waiting. They are as many as clients may connect.
        slot: (errand.order == Order::Any).then_some(slot),
        past,
        length,
        // A mirror says nothing about whom the registry gives it.
        anonymous: anonymous && site.role() == Role::Authority,
        begun_by: site.role(),
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
    pub begun_by: Role,
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
            begun_by: self.begun_by,
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

/// A connection that broke before an answer is worth one more try at once: it may have been the last of an old server. A place
/// that answered until now and can't be reached is perhaps being restarted, and where there is no other, it is asked again
/// for a moment. Everything else is better told at once.
async fn ask(
    source: &AtSite,
    span: Span,
    counters: &mut Counters,
    turn: Turn,
) -> Result<(Landed, bool), Failure> {
    let headers = span.headers();
    let mut patience = match (turn, source.site().health()) {
        (Turn::Last(limit), Health::Well) => limit.min(RESTART),
        (Turn::Early(_), _) | (_, Health::Suspect) => Duration::ZERO,
    };
    let mut pause = FIRST_PAUSE;
    let mut was_closed = false;
    loop {
        counters.requests += 1;
        match source.ask_registry(&headers).await {
            Err(Failure::Unreachable {
                cause: Cause::Closed, ..
            }) if !was_closed => was_closed = true,
            Err(Failure::Unreachable {
                cause: Cause::Closed | Cause::Refused | Cause::Connect(_),
                ..
            }) if patience > pause => {
                tokio::time::sleep(pause).await;
                patience -= pause;
                pause *= 2;
            }
            outcome => return outcome,
        }
        counters.retries += 1;
    }
}

/// Some send bodies without a length, but know it.
async fn length_by_head(source: &AtSite) -> Option<u64> {
    let ask = Ask {
        method: Method::Head,
        endpoint: source.blob().clone(),
        query: None,
        headers: HeaderMap::new(),
    };
    let head = source.site().send(&ask, source.right()).await.ok()?;
    content_length(&head.headers).filter(|_| head.status == StatusCode::OK)
}
