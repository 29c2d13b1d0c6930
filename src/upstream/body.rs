//! The body of an answer: never ends early without an error, never hangs for ever, holds its connection.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

use super::failure::{Failure, Phase};
use crate::oci::RegistryName;

/// A body from upstream. There is no limit on the whole of it, only on the silence between two chunks while somebody
/// waits for the next one. Dropping it ends the transfer.
pub struct Body {
    inner: Option<reqwest::Body>,
    registry: RegistryName,
    host: String,
    idle: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    expected: Option<u64>,
    received: u64,
}

impl Body {
    pub(super) fn new(inner: reqwest::Body, registry: RegistryName, host: String, idle: Duration) -> Self {
        let expected = inner.size_hint().exact();
        Self {
            inner: Some(inner),
            registry,
            host,
            idle,
            silence: None,
            expected,
            received: 0,
        }
    }

    pub(super) fn empty(registry: RegistryName, host: String) -> Self {
        Self {
            inner: None,
            registry,
            host,
            idle: Duration::ZERO,
            silence: None,
            expected: Some(0),
            received: 0,
        }
    }

    /// Reads the whole body, if it has at most `limit` bytes.
    pub async fn collect_up_to(mut self, limit: usize) -> Result<Bytes, Failure> {
        let mut collected = bytes::BytesMut::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            let Ok(data) = frame?.into_data() else { continue };
            if collected.len() + data.len() > limit {
                return Err(Failure::BadAnswer {
                    registry: self.registry,
                    host: self.host,
                    reason: format!("its body has more than {limit} bytes"),
                });
            }
            collected.extend_from_slice(&data);
        }
        Ok(collected.freeze())
    }

    /// The length that the registry told elsewhere; for a body that says none itself (`Answer::length_known`).
    pub fn expect_length(&mut self, length: u64) {
        self.expected = Some(length);
    }

    /// Somebody else may have the rest: it is not waited for longer than this.
    pub(super) fn hurry(&mut self, idle: Duration) {
        self.idle = self.idle.min(idle);
    }

    /// Its first bytes are not those that the same blob had before.
    pub(super) fn differs(&self, within: u64) -> Failure {
        Failure::OtherBytes {
            registry: self.registry.clone(),
            host: self.host.clone(),
            within,
        }
    }

    /// It ended too early, as whoever knows more about its length may find too.
    pub(super) fn broken(&self) -> Failure {
        Failure::Broken {
            registry: self.registry.clone(),
            host: self.host.clone(),
            received: self.received,
            expected: self.expected,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) else {
            // Nothing is there and somebody waits: from here on the silence counts.
            let idle = this.idle;
            let silence = this
                .silence
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
            ready!(silence.as_mut().poll(cx));
            this.inner = None;
            return Poll::Ready(Some(Err(Failure::Timeout {
                registry: this.registry.clone(),
                host: this.host.clone(),
                phase: Phase::Idle,
                limit: idle,
            })));
        };
        this.silence = None;
        match frame {
            Some(Ok(frame)) => {
                this.received += frame.data_ref().map_or(0, |data| data.remaining() as u64);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => {
                this.inner = None;
                Poll::Ready(Some(Err(this.broken())))
            }
            None => {
                this.inner = None;
                match this.expected {
                    Some(expected) if expected != this.received => Poll::Ready(Some(Err(this.broken()))),
                    _ => Poll::Ready(None),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match (&self.inner, self.expected) {
            (None, _) => true,
            (Some(_), Some(expected)) => self.received == expected,
            (Some(inner), None) => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.expected.map_or_else(SizeHint::default, |expected| {
            SizeHint::with_exact(expected.saturating_sub(self.received))
        })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("host", &self.host)
            .field("expected", &self.expected)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use http_body_util::BodyExt;

    const IDLE: Duration = Duration::from_mins(1);

    /// A body that sends `chunks` bytes, one at a time, each after `pause`.
    fn slow(chunks: usize, pause: Duration) -> Body {
        let stream = futures_util::stream::iter(0..chunks).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, std::io::Error>(Bytes::from_static(b"x"))
        });
        Body::new(
            reqwest::Body::wrap_stream(stream),
            RegistryName::parse("r.test").unwrap(),
            "cdn.test".to_owned(),
            IDLE,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_has_all_the_time_it_wants() {
        // Whoever pulls 10 GB over a thin line must not be cut off by a limit on the whole (R1).
        let before = tokio::time::Instant::now();
        let collected = slow(1000, Duration::from_secs(59)).collect().await.unwrap();
        assert_eq!(collected.to_bytes().len(), 1000);
        assert!(before.elapsed() > Duration::from_hours(16));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_ends_after_the_idle_limit() {
        // A client must learn within a minute that the upstream went silent, and be told who.
        let before = tokio::time::Instant::now();
        let mut body = slow(2, IDLE + Duration::from_secs(1));
        let failure = body.frame().await.unwrap().unwrap_err();
        assert!(
            matches!(
                failure,
                Failure::Timeout {
                    phase: Phase::Idle,
                    ..
                }
            ),
            "{failure}"
        );
        assert!(failure.to_string().contains("cdn.test"), "{failure}");
        assert_eq!(before.elapsed(), IDLE);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_not_a_silent_upstream() {
        // A client that takes an hour between two reads must still get its body.
        let mut body = slow(3, Duration::from_secs(1));
        let mut frames = 0;
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            frames += 1;
            tokio::time::sleep(Duration::from_hours(1)).await;
        }
        assert_eq!(frames, 3);
    }
}
