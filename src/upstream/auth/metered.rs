//! Questions that count for an allowance: asked only where something is left of it, and the answer is what is known of it
//! next (threat R2).

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::{As, Auth};
use crate::oci::Scope;
use crate::upstream::failure::Failure;
use crate::upstream::fetch::{Landed, Question};
use crate::upstream::quota::{Cost, Leave, Quota};
use crate::upstream::{Right, Upstream};

type Outcome = Result<(Landed, bool), Failure>;

/// What is counted of a registry.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Tally {
    limited: AtomicU64,
    asked: Mutex<Option<Instant>>,
}

impl Tally {
    /// Answers of 429, whoever got them.
    pub fn limited(&self) -> u64 {
        self.limited.load(Ordering::Relaxed)
    }

    /// How long ago anything was asked.
    pub fn asked(&self) -> Option<Duration> {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.map(|at| at.elapsed())
    }

    pub(super) fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn note(&self, outcome: &Outcome) {
        if is_limited(outcome) && !matches!(outcome, Err(Failure::Spent { .. })) {
            self.limited.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Auth {
    pub fn anonymous(&self) -> &Quota {
        &self.anonymous
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The address pays.
    pub(super) async fn ask_as_nobody(
        &self,
        cost: Cost,
        question: &Question<'_>,
        scopes: &[Scope],
    ) -> Outcome {
        let asking = Box::pin(self.ask_as(question, As::Nobody, scopes));
        self.metered(&self.anonymous, cost, asking).await
    }

    /// A client's own allowance is the client's business.
    pub(super) async fn ask_as_client(
        &self,
        question: &Question<'_>,
        name: As<'_>,
        scopes: &[Scope],
    ) -> Outcome {
        let outcome = Box::pin(self.ask_as(question, name, scopes)).await;
        self.tally.note(&outcome);
        outcome
    }

    /// The accounts can't be asked with now: what everyone may have can be had without them.
    pub(super) async fn ask_without_account(
        &self,
        unheard: Outcome,
        cost: Cost,
        question: &Question<'_>,
        scopes: &[Scope],
    ) -> Outcome {
        match self.ask_as_nobody(cost, question, scopes).await {
            Ok((landed, anonymous)) if super::own::is_given(&landed) => Ok((landed, anonymous)),
            // What is not for everyone is refused to nobody in particular, which says nothing about the accounts.
            Ok(_) | Err(_) => unheard,
        }
    }

    /// Asks what counts for this allowance, if it may be asked now.
    pub(super) async fn metered(
        &self,
        quota: &Quota,
        cost: Cost,
        asking: impl Future<Output = Outcome>,
    ) -> Outcome {
        if let Leave::Wait(retry_after) = quota.leave(cost) {
            return Err(Failure::Spent {
                registry: self.config.name.clone(),
                retry_after,
            });
        }
        let under_way = quota.set_out(cost);
        let outcome = asking.await;
        drop(under_way);
        match &outcome {
            Ok((landed, anonymous)) if landed.at_registry => {
                // A registry that asks for nothing was shown nothing.
                let counted = if *anonymous { &self.anonymous } else { quota };
                counted.note(landed.answer.status(), landed.answer.headers(), cost);
            }
            Err(Failure::RateLimited { .. }) => quota.slow_down(),
            Ok(_) | Err(_) => {}
        }
        self.tally.note(&outcome);
        outcome
    }
}

impl Upstream {
    /// Whether pulls with this right had better be saved: few are left, or none.
    pub fn is_short(&self, right: &Right) -> bool {
        let members = self.pool().members();
        match right {
            Right::Configured if !members.is_empty() => {
                members.iter().all(|member| member.quota().is_short())
            }
            Right::Configured | Right::Anonymous => self.authority.auth.anonymous.is_short(),
            Right::Bearer { .. } | Right::Basic { .. } => false,
        }
    }
}

/// The registry, or its token service, wants fewer requests; or docxy spares it them.
pub(super) fn is_limited(outcome: &Outcome) -> bool {
    match outcome {
        Ok((landed, _)) => landed.at_registry && landed.answer.status() == StatusCode::TOO_MANY_REQUESTS,
        Err(failure) => matches!(failure, Failure::RateLimited { .. } | Failure::Spent { .. }),
    }
}
