//! The work of one fill: right after right, until one opens the blob upstream; byte after byte into the leader.

use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::Fill;
use crate::cache::{Ending, Leader};
use crate::oci::Digest;
use crate::pull::cached::Cached;
use crate::pull::rights::Claim;
use crate::pull::{Error, Pull};
use crate::telemetry::metrics::{Content, Place};
use crate::upstream::{Download, Errand, Failure, Givers, HAND_OVER, Health, Order, Piece, Role, Sources};

/// A blob of at most this many bytes that a mirror begins is checked before anybody hears of it, so that a mirror which sends
/// something else costs nobody a broken pull. Larger ones flow at once. With all fills that run, 64 MiB.
const CHECKED_FIRST: u64 = 256 * 1024;

pub(super) struct Work {
    pull: Arc<Pull>,
    cached: Arc<Cached>,
    fill: Arc<Fill>,
    digest: Digest,
}

/// How far a download came.
enum Pumped {
    All,
    Ended(Ending),
    Failed(Failure),
}

/// A small blob of a mirror's.
enum Checked {
    Right(Vec<Piece>),
    Wrong,
    Failed(Failure),
}

/// What is known before anybody but the registry is asked.
enum Before {
    /// Nothing stands in the way of asking whoever may be asked.
    Nothing,
    /// The registry itself answered about what an earlier try left.
    Own(Box<Result<Download, Error>>),
    /// The registry can't be asked about it: it must go.
    Unvouched,
}

impl Work {
    pub fn new(pull: Arc<Pull>, cached: Arc<Cached>, fill: Arc<Fill>, digest: Digest) -> Self {
        Self {
            pull,
            cached,
            fill,
            digest,
        }
    }

    pub async fn run(&self, mut leader: Leader) -> Ending {
        let (mut number, mut begun, mut refused) = (0, None, None);
        let mut givers = Vec::new();
        while let Some(claim) = self.fill.claim(number) {
            let asked = Instant::now();
            let answer = match self.before(&leader, &claim, begun).await {
                Before::Own(answer) => *answer,
                Before::Nothing => {
                    // What came with another's right is there already; only the registry can say that this one may have it.
                    let sources = match begun {
                        None => self.pull.sources(&self.cached, &claim.name),
                        Some(_) => Sources::Authority,
                    };
                    self.ask(&leader, &claim, begun, sources).await
                }
                Before::Unvouched => match leader.restart().await {
                    Ok(()) => continue,
                    Err(ending) => return ending,
                },
            };
            let mut download = match answer {
                Ok(download) => download,
                Err(error) if error.is_denial() => {
                    self.pull.denied(&self.cached, &claim, None).await;
                    refused.get_or_insert(error);
                    number += 1;
                    continue;
                }
                Err(error) if error.is_other_bytes() && begun.is_none() && leader.resume_at() > 0 => {
                    // What an earlier try left is of no use.
                    match leader.restart().await {
                        Ok(()) => continue,
                        Err(ending) => return ending,
                    }
                }
                Err(error) => return self.give_up(leader, error, &givers),
            };
            let checked = match self.checked(&leader, &mut download, begun).await {
                Some(Checked::Right(pieces)) => Some(pieces),
                Some(Checked::Wrong) => {
                    self.cached.metrics.integrity_failures.inc(Place::Mirror);
                    if download.givers().distrust() {
                        continue;
                    }
                    return end(leader, Ending::WrongDigest);
                }
                Some(Checked::Failed(failure)) => {
                    return self.give_up(leader, Error::Upstream(failure), &givers);
                }
                None => None,
            };
            self.fill.grant(&claim, asked);
            let link = || self.cached.store.link(&claim.name, &self.digest, None);
            if begun.is_some() {
                link();
            } else {
                let Some(length) = download.length() else {
                    link();
                    self.fill.say(Ok(()));
                    return end(leader, Ending::NoLength);
                };
                let room = leader.begin(length).await;
                link();
                self.fill.say(Ok(()));
                if let Err(ending) = room {
                    return ending;
                }
                begun = Some(length);
            }
            let pumped = match checked {
                Some(pieces) => write(&mut leader, pieces).await,
                None => pump(&mut leader, &mut download).await,
            };
            self.count(&download);
            givers.push(download.givers());
            match pumped {
                Pumped::All => {
                    let blamed = givers.clone();
                    let ending = leader.finish_or(move || distrust(&blamed)).await;
                    // A mirror's word proves nobody's right.
                    if matches!(ending, Ending::Complete) && download.begun_by() == Role::Authority {
                        self.cached.granted(&claim, download.anonymous(), asked);
                    }
                    return ending;
                }
                Pumped::Ended(ending) => {
                    if ending.is_wrong_bytes() {
                        distrust(&givers);
                    }
                    return ending;
                }
                Pumped::Failed(failure @ Failure::Denied { .. }) => {
                    self.pull.denied(&self.cached, &claim, None).await;
                    refused.get_or_insert(Error::Upstream(failure));
                    number += 1;
                    if let Err(ending) = leader.take_stock().await {
                        return ending;
                    }
                }
                Pumped::Failed(failure) => return self.give_up(leader, Error::Upstream(failure), &givers),
            }
        }
        if let Some(error) = refused {
            self.fill.say(Err(error));
        }
        end(leader, Ending::Denied)
    }

    /// What an earlier try left may have been fetched for somebody with a right of his own: only the registry's own word opens
    /// it in this claim's repository (threat S5). A mirror could say yes to any digest; it has to send all of it.
    async fn before(&self, leader: &Leader, claim: &Claim, begun: Option<u64>) -> Before {
        let kept = begun.is_none() && leader.resume_at() > 0;
        if !kept || self.pull.sources(&self.cached, &claim.name) == Sources::Authority {
            return Before::Nothing;
        }
        let Ok(upstream) = self.pull.upstream(&claim.name.registry) else {
            return Before::Nothing;
        };
        if upstream.health() == Health::Suspect {
            return Before::Unvouched;
        }
        match timeout(HAND_OVER, self.ask(leader, claim, begun, Sources::Authority)).await {
            Ok(Err(error)) if !error.is_verdict() && !error.is_other_bytes() => Before::Unvouched,
            Ok(answer) => Before::Own(Box::new(answer)),
            Err(_) => {
                upstream.is_late();
                Before::Unvouched
            }
        }
    }

    async fn ask(
        &self,
        leader: &Leader,
        claim: &Claim,
        length: Option<u64>,
        sources: Sources,
    ) -> Result<Download, Error> {
        let registry = &claim.name.registry;
        let errand = Errand {
            repository: claim.name.repository.clone(),
            digest: self.digest.clone(),
            from: leader.resume_at(),
            known: leader.hasher(),
            length,
            order: Order::Any,
            sources,
        };
        let upstream = self.pull.upstream(registry)?;
        match Box::pin(upstream.download(errand, &claim.right)).await {
            Ok(download) => Ok(download),
            Err(refusal) => Err(crate::pull::no_download(registry, refusal).await),
        }
    }

    /// `None`: it is not looked at before it is passed on.
    async fn checked(&self, leader: &Leader, download: &mut Download, begun: Option<u64>) -> Option<Checked> {
        let small = download.length().is_some_and(|length| length <= CHECKED_FIRST);
        if begun.is_some() || download.begun_by() == Role::Authority || !small {
            return None;
        }
        let (mut hasher, mut pieces) = (leader.hasher(), Vec::new());
        while let Some(piece) = download.next().await {
            match piece {
                Ok(piece) => {
                    // One connection: a blob of this size is never shared out.
                    hasher.update(&piece.bytes);
                    pieces.push(piece);
                }
                Err(failure) => return Some(Checked::Failed(failure)),
            }
        }
        Some(if hasher.finish() == self.digest {
            Checked::Right(pieces)
        } else {
            Checked::Wrong
        })
    }

    fn count(&self, download: &Download) {
        let (metrics, counters) = (&self.cached.metrics, download.counters());
        metrics.pulled_bytes.add(Content::Blob, counters.received);
        metrics.resumes.inc_by(counters.resumes);
        metrics.retries.inc_by(counters.retries);
        metrics
            .segments
            .inc_by((counters.segments as u64).saturating_sub(1));
        if download.givers().mirrored() > 0 {
            metrics.mirrored.inc(Content::Blob);
        }
    }

    fn give_up(&self, leader: Leader, error: Error, givers: &[Givers]) -> Ending {
        // What is here or what comes now is of another blob, and nobody knows which: a part that is kept would meet the
        // same end at every further try.
        let ending = if error.is_other_bytes() {
            distrust(givers);
            Ending::WrongDigest
        } else {
            Ending::GaveUp {
                why: error.to_string(),
            }
        };
        self.fill.say(Err(error));
        end(leader, ending)
    }
}

async fn pump(leader: &mut Leader, download: &mut Download) -> Pumped {
    while let Some(piece) = download.next().await {
        match piece {
            Ok(piece) => {
                if let Err(ending) = leader.write(piece.at, piece.bytes).await {
                    return Pumped::Ended(ending);
                }
            }
            Err(failure) => return Pumped::Failed(failure),
        }
    }
    Pumped::All
}

async fn write(leader: &mut Leader, pieces: Vec<Piece>) -> Pumped {
    for piece in pieces {
        if let Err(ending) = leader.write(piece.at, piece.bytes).await {
            return Pumped::Ended(ending);
        }
    }
    Pumped::All
}

/// The next try must not meet the same bytes.
fn distrust(givers: &[Givers]) {
    for givers in givers {
        givers.distrust();
    }
}

fn end(leader: Leader, ending: Ending) -> Ending {
    leader.end(ending.clone());
    ending
}
