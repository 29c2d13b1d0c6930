//! Several places that may have the same blob: whoever of them is well is asked, and what broke at one goes on at the next,
//! from the byte where it broke. The digest is the judge of what they send together (threat S16).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;

use super::answer::Span;
use super::lane::Asking;
use super::source::{AtSite, Source};
use super::stream::Past;
use crate::upstream::failure::Failure;
use crate::upstream::places::HAND_OVER;
use crate::upstream::retry::{Trouble, Verdict};
use crate::upstream::site::{Role, Site};
use crate::upstream::standing::Turn;

/// Silence in a body after which another place is asked; where there is no other, the idle limit alone counts.
pub(super) const STALLED: Duration = Duration::from_secs(10);

/// All of them are sources of the same blob.
pub(super) struct Several {
    /// In the operator's order. One of them is the authority.
    places: Vec<One>,
}

struct One {
    source: Arc<AtSite>,
    /// Bodies that broke and answers that did not come, in this download.
    disappointed: AtomicU32,
    /// Its answer will be as bad the next time.
    dropped: AtomicBool,
    /// Bytes of this blob that it brought.
    gave: AtomicU64,
}

impl Several {
    pub fn new(sources: &[Arc<AtSite>]) -> Self {
        let one = |source: &Arc<AtSite>| One {
            source: source.clone(),
            disappointed: AtomicU32::new(0),
            dropped: AtomicBool::new(false),
            gave: AtomicU64::new(0),
        };
        Self {
            places: sources.iter().map(one).collect(),
        }
    }

    /// Who is asked now: those that are well before the others, then those that have not disappointed so often.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<_> = self
            .places
            .iter()
            .enumerate()
            .filter(|(_, one)| !one.dropped.load(Ordering::Relaxed))
            .map(|(index, one)| {
                let tried = one.disappointed.load(Ordering::Relaxed);
                (one.site().turn(), tried, index)
            })
            .filter(|(turn, ..)| *turn != Turn::Never)
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(.., index)| index).collect()
    }

    fn note(&self, place: usize, trouble: &Trouble) {
        let one = &self.places[place];
        one.disappointed.fetch_add(1, Ordering::Relaxed);
        if one.site().role() == Role::Authority {
            return;
        }
        if trouble.verdict() == Verdict::GiveUp
            || matches!(trouble, Trouble::Failed(Failure::BadAnswer { .. }))
        {
            one.dropped.store(true, Ordering::Relaxed);
        }
        if matches!(trouble, Trouble::Failed(Failure::OtherBytes { .. })) {
            one.site().distrust();
        }
    }
}

impl One {
    fn site(&self) -> &Site {
        self.source.site()
    }

    /// The registry itself has said no.
    fn is_final(&self, trouble: &Trouble) -> bool {
        self.site().role() == Role::Authority && trouble.is_verdict()
    }
}

impl Source for Several {
    /// Each place once.
    fn ask(self: Arc<Self>, span: Span, length: Option<u64>, past: Past) -> Asking {
        async move {
            let order = self.order();
            let mut troubles: Vec<Trouble> = Vec::new();
            for (number, &place) in order.iter().enumerate() {
                let one = &self.places[place];
                let asking = one.source.clone().ask(span, length, past.clone());
                let answer = if number + 1 < order.len() {
                    let late = || Err(one.source.late(HAND_OVER).into());
                    tokio::time::timeout(HAND_OVER, asking)
                        .await
                        .unwrap_or_else(|_| late())
                } else {
                    asking.await
                };
                match answer {
                    Ok(stream) => return Ok(stream.of_several(place, STALLED)),
                    Err(trouble) if one.is_final(&trouble) => return Err(trouble),
                    Err(trouble) => {
                        self.note(place, &trouble);
                        troubles.push(trouble);
                    }
                }
            }
            // One that may pass is worth waiting for.
            let hopeful = troubles
                .iter()
                .position(|trouble| trouble.verdict() != Verdict::GiveUp);
            Err(troubles.swap_remove(hopeful.unwrap_or(0)))
        }
        .boxed()
    }

    fn short(&self, place: usize, at: u64, length: Option<u64>) -> Failure {
        self.places[place].source.short(0, at, length)
    }

    /// Another place may do better, so that only the registry's own word ends it; but where the registry sends other bytes
    /// than were received, what is here may be a mirror's lie.
    fn broke(&self, place: usize, trouble: &Trouble) -> Verdict {
        self.note(place, trouble);
        let one = &self.places[place];
        let is_authority = one.site().role() == Role::Authority;
        let other_bytes = matches!(trouble, Trouble::Failed(Failure::OtherBytes { .. }));
        if one.is_final(trouble) || (is_authority && other_bytes) {
            Verdict::GiveUp
        } else {
            Verdict::Again
        }
    }

    fn gave(&self, place: usize, bytes: usize) {
        self.places[place].gave.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn givers(&self) -> Vec<(Site, u64)> {
        let gave = |one: &One| (one.site().clone(), one.gave.load(Ordering::Relaxed));
        self.places
            .iter()
            .map(gave)
            .filter(|(_, gave)| *gave > 0)
            .collect()
    }
}
