//! A client's body on its way to a registry: taken piece by piece as the registry takes it, once, and never kept.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::{Instant, Sleep};

type Cause = Box<dyn Error + Send + Sync>;

/// Clones are the same body. Whoever sends it first takes it: it can be sent again only while nothing of it was taken.
#[derive(Clone)]
pub struct Outgoing(Arc<Shared>);

struct Shared {
    /// As the client told it; `None` goes out in chunks.
    length: Option<u64>,
    /// How long the client may say nothing while the registry waits.
    idle: Duration,
    state: Mutex<State>,
}

struct State {
    /// `None` once it has ended, broken or been given up.
    body: Option<UnsyncBoxBody<Bytes, Cause>>,
    silence: Option<Pin<Box<Sleep>>>,
    /// Of the last that sends it; an older one gets no more of it.
    sender: u32,
    /// Of that one, while it waits.
    waiting: Option<Waker>,
    stage: Stage,
    fault: Option<Fault>,
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Nobody wanted any of it yet.
    Fresh,
    /// The registry waits for the first of it.
    Asked,
    /// The registry waits for the client.
    Awaited,
    /// A piece was taken then, and the next one not yet asked for.
    Taken(Instant),
    /// The last of it was taken then.
    Over(Instant),
}

/// What the client did wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    #[error("the body broke off before its end")]
    Broke,
    #[error("nothing of the body came for {0:?}")]
    Silent(Duration),
}

/// Nobody wants the rest.
#[derive(Debug, thiserror::Error)]
#[error("given up")]
struct GivenUp;

impl Outgoing {
    pub fn new<B>(body: B, idle: Duration) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Cause>,
    {
        Self(Arc::new(Shared {
            length: body.size_hint().exact(),
            idle,
            state: Mutex::new(State {
                body: Some(body.map_err(Into::into).boxed_unsync()),
                silence: None,
                sender: 0,
                waiting: None,
                stage: Stage::Fresh,
                fault: None,
            }),
        }))
    }

    /// Something of it was taken: it can't be sent again.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.stage(), Stage::Fresh | Stage::Asked)
    }

    /// The last of it was taken: the registry may have it all.
    pub fn is_handed_over(&self) -> bool {
        matches!(self.stage(), Stage::Over(_))
    }

    pub(super) fn stage(&self) -> Stage {
        self.0.lock().stage
    }

    /// Why it broke, if that was the client's doing.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.0.lock().fault
    }

    /// The answer is there: what was not taken by now goes no further, unless the same is asked again before anything was.
    pub(super) fn give_up(&self) {
        let mut state = self.0.lock();
        match state.stage {
            Stage::Over(_) => return,
            Stage::Fresh | Stage::Asked => state.stage = Stage::Fresh,
            Stage::Awaited | Stage::Taken(_) => state.body = None,
        }
        state.sender += 1;
        if let Some(waiting) = state.waiting.take() {
            waiting.wake();
        }
    }

    /// It, to be sent now, by nobody else any more.
    pub(super) fn to_send(&self) -> reqwest::Body {
        reqwest::Body::wrap(self.sending())
    }

    fn sending(&self) -> Sending {
        let mut state = self.0.lock();
        state.sender += 1;
        Sending {
            shared: self.0.clone(),
            number: state.sender,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Sending {
    shared: Arc<Shared>,
    number: u32,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = Cause;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        let mut state = self.shared.lock();
        let state = &mut *state;
        loop {
            let Some(body) = state.body.as_mut().filter(|_| state.sender == self.number) else {
                // Another one that sent it to its end does not make this one whole.
                let own = state.sender == self.number;
                let over = own && matches!(state.stage, Stage::Over(_)) && state.fault.is_none();
                return Poll::Ready((!over).then(|| Err(GivenUp.into())));
            };
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                let idle = self.shared.idle;
                state.stage = match state.stage {
                    Stage::Fresh | Stage::Asked => Stage::Asked,
                    Stage::Awaited | Stage::Taken(_) | Stage::Over(_) => Stage::Awaited,
                };
                state.waiting = Some(cx.waker().clone());
                let silence = state
                    .silence
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                ready!(silence.as_mut().poll(cx));
                return Poll::Ready(Some(Err(state.broken(Fault::Silent(idle)))));
            };
            state.silence = None;
            match frame {
                Some(Ok(frame)) if frame.is_data() => {
                    let over = body.is_end_stream();
                    state.stage = if over {
                        Stage::Over(Instant::now())
                    } else {
                        Stage::Taken(Instant::now())
                    };
                    return Poll::Ready(Some(Ok(frame)));
                }
                // Trailers are nothing that a registry knows.
                Some(Ok(_)) => {}
                Some(Err(_)) => return Poll::Ready(Some(Err(state.broken(Fault::Broke)))),
                None => {
                    state.body = None;
                    state.stage = Stage::Over(Instant::now());
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.shared.lock();
        state.sender == self.number && matches!(state.stage, Stage::Over(_))
    }

    fn size_hint(&self) -> SizeHint {
        self.shared
            .length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl State {
    fn broken(&mut self, fault: Fault) -> Cause {
        self.body = None;
        self.fault = Some(fault);
        // Nothing can be sent again of what is not there.
        self.stage = Stage::Awaited;
        fault.into()
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({:?} bytes, {:?})", self.0.length, self.stage())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    const IDLE: Duration = Duration::from_mins(1);

    fn outgoing(pieces: Vec<Result<&'static str, std::io::Error>>, pause: Duration) -> Outgoing {
        let stream = futures_util::stream::iter(pieces).then(move |piece| async move {
            tokio::time::sleep(pause).await;
            piece.map(|text| Frame::data(Bytes::from_static(text.as_bytes())))
        });
        Outgoing::new(http_body_util::StreamBody::new(stream), IDLE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_passed_on_once_however_slow_it_is() {
        // A push over a thin line may take hours: nothing limits the whole of it. And it is never sent twice.
        let body = outgoing((0..100).map(|_| Ok("x")).collect(), Duration::from_secs(59));
        assert!(!body.has_begun());
        let sent = body.to_send().collect().await.unwrap().to_bytes();
        assert_eq!(sent.len(), 100);
        assert!(body.has_begun());
        assert!(matches!(body.stage(), Stage::Over(_)));
        assert_eq!(body.to_send().collect().await.unwrap().to_bytes().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_breaks_off_or_falls_silent_is_the_one_to_blame() {
        // The registry is not called suspect for what a client did.
        let torn = outgoing(vec![Ok("x"), Err(std::io::Error::other("gone"))], Duration::ZERO);
        assert!(torn.to_send().collect().await.is_err());
        assert_eq!(torn.fault(), Some(Fault::Broke));
        let silent = outgoing(vec![Ok("x"), Ok("y")], IDLE + Duration::from_secs(1));
        assert!(silent.to_send().collect().await.is_err());
        assert_eq!(silent.fault(), Some(Fault::Silent(IDLE)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_wants_any_more_is_not_taken() {
        // A registry that says no before the end: the rest of ten gigabytes stays with the client.
        let body = outgoing(vec![Ok("x"), Ok("y")], Duration::ZERO);
        let mut sending = body.sending();
        assert!(sending.frame().await.unwrap().is_ok());
        body.give_up();
        assert!(sending.frame().await.unwrap().is_err());
        assert_eq!(body.fault(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn two_never_share_a_body() {
        // A first connection that broke before it took anything, and a second one: each byte goes out once.
        let body = outgoing(vec![Ok("x"), Ok("y")], Duration::from_secs(1));
        let mut first = body.sending();
        assert!(futures_util::poll!(std::pin::pin!(first.frame())).is_pending());
        assert!(!body.has_begun());
        let sent = body.to_send().collect().await.unwrap().to_bytes();
        assert_eq!(&*sent, b"xy");
        assert!(!first.is_end_stream());
        // A clean end would be the end of a request whose body is short of everything.
        assert!(first.frame().await.is_some_and(|frame| frame.is_err()));
    }
}
