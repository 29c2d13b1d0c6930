//! One answer's body, as bytes of a known place in the blob.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use crc32fast::Hasher as Sum;
use http_body::Body as _;

use crate::oci::Digest;
use crate::oci::digest::Hasher;
use crate::upstream::body::Body;
use crate::upstream::failure::Failure;

/// What is known of the bytes before a place, to compare them when an upstream sends them again.
#[derive(Clone, Debug)]
pub(super) struct Past {
    /// The download began here; what is before was there already, and hashes to `kept`.
    pub from: u64,
    pub kept: Digest,
    /// From there to `reached`, the download brought bytes of this check sum.
    pub reached: u64,
    pub sum: u32,
}

/// A body whose next byte is that of the blob at `at`.
#[derive(Debug)]
pub(super) struct Stream {
    body: Body,
    at: u64,
    /// Where the body ends; none for a blob of unknown length.
    until: Option<u64>,
    skip: Option<Skip>,
    /// Came, but was not asked for yet.
    wanted: Bytes,
    /// Which of several places it is from; 0 where there is one.
    place: usize,
}

/// What a stream brought.
#[derive(Debug)]
pub(super) enum Got {
    Bytes(Bytes),
    /// So many bytes of what had come before.
    Again(u64),
    End,
}

impl Stream {
    /// A body that begins at `at`.
    pub fn new(body: Body, at: u64, until: Option<u64>) -> Self {
        Self {
            body,
            at,
            until,
            skip: None,
            wanted: Bytes::new(),
            place: 0,
        }
    }

    /// A body that begins at 0, of which only what follows `first` is wanted.
    pub fn skipping(body: Body, first: u64, length: Option<u64>, past: &Past) -> Self {
        Self {
            skip: (first > 0).then(|| Skip::new(first, past)),
            ..Self::new(body, 0, length)
        }
    }

    /// It is of one of several places, and not waited for longer than this when it is silent.
    pub fn of_several(mut self, place: usize, silence: Duration) -> Self {
        self.body.hurry(silence);
        Self { place, ..self }
    }

    pub fn place(&self) -> usize {
        self.place
    }

    /// It sends the blob from its beginning although another place was asked for.
    pub fn is_whole(&self) -> bool {
        self.skip.is_some()
    }

    /// The body goes on behind `end`.
    pub fn runs_beyond(&self, end: u64) -> bool {
        self.until.is_none_or(|until| until > end)
    }

    /// At most `most` bytes, which is not 0; what else came with them is kept for the next time.
    pub fn poll(&mut self, cx: &mut Context<'_>, most: u64) -> Poll<Result<Got, Failure>> {
        loop {
            if !self.wanted.is_empty() {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                let bytes = self.wanted.split_to(most.min(self.wanted.len()));
                return Poll::Ready(Ok(Got::Bytes(bytes)));
            }
            let mut data = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => data,
                    _ => continue,
                },
                Some(Err(failure)) => return Poll::Ready(Err(failure)),
                None if self.until.is_some_and(|until| self.at < until) => {
                    return Poll::Ready(Err(self.body.broken()));
                }
                None => return Poll::Ready(Ok(Got::End)),
            };
            let before = self.at;
            self.at += data.len() as u64;
            let Some(skip) = &mut self.skip else {
                self.wanted = data;
                continue;
            };
            let left = usize::try_from(skip.to - before).unwrap_or(usize::MAX);
            let skipped = data.split_to(left.min(data.len()));
            if let Err(Differs { within }) = skip.pass(before, &skipped) {
                return Poll::Ready(Err(self.body.differs(within)));
            }
            if self.at >= skip.to {
                self.skip = None;
                self.wanted = data;
            }
            return Poll::Ready(Ok(Got::Again(skipped.len() as u64)));
        }
    }
}

/// Bytes that have come before, compared while they pass.
#[derive(Debug)]
struct Skip {
    to: u64,
    from: u64,
    kept: Option<(Hasher, Digest)>,
    reached: u64,
    brought: Option<(Sum, u32)>,
}

struct Differs {
    within: u64,
}

impl Skip {
    fn new(to: u64, past: &Past) -> Self {
        let hasher = Hasher::new(past.kept.algorithm());
        Self {
            to,
            from: past.from,
            kept: (past.from > 0).then(|| (hasher, past.kept.clone())),
            reached: past.reached,
            brought: (past.reached > past.from).then(|| (Sum::new(), past.sum)),
        }
    }

    fn pass(&mut self, at: u64, bytes: &[u8]) -> Result<(), Differs> {
        let end = at + bytes.len() as u64;
        if let Some((hasher, _)) = &mut self.kept {
            hasher.update(part(bytes, at, 0, self.from));
        }
        if let Some((sum, _)) = &mut self.brought {
            sum.update(part(bytes, at, self.from, self.reached));
        }
        let kept = self.kept.take_if(|_| end >= self.from);
        if kept.is_some_and(|(hasher, expected)| hasher.finish() != expected) {
            return Err(Differs { within: self.from });
        }
        let brought = self.brought.take_if(|_| end >= self.reached);
        if brought.is_some_and(|(sum, expected)| sum.finalize() != expected) {
            return Err(Differs { within: self.reached });
        }
        Ok(())
    }
}

/// Those of `bytes`, which lie at `at`, that are between `first` and `end`.
fn part(bytes: &[u8], at: u64, first: u64, end: u64) -> &[u8] {
    let index = |place: u64| {
        let offset = usize::try_from(place.saturating_sub(at)).unwrap_or(usize::MAX);
        offset.min(bytes.len())
    };
    bytes.get(index(first)..index(end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::RegistryName;
    use crate::oci::digest::Algorithm;

    const BLOB: &[u8] = b"the quick brown fox jumps over the lazy dog";

    fn past(from: usize, reached: usize) -> Past {
        Past {
            from: from as u64,
            kept: Digest::of(Algorithm::Sha256, &BLOB[..from]),
            reached: reached as u64,
            sum: crc32fast::hash(&BLOB[from..reached]),
        }
    }

    /// What comes of `sent` in chunks of `size`, from `first` on.
    async fn read(sent: &'static [u8], size: usize, first: u64, past: &Past) -> Result<Vec<u8>, Failure> {
        let chunks = sent
            .chunks(size)
            .map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk)));
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let registry = RegistryName::parse("r.test").unwrap();
        let body = Body::new(body, registry, "cdn.test".to_owned(), Duration::from_mins(1));
        let mut stream = Stream::skipping(body, first, Some(BLOB.len() as u64), past);
        let (mut read, mut again) = (Vec::new(), 0);
        loop {
            match std::future::poll_fn(|cx| stream.poll(cx, 4)).await? {
                Got::Bytes(bytes) => read.extend_from_slice(&bytes),
                Got::Again(bytes) => again += bytes,
                Got::End => {
                    assert_eq!(again, first);
                    return Ok(read);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_begins_again_is_skipped_and_compared() {
        // Some registries ignore Range: the rest must still be the rest, and of the same blob.
        for size in [1, 3, 10, 43] {
            for (from, reached, first) in [(0, 5, 5), (5, 5, 5), (5, 20, 20), (5, 20, 30), (43, 43, 43)] {
                let rest = read(BLOB, size, first as u64, &past(from, reached))
                    .await
                    .unwrap();
                assert_eq!(rest, &BLOB[first..], "{size} {from} {reached} {first}");
            }
        }
        let other = b"THE quick brown fox jumps over the lazy dog";
        for (from, reached, within) in [(5, 20, 5), (0, 20, 20), (5, 5, 5)] {
            let failure = read(other, 7, 20, &past(from, reached)).await.unwrap_err();
            assert!(
                matches!(failure, Failure::OtherBytes { within: w, .. } if w == within),
                "{failure:?}"
            );
        }
    }

    #[tokio::test]
    async fn an_end_before_the_end_is_a_break() {
        // A chunked body that ends cleanly too early must be asked for again, not taken for the whole.
        let failure = read(&BLOB[..40], 7, 20, &past(0, 20)).await.unwrap_err();
        assert!(matches!(failure, Failure::Broken { .. }), "{failure:?}");
    }
}
