//! One step of a traced request, from where it is made to where it is dropped.

use std::borrow::Cow;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Here, Out, Parent, SpanId, TraceId};

/// Bytes of a text in a span; beyond it the rest is left out.
const LONGEST: usize = 256;

/// A step that is under way; it ends when it is dropped. Of a request that is not traced it is nothing.
#[derive(Debug)]
pub struct Span(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    context: Here,
    parent: Option<SpanId>,
    name: Cow<'static, str>,
    kind: Kind,
    began: SystemTime,
    clock: Instant,
    attributes: Vec<(&'static str, Value)>,
    links: Vec<Link>,
    error: Option<String>,
}

/// A step of another trace, as one that has to do with it names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    pub trace: TraceId,
    pub span: SpanId,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Internal,
    /// A client's request.
    Server,
    /// A question to somebody else.
    Client,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    Text(Cow<'static, str>),
    Number(i64),
}

/// A step that is over. Times are nanoseconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    pub trace: TraceId,
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub name: Cow<'static, str>,
    pub kind: Kind,
    pub began: u64,
    pub ended: u64,
    pub attributes: Vec<(&'static str, Value)>,
    pub links: Vec<Link>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Span {
    pub fn none() -> Self {
        Self(None)
    }

    pub(super) fn root(parent: Option<Parent>, out: Out) -> Self {
        let context = Here {
            trace: parent.map_or_else(TraceId::random, |parent| parent.trace),
            span: SpanId::random(),
            out,
        };
        let above = parent.map(|parent| parent.span);
        Self::open(context, above, "request", Kind::Server)
    }

    pub(super) fn below(here: &Here, name: &'static str, kind: Kind) -> Self {
        let context = Here {
            span: SpanId::random(),
            ..here.clone()
        };
        Self::open(context, Some(here.span), name, kind)
    }

    fn open(context: Here, parent: Option<SpanId>, name: &'static str, kind: Kind) -> Self {
        Self(Some(Box::new(Open {
            context,
            parent,
            name: Cow::Borrowed(name),
            kind,
            began: SystemTime::now(),
            clock: Instant::now(),
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
        })))
    }

    /// A step of this one.
    #[must_use]
    pub fn step(&self, name: &'static str) -> Self {
        self.0.as_ref().map_or_else(Self::none, |open| {
            Self::below(&open.context, name, Kind::Internal)
        })
    }

    pub fn trace(&self) -> Option<TraceId> {
        self.0.as_ref().map(|open| open.context.trace)
    }

    /// For steps of other traces; none, where this is no step of a trace.
    pub fn link(&self) -> Option<Link> {
        self.0.as_ref().map(|open| open.context.link())
    }

    pub(super) fn context(&self) -> Option<Here> {
        self.0.as_ref().map(|open| open.context.clone())
    }

    /// `work` is called only where this is a step of a trace.
    pub fn note(&mut self, work: impl FnOnce(&mut Notes<'_>)) {
        if let Some(open) = &mut self.0 {
            work(&mut Notes(open));
        }
    }
}

/// What is said of a step. The names are those of OpenTelemetry's conventions, where it has one.
pub struct Notes<'a>(&'a mut Open);

impl Notes<'_> {
    pub fn named(&mut self, name: String) {
        self.0.name = short(name.into());
    }

    pub fn text(&mut self, key: &'static str, value: impl Into<Cow<'static, str>>) {
        self.0.attributes.push((key, Value::Text(short(value.into()))));
    }

    pub fn number(&mut self, key: &'static str, value: impl TryInto<i64>) {
        let value = value.try_into().unwrap_or(i64::MAX);
        self.0.attributes.push((key, Value::Number(value)));
    }

    /// It has to do with a step of another trace: where that is no step of one, there is nothing to say.
    pub fn linked(&mut self, to: Option<Link>) {
        self.0.links.extend(to);
    }

    /// It came to nothing; `why` is a text for the log.
    pub fn failed(&mut self, why: impl Into<String>) {
        self.0.error = Some(short(Cow::Owned(why.into())).into_owned());
    }
}

/// What waits to be sent has a bound in bytes, too, whatever a client or a registry wrote.
fn short(text: Cow<'static, str>) -> Cow<'static, str> {
    match text {
        Cow::Owned(mut text) if text.len() > LONGEST => {
            let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or_default());
            text.shrink_to_fit();
            Cow::Owned(text)
        }
        text => text,
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else {
            return;
        };
        let took = open.clock.elapsed();
        let Open {
            context,
            parent,
            name,
            kind,
            began,
            attributes,
            links,
            error,
            ..
        } = *open;
        context.out.send(Finished {
            trace: context.trace,
            id: context.span,
            parent,
            name,
            kind,
            began: nanoseconds(began),
            ended: nanoseconds(began + took),
            attributes,
            links,
            error,
        });
    }
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
