//! One request and its answer; and, while somebody records (`telemetry::har`), what becomes of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use url::Url;

use super::{Call, NamedBy, Transport};
use crate::telemetry::har::{Exchange, Outgoing, Trace};
use crate::upstream::failure::Failure;

impl Transport {
    /// The answer's header; the body is still to come. `question` is the URL of what all of it is for, where redirects led
    /// to this one.
    pub(in crate::upstream) async fn exchange(
        &self,
        call: &Call,
        question: &Url,
    ) -> Result<Response<reqwest::Body>, Failure> {
        match self.tracer.current() {
            None => self.exchange_somehow(call).await,
            Some(trace) => Box::pin(self.recorded(&trace, call, question)).await,
        }
    }

    async fn recorded(
        &self,
        trace: &Arc<Trace>,
        call: &Call,
        question: &Url,
    ) -> Result<Response<reqwest::Body>, Failure> {
        let exchange = trace.upstream(&Outgoing {
            registry: &self.registry,
            method: &call.method,
            url: &call.url,
            redirected: call.named_by == NamedBy::Redirect || call.url.path() != question.path(),
            headers: &call.headers,
            body: call.body.as_deref(),
            question,
        });
        let Some(mut exchange) = exchange else {
            return self.exchange_somehow(call).await;
        };
        match self.exchange_somehow(call).await {
            Ok(answer) => {
                exchange.answered(answer.status(), answer.version(), answer.headers());
                Ok(answer.map(|body| reqwest::Body::wrap(Watched { body, exchange })))
            }
            Err(failure) => {
                exchange.failed(&failure);
                Err(failure)
            }
        }
    }
}

/// A body, of which the recording sees every piece.
struct Watched {
    body: reqwest::Body,
    exchange: Exchange,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.exchange.got(data);
                }
                if this.body.is_end_stream() {
                    this.exchange.whole();
                }
            }
            // An error of this library may name the URL, which may be signed.
            Some(Err(_)) => this.exchange.failed(&"the connection broke"),
            None => this.exchange.whole(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
