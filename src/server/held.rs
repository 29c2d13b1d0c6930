//! A body that keeps its request's place among those under way until it has ended, or its client has left.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::access::limits::Pass;

/// The answer as it is, for as long as the pass must last.
pub fn hold(response: Response, pass: Pass) -> Response {
    if pass.is_free() {
        return response;
    }
    response.map(|body| {
        Body::new(Held {
            body,
            pass: Some(pass),
        })
    })
}

#[derive(Debug)]
struct Held {
    body: Body,
    pass: Option<Pass>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if matches!(frame, None | Some(Err(_))) {
            self.pass = None;
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
