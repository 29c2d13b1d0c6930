//! What is counted of one registry. Who asks it holds its meter, so that nobody looks it up.

use std::time::Duration;

use super::cells::{self, By, Counters, Histogram};
use super::words::{Answered, Fetched, Hop, Outcome, Source};

#[derive(Debug)]
pub struct Meter {
    pub requests: Counters<Outcome>,
    pub bytes: Counters<Source>,
    pub upstream: By<Hop, Counters<Answered>>,
    pub latency: By<Hop, Histogram>,
    pub tokens: Counters<Fetched>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            requests: Counters::default(),
            bytes: Counters::default(),
            upstream: By::default(),
            latency: By::new(|| Histogram::new(cells::UPSTREAM)),
            tokens: Counters::default(),
        }
    }
}

impl Meter {
    /// A question and the head of its answer, or that there was none.
    pub fn asked(&self, to: Hop, answered: Answered, took: Duration) {
        self.upstream.of(to).inc(answered);
        if answered != Answered::None {
            self.latency.of(to).observe(took);
        }
    }
}
