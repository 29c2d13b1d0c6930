//! One request and its answer; and, while somebody records (`telemetry::har`), what becomes of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use url::Url;

use super::{Call, NamedBy, Transport};
use crate::telemetry::har::{Exchange, Outgoing, Trace};
use crate::telemetry::metrics::{Answered, Word as _};
use crate::telemetry::traces;
use crate::upstream::failure::Failure;

/// The body of an error up to this size is read for the recording; and how long it may take.
const SHORT: u64 = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

impl Transport {
    /// The answer's header; the body is still to come. `question` is the URL of what all of it is for, where redirects led
    /// to this one.
    pub(in crate::upstream) async fn exchange(
        &self,
        call: &Call,
        question: &Url,
    ) -> Result<Response<reqwest::Body>, Failure> {
        let mut step = traces::question("upstream");
        let began = Instant::now();
        let exchanged = match self.tracer.current() {
            None => self.exchange_somehow(call).await,
            Some(trace) => Box::pin(self.recorded(&trace, call, question)).await,
        };
        let status = exchanged.as_ref().ok().map(Response::status);
        let answered = status.map_or(Answered::None, Answered::of);
        self.meter.asked(call.hop, answered, began.elapsed());
        step.note(|notes| {
            notes.text("docxy.registry", self.registry.as_str().to_owned());
            notes.text("docxy.to", call.hop.word());
            notes.text("http.request.method", call.method.as_str().to_owned());
            notes.text(
                "server.address",
                call.url.host_str().unwrap_or_default().to_owned(),
            );
            notes.number(
                "server.port",
                call.url.port_or_known_default().unwrap_or_default(),
            );
            if let Some(status) = status {
                notes.number("http.response.status_code", status.as_u16());
            }
            if let Err(failure) = &exchanged {
                notes.failed(failure.to_string());
            }
        });
        exchanged
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
            redirected: call.at_location
                || call.named_by == NamedBy::Redirect
                || call.url.path() != question.path(),
            headers: &call.headers,
            body: call.body.form(),
            question,
        });
        let Some(mut exchange) = exchange else {
            return self.exchange_somehow(call).await;
        };
        match self.exchange_somehow(call).await {
            Ok(answer) => {
                exchange.answered(answer.status(), answer.version(), answer.headers());
                let is_error = answer.status().is_client_error() || answer.status().is_server_error();
                let (head, body) = answer.into_parts();
                let body = if is_error && is_short(&body) {
                    whole(body, exchange).await
                } else {
                    reqwest::Body::wrap(Watched { body, exchange })
                };
                Ok(Response::from_parts(head, body))
            }
            Err(failure) => {
                exchange.failed(&failure);
                Err(failure)
            }
        }
    }
}

/// Nobody else reads what a registry has to say about an error; whoever records wants to.
async fn whole(body: reqwest::Body, exchange: Exchange) -> reqwest::Body {
    let body = Watched { body, exchange };
    match tokio::time::timeout(PATIENCE, body.collect()).await {
        Ok(Ok(whole)) => whole.to_bytes().into(),
        // The status is what counts.
        Ok(Err(_)) | Err(_) => reqwest::Body::default(),
    }
}

fn is_short(body: &reqwest::Body) -> bool {
    body.size_hint().upper().is_some_and(|size| size <= SHORT)
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
