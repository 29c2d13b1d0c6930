//! One trace a request, for some of the requests: which steps it took and how long each was. Decided once, when a request's
//! head has come; what is not traced costs a look at a task's own variable. Nothing of a trace goes to registries.
//!
//! A span holds names of docxy's own, of the configuration, and what was parsed of a request (registry, repository): no
//! URL, header, query or credential (threat S12).

mod parent;
mod span;

use std::future::Future;
use std::sync::Arc;

use futures_util::future::Either;
use http::{HeaderMap, HeaderName};
use tokio::sync::mpsc;
use tokio::task::futures::TaskLocalFuture;

pub use self::parent::{Parent, SpanId, TraceId};
pub use self::span::{Finished, Kind, Link, Span, Value};

use super::Metrics;
use super::metrics::Span as Counted;

/// How callers say what their own trace is (W3C Trace Context).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Spans that wait to be sent; beyond that they are dropped and counted. About 300 bytes each; no text in
/// one has more than 256.
const WAITING: usize = 8192;

tokio::task_local! {
    /// What the steps of this task are part of. No task has one but those that work for a traced request.
    static HERE: Here;
}

/// Where spans go: handed down from `app`. The default traces nothing.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    /// Of a million requests.
    share: u32,
    out: Out,
}

/// The way out.
#[derive(Clone, Debug)]
struct Out {
    to: mpsc::Sender<Finished>,
    metrics: Metrics,
}

/// Where the steps of a task hang: in which trace, and below which span.
#[derive(Clone, Debug)]
pub struct Here {
    trace: TraceId,
    span: SpanId,
    out: Out,
}

impl Here {
    fn link(&self) -> Link {
        Link {
            trace: self.trace,
            span: self.span,
        }
    }
}

impl Traces {
    /// Traces so many of a million requests, and hands their spans to whoever holds the other end.
    pub fn of(share: u32, metrics: Metrics) -> (Self, mpsc::Receiver<Finished>) {
        let (to, from) = mpsc::channel(WAITING);
        let out = Out { to, metrics };
        (Self(Some(Arc::new(Shared { share, out }))), from)
    }

    /// A request's own span, if it is traced. `trusted` tells whether the headers are those of a proxy of ours: a caller
    /// whom nobody knows must neither decide that his requests are recorded, nor write into a trace of somebody else's.
    pub fn begin(&self, headers: &HeaderMap, trusted: impl FnOnce() -> bool) -> Span {
        let Some(shared) = &self.0 else {
            return Span::none();
        };
        let parent = headers
            .get(TRACEPARENT)
            .filter(|_| trusted())
            .and_then(Parent::parse);
        let is_traced = match parent {
            // Who began the trace has decided for all of it.
            Some(parent) => parent.is_sampled,
            None => rand::random_range(0..1_000_000) < shared.share,
        };
        if is_traced {
            Span::root(parent, shared.out.clone())
        } else {
            Span::none()
        }
    }
}

impl Out {
    fn send(&self, span: Finished) {
        if self.to.try_send(span).is_err() {
            self.metrics.spans.inc(Counted::Dropped);
        }
    }
}

/// A step of the request that this task works for.
pub fn span(name: &'static str) -> Span {
    HERE.try_with(|here| Span::below(here, name, Kind::Internal))
        .unwrap_or_else(|_| Span::none())
}

/// The same, of a question to somebody else.
pub fn question(name: &'static str) -> Span {
    HERE.try_with(|here| Span::below(here, name, Kind::Client))
        .unwrap_or_else(|_| Span::none())
}

/// The step that this task works for, for steps of other traces.
pub fn here() -> Option<Link> {
    HERE.try_with(Here::link).ok()
}

/// A step that waits for what another request began, at that step.
pub fn joining(what: Option<Link>) -> Span {
    let mut step = span("join");
    step.note(|notes| notes.linked(what));
    step
}

/// For a task that is begun here: what it does is part of the same.
pub fn carried<F: Future>(future: F) -> Within<F> {
    at(HERE.try_with(Clone::clone).ok(), future)
}

/// `future` is a part of that.
pub fn at<F: Future>(here: Option<Here>, future: F) -> Within<F> {
    match here {
        Some(here) => Either::Left(HERE.scope(here, future)),
        None => Either::Right(future),
    }
}

/// What may be a step of a trace.
pub type Within<F> = Either<TaskLocalFuture<Here, F>, F>;

impl Span {
    /// The steps of `future` are below this one.
    pub fn within<F: Future>(&self, future: F) -> Within<F> {
        at(self.here(), future)
    }

    /// Where steps below this one hang; none, where it is no step of a trace.
    pub fn here(&self) -> Option<Here> {
        self.context()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_collector_that_never_answers_has_a_bound() {
        // Monitoring that hangs must cost no memory, however long the texts are that clients send.
        let metrics = Metrics::default();
        let (traces, mut waiting) = Traces::of(1_000_000, metrics.clone());
        let many = WAITING + 1000;
        for _ in 0..many {
            let mut span = traces.begin(&HeaderMap::new(), || false);
            span.note(|notes| {
                notes.named("\u{e4}".repeat(10_000));
                notes.text("docxy.repository", "x".repeat(10_000));
                notes.failed("\u{20ac}".repeat(10_000));
            });
        }
        assert_eq!(metrics.spans.get(Counted::Dropped), 1000);
        let mut kept = 0;
        while let Ok(span) = waiting.try_recv() {
            kept += 1;
            let texts = span.attributes.iter().map(|(_, value)| match value {
                Value::Text(text) => text.len(),
                Value::Number(_) => 0,
            });
            let longest = texts
                .chain([span.name.len(), span.error.unwrap_or_default().len()])
                .max();
            assert_eq!(longest, Some(256));
        }
        assert_eq!(kept, WAITING);
    }
}
