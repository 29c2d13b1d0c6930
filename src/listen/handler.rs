//! The service as hyper calls it: each request told about its connection, counted while in flight, and alone in its
//! panic.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tower::ServiceExt;

use super::Connection;
use super::activity::{Activity, InFlight};
use super::turn::{Tunnel, Turning};
use crate::serve::file::Direct;

/// What `serve` can serve. Every tower service over hyper's request body is one, so an axum router too; but tower wants a
/// name for its futures, and one without a name need not be boxed.
pub trait Service: Clone + Send + Sync + 'static {
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

impl<S> Service for S
where
    S: tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let Ok(response) = self.clone().oneshot(request).await;
        response
    }
}

/// A handler as hyper takes it.
pub(super) trait ForHyper:
    hyper::service::Service<
        Request<Incoming>,
        Response = Response<Counted>,
        Error = Infallible,
        Future: Send + 'static,
    >
{
}

impl<H> ForHyper for H where
    H: hyper::service::Service<
            Request<Incoming>,
            Response = Response<Counted>,
            Error = Infallible,
            Future: Send + 'static,
        >
{
}

pub(super) struct Handler<S> {
    service: S,
    connection: Connection,
    activity: Arc<Activity>,
    max_header_fields: usize,
    direct: Option<Direct>,
    tunnel: Option<Arc<Tunnel>>,
    turning: Option<Turning>,
}

impl<S> Handler<S> {
    pub(super) fn new(
        service: S,
        connection: Connection,
        activity: Arc<Activity>,
        max_header_fields: usize,
    ) -> Self {
        Self {
            service,
            connection,
            activity,
            max_header_fields,
            direct: None,
            tunnel: None,
            turning: None,
        }
    }

    /// Requests come over a connection whose stream sends files by itself.
    pub(super) fn with_direct(mut self, direct: Option<Direct>) -> Self {
        self.direct = direct;
        self
    }
}

impl<S> Handler<S> {
    /// Requests come from within a tunnel.
    pub(super) fn within(mut self, tunnel: Option<Arc<Tunnel>>) -> Self {
        self.tunnel = tunnel;
        self
    }

    /// CONNECT may turn the connection into a tunnel.
    pub(super) fn that_turns(mut self, turning: Turning) -> Self {
        self.turning = Some(turning);
        self
    }
}

impl<S: Service> Handler<S> {
    /// The same for hyper, which keeps room for one future with the connection.
    pub(super) fn into_hyper(self) -> impl ForHyper {
        let handler = Arc::new(self);
        service_fn(move |request| {
            let in_flight = handler.begin(&request);
            let handler = Arc::clone(&handler);
            // Boxed: unboxed, its room would stay with each connection that rests.
            Box::pin(async move {
                let response = handler.answer(request).await;
                Ok(response.map(|body| Counted::new(body, in_flight)))
            })
        })
    }

    fn begin(&self, request: &Request<Incoming>) -> InFlight {
        let in_flight = self
            .activity
            .request(!http_body::Body::is_end_stream(request.body()));
        if request.version() < http::Version::HTTP_2 {
            self.activity.head_ended();
        }
        in_flight
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        // HTTP/1's parser has refused this already; `h2` counts bytes only.
        if request.headers().len() > self.max_header_fields {
            return plain(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too many header fields\n",
            );
        }
        request.extensions_mut().insert(self.connection);
        if let Some(direct) = &self.direct {
            request.extensions_mut().insert(direct.clone());
        }
        if let Some(tunnel) = &self.tunnel {
            request.extensions_mut().insert(Arc::clone(tunnel));
        }
        if let Some(turning) = self.turning.as_ref().filter(|_| is_connect(&request)) {
            let turn = turning.offer(hyper::upgrade::on(&mut request));
            request.extensions_mut().insert(turn);
        }
        // A panic is one request's, not its connection's: others share an HTTP/2 connection. The message and the place
        // went to the log through the panic hook.
        AssertUnwindSafe(self.service.answer(request))
            .catch_unwind()
            .await
            .unwrap_or_else(|_panic| plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"))
    }
}

/// HTTP/2 has a CONNECT too, of one stream: no client of registries uses it.
fn is_connect(request: &Request<Incoming>) -> bool {
    request.method() == Method::CONNECT && request.version() < http::Version::HTTP_2
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

/// A response body whose request is in flight until hyper has taken the last of it, or given up.
pub(super) struct Counted {
    body: Body,
    in_flight: InFlight,
    /// How it broke, while what came before goes out. hyper throws away what it has not written when a body breaks: where
    /// that is all of the answer, the client would see a connection closed without a word, as one that had rested too long
    /// is, and many would quietly ask again.
    broken: Option<axum::Error>,
}

impl Counted {
    fn new(body: Body, in_flight: InFlight) -> Self {
        Self {
            body,
            in_flight,
            broken: None,
        }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Err(error)) => {
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                return Poll::Pending; // hyper writes before it asks again
            }
            frame => frame,
        };
        // With the last piece the request is no longer in flight.
        if self.body.is_end_stream() {
            return Poll::Ready(frame);
        }
        Poll::Ready(frame.map(|frame| Ok(frame?.map_data(|piece| self.in_flight.hand_over(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
