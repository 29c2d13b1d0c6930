//! When did this request get its connection? The limit for the response's header counts from there, and the HTTP client
//! does not tell. A layer around its connector notes it for the request in whose task the connection is made.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer, Service};

tokio::task_local! {
    static CURRENT: Arc<Dial>;
}

/// What happened to one request so far.
#[derive(Debug)]
pub(super) struct Dial {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No connection was asked for yet, or an idle one was taken.
    Pooled(Instant),
    Dialling(Instant),
    Connected(Instant),
}

impl Dial {
    pub fn begin() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::Pooled(Instant::now())),
        })
    }

    /// Runs `request` so that the connections it makes are noted here.
    pub async fn watch<F: Future>(self: Arc<Self>, request: F) -> F::Output {
        CURRENT.scope(self, request).await
    }

    /// By when the response's header must have come, as far as is known now. It only ever moves later: a caller that
    /// reaches it asks again.
    pub fn deadline(&self, connect: Duration, headers: Duration) -> Instant {
        match self.state() {
            State::Pooled(since) | State::Connected(since) => since + headers,
            // The connector itself gives up after `connect`; a dial that lost to a pooled connection may stay here.
            State::Dialling(since) => since + connect + headers,
        }
    }

    /// The request went out on a connection that had been used before, which the other side may have closed meanwhile.
    pub fn reused(&self) -> bool {
        matches!(self.state(), State::Pooled(_))
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Goes around the HTTP client's connector.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoteDials;

impl<S> Layer<S> for NoteDials {
    type Service = Noting<S>;

    fn layer(&self, inner: S) -> Noting<S> {
        Noting { inner }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Noting<S> {
    inner: S,
}

impl<S, R> Service<R> for Noting<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: R) -> Self::Future {
        let dial = CURRENT.try_with(Arc::clone).ok();
        if let Some(dial) = &dial {
            dial.note(State::Dialling(Instant::now()));
        }
        let connecting = self.inner.call(target);
        Box::pin(async move {
            let connected = connecting.await;
            if let Some(dial) = &dial {
                dial.note(State::Connected(Instant::now()));
            }
            connected
        })
    }
}
