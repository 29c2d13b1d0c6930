//! What is beyond its limits goes: after a reload that made them smaller, and where a registry came by what others had
//! stored. A little at a time, so that downloads that want room need not wait long.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::Limits;
use super::Parts;
use super::flights::Shared;
use super::removal::Reason;
use super::room;

/// Blobs that go in one step.
const STEP: usize = 64;

/// One step; when more is to go, has the keeper come again. Blocking, on a thread that is not the runtime's own.
pub(super) fn trim(shared: &Arc<Shared>) {
    let index = &shared.parts.index;
    if !is_over(shared) {
        return;
    }
    let turn = shared.parts.room.take_turn();
    let mut swept = false;
    for _ in 0..STEP {
        if shared.stopping.is_cancelled() || shared.parts.tenure.is_retired() {
            return;
        }
        let went = if is_over_cap(shared) {
            let went = room::make_some(shared, Reason::Size);
            if !went && !swept {
                // Only rests of downloads are left, and what is held.
                shared.partials.sweep(&shared.claims, Duration::ZERO);
                swept = true;
                continue;
            }
            went || any_of_quotas(shared)
        } else {
            any_of_quotas(shared)
        };
        if !went {
            // What is left is held: the next tick looks again.
            return;
        }
    }
    drop(turn);
    if is_over(shared) {
        index.look_again();
    }
}

fn is_over(shared: &Shared) -> bool {
    is_over_cap(shared) || !shared.parts.index.all_over().is_empty()
}

fn is_over_cap(shared: &Shared) -> bool {
    let Parts { index, limits, .. } = &*shared.parts;
    index.bytes().saturating_add(index.growing()) > limits.load().max_size
}

/// Of the first registry that has something that may go.
fn any_of_quotas(shared: &Arc<Shared>) -> bool {
    let over = shared.parts.index.all_over();
    over.into_iter().any(|number| room::make_some_of(shared, number))
}

impl Parts {
    pub(super) fn reconfigure(&self, limits: Limits) {
        let is_new = self.index.set_quotas(&limits.quotas);
        self.limits.store(Arc::new(limits));
        if is_new {
            self.records.count_all();
        }
    }
}
