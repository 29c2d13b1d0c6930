//! What is turned away before anybody looks at what it wants: from the wrong address, or too much of it.

use std::net::IpAddr;

use super::Parts;
use super::error::Problem;
use crate::access::Refusal;
use crate::access::limits::{Exceeded, Pass, Who};
use crate::telemetry::metrics::Reason;

impl Parts {
    /// May a client at this address come at all?
    pub(super) fn admit(&self, client: IpAddr) -> Result<(), Problem> {
        self.addresses.judge(client).map_err(|kept_out| {
            self.metrics.refuse(Reason::Address);
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
        self.metrics.refuse(match exceeded {
            Exceeded::Requests { .. } => Reason::Requests,
            Exceeded::Concurrent => Reason::Concurrent,
        });
        exceeded.into()
    }

    /// Counts a sign-in that was not even checked.
    pub(super) fn count_unchecked(&self, refusal: &Refusal) {
        if matches!(refusal, Refusal::NotNow { .. }) {
            self.metrics.refuse(Reason::Password);
        }
    }
}
