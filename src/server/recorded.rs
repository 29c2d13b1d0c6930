//! A client's request while somebody records (`telemetry::har`): its head, the body where that is a form or JSON, and
//! through its record all that the handlers find out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http_body::{Frame, SizeHint};

use super::layers;
use super::router::Front;
use crate::listen::Connection;
use crate::telemetry::Record;
use crate::telemetry::har::Trace;

pub async fn answer<B>(trace: &Arc<Trace>, front: &Front, head: Parts, body: B, record: &Record) -> Response
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let connection = head.extensions.get::<Connection>();
    let exchange = trace.client(&head, connection.is_some_and(|connection| connection.secure));
    let wants_body = exchange.wants_request_body();
    record.recorded(exchange);
    if !wants_body {
        return layers::catch_panics(front, head, body, record).await;
    }
    let body = Body::new(Watched {
        body: Body::new(body),
        record: record.clone(),
    });
    layers::catch_panics(front, head, body, record).await
}

/// A request's body, of which the recording sees every piece.
struct Watched {
    body: Body,
    record: Record,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.record.exchange(|exchange| exchange.sent(data));
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
