//! A blob's rest straight from the upstream to one client, when the disk has failed: hashed on from where the file ended,
//! the last piece held back until the digest is right. One connection, no file.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::cached::Cached;
use super::rights::Claim;
use super::{Error, Pull};
use crate::cache::Presence;
use crate::oci::Digest;
use crate::oci::digest::Hasher;
use crate::telemetry::metrics::Content;
use crate::telemetry::traces;
use crate::upstream::{Download, Errand, Order, Role};

/// Most that is held back of a body until its digest is known (threat I1).
const TAIL: usize = 64 * 1024;
/// Pieces between the upstream and the client.
const AHEAD: usize = 2;

/// What is left to send.
pub(super) struct Rest {
    pub claim: Claim,
    pub digest: Digest,
    /// `hasher` has seen the bytes before this one.
    pub from: u64,
    pub hasher: Hasher,
    /// What the client is still to get; it begins at `from` or later.
    pub part: Range<u64>,
    /// Of the whole blob; where nobody knows it the part is the whole.
    pub length: Option<u64>,
}

impl Rest {
    /// Nothing was sent or hashed yet.
    pub fn whole(claim: &Claim, digest: &Digest, length: Option<u64>, part: Range<u64>) -> Self {
        Self {
            claim: claim.clone(),
            digest: digest.clone(),
            from: 0,
            hasher: Hasher::new(digest.algorithm()),
            part,
            length,
        }
    }
}

/// The bytes as they come.
#[derive(Debug)]
pub(super) struct Alone(mpsc::Receiver<Result<Bytes, Error>>);

impl Alone {
    /// From a download that is to be begun.
    pub fn start(cached: &Arc<Cached>, pull: Arc<Pull>, rest: Rest) -> Self {
        let cached = Arc::clone(cached);
        Self::spawn(|to| async move {
            let download = pull.download_rest(&cached, &rest).await?;
            send(&cached, download, rest, &to).await
        })
    }

    /// From one that has begun, at `rest.from`.
    pub fn over(cached: &Arc<Cached>, download: Download, rest: Rest) -> Self {
        let cached = Arc::clone(cached);
        Self::spawn(|to| async move { send(&cached, download, rest, &to).await })
    }

    fn spawn<F>(work: impl FnOnce(mpsc::Sender<Result<Bytes, Error>>) -> F) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let work = work(sender.clone());
        tokio::spawn(traces::carried(async move {
            if let Err(error) = work.await {
                // The client may be gone.
                let _ = sender.send(Err(error)).await;
            }
        }));
        Self(receiver)
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        self.0.poll_recv(cx)
    }
}

impl futures_util::Stream for Alone {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

impl Pull {
    /// A download of a whole blob for one client alone.
    pub(super) async fn download_alone(
        &self,
        cached: &Cached,
        claim: &Claim,
        digest: &Digest,
    ) -> Result<Download, Error> {
        self.download_rest(cached, &Rest::whole(claim, digest, None, 0..u64::MAX))
            .await
    }

    async fn download_rest(&self, cached: &Cached, rest: &Rest) -> Result<Download, Error> {
        let registry = &rest.claim.name.registry;
        let errand = Errand {
            repository: rest.claim.name.repository.clone(),
            digest: rest.digest.clone(),
            from: rest.from,
            known: rest.hasher.clone(),
            length: rest.length,
            order: Order::Kept,
            sources: self.sources(cached, &rest.claim.name),
        };
        let upstream = self.upstream(registry)?;
        match Box::pin(upstream.download(errand, &rest.claim.right)).await {
            Ok(download) => Ok(download),
            Err(refusal) => Err(super::no_download(registry, refusal).await),
        }
    }
}

async fn send(
    cached: &Cached,
    mut download: Download,
    rest: Rest,
    to: &mpsc::Sender<Result<Bytes, Error>>,
) -> Result<(), Error> {
    let mut sending = Sending {
        at: rest.from,
        hasher: rest.hasher,
        holds_back: rest.length.is_none_or(|length| length == rest.part.end),
        part: rest.part,
        held: VecDeque::new(),
        held_bytes: 0,
    };
    let granted = Instant::now();
    while let Some(piece) = download.next().await {
        let piece = piece.map_err(Error::Upstream)?;
        let length = piece.bytes.len() as u64;
        cached.metrics.pulled_bytes.add(Content::Blob, length);
        for bytes in sending.take(piece.bytes) {
            if to.send(Ok(bytes)).await.is_err() {
                return Ok(());
            }
        }
        if !sending.holds_back && sending.at >= sending.part.end {
            return Ok(());
        }
    }
    let (got, begun) = (sending.hasher.finish(), rest.from);
    if got != rest.digest {
        download.givers().distrust();
        return Err(Error::WrongBlob {
            registry: rest.claim.name.registry,
            asked: rest.digest,
            got,
        });
    }
    if begun == 0 {
        // A mirror's word proves nobody's right.
        if download.begun_by() == Role::Authority {
            cached.granted(&rest.claim, download.anonymous(), granted);
        }
        // The claim's registry has sent these very bytes.
        if matches!(cached.store.presence(&rest.digest), Presence::Stored { .. }) {
            cached.store.link(&rest.claim.name, &rest.digest, None);
        }
    }
    for bytes in sending.held {
        if to.send(Ok(bytes)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

struct Sending {
    at: u64,
    hasher: Hasher,
    part: Range<u64>,
    /// The part contains the blob's last byte.
    holds_back: bool,
    held: VecDeque<Bytes>,
    held_bytes: usize,
}

impl Sending {
    /// Takes the next bytes of the blob; returns what may go to the client now.
    fn take(&mut self, mut bytes: Bytes) -> Vec<Bytes> {
        self.hasher.update(&bytes);
        let begins = self.at;
        self.at += bytes.len() as u64;
        let skip = self.part.start.saturating_sub(begins).min(bytes.len() as u64);
        let keep = self.part.end.saturating_sub(begins).min(bytes.len() as u64);
        bytes.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        if skip >= keep {
            return Vec::new();
        }
        let bytes = bytes.slice(usize::try_from(skip).unwrap_or(usize::MAX)..);
        if !self.holds_back {
            return vec![bytes];
        }
        self.held_bytes += bytes.len();
        self.held.push_back(bytes);
        let mut free = Vec::new();
        while self.held_bytes > TAIL {
            let Some(mut first) = self.held.pop_front() else {
                break;
            };
            let over = self.held_bytes - TAIL;
            if first.len() > over {
                let goes = first.split_to(over);
                self.held.push_front(first);
                first = goes;
            }
            self.held_bytes -= first.len();
            free.push(first);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::digest::Algorithm;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_a_client_gets_is_its_part_and_the_tail_waits(
            blob in proptest::collection::vec(any::<u8>(), 1..300_000),
            from in 0_usize..300_000, start in 0_usize..300_000, end in 1_usize..300_000,
            cuts in proptest::collection::vec(1_usize..70_000, 1..50),
        ) {
            // Whoever's disk is full must still get right bytes, and the last ones only when the digest is known (I4).
            let length = blob.len();
            let end = end.min(length);
            let start = start.min(end - 1);
            let from = from.min(start);
            let mut sending = Sending {
                at: from as u64,
                hasher: Hasher::new(Algorithm::Sha256),
                part: start as u64..end as u64,
                holds_back: end == length,
                held: VecDeque::new(),
                held_bytes: 0,
            };
            sending.hasher.update(&blob[..from]);
            let (mut sent, mut at) = (Vec::new(), from);
            for cut in cuts.iter().cycle() {
                let next = (at + cut).min(length);
                sent.extend(sending.take(Bytes::copy_from_slice(&blob[at..next])).concat());
                at = next;
                if at == length { break; }
            }
            let held: Vec<u8> = sending.held.iter().flatten().copied().collect();
            prop_assert!(held.len() <= TAIL);
            if end == length {
                prop_assert_eq!(held.len(), TAIL.min(end - start));
            } else {
                prop_assert!(held.is_empty());
            }
            sent.extend(held);
            prop_assert_eq!(&sent[..], &blob[start..end]);
            prop_assert!(Digest::of(Algorithm::Sha256, &blob) == sending.hasher.finish());
        }
    }
}
