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

    fn broken(&self) -> Failure {
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
