//! Which credential is shown next: the one with the most left; after a 429 the next one, at once; in the end none at all,
//! where everyone may have what is asked for (threat R2).

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::auth::Auth;
use super::failure::Failure;
use super::fetch::{Landed, Question};
use super::quota::{Cost, Leave, Quota};
use super::{Right, Upstream};
use crate::oci::Scope;

/// Under which name the allowance of docxy's own address goes.
pub(super) const ANONYMOUS: &str = "anonymous";

/// What is counted of a registry.
#[derive(Debug, Default)]
pub(super) struct Tally {
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

    fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn note(&self, outcome: &Result<(Landed, bool), Failure>) {
        if is_limited(outcome) {
            self.limited.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Auth {
    /// As [`Self::ask_at`], for what is not counted.
    pub async fn ask(
        &self,
        question: &Question<'_>,
        right: &Right,
        scopes: &[Scope],
    ) -> Result<(Landed, bool), Failure> {
        self.ask_at(Cost::Nothing, question, right, scopes).await
    }

    /// Asks with what `right` allows to show. The flag says that nobody's rights were shown. A 401 or 403 that stays is in
    /// the answer, and so is a 429 that nothing could be done about.
    pub async fn ask_at(
        &self,
        cost: Cost,
        question: &Question<'_>,
        right: &Right,
        scopes: &[Scope],
    ) -> Result<(Landed, bool), Failure> {
        self.tally.ask();
        match right {
            Right::Configured => self.in_turn(cost, question, scopes).await,
            Right::Anonymous => {
                self.metered(&self.anonymous, cost, self.ask_as(question, right, scopes))
                    .await
            }
            // A client's own allowance is the client's business.
            Right::Bearer { .. } | Right::Basic { .. } => {
                let outcome = self.ask_as(question, right, scopes).await;
                self.tally.note(&outcome);
                outcome
            }
        }
    }

    async fn in_turn(
        &self,
        cost: Cost,
        question: &Question<'_>,
        scopes: &[Scope],
    ) -> Result<(Landed, bool), Failure> {
        let asking = self.ask_as(question, &Right::Configured, scopes);
        let outcome = self.metered(&self.own, cost, asking).await;
        if !is_limited(&outcome) {
            return outcome;
        }
        let nobody = self.ask_as(question, &Right::Anonymous, scopes);
        match self.metered(&self.anonymous, cost, nobody).await {
            Ok((landed, anonymous)) if is_content(&landed) => Ok((landed, anonymous)),
            // What is not for everyone is refused to nobody in particular, which says nothing about us.
            Ok(_) | Err(_) => outcome,
        }
    }

    /// Asks what counts for this allowance, if it may be asked now.
    async fn metered(
        &self,
        quota: &Quota,
        cost: Cost,
        asking: impl Future<Output = Result<(Landed, bool), Failure>>,
    ) -> Result<(Landed, bool), Failure> {
        if let Leave::Wait(retry_after) = quota.leave(cost) {
            return Err(Failure::Spent {
                registry: self.registry().clone(),
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
        match right {
            Right::Configured => self.auth.own.is_short(),
            Right::Anonymous => self.auth.anonymous.is_short(),
            Right::Bearer { .. } | Right::Basic { .. } => false,
        }
    }
}

/// The registry, or its token service, wants fewer requests; or docxy spares it them.
fn is_limited(outcome: &Result<(Landed, bool), Failure>) -> bool {
    match outcome {
        Ok((landed, _)) => landed.at_registry && landed.answer.status() == StatusCode::TOO_MANY_REQUESTS,
        Err(failure) => matches!(failure, Failure::RateLimited { .. } | Failure::Spent { .. }),
    }
}

fn is_content(landed: &Landed) -> bool {
    let status = landed.answer.status();
    status.is_success() || status == StatusCode::NOT_MODIFIED || status == StatusCode::RANGE_NOT_SATISFIABLE
}
