//! What is turned away before anybody looks at what it wants: from the wrong address, or too much of it.

use std::net::IpAddr;

use super::Parts;
use super::error::Problem;
use crate::access::Refusal;
use crate::access::limits::{Exceeded, Pass, Who};
use crate::telemetry::metrics::{Denial, Failed, Reason};

impl Parts {
    /// May a client at this address come at all?
    pub(super) fn admit(&self, client: IpAddr) -> Result<(), Problem> {
        self.addresses.judge(client).map_err(|kept_out| {
            self.metrics.refused.inc(Reason::Address);
            self.metrics.denied.inc(Denial::Address);
            kept_out.into()
        })
    }

    /// Counts a request. The pass is to last as long as its answer.
    pub(super) fn enter(&self, who: Who<'_>) -> Result<Pass, Problem> {
        self.limits.enter(who).map_err(|exceeded| self.refused(exceeded))
    }

    /// A place for a request that is not counted yet.
    pub(super) fn wait(&self, who: Who<'_>) -> Result<Pass, Problem> {
        self.limits.wait(who).map_err(|exceeded| self.refused(exceeded))
    }

    fn refused(&self, exceeded: Exceeded) -> Problem {
        self.metrics.refused.inc(match exceeded {
            Exceeded::Requests { .. } => Reason::Requests,
            Exceeded::Concurrent => Reason::Concurrent,
        });
        self.metrics.denied.inc(Denial::Limit);
        exceeded.into()
    }

    /// Counts what docxy itself keeps a client from, and why.
    pub(super) fn count_refusal(&self, refusal: &Refusal) {
        let denial = match refusal {
            Refusal::NotNow { .. } => {
                self.metrics.refused.inc(Reason::Password);
                self.metrics.auth_failures.inc(Failed::NotChecked);
                Denial::Limit
            }
            Refusal::BadSignIn => {
                self.metrics.auth_failures.inc(Failed::BadSignIn);
                Denial::BadSignIn
            }
            Refusal::SignInFirst => Denial::SignInFirst,
            Refusal::OtherToken => Denial::OtherToken,
            Refusal::OutOfScope | Refusal::PullOnly => Denial::Scope,
            Refusal::Forbidden { .. } => Denial::Rule,
            Refusal::Unreadable => Denial::Other,
        };
        self.metrics.denied.inc(denial);
    }

    /// A registry did not take what a client signed in with there.
    pub(super) fn count_wrong_login(&self) {
        self.metrics.auth_failures.inc(Failed::Registry);
        self.metrics.denied.inc(Denial::BadSignIn);
    }
}
